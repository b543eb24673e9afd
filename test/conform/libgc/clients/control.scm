;; control.scm - stacks the collector must find: continuations (copied stacks), coroutines made of
;; them, delimited prompts, deep recursion (a VM stack that grows), dynamic state, a forked child,
;; signal handlers that allocate.   usage: guile control.scm
(use-modules (ice-9 control) (srfi srfi-1) (rnrs bytevectors))

(define (say . parts) (for-each display parts) (newline))
(define (garbage! n) (do ((i 0 (+ i 1))) ((= i n)) (make-vector 20 i)))

;; Generators by full continuations: the only reference to `item` lies on the saved stack.
(define (make-generator items)
  (define return #f)
  (define (start)
    (for-each (lambda (i)
                (let ((item (list i (number->string i))))
                  (call/cc (lambda (next)
                             (set! resume (lambda () (next #f)))
                             (return (car item))))
                  (unless (string=? (cadr item) (number->string i)) (error "lost" i))))
              items)
    (return 'done))
  (define resume start)
  (lambda () (call/cc (lambda (k) (set! return k) (resume)))))

(define generators (map (lambda (k) (make-generator (iota 300 k))) (iota 20)))
(say "generators: "
     (let loop ((sum 0))
       (garbage! 3000)
       (let ((values (map (lambda (g) (g)) generators)))
         (if (memq 'done values) sum (loop (+ sum (apply + values)))))))

;; Delimited continuations, kept for a while, resumed more than once.
(define suspended
  (map (lambda (i)
         (% (let ((before (list i (* i i)))) (+ (abort) (apply + before)))
            (lambda (k) k)))
       (iota 2000)))
(gc)
(garbage! 200000)
(say "prompts: " (fold (lambda (k sum) (+ sum (k 1) (k 2))) 0 suspended))

(define (deep n) (if (= n 0) '() (cons (make-string 3 #\x) (deep (- n 1)))))
(say "deep recursion: " (length (deep 300000)))
(say "deep, several times: " (fold (lambda (i sum) (+ sum (length (deep 50000)))) 0 (iota 20)))

(define fluid (make-fluid 'outer))
(say "fluids: " (with-fluids ((fluid (list 1 2 3))) (garbage! 100000) (gc) (fluid-ref fluid))
     " " (fluid-ref fluid))

;; A child made by fork goes on allocating and collecting.
(force-output)
(let ((child (primitive-fork)))
  (when (= child 0)
    (garbage! 300000)
    (gc)
    (primitive-_exit (if (= 6000 (length (iota 6000))) 42 1)))
  (garbage! 100000)
  (say "child: " (status:exit-val (cdr (waitpid child)))))

(define ticks 0)
(define last-tick #f)
(sigaction SIGALRM (lambda (n) (set! ticks (+ ticks 1)) (set! last-tick (make-vector 100 ticks))))
(setitimer ITIMER_REAL 0 2000 0 2000)
(let loop () (when (< ticks 50) (garbage! 1000) (loop)))
(setitimer ITIMER_REAL 0 0 0 0)
;; A handler may run inside another one, which then stores its older vector last.
(say "signals: " (let ((v (vector-ref last-tick 99)))
                   (and (<= 1 v ticks)
                        (every (lambda (x) (eqv? x v)) (vector->list last-tick)))))

;; Memory that libgc allocates without pointers, and in large pieces.
(say "large: "
     (fold (lambda (i sum)
             (let ((b (make-bytevector (* 1024 1024 (+ 1 (modulo i 8))) (modulo i 256))))
               (+ sum (bytevector-u8-ref b (- (bytevector-length b) 1)))))
           0 (iota 150)))
