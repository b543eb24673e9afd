"""command.py - for tests of the command: where it is, what lies beside it, and the last lines of each."""
import os
import sys
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMAND = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(TOP, "build", "bin", "mallocgc")


def beside(*names):
    """A path in the build that the command is from."""
    return os.path.join(os.path.dirname(os.path.dirname(COMMAND)), *names)


def main():
    program = unittest.main(argv=sys.argv[:1], exit=False)
    sys.exit(0 if program.result.wasSuccessful() and program.result.testsRun else 1)
