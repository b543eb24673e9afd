;; threads.scm - four threads that build, sort and share lists. usage: threads.scm [ROUNDS]
(import (scheme base) (scheme write) (scheme process-context) (srfi 18))
(define rounds (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 60))

(define (next x) (modulo (+ (* x 1103515245) 12345) 2147483648))
(define (randoms n seed)
  (let loop ((i 0) (x seed) (l '())) (if (= i n) l (loop (+ i 1) (next x) (cons (quotient x 65536) l)))))
(define (merge a b done)
  (cond ((and (null? a) (null? b)) (reverse done))
        ((or (null? b) (and (pair? a) (<= (car a) (car b)))) (merge (cdr a) b (cons (car a) done)))
        (else (merge a (cdr b) (cons (car b) done)))))
(define (merge-sort l)
  (if (or (null? l) (null? (cdr l)))
      l
      (let split ((l l) (a '()) (b '()))
        (if (null? l) (merge (merge-sort a) (merge-sort b) '()) (split (cdr l) (cons (car l) b) a)))))

(define shared (make-vector 64 '()))
(define lock (make-mutex))

(define (work id)
  (let loop ((r 0) (sum 0))
    (if (= r rounds)
        sum
        (let* ((l (merge-sort (randoms 3000 (+ (* id 1000) r)))) (slot (modulo (+ (* r 4) id) 64)))
          (mutex-lock! lock)
          (vector-set! shared slot l)
          (mutex-unlock! lock)
          (loop (+ r 1) (+ sum (list-ref l 1500)))))))

(define threads (map (lambda (id) (thread-start! (make-thread (lambda () (work id))))) '(1 2 3 4)))
(display (map thread-join! threads))
(display " ")
(display (apply + (map length (vector->list shared))))
(newline)
