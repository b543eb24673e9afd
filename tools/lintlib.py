"""What the checks share: finding files, stripping comments, reporting."""
import argparse
import os
import re
import subprocess
import sys

SKIP = {".git", "build", "__pycache__", ".cache"}


def root():
    """The tree to check: this one, or the one given as --root."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), ".."))
    return os.path.abspath(parser.parse_known_args()[0].root)


def files(top, *suffixes, under=("src", "include")):
    """Paths relative to top, sorted, of the files with these suffixes."""
    found = []
    for folder in under:
        for where, dirs, names in os.walk(os.path.join(top, folder)):
            dirs[:] = sorted(d for d in dirs if d not in SKIP)
            found += [os.path.relpath(os.path.join(where, n), top)
                      for n in sorted(names) if n.endswith(suffixes)]
    return sorted(os.path.normpath(f) for f in found)


def committed(top):
    """Files that are, or would be, committed; outside git every file but the build."""
    try:
        out = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=top,
                             capture_output=True, check=True, text=True).stdout
        listed = sorted(set(out.split("\0")) - {""})
        return [f for f in listed if os.path.isfile(os.path.join(top, f))]
    except (OSError, subprocess.CalledProcessError):
        return files(top, "", under=(".",))


def read(top, path):
    with open(os.path.join(top, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text, keep_strings=False):
    """The text with comments (and strings) blanked; line numbers stay."""
    return TOKEN.sub(lambda m: m.group(0) if keep_strings and m.group(0)[0] in "\"'" else blank(m),
                     text)


def finish(what, checked, errors):
    """Print the outcome and exit; a check that looked at nothing has failed."""
    name = os.path.basename(sys.argv[0])
    for error in errors:
        print(error)
    if not checked:
        print(f"{name}: nothing to check: no {what} found")
        sys.exit(1)
    print(f"{name}: {checked} {what}, {len(errors)} errors")
    sys.exit(1 if errors else 0)
