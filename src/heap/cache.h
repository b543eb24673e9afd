/* cache.h - one mutator's current runs: small, tiny and large allocation, and explicit free.
 *
 * WHAT   The fast path moves a run's cursor. When a run is used up the owner takes the next run of
 *        free slots of its span, zeroed, and when the span is used up the next span of the class.
 *        The first runs of a class are small, each twice the one before, and cut from a span that
 *        threads share: only a thread that has used about a span's worth gets spans of its own. Else
 *        every thread would pin a span for every layout of which it has one object.
 * WHO    gc/alloc.c (which first asks whether a collection is due) and the faces.
 * INV    K1 cache_* functions that may take locks run inside the mutator's section
 *        K2 a slot is born (its address returned) at most once between two frees
 * COST   fast path: two loads, an add, a compare, a store.
 * FROM   Go's mcache and mallocgc; free runs in place of a bit per object are ours. */
#ifndef MGC_HEAP_CACHE_H
#define MGC_HEAP_CACHE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/mutator.h"

/* cache_pop - the next slot of the class, or 0 when the run is used up. A stop, or a snapshot, may land on
 * either side of the store: before it the slot is unborn, and kept as such; after it the slot's address is in
 * a register or on the stack, where it is found. For it is wanted behind the store, by the second MGC_OPAQUE,
 * and cannot be had from anything else by then: the run has the next one, and what `next` has to do with it
 * the compiler does not know, since the first. So the slot below a cursor needs no keeping: it is nobody's
 * business what became of the last object of a run. [birth_test.c, one instruction after the other] */
MGC_INLINE uintptr_t cache_pop(struct mutator *m, unsigned spanclass, size_t slot_nbytes)
{
	struct run *r = &m->runs[spanclass];
	uintptr_t p = load_relaxed(&r->cur), next = p + slot_nbytes; /* mutator_none's is shared */
	MGC_OPAQUE(next);
	if (MGC_UNLIKELY(next > load_relaxed(&r->end)))
		return 0;
	store_relaxed(&r->cur, next);
	MGC_OPAQUE(p);
	if (p == 0 && slot_nbytes != 0) /* the empty run fits no slot: the caller need not look */
		__builtin_unreachable();
	return p;
}

/* cache_claim_sample - whether the run of the class is used up where the sampler's next point falls. If so the sample
 * is the caller's, for the last slot that he took: he asks for many at a time, and would hardly be the next one. */
MGC_INLINE bool cache_claim_sample(struct mutator *m, unsigned spanclass)
{
	const struct run *r = &m->runs[spanclass];
	uint64_t *due = &m->sample_due[spanclass / 64], bit = UINT64_C(1) << spanclass % 64;
	if (MGC_LIKELY((*due & bit) == 0) || load_relaxed(&r->cur) < load_relaxed(&r->end))
		return false;
	*due &= ~bit;
	return true;
}

/* run_span - the span of the unborn slots in hand, or NULL when there are none. */
MGC_INLINE struct span *run_span(const struct mutator *m, unsigned spanclass)
{
	struct run r = m->runs[spanclass];
	return r.cur < r.end ? space_span(&m->heap->pageheap.space, r.cur) : NULL;
}

/* cache_refill - gives the class a new run of at least one slot. False: out of memory. */
bool cache_refill(struct mutator *m, unsigned spanclass);

/* cache_pop_near - a slot of a new run of the span in hand, if that is swept and has a free slot, and nothing but to take it is
 * to be done: nobody looks whether a collection is due, nor tells the heap what was handed out. So after heap.untold_nbytes it is
 * 0, too, and then cache_refill does. In a heap with holes most runs are a few slots long; this way is a third of that. */
uintptr_t cache_pop_near(struct mutator *m, unsigned spanclass);

/* cache_alloc_large - an object of its own span: nbytes > 0, `align` a power of two ≥ 8. Zeroed unless
 * the layout says NOZERO. 0: out of memory.
 * Zeroing happens outside any section, before anybody can find the object. */
uintptr_t cache_alloc_large(struct mutator *m, unsigned layout, size_t nbytes, size_t align);

/* cache_link - makes a list of `first`, a slot that the caller just took, and of others of its class, up to nbytes in all: each
 * refers to the next by its first word. First those of the run in hand, then the free ones of the span it is of, wherever they lie:
 * in a heap with holes a run is a slot or two, and the list is worth the call. *list is the first slot before anybody
 * may stop the thread: what looks there keeps all of the list. Returns the last slot. */
uintptr_t cache_link(struct mutator *m, unsigned spanclass, uintptr_t first, size_t nbytes, void **list);

/* cache_pop_tiny - nbytes < 16, no pointers: a piece of the mutator's current block, aligned for its
 * size; 0 when the block is full (then cache_refill_tiny and again). */
MGC_INLINE uintptr_t cache_pop_tiny(struct mutator *m, size_t nbytes)
{
	size_t align = (nbytes & 7) == 0 ? 8 : (nbytes & 3) == 0 ? 4 : (nbytes & 1) == 0 ? 2 : 1;
	uintptr_t p = (m->tiny_cur + align - 1) & ~(align - 1);
	if (p + nbytes > m->tiny_end || m->tiny_cur == 0)
		return 0;
	m->tiny_cur = p + nbytes;
	return p;
}

bool cache_refill_tiny(struct mutator *m);

/* What is wrong with a pointer that was given to free, or nothing. */
enum free_verdict { FREE_OK, FREE_FOREIGN, FREE_INSIDE, FREE_DOUBLE, FREE_TINY };

/* cache_check - whether p is the start of an allocated object of h; *span is its span if any. */
enum free_verdict cache_check(struct heap *h, uintptr_t p, struct span **span);

/* cache_free - frees the object at p, which cache_check found FREE_OK. Not while a cycle marks. False: the last
 * cycle found it dead. */
bool cache_free(struct mutator *m, uintptr_t p, struct span *s);

/* cache_flush - gives back every run and span of m: at detach, or for a mutator that is gone. */
void cache_flush(struct mutator *m);

/* cache_flush_counts - adds what the mutator handed out to the heap's counters. */
void cache_flush_counts(struct mutator *m);

#endif
