#!/usr/bin/env python3
"""Run the benchmarks: mallocgc, the same programs in Go, and on Debian's libgc.

    python3 bench/run.py [--quick] [--only NAME]... [--reps N] [--out FILE.csv]

Builds what it needs under build/bench, runs the variants of each program in turn (one run each per
repetition, so that a noisy neighbour hits all alike), checks that their checksums agree, and prints
median and minimum, ratios and the target. Every run becomes one row of the CSV. A variant whose
compiler or library is missing is skipped with a line that says so. Exit status: 1 if a run failed
or checksums differ; a missed target alone is not a failure unless --strict.
"""
import argparse
import glob
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from common import (C_DIR, ROOT, WARM_AT_START_MIB, Launcher, Log, compile_c, idlest_cpus, number, parse_lines,
                    skip)

GO_DIR = os.path.join(ROOT, "bench", "go")
OURS = "mallocgc"


# ---- what is measured -----------------------------------------------------------------------------

@dataclass
class Metric:
    """One line of the table. limit: {variant: (peer, at most this ratio to it)}; a peer of None
    makes the figure itself the ratio."""
    key: str
    unit: str
    limit: dict = field(default_factory=dict)


@dataclass
class Bench:
    name: str
    source: str        # bench/c/<source>.c and bench/go/<source>/
    args: list
    quick_args: list
    metrics: list
    warm_mib: int = 0  # memory to touch and free before each run
    settle_s: int = 0  # or to wait before each: a host takes what the run before had back while this one is on
    timeout_s: int = 300
    default: bool = True
    nprocs: int = 1    # processors that each run may use
    variants: tuple = ()  # only these; (): all


def against_go(ratio):
    return {OURS: ("go", ratio)}


GC_METRICS = [Metric("cycles", ""), Metric("pause_max_ms", "ms")]


def process_metrics(wall=0.4, cpu=0.4, rss=1.0):
    """Wall and CPU against Go; programs on gc.h also against libgc on its face."""
    return [Metric("wall_s", "s", {OURS: ("go", wall), "libgc-face": ("libgc", 0.6)}),
            Metric("cpu_s", "s", against_go(cpu)),
            Metric("rss_mib", "MiB", against_go(rss)),
            *GC_METRICS]


def latency_metrics(kind, tail):
    """Percentiles of all runs together (`pooled`: Histogram below), and the median of the maxima."""
    return [*[Metric(f"{kind}_p{q}_us", "us") for q in ("50", "99")],
            Metric(f"{kind}_p99.9_us", "us", against_go(tail[0])),
            Metric(f"{kind}_p99.99_us", "us", against_go(tail[1])),
            Metric(f"{kind}_max_us", "us", against_go(tail[2]))]


LRU_METRICS = [*latency_metrics("service", (1.0, 0.1, 0.2)), *latency_metrics("response", (1.0, 0.1, 0.2)),
               Metric("run_cpu_s", "s"), Metric("rss_mib", "MiB", against_go(1.0)), *GC_METRICS]
LIMIT_METRICS = [Metric("over_percent", "%"), Metric("share_percent", "%"), Metric("mib_per_s", "MiB/s"), *GC_METRICS]
SIZES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
ALLOC_METRICS = [Metric(f"{kind}_{size}_{clock}", "ns", against_go(0.35))
                 for clock in ("ns", "cpu_ns") for kind in ("scan", "noscan") for size in SIZES]
MARK_METRICS = [Metric("cpu_ns_per_object", "ns", against_go(0.15)),
                Metric("cpu_ns_per_object_min", "ns"),
                Metric("wall_ns_per_object", "ns"),
                Metric("rss_mib", "MiB"), GC_METRICS[1]]


def mark_metrics(at_most):
    """The same with another target; a list leaves nothing to do at once, a tree little to wait for."""
    return [Metric(MARK_METRICS[0].key, "ns", against_go(at_most)), *MARK_METRICS[1:]]


CHURN_METRICS = [*process_metrics(), Metric("longest_op_ms", "ms"), Metric("ops_over_1ms", ""),
                 Metric("ops_over_10ms", "")]
CHURN_METRICS[4] = Metric("pause_max_ms", "ms", {"libgc-face": ("libgc", 0.1)})
RSS_METRICS = [Metric("rss_to_limit", "x", {OURS: (None, 1.0)}),
               Metric("rss_after_mib", "MiB"), Metric("live_mib", "MiB"),
               Metric("full_rss_mib", "MiB"), Metric("collect_ms", "ms"), Metric("fill_s", "s"), *GC_METRICS]

BENCHES = [
    Bench("alloc", "alloc", ["1024"], ["128"], ALLOC_METRICS + [Metric("rss_mib", "MiB", against_go(1.0)), *GC_METRICS]),
    Bench("binary-trees", "binary_trees", ["18"], ["15"], process_metrics(), 256),
    Bench("binary-trees-21", "binary_trees", ["21"], ["18"], process_metrics(), 1024,
          timeout_s=900, default=False),
    Bench("binary-trees-21-2p", "binary_trees", ["21"], ["18"], process_metrics(), 1024, nprocs=2,
          timeout_s=900, default=False),
    Bench("gcbench", "gcbench", ["0"], ["0"], process_metrics(), 256),
    Bench("gcbench-4x", "gcbench", ["2"], ["1"], process_metrics(), 512, default=False),
    Bench("binary-trees-2p", "binary_trees", ["18"], ["15"], process_metrics(), 256, nprocs=2),
    Bench("gcbench-2p", "gcbench", ["0"], ["0"], process_metrics(), 256, nprocs=2),
    Bench("alloc-2p", "alloc", ["1024"], ["128"], ALLOC_METRICS + [Metric("rss_mib", "MiB", against_go(1.0)), *GC_METRICS],
          nprocs=2, default=False),
    # from libgc: a tenth of the pause, however large the heap
    *[Bench(f"churn-{mib}", "churn", [str(mib), "1", str(millions), "90"], ["20", "1", "1", "90"], CHURN_METRICS,
            2 * mib, nprocs=2, default=mib == 100) for mib, millions in ((100, 6), (400, 8), (1600, 12))],
    *[Bench(f"churn-{threads}t", "churn", ["100", str(threads), "6"], ["20", str(threads), "1"], CHURN_METRICS,
            256, nprocs=2, default=False) for threads in (2, 16)],
    Bench("lru", "lru", ["8388608", "200000", "20"], ["262144", "200000", "2"], LRU_METRICS,
          settle_s=6, nprocs=2, variants=(OURS, "go")),
    Bench("limit-moderate", "limit", ["320", "60", "200", "10"], ["80", "60", "100", "2"], LIMIT_METRICS,
          variants=(OURS, "go")),
    Bench("limit-hostile", "limit", ["320", "60", "0", "10"], ["80", "60", "0", "2"], LIMIT_METRICS,
          variants=(OURS, "go")),
    Bench("mark-random", "mark", ["random", "3276800", "7"], ["random", "819200", "3"],
          MARK_METRICS, 1024),
    Bench("mark-list", "mark", ["list", "3276800", "5"], ["list", "819200", "3"],
          mark_metrics(0.5), 1024),
    Bench("mark-tree", "mark", ["tree", "3276800", "7"], ["tree", "819200", "3"],
          mark_metrics(0.8), 1024),
    *[Bench(f"mark-{kind}-2p", "mark", [kind, "3276800", reps], [kind, "819200", "3"], mark_metrics(target), 1024, nprocs=2,
            default=False) for kind, reps, target in (("random", "7", 0.15), ("list", "5", 0.5), ("tree", "7", 0.8))],
    Bench("rss", "rss", ["1024", "4"], ["256", "4"], RSS_METRICS, 2048),
    Bench("rss-empty", "rss", ["1024", "0"], ["256", "0"], RSS_METRICS, 2048, default=False),
]


# ---- building -------------------------------------------------------------------------------------

def find_go():
    """The newest go among PATH, /usr/local/go and Debian's versioned packages."""
    def version(path):
        out = subprocess.run([path, "env", "GOVERSION"], capture_output=True, text=True, cwd=GO_DIR,
                             env=dict(os.environ, GOTOOLCHAIN="local")).stdout.strip()
        digits = out.removeprefix("go").split("-")[0].split(".")
        return tuple(int(d) if d.isdigit() else 0 for d in digits), out
    paths = [shutil.which("go"), "/usr/local/go/bin/go", *glob.glob("/usr/lib/go-*/bin/go")]
    found = [(*version(p), p) for p in dict.fromkeys(paths) if p and os.access(p, os.X_OK)]
    return max(found)[1:] if found else (None, None)


class Builder:
    """Compiles the programs into DIR; programs(variant, bench) is (path, extra environment)."""

    def __init__(self, build, cc):
        self.build, self.cc, self.dir = build, cc, os.path.join(build, "bench")
        self.variants = {}  # variant → (file prefix, environment)
        self.notes = {}     # variant → version
        os.makedirs(self.dir, exist_ok=True)

    def path(self, prefix, source):
        return os.path.join(self.dir, f"{prefix}_{source}")

    def _c_variant(self, variant, sources, flags, env):
        for source in sources:
            errors = compile_c(self.cc, os.path.join(C_DIR, source + ".c"),
                               self.path(variant, source), *flags)
            if errors:
                return skip(variant, f"{source}.c does not build: {errors[0]}")
        self.variants[variant] = (variant, env)

    def build_libraries(self):
        """Brings the library and its libgc face up to date; False when the library is not."""
        cmake = shutil.which("cmake")
        if not cmake:
            return os.path.exists(os.path.join(self.build, "lib", "libmallocgc.so"))
        if not os.path.exists(os.path.join(self.build, "CMakeCache.txt")):
            subprocess.run([cmake, "-S", ROOT, "-B", self.build, "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                            "--log-level=WARNING"], stdout=subprocess.DEVNULL, check=False)
        done = [subprocess.run([cmake, "--build", self.build, "--parallel", "--target", target],
                               capture_output=True, text=True)
                for target in ("mallocgc", "mallocgc_libgc")]  # the second may not exist: fine
        if done[0].returncode:
            print("\n".join((done[0].stdout + done[0].stderr).splitlines()[-5:]))
        return done[0].returncode == 0

    def build_ours(self, sources):
        lib = os.path.join(self.build, "lib")
        if not os.path.exists(os.path.join(ROOT, "include", "mallocgc.h")):
            return skip(OURS, "include/mallocgc.h is not there yet")
        if not os.path.exists(os.path.join(lib, "libmallocgc.so")):
            return skip(OURS, f"no libmallocgc.so in {lib}: `make` builds it")
        self._c_variant(OURS, sources, ["-DBENCH_MALLOCGC", "-I", os.path.join(ROOT, "include"),
                                        "-L", lib, "-lmallocgc", f"-Wl,-rpath,{lib}"], {})
        with open(os.path.join(ROOT, "VERSION"), encoding="utf-8") as f:
            self.notes[OURS] = f.read().strip()
        with open(os.path.join(lib, "libmallocgc.so"), "rb") as f:  # tells uncommitted builds apart
            self.notes[OURS] += "+" + hashlib.sha256(f.read()).hexdigest()[:8]

    def build_go(self, sources):
        version, go = find_go()
        if not go:
            return skip("go", "no go in PATH, /usr/local/go or /usr/lib/go-* "
                              "(Debian: apt-get install golang-go)")
        for source in sources:
            done = subprocess.run([go, "build", "-o", self.path("go", source), "./" + source],
                                  cwd=GO_DIR, capture_output=True, text=True,
                                  env=dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="", GOWORK="off"))
            if done.returncode:
                return skip("go", f"{source} does not build: {done.stderr.strip()}")
        self.variants["go"] = ("go", {"GOMAXPROCS": "1"})
        self.notes["go"] = version

    def build_libgc(self, sources):
        probe = os.path.join(self.dir, "probe.c")
        with open(probe, "w", encoding="utf-8") as f:
            f.write("#include <gc/gc.h>\n#include <stdio.h>\nint main(void) { unsigned v = "
                    "GC_get_version(); printf(\"%u.%u.%u\\n\", v >> 16, v >> 8 & 255, v & 255); }\n")
        if compile_c(self.cc, probe, self.path("libgc", "probe"), "-lgc"):
            return skip("libgc", "gc/gc.h or -lgc is missing (Debian: apt-get install libgc-dev)")
        self.notes["libgc"] = subprocess.run([self.path("libgc", "probe")], capture_output=True,
                                             text=True).stdout.strip()
        self._c_variant("libgc", sources, ["-DBENCH_LIBGC", "-lgc"], {})
        face = os.path.join(self.build, "libgc")
        if "libgc" in self.variants and os.path.exists(os.path.join(face, "libgc.so.1")):
            self.variants["libgc-face"] = ("libgc", {"LD_LIBRARY_PATH": os.path.relpath(face)})


# ---- running --------------------------------------------------------------------------------------

class Histogram:
    """The counts of bench/c/histogram.h, of any number of runs."""

    def __init__(self, lines):
        self.count = {}
        for pair in ",".join(lines).split(","):
            bucket, n = map(int, pair.split(":"))
            self.count[bucket] = self.count.get(bucket, 0) + n

    @staticmethod
    def end_ns(bucket):
        return bucket + 1 if bucket < 64 else (bucket % 64 + 65) << (bucket // 64 - 1)

    def percentile_us(self, q):
        left = sum(self.count.values()) * q / 100
        for bucket in sorted(self.count):
            left -= self.count[bucket]
            if left <= 0:
                return self.end_ns(bucket) / 1e3
        return self.end_ns(max(self.count)) / 1e3


def parse_histograms(text):
    """{name: counts} of the lines `<name>_histogram counts`."""
    words = [line.split() for line in text.splitlines()]
    return {w[0].removesuffix("_histogram"): w[1] for w in words
            if len(w) == 2 and w[0].endswith("_histogram")}


class Runner:
    def __init__(self, options, builder, launcher, log):
        self.options, self.builder, self.launcher, self.log = options, builder, launcher, log
        self.cpus = sorted(os.sched_getaffinity(0))
        self.results = {}  # (bench, variant) → [values of each run]

    def one(self, bench, variant, rep):
        prefix, extra = self.builder.variants[variant]
        args = bench.quick_args if self.options.quick else bench.args
        command = [self.builder.path(prefix, bench.source), *args]
        pin = not self.options.no_pin and bench.nprocs <= len(self.cpus)
        cpu = ",".join(map(str, idlest_cpus(self.cpus, bench.nprocs))) if pin else None
        if "GOMAXPROCS" in extra:
            extra = {**extra, "GOMAXPROCS": str(bench.nprocs)}
        time.sleep(0 if self.options.quick else bench.settle_s)
        done, cost = self.launcher.run(command, env=extra, cpu=cpu, warm_mib=bench.warm_mib,
                                       timeout_s=bench.timeout_s)
        values, histograms = parse_lines(done.stdout), parse_histograms(done.stdout)
        checksum = values.pop("checksum", "")
        counts = {k + "_histogram": v for k, v in histograms.items()}
        self.log.row(program=bench.name, variant=variant, version=self.builder.notes.get(variant, ""),
                     rep=rep, cpu=cpu, command=" ".join([os.path.relpath(command[0], ROOT), *args]),
                     environment=" ".join(f"{k}={v}" for k, v in extra.items()),
                     exit=done.returncode, checksum=checksum,
                     metrics=";".join(f"{k}={v}" for k, v in {**values, **counts}.items()), **cost)
        if self.log.ended(f"{bench.name} {variant} rep {rep}", done):
            entry = {**cost, **values, "checksum": checksum, "histograms": histograms}
            self.results.setdefault((bench.name, variant), []).append(entry)

    def bench(self, bench):
        print(f"\n== {bench.name} {' '.join(bench.quick_args if self.options.quick else bench.args)}",
              flush=True)
        variants = [v for v in self.builder.variants if not bench.variants or v in bench.variants]
        for rep in range(self.options.reps):
            for i in range(len(variants)):  # another one starts each round
                self.one(bench, variants[(i + rep) % len(variants)], rep)
        sums = {}
        for variant in variants:
            for run in self.results.get((bench.name, variant), []):
                sums.setdefault(run["checksum"], set()).add(variant)
        if len(sums) > 1:
            text = ", ".join(f"{k}: {' '.join(sorted(v))}" for k, v in sums.items())
            self.log.fail(f"{bench.name}: checksums differ ({text})")


# ---- the table ------------------------------------------------------------------------------------

class Table:
    def __init__(self, runner):
        self.runner, self.missed, self.met = runner, [], 0
        self.variants = list(runner.builder.variants)

    def pooled(self, bench, variant, key):
        """A percentile of all runs of a variant; None when the key is none of those."""
        name, _, q = key.removesuffix("_us").rpartition("_p")
        runs = self.runner.results.get((bench.name, variant), [])
        lines = [r["histograms"][name] for r in runs if name in r["histograms"]]
        return Histogram(lines).percentile_us(float(q)) if lines and q else None

    def stat(self, bench, variant, key):
        pooled = self.pooled(bench, variant, key)
        if pooled is not None:
            return pooled, pooled
        values = [r[key] for r in self.runner.results.get((bench.name, variant), []) if key in r]
        return (statistics.median(values), min(values)) if values else None

    def verdict(self, bench, metric):
        words = []
        for variant, (peer, at_most) in metric.limit.items():
            ours = self.stat(bench, variant, metric.key)
            base = self.stat(bench, peer, metric.key) if peer else (1.0, 1.0)
            if not ours or not base or not base[0]:
                continue
            ok = ours[0] / base[0] <= at_most
            self.met += ok
            name = f"{bench.name} {metric.key} {variant}/{peer or 'limit'}"
            if not ok:
                self.missed.append(f"{name}: {ours[0] / base[0]:.2f} > {at_most:g}")
            face = f"{variant}/{peer} " if variant != OURS else ""
            words.append(f"{face}<={at_most:g} {'pass' if ok else 'MISS'}")
        return ", ".join(words)

    def show(self, bench):
        peers = [v for v in self.variants if v != OURS]
        ratios = [p for p in peers if OURS in self.variants]
        print("%-24s" % "median (min)" + "".join("%20s" % v for v in self.variants)
              + "".join("%12s" % ("ours/" + p) for p in ratios) + "   target")
        for metric in bench.metrics:
            stats = {v: self.stat(bench, v, metric.key) for v in self.variants}
            if not any(stats.values()):
                continue
            line = "%-24s" % f"{metric.key.removesuffix('_' + metric.unit.lower())} {metric.unit}"
            for v in self.variants:
                line += "%20s" % ("-" if not stats[v] else " (".join(map(number, stats[v])) + ")")
            for p in ratios:
                both = stats[OURS] and stats[p] and stats[p][0]
                line += "%12s" % ("%.2f" % (stats[OURS][0] / stats[p][0]) if both else "-")
            print((line + "   " + self.verdict(bench, metric)).rstrip())
        sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    names = [b.name for b in BENCHES]
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything work?")
    parser.add_argument("--only", action="append", metavar="NAME", help="one of " + ", ".join(names)
                        + ", or the start of a name; may be repeated")
    parser.add_argument("--all", action="store_true", help="the long ones as well")
    parser.add_argument("--variant", action="append", metavar="NAME",
                        help=f"only {OURS}, go, libgc or libgc-face; may be repeated")
    parser.add_argument("--reps", type=int, help="runs of each variant (default 5, quick 2)")
    parser.add_argument("--out", metavar="FILE.csv", help="default bench/results/<time>-<commit>.csv")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build tree with lib/")
    parser.add_argument("--no-build", action="store_true", help="take the library as it is")
    parser.add_argument("--no-pin", action="store_true", help="do not pin each run to one CPU")
    parser.add_argument("--strict", action="store_true", help="a missed target is a failure")
    options = parser.parse_args()
    options.reps = options.reps or (2 if options.quick else 5)
    options.build = os.path.abspath(options.build)

    chosen = [b for b in BENCHES if b.default or options.all]
    if options.only:
        chosen = [b for b in BENCHES if b.name in options.only]
        for name in set(options.only) - {b.name for b in chosen}:
            more = [b for b in BENCHES if b.name.startswith(name) and (b.default or options.all)]
            if not more:
                parser.error(f"no benchmark named {name}: {', '.join(names)}")
            chosen += [b for b in more if b not in chosen]

    builder = Builder(options.build, os.environ.get("CC", "cc"))
    sources = list(dict.fromkeys(b.source for b in chosen))
    launcher = Launcher(builder.cc, builder.dir)
    if not options.no_build and not builder.build_libraries():
        skip(OURS, "the library does not build, see above")
    else:
        builder.build_ours(sources)
    builder.build_go(sources)
    builder.build_libgc(sources)
    if options.variant:
        builder.variants = {k: v for k, v in builder.variants.items() if k in options.variant}
    if not builder.variants:
        sys.exit("bench: nothing to run")

    log = Log(options.out)
    runner = Runner(options, builder, launcher, log)
    print(f"machine {log.constant['machine']}, load {os.getloadavg()[0]:.2f}; " + ", ".join(
        f"{v} {builder.notes.get(v, '')}".strip() for v in builder.variants)
        + f"; {options.reps} runs each" + (", pinned" if not options.no_pin else ""), flush=True)
    launcher.warm(WARM_AT_START_MIB)
    table = Table(runner)
    for bench in chosen:
        runner.bench(bench)
        table.show(bench)
    if options.quick:
        print("\nquick sizes: the targets are for the full ones")
    print(f"\n{table.met} targets met, {len(table.missed)} missed; all runs are in {log.path}")
    for line in table.missed:
        print("MISS " + line)
    for line in log.failures:
        print("FAILED " + line)
    sys.exit(1 if log.failures or (options.strict and table.missed) else 0)


if __name__ == "__main__":
    main()
