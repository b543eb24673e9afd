#!/usr/bin/env python3
"""sampling_test.py - MGC_DEBUG=leaks and MGC_PROFILE in the malloc face: a program that leaves known blocks behind
is told exactly these, by the functions that allocated them; a sampled profile comes near the truth.

usage: sampling_test.py COMMAND      (`COMMAND run --malloc` starts the program)"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from command import COMMAND, beside, main  # noqa: E402
from profile_test import Profile  # noqa: E402

# What each function leaves behind: blocks, bytes.
LEFT = {"by_malloc": (500, 50000), "by_calloc": (7, 7 * 30 * 40), "by_realloc": (1, 90000), "by_zero": (3, 3),
        "grow_large": (1, 6000000), "move_large": (1, 5000000), "by_aligned": (2, 2 * 4096), "on_thread": (11, 11 * 2000),
        "for_another": (50, 50 * 64), "medium": (4, 4 * 200000)}
SOURCE = r"""
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
#define LEAVES __attribute__((noinline, noclone)) static void
static void *volatile keep;
static void *given[100];
LEAVES by_malloc(void) { for (volatile int i = 0; i < 500; i++) { keep = malloc(100); free(malloc(100)); } }
LEAVES by_calloc(void) { for (volatile int i = 0; i < 7; i++) keep = calloc(30, 40); }
LEAVES by_realloc(void) { void *p = malloc(10); for (volatile int n = 20; n <= 90000; n += 10) p = realloc(p, n); keep = p; }
LEAVES by_zero(void) { for (volatile int i = 0; i < 3; i++) keep = malloc(0); }
LEAVES grow_large(void) { void *p = malloc(2000000); p = realloc(p, 4000000); keep = realloc(p, 6000000); }
LEAVES move_large(void) { void *p = malloc(2000000), *behind = malloc(2000000); keep = realloc(p, 5000000); free(behind); }
LEAVES by_aligned(void) { for (volatile int i = 0; i < 2; i++) keep = aligned_alloc(4096, 4096); free(aligned_alloc(64, 64)); }
LEAVES medium(void) { for (volatile int i = 0; i < 4; i++) { keep = malloc(200000); free(malloc(200000)); } }
LEAVES for_another(void) { for (volatile int i = 0; i < 100; i++) given[i] = malloc(64); }
LEAVES on_thread(void) { for (volatile int i = 0; i < 11; i++) keep = malloc(2000); }
static void *run(void *arg) { on_thread(); for (int i = 0; i < 50; i++) free(given[i]); return arg; }
static void churn(void) {
  static void *slot[1000];
  for (long i = 0; i < 400000; i++) { free(slot[i * 7919 % 1000]); slot[i * 7919 % 1000] = malloc(1 + i * 31 % 1000); }
  for (int i = 0; i < 1000; i++) free(slot[i]);
}
__attribute__((noinline, noclone)) static void stay(void) { for (volatile int i = 0; i < 40000; i++) keep = malloc(500); }
int main(int argc, char **argv) {
  pthread_t t;
  if (argc > 1 && strcmp(argv[1], "sampled") == 0) { stay(); churn(); return 0; }
  if (argc > 1 && strcmp(argv[1], "forks") == 0) {
    by_malloc();
    if (fork() == 0) { by_calloc(); exit(0); }
    wait(NULL);
    return 0;
  }
  by_malloc(); by_calloc(); by_realloc(); by_zero(); grow_large(); move_large(); by_aligned(); medium(); for_another(); churn();
  pthread_create(&t, NULL, run, NULL);
  pthread_join(t, NULL);
  return 0;
}
"""


class Test(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="mallocgc-sampling-")
        source = os.path.join(cls.folder, "leave.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(SOURCE)
        cls.program = os.path.join(cls.folder, "leave")
        subprocess.run([os.environ.get("CC", "cc"), "-O1", "-fno-builtin", "-pthread", "-o", cls.program, source],
                       check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def run_program(self, *argv, options=(), **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MGC_")}
        done = subprocess.run([COMMAND, "run", "--malloc", *options, "--", *argv], env={**clean, **env},
                              capture_output=True, text=True, timeout=120, cwd=self.folder, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def leaks(self, text):
        """{function: [blocks, bytes]} by the innermost frame, and the totals."""
        found, total, place = {}, None, None
        for line in text.splitlines():
            begin = re.fullmatch(r"mallocgc: leak: (\d+) blocks, (\d+) B, allocated by", line)
            end = re.fullmatch(r"mallocgc: leaks: (\d+) blocks, (\d+) B, from (\d+) places(.*)", line)
            frame = re.fullmatch(r"mallocgc:     ([^+]+)\+0x[0-9a-f]+(?: \((.+)\+\d+\))?", line)
            self.assertTrue(begin or end or frame, line)
            if begin:
                place = [int(n) for n in begin.groups()]
            elif end:
                total = [int(n) for n in end.groups()[:3]] + [end[4]]
            elif place:
                self.assertNotIn("libmallocgc", frame[1])
                row = found.setdefault(frame[2] if frame[1] == "leave" else frame[1], [0, 0])
                row[0] += place[0]
                row[1] += place[1]
                place = None
        return found, total

    def test_every_leak_exactly(self):
        found, total = self.leaks(self.run_program(self.program, MGC_DEBUG="leaks=2"))
        for name, (blocks, nbytes) in LEFT.items():
            self.assertEqual(found.pop(name, None), [blocks, nbytes], name)
        self.assertFalse([name for name in found if ".so" not in name], found)  # the C library's own
        ours = [sum(column) for column in zip(*LEFT.values())]
        rest = [sum(column) for column in zip(*found.values())] or [0, 0]
        self.assertEqual(total[:2], [ours[0] + rest[0], ours[1] + rest[1]])
        self.assertEqual(total[3], "")

    def test_the_largest_first(self):
        text = self.run_program(self.program, MGC_DEBUG="leaks=1")
        sizes = [int(n) for n in re.findall(r"leak: \d+ blocks, (\d+) B", text)]
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertEqual(sizes[0], 6000000)

    def test_both_sides_of_a_fork(self):
        text = self.run_program(self.program, "forks", MGC_DEBUG="leaks=2")
        reports = re.findall(r".*?mallocgc: leaks: .*?\n", text, re.S)
        self.assertEqual(len(reports), 2)
        child, parent = (self.leaks(report)[0] for report in reports)
        self.assertEqual((child["by_malloc"], child["by_calloc"]), ([500, 50000], [7, 8400]))
        self.assertEqual(parent["by_malloc"], [500, 50000])
        self.assertNotIn("by_calloc", parent)

    def test_estimates_say_so(self):
        found, total = self.leaks(self.run_program(self.program, "sampled", MGC_DEBUG="leaks=2,samplerate=16KiB"))
        self.assertEqual(total[3], " (estimates: one sample in 16384 B)")
        self.assertAlmostEqual(found["stay"][1] / 20e6, 1, delta=0.15)  # 1221 samples: five deviations

    def test_profile(self):
        self.run_program(self.program, "sampled", options=("--profile", "out.pb"), MGC_DEBUG="samplerate=16KiB")
        with open(os.path.join(self.folder, "out.pb"), "rb") as file:
            p = Profile(file.read())
        churned = sum(1 + i * 31 % 1000 for i in range(400000))
        self.assertEqual(p.number[12], 16384)
        self.assertAlmostEqual(p.total("alloc_space") / (20e6 + churned), 1, delta=0.05)
        self.assertAlmostEqual(p.total("inuse_space") / 20e6, 1, delta=0.15)
        self.assertAlmostEqual(p.total("alloc_objects") / 440000, 1, delta=0.15)

    def test_without_proc(self):
        """The file has addresses then, and it is not the file that is complained about."""
        hide = ["unshare", "--mount", "sh", "-c", 'umount -l /proc && exec "$0" "$@"']
        if subprocess.run([*hide, "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("may not take /proc away here")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MGC_", "LD_"))}
        env.update(MGC_PROFILE="out.pb", MGC_DEBUG="samplerate=16KiB", LD_PRELOAD=beside("lib", "libmallocgc-malloc.so.0"))
        done = subprocess.run([*hide, self.program, "sampled"], cwd=self.folder, env=env, text=True, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("/out.pb has addresses and no files: /proc/self/maps cannot be read", done.stderr)
        self.assertNotIn("written", done.stderr)
        listed = subprocess.run([COMMAND, "profile", "out.pb"], cwd=self.folder, text=True, capture_output=True, timeout=60)
        self.assertRegex(listed.stdout, r"0x[0-9a-f]{6,}")

    def test_nothing_unasked(self):
        self.assertEqual(self.run_program(self.program), "")


if not os.path.exists(beside("lib", "libmallocgc-malloc.so.0")):
    print("skipped: no library in this build")
    sys.exit(77)
if __name__ == "__main__":
    main()
