/* type_test.c (plain) - gc/type.h, and how the marker reads each kind of layout: an object of the type is
 * filled with references in every word, and those leaves must live whose words the type names, and no
 * others. */
#include "lib/afar.h"

#include "face/runtime.h"
#include "gc/type.h"

#define MAX_WORDS ((size_t)40000)

static void *root;
static uintptr_t leaf[MAX_WORDS];
static uint8_t alive[MAX_WORDS];

struct build {
	struct mgc_type *type;
	size_t n; /* elements */
	size_t nbytes; /* for mgc_alloc with flags */
	unsigned flags;
	size_t nwords; /* of them all */
};

/* allocate - one element, an array, or through mgc_alloc. */
static void *allocate(const struct build *b)
{
	if (b->nbytes != 0)
		return mgc_alloc(b->nbytes, b->type, b->flags);
	return b->n == 1 ? mgc_new(b->type) : mgc_new_array(b->type, b->n);
}

/* fill - on its own thread. The leaves live until all is built, whatever the type says. */
static void *fill(void *arg)
{
	const struct build *b = arg;
	void **object = allocate(b);
	CHECK(object != NULL);
	root = object;
	void **keep = mgc_alloc(b->nwords * sizeof *keep, NULL, MGC_UNCOLLECTABLE);
	CHECK(keep != NULL);
	for (size_t w = 0; w < b->nwords; w++)
		CHECK(object[w] == NULL);
	for (size_t w = 0; w < b->nwords; w++) {
		keep[w] = object[w] = mgc_alloc(16, NULL, MGC_NOSCAN);
		leaf[w] = hide(keep[w]);
	}
	mgc_free(keep);
	return NULL;
}

static void build(const struct build *b)
{
	static bool added;
	CHECK(b->nwords <= MAX_WORDS);
	if (!added)
		CHECK_EQ(mgc_root_add(&root, sizeof root, 0), 0);
	added = true;
	on_thread(fill, (void *)(uintptr_t)b);
	collect_afar();
	count_alive(leaf, b->nwords, alive);
}

/* check_words - exactly those words of each element that the mask names are references. */
static void check_words(struct mgc_type *t, size_t n, size_t nbytes, unsigned flags)
{
	size_t period = t->size / 8;
	struct build b = { t, n, nbytes, flags, n * period };
	build(&b);
	for (size_t w = 0; w < b.nwords; w++) {
		size_t in = w % period;
		bool named = in < t->ptr_bytes / 8 &&
			     (t->ptr_mask == NULL || (t->ptr_mask[in / 8] >> (in % 8) & 1));
		if (alive[w] != named)
			printf("  size %zu, element %zu of %zu, word %zu\n", t->size, w / period, n, in);
		CHECK_EQ(alive[w], named);
	}
}

/* A type is static: its id is kept in it. Each test has one process, so one table will do. */
static struct mgc_type *make_type(size_t nwords, size_t ptr_words, const uint8_t *mask)
{
	static struct mgc_type types[4096];
	static size_t n;
	CHECK(n < 4096);
	types[n] = (struct mgc_type){
		.name = "test", .size = 8 * nwords, .ptr_bytes = 8 * ptr_words, .ptr_mask = mask
	};
	return &types[n++];
}

static uint8_t *random_mask(struct rng *r, size_t nwords, unsigned one_in)
{
	uint8_t *mask = calloc(1, nwords / 8 + 1);
	for (size_t w = 0; w < nwords; w++)
		if (rng_below(r, one_in) == 0)
			mask[w / 8] |= (uint8_t)(1u << (w % 8));
	mask[0] |= 1;
	return mask;
}

TEST(one_object)
{
	static const size_t sizes[] = { 1,  2,  3,   4,   5,   6,   9,    16,   33,   63,
					64, 65, 100, 128, 129, 500, 1024, 4096, 4097, 8000 };
	struct rng r = { test_seed() };
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		for (unsigned one_in = 1; one_in <= 9; one_in += 4)
			check_words(make_type(sizes[i], sizes[i], random_mask(&r, sizes[i], one_in)),
				    1, 0, 0);
}

TEST(arrays)
{
	static const struct {
		size_t nwords, n;
	} cases[] = { { 2, 2 },    { 3, 7 },     { 3, 21 },   { 5, 13 },  { 7, 9 },
		      { 7, 100 },  { 12, 200 },  { 65, 3 },   { 65, 40 }, { 5, 5000 },
		      { 7, 5001 }, { 129, 200 }, { 3, 12000 } };
	struct rng r = { test_seed() };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		check_words(make_type(cases[i].nwords, cases[i].nwords,
				      random_mask(&r, cases[i].nwords, 2)),
			    cases[i].n, 0, 0);
}

/* The last word of the last element, in spans that end right behind it and pieces of 128 KiB. */
TEST(last_words)
{
	for (size_t nwords = 4090; nwords <= 4100; nwords++)
		check_words(make_type(nwords, nwords, NULL), 1, 0, 0);
	for (size_t nwords = 16380; nwords <= 16390; nwords += 2)
		check_words(make_type(1, 1, NULL), nwords, 0, 0);
	static uint8_t third[] = { 4 };
	check_words(make_type(3, 3, third), 32768 / 3 + 1, 0, 0);
}

TEST(without_mask)
{
	check_words(make_type(8, 3, NULL), 1, 0, 0); /* only the first three words */
	check_words(make_type(8, 3, NULL), 30, 0, 0);
	check_words(make_type(200, 150, NULL), 1, 0, 0);
	check_words(make_type(8, 0, NULL), 4, 0, 0); /* none */
	static uint8_t nothing[8];
	check_words(make_type(20, 20, nothing), 3, 0, 0);
	static uint8_t behind[] = { 0xff, 0xff };
	check_words(make_type(12, 5, behind), 3, 0, 0); /* bits behind ptr_bytes do not count */
}

/* mgc_alloc with a type, and with flags that make another layout of it. */
TEST(alloc_with_type)
{
	static uint8_t mask[] = { 0x29 };
	struct mgc_type *t = make_type(6, 6, mask);
	check_words(t, 1, t->size, 0);
	check_words(t, 10, 10 * t->size, MGC_ARRAY);
	check_words(t, 3000, 3000 * t->size, MGC_ARRAY);
	struct build b = { t, 1, t->size, MGC_NOSCAN, 6 };
	build(&b);
	for (size_t w = 0; w < 6; w++)
		CHECK(!alive[w]);
	b = (struct build){ NULL, 1, 64, MGC_NOSCAN, 8 };
	build(&b);
	for (size_t w = 0; w < 8; w++)
		CHECK(!alive[w]);
	b = (struct build){ NULL, 1, 64, 0, 8 };
	build(&b);
	for (size_t w = 0; w < 8; w++)
		CHECK(alive[w]);
	b = (struct build){ t, 1, 10 * t->size, MGC_ARRAY | MGC_UNCOLLECTABLE, 60 };
	build(&b);
	root = NULL;
	collect_afar();
	count_alive(leaf, 60, alive);
	for (size_t w = 0; w < 60; w++)
		CHECK_EQ(alive[w], 0x29 >> (w % 6) & 1);
}

/* ── ambiguous words ────────────────────────────────────────────────────────────────────── */

static void *fill_with_numbers(void *arg)
{
	struct mgc_type *t = arg;
	uintptr_t *object = mgc_new(t);
	void *other = mgc_alloc(32, NULL, MGC_NOSCAN);
	root = object;
	object[0] = (uintptr_t)other;
	object[1] = (uintptr_t)other + (1 << 20); /* in no page, perhaps */
	object[2] = (uintptr_t)other + 8192 - 32; /* a slot that is free */
	object[3] = (uintptr_t)other + 1; /* inside */
	leaf[0] = hide(other);
	return NULL;
}

TEST(ambiguous_type)
{
	struct mgc_type *t = make_type(4, 4, NULL);
	t->flags = MGC_TYPE_AMBIGUOUS;
	CHECK_EQ(mgc_root_add(&root, sizeof root, 0), 0);
	on_thread(fill_with_numbers, t);
	for (int i = 0; i < 3; i++)
		collect_afar();
	CHECK(is_alive(leaf[0]));
}

/* ── callbacks ──────────────────────────────────────────────────────────────────────────── */

/* Names every other word of an element of six words. A fresh element is all zero. */
static void trace_odd(void *object, struct mgc_tracer *tracer)
{
	void **words = object;
	for (size_t w = 1; w < 6; w += 2)
		mgc_trace(tracer, words[w]);
}

static void check_traced(size_t n)
{
	struct mgc_type *t = make_type(6, 6, NULL);
	t->trace = trace_odd;
	struct build b = { t, n, 0, 0, 6 * n };
	build(&b);
	for (size_t w = 0; w < b.nwords; w++)
		CHECK_EQ(alive[w], w % 6 % 2 == 1);
}

TEST(callback)
{
	check_traced(1);
}

/* Each element of an array is traced. */
TEST(callback_on_arrays)
{
	check_traced(2);
	check_traced(9);
	check_traced(100);
	check_traced(6000); /* a large object: several pieces long */
}

/* mgc_trace takes any word. */
static void trace_anything(void *object, struct mgc_tracer *tracer)
{
	mgc_trace(tracer, NULL);
	mgc_trace(tracer, (void *)1);
	mgc_trace(tracer, (void *)-1);
	mgc_trace(tracer, &root);
	mgc_trace(tracer, *(void **)object);
	mgc_trace(tracer, (char *)*(void **)object + 3);
}

TEST(callback_with_any_word)
{
	struct mgc_type *t = make_type(2, 2, NULL);
	t->trace = trace_anything;
	struct build b = { t, 1, 0, 0, 2 };
	build(&b);
	CHECK(alive[0] && !alive[1]);
}

/* ── when the tables are full ───────────────────────────────────────────────────────────── */

/* A type of its own for each number: its bits are the mask. */
static struct mgc_type *numbered_type(size_t number, size_t nwords)
{
	uint8_t *mask = calloc(1, nwords / 8 + 1);
	for (unsigned bit = 0; bit < 14; bit++)
		if (number >> bit & 1)
			mask[bit / 8] |= (uint8_t)(1u << (bit % 8));
	mask[1] |= 0x80;
	return make_type(nwords, nwords, mask);
}

/* More mask types than there are layouts, then more sizes of them than there are span classes: later
 * ones are read as "every word", so nothing that should live dies. */
TEST(many_masks)
{
	struct mgc_type *last = NULL;
	for (size_t i = 0; i < 3000; i++) {
		last = numbered_type(i, 16 + i % 40);
		CHECK(mgc_new(last) != NULL);
	}
	struct build b = { last, 1, 0, 0, last->size / 8 };
	build(&b);
	for (size_t w = 0; w < b.nwords; w++)
		CHECK(alive[w]); /* merged: ambiguous, every word */
	/* and what must not merge still has its place */
	for (size_t nbytes = 1; nbytes < 40000; nbytes += nbytes / 8 + 1) {
		CHECK(mgc_alloc(nbytes, NULL, 0) != NULL);
		CHECK(mgc_alloc(nbytes, NULL, MGC_NOSCAN) != NULL);
	}
}

static size_t ntraced;

static void count_traced(void *object, struct mgc_tracer *tracer)
{
	(void)object;
	(void)tracer;
	__atomic_add_fetch(&ntraced, 1, __ATOMIC_RELAXED);
}

static void *make_traced(void *arg)
{
	static uintptr_t nrefused;
	void **slots = arg;
	for (size_t i = 0; i < 1500; i++) {
		struct mgc_type *t = make_type(1 + i, 0, NULL);
		t->trace = count_traced;
		errno = 0;
		slots[i] = mgc_new(t);
		nrefused += slots[i] == NULL;
		CHECK(slots[i] != NULL || errno == ENOMEM);
	}
	return (void *)nrefused;
}

/* Callbacks cannot merge: when their span classes are used up, allocation of such a type says so, and
 * everything else goes on. Never is such an object made that is not traced. */
TEST(many_sizes_with_callback)
{
	static void *slots[1500];
	CHECK_EQ(mgc_root_add(slots, sizeof slots, 0), 0);
	size_t nrefused = (size_t)on_thread(make_traced, slots);
	printf("  %zu of 1500 refused\n", nrefused);
	CHECK(nrefused > 0 && nrefused < 1000);
	ntraced = 0;
	collect_afar();
	CHECK(ntraced >= 1500 - nrefused);
	for (size_t nbytes = 1; nbytes < 40000; nbytes += nbytes / 8 + 1) {
		CHECK(mgc_alloc(nbytes, NULL, 0) != NULL);
		CHECK(mgc_alloc(nbytes, NULL, MGC_NOSCAN) != NULL);
	}
}

/* ── ids ────────────────────────────────────────────────────────────────────────────────── */

TEST(equal_types_share_their_layout)
{
	static uint8_t mask[] = { 5 }, same[] = { 5 }, all[] = { 0xff };
	struct mgc_type *a = make_type(4, 4, mask), *b = make_type(4, 4, same),
			*c = make_type(4, 4, NULL), *d = make_type(4, 4, all),
			*e = make_type(4, 0, NULL);
	struct layouts *ls = &runtime.heap.layouts;
	CHECK(mgc_new(a) && mgc_new(b) && mgc_new(c) && mgc_new(d) && mgc_new(e));
	CHECK_EQ(type_layout(type_id(ls, a)), type_layout(type_id(ls, b)));
	CHECK_EQ(type_spanclass(type_id(ls, a)), type_spanclass(type_id(ls, b)));
	CHECK_EQ(type_layout(type_id(ls, c)), type_layout(type_id(ls, d)));
	CHECK(type_layout(type_id(ls, a)) != type_layout(type_id(ls, c)));
	CHECK_EQ(type_layout(type_id(ls, e)), LAYOUT_ID_NOSCAN);
	CHECK_EQ(type_slot_nbytes(type_id(ls, a)), 32);
}

/* Many threads use a type for the first time together. */
static struct mgc_type *contested;
static uint32_t go;

static void *use_contested(void *arg)
{
	CHECK_EQ(mgc_thread_attach(), 0);
	for (size_t i = 0; i < 200; i++) {
		spin_until(&go, (uint32_t)i + 1);
		void *p = mgc_new(&contested[i]);
		CHECK(p != NULL && mgc_size(p) >= contested[i].size);
		__atomic_add_fetch((uint32_t *)arg, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

TEST(first_use_by_many_threads)
{
	pthread_t threads[4];
	uint32_t done = 0;
	contested = calloc(200, sizeof *contested);
	for (size_t i = 0; i < 200; i++)
		contested[i] = *numbered_type(i, 14 + i);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, use_contested, &done);
	for (uint32_t i = 1; i <= 200; i++) {
		publish(&go, i);
		spin_until(&done, 4 * i);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	collect_afar();
}
