;; generators.scm - coroutines made of call/cc: producers over trees, merged, under some depth of stack.
;; usage: generators.scm [N]
(import (scheme base) (scheme write) (scheme process-context))
(define n (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 60000))

(define (make-generator body)
  (define return #f)
  (define resume #f)
  (define (yield x)
    (call/cc (lambda (next) (set! resume next) (return x))))
  (lambda ()
    (call/cc (lambda (r)
      (set! return r)
      (if resume
          (resume #f)
          (begin (body yield) (return 'end)))))))

(define (numbers from step)
  (make-generator (lambda (yield)
    (let deep ((d 20))
      (if (> d 0)
          (+ 1 (deep (- d 1)))
          (let loop ((i from)) (if (< i n) (begin (yield i) (loop (+ i step))) 0)))))))

(define (merge a b)
  (make-generator (lambda (yield)
    (let loop ((x (a)) (y (b)))
      (cond ((and (eq? x 'end) (eq? y 'end)) #f)
            ((or (eq? y 'end) (and (number? x) (< x y))) (yield x) (loop (a) y))
            (else (yield y) (loop x (b))))))))

(let ((g (merge (merge (numbers 0 3) (numbers 1 3)) (numbers 2 3))))
  (let loop ((x (g)) (count 0) (sum 0))
    (if (eq? x 'end)
        (begin (display count) (display " ") (display sum) (newline))
        (loop (g) (+ count 1) (+ sum x)))))
