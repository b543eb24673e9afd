/* cache_test.c - heap/cache.h with heap/central.h: what a free may meet on its way. A heap without a
 * collector; the test plays its part. Random steps: model/central_model_test.c */
#include <criterion/criterion.h>

#include "heap/cache.h"
#include "lib/step.h"

#if STEP_WORKS
/* An object is freed by hand in a span that is not swept yet. Between any two instructions of that, others
 * sweep what they can and allocate: what they get stays theirs. */
#define NOTHERS 8
/* A free is ten times as long in builds that check more: there every 41st place will do. */
#if MGC_HOSTILE || defined(MGC_SANITIZE_ADDRESS) || !defined(NDEBUG)
#define STRIDE 41
#else
#define STRIDE 1
#endif

static struct heap heap;
static struct mutator *m, *other;
static struct central *central;
static unsigned spanclass;
static uintptr_t theirs[NOTHERS];
static size_t step, ntheirs;

static uintptr_t allocate(struct mutator *who)
{
	uintptr_t p = cache_pop(who, spanclass, 64);
	if (p == 0 && cache_refill(who, spanclass))
		p = cache_pop(who, spanclass, 64);
	cr_assert(p != 0);
	return p;
}

static void free_it(void *p)
{
	struct span *s;
	cr_assert_eq(cache_check(&heap, (uintptr_t)p, &s), FREE_OK);
	cr_assert(cache_free(m, (uintptr_t)p, s));
}

static void others_come(void)
{
	if (!lock_try(&central->lock)) /* the free has it: they would wait */
		return;
	lock_release(&central->lock);
	mutator_enter(other);
	heap_sweep_some(&heap, SIZE_MAX);
	mutator_leave(other);
	while (ntheirs < NOTHERS)
		theirs[ntheirs++] = allocate(other);
}

static uint32_t sweep(struct heap *h, struct span *s)
{
	uintptr_t zombie;
	uint32_t live = span_sweep(&h->pageheap.space, s, false, &zombie);
	cr_assert_eq(zombie, 0, "step %zu", step);
	store_release(&s->sweepgen, heap_sweepgen(h));
	return live;
}

static bool is_theirs(uintptr_t p)
{
	for (size_t i = 0; i < ntheirs; i++)
		if (theirs[i] == p)
			return true;
	return false;
}

static bool free_among_others(void)
{
	const struct space *sp = &heap.pageheap.space;
	uintptr_t p[4];
	for (int i = 0; i < 4; i++) {
		p[i] = allocate(m);
		if (i > 0) /* the first one dies by itself */
			space_mark(sp, p[i]);
	}
	cache_flush(m);
	ntheirs = 0;
	central_start_sweep(central);
	heap_set_phase(&heap, PHASE_OFF, heap_sweepgen(&heap) + 2);
	bool more = step_run(free_it, (void *)p[2], step, others_come);
	heap_sweep_some(&heap, SIZE_MAX);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(space_is_allocated(sp, p[i]), i == 1 || i == 3 || is_theirs(p[i]),
			     "object %d, step %zu", i, step);
	for (size_t i = 0; i < ntheirs; i++) {
		cr_assert(space_is_allocated(sp, theirs[i]), "step %zu", step);
		free_it((void *)theirs[i]);
	}
	free_it((void *)p[1]);
	free_it((void *)p[3]);
	cache_flush(other);
	heap_verify(&heap);
	cr_assert_eq(heap.pageheap.used_pages, 0, "step %zu", step);
	return more;
}

Test(cache, others_at_any_point_of_a_free, .timeout = 60)
{
	cr_assert_eq(heap_init(&heap, 0), 0);
	heap.ops.sweep_span = sweep;
	other = mutator_attach(&heap);
	mutator_tls = &mutator_none; /* this thread plays both */
	m = mutator_attach(&heap);
	spanclass = layout_spanclass(&heap.layouts, LAYOUT_ID_NOSCAN, sizeclass_of(64));
	central = heap_central(&heap, spanclass);
	for (step = 0; free_among_others(); step += STRIDE)
		;
	cr_assert_gt(step, 30);
	mutator_detach(m);
	mutator_tls = other;
	mutator_detach(other);
}

/* A large object is made where one was before, and a word of long ago points into it. At any point of that it is
 * no object, or all of it is one. Its pages are told one by one: every few instructions will do. */
#if defined(MGC_SANITIZE_ADDRESS) /* which takes many instructions for the pages themselves */
#define LARGE_PAGES 8
#define LARGE_STRIDE 499
#else
#define LARGE_PAGES 64
#define LARGE_STRIDE 97
#endif
static uintptr_t large;
static unsigned large_layout; /* that is not cleared, which would be most of the instructions */

static void make_large(void *arg)
{
	(void)arg;
	large = cache_alloc_large(m, large_layout, LARGE_PAGES * MGC_PAGE_SIZE, 1);
}

static void look_at_large(void)
{
	const struct space *sp = &heap.pageheap.space;
	if (!space_is_allocated(sp, large))
		return;
	for (size_t i = 0; i < LARGE_PAGES; i++) {
		const struct span *s = space_span(sp, large + i * MGC_PAGE_SIZE);
		cr_assert(s != NULL, "page %zu, step %zu", i, step);
		cr_assert_eq(s->base, large, "page %zu, step %zu", i, step);
	}
}

Test(cache, a_large_object_at_any_point_of_its_birth, .timeout = 60)
{
	cr_assert_eq(heap_init(&heap, 0), 0);
	m = mutator_attach(&heap);
	struct layout_desc desc = { .kind = LAYOUT_NOSCAN, .flags = LAYOUT_NOZERO };
	large_layout = layout_intern(&heap.layouts, &desc);
	bool more = true;
	for (make_large(NULL); more; step += LARGE_STRIDE) {
		uintptr_t before = large;
		free_it((void *)large);
		more = step_run(make_large, NULL, step, look_at_large);
		cr_assert_eq(large, before);
	}
	cr_assert_gt(step, 30);
	mutator_detach(m);
}
#endif
