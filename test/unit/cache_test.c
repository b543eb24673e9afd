/* cache_test.c - heap/cache.h with heap/central.h: what a free may meet on its way. A heap without a
 * collector; the test plays its part. Random steps: model/central_model_test.c */
#include <criterion/criterion.h>
#include <string.h>

#include "heap/cache.h"
#include "lib/step.h"

static struct heap heap;
static struct mutator *m;

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

static struct mutator *other;
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
	heap_sweep_some(&heap, SIZE_MAX, SIZE_MAX);
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
	heap_sweep_some(&heap, SIZE_MAX, SIZE_MAX);
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

/* ── lists ──────────────────────────────────────────────────────────────────────────────── */

#define LIST_NBYTES ((size_t)4096)

static uintptr_t take(unsigned sc, size_t nbytes)
{
	uintptr_t p = cache_pop(m, sc, nbytes);
	if (p == 0 && cache_refill(m, sc))
		p = cache_pop(m, sc, nbytes);
	cr_assert(p != 0);
	return p;
}

/* check_list - each once, of that class, clear but for the word that refers to the next; how many. */
static size_t check_list(const void *list, uintptr_t last, size_t nbytes)
{
	size_t n = 0;
	for (const uintptr_t *p = list; p != NULL; p = (const uintptr_t *)*p, n++) {
		const struct span *s = space_span(&heap.pageheap.space, (uintptr_t)p);
		cr_assert(s != NULL && s->slot_nbytes == nbytes);
		cr_assert_eq(span_slot_addr(s, span_slot_of(s, (uintptr_t)p)), (uintptr_t)p);
		cr_assert(space_is_allocated(&heap.pageheap.space, (uintptr_t)p));
		for (size_t i = 1; i < nbytes / sizeof *p; i++)
			cr_assert_eq(p[i], 0, "slot %zu, word %zu", n, i);
		cr_assert((p == (const uintptr_t *)last) == (*p == 0));
		cr_assert_lt(n, MGC_PAGE_SIZE / nbytes);
	}
	return n;
}

/* A span that is full but for its holes, every second or third slot, and no run in hand. */
static struct {
	uintptr_t p[MGC_PAGE_SIZE / MGC_GRANULE];
	bool hole[MGC_PAGE_SIZE / MGC_GRANULE];
	size_t nslots, nholes;
} holed;

static void free_slot(size_t i)
{
	struct span *of;
	cr_assert_eq(cache_check(&heap, holed.p[i], &of), FREE_OK);
	cr_assert(cache_free(m, holed.p[i], of));
	holed.hole[i] = true;
	holed.nholes++;
}

static void make_holes(unsigned sc, size_t nbytes)
{
	memset(&holed, 0, sizeof holed);
	holed.nslots = sizeclass_table[sizeclass_of(nbytes)].nslots;
	while (m->spans[sc] == NULL) /* the first runs are of a span that threads share */
		(void)take(sc, nbytes);
	do {
		while (m->runs[sc].cur < m->runs[sc].end)
			(void)take(sc, nbytes);
		holed.p[0] = take(sc, nbytes);
	} while (holed.p[0] != m->spans[sc]->base);
	for (size_t i = 1; i < holed.nslots; i++)
		holed.p[i] = take(sc, nbytes);
	for (size_t i = 0; i < holed.nslots; i++)
		memset((void *)holed.p[i], 0xaa, nbytes);
	cr_assert_eq(m->runs[sc].cur, m->runs[sc].end);
	for (size_t i = 1; i < holed.nslots; i += i % 5 == 1 ? 2 : 3)
		free_slot(i);
}

static unsigned class_of(size_t nbytes)
{
	return layout_spanclass(&heap.layouts, LAYOUT_ID_WORDS, sizeclass_of(nbytes));
}

/* Of a span with holes a list gets what it can hold, wherever it lies, and nothing that is somebody's. */
static void list_among_holes(size_t nbytes)
{
	unsigned sc = class_of(nbytes);
	make_holes(sc, nbytes);
	uint64_t before = load_relaxed(&heap.live_nbytes);
	size_t want = holed.nholes * nbytes > LIST_NBYTES ? LIST_NBYTES / nbytes : holed.nholes;
	void *list = NULL;
	uintptr_t first = take(sc, nbytes), last = cache_link(m, sc, first, LIST_NBYTES, &list);
	cr_assert_eq((uintptr_t)list, first);
	cr_assert_eq(check_list(list, last, nbytes), want, "%zu of %zu B", want, nbytes);
	cr_assert_eq(load_relaxed(&heap.live_nbytes) - before, want * nbytes);
	for (size_t i = 0; i < holed.nslots; i++)
		for (size_t at = 0; at < nbytes && !holed.hole[i]; at++)
			cr_assert_eq(((const uint8_t *)holed.p[i])[at], 0xaa,
				     "object %zu, byte %zu", i, at);
}

static void attach(void)
{
	cr_assert_eq(heap_init(&heap, 0), 0);
	m = mutator_attach(&heap);
}

Test(cache, a_list_of_slots_among_holes, .timeout = 60)
{
	attach();
	for (unsigned c = 1; c <= MGC_NDENSE; c++)
		if (sizeclass_table[c].slot_nbytes % MGC_GRANULE == 0)
			list_among_holes(sizeclass_table[c].slot_nbytes);
	heap_verify(&heap);
	mutator_detach(m);
}

/* ── one by one ─────────────────────────────────────────────────────────────────────────── */

static bool is_zero(uintptr_t p, size_t nbytes)
{
	for (size_t i = 0; i < nbytes / sizeof p; i++)
		if (((const uintptr_t *)p)[i] != 0)
			return false;
	return true;
}

/* hole_of - the hole at p. */
static size_t hole_of(uintptr_t p)
{
	for (size_t i = 0; i < holed.nslots; i++)
		if (holed.p[i] == p && holed.hole[i])
			return i;
	cr_assert_fail("%p is no hole", (void *)p);
	return 0;
}

static uintptr_t take_near(unsigned sc, size_t nbytes)
{
	uintptr_t p = cache_pop(m, sc, nbytes);
	return p != 0 ? p : cache_pop_near(m, sc);
}

/* fill_holes - by the near way only; each hole becomes an object. */
static size_t fill_holes(unsigned sc, size_t nbytes)
{
	size_t n = 0;
	for (uintptr_t p; (p = take_near(sc, nbytes)) != 0; n++) {
		holed.hole[hole_of(p)] = false;
		cr_assert(space_is_allocated(&heap.pageheap.space, p));
		cr_assert(is_zero(p, nbytes), "a slot of %zu B", nbytes);
		memset((void *)p, 0xaa, nbytes);
	}
	return n;
}

static uint64_t counted(void)
{
	return load_relaxed(&heap.live_nbytes) + m->nbytes_handed;
}

/* All holes of the span in hand are found, and nothing else, without a word to the heap. */
static void slots_among_holes(size_t nbytes)
{
	unsigned sc = class_of(nbytes);
	make_holes(sc, nbytes);
	uint64_t before = counted(), told = load_relaxed(&heap.live_nbytes);
	cr_assert_eq(fill_holes(sc, nbytes), holed.nholes, "of %zu B", nbytes);
	cr_assert_eq(counted() - before, holed.nholes * nbytes);
	cr_assert_eq(load_relaxed(&heap.live_nbytes), told);
	for (size_t i = 0; i < holed.nslots; i++)
		for (size_t at = 0; at < nbytes; at++)
			cr_assert_eq(((const uint8_t *)holed.p[i])[at], 0xaa);
}

Test(cache, slots_among_holes, .timeout = 60)
{
	attach();
	heap.untold_nbytes = UINT64_MAX;
	for (unsigned c = 1; c < MGC_NDENSE + 8; c++)
		slots_among_holes(sizeclass_table[c].slot_nbytes);
	heap_verify(&heap);
	mutator_detach(m);
}

/* attach_to_holes - with a span of slots of 64 B that is full but for them, and nothing that ends the near way. Its class. */
static unsigned attach_to_holes(void)
{
	attach();
	heap.untold_nbytes = UINT64_MAX;
	unsigned sc = class_of(64);
	make_holes(sc, 64);
	return sc;
}

/* What another thread frees before it was counted is missing nowhere in the end. */
Test(cache, freed_before_it_was_counted, .timeout = 60)
{
	unsigned sc = attach_to_holes();
	size_t n = holed.nholes;
	bool hole[sizeof holed.hole];
	memcpy(hole, holed.hole, sizeof hole);
	store_relaxed(&heap.live_nbytes, (uint64_t)0);
	cr_assert_eq(fill_holes(sc, 64), n);
	mutator_tls = &mutator_none; /* this thread plays both */
	struct mutator *frees = mutator_attach(&heap);
	for (size_t i = 0; i < holed.nslots; i++) {
		struct span *of;
		if (!hole[i])
			continue;
		cr_assert_eq(cache_check(&heap, holed.p[i], &of), FREE_OK);
		cr_assert(cache_free(frees, holed.p[i], of));
		cr_assert_eq(heap_live(&heap), 0);
		cr_assert_not(heap_is_due(&heap));
	}
	cache_flush_counts(m);
	cr_assert_eq(heap_live(&heap), 0, "%llu bytes", (unsigned long long)heap_live(&heap));
	mutator_detach(frees);
	mutator_tls = m;
	mutator_detach(m);
}

/* Who comes while there are slots in hand gets those: another thread may have changed the class of a size between two looks. */
Test(cache, the_near_way_drops_no_run, .timeout = 60)
{
	unsigned sc = attach_to_holes();
	for (size_t i = 2; i < holed.nslots; i++) /* some holes are longer */
		if (i % 7 < 4 && !holed.hole[i])
			free_slot(i);
	for (uintptr_t p; (p = cache_pop_near(m, sc)) != 0; holed.nholes--)
		holed.hole[hole_of(p)] = false;
	cr_assert_eq(holed.nholes, 0);
	mutator_detach(m);
}

/* When anything else is to be done than to take the next slots, the near way is none. */
Test(cache, the_near_way_is_for_nothing_else, .timeout = 60)
{
	unsigned sc;
	uintptr_t p;
	attach();
	sc = class_of(64);
	make_holes(sc, 64);
	uint32_t gen = heap_sweepgen(&heap);
	heap.untold_nbytes = m->nbytes_handed;
	cr_expect_eq(cache_pop_near(m, sc), 0, "it is time to count");
	heap.untold_nbytes = UINT64_MAX;
	heap_set_phase(&heap, PHASE_FLIP, gen);
	cr_expect_eq(cache_pop_near(m, sc), 0, "a cycle flips");
	heap_set_phase(&heap, PHASE_OFF, gen + 2);
	cr_expect_eq(cache_pop_near(m, sc), 0, "the span is not swept");
	heap_set_phase(&heap, PHASE_OFF, gen);
	mutator_enter(m);
	cr_expect_eq(cache_pop_near(m, sc), 0, "in a section");
	mutator_leave(m);
	lock_acquire(&heap.registry_lock);
	cr_expect_eq(cache_pop_near(m, sc), 0, "behind a lock");
	lock_release(&heap.registry_lock);
	store_relaxed(&sampler.rate_nbytes, (uint64_t)1);
	cr_expect_eq(cache_pop_near(m, sc), 0, "objects are sampled");
	store_relaxed(&sampler.rate_nbytes, (uint64_t)0);
	cr_expect_eq(cache_pop_near(&mutator_none, sc), 0, "no thread of ours");
	cr_assert_eq(m->sec, 0);
	heap_set_phase(&heap, PHASE_ROOTS, gen); /* births are black from a snapshot on */
	cr_assert((p = cache_pop_near(m, sc)) != 0 && !space_is_marked(&heap.pageheap.space, p));
	while (cache_pop(m, sc, 64) != 0)
		;
	m->taken = gen;
	cr_assert((p = cache_pop_near(m, sc)) != 0 && space_is_marked(&heap.pageheap.space, p));
	heap_set_phase(&heap, PHASE_OFF, gen);
	space_unmark(&heap.pageheap.space, p);
	while ((p = cache_pop(m, sc, 64)) != 0)
		space_unmark(&heap.pageheap.space, p);
	mutator_detach(m);
}

#if STEP_WORKS
/* Another thread frees the object behind the first hole at any point of the near way, and whoever stops the thread, or is the
 * child of a fork, finds unborn slots in hand. */
static struct mutator *freeing;
static size_t behind;
static uintptr_t popped;

static void pop_it(void *arg)
{
	(void)arg;
	popped = cache_pop_near(m, class_of(64));
}

static void look_at_hand(void)
{
	const struct space *sp = &heap.pageheap.space;
	struct run r = m->runs[class_of(64)];
	for (uintptr_t p = r.cur; p < r.end; p += 64)
		cr_assert(holed.hole[hole_of(p)] && space_is_allocated(sp, p), "step %zu", step);
	for (size_t i = 0; i < holed.nslots; i++) /* a marker reads it when it is allocated */
		if (holed.hole[i] && space_is_allocated(sp, holed.p[i]))
			cr_assert(is_zero(holed.p[i], 64), "slot %zu, step %zu", i, step);
}

static void free_behind(void)
{
	struct span *s;
	look_at_hand();
	cr_assert_eq(cache_check(&heap, holed.p[behind], &s), FREE_OK);
	cr_assert(cache_free(freeing, holed.p[behind], s));
	holed.hole[behind] = true;
	holed.nholes++;
}

Test(cache, a_free_at_any_point_of_the_near_way, .timeout = 60)
{
	attach();
	freeing = m;
	mutator_tls = &mutator_none; /* this thread plays both */
	m = mutator_attach(&heap);
	heap.untold_nbytes = UINT64_MAX;
	bool more = true;
	for (step = 0; more; step += STRIDE) {
		make_holes(class_of(64), 64);
		for (behind = 0; !holed.hole[behind]; behind++)
			;
		behind++;
		cr_assert(!holed.hole[behind]);
		popped = 0;
		more = step_run(pop_it, NULL, step, free_behind);
		holed.hole[hole_of(popped)] = false;
		cr_assert(is_zero(popped, 64), "step %zu", step);
		memset((void *)popped, 0xaa, 64);
		size_t n = 1 + fill_holes(class_of(64), 64);
		cr_assert(n == holed.nholes || (n + 1 == holed.nholes && holed.hole[behind]),
			  "step %zu: %zu of %zu", step, n, holed.nholes);
	}
	cr_assert_gt(step, 30);
	mutator_detach(m);
	mutator_tls = freeing;
	mutator_detach(freeing);
}

/* A handler of the program allocates while the thread is in no section: behind any instruction the span in hand may be another one,
 * and the one before another thread's. */
static struct span *given;

static void handler_allocates(void)
{
	struct span *s = m->spans[class_of(64)];
	if (!mutator_may_enter(m))
		return;
	while (m->spans[class_of(64)] == s)
		(void)take(class_of(64), 64);
	free_slot(0);
	given = central_take(&heap, class_of(64));
	cr_assert_eq(given, s);
}

Test(cache, a_handler_at_any_point_of_the_near_way, .timeout = 60)
{
	attach();
	heap.untold_nbytes = UINT64_MAX;
	bool more = true;
	for (step = 0; more; step += STRIDE) {
		make_holes(class_of(64), 64);
		given = NULL;
		popped = 0;
		more = step_run(pop_it, NULL, step, handler_allocates);
		if (given != NULL) {
			cr_assert(!space_is_allocated(&heap.pageheap.space, holed.p[0]), "step %zu",
				  step);
			central_put(&heap, given);
		}
		for (size_t i = 0; i < holed.nslots; i++)
			while (!space_is_allocated(&heap.pageheap.space, holed.p[i]))
				(void)take(class_of(64), 64);
	}
	cr_assert_gt(step, 30);
	mutator_detach(m);
}

/* Whoever stops the thread, at any instruction, finds nothing taken for the list, or the list where it was wanted: of objects
 * without pointers what looks there is all that keeps it. */
#define SHORT_NBYTES ((size_t)4 * 64)
static void *listed;
static uintptr_t first_listed;
static uint32_t ntaken;

static void link_it(void *arg)
{
	(void)arg;
	cache_link(m, class_of(64), first_listed, SHORT_NBYTES, &listed);
}

static void stopped(void)
{
	const struct span *s = m->spans[class_of(64)];
	if (m->sec == 0 && span_count(&heap.pageheap.space, s) > ntaken)
		cr_assert_eq((uintptr_t)listed, first_listed, "step %zu", step);
}

Test(cache, a_list_is_there_when_the_thread_stops, .timeout = 60)
{
	attach();
	bool more = true;
	for (step = 0; more; step += STRIDE) {
		make_holes(class_of(64), 64);
		listed = NULL;
		first_listed = take(class_of(64), 64);
		ntaken = span_count(&heap.pageheap.space, m->spans[class_of(64)]);
		more = step_run(link_it, NULL, step, stopped);
	}
	cr_assert_gt(step, 30);
	mutator_detach(m);
}
#endif

/* ── order ──────────────────────────────────────────────────────────────────────────────── */

#define NORDERED 6

static uint32_t sweep_plainly(struct heap *h, struct span *s)
{
	uintptr_t zombie;
	uint32_t live = span_sweep(&h->pageheap.space, s, false, &zombie);
	store_release(&s->sweepgen, heap_sweepgen(h));
	return live;
}

/* fill - takes that many slots, all that the spans there are have; the spans in the order in which they were come to. */
static void fill(unsigned sc, size_t nslots, uintptr_t base[NORDERED])
{
	size_t n = 0;
	for (size_t i = 0; i < nslots; i++) {
		uintptr_t at = space_span(&heap.pageheap.space, take(sc, 64))->base;
		if (n != 0 && base[n - 1] == at)
			continue;
		cr_assert_lt(n, NORDERED, "a span is come to twice");
		base[n++] = at;
	}
	cr_assert_eq(n, NORDERED);
}

/* keep_every_second - slot of those spans, in a cycle. */
static void keep_every_second(unsigned sc, const uintptr_t base[NORDERED])
{
	const struct space *sp = &heap.pageheap.space;
	cache_flush(m);
	for (size_t i = 0; i < NORDERED; i++)
		for (uint32_t slot = 0; slot < space_span(sp, base[i])->nslots; slot += 2)
			space_mark(sp, span_slot_addr(space_span(sp, base[i]), slot));
	central_start_sweep(heap_central(&heap, sc));
	heap_set_phase(&heap, PHASE_OFF, heap_sweepgen(&heap) + 2);
}

/* Spans come up again in the order in which they were filled, not in the reverse. */
Test(cache, the_order_of_spans_lasts, .timeout = 60)
{
	attach();
	heap.ops.sweep_span = sweep_plainly;
	unsigned sc = class_of(64);
	size_t nslots = sizeclass_table[sizeclass_of(64)].nslots;
	uintptr_t base[4][NORDERED];
	fill(sc, NORDERED * nslots, base[0]);
	for (int i = 1; i < 4; i++) {
		keep_every_second(sc, base[0]);
		fill(sc, NORDERED * (nslots / 2), base[i]);
		cr_assert_arr_eq(base[i], base[0], sizeof base[0], "cycle %d", i);
	}
	heap_verify(&heap);
	mutator_detach(m);
}
