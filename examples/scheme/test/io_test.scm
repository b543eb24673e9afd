;; Section 6.13: ports, read, write, display; eval and load.
(load "check.scm")

(define (written x) (call-with-output-string (lambda (p) (write x p))))
(define (displayed x) (call-with-output-string (lambda (p) (display x p))))
(define (reread x) (read (open-input-string (written x))))

(check (written '(1 "a\"b\\\n" #\a #\space sym |two words| #t () (1 . 2) #(1 2) #u8(1)))
       => "(1 \"a\\\"b\\\\\\n\" #\\a #\\space sym |two words| #t () (1 . 2) #(1 2) #u8(1))")
(check (displayed '("a" #\b (c))) => "(a b (c))")
(check (written ''a) => "'a")
(check (written '`(a ,b ,@c)) => "`(a ,b ,@c)")
(check (written '(quote)) => "(quote)")
(check (written (string->symbol "")) => "||")
(check (written (string->symbol "12")) => "|12|")
(check (written "λ\x1;") => "\"λ\\x1;\"")
(check (map reread '(#\x0 #\delete #\λ "a\tb" |x y| -1.5 100000000000000000000 (a . (b . (c))) #(() #f)))
       => (#\null #\delete #\λ "a\tb" |x y| -1.5 100000000000000000000 (a b c) #(() #f)))
(check (written car) => "#<procedure car>")
(check (written (let ((f (lambda (x) x))) f)) => "#<procedure f>")

(define (read-all text)
  (let ((p (open-input-string text)))
    (let loop ((l '())) (let ((x (read p))) (if (eof-object? x) (reverse l) (loop (cons x l)))))))
(check (read-all "a ; comment\n #| block #| nested |# |# b #;(skipped) (c . d) #!fold-case 'e")
       => (a b (c . d) 'e))
(check (read-all "#(1 #(2)) #u8(1 2) #t #false #\\x #\\( \"\\x3bb;\"") => (#(1 #(2)) #u8(1 2) #t #f #\x #\( "λ"))
(check (read-all "-  + ... -> 1+ .5 -.5e1 a.b") => (- + ... -> 1+ 0.5 -5.0 a.b))
(define (read-fails text) (guard (e ((read-error? e) (error-object-message e))) (read (open-input-string text))))
(check (map read-fails '("(1 2" "\"abc" "#(1 . 2)" "(. 1)" "(1 . 2 3)" "#\\nosuch" "#u8(256)" "'" "#|" "#zz" "\"\\q\""))
       => ("read: a list that does not end" "read: a string that does not end" "read: a dot where none belongs"
           "read: a dot where none belongs" "read: more than one item behind a dot"
           "read: a character name that is not known" "read: not a byte" "read: something is missing"
           "read: a comment that does not end" "read: a # syntax that is not known"
           "read: an escape that is not known"))
(check (read-fails (make-string 20000 #\()) => "read: nested too deeply")

(check (let ((p (open-input-string "aλ\nxy")))
         (let* ((a (peek-char p)) (b (read-char p)) (c (peek-char p)) (d (read-char p)) (e (read-line p)) (f (read-string 5 p)))
           (list a b c d e f (eof-object? (read-char p)) (eof-object? (read-line p)))))
       => (#\a #\a #\λ #\λ "" "xy" #t #t))
(check (let ((p (open-input-bytevector #u8(1 2)))) (let* ((a (peek-u8 p)) (b (read-u8 p)) (c (read-u8 p))) (list a b c (eof-object? (read-u8 p)))))
       => (1 1 2 #t))
(check (let ((p (open-output-bytevector))) (write-u8 7 p) (write-bytevector #u8(8 9) p) (get-output-bytevector p)) => #u8(7 8 9))

(define name
  (string-append (or (get-environment-variable "TMPDIR") "/tmp") "/mallocgc-scheme-"
                 (number->string (current-jiffy))))
(check (call-with-output-file name (lambda (p) (write '(data "λ" 1.5) p) (newline p) (display "second line" p) 'done)) => done)
(check (call-with-input-file name (lambda (p) (let* ((a (read p)) (b (read-line p)) (c (read-line p))) (list a b c (eof-object? (read-line p))))))
       => ((data "λ" 1.5) "" "second line" #t))
(check (with-input-from-file name (lambda () (read))) => (data "λ" 1.5))
(check (begin (with-output-to-file name (lambda () (display "hello")))
              (with-input-from-file name read-line)) => "hello")
;; more than a buffer's worth, with a character of four bytes across its end
(define long (string-append (make-string 4094 #\a) "𝄞" (make-string 10000 #\b)))
(check (begin (call-with-output-file name (lambda (p) (display long p)))
              (string=? long (call-with-input-file name read-line))) => #t)
(check (string=? long (call-with-input-file name
                        (lambda (p) (let loop ((l '())) (let ((c (peek-char p)))
                          (if (eof-object? c) (list->string (reverse l)) (begin (read-char p) (loop (cons c l))))))))) => #t)
(check (let ((p (open-output-file name))) (close-port p) (guard (e (#t (error-object-message e))) (write 1 p) (display (make-string 5000 #\x) p) 'written))
       => "write: the port is closed")
(check (file-exists? name) => #t)
(check (begin (delete-file name) (file-exists? name)) => #f)
(check (guard (e ((file-error? e) 'file-error)) (delete-file name)) => file-error)
(check (with-output-to-string (lambda () (display "x") (write "y"))) => "x\"y\"")

(check (eval '(* 7 3) (interaction-environment)) => 21)
(check (begin (eval '(define eval-made 5)) (eval '(+ eval-made 1))) => 6)
(check (begin (call-with-output-file name (lambda (p) (write '(define loaded (list 1 2)) p))) (load name) (delete-file name) loaded)
       => (1 2))
(check (let ((l '())) (set! l l) (guard (e (#t 'deep)) (let loop ((n 0) (x '())) (if (< n 30000) (loop (+ n 1) (list x)) (written x))))) => deep)

(finish 34)
