#!/usr/bin/env python3
"""pages_test.py - the malloc library on systems with pages of 16 and 64 KiB, which it asks for at run time: a library in front of
it says that pages are so large, hands out memory as such a system would, and ends the program at any call of ours whose
address or length is no multiple of them. Under it run programs, in the ordinary mode, the secure one, and sampled.

usage: pages_test.py COMMAND      (its library lies in ../lib)"""
import os
import shutil
import subprocess
import sys
import tempfile

SYSTEM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
static unsigned long ncalls;
static int ours(void *caller) {
  Dl_info at;
  return dladdr(caller, &at) && at.dli_fname && strstr(at.dli_fname, "libmallocgc-malloc");
}
static void look(const char *call, void *caller, uintptr_t addr, size_t n) {
  if (!ours(caller)) return;
  __atomic_add_fetch(&ncalls, 1, __ATOMIC_RELAXED);
  if (addr % PAGE == 0 && n % PAGE == 0) return;
  char text[200]; /* no dprintf: it calls malloc, which is just starting, perhaps */
  int length = snprintf(text, sizeof text, "%s(%#lx, %#lx): no multiple of a page of %d\n", call, (unsigned long)addr, (unsigned long)n, PAGE);
  _exit(write(2, text, (size_t)length) > 0 ? 78 : 79);
}
#define HERE __builtin_return_address(0)
long sysconf(int name) {
  static long (*real)(int);
  if (name == _SC_PAGESIZE) return PAGE;
  if (real == NULL) real = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
  return real(name);
}
int getpagesize(void) { return PAGE; }
unsigned long getauxval(unsigned long type) {
  static unsigned long (*real)(unsigned long);
  if (type == AT_PAGESZ) return PAGE;
  if (real == NULL) real = (unsigned long (*)(unsigned long))dlsym(RTLD_NEXT, "getauxval");
  return real(type);
}
static void *file; /* the last one that was mapped: a file ends where it ends */
void *mmap(void *addr, size_t n, int prot, int flags, int fd, off_t off) {
  if (!(flags & MAP_ANONYMOUS)) return file = (void *)syscall(SYS_mmap, addr, n, prot, flags, fd, off);
  look("mmap", HERE, (uintptr_t)addr, n);
  if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
    return (void *)syscall(SYS_mmap, addr, n, prot, flags, fd, off);
  n = (n + PAGE - 1) / PAGE * PAGE; /* at a multiple of a page, as this system would */
  uintptr_t p = (uintptr_t)syscall(SYS_mmap, NULL, n + PAGE, prot, flags, fd, off);
  if (p == (uintptr_t)-1) return MAP_FAILED;
  uintptr_t at = (p + PAGE - 1) / PAGE * PAGE;
  if (at > p) syscall(SYS_munmap, p, at - p);
  if (p + PAGE > at) syscall(SYS_munmap, at + n, p + PAGE - at);
  return (void *)at;
}
void *mmap64(void *addr, size_t n, int prot, int flags, int fd, off_t off) { return mmap(addr, n, prot, flags, fd, off); }
int munmap(void *p, size_t n) { if (p != file) look("munmap", HERE, (uintptr_t)p, n); return (int)syscall(SYS_munmap, p, n); }
int mprotect(void *p, size_t n, int prot) { look("mprotect", HERE, (uintptr_t)p, n); return (int)syscall(SYS_mprotect, p, n, prot); }
int madvise(void *p, size_t n, int what) { look("madvise", HERE, (uintptr_t)p, n); return (int)syscall(SYS_madvise, p, n, what); }
void *mremap(void *p, size_t n, size_t room, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  void *to = flags & MREMAP_FIXED ? va_arg(rest, void *) : NULL;
  va_end(rest);
  look("mremap", HERE, flags & MREMAP_FIXED ? (uintptr_t)to : (uintptr_t)p, n | room);
  return (void *)syscall(SYS_mremap, p, n, room, flags, to);
}
__attribute__((destructor)) static void told(void) {
  if (getenv("PAGES_TOLD") != NULL) dprintf(2, "calls: %lu\n", ncalls);
}
"""
# Holes, moves, threads, large objects of odd sizes, memory that goes back.
PROGRAM = r"""
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
enum { N = 60000 };
static char *p[N];
static unsigned seed = 1;
static unsigned next(void) { return seed = seed * 1664525 + 1013904223, seed >> 8; }
static void need(int ok, const char *what) { if (!ok) { printf("%s\n", what); _exit(1); } }
static void *run(void *arg) {
  unsigned s = (unsigned)(uintptr_t)arg;
  for (int i = 0; i < 20000; i++) { size_t n = (s = s * 1664525 + 1013904223) >> 17; char *q = malloc(n + 1); q[n] = 1; free(q); }
  return NULL;
}
int main(void) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < N; i++) { size_t n = 64 + next() % 1500; p[i] = malloc(n); memset(p[i], i, n); }
    for (int i = 0; i < N; i++) if (i % 20 != 0) { free(p[i]); p[i] = NULL; } /* most of each slab: holes */
    malloc_trim(0);
    for (int i = 0; i < N; i += 20) { need(*p[i] == (char)i && p[i][63] == (char)i, "a block has changed"); free(p[i]); }
  }
  char *a = malloc(1500000), *b;
  for (size_t n = 1500000; n < 40000000; n = n * 3 / 2) { /* moves: something is always behind */
    memset(a, 7, n); b = malloc(3000000 + n % 7777); memset(b, 9, 3000000);
    a = realloc(a, n * 3 / 2); need(a[0] == 7 && a[n - 1] == 7 && b[0] == 9 && b[2999999] == 9, "moved wrong"); free(b); }
  a = realloc(a, 70000); need(a[69999] == 7, "shrunk wrong"); free(a);
  for (size_t n = 1; n < 3000000; n = n * 2 + 1) {
    char *v = valloc(n), *w = pvalloc(n), *c = calloc(n, 1);
    need((uintptr_t)v % page == 0 && (uintptr_t)w % page == 0, "not at a page");
    for (size_t i = 0; i < n; i += 500) need(c[i] == 0, "not zero");
    memset(c, 1, n); free(v); free(w); free(c); }
  pthread_t t[4];
  for (uintptr_t i = 0; i < 4; i++) pthread_create(&t[i], NULL, run, (void *)(i + 1));
  pid_t child = fork();
  if (child == 0) { run(NULL); for (int i = 0; i < 1000; i++) free(malloc(i * 100)); _exit(0); }
  int status; waitpid(child, &status, 0); need(status == 0, "the child failed");
  for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
  puts("done");
  return 0;
}
"""
PYTHON = "import json, threading; d = {str(i): [i] * 9 for i in range(20000)}; print(len(json.dumps(d)))"


def build(folder, name, text, *flags):
    source, out = os.path.join(folder, name + ".c"), os.path.join(folder, name)
    with open(source, "w", encoding="utf-8") as file:
        file.write(text)
    subprocess.run([os.environ.get("CC", "cc"), "-O1", "-fno-builtin", "-o", out, source, *flags], check=True)
    return out


def run(argv, system, library, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MGC_")}
    return subprocess.run(argv, env={**clean, **env, "LD_PRELOAD": f"{system} {library}", "PYTHONMALLOC": "malloc"},
                          capture_output=True, text=True, timeout=120, check=False)


def main():
    top = os.path.join(os.path.dirname(os.path.abspath(sys.argv[1])), "..")
    library = os.path.join(top, "lib/libmallocgc-malloc.so.0")
    if not os.path.exists(library):
        print("skipped: no library in this build")
        sys.exit(77)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="mallocgc-pages-") as folder:
        program = build(folder, "program", PROGRAM, "-pthread")
        for kib in (4, 16, 64):
            system = build(folder, f"system{kib}.so", SYSTEM, "-shared", "-fPIC", f"-DPAGE={kib * 1024}", "-ldl")
            runs = [([program], {}), ([program], {"MGC_DEBUG": "secure=1"}), ([program], {"MGC_DEBUG": "leaks=1,samplerate=64KiB"})]
            runs += [([shutil.which("python3"), "-c", PYTHON], {})] if shutil.which("python3") else []
            for argv, env in runs:
                done = run(argv, system, library, PAGES_TOLD="1", **env)
                calls = [int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("calls: ")]
                good = done.returncode == 0 and done.stdout.strip() != "" and calls and max(calls) > 10
                wrong += not good
                print(f"{kib} KiB, {os.path.basename(argv[0])} {env.get('MGC_DEBUG', '')}: "
                      f"{'good' if good else 'WRONG'}, status {done.returncode}, calls {calls}")
                if not good:
                    print(done.stdout[-500:], done.stderr[-1000:])
    sys.exit(1 if wrong else 0)


main()
