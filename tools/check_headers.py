#!/usr/bin/env python3
"""check_headers.py - each header compiles alone, twice, first: C17; public ones C99 and C++17 too.

An internal header must also refuse to compile outside the library (MGC_IMPL)."""
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
import lintlib

TOP = lintlib.root()
WARN = "-Wall -Wextra -Wundef -Wshadow -Wconversion -Wvla -Werror".split()
C_WARN = WARN + ["-Wstrict-prototypes", "-Wmissing-prototypes"]
CC, CXX = os.environ.get("CC", "gcc"), os.environ.get("CXX", "g++")


def compiles(command, header):
    text = f'#include "{header}"\n#include "{header}"\n'
    done = subprocess.run(command + ["-fsyntax-only", "-"], input=text, cwd=TOP, text=True,
                          capture_output=True)
    return None if done.returncode == 0 else done.stderr


def cases():
    """(what, compiler command, name to include) for each header and language."""
    internal = ["-D_GNU_SOURCE", "-DMGC_IMPL", "-Isrc", "-Iinclude"]
    for path in lintlib.files(TOP, ".h", under=("src",)):
        yield path, [CC, "-xc", "-std=c17"] + C_WARN + internal, path[len("src/"):]
    for path in lintlib.files(TOP, ".h", ".hpp", under=("include",)):
        dirs = ["-Iinclude", "-Iinclude/libgc"]
        name = path[len("include/"):].removeprefix("libgc/")
        for std in () if path.endswith(("_cpp.h", "_allocator.h", ".hpp")) else ("c99", "c17"):
            yield f"{path} ({std})", [CC, "-xc", "-std=" + std] + C_WARN + dirs, name
        if shutil.which(CXX):
            yield f"{path} (c++17)", [CXX, "-xc++", "-std=c++17"] + WARN + dirs, name


def main():
    todo = list(cases())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda case: compiles(case[1], case[2]), todo)
    errors = [f"{what} does not compile alone:\n{result}"
              for (what, _, _), result in zip(todo, results) if result]
    errors += [f"{path}: must open with #ifndef MGC_IMPL / #error"
               for path in lintlib.files(TOP, ".h", under=("src",))
               if "ifndef MGC_IMPL" not in lintlib.read(TOP, path)]
    lintlib.finish("header compilations", len(todo), errors)


main()
