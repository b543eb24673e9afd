#!/usr/bin/env python3
"""check_tutorial.py [--write] - the code in docs/tutorial.md is that of examples/tutorial.c, which is built and
run by the tests: a block that begins with ```c NAME is the piece between its [NAME] and [end] marks."""
import os
import re
import sys
import lintlib

TOP = lintlib.root()
PAGE, SOURCE = "docs/tutorial.md", "examples/tutorial.c"
pieces = dict(re.findall(r"^/\* \[([\w-]+)\] \*/\n(.*?)^/\* \[end\] \*/\n",
                         lintlib.read(TOP, SOURCE), re.M | re.S))
page, errors, used = lintlib.read(TOP, PAGE), [], set()


def fill(match):
    name, text = match.group(1), match.group(2)
    used.add(name)
    if name not in pieces:
        errors.append(f"{PAGE}: no piece [{name}] in {SOURCE}")
        return match.group(0)
    if text != pieces[name] and "--write" not in sys.argv:
        errors.append(f"{PAGE}: [{name}] is not as in {SOURCE} (tools/check_tutorial.py --write)")
    return f"```c {name}\n{pieces[name]}```\n"


filled = re.sub(r"^```c ([\w-]+)\n(.*?)^```\n", fill, page, flags=re.M | re.S)
if "--write" in sys.argv:
    with open(os.path.join(TOP, PAGE), "w", encoding="utf-8") as file:
        file.write(filled)
errors += [f"{PAGE}: a block of C that is no piece of {SOURCE}"] * len(re.findall(r"^```c\n", page, re.M))
errors += [f"{SOURCE}: piece [{name}] is not in {PAGE}" for name in pieces if name not in used]
lintlib.finish("pieces of code", len(used), errors)
