#!/usr/bin/env python3
"""cmd_test.py - the command mallocgc: what it prints, what it starts, what it refuses and how.

usage: cmd_test.py [COMMAND]      default: build/bin/mallocgc

Runs copies of the command in small made-up build and installation trees, so that the libraries
need not exist. Exits 0 only if every test passed and none was left out."""
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMAND = os.path.join(TOP, "build", "bin", "mallocgc")
COMPILER = os.environ.get("CC", "cc")
SHOW = "import os; print(os.environ.get('%s'))"
LIBRARIES = {"libgc": "libgc/libgc.so.1", "malloc": "lib/libmallocgc-malloc.so.0"}


def compile_c(code, out, *flags):
    subprocess.run([COMPILER, "-x", "c", "-", "-x", "none", "-o", out, *flags], input=code,
                   text=True, check=True)


class Tree:
    """A copy of the command in FOLDER/bin and empty libraries where they are asked for."""

    def __init__(self, folder, *libraries):
        self.folder = folder
        os.makedirs(os.path.join(folder, "bin"))
        self.command = shutil.copy(COMMAND, os.path.join(folder, "bin", "mallocgc"))
        for library in libraries:
            path = os.path.join(folder, library)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy(os.path.join(Case.shared, "empty.so"), path)

    def run(self, *args, **env):
        clean = {k: v for k, v in os.environ.items()
                 if not k.startswith(("LD_", "MGC_")) or k == "LD_BIND_NOW"}
        clean.update(env, LC_ALL="C", ASAN_OPTIONS="verify_asan_link_order=0:detect_leaks=0")
        return subprocess.run([self.command, *args], env=clean, text=True, capture_output=True,
                              timeout=60)


class Case(unittest.TestCase):
    shared = None

    @classmethod
    def setUpClass(cls):
        if Case.shared is None:
            Case.shared = tempfile.mkdtemp(prefix="mallocgc-cmd-")
            unittest.addModuleCleanup(shutil.rmtree, Case.shared)
            compile_c("int empty_library;", os.path.join(Case.shared, "empty.so"), "-shared",
                      "-fPIC")

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=Case.shared)
        self.tree = Tree(os.path.join(self.folder, "tree"), *LIBRARIES.values())

    def path(self, name):
        return os.path.join(self.folder, name)

    def face_file(self, face):
        return os.path.join(self.tree.folder, LIBRARIES[face])

    def refuses(self, status, words, *args, **env):
        """The command must end with this status and a message that has these words."""
        done = self.tree.run(*args, **env)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertRegex(done.stderr, r"\Amallocgc: ")
        self.assertRegex(done.stderr, words)

    def value(self, variable, *args, **env):
        """What `variable` is in a Python program that `mallocgc run ARGS` starts."""
        done = self.tree.run("run", *args, "--", sys.executable, "-c", SHOW % variable, **env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()


class Talk(Case):
    def test_version(self):
        with open(os.path.join(TOP, "VERSION"), encoding="utf-8") as file:
            version = file.read().strip()
        self.assertEqual(self.tree.run("--version").stdout, f"mallocgc {version}\n")

    def test_help(self):
        for args in (["--help"], ["-h"], ["help"], ["run", "--help"], ["sizes", "--help"],
                     ["top", "--help"], ["record", "--help"], ["report", "--help"], ["trace", "--help"],
                     ["profile", "--help"], ["bench", "--help"]):
            done = self.tree.run(*args)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(done.stdout.startswith("Usage: mallocgc"), done.stdout)
            self.assertLessEqual(max(map(len, done.stdout.splitlines())), 100)

    def test_usage_errors(self):
        self.refuses(125, "a command is missing\nTry `mallocgc --help`")
        self.refuses(125, "unknown command `frob`", "frob")
        self.refuses(125, "unknown option --frob", "--frob")
        self.refuses(125, "option --frob\nTry `mallocgc run --help`", "run", "--frob", "true")
        self.refuses(125, "option --libgc=1", "run", "--libgc=1", "true")
        self.refuses(125, "unknown option -x", "run", "-x", "true")
        self.refuses(125, "a program is missing", "run")
        self.refuses(125, "a program is missing", "run", "--libgc", "--")
        self.refuses(125, "exclude each other", "run", "--libgc", "--malloc", "true")
        self.refuses(125, "`1k` is not a size", "sizes", "1k")
        self.refuses(125, "`-1` is not a size", "sizes", "--", "-1")
        self.refuses(125, "`` is not a size", "sizes", "")
        self.refuses(125, "more than an address space", "sizes", "99999999999999999999")

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([self.tree.command, "sizes"], stdout=full, text=True,
                                  stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 125)
        self.assertIn("No space left on device", done.stderr)


class Sizes(Case):
    def rows(self, *args):
        done = self.tree.run("sizes", *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = re.findall(r"^ *(\d+|large) +(\d+) +(\d+) +(\d+) +(\d+) +([\d.]+)%$", done.stdout,
                          re.M)
        return [(row[0], *map(int, row[1:5]), float(row[5])) for row in rows]

    def test_table(self):
        rows = self.rows()
        self.assertGreater(len(rows), 20)
        self.assertEqual([int(row[0]) for row in rows], list(range(1, len(rows) + 1)))
        before = 0
        for _, slot, span, slots, tail, waste in rows:
            self.assertGreater(slot, before)
            self.assertEqual(slot * slots + tail, span)
            self.assertLess(tail, slot)
            lost = (slot - before - 1) * slots + tail
            self.assertAlmostEqual(waste, 100 * lost / span, delta=0.005001)
            before = slot
        self.assertEqual(before, 32768)

    def test_one_size(self):
        table = self.rows()
        for size in (0, 1, 16, 17, 1024, 1025, 4000, 32768):
            fits = next(row for row in table if row[1] >= size)
            self.assertEqual(self.rows(str(size)), [fits])
        self.assertEqual(self.rows("32769", "100000"),
                         [("large", 40960, 40960, 1, 0, 20.0),
                          ("large", 106496, 106496, 1, 0, 6.1)])


class Run(Case):
    def test_libgc_goes_first(self):
        folder = os.path.dirname(self.face_file("libgc"))
        self.assertEqual(self.value("LD_LIBRARY_PATH", "--libgc"), folder)
        self.assertEqual(self.value("LD_LIBRARY_PATH", "--libgc", LD_LIBRARY_PATH="/a:/b"),
                         folder + ":/a:/b")
        self.assertEqual(self.value("LD_LIBRARY_PATH", "--libgc", LD_LIBRARY_PATH=""), folder)
        self.assertEqual(self.value("LD_PRELOAD", "--libgc"), "None")

    def test_malloc_is_preloaded(self):
        library = self.face_file("malloc")
        other = os.path.join(Case.shared, "empty.so")
        self.assertEqual(self.value("LD_PRELOAD", "--malloc"), library)
        self.assertEqual(self.value("LD_PRELOAD", "--malloc", LD_PRELOAD=other),
                         library + ":" + other)
        self.assertEqual(self.value("LD_LIBRARY_PATH", "--malloc"), "None")

    def test_installed_elsewhere(self):
        self.tree = Tree(self.path("usr"), "lib/mallocgc/libgc.so.1",
                         "lib/libmallocgc-malloc.so.0")
        self.assertEqual(self.value("LD_LIBRARY_PATH", "--libgc"), self.path("usr/lib/mallocgc"))
        self.assertEqual(self.value("LD_PRELOAD", "--malloc"),
                         self.path("usr/lib/libmallocgc-malloc.so.0"))

    def test_trace(self):
        self.assertEqual(self.value("MGC_DEBUG", "--libgc"), "None")
        self.assertEqual(self.value("MGC_DEBUG", "--libgc", "--trace"), "gctrace=1")
        self.assertEqual(self.value("MGC_DEBUG", "--libgc", "--trace", MGC_DEBUG=""), "gctrace=1")
        self.assertEqual(self.value("MGC_DEBUG", "--libgc", "--trace", MGC_DEBUG="verify=1"),
                         "verify=1,gctrace=1")
        self.refuses(125, "--malloc has none", "run", "--malloc", "--trace", "true")
        # whose library is missing, that is for the dynamic linker to say
        compile_c("int missing(void) { return 0; }", self.path("libmissing.so"), "-shared", "-fPIC")
        compile_c("int missing(void); int main(void) { return missing(); }", self.path("prog"), self.path("libmissing.so"))
        os.unlink(self.path("libmissing.so"))
        done = self.tree.run("run", "--trace", self.path("prog"))
        self.assertEqual(done.returncode, 127)
        self.assertRegex(done.stderr, r"\A\S+prog: error while loading .*libmissing.so: cannot open")

    def program_with_libgc(self):
        """A program that is linked with a libgc.so.1 only through another library."""
        compile_c("int gc_of_ours;", self.path("libgc.so.1"), "-shared", "-fPIC",
                  "-Wl,-soname,libgc.so.1")
        compile_c("extern int gc_of_ours; int *vm(void) { return &gc_of_ours; }",
                  self.path("libvm.so"), "-shared", "-fPIC", self.path("libgc.so.1"),
                  "-Wl,-rpath," + self.folder)
        compile_c('#include <stdio.h>\n#include <stdlib.h>\nint *vm(void);'
                  'int main(void) { vm(); puts(getenv("LD_PRELOAD") ? "malloc" : "libgc"); }',
                  self.path("prog"), self.path("libvm.so"), "-Wl,-rpath," + self.folder,
                  "-Wl,-rpath-link," + self.folder)
        shutil.copy(self.path("libgc.so.1"), self.face_file("libgc"))
        return self.path("prog")

    def test_chooses_by_what_is_linked(self):
        program = self.program_with_libgc()
        script = self.path("script")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"#! {program} -x\n")
        other = self.path("through-env")
        with open(other, "w", encoding="utf-8") as file:
            file.write("#!/usr/bin/env prog\n")
        os.chmod(script, 0o755)
        os.chmod(other, 0o755)
        path = self.folder + ":" + os.environ["PATH"]
        for name in (program, script, other, "prog"):
            done = self.tree.run("run", name, PATH=path)
            self.assertEqual((done.stdout, done.stderr), ("libgc\n", ""))
            done = self.tree.run("run", "--malloc", name, PATH=path)
            self.assertEqual((done.stdout, done.stderr), ("malloc\n", ""))
        self.assertEqual(self.value("LD_PRELOAD"), self.face_file("malloc"))

    def test_note_when_not_linked(self):
        done = self.tree.run("run", "--libgc", sys.executable, "-c", "")
        self.assertEqual(done.returncode, 0)
        self.assertIn("is not linked with libgc.so.1", done.stderr)

    def test_arguments_and_status_pass_through(self):
        done = self.tree.run("run", "--malloc", sys.executable, "-c",
                             "import sys; print(sys.argv[1:]); sys.exit(7)", "--trace", "a b", "")
        self.assertEqual((done.returncode, done.stdout), (7, "['--trace', 'a b', '']\n"))
        done = self.tree.run("run", "--malloc", "sh", "-c", "kill -9 $$")
        self.assertEqual(done.returncode, -9)

    def test_script_without_interpreter(self):
        script = self.path("script")
        with open(script, "w", encoding="utf-8") as file:
            file.write("echo $LD_PRELOAD\n")
        os.chmod(script, 0o755)
        done = self.tree.run("run", script)
        self.assertEqual(done.stdout.strip(), self.face_file("malloc"), done.stderr)


class Refuse(Case):
    def test_not_found(self):
        self.refuses(127, "nosuch-program: not found in PATH", "run", "nosuch-program")
        self.refuses(127, "nosuch/program: No such file", "run", "nosuch/program")
        self.refuses(127, "not found in PATH", "run", "true", PATH="")
        self.refuses(127, "name is empty", "run", "")

    def test_cannot_run(self):
        plain = self.path("plain")
        with open(plain, "w", encoding="utf-8") as file:
            file.write("text\n")
        os.chmod(plain, 0o644)
        self.refuses(126, "plain: Permission denied", "run", plain)
        self.refuses(126, "Is a directory", "run", self.folder)
        self.refuses(126, "plain: Permission denied", "run", "plain", PATH=self.folder)

    def test_static_program(self):
        program = self.path("static")
        compile_c("int main(void) { return 0; }", program, "-static")
        self.refuses(126, f"{program}: it is statically linked", "run", program)
        script = self.path("script")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"#!{program}\n")
        os.chmod(script, 0o755)
        self.refuses(126, f"script: its interpreter {program}: it is statically", "run", script)

    def test_other_architecture(self):
        program = self.path("foreign")
        shutil.copy(shutil.which("true"), program)
        with open(program, "r+b") as file:
            file.seek(18)
            file.write(struct.pack("<H", 8))  # e_machine: MIPS
        self.refuses(126, "built for another architecture", "run", program)

    def test_damaged_program(self):
        program = self.path("damaged")
        with open(shutil.which("true"), "rb") as file:
            head = file.read(80)
        with open(program, "wb") as file:
            file.write(head)
        os.chmod(program, 0o755)
        self.assertIn(self.tree.run("run", program).returncode, (125, 126))

    def test_set_user_id(self):
        """As root a program of another user; else one of root's that every system has."""
        if os.getuid() == 0:
            program = self.path("other")
            shutil.copy(shutil.which("true"), program)
            os.chown(program, 65534, 65534)
            for mode, words in ((0o4755, "set-user-ID"), (0o2755, "set-group-ID")):
                os.chmod(program, mode)
                self.refuses(126, words, "run", program)
            os.chown(program, 0, 0)
            os.chmod(program, 0o4755)
            self.assertEqual(self.tree.run("run", "--malloc", program).returncode, 0)
            return
        found = [p for p in map(shutil.which, ("su", "passwd", "mount", "chsh", "sudo"))
                 if p and os.stat(p).st_mode & stat.S_ISUID]
        self.assertTrue(found, "no set-user-ID program on this system to try")
        self.refuses(126, "set-user-ID", "run", found[0])

    def test_missing_library(self):
        bare = Tree(self.path("bare"))
        for face in ("--libgc", "--malloc"):
            done = bare.run("run", face, "true")
            if "is missing" not in done.stderr:  # mallocgc is installed on this machine
                self.assertEqual(done.returncode, 0)
                continue
            self.assertEqual(done.returncode, 125)
            self.assertIn(os.path.join(bare.folder, "bin"), done.stderr)

    def test_path_that_cannot_be_named(self):
        for folder, face, words in (("a b", "--malloc", "LD_PRELOAD cannot name"),
                                    ("a:b", "--malloc", "LD_PRELOAD cannot name"),
                                    ("c:d", "--libgc", "LD_LIBRARY_PATH cannot name")):
            where = self.path(f"{face}{folder}")
            self.tree = Tree(where, *LIBRARIES.values())
            done = self.tree.run("run", face, "true")
            self.assertEqual(done.returncode, 125)
            self.assertRegex(done.stderr, words)


def main():
    global COMMAND
    if len(sys.argv) > 1:
        COMMAND = os.path.abspath(sys.argv[1])
    if not os.access(COMMAND, os.X_OK):
        sys.exit(f"cmd_test: {COMMAND} is missing: run `make` first")
    program = unittest.main(argv=sys.argv[:1], exit=False)
    result = program.result
    failed = len(result.failures) + len(result.errors) + len(result.skipped)
    print(f"cmd_test: {result.testsRun - failed} passed, {failed} failed")
    sys.exit(0 if result.wasSuccessful() and not failed and result.testsRun else 1)


if __name__ == "__main__":
    main()
