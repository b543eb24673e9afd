;; lists.scm - lists of all sorts of things, mapped, filtered, sorted and thrown away.
;; usage: lists.scm [ROUNDS]
(import (scheme base) (scheme write) (scheme process-context))
(define rounds (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 60))

(define (make-thing i)
  (case (modulo i 6)
    ((0) i) ((1) (* i 1.5)) ((2) (list i (+ i 1))) ((3) (vector i i i)) ((4) (string #\a #\b)) (else (lambda (x) (+ x i)))))

(define (weight x)
  (cond ((procedure? x) (x 1)) ((vector? x) (vector-length x)) ((string? x) (string-length x))
        ((pair? x) (apply + x)) (else x)))

(define (keep f l)
  (let loop ((l l) (done '()))
    (if (null? l) (reverse done) (loop (cdr l) (if (f (car l)) (cons (car l) done) done)))))

(define (merge a b less?)
  (let loop ((a a) (b b) (done '()))
    (cond ((and (null? a) (null? b)) (reverse done))
          ((or (null? b) (and (pair? a) (not (less? (car b) (car a))))) (loop (cdr a) b (cons (car a) done)))
          (else (loop a (cdr b) (cons (car b) done))))))
(define (merge-sort l less?)
  (if (or (null? l) (null? (cdr l)))
      l
      (let split ((l l) (a '()) (b '()))
        (if (null? l)
            (merge (merge-sort a less?) (merge-sort b less?) less?)
            (split (cdr l) (cons (car l) b) a)))))

(define (things n) (let loop ((i n) (l '())) (if (= i 0) l (loop (- i 1) (cons (make-thing i) l)))))

(define total 0)
(define old '())
(do ((r 0 (+ r 1))) ((= r rounds))
  (let* ((l (things 10000))
         (weights (map weight l))
         (sorted (merge-sort weights <))
         (small (keep (lambda (w) (< w 5000)) sorted)))
    (set! total (+ total (length small)))
    (set! old (if (= 0 (modulo r 10)) (list l) (append (list l) old)))))
(display total) (display " ") (display (length old)) (newline)
