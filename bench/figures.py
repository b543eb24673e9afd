#!/usr/bin/env python3
"""figures.py - takes every figure of README.md and docs/ again, and writes it where it stands.

    python3 bench/figures.py                  measure all, then rewrite the pages (`make figures`; an hour or two)
    python3 bench/figures.py --only NAME      only this figure, or those that begin so; may be repeated
    python3 bench/figures.py --quick          small sizes, into build/figures: does it all work? Pages stay as they are
    python3 bench/figures.py --write          no measuring: the pages from bench/results/figures
    python3 bench/figures.py --check          the same, but only says what differs (a part of make lint)
    python3 bench/figures.py --list           what there is, how old it is, and where it stands

A page has a figure between two marks, on lines of their own (then a line says where and how it was taken) or within a line:

    <!-- figure: NAME -->
    (written by this program)
    <!-- /figure -->

What NAME is stands in bench/figure_list.py: which commands are run (a Source; what it printed or wrote as a CSV is kept in
bench/results/figures, under a head that says machine, commit, day and command), and a function that makes Markdown of it.
--check also fails for a table of numbers in README.md or docs/*.md that is between no marks, and for a number that looks
measured in a paragraph, item or row there. It may stand between no marks where that names its record (ADR NN, or a test that holds
it), or says what the figure right behind it was taken with."""
import argparse
import datetime
import glob
import os
import platform
import re
import shlex
import subprocess
import sys

from common import ROOT, machine_id

RESULTS = os.path.join(ROOT, "bench", "results", "figures")
MEASURED = ["src", ":!src/cmd", "include", "cmake/flags.cmake"]  # the commit that counts is the last one that changed these
MARK = re.compile(r"<!-- figure: ([\w-]+) -->(.*?)<!-- /figure -->", re.S)
# What looks measured in a sentence: times shorter than a second or with a fraction, instructions, shares, ratios.
MEASURED_NUMBER = re.compile(r"(?<![\w.])\d[\d.,]*(?:\s?(?:ns|µs|ms|%|×)(?!\w)"
                             r"|\s(?:instructions?|times\s(?:as|the))\b|\.\d+\ss\b)|(?<![\w.§])0\.\d+\sof\b")
RECORD = re.compile(r"\bADR \d+|\badr/\d{4}-|\btest/\w")  # a dated record that has the number, or a test that holds it
NUMBER_CELL = re.compile(r"^[−<≤~-]?\d[\d.,]*( ?(ns|µs|ms|s|KiB|MiB|GiB|kB|MB|GB|%|×|x|MiB/s)\b)?([ ,(]|$)")


class Wrong(Exception):
    """What a figure lacks, in one line for the user."""


class Source:
    """One command whose output is kept. An argument {csv} becomes the file that it writes its rows to, which is kept
    instead of its output; {build} the build folder; quick: what is added for --quick; target: what must be built for it,
    beside the libraries and the command."""

    def __init__(self, name, command, quick=(), environment=None, timeout_s=1800, target=None):
        self.name, self.command, self.quick, self.target = name, command, quick, target
        self.environment, self.timeout_s = environment or {}, timeout_s

    def told(self):
        """The command as one would type it; --out is nobody's interest."""
        words = [w for w in self.command if w not in ("--out", "{csv}")]
        words = ["python3" if w == sys.executable else w.replace("{build}", "build") for w in words]
        return " ".join([f"{k}={v}" for k, v in self.environment.items()] + [shlex.quote(w) for w in words])

    def measure(self, folder, quick):
        path = os.path.join(folder, self.name + ".txt")
        rows = path + ".csv"
        words = [*self.command, *(self.quick if quick else ())]
        words = [w.replace("{csv}", rows).replace("{build}", os.path.join(ROOT, "build")) for w in words]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MGC_", "GC_"))}
        try:
            done = subprocess.run(words, cwd=ROOT, env={**clean, **self.environment}, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=self.timeout_s, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Wrong(f"{self.name}: {error}") from error
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise Wrong(f"{self.name}: `{self.told()}` ended with {done.returncode}: {' / '.join(last)}")
        text = done.stdout
        if os.path.exists(rows):
            with open(rows, encoding="utf-8") as f:
                text = f.read()
            os.unlink(rows)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"# machine: {machine_id()}\n# system: Linux {platform.release()}\n# commit: {measured_commit()}\n"
                    f"# date: {datetime.date.today()}\n# command: {self.told()}\n{text}")


class Result:
    """A Source's kept output: .head (machine, system, commit, date, command), .text."""

    def __init__(self, source, folder=RESULTS):
        try:
            with open(os.path.join(folder, source.name + ".txt"), encoding="utf-8") as f:
                lines = f.read().split("\n")
        except FileNotFoundError:
            raise Wrong(f"{source.name} was never measured: python3 bench/figures.py --only NAME") from None
        nhead = next((i for i, line in enumerate(lines) if not line.startswith("# ")), len(lines))
        self.head = dict(line[2:].split(": ", 1) for line in lines[:nhead])
        self.text = "\n".join(lines[nhead:])


class Figure:
    """name; the Sources it is made of; render(*texts): Markdown of what they printed."""

    def __init__(self, name, sources, render):
        self.name, self.sources, self.render = name, sources, render

    def markdown(self, folder=RESULTS):
        try:
            return self.render(*(Result(s, folder).text for s in self.sources)).strip("\n")
        except (KeyError, IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise Wrong(f"{self.name}: its results are not what its table needs ({type(error).__name__}: {error})") from error

    def provenance(self, folder=RESULTS):
        """Where and how the figure was taken: one line."""
        heads = [Result(s, folder).head for s in self.sources]
        def all_of(key):
            return ", ".join(dict.fromkeys(h[key] for h in heads))
        days = sorted({h["date"] for h in heads})
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        return (f"<sub>`python3 bench/figures.py --only {self.name}` · {all_of('machine')} · {all_of('system')} · "
                f"commit {all_of('commit')} · {when}</sub>")


def measured_commit():
    """The last commit that changed what is measured; with -changed when the work tree has gone on since."""
    def git(*args):
        return subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True, check=False).stdout.strip()
    commit = git("log", "-1", "--format=%h", "--abbrev=10", "--", *MEASURED) or "unknown"
    return commit + ("-changed" if git("status", "--porcelain", "--", *MEASURED) else "")


# ---- pages ----------------------------------------------------------------------------------------

def pages():
    found = [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "docs", "*.md"))),
             *sorted(glob.glob(os.path.join(ROOT, "docs", "adapters", "*.md")))]
    return {os.path.relpath(p, ROOT): open(p, encoding="utf-8").read() for p in found}  # pylint: disable=consider-using-with


def rewritten(text, figures, page):
    """The page's text with each figure as the results have it."""
    def one(match):
        name, before = match.groups()
        if name not in figures:
            raise Wrong(f"{page}: no figure is named {name} (bench/figure_list.py)")
        body = figures[name].markdown()
        if before.startswith("\n"):
            body = f"\n{body}\n\n{figures[name].provenance()}\n"
        return f"<!-- figure: {name} -->{body}<!-- /figure -->"
    return MARK.sub(one, text)


def bare_tables(text):
    """First lines of the tables of numbers that stand between no marks."""
    for table in re.findall(r"(?:^\|.*\n?)+", MARK.sub("", text), re.M):
        lines = table.strip().split("\n")
        cells = [c.strip() for line in lines[2:] for c in line.strip("|").split("|")[1:]]
        if cells and sum(bool(NUMBER_CELL.match(c)) for c in cells) * 2 > len(cells):
            yield lines[0]


def bare_numbers(text):
    """Numbers in sentences that look measured, between no marks, and without a word of where they are from."""
    text = re.sub(r"^```.*?^```$", "", MARK.sub("\n<!-- figure -->\n", text), flags=re.S | re.M)
    text = re.sub(r"\n(?=[|]|\s*(?:[-*]|\d+\.) )", "\n\n", text)  # a row or an item stands for itself
    blocks = [b.strip() for b in re.split(r"\n\s*\n", text) if b.strip()]
    for block, behind in zip(blocks, [*blocks[1:], ""]):
        if RECORD.search(block) or behind == "<!-- figure -->":
            continue
        for number in MEASURED_NUMBER.finditer(re.sub(r"`[^`]*`", "", block)):
            yield number[0]


def write(figures, check):
    """Brings the pages in step with the results, or says what is not; the number of faults."""
    faults, used = [], set()
    for page, text in pages().items():
        used |= {name for name, _ in MARK.findall(text)}
        faults += [f"{page}: a table of figures that nothing makes: {line}" for line in bare_tables(text)]
        faults += [f"{page}: {n!r} looks measured, and neither a figure nor a record is named for it" for n in bare_numbers(text)]
        if len(MARK.findall(text)) != text.count("<!-- figure:") or text.count("<!-- /figure -->") != text.count("<!-- figure:"):
            faults.append(f"{page}: a mark is not closed, or not written as <!-- figure: NAME --> … <!-- /figure -->")
        try:
            new = rewritten(text, figures, page)
        except Wrong as wrong:
            faults.append(f"{page}: {wrong}")
            continue
        if new != text and check:
            faults.append(f"{page}: not in step with bench/results/figures: python3 bench/figures.py --write")
        elif new != text:
            with open(os.path.join(ROOT, page), "w", encoding="utf-8") as f:
                f.write(new)
            print(f"wrote {page}")
    faults += [f"{name}: is on no page" for name in figures if name not in used]
    if not used:
        faults.append("no figure found")
    for fault in faults:
        print("figures: " + fault)
    return len(faults)


# ---- command line ---------------------------------------------------------------------------------

def chosen(figures, only, parser):
    for word in only or ():
        if not any(name.startswith(word) for name in figures):
            parser.error(f"no figure named {word}: {', '.join(figures)}")
    return [f for name, f in figures.items() if not only or name in only
            or any(name.startswith(w) for w in only if w not in figures)]


def build(targets):
    """The libraries and the command as this tree has them, and what else is run, in build/."""
    for words in (["make", "all"], *(["cmake", "--build", "build", "--target", t] for t in sorted(targets))):
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            sys.exit(f"figures: `{' '.join(words)}` failed:\n{done.stdout[-2000:]}")


def measure(wanted, folder, quick):
    """Runs each source once; the number that did not work."""
    os.makedirs(folder, exist_ok=True)
    sources, failed = list(dict.fromkeys(s for f in wanted for s in f.sources)), 0
    build({s.target for s in sources if s.target})
    for i, source in enumerate(sources, 1):
        print(f"[{i}/{len(sources)}] {source.told()}", flush=True)
        try:
            source.measure(folder, quick)
        except Wrong as wrong:
            failed += 1
            print(f"figures: {wrong}", flush=True)
    return failed


def list_figures(figures):
    where = {}
    for page, text in pages().items():
        for name, _ in MARK.findall(text):
            where.setdefault(name, []).append(page)
    for name, figure in figures.items():
        try:
            heads = [Result(s).head for s in figure.sources]
            when = f"{min(h['date'] for h in heads)}  {', '.join(sorted({h['commit'] for h in heads}))}"
        except Wrong:
            when = "never measured"
        print(f"{name:24} {', '.join(where.get(name, ['nowhere'])):32} {when}")


def main():
    from figure_list import FIGURES  # pylint: disable=import-outside-toplevel; it needs Source and Figure of this file
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="this figure, or those that begin so")
    parser.add_argument("--quick", action="store_true", help="small sizes, into build/figures; pages stay")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="rewrite the pages from the kept results")
    what.add_argument("--check", action="store_true", help="say where pages and results differ")
    what.add_argument("--list", action="store_true", help="what there is")
    options = parser.parse_args()
    figures = {f.name: f for f in FIGURES}
    if options.list:
        return list_figures(figures)
    if options.write or options.check:
        return 1 if write(figures, options.check) else 0
    wanted = chosen(figures, options.only, parser)
    folder = os.path.join(ROOT, "build", "figures") if options.quick else RESULTS
    failed = measure(wanted, folder, options.quick)
    for figure in wanted:
        try:
            print(f"\n{figure.name}\n{figure.markdown(folder)}\n\n{figure.provenance(folder)}")
        except Wrong as wrong:
            failed += 1
            print(f"figures: {wrong}")
    if not options.quick:
        failed += write(figures, False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.modules["figures"] = sys.modules["__main__"]  # figure_list imports this file under its name
    sys.exit(main())
