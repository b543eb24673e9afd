#!/usr/bin/env python3
"""report_test.py - the page of a recording: in one file, and in a real browser (Chromium) without a complaint, on a
large screen and a phone, in light and dark; what it shows is what the recording says.

usage: report_test.py [COMMAND]      default: build/bin/mallocgc; the libraries and examples are beside it
Without a browser only the file is tested, and it says so."""
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

sys.path.insert(0, os.path.join(TOP, "test", "lib"))
import browser  # pylint: disable=wrong-import-position

SERVICE = beside("examples", "service")
CHARTS = ("heap", "rate", "cycles", "wait-snapshots", "wait-handshakes", "map", "classes")
# How many colours a canvas shows that are not rare, and what part of it is painted.
PAINTED = """(id => {
  const c = document.getElementById(id), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  const seen = new Map();
  let painted = 0;
  for (let i = 0; i < d.length; i += 4) {
    if (d[i + 3] === 0) continue;
    painted++;
    const key = d[i] << 16 | d[i + 1] << 8 | d[i + 2];
    seen.set(key, (seen.get(key) || 0) + 1);
  }
  return [[...seen.values()].filter((n) => n > 20).length, 4 * painted / d.length];
})"""


def call(*args, folder, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MGC_")}
    return subprocess.run([COMMAND, *args], text=True, capture_output=True, timeout=80, cwd=folder,
                          env=dict(clean, **env))


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="mallocgc-report-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        done = call("run", "--report", "r.html", "--record", "r.jsonl", "--", SERVICE, "1", "2",
                    "</script><b>x", folder=cls.folder, MGC_DEBUG="samplerate=32KiB")
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        with open(os.path.join(cls.folder, "r.jsonl"), encoding="utf-8") as file:
            cls.lines = [json.loads(line) for line in file]

    def path(self, name):
        return os.path.join(self.folder, name)

    def text(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()


class File(Case):
    def test_it_is_whole(self):
        page = self.text("r.html")
        data = re.search(r'<script id="recording"[^>]*>\n(.*?)\n</script>', page, re.S).group(1)
        self.assertEqual([json.loads(line) for line in data.splitlines() if line], self.lines)
        self.assertFalse(re.findall(r"^@\w+@$", page, re.M))
        self.assertIn("Chart.js v", page)
        self.assertIn("MIT License", page)
        outside = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
        self.assertFalse(re.findall(r"""(?:src|href)=|url\(|@import""", outside))

    def test_report_of_a_file(self):
        self.assertEqual(call("report", "r.jsonl", "--output", "x", folder=self.folder).returncode, 125)
        done = call("report", "--output", "again.html", "r.jsonl", folder=self.folder)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(self.text("again.html"), self.text("r.html"))
        shutil.copy(self.path("r.jsonl"), self.path("other.jsonl"))
        self.assertEqual(call("report", "other.jsonl", folder=self.folder).returncode, 0)
        self.assertTrue(os.path.exists(self.path("other.html")))

    def test_what_it_refuses(self):
        for words, args in (("a recording is missing", ["report"]), ("nowhere: No such file", ["report", "nowhere"]),
                            ("r.html is not a recording", ["report", "r.html"]),
                            ("no/x.html: No such file", ["report", "--output", "no/x.html", "r.jsonl"]),
                            ("no/x.html: No such file", ["run", "--report", "no/x.html", "--", "touch", "ran"])):
            done = call(*args, folder=self.folder)
            self.assertEqual((done.returncode, done.stdout), (125, ""), done.stderr)
            self.assertRegex(done.stderr, r"\Amallocgc: .*" + words)
        self.assertFalse(os.path.exists(self.path("ran")), "the program ran in vain")
        full = call("report", "--output", "/dev/full", "r.jsonl", folder=self.folder)
        self.assertEqual(full.returncode, 125)
        self.assertIn("No space left", full.stderr)


@unittest.skipUnless(browser.find(), "no Chromium here: pages are not looked at (make deps-all)")
class Page(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.browser = browser.Browser()
        cls.browser.__enter__()
        cls.addClassCleanup(cls.browser.__exit__)

    def show(self, name="r.html", width=1200, height=900, dark=False):
        del self.browser.problems[:], self.browser.requests[:]
        self.browser.show(self.path(name), width, height, dark)
        self.assertEqual(self.browser.problems, [])
        self.assertEqual([url for url in self.browser.requests if not url.startswith("file:///")], [])
        self.assertEqual(len(self.browser.requests), 1)

    def value(self, expression):
        return self.browser.evaluate(expression)

    def test_everything_is_drawn(self):
        for width, dark in ((1200, False), (1200, True), (390, False), (390, True)):
            with self.subTest(width=width, dark=dark):
                self.show(width=width, dark=dark)
                self.assertLessEqual(self.value("document.documentElement.scrollWidth"), width)
                for chart in CHARTS:
                    colours, painted = self.value(f"{PAINTED}({chart!r})")
                    self.assertGreaterEqual(colours, 3, chart)
                    self.assertGreater(painted, 0.02, chart)
                    box = self.value(f"(r => [r.left, r.right])(document.getElementById({chart!r}).getBoundingClientRect())")
                    self.assertTrue(0 <= box[0] < box[1] <= width, (chart, box))
                body = self.value("getComputedStyle(document.body).backgroundColor")
                level = sum(map(int, re.findall(r"\d+", body)[:3])) / 3
                self.assertTrue(level < 60 if dark else level > 200, body)

    def test_it_says_what_the_recording_says(self):
        self.show()
        last = [line for line in self.lines if "sample" in line][-1]
        text = self.value("document.body.innerText")
        self.assertIn(f"{SERVICE} 1 2 </script><b>x"[:127], text)
        self.assertIn(f"{last['cycles']:,}\ncollection", text)
        self.assertIn("ended with status 0", text)
        self.assertEqual(self.value("document.querySelectorAll('b').length"),
                         self.value("document.querySelectorAll('.tile').length"))
        heap = self.value("Chart.getChart('heap').data.datasets.map(d => [d.label, Math.max(...d.data.map(p => p.y))])")
        peak = max(max(c["before"], c["live"] + c["born"]) for c in self.lines if "cycle" in c)
        peak = max(peak, max(s["heap"] for s in self.lines if "sample" in s))
        self.assertAlmostEqual(dict(heap)["heap"] * 2 ** 20 / peak, 1, delta=0.001)
        waits = self.value("Chart.getChart('wait-snapshots').data.datasets[0].data.reduce((a, n) => a + n, 0)")
        buckets = next(h for h in self.lines if h.get("histogram") == "snapshots")["buckets"]
        self.assertEqual(waits, sum(n for _, _, n in buckets))
        bars = self.value("Chart.getChart('cycles').data.datasets.length")
        self.assertGreaterEqual(bars, 4)
        self.assertIn("write_text", text)

    def test_it_can_be_used(self):
        self.show()
        first = self.value("document.getElementById('when-text').textContent")
        self.value("(w => { w.value = w.value > 0 ? 0 : 1; w.dispatchEvent(new Event('input')); })(document.getElementById('when'))")
        self.assertNotEqual(self.value("document.getElementById('when-text').textContent"), first)
        allocated = self.value("document.getElementById('sites').innerText")
        self.value("document.getElementById('by-all').click()")
        self.assertNotEqual(self.value("document.getElementById('sites').innerText"), allocated)
        self.value("document.querySelector('.site summary').click()")
        self.assertIn("take_order", self.value("document.querySelector('.site ol').innerText"))
        self.assertRegex(self.value("document.querySelector('.site ol').innerText"), r"service\.c:\d+")
        self.value("scrollTo(0, 0)")
        box = self.value("(r => [r.left, r.top, r.width, r.height])(document.getElementById('heap').getBoundingClientRect())")
        middle = box[1] + box[3] / 2
        begin, end = self.value("(x => [x.min, x.max])(Chart.getChart('heap').scales.x)")
        for kind, x in (("mousePressed", 0.4), ("mouseMoved", 0.5), ("mouseMoved", 0.6), ("mouseReleased", 0.6)):
            self.browser.call("Input.dispatchMouseEvent", type=kind, x=box[0] + box[2] * x, y=middle, button="left",
                              buttons=1, clickCount=1)
        for chart in ("heap", "rate"):
            lo, hi = self.value(f"(x => [x.min, x.max])(Chart.getChart({chart!r}).scales.x)")
            self.assertGreater(lo, begin + 0.2 * (end - begin))
            self.assertLess(hi, begin + 0.8 * (end - begin))
        at = self.value("(r => [r.left, r.top])(document.getElementById('map').getBoundingClientRect())")
        self.value(f"document.getElementById('map').dispatchEvent(new PointerEvent('pointermove', "
                   f"{{clientX: {at[0] + 3}, clientY: {at[1] + 3}}}))")
        self.assertRegex(self.value("document.getElementById('cell').textContent"), r"0x[0-9a-f]+  .* of .* taken.* in memory")
        self.assertEqual(self.browser.problems, [])

    def test_less_than_everything(self):
        """A recording that was cut off, one without collections, one of nothing but its head."""
        kept = {"cut": self.lines[:len(self.lines) // 2],
                "malloc": [dict(self.lines[0], face="malloc")] + [
                    {k: v for k, v in line.items() if k not in ("heap", "goal", "allocated", "cycles")}
                    for line in self.lines if "sample" in line or "end" in line],
                "head": self.lines[:1]}
        for name, lines in kept.items():
            with self.subTest(name):
                self.write(name, lines)
                self.show(name + ".html")
                if name != "head":
                    self.assertGreater(self.value(f"{PAINTED}('heap')")[1], 0.02)
                self.assertEqual(self.value("document.getElementById('rate-card').hidden"), name != "cut")

    def write(self, name, lines):
        with open(self.path(name + ".jsonl"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        done = call("report", name + ".jsonl", folder=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_day(self):
        """In hours; many collections to a pixel leave what lies behind and before them to be seen."""
        hour = 3600 * 10 ** 9
        sample = next(line for line in self.lines if "sample" in line and line["sample"] > 0)
        cycle = next(line for line in self.lines if "cycle" in line)
        samples = [dict(sample, sample=i * hour // 10, allocated=i << 20, cycles=i * 60) for i in range(201)]
        cycles = [dict(cycle, cycle=i + 1, start=i * hour // 600, phases={}) for i in range(12000)]
        self.write("day", [dict(self.lines[0], cpus=1), *samples, *cycles, {"end": 20 * hour, "how": "exit", "status": 0, "lost": 1}])
        self.show("day.html")
        text = self.value("document.body.innerText")
        self.assertRegex(text, r" · 20 h recorded · .* · 1 processor\n")
        self.assertIn("12,000 collections and 0 censuses; 1 collection went by unseen", text)
        self.assertEqual(self.value("Chart.getChart('heap').scales.x.options.title.text"), "hours")
        self.assertEqual(self.value("Chart.getChart('heap').scales.x.max"), 20)
        darkest = self.value("""(c => {
            const ratio = c.currentDevicePixelRatio, a = c.chartArea;
            const d = c.ctx.getImageData(a.left * ratio, (a.top + 3) * ratio, (a.right - a.left) * ratio, 1).data;
            return [...d.filter((_, i) => i % 4 === 3)].sort((x, y) => x - y)[Math.floor(d.length / 8)];
        })(Chart.getChart('heap'))""")
        self.assertTrue(10 < darkest < 80, darkest)  # how opaque, of 255

    def test_a_moment(self):
        """Of malloc, so short that there is one rate: it is a point."""
        head = dict(self.lines[0], face="malloc")
        samples = [{"sample": ms * 10 ** 6, "rss": 3 << 20, "pages": ms << 15, "free": 0, "released": 0, "scavenged": 0,
                    "allocated": ms << 12} for ms in (0, 41, 61)]
        self.write("moment", [head, *samples, {"end": 76 * 10 ** 6, "how": "exit", "status": 0, "lost": 0}])
        self.show("moment.html")
        dots = self.value("(c => c.getDatasetMeta(0).data.map(p => p.options.radius))(Chart.getChart('rate'))")
        self.assertEqual(dots, [3])

    def test_malloc_and_its_rate(self):
        if not glob.glob(beside("lib", "libmallocgc-malloc.so.*")):
            self.skipTest("this build has no malloc face")
        done = call("run", "--malloc", "--report", "pairs.html", sys.executable, "-c",
                    "for i in range(300000): bytearray(1000 + i % 3000)", folder=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.show("pairs.html")
        self.assertGreater(self.value(f"{PAINTED}('rate')")[1], 0.02)
        self.assertIn("counts nothing", self.value("document.getElementById('rate-note').innerText"))
        self.assertEqual(self.value("Chart.getChart('rate').data.datasets.length"), 1)
        tile = self.value("[...document.querySelectorAll('.tile')].map(t => t.innerText).find(t => t.includes('allocated'))")
        self.assertRegex(tile, r"\A\d+ MiB\s+allocated, [\d.]+ [MG]iB each second")
        self.assertEqual(self.browser.problems, [])


if __name__ == "__main__":
    main()
