;; strings.scm - builds, splits and counts words: short strings, symbols, string ports.
;; usage: strings.scm [ROUNDS]
(import (scheme base) (scheme write) (scheme process-context) (srfi 69))
(define rounds (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 40))

(define syllables '#("ka" "lo" "mi" "ren" "tu" "sha" "vi" "or" "den" "pal"))
(define (next x) (modulo (+ (* x 1103515245) 12345) 2147483648))
(define (pick x) (vector-ref syllables (modulo (quotient x 65536) 10)))

(define (text nwords seed)
  (let ((port (open-output-string)))
    (let loop ((i 0) (x seed))
      (if (= i nwords)
          (get-output-string port)
          (let* ((a (next x)) (b (next a)) (c (next b)))
            (write-string (string-append (pick a) (pick b)) port)
            (if (even? (quotient c 65536)) (write-string (pick c) port))
            (write-string " " port)
            (loop (+ i 1) c))))))

(define (split s)
  (let ((n (string-length s)))
    (let loop ((i 0) (start 0) (words '()))
      (cond ((= i n) (reverse words))
            ((char=? (string-ref s i) #\space) (loop (+ i 1) (+ i 1) (cons (substring s start i) words)))
            (else (loop (+ i 1) start words))))))

(define counts (make-hash-table equal?))
(define (count! word)
  (hash-table-set! counts word (+ 1 (hash-table-ref/default counts word 0))))

(define (capitals words)
  (map (lambda (w) (string-append (string (char-upcase (string-ref w 0))) (substring w 1 (string-length w)))) words))

(define total 0)
(do ((r 0 (+ r 1))) ((= r rounds))
  (let ((words (split (text 10000 (+ r 5)))))
    (for-each count! words)
    (for-each (lambda (w) (set! total (+ total (string-length w)))) (capitals words))))
(display total) (display " ") (display (hash-table-size counts)) (display " ")
(display (hash-table-ref/default counts "kaka" 0)) (newline)
