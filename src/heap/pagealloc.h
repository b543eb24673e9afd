/* pagealloc.h - which pages are free: a bitmap, and a radix tree of summaries over it, for
 * address-ordered first fit.
 *
 * WHAT   Pages are numbered from 0, in chunks of MGC_CHUNK_PAGES. A page is absent (never added),
 *        free or allocated. A free page is clean (zero when touched: never used, or given back to
 *        the system) or dirty (resident, contents unknown). An allocated page is neither.
 * WHO    pageheap.c, under its PAGEHEAP lock; nothing here locks, maps or touches the pages.
 * STATE  absent → free clean → allocated → free dirty → (scavenged) free clean …
 * INV    A1 a page's free bit is set exactly when it is free             [pagealloc_verify]
 *        A2 a clean bit is set only where the free bit is
 *        A3 every summary equals what its children (leaf: the bitmap) say
 *        A4 nfree, nclean equal the number of such bits
 * UNITS  pages.   FROM Go's mpagealloc.go and mpallocbits.go; here the number of levels follows the
 *        reservation, and one bit for "clean" serves the scavenger and zeroing alike. */
#ifndef MGC_HEAP_PAGEALLOC_H
#define MGC_HEAP_PAGEALLOC_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"

/* free runs of pages in an aligned block of pages: at its start, the longest, at its end */
struct page_summary {
	uint32_t start, max, end;
};

#define PAGEALLOC_MAX_LEVELS 10
#define PAGEALLOC_FANOUT_SHIFT 3
#define PAGEALLOC_CHUNK_WORDS (MGC_CHUNK_PAGES / 64)

struct pagealloc_chunk {
	uint64_t free[PAGEALLOC_CHUNK_WORDS];
	uint64_t clean[PAGEALLOC_CHUNK_WORDS];
};

struct pagealloc {
	struct pagealloc_chunk *chunks; /* one per chunk of the reservation, demand-zero */
	/* summary[nlevels-1] has one entry per chunk; each level above one per 8 below; level 0 has
	 * at most 8. Zero means "nothing free". */
	struct page_summary *summary[PAGEALLOC_MAX_LEVELS];
	unsigned nlevels;
	size_t nchunks; /* of the whole reservation */
	size_t reached; /* chunks whose tables are committed; the rest reads as "nothing free" */
	size_t limit; /* first page above everything that was ever added */
	size_t first; /* no page below this one is free */
	size_t dirty_end; /* no page from this one on is free and dirty */
	size_t nfree; /* free pages, clean or dirty */
	size_t nclean; /* free and clean */
	uintptr_t memory; /* the tables, one mapping */
	size_t memory_nbytes;
};

/* pagealloc_init - for a range of npages that may become one of most_pages (rounded up to chunks), all absent. 0 or an
 * errno. */
int pagealloc_init(struct pagealloc *pa, size_t most_pages, size_t npages);
void pagealloc_destroy(struct pagealloc *pa);

/* pagealloc_reach - commits the tables for pages below npages; false: no memory. So an empty heap is not
 * charged for the tables of all that it reserved: 35 MiB for 1 TiB. */
bool pagealloc_reach(struct pagealloc *pa, size_t npages);

/* pagealloc_cut - gives back the tables of pages from npages on, which are never asked for; all that were reached are
 * below. pagealloc_widen - from now on pages below npages may be; false: no memory, nothing has happened. */
void pagealloc_cut(struct pagealloc *pa, size_t npages);
bool pagealloc_widen(struct pagealloc *pa, size_t npages);

/* pagealloc_add - makes absent pages free and clean. first and npages are whole chunks. False: no
 * memory for the tables; surely not when they were reached before. */
bool pagealloc_add(struct pagealloc *pa, size_t first, size_t npages);

/* pagealloc_alloc - takes the lowest run of npages (> 0) whose first page is a multiple of `align`
 * (a power of two; 1 for any). True: *first is its first page, *nclean how many of them were clean.
 * False: no such run, nothing changed. */
bool pagealloc_alloc(struct pagealloc *pa, size_t npages, size_t align, size_t *first, size_t *nclean);

/* pagealloc_alloc_at - the same for exactly these pages. pagealloc_is_free_run - whether they are free. */
bool pagealloc_alloc_at(struct pagealloc *pa, size_t first, size_t npages, size_t *nclean);
bool pagealloc_is_free_run(const struct pagealloc *pa, size_t first, size_t npages);

/* pagealloc_free - allocated → free dirty. Every page must be allocated (checked in MGC_ASSERT
 * builds). */
void pagealloc_free(struct pagealloc *pa, size_t first, size_t npages);

/* pagealloc_take_dirty - for the scavenger: finds the highest maximal run of free dirty pages, at
 * least `min` long and with both ends moved inwards to multiples of `align` pages, that lies below
 * page `below`, cuts it to its highest `max` pages, and takes it (allocated). False: none.
 * The caller gives the memory back and then calls pagealloc_put_clean; only what it takes is hidden
 * from allocation meanwhile, so it may drop its lock. */
bool pagealloc_take_dirty(struct pagealloc *pa, size_t below, size_t min, size_t max, size_t align,
			  size_t *first, size_t *npages);
/* pagealloc_put_clean - allocated → free clean. */
void pagealloc_put_clean(struct pagealloc *pa, size_t first, size_t npages);

/* pagealloc_is_free - of one page. */
bool pagealloc_is_free(const struct pagealloc *pa, size_t page);
/* pagealloc_verify - walks A1 … A4; dies naming the one that is broken. */
void pagealloc_verify(const struct pagealloc *pa);

#endif
