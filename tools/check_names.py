#!/usr/bin/env python3
"""check_names.py - what pages call by a public name (mgc_…, MGC_…) is there: in a header, the sources, an adapter, an
example or the build (man/mallocgc.7 is made from them). A name that ends in _ is the beginning of several."""
import re
import lintlib

TOP = lintlib.root()
NAME = re.compile(r"\b(?:mgc|MGC)_\w+")

known = set()
for path in lintlib.committed(TOP):
    if path.split("/")[0] in ("include", "src", "adapters", "examples", "tools", "cmake") or path == "CMakeLists.txt":
        known.update(NAME.findall(lintlib.read(TOP, path)))
errors, checked = [], 0
for path in lintlib.committed(TOP):
    if path not in ("README.md", "CONTRIBUTING.md") and not re.fullmatch(r"docs/(?:adapters/|gen/)?[^/]*\.md|man/mallocgc.1", path):
        continue
    for number, line in enumerate(lintlib.read(TOP, path).splitlines(), 1):
        for name in NAME.findall(line):
            checked += 1
            if name not in known and not (name.endswith("_") and any(k.startswith(name) for k in known)):
                errors.append(f"{path}:{number}: {name} is nowhere")
lintlib.finish("names", checked, errors)
