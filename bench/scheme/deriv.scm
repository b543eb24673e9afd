;; deriv.scm - derivatives of polynomials and products as lists, simplified. usage: deriv.scm [ROUNDS]
(import (scheme base) (scheme write) (scheme process-context))
(define rounds (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 3000))

(define (sum a b)
  (cond ((and (number? a) (number? b)) (+ a b)) ((eqv? a 0) b) ((eqv? b 0) a) (else (list '+ a b))))
(define (product a b)
  (cond ((and (number? a) (number? b)) (* a b))
        ((or (eqv? a 0) (eqv? b 0)) 0)
        ((eqv? a 1) b) ((eqv? b 1) a)
        (else (list '* a b))))

(define (d e x)
  (cond ((number? e) 0)
        ((symbol? e) (if (eq? e x) 1 0))
        (else
         (case (car e)
           ((+) (sum (d (cadr e) x) (d (caddr e) x)))
           ((*) (sum (product (d (cadr e) x) (caddr e)) (product (cadr e) (d (caddr e) x))))
           ((sin) (product (list 'cos (cadr e)) (d (cadr e) x)))
           ((cos) (product -1 (product (list 'sin (cadr e)) (d (cadr e) x))))
           ((expt) (product (caddr e) (product (list 'expt (cadr e) (- (caddr e) 1)) (d (cadr e) x))))
           (else (error "what is this" e))))))

(define expression
  '(+ (* (expt x 3) (* 2 (sin (* x y)))) (+ (* a (expt (+ x 1) 4)) (cos (+ (* 3 x) (* x x))))))

(define (size e) (if (pair? e) (+ (size (car e)) (size (cdr e))) 1))
(define (times n e) (if (= n 0) e (times (- n 1) (d e 'x))))

(do ((i 0 (+ i 1)) (total 0 (+ total (size (times 3 expression)))))
    ((= i rounds) (display total) (newline)))
