/* os_linux_objects.c - what the dynamic loader loaded: writable data, thread-local blocks.
 * WHAT   walks the program headers of every object, and the loader's vector (dtv) of one thread's
 *        thread-local blocks.
 * WHO    the collector, for roots, with the world stopped inside os_each_data's `within`.
 * STATE  none: the loader's own list is read each time (8 ns an object).
 * INV    D1 everything reported was mapped when reported and stays so until `within` returns
 *        D2 no word of a stopped thread's vector is trusted: it may have been stopped while the
 *           loader rebuilt it
 * LOCKS  the loader's (dl_load_write_lock, recursive), taken by dl_iterate_phdr.
 * UNITS  bytes.
 * FROM   glibc 2.36 elf/dl-iteratephdr.c, elf/dl-tls.c, sysdeps/{x86_64,aarch64}/nptl/tls.h.
 *
 * THE LOCK. dl_iterate_phdr holds the loader's lock from its first callback to its last, but does
 * not say which callback is the last. So all work is done in the first one: it walks the list with
 * a second, nested dl_iterate_phdr (the lock is recursive), runs `within`, and returns 1, which
 * ends the outer walk. musl holds no lock while it calls back: there objects are never unloaded,
 * and one that another thread is loading right now may be missed until its next visit.
 *
 * STATIC BLOCKS. The blocks of modules with an offset fixed for all threads lie around the thread's
 * record. The vector does not name them all: when a loaded library takes space from the surplus
 * that the loader keeps there (initial-exec, or descriptors, which arm64 uses), threads that are
 * running use the block without an entry. So one range is reported for the whole area: the record,
 * which also holds the first 32 values of pthread_setspecific, the blocks known, and the surplus.
 *
 * NOT SEEN  objects in other namespaces (dlmopen); values of pthread_setspecific from the 33rd key
 *           on; a surplus above 4 KiB (glibc.rtld.optional_static_tls), except in threads other
 *           than the first, where it is part of the stack; all thread-local blocks on musl. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

/* ── data segments ──────────────────────────────────────────────────────────────────────── */

struct visit {
	void (*fn)(void *arg, uintptr_t lo, uintptr_t hi);
	void (*within)(void *arg);
	void *arg;
};

/* relro_of - what the loader makes read-only after relocation: the same rounding as its own. */
static struct os_segment relro_of(const struct dl_phdr_info *info)
{
	struct os_segment relro = { 0, 0 };
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		if (ph->p_type == PT_GNU_RELRO) {
			uintptr_t at = info->dlpi_addr + ph->p_vaddr;
			relro.lo = align_down(at, os_page_size());
			relro.hi = align_down(at + ph->p_memsz, os_page_size());
		}
	}
	return relro;
}

static int visit_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	const struct visit *v = arg;
	struct os_segment relro = relro_of(info);
	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		if (ph->p_type != PT_LOAD || (ph->p_flags & PF_W) == 0 || ph->p_memsz == 0)
			continue;
		uintptr_t lo = info->dlpi_addr + ph->p_vaddr, hi = lo + ph->p_memsz;
		/* What is left of [lo, hi) below and above the read-only part. */
		uintptr_t cut_lo = relro.lo < lo ? lo : relro.lo;
		uintptr_t cut_hi = relro.hi > hi ? hi : relro.hi;
		if (cut_lo >= cut_hi) {
			v->fn(v->arg, lo, hi);
			continue;
		}
		if (lo < cut_lo)
			v->fn(v->arg, lo, cut_lo);
		if (cut_hi < hi)
			v->fn(v->arg, cut_hi, hi);
	}
	return 0;
}

static int visit_all(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct visit *v = arg;
	(void)info;
	(void)size;
	dl_iterate_phdr(visit_object, v);
	if (v->within != NULL)
		v->within(v->arg);
	return 1; /* one call was enough */
}

void os_each_data(void (*fn)(void *arg, uintptr_t lo, uintptr_t hi), void (*within)(void *arg), void *arg)
{
	struct visit v = { fn, within, arg };
	dl_iterate_phdr(visit_all, &v);
}

/* ── what can be read ───────────────────────────────────────────────────────────────────── */

/* readable - whether the aligned word at addr can be read, asked without reading it: the kernel
 * copies the new mask before it looks at the impossible `how`, so EFAULT tells (as in abseil). */
static bool readable(uintptr_t addr)
{
	int saved = errno;
	if (addr == 0)
		return false; /* means "no mask" there */
	bool ok = syscall(SYS_rt_sigprocmask, -1, addr, NULL, sizeof(uint64_t)) == 0 || errno != EFAULT;
	errno = saved;
	return ok;
}

uintptr_t os_readable_end(uintptr_t lo, uintptr_t hi)
{
	uintptr_t page = os_page_size(), at = align_down(lo, page);
	while (at < hi && readable(at))
		at += page;
	return at < hi ? (at > lo ? at : lo) : hi;
}

uintptr_t os_readable_begin(uintptr_t lo, uintptr_t hi)
{
	uintptr_t page = os_page_size(), at = align_down(hi, page);
	while (at > lo && readable(at - page))
		at -= page;
	return at > lo ? at : lo;
}

bool os_readable(uintptr_t lo, uintptr_t hi)
{
	return lo >= hi || os_readable_end(align_down(lo, sizeof(uintptr_t)), hi) == hi;
}

/* ── thread-local blocks ────────────────────────────────────────────────────────────────── */

uintptr_t os_tls_self(void)
{
	uintptr_t tp;
#if defined(__x86_64__)
	__asm__("movq %%fs:0, %0" : "=r"(tp)); /* the record begins with its own address */
#elif defined(__aarch64__)
	__asm__("mrs %0, tpidr_el0" : "=r"(tp));
#endif
	return tp;
}

#ifdef __GLIBC__
/* glibc's dtv: [-1] holds the number of entries, [0] a generation, [id] the block of module id. */
struct dtv_entry {
	uintptr_t block; /* UNALLOCATED until the thread first uses the module */
	uintptr_t to_free; /* 0: a static block, next to the thread's record */
};
#define UNALLOCATED UINTPTR_MAX
/* Where the record holds the vector's address, and what lies on either side of the handle: blocks
 * grow away from the record. */
#define RECORD_BYTES 2304
#define SURPLUS_BYTES 4096
#if defined(__x86_64__)
#define DTV_OFFSET sizeof(uintptr_t)
#define BYTES_BELOW SURPLUS_BYTES
#define BYTES_ABOVE RECORD_BYTES
#else
#define DTV_OFFSET 0
#define BYTES_BELOW RECORD_BYTES
#define BYTES_ABOVE SURPLUS_BYTES
#endif
/* A static block further away than this is treated like a dynamic one. */
#define STATIC_REACH ((uintptr_t)16 << 20)

struct tls_visit {
	uintptr_t tp;
	const struct dtv_entry *dtv;
	uintptr_t nentries;
	uintptr_t static_lo, static_hi; /* around tp and the static blocks met so far */
	void (*fn)(void *arg, uintptr_t lo, uintptr_t hi);
	void *arg;
};

/* visit_block - D2. A dynamic block may be of a module that is gone and whose number was given to
 * another with a larger block, so each page is asked for. */
static void visit_block(struct tls_visit *v, uintptr_t id, size_t nbytes)
{
	if (id == 0 || id >= v->nentries)
		return;
	const volatile struct dtv_entry *entry = &v->dtv[id];
	uintptr_t lo = entry->block, hi = lo + nbytes;
	if (lo == 0 || lo == UNALLOCATED || hi < lo)
		return;
	if (entry->to_free == 0 && lo >= v->tp - STATIC_REACH && hi <= v->tp + STATIC_REACH) {
		v->static_lo = lo < v->static_lo ? lo : v->static_lo;
		v->static_hi = hi > v->static_hi ? hi : v->static_hi;
		return;
	}
	hi = os_readable_end(lo, hi);
	if (lo < hi)
		v->fn(v->arg, lo, hi);
}

static int visit_tls(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			visit_block(arg, info->dlpi_tls_modid, info->dlpi_phdr[i].p_memsz);
	return 0;
}

/* vector_length - the readable entries of a vector that claims to be at dtv. */
static uintptr_t vector_length(uintptr_t dtv)
{
	const uintptr_t entry = sizeof(struct dtv_entry);
	uintptr_t end;
	if (dtv % sizeof(uintptr_t) != 0 || dtv < entry || !readable(dtv - entry))
		return 0;
	uintptr_t count = *(const volatile uintptr_t *)(dtv - entry);
	if (__builtin_mul_overflow(count, entry, &end) || __builtin_add_overflow(dtv + entry, end, &end))
		return 0;
	return (os_readable_end(dtv, end) - dtv) / entry;
}

void os_each_tls(uintptr_t handle, void (*fn)(void *arg, uintptr_t lo, uintptr_t hi), void *arg)
{
	if (!readable(handle))
		return; /* a thread that is gone, with its stack */
	uintptr_t dtv = *(const volatile uintptr_t *)(handle + DTV_OFFSET);
	struct tls_visit v = {
		handle, (const struct dtv_entry *)dtv, vector_length(dtv), handle, handle, fn, arg
	};
	dl_iterate_phdr(visit_tls, &v);
	fn(arg, os_readable_begin(v.static_lo - BYTES_BELOW, handle),
	   os_readable_end(handle, v.static_hi + BYTES_ABOVE));
}

#else
void os_each_tls(uintptr_t handle, void (*fn)(void *arg, uintptr_t lo, uintptr_t hi), void *arg)
{
	(void)handle;
	(void)fn;
	(void)arg;
}
#endif
