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

/* What is put into a word instead of the leaf's address. */
static uintptr_t as_it_is(uintptr_t address, size_t word)
{
	(void)word;
	return address;
}
static uintptr_t (*encode)(uintptr_t address, size_t word) = as_it_is;

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
		keep[w] = mgc_alloc(16, NULL, MGC_NOSCAN);
		leaf[w] = hide(keep[w]);
		((uintptr_t *)object)[w] = encode((uintptr_t)keep[w], w);
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

/* The last word of the last element, in spans that end right behind it and pieces of 32 KiB. */
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

/* ── one callback for an object of any size ─────────────────────────────────────────────── */

/* A vector: its length, then references; behind them words that are none. */
static uint32_t ncalls;

static void trace_vector(void *object, struct mgc_tracer *tracer)
{
	uintptr_t *words = object, n = __atomic_load_n(&words[0], __ATOMIC_ACQUIRE);
	__atomic_add_fetch(&ncalls, 1, __ATOMIC_RELAXED);
	mgc_trace_range(tracer, words + 1, n);
}

static struct mgc_type vector_type = {
	.name = "vector", .size = 8, .trace = trace_vector, .flags = MGC_TYPE_WHOLE
};

static uintptr_t vector_length;

static uintptr_t length_first(uintptr_t word, size_t at)
{
	return at == 0 ? vector_length : word;
}

static void check_vector(size_t nwords, size_t length)
{
	struct build b = { &vector_type, 1, nwords * 8, 0, nwords };
	encode = length_first;
	vector_length = length;
	ncalls = 0;
	build(&b);
	for (size_t w = 0; w < nwords; w++)
		CHECK_EQ(alive[w], w > 0 && w <= length);
	CHECK(ncalls >= 1 && (ncalls <= 6 || MGC_HOSTILE));
}

TEST(a_callback_for_the_whole_object)
{
	check_vector(2, 1);
	check_vector(7, 5);
	check_vector(100, 0);
	check_vector(100, 99);
	check_vector(30000, 29998); /* a large one is still one call */
}

/* ── callbacks for a part of an object ──────────────────────────────────────────────────── */

static size_t longest_part;

/* Every third word. */
static void trace_part(void *object, size_t from, size_t to, struct mgc_tracer *tracer)
{
	CHECK(from % 8 == 0 && from < to && mgc_base(object) == object);
	longest_part = to - from > longest_part ? to - from : longest_part;
	for (size_t w = from / 8; w < to / 8; w++)
		if (w % 3 == 0)
			mgc_trace(tracer, __atomic_load_n((void **)object + w, __ATOMIC_RELAXED));
}

static void check_parts(size_t nwords)
{
	static struct mgc_type type = { .name = "parts", .size = 8, .trace_part = trace_part };
	struct build b = { &type, 1, nwords * 8, 0, nwords };
	build(&b);
	for (size_t w = 0; w < nwords; w++)
		CHECK_EQ(alive[w], w % 3 == 0);
}

TEST(a_callback_for_parts)
{
	check_parts(2);
	check_parts(50);
	check_parts(4096);
	check_parts(4097);
	check_parts(16384);
	check_parts(16385);
	check_parts(39999);
	CHECK_EQ(longest_part, 32 << 10);
}

/* Elements that straddle the pieces of a large array, and such that are longer than one. */
static size_t element_words;

static void trace_last(void *object, struct mgc_tracer *tracer)
{
	mgc_trace(tracer, __atomic_load_n((void **)object + element_words - 1, __ATOMIC_RELAXED));
}

static void check_elements(size_t nwords, size_t n)
{
	struct mgc_type *t = make_type(nwords, nwords, NULL);
	t->trace = trace_last;
	element_words = nwords;
	struct build b = { t, n, 0, 0, nwords * n };
	build(&b);
	for (size_t w = 0; w < b.nwords; w++)
		CHECK_EQ(alive[w], w % nwords == nwords - 1);
}

TEST(elements_of_large_arrays)
{
	check_elements(2, 20000);
	check_elements(3, 13333);
	check_elements(7, 5714);
	check_elements(5000, 7);
	check_elements(17000, 2);
	check_elements(39999, 1);
}

/* ── tagged words ───────────────────────────────────────────────────────────────────────── */

static uintptr_t tag_by_place(uintptr_t word, size_t at)
{
	return word | (at * 5 & 7);
}

static void check_tagged(struct mgc_type *t, size_t n, uint16_t tags)
{
	size_t period = t->size / 8;
	struct build b = { t, n, 0, 0, n * period };
	encode = tag_by_place;
	t->ptr_tag_mask = 7;
	t->ptr_tags = tags;
	build(&b);
	for (size_t w = 0; w < b.nwords; w++) {
		size_t in = w % period;
		bool named = t->ptr_mask == NULL || (t->ptr_mask[in / 8] >> (in % 8) & 1);
		CHECK_EQ(alive[w], named && (tags == 0 || (tags >> (w * 5 & 7) & 1)));
	}
}

TEST(tags)
{
	struct rng r = { test_seed() };
	static const size_t sizes[] = { 1, 2, 3, 8, 31, 64, 65, 200, 5000, 8000 };
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		size_t n = sizes[i];
		check_tagged(make_type(n, n, NULL), 1, 0x09);
		check_tagged(make_type(n, n, NULL), 3, 0);
		check_tagged(make_type(n, n, random_mask(&r, n, 2)), 1, 0x82);
		check_tagged(make_type(n, n, random_mask(&r, n, 2)), 39000 / n / 2 + 1, 0x41);
	}
}

static void trace_all_six(void *object, struct mgc_tracer *tracer)
{
	mgc_trace_range(tracer, object, 6);
}

TEST(tags_and_callbacks)
{
	struct mgc_type *t = make_type(6, 0, NULL);
	t->trace = trace_all_six;
	check_tagged(t, 1, 0x24);
	t = make_type(6, 0, NULL);
	t->trace = trace_all_six;
	check_tagged(t, 5000, 0x60);
}

/* ── pointers to the inside ─────────────────────────────────────────────────────────────── */

static uintptr_t behind_header(uintptr_t address, size_t word)
{
	(void)word;
	return address + 8;
}

static uintptr_t anywhere_inside(uintptr_t address, size_t word)
{
	return address + word % 16;
}

/* What a declared offset leaves for others: words without it are no pointers. */
static uintptr_t every_third_behind_header(uintptr_t address, size_t word)
{
	return word % 3 == 0 ? address + 8 : address;
}

static void check_inside(struct mgc_type *t, size_t n)
{
	struct build b = { t, n, 0, 0, n * (t->size / 8) };
	build(&b);
	for (size_t w = 0; w < b.nwords; w++) {
		size_t in = w % (t->size / 8);
		bool named = t->ptr_mask == NULL || (t->ptr_mask[in / 8] >> (in % 8) & 1);
		CHECK_EQ(alive[w], named && (t->ptr_tag_mask == 0 || w % 3 == 0));
	}
}

static void check_all_inside(uintptr_t (*how)(uintptr_t address, size_t word), unsigned tag_mask,
			     unsigned tags)
{
	struct rng r = { test_seed() };
	static const size_t sizes[] = { 1, 2, 3, 8, 64, 65, 5000 };
	encode = how;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct mgc_type *t =
			make_type(sizes[i], sizes[i], i % 2 ? random_mask(&r, sizes[i], 2) : NULL);
		t->ptr_tag_mask = (uint8_t)tag_mask;
		t->ptr_tags = (uint16_t)tags;
		check_inside(t, 1);
		check_inside(t, 39000 / sizes[i] / 2 + 1);
	}
	struct mgc_type *t = make_type(6, 0, NULL);
	t->trace = trace_all_six;
	t->ptr_tag_mask = (uint8_t)tag_mask;
	t->ptr_tags = (uint16_t)tags;
	check_inside(t, 5000);
}

TEST(pointers_to_the_inside)
{
	check_all_inside(behind_header, 0, 0);
	check_all_inside(anywhere_inside, 0, 0);
}

/* An offset below 16 is a tag of an object that is 16-aligned. */
TEST(offsets_that_say_what_is_a_pointer)
{
	check_all_inside(every_third_behind_header, 15, 1 << 8);
}

/* ── boxed words ────────────────────────────────────────────────────────────────────────── */

static uintptr_t box(uintptr_t word, size_t at)
{
	return word | (0xfff1 + at % 7) << 48;
}

TEST(boxes)
{
	static const size_t sizes[] = { 1, 4, 40, 3000, 9000 };
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct mgc_type *t = make_type(sizes[i], sizes[i], NULL);
		t->flags = MGC_TYPE_BOXED;
		struct build b = { t, 2, 0, 0, 2 * sizes[i] };
		encode = box;
		build(&b);
		for (size_t w = 0; w < b.nwords; w++)
			CHECK(alive[w]);
	}
	struct mgc_type *t = make_type(6, 0, NULL);
	t->trace = trace_odd;
	t->flags = MGC_TYPE_BOXED;
	struct build b = { t, 10, 0, 0, 60 };
	build(&b);
	for (size_t w = 0; w < b.nwords; w++)
		CHECK_EQ(alive[w], w % 6 % 2 == 1);
}

/* Once there is such a type its words count everywhere. */
static uintptr_t boxed_root, boxed_owned[2], boxed_hidden[3];
static void *boxed_top = boxed_owned + 2;
static uint32_t boxed_ready, boxed_leave;

static void *make_boxed(void *arg)
{
	struct mgc_type *t = arg;
	uintptr_t *slots[] = { &boxed_root, &boxed_owned[1], boxed_hidden + 2 };
	CHECK(mgc_new(t) != NULL);
	for (size_t i = 0; i < 3; i++) {
		uintptr_t p = (uintptr_t)mgc_alloc(32, NULL, MGC_NOSCAN);
		boxed_hidden[i] = ~p;
		if (i < 2)
			*slots[i] = box(p, i);
	}
	return NULL;
}

static void *hold_boxed(void *arg)
{
	struct mgc_type *t = arg;
	volatile uintptr_t local;
	CHECK_EQ(mgc_root_add_owned(boxed_owned, sizeof boxed_owned, &boxed_top), 0);
	on_thread(make_boxed, t);
	local = box(~boxed_hidden[2], 2);
	(void)local;
	publish(&boxed_ready, 1);
	spin_until(&boxed_leave, 1);
	local = 0;
	return NULL;
}

TEST(boxes_on_stacks_and_in_roots)
{
	pthread_t thread;
	struct mgc_type *t = make_type(2, 2, NULL);
	t->flags = MGC_TYPE_BOXED;
	CHECK_EQ(mgc_root_add(&boxed_root, sizeof boxed_root, 0), 0);
	CHECK_EQ(mgc_set_percent(-1), 100);
	pthread_create(&thread, NULL, hold_boxed, t);
	spin_until(&boxed_ready, 1);
	collect_afar();
	CHECK_EQ(count_alive(boxed_hidden, 3, NULL), 3);
	publish(&boxed_leave, 1);
	pthread_join(thread, NULL);
	boxed_root = 0;
	collect_afar();
	CHECK_EQ(count_alive(boxed_hidden, 3, NULL), 0);
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
