;; gcbench.scm - Boehm's GCBench: short-lived trees of every depth, built top down and bottom up,
;; while one large tree and one large array stay alive.  usage: guile gcbench.scm [DEPTH]
(use-modules (srfi srfi-4) (srfi srfi-9))

(define-record-type node (make-node left right) node?
  (left node-left set-node-left!)
  (right node-right set-node-right!))

(define max-depth
  (let ((args (cdr (command-line)))) (if (pair? args) (string->number (car args)) 18)))
(define min-depth 4)
(define array-size 500000)

(define (tree-size depth) (- (ash 2 depth) 1))
(define (iterations depth) (quotient (* 2 (tree-size max-depth)) (tree-size depth)))

(define (populate! depth node)                ; top down: parents are older than their children
  (when (> depth 0)
    (set-node-left! node (make-node #f #f))
    (set-node-right! node (make-node #f #f))
    (populate! (- depth 1) (node-left node))
    (populate! (- depth 1) (node-right node))))

(define (make-tree depth)                     ; bottom up
  (if (= depth 0)
      (make-node #f #f)
      (make-node (make-tree (- depth 1)) (make-tree (- depth 1)))))

(define (count-nodes tree)
  (if tree (+ 1 (count-nodes (node-left tree)) (count-nodes (node-right tree))) 0))

(define (time-construction depth)
  (let ((n (iterations depth)))
    (let loop ((i 0) (nodes 0))
      (if (< i n)
          (let ((top-down (make-node #f #f)))
            (populate! depth top-down)
            (loop (+ i 1)
                  (+ nodes
                     (if (= i (- n 1)) (count-nodes top-down) 0)
                     (let ((tree (make-tree depth))) (if (= i 0) (count-nodes tree) 0)))))
          (begin
            (display n) (display " trees of depth ") (display depth)
            (display ": ") (display nodes) (newline))))))

(let ((stretch (make-tree (+ 1 max-depth))))
  (display "stretch tree: ") (display (count-nodes stretch)) (newline))
(let ((long-lived (make-node #f #f))
      (array (make-f64vector array-size 0.0)))
  (populate! max-depth long-lived)
  (do ((i 1 (+ i 1))) ((= i array-size)) (f64vector-set! array i (/ 1.0 i)))
  (do ((depth min-depth (+ depth 2))) ((> depth max-depth)) (time-construction depth))
  (display "long-lived tree: ") (display (count-nodes long-lived))
  (display ", array: ")
  (let loop ((i 0) (sum 0.0))
    (if (< i array-size) (loop (+ i 1) (+ sum (f64vector-ref array i))) (display sum)))
  (newline))
