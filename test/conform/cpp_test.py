#!/usr/bin/env python3
"""cpp_test.py MALLOCGC - mallocgc.hpp by each compiler and standard that is here, also with the inlined paths; and
what it refuses, with the words in which it does."""
import os
import shutil
import subprocess
import tempfile
import unittest
import command

WAYS = [("g++", "unit", ["-std=c++20"]),
        ("clang++-19", "stress", ["-std=c++17", "-include", "mallocgc-inline.h"])]
COMPILERS = [compiler for compiler, _, _ in WAYS if shutil.which(compiler)]
FLAGS = ["-O1", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror", "-I",
         os.path.join(command.TOP, "include")]
START = """#include <mallocgc.hpp>
#include <string>
#include <vector>
struct node { mgc::gc_ptr<node> next; using gc_layout = mgc::members<&node::next>; };
struct loose { void *p; };
"""
REFUSED = [
    ("struct bad { std::string text; }; auto *p = mgc::gc_new<bad>();", "gc_new_finalized does"),
    ("std::vector<node *, mgc::gc_allocator<node *>> v; void f() { v.push_back(nullptr); }",
     "use mgc::gc_ptr"),
    ("struct outer { loose l; using gc_layout = mgc::members<&outer::l>; }; auto *p = mgc::gc_new<outer>();",
     "needs an exact layout of its own"),
    ("struct alignas(64) lines { char c[64]; }; auto *p = mgc::gc_new<lines>();", "aligned to 8 bytes, to 16"),
    ("struct other { mgc::gc_ptr<node> n; using gc_layout = mgc::members<&node::next>; };"
     "auto *p = mgc::gc_new<other>();", "a member of another type"),
    ("mgc::gc_ptr<node> p = mgc::gc_new<loose>();", "conver"),
    ("mgc::gc_handle<node> a, b(a);", "deleted|delete"),
]


def compile_it(compiler, *arguments):
    return subprocess.run([compiler, *FLAGS, *arguments], capture_output=True, text=True)


class Header(unittest.TestCase):
    def test_compilers(self):
        """The tests themselves, in ways in which the build does not compile them."""
        self.assertTrue(COMPILERS)
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "program")
            for compiler, kind, more in [way for way in WAYS if way[0] in COMPILERS]:
                source = os.path.join(command.TOP, "test", kind, "cpp_test.cc")
                done = compile_it(compiler, *more, "-I", os.path.join(command.TOP, "test"), source,
                                  "-o", program, "-L", command.beside("lib"), "-lmallocgc",
                                  "-Wl,-rpath," + command.beside("lib"), "-pthread")
                self.assertEqual(done.returncode, 0, done.stderr)
                ran = subprocess.run([program], capture_output=True, text=True, timeout=60,
                                     env=dict(os.environ, MGC_TEST_SECONDS="0.5"))
                self.assertEqual(ran.returncode, 0, ran.stderr)
                self.assertIn("passed", ran.stdout)

    def test_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "refused.cc")
            for compiler in COMPILERS:
                for text, words in REFUSED + [("node *p = mgc::gc_new<node>();", None)]:
                    with open(source, "w", encoding="utf-8") as file:
                        file.write(START + text + "\n")
                    done = compile_it(compiler, "-std=c++17", "-fsyntax-only", source)
                    self.assertEqual(done.returncode == 0, words is None, text + done.stderr)
                    if words is not None:
                        self.assertRegex(done.stderr, words)


command.main()
