"""figure_list.py - the figures of README.md and docs/: for each its name, the commands that measure it, and how their output
becomes Markdown. bench/figures.py says how a page takes one in; a new one is a row of FIGURES at the end of this file."""
import csv
import io
import math
import re
import statistics
import sys

from figures import Figure, Source
from malloc_programs import ONE, REAL_GROUP, TWO, c_programs, real_programs
from run import Histogram, parse_histograms

PYTHON = sys.executable


# ---- reading what was measured --------------------------------------------------------------------

class Runs:
    """The rows of a CSV of bench/run.py or bench/malloc.py: values by program, variant and repetition."""

    def __init__(self, *texts):
        self.rows = {}
        for text in texts:
            for row in csv.DictReader(io.StringIO(text)):
                if row["exit"] != "0":
                    raise ValueError(f"{row['program']} {row['variant']} failed")
                metrics = dict(pair.split("=", 1) for pair in row["metrics"].split(";") if "=" in pair)
                histograms = "\n".join(f"{k} {v}" for k, v in metrics.items() if k.endswith("_histogram"))
                self.rows.setdefault((row["program"], row["variant"]), []).append(
                    {**row, **metrics, "histograms": parse_histograms(histograms)})

    def values(self, program, variant, key):
        return [float(row[key]) for row in self.rows[program, variant]]

    def median(self, program, variant, key):
        return statistics.median(self.values(program, variant, key))

    def ratio(self, program, variant, peer, key):
        """Median over the repetitions of variant to peer in the same repetition."""
        pairs = zip(self.values(program, variant, key), self.values(program, peer, key))
        return statistics.median(a / b for a, b in pairs)

    def percentile(self, program, variant, name, q):
        """µs, of all runs together."""
        return Histogram([row["histograms"][name] for row in self.rows[program, variant]]).percentile_us(q)


def short(x, unit=""):
    """Three digits, two below 1; no exponent."""
    digits = max(0, 2 - max(0, math.floor(math.log10(abs(x))))) if x else 0
    return f"{x:.{digits}f}".replace("-", "−") + (f" {unit}" if unit else "")


def time_us(us):
    return short(us / 1000, "ms") if us >= 1000 else short(us, "µs")


def table(head, *rows):
    """Markdown; the first column is the label."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" if line[0] != "---" else "|" + "---|" * len(line)
                     for line in lines).replace("|  |", "| |")


def as_it_is(text):
    return text


# ---- beside Go ------------------------------------------------------------------------------------

def beside_go(program, reps, *more, name=None, environment=None):
    return Source(name or f"go-{program}",
                  [PYTHON, "bench/run.py", "--variant", "mallocgc", "--variant", "go", "--only", program, "--reps", str(reps),
                   *more, "--out", "{csv}"], quick=["--quick"], environment=environment)


GO_PROGRAMS = {p: beside_go(p, 3) for p in ("binary-trees", "binary-trees-2p", "gcbench", "gcbench-2p", "mark-random",
                                            "mark-list", "mark-tree")}
GO_LARGER = {p: beside_go(p, 2) for p in ("binary-trees-21", "binary-trees-21-2p", "gcbench-4x")}
GO_MARKS_2P = {p: beside_go(p, 3) for p in ("mark-random-2p", "mark-list-2p", "mark-tree-2p")}
GO_ALLOC = beside_go("alloc", 1)
GO_ALLOC_2P = beside_go("alloc-2p", 1)
GO_LRU = beside_go("lru", 5)
AT_GOS_MEMORY = Source("binary-trees-125", [PYTHON, "bench/run.py", "--variant", "mallocgc", "--only", "binary-trees", "--reps",
                                            "3", "--out", "{csv}"], ["--quick"], {"MGC_PERCENT": "125"})
LIMITS = [beside_go("limit-moderate", 1), beside_go("limit-hostile", 1),
          Source("limit-hostile-kept", [PYTHON, "bench/run.py", "--variant", "mallocgc", "--only", "limit-hostile", "--reps", "1",
                                        "--out", "{csv}"], ["--quick"], {"MGC_DEBUG": "limitover=0"})]


def program_table(programs, *texts):
    runs, rows = Runs(*texts), []
    for program in programs:
        marking = program.startswith("mark")
        key, unit = ("cpu_ns_per_object", "ns") if marking else ("cpu_s", "s")
        wall = "wall_ns_per_object" if marking else "wall_s"
        ours, go = (short(runs.median(program, v, key), unit) for v in ("mallocgc", "go"))
        rows.append([f"`{program}`" + (", each object of a full collection" if program == "mark-random" else ""),
                     ours, go, *(short(runs.ratio(program, "mallocgc", "go", k)) for k in (key, wall, "rss_mib")),
                     *(short(runs.median(program, v, "rss_mib")) for v in ("mallocgc", "go"))])
    return table(["", "processor time", "Go's", "ratio", "ratio of wall", "of peak memory", "MiB", "Go's"], *rows)


def go_programs(*texts):
    return program_table(GO_PROGRAMS, *texts)


def go_larger(*texts):
    return program_table(GO_LARGER, *texts)


def go_marks_2p(*texts):
    return program_table(GO_MARKS_2P, *texts)


def go_memory(text, more):
    runs, at = Runs(text), Runs(more)
    cycles = [runs.median("binary-trees", v, "cycles") for v in ("mallocgc", "go")]
    return (f"Collections of `binary-trees` at the same percentage: {cycles[0]:.0f}, Go's {cycles[1]:.0f}; what they may let the heap\n"
            "grow by is told by [ADR 46](adr/0046-small-heaps-grow-more.md). With "
            f"`MGC_PERCENT=125` it takes {short(at.median('binary-trees', 'mallocgc', 'cpu_s'))} s in "
            f"{at.median('binary-trees', 'mallocgc', 'rss_mib'):.0f} MiB.")


def percent_choice(text, more):
    words = [f"{short(r.median('binary-trees', 'mallocgc', 'cpu_s'))} s at {percent} with "
             f"{r.median('binary-trees', 'mallocgc', 'rss_mib'):.0f} MiB" for r, percent in ((Runs(text), 100), (Runs(more), 125))]
    return "`binary-trees` takes " + " and ".join(words)


SIZES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def go_alloc(text, program="alloc"):
    runs = Runs(text)
    def row(label, variant, kind):
        return [label, *(short(runs.median(program, variant, f"{kind}_{size}_cpu_ns")) for size in SIZES)]
    return table(["bytes", *SIZES], row("with pointers", "mallocgc", "scan"), row("Go", "go", "scan"),
                 row("without", "mallocgc", "noscan"), row("Go", "go", "noscan"))


def go_alloc_2p(text):
    return go_alloc(text, "alloc-2p")


def lru_row(runs, variant, kind):
    return [*(time_us(runs.percentile("lru", variant, kind, q)) for q in (50, 99, 99.9, 99.99)),
            time_us(runs.median("lru", variant, f"{kind}_max_us"))]


def go_lru(text):
    runs = Runs(text)
    memory = [runs.median("lru", v, "rss_mib") for v in ("mallocgc", "go")]
    return table(["", "p50", "p99", "p99.9", "p99.99", "longest"],
                 ["an operation", *lru_row(runs, "mallocgc", "service")], ["Go", *lru_row(runs, "go", "service")],
                 ["from when it was due", *lru_row(runs, "mallocgc", "response")], ["Go", *lru_row(runs, "go", "response")]
                 ) + f"\n\nPeak memory {memory[0]:.0f} MiB, Go's {memory[1]:.0f}."


def lru_runs(text):
    """What single runs were between: the slowest of a percentile may be one run's."""
    runs = Runs(text)
    def between(variant, kind, q):
        rows = runs.rows["lru", variant]
        us = [Histogram([row["histograms"][kind]]).percentile_us(q) if q < 100 else float(row[f"{kind}_max_us"]) for row in rows]
        return f"{time_us(min(us))} to {time_us(max(us))}"
    def both(kind, q):
        return f"{between('mallocgc', kind, q)} (Go's {between('go', kind, q)})"
    return (f"In single runs an operation's p99.99 was {both('service', 99.99)}, its longest {both('service', 100)};\n"
            f"p99.99 from when it was due {both('response', 99.99)}.")


EMPTIED = Source("emptied", [PYTHON, "bench/run.py", "--variant", "mallocgc", "--variant", "go", "--variant", "libgc",
                             "--only", "rss", "--only", "rss-empty", "--reps", "3", "--out", "{csv}"], quick=["--quick"])


def emptied(text):
    """What is resident when a heap of 1 GiB has emptied, and how much it may be."""
    runs, rows = Runs(text), []
    for program, label in (("rss", "a quarter is kept"), ("rss-empty", "nothing is kept")):
        live = runs.median(program, "mallocgc", "live_mib")
        rows.append([label, *(f"{runs.median(program, v, 'rss_after_mib'):.0f} MiB" for v in ("mallocgc", "go", "libgc")),
                     f"{live * 1.2 + 8:.0f} MiB"])
    return table(["", "ours", "Go", "libgc", "live × 1.2 + 8 MiB"], *rows)


def lru_sentence(text):
    runs = Runs(text)
    ours, go = lru_row(runs, "mallocgc", "service"), lru_row(runs, "go", "service")
    return (f"p99 {ours[1]}, p99.9 {ours[2]}, p99.99 {ours[3]}, the longest {ours[4]}; Go {go[1]}, {go[2]}, {go[3]}, {go[4]}")


def limit_row(label, text, program, variant):
    runs = Runs(text)
    over, share, rate = (runs.median(program, variant, key) for key in ("over_percent", "share_percent", "mib_per_s"))
    return [label, short(over, "%"), f"{share:.0f} %", f"{rate:.0f} MiB/s"]


def limit(moderate, hostile, kept):
    return table(["", "over", "the program's share of the processor", "garbage"],
                 limit_row("moderate", moderate, "limit-moderate", "mallocgc"),
                 limit_row("moderate, Go", moderate, "limit-moderate", "go"),
                 limit_row("as fast as it goes", hostile, "limit-hostile", "mallocgc"),
                 limit_row("with `MGC_DEBUG=limitover=0`", kept, "limit-hostile", "mallocgc"),
                 limit_row("as fast as it goes, Go", hostile, "limit-hostile", "go"))


def limit_choice(moderate, hostile, kept):
    _, over, share, _ = limit_row("", hostile, "limit-hostile", "mallocgc")
    _, kept_over, kept_share, _ = limit_row("", kept, "limit-hostile", "mallocgc")
    _, little, most, _ = limit_row("", moderate, "limit-moderate", "mallocgc")
    return (f"With garbage as fast as it goes, {share} for the program and {over} over; with `MGC_DEBUG=limitover=0` "
            f"{kept_share} and {kept_over}. A program that makes 200 MiB of garbage a second, with 60 % of the limit live, keeps "
            f"{most} for itself, its peak {little} from the limit")


def readme_go(*texts):
    alloc, lru, *others = texts
    runs = Runs(alloc, lru, *others)
    sizes = [runs.ratio("alloc", "mallocgc", "go", f"{kind}_{size}_cpu_ns") for size in SIZES for kind in ("scan", "noscan")]
    def cpu(program, key="cpu_s"):
        return short(runs.ratio(program, "mallocgc", "go", key))
    tail = runs.percentile("lru", "mallocgc", "service", 99.9) / runs.percentile("lru", "go", "service", 99.9)
    return (f"Beside {runs.rows['alloc', 'go'][0]['version'].replace('go', 'Go ')}, as shares of its processor time: an object of "
            f"16 to 512 B {short(min(sizes))} to {short(max(sizes))}, binary-trees\n(depth 18) {cpu('binary-trees')} in "
            f"{cpu('binary-trees', 'rss_mib')} of its memory, gcbench {cpu('gcbench')}, a full mark of 3.3 million shuffled objects\n"
            f"{cpu('mark-random', 'cpu_ns_per_object')}; operations on a cache of 8 million entries: p99.9 {short(tail)} of Go's time.")


# ---- short paths, cycles, forks, being watched ----------------------------------------------------

FORKS = Source("forks", ["{build}/test/test-stress-fork", "no_fork"], target="test-stress-fork",
               environment={"MGC_TEST_SECONDS": "10", "MGC_TEST_MB": "1000"})
COST = Source("cost", [PYTHON, "test/conform/cost_test.py", "{build}/bin/mallocgc"])


def forks(text):
    ended = re.search(r"within a cycle of (\d+) us", text)
    rows = re.findall(r"^ *(outside a cycle|in a mark): (\d+) forks, .* median (\d+) us, longest (\d+) us", text, re.M)
    return table(["", "forks", "median µs", "longest µs"], *([where, *values] for where, *values in rows)
                 ) + f"\n\nThe cycle takes {int(ended.group(1)) / 1000:.0f} ms."


def cost(text):
    """Lines `cost: WHAT: HOW instructions N`, of test/conform/cost_test.py."""
    seen = {}
    for what, how, n in re.findall(r"^cost: (.+): (.+) instructions ([\d.]+)$", text, re.M):
        seen.setdefault(what, {})[how] = n
    hows = list(dict.fromkeys(how for row in seen.values() for how in row))
    return table(["", *hows], *([what, *(row.get(how, "–") for how in hows)] for what, row in seen.items()))


# ---- the malloc face -------------------------------------------------------------------------------

MODES = [Source(f"malloc-modes-{name}", [PYTHON, "bench/malloc.py", "--peers", "mallocgc,secure,sampled", "--only", programs,
                                         "--reps", "3", "--out", "{csv}"], quick=["--quick"])
         for name, programs in (("small", "random-1k,lifo,strings,app"), ("large", "vector,medium"))]


def malloc_modes(*texts):
    """CPU time and peak memory of secure mode and of sampling, as ratios to the ordinary mode."""
    runs = Runs(*texts)
    programs = list(dict.fromkeys(program for program, _ in runs.rows))
    return table(["", "secure: CPU time", "memory", "sampled at 512 KiB: CPU time", "memory"],
                 *([f"`{p}`", *(short(runs.ratio(p, mode, "mallocgc", key)) for mode in ("secure", "sampled")
                                for key in ("cpu_s", "rss_mib"))] for p in programs))


PEERS = Source("malloc-peers", [PYTHON, "bench/malloc.py", "--peers", "mallocgc,mi3,mi2,sn,glibc,je,tc", "--share", "0.4", "--reps", "9",
                                "--minutes", "11", "--out", "{csv}"], quick=["--quick"])
GROUPS = {program.name: program.group for program in c_programs() + real_programs()}
PEER_NAMES = {"mallocgc": "ours", "mi2": "mimalloc 2", "sn": "snmalloc", "glibc": "glibc", "je": "jemalloc", "tc": "tcmalloc"}


def malloc_peers(text):
    """Time and peak memory of each malloc, as geometric means of the ratios to mimalloc 3; and what is judged by them."""
    runs, columns = Runs(text), {}  # malloc → program → (wall time, peak memory), to mimalloc 3's
    for program, name in runs.rows:
        if name != "mi3":
            columns.setdefault(name, {})[program] = [runs.ratio(program, name, "mi3", key) for key in ("wall_s", "rss_mib")]
    def row(label, group, key):
        chosen = [[ratios[key] for p, ratios in of.items() if group in (None, GROUPS[p])] for of in columns.values()]
        return [f"{label} ({len(chosen[0])})", *(short(statistics.geometric_mean(c)) for c in chosen)]
    def extreme(of):
        worst = max(of, key=lambda p: of[p][0])
        return f"{short(of[worst][0])} `{worst}`"
    ours = columns["mallocgc"]
    best = min((n for n in columns if n != "mallocgc"),
               key=lambda n: statistics.geometric_mean(columns[n][p][0] for p in ours if p in columns[n]))
    to_best = statistics.geometric_mean(ours[p][0] / columns[best][p][0] for p in ours if p in columns[best])
    return table(["to mimalloc 3", *map(PEER_NAMES.get, columns)], row("time: all programs", None, 0), row("one thread", ONE, 0),
                 row("two threads", TWO, 0), row("real programs", REAL_GROUP, 0), row("peak memory: all programs", None, 1),
                 row("real programs", REAL_GROUP, 1), ["worst time", *map(extreme, columns.values())],
                 ) + f"\n\nThe fastest of the others is {PEER_NAMES[best]}; ours takes {short(to_best)} of its time."


# ---- programs on libgc ----------------------------------------------------------------------------

DEMO = Source("demo", [PYTHON, "demo/run.py"], quick=["-n", "1", "words"])


def demo(text):
    """The table as demo/run.py prints it, without each program's ratios and explanation."""
    lines = text.split("\n")
    head = next(i for i, line in enumerate(lines) if "peak RSS" in line)
    rows = [line for line in lines[head + 2:] if re.match(r".{16}(libgc|mallocgc|mean ratio) ", line)]
    return "```\n" + "\n".join(line.rstrip() for line in [lines[head], lines[head + 1], *rows]) + "\n```"


def clients_of(name, count, *words):
    return Source(f"libgc-clients-{name}", [PYTHON, "test/conform/libgc/clients.py", "--compare", "--n", str(count), "--patience", "10", *words],
                  quick=["--n", "1"])


# The short ones more often, and first: memory that a large one has just given back is slow to touch again.
CLIENTS = [clients_of("short", 5, "guile algebra", "guile threads", "guile control", "ecl", "poke", "crystal", "nim", "neko", "nix"),
           clients_of("long", 2, "guile gcbench large", "guile words large", "lilypond", "w3m page large")]


def clients(*texts):
    """The rows that clients.py prints, of all of them together, and their geometric means."""
    lines = [line for text in texts for line in text.split("\n") if line.startswith("| ")]
    head, rows = lines[0], [line for line in lines if re.search(r"×( |$)", line) and "geometric mean" not in line]
    ratios = [[float(x) for x in re.findall(r": ([\d.]+)×", row)] for row in rows]
    columns = [[r for r in column if r > 0] for column in zip(*ratios)]
    means = [f"{statistics.geometric_mean(column):.2f}×" for column in columns]
    worst = [f"{max(column):.2f}×" for column in columns]
    rule = "|" + "---|" * (head.count("|") - 1)
    last = ["| " + " | ".join([name, *values]) + " |" for name, values in (("geometric mean", means), ("worst", worst))]
    return "\n".join([head, rule, *rows, *last])


def on_libgc(program, reps):
    return Source(f"libgc-{program}", [PYTHON, "bench/run.py", "--variant", "libgc", "--variant", "libgc-face", "--only", program,
                                       "--reps", str(reps), "--out", "{csv}"], quick=["--quick"], target="mallocgc_libgc")


FLAT = [on_libgc(f"churn-{mib}", reps) for mib, reps in ((100, 3), (400, 2), (1600, 1))]
EMPTIES = on_libgc("rss-empty", 3)


def libgc_flat(*texts):
    runs = Runs(*texts)
    programs = [program for program, variant in runs.rows if variant == "libgc"]
    def row(label, variant, key, unit):
        return [label, *(short(runs.median(program, variant, key), unit) for program in programs)]
    longest = [runs.median(program, "libgc-face", "pause_max_ms") for program in programs]
    return table(["live", *(f"{program.split('-')[1]} MiB" for program in programs)],
                 row("the longest stop", "libgc-face", "pause_max_ms", "ms"), row("libgc", "libgc", "pause_max_ms", "ms"),
                 row("the longest operation", "libgc-face", "longest_op_ms", "ms"), row("libgc", "libgc", "longest_op_ms", "ms"),
                 row("wall time", "libgc-face", "wall_s", "s"), row("libgc", "libgc", "wall_s", "s"),
                 row("peak memory", "libgc-face", "rss_mib", "MiB"), row("libgc", "libgc", "rss_mib", "MiB")
                 ) + f"\n\nThe longest stop with most alive is {short(longest[-1] / longest[0])} times that with least."


C_PROGRAMS = {p: on_libgc(p, 3) for p in ("binary-trees", "gcbench", "churn-100", "churn-2t", "churn-16t")}


def libgc_programs(*texts):
    runs = Runs(*texts)
    def row(program):
        return [program, *(f"{short(runs.median(program, 'libgc-face', key))} / {short(runs.median(program, 'libgc', key))}: "
                                  f"{runs.ratio(program, 'libgc-face', 'libgc', key):.2f}×"
                                  for key in ("wall_s", "cpu_s", "rss_mib", "pause_max_ms"))]
    return table(["ours / libgc", "wall s", "processor s", "peak MiB", "longest stop ms"], *map(row, C_PROGRAMS))


def libgc_empties(text):
    runs = Runs(text)
    return table(["resident, MiB", "full", "a second after a collection found nothing alive"],
                 *([label, *(short(runs.median("rss-empty", variant, key)) for key in ("full_rss_mib", "rss_after_mib"))]
                   for label, variant in (("mallocgc", "libgc-face"), ("libgc", "libgc"))))


FIGURES = [
    Figure("readme-demo", [DEMO], demo),
    Figure("readme-go", [GO_ALLOC, GO_LRU, *(GO_PROGRAMS[p] for p in ("binary-trees", "gcbench", "mark-random"))], readme_go),
    Figure("go-programs", list(GO_PROGRAMS.values()), go_programs),
    Figure("go-memory", [GO_PROGRAMS["binary-trees"], AT_GOS_MEMORY], go_memory),
    Figure("go-alloc", [GO_ALLOC], go_alloc),
    Figure("go-larger", list(GO_LARGER.values()), go_larger),
    Figure("go-two-marks", list(GO_MARKS_2P.values()), go_marks_2p),
    Figure("go-two-alloc", [GO_ALLOC_2P], go_alloc_2p),
    Figure("go-lru", [GO_LRU], go_lru),
    Figure("go-lru-runs", [GO_LRU], lru_runs),
    Figure("emptied", [EMPTIED], emptied),
    Figure("limit", LIMITS, limit),
    Figure("inline", [Source("inline", [PYTHON, "bench/inline.py"])], as_it_is),
    Figure("cycle", [Source("cycle", [PYTHON, "bench/cycle.py"], quick=["--cycles", "5"])], as_it_is),
    Figure("forks", [FORKS], forks),
    Figure("watched", [COST], cost),
    Figure("malloc-modes", MODES, malloc_modes),
    Figure("malloc-peers", [PEERS], malloc_peers),
    Figure("libgc-clients", CLIENTS, clients),
    Figure("libgc-programs", list(C_PROGRAMS.values()), libgc_programs),
    Figure("libgc-flat", FLAT, libgc_flat),
    Figure("libgc-empties", [EMPTIES], libgc_empties),
    Figure("lua", [Source("lua", [PYTHON, "bench/adapters/lua.py"])], as_it_is),
    Figure("tuning-percent", [GO_PROGRAMS["binary-trees"], AT_GOS_MEMORY], percent_choice),
    Figure("tuning-limit", LIMITS, limit_choice),
    Figure("tuning-latency", [GO_LRU], lru_sentence),
]
