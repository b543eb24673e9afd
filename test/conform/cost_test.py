#!/usr/bin/env python3
"""cost_test.py - what observing costs, in instructions as callgrind counts them: an allocation with its free takes as many with
statistics and a recorder as without; a trace adds less than 0.5 %, the sampler less than 1 % to a collected one.

usage: cost_test.py [COMMAND]      default: build/bin/mallocgc; the libraries are beside it

Counted is the difference between two lengths of one loop, so what comes once falls out. Collections are off: they cost the
same, and how many there are depends on the time. What was counted is printed, for docs/performance.md (bench/figures.py)."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from command import COMMAND, TOP, beside, main

SHORT, LONG = 20000, 60000
NATIVE = """
#include <mallocgc.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	(void)argc;
	for (long i = atol(argv[1]); i > 0; i--)
		mgc_free(mgc_alloc(48, NULL, 0));
}
"""
KEEPING = NATIVE.replace("mgc_free(mgc_alloc(48, NULL, 0))", "mgc_alloc(48, NULL, 0)")
LOOPS = {"native": "`mgc_alloc` and `mgc_free` of 48 bytes", "keeping": "`mgc_alloc` of 48 bytes, kept",
         "malloc": "`malloc` and `free` of 48 bytes"}  # by the program's name
MALLOC = """
#include <stdlib.h>
int main(int argc, char **argv)
{
	(void)argc;
	for (long i = atol(argv[1]); i > 0; i--) {
		void *p = malloc(48);
		__asm__ volatile("" : "+r"(p));
		free(p);
	}
}
"""


@unittest.skipIf(shutil.which("valgrind") is None, "no valgrind here (make deps-all)")
class Cost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="mallocgc-cost-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)

    def build(self, name, code, *flags):
        path = os.path.join(self.folder, name)
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-x", "c", "-", "-x", "none", "-o", path, *flags], input=code,
                       text=True, check=True)
        return path

    def native(self, name, code):
        return self.build(name, code, "-I" + os.path.join(TOP, "include"), beside("lib", "libmallocgc.so"),
                          "-Wl,-rpath," + beside("lib"))

    def count(self, program, n, env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MGC_", "LD_"))}
        done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, str(n)],
                              env=dict(clean, MGC_PERCENT="off", **env), cwd=self.folder, text=True, capture_output=True,
                              timeout=80)
        self.assertEqual(done.returncode, 0, done.stderr)
        return int(re.search(r"Collected : (\d+)", done.stderr).group(1))

    def each(self, program, how, times=1, **env):
        """Instructions of one turn of the loop; `how` it is observed is for the line that is printed."""
        turns = times * (LONG - SHORT)
        n = (self.count(program, times * LONG, env) - self.count(program, times * SHORT, env)) / turns
        print(f"cost: {LOOPS[os.path.basename(program)]}: {how} instructions {n:.1f}", flush=True)
        return n

    def costs_nothing(self, program, **env):
        plain = self.each(program, "not observed", **env)
        self.assertGreater(plain, 5)
        observed = self.each(program, "statistics, a recorder's socket", MGC_STATS="json:stats.json", MGC_RECORDER="nobody",
                             MGC_DEBUG="exitstats=1", **env)
        self.assertAlmostEqual(observed / plain, 1, delta=0.0005)
        self.assertTrue(os.path.getsize(os.path.join(self.folder, "stats.json")))

    def test_a_collected_heap(self):
        self.costs_nothing(self.native("native", NATIVE))

    def test_a_trace(self):
        program = self.native("native", NATIVE)
        plain = self.each(program, "not observed")
        traced = self.each(program, "a trace", MGC_DEBUG="gctrace=1,scavtrace=1", MGC_LOG="log")
        self.assertLess(traced / plain, 1.005)  # two looks at the clock for each refill

    def test_the_sampler(self):
        program = self.native("keeping", KEEPING)
        plain = self.each(program, "not observed", 15)
        sampled = self.each(program, "a sample in 512 KiB", 15, MGC_DEBUG="samplerate=512KiB")
        self.assertLess(sampled / plain, 1.01)
        every = self.each(program, "a sample in 1 KiB", MGC_DEBUG="samplerate=1KiB")
        self.assertGreater(every / plain, 1.2)  # it is on: this test can see it

    def test_the_sampler_beside_frees(self):
        program = self.native("native", NATIVE)
        plain = self.each(program, "not observed", 15)
        sampled = self.each(program, "a sample in 512 KiB", 15, MGC_DEBUG="samplerate=512KiB")
        self.assertLess(sampled / plain, 1.04)  # objects that die at once: nothing is hidden by anything else

    def test_malloc(self):
        libraries = glob.glob(beside("lib", "libmallocgc-malloc.so.?"))
        if not libraries:
            self.skipTest("this build has no malloc face")
        self.costs_nothing(self.build("malloc", MALLOC), LD_PRELOAD=libraries[0])


if __name__ == "__main__":
    main()
