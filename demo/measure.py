"""measure.py - run one program on one collector and say what it cost.

Used by demo/run.py and test/conform/libgc/clients.py. A Library says how a program is started on
a collector and how that collector reports its collections; run() starts the program once, in a
process group of its own, and returns a Result. Python's standard library only; Linux only."""
import ctypes
import os
import re
import select
import shutil
import signal
import statistics
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = {"guile": "guile-3.0", "nekoc": "neko", "nix-instantiate": "nix-bin"}
POLL_S = 0.01

# libgc 8 prints this for each collection when GC_PRINT_STATS is set.
LIBGC_LINE = re.compile(r"^World-stopped marking took (\d+) ms (\d+) ns", re.M)
# Go's GODEBUG=gctrace=1: "gc 3 @0.1s 2%: 0.02+1.5+0.03 ms clock, ..."; the outer two are stops.
GCTRACE_LINE = re.compile(r"^gc \d+ @[\d.]+ ?s +\d+%: ([\d.]+)\+[\d.]+\+([\d.]+) ms clock", re.M)


class Missing(Exception):
    """Something that has to be installed or built first; the text says what and how."""


def libgc_pauses(text):
    """Seconds the world was stopped, one for each collection in a log of libgc."""
    return [int(ms) / 1e3 + int(ns) / 1e9 for ms, ns in LIBGC_LINE.findall(text)]


def gctrace_pauses(text):
    """The same from lines in the format of Go's gctrace: the longer of its two stops."""
    return [max(float(a), float(c)) / 1e3 for a, c in GCTRACE_LINE.findall(text)]


class Library:
    """A collector: .name, .version, and how to start a program on it. `settings` are environment
    variables of every run, `tracing` those that make it report its collections in a file that
    `log` names; pauses() reads that file."""

    def __init__(self, name, version, prefix, settings, tracing, log, pauses):
        self.name, self.version, self.prefix = name, version, prefix
        self.settings, self.tracing, self.log, self.pauses = settings, tracing, log, pauses

    def environment(self, extra, log):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("GC_", "MGC_")) and k not in ("LD_PRELOAD", "LD_LIBRARY_PATH")}
        env.update(LC_ALL="C.UTF-8", TERM="dumb", **self.settings, **extra)
        if log:
            env.update(self.tracing, **{self.log: log})
        return env


def libgc_version(path):
    try:
        number = ctypes.CDLL(path).GC_get_version()
    except (OSError, AttributeError):
        raise Missing(f"{path} is missing: `make deps-all` installs libgc1") from None
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}"


def system_libgc(folder=None):
    """libgc.so.1 as the dynamic linker finds it, or the one in `folder`."""
    settings = {}
    path = "libgc.so.1"
    if folder:
        path = os.path.join(os.path.abspath(folder), path)
        settings["LD_LIBRARY_PATH"] = os.path.abspath(folder)
    return Library("libgc", libgc_version(path), [], settings,
                   {"GC_PRINT_STATS": "1"}, "GC_LOG_FILE", libgc_pauses)


def our_libgc(build):
    command = os.path.join(build, "bin", "mallocgc")
    library = os.path.join(build, "libgc", "libgc.so.1")
    for path in (command, library):
        if not os.path.exists(path):
            raise Missing(f"{os.path.relpath(path)} is missing: run `make` first")
    with os.popen(f"'{command}' --version") as answer:
        version = answer.readline().split()
    return Library("mallocgc", version[-1] if version else "?", [command, "run", "--libgc", "--"],
                   {}, {"MGC_DEBUG": "gctrace=1"}, "MGC_LOG", gctrace_pauses)


def need(*programs):
    """Raises Missing with every program of the list that is not installed."""
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        packages = " ".join(PACKAGE.get(p, p) for p in missing)
        raise Missing(f"not installed: {', '.join(missing)}\n"
                      f"  `make deps-all` installs them (Debian: apt-get install {packages})")


class Result:
    """What one run did. .error is None or says how it went wrong; times in s, sizes in MiB."""

    def __init__(self):
        self.error = None
        self.wall = self.cpu = self.peak = 0.0
        self.pauses, self.step = [], None
        self.output = self.errors = b""


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def peak_rss(pid):
    """Peak resident set of that process alone, MiB. (getrusage would mix in its children and
    what Python had before exec.)"""
    match = re.search(rb"^VmHWM:\s+(\d+) kB", read(f"/proc/{pid}/status"), re.M)
    return int(match.group(1)) / 1024 if match else 0.0


def watch(pid, result, limit_s, limit_mib):
    """Waits for the process; fills in wall, cpu, peak and error."""
    start = time.monotonic()
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    why = None
    try:
        while not poll.poll(POLL_S * 1000):
            result.peak = max(result.peak, peak_rss(pid))
            if time.monotonic() - start > limit_s:
                why = f"still running after {limit_s:g} s"
            elif result.peak > limit_mib:
                why = f"grew past {limit_mib:g} MiB"
            if why:
                os.killpg(pid, signal.SIGKILL)
                break
    finally:
        os.close(handle)
    _, status, usage = os.wait4(pid, 0)
    result.wall = time.monotonic() - start
    result.cpu = usage.ru_utime + usage.ru_stime
    if why:
        result.error = why
    elif os.WIFSIGNALED(status):
        result.error = f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    elif os.WEXITSTATUS(status):
        result.error = f"exit status {os.WEXITSTATUS(status)}"


def run(library, argv, env=None, cwd=None, trace=True, limit_s=120, limit_mib=6144):
    """Starts argv once on that library and waits for it. trace: also collect the pauses."""
    result = Result()
    with tempfile.TemporaryDirectory(prefix="mallocgc-") as folder:
        out, err, log, step = (os.path.join(folder, n) for n in ("out", "err", "log", "step"))
        work = cwd or os.path.join(folder, "work")
        os.makedirs(work, exist_ok=True)
        extra = {"HOME": folder, "DEMO_STEPS": step, **(env or {})}
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                   (os.POSIX_SPAWN_OPEN, 1, out, os.O_WRONLY | os.O_CREAT, 0o600),
                   (os.POSIX_SPAWN_OPEN, 2, err, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)]
        line = library.prefix + argv
        here = os.getcwd()
        try:
            os.chdir(work)
            pid = os.posix_spawnp(line[0], line, library.environment(extra, log if trace else None),
                                  file_actions=actions, setpgroup=0)
        finally:
            os.chdir(here)
        watch(pid, result, limit_s, limit_mib)
        result.output, result.errors = read(out), read(err)
        if trace:
            text = read(log) or result.errors
            result.pauses = library.pauses(text.decode("utf-8", "replace"))
            if not result.pauses and not result.error:
                result.error = f"no collection reported: was {library.name} used at all?"
        if os.path.exists(step) and not result.error:
            result.step = float(read(step))
    return result


def tail(text, nlines=6):
    """The last lines of a program's stderr, indented, for a message."""
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return "".join(f"\n      {line[:200]}" for line in lines[-nlines:])


def first_difference(a, b):
    """Where two outputs part, as text."""
    a, b = a.split(b"\n"), b.split(b"\n")
    for number, (x, y) in enumerate(zip(a, b), 1):
        if x != y:
            return f"line {number}: {x[:120]!r} and {y[:120]!r}"
    return f"one has {len(a)} lines, the other {len(b)}"


def median(results, value):
    return statistics.median(value(r) for r in results)


def geometric_mean(values):
    values = [v for v in values if v]
    return statistics.geometric_mean(values) if values else None


def die(message):
    print(message, file=sys.stderr)
    sys.exit(1)
