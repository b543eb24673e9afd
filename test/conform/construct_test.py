#!/usr/bin/env python3
"""construct_test.py - a constructor has no barrier: what a program compiles for an object that nobody else has seen
yet is what mgc_new alone takes and a plain store for each field. And a mgc_write outside a collection is two more
stores, three jumps that are not taken, and no call.

usage: construct_test.py [COMMAND]      (skipped where the compiler does not write x86-64)"""
import os
import re
import subprocess
import tempfile
import unittest

import command

SOURCE = """
#include <mallocgc-inline.h>
struct pair { struct pair *a, *b; long x, y; };
static struct mgc_type pair_type = { .name = "pair", .size = sizeof(struct pair), .ptr_bytes = 16 };
struct pair *bare(void) { return mgc_new(&pair_type); }
struct pair *construct(struct pair *a, struct pair *b, long x)
{
    struct pair *p = mgc_new(&pair_type);
    p->a = a;
    p->b = b;
    p->x = x;
    return p;
}
void write(struct pair *p, struct pair *a) { mgc_write(&p->a, a); }
"""


def text_of(assembly, name):
    return re.split(rf"\n{name}:[^\n]*\n", assembly)[1].split(f".size\t{name}")[0]


def body(assembly, name):
    """Instructions of that function, up to its first return, nothing taken that jumps forward."""
    found = []
    for line in map(str.strip, text_of(assembly, name).splitlines()):
        if line and not line.startswith((".", "#")):
            found.append(line)
            if re.match(r"ret|jmp", line):
                return found
    raise AssertionError(f"{name} does not return")


def called(assembly, name):
    """What that function refers to outside itself, also where it jumps forward."""
    return set(re.findall(r"(?:call|callq|jmp)\s+(\w+)@?", text_of(assembly, name)))


def counts(instructions):
    loads = stores = jumps = 0
    for line in instructions:
        op, _, operands = line.partition("\t")
        parts = re.split(r",(?![^(]*\))", operands)
        memory = [("(" in part or "%fs:" in part) and not op.startswith("lea") for part in parts]
        if op.startswith("mov"):
            stores += memory[-1]
            loads += any(memory[:-1])
        else:
            loads += any(memory)
        jumps += op.startswith("j") and op != "jmp"
    return {"loads": loads, "stores": stores, "jumps": jumps}


class Construct(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "construct.c")
            with open(path, "w", encoding="utf-8") as f:
                f.write(SOURCE)
            cls.assembly = subprocess.run(
                [os.environ.get("CC", "cc"), "-O2", "-fno-stack-protector", "-fcf-protection=none",
                 "-fno-asynchronous-unwind-tables", "-I", os.path.join(command.TOP, "include"), "-S", "-o", "-", path],
                capture_output=True, text=True, check=True).stdout
        if "%rip" not in cls.assembly:
            raise unittest.SkipTest("not x86-64")

    def test_a_constructor_has_no_barrier(self):
        bare, construct = (counts(body(self.assembly, name)) for name in ("bare", "construct"))
        self.assertEqual(construct, {**bare, "stores": bare["stores"] + 3})
        self.assertEqual(called(self.assembly, "construct"), {"mgc_new"})
        print(f"construct: {bare} for the object, 3 stores for its fields, 0 for a barrier")

    def test_a_write_outside_a_collection(self):
        write = body(self.assembly, "write")
        self.assertEqual(counts(write)["stores"], 3)
        self.assertEqual(counts(write)["jumps"], 3)
        self.assertIn(write[-1], ("ret", "retq"))
        print(f"mgc_write: {len(write)} instructions, {counts(write)}")


if __name__ == "__main__":
    command.main()
