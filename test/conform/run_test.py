#!/usr/bin/env python3
"""run_test.py - mallocgc run with programs that bring a heap of their own: nothing is put beside it, and the settings
reach it; with files that cannot be written, it says so before the program runs.

usage: run_test.py [COMMAND]      default: build/bin/mallocgc; the libraries and examples are beside it"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from command import COMMAND, TOP, beside, main

SERVICE = beside("examples", "service")
COMPILER = os.environ.get("CC", "cc")
PROGRAM = """#include <mallocgc.h>
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
	const char *preload = getenv("LD_PRELOAD");
	puts(preload != NULL ? preload : "nothing");
	for (int i = 0; i < 200000; i++)
		if (mgc_alloc(100, NULL, MGC_NOSCAN) == NULL)
			return 1;
}
"""


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mallocgc-run-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def call(self, *args, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MGC_")}
        return subprocess.run([COMMAND, "run", *args], text=True, capture_output=True, timeout=80, cwd=self.folder,
                              env=dict(clean, **env))

    def runs(self, *args, **env):
        done = self.call(*args, **env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def refuses(self, words, *args):
        """Before the program runs: it would leave the file `ran`."""
        done = self.call(*args, "--", "touch", "ran")
        self.assertEqual((done.returncode, done.stdout), (125, ""), done.stderr)
        self.assertRegex(done.stderr, r"\Amallocgc: .*" + words)
        self.assertFalse(os.path.exists(self.path("ran")))


# A title over the memory that its arguments and its environment came in, as setproctitle and redis-server write it.
TITLED = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern char **environ;
#ifdef NATIVE
#include <mallocgc.h>
#define GET(n) mgc_alloc(n, NULL, MGC_NOSCAN)
#else
#define GET(n) malloc(n)
#endif
int main(int argc, char **argv)
{
	(void)argc;
	for (int i = 0; i < 100000; i++)
		if (GET(100) == NULL)
			return 1;
	for (char **e = environ; *e != NULL; e++)
		memset(*e, 'x', strlen(*e));
	memset(argv[0], 'x', strlen(argv[0]));
	environ = NULL;
	return 0;
}
"""


class Elsewhere(Case):
    def test_the_environment_is_overwritten(self):
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        for name, flags in (("plain", []), ("native", ["-DNATIVE", "-I", os.path.join(TOP, "include"), "-L", beside("lib"),
                                                       "-lmallocgc", "-Wl,-rpath," + beside("lib")])):
            program = self.path(name)
            done = subprocess.run([COMPILER, "-x", "c", "-", "-o", program, *flags], input=TITLED, text=True,
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.runs("--stats", "json:s.json", "--profile", "p.pb", "--record", "r.jsonl", "--", program)
            with open(self.path("r.jsonl"), encoding="utf-8") as file:
                self.assertEqual(json.loads(file.readlines()[-1])["how"], "exit")
            for file in ("s.json", "p.pb", "r.jsonl", name):
                os.unlink(self.path(file))
            self.assertEqual(os.listdir(self.folder), [])

    def test_the_program_goes_to_another_folder(self):
        """Files are written where the command was called, as daemons are in / when they end."""
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        os.mkdir(self.path("other"))
        inside = self.path("other")
        script = "import os; os.chdir('other'); print(len([bytearray(3000) for i in range(3000)]))"
        for stats in ("json:s.json", "openmetrics:./s.txt", "text:" + self.path("s-%p.txt")):
            self.runs("--malloc", "--stats", stats, "--profile", "p.pb", "--record", "r.jsonl", "--", sys.executable, "-c", script)
        self.assertEqual(os.listdir(inside), [])
        found = sorted(re.sub("-[0-9]+", "-N", name) for name in os.listdir(self.folder))
        self.assertEqual(found, ["other", "p.pb", "r.jsonl", "s-N.txt", "s.json", "s.txt"])


class OwnHeap(Case):
    """The example is linked with libmallocgc.so."""

    def test_trace_and_percent(self):
        done = self.runs("--trace", "--percent", "50", "--", SERVICE, "0.3", "1")
        self.assertRegex(done.stderr, r"\Agc 1 @")

    def test_one_set_of_statistics(self):
        self.runs("--stats", "openmetrics:o.txt", "--", SERVICE, "0.1", "1")
        with open(self.path("o.txt"), encoding="utf-8") as file:
            self.assertEqual(set(re.findall(r'face="(\w+)"', file.read())), {"native"})
        self.runs("--stats", "json:s.json", SERVICE, "0.1", "1")
        with open(self.path("s.json"), encoding="utf-8") as file:
            self.assertEqual([json.loads(line)["face"] for line in file], ["native"])

    def test_profile_is_its_own(self):
        self.runs("--profile", "p.pb", "--", SERVICE, "0.5", "1", MGC_DEBUG="samplerate=16KiB")
        done = subprocess.run([COMMAND, "profile", "p.pb"], text=True, capture_output=True, timeout=60,
                              cwd=self.folder, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("take_order", done.stdout)

    def test_malloc_when_asked_for(self):
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        done = self.runs("--malloc", "--stats", "json:s.json", SERVICE, "0.1", "1")
        self.assertEqual(done.stderr, "")
        with open(self.path("s.json"), encoding="utf-8") as file:
            self.assertEqual({json.loads(line)["face"] for line in file}, {"native", "malloc"})

    def test_a_program_without_one(self):
        for option in (["--trace"], ["--percent", "50"]):
            self.refuses(f"{option[0]} is about collections, and .*/touch is linked with no collector", *option)


class Linked(Case):
    """Programs that have the library inside, or get it by another library."""

    @classmethod
    def setUpClass(cls):
        with open(beside("lib", "libmallocgc.a"), "rb") as file:
            if re.search(rb"__(asan_init|tsan_init|ubsan_handle)", file.read()):
                raise unittest.SkipTest("the library of this build needs a sanitizer's runtime")

    def build(self, name, *flags, code=PROGRAM):
        with open(self.path(name + ".c"), "w", encoding="utf-8") as file:
            file.write(code)
        done = subprocess.run([COMPILER, "-I", os.path.join(TOP, "include"), "-o", self.path(name), self.path(name + ".c"),
                               *flags], text=True, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.path(name)

    def is_left_alone(self, program):
        done = self.runs("--stats", "json:s.json", "--trace", "--percent", "10", "--", program)
        self.assertEqual(done.stdout, "nothing\n")
        with open(self.path("s.json"), encoding="utf-8") as file:
            self.assertEqual([json.loads(line)["face"] for line in file], ["native"])
        self.assertRegex(done.stderr, r"gc 1 @")

    def test_inside(self):
        self.is_left_alone(self.build("inside", beside("lib", "libmallocgc.a"), "-pthread", "-ldl", "-lm"))

    def test_wholly_static(self):
        program = self.build("static", "-static", beside("lib", "libmallocgc.a"), "-pthread", "-ldl", "-lm")
        self.is_left_alone(program)
        done = self.call("--malloc", program)
        self.assertEqual(done.returncode, 126)
        self.assertIn("it is statically linked", done.stderr)

    def test_by_another_library(self):
        self.build("libvm.so", "-shared", "-fPIC", beside("lib", "libmallocgc.so"), "-Wl,-rpath," + beside("lib"),
                   code=PROGRAM.replace("int main(void)", "int vm(void)").replace("\n}\n", "\n\treturn 0;\n}\n"))
        self.is_left_alone(self.build("prog", self.path("libvm.so"), "-Wl,-rpath," + self.folder,
                                      "-Wl,-rpath-link," + beside("lib"), "-Wl,--allow-shlib-undefined",
                                      code="int vm(void); int main(void) { return vm(); }"))

    def test_script(self):
        program = self.build("inside", beside("lib", "libmallocgc.a"), "-pthread", "-ldl", "-lm")
        script = self.path("script")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"#!{program}\n")
        os.chmod(script, 0o755)
        self.is_left_alone(script)


class Files(Case):
    def test_that_cannot_be_written(self):
        self.refuses("no/x.json: No such file", "--stats", "json:no/x.json")
        self.refuses("/no/such/x.pb: No such file", "--profile", "/no/such/x.pb")
        self.refuses("x/: No such file", "--profile", "x/")
        self.refuses("/: Is a directory", "--profile", "/")
        with open(self.path("plain"), "w", encoding="utf-8"):
            pass
        self.refuses("plain/x: Not a directory", "--stats", "text:plain/x")
        self.refuses(f"{'x' * 300}: File name too long", "--profile", "x" * 300)
        if os.getuid() != 0:
            os.chmod(self.path("plain"), 0o400)
            self.refuses("plain: Permission denied", "--stats", "text:plain")

    def test_that_can(self):
        """Nothing is created before the program writes it."""
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        for file in ("new", "%p.pb", "/dev/null", os.path.join(self.folder, "x")):
            done = self.call("--profile", file, "--stats", "text:" + file, "--", "sh", "-c", "kill -9 $$")
            self.assertEqual((done.returncode, done.stderr), (-9, ""))
        self.assertEqual(os.listdir(self.folder), [])
        self.runs("--stats", "text:new", "--", SERVICE, "0.1", "1")
        self.assertEqual(os.listdir(self.folder), ["new"])
        self.runs("--stats", "text", "--", SERVICE, "0.1", "1")

    def test_page_over_the_recording(self):
        done = self.call("--record", "same", "--report", "./same", "--", SERVICE, "0.1", "1")
        if "without Chart.js" in done.stderr:
            self.skipTest("the command was built without Chart.js")
        self.assertEqual(done.returncode, 125)
        self.assertIn("./same is the recording itself", done.stderr)
        self.assertEqual(os.listdir(self.folder), [])  # it did not run


if __name__ == "__main__":
    main()
