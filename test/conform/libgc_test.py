#!/usr/bin/env python3
"""libgc_test.py MALLOCGC - our libgc.so.1 and its headers against Debian's.

Each program of libgc/programs prints what a libgc does. It is compiled with our headers and, where libgc-dev
is installed, with Debian's; each of the two runs on both libraries, and has to print what is kept in
NAME.expected (--write makes that, from Debian's). The exported names, and the sizes of variables, are
compared as well."""
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = HERE / "libgc" / "programs"
TOP = HERE.parent.parent
BUILD = pathlib.Path(sys.argv[1]).resolve().parent.parent
OURS = BUILD / "libgc"
HEADERS = TOP / "include" / "libgc"
DEBIAN_HEADER = pathlib.Path("/usr/include/gc/gc.h")
NAMES = ["allocation", "cpp", "debugging", "finalizers", "limits", "roots", "settings", "threads", "typed"]
LIMIT_S = 60


def debian_library():
    """Where the system's libgc.so.1 is, or None."""
    text = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
    match = re.search(r"libgc\.so\.1 .*=> (\S+)", text)
    return match.group(1) if match else None


def symbols(library):
    """{name: (is it a function, size)} of what it exports."""
    rows = [line.split() for line in subprocess.run(
        ["nm", "-D", "-S", "--defined-only", library], capture_output=True, text=True,
        check=True).stdout.splitlines()]
    return {row[3]: (row[2] in "TW", int(row[1], 16)) for row in rows if len(row) == 4}


class Case(unittest.TestCase):
    maxDiff = None
    debian = debian_library() if DEBIAN_HEADER.exists() else None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mallocgc-libgc-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def build(self, name, ours):
        source = next(PROGRAMS.glob(name + ".c*"))
        cc = ["c++"] if source.suffix == ".cc" else ["cc", "-std=gnu11"]
        program = self.folder / f"{name}-{'ours' if ours else 'theirs'}"
        where = ([f"-I{HEADERS}", f"-L{OURS}", "-Wall", "-Wextra"] if ours
                 else ["-w"])
        more = [] if ours or source.suffix == ".c" else ["-lgccpp"]
        done = subprocess.run([*cc, "-O1", *where, str(source), "-o", str(program), *more, "-lgc",
                               "-lpthread"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        return program

    def output(self, program, library, limit_s=LIMIT_S):
        """What it prints on the libgc.so.1 in that folder, or the system's."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GC_", "MGC_", "LD_"))}
        if library:
            env["LD_LIBRARY_PATH"] = str(library)
        done = subprocess.run([program], env=env, capture_output=True, text=True, timeout=limit_s)
        self.assertEqual(done.returncode, 0, f"{program.name}: {done.stderr[-2000:]}")
        return done.stdout

    def their_output(self, program):
        """The same on theirs; None, with a line that says so, when it hung twice: not our fault."""
        for _ in range(2):
            try:
                return self.output(program, None, 20)
            except subprocess.TimeoutExpired:
                print(f"{program.name} hangs on the system's libgc")
        return None

    def compare(self, name):
        expected = (PROGRAMS / f"{name}.expected").read_text()
        self.assertGreater(len(expected), 50)
        builds = [self.build(name, True)] + ([self.build(name, False)] if self.debian else [])
        for program in builds:
            self.assertEqual(self.output(program, OURS), expected, f"{program.name} on ours")
            if self.debian:  # where stale words keep more now and then
                answers = (self.their_output(program) for _ in range(20))
                self.assertTrue(any(a in (expected, None) for a in answers), f"{program.name} on theirs")

    def test_exported_names(self):
        kept = dict(line.split() for line in (TOP / "abi/libgc-8.2.2.list").read_text().splitlines()
                    if not line.startswith("#"))
        ours = symbols(OURS / "libgc.so.1")
        self.assertGreater(len(kept), 280)
        for name in kept.keys() - {"GC_arrays"}:
            self.assertIn(name, ours)
            self.assertEqual(ours[name][0], kept[name] == "T", name)
        if self.debian:
            theirs = symbols(self.debian)
            self.assertEqual(set(kept), {n for n in theirs if n.startswith("GC_")})
            for name in set(ours) - {n for n in kept if kept[n] == "T"}:
                self.assertEqual(ours[name][1], theirs[name][1], f"size of {name}")

    def macros(self, header, include, more):
        done = subprocess.run(["c++" if "cpp" in header or "allocator" in header else "cc", *include,
                               "-E", "-dM", *more, "-x", "c++" if "cpp" in header or
                               "allocator" in header else "c", "-"], input=f"#include <gc/{header}>",
                              capture_output=True, text=True, check=True)
        return {n for n in re.findall(r"#define (\w+)", done.stdout) if n.startswith(("GC_", "I_"))}

    @unittest.skipUnless(debian, "libgc-dev is not installed")
    def test_headers_have_every_name(self):
        for path in sorted((HEADERS / "gc").glob("*.h")):
            for more in ([], ["-DGC_THREADS"], ["-DGC_THREADS", "-DGC_DEBUG"]):
                theirs = self.macros(path.name, ["-I/usr/include"], more)
                ours = self.macros(path.name, [f"-I{HEADERS}"], more)
                self.assertEqual(theirs - ours, set(), f"{path.name} {more}")


for each in NAMES:
    setattr(Case, f"test_{each}", lambda self, name=each: self.compare(name))


def write():
    case = Case()
    case.setUp()
    for name in NAMES:
        program = case.build(name, False)
        text = statistics.mode(case.output(program, None) for _ in range(15))
        (PROGRAMS / f"{name}.expected").write_text(text)
    case.doCleanups()


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        unittest.main(argv=sys.argv[:1])
