#!/usr/bin/env python3
"""bench_test.py - mallocgc bench: every program runs on everything that is there, with the same result; what fails, or comes
to another result, is said and makes the status 125.

usage: bench_test.py [COMMAND]      default: build/bin/mallocgc; the programs are beside it"""
import csv
import glob
import os
import shutil
import subprocess
import tempfile
import unittest

from command import COMMAND, beside, main

FAKE = """#!/bin/sh
case "$LD_PRELOAD" in
*mallocgc*) echo "checksum 1" ;;
*) echo "checksum {other}" ;;
esac
exit {status}
"""


def bench(*args, command=COMMAND):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MGC_", "LD_"))}
    return subprocess.run([command, "bench", *args], text=True, capture_output=True, timeout=80, env=clean)


@unittest.skipUnless(os.path.exists(beside("lib", "mallocgc", "bench", "malloc-map")), "this build has no benchmark programs")
class Bench(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mallocgc-bench-")
        self.addCleanup(shutil.rmtree, self.folder)

    def test_programs_under_mallocs(self):
        path = os.path.join(self.folder, "runs.csv")
        done = bench("--quick", "--only", "malloc", "--reps", "2", "--csv", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith("mallocgc "))
        tables = done.stdout.split("\n\n")[1:]
        self.assertEqual([t.splitlines()[0] for t in tables], ["processor time, s", "wall time, s", "peak memory, MiB"])
        with open(path, encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        ways = list(dict.fromkeys(row["on"] for row in rows))
        self.assertEqual(ways[:2], ["mallocgc", "C library"])
        for peer, package in (("mimalloc", "libmimalloc2.0"), ("jemalloc", "libjemalloc2"), ("tcmalloc", "libtcmalloc-minimal4")):
            self.assertNotEqual(peer in ways, f"{peer} is not installed, and left out (Debian: {package})" in done.stderr)
        programs = {row["program"] for row in rows}
        self.assertEqual(programs, {"random", "map", "words", "strings", "app", "tree", "server"})
        for row in rows:
            self.assertGreater(int(row["peak_bytes"]), 500_000)
            self.assertGreater(float(row["wall_s"]), 0)
        for table in tables:
            lines = table.splitlines()
            self.assertEqual(len(lines), 3 + len(programs))
            self.assertRegex(lines[-1], r"^mean ratio +1\.00( +\d+\.\d\d){%d}$" % (len(ways) - 1))
        self.assertEqual(len(rows), 2 * len(ways) * len(programs))

    def test_programs_for_a_collector(self):
        done = bench("--quick", "--only", "binary-trees")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\n +native +our libgc( +libgc)?\nbinary-trees +\d")

    def fake(self, other, status):
        """The command among programs that only say they ran."""
        for folder in ("bin", "lib/mallocgc/bench"):
            os.makedirs(os.path.join(self.folder, folder))
        shutil.copy(COMMAND, os.path.join(self.folder, "bin"))
        library = glob.glob(beside("lib", "libmallocgc-malloc.so.?"))[0]
        shutil.copy(library, os.path.join(self.folder, "lib"))
        program = os.path.join(self.folder, "lib/mallocgc/bench/malloc-map")
        with open(program, "w", encoding="utf-8") as file:
            file.write(FAKE.format(other=other, status=status))
        os.chmod(program, 0o755)
        return bench("--only", "map", "--reps", "1", command=os.path.join(self.folder, "bin", "mallocgc"))

    def test_another_result(self):
        done = self.fake(2, 0)
        self.assertEqual(done.returncode, 125)
        self.assertIn("map came to another result on C library", done.stderr)

    def test_the_same_result(self):
        self.assertEqual(self.fake(1, 0).returncode, 0)

    def test_a_failure(self):
        done = self.fake(1, 3)
        self.assertEqual(done.returncode, 125)
        self.assertIn("map failed on mallocgc", done.stderr)
        self.assertIn("failed", done.stdout)

    def test_what_it_refuses(self):
        for words, args in (("no program is named nothing", ["--only", "nothing"]), ("--reps 0: not a number from 1", ["--reps", "0"]),
                            ("--reps 100: not a number from 1 to 99", ["--reps", "100"]), ("unexpected `x`", ["x"]),
                            ("unknown or misused option --fast", ["--fast"])):
            done = bench(*args)
            self.assertEqual((done.returncode, done.stdout), (125, ""), args)
            self.assertIn("mallocgc: " + words, done.stderr)


if __name__ == "__main__":
    main()
