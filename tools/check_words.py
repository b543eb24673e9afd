#!/usr/bin/env python3
"""check_words.py - no committed file names a path of one machine's own."""
import re
import lintlib

TOP = lintlib.root()
# In pieces, so that this file passes; a name before the dot makes it a field.
WORDS = re.compile("/" + r"work/|(?<![\w)\]])\." + "library|/" + "root/")

errors, checked = [], 0
for path in lintlib.committed(TOP):
    checked += 1
    for number, line in enumerate(lintlib.read(TOP, path).splitlines(), 1):
        errors += [f"{path}:{number}: names {m.group(0)}" for m in WORDS.finditer(line)]
lintlib.finish("committed files", checked, errors)
