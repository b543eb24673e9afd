#!/usr/bin/env python3
"""A Lua script on glibc's malloc and on regions of the malloc face, in turn: bench/adapters/lua.c as a table, medians of five.

    python3 bench/adapters/lua.py [--build DIR]        needs Lua 5.4 (Debian: liblua5.4-dev)"""
import argparse
import os
import re
import shlex
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from common import ROOT, compile_c  # pylint: disable=wrong-import-position

WAYS = [("`luaL_newstate`, glibc", []), ("a region, `mgc_lua_close(&memory, L)`", ["-DREGION"]), ("a region, dropped", ["-DDROP"])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build tree with lib/")
    build = os.path.abspath(parser.parse_args().build)
    asked = subprocess.run(["pkg-config", "--cflags", "--libs", "lua5.4"], capture_output=True, text=True, check=False)
    if asked.returncode:
        sys.exit("lua: pkg-config does not know lua5.4 (Debian: liblua5.4-dev)")
    lib, folder = os.path.join(build, "lib"), os.path.join(build, "bench")
    os.makedirs(folder, exist_ok=True)
    times = {}
    for number, (label, flags) in enumerate(WAYS):
        ours = ["-I", os.path.join(ROOT, "adapters"), "-I", os.path.join(ROOT, "include"), "-L", lib, "-lmallocgc-malloc",
                f"-Wl,-rpath,{lib}"] if flags else []
        errors = compile_c(os.environ.get("CC", "cc"), os.path.join(ROOT, "bench", "adapters", "lua.c"),
                           os.path.join(folder, f"lua_{number}"), *flags, *ours, *shlex.split(asked.stdout))
        if errors:
            sys.exit(f"lua: {label}: " + "\n".join(errors))
    for _ in range(5):
        for number, (label, _flags) in enumerate(WAYS):
            out = subprocess.run([os.path.join(folder, f"lua_{number}")], capture_output=True, text=True, check=True).stdout
            times.setdefault(label, []).append([float(x) for x in re.findall(r"[\d.]+(?= s)", out)])
    print("| processor time | the script | end of the state |\n|---|---|---|")
    for label, runs in times.items():
        script, end = (statistics.median(column) for column in zip(*runs))
        print(f"| {label} | {script:.2f} s | {1000 * end:.1f} ms |")


if __name__ == "__main__":
    main()
