/* written.h - which pages of the heap the program wrote to, for collections of programs without a barrier.
 *
 * WHAT   The system's notes (os_written_*) about the heap's range. When it cannot tell (the program closed
 *        our descriptors, a child of a fork has none), everything counts as written.
 * WHO    tracking.c, young.c.
 * STATE  off → on (written_start) → off (written_stop; a fork; a failure, from the next cycle on).
 * INV    N1 a page that is not reported since it was forgotten has not been written since
 * LOCKS  WORLD is held, or the caller is the child of a fork.   UNITS bytes. */
#ifndef MGC_GC_WRITTEN_H
#define MGC_GC_WRITTEN_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"

struct pageheap;
struct space;

/* Ranges further apart than this are watched each by itself; and no more than so many of them. Each takes a flush
 * of the other processors, 10 µs. */
#define WRITTEN_GAP_NBYTES ((uintptr_t)64 << 10)
#define WRITTEN_RANGES 512
#if MGC_HOSTILE
#undef WRITTEN_GAP_NBYTES
#define WRITTEN_GAP_NBYTES 1
#endif

struct written {
	const struct space *space;
	/* what is watched (written_watch_used), ascending */
	struct written_range {
		uintptr_t lo, hi;
	} range[WRITTEN_RANGES];
	unsigned nranges;
	bool on;
	bool failed; /* this cycle */
	uint32_t nfailures; /* cycles in which it failed */
};

typedef void written_fn(void *arg, uintptr_t lo, uintptr_t hi);

/* written_start - true: the system notes writes to the heap; false: it cannot, or failed too often. */
bool written_start(struct written *w);
void written_stop(struct written *w);

/* written_each - fn for each run of pages in [lo, hi) that were written since they were forgotten, or were
 * never forgotten; `forget`: they are, from here on. A failure is all of [lo, hi). */
void written_each(struct written *w, uintptr_t lo, uintptr_t hi, bool forget, written_fn *fn, void *arg);
/* written_forget - the same without asking. False: a failure. */
bool written_forget(struct written *w, uintptr_t lo, uintptr_t hi);
/* written_watch_used - from now on the pages of all spans there are, and of no others, are watched: who takes
 * a fresh span will write to all of it, and each first write to a page that was forgotten costs a fault.
 * written_watch_used_up - without those that have free slots, for who allocates next will write there; unless they are
 * most of the heap, which nobody fills before a cycle ends. */
void written_watch_used(struct written *w, struct pageheap *ph);
void written_watch_used_up(struct written *w, struct pageheap *ph);
void written_forget_watched(struct written *w);
/* written_rest - what may have been written since: `written` for each run of watched pages that was, or was
 * never forgotten; `other` for each stretch of the heap that is not watched. `forget`: the watched ones are,
 * from here on. */
void written_rest(struct written *w, bool forget, written_fn *written, written_fn *other, void *arg);
/* written_ignore - writes to the heap are not noted until pages are forgotten again. */
void written_ignore(struct written *w);
void written_ignore_range(struct written *w, uintptr_t lo, uintptr_t hi);

/* written_lo, written_hi - the heap's range so far. What grows later has not been forgotten. */
uintptr_t written_lo(const struct written *w);
uintptr_t written_hi(const struct written *w);

/* written_settle - between cycles: off, if it failed in the last one. */
void written_settle(struct written *w);

#endif
