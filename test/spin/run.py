#!/usr/bin/env python3
"""run.py - checks cycle.pml with SPIN: each configuration as designed, and with one rule taken away.

  run.py                every row; the table says what was expected and what was found
  run.py WORD...        only rows whose name contains one of the words
  run.py --trace ROW    the first bad run of that row, step by step (one row, like race-one_q)

Exits with 0 if every row is as expected, 77 if SPIN or a C compiler is missing. A row that does not
end in time or in its memory is neither: it fails. Needs about 2 GB."""
import argparse
import concurrent.futures
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

MODEL = pathlib.Path(__file__).resolve().parent / "cycle.pml"
SECONDS, MEGABYTES = 900, 3500
(DROP, LOAD, BIRTH, INIT, WRITE, REFILL, WEAK, FREE, BLOCK, ATTACH, PLAIN, PGET, PSET,
 PUSH, POP, GIVE) = (1 << n for n in range(16))


def world(nobj, nreg, ops, does0, does1=0, *more):
    """Objects, registers, operations of each mutator, what each may do, CONFIG switches."""
    return [f"NOBJ={nobj}", f"NREG={nreg}", f"OPS0={ops[0]}", f"OPS1={ops[1]}", f"DOES0={does0}",
            f"DOES1={does1}", *(f"CONFIG_{name}" for name in more)]


# name: (world, rules without which it must lose an object, changes that must not matter[, a smaller world for `-ends`:
# operations are bounded there, so a run without an end is one in which nobody does any more of them])
CONFIGS = {
    "race": (world(1, 1, (3, 1), LOAD | DROP | WRITE, WRITE, "SHORT"),
             ["ONE_Q", "SHADE_NEW_ROOTS", "SHADE_OLD", "SEC", "MEMBARRIER"], ["DROP_NEW_IN_MARK"]),
    # Q looks at mutator 0 first: the same with the parts exchanged
    "turned": (world(1, 1, (1, 3), WRITE, LOAD | DROP | WRITE, "SHORT"),
               ["ONE_Q", "SHADE_NEW_ROOTS"], []),
    "born": (world(2, 1, (3, 2), LOAD | DROP | WRITE, BIRTH | WRITE, "SHORT"),
             ["SHADE_NEW_ROOTS", "BIRTH_WHITE"], ["DROP_NEW_IN_MARK"],
             world(2, 1, (2, 2), LOAD | DROP | WRITE, BIRTH | WRITE, "SHORT")),
    "private": (world(2, 2, (4, 0), BIRTH | INIT | WRITE | DROP, 0, "SHORT"),
                ["EARLY_MARK"], ["DROP_NEW_IN_MARK"]),
    "fresh": (world(2, 2, (4, 0), REFILL | BIRTH | INIT | DROP, 0, "SHORT"),
              ["BIRTH_BLACK_EARLY"], []),
    "weak": (world(1, 1, (2, 1), WEAK, WRITE | DROP, "WEAK"),
             ["SECOND_DRAIN", "TERM", "WEAK_SHADE", "WEAK_IN_FLIP"], []),
    "pair": (world(2, 2, (2, 1), PGET | WRITE | PSET, WRITE, "PAIR") + ["NREG1=1"],
             ["PAIR_PASS", "PAIR_SHADES", "TERM"], ["PAIR_OLD_UNSHADED", "PAIR_GET_UNSHADED"]),
    "refill": (world(2, 1, (3, 0), REFILL | BIRTH | WRITE | DROP),
               ["REFILL_IN_FLIP", "SHADE_IN_FLIP"], []),
    "free": (world(2, 1, (4, 0), FREE | REFILL | BIRTH | LOAD, 0, "FREE"),
             ["FREE_IN_FLIP", "DFREE_LATE"], []),
    "block": (world(2, 1, (3, 1), BLOCK | BIRTH | LOAD, WRITE, "BLOCK", "SHORT"), ["CLAIM"], []),
    "attach": (world(2, 1, (1, 4), WRITE, ATTACH | REFILL | BIRTH | LOAD, "ATTACH", "SHORT"),
               ["ATTACH_WHITE"], []),
    "owned": (world(1, 1, (3, 1), LOAD | PUSH | POP | DROP | BLOCK, WRITE, "OWNED", "BLOCK", "SHORT"),
              ["OWNED_LATE", "PUSH_LATE", "POP_EARLY"], []),
    "given": (world(2, 1, (2, 3), POP | DROP, BIRTH | WRITE | GIVE | DROP, "OWNED", "SHORT"),
              ["GIVE_PLAIN", "OWNED_TAKEN"], []),
    "stop": (world(1, 1, (3, 1), LOAD | PLAIN | DROP, LOAD | PLAIN, "UNBARRIERED", "SHORT"),
             ["STOP"], []),
}


def rows():
    """(name, defines, what must come out, for how the verifier is built)."""
    for name, (config, broken, harmless, *smaller) in CONFIGS.items():
        yield name, config, "holds", ["SAFETY"]
        for change in broken:
            yield f"{name}-{change.lower()}", config + [f"BREAK_{change}"], "fails", ["SAFETY"]
        for change in harmless:
            yield f"{name}-{change.lower()}", config + [f"TRY_{change}"], "holds", ["SAFETY"]
        yield f"{name}-ends", (smaller[0] if smaller else config) + ["ENDS"], "holds", ["NP"]  # no run without an end, whatever the order


def limits():
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))  # on a busy machine it may take longer


def call(where, *command):
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=8 * SECONDS,
                          preexec_fn=limits, errors="replace")
    return done.returncode, done.stdout + done.stderr


def build(row, where):
    _, defines, _, kind = row
    steps = (["spin", "-a", *(f"-D{d}" for d in defines), str(MODEL)],
             ["gcc", "-O2", "-w", "-DCOLLAPSE", "-DNOFAIR", f"-DMEMLIM={MEGABYTES - 500}",
              *(f"-D{k}" for k in kind), "-o", "pan", "pan.c"])
    for step in steps:
        code, out = call(where, *step)
        if code != 0 or not (pathlib.Path(where) / "pan.c").exists():
            return out or f"{step[0]} failed"
    return None


def check(row):
    """(outcome, states, seconds)"""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as where:
        try:
            trouble = build(row, where)
            if trouble:
                return "error: " + trouble.strip()[:300], 0, 0
            _, out = call(where, "./pan", "-m200000", "-w24", *(["-l"] if "NP" in row[3] else []))
        except subprocess.TimeoutExpired:
            return "no answer in time", 0, time.monotonic() - begin
    states = re.search(r"(\d+) states, stored", out)
    errors = re.search(r"errors: (\d+)", out)
    why = re.search(r"pan:\d+: (assertion violated|non-progress cycle|invalid end state)", out)
    whole = "Search not completed" not in out and "depth too small" not in out
    if not errors or not (whole or why):
        outcome = "no answer: " + out.strip()[-200:]
    else:
        outcome = "holds" if errors.group(1) == "0" else "fails"
        if why and why.group(1) != "assertion violated":
            outcome = why.group(1)
    return outcome, int(states.group(1)) if states else 0, time.monotonic() - begin


def trace(row):
    with tempfile.TemporaryDirectory() as where:
        trouble = build(row, where)
        if trouble:
            sys.exit(trouble)
        call(where, "./pan", "-m200000", "-w24")
        shutil.copy(MODEL, where)
        _, out = call(where, "spin", "-t", "-p", "-g", *(f"-D{d}" for d in row[1]), MODEL.name)
        print(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("-j", type=int, default=1)
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    for tool in ("spin", "gcc"):
        if shutil.which(tool) is None:
            print(f"skipped: {tool} is not installed (make deps-all)")
            sys.exit(77)
    todo = [row for row in rows() if not args.words or
            (row[0] in args.words if args.trace else any(w in row[0] for w in args.words))]
    if args.trace:
        return trace(todo[0])
    wrong = 0
    print(f"{'row':26} {'expected':9} {'found':9} {'states':>10} {'s':>6}")
    with concurrent.futures.ThreadPoolExecutor(args.j) as pool:
        for row, (found, states, seconds) in zip(todo, pool.map(check, todo)):
            ok = found == row[2]
            wrong += not ok
            print(f"{row[0]:26} {row[2]:9} {found:9} {states:10} {seconds:6.1f}"
                  f"{'' if ok else '   <- not as expected'}", flush=True)
    print(f"{len(todo)} rows, {wrong} not as expected")
    sys.exit(1 if wrong or not todo else 0)


main()
