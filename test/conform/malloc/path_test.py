#!/usr/bin/env python3
"""path_test.py - the short ways of malloc and free stay as short as they are: counted in the library's
disassembly, from the entry to the first return, nothing taken that jumps forward. An entry that needs more
instructions than its row says fails; one that needs fewer fails too, so that the row is kept true. That programs come
that way, and the one for more than 1 KiB, is steps_test.c's.

usage: path_test.py COMMAND      (its library lies in ../lib)"""
import os
import platform
import re
import subprocess
import sys

# instructions up to and with `ret`, of them loads and stores, conditional jumps
GOLDEN = {
    "malloc": (13, 5, 1, 2),
    "free": (15, 6, 3, 2),
    "_Znwm": (13, 5, 1, 2),
    "_ZdlPv": (15, 6, 3, 2),
    "_ZdlPvm": (15, 6, 3, 2),
    "free_sized": (15, 6, 3, 2),
}


def listing(library, name):
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", "--no-addresses",
                           f"--disassemble={name}", library],
                          capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in text.split(f"<{name}>:")[1].splitlines()]
    return [line.split("#")[0].strip() for line in lines if line]


def count(lines):
    total = loads = stores = branches = 0
    for line in lines:
        op, _, operands = line.partition(" ")
        total += 1
        memory = [re.search(r"\(|%fs:", one) is not None and not op.startswith("lea")
                  for one in re.split(r",(?![^(]*\))", operands)]
        loads += any(memory[:-1]) or (memory[-1] and not op.startswith("mov"))
        stores += memory[-1] and op.startswith(("mov", "sub", "add", "dec"))
        if op == "ret":
            return total, loads, stores, branches
        if op == "jmp" or op.startswith("call"):
            raise SystemExit(f"a `{line}` before the first return")
        branches += op.startswith("j")
    raise SystemExit("no return")


def main():
    library = os.path.join(os.path.dirname(sys.argv[1]), "../lib/libmallocgc-malloc.so.0")
    if platform.machine() != "x86_64" or not os.path.exists(library):
        print("skipped: x86-64 only, and with the library")
        sys.exit(77)
    settings = open(os.path.join(os.path.dirname(sys.argv[1]), "../CMakeCache.txt")).read()
    if re.search(r"MGC_HOSTILE:BOOL=ON|MGC_ASSERT:BOOL=ON|BUILD_TYPE:STRING=Debug", settings):
        print("skipped: not a release build")
        sys.exit(77)
    wrong = 0
    for name, want in GOLDEN.items():
        have = count(listing(library, name))
        wrong += have != want
        print(f"{name:12} {have[0]} instructions, {have[1]} loads, {have[2]} stores, {have[3]} branches"
              + (f"  NOT {want}" if have != want else ""))
    pair = GOLDEN["malloc"][0] + GOLDEN["free"][0]
    print(f"malloc + free: {pair}")
    sys.exit(1 if wrong or pair > 28 else 0)


main()
