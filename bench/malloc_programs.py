"""The programs that bench/malloc.py runs: ours (bench/malloc/*.c), and real ones on our workloads."""
import hashlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from common import ROOT, parse_lines

DIR = os.path.join(ROOT, "bench", "malloc")
REAL = os.path.join(DIR, "real")
ONE, TWO, REAL_GROUP = "one thread", "two threads", "real programs"
IDLE = "idle"  # not timed: what a process keeps that does nothing


@dataclass
class Program:
    """args: {n} stands for the size, n = (full, quick). run() gives (finished process, cost, checksum,
    metrics); the checksum must not depend on the malloc."""
    name: str
    group: str
    source: str
    args: str
    n: tuple
    warm_mib: int = 128
    env: dict = field(default_factory=dict)
    timeout_s: int = 120

    def missing(self):
        return None

    def prepare(self, context):
        pass

    def one_cpu(self):
        return self.group == ONE

    def size(self, context):
        full, quick = self.n
        return quick if context.quick else max(quick, round(full * context.share))

    def command(self, context):
        return [context.binary(self.source), *self.args.format(n=self.size(context)).split()]

    def describe(self, context):
        """The command for the record, without this machine's folders."""
        return f"{self.source} {self.args.format(n=self.size(context))}"

    def checksum(self, done):
        values = parse_lines(done.stdout)
        return values.pop("checksum", ""), values

    def run(self, context, peer, cpu):
        done, cost = context.launcher.run(
            self.command(context), env={**self.env, **peer.environment()}, warm_mib=self.warm_mib,
            timeout_s=self.timeout_s, cpu=cpu if self.one_cpu() else None)
        return (done, cost, *self.checksum(done))


@dataclass
class Real(Program):
    """A program of the system; its whole output is the checksum. {bin}: its path, {here}: real/,
    {work}: a scratch folder. Needs the executables of needs, from the Debian package."""
    needs: tuple = ()
    package: str = ""
    pinned: bool = True

    def one_cpu(self):
        return self.pinned

    def missing(self):
        lacking = [name for name in self.needs if not find(name)]
        return f"no {lacking[0]} (Debian: apt-get install {self.package})" if lacking else None

    def command(self, context):
        return ["sh", "-c", self.args.format(n=self.size(context), here=REAL, work=context.work,
                                             bin=find(self.needs[0]))]

    def describe(self, context):
        return self.args.format(n=self.size(context), here="real", work=".", bin=self.needs[0]).strip()

    def checksum(self, done):
        return hashlib.sha256(done.stdout.encode()).hexdigest()[:16], {}


def find(name):
    """Debian's own executable before any wrapper in front of it."""
    usual = os.path.join("/usr/bin", name)
    return usual if os.access(usual, os.X_OK) else shutil.which(name)


class Git(Real):
    """History of a repository that is made here: log with patches, repack, fsck."""

    def prepare(self, context):
        template = os.path.join(context.work, f"template-{self.size(context)}.git")
        if os.path.isdir(template):
            return
        subprocess.run(["git", "init", "--quiet", "--bare", template], check=True)
        subprocess.run(["git", "-C", template, "fast-import", "--quiet", "--force"], check=True,
                       input=self.history(self.size(context)).encode())

    @staticmethod
    def history(ncommits):
        """A stream for git fast-import: each commit rewrites some lines of a few of 60 files."""
        state, out = 1, []
        files = [[f"line {i} of file {f}" for i in range(200)] for f in range(60)]
        for commit in range(ncommits):
            out.append(f"commit refs/heads/main\ncommitter A U Thor <a@example.com> {1700000000 + 60 * commit}"
                       f" +0000\ndata <<END\nchange {commit}\nEND")
            for _ in range(4):
                state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
                f, line = (state >> 33) % 60, (state >> 43) % 200
                files[f][line] = f"line {line} changed in {commit}: {state:x}"
                text = "\n".join(files[f])
                out.append(f"M 100644 inline dir{f % 7}/file{f}.txt\ndata {len(text)}\n{text}")
        return "\n".join(out) + "\ndone\n"


class Redis(Real):
    """redis-server under redis-benchmark on a socket. Wall time is the client's; CPU time and memory
    are the server's. The checksum is of a data set that a script makes in the server afterwards."""
    TESTS = "set,get,incr,lpush,rpush,lpop,sadd,hset,zadd,mset"

    def run(self, context, peer, cpu):
        preload = peer.environment()
        preload.setdefault("LD_PRELOAD", context.libc)  # Debian's is linked against jemalloc
        socket = os.path.join(context.work, "redis.sock")
        client = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        with subprocess.Popen(context.launcher.command(
                [find("redis-server"), "--port", "0", "--unixsocket", socket, "--save", "", "--dir",
                 context.work, "--daemonize", "no", "--logfile", "/dev/null"],
                env=preload, timeout_s=self.timeout_s), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True) as server:
            def cli(*words):
                return subprocess.run(["redis-cli", "-s", socket, *words], capture_output=True, text=True,
                                      env=client, check=False).stdout
            for _ in range(200):
                if server.poll() is not None or cli("ping").startswith("PONG"):
                    break
                time.sleep(0.02)
            start = time.monotonic()
            load = subprocess.run(["redis-benchmark", "-s", socket, "-q", "-P", "16", "-r", "50000", "-d", "64",
                                   "-n", str(self.size(context)), "-t", self.TESTS],
                                  capture_output=True, text=True, env=client, check=False)
            wall = time.monotonic() - start
            with open(os.path.join(REAL, "check.redis.lua"), encoding="utf-8") as f:
                digest = cli("eval", f.read(), "0")
            cli("shutdown", "nosave")
            errors = server.communicate()[1]
        cost = context.launcher.cost()
        cost["wall_s"] = wall
        status = server.returncode or load.returncode or (0 if digest else 1)
        done = subprocess.CompletedProcess("redis", status, digest, errors + load.stderr)
        return (done, cost, *self.checksum(done))


def c_programs():
    def both(name, source, args, n, **how):
        """args with {t} for the number of threads; two threads do what one does, each."""
        return [Program(name, ONE, source, args.replace("{t}", "1"), n, **how),
                Program(name + "-2", TWO, source, args.replace("{t}", "2"), n, **how)]
    return [
        *both("random-1k", "random", "{t} 1000 {n} 8192", (8000000, 800000)),
        *both("random-64k", "random", "{t} 64000 {n} 8192", (2000000, 200000)),
        *both("lifo", "same", "lifo {t} 32 100000 {n}", (120, 12)),
        *both("fifo", "same", "fifo {t} 64 50000 {n}", (200, 20)),
        *both("half", "same", "half {t} 256 40000 {n}", (60, 6)),
        *both("strings", "grow", "strings {t} 1000 {n} 4096", (6000, 600)),
        Program("vector", ONE, "grow", "vector 1 0 {n} 67108864", (12, 2), 256),
        *both("tree", "tree", "{t} 16 {n}", (8, 1)),
        *both("map", "map", "{t} 50000 {n}", (600000, 60000)),
        *both("words", "words", "{t} 600000 60000 {n}", (3, 1)),
        *both("zeroed", "zeroed", "{t} 1000 {n} 65536", (4000000, 400000)),
        *both("aligned", "aligned", "{t} 2000 {n}", (3000000, 300000)),
        *both("medium", "blocks", "{t} 100 {n} 4096 262144 1", (100000, 10000)),
        *both("large", "blocks", "{t} 12 {n} 262144 33554432 16", (2000, 200), warm_mib=384),
        *both("app", "app", "{t} {n} 2000", (250, 25)),
        *both("containers", "containers", "{t} {n} 20000", (25, 3)),
        *both("phases", "phases", "{t} 96 {n}", (8, 3), warm_mib=256),
        Program("server-2", TWO, "server", "2 1000 {n} 20000", (200, 20)),
        Program("server-4", TWO, "server", "4 5000 {n} 20000", (80, 8)),
        Program("handoff-single", TWO, "handoff", "single 1 {n}", (1500000, 150000)),
        Program("handoff-batch", TWO, "handoff", "batch 1 {n}", (4000000, 400000)),
        Program("handoff-mesh", TWO, "handoff", "mesh 1 {n}", (4000000, 400000)),
        Program("births", TWO, "births", "2 {n} 100", (6000, 600)),
        Program("scratch", TWO, "scratch", "2 8 {n} 20000", (1500, 150)),
    ]


def idle_programs():
    return [Program(f"idle-{pattern}", IDLE, "idle", pattern + " {n} 1000", (256, 32))
            for pattern in ("all", "pages", "twentieth", "worker", "others", "pool", "trickle")]


def real_programs():
    def real(name, command, n, needs, package, kind=Real, **how):
        return kind(name, REAL_GROUP, "", command, n, needs=needs, package=package, **how)
    python = {"PYTHONHASHSEED": "0"}
    return [
        real("python", "exec {bin} {here}/work.py {n}", (3, 1), ("python3",), "python3", env=python),
        real("python-malloc", "exec {bin} {here}/work.py {n}", (2, 1), ("python3",), "python3",
             env={**python, "PYTHONMALLOC": "malloc"}),
        real("sqlite", "exec {bin} -batch -cmd '.param set :n {n}' :memory: <{here}/work.sql",
             (160000, 20000), ("sqlite3",), "sqlite3"),
        real("gcc", "exec {bin} -O1 -S -DFUNCTION_GROUPS={n} -o - {here}/compile.c", (6, 1), ("gcc",), "gcc"),
        real("g++", "exec {bin} -O0 -S -DINSTANCES={n} -o - {here}/compile.cc", (3, 1), ("g++",), "g++"),
        real("git", "sh {here}/work.git.sh {work}/template-{n}.git {work}/scratch.git", (500, 60), ("git",),
             "git", kind=Git),
        real("lua", "exec {bin} {here}/work.lua {n}", (2, 1), ("lua5.4",), "lua5.4"),
        real("perl", "exec {bin} {here}/work.pl {n}", (2, 1), ("perl",), "perl"),
        real("node", "exec {bin} {here}/work.js {n}", (3, 1), ("node",), "nodejs", pinned=False),
        real("redis", "{bin} under redis-benchmark -n {n}", (60000, 6000), ("redis-server", "redis-benchmark", "redis-cli"),
             "redis-server redis-tools", kind=Redis, pinned=False),
    ]
