/* cache_test.c - heap/cache.h with heap/central.h: what a free may meet on its way. A heap without a
 * collector; the test plays its part. Random steps: model/central_model_test.c */
#include <criterion/criterion.h>

#include "heap/cache.h"
#include "lib/step.h"

#if STEP_WORKS
/* An object is marked, and freed by hand while its span is swept, between any two instructions of the
 * sweep: it is no zombie, and it stays free. */
static struct heap heap;
static struct mutator *m;
static uintptr_t freed;
static size_t step;
static bool more;
static uintptr_t zombie;
static uint32_t live;

static void free_it(void)
{
	struct span *s;
	cr_assert_eq(cache_check(&heap, freed, &s), FREE_OK);
	cache_free(m, freed, s);
}

static void sweep_it(void *s)
{
	live = span_sweep(&heap.pageheap.space, s, false, &zombie);
}

static uint32_t sweep(struct heap *h, struct span *s)
{
	more = step_run(sweep_it, s, step, free_it);
	store_release(&s->sweepgen, heap_sweepgen(h));
	return live;
}

static uintptr_t allocate(unsigned sc, size_t nbytes)
{
	uintptr_t p = cache_pop(m, sc, nbytes);
	if (p == 0 && cache_refill(m, sc))
		p = cache_pop(m, sc, nbytes);
	cr_assert(p != 0);
	return p;
}

static void free_beside_sweep(unsigned sc, size_t nbytes)
{
	const struct space *sp = &heap.pageheap.space;
	uintptr_t p[4];
	for (int i = 0; i < 4; i++) {
		p[i] = allocate(sc, nbytes);
		if (i > 0) /* the first one dies by itself */
			space_mark(sp, p[i]);
	}
	cache_flush(m);
	freed = p[2];
	central_start_sweep(heap_central(&heap, sc));
	heap_set_phase(&heap, PHASE_OFF, heap_sweepgen(&heap) + 2);
	mutator_enter(m);
	heap_sweep_some(&heap, SIZE_MAX);
	mutator_leave(m);
	cr_assert_eq(zombie, 0, "step %zu", step);
	for (int i = 0; i < 4; i++) {
		cr_assert(!space_is_marked(sp, p[i]));
		cr_assert_eq(space_is_allocated(sp, p[i]), i == 1 || i == 3 || (i == 2 && !more),
			     "object %d, step %zu", i, step);
	}
	for (int i = 1; i < 4; i++) {
		struct span *s;
		if (cache_check(&heap, p[i], &s) == FREE_OK)
			cache_free(m, p[i], s);
	}
	heap_verify(&heap);
	cr_assert_eq(heap.pageheap.used_pages, 0, "step %zu", step);
}

Test(cache, a_free_at_any_point_of_a_sweep, .timeout = 60)
{
	cr_assert_eq(heap_init(&heap, 0), 0);
	heap.ops.sweep_span = sweep;
	m = mutator_attach(&heap);
	unsigned sc = layout_spanclass(&heap.layouts, LAYOUT_ID_NOSCAN, sizeclass_of(64));
	more = true;
	for (step = 0; more; step++)
		free_beside_sweep(sc, 64);
	cr_assert_gt(step, 30);
	mutator_detach(m);
}
#endif
