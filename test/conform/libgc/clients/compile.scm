;; compile.scm - Guile's own compiler, written in Scheme, compiles one of its own modules; prints a
;; hash of the object code, which must not depend on the collector.
;; usage: guile compile.scm [MODULE-FILE]
(use-modules (system base compile) (rnrs bytevectors) (ice-9 binary-ports))

(define file
  (let ((args (cdr (command-line))))
    (%search-load-path (if (pair? args) (car args) "language/tree-il/primitives.scm"))))
(unless file (display "no such file in the load path\n") (exit 1))

(define out (tmpnam))
(compile-file file #:output-file out)
(define code (call-with-input-file out get-bytevector-all #:binary #t))
(delete-file out)
(define (hash bytes)
  (let loop ((i 0) (h 17))
    (if (= i (bytevector-length bytes))
        h
        (loop (+ i 1) (modulo (+ (* h 131) (bytevector-u8-ref bytes i)) 1000000007)))))
(display (list (basename file) (bytevector-length code) (hash code)))
(newline)
