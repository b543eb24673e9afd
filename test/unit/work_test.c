/* work_test.c (plain) - gc/work.h: blocks, slabs and their limit, the end of a mark with helpers that
 * join late or never; and that a mark without any memory for its queue still finds everything. */
#include "lib/afar.h"

#include "base/atomic.h"
#include "face/runtime.h"
#include "gc/work.h"
#include "lib/os_fake.h"
#include "os/os.h"

static const struct grey_boundary nothing;

/* ── blocks ─────────────────────────────────────────────────────────────────────────────── */

TEST(blocks)
{
	struct grey_pool p;
	grey_pool_init(&p);
	grey_reserve(&p, 0); /* the collecting thread, so that no thread has to in its snapshot */
	CHECK_EQ(p.nslabs, 1);
	CHECK_EQ(grey_nbytes(&p), sizeof(struct grey_block)); /* not more than was asked for is touched */
	store_relaxed(&p.ncopied, 5u);
	grey_reserve(&p, 0);
	CHECK_EQ(p.nslabs, 1);
	CHECK_EQ(grey_nbytes(&p), 6 * sizeof(struct grey_block));
	enum { N = 1000 };
	static struct grey_block *b[N];
	for (size_t i = 0; i < N; i++) {
		b[i] = grey_take_empty(&p);
		CHECK(b[i] != NULL && b[i]->n == 0);
		memset(b[i]->object, (int)i, sizeof b[i]->object);
		b[i]->n = (uint32_t)i;
	}
	for (size_t i = 0; i < N; i++)
		CHECK(((unsigned char *)b[i]->object)[sizeof b[i]->object - 1] == (unsigned char)i);
	CHECK(p.nslabs > 1);
	CHECK(grey_take_full(&p) == NULL);
	grey_put_full(&p, b[3]);
	grey_put_full(&p, b[4]);
	CHECK(grey_take_full(&p) == b[4] && b[4]->n == 4);
	CHECK(grey_take_full(&p) == b[3] && b[3]->n == 3);
	for (size_t i = 0; i < N; i++)
		grey_put_empty(&p, b[i]);
	grey_trim(&p, 0);
	CHECK_EQ(p.nslabs, 1);
	CHECK(grey_take_empty(&p) != NULL);
	grey_pool_destroy(&p);
}

TEST(reserved)
{
	struct grey_pool p;
	enum { NBYTES = 3 << 20, N = NBYTES / sizeof(struct grey_block) - 20 };
	static struct grey_block *b[N];
	grey_pool_init(&p);
	grey_reserve(&p, 1);
	grey_reserve(&p, NBYTES);
	CHECK(p.nslabs == 2 && p.nbytes >= NBYTES);
	os_fake_start();
	os_fake_fail("alloc", 1, OS_FAKE_FOREVER, ENOMEM);
	for (size_t i = 0; i < N; i++) { /* all of it can be had without the system, each block once */
		b[i] = grey_take_empty(&p);
		CHECK(b[i] != NULL && b[i]->n == 0);
		b[i]->n = 1;
	}
	os_fake_stop();
	for (size_t i = 0; i < N; i++)
		grey_put_empty(&p, b[i]);
	grey_trim(&p, NBYTES / 2 + 1024); /* twice that is kept */
	CHECK_EQ(p.nslabs, 2);
	grey_trim(&p, 0);
	CHECK(p.nslabs <= 1 && grey_nbytes(&p) <= p.nbytes);
	grey_reserve(&p, NBYTES);
	CHECK(p.nbytes >= NBYTES);
	grey_pool_destroy(&p);
}

TEST(memory_refused)
{
	struct grey_pool p;
	os_fake_start();
	os_fake_fail("alloc", 1, OS_FAKE_FOREVER, ENOMEM);
	CHECK(!grey_pool_init(&p));
	os_fake_stop();
	CHECK(grey_pool_init(&p));
	os_fake_start();
	os_fake_fail("alloc", 1, OS_FAKE_FOREVER, ENOMEM);
	size_t n = 0;
	while (grey_take_empty(&p) != NULL)
		n++;
	CHECK(n > 50 && p.nslabs == 1); /* what it was born with */
	for (unsigned i = 0; i < 1000; i++)
		CHECK(grey_take_empty(&p) == NULL);
	CHECK_EQ(os_fake_calls("alloc"), 1); /* the system is not asked again and again */
	grey_reserve(&p, 0);
	CHECK(grey_take_empty(&p) == NULL);
	CHECK_EQ(os_fake_calls("alloc"), 2); /* but once in a cycle */
	os_fake_stop();
	grey_reserve(&p, 0);
	CHECK(grey_take_empty(&p) != NULL && p.nslabs == 2);
	p.max_slabs = 2;
	while (grey_take_empty(&p) != NULL)
		;
	CHECK_EQ(p.nslabs, 2);
	grey_pool_destroy(&p);
}

/* ── the end of a mark ──────────────────────────────────────────────────────────────────── */

/* A "graph": item v has the children 2v and 2v+1 as long as they are below the limit. Every marker counts
 * what it scans; the mark may only end when all was scanned. */
struct mark {
	struct grey_pool pool;
	uint32_t round, left;
	uint64_t limit, nscanned;
	uint32_t delay[4];
};

static void push_item(struct mark *m, struct grey_block **mine, uintptr_t v)
{
	if ((*mine)->n == 14) { /* as in a hostile build: blocks move all the time */
		grey_put_full(&m->pool, *mine);
		*mine = grey_take_empty(&m->pool);
	}
	(*mine)->object[(*mine)->n++] = v;
}

static void scan_items(struct mark *m, struct grey_block *mine)
{
	uint64_t n = 0;
	for (;;) {
		while (mine->n > 0) {
			uintptr_t v = mine->object[--mine->n];
			n++;
			for (uintptr_t child = 2 * v; child <= 2 * v + 1; child++)
				if (child < m->limit)
					push_item(m, &mine, child);
			if (n % 16 == 0 && load_relaxed(&m->pool.nidle) != 0 && mine->n > 1) {
				struct grey_block *theirs = grey_take_empty(&m->pool);
				theirs->object[theirs->n++] = mine->object[--mine->n];
				grey_put_full(&m->pool, theirs);
			}
		}
		/* counted before it goes idle: who sees the end sees the count */
		add_relaxed(&m->nscanned, n);
		n = 0;
		struct grey_block *b = grey_wait_full(&m->pool, &nothing);
		grey_put_empty(&m->pool, mine);
		if (b == NULL)
			return;
		mine = b;
	}
}

struct helper {
	struct mark *m;
	unsigned index;
};

static void *help(void *arg)
{
	struct helper *h = arg;
	struct mark *m = h->m;
	for (uint32_t seen = 0;;) {
		uint32_t round;
		while ((round = load_acquire(&m->round)) == seen)
			sched_yield();
		seen = round;
		if (round == UINT32_MAX)
			return NULL;
		for (volatile uint32_t i = m->delay[h->index]; i > 0; i--)
			;
		if (grey_join(&m->pool)) {
			scan_items(m, grey_take_empty(&m->pool));
			CHECK_EQ(load_relaxed(&m->nscanned), m->limit - 1);
		}
		sub_acq_rel(&m->left, 1u);
	}
}

TEST(end_of_a_mark)
{
	struct rng r = { test_seed() };
	static struct mark m;
	struct helper helpers[3];
	pthread_t threads[3];
	grey_pool_init(&m.pool);
	for (unsigned i = 0; i < 3; i++) {
		helpers[i] = (struct helper){ &m, i };
		pthread_create(&threads[i], NULL, help, &helpers[i]);
	}
	size_t nrounds = test_size(3000);
	for (uint32_t round = 1; round <= nrounds; round++) {
		m.limit = 2 + rng_below(&r, round % 50 == 0 ? 20000 : 200);
		m.nscanned = 0;
		for (unsigned i = 0; i < 3; i++)
			m.delay[i] = (uint32_t)rng_below(&r, 2000);
		store_release(&m.left, 3u);
		grey_start(&m.pool);
		struct grey_block *mine = grey_take_empty(&m.pool);
		mine->object[mine->n++] = 1;
		store_release(&m.round, round);
		scan_items(&m, mine);
		CHECK_EQ(load_relaxed(&m.nscanned), m.limit - 1);
		CHECK(!grey_join(&m.pool));
		while (load_acquire(&m.left) != 0)
			sched_yield();
		grey_trim(&m.pool, 0);
	}
	store_release(&m.round, UINT32_MAX);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	grey_pool_destroy(&m.pool);
}

/* ── a marker with nothing to do ────────────────────────────────────────────────────────── */

struct waiter {
	struct grey_pool *pool;
	uint32_t ntaken; /* atomic */
	uint64_t cpu_ns; /* that it took, once it is gone */
};

static void *take_all(void *arg)
{
	struct waiter *w = arg;
	struct grey_block *b;
	uint64_t begin = os_thread_cpu_ns();
	while ((b = grey_wait_full(w->pool, &nothing)) != NULL) {
		grey_put_empty(w->pool, b);
		add_relaxed(&w->ntaken, 1u);
	}
	w->cpu_ns = os_thread_cpu_ns() - begin;
	return NULL;
}

static void sees_asleep(struct grey_pool *p, uint32_t n)
{
	bool asleep = false;
	while (!asleep) {
		os_sleep_ns(100000);
		lock_acquire(&p->lock);
		asleep = p->nsleeping == n;
		lock_release(&p->lock);
	}
}

/* Who waits sleeps, and wakes for a block, and for the end: that of who goes idle last, and of who leaves last. */
TEST(who_has_nothing_to_do_sleeps)
{
	struct grey_pool p;
	grey_pool_init(&p);
	for (unsigned leaves = 0; leaves <= 1; leaves++) {
		struct waiter w[2] = { { .pool = &p }, { .pool = &p } };
		pthread_t thread[2];
		grey_start(&p); /* this thread is one */
		for (unsigned i = 0; i < 2; i++) {
			CHECK(grey_join(&p));
			pthread_create(&thread[i], NULL, take_all, &w[i]);
		}
		for (uint32_t given = 1; given <= 3; given++) {
			sees_asleep(&p, 2);
			grey_put_full(&p, grey_take_empty(&p));
			while (load_relaxed(&w[0].ntaken) + load_relaxed(&w[1].ntaken) != given)
				os_sleep_ns(100000);
		}
		sees_asleep(&p, 2);
		os_sleep_ns(200000000);
		if (leaves)
			grey_leave(&p);
		else
			CHECK(grey_wait_full(&p, &nothing) == NULL);
		for (unsigned i = 0; i < 2; i++) {
			pthread_join(thread[i], NULL);
			CHECK(w[i].cpu_ns < 50000000);
		}
		CHECK_EQ(p.nsleeping, 0);
	}
	grey_pool_destroy(&p);
}

/* What is pushed when the mark is over is for who goes on alone, though another has not seen the end yet. */
static void push_behind_the_end(void *arg)
{
	struct grey_pool *p = arg;
	grey_leave(p);
	CHECK(!p->full && load_relaxed(&p->nidle) == 1);
	store_relaxed(&p->nmarkers, load_relaxed(&p->nmarkers) & ~GREY_OPEN);
	grey_put_full(p, grey_take_empty(p));
}

TEST(nothing_is_taken_behind_the_end)
{
	struct grey_pool p;
	grey_pool_init(&p);
	grey_start(&p);
	CHECK(grey_join(&p));
	struct grey_boundary other = { push_behind_the_end, &p };
	store_relaxed(&p.chore, 1u);
	CHECK(grey_wait_full(&p, &other) == NULL);
	CHECK(grey_take_full(&p) != NULL);
	grey_pool_destroy(&p);
}

/* ── marking without memory ─────────────────────────────────────────────────────────────── */

/* Three shapes at once: one object with very many children, a list as long, and a tree. Their last
 * objects, and every 97th, are looked at. */
#define WIDE ((size_t)30000)
#define LONG ((size_t)20000)

static void *top[4];
static uintptr_t watched[2 * (WIDE + LONG) / 97 + 1000];
static size_t nwatched;

static void watch(void *p)
{
	watched[nwatched++] = hide(p);
}

static void **make_tree(unsigned depth)
{
	void **node = mgc_alloc(24, NULL, 0);
	CHECK(node != NULL);
	if (depth == 0) {
		node[2] = mgc_alloc(32, NULL, MGC_NOSCAN);
		if (nwatched % 5 == 0)
			watch(node[2]);
		return node;
	}
	node[0] = make_tree(depth - 1);
	node[1] = make_tree(depth - 1);
	return node;
}

static void *make_shapes(void *arg)
{
	void **wide = mgc_alloc(WIDE * sizeof *wide, NULL, 0);
	top[0] = wide;
	for (size_t i = 0; i < WIDE; i++) {
		void **child = mgc_alloc(16, NULL, 0);
		wide[i] = child;
		child[1] = mgc_alloc(16, NULL, MGC_NOSCAN);
		if (i % 97 == 0 || i == WIDE - 1)
			watch(child[1]);
	}
	for (size_t i = 0; i < LONG; i++) { /* each new one before the others: against the addresses */
		void **link = mgc_alloc(40, NULL, 0);
		link[4] = top[1];
		top[1] = link;
		if (i % 97 == 0 || i == LONG - 1)
			watch(link);
	}
	void **at = mgc_alloc(48, NULL, 0);
	top[2] = at;
	for (size_t i = 0; i < LONG; i++) { /* and along with them */
		at[5] = mgc_alloc(48, NULL, 0);
		at = at[5];
		if (i % 97 == 0 || i == LONG - 1)
			watch(at);
	}
	top[3] = make_tree(12);
	return arg;
}

/* limit_slabs - between two cycles; 0: not even the one that the pool was born with. */
static void limit_slabs(size_t max_slabs)
{
	if (max_slabs == 0)
		grey_pool_destroy(&runtime.gc.pool);
	runtime.gc.pool.max_slabs = max_slabs;
}

static void check_shapes(size_t max_slabs)
{
	CHECK_EQ(mgc_root_add(top, sizeof top, 0), 0);
	limit_slabs(max_slabs);
	mgc_set_percent(-1);
	on_thread(make_shapes, NULL);
	printf("  %zu watched\n", nwatched);
	double begin = now_seconds();
	collect_afar();
	printf("  %.3f s\n", now_seconds() - begin);
	CHECK_EQ(count_alive(watched, nwatched, NULL), nwatched);
	runtime.gc.pool.max_slabs = SIZE_MAX;
	collect_afar();
	CHECK_EQ(count_alive(watched, nwatched, NULL), nwatched);
	memset(top, 0, sizeof top);
	limit_slabs(max_slabs);
	collect_afar();
	CHECK_EQ(count_alive(watched, nwatched, NULL), 0);
}

TEST(shapes_with_memory)
{
	check_shapes(SIZE_MAX);
}

TEST_SECONDS(shapes_with_one_slab, 60)
{
	check_shapes(1);
}

/* Without memory one marker works alone, and long: nothing for ThreadSanitizer. */
#ifndef MGC_SANITIZE_THREAD
TEST_SECONDS(shapes_without_a_block, 60)
{
	check_shapes(0);
}

/* The same when the system refuses from the middle of a mark on. */
TEST_SECONDS(shapes_when_memory_ends, 60)
{
	CHECK_EQ(mgc_root_add(top, sizeof top, 0), 0);
	mgc_set_percent(-1);
	on_thread(make_shapes, NULL);
	for (uint64_t nth = 1; nth < 6; nth++) {
		os_fake_start();
		os_fake_fail("alloc", nth, OS_FAKE_FOREVER, ENOMEM);
		collect_afar();
		os_fake_stop();
		CHECK_EQ(count_alive(watched, nwatched, NULL), nwatched);
	}
}
#endif

/* ── helpers ────────────────────────────────────────────────────────────────────────────── */

/* A helper that is started after some rounds waits for the next one. It must not take the last one for
 * new: it would then take part in the next one twice, and report twice. */
TEST(a_late_helper_waits_for_its_first_round)
{
	static struct workers w = { .limit = 4, .round = 5 };
	static struct grey_pool pool;
	grey_pool_init(&pool);
	grey_start(&pool);
	/* as workers_begin leaves it right before it moves on to the next round */
	store_relaxed(&w.nwanted, 1u);
	store_relaxed(&w.nbusy, 1u);
	workers_start(&w, 1);
	CHECK_EQ(workers_prepare(&w, 1), 1);
	usleep(50000);
	CHECK_EQ(load_acquire(&w.nbusy), 1);
	workers_begin(&w, 1, &runtime.heap, &pool, true);
	CHECK(grey_wait_full(&pool, &nothing) == NULL);
	workers_end(&w);
	usleep(10000);
	CHECK_EQ(load_acquire(&w.nbusy), 0);
}
