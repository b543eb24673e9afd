#!/usr/bin/env python3
"""check_tags.py - both ends of a memory-order pairing carry the same tag.

Every comment `pairs: TAG` must have a partner: TAG stands at least twice in src/."""
import re
import lintlib

TOP = lintlib.root()
places = {}
for path in lintlib.files(TOP, ".c", ".h", under=("src",)):
    text = lintlib.read(TOP, path)
    for match in re.finditer(r"\bpairs: *([a-z][a-z0-9-]*(?: *, *[a-z][a-z0-9-]*)*)", text):
        where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        for tag in re.split(r" *, *", match.group(1)):
            places.setdefault(tag, []).append(where)
errors = [f"{where[0]}: pairs: {tag} stands alone" for tag, where in places.items()
          if len(where) < 2]
lintlib.finish("ordering tags", len(places), errors)
