;; threads.scm - what Guile asks of its collector besides memory: threads that allocate while others
;; collect, futures, explicit collections, guardians (finalizers), weak tables (disappearing links).
;; usage: guile threads.scm [N]     prints nothing that depends on when a collection happens
(use-modules (ice-9 threads) (ice-9 futures) (srfi srfi-1))

(define n (let ((args (cdr (command-line)))) (if (pair? args) (string->number (car args)) 60000)))

(define (churn seed)                          ; short lists that die in bunches; returns a checksum
  (let loop ((i 0) (kept '()) (sum 0))
    (if (= i n)
        (fold (lambda (e s) (+ s (car e))) sum kept)
        (let ((entry (list i seed (number->string i) (make-vector 6 i))))
          (loop (+ i 1)
                (if (zero? (modulo i 64)) (list entry) (cons entry kept))
                (modulo (+ sum (vector-ref (cadddr entry) 5)) 1000003))))))

(define (say . parts) (for-each display parts) (newline))

(define workers (map (lambda (i) (call-with-new-thread (lambda () (churn i)))) (iota 4)))
(do ((i 0 (+ i 1))) ((= i 5)) (gc))           ; explicit ones, while the others run
(say "threads: " (map join-thread workers))
(say "futures: " (map touch (map (lambda (i) (make-future (lambda () (churn i)))) (iota 4))))
(say "par-map: " (par-map (lambda (i) (churn i)) (iota 3)))

;; Threads that come and go, each leaving something behind for the next.
(say "short threads: "
     (fold (lambda (i sum) (+ sum (join-thread (call-with-new-thread
                                                (lambda () (length (iota 1000)))))))
           0 (iota 60)))

;; A guardian returns objects that nobody else holds; a weak table forgets them.
(define guardian (make-guardian))
(define table (make-weak-key-hash-table))
(define values-table (make-weak-value-hash-table))
(define kept (map (lambda (i) (cons i 'kept)) (iota 1000)))
(define (fill!)
  (for-each (lambda (p) (guardian p) (hashq-set! table p (car p)) (hashv-set! values-table (car p) p))
            kept)
  (do ((i 0 (+ i 1))) ((= i 50000))
    (let ((p (cons i 'dropped)))
      (guardian p)
      (hashq-set! table p i)
      (hashv-set! values-table (+ 1000000 i) p))))
(fill!)
(gc) (gc)
(define returned
  (let loop ((n 0))
    (let ((p (guardian)))
      (cond ((not p) n)
            ((eq? (cdr p) 'kept) (say "a guardian returned an object that is alive: " p) (exit 1))
            (else (loop (+ n 1)))))))
(gc)
(say "guardian returned most: " (> returned 45000))
(say "kept in table: " (count (lambda (p) (eqv? (hashq-ref table p) (car p))) kept)
     ", by value: " (count (lambda (p) (eq? (hashv-ref values-table (car p)) p)) kept))
(say "weak table forgot most: " (< (hash-fold (lambda (k v n) (+ n 1)) 0 table) 6000))
(say "kept objects intact: " (fold (lambda (p sum) (+ sum (car p))) 0 kept))
