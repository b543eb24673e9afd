;; check.scm - the harness of the tests: (check EXPRESSION => DATUM), and (finish N) at the end, which fails
;; unless N checks were made and all of them passed.
(define checks 0)
(define failures 0)

(define (report-check form got expected)
  (set! checks (+ checks 1))
  (unless (equal? got expected)
    (set! failures (+ failures 1))
    (display "not so: ") (write form)
    (display " gives ") (write got)
    (display ", expected ") (write expected) (newline)))

(define-syntax check
  (syntax-rules (=>)
    ((_ e => datum)
     (report-check 'e (guard (c (#t (if (error-object? c) (list 'error (error-object-message c)) (list 'raised c)))) e)
                   'datum))))

(define (finish n)
  (display checks) (display " checks, ") (display failures) (display " failures") (newline)
  (exit (and (= checks n) (= failures 0))))
