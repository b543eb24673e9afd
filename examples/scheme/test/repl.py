#!/usr/bin/env python3
"""repl.py SCHEME - what the interpreter prints as a REPL and as a command, errors included."""
import os
import signal
import subprocess
import sys
import time

SCHEME = sys.argv[1]


def run(text, *args, env=None):
    done = subprocess.run([SCHEME, *args], input=text, capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, **(env or {})))
    return done.stdout, done.stderr, done.returncode


def check(got, expected):
    if got != expected:
        sys.exit(f"got      {got!r}\nexpected {expected!r}")


# An error ends its form and not the session; definitions before it stay.
check(run('(define x 2)\n(car x)\n(vector-ref (vector 1) x)\n(no-such)\n(if)\n(raise \'(a "b"))\n'
          '(error "mine:" \'why "s")\n(* x 21)\n"s"\n(if #f #f)\n(call/cc (lambda (k) (set! x k) 1))\n(x 7)\n'),
      ('42\n"s"\n1\n7\n',
       'error: car: not a pair 2\n'
       'error: vector-ref: not an index in range 2\n'
       'error: undefined variable no-such\n'
       'error: bad syntax (if)\n'
       'error: raised: (a "b")\n'
       'error: mine: why "s"\n', 0))
# A script: what was printed is not lost, and the exit status says how it went.
check(run("", "/no/such/file.scm"), ("", 'error: cannot be opened "/no/such/file.scm"\n', 1))
check(run("(display 1) (exit 7)")[::2], ("1", 7))
check(run("(write (command-line))", "/dev/stdin", "a", "b"), ('("/dev/stdin" "a" "b")', "", 0))
check(run("(display 'before) (car '()) (display 'after)", "/dev/stdin"),
      ("before", "error: car: not a pair ()\n", 1))

# A heap that may not grow: the program is told, and goes on.
grow = """
(define (grow n l) (if (= n 0) l (grow (- n 1) (cons (make-vector 1000 n) l))))
(define (try thunk)
  (call/cc (lambda (k) (with-exception-handler (lambda (e) (k (error-object-message e))) thunk))))
(display (try (lambda () (grow 100000 '())))) (newline)
(define (some n) ; again, should a stale word of the stack have kept the list
  (let ((r (try (lambda () (length (grow 100 '())))))) (if (or (number? r) (= n 0)) r (some (- n 1)))))
(display (some 3))"""
check(run(grow, "/dev/stdin", env={"MGC_LIMIT": "48MiB"}), ("out of memory\n100", "", 0))

# ^C ends a loop and not the session.
child = subprocess.Popen([SCHEME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)
child.stdin.write("(display 'go)(newline)(flush-output-port)(let loop ((i 0)) (loop (+ i 1)))\n")
child.stdin.flush()
check(child.stdout.readline(), "go\n")
time.sleep(0.1)
child.send_signal(signal.SIGINT)
out, err = child.communicate("(+ 1 2)\n", timeout=60)
check((out, err, child.returncode), ("3\n", "error: interrupted\n", 0))
print("repl: as expected")
