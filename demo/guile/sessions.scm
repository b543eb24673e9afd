;; sessions.scm - a server with much state: every request looks up a session, builds an answer and
;; remembers something new. Times each request with the clock and writes the longest, in seconds,
;; to the file named by DEMO_STEPS: the pauses as the program itself feels them.
;; usage: guile sessions.scm [SESSIONS [REQUESTS]]
(use-modules (srfi srfi-1) (srfi srfi-4) (srfi srfi-9))

(define (argument n default)
  (let ((args (command-line)))
    (if (> (length args) n) (string->number (list-ref args n)) default)))
(define nsessions (argument 1 20000))
(define nrequests (argument 2 100000))
(define history-length 64)

(define-record-type session (make-session name history total) session?
  (name session-name)
  (history session-history set-session-history!)
  (total session-total set-session-total!))

(define seed 7)
(define (random-below! n)
  (set! seed (modulo (+ (* seed 1103515245) 12345) 2147483648))
  (modulo (quotient seed 256) n))

(define (name-of i) (string-append "user-" (number->string i 36)))

(define sessions (make-hash-table nsessions))
(do ((i 0 (+ i 1))) ((= i nsessions))
  (hash-set! sessions (name-of i)
             (make-session (name-of i)
                           (map (lambda (k) (cons k (* i k))) (iota history-length))
                           0)))

(define (serve request)
  (let* ((name (name-of (random-below! nsessions)))
         (session (hash-ref sessions name))
         (item (cons request (random-below! 1000)))
         (history (cons item (list-head (session-history session) (- history-length 1))))
         (answer (string-append "hello " name ", you are at "
                                (number->string (fold (lambda (e n) (+ n (cdr e))) 0
                                                      (list-head history 8))))))
    (set-session-history! session history)
    (set-session-total! session (+ (session-total session) (string-length answer)))
    (string-length answer)))

(define steps (make-f64vector nrequests 0.0)) ; no pointers in it, nothing to trace
(define length-of-answers
  (let loop ((i 0) (sum 0) (before (get-internal-real-time)))
    (if (= i nrequests)
        sum
        (let* ((n (serve i)) (after (get-internal-real-time)))
          (f64vector-set! steps i (exact->inexact (- after before)))
          (loop (+ i 1) (+ sum n) after)))))

(format #t "~a sessions, ~a requests, ~a characters answered\n"
        (hash-count (const #t) sessions) nrequests length-of-answers)
(format #t "totals: ~a\n" (hash-fold (lambda (k s sum) (+ sum (session-total s))) 0 sessions))

(let ((file (getenv "DEMO_STEPS")))
  (when file
    (call-with-output-file file
      (lambda (port)
        (let loop ((i 0) (longest 0.0))
          (if (= i nrequests)
              (format port "~a\n" (/ longest (exact->inexact internal-time-units-per-second)))
              (loop (+ i 1) (max longest (f64vector-ref steps i)))))))))
