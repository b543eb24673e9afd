/* pageheap.h - spans of pages: grows the space, hands out runs of pages, takes them back, and gives
 * memory back to the system.
 *
 * WHAT   space (addresses) + pagealloc (which pages are free) + the accounting and limits of both.
 * WHO    central.c and cache.c for spans; the collector's background thread for scavenging.
 * STATE  a page: see pagealloc.h. A span record: FREE ↔ IN_USE under the lock.
 * INV    H1 resident ≤ used_pages + (free dirty pages), in pages, and what was touched ahead (12 MiB); both
 *           under the lock
 *        H2 used_pages + hidden_pages + free pages = pages ever grown       [pageheap_verify]
 *        H3 with a limit set, used + dirty (what can be resident) exceeds it only inside
 *           pageheap_alloc, before the new span's pages are touched: free dirty ones are given back
 *           first. What the system refuses to take back stays above it.
 * LOCKS  PAGEHEAP. The two upward calls are made with it free.
 * UNITS  pages, unless the name says bytes.  FROM Go's mheap.go, mgcscavenge.go. */
#ifndef MGC_HEAP_PAGEHEAP_H
#define MGC_HEAP_PAGEHEAP_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/pagealloc.h"
#include "heap/space.h"
#include "heap/span.h"
#include "os/lock.h"

struct pageheap {
	struct lock lock;
	struct space space;
	struct pagealloc pages;
	size_t used_pages; /* in spans, or taken without one */
	size_t taken_pages; /* of them, by pageheap_take */
	size_t unpublished_pages; /* atomic; of them, in large objects that are still being zeroed */
	/* Of the first chunk, from page 0 on, never used: page 0 at least, as many words of ours hold the base address, and
	 * must name no object. Set before the heap grows. */
	size_t hidden_pages;
	bool spanless; /* no span is ever made: no records and bits to give back */
	size_t limit_nbytes; /* atomic; hard: allocation fails above it; SIZE_MAX for none */
	size_t huge_from_pages; /* atomic; chunks from this page on are advised to be huge; SIZE_MAX: none */
	size_t huge_up_to_pages; /* but not those added for a longer new run, which may be touched here and there */
	size_t scavenged_nbytes; /* given back since the start */
	size_t least_dirty_pages; /* free and dirty, the fewest since pageheap_read_idle */
	/* The collector's: sweeps up to nspans spans, until npages were freed or nothing is left; returns pages freed.
	 * NULL: no collector. Called without the lock, from an allocation that would touch fresh memory (a few spans), or
	 * grow the heap (all). */
	size_t (*reclaim)(void *arg, size_t npages, size_t nspans);
	void *reclaim_arg; /* of the next one, too */
	/* The collector's: somebody shall call pageheap_touch_ahead soon. NULL: nobody does. */
	void (*touch)(void *arg);
	size_t reached_pages; /* atomic: the end of the highest span ever made, in steps */
	size_t touched_pages; /* under the lock; pages below it are not the business of pageheap_touch_ahead any more */
};

/* pageheap_init - reserves the address range. max_nbytes 0: as the system's budget allows. 0 or errno. */
int pageheap_init(struct pageheap *ph, size_t max_nbytes);
/* pageheap_init_spanless - the same for a heap whose pages are only taken and given. */
int pageheap_init_spanless(struct pageheap *ph, size_t max_nbytes);
void pageheap_destroy(struct pageheap *ph);

/* pageheap_alloc - a span of npages (> 0), first page a multiple of align_pages (a power of two), in
 * state IN_USE, needzero set unless all its memory reads as zero; not yet initialised as a class and
 * not published. NULL: the limit, the range or the system's memory is exhausted, or the alignment
 * is above that of the range, MGC_ARENA_SIZE (errno untouched). */
struct span *pageheap_alloc(struct pageheap *ph, size_t npages, size_t align_pages);

/* pageheap_free - unpublishes the span, clears the bits of its slots and frees its pages (dirty). */
void pageheap_free(struct pageheap *ph, struct span *s);

/* pageheap_take - the same pages without a record, for whoever keeps records of his own: *first, and in
 * *nclean how many of them read as zero; dense: all will be touched, whatever huge_up_to_pages says. Makes no upward call.
 * pageheap_give - frees such pages, of which
 * the first ndirty may have been written to; how many free pages are dirty then, in *used how many in use. */
bool pageheap_take(struct pageheap *ph, size_t npages, size_t align_pages, bool dense,
		   size_t *first, size_t *nclean);
size_t pageheap_give(struct pageheap *ph, size_t first, size_t npages, size_t ndirty, size_t *used);
/* pageheap_extend - takes the npages (> 0) from end_page on, if they are free or where the heap ends. */
bool pageheap_extend(struct pageheap *ph, size_t end_page, size_t npages);
/* pageheap_advise - the npages from first on, which were taken, begin with a page of the system and will all be touched: in huge
 * pages, where such are used. */
void pageheap_advise(struct pageheap *ph, size_t first, size_t npages);
/* pageheap_renew - pages that were taken are as fresh ones again: clean, of one mapping with their neighbours
 * (os_renew), and huge where fresh ones would be. False: not possible, they are as they were. */
bool pageheap_renew(struct pageheap *ph, size_t first, size_t npages);

/* pageheap_scavenge - gives back free dirty memory, highest address first, in runs of at least
 * min_pages, whole huge pages if that is one or more, until nbytes were given back or none is left. Returns the bytes.
 * Holds the lock only to find runs, not while the system works. */
size_t pageheap_scavenge(struct pageheap *ph, size_t nbytes, size_t min_pages);

/* pageheap_read_idle - free dirty pages that nobody has wanted since the last call; *used: pages in use. */
size_t pageheap_read_idle(struct pageheap *ph, size_t *used);

/* pageheap_touch_ahead - grows a large heap by some MiB more than is in use and touches them, so that a
 * mutator does not wait for the system: a first touch of a huge page is 190 µs here, and 4 ms when the
 * host has to find the memory. Any thread with no lock; several may at once. */
void pageheap_touch_ahead(struct pageheap *ph);
/* pageheap_touch_step - one step of that, 2 MiB, for who has other things to do: a program may allocate as fast as one touches.
 * False: enough was touched already. */
bool pageheap_touch_step(struct pageheap *ph);
/* pageheap_drop_ahead - gives back what was touched so and never came into use; it is not touched ahead a
 * second time. Bytes. */
size_t pageheap_drop_ahead(struct pageheap *ph);

/* pageheap_limit_changed - the address space was limited to less than what is reserved, and the heap does not grow; or
 * a limit that bounds it was lifted (space_limit_changed). Until pageheap_obey, which is called with the world
 * stopped. pageheap_obey_locked - the same, the caller holds the lock; without spans, at any time. */
bool pageheap_limit_changed(struct pageheap *ph);
void pageheap_obey(struct pageheap *ph);
void pageheap_obey_locked(struct pageheap *ph);

struct pageheap_stats {
	size_t used_nbytes; /* in spans, or taken */
	size_t dirty_nbytes; /* free, resident */
	size_t clean_nbytes; /* free, not resident */
	size_t reserved_nbytes; /* the range */
	size_t scavenged_nbytes;
	size_t tables_nbytes; /* of the space, committed */
};
void pageheap_read_stats(struct pageheap *ph, struct pageheap_stats *out);

/* pageheap_each - calls fn for every span in use, in address order; the caller excludes freeing of
 * spans meanwhile. One that is allocated meanwhile may be missed. */
void pageheap_each(struct pageheap *ph, void (*fn)(void *arg, struct span *s), void *arg);

void pageheap_verify(struct pageheap *ph);

#endif
