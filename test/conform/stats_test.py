#!/usr/bin/env python3
"""stats_test.py - MGC_STATS and mallocgc run --stats: what each face writes, in which form, and where.

usage: stats_test.py [COMMAND]      default: build/bin/mallocgc; the libraries and examples are beside it"""
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



def documented():
    """name → kind, of docs/gen/stats.md."""
    with open(os.path.join(TOP, "docs", "gen", "stats.md"), encoding="utf-8") as page:
        return dict(re.findall(r"^\| `(/[^`]+)` \| `\w+` \| (counter|gauge) ", page.read(), re.M))


def has_malloc():
    """A sanitizer's build has no malloc face: the sanitizer brings its own."""
    return bool(glob.glob(beside("lib", "libmallocgc-malloc.so.*")))

CLOSES = """#include <fcntl.h>
#include <mallocgc.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	(void)argv;
	void *volatile p = USE;
	(void)p;
	for (int fd = 2; fd < (argc > 1 ? 1024 : 3); fd++)
		close(fd);
	int file = argc > 1 ? open("mine.data", O_WRONLY | O_CREAT, 0600) : -1; /* 2 */
	for (int fd = 900; file >= 0 && fd < 910; fd++)
		dup2(file, fd);
	if (file >= 0)
		close(file);
	return 0;
}
"""


class Stats(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mallocgc-stats-")
        self.addCleanup(shutil.rmtree, self.folder)

    def run_program(self, *argv, status=0, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MGC_")}
        done = subprocess.run(argv, env=dict(clean, **env), text=True, capture_output=True,
                              timeout=120, cwd=self.folder)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def files(self, pattern):
        return sorted(glob.glob(os.path.join(self.folder, pattern)))

    def service(self, stats):
        return self.run_program(beside("examples", "service"), "0.2", "2", MGC_STATS=stats)

    def test_text(self):
        rows = dict(re.findall(r"^(/\S+) (\d+)$", self.service("text").stderr, re.M))
        self.assertEqual(len(re.findall(r"^(/\S+) (\d+)$", self.service("1").stderr, re.M)), len(rows))
        self.assertEqual(set(rows), set(documented()))
        self.assertGreater(int(rows["/gc/heap/allocs:bytes"]), 100000)

    def test_closed_standard_error(self):
        """The core utilities close it before we report: we do all the same. Who closes all that is open is left alone, and so is
        the file that he opened under a number that was ours."""
        for name, face, library in (("native", "native", beside("lib", "libmallocgc.so")),
                                    ("malloc", "malloc", beside("lib", "libmallocgc-malloc.so.0"))):
            if not os.path.exists(library):
                continue
            program = os.path.join(self.folder, name)
            use = "mgc_alloc(10, NULL, 0)" if face == "native" else "malloc(10)"
            subprocess.run(["cc", "-x", "c", "-", "-x", "none", "-o", program, "-I", os.path.join(TOP, "include"), library,
                            "-Wl,-rpath," + beside("lib")], input=CLOSES.replace("USE", use), text=True, check=True)
            done = self.run_program(program, MGC_STATS="json")
            self.check_json(done.stderr, face)
            self.run_program(program, "all", MGC_STATS="json")
            self.assertEqual(self.files("*.data"), [os.path.join(self.folder, "mine.data")])
            self.assertEqual(os.path.getsize(self.files("*.data")[0]), 0)

    def check_json(self, line, face):
        with open(os.path.join(TOP, "docs", "stats.schema.json"), encoding="utf-8") as file:
            schema = json.load(file)
        row = json.loads(line)
        for member in schema["required"]:
            self.assertIn(member, row)
        self.assertEqual((row["schema"], row["face"]), (1, face))
        self.assertIn(face, schema["properties"]["face"]["enum"])
        pattern = schema["properties"]["stats"]["propertyNames"]["pattern"]
        for name, value in row["stats"].items():
            self.assertRegex(name, pattern)
            self.assertTrue(value is None or value >= 0)
        return row

    def test_json(self):
        row = self.check_json(self.service("json").stderr, "native")
        self.assertEqual(set(row["stats"]), set(documented()))
        self.assertIsNone(row["stats"]["/gc/gomemlimit:bytes"])
        self.assertEqual(row["stats"]["/gc/gogc:percent"], 100)
        self.assertTrue(row["program"].endswith("service"))

    def test_json_lines_in_a_file(self):
        for _ in range(2):
            self.service("json:all.json")
        with open(os.path.join(self.folder, "all.json"), encoding="utf-8") as file:
            rows = [self.check_json(line, "native") for line in file]
        self.assertEqual(len(rows), 2)
        self.assertNotEqual(rows[0]["pid"], rows[1]["pid"])

    def test_file_by_process(self):
        self.service("json:%p.json")
        (path,) = self.files("*.json")
        with open(path, encoding="utf-8") as file:
            row = self.check_json(file.read(), "native")
        self.assertEqual(os.path.basename(path), f"{row['pid']}.json")

    def test_openmetrics(self):
        for _ in range(2):
            self.service("openmetrics:now.prom")
        with open(os.path.join(self.folder, "now.prom"), encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(text.count("# EOF\n"), 1)
        self.assertTrue(text.endswith("\n# EOF\n"))
        names = documented()
        families = re.findall(r"^# TYPE (\S+) (\S+)\n# HELP \1 .+\n(\S+)\{face=\"native\"\} (\S+)$",
                              text, re.M)
        self.assertEqual(text.count("\n"), 3 * len(families) + 1)
        self.assertEqual(len(families), len(names))
        for (family, kind, sample, value), name in zip(families, names):
            self.assertEqual(family, "mallocgc" + re.sub("[^a-z0-9]", "_", name))
            self.assertEqual(kind, names[name])
            self.assertEqual(sample, family + ("_total" if kind == "counter" else ""))
            self.assertTrue(value == "+Inf" or int(value) >= 0)

    def test_malloc(self):
        if not has_malloc():
            return
        program = "a = [bytes(1000) for i in range(20000)]"
        done = self.run_program(COMMAND, "run", "--malloc", "--limit", "1GiB", "--stats", "json",
                                sys.executable, "-c", program)
        stats = self.check_json(done.stderr, "malloc")["stats"]
        self.assertEqual(stats["/gc/gomemlimit:bytes"], 1 << 30)
        self.assertGreater(stats["/memory/classes/heap/spans:bytes"]
                           + stats["/memory/classes/heap/free:bytes"]
                           + stats["/memory/scavenged:bytes"], 20_000_000)
        self.assertGreater(stats["/gc/heap/allocs:bytes"], 20_000_000)
        self.assertGreater(stats["/gc/heap/now:bytes"], 0)
        self.assertLess(stats["/gc/heap/now:bytes"], stats["/memory/classes/heap/spans:bytes"])
        self.assertEqual(stats["/gc/mutators:threads"], 1)
        self.assertNotIn("/gc/cycles/total:gc-cycles", stats)

    def test_bad_values(self):
        for value in ("yaml", "json:", "jso", ":x"):
            done = self.run_program(beside("examples", "service"), "0", status=2, MGC_STATS=value)
            self.assertIn(f"MGC_STATS={value}: not text, json or openmetrics", done.stderr)

    def test_file_that_cannot_be_written(self):
        done = self.service("json:no/such/folder")
        self.assertIn("/no/such/folder cannot be written", done.stderr)
        done = self.service("text:/dev/full")
        self.assertIn("MGC_STATS: /dev/full cannot be written", done.stderr)


if __name__ == "__main__":
    main()
