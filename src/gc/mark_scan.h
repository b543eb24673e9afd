/* mark_scan.h - from an object to its words: what the mark loop does for every grey object.
 *
 * WHAT   The span class tells which words of an object may be pointers. What one word of mask, or all words, tells is done here;
 *        the rest in mark_scan.c, its cold twin.
 * WHO    mark.c's loop.   INV  mark.h R2. Words are read with relaxed loads: the program may be writing them. */
#ifndef MGC_GC_MARK_SCAN_H
#define MGC_GC_MARK_SCAN_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "base/bits.h"
#include "gc/mark_word.h"

/* mark_scan_long - what is not told by one word of mask: long periods, callbacks, tags, pairs, pieces of large
 * objects. */
void mark_scan_long(struct marker *mk, uintptr_t at, const struct spanclass *sc);
/* mark_flush_pending - the pairs that wait for their keys go to the pool. */
void mark_flush_pending(struct marker *mk);

/* mark_load_word - of an object. The program may be writing it, and plainly: before anybody else has seen the object,
 * or where no reference stands. ThreadSanitizer is not asked. */
#if MGC_WITH_TSAN
static inline MGC_NO_SANITIZE uintptr_t mark_load_word(const uintptr_t *w)
{
	return *(const volatile uintptr_t *)w;
}
#else
MGC_INLINE uintptr_t mark_load_word(const uintptr_t *w)
{
	return load_relaxed(w);
}
#endif

MGC_INLINE void hot_scan_words(struct hot *h, const uintptr_t *w, const uintptr_t *end,
			       uintptr_t ambiguous)
{
	for (; w < end; w++)
		hot_candidate(h, mark_load_word(w), ambiguous);
}

/* mark_look_at_end - of an object with a spare end: all zero, unless the program writes behind its objects. */
MGC_INLINE void mark_look_at_end(struct marker *mk, const uintptr_t *end)
{
	_Static_assert(MGC_GRANULE == 2 * sizeof *end, "a spare end is two words");
	mk->nspared++;
	mk->spare_used |= (mark_load_word(end - 1) | mark_load_word(end - 2)) != 0;
}

/* hot_scan_some - the n words from w on, at least one. */
MGC_INLINE void hot_scan_some(struct hot *h, const uintptr_t *w, size_t n, uintptr_t ambiguous)
{
	const uintptr_t *end = w + n;
	if (ambiguous == 0) {
		do
			hot_candidate(h, mark_load_word(w), 0);
		while (++w < end);
	} else {
		hot_scan_words(h, w, end, MARK_AMBIGUOUS);
	}
}

/* hot_scan - reads the words of a grey object, or of a piece of a large one; true: that may have taken long. */
MGC_INLINE bool hot_scan(struct hot *h, uintptr_t entry)
{
	const struct spanclass *sc = &h->spanclass[(uint16_t)entry];
	const uintptr_t *w = (const uintptr_t *)(h->base + (entry >> ENTRY_SHIFT));
	uintptr_t ambiguous = !h->lenient && sc->flags & LAYOUT_AMBIGUOUS ? MARK_AMBIGUOUS : 0;
	if (MGC_LIKELY(sc->nwords != 0)) {
		hot_scan_some(h, w, sc->nwords, ambiguous);
	} else if (sc->scan == SCAN_SPARE && sc->slot_nbytes != 0) {
		size_t n = sc->slot_nbytes / sizeof(uintptr_t);
		hot_scan_some(h, w, n, ambiguous);
		mark_look_at_end(h->mk, w + n);
	} else if (sc->scan == SCAN_MASK64 && ambiguous == 0) {
		for (uint64_t m = sc->mask; m != 0; m &= m - 1)
			hot_candidate(h, mark_load_word(&w[bits_ctz(m)]), 0);
	} else if (sc->scan == SCAN_MASK64) {
		for (uint64_t m = sc->mask; m != 0; m &= m - 1)
			hot_candidate(h, mark_load_word(&w[bits_ctz(m)]), MARK_AMBIGUOUS);
	} else if (sc->scan == SCAN_CODED64) {
		struct word_code code = { ~(uintptr_t)sc->tag_mask, sc->tags, sc->tag_mask };
		if (sc->flags & LAYOUT_BOXED)
			code.keep &= LAYOUT_BOX_MASK;
		for (uint64_t m = sc->mask; m != 0; m &= m - 1)
			hot_candidate(h, word_decode(code, mark_load_word(&w[bits_ctz(m)])), ambiguous);
	} else {
		hot_store(h);
		mark_scan_long(h->mk, (uintptr_t)w, sc);
		hot_refresh(h);
		return sc->slot_nbytes == 0;
	}
	return false;
}

#endif
