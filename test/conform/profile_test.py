#!/usr/bin/env python3
"""profile_test.py - MGC_PROFILE, mallocgc run --profile, mallocgc profile PID and FILE: the file is a profile as pprof reads it,
with the places that allocate and what they keep, and with names of functions and lines once the command gave them.

usage: profile_test.py [COMMAND]      default: build/bin/mallocgc; the examples are beside it

The format is read here by a decoder of its own, and by `go tool pprof` where Go is installed."""
import glob
import json
import os
import pathlib
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

from command import COMMAND, TOP, beside, main

SERVICE = beside("examples", "service")


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(field, value) of a protobuf message: numbers, or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            assert at + value <= len(data), "a field is longer than its message"
            value, at = data[at:at + value], at + value
        else:
            assert key & 7 == 0, f"wire type {key & 7}"
        yield key >> 3, value


def packed(data):
    at, values = 0, []
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


class Profile:
    def __init__(self, data):
        self.strings, self.types, self.samples, self.mappings, self.locations = [], [], [], {}, {}
        self.functions, self.number = {}, {}
        for field, value in fields(data):
            if field == 1:
                self.types.append(dict(fields(value)))
            elif field == 2:
                row = dict(fields(value))
                self.samples.append((packed(row.get(1, b"")), packed(row[2])))
            elif field in (3, 4, 5):
                row = dict(fields(value))
                if field == 4:
                    row["lines"] = [dict(fields(v)) for f, v in fields(value) if f == 4]
                target = {3: self.mappings, 4: self.locations, 5: self.functions}[field]
                assert row[1] not in target, "an id is there twice"
                target[row[1]] = row
            elif field == 6:
                self.strings.append(value.decode())
            else:
                self.number[field] = value

    def frames(self):
        """(function, file, line) of each function at each location."""
        return [[(self.strings[self.functions[line[1]][2]], self.strings[self.functions[line[1]].get(4, 0)], line.get(2, 0))
                 for line in location["lines"]] for location in self.locations.values()]

    def total(self, name):
        index = [self.strings[t[1]] for t in self.types].index(name)
        return sum(values[index] for _, values in self.samples)


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mallocgc-profile-")
        self.addCleanup(shutil.rmtree, self.folder)

    def run_program(self, *argv, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MGC_")}
        return subprocess.run(argv, env=dict(clean, **env), text=True, capture_output=True, timeout=120,
                              cwd=self.folder)


class Test(Folder):
    def service(self, seconds=0.3, **env):
        pathlib.Path(self.folder, "stats.json").unlink(missing_ok=True)  # it would be added to
        done = self.run_program(SERVICE, str(seconds), "2", MGC_PROFILE="out.pb", MGC_STATS="json:stats.json", **env)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(os.path.join(self.folder, "out.pb"), "rb") as file:
            return Profile(file.read())

    def statistic(self, name):
        with open(os.path.join(self.folder, "stats.json"), encoding="utf-8") as file:
            return int(file.read().split(f'"{name}":')[1].split(",")[0])

    def test_it_holds_together(self):
        p = self.service()
        self.assertEqual(p.strings[0], "")
        self.assertEqual([(p.strings[t[1]], p.strings[t[2]]) for t in p.types],
                         [("alloc_objects", "count"), ("alloc_space", "bytes"),
                          ("inuse_objects", "count"), ("inuse_space", "bytes")])
        self.assertEqual(p.number[12], 512 << 10)
        self.assertEqual(p.strings[p.number[14]], "inuse_space")
        self.assertGreater(p.number[10], 250_000_000)
        for stack, values in p.samples:
            self.assertEqual(len(values), 4)
            self.assertGreaterEqual(len(stack), 3)
            for location in stack:
                self.assertIn(location, p.locations)
        for location in p.locations.values():
            mapping = p.mappings[location[2]]
            self.assertTrue(mapping[2] <= location[3] < mapping[3])
        files = {os.path.basename(p.strings[m[5]]) for m in p.mappings.values()}
        self.assertIn("service", files)
        self.assertTrue(any(name.startswith("libmallocgc.so") for name in files), files)

    def test_totals(self):
        for seconds in (0.3, 3, 20):  # on a loaded machine the first collections find nothing dead, and come late
            p = self.service(seconds, MGC_DEBUG="samplerate=4KiB")
            if self.statistic("/gc/cycles/total:gc-cycles") > 4:
                break
        self.assertEqual(p.number[12], 4096)
        self.assertAlmostEqual(p.total("alloc_space") / self.statistic("/gc/heap/allocs:bytes"), 1, delta=0.05)
        self.assertLess(p.total("inuse_space"), p.total("alloc_space"))
        self.assertGreater(p.total("inuse_space"), 0)

    def test_lists_and_single_objects(self):
        """Who takes slots by the list and who takes one at a time share a class's runs: each is sampled by his bytes."""
        code = """
            #include <stddef.h>
            void *GC_malloc(size_t), *GC_malloc_many(size_t);
            void GC_init(void);
            static void *list;
            __attribute__((noinline)) void take_many(void) { list = GC_malloc_many(32); __asm__ volatile(""); }
            __attribute__((noinline)) void take_one(void) { GC_malloc(32); __asm__ volatile(""); }
            int main(void)
            {
                GC_init();
                for (long i = 0; i < 4000000; i++) {
                    if (list == NULL)
                        take_many();
                    list = *(void **)list;
                    if (i % 10 == 0)
                        take_one();
                }
            }"""
        folder = beside("libgc")
        program = os.path.join(self.folder, "lists")
        subprocess.run([os.environ.get("CC", "cc"), "-O1", "-x", "c", "-", "-x", "none", "-o", program,
                        os.path.join(folder, "libgc.so.1"), "-Wl,-rpath," + folder], input=code, text=True, check=True)
        done = self.run_program(COMMAND, "run", "--record", "out.jsonl", program,
                                MGC_DEBUG="samplerate=16KiB,endbyte=0")  # else the first objects are longer than they say
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        by_place = {}
        with open(os.path.join(self.folder, "out.jsonl"), encoding="utf-8") as file:
            for line in map(json.loads, file):
                if "site" in line:
                    by_place[line["stack"][0]] = by_place.get(line["stack"][0], 0) + line["bytes"]
        self.assertAlmostEqual(by_place["take_many"] / (32 * 4.0e6), 1, delta=0.1)
        self.assertAlmostEqual(by_place["take_one"] / (32 * 0.4e6), 1, delta=0.25)

    def test_command(self):
        done = self.run_program(COMMAND, "run", "--profile", "", "true")
        self.assertEqual(done.returncode, 125)

    def test_file_that_cannot_be_written(self):
        done = self.run_program(beside("examples", "service"), "0", MGC_PROFILE="no/such.pb")
        self.assertIn("/no/such.pb cannot be written", done.stderr)

    def test_go_reads_it(self):
        if shutil.which("go") is None:
            return
        self.service(MGC_DEBUG="samplerate=16KiB")
        done = self.run_program("go", "tool", "pprof", "-top", "-sample_index=alloc_space",
                                beside("examples", "service"), "out.pb", PPROF_TMPDIR=self.folder)
        if "no such tool" in done.stderr:
            return
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = {words[-1]: words for words in map(str.split, done.stdout.splitlines()) if words}
        self.assertIn("write_text", rows, done.stdout)
        self.assertIn("take_order", rows, done.stdout)
        self.assertFalse([name for name in rows if name.startswith(("mgc_", "gc_"))], done.stdout)
        self.assertIn("%", rows["write_text"][1])


CPP = """
#include <cstring>
#include <string>
#include <vector>
namespace shop {
struct order { std::string name; };
static inline __attribute__((always_inline)) order *make(int i)
{
	auto *o = new order;
	o->name = std::string(100 + i % 10, 'x');
	return o;
}
template <class T> __attribute__((noinline)) void fill(std::vector<T *> &all)
{
	for (int i = 0; i < 20000; i++)
		all.push_back(make(i));
}
}
int main()
{
	std::vector<shop::order *> all;
	shop::fill(all);
	return all.size() != 20000;
}
"""


class Named(Folder):
    """mallocgc profile FILE: a profile with addresses gets names. Without libdw there are none, and it says file+0x…."""

    def setUp(self):
        super().setUp()
        self.out = os.path.join(self.folder, "out.pb")

    def name(self, *options):
        done = self.run_program(COMMAND, "profile", *options, "out.pb")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def read(self, name="out.pb"):
        with open(os.path.join(self.folder, name), "rb") as file:
            return Profile(file.read())

    def profile_cpp(self):
        program = os.path.join(self.folder, "shop")
        subprocess.run([os.environ.get("CXX", "c++"), "-O2", "-g", "-x", "c++", "-", "-o", program], input=CPP, text=True,
                       check=True)
        done = self.run_program(COMMAND, "run", "--malloc", "--profile", "out.pb", program, MGC_DEBUG="samplerate=4KiB")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return program

    def test_names_and_lines(self):
        done = self.run_program(SERVICE, "0.3", "1", MGC_PROFILE="out.pb", MGC_DEBUG="samplerate=16KiB")
        self.assertEqual(done.returncode, 0)
        before = self.read()
        self.assertEqual(before.functions, {})
        text = self.name("--output", "named.pb")
        self.assertEqual(self.read().functions, {}, "it was to be another file")
        after = self.read("named.pb")
        self.assertEqual(sorted(map(repr, after.samples)), sorted(map(repr, before.samples)))
        self.assertEqual(after.number, before.number)
        self.assertEqual({k: v[3] for k, v in after.locations.items()}, {k: v[3] for k, v in before.locations.items()})
        self.assertRegex(text.splitlines()[1], r"^ +[\d.]+ [KMG]iB +[\d.]+ [KMG]?i?B  write_text")
        seen = {frame for location in after.frames() for frame in location}
        with open(os.path.join(TOP, "examples", "service.c"), encoding="utf-8") as file:
            lines = file.read().split("\n")
        at = [(file, line) for function, file, line in seen if function == "write_text" and file.endswith("service.c")]
        self.assertTrue(at)
        self.assertTrue(any("mgc_" in lines[line - 1] for _, line in at), at)
        for m in after.mappings.values():
            self.assertEqual([m.get(has) for has in (7, 8, 9, 10)], [1, 1, 1, 1])

    def test_in_its_place_and_again(self):
        self.run_program(SERVICE, "0.2", "1", MGC_PROFILE="out.pb", MGC_DEBUG="samplerate=16KiB")
        self.name()
        with open(self.out, "rb") as file:
            once = file.read()
        self.name()
        with open(self.out, "rb") as file:
            self.assertEqual(sorted(once), sorted(file.read()))
        self.assertEqual(os.listdir(self.folder), ["out.pb"])

    def test_cpp_is_demangled_and_inlined_functions_are_seen(self):
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        self.profile_cpp()
        text = self.name()
        p = self.read()
        frames = p.frames()
        # one address, two functions: the inlined one in the line that called it
        both = [f for f in frames if len(f) >= 2 and f[0][0].split("(")[0] == "shop::make" or f[0][0] == "make"]
        self.assertTrue(both, frames)
        names = {f[-1][0] for f in frames}
        self.assertTrue(any(n.startswith("void shop::fill<shop::order>(std::vector") for n in names), names)
        self.assertFalse([n for n in names if n.startswith("_Z")])
        linked = {p.strings[f[3]] for f in p.functions.values()}
        self.assertTrue(any(n.startswith("_ZN4shop4fillI") for n in linked), linked)
        self.assertIn("shop::fill<shop::order>", text)
        if shutil.which("go"):
            done = self.run_program("go", "tool", "pprof", "-list", "fill", "-sample_index=alloc_space", "out.pb",
                                    PPROF_TMPDIR=self.folder)
            if "no such tool" not in done.stderr:
                self.assertIn("ROUTINE", done.stdout, done.stderr)

    def test_what_it_refuses(self):
        def varints(*values):
            return bytes(values)
        other = varints(0x32, 0, 0x32, 3) + b"cpu" + varints(0x0a, 4, 8, 1, 16, 1)
        for words, content in (("is no profile", b"hello"), ("is no profile", b""), ("is compressed", b"\x1f\x8b\x08"),
                               ("is no profile", b"\x32\xff\xff\xff\xff\x0f"), ("is a profile of something else", other)):
            with open(self.out, "wb") as file:
                file.write(content)
            done = self.run_program(COMMAND, "profile", "out.pb")
            self.assertEqual((done.returncode, done.stdout), (125, ""), content)
            self.assertRegex(done.stderr, r"\Amallocgc: out.pb " + words)
            with open(self.out, "rb") as file:
                self.assertEqual(file.read(), content)
        done = self.run_program(COMMAND, "profile", ".")
        self.assertIn(". is no file", done.stderr)

    def test_hostile_profiles(self):
        """Bytes of a profile are changed, or it is cut: it is named, or refused, with a message."""
        self.run_program(SERVICE, "0.2", "1", MGC_PROFILE="out.pb", MGC_DEBUG="samplerate=64KiB")
        with open(self.out, "rb") as file:
            good = file.read()
        dice = random.Random(7)
        refused = 0
        for _ in range(60):
            bad = bytearray(good[:dice.choice((len(good), dice.randrange(len(good))))])
            for _ in range(dice.choice((1, 4, 30))):
                if bad:
                    bad[dice.randrange(len(bad))] = dice.choice((0, 1, 0x7f, 0x80, 0xff, dice.randrange(256)))
            with open(self.out, "wb") as file:
                file.write(bad)
            done = self.run_program(COMMAND, "profile", "--output", "/dev/null.pb" if dice.random() < 0.1 else "x.pb", "out.pb")
            self.assertIn(done.returncode, (0, 125), done.stderr)
            refused += done.returncode != 0
        self.assertTrue(0 < refused < 60, refused)

    def test_hostile_programs(self):
        """The file that the addresses are of is changed: names are missing or wrong, and that is all."""
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        program = self.profile_cpp()
        with open(program, "rb") as file:
            good = file.read()
        dice = random.Random(3)
        for turn in range(25):
            bad = bytearray(good[:dice.choice((len(good), len(good), dice.randrange(len(good))))])
            where = dice.choice(((0, 64), (64, 800), (max(0, len(bad) - 2600), len(bad)), (0, len(bad))))
            for _ in range(dice.choice((1, 5, 50))):
                at = dice.randrange(where[0], max(where[0] + 1, where[1]))
                if at < len(bad):
                    bad[at] = dice.choice((0, 1, 0x7f, 0x80, 0xff))
            with open(program, "wb") as file:
                file.write(bad)
            done = self.run_program(COMMAND, "profile", "--output", "x.pb", "out.pb")
            self.assertEqual(done.returncode, 0, (turn, done.stderr))
            self.assertIn("where", done.stdout)


class Running(Folder):
    """mallocgc profile PID."""

    def start(self, *argv, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MGC_")}
        child = subprocess.Popen(argv, env=dict(clean, **env), stdout=subprocess.DEVNULL, cwd=self.folder)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        time.sleep(0.7)
        return child

    def profile(self, pid, *options):
        done = self.run_program(COMMAND, "profile", *options, "--output", "p.pb", str(pid))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(os.path.join(self.folder, "p.pb"), "rb") as file:
            return Profile(file.read()), done.stdout

    def test_what_is_no_file_stays(self):
        """The profile is written into a pipe, not in its place; through a symbolic link, not in its place."""
        child = self.start(beside("examples", "service"), "20", "1")
        pipe, link, end = (os.path.join(self.folder, name) for name in ("pipe", "link.pb", "end.pb"))
        os.mkfifo(pipe)
        with open(end, "w", encoding="utf-8"):
            os.symlink("end.pb", link)
        with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
            done = self.run_program(COMMAND, "profile", "--seconds", "1", "--rate", "16KiB", "--output", pipe, str(child.pid))
            if not stat.S_ISFIFO(os.stat(pipe).st_mode):
                reader.kill()
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertGreater(len(Profile(reader.communicate(timeout=60)[0]).samples), 0)
        self.assertTrue(stat.S_ISFIFO(os.stat(pipe).st_mode))
        done = self.run_program(COMMAND, "profile", "--seconds", "0.2", "--output", link, str(child.pid))
        self.assertEqual((done.returncode, os.readlink(link)), (0, "end.pb"))
        self.assertGreater(os.path.getsize(end), 100)

    def allocated(self, pid):
        done = self.run_program(COMMAND, "record", "--seconds", "0.05", "--output", "x.jsonl", str(pid))
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(self.folder, "x.jsonl"), encoding="utf-8") as file:
            return [line for line in map(json.loads, file) if "sample" in line][-1]["allocated"]

    def names(self, p):
        return {p.strings[f[2]] for f in p.functions.values()}

    def test_a_collected_heap(self):
        child = self.start(SERVICE, "30", "2")
        p, text = self.profile(child.pid, "--seconds", "1", "--rate", "64KiB")
        self.assertTrue({"write_text", "take_order", "serve"} <= self.names(p), self.names(p))
        self.assertEqual(p.number[12], 64 << 10)
        self.assertAlmostEqual(p.number[10] / 1e9, 1, delta=0.6)
        rows = text.splitlines()
        self.assertRegex(rows[0], r"^ +allocated +lives +where$")
        self.assertRegex(rows[1], r"^ +[\d.]+ [MG]iB +[\d.]+ [KMG]?i?B  write_text( \(service\.c:\d+\))? < take_order.* < serve")
        for stack, _ in p.samples:
            self.assertIn(p.mappings[p.locations[stack[0]][2]][1], p.mappings)

        # what came before does not count, nor what comes after
        before = self.allocated(child.pid)
        p, _ = self.profile(child.pid, "--seconds", "0.5", "--rate", "16KiB")
        meanwhile = self.allocated(child.pid) - before
        self.assertGreater(p.total("alloc_space"), 1e6)
        self.assertLess(p.total("alloc_space"), 1.05 * meanwhile)
        done = self.run_program(COMMAND, "record", "--seconds", "0.05", "--output", "x.jsonl", str(child.pid))
        self.assertEqual(done.returncode, 0)
        with open(os.path.join(self.folder, "x.jsonl"), encoding="utf-8") as file:
            self.assertIn('"rate":0', file.read(), "the sampler is still on")

    def test_a_sampler_that_was_on(self):
        child = self.start(SERVICE, "30", "1", MGC_DEBUG="samplerate=32KiB")
        p, _ = self.profile(child.pid, "--seconds", "0.5", "--rate", "1MiB")
        self.assertEqual(p.number[12], 32 << 10)
        p, _ = self.profile(child.pid, "--seconds", "0.2")
        self.assertEqual(p.number[12], 32 << 10, "it was switched off")

    def test_malloc(self):
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        loop = "import time\nwhile True:\n a = [bytearray(3000 + i) for i in range(2000)]\n"
        child = self.start(COMMAND, "run", "--malloc", sys.executable, "-c", loop, PYTHONMALLOC="malloc")
        p, text = self.profile(child.pid, "--seconds", "1")
        self.assertGreater(p.total("alloc_space"), 10e6)
        self.assertRegex(text, r"\d [MG]iB ")

    def test_it_ends_early(self):
        child = self.start(SERVICE, "30", "1")
        profiler = subprocess.Popen([COMMAND, "profile", "--seconds", "60", "--output", "p.pb", str(child.pid)],
                                    cwd=self.folder, stdout=subprocess.PIPE, text=True)
        time.sleep(0.7)
        profiler.send_signal(signal.SIGINT)
        self.assertIn("write_text", profiler.communicate(timeout=30)[0])
        self.assertEqual(profiler.returncode, 0)

    def test_the_terminal_is_closed(self):
        """The process is left as it was found."""
        child = self.start(SERVICE, "30", "1")
        profiler = subprocess.Popen([COMMAND, "profile", "--seconds", "60", "--rate", "16KiB", "--output", "p.pb", str(child.pid)],
                                    cwd=self.folder, stdout=subprocess.PIPE, text=True)
        time.sleep(0.7)
        profiler.send_signal(signal.SIGHUP)
        profiler.communicate(timeout=30)
        p, _ = self.profile(child.pid, "--seconds", "0.2", "--rate", "1MiB")
        self.assertEqual(p.number[12], 1 << 20, "the sampler is still on")

    def test_what_it_refuses(self):
        child = self.start(SERVICE, "3", "1")
        for words, args in (("a process or file is missing", []), ("x: No such file", ["x"]), ("`0` is not the number", ["0"]),
                            ("--rate x: not a rate: a size", ["--rate", "x", "1"]), ("--rate 0: not a rate", ["--rate", "0", "1"]),
                            ("--seconds -1: not seconds", ["--seconds", "-1", "1"]),
                            (f"process {os.getpid()} does not use this library", [str(os.getpid())]),
                            ("process \\d+ has ended[:;] ", [str(child.pid)])):  # and its samples; or before, if all is slow
            done = self.run_program(COMMAND, "profile", *args)
            self.assertEqual((done.returncode, done.stdout), (125, ""), args)
            self.assertRegex(done.stderr, r"\Amallocgc: " + words)
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    main()
