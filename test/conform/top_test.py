#!/usr/bin/env python3
"""top_test.py - mallocgc top: looks at processes of each face that know nothing of it; what it shows is near what
they say themselves; what it cannot look at it names.

usage: top_test.py [COMMAND]      default: build/bin/mallocgc; the libraries and examples are beside it"""
import glob
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from command import COMMAND, TOP, beside, main

PAIRS = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static size_t nbytes; /* atomic */
static void *get(size_t n)
{
	__atomic_fetch_add(&nbytes, n, __ATOMIC_RELAXED);
	return malloc(n);
}
static void *pairs(void *arg)
{
	for (int i = 0; i < 1000000; i++)
		free(get(48));
	for (int i = 0; i < 500; i++) {
		void *a = get(65536), *b = get(131072);
		free(a);
		free(b);
	}
	for (int i = 0; i < 100; i++)
		free(get(5 << 20));
	return arg;
}
int main(void)
{
	static void *kept[100000];
	pthread_t t;
	pairs(NULL);
	for (int i = 0; i < 100000; i++)
		kept[i] = get(16 + i % 64 * 16);
	pthread_create(&t, NULL, pairs, NULL);
	pthread_join(t, NULL);
	for (int i = 0; i < 100000; i++) {
		free(kept[i]);
		kept[i] = get(64);
	}
	printf("%zu\n", nbytes);
	fflush(stdout);
	getchar();
	for (;;)
		pairs(NULL);
}
"""
CROWD = r"""
#define _GNU_SOURCE
#include <mallocgc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static int nwaiting;
static void *one(void *arg)
{
	for (int i = 0; i < 100; i++)
		mgc_alloc(1000, NULL, arg == NULL ? MGC_NOSCAN : MGC_NOSCAN | MGC_NOZERO);
	for (int i = 0; arg == NULL && i < 1000; i++)
		mgc_alloc(1000, NULL, MGC_NOSCAN);
	mgc_blocking_enter();
	__atomic_add_fetch(&nwaiting, 1, __ATOMIC_RELEASE);
	pause();
	return arg;
}
int main(void)
{
	static char arg[40];
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (int i = 0; i < 40; i++) {
		pthread_t t;
		if (mgc_thread_create(&t, &attr, one, i == 20 ? NULL : arg + i) != 0)
			return 1;
		pthread_setname_np(t, i == 20 ? "most" : i % 2 != 0 ? "two\nlines)" : "\033[31mred\302\233");
	}
	mgc_blocking_enter(); /* or a collection would cut the sleeping short */
	while (__atomic_load_n(&nwaiting, __ATOMIC_ACQUIRE) != 40)
		usleep(1000);
	sleep(1);
	puts("all");
	fflush(stdout);
	pause();
	return 0;
}
"""
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def nbytes(text):
    number, unit = text.split()
    return float(number) * UNITS[unit]


class Top(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mallocgc-top-")
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, *argv, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MGC_")}
        child = subprocess.Popen(argv, env=dict(clean, **env), text=True, cwd=self.folder,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.addCleanup(child.stdin.close)
        self.addCleanup(child.stdout.close)
        return child

    def top(self, *args):
        return subprocess.run([COMMAND, "top", *map(str, args)], text=True, capture_output=True, timeout=60)

    def look(self, pid, *args):
        """The first view in which the heap is in use."""
        for _ in range(100):
            done = self.top("--count", 1, *args, pid)
            if done.returncode == 0:
                return done.stdout
            time.sleep(0.1)
        self.fail(done.stderr)

    def refuses(self, words, *args):
        done = self.top(*args)
        self.assertEqual((done.returncode, done.stdout), (125, ""), done.stderr)
        self.assertRegex(done.stderr, r"\Amallocgc: .*" + words)

    def rows(self, text):
        """type → (pages, bytes in use) of the table of classes."""
        found = re.findall(r"^ *(?:\d\S* \w+|large) (.{24}) +\d+ +(\S+ \w+) +(\S+ \w+) +\d+% +\S+ \w+$", text,
                           re.M)
        sums = {}
        for name, pages, used in found:
            before = sums.get(name.strip(), (0, 0))
            sums[name.strip()] = (before[0] + nbytes(pages), before[1] + nbytes(used))
        return sums

    def test_collected(self):
        child = self.start(beside("examples", "service"), "20", "2")
        time.sleep(1)
        text = self.look(child.pid)
        self.assertIn("native face, " + os.path.realpath(beside("lib", "libmallocgc.so")), text)
        self.assertRegex(text, r"(?m)^cycles +\d+   phase \w+$")
        self.assertIn("examples/service 20 2", text)
        rows = self.rows(text)
        # two threads, 2000 sessions, up to 20 orders of 32 bytes, a text of 170 for each
        self.assertGreater(rows["order"][0], 0.3e6)
        self.assertGreater(rows["no pointers"][1], rows["order"][1])
        for pages, used in rows.values():
            self.assertLessEqual(used, pages * 1.06)
        threads = re.findall(r"^ +(\d+) \S+ +[RSD] +(\S+ \w+) ", text, re.M)
        self.assertIn(str(child.pid), [tid for tid, _ in threads])
        self.assertGreaterEqual(len([1 for _, n in threads if nbytes(n) > 1e6]), 2)
        self.assertRegex(text, r"handshakes +\d+ +50% ≤ [\d.]+ ms")

    def test_malloc_against_its_own_count(self):
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            return
        program = ("import sys\na = [bytearray(1000 + i % 5000) for i in range(20000)]\n"
                   "print('ready', flush=True)\nsys.stdin.read()\n")
        child = self.start(COMMAND, "run", "--malloc", "--stats", "json:stats.json", sys.executable, "-c",
                           program, PYTHONMALLOC="malloc")
        self.assertEqual(child.stdout.readline(), "ready\n")
        text = self.look(child.pid)
        self.assertIn("malloc face", text)
        used = sum(row[1] for row in self.rows(text).values())
        self.assertGreater(used, 60e6)
        self.assertLess(used, 110e6)
        pages = nbytes(re.search(r"pages in use (\S+ \w+)", text).group(1))
        self.assertLess(used, pages * 1.01)
        child.communicate("")
        with open(os.path.join(self.folder, "stats.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["face"], "malloc")

    def test_malloc_that_counts_nothing(self):
        """Pairs that never leave the short ways, runs of large objects, another thread, others' frees: all of it is seen."""
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            return
        program = os.path.join(self.folder, "pairs")
        subprocess.run([os.environ.get("CC", "cc"), "-O1", "-fno-builtin", "-pthread", "-x", "c", "-", "-o", program],
                       input=PAIRS, text=True, check=True)
        for knob in ("samplerate=0", "samplerate=64KiB"):  # sampled, its lists are cut
            child = self.start(COMMAND, "run", "--malloc", program, MGC_DEBUG=knob)
            truth = int(child.stdout.readline())
            self.assertAlmostEqual(nbytes(re.search(r"allocated +(\S+ \w+)", self.look(child.pid)).group(1)) / truth, 1,
                                   delta=0.01)
            child.stdin.write("\n")
            child.stdin.flush()
            text = self.top("--batch", "--count", 2, "--delay", 0.5, child.pid).stdout
            rate = re.findall(r"allocated .*allocating (\S+ \w+)/s", text)
            self.assertEqual(len(rate), 1, text)
            self.assertGreater(nbytes(rate[0]), 10e6)
            child.kill()

    def test_rates_and_batches(self):
        child = self.start(beside("examples", "service"), "20", "1")
        self.look(child.pid)
        done = self.top("--batch", "--count", 3, "--delay", 0.6, child.pid)  # in less it may get no processor
        self.assertEqual(done.returncode, 0, done.stderr)
        cycles = [int(n) for n in re.findall(r"(?m)^cycles +(\d+) ", done.stdout)]
        self.assertEqual(len(cycles), 3)
        self.assertEqual(cycles, sorted(cycles))
        for line in done.stdout.splitlines():  # a page fits a terminal of 80 columns, but for paths
            self.assertTrue(len(line) < 80 or os.sep in line, line)
        self.assertIn("nobody stopped\n", done.stdout)
        rates = re.findall(r"allocating (\S+ \w+)/s", done.stdout)
        self.assertEqual(len(rates), 2)  # the first view has nothing before it
        self.assertGreater(nbytes(rates[1]), 1e6)

    def test_it_ends(self):
        child = self.start(beside("examples", "service"), "2", "1")
        self.look(child.pid)
        done = self.top("--delay", 0.1, child.pid)
        child.wait()
        self.assertEqual(done.returncode, 125)
        self.assertIn(f"process {child.pid} has ended", done.stderr)

    def test_it_becomes_another_program(self):
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        child = self.start(COMMAND, "run", "--malloc", sys.executable, "-c",
                           "import os, time; time.sleep(1); os.execve('/bin/sleep', ['sleep', '20'], {})")
        self.look(child.pid)
        done = self.top("--delay", 0.1, child.pid)
        self.assertEqual(done.returncode, 125)
        self.assertIn(f"process {child.pid} runs another program now", done.stderr)

    def crowd(self):
        path = os.path.join(self.folder, "crowd")
        built = subprocess.run(["cc", "-O1", "-I", os.path.join(TOP, "include"), "-o", path, "-x", "c", "-", "-L",
                                beside("lib"), "-lmallocgc", "-Wl,-rpath," + beside("lib"), "-pthread"],
                               input=CROWD, text=True, capture_output=True, check=False)
        if any(word in built.stderr for word in ("__asan", "__tsan", "__ubsan")):
            self.skipTest("the library of this build needs a sanitizer's runtime")
        self.assertEqual(built.returncode, 0, built.stderr)
        child = self.start(path)
        self.assertEqual(child.stdout.readline(), "all\n")
        while self.states(child.pid) != {"S"}:  # who wrote that may still be on its way to sleep
            time.sleep(0.01)
        return child

    @staticmethod
    def states(pid):
        found = set()
        for path in glob.glob(f"/proc/{pid}/task/*/stat"):
            with open(path, encoding="utf-8", errors="replace") as file:
                found.add(file.read().rpartition(") ")[2][0])
        return found

    def test_crowd(self):
        """Who allocated most comes first, and names are text."""
        child = self.crowd()
        seen = self.look(child.pid)
        rows = re.findall(r"^ *(\d+) (.{16}) S +(\S+ \w+) +\S+ \w+ +\S+ ms$", seen, re.M)
        self.assertEqual(len(rows), 41, seen)
        self.assertEqual(rows[0][1].strip(), "most", seen)
        self.assertEqual({name.strip() for _, name, _ in rows[1:]}, {"two?lines)", "?[31mred??", "crowd"})
        self.assertNotRegex(seen, r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
        status, seen = self.on_terminal("--count", "1", str(child.pid), lines=24)
        self.assertEqual(status, 0)
        self.assertRegex(seen, rb"most.*\xe2\x80\xa6 38 more")  # of four lines three are threads'

    def on_terminal(self, *args, lines=40, keys=None, quit_at=None):
        """(status, what it wrote) of top on a terminal; `keys`: a file in the place of standard input; `quit_at`: q is
        pressed when that was seen."""
        pid, fd = pty.fork()
        if pid == 0:
            if keys is not None:
                os.dup2(os.open(keys, os.O_RDONLY), 0)
            os.environ.update(TERM="xterm", LINES=str(lines), COLUMNS="80", LC_ALL="C.UTF-8")
            os.execv(COMMAND, [COMMAND, "top", *args])
        seen = b""
        while True:
            try:
                part = os.read(fd, 65536) if select.select([fd], [], [], 20)[0] else b""
            except OSError:
                part = b""
            if not part:
                break
            seen += part
            if quit_at is not None and quit_at in seen:
                os.write(fd, b"q")
                quit_at = None
        os.close(fd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen

    def test_standard_input_at_its_end(self):
        """It waits between two views all the same, and the keys are the terminal's."""
        child = self.start(beside("examples", "service"), "60", "1")
        self.look(child.pid)
        begin = time.monotonic()
        status, _ = self.on_terminal("--delay", "0.3", "--count", "4", str(child.pid), keys="/dev/null")
        self.assertEqual(status, 0)
        self.assertGreater(time.monotonic() - begin, 0.9)
        status, _ = self.on_terminal("--delay", "10", str(child.pid), keys="/dev/null", quit_at=b"cycles")
        self.assertEqual(status, 0)

    def test_on_a_terminal(self):
        child = self.start(beside("examples", "service"), "20", "1")
        self.look(child.pid)
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm", LINES="40", COLUMNS="120", LC_ALL="C.UTF-8")
            os.execv(COMMAND, [COMMAND, "top", "--delay", "0.2", str(child.pid)])
        seen = b""
        for _ in range(50):
            if select.select([fd], [], [], 0.2)[0]:
                seen += os.read(fd, 65536)
            if b"cycles" in seen and b"order" in seen:
                break
        os.write(fd, b"q")
        while True:
            try:
                if not os.read(fd, 65536):
                    break
            except OSError:
                break
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertIn(b"native face", seen)

    def test_what_it_refuses(self):
        self.refuses("a process is missing\nTry `mallocgc top --help`")
        self.refuses("`x` is not the number of a process", "x")
        self.refuses("`0` is not the number", "0")
        self.refuses("--count 0: not a number from 1 on", "--count", "0", "1")
        self.refuses("--delay x: not seconds, from 0.01", "--delay", "x", "1")
        self.refuses("one process at a time", "1", "2")
        self.refuses(f"process {os.getpid()} does not use this library", os.getpid())
        child = subprocess.Popen(["true"])
        child.wait()
        self.refuses(f"process {child.pid}: there is none", child.pid)
        zombie = os.posix_spawn("/bin/true", ["true"], {})
        self.addCleanup(os.waitpid, zombie, 0)
        os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
        self.refuses(f"process {zombie} has ended; its parent has not asked", zombie)

    def test_another_users(self):
        """As root, which may look at everybody, by somebody else at a process of root's."""
        if os.getuid() != 0:
            if os.stat("/proc/1").st_uid == os.getuid():
                self.skipTest("there is nobody else")
            self.refuses(r"process 1: its memory may not be read: .*ptrace\(2\)", 1)
            return
        child = self.start(beside("examples", "service"), "20", "1")
        command = os.path.join(self.folder, "mallocgc")
        shutil.copy(COMMAND, command)  # the build may lie where nobody else may go
        os.chmod(self.folder, 0o755)
        done = subprocess.run([command, "top", str(child.pid)], text=True, capture_output=True, timeout=60, check=False,
                              user=65534, group=65534, extra_groups=[])
        self.assertEqual(done.returncode, 125)
        self.assertRegex(done.stderr, rf"process {child.pid}: its memory may not be read: it is another user's, or ptrace")


if __name__ == "__main__":
    main()
