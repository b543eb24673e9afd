#!/usr/bin/env python3
"""probes_test.py - the static probes (USDT): each library has those that docs/observing.md tells, their notes say where
they and their arguments are, and who stops at one reads what happened.

usage: probes_test.py [COMMAND]      default: build/bin/mallocgc; the libraries and examples are beside it"""
import glob
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from command import TOP, beside, main

LIBRARIES = {"native": ("lib", "libmallocgc.so"), "libgc": ("libgc", "libgc.so.1"), "malloc": ("lib", "libmallocgc-malloc.so.0")}
PROVIDER = re.compile(r"Provider: (\S+)\s+Name: (\S+)\s+Location: (0x[0-9a-f]+), Base: (0x[0-9a-f]+), Semaphore: (0x0+)\s+"
                      r"Arguments: (\S+) (\S+)$", re.M)
# Stops at each probe of two kinds and prints what it was given.
GDB = """set width 0
set breakpoint pending on
set print thread-events off
handle all nostop noprint pass
break -probe-stap mallocgc:gc__phase
commands
silent
printf "phase %lu of %lu\\n", $_probe_arg0, $_probe_arg1
continue
end
break -probe-stap mallocgc:alloc__slow
commands
silent
printf "slow %lu\\n", $_probe_arg0
continue
end
run
"""
PROGRAM = """#include <mallocgc.h>
int main(void)
{
	for (int i = 0; i < 1000; i++)
		mgc_alloc(96, NULL, MGC_NOSCAN);
	mgc_collect();
	mgc_collect();
}
"""


def page():
    with open(os.path.join(TOP, "docs", "observing.md"), encoding="utf-8") as file:
        return file.read()


def documented(face):
    """Names of the page's table, of that library."""
    rows = re.findall(r"^\| `(\w+__\w+)` \|.*\| ([a-z, ]+)(?::[^|]*)? \|$", page(), re.M)
    return {name for name, where in rows if where == "all" or face in where.split(", ")}


class Probes(unittest.TestCase):
    def test_notes(self):
        for face, names in LIBRARIES.items():
            path = beside(*names)
            if not os.path.exists(path):
                continue  # a sanitizer's build has no malloc face
            text = subprocess.run(["readelf", "-nW", path], capture_output=True, text=True, check=True).stdout
            text = re.sub(r"\n\s+", "\n", text)
            probes = PROVIDER.findall(text)
            self.assertEqual({name for _, name, *_ in probes}, documented(face), face)
            self.assertEqual(text.count("stapsdt"), len(probes) + text.count(".note.stapsdt"))
            code = self.code(path)
            for provider, name, at, base, _, *arguments in probes:
                self.assertEqual(provider, "mallocgc")
                self.assertNotEqual(int(base, 16), 0)
                self.assertTrue(code[0] <= int(at, 16) < code[1], (name, at))
                for argument in arguments:
                    self.assertRegex(argument, r"^8@(%\w+|x\d+|\[?\S+)$")

    def test_what_the_page_calls_is_there(self):
        printed = re.findall(r"mallocgc:(\w+)", page())
        self.assertEqual(set(printed) - documented("native"), set())
        self.assertGreaterEqual(len(printed), 5)
        self.assertEqual(set(re.findall(r"arg(\d+)", page())) - {"0", "1"}, set())

    @unittest.skipUnless(shutil.which("bpftrace") and os.geteuid() == 0, "no bpftrace here, or not root (make test-long)")
    def test_bpftrace_as_printed(self):
        (command,) = re.findall(r"^```\n(bpftrace -p PID .*?)^```$", page(), re.S | re.M)
        command = re.sub(r"/usr/lib/\S+/libmallocgc\.so\.0", beside("lib", "libmallocgc.so.0"), command)
        with subprocess.Popen([beside("examples", "service"), "60", "1"], stdout=subprocess.DEVNULL) as program:
            try:
                with subprocess.Popen("exec " + command.replace("PID", str(program.pid)), shell=True, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True) as tracer:
                    said = tracer.stdout.readline()  # "Attaching 2 probes..."; or the reason why not
                    if not said:
                        error = tracer.stderr.read()
                        self.assertRegex(error, r"(?i)permitted|BTF|bpf|kernel|tracefs|debugfs", "no reason of this machine's")
                        self.skipTest("bpftrace cannot work here: " + error.splitlines()[0])
                    time.sleep(2)
                    tracer.send_signal(signal.SIGINT)
                    out, error = tracer.communicate(timeout=60)
            finally:
                program.kill()
        self.assertRegex(out, r"(?m)^@\[24\]: \d+$", said + error)  # a class of the service's
        self.assertRegex(out, r"(?m)^\[\d+K?, \d+K?\) +\d+ \|@", error)

    def code(self, path):
        sections = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
        start, _, size = re.search(r"\] \.text +PROGBITS +(\w+) (\w+) (\w+)", sections).groups()
        return int(start, 16), int(start, 16) + int(size, 16)

    @unittest.skipUnless(shutil.which("gdb"), "no gdb here (make deps-all)")
    def test_who_stops_there_reads_what_happens(self):
        folder = os.path.join(beside("test"), "probes")
        os.makedirs(folder, exist_ok=True)
        program, script = os.path.join(folder, "program"), os.path.join(folder, "script")
        library = glob.glob(beside("lib", "libmallocgc.so"))[0]
        subprocess.run(["cc", "-x", "c", "-", "-x", "none", "-o", program, "-I", os.path.join(TOP, "include"), library,
                        "-Wl,-rpath," + beside("lib")], input=PROGRAM, text=True, check=True)
        with open(script, "w", encoding="utf-8") as file:
            file.write(GDB)
        env = {key: value for key, value in os.environ.items() if not key.startswith("MGC_")}
        env.update(LC_ALL="C.UTF-8", DEBUGINFOD_URLS="", MGC_DEBUG="background=0")
        done = subprocess.run(["gdb", "-nx", "-batch", "-x", script, program], capture_output=True, text=True, env=env, timeout=60,
                              stdin=subprocess.DEVNULL, check=False)
        phases = [(int(cycle), int(phase)) for phase, cycle in re.findall(r"^phase (\d+) of (\d+)$", done.stdout, re.M)]
        self.assertEqual(phases, [(cycle, phase) for cycle in (1, 2) for phase in (1, 2, 3, 4, 6, 7)], done.stdout + done.stderr)
        slow = re.findall(r"^slow (\d+)$", done.stdout, re.M)
        self.assertIn("96", slow)  # refills of that class, and far fewer than allocations
        self.assertLess(len(slow), 200)


if __name__ == "__main__":
    main()
