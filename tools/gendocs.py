#!/usr/bin/env python3
"""gendocs.py [--write] - docs/gen/*.md, man/mallocgc.7 and the struct of statistics in mallocgc.h, from
the .def files and the lock table.

Without --write: says which pages are missing or out of date, and fails then."""
import os
import re
import sys
import lintlib

TOP = lintlib.root()


def rows(source, macro):
    """The arguments of each MACRO(...) row of a .def file, strings joined and unquoted."""
    path = os.path.join(TOP, source)
    text = lintlib.code_only(lintlib.read(TOP, source), True) if os.path.exists(path) else ""
    text = re.sub(r"^[ \t]*#[^\n]*", "", text, flags=re.M)
    for match in re.finditer(rf"\b{macro}\s*\(", text):
        yield split_arguments(text[match.end():])


def split_arguments(text):
    args, depth, current = [], 0, ""
    for token in re.findall(r'"(?:\\.|[^"\\])*"|.', text, re.S):
        if token == ")" and depth == 0:
            break
        if token == "," and depth == 0:
            args.append(current)
            current = ""
            continue
        depth += (token == "(") - (token == ")")
        current += token
    return [clean(arg) for arg in args + [current]]


def clean(arg):
    """One C argument as text: adjacent strings joined, anything else as it stands."""
    strings = re.findall(r'"((?:\\.|[^"\\])*)"', arg)
    text = "".join(strings) if strings else " ".join(arg.split())
    return text.replace('\\"', '"').replace("\\n", " ").strip()


def table(header, body):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body]) + "\n"


def page(title, source, header, body):
    """A Markdown page, and how many rows it has."""
    return (f"# {title}\n\nWritten by `make docs` from `{source}`; do not edit.\n\n"
            + table(header, [[cell.replace("|", "\\|") for cell in row] for row in body])), len(body)


def knobs():
    source = "src/base/knob.def"
    return page("Knobs", source, ("environment", "type", "default", "range", "unit", "meaning"),
                [(f"`{env}`", kind, f"`{default}`", f"{low} … {high}", unit, text)
                 for _, env, kind, default, low, high, unit, text in rows(source, "MGC_KNOB")])


def stats():
    source = "src/base/stat.def"
    return page("Statistics", source, ("name", "field of `struct mgc_stats`", "kind", "unit", "meaning"),
                [(f"`{name}`", f"`{field}`", kind, unit, text)
                 for field, name, kind, unit, text in rows(source, "MGC_STAT")])


MARK = "\t/* written by `make docs` from src/base/stat.def */\n"


def stats_struct():
    """mallocgc.h with the fields of struct mgc_stats, in the order of the rows."""
    body = list(rows("src/base/stat.def", "MGC_STAT"))
    fields = "".join(f"\tuint64_t {field}; /* {unit}: {text} */\n" for field, _, _, unit, text in body)
    text = lintlib.read(TOP, "include/mallocgc.h")
    if text.count(MARK) != 1:
        return text, 0
    before, after = text.split(MARK)
    return before + MARK + fields + after[after.index("};"):], len(body)


def locks():
    source = "src/os/lock.h"
    return page("Lock ranks, lowest first", source, ("rank", "name", "guards"),
                [(rank, f"`{name}`", guards) for rank, name, guards in rows(source, "X")
                 if rank.isdigit()])


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in ".'" else text


def manual():
    """mallocgc(7): the environment and the statistics."""
    out = ['.\\" Written by `make docs`; do not edit.', ".TH MALLOCGC 7", ".SH NAME",
           "mallocgc \\- environment and statistics of the mallocgc memory manager",
           ".SH ENVIRONMENT",
           "A name with a dot is a key of one variable: MGC_DEBUG=gctrace=1,verify=1.",
           "A value that does not parse, or is out of range, is reported."]
    items = [(env, f"{text} ({kind}, default {default})")
             for _, env, kind, default, _, _, _, text in rows("src/base/knob.def", "MGC_KNOB")]
    more = [(name, f"{text} ({kind})")
            for _, name, kind, _, text in rows("src/base/stat.def", "MGC_STAT")]
    for name, text in items:
        out += [".TP", f".B {roff(name)}", roff(text)]
    out += [".SH STATISTICS"] if more else []
    for name, text in more:
        out += [".TP", f".B {roff(name)}", roff(text)]
    out += [".SH SEE ALSO", ".BR mallocgc (1),", ".BR mallocgc (3)"]
    return "\n".join(out) + "\n", len(items)


PAGES = {"docs/gen/knobs.md": (knobs, "src/base/knob.def"),
         "docs/gen/stats.md": (stats, "src/base/stat.def"),
         "include/mallocgc.h": (stats_struct, "src/base/stat.def"),
         "docs/gen/locks.md": (locks, "src/os/lock.h"),
         "man/mallocgc.7": (manual, "src/base/knob.def")}


def main():
    errors, checked = [], 0
    for name, (make, source) in PAGES.items():
        if not os.path.exists(os.path.join(TOP, source)):
            print(f"{source} does not exist, so neither does {name}")
            continue
        text, count = make()
        path = os.path.join(TOP, name)
        checked += count > 0
        if not count:
            errors.append(f"{name}: no rows for it in the sources")
        elif "--write" in sys.argv:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        elif not os.path.exists(path) or lintlib.read(TOP, name) != text:
            errors.append(f"{name} is out of date: run `make docs`")
    lintlib.finish("generated pages", checked, errors)


main()
