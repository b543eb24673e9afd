#!/usr/bin/env python3
"""cxx_test.py - operator new of the malloc library in a C++ program that has no memory: the throwing forms ask the
new-handler and throw, the nothrow forms ask it, too, and give NULL when it throws.

usage: cxx_test.py COMMAND      (its library lies in ../lib)"""
import os
import shutil
import subprocess
import sys
import tempfile

PROGRAM = r"""
#include <cstdio>
#include <cstdlib>
#include <new>

static int asked;
static void throws() { asked++; throw std::bad_alloc(); }
static void gives_up() { if (++asked == 3) std::set_new_handler(nullptr); }
static volatile std::size_t huge = std::size_t(1) << 62;
static void must(bool ok, int line) { if (!ok) { std::printf("line %d\n", line); std::exit(1); } }
#define MUST(what) must(what, __LINE__)

template <class F> static bool throws_bad_alloc(F f)
{
	try { f(); } catch (std::bad_alloc &) { return true; }
	return false;
}

int main()
{
	std::align_val_t wide{128};
	std::set_new_handler(throws);
	MUST(::operator new(huge, std::nothrow) == nullptr && asked == 1);
	MUST(::operator new[](huge, std::nothrow) == nullptr && asked == 2);
	MUST(throws_bad_alloc([] { ::operator new(huge); }) && asked == 3);
	// libstdc++ does not ask for what cannot be rounded up
	MUST(::operator new(huge, wide, std::nothrow) == nullptr);
	MUST(::operator new[](huge, wide, std::nothrow) == nullptr);
	MUST(throws_bad_alloc([&] { ::operator new(huge, wide); }));
	asked = 0;
	std::set_new_handler(gives_up);
	MUST(::operator new(huge, std::nothrow) == nullptr && asked == 3);
	asked = 0;
	std::set_new_handler(gives_up);
	MUST(throws_bad_alloc([] { ::operator new(huge); }) && asked == 3);
	MUST(::operator new(huge, std::nothrow) == nullptr); // no handler
	char *p = new (std::nothrow) char[100000];
	MUST(p != nullptr);
	delete[] p;
	std::puts("all as it should be");
}
"""


def main():
    library = os.path.join(os.path.dirname(sys.argv[1]), "../lib/libmallocgc-malloc.so.0")
    compiler = shutil.which("c++") or shutil.which("clang++-19")
    if not os.path.exists(library) or compiler is None:
        print("skipped: no library in this build, or no C++ compiler")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "new.cc"), os.path.join(folder, "new")
        with open(source, "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        subprocess.run([compiler, "-std=c++17", "-O0", "-w", "-o", program, source], check=True)
        for preload in ("", os.path.realpath(library)):
            done = subprocess.run([program], env={**os.environ, "LD_PRELOAD": preload}, capture_output=True, text=True,
                                  check=False)
            print(preload or "the C library's", done.returncode, done.stdout.strip(), done.stderr.strip())
            if done.returncode != 0:
                sys.exit(1)


main()
