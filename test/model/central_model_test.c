/* central_model_test.c - a heap without a collector: random allocation and free of every size and
 * layout, by one thread and by many, compared with a table of what is alive. Every byte of an object
 * is its own, zero at birth; when all is freed nothing is missing; a fork in the midst of it works.
 * SEED=number repeats a run of one thread. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "heap/cache.h"
#include "lib/probe.h"

struct object {
	uintptr_t at;
	size_t nbytes;
	uint64_t stamp;
	unsigned layout;
	bool live; /* cycles: somebody points to it */
};

/* Sanitizers and emulators make each step ten times as long; the release build takes all of them. */
#define SHARE (MGC_WITH_ASAN || MGC_WITH_TSAN || PROBE_EMULATED ? 5 : 1)

static struct heap heap;
static unsigned layout_nozero, layout_mask;

static uint64_t start_seed(uint64_t or_this)
{
	const char *env = getenv("SEED");
	return bits_mix(env != NULL ? strtoull(env, NULL, 0) : or_this);
}

static size_t below(uint64_t *seed, size_t n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (size_t)((*seed * UINT64_C(0x2545f4914f6cdd1d) >> 11) % n);
}

static struct mutator *start(size_t max_nbytes)
{
	uint64_t mask = 5;
	cr_assert_eq(heap_init(&heap, max_nbytes), 0);
	struct layout_desc d = { .kind = LAYOUT_NOSCAN, .flags = LAYOUT_NOZERO };
	layout_nozero = layout_intern(&heap.layouts, &d);
	d = (struct layout_desc){ .kind = LAYOUT_MASK, .period = 3, .mask = &mask };
	layout_mask = layout_intern(&heap.layouts, &d);
	struct mutator *m = mutator_attach(&heap);
	cr_assert(m != NULL && m == mutator_self());
	return m;
}

/* finish - everything was freed: no page is in use, every byte is accounted for. */
static void finish(struct mutator *m)
{
	mutator_detach(m);
	heap_verify(&heap);
	cr_expect_eq(heap.pageheap.used_pages, 0, "%zu pages lost", heap.pageheap.used_pages);
	cr_expect_eq(heap.pageheap.pages.nfree + heap.pageheap.hidden_pages, heap.pageheap.space.grown);
	cr_expect_eq(heap.live_nbytes, 0, "%ld bytes live", (long)heap.live_nbytes);
	cr_expect_eq(heap.allocated_nbytes, heap.freed_nbytes);
	heap_destroy(&heap);
}

/* ── objects ────────────────────────────────────────────────────────────────────────────── */

static size_t room_of(const struct object *o)
{
	return o->nbytes <= MGC_MAX_SMALL ? sizeclass_table[sizeclass_of(o->nbytes)].slot_nbytes
					  : o->nbytes;
}

/* check_zero - before the first use; what is wrong, or NULL. Threads cannot use cr_assert. */
static const char *check_birth(struct mutator *m, const struct object *o, size_t align)
{
	struct span *s;
	if (o->at % align != 0)
		return "misaligned";
	if (cache_check(m->heap, o->at, &s) != FREE_OK)
		return "a new object is not allocated";
	if (cache_check(m->heap, o->at + 1, &s) != FREE_INSIDE)
		return "an address inside is not recognised";
	if (m->heap->layouts.spanclass[s->spanclass].layout != o->layout)
		return "wrong layout";
	if (o->layout != layout_nozero)
		for (size_t i = 0; i < room_of(o) / 8; i++)
			if (((uint64_t *)o->at)[i] != 0)
				return "not zero at birth";
	return NULL;
}

static void stamp(struct object *o, uint64_t value)
{
	o->stamp = value;
	for (size_t i = 0; i < room_of(o) / 8; i++)
		((uint64_t *)o->at)[i] = value + i;
}

static bool stamped(const struct object *o)
{
	for (size_t i = 0; i < room_of(o) / 8; i++)
		if (((uint64_t *)o->at)[i] != o->stamp + i)
			return false;
	return true;
}

static uintptr_t alloc_raw(struct mutator *m, unsigned layout, size_t nbytes, size_t align)
{
	struct layouts *ls = &m->heap->layouts;
	if (nbytes > MGC_MAX_SMALL)
		return cache_alloc_large(m, layout, nbytes, align);
	unsigned sc = layout_spanclass(ls, layout, sizeclass_of(nbytes));
	size_t slot = ls->spanclass[sc].slot_nbytes;
	uintptr_t p = cache_pop(m, sc, slot);
	if (p == 0)
		p = cache_pop_near(m, sc);
	if (p == 0 && cache_refill(m, sc))
		p = cache_pop(m, sc, slot);
	return p;
}

/* random_size - small ones mostly, every class, and some large. */
static size_t random_size(uint64_t *seed)
{
	switch (below(seed, 32)) {
	case 0:
		return 1 + below(seed, 200000);
	case 1:
	case 2:
		return 1 + below(seed, MGC_MAX_SMALL);
	case 3:
		return sizeclass_table[1 + below(seed, MGC_NSIZECLASS - 1)].slot_nbytes;
	default:
		return 1 + below(seed, (size_t)16 << below(seed, 7));
	}
}

/* make - a new stamped object. False with *complaint NULL: no memory. */
static bool make(struct mutator *m, uint64_t *seed, struct object *o, const char **complaint)
{
	const unsigned layouts[] = { LAYOUT_ID_NOSCAN, LAYOUT_ID_WORDS, layout_nozero, layout_mask };
	size_t align = 8;
	o->nbytes = random_size(seed);
	o->layout = layouts[below(seed, 8) == 0 ? below(seed, 4) : o->nbytes % 2];
	if (o->nbytes > MGC_MAX_SMALL && below(seed, 4) == 0)
		align = (size_t)8 << below(seed, 14);
	o->at = alloc_raw(m, o->layout, o->nbytes, align);
	o->live = true;
	*complaint = NULL;
	if (o->at == 0)
		return false;
	*complaint = check_birth(m, o, align);
	stamp(o, *seed ^ o->at);
	return *complaint == NULL;
}

/* drop - frees it, after a look at its contents. */
static const char *drop(struct mutator *m, struct object *o)
{
	struct span *s;
	if (!stamped(o))
		return "somebody wrote into an object";
	if (cache_check(m->heap, o->at, &s) != FREE_OK)
		return "an object is not allocated any more";
	cache_free(m, o->at, s);
	return NULL;
}

/* ── one thread: ThreadSanitizer would find nothing ─────────────────────────────────────── */

#define MAX_OBJECTS 20000

static struct object objects[MAX_OBJECTS];
static size_t nobjects;

static int by_address(const void *a, const void *b)
{
	const struct object *x = a, *y = b;
	return x->at < y->at ? -1 : x->at > y->at;
}

static void check_all(void)
{
	qsort(objects, nobjects, sizeof objects[0], by_address);
	for (size_t i = 0; i < nobjects; i++) {
		cr_assert(i == 0 || objects[i - 1].at + room_of(&objects[i - 1]) <= objects[i].at,
			  "overlap");
		cr_assert(stamped(&objects[i]));
	}
	heap_verify(&heap);
}

static void make_one(struct mutator *m, uint64_t *seed)
{
	const char *complaint;
	if (nobjects == MAX_OBJECTS)
		return;
	bool made = make(m, seed, &objects[nobjects], &complaint);
	cr_assert_null(complaint, "%s", complaint);
	cr_assert(made, "no memory");
	nobjects++;
}

/* drop_one - and a second free is recognised, as is one of an address inside. */
static void drop_one(struct mutator *m, uint64_t *seed)
{
	if (nobjects == 0)
		return;
	size_t i = below(seed, nobjects);
	struct object o = objects[i];
	struct span *s;
	const char *complaint = drop(m, &o);
	cr_assert_null(complaint, "%s", complaint);
	enum free_verdict again = cache_check(&heap, o.at, &s);
	cr_assert(again == FREE_DOUBLE || again == FREE_FOREIGN, "verdict %d", (int)again);
	objects[i] = objects[--nobjects];
}

static void drop_all(struct mutator *m, uint64_t *seed)
{
	while (nobjects > 0)
		drop_one(m, seed);
}

Test(central_model, one_thread, .timeout = 80, .disabled = MGC_WITH_TSAN)
{
	uint64_t seed = start_seed(1);
	struct mutator *m = start(0);
	for (unsigned swing = 0; swing < 12; swing++) {
		size_t target = swing % 2 ? 100 : 1000 + below(&seed, MAX_OBJECTS - 1000);
		for (unsigned i = 0; i < 40000 / SHARE && nobjects != target; i++) {
			if ((nobjects < target) == (below(&seed, 10) < 8))
				make_one(m, &seed);
			else
				drop_one(m, &seed);
		}
		check_all();
	}
	drop_all(m, &seed);
	finish(m);
}

/* Without a detach only what the caches hold is in use, a span of each class at most. */
Test(central_model, nothing_stays_in_the_lists, .timeout = 60, .disabled = MGC_WITH_TSAN)
{
	uint64_t seed = start_seed(2);
	struct mutator *m = start(0);
	while (nobjects < MAX_OBJECTS)
		make_one(m, &seed);
	drop_all(m, &seed);
	size_t cached = 0;
	for (unsigned sc = 1; sc < heap.layouts.nspanclasses; sc++) {
		const struct span *s = m->spans[sc] != NULL ? m->spans[sc] : run_span(m, sc);
		cached += s != NULL ? s->npages : 0;
	}
	cr_expect_eq(heap.pageheap.used_pages, cached);
	heap_verify(&heap);
	finish(m);
}

/* Freed slots are used before the heap grows. */
Test(central_model, freed_slots_are_used_again, .timeout = 60, .disabled = MGC_WITH_TSAN)
{
	static uintptr_t at[MAX_OBJECTS];
	struct mutator *m = start(0);
	struct span *s;
	for (size_t i = 0; i < MAX_OBJECTS; i++)
		at[i] = alloc_raw(m, LAYOUT_ID_WORDS, 200, 8);
	size_t used = heap.pageheap.used_pages;
	for (unsigned round = 0; round < 10; round++) {
		for (size_t i = round % 3; i < MAX_OBJECTS; i += 3)
			if (cache_check(&heap, at[i], &s) == FREE_OK)
				cache_free(m, at[i], s);
		for (size_t i = round % 3; i < MAX_OBJECTS; i += 3)
			at[i] = alloc_raw(m, LAYOUT_ID_WORDS, 200, 8);
		cr_assert_leq(heap.pageheap.used_pages, used + 2);
		heap_verify(&heap);
	}
	for (size_t i = 0; i < MAX_OBJECTS; i++) {
		cr_assert_eq(cache_check(&heap, at[i], &s), FREE_OK);
		cache_free(m, at[i], s);
	}
	finish(m);
}

Test(central_model, tiny, .timeout = 20, .disabled = MGC_WITH_TSAN)
{
	struct mutator *m = start(0);
	uint64_t seed = start_seed(3);
	uintptr_t last = 0;
	struct span *s;
	for (unsigned i = 0; i < 100000; i++) {
		size_t nbytes = 1 + below(&seed, MGC_MAX_TINY - 1), align = nbytes & (0 - nbytes);
		uintptr_t p = cache_pop_tiny(m, nbytes);
		if (p == 0) {
			cr_assert(cache_refill_tiny(m));
			p = cache_pop_tiny(m, nbytes);
		}
		cr_assert(p != 0 && p % (align < 8 ? align : 8) == 0);
		cr_assert(p / MGC_MAX_TINY == (p + nbytes - 1) / MGC_MAX_TINY, "within a block");
		for (size_t b = 0; b < nbytes; b++) {
			cr_assert_eq(((uint8_t *)p)[b], 0);
			((uint8_t *)p)[b] = 0xff;
		}
		cr_assert(p != last && cache_check(&heap, p, &s) == FREE_TINY);
		last = p;
	}
	heap_verify(&heap);
	mutator_detach(m);
}

/* The memory limit and the end of the range are met again and again; then all of it comes back. */
static void play_exhaustion(struct mutator *m, uint64_t seed)
{
	unsigned refused = 0;
	for (unsigned i = 0; i < 60000 / SHARE; i++) {
		const char *complaint = NULL;
		if (nobjects == MAX_OBJECTS || (nobjects > 0 && below(&seed, 100) < 30)) {
			drop_one(m, &seed);
		} else if (make(m, &seed, &objects[nobjects], &complaint)) {
			nobjects++;
		} else {
			cr_assert_null(complaint, "%s", complaint);
			refused++;
			for (size_t n = nobjects / 3; n > 0; n--)
				drop_one(m, &seed);
		}
	}
	cr_expect_gt(refused, 3);
	check_all();
	drop_all(m, &seed);
	heap_verify(&heap);
}

Test(central_model, range_is_exhausted, .timeout = 60, .disabled = MGC_WITH_TSAN)
{
	struct mutator *m = start(MGC_ARENA_SIZE);
	while (heap.pageheap.space.nbytes - (heap.pageheap.used_pages << MGC_PAGE_SHIFT) > (size_t)4 << 20)
		cr_assert_neq(cache_alloc_large(m, LAYOUT_ID_NOSCAN, MGC_CHUNK_SIZE / 2, 8), 0);
	play_exhaustion(m, start_seed(4));
	mutator_detach(m);
}

Test(central_model, limit_is_met, .timeout = 60, .disabled = MGC_WITH_TSAN)
{
	struct mutator *m = start(0);
	heap.pageheap.limit_nbytes = (size_t)5 << 20;
	play_exhaustion(m, start_seed(5));
	finish(m);
}

/* ── cycles, by hand ────────────────────────────────────────────────────────────────────── */

static unsigned nswept;

static uint32_t sweep(struct heap *h, struct span *s)
{
	uintptr_t zombie;
	cr_assert_eq(s->sweepgen, heap_sweepgen(h) - 1);
	uint32_t live = span_sweep(&h->pageheap.space, s, false, &zombie);
	cr_assert_eq(zombie, 0);
	store_release(&s->sweepgen, heap_sweepgen(h));
	nswept++;
	return live;
}

/* mark_and_flip - what a collector does while the world stands still. */
static void mark_and_flip(struct mutator *m)
{
	const struct space *sp = &heap.pageheap.space;
	unsigned n = heap.layouts.nspanclasses;
	heap_sweep_some(&heap, SIZE_MAX, SIZE_MAX);
	for (unsigned sc = 1; sc < n; sc++)
		central_sweep_cached(&heap, heap_central(&heap, sc));
	heap_verify(&heap);
	for (size_t i = 0; i < nobjects; i++)
		if (objects[i].live)
			cr_assert(space_mark(sp, objects[i].at));
	for (unsigned sc = 1; sc < n; sc++) {
		struct run r = m->runs[sc];
		struct span *s = run_span(m, sc);
		if (s != NULL)
			span_mark_run(sp, s, span_slot_of(s, r.cur), span_slot_of(s, r.end - 1) + 1);
	}
	for (unsigned sc = 1; sc < n; sc++)
		central_start_sweep(heap_central(&heap, sc));
	heap_set_phase(&heap, PHASE_OFF, heap_sweepgen(&heap) + 2);
	heap_verify(&heap);
}

static void forget_dead(void)
{
	size_t kept = 0;
	for (size_t i = 0; i < nobjects; i++)
		if (objects[i].live)
			objects[kept++] = objects[i];
	nobjects = kept;
}

Test(central_model, cycles, .timeout = 80, .disabled = MGC_WITH_TSAN)
{
	uint64_t seed = start_seed(6);
	struct mutator *m = start(0);
	heap.ops.sweep_span = sweep;
	for (unsigned cycle = 0; cycle < 40 / SHARE; cycle++) {
		for (unsigned i = 0; i < 4000 + 4 * below(&seed, 3000); i++) {
			if (below(&seed, 10) < 7)
				make_one(m, &seed);
			else
				drop_one(m, &seed); /* explicit frees among unswept spans */
			if (below(&seed, 200) == 0)
				heap_sweep_some(&heap, below(&seed, 20), below(&seed, 40));
		}
		check_all();
		for (size_t i = 0; i < nobjects; i++)
			objects[i].live = below(&seed, 10) < cycle * 3 % 10;
		mark_and_flip(m);
		forget_dead();
	}
	cr_expect_gt(nswept, 1000 / SHARE);
	heap_sweep_some(&heap, SIZE_MAX, SIZE_MAX);
	drop_all(m, &seed);
	mutator_detach(m);
	heap_verify(&heap);
	cr_expect_eq(heap.pageheap.used_pages, 0);
}

/* ── many threads ───────────────────────────────────────────────────────────────────────── */

#define NTHREADS 4
#define NOWN 800
#define NBOXES 64

/* A box holds an object on its way from one thread to another, which then frees it. */
static struct box {
	uint32_t state; /* 0 empty, 1 being filled or emptied, 2 full */
	struct object o;
} boxes[NBOXES];

static bool box_turn(struct box *b, uint32_t from, uint32_t to)
{
	return load_relaxed(&b->state) == from && cas_acq_rel(&b->state, &from, to);
}

/* swap_with_box - gives an object away, or takes one over and frees it. */
static const char *swap_with_box(struct mutator *m, uint64_t *seed, struct object *o)
{
	struct box *b = &boxes[below(seed, NBOXES)];
	if (o->at != 0 && box_turn(b, 0, 1)) {
		b->o = *o;
		o->at = 0;
		store_release(&b->state, 2u);
	} else if (box_turn(b, 2, 1)) {
		struct object theirs = b->o;
		store_release(&b->state, 0u);
		return drop(m, &theirs);
	}
	return NULL;
}

static const char *churn(struct mutator *m, uint64_t *seed, struct object *own, unsigned nsteps)
{
	const char *complaint = NULL;
	for (unsigned i = 0; i < nsteps && complaint == NULL; i++) {
		struct object *o = &own[below(seed, NOWN)];
		if (below(seed, 4) == 0) {
			complaint = swap_with_box(m, seed, o);
		} else if (o->at != 0) {
			complaint = drop(m, o);
			o->at = 0;
		} else if (!make(m, seed, o, &complaint) && complaint == NULL) {
			complaint = "no memory";
		}
	}
	return complaint;
}

/* work - attaches a few times, as threads that come and go would. */
static void *work(void *arg)
{
	uint64_t seed = bits_mix((uintptr_t)arg);
	struct object *own = calloc(NOWN, sizeof *own);
	const char *complaint = NULL;
	for (unsigned life = 0; life < 6 && complaint == NULL; life++) {
		struct mutator *m = mutator_attach(&heap);
		complaint = m == NULL ? "cannot attach" : churn(m, &seed, own, 15000 / SHARE);
		for (size_t i = 0; life == 5 && complaint == NULL && i < NOWN; i++)
			complaint = own[i].at != 0 ? drop(m, &own[i]) : NULL;
		mutator_detach(m);
	}
	free(own);
	return (void *)complaint;
}

Test(central_model, threads, .timeout = 80)
{
	pthread_t thread[NTHREADS];
	struct mutator *m = start(0);
	for (uintptr_t t = 0; t < NTHREADS; t++)
		cr_assert_eq(pthread_create(&thread[t], NULL, work, (void *)(t + 1)), 0);
	for (unsigned t = 0; t < NTHREADS; t++) {
		void *complaint;
		pthread_join(thread[t], &complaint);
		cr_assert_null(complaint, "%s", (char *)complaint);
	}
	heap_verify(&heap);
	for (size_t i = 0; i < NBOXES; i++)
		if (boxes[i].state == 2)
			cr_expect_null(drop(m, &boxes[i].o));
	cr_expect_eq(heap.nmutators, 1);
	finish(m);
}

/* One makes, another frees: every slot is freed from outside, and none may be lost. */
static void *free_only(void *arg)
{
	struct mutator *m = mutator_attach(&heap);
	uint64_t seed = 5;
	const char *complaint = NULL;
	while (complaint == NULL && !load_acquire((bool *)arg)) {
		struct object none = { .at = 0 };
		complaint = swap_with_box(m, &seed, &none);
	}
	mutator_detach(m);
	return (void *)complaint;
}

Test(central_model, freed_by_another, .timeout = 80)
{
	static bool done;
	pthread_t thread;
	struct mutator *m = start(0);
	uint64_t seed = 77;
	cr_assert_eq(pthread_create(&thread, NULL, free_only, &done), 0);
	for (unsigned i = 0; i < 100000 / SHARE; i++) {
		struct object o;
		const char *complaint;
		cr_assert(make(m, &seed, &o, &complaint), "%s", complaint);
		for (unsigned tries = 0; tries < 20 && o.at != 0; tries++)
			cr_assert_null(swap_with_box(m, &seed, &o));
		if (o.at != 0)
			cr_assert_null(drop(m, &o));
	}
	store_release(&done, true);
	void *complaint;
	pthread_join(thread, &complaint);
	cr_assert_null(complaint, "%s", (char *)complaint);
	for (size_t i = 0; i < NBOXES; i++)
		if (boxes[i].state == 2)
			cr_expect_null(drop(m, &boxes[i].o));
	finish(m);
}

/* ── fork: ThreadSanitizer looks at nothing in the child ────────────────────────────────── */

/* What each thread holds, visible to the child: `at` is 0 while the thread changes the entry. */
static struct object shown[NTHREADS][NOWN];
static bool stop_showing;

static void *show(void *arg)
{
	struct object *mine = shown[(uintptr_t)arg];
	uint64_t seed = bits_mix((uintptr_t)arg + 99);
	struct mutator *m = mutator_attach(&heap);
	const char *complaint = NULL;
	while (!load_acquire(&stop_showing) && complaint == NULL) {
		struct object *slot = &mine[below(&seed, NOWN)], o = *slot;
		if (o.at != 0) {
			store_release(&slot->at, (uintptr_t)0);
			complaint = drop(m, &o);
		} else if (make(m, &seed, &o, &complaint)) {
			slot->nbytes = o.nbytes;
			slot->stamp = o.stamp;
			store_release(&slot->at, o.at);
		}
	}
	for (size_t i = 0; i < NOWN && complaint == NULL; i++)
		complaint = mine[i].at != 0 ? drop(m, &mine[i]) : NULL;
	mutator_detach(m);
	return (void *)complaint;
}

/* central_locks - of those that are in use. While LAYOUT is held no others come to be. */
static size_t central_locks(struct lock **all)
{
	size_t n = 0;
	for (unsigned sc = 1; sc < MGC_MAX_SPANCLASS; sc++)
		if (heap.centrals[sc].lock.rank != 0)
			all[n++] = &heap.centrals[sc].lock;
	return n;
}

static void acquire_all(void)
{
	struct lock *centrals[MGC_MAX_SPANCLASS];
	lock_acquire(&heap.registry_lock);
	lock_acquire(&heap.layouts.lock);
	size_t n = central_locks(centrals);
	for (size_t i = 0; i < n; i++)
		lock_acquire(centrals[i]);
	lock_acquire(&heap.pageheap.lock);
}

static void each_held(void (*fn)(struct lock *l))
{
	struct lock *centrals[MGC_MAX_SPANCLASS];
	fn(&heap.pageheap.lock);
	for (size_t n = central_locks(centrals); n > 0; n--)
		fn(centrals[n - 1]);
	fn(&heap.layouts.lock);
	fn(&heap.registry_lock);
}

static void release(struct lock *l)
{
	lock_release(l);
}

static bool all_shown_are_whole(void)
{
	struct span *s;
	for (size_t t = 0; t < NTHREADS; t++)
		for (size_t i = 0; i < NOWN; i++)
			if (shown[t][i].at != 0 && (cache_check(&heap, shown[t][i].at, &s) != FREE_OK ||
						    !stamped(&shown[t][i])))
				return false;
	return true;
}

/* in_child - what the threads held stays as it is, whatever is allocated now; and can be freed. */
static int in_child(struct mutator *m, uint64_t seed)
{
	const char *complaint = NULL;
	each_held(lock_reset);
	mutator_reset_registry(&heap, m);
	if (heap.nmutators != 1 || !all_shown_are_whole())
		return 1;
	for (unsigned i = 0; i < 2000; i++, nobjects++)
		if (!make(m, &seed, &objects[nobjects], &complaint))
			return 2;
	if (!all_shown_are_whole())
		return 3;
	for (size_t t = 0; t < NTHREADS; t++)
		for (size_t i = 0; i < NOWN; i++)
			if (shown[t][i].at != 0 && drop(m, &shown[t][i]) != NULL)
				return 4;
	for (size_t i = 0; i < nobjects; i++)
		if (drop(m, &objects[i]) != NULL)
			return 5;
	return 0;
}

Test(central_model, fork_while_threads_allocate, .timeout = 80, .disabled = MGC_WITH_TSAN)
{
	pthread_t thread[NTHREADS];
	struct mutator *m = start(0);
	for (uintptr_t t = 0; t < NTHREADS; t++)
		cr_assert_eq(pthread_create(&thread[t], NULL, show, (void *)t), 0);
	for (unsigned i = 0; i < 40 / SHARE; i++) {
		usleep(3000);
		acquire_all();
		pid_t pid = fork();
		if (pid == 0)
			_exit(in_child(m, i + 1));
		each_held(release);
		int status = -1;
		cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "fork %u: status %x", i,
			  status);
	}
	store_release(&stop_showing, true);
	for (unsigned t = 0; t < NTHREADS; t++) {
		void *complaint;
		pthread_join(thread[t], &complaint);
		cr_assert_null(complaint, "%s", (char *)complaint);
	}
	finish(m);
}
