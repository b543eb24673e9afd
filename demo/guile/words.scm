;; words.scm - strings and hash tables: builds a text, indexes its words, sorts, joins, splits and
;; counts; the index stays alive while the rest is rubbish.  usage: guile words.scm [LINES]
(use-modules (ice-9 hash-table) (ice-9 string-fun) (srfi srfi-1) (srfi srfi-13))

(define nlines
  (let ((args (cdr (command-line)))) (if (pair? args) (string->number (car args)) 16000)))

(define seed 42)
(define (random-below! n)                     ; our own: the output must not depend on the build
  (set! seed (modulo (+ (* seed 1103515245) 12345) 2147483648))
  (modulo (quotient seed 65536) n))

(define syllables #("ka" "ro" "mi" "ten" "sul" "va" "ne" "dor" "pi" "lash" "um" "ger"))
(define (word!)
  (let loop ((n (+ 1 (random-below! 4))) (parts '()))
    (if (= n 0)
        (string-concatenate parts)
        (loop (- n 1) (cons (vector-ref syllables (random-below! 12)) parts)))))
(define (line!) (string-join (map (lambda (_) (word!)) (iota 10)) " "))

;; word -> list of (line . column), newest first
(define index (make-hash-table 1024))
(define (index-line! number line)
  (fold (lambda (word column)
          (hash-set! index word (cons (cons number column) (hash-ref index word '())))
          (+ column (string-length word) 1))
        0 (string-split line #\space)))

(define text
  (let loop ((i 0) (lines '()))
    (if (= i nlines)
        (reverse! lines)
        (let ((line (line!)))
          (index-line! i line)
          (loop (+ i 1) (cons line lines))))))

(define entries
  (sort (hash-map->list cons index)
        (lambda (a b)
          (let ((la (length (cdr a))) (lb (length (cdr b))))
            (or (> la lb) (and (= la lb) (string<? (car a) (car b))))))))

(format #t "~a lines, ~a different words; the most frequent:" nlines (length entries))
(for-each (lambda (e) (format #t " ~a (~a)" (car e) (length (cdr e)))) (take entries 5))
(newline)

;; The index must agree with the text.
(for-each
 (lambda (e)
   (let* ((place (last (cdr e))) (line (list-ref text (min (car place) 200))))
     (when (<= (car place) 200)
       (unless (string-prefix? (car e) (substring line (cdr place))) (error "bad index" e)))))
 entries)

(define report
  (call-with-output-string
   (lambda (port)
     (for-each (lambda (e) (write e port) (newline port)) entries))))
(define lines (string-split report #\newline))
(define again (string-upcase (string-join (reverse lines) ";")))
(format #t "report: ~a characters, ~a lines, ~a after joining, hash ~a\n"
        (string-length report) (length lines) (string-length again)
        (string-fold (lambda (c h) (modulo (+ (* 31 h) (char->integer c)) 1000003)) 7 again))
(let ((numbers (filter-map string->number
                           (string-tokenize report char-set:digit))))
  (format #t "sum of the ~a numbers in it: ~a\n" (length numbers) (apply + numbers)))
