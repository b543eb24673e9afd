#!/usr/bin/env python3
"""deepbind_test.py - a library that is loaded with RTLD_DEEPBIND has the same malloc as the rest, and a library's own call
of dlopen still finds what lies on that library's run path.

usage: deepbind_test.py COMMAND      (its library lies in ../lib)"""
import os
import shutil
import subprocess
import sys
import tempfile

OUTER = r"""
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
void *take(const char *text) { return strdup(text); }
void give(void *p) { free(p); }
void *load(const char *name) { return dlopen(name, RTLD_NOW | RTLD_DEEPBIND); }
"""
INNER = "int answer(void) { return 42; }\n"
PROGRAM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
	void *lib = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND) : NULL;
	if (lib == NULL)
		return puts("cannot load the library"), 1;
	void (*give)(void *) = (void (*)(void *))dlsym(lib, "give");
	void *(*take)(const char *) = (void *(*)(const char *))dlsym(lib, "take");
	void *(*load)(const char *) = (void *(*)(const char *))dlsym(lib, "load");
	for (int i = 0; i < 1000; i++) {
		give(malloc(i));
		char *text = take("what it took");
		if (strcmp(text, "what it took") != 0)
			return puts("not what was written"), 1;
		text = realloc(text, 5000);
		give(text);
	}
	if (dlopen("libnowhere.so", RTLD_NOW) != NULL || dlerror() == NULL)
		return puts("no error for what is nowhere"), 1;
	void *inner = load("libinner_of_test.so");
	if (inner == NULL)
		return printf("not on the run path: %s\n", dlerror()), 1;
	int (*answer)(void) = (int (*)(void))dlsym(inner, "answer");
	printf("%d\n", answer());
	return dlclose(inner) + dlclose(lib);
}
"""


def main():
    library = os.path.abspath(os.path.join(os.path.dirname(sys.argv[1]), "../lib/libmallocgc-malloc.so.0"))
    compiler = shutil.which("cc") or shutil.which("clang-19")
    if not os.path.exists(library) or compiler is None:
        print("skipped: no library in this build, or no compiler")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as work:
        def build(name, source, *flags):
            with open(os.path.join(work, "x.c"), "w", encoding="utf-8") as out:
                out.write(source)
            path = os.path.join(work, name)
            subprocess.run([compiler, "-w", "-o", path, os.path.join(work, "x.c"), *flags], check=True)
            return path
        os.mkdir(os.path.join(work, "inner"))
        build("inner/libinner_of_test.so", INNER, "-shared", "-fPIC")
        outer = build("libouter.so", OUTER, "-shared", "-fPIC", "-Wl,-rpath,$ORIGIN/inner")
        program = build("program", PROGRAM, "-fno-builtin")
        env = dict(os.environ, LD_PRELOAD=library)
        r = subprocess.run([program, outer], env=env, capture_output=True, text=True, timeout=30, check=False)
    if r.returncode != 0 or r.stdout != "42\n":
        print(f"ended with {r.returncode}, printed {r.stdout!r} and {r.stderr!r}")
        sys.exit(1)
    print("all as it should be")


main()
