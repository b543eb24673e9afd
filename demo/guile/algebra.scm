;; algebra.scm - symbolic algebra: sparse polynomials over the integers (Fateman's benchmark
;; p * (p + 1) for p = (1 + x + y + z)^n), then derivatives of a tower of functions, simplified
;; and hash-consed. Every result is checked by evaluating it.  usage: guile algebra.scm [N]
(use-modules (ice-9 match) (srfi srfi-1))

(define size
  (let ((args (cdr (command-line)))) (if (pair? args) (string->number (car args)) 8)))

;; --- polynomials: a list of (exponents . coefficient), largest exponents first -----------------
(define (compare a b)                         ; lexicographic, on lists of exponents
  (cond ((null? a) 0)
        ((= (car a) (car b)) (compare (cdr a) (cdr b)))
        (else (- (car a) (car b)))))

(define (poly+ a b)
  (let loop ((a a) (b b) (sum '()))
    (cond ((null? a) (append-reverse! sum b))
          ((null? b) (append-reverse! sum a))
          (else
           (let ((order (compare (caar a) (caar b))))
             (cond ((> order 0) (loop (cdr a) b (cons (car a) sum)))
                   ((< order 0) (loop a (cdr b) (cons (car b) sum)))
                   (else
                    (let ((c (+ (cdar a) (cdar b))))
                      (loop (cdr a) (cdr b)
                            (if (zero? c) sum (cons (cons (caar a) c) sum)))))))))))

(define (poly*term p term)
  (map (lambda (t) (cons (map + (car t) (car term)) (* (cdr t) (cdr term)))) p))

(define (poly-sum polys)                      ; balanced, so that the long lists are merged last
  (match polys
    (() '())
    ((p) p)
    (_ (poly-sum (let pairs ((ps polys))
                   (match ps
                     ((a b . rest) (cons (poly+ a b) (pairs rest)))
                     (rest rest)))))))

(define (poly* a b) (poly-sum (map (lambda (term) (poly*term a term)) b)))

(define (poly-expt p n)
  (cond ((= n 1) p)
        ((even? n) (let ((half (poly-expt p (quotient n 2)))) (poly* half half)))
        (else (poly* p (poly-expt p (- n 1))))))

(define (poly-value p point)
  (fold (lambda (term sum) (+ sum (* (cdr term) (apply * (map expt point (car term)))))) 0 p))

(let* ((base '(((1 0 0) . 1) ((0 1 0) . 1) ((0 0 1) . 1) ((0 0 0) . 1)))
       (p (poly-expt base size))
       (q (poly* p (poly+ p '(((0 0 0) . 1)))))
       (expected (let ((v (expt (+ 1 2 3 5) size))) (* v (+ v 1)))))
  (format #t "p has ~a terms, p(p+1) has ~a, largest coefficient ~a\n"
          (length p) (length q) (apply max (map cdr q)))
  (unless (= (poly-value q '(2 3 5)) expected) (error "wrong product"))
  (format #t "p(p+1) at (2 3 5) = ~a\n" expected))

;; --- expressions: hash-consed, so that equal subexpressions are the same object ----------------
(define table (make-hash-table 4096))

(define (make op . args)
  (let ((key (cons op args)))
    (or (hash-ref table key)
        (begin (hash-set! table key key) key))))

(define (add a b)
  (cond ((and (number? a) (number? b)) (+ a b))
        ((eqv? a 0) b)
        ((eqv? b 0) a)
        ((eq? a b) (mul 2 a))
        ((number? b) (make '+ b a))
        (else (make '+ a b))))

(define (mul a b)
  (cond ((and (number? a) (number? b)) (* a b))
        ((or (eqv? a 0) (eqv? b 0)) 0)
        ((eqv? a 1) b)
        ((eqv? b 1) a)
        ((number? b) (make '* b a))
        (else
         (match (list a b)
           (((? number? n) ('* (? number? m) e)) (mul (* n m) e))
           (_ (make '* a b))))))

(define (derive e)
  (match e
    ((? number?) 0)
    ('x 1)
    (('+ a b) (add (derive a) (derive b)))
    (('* a b) (add (mul (derive a) b) (mul a (derive b))))
    (('square a) (mul 2 (mul a (derive a))))
    (('inverse a) (mul -1 (mul (derive a) (make 'square e))))))

(define (value-mod e x p)                     ; over the field of p elements
  (match e
    ((? number? n) (modulo n p))
    ('x x)
    (('+ a b) (modulo (+ (value-mod a x p) (value-mod b x p)) p))
    (('* a b) (modulo (* (value-mod a x p) (value-mod b x p)) p))
    (('square a) (let ((v (value-mod a x p))) (modulo (* v v) p)))
    (('inverse a) (modulo-expt (value-mod a x p) (- p 2) p))))

(define (count-nodes e)
  (if (pair? e) (fold (lambda (a n) (+ n (count-nodes a))) 1 (cdr e)) 1))

(define (show round e n)
  (format #t "derivative ~a: ~a nodes, value ~a\n" n (count-nodes e)
          (value-mod e 1234567 1000000007)))

(do ((round 0 (+ round 1))) ((= round size))
  (hash-clear! table)
  (let ((tower (fold (lambda (i e) (add (make 'square e) (make 'inverse (add e (+ i round)))))
                     'x (iota 3))))
    (fold (lambda (n e) (when (= round 0) (show round e n)) (derive e)) tower (iota 6))))
(format #t "~a expressions in the table\n" (hash-count (const #t) table))
