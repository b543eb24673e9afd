/* alloc.h - mallocgc: every allocation of a collected heap.
 *
 * WHAT   tiny (no pointers, < 16 B, packed) · small (≤ 32 KiB, from the mutator's run) · large (a span
 *        of its own). The fast path is cache_pop; everything that is seldom (attach, a collection that
 *        is due, refill, no memory) hangs behind its one compare.
 * WHO    the faces.
 * ERRORS 0 when memory is exhausted: first a whole collection was tried.
 * FROM   Go's malloc.go. */
#ifndef MGC_GC_ALLOC_H
#define MGC_GC_ALLOC_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stddef.h>
#include <stdint.h>

#include "gc/gc.h"
#include "heap/cache.h"

/* gc_alloc_slot_slow - the run of that class is used up. */
uintptr_t gc_alloc_slot_slow(struct gc *gc, struct mutator *m, unsigned spanclass);

/* gc_alloc_slot - one slot of a known small span class. */
MGC_INLINE uintptr_t gc_alloc_slot(struct gc *gc, struct mutator *m, unsigned spanclass,
				   size_t slot_nbytes)
{
	uintptr_t p = cache_pop(m, spanclass, slot_nbytes);
	return MGC_LIKELY(p != 0) ? p : gc_alloc_slot_slow(gc, m, spanclass);
}

/* gc_sample - the object is one of the profile's; its free is to be noticed. */
void gc_sample(struct gc *gc, struct mutator *m, uintptr_t p, size_t nbytes);

/* gc_alloc - nbytes laid out as `layout` says. 0 bytes count as 1. */
uintptr_t gc_alloc(struct gc *gc, struct mutator *m, unsigned layout, size_t nbytes);
/* gc_alloc_aligned - the same at a multiple of `align`, a power of two. */
uintptr_t gc_alloc_aligned(struct gc *gc, struct mutator *m, unsigned layout, size_t nbytes,
			   size_t align);
uintptr_t gc_alloc_tiny(struct gc *gc, struct mutator *m, size_t nbytes);

/* gc_free - the object at p goes back. Dies on a pointer that is not the start of an object. */
void gc_free(struct gc *gc, struct mutator *m, uintptr_t p);

/* gc_object - the object that addr points into: its first byte and slot size; 0 when into none (also
 * for an unborn slot of a run in hand, as far as that can be told). */
uintptr_t gc_object(struct gc *gc, uintptr_t addr, size_t *nbytes);

#endif
