/* space.h - the heap's address space: one range, and the side tables found from an address in it by
 * arithmetic alone.
 *
 * WHAT   [base, base + nbytes) is the only range in which the heap ever has memory, so "may this word
 *        point into the heap" is one subtract and one compare. Growth is by whole chunks, upwards.
 *        Per page: desc[]  (0 when the page is in no span; else span class and distance to the span's
 *                           first page; always readable, whole range)
 *                  spans[] (the record of the span that starts at that page)
 *        Per KiB:  bits[]  (one mark and one allocation bit for each 16 B granule, side by side so
 *                           that a test of both takes one cache line)
 *        spans[] and bits[] are committed arena by arena as the heap grows.
 * WHO    pageheap.c grows it under PAGEHEAP; everyone reads it.
 * INV    S1 base never changes after space_init; nbytes only when the world stands still (space_obey), and of a bare
 *           space never: who frees reads it at any time
 *        S2 desc[page] != 0 only where the page's chunk and tables are committed
 *        S3 `grown` only rises, under PAGEHEAP
 * UNITS  bytes for sizes, pages for page numbers, counted from base. */
#ifndef MGC_HEAP_SPACE_H
#define MGC_HEAP_SPACE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/config.h"

struct span;

/* The mark and allocation bits of 64 granules (1 KiB). A bit stands at the granule of the slot's
 * first byte. mark: set by or_* from any marker, cleared by the sweep. alloc: set by the owner of the
 * span when it hands out a run, cleared by free and by the sweep. */
struct bitpair {
	uint64_t mark, alloc;
};

struct space {
	uintptr_t base;
	size_t nbytes;
	uint32_t *desc;
	struct bitpair *bits;
	struct span *spans;
	size_t npages, most_pages; /* of the range; of the widest one that it may become */
	size_t limit; /* RLIMIT_AS that it obeys */
	size_t grown; /* pages below were handed to space_grow's caller, or are lost */
	size_t tabled; /* arenas whose tables are committed */
	bool reserved; /* what is above `grown` is ours; else each chunk is mapped when it is needed */
	bool bare; /* there are no tables */
	size_t whole_pages; /* a bare one's: pages below are ours, if they are grown; above, some may be lost */
	uintptr_t mapping; /* of the reservation, which is longer by what the base's alignment took */
	size_t mapping_nbytes;
};

/* A page descriptor: span class in the low half (0 = in no span), min(distance to the first page of
 * the span, DESC_FAR) in the high half. */
#define DESC_FAR 0xffffu

MGC_INLINE uint32_t desc_make(unsigned spanclass, size_t distance)
{
	return (uint32_t)spanclass | (uint32_t)(distance < DESC_FAR ? distance : DESC_FAR) << 16;
}

MGC_INLINE unsigned desc_spanclass(uint32_t desc)
{
	return desc & 0xffff;
}

MGC_INLINE size_t desc_distance(uint32_t desc)
{
	return desc >> 16;
}

/* space_init - reserves a range of at most max_nbytes (0: what the system's budget says). 0 or errno,
 * ENOMEM when not even the smallest useful range was granted. */
int space_init(struct space *sp, size_t max_nbytes);
/* space_init_bare - the same without tables, for a heap that makes no spans. Under a limit of the address space its range is
 * as long as the program may make that, as nothing of it is reserved. */
int space_init_bare(struct space *sp, size_t max_nbytes);
void space_destroy(struct space *sp);

/* space_grow - commits the next nchunks chunks that lie together, and their tables. True: *first_page
 * is their first page. False: the range or the system's memory is exhausted; nothing was gained, and
 * a later smaller call may succeed. Caller holds PAGEHEAP. */
bool space_grow(struct space *sp, size_t nchunks, size_t *first_page);

/* space_over_limit - the program has limited its address space since (RLIMIT_AS), and what is reserved is above that:
 * nobody in the process can map anything. space_limit_changed - that, or a limit that bounded the range was lifted.
 * space_obey - gives back what is reserved and not in use, of the range and of the tables, and from here on chunks are mapped
 * one by one, as far as the limit lets them; or makes the range as long as the limit lets it be now. Nobody else reads
 * the space meanwhile, or has read its bounds and goes on; of a bare one the bounds stay, and under PAGEHEAP it is
 * at any time. space_bound - pages below which it may grow under the limit that it obeys. */
bool space_over_limit(const struct space *sp);
bool space_limit_changed(const struct space *sp);
void space_obey(struct space *sp);
size_t space_bound(const struct space *sp);

/* space_discard_tables - gives back the memory of the span records and bits of those pages, which are in
 * no span. The bits are zero already; the records still say what they were, and zero from now on: only a
 * late free may still look at them (central_note_free), and to it a zero record is no span either. */
void space_discard_tables(const struct space *sp, size_t first_page, size_t npages);

/* space_touch_tables - makes that memory resident, before those pages are used. */
void space_touch_tables(const struct space *sp, size_t first_page, size_t npages);

/* space_tables_for - what so much heap takes of them, about. */
size_t space_tables_for(size_t nbytes);

/* space_tables_nbytes - of the tables, as far as they are committed. Caller holds PAGEHEAP. */
size_t space_tables_nbytes(const struct space *sp);

MGC_INLINE bool space_contains(const struct space *sp, uintptr_t addr)
{
	return addr - sp->base < sp->nbytes;
}

MGC_INLINE size_t space_page_of(const struct space *sp, uintptr_t addr)
{
	return (addr - sp->base) >> MGC_PAGE_SHIFT;
}

MGC_INLINE uintptr_t space_page_addr(const struct space *sp, size_t page)
{
	return sp->base + (page << MGC_PAGE_SHIFT);
}

/* space_bits - the pair that holds the bits of the granule at addr, and its bit. */
MGC_INLINE struct bitpair *space_bits(const struct space *sp, uintptr_t addr, uint64_t *bit)
{
	size_t granule = (addr - sp->base) >> MGC_GRANULE_SHIFT;
	*bit = UINT64_C(1) << (granule & 63);
	return &sp->bits[granule >> 6];
}

/* space_first_page - of the span that the page, with that non-zero descriptor, belongs to. */
MGC_INLINE size_t space_first_page(const struct space *sp, size_t page, uint32_t desc)
{
	page -= desc_distance(desc);
	while (MGC_UNLIKELY(desc_distance(desc) == DESC_FAR)) {
		desc = load_relaxed(&sp->desc[page]);
		page -= desc_distance(desc);
	}
	return page;
}

#endif
