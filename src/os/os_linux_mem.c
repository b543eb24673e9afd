/* os_linux_mem.c - address ranges: the page states of os.h made with mmap, mprotect and madvise.
 * WHAT   RESERVED is PROT_NONE + MAP_NORESERVE, READY is the same mapping made writable.
 * WHO    the page heap, the pools of records, the tables of arenas.
 * STATE  the fault hook; sizes that are read once. The states of ranges are the kernel's and the
 *        caller's: nothing is recorded here.
 * INV    M1 no call maps over a range that is not ours (MAP_FIXED only in os_decommit, os_move, os_renew)
 *        M2 every function asks the hook first, once, under its own name without "os_"
 *        M3 a failed call leaves the range in the state it had
 * LOCKS  none.
 * UNITS  bytes, whole pages of os_page_size().
 * FROM   Go 1.26 mem_linux.go. Differences: decommit maps anew, because under
 *        vm.overcommit_memory=2 the commit charge never falls by mprotect; locked memory is
 *        discarded with MADV_DONTNEED_LOCKED; no hints, the kernel picks the place.
 *
 * vm.overcommit_memory. In modes 0 and 1 a MAP_NORESERVE mapping is never charged, so os_commit
 * fails only on the limit of mappings (vm.max_map_count). In mode 2 NORESERVE is ignored: PROT_NONE
 * and PROT_READ ranges are free, and os_commit charges the whole range at once and can say ENOMEM. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/os.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/config.h"
#include "os/os_linux.h"

/* Newer than the headers of some systems this compiles on; the kernel refuses what it lacks. */
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* 4.17 */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ 22 /* 5.14 */
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* 5.18 */
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* 5.7 */
#endif
#ifndef PR_GET_THP_DISABLE
#define PR_GET_THP_DISABLE 42
#endif

#define MAP_RESERVE (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

typedef int fault_hook(const char *call, size_t nbytes);
static fault_hook *hook;

void os_set_fault_hook(int (*new_hook)(const char *call, size_t nbytes))
{
	store_release(&hook, new_hook); /* pairs: fault-hook */
}

int os_refused(const char *call, size_t nbytes)
{
	fault_hook *h = load_acquire(&hook); /* pairs: fault-hook */
	return MGC_UNLIKELY(h != NULL) ? h(call, nbytes) : 0;
}

static uintptr_t fail(int error)
{
	errno = error;
	return 0;
}

/* map - a new mapping where the kernel likes, or 0 and errno. */
static uintptr_t map(size_t nbytes, int prot)
{
	void *p = mmap(NULL, nbytes, prot, MAP_RESERVE, -1, 0);
	return p == MAP_FAILED ? 0 : (uintptr_t)p;
}

/* ── sizes ──────────────────────────────────────────────────────────────────────────────── */

size_t os_page_size(void)
{
	static size_t page;
	size_t n = load_relaxed(&page);
	if (MGC_UNLIKELY(n == 0)) {
		n = getauxval(AT_PAGESZ); /* sysconf is on a page of the C library that nobody else needs at a start */
		store_relaxed(&page, n);
	}
	return n;
}

static size_t read_huge_page_size(void)
{
	char text[64];
	uint64_t n;
	const char *p = text;
	if (prctl(PR_GET_THP_DISABLE, 0L, 0L, 0L, 0L) == 1)
		return 0;
	if (!os_file_read("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text) ||
	    strstr(text, "[never]") != NULL)
		return 0;
	if (!os_file_read("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text, sizeof text) ||
	    !os_parse_number(&p, 10, &n) || !is_pow2(n))
		return 0;
	return n;
}

size_t os_huge_page_size(void)
{
	static size_t cached; /* size + 1; 0: not read yet */
	size_t n = load_relaxed(&cached);
	if (n == 0) {
		n = read_huge_page_size() + 1;
		store_relaxed(&cached, n);
	}
	return n - 1;
}

/* ── states ─────────────────────────────────────────────────────────────────────────────── */

uintptr_t os_reserve(size_t nbytes, size_t align)
{
	size_t page = os_page_size(), slack, total;
	int error = os_refused("reserve", nbytes);
	if (error != 0)
		return fail(error);
	slack = align > page ? align - page : 0;
	if (__builtin_add_overflow(nbytes, slack, &total))
		return fail(ENOMEM);
	uintptr_t at = map(total, PROT_NONE);
	if (at == 0 || slack == 0)
		return at;
	/* Cut both ends off. A cut that the limit of mappings refuses wastes addresses, no memory. */
	uintptr_t lo = align_up(at, align), hi = lo + nbytes, end = at + total;
	if (lo > at)
		munmap((void *)at, lo - at);
	if (end > hi)
		munmap((void *)hi, end - hi);
	return lo;
}

static int map_at(uintptr_t addr, size_t nbytes, int prot)
{
	void *p = mmap((void *)addr, nbytes, prot, MAP_RESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (p == MAP_FAILED)
		return errno;
	if ((uintptr_t)p != addr) { /* before 4.17 the flag is unknown and addr only a hint */
		munmap(p, nbytes);
		return EEXIST;
	}
	return 0;
}

int os_reserve_at(uintptr_t addr, size_t nbytes)
{
	int error = os_refused("reserve_at", nbytes);
	return error != 0 ? error : map_at(addr, nbytes, PROT_NONE);
}

int os_reserve_readable_at(uintptr_t addr, size_t nbytes)
{
	int error = os_refused("reserve_readable_at", nbytes);
	return error != 0 ? error : map_at(addr, nbytes, PROT_READ);
}

uintptr_t os_reserve_readable(size_t nbytes)
{
	int error = os_refused("reserve_readable", nbytes);
	return error != 0 ? fail(error) : map(nbytes, PROT_READ);
}

int os_commit(uintptr_t addr, size_t nbytes)
{
	int error = os_refused("commit", nbytes);
	if (error != 0)
		return error;
	/* EACCES and the like cannot happen to our own mappings: to callers it is all "no memory". */
	return mprotect((void *)addr, nbytes, PROT_READ | PROT_WRITE) == 0 ? 0 : ENOMEM;
}

int os_decommit(uintptr_t addr, size_t nbytes)
{
	int error = os_refused("decommit", nbytes);
	if (error != 0)
		return error;
	void *p = mmap((void *)addr, nbytes, PROT_NONE, MAP_RESERVE | MAP_FIXED, -1, 0);
	return p == MAP_FAILED ? errno : 0;
}

int os_discard(uintptr_t addr, size_t nbytes)
{
	int error = os_refused("discard", nbytes);
	if (error != 0)
		return error;
	if (madvise((void *)addr, nbytes, MADV_DONTNEED) == 0)
		return 0;
	/* Locked memory: EINVAL. Before 5.18 there is no way that keeps it locked, and it says so. */
	return madvise((void *)addr, nbytes, MADV_DONTNEED_LOCKED) == 0 ? 0 : errno;
}

void os_release(uintptr_t addr, size_t nbytes)
{
	(void)os_refused("release", nbytes); /* counted; it cannot be made to fail */
	/* Refused only where a hole would pass the limit of mappings: give back the memory at least. */
	if (munmap((void *)addr, nbytes) != 0)
		madvise((void *)addr, nbytes, MADV_DONTNEED);
}

void os_advise_huge(uintptr_t addr, size_t nbytes, bool on)
{
	if (os_refused("advise_huge", nbytes) == 0)
		madvise((void *)addr, nbytes, on ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

void os_populate(uintptr_t addr, size_t nbytes)
{
	if (os_refused("populate", nbytes) == 0)
		madvise((void *)addr, nbytes, MADV_POPULATE_WRITE);
}

void os_populate_read(uintptr_t addr, size_t nbytes)
{
	if (os_refused("populate_read", nbytes) == 0)
		madvise((void *)addr, nbytes, MADV_POPULATE_READ);
}

/* move_back - the second step was refused, which may have unmapped `to`, in an old kernel. */
static int move_back(uintptr_t from, size_t nbytes, uintptr_t to, size_t room, void *between)
{
	int error = errno;
	memcpy((void *)from, between, nbytes);
	munmap(between, nbytes);
	if (os_reserve_at(to, room) == 0) /* else it is still there */
		(void)os_commit(to, room);
	return error;
}

/* Two steps: the kernel may refuse the first one, for what `from` is; then nothing has happened. A move to a fixed
 * place is looked at only after the place was unmapped, by kernels before 6.17. */
int os_move(uintptr_t from, size_t nbytes, uintptr_t to, size_t room)
{
	int error = os_refused("move", nbytes);
	if (MGC_WITH_ASAN || MGC_WITH_TSAN) /* what these know of memory would stay behind */
		error = ENOSYS;
	if (error != 0)
		return error;
	void *between = mremap((void *)from, nbytes, nbytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
	if (between == MAP_FAILED)
		return errno;
	void *p = mremap(between, nbytes, room, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)to);
	return p != MAP_FAILED ? 0 : move_back(from, nbytes, to, room, between);
}

int os_renew(uintptr_t addr, size_t nbytes)
{
	int error = os_refused("renew", nbytes);
	if (error != 0)
		return error;
	void *p = mmap((void *)addr, nbytes, PROT_READ | PROT_WRITE, MAP_RESERVE | MAP_FIXED, -1, 0);
	return p == MAP_FAILED ? errno : 0;
}

uintptr_t os_alloc(size_t nbytes)
{
	int error = os_refused("alloc", nbytes);
	return error != 0 ? fail(error) : map(nbytes, PROT_READ | PROT_WRITE);
}

/* ── budgets ────────────────────────────────────────────────────────────────────────────── */

/* address_space - bytes a process can address: the kernel puts the first stack right below the end,
 * and AT_RANDOM points into it (39, 42, 47 or 48 bits; more only where it is asked for). */
static uint64_t address_space(void)
{
	uint64_t top = getauxval(AT_RANDOM);
	return top == 0 ? MGC_MAX_RESERVE : UINT64_C(1) << (64 - bits_clz(top));
}

/* is_locked - locked memory refuses MADV_DONTNEED. No page at all: no time for large reservations either. */
static bool is_locked(uintptr_t mapped)
{
	size_t page = os_page_size();
	if (mapped != 0)
		return madvise((void *)mapped, page, MADV_DONTNEED) != 0;
	uintptr_t at = map(page, PROT_READ | PROT_WRITE);
	bool locked = at == 0 || is_locked(at);
	if (at != 0)
		munmap((void *)at, page);
	return locked;
}

size_t os_lock_budget(uintptr_t mapped)
{
	struct rlimit r;
	if (!is_locked(mapped))
		return SIZE_MAX;
	if (getrlimit(RLIMIT_MEMLOCK, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
		return address_space();
	size_t above = align_up(r.rlim_cur, os_page_size()) + os_page_size();
	uintptr_t at = map(above, PROT_NONE);
	if (at == 0)
		return r.rlim_cur;
	munmap((void *)at, above);
	return address_space(); /* a process that may pass the limit */
}

static size_t limit_of(rlim_t r)
{
	return r != RLIM_INFINITY && r < SIZE_MAX ? (size_t)r : SIZE_MAX;
}

size_t os_address_limit(void)
{
	struct rlimit r;
	return getrlimit(RLIMIT_AS, &r) == 0 ? limit_of(r.rlim_cur) : SIZE_MAX;
}

size_t os_address_most(void)
{
	struct rlimit r;
	return getrlimit(RLIMIT_AS, &r) == 0 ? limit_of(r.rlim_max) : SIZE_MAX;
}

bool os_is_beyond_memory(size_t nbytes)
{
	struct sysinfo all;
	char text[8];
	if (sysinfo(&all) != 0 || nbytes / all.mem_unit <= all.totalram + all.totalswap)
		return false;
	return !os_file_read("/proc/sys/vm/overcommit_memory", text, sizeof text) || text[0] == '0';
}

size_t os_address_budget(void)
{
	uint64_t part = address_space() / 4;
	return part < MGC_MAX_RESERVE ? part : MGC_MAX_RESERVE;
}

/* The system maps from the top down, and programs at two thirds; ThreadSanitizer lets a program have
 * the last 6 TiB only. */
uintptr_t os_choose_place(size_t align)
{
	uint64_t space = address_space();
	uint64_t lo = MGC_WITH_TSAN ? space / 64 * 61 : space / 4;
	uint64_t nbytes = MGC_WITH_TSAN ? space / 64 : space / 8;
	return align_up(lo + os_random() % nbytes, align);
}

size_t os_memory_limit(void)
{
	return os_cgroup_memory("/proc/self/cgroup", "/proc/self/mountinfo");
}

size_t os_resident(void)
{
	char text[128];
	const char *p = text;
	uint64_t npages;
	if (!os_file_read("/proc/self/statm", text, sizeof text) ||
	    !os_parse_number(&p, 10, &npages) || *p++ != ' ' || !os_parse_number(&p, 10, &npages))
		return 0;
	return npages * os_page_size();
}
