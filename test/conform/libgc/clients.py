#!/usr/bin/env python3
"""clients.py - unmodified programs of the distribution on our libgc.so.1, against the system's.

Each client runs N times on ours; what it prints must equal what it prints on the system's libgc.
A crash, a hang or a difference is reported with the end of its standard error. Exits 0 only if
every run of every client agreed.

  clients.py                 the quick gate: every client 3 times
  clients.py --n 50          the long gate
  clients.py --debug verify=1 guile     settings for MGC_DEBUG; only clients with that word
  clients.py --n 50 --patience 10       on a machine that does other things: each may take ten times as long
  clients.py --compare --n 5 --slow     what each client costs on both, run in turn: the table of docs/libgc.md
"""
import argparse
import os
import pathlib
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
DEMO = os.path.join(TOP, "demo")
sys.path.insert(0, DEMO)
import measure  # noqa: E402
from page import page  # noqa: E402


class Client:
    """needs: programs that must be installed; build: a command that makes the client first, in
    the folder; optional: left out, with a line that says so, where it is not installed; writes: the
    files that it makes in its folder, which count as output."""

    def __init__(self, name, argv, limit_s=60, slow=False, needs=(), build=None, env=None,
                 optional=False, writes=()):
        self.writes = writes
        self.name, self.argv, self.limit_s, self.slow = name, argv, limit_s, slow
        self.needs, self.build, self.optional = needs or argv[:1], build, optional
        self.env = env or {}


def clients(folder):
    def guile(name, *args):
        where = os.path.join(HERE, "clients", name)
        if not os.path.exists(where):
            where = os.path.join(DEMO, "guile", name)
        return ["guile", where, *args]

    def ecl(path):
        return ["ecl", "-norc", "-shell", path]

    def source(name):
        return os.path.join(HERE, "clients", name)

    def made(name):
        return os.path.join(folder, name)

    return [
        Client("guile gcbench", guile("gcbench.scm", "16")),
        Client("guile algebra", guile("algebra.scm")),
        Client("guile words", guile("words.scm", "8000")),
        Client("guile sessions", guile("sessions.scm", "8000", "30000")),
        Client("guile threads", guile("threads.scm")),
        Client("guile control", guile("control.scm")),
        Client("guile compile", guile("compile.scm")),
        Client("guile compile large", guile("compile.scm", "ice-9/psyntax-pp.scm"), 300, slow=True),
        Client("guile gcbench large", guile("gcbench.scm", "20"), 120, slow=True),
        Client("guile words large", guile("words.scm", "100000"), 120, slow=True),
        Client("ecl bytecode", ecl(os.path.join(HERE, "clients", "bytecode.lisp"))),
        Client("ecl bytecode large", ecl(os.path.join(HERE, "clients", "bytecode.lisp")), 120, slow=True,
               env={"SCALE": "5"}),
        Client("ecl native threads", ecl(os.path.join(DEMO, "ecl", "workshop.lisp"))),
        Client("w3m page", ["w3m", "-dump", "-cols", "100", made("page.html")], 180),
        Client("w3m page large", ["w3m", "-dump", "-cols", "100", made("large.html")], 180, slow=True),
        Client("lilypond canon", ["lilypond", "-s", "--svg", "-o", "canon", source("canon.ly")], 180,
               optional=True, writes=["canon*.svg", "canon*.midi"]),
        Client("asymptote graph", ["asy", "-noV", source("graph.asy")], optional=True),
        Client("poke records", ["poke", "-q", "-L", source("records.pk")], optional=True),
        Client("crystal fibers", [made("fibers")], needs=["crystal", "gcc"], optional=True,
               build=["crystal", "build", source("fibers.cr"), "-o", made("fibers")]),
        Client("crystal threads", [made("threads")], needs=["crystal", "gcc"], optional=True,
               build=["crystal", "build", "-Dpreview_mt", source("fibers.cr"), "-o", made("threads")]),
        Client("crystal compiler", ["crystal", "build", "--no-codegen", source("fibers.cr")],
               optional=True),
        Client("nim trees", [made("trees")], needs=["nim", "gcc"], optional=True,
               build=["nim", "c", "--mm:boehm", "-d:release", "--hints:off",
                      "--nimcache:" + made("nimcache"), "-o:" + made("trees"),
                      source("trees.nim")]),
        Client("neko trees", ["neko", made("trees.n")], needs=["neko", "nekoc"], optional=True,
               build=["nekoc", "-o", folder, source("trees.neko")]),
        Client("nix words", ["nix-instantiate", "--eval", "--strict", source("words.nix"), "--arg", "scale", "1"],
               optional=True,  # it would start with so much memory that nothing collects
               env={"GC_INITIAL_HEAP_SIZE": "1000000"}),
        Client("nix words large", ["nix-instantiate", "--eval", "--strict", source("words.nix"), "--arg", "scale", "5"],
               120, optional=True, slow=True, env={"GC_INITIAL_HEAP_SIZE": "1000000"}),
    ]


class Tally:
    """What happened to one client."""

    def __init__(self):
        self.good, self.theirs, self.problems = [], [], []

    def add(self, result, reference):
        if result.error:
            self.problems.append(result.error + measure.tail(result.errors))
        elif result.output != reference:
            self.problems.append("prints something else: "
                                 + measure.first_difference(reference, result.output))
        else:
            self.good.append(result)

    def medians(self, value):
        """Ours and theirs, or None where one is missing."""
        if not self.good or not self.theirs:
            return None
        return measure.median(self.good, value), measure.median(self.theirs, value)


def exercise(client, theirs, ours, count, folder, compare, patience):
    """One warm-up on theirs (Guile compiles there), then both in turn; theirs at most 3 times, unless
    both are to be compared: then every run reports its collections, too."""
    env = {"XDG_CACHE_HOME": folder, "GUILE_WARN_DEPRECATED": "no",
           "CRYSTAL_CACHE_DIR": folder, "NIX_REMOTE": f"local?root={folder}/nix",
           **client.env}

    def once(library, argv=client.argv, trace=False):
        with tempfile.TemporaryDirectory(dir=folder) as work:
            result = measure.run(library, argv, env, work, trace, patience * client.limit_s)
            written = [path for pattern in client.writes
                       for path in sorted(pathlib.Path(work).glob(pattern))]
            if client.writes and not written and not result.error:
                result.error = f"wrote no {client.writes[0]}"
            result.output += b"".join(path.read_bytes() for path in written)
        return result

    tally = Tally()
    if client.build:
        built = once(theirs, client.build)
        if built.error:
            tally.problems.append(f"{client.build[0]}: {built.error}"
                                  f"{measure.tail(built.output + built.errors)}")
            return tally
    reference = once(theirs)
    for number in range(count):
        if reference.error:
            break
        if number < 3 or compare:
            result = once(theirs, trace=compare)
            if result.error or result.output != reference.output:
                reference.error = result.error or "prints something else each time"
            tally.theirs.append(result)
        # the first one also proves that it is our library that collects
        tally.add(once(ours, trace=number == 0 or compare), reference.output)
    if reference.error:
        tally.problems.append(f"already on {theirs.name} {theirs.version}: {reference.error}"
                              f"{measure.tail(reference.errors)}")
    return tally


COLUMNS = [  # heading, unit, value, format of each figure
    ("wall", "s", lambda r: r.wall, "{:.2f}"),
    ("CPU", "s", lambda r: r.cpu, "{:.2f}"),
    ("peak RSS", "MiB", lambda r: r.peak, "{:.0f}"),
    ("longest pause", "ms", lambda r: max(r.pauses, default=0) * 1e3, "{:.1f}"),
]
TABLE_LINE = "| {} |"


def shown_columns(compare):
    return COLUMNS if compare else COLUMNS[:3]


def show_heading(compare):
    """A table of the page, or columns for a terminal."""
    columns = shown_columns(compare)
    if compare:
        print(TABLE_LINE.format(" | ".join(["client", *(f"{h}, {unit}" for h, unit, *_ in columns)])))
        print(TABLE_LINE.format(" | ".join(["---"] * (len(columns) + 1))))
    else:
        print(f"{'client':22}{'good':>8}" + "".join(f"{h:>12}" for h, *_ in columns))


def show(client, tally, count, compare):
    """One line, and what went wrong; returns the ratios ours / theirs."""
    pairs = [tally.medians(value) for _, _, value, _ in shown_columns(compare)]
    ratios = [pair and pair[1] and pair[0] / pair[1] for pair in pairs]
    if compare:
        def cell(pair, ratio, form):
            return f"{form} / {form}: {{:.2f}}×".format(*pair, ratio) if ratio else "-"
        print(TABLE_LINE.format(" | ".join(
            [client.name, *map(cell, pairs, ratios, (form for *_, form in COLUMNS))])))
    else:
        print(f"{client.name:22}{f'{len(tally.good)}/{count}':>8}"
              + "".join(f"{f'{r:.2f}x' if r else '-':>12}" for r in ratios))
    shown = sorted(set(tally.problems))
    for problem in shown[:5]:
        print(f"    {tally.problems.count(problem)} times: {problem}")
    if len(shown) > 5:
        print(f"    and {len(shown) - 5} other problems")
    sys.stdout.flush()
    return ratios


def show_means(ratios, compare):
    means = [measure.geometric_mean(column) for column in zip(*ratios)]
    if compare:
        print(TABLE_LINE.format(" | ".join(
            ["geometric mean", *(f"{m:.2f}×" if m else "-" for m in means)])))
    else:
        print(f"{'geometric mean':30}" + "".join(f"{f'{m:.2f}x' if m else '-':>12}" for m in means))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3, metavar="RUNS", help="runs each (default 3)")
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="build folder")
    parser.add_argument("--libgc", metavar="DIR", help="compare with the libgc.so.1 in DIR")
    parser.add_argument("--debug", default="", metavar="SETTINGS", help="MGC_DEBUG for our runs")
    parser.add_argument("--patience", type=float, metavar="FACTOR",
                        help="for the time limits (default 1, with --debug 10)")
    parser.add_argument("--compare", action="store_true",
                        help="both in turn, as often; ours / theirs, as a table of Markdown")
    parser.add_argument("--slow", action="store_true",
                        help="the slow clients too (always with 10 runs or more)")
    parser.add_argument("--all", action="store_true",
                        help="a client that is not installed is a failure")
    parser.add_argument("--list", action="store_true", help="name the clients and stop")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only clients with such a word")
    options = parser.parse_args()
    if options.n < 1:
        parser.error("RUNS must be at least 1")
    options.patience = options.patience or (10 if options.debug else 1)
    return options


def choose(options, folder):
    slow = options.slow or options.n >= 10
    return [c for c in clients(folder)
            if (any(w in c.name for w in options.words) if options.words else slow or not c.slow)]


def main():
    options = arguments()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="mallocgc-clients-") as folder:
        chosen = choose(options, folder)
        if options.list:
            print("\n".join(c.name for c in chosen))
            return 0
        if not chosen:
            measure.die(f"clients: no client's name contains {' or '.join(options.words)}")
        try:
            measure.need(*sorted({n for c in chosen for n in c.needs
                                  if options.all or not c.optional}))
            theirs = measure.system_libgc(options.libgc)
            ours = measure.our_libgc(os.path.abspath(options.build))
        except measure.Missing as error:
            measure.die(f"clients: {error}")
        if options.debug:
            ours.settings["MGC_DEBUG"] = options.debug
            ours.tracing["MGC_DEBUG"] = options.debug + ",gctrace=1"
        with open(os.path.join(folder, "page.html"), "w", encoding="utf-8") as file:
            file.write(page(60))
        with open(os.path.join(folder, "large.html"), "w", encoding="utf-8") as file:
            file.write(page(400))
        print(f"mallocgc {ours.version} against libgc {theirs.version}, {options.n} runs\n")
        show_heading(options.compare)
        ratios, left_out = [], []
        for client in chosen:
            if not all(map(shutil.which, client.needs)):
                left_out.append(client.name)
                continue
            tally = exercise(client, theirs, ours, options.n, folder, options.compare,
                             options.patience)
            ratios.append(show(client, tally, options.n, options.compare))
            failed += bool(tally.problems)
        show_means(ratios, options.compare)
    if left_out:
        print(f"\nleft out, not installed: {', '.join(left_out)}")
    print(f"\nclients: {len(ratios) - failed} passed, {failed} failed, {len(left_out)} left out")
    return 1 if failed or not ratios else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
