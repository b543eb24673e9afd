/* mark_rescan.c - objects that were written to since they were scanned, and those whose callbacks had to wait, are scanned again.
 * See mark.h. LOCKS CENTRAL, for those that waited. */
#include "gc/mark_scan.h"

/* rescan_large - the pieces of a marked large object that overlap [lo, hi). */
static void rescan_large(struct marker *mk, const struct span *s, uintptr_t lo, uintptr_t hi)
{
	const struct spanclass *sc = &mk->spanclass[s->spanclass];
	if (!space_is_born(&mk->heap->pageheap.space, s->base))
		return;
	if (sc->scan != SCAN_ALL) { /* a callback, or words that only the layout names */
		marker_scan_object(mk, s->base);
		return;
	}
	marker_range(mk, lo, min_size(hi, s->base + s->slot_nbytes - s->slack),
		     sc->flags & LAYOUT_AMBIGUOUS ? MARK_AMBIGUOUS : 0);
}

/* rescan_slots - the marked ones that overlap [lo, hi) go on the grey queue once more. */
static void rescan_slots(struct marker *mk, const struct span *s, uintptr_t lo, uintptr_t hi)
{
	struct hot h = hot_load(mk);
	size_t first = (span_slot_addr(s, span_slot_of(s, lo)) - h.base) >> MGC_GRANULE_SHIFT;
	size_t end = (hi - h.base) >> MGC_GRANULE_SHIFT;
	for (size_t w = first / 64; w * 64 < end; w++) {
		uint64_t marks = load_relaxed(&h.bits[w].mark) &
				 load_acquire(&h.bits[w].alloc); /* space_is_born; pairs: alloc-bit */
		if (w == first / 64)
			marks &= ~UINT64_C(0) << (first % 64);
		if (end - w * 64 < 64)
			marks &= (UINT64_C(1) << (end % 64)) - 1;
		mk->rescanned_objects += (unsigned)bits_count(marks);
		for (; marks != 0; marks &= marks - 1) {
			size_t granule = w * 64 + (unsigned)bits_ctz(marks);
			/* the slot begins somewhere in it */
			uintptr_t last = h.base + (granule << MGC_GRANULE_SHIFT) + MGC_GRANULE - 1;
			hot_push(&h, entry_of(span_slot_addr(s, span_slot_of(s, last)) - h.base,
					      s->spanclass));
		}
	}
	hot_store(&h);
}

/* rescan_in_span - [lo, hi) lies in the span. */
static void rescan_in_span(struct marker *mk, const struct span *s, uintptr_t lo, uintptr_t hi)
{
	if (mk->spanclass[s->spanclass].scan == SCAN_NONE)
		return;
	if (s->sizeclass == 0)
		rescan_large(mk, s, lo, hi);
	else
		rescan_slots(mk, s, lo, hi);
}

void marker_rescan(struct marker *mk, uintptr_t lo, uintptr_t hi)
{
	const struct space *sp = &mk->heap->pageheap.space;
	while (lo < hi) {
		const struct span *s = space_span(sp, lo);
		uintptr_t end = s != NULL ? s->base + span_nbytes(s)
					  : align_down(lo, MGC_PAGE_SIZE) + MGC_PAGE_SIZE;
		end = min_size(end, hi);
		if (s != NULL)
			rescan_in_span(mk, s, lo, end);
		lo = end;
		if (mk->block != NULL && mk->block->n > GREY_BLOCK_OBJECTS / 2)
			marker_drain_mine(mk);
	}
}

static void rescan_waiting_span(void *arg, struct span *s)
{
	struct marker *mk = arg;
	for (uint32_t slot = 0; slot < s->nslots; slot++)
		if (space_is_born(&mk->heap->pageheap.space, span_slot_addr(s, slot)))
			marker_scan_object(mk, span_slot_addr(s, slot));
}

void marker_rescan_waiting(struct marker *mk)
{
	struct heap *h = mk->heap;
	unsigned n = load_acquire(&h->layouts.nspanclasses); /* pairs: spanclass */
	for (unsigned sc = 1; sc < n; sc++)
		if (mk->spanclass[sc].scan == SCAN_TRACE && (mk->spanclass[sc].flags & LAYOUT_STOPPED))
			central_each(heap_central(h, sc), rescan_waiting_span, mk);
}
