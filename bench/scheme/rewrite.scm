;; rewrite.scm - a term rewriter: rules with variables, applied innermost first until none fits. It expands
;; and sorts products of sums. usage: rewrite.scm [ROUNDS]
(import (scheme base) (scheme write) (scheme process-context))
(define rounds (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 12))

(define rules
  '(((plus zero ?x) ?x)
    ((plus ?x zero) ?x)
    ((times zero ?x) zero)
    ((times ?x zero) zero)
    ((times one ?x) ?x)
    ((times ?x one) ?x)
    ((times ?x (plus ?y ?z)) (plus (times ?x ?y) (times ?x ?z)))
    ((times (plus ?x ?y) ?z) (plus (times ?x ?z) (times ?y ?z)))
    ((plus (plus ?x ?y) ?z) (plus ?x (plus ?y ?z)))
    ((times (times ?x ?y) ?z) (times ?x (times ?y ?z)))
    ((minus ?x ?x) zero)
    ((minus ?x ?y) (plus ?x (times neg ?y)))
    ((square ?x) (times ?x ?x))
    ((cube ?x) (times ?x (square ?x)))))

(define (variable? x) (memq x '(?x ?y ?z)))

(define (match pattern term bindings)
  (cond ((not bindings) #f)
        ((pair? pattern)
         (and (pair? term)
              (match (cdr pattern) (cdr term) (match (car pattern) (car term) bindings))))
        ((variable? pattern)
         (let ((known (assq pattern bindings)))
           (if known
               (and (equal? (cdr known) term) bindings)
               (cons (cons pattern term) bindings))))
        (else (and (eq? pattern term) bindings))))

(define (instantiate template bindings)
  (cond ((pair? template)
         (cons (instantiate (car template) bindings) (instantiate (cdr template) bindings)))
        ((assq template bindings) => cdr)
        (else template)))

(define steps 0)

(define (rewrite term)
  (if (pair? term)
      (let ((term (cons (car term) (map rewrite (cdr term)))))
        (let loop ((rs rules))
          (if (null? rs)
              term
              (let ((bindings (match (caar rs) term '((end . end)))))
                (if bindings
                    (begin (set! steps (+ steps 1)) (rewrite (instantiate (cadar rs) bindings)))
                    (loop (cdr rs)))))))
      term))

(define (size term) (if (pair? term) (+ (size (car term)) (size (cdr term))) 1))

(define problem
  '(minus (cube (plus a (plus b (plus c one)))) (square (minus (plus a b) (times c (plus d zero))))))

(do ((i 0 (+ i 1))) ((= i rounds))
  (let ((result (rewrite problem)))
    (if (= i (- rounds 1)) (begin (display (size result)) (display " ")))))
(display steps) (newline)
