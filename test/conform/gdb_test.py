#!/usr/bin/env python3
"""gdb_test.py MALLOCGC - tools/mallocgc-gdb.py on a live process and on its core: they must say the same, and what the
program knows of itself."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import command

PROGRAM = r"""
#include <mallocgc.h>
struct node { struct node *next; void *leaf; long number; };
static const uint8_t two[] = { 3 };
static struct mgc_type node_type = { .name = "node", .size = sizeof(struct node), .ptr_bytes = 16, .ptr_mask = two };
static struct node *list;
static char *large, *volatile freed, spare[65536];
__attribute__((noinline)) void look_here(struct node *first)
{
	mgc_keep_alive(first);
}
int main(void)
{
	mgc_root_add(&list, sizeof list, 0);
	mgc_root_add(&large, sizeof large, MGC_ROOT_UNBARRIERED | MGC_ROOT_AMBIGUOUS);
	mgc_stack_register(spare, spare + sizeof spare);
	for (long i = 0; i < 1000; i++) {
		struct node *n = mgc_new(&node_type);
		n->next = list;
		n->leaf = mgc_alloc(16, NULL, MGC_NOSCAN);
		n->number = i;
		mgc_write(&list, n);
	}
	large = mgc_alloc(100000, NULL, MGC_NOSCAN | MGC_UNCOLLECTABLE);
	freed = mgc_alloc(3000, NULL, MGC_NOSCAN);
	mgc_free(freed);
	mgc_collect();
	look_here(list);
	return 0;
}
"""
LOOK = ["mgc spans", "mgc spans node", "mgc object list", "mgc object large + 5", "mgc object freed", "mgc object &list",
        "mgc object 0", "mgc roots"]
HELPER = os.path.join(command.TOP, "tools", "mallocgc-gdb.py")


def gdb(program, commands, *more):
    arguments = [word for text in commands for word in ("-ex", text)]
    # a small range of addresses: gdb writes all of its tables into a core
    env = {key: value for key, value in os.environ.items() if not key.startswith("MGC_")}
    env.update(MGC_DEBUG="reserve=64MiB", LC_ALL="C.UTF-8", DEBUGINFOD_URLS="")
    return subprocess.run(["gdb", "-nx", "-batch", "-ex", "set width 0", "-ex", "source " + HELPER, *arguments,
                           program, *more], capture_output=True, text=True, env=env, timeout=80,
                          stdin=subprocess.DEVNULL)


class Gdb(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.program = os.path.join(cls.folder.name, "program")
        source = cls.program + ".c"
        with open(source, "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        subprocess.run(["cc", "-g", "-O1", source, "-o", cls.program, "-I", os.path.join(command.TOP, "include"),
                        "-L", command.beside("lib"), "-lmallocgc", "-Wl,-rpath," + command.beside("lib")], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def look_at(self, text):
        self.assertIn("no collection, 1 collections", text)
        row = re.search(r"^node +24 +(\d+) +(\d+) +(\d+) +(\d+)$", text, re.M)
        spans, slots, taken, kib = map(int, row.groups())
        self.assertTrue(1000 <= taken <= slots <= spans * 341 and kib == spans * 8, row.group(0))
        self.assertEqual(len(re.findall(r"^node +24 ", text, re.M)), 2, "in both lists")
        self.assertEqual(len(re.findall(r"^noscan uncollectable +large +1 +1 +1 +104$", text, re.M)), 1, text)
        first = re.search(r"^(0x\w+): node (0x\w+), 24 bytes: taken.*\n  \+0 .*→ node\n  \+8 .*→ noscan\n  \+16 +(0x\w+)$",
                          text, re.M)
        self.assertEqual(first.group(1), first.group(2))
        self.assertEqual(int(first.group(3), 16), 999)
        self.assertRegex(text, r"(?m)^0x\w+: noscan uncollectable 0x\w+, 106496 bytes \+ 5: taken")
        self.assertRegex(text, r"(?m)^0x\w+: (a free page of the heap|noscan 0x\w+, 3072 bytes: free)")
        self.assertEqual(len(re.findall(r"^0x\w+: not in the heap$", text, re.M)), 2)
        self.assertRegex(text, r"(?m)^2 ranges\n(.*\n)*.*  barriered  list$")
        self.assertRegex(text, r"(?m)^  0x\w+ … 0x\w+  unbarriered ambiguous  large$")
        self.assertRegex(text, r"(?m)^thread \d+: stack 0x\w+ … 0x\w+$")
        self.assertRegex(text, r"(?m)^fiber 0x\w+: stack 0x\w+ … 0x\w+, waits, 0 bytes used$")

    def test_live_and_core(self):
        core = os.path.join(self.folder.name, "core")
        live = gdb(self.program, ["break look_here", "run", *LOOK, "generate-core-file " + core, "continue"])
        self.look_at(live.stdout)
        self.assertIn("exited normally", live.stdout, "looking changes nothing")
        dead = gdb(self.program, LOOK, core)
        self.look_at(dead.stdout)
        seen = [re.findall(r"^(?:0x|  \+|node|thread|fiber).*$", done.stdout, re.M) for done in (live, dead)]
        self.assertGreater(len(seen[0]), 10)
        self.assertEqual(*seen)

    def test_what_is_no_expression(self):
        done = gdb(self.program, ["break look_here", "run", "mgc object no_such_thing"])
        self.assertIn('mgc object no_such_thing: No symbol "no_such_thing" in', done.stdout + done.stderr)
        self.assertNotIn("Python Exception", done.stdout + done.stderr)

    def test_signals_of_collections_are_none_of_the_users(self):
        done = gdb(self.program, ["info signals SIG62", "info signals SIGPWR", "info signals SIGSEGV"])
        self.assertEqual(re.findall(r"^(SIG\w+)\s+(\w+)\s+(\w+)\s+(\w+)", done.stdout, re.M),
                         [("SIG62", "No", "No", "Yes"), ("SIGPWR", "No", "No", "Yes"), ("SIGSEGV", "Yes", "Yes", "Yes")])

    def test_nothing_there(self):
        done = gdb(self.program, ["break main", "run", "mgc spans"])
        self.assertIn("the heap has not been used yet", done.stderr)
        done = gdb("/bin/true", ["mgc roots"])
        self.assertIn("no mallocgc with debug information", done.stderr)
        done = gdb(self.program, ["break look_here", "run", "mgc object"])
        self.assertIn("mgc object: which address?", done.stderr)


if not shutil.which("gdb"):
    print("skipped: no gdb here (make deps-all)")
    sys.exit(77)
command.main()
