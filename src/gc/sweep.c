/* sweep.c - see sweep.h. */
#include "gc/sweep.h"

#include <string.h>

#include "base/annotate.h"
#include "base/check.h"
#include "gc/edge.h"
#include "gc/gc.h"

MGC_COLD void sweep_clobber(uintptr_t object, size_t nbytes)
{
	for (size_t i = 0; i + 8 <= nbytes; i += 8)
		*(uint64_t *)(object + i) = UINT64_C(0xdeadbeefdeadbeef);
}

/* tell_dead - overwrites what is about to be freed, so that a use of it shows, or tells who watches. */
static MGC_COLD void tell_dead(const struct space *sp, struct span *s, bool clobber)
{
	for (uint32_t slot = 0; slot < s->nslots; slot++) {
		uintptr_t addr = span_slot_addr(s, slot);
		if (!space_is_allocated(sp, addr) || space_is_marked(sp, addr))
			continue;
		if (clobber)
			sweep_clobber(addr, edge_nbytes(s));
		annotate_free(addr, s->slot_nbytes);
	}
}

uint32_t sweep_span(struct heap *h, struct span *s)
{
	const struct space *sp = &h->pageheap.space;
	uintptr_t zombie;
	MGC_CHECK(load_relaxed(&s->sweepgen) == heap_sweepgen(h) - 1);
	MGC_ASSERTION(heap_phase(h) < PHASE_ROOTS); /* gc/barrier.h: D7 */
	bool clobber = h->gc->knobs.clobberfree != 0;
	if (MGC_UNLIKELY(clobber || annotate_on))
		tell_dead(sp, s, clobber);
	uint32_t live = span_sweep(sp, s, h->gc->young.sticky, &zombie);
	if (MGC_UNLIKELY(zombie != 0))
		mgc_misuse("object %p of %zu B was freed and is still referred to", (void *)zombie,
			   s->slot_nbytes);
	store_release(&s->sweepgen, heap_sweepgen(h)); /* pairs: swept */
	return live;
}

size_t sweep_reclaim(void *heap, size_t npages, size_t nspans)
{
	return heap_sweep_some(heap, npages, nspans);
}

void sweep_large(struct heap *h)
{
	unsigned n = load_acquire(&h->layouts.nspanclasses); /* pairs: spanclass */
	for (unsigned sc = 1; sc < n; sc++) {
		if (h->layouts.spanclass[sc].sizeclass != 0)
			continue;
		while (central_sweep_one(h, heap_central(h, sc)) >= 0)
			;
	}
}
