#!/usr/bin/env python3
"""late_test.py - the malloc library works when it is loaded late, by dlopen, into a process whose threads run: it
needs a few bytes of static thread-local storage, which the C library has left for such, and memory comes and
goes on threads that were there before it. The process's own malloc stays the C library's.

usage: late_test.py COMMAND      (its library lies in ../lib)"""
import ctypes
import os
import re
import subprocess
import sys
import threading

MOST_TLS = 32  # bytes: a pointer to the thread's cache, and what the locks note
THREADS, ROUNDS = 4, 3000


def static_tls(library):
    """Without what builds add that check in which order locks are taken."""
    text = subprocess.run(["readelf", "-lsW", library], capture_output=True, text=True, check=True).stdout
    checks = re.search(r"(\d+) TLS +LOCAL +\S+ +\d+ held$", text, re.M)
    return (int(re.search(r"^ +TLS +\S+ +\S+ +\S+ +\S+ +(0x\w+)", text, re.M).group(1), 16)
            - (int(checks.group(1)) if checks else 0))


def load(library):
    lib = ctypes.CDLL(library, mode=os.RTLD_LOCAL | os.RTLD_NOW)
    lib.malloc.restype = lib.realloc.restype = ctypes.c_void_p
    lib.malloc.argtypes = [ctypes.c_size_t]
    lib.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    lib.free.argtypes = [ctypes.c_void_p]
    return lib


def churn(lib, number, shared, wrong):
    """Blocks that carry a mark, some of them freed by another thread."""
    for i in range(ROUNDS):
        size = 16 + (i * 7919 + number) % 5000 + (200000 if i % 100 == 0 else 0)
        p = lib.malloc(size)
        ctypes.memset(p, number + 1, size)
        if i % 3 == 0:
            p = lib.realloc(p, size + 3000)
        if ctypes.string_at(p, 16) != bytes([number + 1]) * 16:
            wrong.append(f"thread {number}, block {i}: not what was written")
        with shared[0]:
            shared.append(p)
            other = shared.pop(1) if len(shared) > 50 else None
        if other:
            lib.free(other)


def main():
    library = os.path.join(os.path.dirname(sys.argv[1]), "../lib/libmallocgc-malloc.so.0")
    if not os.path.exists(library):
        print("skipped: no library in this build")
        sys.exit(77)
    wrong, shared, loaded, box = [], [threading.Lock()], threading.Event(), []

    def work(number):
        loaded.wait()
        churn(box[0], number, shared, wrong)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for t in threads:
        t.start()
    box.append(load(library))
    loaded.set()
    for t in threads:
        t.join()
    lib = box[0]
    for p in shared[1:]:
        lib.free(p)
    child = os.fork()
    if child == 0:
        churn(lib, 1, [threading.Lock()], wrong)
        os._exit(len(wrong) != 0)
    if os.waitpid(child, 0)[1] != 0:
        wrong.append("the child of a fork failed")
    tls = static_tls(library)
    if not 8 <= tls <= MOST_TLS:
        wrong.append(f"{tls} bytes of static thread-local storage")
    print(f"{tls} bytes of static thread-local storage, {THREADS * ROUNDS} blocks")
    print("\n".join(wrong[:5]))
    sys.exit(len(wrong) != 0)


main()
