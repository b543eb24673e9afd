#!/usr/bin/env python3
"""check_order.py - memory orders are named in src/base/atomic.h and nowhere else."""
import re
import lintlib

TOP = lintlib.root()
RAW = re.compile(r"\bmemory_order_\w+|\b__ATOMIC_\w+|\b__atomic_\w+|\b__sync_\w+"
                 r"|#\s*include\s*<stdatomic\.h>")

errors, checked = [], 0
for path in lintlib.files(TOP, ".c", ".h", ".def", under=("src",)):
    if path == "src/base/atomic.h":
        continue
    checked += 1
    for number, line in enumerate(lintlib.code_only(lintlib.read(TOP, path)).splitlines(), 1):
        errors += [f"{path}:{number}: {m.group(0)} outside base/atomic.h"
                   for m in RAW.finditer(line)]
lintlib.finish("source files", checked, errors)
