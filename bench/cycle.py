#!/usr/bin/env python3
"""What a cycle costs whatever lives, and what it asks of the system and of each thread.

    python3 bench/cycle.py [--build DIR] [--cycles N]

Builds bench/micro/cycle.c and runs it with threads that are blocked and threads that run: wall time of a collection;
signals, and the longest snapshot of a cycle in processor time of its thread, as MGC_DEBUG=gctrace=1 tells them; whether all threads stood still at any time
("pause"); system calls of the whole process for each collection by strace, as the difference of a long run and a short
one, so that what threads take to begin and to end is not in it. Without strace that column is empty."""
import argparse
import collections
import os
import re
import shutil
import statistics
import subprocess
import sys

from common import C_DIR, ROOT

CONFIGURATIONS = [("no other thread", 0, "running", 0), ("16 blocked", 16, "blocked", 0), ("256 blocked", 256, "blocked", 0),
                  ("1 runs", 1, "running", 0), ("16 run", 16, "running", 0), ("1 runs, 256 MiB live", 1, "running", 256)]
OURS_IN_BETWEEN = {"clock_nanosleep", "restart_syscall"}  # of the threads that wait; not of a collection


def compile_cycle(build):
    program = os.path.join(build, "bench", "cycle")
    os.makedirs(os.path.dirname(program), exist_ok=True)
    lib = os.path.join(build, "lib")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-std=gnu17", "-I", os.path.join(ROOT, "include"),
                    os.path.join(os.path.dirname(C_DIR), "micro", "cycle.c"), "-L", lib, "-lmallocgc", "-lpthread",
                    f"-Wl,-rpath,{lib}", "-o", program], check=True)
    return program


def run(program, configuration, cycles, environment=None, before=()):
    _, threads, kind, live = configuration
    done = subprocess.run([*before, program, str(threads), kind, str(cycles), str(live)], capture_output=True, text=True,
                          env=dict(os.environ, **(environment or {})), check=True)
    return done.stdout, done.stderr


def calls(program, configuration, cycles):
    """system call → how many, in a run of so many collections."""
    _, table = run(program, configuration, cycles, before=("strace", "-f", "-c", "-q", "-U", "calls,name"))
    found = collections.Counter()
    for count, name in re.findall(r"^\s*(\d+)\s+(\w+)$", table, re.M):
        found[name] += int(count)
    del found["total"]
    return found


def calls_for_each(program, configuration, cycles):
    few, many = calls(program, configuration, cycles), calls(program, configuration, 3 * cycles)
    each = {name: (many[name] - few[name]) / (2 * cycles) for name in many if name not in OURS_IN_BETWEEN}
    return {name: n for name, n in sorted(each.items(), key=lambda item: -item[1]) if n >= 0.1}


def traced(program, configuration, cycles):
    _, trace = run(program, configuration, cycles, {"MGC_DEBUG": "gctrace=1"})
    lines = [line for line in trace.splitlines() if "(forced)" in line]
    def values(name):
        return [float(v) for line in lines for v in re.findall(rf"\b{name} ([\d.]+)", line)]
    snapshots = [1000 * ms for ms in values("snapshot")]
    return statistics.mean(values("signals")), statistics.median(snapshots), max(snapshots), 1000 * max(values("pause"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build tree with lib/")
    parser.add_argument("--cycles", type=int, default=30)
    options = parser.parse_args()
    program = compile_cycle(os.path.abspath(options.build))
    print("| other threads | collection, median (least) µs | signals | snapshot, median (longest) µs | pause µs | system calls |")
    print("|---|---|---|---|---|---|")
    for configuration in CONFIGURATIONS:
        wall = dict(line.split() for line in run(program, configuration, options.cycles)[0].splitlines())
        signals, snapshot, longest, pause = traced(program, configuration, options.cycles)
        each = calls_for_each(program, configuration, options.cycles) if shutil.which("strace") else {}
        print(f"| {configuration[0]} | {float(wall['cycle_us_median']):.0f} ({float(wall['cycle_us_min']):.0f}) "
              f"| {signals:.1f} | {snapshot:.0f} ({longest:.0f}) | {pause:.0f} | {sum(each.values()):.1f}: "
              + ", ".join(f"{name} {n:.1f}" for name, n in each.items()) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
