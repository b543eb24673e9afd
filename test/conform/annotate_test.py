#!/usr/bin/env python3
"""annotate_test.py - programs under AddressSanitizer, LeakSanitizer and Valgrind's memcheck, on the library as it
is installed: what these say of objects of ours.

usage: annotate_test.py [COMMAND]      default: build/bin/mallocgc, whose library is in ../lib"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMAND = os.path.join(TOP, "build", "bin", "mallocgc")
COMPILER = os.environ.get("CC", "cc")

PROGRAM = r"""
#include <mallocgc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node { struct node *next; void *outside; long key, pad; };
static struct mgc_type node_type = { .name = "node", .size = sizeof(struct node), .ptr_bytes = 16 };
static struct node *root;
#define NOINLINE __attribute__((noinline))

static NOINLINE void wipe(void)
{
	char room[16384];
	memset(room, 0, sizeof room);
	__asm__ volatile("" : : "r"(room) : "memory");
}

static NOINLINE int locals(void) /* in a frame that is not on the stack, if the sanitizer wants it so */
{
	struct node *local[16];
	int bad = 0;
	for (int i = 0; i < 16; i++) {
		local[i] = mgc_new(&node_type);
		local[i]->key = i;
	}
	__asm__ volatile("" : : "r"(local) : "memory");
	for (int i = 0; i < 10; i++) {
		mgc_collect();
		for (int k = 0; k < 1000; k++)
			mgc_new(&node_type);
	}
	for (int i = 0; i < 16; i++)
		bad += mgc_base(local[i]) != local[i] || local[i]->key != i;
	return bad;
}

static NOINLINE void hang(void)
{
	mgc_root_add(&root, sizeof root, 0);
	mgc_write(&root, mgc_new(&node_type));
	root->outside = malloc(100);
}

static NOINLINE void drop(void)
{
	root->outside = NULL;
}

static struct node *swept;
static NOINLINE void make_garbage(void)
{
	for (int i = 0; i < 100; i++)
		swept = mgc_new(&node_type);
	for (int i = 0; i < 100; i++)
		mgc_new(&node_type);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	void *volatile keeper = mgc_new(&node_type);
	if (!strcmp(what, "freed")) {
		struct node *n = mgc_new(&node_type);
		mgc_free(n);
		printf("%ld\n", n->key);
	} else if (!strcmp(what, "swept")) {
		make_garbage();
		wipe();
		mgc_collect();
		printf("%ld\n", swept->key);
	} else if (!strcmp(what, "behind")) {
		char *p = mgc_alloc(100000, NULL, MGC_NOSCAN);
		p[100001] = 1;
	} else if (!strcmp(what, "undefined") || !strcmp(what, "zero")) {
		unsigned more = what[0] == 'u' ? MGC_NOZERO : 0;
		volatile char *p = mgc_alloc(100, NULL, MGC_NOSCAN | more);
		if (p[50])
			puts("set");
	} else if (!strcmp(what, "outside") || !strcmp(what, "leak")) {
		hang();
		if (what[0] == 'l')
			drop();
		wipe();
	} else if (!strcmp(what, "locals")) {
		return locals() != 0;
	}
	mgc_keep_alive(keeper);
	return 0;
}
"""


class Case(unittest.TestCase):
    flags = ()

    @classmethod
    def setUpClass(cls):
        lib = os.path.join(os.path.dirname(os.path.dirname(COMMAND)), "lib")
        cls.folder = tempfile.mkdtemp(prefix="mallocgc-annotate-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.program = os.path.join(cls.folder, "program")
        subprocess.run([COMPILER, "-x", "c", "-", "-x", "none", "-o", cls.program, "-g", "-O1",
                        *cls.flags, "-I", os.path.join(TOP, "include"), "-L", lib, "-lmallocgc",
                        "-Wl,-rpath," + lib], input=PROGRAM, text=True, check=True)

    def run_it(self, what, *before, **env):
        return subprocess.run([*before, self.program, what], text=True, capture_output=True,
                              timeout=600, env={**os.environ, **env})

    def reports(self, text, what, *before, **env):
        done = self.run_it(what, *before, **env)
        self.assertIn(text, done.stderr)
        self.assertNotEqual(done.returncode, 0)

    def passes(self, what, *before, **env):
        done = self.run_it(what, *before, **env)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class AddressSanitizer(Case):
    flags = ("-fsanitize=address",)

    def test_a_freed_object_is_poisoned(self):
        for leaks in ("0", "1"):
            self.reports("use-after-poison", "freed", ASAN_OPTIONS="detect_leaks=" + leaks)
        self.reports("use-after-poison", "swept", ASAN_OPTIONS="")

    def test_so_is_what_lies_behind_a_large_one(self):
        self.reports("use-after-poison", "behind", ASAN_OPTIONS="")

    def test_new_objects_are_not(self):
        self.passes("zero", ASAN_OPTIONS="")
        self.passes("", ASAN_OPTIONS="")

    def test_locals_in_fake_frames_are_roots(self):
        for fake in ("0", "1"):
            self.passes("locals", ASAN_OPTIONS="detect_stack_use_after_return=" + fake)

    def test_memory_of_malloc_that_an_object_refers_to_is_no_leak(self):
        probe = self.run_it("leak", ASAN_OPTIONS="detect_leaks=1")
        if "LeakSanitizer has encountered a fatal error" in probe.stderr:
            self.skipTest("LeakSanitizer does not run here (ptrace is not allowed)")
        self.assertIn("100 byte(s) leaked", probe.stderr)
        self.passes("outside", ASAN_OPTIONS="detect_leaks=1")


@unittest.skipUnless(shutil.which("valgrind"), "valgrind is not installed (make deps-all)")
class Valgrind(Case):
    how = ("valgrind", "-q", "--error-exitcode=9")

    def test_a_freed_object_may_not_be_read(self):
        self.reports("Invalid read of size 8", "freed", *self.how)
        self.reports("Invalid read of size 8", "swept", *self.how)

    def test_nor_may_what_lies_behind_a_large_one_be_written(self):
        self.reports("Invalid write of size 1", "behind", *self.how)

    def test_memory_that_was_not_zeroed_is_undefined(self):
        self.reports("depends on uninitialised value", "undefined", *self.how)
        self.passes("zero", *self.how)

    def test_collections_are_quiet(self):
        self.passes("locals", *self.how)

    def test_memory_of_malloc_that_an_object_refers_to_is_no_leak(self):
        how = (*self.how, "--leak-check=full", "--errors-for-leak-kinds=definite")
        self.reports("100 bytes in 1 blocks are definitely lost", "leak", *how)
        self.passes("outside", *how)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        COMMAND = os.path.abspath(sys.argv.pop())
    unittest.main(verbosity=2)
