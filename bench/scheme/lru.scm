;; lru.scm - a cache that forgets what was used longest ago: records in a ring, found by a table; every
;; access changes six references. usage: lru.scm [OPERATIONS]
(import (scheme base) (scheme write) (scheme process-context) (srfi 69))
(define operations (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 600000))
(define capacity 50000)

(define-record-type entry (make-entry key value prev next) entry?
  (key entry-key) (value entry-value set-value!)
  (prev entry-prev set-prev!) (next entry-next set-next!))

(define ring (make-entry #f #f #f #f))
(set-prev! ring ring)
(set-next! ring ring)
(define table (make-hash-table eqv?))

(define (unlink! e)
  (set-next! (entry-prev e) (entry-next e))
  (set-prev! (entry-next e) (entry-prev e)))
(define (to-front! e)
  (let ((first (entry-next ring)))
    (set-prev! e ring)
    (set-next! e first)
    (set-prev! first e)
    (set-next! ring e)))

(define size 0)
(define (access! key)
  (let ((e (hash-table-ref/default table key #f)))
    (if e
        (begin (unlink! e) (to-front! e) (set-value! e (cons key key)) 1)
        (let ((e (make-entry key (make-vector 8 key) #f #f)))
          (hash-table-set! table key e)
          (to-front! e)
          (set! size (+ size 1))
          (if (> size capacity)
              (let ((old (entry-prev ring)))
                (unlink! old)
                (hash-table-delete! table (entry-key old))
                (set! size (- size 1))))
          0))))

(define (next x) (modulo (+ (* x 1103515245) 12345) 2147483648))
(let loop ((i 0) (x 7) (hits 0))
  (if (= i operations)
      (begin (display hits) (display " ") (display size) (newline))
      (let* ((x (next x)) (y (next x)) (r (quotient x 32768)))
        (loop (+ i 1) y
              (+ hits (access! (if (= 0 (modulo (quotient y 65536) 3)) (modulo r 10000) (modulo r 65536))))))))
