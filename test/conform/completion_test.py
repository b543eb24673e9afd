#!/usr/bin/env python3
"""completion_test.py MALLOCGC - what --help says is what getopt takes and what the manual page tells, and the shells
complete it. A shell that is not here is skipped, but not bash."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import command

sys.path.insert(0, os.path.join(command.TOP, "tools"))
import completions  # pylint: disable=wrong-import-position

ROWS = completions.describe(command.COMMAND)
MADE = command.beside("made")
HOME = tempfile.TemporaryDirectory() # where fish leaves files of its own
BASH = """source "$1"; shift
_command_offset() { COMPREPLY=(offset-$1); }
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_mallocgc
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """_arguments() { print -l -- "$@"; if [[ $state != word && $words[1] == mallocgc ]]; then
    if ((CURRENT == 2)); then state=command; else state=word; shift words; ((CURRENT--)); fi; fi }
_describe() { print -l -- "${commands[@]}" }
words=("${@:2}"); CURRENT=$#words
source "$1"
"""


def in_bash(*words):
    done = subprocess.run(["bash", "-c", BASH, "bash", os.path.join(MADE, "mallocgc.bash"), "mallocgc", *words],
                          capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def in_fish(line):
    done = subprocess.run(["fish", "-c", 'source $argv[1]; complete -C"$argv[2]"',
                           os.path.join(MADE, "mallocgc.fish"), line],
                          capture_output=True, text=True, check=True, env=dict(os.environ, HOME=HOME.name))
    return {row.split("\t")[0] for row in done.stdout.splitlines()}


def in_zsh(*words):
    done = subprocess.run(["zsh", "-f", "-c", ZSH, "zsh", os.path.join(MADE, "_mallocgc"), "mallocgc", *words],
                          capture_output=True, text=True, check=True)
    return done.stdout


class Options(unittest.TestCase):
    def test_help_is_what_is_parsed(self):
        """Each option that --help has is taken, with an argument where it says one."""
        self.assertGreaterEqual(len(ROWS), 8)
        self.assertGreater(sum(len(options) for *_, options in ROWS), 20)
        for name, _, _, options in ROWS:
            for option, argument, _ in options:
                words = [option] if argument else [option + "=x"]
                done = subprocess.run([command.COMMAND, name, *words], capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stdout), (125, ""), words)
                wrong = f"option {option} needs an argument" if argument else f"unknown or misused option {option}=x"
                self.assertIn(wrong, done.stderr)

    def test_manual(self):
        """mallocgc(1) has each subcommand, and in its part each option of --help and no other."""
        with open(os.path.join(command.TOP, "man", "mallocgc.1"), encoding="utf-8") as file:
            text = file.read().partition(".Sh DESCRIPTION")[2].partition(".Sh ENVIRONMENT")[0]
        parts = dict(re.findall(r"^\.It Cm ([a-z]+)\n(.*?)(?=^\.It Cm |\Z)", text, re.M | re.S))
        self.assertEqual(set(parts), {name for name, *_ in ROWS})
        for name, _, _, options in ROWS:
            told = {"--" + word for word in re.findall(r"^\.It Fl Fl ([a-z-]+)", parts[name], re.M)}
            self.assertEqual(told | {"--help"}, {option for option, _, _ in options}, name)


class Shells(unittest.TestCase):
    def test_bash(self):
        self.assertEqual(in_bash("r") & {"run", "top"}, {"run"})
        for name, _, _, options in ROWS:
            self.assertIn(name, in_bash(""))
            self.assertEqual(in_bash(name, "--"), {option for option, _, _ in options})
        self.assertEqual(in_bash("run", "--stats", "o"), {"openmetrics"})
        self.assertEqual(in_bash("run", "--limit", ""), set())
        self.assertEqual(in_bash("run", "--trace", "--limit", "3MiB", "guil"), {"offset-5"})
        self.assertEqual(in_bash("run", "--", "guil"), {"offset-3"})
        self.assertEqual(in_bash("run", "guile", "--l"), {"offset-2"})
        self.assertIn(str(os.getpid()), in_bash("top", "--count", "3", str(os.getpid())))

    @unittest.skipUnless(shutil.which("fish"), "no fish here")
    def test_fish(self):
        self.assertEqual(in_fish("mallocgc r") & {"run", "top"}, {"run"})
        for name, _, _, options in ROWS:
            self.assertEqual(in_fish(f"mallocgc {name} --"), {option for option, _, _ in options})
        self.assertEqual(in_fish("mallocgc run --stats o"), {"openmetrics"})

    @unittest.skipUnless(shutil.which("zsh"), "no zsh here")
    def test_zsh(self):
        for name, summary, _, options in ROWS:
            self.assertIn(name + ":" + summary[:10], in_zsh(""))
            shown = in_zsh(name, "")
            for option, _, _ in options:
                self.assertRegex(shown, f"(?m)^{option}\\[")


command.main()
