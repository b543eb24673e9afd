#!/usr/bin/env python3
"""run.py - the same programs on the system's libgc and on mallocgc, side by side.

Called by `make demo`. Runs programs that were never built for mallocgc - Guile, w3m, ECL, as the
distribution ships them - on both libraries in turn, checks that both print the same, and shows
what each run cost. Exits 0 only if every program ran and agreed."""
import argparse
import os
import sys
import tempfile

import measure
from page import page

HERE = os.path.dirname(os.path.abspath(__file__))


class Program:
    def __init__(self, title, needs, argv, about):
        self.title, self.needs, self.argv, self.about = title, needs, argv, about


def programs(folder):
    """The list; folder holds the generated page."""
    def guile(name, *size):
        return ["guile", os.path.join(HERE, "guile", name), *map(str, size)]
    return [  # each Guile program takes some seconds on the system's libgc
        Program("guile gcbench", ["guile"], guile("gcbench.scm", 20),
                "trees of all sizes under a large live one"),
        Program("guile algebra", ["guile"], guile("algebra.scm", 16),
                "polynomials, bignums, hash-consed derivatives"),
        Program("guile words", ["guile"], guile("words.scm", 45000),
                "an index of 450 000 words: strings, hash tables, sort"),
        Program("guile sessions", ["guile"], guile("sessions.scm", 20000, 400000),
                "400 000 requests over 50 MB of state, each one timed"),
        Program("w3m page", ["w3m"], ["w3m", "-dump", "-cols", "100",
                                      os.path.join(folder, "page.html")],
                "lays out 2 MB of HTML tables"),
        Program("ecl workshop", ["ecl", "gcc"],
                ["ecl", "-norc", "-shell", os.path.join(HERE, "ecl", "workshop.lisp")],
                "compiles Lisp to C, loads it, runs it in 4 threads"),
    ]


def repeat(program, libraries, count, cache):
    """Results by library name: a warm-up on the first library, then `count` runs in turn."""
    env = {"XDG_CACHE_HOME": cache}  # Guile keeps compiled programs there: compiled once
    results = {library.name: [] for library in libraries}
    reference = None
    for number in range(count + 1):
        for library in libraries if number else libraries[:1]:
            result = measure.run(library, program.argv, env)
            if result.error:
                raise RuntimeError(f"on {library.name} ({library.version}): {result.error}"
                                   f"{measure.tail(result.errors)}")
            if reference is None:
                reference = result.output
            if result.output != reference:
                raise RuntimeError("the outputs differ: "
                                   + measure.first_difference(reference, result.output))
            if number:
                results[library.name].append(result)
            progress(".")
    return results


def progress(text):
    if sys.stdout.isatty():
        print(text, end="", flush=True)


COLUMNS = [  # heading, unit, value, format
    ("wall", "s", lambda r: r.wall, "{:.2f}"),
    ("CPU", "s", lambda r: r.cpu, "{:.2f}"),
    ("peak RSS", "MiB", lambda r: r.peak, "{:.1f}"),
    ("collections", "", lambda r: len(r.pauses), "{:.0f}"),
    ("longest pause", "ms", lambda r: max(r.pauses, default=0.0) * 1e3, "{:.3f}"),
    ("slowest step", "ms", lambda r: r.step and r.step * 1e3, "{:.2f}"),
]


def cells(results):
    """The median of each column, None where the program does not say."""
    return [None if value(results[0]) is None else measure.median(results, value)
            for _, _, value, _ in COLUMNS]


def show_row(title, name, values, formats):
    texts = ["" if v is None else f.format(v) for v, f in zip(values, formats)]
    print(f"{title:16}{name:10}" + "".join(f"{text:>15}" for text in texts))


def show(program, libraries, results):
    """Prints the rows of one program; returns the ratios ours / theirs."""
    rows = [cells(results[library.name]) for library in libraries]
    formats = [form for *_, form in COLUMNS]
    progress("\r\033[K")
    show_row(program.title, libraries[0].name, rows[0], formats)
    ratios = None
    if len(rows) == 2:
        ratios = [b / a if a and heading != "collections" else None
                  for (heading, *_), a, b in zip(COLUMNS, *rows)]
        show_row("", libraries[1].name, rows[1], formats)
        show_row("", "ratio", ratios, ["{:.3f}x"] * len(ratios))
    print(f"  {program.about}\n", flush=True)
    return ratios


def show_heading(libraries, count):
    names = " and ".join(f"{library.name} {library.version}" for library in libraries)
    print(f"{names}: {count} runs each, in turn, after one to warm up; medians.\n")
    for part in (0, 1):
        print(" " * 26 + "".join(f"{column[part]:>15}" for column in COLUMNS))


def show_summary(ratios, failures):
    if ratios:
        means = [measure.geometric_mean(column) for column in zip(*ratios)]
        show_row("all of them", "mean ratio", means, ["{:.3f}x"] * len(means))
        print("\nratio: mallocgc / libgc, below 1 is better; the mean is geometric."
              "\nlongest pause: the longest stop of all threads that the library itself reports."
              "\nslowest step: the longest request, timed by the program itself.")
    for title, reason in failures:
        print(f"\nFAILED {title}: {reason}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3, metavar="RUNS", help="runs each (default 3)")
    parser.add_argument("--build", default=os.path.join(measure.TOP, "build"),
                        help="build folder (default build/)")
    parser.add_argument("--libgc", metavar="DIR", help="compare with the libgc.so.1 in DIR "
                                                       "(default: the system's)")
    parser.add_argument("--only-libgc", action="store_true", help="measure that libgc alone")
    parser.add_argument("--list", action="store_true", help="name the programs and stop")
    parser.add_argument("programs", nargs="*", metavar="WORD",
                        help="only programs whose name contains one of these words")
    options = parser.parse_args()
    if options.n < 1:
        parser.error("RUNS must be at least 1")
    return options


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="mallocgc-demo-") as folder:
        chosen = [p for p in programs(folder)
                  if not options.programs or any(w in p.title for w in options.programs)]
        if options.list:
            print("\n".join(f"{p.title:16} {p.about}" for p in chosen))
            return 0
        if not chosen:
            measure.die(f"no program's name contains {' or '.join(options.programs)}")
        try:
            measure.need(*sorted({n for p in chosen for n in p.needs}))
            libraries = [measure.system_libgc(options.libgc)]
            if not options.only_libgc:
                libraries.append(measure.our_libgc(os.path.abspath(options.build)))
        except measure.Missing as error:
            measure.die(f"demo: {error}")
        with open(os.path.join(folder, "page.html"), "w", encoding="utf-8") as file:
            file.write(page(16))

        show_heading(libraries, options.n)
        ratios, failures = [], []
        for program in chosen:
            progress(f"{program.title} ")
            try:
                results = repeat(program, libraries, options.n, folder)
                ratios.append(show(program, libraries, results))
            except RuntimeError as error:
                progress("\r\033[K")
                failures.append((program.title, str(error)))
        show_summary([r for r in ratios if r], failures)
    print(f"\ndemo: {len(ratios)} of {len(chosen)} programs ran and agreed")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
