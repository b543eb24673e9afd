"""What bench/run.py and bench/malloc.py share: running a program through c/launch.c, the CSV, numbers."""
import csv
import datetime
import os
import platform
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
C_DIR = os.path.join(ROOT, "bench", "c")
CFLAGS = ["-O2", "-std=gnu17", "-Wall", "-Wextra"]
WARM_AT_START_MIB = 2048


def skip(variant, why):
    print(f"skipped {variant}: {why}", flush=True)


def compile_c(cc, source, out, *flags):
    """Compile and link; the compiler's messages if that failed, [] if it worked."""
    done = subprocess.run([cc, *CFLAGS, source, "-o", out, *flags],
                          capture_output=True, text=True)
    return done.stderr.strip().splitlines() if done.returncode else []


def parse_lines(text):
    """`key value` lines; anything else a program prints is ignored."""
    values = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2:
            try:
                values[words[0]] = int(words[1]) if words[1].isdigit() else float(words[1])
            except ValueError:
                pass
    return values


def idlest_cpus(cpus, n, seconds=0.2):
    """The n CPUs with the most idle time just now."""
    def idle():
        rows = {}
        with open("/proc/stat", encoding="ascii") as f:
            for line in f:
                words = line.split()
                if words[0].startswith("cpu") and words[0][3:].isdigit():
                    rows[int(words[0][3:])] = int(words[4])
        return rows
    before = idle()
    time.sleep(seconds)
    after = idle()
    return sorted(cpus, key=lambda c: before.get(c, 0) - after.get(c, 0))[:n]


def idlest_cpu(cpus, seconds=0.2):
    return idlest_cpus(cpus, 1, seconds)[0]


def commit_id():
    def git(*args):
        return subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True).stdout.strip()
    head = git("rev-parse", "--short=12", "HEAD")
    if not head or head == "HEAD":
        return "none"
    return head + ("-dirty" if git("status", "--porcelain", "--", "src", "include", "bench/*.py", "bench/c",
                                   "bench/go", "bench/malloc") else "")


def machine_id():
    model = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            fields = dict(line.split(":", 1) for line in f if line.count(":") == 1)
        get = {k.strip(): v.strip() for k, v in fields.items()}.get
        model = f"{get('model name', model)} family {get('cpu family', '?')} model {get('model', '?')}"
    except (OSError, ValueError):
        pass
    return f"{model} x{os.cpu_count()}"


class Launcher:
    """c/launch.c, compiled into DIR; run() measures one run of a program."""

    def __init__(self, cc, folder):
        self.path = os.path.join(folder, "launch")
        self.report = os.path.join(folder, f"report.{os.getpid()}.txt")
        errors = compile_c(cc, os.path.join(C_DIR, "launch.c"), self.path)
        if errors:
            sys.exit("bench: launch.c does not compile:\n" + "\n".join(errors))

    def command(self, command, *, env=None, cpu=None, warm_mib=0, timeout_s=300):
        launch = [self.path, "-o", self.report, "-t", str(timeout_s)]
        launch += ["-w", str(warm_mib)] if warm_mib else []
        launch += ["-c", str(cpu)] if cpu is not None else []
        for name, value in (env or {}).items():
            launch += ["-e", f"{name}={value}"]
        return [*launch, "--", *command]

    def cost(self):
        """What the run that just ended cost: wall_s, user_s, sys_s, cpu_s, rss_mib, ..."""
        with open(self.report, encoding="ascii") as f:
            cost = parse_lines(f.read())
        os.unlink(self.report)
        return cost

    def run(self, command, *, cwd=None, stdin=None, **how):
        """(finished process, cost)"""
        done = subprocess.run(self.command(command, **how), capture_output=True, text=True, cwd=cwd,
                              stdin=stdin, check=False)
        return done, self.cost()

    def warm(self, nmib):
        self.run(["true"], warm_mib=nmib)


class Log:
    """Every run is a row of a CSV; failures are kept for the end."""
    COLUMNS = ["date", "commit", "machine", "kernel", "load", "program", "variant", "version", "rep",
               "cpu", "command", "environment", "exit", "wall_s", "user_s", "sys_s", "cpu_s",
               "rss_mib", "minor_faults", "involuntary_switches", "checksum", "metrics"]

    def __init__(self, out, kind=""):
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        self.path = out or os.path.join(ROOT, "bench", "results", f"{stamp}{kind}-{commit_id()}.csv")
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        self.constant = {"commit": commit_id(), "machine": machine_id(), "kernel": platform.release()}
        self.failures = []
        self.file = open(self.path, "w", newline="", encoding="utf-8")
        self.csv = csv.DictWriter(self.file, self.COLUMNS)
        self.csv.writeheader()

    def row(self, **values):
        now = datetime.datetime.now().astimezone().isoformat("T", "seconds")
        row = dict(self.constant, date=now, load="%.2f" % os.getloadavg()[0], **values)
        self.csv.writerow({k: v for k, v in row.items() if k in self.COLUMNS})
        self.file.flush()

    def fail(self, text):
        self.failures.append(text)
        print("FAILED " + text, flush=True)

    def ended(self, what, done):
        """Note a run that failed, with the last line of its complaint; True when it did not."""
        if done.returncode:
            why = "timed out" if done.returncode == 124 else f"exit status {done.returncode}"
            last = done.stderr.strip().splitlines()[-1:] or [""]
            self.fail(f"{what}: {why} {last[0]}".rstrip())
        return done.returncode == 0


def number(x):
    """Four digits, and no exponent where a count can be written out."""
    return "%.0f" % x if abs(x) >= 1000 else "%.4g" % x
