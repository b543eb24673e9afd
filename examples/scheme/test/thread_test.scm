;; Threads that share the heap: a part of SRFI 18.
(load "check.scm")

(define (spawn thunk) (thread-start! (make-thread thunk)))
(define (times n f) (do ((i 0 (+ i 1)) (l '() (cons (f i) l))) ((= i n) (reverse l))))

(check (thread-join! (spawn (lambda () (+ 1 2)))) => 3)
(check (thread? (current-thread)) => #t)
(check (eq? (current-thread) (thread-join! (spawn current-thread))) => #f)
(check (guard (e ((uncaught-exception? e) (list 'died (uncaught-exception-reason e))))
         (thread-join! (spawn (lambda () (raise 'oops))))) => (died oops))
(check (guard (e (#t (error-object-message e))) (let ((t (spawn (lambda () 1)))) (thread-start! t)))
       => "thread-start!: the thread was started before")
(define p (make-parameter 1))
(check (parameterize ((p 2)) (thread-join! (spawn (lambda () (p))))) => 2)

;; each thread makes garbage and keeps some
(define (work seed)
  (let loop ((i 0) (kept '()) (x seed))
    (if (= i 20000)
        (length kept)
        (let ((x (modulo (+ (* x 1103515245) 12345) 2147483648)))
          (loop (+ i 1)
                (if (= 0 (modulo (quotient x 65536) 100)) (cons (vector i x (list x)) kept) kept)
                x)))))
(define alone (times 4 work))
(check (equal? alone (map thread-join! (times 4 (lambda (i) (spawn (lambda () (work i))))))) => #t)

;; a counter under a mutex
(define m (make-mutex 'counter))
(define counter 0)
(for-each thread-join!
  (times 4 (lambda (i) (spawn (lambda ()
    (do ((k 0 (+ k 1))) ((= k 2000)) (mutex-lock! m) (set! counter (+ counter 1)) (mutex-unlock! m)))))))
(check counter => 8000)

;; a bounded queue under a mutex and a condition variable: what one thread makes another consumes
(define queue '())
(define count 0)
(define changed (make-condition-variable))
(define (put! x)
  (mutex-lock! m)
  (if (>= count 10)
      (begin (mutex-unlock! m changed) (put! x))
      (begin (set! queue (append queue (list x)))
             (set! count (+ count 1))
             (mutex-unlock! m)
             (condition-variable-broadcast! changed))))
(define (take!)
  (mutex-lock! m)
  (if (= count 0)
      (begin (mutex-unlock! m changed) (take!))
      (let ((x (car queue)))
        (set! queue (cdr queue))
        (set! count (- count 1))
        (mutex-unlock! m)
        (condition-variable-broadcast! changed)
        x)))
(define consumers
  (times 2 (lambda (i) (spawn (lambda ()
    (let loop ((sum 0)) (let ((x (take!))) (if (eq? x 'end) sum (loop (+ sum (apply + x)))))))))))
(define producers
  (times 2 (lambda (i) (spawn (lambda () (do ((k 0 (+ k 1))) ((= k 1000)) (put! (list k 1))))))))
(for-each thread-join! producers)
(put! 'end)
(put! 'end)
(check (apply + (map thread-join! consumers)) => 1001000)

;; symbols made by all threads at once are the same symbols
(define (symbols i) (times 500 (lambda (k) (string->symbol (string-append "s" (number->string k))))))
(check (let ((ls (map thread-join! (times 4 (lambda (i) (spawn (lambda () (symbols i)))))))) (every (lambda (l) (every eq? l (car ls))) ls))
       => (error "too many arguments"))
(define (same? a b) (or (null? a) (and (eq? (car a) (car b)) (same? (cdr a) (cdr b)))))
(check (let ((ls (map thread-join! (times 4 (lambda (i) (spawn (lambda () (symbols i)))))))) (every (lambda (l) (same? l (car ls))) ls)) => #t)

;; continuations and deep recursion in each thread
(define (deep n) (if (= n 0) 0 (+ 1 (deep (- n 1)))))
(check (map thread-join! (times 3 (lambda (i) (spawn (lambda () (deep 100000)))))) => (100000 100000 100000))
(check (map thread-join! (times 3 (lambda (i) (spawn (lambda () (call/cc (lambda (k) (for-each (lambda (x) (if (= x i) (k x))) '(0 1 2)) 'none))))))) => (0 1 2))
;; threads without a mutex on the same table: entries may be lost, but nothing breaks
(define wild (make-eqv-hash-table))
(for-each thread-join! (times 4 (lambda (i) (spawn (lambda ()
  (do ((k 0 (+ k 1))) ((= k 5000)) (hash-table-set! wild (+ k i) (list k)) (hash-table-delete! wild (- k i)) (hash-table-ref/default wild k #f)))))))
(check (hash-table? wild) => #t)
(thread-sleep! 0.01)
(thread-yield!)

(finish 14)
