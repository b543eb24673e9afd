;; treesort.scm - sorts by inserting into a tree, whose nodes are changed in place; keeps the last few trees.
;; usage: treesort.scm [ROUNDS]
(import (scheme base) (scheme write) (scheme process-context))
(define rounds (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 10))

(define-record-type node (make-node key left right) node?
  (key node-key) (left node-left set-left!) (right node-right set-right!))

(define (next x) (modulo (+ (* x 1103515245) 12345) 2147483648))

(define (insert! root key)
  (let loop ((n root))
    (if (< key (node-key n))
        (if (node-left n) (loop (node-left n)) (set-left! n (make-node key #f #f)))
        (if (node-right n) (loop (node-right n)) (set-right! n (make-node key #f #f))))))

(define (in-order n tail)
  (if n (in-order (node-left n) (cons (node-key n) (in-order (node-right n) tail))) tail))

(define (sorted? l) (or (null? l) (null? (cdr l)) (and (<= (car l) (cadr l)) (sorted? (cdr l)))))

(define kept (make-vector 4 #f))
(define (run round)
  (let ((root (make-node 1073741824 #f #f)))
    (do ((i 0 (+ i 1)) (x (+ round 17) (next x))) ((= i 50000)) (insert! root x))
    (vector-set! kept (modulo round 4) root)
    (in-order root '())))

(define total 0)
(do ((r 0 (+ r 1))) ((= r rounds))
  (let ((l (run r)))
    (set! total (+ total (if (sorted? l) (length l) 0) (modulo (list-ref l 25000) 1000)))))
(display total) (newline)
