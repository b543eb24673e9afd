;; trees.scm - complete binary trees of every depth beside one that lives long, built from both ends; the
;; shape of Boehm's GCBench. usage: trees.scm [DEPTH]
(import (scheme base) (scheme write) (scheme process-context))
(define max-depth (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 17))

(define (make-tree depth)
  (if (= depth 0)
      (vector #f #f depth)
      (let* ((left (make-tree (- depth 1))) (right (make-tree (- depth 1)))) (vector left right depth))))

(define (grow! node depth)
  (if (> depth 0)
      (begin
        (vector-set! node 0 (vector #f #f depth))
        (vector-set! node 1 (vector #f #f depth))
        (grow! (vector-ref node 0) (- depth 1))
        (grow! (vector-ref node 1) (- depth 1)))))

(define (count node)
  (if node (+ 1 (count (vector-ref node 0)) (count (vector-ref node 1))) 0))

(define (rounds depth)
  (let loop ((i 0) (nodes 0))
    (if (= i (quotient (expt 2 max-depth) (expt 2 depth)))
        nodes
        (let ((top-down (vector #f #f depth)))
          (grow! top-down depth)
          (loop (+ i 1) (+ nodes (count top-down) (count (make-tree depth))))))))

(define long-lived (make-tree max-depth))
(define array (make-vector 200000 0.0))
(do ((i 1 (+ i 1))) ((= i 200000)) (vector-set! array i (/ 1.0 i)))
(do ((depth 4 (+ depth 4))) ((> depth max-depth)) (display (rounds depth)) (newline))
(display (count long-lived)) (display " ") (display (round (* 1000.0 (vector-ref array 1000)))) (newline)
