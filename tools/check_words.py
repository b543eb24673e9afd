#!/usr/bin/env python3
"""check_words.py - no committed file names a path of one machine's own."""
import lintlib

TOP = lintlib.root()
WORDS = ["/" + "work/", "." + "library", "/" + "root/"]  # split, so that this file passes

errors, checked = [], 0
for path in lintlib.committed(TOP):
    checked += 1
    for number, line in enumerate(lintlib.read(TOP, path).splitlines(), 1):
        errors += [f"{path}:{number}: names {word}" for word in WORDS if word in line]
lintlib.finish("committed files", checked, errors)
