#!/usr/bin/env python3
"""selftest.py - the checks themselves: each fails on an empty tree, passes a good one, and names
the fault that a sample is made with."""
import pathlib
import subprocess
import sys
import tempfile

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
GUARD = "#ifndef MGC_IMPL\n#error\n#endif\n"

GOOD = {
    "tools/layers.txt": "base:\nos:\nheap: span cache\nface:\nonly face/malloc: base\n",
    "src/base/atomic.h": "#ifndef A_H\n#define A_H\n" + GUARD + "#define relaxed __ATOMIC_RELAXED\n#endif\n",
    "src/heap/span.h": "#ifndef S_H\n#define S_H\n" + GUARD + "int span_get(void); /* pairs: span-get */\n#endif\n",
    "src/heap/span.c": '#include "heap/span.h"\n\nint span_get(void)\n{\n\treturn 1; /* pairs: span-get */\n}\n',
    "src/heap/cache.h": "#ifndef C_H\n#define C_H\n" + GUARD + "#endif\n",
    "include/mallocgc.h": "#ifndef M_H\n#define M_H\n#include <stdint.h>\nstruct mgc_stats {\n"
        "\t/* written by `make docs` from src/base/stat.def */\n};\n#endif\n",
    "src/base/knob.def": 'MGC_KNOB(a, "MGC_A", int, 1, 0, 9, "bytes", "one, " "two")\n',
    "src/base/stat.def": 'MGC_STAT(b, "/gc/b:bytes", counter, "bytes", "what (it) counts")\n',
    "src/os/lock.h": GUARD + '#define MGC_LOCKS(X) \\\n\tX(10, WORLD, "all")\n',
}

# check, file to write over the good tree, its contents, words the report must contain
BAD = [
    ("check_layers", "src/heap/span.c", '#include "heap/span.h"\n#include "heap/cache.h"\n',
     "module cache stands after span"),
    ("check_layers", "src/base/x.c", '#include "heap/span.h"\n', "layer heap stands after base"),
    ("check_layers", "src/face/malloc.c", '#include "heap/span.h"\n', "may use only base"),
    ("check_layers", "src/heap/other.c", "", "not in tools/layers.txt"),
    ("check_layers", "src/heap/span.c", '#include <stdio.h>\n#include "heap/span.h"\n',
     "first include"),
    ("check_layers", "src/heap/span.h", '#include "heap/span.h"\n', "include cycle"),
    ("check_headers", "src/heap/cache.h", GUARD + "size_t nothing_declares_me;\n",
     "does not compile alone"),
    ("check_headers", "src/heap/cache.h", "extern int a;\n", "MGC_IMPL"),
    ("check_headers", "include/mallocgc.h", "extern int class;\n", "c++17"),
    ("check_size", "src/heap/long.c", "int f(int a)\n{\n" + "\ta++;\n" * 130 + "\treturn a;\n}\n",
     "f() has 134 lines"),
    ("check_size", "src/heap/long.c", "extern int a;\n" * 1300, "at most 1200"),
    ("check_size", "src/heap/long.c", '#include "heap/span.c"\n', "includes heap/span.c"),
    ("check_tags", "src/heap/tag.c", "/* pairs: lonely-tag */\n", "lonely-tag stands alone"),
    ("check_order", "src/heap/raw.c", "int a = __ATOMIC_RELEASE;\n", "outside base/atomic.h"),
    ("check_names", "docs/x.md", "call `mgc_nothing(fd)`\n", "mgc_nothing is nowhere"),
    ("check_words", "docs/x.md", "see /" + "work/here\n", "docs/x.md:1"),
    ("gendocs", "src/base/knob.def", 'MGC_KNOB(a, "MGC_A", int, 2, 0, 9, "", "changed")\n',
     "knobs.md is out of date"),
    ("gendocs", "src/base/stat.def", 'MGC_STAT(c, "/gc/b:bytes", counter, "bytes", "renamed")\n',
     "mallocgc.h is out of date"),
]


def write(top, name, text):
    path = pathlib.Path(top, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def run(check, top, *more):
    done = subprocess.run([sys.executable, TOOLS / f"{check}.py", "--root", top, *more],
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def tree(top):
    for name, text in GOOD.items():
        write(top, name, text)
    run("gendocs", top, "--write")


FIGURE_LIST = """from figures import Figure, Source
FIGURES = [Figure("size", [Source("size", ["true"])], lambda text: "it is " + text)]
"""
STEP = "<!-- figure: size -->it is 7<!-- /figure -->\n"
EXCUSED = "\nTook 3 ms ([why](docs/adr/0007-why.md)); `5 ms`.\n\n```\n6 ms\n```\n\nA limit of 60 %:\n\n" + STEP
BAD_FIGURES = [
    ("README.md", STEP.replace("7", "8"), "not in step"),
    ("README.md", STEP + STEP.replace(": size", ": weight"), "no figure is named weight"),
    ("README.md", STEP + "<!-- figure: size -->\n", "not closed"),
    ("README.md", "nothing\n", "size: is on no page"),
    ("README.md", STEP + "| | time |\n|---|---|\n| a | 3 ms |\n| b | 4.5 ms |\n", "that nothing makes"),
    ("README.md", STEP + "\nIt takes 3 ms, see `4 µs`.\n", "'3 ms' looks measured"),
    ("README.md", STEP + "\n- in 0.4 s (ADR 7)\n- in 0.5 s\n", "'0.5 s' looks measured"),
    ("README.md", STEP + "\n0.86 of Go's time.\n\nNothing to do with\n\n" + STEP, "'0.86 of' looks measured"),
    ("bench/results/figures/size.txt", None, "never measured"),
]


def figures():
    """Faults of bench/figures.py --check, which knows its tree by where it stands."""
    with tempfile.TemporaryDirectory() as top:
        good = {"README.md": STEP + "| | is |\n|---|---|\n| a | a word |\n" + EXCUSED, "bench/figure_list.py": FIGURE_LIST,
                "bench/results/figures/size.txt": "# machine: m\n# system: s\n# commit: c\n# date: d\n# command: x\n7\n"}
        for name in ("figures.py", "common.py"):
            write(top, f"bench/{name}", (TOOLS.parent / "bench" / name).read_text(encoding="utf-8"))
        def check(name=None, text=None):
            for path, contents in good.items():
                write(top, path, contents)
            if text is not None:
                write(top, name, text)
            elif name:
                pathlib.Path(top, name).unlink()
            done = subprocess.run([sys.executable, f"{top}/bench/figures.py", "--check"], capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr
        code, out = check()
        faults = [f"figures fails a good tree:\n{out}"] if code else []
        for name, text, words in BAD_FIGURES:
            code, out = check(name, text)
            if code == 0 or words not in out:
                faults.append(f"figures misses {words!r}:\n{out}")
    return faults, 1 + len(BAD_FIGURES)


def main():
    faults, ran = figures()
    for check in sorted({row[0] for row in BAD}):
        with tempfile.TemporaryDirectory() as top:
            write(top, "tools/layers.txt", GOOD["tools/layers.txt"])
            if check == "check_words":
                pathlib.Path(top, "tools/layers.txt").unlink()
            if run(check, top)[0] == 0:
                faults.append(f"{check} passes an empty tree")
            tree(top)
            code, out = run(check, top)
            if code != 0:
                faults.append(f"{check} fails a good tree:\n{out}")
            ran += 2
    for check, name, text, words in BAD:
        with tempfile.TemporaryDirectory() as top:
            tree(top)
            write(top, name, text)
            code, out = run(check, top)
            ran += 1
            if code == 0 or words not in out:
                faults.append(f"{check} misses {words!r} in {name}:\n{out}")
    print(*faults, sep="\n")
    print(f"selftest: {ran} runs of the checks, {len(faults)} faults")
    sys.exit(1 if faults or not ran else 0)


main()
