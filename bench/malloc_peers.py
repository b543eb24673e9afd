"""The mallocs that bench/malloc.py compares: ours, the C library's, Debian's packages, and newer ones
from PyPI and crates.io, fetched by the registries' own clients into build/bench/malloc when missing.

A peer that cannot be had (no package, no cargo, no network) is skipped with a line that says why.
"""
import glob
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from common import ROOT, skip

OURS = "mallocgc"
CRATES = os.path.join(ROOT, "bench", "malloc", "peers")
MIMALLOC3 = "cmeel-mimalloc==3.4.3"  # on PyPI; a wheel that holds libmimalloc.so


@dataclass
class Peer:
    name: str
    preload: str = None  # a shared object; None: nothing
    version: str = ""
    env: dict = field(default_factory=dict)

    def environment(self):
        return {**({"LD_PRELOAD": self.preload} if self.preload else {}), **self.env}


@dataclass
class Crate:
    feature: str
    package: str
    archive: str        # the static library to take from its build
    prefix: str = ""    # its names carry it: malloc is PREFIXmalloc
    libs: tuple = ("-lpthread",)


CRATE_PEERS = {
    "mi2": Crate("mimalloc2", "libmimalloc-sys", "libmimalloc.a"),
    "sn": Crate("snmalloc", "snmalloc-sys", "libsnmallocshim-rust.a", "sn_",
                ("-lpthread", "-latomic", "-lstdc++")),
    "je": Crate("jemalloc", "tikv-jemalloc-sys", "libjemalloc_pic.a", libs=("-lpthread", "-lm", "-ldl")),
}
DEBIAN_PEERS = {  # name: (library, package)
    "mi2-debian": ("libmimalloc.so.2", "libmimalloc2.0"),
    "je-debian": ("libjemalloc.so.2", "libjemalloc2"),
    "tc": ("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
}
VARIANTS = {  # ours with settings: only where they are asked for
    "secure": {"MGC_DEBUG": "secure=1"},
    "sampled": {"MGC_DEBUG": "samplerate=512KiB"},
}
NAMES = [OURS, "glibc", "mi3", "mi3-nothp", *CRATE_PEERS, *DEBIAN_PEERS]


def run(*command, **how):
    return subprocess.run(command, capture_output=True, text=True, check=False, **how)


class Finder:
    """find(names) gives those of the peers that are there; micro is the built bench/malloc/micro.c,
    which tells whose malloc it really got."""

    def __init__(self, build, folder, micro):
        self.build, self.folder, self.micro = build, folder, micro
        libc = run(micro, "which").stdout.strip()
        self.libc = libc if os.path.exists(libc) else None  # for programs linked against another malloc

    def find(self, names):
        found = {}
        for name in names:
            peer = self.one(name)
            if peer and self.is_used(peer):
                found[name] = peer
        return found

    def one(self, name):
        if name == OURS:
            return self.ours()
        if name in VARIANTS:
            peer = self.ours()
            return peer and Peer(name, peer.preload, peer.version, VARIANTS[name])
        if name == "glibc":
            return Peer(name, version=os.confstr("CS_GNU_LIBC_VERSION").split()[-1])
        if name == "mi3":
            return self.mimalloc3()
        if name == "mi3-nothp":
            peer = self.mimalloc3()
            return peer and Peer(name, peer.preload, peer.version, {"MIMALLOC_ALLOW_THP": "0"})
        return self.crate(name, CRATE_PEERS[name]) if name in CRATE_PEERS else self.debian(name)

    def ours(self):
        path = os.path.join(self.build, "lib", "libmallocgc-malloc.so.0")
        if not os.path.exists(path):
            return skip(OURS, f"no {os.path.relpath(path, ROOT)}: `make` builds it")
        with open(os.path.join(ROOT, "VERSION"), encoding="utf-8") as f:
            return Peer(OURS, path, f.read().strip())

    def debian(self, name):
        library, package = DEBIAN_PEERS[name]
        found = glob.glob(f"/usr/lib/*/{library}")
        if not found:
            return skip(name, f"no {library} (Debian: apt-get install {package})")
        version = run("dpkg-query", "-W", "-f=${Version}", package).stdout if shutil.which("dpkg-query") else ""
        return Peer(name, found[0], version)

    def mimalloc3(self):
        folder = os.path.join(self.folder, "pypi")
        library = os.path.join(folder, "cmeel.prefix", "lib", "libmimalloc.so.3")
        if not os.path.exists(library):
            done = run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder,
                       MIMALLOC3)
            if not os.path.exists(library):
                why = (done.stderr.strip().splitlines() or ["no library in it"])[-1]
                return skip("mi3", f"pip could not install {MIMALLOC3}: {why}")
        return Peer("mi3", library, MIMALLOC3.split("==")[1])

    def crate(self, name, crate):
        library = os.path.join(self.folder, f"lib{name}.so")
        manifest = os.path.join(CRATES, "Cargo.toml")
        with open(manifest, encoding="utf-8") as f:
            version = next(line.split('"=')[1].split('"')[0] for line in f if line.startswith(crate.package))
        version = f"{crate.package} {version}"
        if os.path.exists(library) and os.path.getmtime(library) > os.path.getmtime(manifest):
            return Peer(name, library, version)
        if not shutil.which("cargo"):
            return skip(name, f"no cargo to build {version} from crates.io with")
        print(f"building {version} with cargo", flush=True)
        done = run("cargo", "build", "--locked", "--release", "--features", crate.feature, "--manifest-path",
                   manifest, "--target-dir", os.path.join(self.folder, "cargo"), "--message-format", "json",
                   env={**os.environ, "CFLAGS": "-fvisibility=hidden"})
        archive = self.archive_of(done.stdout, crate) if done.returncode == 0 else None
        if not archive:
            return skip(name, f"cargo could not build {version}: "
                              + (done.stderr.strip().splitlines() or ["no archive"])[-1])
        error = self.link(archive, library, crate)
        return skip(name, f"{version} does not link: {error}") if error else Peer(name, library, version)

    @staticmethod
    def archive_of(messages, crate):
        for line in messages.splitlines():
            message = json.loads(line)
            if message.get("reason") == "build-script-executed" and crate.package in message["package_id"]:
                found = glob.glob(os.path.join(message["out_dir"], "**", crate.archive), recursive=True)
                return found[0] if found else None
        return None

    @staticmethod
    def link(archive, library, crate):
        aliases = []
        if crate.prefix:
            defined = {line.split()[-1] for line in run("nm", archive).stdout.splitlines() if " T " in line}
            aliases = [f"-Wl,--defsym={name.removeprefix(crate.prefix)}={name}"
                       for name in sorted(defined) if name.startswith(crate.prefix)]
        done = run(os.environ.get("CC", "cc"), "-shared", "-o", library, "-Wl,--whole-archive", archive,
                   "-Wl,--no-whole-archive", *aliases, *crate.libs)
        return done.stderr.strip().splitlines()[-1] if done.returncode else ""

    def is_used(self, peer):
        """Whether a program under this peer runs, and gets malloc from it."""
        done = run(self.micro, "which", env={**os.environ, **peer.environment()})
        got = done.stdout.strip()
        if done.returncode or (peer.preload and os.path.realpath(got) != os.path.realpath(peer.preload)):
            why = done.stderr.strip().splitlines()[-1:] or [f"malloc comes from {got or 'nowhere'}"]
            return bool(skip(peer.name, f"{peer.preload} does not work: {why[0]}"))
        return True
