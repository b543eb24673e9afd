#!/usr/bin/env python3
"""cpp_test.py MALLOCGC - mallocgc.hpp by each compiler and standard that is here, also with the inlined paths; and
what it refuses, with the words in which it does."""
import os
import shutil
import signal
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
PLAIN = """#include <cstdlib>
int main(int, char **argv)
{
	std::vector<mgc::gc_ptr<node>, mgc::gc_allocator<mgc::gc_ptr<node>>> all;
	std::pmr::vector<mgc::gc_ptr<node>> more(mgc::resource());
	for (int i = 0, n = std::atoi(argv[1]); i < n; i++) {
		all.emplace_back(mgc::gc_new<node>());
		more.push_back(all.back());
	}
	return all.back() == more.back() ? 0 : 1;
}
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

    def test_without_exceptions(self):
        """A program without exceptions and run-time types compiles, and ends with a message where others throw."""
        with tempfile.TemporaryDirectory() as folder:
            source, program = os.path.join(folder, "plain.cc"), os.path.join(folder, "plain")
            with open(source, "w", encoding="utf-8") as file:
                file.write(START + PLAIN)
            for compiler in COMPILERS:
                done = compile_it(compiler, "-std=c++17", "-fno-exceptions", "-fno-rtti", source, "-o", program, "-L",
                                  command.beside("lib"), "-lmallocgc", "-Wl,-rpath," + command.beside("lib"))
                self.assertEqual(done.returncode, 0, done.stderr)
                for argument, status in (("1000", 0), ("2000000", -signal.SIGABRT)):
                    ran = subprocess.run([program, argument], capture_output=True, text=True, timeout=60,
                                         env=dict(os.environ, MGC_LIMIT="16MiB"))
                    self.assertEqual(ran.returncode, status, ran.stderr)
                    self.assertEqual("out of memory" in ran.stderr, status != 0, ran.stderr)

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
