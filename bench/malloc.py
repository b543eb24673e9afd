#!/usr/bin/env python3
"""Run the malloc benchmarks: our malloc face beside glibc, mimalloc, snmalloc, jemalloc and tcmalloc.

    python3 bench/malloc.py [--quick] [--only NAME]... [--peers A,B] [--reps N] [--minutes M] [--share X]
                            [--micro]

Each program of bench/malloc_programs.py runs under each malloc in turn, so that a noisy neighbour hits
all alike; then all do so again. A figure in the table is the median over the repetitions of the ratio to mimalloc 3 (mi3) in
the same repetition; the last lines are geometric means. A run that fails, or whose output differs, is
shown as FAIL and counts as a failure. Every run becomes a row of the CSV. --micro takes single patterns
of calls instead: ns and instructions for one malloc and its free, and the start-up of a process.
Exit status: 1 if a run failed or an output differed; a missed target alone is none unless --strict.
"""
import argparse
import csv
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from common import WARM_AT_START_MIB, ROOT, Launcher, Log, compile_c, idlest_cpu, number, parse_lines, skip
from malloc_peers import NAMES, OURS, VARIANTS, Finder
from malloc_programs import DIR, IDLE, ONE, REAL_GROUP, TWO, c_programs, idle_programs, real_programs

BASE = "mi3"  # without it: the first one that runs
ANCHORS = ("mi3", "mi3-nothp")
METRICS = {"wall_s": "wall time", "cpu_s": "user and system CPU time", "rss_mib": "peak RSS",
           "minor_faults": "minor page faults"}
GROUPS = {"all": (ONE, TWO, REAL_GROUP), ONE: (ONE,), TWO: (TWO,), REAL_GROUP: (REAL_GROUP,)}
WALL_LIMITS = {"all": 0.90, TWO: 0.85, REAL_GROUP: 0.92}  # ours to mimalloc 3, geometric means
RSS_LIMIT, BEST_PEER_LIMIT, WORST_LIMIT = 0.65, 0.95, 1.10
MICRO = ["pair16", "pairvar", "batch16", "rand64k", "calloc64", "aligned", "pair32k", "pair256k", "pair1m",
         "pair32m", "growth", "remote", "threads"]
NOT_COUNTED = {"pair32m", "remote", "threads"}  # instructions of the kernel or of waiting say little


class Context:
    """What a program needs to run: where its binary is, the launcher, a scratch folder."""

    def __init__(self, options):
        self.quick, self.share = options.quick, options.share
        self.folder = os.path.join(options.build, "bench", "malloc")
        self.work = os.path.join(self.folder, "work")
        os.makedirs(self.work, exist_ok=True)
        self.cc = os.environ.get("CC", "cc")
        self.launcher = Launcher(self.cc, self.folder)
        self.libc = None
        self.broken = {}  # source → why it does not build

    def binary(self, source):
        return os.path.join(self.folder, source)

    def build(self, source):
        if source == "containers":
            errors = compile_c(os.environ.get("CXX", "c++"), os.path.join(DIR, source + ".cc"),
                               self.binary(source), "-std=gnu++17", "-pthread")
        else:
            errors = compile_c(self.cc, os.path.join(DIR, source + ".c"), self.binary(source),
                               "-fno-builtin-malloc", "-pthread")
        if errors:
            self.broken[source] = errors[0]


# ---- the programs ---------------------------------------------------------------------------------

class Runs:
    def __init__(self, context, peers, log, reps):
        self.context, self.peers, self.log, self.reps = context, peers, log, reps
        self.cpus = sorted(os.sched_getaffinity(0))
        self.values = {}  # (program, peer) → {rep: {metric: value}}
        self.failed = {}  # (program, peer) → how many runs failed

    def one(self, program, peer, rep):
        cpu = idlest_cpu(self.cpus, 0.05)
        done, cost, checksum, metrics = program.run(self.context, peer, cpu)
        environment = " ".join(f"{k}={os.path.basename(v)}"  # a library by its name: where it lies is no result
                               for k, v in {**program.env, **peer.environment()}.items())
        self.log.row(program=program.name, variant=peer.name, version=peer.version, rep=rep, cpu=cpu,
                     command=program.describe(self.context),
                     environment=environment, exit=done.returncode, checksum=checksum,
                     metrics=";".join(f"{k}={v}" for k, v in metrics.items()), **cost)
        if self.log.ended(f"{program.name} {peer.name} rep {rep}", done):
            runs = self.values.setdefault((program.name, peer.name), {})
            runs[rep] = {**cost, **metrics, "checksum": checksum}
        else:
            self.failed[program.name, peer.name] = self.failed.get((program.name, peer.name), 0) + 1

    def rounds(self, programs, minutes):
        """All programs, then all again; the first round is whole, the later ones end when the minutes are over."""
        end = time.monotonic() + 60 * minutes if minutes else math.inf
        for rep in range(self.reps):
            for program in programs:
                if rep > 0 and time.monotonic() > end:
                    break
                self.program(program, rep)
        for program in programs:
            for text in self.different_output(program):
                self.log.fail(text)

    def program(self, program, rep):
        names = list(self.peers)
        for i in range(len(names)):  # another one starts each round
            self.one(program, self.peers[names[(i + rep) % len(names)]], rep)
        print(f"{rep + 1}: {program.name:16} " + "  ".join(
            f"{name} {self.cell(program.name, name, 'wall_s', True)}" for name in names)
            + "   [wall s, median so far]", flush=True)

    def different_output(self, program):
        """What to say of each malloc under which the program printed something else; they have failed."""
        sums = {(name, run["checksum"]) for name in self.peers
                for run in self.values.get((program.name, name), {}).values()}
        common = Counter(checksum for _, checksum in sorted(sums)).most_common(1)
        wrong = [(name, checksum) for name, checksum in sorted(sums) if checksum != common[0][0]]
        self.failed.update({(program.name, name): self.reps for name, _ in wrong})
        return [f"{program.name} {name}: output differs ({checksum}, others {common[0][0]})"
                for name, checksum in wrong]

    def base(self):
        return BASE if BASE in self.peers else next(iter(self.peers))

    def ratio(self, program, peer, metric, base=None):
        """Median over the repetitions of peer / base; None where either failed or is not there."""
        base = base or self.base()
        if self.failed.get((program, peer)) or self.failed.get((program, base)):
            return None
        ours, theirs = self.values.get((program, peer), {}), self.values.get((program, base), {})
        ratios = [ours[rep][metric] / theirs[rep][metric] for rep in ours
                  if rep in theirs and theirs[rep].get(metric) and ours[rep].get(metric)]
        return statistics.median(ratios) if ratios else None

    def cell(self, program, peer, metric, absolute=False):
        if self.failed.get((program, peer)):
            return "FAIL"
        runs = self.values.get((program, peer), {}).values()
        if absolute:
            return number(statistics.median(r[metric] for r in runs)) if runs else "-"
        ratio = self.ratio(program, peer, metric)
        return "%.2f" % ratio if ratio else "-"

    def mean(self, programs, peer, metric, base=None):
        ratios = [self.ratio(p.name, peer, metric, base) for p in programs]
        logs = [math.log(r) for r in ratios if r]
        return math.exp(sum(logs) / len(logs)) if logs else None


class Table:
    def __init__(self, runs, programs):
        self.runs, self.programs = runs, programs

    def chosen(self, group):
        return [p for p in self.programs if p.group in GROUPS[group]]

    def show(self, metric):
        names, base = list(self.runs.peers), self.runs.base()
        print(f"\n{METRICS[metric]}, ratio to {base} (whose median is in the last column)")
        print("%-16s" % "" + "".join("%11s" % n for n in names) + "%11s" % f"{base} abs")
        for program in self.programs:
            print("%-16s" % program.name
                  + "".join("%11s" % self.runs.cell(program.name, n, metric) for n in names)
                  + "%11s" % self.runs.cell(program.name, base, metric, True))
        for group in GROUPS:
            programs = self.chosen(group)
            if programs:
                means = [self.runs.mean(programs, n, metric) for n in names]
                print("%-16s" % f"{group} ({len(programs)})" + "".join(
                    "%11s" % ("%.3f" % m if m else "-") for m in means))

    def parallelism(self):
        """CPUs that the two-thread programs really had: near 1 on a busy machine, whose wall times then
        say little about two threads."""
        shares = [run["cpu_s"] / run["wall_s"] for p in self.chosen(TWO)
                  for run in self.runs.values.get((p.name, self.runs.base()), {}).values()]
        if shares:
            print(f"\nthe two-thread programs had {statistics.median(shares):.2f} CPUs (median, {self.runs.base()})")

    def verdicts(self):
        """(text, ratio, limit) of each target that can be judged from these runs."""
        runs, judged = self.runs, []
        for anchor in ANCHORS:
            for group, limit in WALL_LIMITS.items():
                judged.append((f"wall, {group}, {OURS}/{anchor}",
                               runs.mean(self.chosen(group), OURS, "wall_s", anchor), limit))
            judged.append((f"peak RSS, all, {OURS}/{anchor}",
                           runs.mean(self.programs, OURS, "rss_mib", anchor), RSS_LIMIT))
            judged += [(f"wall, {p.name}, {OURS}/{anchor}", runs.ratio(p.name, OURS, "wall_s", anchor),
                        WORST_LIMIT) for p in self.programs]
        peers = {n: runs.mean(self.programs, OURS, "wall_s", n) for n in runs.peers if n in NAMES and n != OURS}
        best = max((n for n in peers if peers[n]), key=lambda n: peers[n], default=None)
        if best:
            judged.append((f"wall, all, {OURS}/{best} (best peer)", peers[best], BEST_PEER_LIMIT))
        return [(text, ratio, limit) for text, ratio, limit in judged if ratio]


# ---- single patterns ------------------------------------------------------------------------------

class Micro:
    def __init__(self, context, peers, log, reps):
        self.context, self.peers, self.log, self.reps = context, peers, log, reps
        self.micro = context.binary("micro")

    def table(self, title, rows, cell):
        print(f"\n{title}\n" + "%-12s" % "" + "".join("%11s" % n for n in self.peers))
        for row in rows:
            print("%-12s" % row + "".join("%11s" % cell(row, peer) for peer in self.peers.values()), flush=True)

    def times(self, op):
        size = [] if not self.context.quick else ["2000" if op in ("threads", "pair32m", "growth") else "200000"]
        values = {name: [] for name in self.peers}
        for rep in range(self.reps):
            for peer in self.peers.values():
                done, cost = self.context.launcher.run([self.micro, op, *size], env=peer.environment())
                ns = parse_lines(done.stdout).get("ns")
                self.log.row(program=f"micro-{op}", variant=peer.name, version=peer.version, rep=rep,
                             command=f"micro {op}", exit=done.returncode, metrics=f"ns={ns}", **cost)
                if self.log.ended(f"micro {op} {peer.name}", done):
                    values[peer.name].append(ns)
        return {name: number(statistics.median(v)) if v else "FAIL" for name, v in values.items()}

    def instructions(self, op, peer):
        """Instructions of one pair, by callgrind: what n and 2 n pairs differ by."""
        counts = []
        for n in (2000, 4000):
            done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", self.micro,
                                   op, str(n)], capture_output=True, text=True, check=False,
                                  env={**os.environ, **peer.environment()})
            found = re.search(r"Collected : (\d+)", done.stderr)
            if done.returncode or not found:
                return "-"
            counts.append(int(found.group(1)))
        return number((counts[1] - counts[0]) / (2000 * 1.1))  # a tenth is rehearsal

    def start_up(self, times):
        """Wall time, peak RSS and page faults of a process that says hello; medians."""
        values = {name: [] for name in self.peers}
        for _ in range(times):
            for peer in self.peers.values():
                done, cost = self.context.launcher.run([self.micro, "hello"], env=peer.environment())
                if self.log.ended(f"micro hello {peer.name}", done):
                    values[peer.name].append(cost)
        rows = {"wall us": ("wall_s", 1e6), "cpu us": ("cpu_s", 1e6), "RSS KiB": ("rss_mib", 1024),
                "faults": ("minor_faults", 1)}
        for name, runs in values.items():
            self.log.row(program="micro-hello", variant=name, version=self.peers[name].version,
                         command="micro hello", metrics=f"runs={len(runs)}",
                         **{k: statistics.median(r[k] for r in runs) for k, _ in rows.values() if runs})
        self.table(f"start-up of a process (median of {times})", rows, lambda row, peer: number(
            statistics.median(r[rows[row][0]] for r in values[peer.name]) * rows[row][1])
            if values[peer.name] else "FAIL")

    def run(self, only):
        ops = [op for op in MICRO if not only or op in only]
        if ops:
            print(f"\nns for one malloc and its free (median of {self.reps})")
            print("%-12s" % "" + "".join("%11s" % n for n in self.peers))
        for op in ops:
            cells = self.times(op)
            print("%-12s" % op + "".join("%11s" % cells[n] for n in self.peers), flush=True)
        counted = [op for op in ops if op not in NOT_COUNTED]
        if counted and shutil.which("valgrind"):
            self.table("instructions for one malloc and its free, with the loop and the call (callgrind)",
                       counted, self.instructions)
        elif counted:
            skip("instructions", "no valgrind (make deps-all)")
        if not only or "hello" in only:
            self.start_up(20 if self.context.quick else 200)


# ---- command line ---------------------------------------------------------------------------------

def choose(programs, only, parser):
    if not only:
        return [p for p in programs if p.group != IDLE]
    words = [w for text in only for w in text.split(",")]
    groups = {"one": ONE, "two": TWO, "real": REAL_GROUP, "idle": IDLE}
    for word in words:
        if word not in groups and not any(p.name.startswith(word) for p in programs):
            parser.error(f"no program named {word}: one, two, real, idle, " + ", ".join(p.name for p in programs))
    exact = {p.name for p in programs} & set(words)
    return [p for p in programs if p.name in exact or p.group in [groups.get(w) for w in words]
            or any(p.name.startswith(w) for w in words if w not in exact and w not in groups)]


def options_of(parser):
    parser.add_argument("--quick", action="store_true", help="small sizes, one run each: does it all work?")
    parser.add_argument("--only", action="append", metavar="NAME", help="programs by name, start of a name, or "
                        "group (one, two, real, idle), with commas; with --micro: operations, hello")
    parser.add_argument("--peers", metavar="A,B", help="of " + ", ".join([*NAMES, *VARIANTS]))
    parser.add_argument("--reps", type=int, help="runs of each (default 5, quick 1)")
    parser.add_argument("--share", type=float, default=1, metavar="X", help="sizes between quick and full: X of the full ones")
    parser.add_argument("--minutes", type=float, help="no run begins after so many, but the first of each")
    parser.add_argument("--micro", action="store_true", help="single patterns of calls, and start-up")
    parser.add_argument("--out", metavar="FILE.csv", help="default bench/results/<time>-malloc-<commit>.csv")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build tree with lib/")
    parser.add_argument("--table", action="append", metavar="FILE.csv", help="run nothing: the tables of earlier "
                        "runs; may be repeated, so that they can be taken in pieces")
    parser.add_argument("--strict", action="store_true", help="a missed target is a failure")
    options = parser.parse_args()
    options.reps = options.reps or (1 if options.quick else 5)
    options.build = os.path.abspath(options.build)
    options.peers = options.peers.split(",") if options.peers else NAMES
    for name in set(options.peers) - set(NAMES) - set(VARIANTS):
        parser.error(f"no malloc named {name}: {', '.join([*NAMES, *VARIANTS])}")
    return options


def old_runs(paths, programs):
    """(runs, programs) as earlier CSVs have them, so that a long measurement may be taken in pieces."""
    class Old:
        def __init__(self, name):
            self.name = name
    runs = Runs(None, {}, None, 1)
    for number_of_file, path in enumerate(paths):
        with open(path, encoding="utf-8") as f:
            for row in csv.DictReader(f):
                key = row["program"], row["variant"]
                runs.peers.setdefault(row["variant"], Old(row["variant"]))
                if row["exit"] == "0":
                    metrics = dict(pair.split("=", 1) for pair in row["metrics"].split(";") if "=" in pair)
                    values = {m: float(row[m]) for m in METRICS if row[m]} | {"checksum": row["checksum"]}
                    values |= {key: float(value) for key, value in metrics.items()}
                    runs.values.setdefault(key, {})[number_of_file, row["rep"]] = values
                else:
                    runs.failed[key] = runs.failed.get(key, 0) + 1
    runs.peers = {name: runs.peers[name] for name in [*NAMES, *VARIANTS] if name in runs.peers}
    programs = [p for p in programs if any((p.name, name) in runs.values for name in runs.peers)]
    for program in programs:
        for text in runs.different_output(program):
            print("FAILED " + text)
    return runs, programs


def show_idle(runs, programs):
    """What stays in memory a second after the frees; of that, what blocks hold that live."""
    names = list(runs.peers)
    print("\nresident MiB of an idle process\n" + "%-16s" % "" + "".join("%11s" % n for n in [*names, "live"]))
    for program in programs:
        def median(name, key):
            values = runs.values.get((program.name, name), {}).values()
            return "%.1f" % statistics.median(v[key] for v in values) if values else "FAIL"
        print("%-16s" % program.name + "".join("%11s" % median(n, "rss_idle_mib") for n in names)
              + "%11s" % median(names[0], "live_mib"))


def show(runs, programs):
    """Tables and targets; the targets that were missed."""
    idle, programs = ([p for p in programs if (p.group == IDLE) == wanted] for wanted in (True, False))
    if idle:
        show_idle(runs, idle)
    if not programs:
        return []
    table = Table(runs, programs)
    for metric in METRICS:
        table.show(metric)
    table.parallelism()
    judged = table.verdicts() if OURS in runs.peers else []
    missed = [j for j in judged if j[1] > j[2]]
    print(f"\n{len(judged) - len(missed)} targets met, {len(missed)} missed")
    for text, ratio, limit in judged:
        if ratio > limit or limit != WORST_LIMIT:
            print(f"{'MISS' if ratio > limit else 'met '} {text}: {ratio:.3f}, at most {limit:.2f}")
    return missed


def run_programs(context, peers, log, options, programs):
    usable = []
    for program in programs:
        why = program.missing() or context.broken.get(program.source)
        if why:
            skip(program.name, why)
        else:
            program.prepare(context)
            usable.append(program)
    runs = Runs(context, peers, log, options.reps)
    runs.rounds(usable, options.minutes)
    return show(runs, usable)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    options = options_of(parser)
    programs = [] if options.micro else choose(c_programs() + real_programs() + idle_programs(), options.only, parser)
    if options.table:
        sys.exit(1 if show(*old_runs(options.table, programs)) and options.strict else 0)
    context = Context(options)
    for source in dict.fromkeys(["micro", *(p.source for p in programs if p.source)]):
        context.build(source)
    if "micro" in context.broken:
        sys.exit(f"bench: micro.c does not compile: {context.broken['micro']}")
    finder = Finder(options.build, context.folder, context.binary("micro"))
    peers = finder.find(options.peers)
    context.libc = finder.libc
    if not peers:
        sys.exit("bench: no malloc to run")
    log = Log(options.out, "-malloc")
    print(f"machine {log.constant['machine']}, load {os.getloadavg()[0]:.2f}; " + ", ".join(
        f"{p.name} {p.version}".strip() for p in peers.values()) + f"; {options.reps} runs each", flush=True)
    context.launcher.warm(WARM_AT_START_MIB)
    missed = []
    if options.micro:
        only = [w for text in options.only or [] for w in text.split(",")]
        Micro(context, peers, log, options.reps).run(only)
    else:
        missed = run_programs(context, peers, log, options, programs)
    if options.quick:
        print("quick sizes: the targets are for the full ones")
    print(f"all runs are in {log.path}")
    for line in log.failures:
        print("FAILED " + line)
    sys.exit(1 if log.failures or (options.strict and missed) else 0)


if __name__ == "__main__":
    main()
