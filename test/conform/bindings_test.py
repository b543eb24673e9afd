#!/usr/bin/env python3
"""bindings_test.py MALLOCGC - the starting points for bindings in examples/ run, and their struct mgc_type is the
header's; bindgen reads the header, and what it writes is right and enough for a program. rustc and bindgen are asked for, not
required."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import command

RUST = os.path.join(command.TOP, "examples", "rust")
LIBRARY = command.beside("lib", "libmallocgc.so")
LAYOUT = """#include <mallocgc.h>
#include <stdio.h>
#define F(f) printf("%s %zu\\n", #f, offsetof(struct mgc_type, f))
int main(void) { F(name); F(size); F(ptr_bytes); F(ptr_mask); F(trace); F(flags); F(ptr_tags); F(ptr_tag_mask);
F(reserved); F(trace_part); F(mgc_id); printf("all %zu\\n", sizeof(struct mgc_type)); return 0; }"""


class Bindings(unittest.TestCase):
    def test_python(self):
        example = os.path.join(command.TOP, "examples", "python", "heap.py")
        done = subprocess.run([sys.executable, example, LIBRARY, "--stats"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        words, stats = done.stdout.splitlines()
        self.assertIn("a list of 1000 nodes after 11 collections: good", words)
        self.assertGreaterEqual(json.loads(stats)["stats"]["/gc/cycles/total:gc-cycles"], 11)

    def test_readme(self):
        """The README's example compiles as it is printed, and does what it says."""
        with open(os.path.join(command.TOP, "README.md"), encoding="utf-8") as page:
            (code,) = re.findall(r"^```c\n(.*?)^```$", page.read(), re.S | re.M)
        code += "int main(void) { return insert(insert(NULL, 1), 2)->left->key == 1 ? 0 : 1; }\n"
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "readme")
            subprocess.run(["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-x", "c", "-", "-x", "none", "-I",
                            os.path.join(command.TOP, "include"), "-o", program, LIBRARY, "-Wl,-rpath," + command.beside("lib")],
                           input=code, text=True, check=True)
            self.assertEqual(subprocess.run([program], check=False, timeout=60).returncode, 0)

    def test_layout(self):
        """What the Python example says of struct mgc_type, offset by offset."""
        sys.argv[1:] = [LIBRARY]
        sys.path.insert(0, os.path.join(command.TOP, "examples", "python"))
        import heap  # pylint: disable=import-outside-toplevel,import-error
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "layout")
            subprocess.run(["cc", "-xc", "-", "-I", os.path.join(command.TOP, "include"), "-o", program],
                           input=LAYOUT, text=True, check=True)
            rows = dict(line.split() for line in subprocess.run([program], capture_output=True, text=True,
                                                                check=True).stdout.splitlines())
        mine = {name: str(getattr(heap.Type, name).offset) for name, _ in heap.Type._fields_}
        mine["all"] = str(heap.ctypes.sizeof(heap.Type))
        self.assertEqual(mine, rows)

    @unittest.skipUnless(shutil.which("rustc"), "no rustc here")
    def test_rust(self):
        with tempfile.TemporaryDirectory() as folder:
            self.rust(os.path.join(RUST, "list.rs"), folder)

    @unittest.skipUnless(shutil.which("rustc") and shutil.which("bindgen"), "no rustc and bindgen here (make test-long gets them)")
    def test_bindgen(self):
        """By the command that the example prints; bindgen writes tests of each struct's layout along."""
        example = os.path.join(RUST, "session.rs")
        with open(example, encoding="utf-8") as file:
            words = " ".join(re.findall(r"^//!   (bindgen .*)\\\n//! +(.*)$", file.read(), re.M)[0])
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(example, folder)
            done = subprocess.run(words.replace("PREFIX", command.TOP), shell=True, cwd=folder, capture_output=True, text=True,
                                  timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            subprocess.run(["rustc", "--test", "--crate-type", "lib", "-A", "warnings", "mallocgc.rs", "-o", "layouts"], cwd=folder,
                           check=True, timeout=60)
            layouts = subprocess.run(["./layouts"], cwd=folder, capture_output=True, text=True, timeout=60)
            self.assertRegex(layouts.stdout, r"(?s)test \w+mgc_type .*test result: ok")
            self.rust(os.path.join(folder, "session.rs"), folder)

    def rust(self, source, folder):
        program = os.path.join(folder, "program")
        done = subprocess.run(["rustc", "-O", source, "-o", program, "-L", command.beside("lib"), "-l", "mallocgc", "-C",
                               "link-arg=-Wl,-rpath," + command.beside("lib")], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        ran = subprocess.run([program], capture_output=True, text=True, timeout=60,
                             env=dict(os.environ, MGC_DEBUG="gccheckmark=1,verify=1"))
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("good", ran.stdout)


command.main()
