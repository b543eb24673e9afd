;; Every procedure there is, called with arguments of every kind: each call returns or raises, and the
;; interpreter lives. What ends the process, waits, or takes the machine apart (%…) is left out.
(load "check.scm")

(define left-out
  '(exit emergency-exit thread-sleep! thread-join! mutex-lock! mutex-unlock! gc gc-set-memory-limit! delete-file
    read read-char peek-char read-line read-string read-u8 peek-u8 load with-output-to-file open-output-file
    open-binary-output-file call-with-output-file with-exception-handler finish report-check check-all eval
    close-port close-output-port close-input-port call-with-port display write newline write-string write-char
    write-u8 write-shared write-simple write-bytevector arithmetic-shift expt exact-integer-sqrt
    dynamic-wind left-out odd-values try-all make-list make-vector make-string make-bytevector iota list-set! thread-start!))

(define (inner? name) (char=? #\% (string-ref (symbol->string name) 0)))

(define odd-values
  (list 0 1 -1 3 255 256 4611686018427387903 (expt 2 70) (- (expt 2 70)) 1.5 (/ 0.0 0.0) #t #f '() (eof-object)
        'sym "" "text" "λ" #\a #\λ '(1 2) '(1 . 2) '((a . 1)) (vector) (vector 1 2) (bytevector) (bytevector 1 2)
        car (lambda (x) x) (lambda args args) (make-parameter 1) (make-equal-hash-table) (current-output-port)
        (open-input-string "some text") (open-output-string) (make-mutex)
        (make-thread (lambda () 1)) (delay 1) (guard (e (#t e)) (car 1))))

(define calls 0)

;; try-all - the procedure with n arguments, stepping through the odd values with different strides.
(define (try-all name n)
  (let ((f (eval name)) (len (length odd-values)))
    (do ((i 0 (+ i 1))) ((= i len))
      (let ((args (do ((k 0 (+ k 1)) (l '() (cons (list-ref odd-values (modulo (+ i (* k 7) (* i k 5)) len)) l)))
                      ((= k n) l))))
        (set! calls (+ calls 1))
        (call/cc (lambda (k)
          (with-exception-handler (lambda (e) (k 'raised))
            (lambda () (apply f args)))))))))

(for-each
  (lambda (name)
    (if (and (procedure? (eval name)) (not (memq name left-out)) (not (inner? name)))
        (for-each (lambda (n) (try-all name n)) '(0 1 2 3 4))))
  (%globals))
(gc)
(check (> calls 20000) => #t)
(check (+ 1 1) => 2)
(finish 2)
