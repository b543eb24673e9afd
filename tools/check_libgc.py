#!/usr/bin/env python3
"""check_libgc.py - docs/libgc.md names every symbol of libgc once, and abi/libgc.map has them.

abi/libgc-8.2.2.list is what the library that we stand in for exports. Each name of it is in our map, or
in the page's section "Not exported"; the page's tables name those of the map and these, once each."""
import collections
import pathlib
import re
import lintlib
from check_abi import listed

TOP = pathlib.Path(lintlib.root())


def page_names():
    """{name: section} and the names that stand twice, of the first columns of the tables."""
    section, found = "", []
    for line in (TOP / "docs/libgc.md").read_text().splitlines():
        if line.startswith("### "):
            section = line[4:]
        if line.startswith("| `"):
            found += [(name, section) for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    twice = [n for n, count in collections.Counter(n for n, _ in found).items() if count > 1]
    return dict(found), twice


def main():
    theirs = {line.split()[0] for line in (TOP / "abi/libgc-8.2.2.list").read_text().splitlines()
              if line and line[0] != "#"}
    ours = set(listed((TOP / "abi/libgc.map").read_text()))
    page, twice = page_names()
    left_out = {name for name, section in page.items() if section == "Not exported"}
    errors = [f"docs/libgc.md: {n} stands twice" for n in twice]
    errors += [f"abi/libgc.map: lacks {n}, which libgc 8.2.2 exports" for n in
               sorted(theirs - ours - left_out)]
    errors += [f"abi/libgc.map: {n} is not a name of libgc 8.2.2" for n in sorted(ours - theirs)]
    errors += [f"docs/libgc.md: does not name {n}" for n in sorted((theirs | ours) - set(page))]
    errors += [f"docs/libgc.md: {n} is not exported, nor is it libgc's" for n in
               sorted(set(page) - theirs - ours)]
    errors += [f"docs/libgc.md: {n} is exported" for n in sorted(left_out & ours)]
    lintlib.finish("names of libgc", len(theirs), errors)


if __name__ == "__main__":
    main()
