;; prelude.scm - what of Scheme is written in Scheme: derived forms, and procedures that call procedures, so
;; that a continuation may be taken inside any of them. It is compiled each time the interpreter starts.

;; ── derived forms ──

(define-syntax and
  (syntax-rules ()
    ((_) #t)
    ((_ e) e)
    ((_ e more ...) (if e (and more ...) #f))))

(define-syntax or
  (syntax-rules ()
    ((_) #f)
    ((_ e) e)
    ((_ e more ...) (let ((x e)) (if x x (or more ...))))))

(define-syntax when
  (syntax-rules () ((_ test e ...) (if test (begin e ...)))))

(define-syntax unless
  (syntax-rules () ((_ test e ...) (if test #f (begin e ...)))))

(define-syntax cond
  (syntax-rules (else =>)
    ((_ (else e ...)) (begin e ...))
    ((_ (test => f)) (let ((x test)) (if x (f x))))
    ((_ (test => f) clause ...) (let ((x test)) (if x (f x) (cond clause ...))))
    ((_ (test)) test)
    ((_ (test) clause ...) (let ((x test)) (if x x (cond clause ...))))
    ((_ (test e ...)) (if test (begin e ...)))
    ((_ (test e ...) clause ...) (if test (begin e ...) (cond clause ...)))))

(define-syntax case
  (syntax-rules ()
    ((_ (key ...) clause ...) (let ((x (key ...))) (case x clause ...)))
    ((_ key clause ...) (%case key clause ...))))

(define-syntax %case
  (syntax-rules (else =>)
    ((_ key) #f)
    ((_ key (else => f)) (f key))
    ((_ key (else e ...)) (begin e ...))
    ((_ key ((datum) => f) clause ...) (if (eqv? key 'datum) (f key) (%case key clause ...)))
    ((_ key ((datum) e ...) clause ...) (if (eqv? key 'datum) (begin e ...) (%case key clause ...)))
    ((_ key ((datum ...) => f) clause ...) (if (memv key '(datum ...)) (f key) (%case key clause ...)))
    ((_ key ((datum ...) e ...) clause ...)
     (if (memv key '(datum ...)) (begin e ...) (%case key clause ...)))))

(define-syntax let*
  (syntax-rules ()
    ((_ () body ...) (let () body ...))
    ((_ (binding) body ...) (let (binding) body ...))
    ((_ (binding more ...) body ...) (let (binding) (let* (more ...) body ...)))))

(define-syntax do
  (syntax-rules ()
    ((_ ((var init step ...) ...) (test e ...) command ...)
     (let loop ((var init) ...)
       (if test
           (begin #f e ...)
           (begin command ... (loop (%do-step var step ...) ...)))))))

(define-syntax %do-step
  (syntax-rules () ((_ var) var) ((_ var step) step)))

(define-syntax let-values
  (syntax-rules ()
    ((_ () body ...) (let () body ...))
    ((_ ((formals e) more ...) body ...)
     (call-with-values (lambda () e) (lambda formals (let-values (more ...) body ...))))))

(define-syntax let*-values
  (syntax-rules () ((_ bindings body ...) (let-values bindings body ...))))

(define-syntax receive
  (syntax-rules () ((_ formals e body ...) (call-with-values (lambda () e) (lambda formals body ...)))))

(define-syntax define-values
  (syntax-rules ()
    ((_ (var ...) e) (%define-values e () (var ...) #f))
    ((_ (var ... . rest) e) (%define-values e () (var ...) rest))
    ((_ var e) (define var (call-with-values (lambda () e) list)))))

(define-syntax %define-values
  (syntax-rules ()
    ((_ e ((var temp) ...) () #f)
     (begin (define var #f) ...
            (define unused (call-with-values (lambda () e) (lambda (temp ...) (set! var temp) ...)))))
    ((_ e ((var temp) ...) () rest)
     (begin (define var #f) ... (define rest #f)
            (define unused
              (call-with-values (lambda () e) (lambda (temp ... . r) (set! var temp) ... (set! rest r))))))
    ((_ e (done ...) (var more ...) rest) (%define-values e (done ... (var temp)) (more ...) rest))))

(define-syntax case-lambda
  (syntax-rules ()
    ((_ (formals body ...) ...)
     (lambda args (%case-lambda args (length args) (formals body ...) ...)))))

(define-syntax %case-lambda
  (syntax-rules ()
    ((_ args n) (error "case-lambda: no clause for these arguments" args))
    ((_ args n ((p ...) body ...) clause ...)
     (if (= n (length '(p ...))) (apply (lambda (p ...) body ...) args) (%case-lambda args n clause ...)))
    ((_ args n ((p ... . rest) body ...) clause ...)
     (if (>= n (length '(p ...)))
         (apply (lambda (p ... . rest) body ...) args)
         (%case-lambda args n clause ...)))))

(define-syntax define-record-type
  (syntax-rules ()
    ((_ (type . more) spec ...) (define-record-type type spec ...))
    ((_ type #f pred field ...)
     (begin (define type (%make-record-type 'type (map %field-name '(field ...))))
            (define pred (%record-predicate type))
            (%define-field type field) ...))
    ((_ type (make var ...) pred field ...)
     (begin (define type (%make-record-type 'type (map %field-name '(field ...))))
            (define make (%record-constructor type '(var ...)))
            (define pred (%record-predicate type))
            (%define-field type field) ...))
    ((_ type make pred field ...)
     (begin (define type (%make-record-type 'type (map %field-name '(field ...))))
            (define make (%record-constructor type (map %field-name '(field ...))))
            (define pred (%record-predicate type))
            (%define-field type field) ...))))

(define-syntax %define-field
  (syntax-rules ()
    ((_ type (name)) (begin))
    ((_ type (name get)) (define get (%record-accessor type 'name)))
    ((_ type (name get set))
     (begin (define get (%record-accessor type 'name)) (define set (%record-modifier type 'name))))
    ((_ type name) (begin))))

(define (%field-name spec) (if (pair? spec) (car spec) spec))

(define-syntax cond-expand
  (syntax-rules (and or not else library r7rs mallocgc full-unicode)
    ((_) (begin))
    ((_ (else e ...)) (begin e ...))
    ((_ ((and) e ...) more ...) (begin e ...))
    ((_ ((and a b ...) e ...) more ...)
     (cond-expand (a (cond-expand ((and b ...) e ...) more ...)) more ...))
    ((_ ((or) e ...) more ...) (cond-expand more ...))
    ((_ ((or a b ...) e ...) more ...)
     (cond-expand (a e ...) (else (cond-expand ((or b ...) e ...) more ...))))
    ((_ ((not a) e ...) more ...) (cond-expand (a (cond-expand more ...)) (else e ...)))
    ((_ ((library name) e ...) more ...) (cond-expand more ...))
    ((_ (r7rs e ...) more ...) (begin e ...))
    ((_ (mallocgc e ...) more ...) (begin e ...))
    ((_ (full-unicode e ...) more ...) (begin e ...))
    ((_ (other e ...) more ...) (cond-expand more ...))))

;; (import …) of a program is accepted and means nothing: everything is there.
(define-syntax import (syntax-rules () ((_ set ...) (begin))))

;; ── lists ──

(define (map f list . more)
  (if (null? more)
      (let loop ((l list) (done '()))
        (if (pair? l) (loop (cdr l) (cons (f (car l)) done)) (reverse done)))
      (let loop ((ls (cons list more)) (done '()))
        (if (%all-pairs? ls)
            (loop (%map1 cdr ls) (cons (apply f (%map1 car ls)) done))
            (reverse done)))))

(define (%map1 f l) (if (pair? l) (cons (f (car l)) (%map1 f (cdr l))) '()))
(define (%all-pairs? ls) (or (null? ls) (and (pair? (car ls)) (%all-pairs? (cdr ls)))))

(define (for-each f list . more)
  (if (null? more)
      (let loop ((l list))
        (when (pair? l) (f (car l)) (loop (cdr l))))
      (let loop ((ls (cons list more)))
        (when (%all-pairs? ls) (apply f (%map1 car ls)) (loop (%map1 cdr ls))))))

(define (append-map f . lists) (apply append (apply map f lists)))

(define (filter keep? list)
  (let loop ((l list) (done '()))
    (if (pair? l) (loop (cdr l) (if (keep? (car l)) (cons (car l) done) done)) (reverse done))))

(define (reduce f start list)
  (if (null? list) start (fold f (car list) (cdr list))))

(define (fold f acc list)
  (if (pair? list) (fold f (f (car list) acc) (cdr list)) acc))

(define (fold-left f acc list)
  (if (pair? list) (fold-left f (f acc (car list)) (cdr list)) acc))

(define (fold-right f end list)
  (if (pair? list) (f (car list) (fold-right f end (cdr list))) end))

(define (delete x list) (filter (lambda (y) (not (equal? x y))) list))
(define (last-pair list) (if (pair? (cdr list)) (last-pair (cdr list)) list))
(define (list-set! list k x) (set-car! (list-tail list k) x))
(define (list-index f list)
  (let loop ((l list) (i 0))
    (cond ((null? l) #f) ((f (car l)) i) (else (loop (cdr l) (+ i 1))))))
(define (iota n . more)
  (let ((start (if (pair? more) (car more) 0))
        (step (if (and (pair? more) (pair? (cdr more))) (cadr more) 1)))
    (do ((i (- n 1) (- i 1)) (l '() (cons (+ start (* i step)) l))) ((< i 0) l))))
(define (any f list) (and (pair? list) (or (f (car list)) (any f (cdr list)))))
(define (every f list) (or (null? list) (and (f (car list)) (every f (cdr list)))))

(define (member x list . more)
  (if (null? more)
      (%member x list)
      (let loop ((l list)) (cond ((null? l) #f) (((car more) x (car l)) l) (else (loop (cdr l)))))))

(define (assoc x list . more)
  (if (null? more)
      (%assoc x list)
      (let loop ((l list))
        (cond ((null? l) #f) (((car more) x (caar l)) (car l)) (else (loop (cdr l)))))))

;; A merge sort: stable; takes (sort list less?) and (sort less? list), and vectors.
(define (sort a b)
  (let ((seq (if (procedure? a) b a)) (less? (if (procedure? a) a b)))
    (if (vector? seq)
        (list->vector (%sort-list (vector->list seq) less?))
        (%sort-list seq less?))))
(define list-sort sort)

(define (%merge a b less?)
  (let loop ((a a) (b b) (done '()))
    (cond ((null? a) (%append-reverse done b))
          ((null? b) (%append-reverse done a))
          ((less? (car b) (car a)) (loop a (cdr b) (cons (car b) done)))
          (else (loop (cdr a) b (cons (car a) done))))))
(define (%append-reverse l tail) (if (null? l) tail (%append-reverse (cdr l) (cons (car l) tail))))
(define (%sort-list l less?)
  (let sort ((l l) (n (length l)))
    (cond ((= n 0) '())
          ((= n 1) (list (car l)))
          (else (let ((half (quotient n 2)))
                  (%merge (sort l half) (sort (list-tail l half) (- n half)) less?))))))

;; ── numbers ──

(define (abs x) (if (negative? x) (- x) x))
(define magnitude abs)
(define (%extreme better? first rest)
  (let loop ((m first) (l rest) (exact (exact? first)))
    (if (null? l)
        (if exact m (inexact m))
        (loop (if (better? (car l) m) (car l) m) (cdr l) (and exact (exact? (car l)))))))
(define (max x . more) (%extreme > x more))
(define (min x . more) (%extreme < x more))
(define (gcd . l)
  (fold-left (lambda (a b) (let loop ((a (abs a)) (b (abs b))) (if (zero? b) a (loop b (remainder a b))))) 0 l))
(define (lcm . l)
  (fold-left (lambda (a b) (if (or (zero? a) (zero? b)) 0 (abs (* b (quotient a (gcd a b)))))) 1 l))
(define (square x) (* x x))
(define (floor/ a b) (values (floor-quotient a b) (floor-remainder a b)))
(define (truncate/ a b) (values (quotient a b) (remainder a b)))
(define (exact-integer-sqrt n) (let ((r (%isqrt n))) (values r (- n (* r r)))))
(define exact->inexact inexact)
(define inexact->exact exact)
(define (1+ x) (+ x 1))
(define (boolean=? a b . more) (and (eq? a b) (or (null? more) (apply boolean=? b more))))
(define (symbol=? a b . more) (and (eq? a b) (or (null? more) (apply symbol=? b more))))

;; ── strings and vectors ──

(define (string-map f s . more) (list->string (apply map f (string->list s) (map string->list more))))
(define (string-for-each f s . more) (apply for-each f (string->list s) (map string->list more)))
(define (string-count s f) (length (filter f (string->list s))))
(define (string->vector s . range) (list->vector (apply string->list s range)))
(define (vector->string v . range) (list->string (apply vector->list v range)))
(define (string-join strings . more)
  (let ((between (if (pair? more) (car more) " ")))
    (if (null? strings)
        ""
        (apply string-append (car strings)
               (append-map (lambda (s) (list between s)) (cdr strings))))))
(define (vector-map f v . more)
  (if (null? more)
      (let* ((n (vector-length v)) (r (make-vector n)))
        (do ((i 0 (+ i 1))) ((= i n) r) (vector-set! r i (f (vector-ref v i)))))
      (list->vector (apply map f (vector->list v) (map vector->list more)))))
(define (vector-for-each f v . more)
  (if (null? more)
      (do ((i 0 (+ i 1))) ((= i (vector-length v))) (f (vector-ref v i)))
      (apply for-each f (vector->list v) (map vector->list more))))

;; ── hash tables ──

(define (hash-table-ref table key . more)
  (let* ((none (list #f)) (x (hash-table-ref/default table key none)))
    (cond ((not (eq? x none)) (if (and (pair? more) (pair? (cdr more))) ((cadr more) x) x))
          ((pair? more) ((car more)))
          (else (error "hash-table-ref: no such key" key)))))
(define (hash-table-update! table key f . more)
  (hash-table-set! table key (f (apply hash-table-ref table key more))))
(define (hash-table-update!/default table key f default)
  (hash-table-set! table key (f (hash-table-ref/default table key default))))
(define (hash-table-walk table f)
  (for-each (lambda (e) (f (car e) (cdr e))) (hash-table->alist table)))
(define (hash-table-keys table) (map car (hash-table->alist table)))
(define (hash-table-values table) (map cdr (hash-table->alist table)))
(define (alist->hash-table list . more)
  (let ((table (apply make-hash-table more)))
    (for-each (lambda (e) (hash-table-set! table (car e) (cdr e))) (reverse list))
    table))

;; ── control ──

(define (call-with-values producer consumer) (%apply-values consumer (producer)))

(define (dynamic-wind before thunk after)
  (before)
  (%set-winders! (cons (cons before after) (%winders)))
  (call-with-values thunk
    (lambda results
      (%set-winders! (cdr (%winders)))
      (after)
      (apply values results))))

;; %rewind - the machine calls it when a continuation with other winders is entered.
(define (%rewind k result)
  (let* ((to (%continuation-winders k)) (common (%common-tail (%winders) to)))
    (let leave ()
      (if (not (eq? (%winders) common))
          (let ((w (car (%winders))))
            (%set-winders! (cdr (%winders)))
            ((cdr w))
            (leave))))
    (let enter ((l to))
      (if (not (eq? l common))
          (begin (enter (cdr l))
                 ((car (car l)))
                 (%set-winders! l))))
    (%resume k result)))

(define (%common-tail a b)
  (let loop ((a a) (na (length a)) (b b) (nb (length b)))
    (cond ((> na nb) (loop (cdr a) (- na 1) b nb))
          ((> nb na) (loop a na (cdr b) (- nb 1)))
          ((eq? a b) a)
          (else (loop (cdr a) (- na 1) (cdr b) (- nb 1))))))

(define (call-with-escape-continuation f) (call/cc f))

(define (make-parameter value . more)
  (if (pair? more)
      (%make-parameter ((car more) value) (car more))
      (%make-parameter value #f)))

(define (%convert parameter value)
  (let ((converter (%parameter-converter parameter))) (if converter (converter value) value)))

(define-syntax parameterize
  (syntax-rules ()
    ((_ () body ...) (let () body ...))
    ((_ ((p v) ...) body ...)
     (%with-parameters (%bind-all (list (cons p v) ...)) (lambda () body ...)))))

(define (%bind-all list)
  (let loop ((l list) (bound (%parameters)))
    (if (null? l)
        bound
        (loop (cdr l) (%bind-parameter (caar l) (%convert (caar l) (cdar l)) bound)))))

(define (%with-parameters bound thunk)
  (let ((outer (%parameters)))
    (%set-parameters! bound)
    (call-with-values thunk
      (lambda results
        (%set-parameters! outer)
        (apply values results)))))

;; ── conditions ──

(define (with-exception-handler handler thunk)
  (let ((outer (%handlers)))
    (%set-handlers! (cons handler outer))
    (call-with-values thunk
      (lambda results
        (%set-handlers! outer)
        (apply values results)))))

;; %call-handler - the innermost handler is called with the outer ones in place.
(define (%call-handler condition)
  (let ((handlers (%handlers)))
    (if (null? handlers) (%uncaught condition))
    (%set-handlers! (cdr handlers))
    (call-with-values (lambda () ((car handlers) condition))
      (lambda results
        (%set-handlers! handlers)
        (apply values results)))))

(define (raise-continuable condition) (%call-handler condition))

(define (raise condition)
  (%call-handler condition)
  (let ((handlers (%handlers)))
    (%set-handlers! (if (pair? handlers) (cdr handlers) '()))
    (raise (%make-error 'error "a handler returned from raise" (list condition)))))

(define (error message . irritants) (raise (%make-error 'error message irritants)))
(define (error-object-message e) (%error-part e 1))
(define (error-object-irritants e) (%error-part e 2))
(define (%error-of? type) (lambda (e) (and (error-object? e) (eq? (%error-part e 0) type))))
(define read-error? (%error-of? 'read))
(define file-error? (%error-of? 'file))
(define uncaught-exception? (%error-of? 'uncaught-exception))
(define (uncaught-exception-reason e) (car (error-object-irritants e)))

(define-syntax guard
  (syntax-rules ()
    ((_ (var clause ...) body ...)
     ((call/cc
       (lambda (guard-k)
         (with-exception-handler
          (lambda (condition)
            ((call/cc
              (lambda (handler-k)
                (guard-k
                 (lambda ()
                   (let ((var condition))
                     (%guard-clauses
                      (handler-k (lambda () (raise-continuable condition)))
                      clause ...))))))))
          (lambda ()
            (call-with-values (lambda () body ...)
              (lambda results (guard-k (lambda () (apply values results)))))))))))))

(define-syntax %guard-clauses
  (syntax-rules (else =>)
    ((_ reraise (else e ...)) (begin e ...))
    ((_ reraise (test => f)) (let ((x test)) (if x (f x) reraise)))
    ((_ reraise (test => f) clause ...) (let ((x test)) (if x (f x) (%guard-clauses reraise clause ...))))
    ((_ reraise (test)) (or test reraise))
    ((_ reraise (test) clause ...) (or test (%guard-clauses reraise clause ...)))
    ((_ reraise (test e ...)) (if test (begin e ...) reraise))
    ((_ reraise (test e ...) clause ...) (if test (begin e ...) (%guard-clauses reraise clause ...)))))

(define-syntax assert
  (syntax-rules () ((_ e) (if e #t (error "assertion failed" 'e)))))

;; ── promises ──

(define-record-type promise (%make-promise cell) promise? (cell %promise-cell %set-promise-cell!))
(define-syntax delay-force
  (syntax-rules () ((_ e) (%make-promise (cons #f (lambda () e))))))
(define-syntax make-lazy (syntax-rules () ((_ e) (delay-force e))))
(define-syntax delay
  (syntax-rules () ((_ e) (delay-force (%make-promise (cons #t e))))))
(define (make-promise x) (if (promise? x) x (%make-promise (cons #t x))))
(define (force p)
  (if (not (promise? p))
      p
      (let ((cell (%promise-cell p)))
        (if (car cell)
            (cdr cell)
            (let* ((next ((cdr cell))) (cell (%promise-cell p)))
              (if (not (car cell))
                  (let ((next-cell (%promise-cell next)))
                    (set-car! cell (car next-cell))
                    (set-cdr! cell (cdr next-cell))
                    (%set-promise-cell! next cell)))
              (force p))))))
(define-syntax cons-stream
  (syntax-rules () ((_ a b) (cons a (delay b)))))

;; ── ports ──

(define (call-with-port port f)
  (call-with-values (lambda () (f port))
    (lambda results (close-port port) (apply values results))))
(define (call-with-input-file name f) (call-with-port (open-input-file name) f))
(define (call-with-output-file name f) (call-with-port (open-output-file name) f))
(define (with-input-from-file name thunk)
  (call-with-input-file name (lambda (p) (parameterize ((current-input-port p)) (thunk)))))
(define (with-output-to-file name thunk)
  (call-with-output-file name (lambda (p) (parameterize ((current-output-port p)) (thunk)))))
(define (call-with-output-string f) (let ((p (open-output-string))) (f p) (get-output-string p)))
(define (with-output-to-string thunk)
  (call-with-output-string (lambda (p) (parameterize ((current-output-port p)) (thunk)))))
(define (textual-port? p) (port? p))
(define (binary-port? p) (port? p))
(define (char-ready? . p) #t)
(define (write-bytevector bytes . more)
  (let ((p (if (pair? more) (car more) (current-output-port))))
    (do ((i 0 (+ i 1))) ((= i (bytevector-length bytes))) (write-u8 (bytevector-u8-ref bytes i) p))))

(define (load name . environment)
  (call-with-input-file name
    (lambda (p)
      (let loop ((form (read p)))
        (unless (eof-object? form)
          (eval form)
          (loop (read p)))))))

(define (command-line) %command-line)
(define (interaction-environment) #f)
(define (scheme-report-environment version) #f)
(define (features) '(r7rs full-unicode mallocgc))
(define (runtime) (inexact (/ (current-jiffy) (jiffies-per-second))))
