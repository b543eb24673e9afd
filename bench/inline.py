#!/usr/bin/env python3
"""What a store and a new object cost, called and inlined, against a plain store: bench/micro/inline.c as a table.

    python3 bench/inline.py [--build DIR]

ns of processor time: the least of fifteen outside a collection, the median beside one that never ends; instructions of a whole
turn of the loop, by callgrind, as the difference of two lengths (empty without valgrind)."""
import argparse
import os
import re
import shutil
import subprocess
import sys

from common import C_DIR, ROOT, compile_c

ROWS = {"store": "plain store", "write-inline": "`mgc_write`, inlined", "write-called": "`mgc_write`, called",
        "new-inline": "`mgc_new` of 32 B, inlined", "new-called": "`mgc_new` of 32 B, called",
        "poll-inline": "`mgc_safepoint`, inlined", "poll-called": "`mgc_safepoint`, called"}
LENGTH = 20000


def instructions(program, variant):
    counts = []
    for n in (LENGTH, 2 * LENGTH):
        done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, variant, str(n)],
                              env=dict(os.environ, MGC_PERCENT="off"), capture_output=True, text=True, check=True)
        counts.append(int(re.search(r"Collected : (\d+)", done.stderr).group(1)))
    return f"{(counts[1] - counts[0]) / LENGTH:.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build tree with lib/")
    build = os.path.abspath(parser.parse_args().build)
    lib, program = os.path.join(build, "lib"), os.path.join(build, "bench", "inline")
    os.makedirs(os.path.dirname(program), exist_ok=True)
    errors = compile_c(os.environ.get("CC", "cc"), os.path.join(os.path.dirname(C_DIR), "micro", "inline.c"), program,
                       "-I", os.path.join(ROOT, "include"), "-L", lib, "-lmallocgc", "-lpthread", f"-Wl,-rpath,{lib}")
    if errors:
        sys.exit("inline: " + "\n".join(errors))
    out = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^(.+?) +(\S+) +min +([\d.]+) +median +([\d.]+) ns$", out, re.M)
    least = {variant: ns for when, variant, ns, _ in found if when == "outside"}
    beside = {variant: ns for when, variant, _, ns in found if when != "outside"}
    print("| ns | outside a collection | beside one | instructions |\n|---|---|---|---|")
    for variant, label in ROWS.items():
        count = instructions(program, variant) if shutil.which("valgrind") else ""
        print(f"| {label} | {least[variant]} | {beside[variant]} | {count} |", flush=True)


if __name__ == "__main__":
    main()
