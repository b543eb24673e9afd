#!/usr/bin/env python3
"""debugging_test.py - docs/debugging.md shows what the library prints.

usage: debugging_test.py [COMMAND]      default: build/bin/mallocgc; the example is in ../examples

Each `$` line of the page is run. Of what it prints, each line that the page shows must be there, in that order; addresses,
and the numbers of a race, may differ."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMAND = os.path.join(TOP, "build", "bin", "mallocgc")
RACES = ("barrier", "valgrind") # numbers differ from run to run, or from build to build


def commands():
    """(command, lines it prints) of each one on the page."""
    with open(os.path.join(TOP, "docs", "debugging.md"), encoding="utf-8") as page:
        blocks = re.findall(r"^```\n(.*?)^```", page.read(), re.S | re.M)
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            first, *lines = part.splitlines()
            yield first, lines


def normal(line, race):
    line = re.sub(r"0x(?!deadbeef)[0-9a-f]+", "0x?", line)
    return re.sub(r"\b\d+\b", "N", line) if race else line


class Page(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mallocgc-debugging-")
        self.addCleanup(shutil.rmtree, self.folder)

    def run_one(self, command):
        words = command.split()
        env = dict(os.environ, LC_ALL="C")
        if "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            env[name] = value
        example = os.path.join(os.path.dirname(os.path.dirname(COMMAND)), "examples", "mistakes")
        words = [example if w == "mistakes" else w for w in words]
        if words[0].startswith("tools/"):
            words = [sys.executable, os.path.join(TOP, words[0]), *words[1:]]
        if words[-1].startswith("0x"):
            words[-1] = self.address # of this run
        done = subprocess.run(words, text=True, capture_output=True, timeout=600, env=env,
                              cwd=self.folder)
        found = re.search(r"text (0x[0-9a-f]+)", done.stdout)
        self.address = found.group(1) if found else None
        return (done.stdout + done.stderr).splitlines()

    def test_what_the_page_shows(self):
        shown = list(commands())
        self.assertGreater(len(shown), 8)
        for command, lines in shown:
            if "valgrind" in command and not shutil.which("valgrind"):
                print("valgrind is not installed (make deps-all): not run:", command)
                continue
            with self.subTest(command):
                address = getattr(self, "address", None)
                race = any(word in command for word in RACES)
                printed = [normal(line, race) for line in self.run_one(command)]
                if "heap.json" in command: # an address that later commands name
                    self.address = address or self.address
                at = 0
                for line in (normal(line, race) for line in lines):
                    self.assertIn(line, printed[at:], "\n".join(printed))
                    at = printed.index(line, at) + 1
                if not race:
                    self.assertEqual(len(printed), len(lines), "\n".join(printed))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        COMMAND = os.path.abspath(sys.argv.pop())
    unittest.main(verbosity=2)
