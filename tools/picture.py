#!/usr/bin/env python3
"""picture.py [COMMAND] - makes docs/report.png, the picture of a report in the README: an unmodified Guile with some state in
its heap, recorded by `mallocgc run --report`, and the first cards of the page in a headless Chromium.

COMMAND: the command to use, default build/bin/mallocgc. Needs guile and chromium (make deps-all)."""
import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "test", "lib"))
import browser  # pylint: disable=wrong-import-position

WIDTH = 1120
# What the picture leaves out, so that it is not longer than it is wide.
SHORTER = """document.querySelectorAll("#rate-card, #cycles-card, #sites-card, #map-card h3, #classes-box, #map-card details")
  .forEach((e) => e.remove())"""


def main():
    command = sys.argv[1] if len(sys.argv) > 1 else os.path.join(TOP, "build", "bin", "mallocgc")
    picture = os.path.join(TOP, "docs", "report.png")
    with tempfile.TemporaryDirectory() as folder:
        page = os.path.join(folder, "report.html")
        subprocess.run([command, "run", "--libgc", "--report", page, "--", "guile", "--no-auto-compile", "sessions.scm"],
                       check=True, stdout=subprocess.DEVNULL, cwd=os.path.join(TOP, "demo", "guile"))
        with browser.Browser() as b:
            b.show(page, WIDTH, 900)
            b.evaluate(SHORTER)
            bottom = b.evaluate("document.getElementById('map-card').getBoundingClientRect().bottom + scrollY")
            b.picture(picture, clip=(0, 0, WIDTH, bottom + 16))
            if b.problems:
                sys.exit("picture: " + "; ".join(b.problems))
    print(f"{os.path.relpath(picture)}: {os.path.getsize(picture)} bytes")


if __name__ == "__main__":
    main()
