/* mark_word.h - from a word to a mark bit: what the mark loop does for every word.
 *
 * WHAT   A word that points into the heap waits in the ring; then it is resolved to its slot, the slot's mark bit is set, and an
 *        object with pointers goes on the grey queue. What is rare is in mark_word.c, its cold twin.
 * STATE  of a candidate: word → tagged offset in the ring → entry on the queue (its object is marked), or dropped
 * WHO    mark.c and what scans for it: mark_scan.h, mark_rescan.c. Others feed words by mark.h.
 * INV    mark.h R1.   UNITS  offsets into the space, in bytes. */
#ifndef MGC_GC_MARK_WORD_H
#define MGC_GC_MARK_WORD_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/mark.h"

/* ── the hot state ──────────────────────────────────────────────────────────────────────────
 * What the loop touches for every word lives in a local copy that the compiler keeps in registers; it is
 * loaded from the marker and stored back around every call that leaves the loop. */

struct hot {
	struct marker *mk;
	uintptr_t base;
	size_t last; /* of the offsets in the space; 0 is none: page 0 is hidden */
	const uint32_t *desc;
	struct bitpair *bits;
	const struct spanclass *spanclass;
	uintptr_t *bottom; /* of my block */
	uintptr_t *top; /* its next free cell */
	uintptr_t *full; /* its end */
	unsigned ring_in;
	bool alone, watched, direct, lenient; /* constants in most copies of the loop (mark.c drain_as) */
};

/* A queue entry: the offset of an object, or of a piece of a large one, above its span class. */
#define ENTRY_SHIFT 16

MGC_INLINE uintptr_t entry_of(uintptr_t off, unsigned spanclass)
{
	return off << ENTRY_SHIFT | spanclass;
}

MGC_INLINE void hot_load_block(struct hot *h)
{
	struct grey_block *b = h->mk->block;
	h->bottom = b != NULL ? b->object : NULL;
	h->top = b != NULL ? b->object + b->n : NULL;
	h->full = b != NULL ? b->object + GREY_BLOCK_OBJECTS : NULL;
}

MGC_INLINE struct hot hot_load(struct marker *mk)
{
	struct hot h = { .mk = mk,
			 .base = mk->base,
			 .last = mk->nbytes - 1,
			 .desc = mk->desc,
			 .bits = mk->bits,
			 .spanclass = mk->spanclass,
			 .ring_in = mk->ring_at,
			 .alone = mk->alone,
			 .watched = mk->watch != NULL,
			 .direct = mk->direct,
			 .lenient = mk->ignore_invalid };
	hot_load_block(&h);
	return h;
}

MGC_INLINE void hot_store_block(const struct hot *h)
{
	if (h->mk->block != NULL)
		h->mk->block->n = (uint32_t)(h->top - h->mk->block->object);
}

MGC_INLINE void hot_store(const struct hot *h)
{
	hot_store_block(h);
	h->mk->ring_at = h->ring_in;
}

/* hot_refresh - what calls that left the loop may have changed. */
MGC_INLINE void hot_refresh(struct hot *h)
{
	h->ring_in = h->mk->ring_at;
	hot_load_block(h);
}

/* ── the cold twin ──────────────────────────────────────────────────────────────────────── */

/* mark_push_slow - the block is full: another one, or the object's span is flagged. */
void mark_push_slow(struct marker *mk, uintptr_t entry);
/* mark_push_large - one entry for each piece of a large object. Returns the bytes that were marked. */
size_t mark_push_large(struct marker *mk, uintptr_t object, unsigned spanclass);
/* mark_far_object - where the large object begins into which that offset points, behind the pages that know by themselves. */
uintptr_t mark_far_object(struct marker *mk, uintptr_t off, uint32_t desc);
/* mark_invalid - the word points to no object. One that was to be a pointer is the program's mistake. */
void mark_invalid(struct marker *mk, uintptr_t tagged);
/* mark_found_by_end - the first word to find an object with a spare end points to `at` in it. */
void mark_found_by_end(struct marker *mk, const struct spanclass *sc, size_t at);

/* ── the way of a word ──────────────────────────────────────────────────────────────────── */

MGC_INLINE void hot_push(struct hot *h, uintptr_t entry)
{
	if (MGC_UNLIKELY(h->top == h->full)) {
		struct marker *mk = h->mk;
		hot_store_block(h);
		mark_push_slow(mk, entry);
		hot_load_block(h);
		return;
	}
	*h->top++ = entry;
}

/* mark_has_bit - of the granule at that offset, in its line's word. Written so that it is one instruction. */
MGC_INLINE bool mark_has_bit(uint64_t word, uintptr_t off)
{
	return word >> (off >> MGC_GRANULE_SHIFT & 63) & 1;
}

/* hot_set_mark - true when the bit was clear. */
MGC_INLINE bool hot_set_mark(struct hot *h, struct bitpair *pair, uintptr_t off, uint64_t seen)
{
	uint64_t bit = UINT64_C(1) << (off >> MGC_GRANULE_SHIFT & 63);
	if (h->alone) {
		store_relaxed(&pair->mark, seen | bit);
		return true;
	}
	return (or_relaxed(&pair->mark, bit) & bit) == 0;
}

/* hot_slot_within - the start of the allocated slot that the word points into; 0: there is none, or it is marked.
 * That comes first: a word may point into a slot that was marked and freed since. */
MGC_INLINE uintptr_t hot_slot_within(struct hot *h, uintptr_t tagged, uint32_t desc)
{
	uintptr_t off = tagged & ~MARK_AMBIGUOUS;
	const struct spanclass *sc = &h->spanclass[desc_spanclass(desc)];
	size_t in = (off & (MGC_PAGE_SIZE - 1)) + (desc_distance(desc) << MGC_PAGE_SHIFT);
	uintptr_t start = off - in;
	if (MGC_LIKELY(sc->reciprocal != 0)) {
		start += ((in * sc->reciprocal) >> 32) * sc->slot_nbytes;
	} else if (MGC_UNLIKELY(desc == 0)) { /* span class 0 is all zero: not small */
		mark_invalid(h->mk, tagged);
		return 0;
	} else if (MGC_UNLIKELY(desc_distance(desc) == DESC_FAR)) {
		start = mark_far_object(h->mk, off, desc);
	}
	const struct bitpair *pair = &h->bits[start >> 10];
	uint64_t bit = UINT64_C(1) << ((start >> MGC_GRANULE_SHIFT) & 63);
	if (load_relaxed(&pair->mark) & bit)
		return 0;
	if (MGC_LIKELY(load_acquire(&pair->alloc) & bit)) { /* pairs: alloc-bit */
		if (MGC_UNLIKELY(sc->scan == SCAN_SPARE))
			mark_found_by_end(h->mk, sc, off - start);
		return start;
	}
	mark_invalid(h->mk, tagged);
	return 0;
}

/* hot_mark - resolves the word, an offset into the space, to its slot; sets the mark bit; queues
 * what has pointers. */
MGC_INLINE void hot_mark(struct hot *h, uintptr_t tagged)
{
	uintptr_t start = h->lenient ? tagged : tagged & ~MARK_AMBIGUOUS;
	uint32_t desc = load_acquire(&h->desc[start >> MGC_PAGE_SHIFT]); /* pairs: desc-publish */
	unsigned id = desc_spanclass(desc);
	const struct spanclass *sc = &h->spanclass[id];
	struct bitpair *pair = &h->bits[start >> 10];
	if (MGC_UNLIKELY((start & (uintptr_t)(intptr_t)sc->interior) != 0 ||
			 !mark_has_bit(load_acquire(&pair->alloc), start))) {
		start = hot_slot_within(h, tagged, desc);
		if (start == 0)
			return;
		pair = &h->bits[start >> 10];
	}
	uint64_t seen = load_relaxed(&pair->mark);
	if (mark_has_bit(seen, start) || !hot_set_mark(h, pair, start, seen))
		return;
	h->mk->marked_objects++;
	h->mk->marked_nbytes += sc->slot_nbytes;
	if (MGC_UNLIKELY(h->watched))
		h->mk->watch(h->mk->watch_arg, h->base + start);
	if (MGC_UNLIKELY(sc->nwords == 0)) {
		if (sc->slot_nbytes == 0) {
			hot_store_block(h);
			h->mk->marked_nbytes += mark_push_large(h->mk, h->base + start, id);
			hot_load_block(h);
			return;
		}
		if (sc->scan == SCAN_NONE)
			return;
	}
	hot_push(h, entry_of(start, id));
}

/* hot_candidate - puts the word at the end of the ring; marks the oldest one. Zero is an empty cell: page 0
 * is hidden. */
MGC_INLINE void hot_candidate(struct hot *h, uintptr_t word, uintptr_t ambiguous)
{
	uintptr_t off = word - h->base, tagged = h->lenient ? off : off | ambiguous;
	if (off - 1 >= h->last)
		return;
	if (!h->lenient && ambiguous != 0) { /* the same type or constant stands in object after object: once is enough */
		uintptr_t *recent = &h->mk->recent[(off >> 4) % MARK_RECENT];
		if (*recent == tagged)
			return;
		*recent = tagged;
	}
	if (h->direct) {
		hot_mark(h, tagged);
		return;
	}
	__builtin_prefetch(&h->bits[off >> 10], 1);
	uintptr_t *cell = &h->mk->ring[h->ring_in++ % MARK_RING], oldest = *cell;
	*cell = tagged;
	if (MGC_LIKELY(oldest != 0))
		hot_mark(h, oldest);
}

#endif
