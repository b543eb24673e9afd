#!/usr/bin/env python3
"""check_abi.py [--write] NAME=LIBRARY=LIST... - abi/NAME.map lists what LIBRARY exports.

LIST is a file that names the library's objects, with semicolons between them. Three lists have to
agree: the map's, the library's dynamic symbols, and the symbols that the objects leave visible
(MGC_API). The map names each symbol: an export is a decision, so a pattern is refused. --write puts
the objects' visible names into the map: run it when a name was added on purpose."""
import pathlib
import re
import subprocess
import sys
import lintlib

TOP = pathlib.Path(lintlib.root())


def tool(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def exported(library):
    rows = [line.split() for line in
            tool("nm", "-D", "--defined-only", "--format=posix", library).splitlines()]
    return sorted({row[0].split("@")[0] for row in rows if row[1] in "TDBRVWGi"})


def visible(object_list):
    objects = pathlib.Path(object_list).read_text().strip(";\n").split(";")
    rows = [line.split() for line in tool("readelf", "-sW", *objects).splitlines()]
    return sorted({row[7] for row in rows if len(row) == 8 and row[4] in ("GLOBAL", "WEAK")
                   and row[5] == "DEFAULT" and row[6] != "UND"})


def listed(text):
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return [name for block in re.findall(r"global:(.*?)(?=local:|\})", code, re.S)
            for name in re.findall(r"[\w*?\[\]]+(?=\s*;)", block)]


def compare(name, library, wanted):
    names, symbols = listed((TOP / f"abi/{name}.map").read_text()), exported(library)
    errors = [f"abi/{name}.map: lists {n} twice" for n in sorted(set(names)) if names.count(n) > 1]
    errors += [f"abi/{name}.map: {n} is a pattern; name each symbol" for n in names
               if not re.fullmatch(r"\w+", n)]
    errors += [f"abi/{name}.map: lists {n}, which the library does not export" for n in names
               if n not in symbols]
    errors += [f"{library}: exports {s}, which abi/{name}.map does not list" for s in symbols
               if s not in names]
    errors += [f"abi/{name}.map: does not list {s}, which the sources make visible (abi-update)"
               for s in wanted if s not in names]
    return len(symbols), errors or ([] if symbols else [f"{library}: exports nothing"])


def write(name, symbols):
    path = TOP / f"abi/{name}.map"
    lines = "".join(f"    {symbol};\n" for symbol in symbols)
    path.write_text(re.sub(r"(global:\n).*?(?=  local:)", lambda m: m.group(1) + lines,
                           path.read_text(), count=1, flags=re.S))
    print(f"wrote abi/{name}.map; build again")


def main():
    checked, errors = 0, []
    for name, library, objects in (arg.split("=") for arg in sys.argv[1:] if "=" in arg):
        if "--write" in sys.argv:
            write(name, visible(objects))
            continue
        count, found = compare(name, library, visible(objects))
        checked += count
        errors += found
    if "--write" not in sys.argv:
        lintlib.finish("exported symbols", checked, errors)


if __name__ == "__main__":
    main()
