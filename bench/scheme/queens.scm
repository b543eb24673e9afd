;; queens.scm - all ways to place N queens, as lists. usage: queens.scm [N]
(import (scheme base) (scheme write) (scheme process-context))
(define n (if (pair? (cdr (command-line))) (string->number (cadr (command-line))) 10))

(define (range a b) (if (> a b) '() (cons a (range (+ a 1) b))))

(define (safe? row placed)
  (let loop ((distance 1) (l placed))
    (or (null? l)
        (and (not (= (car l) row))
             (not (= (abs (- (car l) row)) distance))
             (loop (+ distance 1) (cdr l))))))

(define (extend boards)
  (apply append
         (map (lambda (board)
                (let loop ((rows (range 1 n)))
                  (cond ((null? rows) '())
                        ((safe? (car rows) board) (cons (cons (car rows) board) (loop (cdr rows))))
                        (else (loop (cdr rows))))))
              boards)))

(define (solve k) (if (= k 0) '(()) (extend (solve (- k 1)))))

(let ((solutions (solve n)))
  (display (length solutions)) (display " ") (display (car solutions)) (newline))
