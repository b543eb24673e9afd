#!/usr/bin/env python3
"""check_size.py - a file and a function stay short enough to read.

Functions: at most 60 lines, 3 % of them up to 120. Files: over 800 lines a warning, over 1200 an
error; the public header 700. No .c file is included."""
import re
import lintlib

TOP = lintlib.root()
SOFT, HARD, SHARE = 60, 120, 0.03
FILE_SOFT, FILE_HARD, PUBLIC = 800, 1200, 700


def functions(text):
    """Yield (name, first line, line count) of each function body at file level."""
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.)*(?:\\\n(?:[^\n\\]|\\.)*)*", lintlib.blank,
                  lintlib.code_only(text), flags=re.M)
    depth, head_start, head = 0, 0, ""
    for match in re.finditer(r"[{};]", code):
        at, char = match.start(), match.group(0)
        if depth == 0:
            head = code[head_start:at]
        if char == "{":
            if depth == 0 and 'extern' in head and "(" not in head:
                head_start = at + 1  # extern "C" {
                continue
            depth += 1
        elif char == "}":
            depth = max(0, depth - 1)
            if depth == 0:
                name = re.search(r"(\w+)\s*\(", head)
                if name and "=" not in head:
                    first = code.count("\n", 0, head_start + len(head) - len(head.lstrip())) + 1
                    yield name.group(1), first, code.count("\n", 0, at) + 2 - first
                head_start = at + 1
        elif depth == 0:
            head_start = at + 1


def main():
    errors, total, long_ones = [], 0, []
    paths = lintlib.files(TOP, ".c", ".h", ".def")
    for path in paths:
        text = lintlib.read(TOP, path)
        nlines = text.count("\n")
        limit = PUBLIC if path == "include/mallocgc.h" else FILE_HARD
        if nlines > limit:
            errors.append(f"{path}: {nlines} lines, at most {limit}")
        elif nlines > FILE_SOFT:
            print(f"{path}: {nlines} lines, better below {FILE_SOFT}")
        for name in re.findall(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">]+\.c)[">]', text, re.M):
            errors.append(f"{path}: includes {name}")
        for name, line, count in functions(text):
            total += 1
            if count > HARD:
                errors.append(f"{path}:{line}: {name}() has {count} lines, at most {HARD}")
            elif count > SOFT:
                long_ones.append(f"{path}:{line}: {name}() has {count} lines")
    if len(long_ones) > SHARE * total:
        errors += long_ones
        errors.append(f"{len(long_ones)} of {total} functions exceed {SOFT} lines, "
                      f"at most {SHARE:.0%}")
    lintlib.finish(f"functions in {len(paths)} files", total, errors)


main()
