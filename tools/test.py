#!/usr/bin/env python3
"""test.py - builds the presets and runs ctest in each; the closing line is `N passed, N failed`.

  test.py                 what every commit must pass
  test.py --long          every build, every label, long variants of the tests
  test.py [--label L] PRESET...   only these builds (and only the tests with that label)

A build that fails counts as one failed test, and so does a run that executed no test."""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

TOP = pathlib.Path(__file__).resolve().parent.parent
JOBS = "2"
os.environ.setdefault("CMAKE_GENERATOR", "Ninja" if shutil.which("ninja") else "Unix Makefiles")

# Which labels each build runs in `make test`. Sanitizers and the hostile build run what they can
# find something in; the whole of everything is --long. asan checks for undefined behaviour too.
PLAN = [
    ("release", "unit|model|fault|misuse|stress|conform|examples"),
    ("hostile", "unit|model|fault|stress|examples"),
    ("asan", "unit|model|fault|stress|examples"),
    ("tsan", "model|stress|threads"),
    ("release", "lint"),
]
LONG = [(preset, "unit|model|fault|misuse|stress|conform|examples") for preset in
        ("release", "release-clang", "debug", "hostile", "asan", "ubsan", "tsan")]
LONG.append(("release", "lint|model-check|package"))


def run(*command, **more):
    return subprocess.run(command, cwd=TOP, **more).returncode == 0


def targets(preset, labels):
    """What these labels need; of the build that users get, everything."""
    if not re.fullmatch("[a-z|]+", labels):
        return ["all", "tests"]
    some = ["tests-" + label for label in labels.split("|") if label != "lint"]
    return (["all"] if preset == "release" or "conform" in labels else []) + some


def build(preset, labels, scale):
    return (run("cmake", "--preset", preset, "--log-level=WARNING",
                f"-DMGC_TIMEOUT_SCALE={scale}", stdout=subprocess.DEVNULL)
            and run("cmake", "--build", "--preset", preset, "--parallel", "--target",
                    *targets(preset, labels)))


def count(report):
    """(passed, failed, skipped) of one ctest run, by its JUnit file."""
    passed = failed = skipped = 0
    for case in xml.parse(report).getroot().iter("testcase"):
        status = case.get("status")
        if status == "run":
            passed += 1
        elif status == "notrun" and case.find("skipped") is not None:
            skipped += 1
        else:
            failed += 1
    return passed, failed, skipped


def test(preset, labels):
    where = TOP / "build" if preset == "release" else TOP / "build" / preset
    report = where / "ctest.xml"
    report.unlink(missing_ok=True)
    subprocess.run(["ctest", "-j", JOBS, "-L", f"^({labels})$", "--output-on-failure",
                    "--output-junit", report], cwd=where)
    if not report.exists():
        return 0, 1, 0
    passed, failed, skipped = count(report)
    if passed + failed == 0:
        print(f"{preset}: no test ran")
        failed = 1
    return passed, failed, skipped


def plan():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--label")
    parser.add_argument("presets", nargs="*")
    args = parser.parse_args()
    if args.long:
        os.environ["MGC_TEST_LONG"] = "1"
    every = args.label or LONG[0][1]
    rows = [(preset, every) for preset in args.presets] or (LONG if args.long else PLAN)
    return rows, 20 if args.long or args.label else 1


def main():
    total, rows = [0, 0, 0], []
    todo, scale = plan()
    for preset, labels in todo:
        start = time.monotonic()
        print(f"--- {preset}", flush=True)
        built = build(preset, labels, scale)
        if not built:
            print(f"{preset}: does not build")
        result = test(preset, labels) if built else (0, 1, 0)
        total = [a + b for a, b in zip(total, result)]
        rows.append((preset, labels, *result, time.monotonic() - start))
    print()
    for preset, labels, passed, failed, skipped, seconds in rows:
        print(f"{preset:14} {passed:4} passed {failed:3} failed {skipped:3} skipped "
              f"{seconds:5.0f} s  {labels}")
    print(f"{total[0]} passed, {total[1]} failed", flush=True)
    sys.exit(1 if total[1] or not total[0] else 0)


main()
