#!/usr/bin/env python3
"""record_test.py - recordings: what they say against what the process itself says, how a recorded program starts and
ends, trace events made of one, and what is refused.

usage: record_test.py [COMMAND]      default: build/bin/mallocgc; the libraries and examples are beside it"""
import glob
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from command import COMMAND, beside, main

SERVICE = beside("examples", "service")


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mallocgc-record-")
        self.addCleanup(shutil.rmtree, self.folder)

    def environment(self, env):
        return dict({k: v for k, v in os.environ.items() if not k.startswith("MGC_")}, **env)

    def call(self, *args, **env):
        return subprocess.run([COMMAND, *map(str, args)], text=True, capture_output=True, timeout=80,
                              cwd=self.folder, env=self.environment(env))

    def path(self, name):
        return os.path.join(self.folder, name)

    def lines(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def record(self, *argv, **env):
        """The lines of a recording of that program, which must end well."""
        done = self.call("run", "--record", "out.jsonl", "--", *argv, **env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.lines("out.jsonl")

    def record_cycles(self, ncycles, seconds, mib, **env):
        """The lines of a recording of the service with at least so many collections, and how long it ran: on a loaded
        machine it needs longer for them."""
        while True:
            lines = self.record(SERVICE, str(seconds), mib, **env)
            if len(of(lines, "cycle")) >= ncycles or seconds > 10:
                return lines, seconds
            seconds *= 4
            if "MGC_STATS" in env:
                os.remove(self.path(env["MGC_STATS"].partition(":")[2]))  # it would be added to

    def refuses(self, words, *args, status=125, **env):
        done = self.call(*args, **env)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertRegex(done.stderr, r"\Amallocgc: .*" + words)


def of(lines, key):
    return [line for line in lines if key in line]


class Contents(Case):
    def test_says_what_the_process_says(self):
        lines, seconds = self.record_cycles(6, 0.5, "2", MGC_STATS="json:stats.json")
        with open(self.path("stats.json"), encoding="utf-8") as file:
            stats = json.load(file)["stats"]
        last = of(lines, "sample")[-1]
        ncycles = stats["/gc/cycles/total:gc-cycles"]
        self.assertIn(last["cycles"], (ncycles, ncycles + 1))  # one may be under way when the program ends
        self.assertEqual(last["allocated"], stats["/gc/heap/allocs:bytes"])
        cycles = of(lines, "cycle")
        self.assertEqual([c["cycle"] for c in cycles], list(range(1, last["cycles"] + 1)))
        self.assertEqual(cycles[ncycles - 1]["live"], stats["/gc/heap/live:bytes"])
        self.assertGreater(len(cycles), 5)
        histograms = {h["histogram"]: sum(n for _, _, n in h["buckets"]) for h in of(lines, "histogram")}
        self.assertEqual(set(histograms), {"pauses", "snapshots", "handshakes"})
        self.assertEqual(histograms["pauses"], sum(c["pause"] > 0 for c in cycles))
        self.assertGreater(histograms["snapshots"], 0)
        self.assertEqual(lines[0]["format"], 1)
        self.assertEqual(lines[0]["face"], "native")
        self.assertEqual(lines[0]["command"], f"{SERVICE} {seconds} 2"[:127])
        end = lines[-1]
        self.assertEqual((end["how"], end["status"], end["lost"]), ("exit", 0, 0))

    def test_times_and_sums(self):
        lines, _ = self.record_cycles(2, 0.5, "2")
        end = lines[-1]["end"]
        for key in ("sample", "census"):
            times = [line[key] for line in of(lines, key)]
            self.assertEqual(times, sorted(times))
            self.assertLessEqual(times[-1], end + 1e9)
        for c in of(lines, "cycle"):
            at = list(c["phases"].values())
            self.assertEqual(at, sorted(at))
            self.assertGreaterEqual(at[0], c["start"])
            self.assertLessEqual(at[-1], end)
        for census in of(lines, "census"):
            pages = sum(k["pages"] for k in census["classes"])
            cells = census["cells"]
            self.assertEqual(sum(cell[1] for cell in cells), pages)
            self.assertLessEqual(len(cells) * census["cell"], census["grown"] + census["cell"])
            for k in census["classes"]:
                self.assertLessEqual(k["taken"], k["slots"])
            self.assertEqual(sum(cell[5] for cell in cells), census["resident"])
            self.assertLessEqual(census["resident"], census["grown"])
            self.assertEqual(sum(cell[6] for cell in cells), census.get("huge", 0))
            for cell in cells:
                self.assertTrue(cell[6] <= cell[5] <= census["cell"])
                self.assertTrue(cell[1] == 0 or cell[0] < len(census["classes"]))
        census = of(lines, "census")[-1]
        self.assertGreater(census["resident"], sum(k["bytes"] for k in census["classes"]) / 2)
        self.assertIn("order", {k["type"] for k in census["classes"]})
        sample = of(lines, "sample")[-1]
        self.assertAlmostEqual(sum(k["pages"] for k in census["classes"]) / sample["pages"], 1, delta=0.05)

    def test_stacks(self):
        lines = self.record(SERVICE, "0.5", "1", MGC_DEBUG="samplerate=16KiB")
        total = of(lines, "sites")[0]
        self.assertEqual(total["rate"], 16 << 10)
        last = of(lines, "sample")[-1]
        self.assertAlmostEqual(total["bytes"] / last["allocated"], 1, delta=0.1)
        sites = of(lines, "site")
        top = max(sites, key=lambda s: s["bytes"])
        self.assertEqual(top["stack"][0], "write_text")
        self.assertIn("take_order", top["stack"])
        self.assertRegex(top["lines"][0], r"^service\.c:\d+$")
        for site in sites:
            self.assertEqual(len(site["lines"]), len(site["stack"]))
        self.assertFalse([s for s in sites if s["stack"][0].startswith("mgc_")])
        self.assertLessEqual(sum(s["bytes"] for s in sites), total["bytes"] + len(sites))

    def test_malloc(self):
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        program = ("import time; a = [bytearray(1000 + i % 5000) for i in range(20000)]; "
                   "time.sleep(0.3)")  # or the peak may pass between two samples
        lines = self.record(sys.executable, "-c", program, PYTHONMALLOC="malloc")
        self.assertEqual(lines[0]["face"], "malloc")
        most = max(s["pages"] for s in of(lines, "sample"))
        self.assertGreater(most, 60e6)
        allocated = [s["allocated"] for s in of(lines, "sample")]
        self.assertGreater(allocated[-1], 60e6)
        self.assertGreaterEqual(allocated[-1], sorted(allocated)[-1] - (4 << 20))
        self.assertEqual(of(lines, "cycle"), [])
        sites = of(lines, "site")
        self.assertGreater(sum(s["bytes"] for s in sites), 40e6)
        self.assertFalse([s for s in sites if s["stack"][0] in ("malloc", "calloc", "realloc")
                          and not s["lines"][0].startswith("rtld-malloc.h")])
        self.assertEqual(lines[-1]["how"], "exit")

    def test_what_is_no_text(self):
        words = ["</b>", "a\"b\\\n", "\u00e9\x01\U0001f600", b"\xff\xed\xa0\x80".decode(errors="surrogateescape")]
        os.symlink(SERVICE, self.path("s"))
        lines = self.record("./s", "0.1", "1", *words)
        self.assertEqual(lines[0]["command"], "./s 0.1 1 </b> a\"b\\  \u00e9 \U0001f600 ????")


class Ends(Case):
    def test_status(self):
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        for code, status in (("raise SystemExit(7)", 7), ("import os; os._exit(3)", 3)):
            done = self.call("run", "--malloc", "--record", "out.jsonl", sys.executable, "-c", code)
            self.assertEqual((done.returncode, done.stderr), (status, ""))
            end = self.lines("out.jsonl")[-1]
            self.assertEqual((end["how"], end["status"]), ("exit" if status == 7 else "vanished", status))
        done = self.call("run", "--malloc", "--record", "out.jsonl", sys.executable, "-c",
                         "import os; os.kill(os.getpid(), 11)")
        self.assertEqual(done.returncode, 128 + 11)
        self.assertEqual(self.lines("out.jsonl")[-1]["how"], "killed")

    def test_signals_reach_the_program(self):
        child = subprocess.Popen([COMMAND, "run", "--record", "out.jsonl", SERVICE, "60", "1"], cwd=self.folder,
                                 env=self.environment({}))
        time.sleep(1)
        child.send_signal(signal.SIGTERM)
        self.assertEqual(child.wait(timeout=30), 128 + signal.SIGTERM)
        lines = self.lines("out.jsonl")
        self.assertGreater(len(of(lines, "sample")), 5)
        self.assertEqual(lines[-1]["how"], "killed")

    def test_what_comes_last_in_a_process(self):
        """A process that begins anew with exec is recorded anew."""
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        program = "import time; a = bytearray(30000000); time.sleep(0.3)"  # or it may pass between two samples
        lines = self.record("sh", "-c", f"exec {sys.executable} -c '{program}'")
        self.assertEqual(len(of(lines, "mallocgc")), 1)
        self.assertTrue(lines[0]["command"].startswith(sys.executable), lines[0]["command"])
        self.assertGreater(max(s["pages"] for s in of(lines, "sample")), 30e6)

    def test_a_descendant(self):
        """The shell's malloc is not what one wants to see."""
        done = self.call("run", "--record", "out.jsonl", "sh", "-c", f"{SERVICE} 0.2 1; exit 5")
        self.assertEqual(done.returncode, 5)
        lines = self.lines("out.jsonl")
        self.assertEqual((lines[0]["face"], lines[0]["command"]), ("native", f"{SERVICE} 0.2 1"))
        self.assertGreater(len(of(lines, "sample")), 3)
        if glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.assertRegex(done.stderr, r"note: other processes.*; process \d+ is in the recording")

    def test_nothing_to_record(self):
        done = self.call("run", "--libgc", "--record", "out.jsonl", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn("true did not use the library", done.stderr)
        self.assertFalse(os.path.exists(self.path("out.jsonl")))

    def test_recorder_is_gone(self):
        """A program whose recorder died goes on."""
        done = subprocess.run([SERVICE, "0.1", "1"], env=self.environment({"MGC_RECORDER": "mallocgc-nobody"}),
                              capture_output=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_recorder_is_stopped(self):
        """A program whose recorder hears nothing, or answers nothing, goes on after two seconds."""
        for room in (False, True):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                name = f"mallocgc-test-{os.getpid()}-{room}"
                listener.bind("\0" + name)
                listener.listen(8 if room else 0)
                waiting = [] if room else [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)]
                for s in waiting:  # the queue is full: the program cannot even connect
                    s.connect("\0" + name)
                begin = time.monotonic()
                done = subprocess.run([SERVICE, "0.1", "1"], env=self.environment({"MGC_RECORDER": name}),
                                      capture_output=True, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, b""))
                self.assertLess(time.monotonic() - begin, 9)  # at the start, and at the end
                for s in waiting:
                    s.close()


class Running(Case):
    def start(self, *argv):
        child = subprocess.Popen(argv, env=self.environment({}), stdout=subprocess.DEVNULL)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        time.sleep(0.7)
        return child

    def test_for_some_time(self):
        child = self.start(SERVICE, "30", "1")
        done = self.call("record", "--seconds", "0.6", "--output", "x.jsonl", child.pid)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = self.lines("x.jsonl")
        self.assertEqual(lines[-1]["how"], "stopped")
        samples = of(lines, "sample")
        self.assertGreater(samples[-1]["sample"] - samples[0]["sample"], 0.4e9)
        self.assertIsNone(child.poll())

    def test_until_it_ends(self):
        child = self.start(SERVICE, "30", "1")
        name = f"mallocgc.{child.pid}.jsonl"
        with subprocess.Popen([COMMAND, "record", str(child.pid)], cwd=self.folder, stderr=subprocess.PIPE, text=True) as recorder:
            for _ in range(600):
                if os.path.exists(self.path(name)) and os.path.getsize(self.path(name)) > 0:
                    break
                time.sleep(0.05)
            child.terminate()
            self.assertEqual((recorder.communicate(timeout=60)[1], recorder.returncode), ("", 0))
        self.assertEqual(self.lines(name)[-1]["how"], "vanished")

    def test_until_interrupted(self):
        child = self.start(SERVICE, "30", "1")
        recorder = subprocess.Popen([COMMAND, "record", "--output", self.path("x.jsonl"), str(child.pid)])
        time.sleep(0.7)
        recorder.send_signal(signal.SIGINT)
        self.assertEqual(recorder.wait(timeout=30), 0)
        self.assertEqual(self.lines("x.jsonl")[-1]["how"], "stopped")

    def test_what_it_refuses(self):
        self.refuses("a process is missing", "record")
        self.refuses("`x` is not the number of a process", "record", "x")
        self.refuses("--seconds 0: not seconds, from 0.01", "record", "--seconds", "0", "1")
        self.refuses("unknown or misused option --frob", "record", "--frob", "1")
        self.refuses(f"process {os.getpid()} does not use this library", "record", os.getpid())
        self.assertEqual(os.listdir(self.folder), [])
        child = subprocess.Popen(["true"])
        child.wait()
        self.refuses(f"process {child.pid}: there is none", "record", child.pid)


class Trace(Case):
    def test_events(self):
        lines, _ = self.record_cycles(2, 0.5, "2")
        done = self.call("trace", "out.jsonl")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        trace = json.loads(done.stdout)
        self.assertEqual(trace["displayTimeUnit"], "ms")
        events = trace["traceEvents"]
        for e in events:
            self.assertIn(e["ph"], "XCM")
            self.assertTrue(isinstance(e["pid"], int) and isinstance(e["tid"], int) and e["name"])
            if e["ph"] == "X":
                self.assertGreaterEqual(e["ts"], 0)
                self.assertGreaterEqual(e["dur"], 0)
            elif e["ph"] == "C":
                self.assertTrue(all(isinstance(v, (int, float)) for v in e["args"].values()))
            else:
                self.assertIn(e["name"], ("process_name", "thread_name"))
        cycles = [e for e in events if e["ph"] == "X" and e["name"].startswith("collection ")]
        recorded = of(lines, "cycle")
        self.assertEqual(len(cycles), len(recorded))
        for e, c in zip(cycles, recorded):
            self.assertAlmostEqual(e["ts"], c["start"] / 1000, delta=0.001)
            self.assertEqual(e["args"]["live"], c["live"])
            self.assertEqual(e["args"]["forced"], c["forced"])
        phases = [e for e in events if e["ph"] == "X" and e["tid"] == 2]
        self.assertTrue({"roots", "mark", "flip"} <= {e["name"] for e in phases})
        for track in (1, 2, 3):  # slices of one track follow each other
            slices = sorted((e for e in events if e["ph"] == "X" and e["tid"] == track), key=lambda e: e["ts"])
            for a, b in zip(slices, slices[1:]):
                self.assertLessEqual(a["ts"] + a["dur"], b["ts"] + 0.01, (a, b))
        self.assertEqual(len([e for e in events if e["ph"] == "C" and e["name"] == "heap"]), len(of(lines, "sample")))

    def test_output(self):
        self.record(SERVICE, "0.1", "1")
        done = self.call("trace", "--output", "t.json", "out.jsonl")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        with open(self.path("t.json"), encoding="utf-8") as file:
            self.assertIn("traceEvents", json.load(file))
        self.refuses("no/t.json: No such file", "trace", "--output", "no/t.json", "out.jsonl")

    def test_what_it_refuses(self):
        self.refuses("a recording is missing", "trace")
        self.refuses("one recording at a time", "trace", "a", "b")
        self.refuses("nowhere: No such file", "trace", "nowhere")
        self.refuses("/dev/null is no file", "run", "--record", "/dev/null", SERVICE, "0.1", "1")
        with open(self.path("x"), "w", encoding="utf-8") as file:
            file.write('{"mallocgc":"recording","format":99}\n')
        self.refuses("x is a recording of format 99, and this command reads 1", "trace", "x")
        with open(self.path("x"), "w", encoding="utf-8") as file:
            file.write("GIF89a")
        self.refuses("x is not a recording", "trace", "x")

    def test_cut_off(self):
        """What stands before the cut is good; lines that are not whole are not read."""
        self.record(SERVICE, "0.2", "1")
        with open(self.path("out.jsonl"), "rb") as file:
            data = file.read()
        lines = data.splitlines(keepends=True)
        with open(self.path("cut.jsonl"), "wb") as file:
            file.write(b"".join(lines[:len(lines) // 2]) + lines[len(lines) // 2][:-9])
        done = self.call("trace", "cut.jsonl")
        self.assertEqual(done.returncode, 0, done.stderr)
        json.loads(done.stdout)

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)

    def test_members_that_are_missing(self):
        """A line that lacks a member, or has another type there, is left out and counted: the rest is good."""
        self.record_cycles(1, 0.2, "1")
        with open(self.path("out.jsonl"), "rb") as file:
            lines = file.read().splitlines(keepends=True)
        at = next(i for i, line in enumerate(lines) if line.startswith(b'{"cycle"'))
        cycle = json.loads(lines[at])
        whole = len(json.loads(self.call("trace", "out.jsonl").stdout)["traceEvents"])
        bad = [b'{"cycle":1}\n', b'{"sample":"x"}\n', b'{"sample":5,"rss":1e999}\n', b"nonsense\n", b"{}}\n", b"\n"]
        bad += [json.dumps({k: v for k, v in cycle.items() if k != key}).encode() + b"\n" for key in cycle]
        bad += [json.dumps(dict(cycle, **{key: [] if key != "phases" else 7})).encode() + b"\n" for key in cycle]
        bad.remove(json.dumps({k: v for k, v in cycle.items() if k != "cycle"}).encode() + b"\n")  # of no kind: skipped
        for line in bad:
            self.write("bad.jsonl", b"".join(lines[:at] + [line] + lines[at:]))
            done = self.call("trace", "bad.jsonl")
            self.assertEqual((done.returncode, done.stderr),
                             (125, f"mallocgc: bad.jsonl: 1 of {len(lines) + 1} lines are damaged and left out, the first "
                                   f"is line {at + 1}\n"), line)
            self.assertEqual(len(json.loads(done.stdout)["traceEvents"]), whole)
        self.write("bad.jsonl", b"".join(lines[:at] + [b'{"unknown":1}\n', json.dumps(cycle).encode() + b"\n"]
                                         + lines[at + 1:]))
        done = self.call("trace", "bad.jsonl")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(len(json.loads(done.stdout)["traceEvents"]), whole)

    def test_damage(self):
        """Whatever bytes change: what is made is JSON, or there is none and a message."""
        self.record(SERVICE, "0.2", "1")
        with open(self.path("out.jsonl"), "rb") as file:
            data = b"".join(line for line in file if len(line) < 2000)
        rng = random.Random(7)
        left_out = 0
        for _ in range(300):
            changed = bytearray(data)
            for _ in range(rng.choice((1, 5, 60))):
                i = rng.randrange(60, len(changed))
                changed[i] = rng.choice((rng.randrange(256), rng.choice(b'{}[]",:\\-eE.019tfn\n\0')))
            self.write("bad.jsonl", changed)
            done = subprocess.run([COMMAND, "trace", "bad.jsonl"], capture_output=True, timeout=60, cwd=self.folder,
                                  check=False)
            self.assertIn(done.returncode, (0, 125), done.stderr)
            self.assertEqual(done.returncode == 125, b"lines are damaged and left out" in done.stderr, done.stderr)
            events = json.loads(done.stdout, parse_constant=self.fail)["traceEvents"]
            self.assertTrue(events or done.returncode == 125)
            left_out += done.returncode == 125
        self.assertGreater(left_out, 150)

    def test_the_recording_is_not_overwritten(self):
        self.record(SERVICE, "0.1", "1")
        before = self.lines("out.jsonl")
        os.link(self.path("out.jsonl"), self.path("hard"))
        os.symlink("out.jsonl", self.path("soft"))
        for output in ("out.jsonl", "./out.jsonl", "hard", "soft"):
            for command in ("trace", "report"):
                if command == "report" and "without Chart.js" in self.call("report", "hard").stderr:
                    continue
                self.refuses(f"{output} is the recording itself", command, "--output", output, "out.jsonl")
                self.assertEqual(self.lines("out.jsonl"), before)


if __name__ == "__main__":
    main()
