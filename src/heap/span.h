/* span.h - a run of pages cut into equal slots, or one large object.
 *
 * WHAT   The record of a span lies in space.spans[] at the span's first page, so address → span is
 *        arithmetic. Which slots are taken stands in the space's side bits (space.h), at the granule
 *        where the slot begins.
 * STATE  state   FREE → (pageheap) → IN_USE → FREE; LOST: at the first page of a chunk of the range
 *                that somebody else has (space_grow), for ever
 *        sweepgen against the heap's h (even, +2 per cycle):
 *                h-2 unswept → h-1 one owner is sweeping → h swept
 *        where   which of its central's lists the span is on (central.h)
 * INV    P1 an allocation bit is set only at the first granule of a slot < nslots  [span_verify]
 *        P2 mark bit set ⇒ allocation bit set (else: a pointer to a free object)   [span_sweep]
 *        P3 slots of a run in hand have their allocation bits set, all zero in memory unless NOZERO
 *        P4 only the owner of a CACHED span, or of one taken for sweeping, sets allocation bits; of a
 *           PARTIAL one whoever holds its central's lock
 *        P5 bits are cleared in a swept span, or by who sweeps it: a slot whose mark is cleared first would be
 *           free, and another's, by the time its allocation bit is cleared   [cache.c settle]
 *        P6 allocation bits are set in a published span only: who sees one can resolve each address in its slot
 * LOCKS  node, where: the central's lock. Everything else: fixed while IN_USE, or the owner's, or
 *        atomic as said at the field.
 * UNITS  slots counted from 0; bytes; pages of 8 KiB.  FROM Go's mspan; records by arithmetic are ours. */
#ifndef MGC_HEAP_SPAN_H
#define MGC_HEAP_SPAN_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"
#include "base/config.h"
#include "base/list.h"
#include "heap/sizeclass.h"
#include "heap/space.h"

enum span_state { SPAN_FREE, SPAN_IN_USE, SPAN_LOST };
enum span_where { SPAN_ON_NONE, SPAN_PARTIAL, SPAN_FULL, SPAN_CACHED };

struct span {
	struct list node;
	uintptr_t base;
	size_t slot_nbytes;   /* of a large object: the whole span */
	uint32_t npages;
	uint32_t reciprocal;  /* 0 in a large span: every offset is slot 0 */
	uint32_t sweepgen;    /* atomic */
	uint16_t nslots;
	uint16_t scan_from; /* atomic; owner, who sweeps, or under the central's lock: no free slot below this one is looked for */
	uint16_t spanclass; /* atomic: a late free still looks at it */
	uint16_t slack; /* of a large object: bytes behind what was asked for */
	uint8_t sizeclass;
	uint8_t state; /* atomic; written under PAGEHEAP */
	uint8_t where; /* atomic; written under the central's lock */
	uint8_t needzero; /* atomic: slots may hold old contents */
	uint8_t overflow; /* atomic: holds marked objects that no grey queue knows */
	uint8_t closed; /* atomic: nobody takes slots from it, though some may be free; written by a cycle, with the world stopped or before FLIP */
	uint8_t spare[2];
};

_Static_assert(sizeof(struct span) == 64, "1/128 of the heap: a cache line a page");

/* span_init - makes fresh pages a span of that class. `npages` is already set by the page heap;
 * slot_nbytes, nslots from the size class, or one slot of all pages for class 0. */
void span_init(struct span *s, unsigned spanclass, unsigned sizeclass, uint32_t sweepgen);

MGC_INLINE size_t span_nbytes(const struct span *s)
{
	return (size_t)s->npages << MGC_PAGE_SHIFT;
}

/* span_slot_of - the slot that addr, inside the span, lies in; nslots when it lies behind the last. */
MGC_INLINE uint32_t span_slot_of(const struct span *s, uintptr_t addr)
{
	if (s->reciprocal == 0)
		return 0;
	return (uint32_t)(((addr - s->base) * s->reciprocal) >> 32);
}

MGC_INLINE uintptr_t span_slot_addr(const struct span *s, uint32_t slot)
{
	return s->base + slot * s->slot_nbytes;
}

MGC_INLINE bool space_is_allocated(const struct space *sp, uintptr_t slot_addr)
{
	uint64_t bit;
	return (load_acquire(&space_bits(sp, slot_addr, &bit)->alloc) & bit) != 0; /* pairs: alloc-bit */
}

MGC_INLINE bool space_is_marked(const struct space *sp, uintptr_t slot_addr)
{
	uint64_t bit;
	return (load_relaxed(&space_bits(sp, slot_addr, &bit)->mark) & bit) != 0;
}

/* space_is_born - of a marked slot, for who comes upon it by its mark alone: runs that are born black are marked before
 * they are allocated, and only with the allocation bit is it seen that they are zero. */
MGC_INLINE bool space_is_born(const struct space *sp, uintptr_t slot_addr)
{
	return space_is_marked(sp, slot_addr) && space_is_allocated(sp, slot_addr);
}

/* space_mark - true when this call set the mark bit. */
MGC_INLINE bool space_mark(const struct space *sp, uintptr_t slot_addr)
{
	uint64_t bit;
	struct bitpair *pair = space_bits(sp, slot_addr, &bit);
	if (load_relaxed(&pair->mark) & bit)
		return false;
	return (or_relaxed(&pair->mark, bit) & bit) == 0;
}

/* space_unmark - clears the mark bit; nobody else may be marking that object. */
MGC_INLINE void space_unmark(const struct space *sp, uintptr_t slot_addr)
{
	uint64_t bit;
	struct bitpair *pair = space_bits(sp, slot_addr, &bit);
	and_seq(&pair->mark, ~bit);
}

/* space_span - the span that holds addr, or NULL: outside the range, or its page is in no span. */
MGC_INLINE struct span *space_span(const struct space *sp, uintptr_t addr)
{
	if (!space_contains(sp, addr))
		return NULL;
	size_t page = space_page_of(sp, addr);
	uint32_t desc = load_acquire(&sp->desc[page]); /* pairs: desc-publish */
	if (desc == 0)
		return NULL;
	return &sp->spans[space_first_page(sp, page, desc)];
}

/* span_publish - writes the descriptors of all its pages: from now on addresses resolve to it.
 * span_unpublish - takes them back. */
void span_publish(struct space *sp, struct span *s);
void span_unpublish(struct space *sp, struct span *s);

/* span_find_run - the owner looks for the next run of free slots at or above scan_from: true with
 * [*lo, *hi), at most max_slots long. Nothing is changed but scan_from. */
bool span_find_run(const struct space *sp, struct span *s, uint32_t max_slots, uint32_t *lo,
		   uint32_t *hi);
/* span_take_run - sets the allocation bits of [lo, hi), and first their mark bits when `black`. Call
 * it after the slots were zeroed. */
void span_take_run(const struct space *sp, struct span *s, uint32_t lo, uint32_t hi, bool black);
/* span_free_word - the owner looks for free slots at or above scan_from, wherever they lie: the bits of at most max_slots of them,
 * all in one word, *w in sp->bits; 0: there is none. Of a class of the dense masks whose slots are whole granules.
 * span_take_word - takes them; as span_take_run. */
uint64_t span_free_word(const struct space *sp, struct span *s, uint32_t max_slots, size_t *w);
MGC_INLINE void span_take_word(const struct space *sp, struct span *s, size_t w, uint64_t bits, bool black)
{
	if (black)
		or_relaxed(&sp->bits[w].mark, bits);
	or_release(&sp->bits[w].alloc, bits); /* pairs: alloc-bit; as in span_take_run */
	size_t behind = (w << 6) + 64 - bits_clz(bits); /* the granule behind the last slot's first */
	uintptr_t last = sp->base + (behind << MGC_GRANULE_SHIFT) - 1;
	store_relaxed(&s->scan_from, (uint16_t)(span_slot_of(s, last) + 1));
}

/* span_is_dense - it is of a class of the dense masks. span_has_words - and its slots are whole granules. */
MGC_INLINE bool span_is_dense(const struct span *s)
{
	return s->sizeclass >= 1 && s->sizeclass <= MGC_NDENSE;
}

MGC_INLINE bool span_has_words(const struct span *s)
{
	return span_is_dense(s) && s->slot_nbytes % MGC_GRANULE == 0;
}

/* span_find_hole - of such a class: the next run of free slots at or above scan_from, if another's slot, in the same word of
 * bits, ends it: the run's bits, in word *w of sp->bits, for span_take_word, and where it ends. 0: there is none, or it is
 * longer: then span_find_run knows. */
MGC_INLINE uint64_t span_find_hole(const struct space *sp, const struct span *s, size_t *w,
				   uintptr_t *end)
{
	const uint64_t *begins = sizeclass_dense_mask[s->sizeclass - 1];
	size_t g = load_relaxed(&s->scan_from) * s->slot_nbytes >> MGC_GRANULE_SHIFT;
	size_t first = (s->base - sp->base) >> (MGC_GRANULE_SHIFT + 6), i = g >> 6;
	uint64_t wanted = UINT64_MAX << (g & 63);
	for (; i < MGC_DENSE_WORDS; i++, wanted = UINT64_MAX) {
		uint64_t taken = load_acquire(&sp->bits[first + i].alloc); /* pairs: free-dirties */
		uint64_t free = begins[i] & wanted & ~taken;
		if (free == 0)
			continue;
		taken &= 0 - (free & (0 - free)); /* above the first one that is free */
		if (taken == 0)
			break;
		*w = first + i;
		*end = s->base + (((i << 6) + bits_ctz(taken)) << MGC_GRANULE_SHIFT);
		return free & ((taken & (0 - taken)) - 1);
	}
	return 0;
}
/* span_mark_run - sets the mark bits of [lo, hi), which are taken. */
void span_mark_run(const struct space *sp, struct span *s, uint32_t lo, uint32_t hi);
/* span_drop_run - clears both bits of slots [lo, hi): they were handed out and never born. */
void span_drop_run(const struct space *sp, struct span *s, uint32_t lo, uint32_t hi);

/* span_count - taken slots now. */
uint32_t span_count(const struct space *sp, const struct span *s);

/* span_sweep - turns unmarked slots into free ones: alloc &= mark, mark = 0. The caller owns the
 * sweep (sweepgen h-1). keep: the marks stay. Returns how many slots stay; *zombie is 0 or the address of a slot that is
 * marked but was free (P2). */
uint32_t span_sweep(const struct space *sp, struct span *s, bool keep, uintptr_t *zombie);

/* span_count_marks - marked slots. span_clear_marks - none is. */
uint32_t span_count_marks(const struct space *sp, const struct span *s);
void span_clear_marks(const struct space *sp, struct span *s);

/* span_is_unmarked - no mark bit is set. */
bool span_is_unmarked(const struct space *sp, const struct span *s);

/* span_verify - walks P1; dies naming the span. */
void span_verify(const struct space *sp, const struct span *s);

#endif
