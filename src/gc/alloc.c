/* alloc.c - see alloc.h. */
#include "gc/alloc.h"

#include "base/annotate.h"
#include "base/bits.h"
#include "base/check.h"
#include "base/usdt.h"
#include "gc/barrier.h"
#include "gc/cycle.h"
#include "gc/edge.h"
#include "gc/sweep.h"
#include "os/os.h"

/* What a refill brings, about. */
#define REFILL_BYTES ((size_t)8 << 10)
/* How often the allocation that reaches the goal waits, up to 100 µs each, for a cycle to begin. */
#define BEGIN_WAITS 50

static bool stress_due(struct gc *gc)
{
	int64_t every = MGC_HOSTILE && gc->knobs.gcstress == 0 ? 64 : gc->knobs.gcstress;
	return every != 0 && add_relaxed(&gc->stress_count, 1u) % (uint32_t)every == 0;
}

/* wait_begin - the goal is reached, and the cycle that was asked for has not begun: its thread did not get
 * a processor. False: it did not for long. */
static bool wait_begin(struct gc *gc)
{
	uint64_t begin = 0;
	bool begun = false;
	for (unsigned i = 0; i < BEGIN_WAITS && !begun; i++) {
		uint64_t pg = heap_phase_gen(gc->heap);
		begun = phase_gen_phase(pg) != PHASE_OFF ||
			heap_live(gc->heap) < load_relaxed(&gc->goal_nbytes);
		if (begun)
			break;
		begin = begin != 0 ? begin : delay_begin(gc);
		heap_wait_phase(gc->heap, pg);
	}
	delay_end(gc, DELAY_WAIT, begin);
	return begun;
}

/* vetoed - the face wants no collection that nobody asked for. */
static bool vetoed(const struct gc *gc)
{
	return gc->veto != NULL && gc->veto();
}

/* by_itself - the only thread of the program collects a heap in which hardly anything lives: that takes it less
 * time than to be interrupted for a cycle, and the collecting thread needs not come and go. */
static bool by_itself(const struct gc *gc)
{
	return load_relaxed(&gc->brief) != 0 && load_relaxed(&gc->heap->nmutators) == 1;
}

/* trigger_reached - a cycle is due, or runs. */
static void trigger_reached(struct gc *gc, struct mutator *m, size_t nbytes)
{
	struct heap *h = gc->heap;
	if (heap_phase(h) != PHASE_OFF)
		collector_debit(gc, m, nbytes);
	else if (!heap_is_due(h) || cycle_obey_limit(gc, m))
		return; /* the trigger that the caller saw was that of the cycle that has just ended. Or: the next refill
			   collects, in what is left */
	else if (!vetoed(gc) &&
		 (!gc->concurrent || by_itself(gc) || !collector_request(gc) || !wait_begin(gc)))
		cycle_collect(gc, m, CYCLE_HEAP);
}

/* before_refill - the moment at which a collection may start. */
static void before_refill(struct gc *gc, struct mutator *m, size_t nbytes)
{
	struct heap *h = gc->heap;
	mutator_check_entry(m);
	if (MGC_UNLIKELY(load_relaxed(&gc->notice) != 0) && swap_acq_rel(&gc->notice, 0u) != 0)
		gc->notify_due(gc);
	if (load_relaxed(&gc->disabled) > 0)
		return;
	if (heap_is_due(h))
		trigger_reached(gc, m, nbytes);
	else if (MGC_UNLIKELY(stress_due(gc)) && !vetoed(gc))
		cycle_collect(gc, m, CYCLE_STRESS);
}

/* make_room - memory was refused: first the end of a cycle that runs may help; then everything is collected
 * and swept, and free pages are given back. False: all of that was done. */
static bool make_room(struct gc *gc, struct mutator *m, unsigned attempt)
{
	if (cycle_obey_limit(gc, m))
		return true;
	if (attempt > 1 || load_relaxed(&gc->disabled) > 0 || vetoed(gc))
		return false;
	if (attempt == 1)
		cycle_collect(gc, m, CYCLE_NO_MEMORY);
	else if (heap_phase(gc->heap) != PHASE_OFF)
		cycle_collect(gc, m, CYCLE_HEAP);
	return true;
}

MGC_NOINLINE void gc_sample(struct gc *gc, struct mutator *m, uintptr_t p, size_t nbytes)
{
	specials_watch_frees(&gc->specials);
	sampler_take(&m->sample, p, nbytes, nbytes);
}

static uintptr_t sampled(struct gc *gc, struct mutator *m, uintptr_t p, size_t nbytes)
{
	if (p != 0)
		gc_sample(gc, m, p, nbytes);
	return p;
}

MGC_NOINLINE uintptr_t gc_alloc_slot_slow(struct gc *gc, struct mutator *m, unsigned sc)
{
	size_t nbytes = gc->heap->layouts.spanclass[sc].slot_nbytes;
	uintptr_t p = cache_pop_near(m, sc);
	if (MGC_LIKELY(p != 0))
		return p;
	MGC_PROBE(alloc__slow, nbytes, sc);
	before_refill(gc, m, REFILL_BYTES);
	uint64_t begin = delay_begin(gc);
	bool refilled = cache_refill(m, sc);
	delay_end(gc, DELAY_REFILL, begin);
	for (unsigned i = 0; MGC_UNLIKELY(!refilled); i++) {
		if (!make_room(gc, m, i))
			return 0;
		refilled = cache_refill(m, sc);
	}
	p = cache_pop(m, sc, nbytes);
	return MGC_LIKELY(!m->sample_now) ? p : sampled(gc, m, p, nbytes);
}

uintptr_t gc_alloc_tiny(struct gc *gc, struct mutator *m, size_t nbytes)
{
	nbytes = max_size(nbytes, 1);
	uintptr_t p = cache_pop_tiny(m, nbytes);
	if (MGC_LIKELY(p != 0))
		return p;
	struct layouts *ls = &gc->heap->layouts;
	unsigned sc = layout_spanclass(ls, LAYOUT_ID_TINY, sizeclass_of(MGC_MAX_TINY));
	p = gc_alloc_slot(gc, m, sc, MGC_MAX_TINY);
	if (p == 0)
		return 0;
	m->tiny_end = p + MGC_MAX_TINY;
	m->tiny_cur = p + nbytes;
	return p;
}

static uintptr_t alloc_large(struct gc *gc, struct mutator *m, unsigned layout, size_t nbytes,
			     size_t align)
{
	MGC_PROBE(alloc__large, nbytes, layout);
	before_refill(gc, m, nbytes);
	uint64_t begin = delay_begin(gc);
	uintptr_t p = cache_alloc_large(m, layout, nbytes, align);
	delay_end(gc, DELAY_REFILL, begin);
	for (unsigned i = 0; MGC_UNLIKELY(p == 0) && make_room(gc, m, i); i++)
		p = cache_alloc_large(m, layout, nbytes, align);
	if (sampler_on() && sampler_pass(&m->sample, nbytes) < nbytes)
		return sampled(gc, m, p, nbytes);
	return p;
}

uintptr_t gc_alloc(struct gc *gc, struct mutator *m, unsigned layout, size_t nbytes)
{
	struct layouts *ls = &gc->heap->layouts;
	if (nbytes > MGC_MAX_SMALL)
		return alloc_large(gc, m, layout, nbytes, 1);
	unsigned sc = layout_spanclass(ls, layout, sizeclass_of(nbytes));
	return sc == 0 ? 0 : gc_alloc_slot(gc, m, sc, ls->spanclass[sc].slot_nbytes);
}

uintptr_t gc_alloc_aligned(struct gc *gc, struct mutator *m, unsigned layout, size_t nbytes, size_t align)
{
	nbytes = max_size(nbytes, 1);
	if (align <= MGC_GRANULE) /* 24 B slots are 8-aligned: ask for the next class */
		return gc_alloc(gc, m, layout,
				align == MGC_GRANULE && nbytes > 16 && nbytes <= 24 ? 32 : nbytes);
	/* a power-of-two slot in a page-aligned span is aligned to its size */
	size_t slot = max_size(nbytes, align);
	if (slot <= MGC_PAGE_SIZE) {
		if (!is_pow2(slot))
			slot = (size_t)1 << (64 - bits_clz(slot));
		if (slot <= MGC_PAGE_SIZE)
			return gc_alloc(gc, m, layout, slot);
	}
	return alloc_large(gc, m, layout, nbytes, align);
}

/* foreign_free - p lies in no span. */
static _Noreturn MGC_COLD void foreign_free(const struct space *sp, uintptr_t p)
{
	if (space_contains(sp, p) && space_page_of(sp, p) < load_relaxed(&sp->grown))
		mgc_misuse("free of %p, where no object is any more: it was freed before, or is an "
			   "address that this heap never gave out",
			   (void *)p);
	mgc_misuse("free of %p, which this heap never gave out", (void *)p);
}

static _Noreturn MGC_COLD void second_free(uintptr_t p, const struct span *s)
{
	mgc_misuse("second free of %p (a slot of %zu B)", (void *)p, s->slot_nbytes);
}

/* free_now_or_later - while a cycle runs a free is put off; false: there was no memory for that, so the
 * caller waited. */
static bool free_now_or_later(struct mutator *m, uintptr_t p, struct span *s)
{
	uint64_t pg = mutator_enter_heap(m);
	bool off = phase_gen_phase(pg) == PHASE_OFF;
	bool done = off || barrier_defer_free(m, p, s->slot_nbytes);
	if (off && m->heap->gc->knobs.clobberfree)
		sweep_clobber(p, edge_nbytes(s));
	if (off) {
		annotate_free(p, s->slot_nbytes);
		if (!cache_free(m, p, s))
			second_free(p, s);
	}
	mutator_leave(m);
	if (!done && lock_thread.passes) /* in a handler of fork, nothing moves on: it dies as garbage */
		return true;
	if (!done)
		heap_wait_phase(m->heap, pg);
	return done;
}

/* forget_specials - what hangs on the object learns that it is freed. */
static void forget_specials(struct gc *gc, struct mutator *m, uintptr_t p, const struct span *s)
{
	if (s->slot_nbytes == sizeof(struct mgc_weak) && weak_is_one((const struct mgc_weak *)p))
		mgc_misuse(
			"free of %p, a weak reference: it dies by itself, and others may have it",
			(void *)p);
	sampler_forget(p);
	if (!specials_has(&gc->specials))
		return;
	mutator_enter(m);
	size_t ndue = specials_forget(&gc->specials, p, key_filter_has(&gc->pool.keys, p));
	mutator_leave(m);
	if (ndue != 0 && gc->notify_due != NULL)
		gc->notify_due(gc);
}

/* leave_to_collector - a key (keyfilter.h). What it refers to may be freed by hand next, and a stale word may
 * keep the key for a while: then it must refer to nothing. */
static void leave_to_collector(struct gc *gc, struct mutator *m, uintptr_t p, const struct span *s)
{
	size_t nbytes = s->sizeclass == 0 ? s->slot_nbytes - s->slack : s->slot_nbytes;
	if (gc->heap->layouts.spanclass[s->spanclass].scan != SCAN_NONE)
		barrier_move(m, (uintptr_t *)p, NULL, nbytes / sizeof(uintptr_t));
}

void gc_free(struct gc *gc, struct mutator *m, uintptr_t p)
{
	struct span *s;
	switch (cache_check(gc->heap, p, &s)) {
	case FREE_FOREIGN:
		foreign_free(&gc->heap->pageheap.space, p);
	case FREE_INSIDE:
		mgc_misuse("free of %p, which is inside an object (of %zu B at %p), not its start",
			   (void *)p, s->slot_nbytes, (void *)span_slot_addr(s, span_slot_of(s, p)));
	case FREE_DOUBLE:
		second_free(p, s);
	case FREE_TINY: /* shares its block */
		return;
	case FREE_OK:
		break;
	}
	mutator_check_entry(m);
	if (load_relaxed(&gc->specials.nregistered) != 0 || load_relaxed(&gc->specials.ndue) != 0)
		forget_specials(gc, m, p, s);
	if (MGC_UNLIKELY(key_filter_has(&gc->pool.keys, p))) {
		leave_to_collector(gc, m, p, s);
		return;
	}
	while (!free_now_or_later(m, p, s))
		;
}

uintptr_t gc_object(struct gc *gc, uintptr_t addr, size_t *nbytes)
{
	const struct space *sp = &gc->heap->pageheap.space;
	struct span *s = space_span(sp, addr);
	if (s == NULL)
		return 0;
	uint32_t slot = span_slot_of(s, addr);
	uintptr_t p = span_slot_addr(s, slot);
	if (slot >= s->nslots || !space_is_allocated(sp, p))
		return 0;
	*nbytes = s->sizeclass == 0 ? s->slot_nbytes - s->slack : s->slot_nbytes;
	return p;
}
