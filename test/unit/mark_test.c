/* mark_test.c (plain) - gc/mark.h: interior pointers, deep and wide graphs, large arrays in pieces, many
 * markers at once, words that are no references; each time exactly the right objects live. */
#include "lib/afar.h"

#include "base/config.h"
#include "face/runtime.h"
#include "gc/cycle.h"

static void *root[64];

static void add_root(void)
{
	CHECK_EQ(mgc_root_add(root, sizeof root, 0), 0);
}

static void *add_root_afar(void *arg)
{
	add_root();
	return arg;
}

/* start - this thread stays unattached. */
static void start(void)
{
	on_thread(add_root_afar, NULL);
	mgc_set_percent(-1);
}

/* ── which pointers keep an object ──────────────────────────────────────────────────────── */

/* Each root points at another byte of an object of its own. */
static uintptr_t inner[64];
static const size_t inner_sizes[] = { 16,   24,   40,    64,    96,    200,   1000,
				      3000, 8000, 20000, 32768, 40000, 300000 };
#define NINNER (sizeof inner_sizes / sizeof inner_sizes[0])

static void *make_inner(void *arg)
{
	int where = *(int *)arg;
	for (size_t i = 0; i < NINNER; i++) {
		char *p = mgc_alloc(inner_sizes[i], NULL, MGC_NOSCAN), *q = p;
		size_t usable = mgc_size(p);
		if (where == 1)
			q = p + usable / 2 + 1;
		if (where == 2)
			q = p + usable - 1;
		inner[i] = hide(p);
		root[i] = q;
	}
	return NULL;
}

TEST(interior_pointers)
{
	start();
	for (int where = 0; where < 3; where++) {
		on_thread(make_inner, &where);
		collect_afar();
		CHECK_EQ(count_alive(inner, NINNER, NULL), NINNER);
		memset(root, 0, sizeof root);
		collect_afar();
		CHECK_EQ(count_alive(inner, NINNER, NULL), 0);
	}
}

/* Objects of 2 words up, each referring to another by its last word alone; of no known layout, of a type
 * that is all pointers, and of one with three numbers behind them. */
#define NLAST 48
static uintptr_t last_hidden[3 * NLAST];

static struct mgc_type *type_of_words(size_t npointers, size_t nnumbers)
{
	struct mgc_type *t = calloc(1, sizeof *t);
	CHECK(t != NULL);
	*t = (struct mgc_type){ .name = "words",
				.size = 8 * (npointers + nnumbers),
				.ptr_bytes = 8 * npointers };
	return t;
}

static void *make_last(void *arg)
{
	for (size_t i = 0; i < 3 * NLAST; i++) {
		size_t n = 2 + i / 3;
		void **p = i % 3 == 0   ? mgc_alloc(8 * n, NULL, 0)
			   : i % 3 == 1 ? mgc_new(type_of_words(n, 0))
					: mgc_new(type_of_words(n, 3));
		void *child = mgc_alloc(16, NULL, MGC_NOSCAN);
		last_hidden[i] = hide(child);
		mgc_write(&p[n - 1], child);
		((void **)root[0])[i] = p;
	}
	return arg;
}

static void *make_table(void *arg)
{
	root[0] = mgc_alloc(3 * NLAST * sizeof(void *), NULL, 0);
	return arg;
}

TEST(the_last_word)
{
	start();
	on_thread(make_table, NULL);
	on_thread(make_last, NULL);
	collect_afar();
	CHECK_EQ(count_alive(last_hidden, 3 * NLAST, NULL), 3 * NLAST);
	root[0] = NULL;
	collect_afar();
	CHECK_EQ(count_alive(last_hidden, 3 * NLAST, NULL), 0);
}

/* A pointer just behind an object keeps the next slot, not this one. */
static uintptr_t pair[2];

static void *make_pair(void *arg)
{
	char *p = mgc_alloc(48, NULL, MGC_NOSCAN), *q = mgc_alloc(48, NULL, MGC_NOSCAN);
	while (q != p + mgc_size(p)) {
		p = q;
		q = mgc_alloc(48, NULL, MGC_NOSCAN);
	}
	pair[0] = hide(p);
	pair[1] = hide(q);
	root[0] = p + mgc_size(p);
	return arg;
}

TEST(one_past_the_end)
{
	start();
	on_thread(make_pair, NULL);
	collect_afar();
	CHECK(!is_alive(pair[0]) && is_alive(pair[1]));
}

/* ── shapes ─────────────────────────────────────────────────────────────────────────────── */

#define NWATCHED 4000
static uintptr_t watched[NWATCHED];

struct shape {
	void *(*make)(size_t n);
	size_t n;
};

static void *make_shape(void *arg)
{
	const struct shape *s = arg;
	root[0] = s->make(s->n);
	return NULL;
}

static void check_shape(void *(*make)(size_t), size_t n)
{
	struct shape s = { make, n };
	memset(watched, 0, sizeof watched);
	on_thread(make_shape, &s);
	size_t nwatched = 0;
	while (nwatched < NWATCHED && watched[nwatched] != 0)
		nwatched++;
	CHECK(nwatched > 0);
	for (int i = 0; i < 2; i++)
		collect_afar();
	CHECK_EQ(count_alive(watched, nwatched, NULL), nwatched);
	root[0] = NULL;
	collect_afar();
	CHECK_EQ(count_alive(watched, nwatched, NULL), 0);
}

static void watch_some(size_t i, size_t n, const void *p)
{
	size_t every = n / NWATCHED + 1;
	if (i % every == 0 && i / every < NWATCHED)
		watched[i / every] = hide(p);
}

static void *list(size_t n)
{
	void *head = NULL;
	for (size_t i = 0; i < n; i++) {
		void **node = mgc_alloc(24, NULL, 0);
		node[2] = head;
		head = node;
		watch_some(i, n, node);
	}
	return head;
}

static void *chain_of_arrays(size_t n)
{
	void *head = NULL;
	for (size_t i = 0; i < n; i++) {
		size_t nwords = 20000 + i % 7 * 3000; /* 160 KiB up: more than a piece */
		void **array = mgc_alloc(nwords * 8, NULL, 0);
		array[nwords - 1 - i % 2 * 17000] = head; /* in the last piece, or the first */
		head = array;
		watch_some(i, n, array);
	}
	return head;
}

static void *fan(size_t n)
{
	void **all = mgc_alloc(n * sizeof *all, NULL, 0);
	for (size_t i = 0; i < n; i++) {
		void **two = mgc_alloc(16, NULL, 0);
		all[i] = two;
		two[0] = mgc_alloc(48, NULL, MGC_NOSCAN);
		watch_some(i, n, two[0]);
	}
	return all;
}

/* Everybody refers to everybody: n² edges. */
static void *mesh(size_t n)
{
	void **hub = mgc_alloc(n * sizeof *hub, NULL, 0);
	for (size_t i = 0; i < n; i++) {
		hub[i] = mgc_alloc(n * sizeof *hub, NULL, 0);
		watch_some(i, n, hub[i]);
	}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++)
			((void **)hub[i])[k] = hub[k];
	return hub[n - 1];
}

static void *random_graph(size_t n)
{
	struct rng r = { test_seed() };
	void **all = mgc_alloc(n * sizeof *all, NULL, MGC_UNCOLLECTABLE);
	for (size_t i = 0; i < n; i++)
		all[i] = mgc_alloc(8 * (2 + rng_below(&r, 30)), NULL, 0);
	for (size_t i = 0; i < n; i++) {
		void **node = all[i];
		node[0] = i + 1 < n ? all[i + 1] : all[0]; /* all can be reached */
		for (size_t w = 1; w < mgc_size(node) / 8; w++)
			node[w] = rng_below(&r, 3) ? all[rng_below(&r, n)] : NULL;
		watch_some(i, n, node);
	}
	void *first = all[rng_below(&r, n)];
	mgc_free(all);
	return first;
}

TEST(shapes)
{
	start();
	check_shape(list, test_size(1000000));
	check_shape(chain_of_arrays, test_size(60));
	check_shape(fan, test_size(300000));
	check_shape(mesh, 300);
	check_shape(random_graph, test_size(200000));
}

/* With many markers, so that they share, steal and join late; on a machine with fewer processors. */
TEST(many_markers)
{
	setenv("MGC_DEBUG", "workers=6", 1);
	start();
	runtime.gc.pacer.live_nbytes = 1 << 30; /* worth it from the first collection on */
	for (int i = 0; i < 5; i++) {
		check_shape(random_graph, test_size(60000));
		check_shape(fan, test_size(60000));
		check_shape(chain_of_arrays, 30);
		check_shape(list, test_size(60000));
	}
}

/* The count of marked objects and bytes is exact, whoever marked them. */
static void *make_counted(void *arg)
{
	void **all = mgc_alloc(100000 * sizeof *all, NULL, 0);
	root[0] = all;
	for (size_t i = 0; i < 100000; i++)
		all[i] = mgc_alloc(32, NULL, i % 2 ? MGC_NOSCAN : 0);
	return arg;
}

TEST(marked_is_counted)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	setenv("MGC_DEBUG", "workers=4", 1);
	start();
	on_thread(make_counted, NULL);
	for (int i = 0; i < 10; i++) {
		collect_afar();
		mgc_read_stats(&s);
		CHECK_EQ(s.objects_marked, 100001);
		CHECK_EQ(s.heap_live, 100000 * 32 + 98 * MGC_PAGE_SIZE);
	}
}

/* ── words that are no references ───────────────────────────────────────────────────────── */

static void *make_noise(void *arg)
{
	uintptr_t *words = mgc_alloc(80000, NULL, 0); /* ambiguous */
	const struct space *sp = &runtime.heap.pageheap.space;
	struct rng r = { test_seed() };
	uintptr_t object = (uintptr_t)mgc_alloc(64, NULL, 0);
	root[0] = words;
	for (size_t i = 0; i < 10000; i++) {
		switch (rng_below(&r, 5)) {
		case 0:
			words[i] = rng_next(&r);
			break;
		case 1:
			words[i] = sp->base + rng_below(&r, sp->nbytes);
			break;
		case 2:
			words[i] = sp->base + rng_below(&r, sp->grown << MGC_PAGE_SHIFT);
			break;
		case 3:
			words[i] = object + rng_below(&r, 1 << 16);
			break;
		default:
			words[i] = sp->base + sp->nbytes + rng_below(&r, 32) - 16;
		}
	}
	return arg;
}

TEST(noise)
{
	start();
	for (int i = 0; i < 20; i++) {
		on_thread(make_noise, NULL);
		collect_afar();
	}
}

/* A collection marks what is on its way: the result of an allocation that a signal interrupts. Threads
 * allocate and check at once, while others collect; tiny objects share their block with older ones. */
static double until;

static void *allocate_and_check(void *arg)
{
	unsigned char *old[32] = { NULL };
	for (unsigned n = 1; now_seconds() < until; n++) {
		for (unsigned i = 0; i < 500; i++, n++) {
			size_t nbytes = 1 + n * 7 % ((uintptr_t)arg == 0 ? 15 : 150);
			unsigned char *p = mgc_alloc(nbytes, NULL, MGC_NOSCAN);
			CHECK(p[0] == 0 && p[nbytes - 1] == 0);
			memset(p, (int)(n % 251 + 1), nbytes);
			unsigned char *before = old[n % 32];
			CHECK(before == NULL || before[0] != 0);
			old[n % 32] = p;
		}
	}
	return NULL;
}

static void *collect_until(void *arg)
{
	while (now_seconds() < until)
		mgc_collect();
	return arg;
}

TEST(allocation_is_interrupted)
{
	pthread_t threads[4];
	until = now_seconds() + test_seconds(1);
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, i < 3 ? allocate_and_check : collect_until,
			       (void *)i);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

/* ── beside a program without a barrier ─────────────────────────────────────────────────── */

/* A word is looked at again when an object was born where there was none: births are white there, and the
 * word may be all that keeps the object. */
static void *look_before_and_after_birth(void *arg)
{
	static struct marker mk;
	void *p = mgc_alloc(48, NULL, MGC_NOSCAN);
	uintptr_t word = (uintptr_t)p;
	int i = 0;
	mgc_free(p);
	CHECK(mgc_base(p) == NULL);
	marker_init(&mk, &runtime.heap, &runtime.gc.pool, false);
	marker_candidate(&mk, word, MARK_AMBIGUOUS);
	marker_settle(&mk);
	CHECK(!space_is_marked(&runtime.heap.pageheap.space, word));
	while ((uintptr_t)mgc_alloc(48, NULL, MGC_NOSCAN) != word)
		CHECK(i++ < 100000);
	marker_candidate(&mk, word, MARK_AMBIGUOUS);
	marker_settle(&mk);
	CHECK(space_is_marked(&runtime.heap.pageheap.space, word));
	marker_unmark(&mk, word);
	marker_finish(&mk);
	return arg;
}

TEST(an_object_is_born_where_a_word_pointed_before)
{
	setenv("MGC_DEBUG", "gcstress=1000000", 1);
	start();
	on_thread(look_before_and_after_birth, NULL);
}
