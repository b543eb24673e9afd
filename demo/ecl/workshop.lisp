;; workshop.lisp - compiles a module with ECL's native compiler (Lisp to C to a shared object),
;; loads it, and runs it from several threads at once while the main thread keeps a large tree
;; alive. Writes the module into the current folder.  usage: ecl -norc -shell workshop.lisp
(setf *compile-verbose* nil *compile-print* nil *load-verbose* nil)
(require :cmp)

(defparameter *module*
  '((defstruct (tree (:copier nil)) left key right)
    (defun insert (key tree)                  ; persistent: copies the path from the root
      (cond ((null tree) (make-tree :key key))
            ((< key (tree-key tree))
             (make-tree :left (insert key (tree-left tree)) :key (tree-key tree)
                        :right (tree-right tree)))
            ((> key (tree-key tree))
             (make-tree :left (tree-left tree) :key (tree-key tree)
                        :right (insert key (tree-right tree))))
            (t tree)))
    (defun size (tree)
      (if tree (+ 1 (size (tree-left tree)) (size (tree-right tree))) 0))
    (defun forest (seed count)
      (let ((tree nil) (key seed))
        (dotimes (i count tree)
          (setf key (mod (+ (* key 1103515245) 12345) 2147483648)
                tree (insert (floor key 256) tree)))))
    (defun dictionary (seed count)
      (let ((table (make-hash-table :test 'equal)))
        (dotimes (i count (hash-table-count table))
          (setf (gethash (format nil "~36r" (mod (* (+ i seed) 7919) 4099)) table)
                (list i (make-array 4 :initial-element i) (* i 1.5d0))))))
    (defun factorial (n) (if (<= n 1) 1 (* n (factorial (1- n)))))))

(with-open-file (out "module.lisp" :direction :output :if-exists :supersede)
  (dolist (form *module*)
    (write form :stream out)
    (terpri out)))
(load (compile-file "module.lisp" :output-file "module.fas"))

(let* ((kept (forest 1 40000))
       (workers (loop for i from 1 to 3
                      collect (let ((seed i))
                                (mp:process-run-function
                                 (format nil "worker ~d" i)
                                 (lambda ()
                                   (list (size (forest seed 30000))
                                         (dictionary seed 5000)
                                         (integer-length (factorial 1500)))))))))
  (format t "main: ~a trees~%" (loop for seed from 10 below 14 sum (size (forest seed 20000))))
  (format t "workers: ~a~%" (mapcar #'mp:process-join workers))
  (format t "kept: ~a~%" (size kept)))
(ext:quit 0)
