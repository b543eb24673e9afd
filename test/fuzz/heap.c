/* heap.c - fuzzed: a stream of operations on a heap without a collector, beside a table of what is alive: objects small,
 * tiny, large and aligned, explicit frees, flushes, and marks and sweeps by hand. Each object is zero at birth, its own
 * to the last byte until it is freed or found dead; wrong frees are told apart; when all is freed nothing is missing. */
#include "fuzz/input.h"
#include "heap/cache.h"

enum { MAX_OBJECTS = 2048, MAX_LARGE = 400000 };

static struct object {
	uintptr_t at;
	size_t nbytes;
	uint64_t stamp;
	bool tiny, live;
} objects[MAX_OBJECTS];
static size_t nobjects;
static struct heap heap;
static uint64_t next_stamp;

static uint64_t word_of(const struct object *o, size_t offset)
{
	return o->stamp * UINT64_C(0x9e3779b97f4a7c15) + offset;
}

static void stamp(struct object *o)
{
	unsigned char *p = (unsigned char *)o->at;
	o->stamp = ++next_stamp;
	for (size_t i = 0; i < o->nbytes; i += 8) {
		uint64_t word = word_of(o, i);
		memcpy(p + i, &word, o->nbytes - i < 8 ? o->nbytes - i : 8);
	}
}

static void check(const struct object *o)
{
	const unsigned char *p = (const unsigned char *)o->at;
	for (size_t i = 0; i < o->nbytes; i += 8) {
		uint64_t word = word_of(o, i), found = word;
		memcpy(&found, p + i, o->nbytes - i < 8 ? o->nbytes - i : 8);
		FUZZ_CHECK(found == word);
	}
}

static uintptr_t get(struct mutator *m, unsigned layout, size_t nbytes, size_t align)
{
	if (nbytes > MGC_MAX_SMALL)
		return cache_alloc_large(m, layout, nbytes, align);
	unsigned sc = layout_spanclass(&heap.layouts, layout, sizeclass_of(nbytes));
	size_t slot = heap.layouts.spanclass[sc].slot_nbytes;
	uintptr_t p = cache_pop(m, sc, slot);
	FUZZ_CHECK(slot >= nbytes);
	if (p == 0)
		p = cache_pop_near(m, sc);
	return p == 0 && cache_refill(m, sc) ? cache_pop(m, sc, slot) : p;
}

static void keep(uintptr_t p, size_t nbytes, bool tiny)
{
	struct object *o = &objects[nobjects++];
	const char *bytes = (const char *)p;
	*o = (struct object){ .at = p, .nbytes = nbytes, .tiny = tiny };
	FUZZ_CHECK(bytes[0] == 0 && memcmp(bytes, bytes + 1, nbytes - 1) == 0);
	stamp(o);
}

static void op_make(struct mutator *m, unsigned how, size_t nbytes)
{
	struct span *s;
	size_t align = how & 4 ? (size_t)8 << (how >> 4) : 8;
	if (nobjects == MAX_OBJECTS)
		return;
	uintptr_t p = get(m, how & 8 ? LAYOUT_ID_NOSCAN : LAYOUT_ID_WORDS, nbytes, align);
	if (p == 0)
		return; /* the heap is full */
	FUZZ_CHECK(p % (nbytes > MGC_MAX_SMALL ? align : 8) == 0);
	FUZZ_CHECK(cache_check(&heap, p, &s) == FREE_OK);
	FUZZ_CHECK(cache_check(&heap, p + 1, &s) == FREE_INSIDE);
	keep(p, nbytes, false);
}

static void op_make_tiny(struct mutator *m, size_t nbytes)
{
	uintptr_t p = nobjects < MAX_OBJECTS ? cache_pop_tiny(m, nbytes) : 0;
	if (p == 0 && nobjects < MAX_OBJECTS && cache_refill_tiny(m))
		p = cache_pop_tiny(m, nbytes);
	if (p != 0)
		keep(p, nbytes, true);
}

static void op_free(struct mutator *m, size_t i)
{
	struct span *s;
	if (nobjects == 0)
		return;
	struct object *o = &objects[i % nobjects];
	check(o);
	if (!o->tiny) {
		FUZZ_CHECK(cache_check(&heap, o->at, &s) == FREE_OK);
		cache_free(m, o->at, s);
		FUZZ_CHECK(cache_check(&heap, o->at, &s) != FREE_OK);
		*o = objects[--nobjects];
	}
}

/* ── mark and sweep, by hand ────────────────────────────────────────────────────────────── */

static uint32_t sweep(struct heap *h, struct span *s)
{
	uintptr_t zombie;
	uint32_t live = span_sweep(&h->pageheap.space, s, false, &zombie);
	FUZZ_CHECK(zombie == 0);
	store_release(&s->sweepgen, heap_sweepgen(h));
	return live;
}

static void mark_unused_run(struct mutator *m, unsigned sc)
{
	struct run r = m->runs[sc];
	struct span *s = run_span(m, sc);
	if (s != NULL)
		span_mark_run(&heap.pageheap.space, s, span_slot_of(s, r.cur),
			      span_slot_of(s, r.end - 1) + 1);
}

/* op_collect - one object in `share` is found dead. */
static void op_collect(struct mutator *m, size_t share)
{
	unsigned n = heap.layouts.nspanclasses;
	size_t kept = 0;
	heap_sweep_some(&heap, SIZE_MAX, SIZE_MAX);
	for (unsigned sc = 1; sc < n; sc++)
		central_sweep_cached(&heap, heap_central(&heap, sc));
	for (size_t i = 0; i < nobjects; i++) {
		objects[i].live = i % share != 0 || objects[i].tiny;
		if (objects[i].live)
			space_mark(&heap.pageheap.space,
				   objects[i].tiny ? objects[i].at & ~(uintptr_t)15 : objects[i].at);
	}
	for (unsigned sc = 1; sc < n; sc++)
		mark_unused_run(m, sc);
	for (unsigned sc = 1; sc < n; sc++)
		central_start_sweep(heap_central(&heap, sc));
	heap_set_phase(&heap, PHASE_OFF, heap_sweepgen(&heap) + 2);
	for (size_t i = 0; i < nobjects; i++)
		if (objects[i].live)
			objects[kept++] = objects[i];
	nobjects = kept;
}

/* ── the stream ─────────────────────────────────────────────────────────────────────────── */

static void step(struct mutator *m, struct input *in)
{
	unsigned op = (unsigned)take(in, 1);
	size_t a = (size_t)take(in, 2);
	switch (op % 8) {
	case 0:
	case 1:
		op_make(m, op, 1 + a % 512);
		break;
	case 2:
		op_make(m, op, 1 + a % MGC_MAX_SMALL);
		break;
	case 3:
		op_make(m, op, MGC_MAX_SMALL + 1 + a * 8 % MAX_LARGE);
		break;
	case 4:
		op_make_tiny(m, 1 + a % 15);
		break;
	case 5:
	case 6:
		op_free(m, a);
		break;
	default:
		if (op & 8)
			op_collect(m, 1 + a % 7);
		else if (op & 16)
			heap_sweep_some(&heap, a % 40, SIZE_MAX);
		else
			cache_flush(m);
	}
}

static int by_address(const void *x, const void *y)
{
	const struct object *a = x, *b = y;
	return a->at < b->at ? -1 : a->at > b->at;
}

static void finish(struct mutator *m)
{
	qsort(objects, nobjects, sizeof objects[0], by_address);
	for (size_t i = 0; i < nobjects; i++) {
		check(&objects[i]);
		FUZZ_CHECK(i == 0 || objects[i - 1].at + objects[i - 1].nbytes <= objects[i].at);
	}
	heap_verify(&heap);
	for (size_t i = 0; i < nobjects; i++)
		objects[i].tiny = false; /* the collection below finds the tiny ones dead, too */
	op_collect(m, 1);
	heap_sweep_some(&heap, SIZE_MAX, SIZE_MAX);
	mutator_detach(m);
	heap_sweep_some(&heap, SIZE_MAX, SIZE_MAX);
	heap_verify(&heap);
	FUZZ_CHECK(heap.pageheap.used_pages == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct input in = { data, data + nbytes };
	nobjects = 0;
	FUZZ_CHECK(heap_init(&heap, (size_t)64 << 20) == 0);
	heap.ops.sweep_span = sweep;
	struct mutator *m = mutator_attach(&heap);
	FUZZ_CHECK(m != NULL);
	while (has_more(&in))
		step(m, &in);
	finish(m);
	heap_destroy(&heap);
	return 0;
}
