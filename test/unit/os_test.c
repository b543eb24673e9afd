/* os_test.c - os/os.h, memory: each state and each way between them, the hook, the budgets.
 * Threads, signals and loaded objects: os_thread_test.c, os_signal_test.c, os_objects_test.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/compiler.h"
#include "base/config.h"
#include "lib/os_fake.h"
#include "lib/probe.h"
#include "os/os.h"

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

static size_t page;

static void setup(void)
{
	page = os_page_size();
}

TestSuite(os, .init = setup, .timeout = 30);

static void fill(uintptr_t lo, size_t nbytes)
{
	memset((void *)lo, 0xa5, nbytes);
}

/* ready - NONE → READY, dirty. */
static uintptr_t ready(size_t nbytes)
{
	uintptr_t at = os_alloc(nbytes);
	cr_assert_neq(at, 0);
	fill(at, nbytes);
	return at;
}

/* ── sizes ──────────────────────────────────────────────────────────────────────────────── */

Test(os, page_sizes)
{
	cr_assert(is_pow2(page));
	cr_assert_eq(page, (size_t)sysconf(_SC_PAGESIZE));
	cr_assert_eq(os_page_size(), page);
	size_t huge = os_huge_page_size();
	cr_assert(huge == 0 || (is_pow2(huge) && huge > page));
	cr_assert_eq(os_huge_page_size(), huge);
}

/* ── reserve ────────────────────────────────────────────────────────────────────────────── */

Test(os, reserve_aligns_and_keeps_no_rest)
{
	static const size_t aligns[] = { 0, 1, 64, 4096, 65536, 2 * MIB, 64 * MIB, GIB };
	for (size_t i = 0; i < sizeof aligns / sizeof aligns[0]; i++) {
		size_t nbytes = 3 * MIB, before = probe_mapped_bytes();
		uintptr_t at = os_reserve(nbytes, aligns[i]);
		cr_assert_neq(at, 0);
		cr_assert_eq(at % (aligns[i] > page ? aligns[i] : page), 0);
		cr_assert_eq(probe_mapped_bytes() - before, nbytes, "align %zu", aligns[i]);
		cr_assert(probe_none_readable(at, at + nbytes));
		os_release(at, nbytes);
		cr_assert_eq(probe_mapped_bytes(), before);
	}
}

Test(os, reserve_costs_no_memory)
{
	if (MGC_WITH_ASAN || MGC_WITH_TSAN || PROBE_EMULATED)
		return; /* they keep records of all of it */
	size_t resident = os_resident();
	uintptr_t at = os_reserve(256 * GIB, 64 * MIB);
	cr_assert_neq(at, 0);
	cr_assert_lt(os_resident(), resident + 2 * MIB);
	os_release(at, 256 * GIB);
}

Test(os, reserve_refused)
{
	errno = 0;
	cr_assert_eq(os_reserve((size_t)1 << 60, 0), 0);
	cr_assert_eq(errno, ENOMEM);
	errno = 0;
	cr_assert_eq(os_reserve(SIZE_MAX - page + 1, GIB), 0, "size + alignment overflows");
	cr_assert_eq(errno, ENOMEM);
}

Test(os, reserve_at)
{
	uintptr_t at = os_reserve(16 * MIB, 0);
	os_release(at, 16 * MIB);
	cr_assert_eq(os_reserve_at(at + 4 * MIB, MIB), 0);
	cr_assert(probe_none_readable(at + 4 * MIB, at + 5 * MIB));
	cr_assert_eq(os_commit(at + 4 * MIB, MIB), 0);
	fill(at + 4 * MIB, MIB);
	/* Any overlap is refused and changes nothing. */
	cr_assert_eq(os_reserve_at(at + 4 * MIB, MIB), EEXIST);
	cr_assert_eq(os_reserve_at(at + 3 * MIB, MIB + page), EEXIST);
	cr_assert_eq(os_reserve_at(at + 5 * MIB - page, MIB), EEXIST);
	cr_assert_eq(os_reserve_at(at, 16 * MIB), EEXIST);
	cr_assert_eq(*(unsigned char *)(at + 4 * MIB), 0xa5);
	cr_assert_eq(*(unsigned char *)(at + 5 * MIB - 1), 0xa5);
	cr_assert(!probe_readable(at + 3 * MIB) && !probe_readable(at + 5 * MIB));
	/* Neighbours are not overlap. */
	cr_assert_eq(os_reserve_at(at + 3 * MIB, MIB), 0);
	cr_assert_eq(os_reserve_at(at + 5 * MIB, MIB), 0);
	os_release(at + 3 * MIB, 3 * MIB);
	cr_assert_eq(os_reserve_at(at + 3 * MIB, 3 * MIB), 0, "released: free again");
	os_release(at + 3 * MIB, 3 * MIB);
}

Test(os, reserve_at_beyond_the_address_space)
{
	cr_assert_neq(os_reserve_at((uintptr_t)1 << 62, MIB), 0);
	cr_assert_neq(os_reserve_at(UINTPTR_MAX - MIB + 1, MIB), 0);
}

Test(os, reserve_readable)
{
	uintptr_t at = os_reserve_readable(GIB);
	cr_assert_neq(at, 0);
	for (uintptr_t p = at; p < at + GIB; p += 32 * MIB) {
		cr_assert_eq(*(volatile uint64_t *)p, 0);
		cr_assert(!probe_writable(p));
	}
	cr_assert_eq(os_commit(at + 64 * MIB, MIB), 0);
	fill(at + 64 * MIB, MIB);
	cr_assert_eq(*(volatile unsigned char *)(at + 64 * MIB - 1), 0);
	cr_assert_eq(*(volatile unsigned char *)(at + 65 * MIB), 0);
	cr_assert(!probe_writable(at + 65 * MIB));
	os_release(at + GIB / 2, GIB / 2);
	cr_assert_eq(os_reserve_readable_at(at + GIB / 2 - MIB, GIB / 2), EEXIST);
	cr_assert_eq(os_reserve_readable_at(at + GIB / 2, GIB / 2), 0);
	cr_assert_eq(*(volatile uint64_t *)(at + GIB - MIB), 0);
	cr_assert(!probe_writable(at + GIB - MIB));
	cr_assert_eq(os_commit(at + GIB - MIB, MIB), 0);
	fill(at + GIB - MIB, MIB);
	os_release(at, GIB);
	cr_assert(!probe_readable(at));
}

/* ── commit, decommit, discard, release ─────────────────────────────────────────────────── */

Test(os, commit)
{
	uintptr_t at = os_reserve(4 * MIB, 0);
	cr_assert_eq(os_commit(at + MIB, MIB), 0);
	cr_assert(probe_all_zero(at + MIB, at + 2 * MIB));
	fill(at + MIB, MIB);
	cr_assert(!probe_readable(at + MIB - 1) && !probe_readable(at + 2 * MIB));
	/* Idempotent: what is there stays, what is new is zero. */
	cr_assert_eq(os_commit(at, 3 * MIB), 0);
	cr_assert_eq(*(unsigned char *)(at + MIB), 0xa5);
	cr_assert_eq(*(unsigned char *)(at + 2 * MIB - 1), 0xa5);
	cr_assert(probe_all_zero(at, at + MIB) && probe_all_zero(at + 2 * MIB, at + 3 * MIB));
	cr_assert(!probe_readable(at + 3 * MIB));
	os_release(at, 4 * MIB);
	cr_assert(probe_none_readable(at, at + 4 * MIB));
}

Test(os, commit_of_nothing_ours)
{
	uintptr_t at = os_reserve(MIB, 0);
	os_release(at, MIB);
	cr_assert_eq(os_commit(at, MIB), ENOMEM);
}

Test(os, decommit)
{
	uintptr_t at = ready(3 * MIB);
	size_t mapped = probe_mapped_bytes();
	cr_assert_eq(os_decommit(at + MIB, MIB), 0);
	cr_assert(probe_none_readable(at + MIB, at + 2 * MIB));
	cr_assert_eq(*(unsigned char *)(at + MIB - 1), 0xa5);
	cr_assert_eq(*(unsigned char *)(at + 2 * MIB), 0xa5);
	cr_assert_eq(probe_mapped_bytes(), mapped, "still ours");
	cr_assert_eq(os_reserve_at(at + MIB, MIB), EEXIST);
	cr_assert_eq(os_commit(at + MIB, MIB), 0);
	cr_assert(probe_all_zero(at + MIB, at + 2 * MIB));
	os_release(at, 3 * MIB);
}

Test(os, discard)
{
	uintptr_t at = ready(3 * MIB);
	cr_assert_eq(probe_resident(at, at + 3 * MIB), 3 * MIB / page);
	cr_assert_eq(os_discard(at + MIB, MIB), 0);
	cr_assert_eq(probe_resident(at, at + 3 * MIB), 2 * MIB / page);
	cr_assert_eq(*(unsigned char *)(at + MIB - 1), 0xa5);
	cr_assert_eq(*(unsigned char *)(at + 2 * MIB), 0xa5);
	cr_assert(probe_writable(at + MIB));
	cr_assert(probe_all_zero(at + MIB, at + 2 * MIB));
	os_release(at, 3 * MIB);
}

/* Locked memory refuses the plain advice; kernels before 5.18 have no other, and then say so. */
Test(os, discard_of_locked_memory)
{
	uintptr_t at = ready(8 * page);
	if (mlock((void *)at, 8 * page) != 0 || PROBE_EMULATED)
		return; /* RLIMIT_MEMLOCK is below eight pages */
	int error = os_discard(at, 8 * page);
	cr_assert(error == 0 || error == EINVAL);
	if (error == 0)
		cr_assert(probe_all_zero(at, at + 8 * page));
	else
		cr_assert_eq(*(unsigned char *)at, 0xa5);
	os_release(at, 8 * page);
}

Test(os, alloc)
{
	size_t before = probe_mapped_bytes();
	uintptr_t at = os_alloc(MIB);
	cr_assert_neq(at, 0);
	cr_assert_eq(at % page, 0);
	cr_assert(probe_all_zero(at, at + MIB));
	fill(at, MIB);
	os_release(at, MIB);
	cr_assert_eq(probe_mapped_bytes(), before);
	cr_assert_eq(os_alloc((size_t)1 << 60), 0);
}

Test(os, advice_changes_no_contents)
{
	uintptr_t at = os_reserve(8 * MIB, 2 * MIB);
	cr_assert_eq(os_commit(at, 8 * MIB), 0);
	os_advise_huge(at, 8 * MIB, true);
	os_populate(at, 4 * MIB);
	cr_assert(probe_all_zero(at, at + 4 * MIB));
	fill(at, 8 * MIB);
	os_populate(at, 8 * MIB);
	os_advise_huge(at, 8 * MIB, false);
	cr_assert_eq(*(unsigned char *)at, 0xa5);
	cr_assert_eq(*(unsigned char *)(at + 8 * MIB - 1), 0xa5);
	/* On ranges in the wrong state it does nothing. */
	os_release(at, 8 * MIB);
	os_populate(at, MIB);
	os_advise_huge(at, MIB, true);
	cr_assert(!probe_readable(at));
}

/* A random walk over the states of 64 pages, against a model of what each page must be. */
enum page_state { NONE, RESERVED, ZERO, DIRTY };

static void check_page(uintptr_t at, enum page_state state)
{
	cr_assert_eq(probe_readable(at), state >= ZERO);
	if (state >= ZERO)
		cr_assert_eq(*(unsigned char *)at, state == ZERO ? 0 : 0xa5);
}

Test(os, random_walk)
{
	enum { N = 64 };
	enum page_state model[N] = { NONE };
	uint64_t seed = 1;
	uintptr_t base = os_reserve(N * page, 0);
	os_release(base, N * page);
	for (unsigned round = 0; round < 4000; round++) {
		seed = bits_mix(seed + round + 1);
		unsigned first = (unsigned)(seed % N), n = 1 + (unsigned)(seed >> 16) % (N - first);
		unsigned op = (unsigned)(seed >> 32) % 6;
		uintptr_t at = base + first * page;
		enum page_state lowest = DIRTY, highest = NONE;
		for (unsigned i = first; i < first + n; i++) {
			lowest = model[i] < lowest ? model[i] : lowest;
			highest = model[i] > highest ? model[i] : highest;
		}
		enum page_state after = NONE;
		bool changes = true;
		if (op == 0) {
			cr_assert_eq(os_reserve_at(at, n * page), highest == NONE ? 0 : EEXIST);
			changes = highest == NONE;
			after = RESERVED;
		} else if (lowest == NONE) {
			continue;
		} else if (op == 1) {
			cr_assert_eq(os_commit(at, n * page), 0);
			for (unsigned i = first; i < first + n; i++)
				model[i] = model[i] == RESERVED ? ZERO : model[i];
			changes = false;
		} else if (op == 2) {
			cr_assert_eq(os_decommit(at, n * page), 0);
			after = RESERVED;
		} else if (op == 3) {
			os_release(at, n * page);
		} else if (lowest >= ZERO && op == 4) {
			cr_assert_eq(os_discard(at, n * page), 0);
			after = ZERO;
		} else if (lowest >= ZERO) {
			fill(at, n * page);
			after = DIRTY;
		} else {
			continue;
		}
		for (unsigned i = first; changes && i < first + n; i++)
			model[i] = after;
		check_page(at, model[first]);
		check_page(at + (n - 1) * page, model[first + n - 1]);
		check_page(base + (seed >> 48) % N * page, model[(seed >> 48) % N]);
	}
}

/* ── the hook ───────────────────────────────────────────────────────────────────────────── */

Test(os, every_call_is_asked)
{
	static const char *const names[] = { "reserve",
					     "reserve_at",
					     "reserve_readable",
					     "commit",
					     "decommit",
					     "discard",
					     "release",
					     "advise_huge",
					     "populate",
					     "alloc",
					     "reserve_readable_at",
					     "populate_read" };
	os_fake_start();
	uintptr_t at = os_reserve(MIB, 0);
	os_release(at, MIB);
	os_reserve_at(at, MIB);
	os_reserve_readable_at(at, MIB);
	os_commit(at, MIB);
	os_advise_huge(at, MIB, true);
	os_populate(at, MIB);
	os_populate_read(at, MIB);
	os_discard(at, MIB);
	os_decommit(at, MIB);
	cr_assert_neq(os_reserve_readable(MIB), 0);
	cr_assert_neq(os_alloc(MIB), 0);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		cr_assert_eq(os_fake_calls(names[i]), 1, "%s", names[i]);
	cr_assert_eq(os_fake_calls(NULL), 12);
	cr_assert_eq(os_fake_refused(NULL), 0);
	os_fake_stop();
	cr_assert_neq(os_alloc(MIB), 0);
	cr_assert_eq(os_fake_calls(NULL), 12, "no longer asked");
}

Test(os, refused_calls_change_nothing)
{
	uintptr_t at = ready(MIB), hole = os_reserve(MIB, 0);
	size_t mapped = probe_mapped_bytes();
	os_fake_start();
	os_fake_fail(NULL, 1, OS_FAKE_FOREVER, EPERM);
	errno = 0;
	cr_assert_eq(os_reserve(MIB, GIB), 0);
	cr_assert_eq(errno, EPERM);
	errno = 0;
	cr_assert_eq(os_reserve_readable(MIB), 0);
	cr_assert_eq(errno, EPERM);
	errno = 0;
	cr_assert_eq(os_alloc(MIB), 0);
	cr_assert_eq(errno, EPERM);
	cr_assert_eq(os_reserve_at(hole, MIB), EPERM);
	cr_assert_eq(os_commit(hole, MIB), EPERM);
	cr_assert_eq(os_decommit(at, MIB), EPERM);
	cr_assert_eq(os_discard(at, MIB), EPERM);
	cr_assert_eq(*(unsigned char *)at, 0xa5);
	cr_assert(!probe_readable(hole));
	cr_assert_eq(probe_mapped_bytes(), mapped);
	os_release(hole, MIB);
	cr_assert_eq(probe_mapped_bytes(), mapped - MIB, "release cannot be refused");
	os_fake_stop();
	cr_assert_eq(os_discard(at, MIB), 0);
}

Test(os, fake_counts_and_picks)
{
	os_fake_start();
	os_fake_fail("commit", 2, 1, ENOMEM);
	os_fake_fail(NULL, 5, 2, EAGAIN);
	uintptr_t at = os_reserve(MIB, 0); /* call 1 */
	cr_assert_eq(os_commit(at, MIB), 0);
	cr_assert_eq(os_commit(at, MIB), ENOMEM); /* the second commit */
	cr_assert_eq(os_commit(at, MIB), 0);
	os_populate(at, MIB); /* does not count: cannot fail */
	cr_assert_eq(os_discard(at, MIB), EAGAIN); /* calls 5 and 6 */
	cr_assert_eq(os_discard(at, MIB), EAGAIN);
	cr_assert_eq(os_discard(at, MIB), 0);
	cr_assert_eq(os_fake_calls("discard"), 3);
	cr_assert_eq(os_fake_refused("discard"), 2);
	cr_assert_eq(os_fake_refused("commit"), 1);
	cr_assert_eq(os_fake_refused(NULL), 3);
	os_fake_start();
	cr_assert_eq(os_fake_calls(NULL), 0);
	cr_assert_eq(os_commit(at, MIB), 0, "no rules left");
	os_fake_stop();
}

/* ── budgets ────────────────────────────────────────────────────────────────────────────── */

Test(os, address_budget)
{
	size_t budget = os_address_budget();
	struct rlimit as;
	cr_assert_eq(getrlimit(RLIMIT_AS, &as), 0);
	cr_assert_eq(os_address_limit(), as.rlim_cur == RLIM_INFINITY ? SIZE_MAX : as.rlim_cur);
	cr_assert_geq(budget, min_size(64 * GIB, MGC_MAX_RESERVE));
	cr_assert_leq(budget, MGC_MAX_RESERVE);
	if (MGC_WITH_ASAN || MGC_WITH_TSAN || PROBE_EMULATED)
		return; /* already above any limit, or without one */
	struct rlimit less = { 4 * GIB, as.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_AS, &less), 0);
	cr_assert_eq(os_address_limit(), 4 * GIB);
	cr_assert_eq(os_address_most(), as.rlim_max == RLIM_INFINITY ? SIZE_MAX : as.rlim_max);
	cr_assert_eq(os_address_budget(), budget);
	cr_assert_eq(os_reserve(5 * GIB, 0), 0);
	cr_assert_eq(setrlimit(RLIMIT_AS, &as), 0);
}

Test(os, address_budget_when_locked)
{
	if (MGC_WITH_ASAN || MGC_WITH_TSAN || mlockall(MCL_FUTURE) != 0)
		return;
	size_t budget = os_lock_budget(0);
	cr_assert(budget > 0 && budget != SIZE_MAX);
	uintptr_t at = ready(MIB);
	cr_assert_eq(os_lock_budget(at), budget);
	munlockall();
	cr_assert_eq(os_lock_budget(0), SIZE_MAX);
	cr_assert_eq(os_lock_budget(ready(MIB)), SIZE_MAX);
	os_release(at, MIB);
}

Test(os, resident)
{
	size_t before = os_resident();
	cr_assert_gt(before, 0);
	uintptr_t at = ready(32 * MIB);
	size_t with = os_resident();
	cr_assert_geq(with, before + 31 * MIB); /* kernels count in batches per processor */
	os_release(at, 32 * MIB);
	cr_assert_leq(os_resident(), with - 31 * MIB);
}
