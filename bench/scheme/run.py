#!/usr/bin/env python3
"""run.py - the same Scheme programs on examples/scheme and on Debian's guile-3.0, in turn.

    python3 bench/scheme/run.py [--reps N] [--only NAME]... [--csv FILE]

Ours is a bytecode interpreter on the native API, Guile's a register machine on Boehm's libgc, with its
just-in-time compiler off (GUILE_JIT_THRESHOLD=-1): interpreter against interpreter. Each program is compiled by
Guile once before it is measured. Outputs are compared; a difference is a failure. Wall and CPU seconds and
peak resident memory are of the process; the longest pause is what the collector reports: for ours the longest
stop or, where nothing stopped, the longest snapshot of a thread (gctrace), for libgc the longest
"World-stopped marking" (GC_PRINT_STATS)."""
import argparse
import csv
import glob
import os
import re
import shutil
import statistics
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "demo"))
import measure  # noqa: E402

SCHEME = os.path.join(TOP, "build", "examples", "scheme")
PAUSE = re.compile(r"pause ([\d.]+) ms.*snapshot ([\d.]+) ms")


def our_pauses(text):
    return [max(float(x) for x in match) / 1e3 for match in PAUSE.findall(text)]


def variants(cache):
    ours = measure.Library("mallocgc", "", [], {}, {"MGC_DEBUG": "gctrace=1"}, "MGC_LOG", our_pauses)
    guile = measure.Library("libgc", "", [], {"GUILE_JIT_THRESHOLD": "-1", "XDG_CACHE_HOME": cache,
                                              "GUILE_AUTO_COMPILE": "1"},
                            {"GC_PRINT_STATS": "1"}, "GC_LOG_FILE", measure.libgc_pauses)
    return [("ours", ours, [SCHEME]), ("guile", guile, ["guile-3.0"])]


def run(name, library, command, path):
    result = measure.run(library, command + [path])
    if result.error and not result.error.startswith("no collection"):
        sys.exit(f"{name} {os.path.basename(path)}: {result.error}{measure.tail(result.errors)}")
    return result


def row(results):
    return [measure.median(results, lambda r: r.wall), measure.median(results, lambda r: r.cpu),
            measure.median(results, lambda r: r.peak),
            measure.median(results, lambda r: 1e3 * max(r.pauses, default=0)),
            statistics.median_high([len(r.pauses) for r in results])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--only", action="append")
    parser.add_argument("--csv")
    args = parser.parse_args()
    if not os.path.exists(SCHEME):
        sys.exit("build/examples/scheme is missing: cmake --build build --target example-scheme")
    if not shutil.which("guile-3.0"):
        sys.exit("guile-3.0 is missing (make deps-all)")
    paths = sorted(glob.glob(os.path.join(TOP, "bench", "scheme", "*.scm")))
    rows, ratios = [], []
    print(f"{'':12} {'':6} {'wall s':>8} {'CPU s':>8} {'peak MiB':>9} {'pause ms':>9} {'cycles':>7}")
    with tempfile.TemporaryDirectory(prefix="mallocgc-") as cache:
        for path in paths:
            name = os.path.basename(path)[:-4]
            if args.only and name not in args.only:
                continue
            kinds, found = variants(cache), {"ours": [], "guile": []}
            run(*kinds[1], path)  # Guile compiles
            for _ in range(args.reps):
                for kind in kinds:
                    found[kind[0]].append(run(*kind, path))
            if len({r.output for results in found.values() for r in results}) != 1:
                sys.exit(f"{name}: outputs differ: "
                         + measure.first_difference(found["ours"][0].output, found["guile"][0].output))
            for kind, results in found.items():
                rows.append([name, kind, *row(results)])
                print("{:12} {:6} {:8.2f} {:8.2f} {:9.1f} {:9.3f} {:7d}".format(*rows[-1]), flush=True)
            ratios.append([a / b if b else None for a, b in zip(rows[-2][2:], rows[-1][2:])])
    means = [measure.geometric_mean(column) for column in zip(*ratios)]
    print("all          ratio  " + " ".join(f"{m:8.3f}" if m else "       -" for m in means[:4]))
    if args.csv:
        with open(args.csv, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["program", "variant", "wall_s", "cpu_s", "peak_mib",
                                         "longest_pause_ms", "cycles"], *rows])


main()
