#!/usr/bin/env python3
"""profile_test.py - MGC_PROFILE and mallocgc run --profile: the file is a profile as pprof reads it, with the places
that allocate and what they keep.

usage: profile_test.py [COMMAND]      default: build/bin/mallocgc; the examples are beside it

The format is read here by a decoder of its own, and by `go tool pprof` where Go is installed."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from command import COMMAND, beside, main



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
                target = {3: self.mappings, 4: self.locations, 5: self.functions}[field]
                assert row[1] not in target, "an id is there twice"
                target[row[1]] = row
            elif field == 6:
                self.strings.append(value.decode())
            else:
                self.number[field] = value

    def total(self, name):
        index = [self.strings[t[1]] for t in self.types].index(name)
        return sum(values[index] for _, values in self.samples)


class Test(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mallocgc-profile-")
        self.addCleanup(shutil.rmtree, self.folder)

    def run_program(self, *argv, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MGC_")}
        return subprocess.run(argv, env=dict(clean, **env), text=True, capture_output=True, timeout=120,
                              cwd=self.folder)

    def service(self, **env):
        done = self.run_program(beside("examples", "service"), "0.3", "2", MGC_PROFILE="out.pb",
                                MGC_STATS="json:stats.json", **env)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(os.path.join(self.folder, "out.pb"), "rb") as file:
            return Profile(file.read())

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
        p = self.service(MGC_DEBUG="samplerate=4KiB")
        with open(os.path.join(self.folder, "stats.json"), encoding="utf-8") as file:
            allocated = int(file.read().split('"/gc/heap/allocs:bytes":')[1].split(",")[0])
        self.assertEqual(p.number[12], 4096)
        self.assertAlmostEqual(p.total("alloc_space") / allocated, 1, delta=0.05)
        self.assertLess(p.total("inuse_space"), p.total("alloc_space"))
        self.assertGreater(p.total("inuse_space"), 0)

    def test_command(self):
        done = self.run_program(COMMAND, "run", "--profile", "", "true")
        self.assertEqual(done.returncode, 125)

    def test_file_that_cannot_be_written(self):
        done = self.run_program(beside("examples", "service"), "0", MGC_PROFILE="no/such.pb")
        self.assertIn("MGC_PROFILE: no/such.pb cannot be written", done.stderr)

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


if __name__ == "__main__":
    main()
