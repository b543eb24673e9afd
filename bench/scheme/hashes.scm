;; hashes.scm - hash tables that churn: strings and integers as keys, entries that come and go.
;; usage: hashes.scm [OPERATIONS]
(import (scheme base) (scheme write) (scheme process-context) (srfi 69))
(define operations (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 1000000))

(define (next x) (modulo (+ (* x 1103515245) 12345) 2147483648))

(define by-number (make-hash-table eqv?))
(define by-name (make-hash-table equal?))

(define (run n)
  (let loop ((i 0) (x 42) (hits 0))
    (if (= i n)
        hits
        (let* ((x (next x)) (key (modulo (quotient x 64) 50000)))
          (cond ((< (modulo (quotient x 8) 8) 3)
                 (hash-table-set! by-number key (list i key))
                 (if (= 0 (modulo key 4)) (hash-table-set! by-name (number->string key) (vector i key x)))
                 (loop (+ i 1) x hits))
                ((< (modulo (quotient x 8) 8) 5)
                 (hash-table-delete! by-number key)
                 (if (= 0 (modulo key 16)) (hash-table-delete! by-name (number->string key)))
                 (loop (+ i 1) x hits))
                (else
                 (loop (+ i 1) x
                       (+ hits
                          (if (hash-table-ref/default by-number key #f) 1 0)
                          (if (and (= 0 (modulo key 8))
                                   (hash-table-ref/default by-name (number->string key) #f)) 1 0)))))))))

(display (run operations)) (display " ")
(display (hash-table-size by-number)) (display " ")
(display (hash-table-size by-name)) (newline)
