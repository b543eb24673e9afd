/* manual_test.c - the malloc face's heap from inside: slabs go through their states and none is left behind,
 * whoever frees the last block. */
#include "lib/os_fake.h"
#include "lib/plain.h"
#include "lib/probe.h"
#include "lib/step.h"

#include <sys/resource.h>

#include "base/bits.h"
#include "heap/mcache.h"
#include "heap/scavenger.h"
#include "os/os.h"

static struct manual heap;

static size_t used_pages(void)
{
	struct pageheap_stats st;
	pageheap_read_stats(&heap.pageheap, &st);
	return st.used_nbytes >> MGC_PAGE_SHIFT;
}

static struct slab *slab_at(const void *p)
{
	return slab_of(&heap.slabs, (uintptr_t)p);
}

static uint64_t granted; /* atomic: bytes of all blocks that were allocated */

static void *counted(void *p)
{
	if (p != NULL)
		__atomic_fetch_add(&granted, mcache_usable(slab_at(p)), __ATOMIC_RELAXED);
	return p;
}

static void *take(struct mcache *c, unsigned sizeclass)
{
	return counted(mcache_alloc(c, sizeclass));
}

static void *take_large(struct mcache *c, size_t nbytes, size_t align, bool *zero)
{
	return counted(mcache_alloc_large(c, nbytes, align, zero));
}

static void start(void)
{
	granted = 0;
	CHECK_EQ(manual_init(&heap, 0), 0);
}

/* end - the heap knows what it gave, though it counted none of it. */
static void end(void)
{
	CHECK_EQ(mcache_allocated(&heap), granted);
	manual_destroy(&heap);
}

/* finish - with the last cache all pages come back. */
static void finish(struct mcache *c)
{
	mcache_close(c);
	CHECK_EQ(used_pages(), 0);
	pageheap_verify(&heap.pageheap);
	end();
}

/* release - as the face does: short where the key fits. */
static void release(struct mcache *c, void *p)
{
	struct slab *s = slab_at(p);
	CHECK_EQ(mcache_check(&heap, s, (uintptr_t)p), BLOCK_OK);
	if (slab_key((uintptr_t)p) != load_relaxed(&s->key))
		mcache_free(c, &heap, s, p);
	else if (slab_push(s, p))
		mcache_count_down(s);
}

TEST(classes)
{
	for (size_t n = 0; n <= MGC_MAX_SMALL; n++) {
		unsigned sc = mcache_class(n);
		size_t have = sizeclass_table[sc].slot_nbytes;
		CHECK(have >= n && have % BLOCK_ALIGN == 0);
		CHECK(n < 1024 ? have - n < 128 : (have - n) * 8 <= have);
	}
	for (size_t align = 16; align <= MGC_MAX_SMALL; align *= 2)
		for (size_t n = 0; n <= MGC_MAX_SMALL; n += 8) {
			unsigned sc = mcache_class_aligned(n, align);
			size_t have = sizeclass_table[sc].slot_nbytes;
			CHECK(sc == 0 ? n > MGC_MAX_SMALL - align : have >= n && have % align == 0);
		}
}

/* shown_to - the class whose slab the short way of that size pops from; 0: none. */
static unsigned shown_to(struct mcache *c, size_t nbytes)
{
	void *p = counted(mcache_pop(c, nbytes));
	if (p == NULL)
		return 0;
	struct slab *s = slab_at(p);
	release(c, p);
	return s->sizeclass;
}

TEST(short_ways_find_the_class)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	CHECK_EQ(mcache_pop(&mcache_none, 1024) == NULL && mcache_pop(&mcache_none, 1025) == NULL, 1);
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++) {
		CHECK_EQ(shown_to(c, sizeclass_table[sc].slot_nbytes), 0);
		release(c, take(c, sc));
	}
	for (size_t n = 0; n <= MGC_MAX_SMALL; n++)
		CHECK_EQ(shown_to(c, n), mcache_class(n));
	CHECK_EQ(shown_to(c, MGC_MAX_SMALL + 1), 0);
	mcache_set_slow(c, true);
	for (size_t n = 0; n <= MGC_MAX_SMALL; n++)
		CHECK_EQ(shown_to(c, n), 0);
	mcache_set_slow(c, false);
	CHECK_EQ(shown_to(c, 5000), mcache_class(5000));
	finish(c);
}

TEST(states)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	unsigned sc = mcache_class(1000);
	uint32_t n = slab_nblocks(sc);
	void *p[128];
	CHECK(n < 128);
	for (uint32_t i = 0; i < n; i++)
		p[i] = take(c, sc);
	struct slab *s = slab_at(p[0]);
	CHECK_EQ(s->state, SLAB_CURRENT);
	void *q = take(c, sc);
	CHECK_EQ(s->state, SLAB_FULL);
	CHECK(slab_at(q) != s && slab_at(q)->state == SLAB_CURRENT);
	for (uint32_t i = 0; i < n; i++) {
		release(c, p[i]);
		CHECK(i + 1 < n ? slab_is_listed(s) : s->state == SLAB_SPARE);
		CHECK(i + 1 == n || slab_used(s) == n - 1 - i);
		CHECK_EQ(i + 1 < n && n - 1 - i <= n / 8, slab_is_sparse(s));
	}
	CHECK_EQ(mcache_check(&heap, s, (uintptr_t)p[0]), BLOCK_TWICE);
	release(c, q);
	mcache_close(c);
	CHECK_EQ(used_pages(), 0);
	CHECK_EQ(mcache_check(&heap, s, (uintptr_t)p[0]), BLOCK_FOREIGN);
	end();
}

TEST(every_class_fills_and_empties)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	static void *p[20000];
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++) {
		size_t nbytes = sizeclass_table[sc].slot_nbytes;
		size_t n = 3 * slab_nblocks(sc) + 1;
		for (size_t i = 0; i < n; i++) {
			p[i] = take(c, sc);
			memset(p[i], (int)sc, nbytes);
			*(size_t *)p[i] = i;
		}
		for (size_t i = 0; i < n; i++)
			CHECK_EQ(*(size_t *)p[i], i);
		for (size_t i = 0; i < n; i++)
			release(c, p[(i * 7919) % n]);
	}
	finish(c);
}

/* Blocks of one cache that another frees: they come back in batches, to the owner, to who adopted the slab, or
 * to nobody. */
TEST(remote_frees)
{
	start();
	struct mcache *owner = mcache_open(&heap, MCACHE_SHARED),
		      *other = mcache_open(&heap, MCACHE_SHARED);
	unsigned sc = mcache_class(64);
	static void *p[4096];
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4096; i++)
			p[i] = take(owner, sc);
		size_t before = used_pages();
		for (int i = 0; i < 4096; i++)
			release(other, p[i]);
		mcache_trim(other);
		mcache_trim(owner);
		CHECK(used_pages() <= SLAB_PAGES && before >= 4 * SLAB_PAGES); /* the current one stays */
	}
	/* the owner ends first */
	for (int i = 0; i < 4096; i++)
		p[i] = take(owner, sc);
	mcache_close(owner);
	CHECK(used_pages() >= 4 * SLAB_PAGES);
	for (int i = 0; i < 4096; i++)
		release(i % 2 ? other : NULL, p[i]);
	mcache_trim(other);
	CHECK_EQ(used_pages(), 0);
	mcache_close(other);
	end();
}

TEST(orphans_are_adopted)
{
	start();
	struct mcache *a = mcache_open(&heap, MCACHE_SHARED), *b = mcache_open(&heap, MCACHE_SHARED);
	unsigned sc = mcache_class(256);
	void *p = take(a, sc);
	struct slab *s = slab_at(p);
	mcache_close(a);
	CHECK_EQ(s->state, SLAB_ORPHAN);
	CHECK_EQ(used_pages(), SLAB_PAGES);
	void *q = take(b, sc);
	CHECK(slab_at(q) == s && s->state == SLAB_CURRENT && s->owner == b && q != p);
	release(b, p);
	release(b, q);
	mcache_close(b);
	CHECK_EQ(used_pages(), 0);
	end();
}

TEST(large)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	bool zero;
	for (size_t nbytes = 33000; nbytes < (size_t)40 << 20; nbytes = nbytes * 5 / 3) {
		char *p = take_large(c, nbytes, 16, &zero);
		CHECK(p != NULL && (uintptr_t)p % SLAB_NBYTES == 0);
		struct slab *s = slab_at(p);
		CHECK(mcache_usable(s) >= nbytes && mcache_usable(s) < nbytes + SLAB_NBYTES);
		if (zero)
			for (size_t i = 0; i < nbytes; i += 512)
				CHECK_EQ(p[i], 0);
		memset(p, 0x5a, nbytes);
		CHECK_EQ(mcache_check(&heap, s, (uintptr_t)p + 16), BLOCK_INSIDE);
		CHECK_EQ(mcache_check(&heap, slab_at(p + SLAB_NBYTES), (uintptr_t)p + SLAB_NBYTES),
			 BLOCK_FOREIGN);
		release(c, p);
	}
	for (size_t align = 32; align <= MGC_ARENA_SIZE / 4; align *= 4) {
		void *p = take_large(c, 100000, align, &zero);
		CHECK(p != NULL && (uintptr_t)p % align == 0);
		release(c, p);
	}
	CHECK(take_large(c, SIZE_MAX / 2, 16, &zero) == NULL);
	finish(c);
}

TEST(large_in_place)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	bool zero;
	char *p = take_large(c, 1 << 20, 16, &zero);
	struct slab *s = slab_at(p);
	memset(p, 1, 1 << 20);
	for (size_t n = 1 << 20; n < (size_t)20 << 20; n += 1 << 20)
		CHECK(mcache_resize_large(&heap, s, n)); /* nothing lies behind */
	memset(p, 2, (size_t)19 << 20);
	CHECK(mcache_resize_large(&heap, s, 100000));
	char *q = take_large(c, 100000, 16, &zero);
	CHECK(q > p && q < p + (1 << 20));
	CHECK(!mcache_resize_large(&heap, s, 1 << 20)); /* now something does */
	CHECK(!mcache_resize_large(&heap, s, SIZE_MAX / 4));
	CHECK_EQ(p[99999], 2);
	release(c, p);
	release(c, q);
	finish(c);
}

static bool is_stamped(const size_t *p, size_t nbytes)
{
	for (size_t i = 0; i < nbytes / sizeof *p; i += 64)
		if (p[i] != i)
			return false;
	return true;
}

static void stamp(size_t *p, size_t nbytes)
{
	for (size_t i = 0; i < nbytes / sizeof *p; i += 64)
		p[i] = i;
}

/* grow_apart - an object of c's grows to 64 MiB by doubling, and cannot stay. How often its pages were moved. */
static unsigned grow_apart(struct mcache *c, bool refuse)
{
	bool zero;
	unsigned nmoved = 0;
	size_t n = (size_t)2 << 20;
	void *after[8];
	size_t *p = take_large(c, n, 16, &zero);
	stamp(p, n);
	for (unsigned i = 0; i < 5; i++, n *= 2) {
		after[i] = take_large(c, n, 16, &zero); /* in the way, and never touched */
		CHECK(!mcache_resize_large(&heap, slab_at(p), 2 * n));
		uint64_t before = os_fake_calls("move");
		if (refuse)
			os_fake_fail("move", 1, 1, EFAULT);
		size_t *q = counted(mcache_move_large(c, slab_at(p), 2 * n));
		CHECK(q != NULL && q != p && is_stamped(q, n));
		CHECK_EQ(mcache_check(&heap, slab_at(p), (uintptr_t)p), BLOCK_FOREIGN);
		CHECK_EQ(mcache_usable(slab_at(q)), 2 * n);
		nmoved += (unsigned)(os_fake_calls("move") - before);
		stamp(q, 2 * n);
		p = q;
	}
	CHECK(mcache_resize_large(&heap, slab_at(p), n / 2));
	CHECK(is_stamped(p, n / 2));
	release(c, p);
	for (unsigned i = 0; i < 5; i++)
		release(c, after[i]);
	return nmoved - (unsigned)os_fake_refused("move");
}

/* Moved pages are not copied, those that the system will not move are; what they leave reads as zero where it is said
 * to; mappings that moves left are undone when there are too many. */
TEST(large_moves)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	bool zero;
	os_fake_start();
	unsigned nmoved = 0;
	for (int round = 0; round < 3; round++)
		nmoved += grow_apart(c, false);
	CHECK(nmoved >= 5);
	if (!MGC_WITH_ASAN && !MGC_WITH_TSAN) /* these copy */
		CHECK(os_fake_calls("renew") >= nmoved);
	if (MGC_HOSTILE)
		CHECK(heap.nmoved <= 5);
	CHECK_EQ(grow_apart(c, true), 0);
	for (size_t n = (size_t)2 << 20; n < (size_t)64 << 20; n *= 2) {
		char *p = take_large(c, n, 16, &zero);
		for (size_t i = 0; zero && i < n; i += 4096)
			CHECK_EQ(p[i], 0);
		memset(p, 1, n);
		release(c, p);
	}
	os_fake_stop();
	finish(c);
}

static size_t advised;

static int count_advice(const char *call, size_t nbytes)
{
	advised += strcmp(call, "advise_huge") == 0 ? nbytes : 0;
	return 0;
}

/* What a large object adds to the heap may stay sparse; what it grows by, in place or elsewhere, and small blocks, do not. */
TEST(huge_pages_where_it_is_dense)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	bool zero, any = os_huge_page_size() != 0;
	heap.pageheap.huge_from_pages = 0;
	os_set_fault_hook(count_advice);
	void *p = take_large(c, (size_t)40 << 20, 16, &zero);
	CHECK(p != NULL);
	CHECK_EQ(advised, 0);
	CHECK(mcache_resize_large(&heap, slab_at(p), (size_t)60 << 20));
	CHECK_EQ(advised != 0, any);
	advised = 0;
	for (size_t n = 0; n < 2 * MGC_CHUNK_SIZE; n += SLAB_NBYTES)
		CHECK(take(c, mcache_class(32768)) != NULL && take(c, mcache_class(32768)) != NULL);
	CHECK_EQ(advised != 0, any);
	CHECK(take_large(c, SLAB_NBYTES, 16, &zero) != NULL);
	advised = 0;
	p = counted(mcache_move_large(c, slab_at(p), (size_t)120 << 20));
	CHECK(p != NULL && (uintptr_t)p % ((size_t)2 << 20) == 0);
	CHECK(advised >= (any ? (size_t)120 << 20 : 0));
	os_set_fault_hook(NULL);
	release(c, p);
	end();
}

/* The first 2 MiB are small pages; what comes next is huge ones. */
TEST(huge_pages_from_2_mib_on)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	size_t bound = (size_t)4 << 20, n = 0;
	size_t small = bound - min_size(bound, MGC_CHUNK_SIZE) / 2;
	bool zero;
	advised = 0;
	os_set_fault_hook(count_advice);
	for (; advised == 0 && n * SLAB_NBYTES < 2 * bound; n++)
		CHECK(take_large(c, SLAB_NBYTES, 16, &zero) != NULL);
	os_set_fault_hook(NULL);
	if (os_huge_page_size() != 0)
		CHECK_EQ(n, small / SLAB_NBYTES + 1);
	end();
}

/* ── many threads at once ───────────────────────────────────────────────────────────────── */

#define NCELLS 512
static void *cells[NCELLS];

static void *churn(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	for (int life = 0; life < 20; life++) {
		struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
		CHECK(c != NULL);
		for (int i = 0; i < (TEST_SLOW ? 500 : 5000); i++) {
			void *p = take(c, (unsigned)rng_below(&r, 8) * 3 + 1);
			CHECK(p != NULL);
			p = __atomic_exchange_n(&cells[rng_below(&r, NCELLS)], p, __ATOMIC_ACQ_REL);
			if (p != NULL)
				release(c, p);
		}
		mcache_close(c);
	}
	return NULL;
}

TEST_SECONDS(threads_come_and_go, 50)
{
	start();
	pthread_t threads[4];
	uint64_t seed = test_seed();
	for (size_t i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)(seed + i)), 0);
	for (size_t i = 0; i < 4; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	for (size_t i = 0; i < NCELLS; i++)
		if (cells[i] != NULL)
			release(NULL, cells[i]);
	CHECK_EQ(used_pages(), 0);
	pageheap_verify(&heap.pageheap);
	end();
}

/* ── refusals ───────────────────────────────────────────────────────────────────────────── */

static int calls_left;

static int refuse_after(const char *call, size_t nbytes)
{
	(void)nbytes;
	if (strcmp(call, "release") == 0 || strncmp(call, "advise", 6) == 0)
		return 0;
	return calls_left-- > 0 ? 0 : ENOMEM;
}

/* One life of a heap, of which some calls get no memory. */
static size_t live_with_refusals(void)
{
	size_t got = 0;
	bool zero;
	granted = 0;
	if (manual_init(&heap, (size_t)1 << 30) != 0)
		return 0;
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	void *p[64] = { NULL };
	for (unsigned i = 0; c != NULL && i < 64; i++) {
		p[i] = i % 8 == 7 ? take_large(c, (size_t)i << 17, 16, &zero) : take(c, i + 1);
		if (p[i] != NULL)
			memset(p[i], 1, mcache_usable(slab_at(p[i])));
		got += p[i] != NULL;
	}
	for (unsigned i = 0; i < 64; i++)
		if (p[i] != NULL)
			release(c, p[i]);
	if (c != NULL)
		mcache_close(c);
	CHECK_EQ(used_pages(), 0);
	pageheap_verify(&heap.pageheap);
	end();
	return got;
}

TEST(nth_call_fails)
{
	os_set_fault_hook(refuse_after);
	size_t got = 0;
	int n = 0;
	for (; got < 64 && n < 500; n++) {
		calls_left = n;
		got = live_with_refusals();
	}
	os_set_fault_hook(NULL);
	CHECK_EQ(got, 64);
	printf("  all is granted after %d calls\n", n);
	CHECK(n > 10);
}

/* ── a limit of the address space ─────────────────────────────────────────────────────────── */

/* live_in - blocks of 1 MiB until there is no more, all of them written to; how many. */
static size_t live_in(struct mcache *c, size_t most)
{
	size_t n = 0;
	uintptr_t *last = NULL, *p;
	bool zero;
	for (; n < most && (p = take_large(c, (size_t)1 << 20, 16, &zero)) != NULL; n++) {
		p[0] = (uintptr_t)last;
		p[100] = n;
		last = p;
	}
	for (size_t i = n; last != NULL; last = p) {
		CHECK_EQ(last[100], --i);
		p = (uintptr_t *)last[0];
		release(c, last);
	}
	return n;
}

static void set_address_limit(rlim_t nbytes)
{
	struct rlimit r;
	CHECK_EQ(getrlimit(RLIMIT_AS, &r), 0);
	r.rlim_cur = nbytes;
	CHECK_EQ(setrlimit(RLIMIT_AS, &r), 0);
}

/* fill_and_lift - under a limit of 160 MiB: as much as there is room for, and then without it `more` beyond that. */
static void fill_and_lift(struct mcache *c, size_t more, size_t before)
{
	size_t n = live_in(c, SIZE_MAX);
	CHECK(n > 80 && n < 160);
	set_address_limit(RLIM_INFINITY);
	CHECK_EQ(live_in(c, n + more), n + more);
	finish(c);
	CHECK(probe_mapped_bytes() < before + ((size_t)1 << 20));
}

/* Of the records only those in use stay, and the table's first, which NULL finds; others come when the heap grows. */
TEST(later_limit)
{
	if (MGC_WITH_ASAN || MGC_WITH_TSAN || PROBE_EMULATED)
		SKIP("a sanitizer's own mappings are most of any limit; an emulator ignores it");
	size_t before = probe_mapped_bytes();
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	CHECK_EQ(live_in(c, 10), 10);
	set_address_limit(before + ((size_t)160 << 20));
	manual_obey(&heap);
	CHECK(heap.records_cut && !heap.pageheap.space.reserved);
	CHECK(probe_mapped_bytes() < before + ((size_t)64 << 20) + 2 * MGC_ARENA_SIZE);
	CHECK_EQ(slab_at(NULL)->key, 0);
	CHECK_EQ(slab_at((void *)heap.pageheap.space.base)->key, 0);
	fill_and_lift(c, 40, before);
}

/* One that is there at the start, and is lifted: the range is as long as it may become, and of the records there are only those
 * in use. */
TEST(limit_at_the_start)
{
	if (MGC_WITH_ASAN || MGC_WITH_TSAN || PROBE_EMULATED || os_address_most() != SIZE_MAX)
		SKIP("as above");
	size_t before = probe_mapped_bytes();
	set_address_limit(before + ((size_t)160 << 20));
	start();
	CHECK(heap.records_cut && !heap.pageheap.space.reserved);
	CHECK(probe_mapped_bytes() < before + ((size_t)32 << 20)); /* the whole table is 1 GiB */
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	CHECK_EQ(slab_at(NULL)->key, 0);
	fill_and_lift(c, 100, before);
}

/* Nobody says that there is one: it is seen when the heap would grow. */
TEST(later_limit_unseen)
{
	if (MGC_WITH_ASAN || MGC_WITH_TSAN || PROBE_EMULATED)
		SKIP("as above");
	size_t before = probe_mapped_bytes();
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	CHECK_EQ(live_in(c, 1), 1);
	set_address_limit(before + ((size_t)160 << 20));
	size_t n = live_in(c, SIZE_MAX);
	CHECK(n > 80 && n < 160);
	finish(c);
}

/* ── sampling ───────────────────────────────────────────────────────────────────────────── */

#define METERED (MGC_HOSTILE ? 4000 : 20000)
#define METERED_RATE (UINT64_C(3) * METERED)

/* alloc_metered - as the face does, with the sampler on; *since counts the allocations of the class since the last one that
 * was due, and that was in *due of them. */
static void *alloc_metered(struct mcache *c, unsigned sc, uint32_t *since, uint32_t *due)
{
	++*since;
	void *p = counted(mcache_pop(c, sizeclass_table[sc].slot_nbytes));
	if (p != NULL)
		return p;
	if (mcache_is_due(c, sc)) {
		CHECK_EQ(*since, *due);
		*since = 0;
		*due = c->due[sc];
		return NULL; /* the face takes another block */
	}
	return take(c, sc);
}

/* live_metered - blocks come and go in a random walk, in turn, or in waves. How many were due. */
static unsigned live_metered(struct mcache *c, unsigned sc, unsigned odds, uint32_t *since, uint32_t *due)
{
	static void *p[METERED];
	struct rng r = { sc * 3 + odds };
	unsigned n = 0, ndue = 0;
	for (int i = 0; i < METERED; i++) {
		unsigned chance = odds != 0 ? odds : i / 500 % 2 == 0 ? 5 : 95;
		bool grow = n == 0 || rng_below(&r, 100) < chance;
		if (!grow) {
			unsigned k = (unsigned)rng_below(&r, n);
			release(c, p[k]);
			p[k] = p[--n];
			continue;
		}
		p[n] = alloc_metered(c, sc, since, due);
		ndue += p[n] == NULL;
		n += p[n] != NULL;
		CHECK(*since <= *due);
	}
	while (n > 0)
		release(c, p[--n]);
	return ndue;
}

/* The short ways count nothing, and yet each allocation that is due comes the slow way: that one, and no other is taken
 * for it. Whole lists are there again when it is over. */
TEST(due_allocations_are_found)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	store_relaxed(&sampler.rate_nbytes, METERED_RATE);
	mcache_meter(c, true);
	const size_t sizes[] = { 16, 64, 400, 5000, 32768 };
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		unsigned sc = mcache_class(sizes[i]), ndue = 0;
		uint32_t since = 0, due = c->due[sc];
		for (unsigned odds = 0; odds < 100; odds += 33)
			ndue += live_metered(c, sc, odds == 99 ? 98 : odds, &since, &due);
		double expected = 2.6 * METERED * (double)sizes[i] / METERED_RATE;
		CHECK(sizes[i] > 5000 || (ndue > expected * 0.7 - 20 && ndue < expected * 1.3 + 20));
		CHECK(ndue > 0);
	}
	struct slab *s = c->current[mcache_class(64)];
	uint32_t nfree = slab_count_free(s, manual_base(&heap, s));
	mcache_meter(c, false);
	CHECK(s->held == &block_end && s->countdown == CURRENT_COUNT);
	CHECK_EQ(slab_count_free(s, manual_base(&heap, s)), nfree);
	store_relaxed(&sampler.rate_nbytes, UINT64_C(0));
	finish(c);
}

/* A child has what the lists of a thread's slabs were cut off. */
TEST(held_blocks_are_inherited)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	store_relaxed(&sampler.rate_nbytes, UINT64_C(65536));
	mcache_meter(c, true);
	unsigned sc = mcache_class(16);
	c->due[sc] = 1000;
	void *p = take(c, sc);
	CHECK(slab_at(p)->held != &block_end);
	release(c, p);
	mcache_after_fork(&heap, NULL, NULL);
	CHECK_EQ(used_pages(), 0);
	store_relaxed(&sampler.rate_nbytes, UINT64_C(0));
	manual_destroy(&heap);
}

/* ── giving back ────────────────────────────────────────────────────────────────────────── */

static void *fill(struct mcache *c, void **p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = take(c, mcache_class(4096));
	return p;
}

TEST(gives_back_and_learns)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	static void *p[8192]; /* 32 MiB */
	struct pageheap_stats st;
	size_t given[3];
	for (int swing = 0; swing < 3; swing++) {
		fill(c, p, 8192);
		for (size_t i = 0; i < 8192; i++)
			release(c, p[i]);
		pageheap_read_stats(&heap.pageheap, &st);
		given[swing] = st.scavenged_nbytes;
	}
	CHECK(given[0] > (size_t)24 << 20); /* nearly all at the first */
	CHECK(given[2] == given[1]); /* and none any more, once it swings */
	heap.giveback.swing_ns -= UINT64_C(11000000000); /* so long ago */
	bool zero;
	release(c, take_large(c, (size_t)3 << 20, 16, &zero));
	pageheap_read_stats(&heap.pageheap, &st);
	CHECK(st.scavenged_nbytes - given[2] > (size_t)24 << 20);
	mcache_close(c);
	end();
}

/* ── holes in slabs, and visits ─────────────────────────────────────────────────────────── */

#define HOLE_BLOCKS 16384
static char *blocks[HOLE_BLOCKS];

/* survives - of the blocks of nbytes each, those that share a byte with the first of sixteen pages. */
static bool survives(uintptr_t p, size_t nbytes)
{
	return p / 4096 % 16 == 0 || (p + nbytes - 1) / 4096 % 16 == 0;
}

static size_t fill_blocks(struct mcache *c, unsigned sc)
{
	size_t nbytes = sizeclass_table[sc].slot_nbytes,
	       n = min_size(4 * slab_nblocks(sc), HOLE_BLOCKS);
	for (size_t i = 0; i < n; i++) {
		blocks[i] = take(c, sc);
		memset(blocks[i], (int)(i | 1), nbytes);
	}
	return n;
}

static size_t count_holes(size_t n)
{
	size_t holes = 0;
	struct slab *last = NULL;
	for (size_t i = 0; i < n; i++) {
		struct slab *s = slab_at(blocks[i]);
		holes += s != last ? bits_count(slab_holes(s)) : 0;
		last = s;
	}
	return holes;
}

/* Each class: seven of eight pages go back, what lives keeps its contents, the holes' blocks are given out again, once
 * each, and all comes home. */
TEST(holes_of_every_class)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++) {
		size_t nbytes = sizeclass_table[sc].slot_nbytes, n = fill_blocks(c, sc), nfreed = 0;
		for (size_t i = 0; i < n; i++)
			if (!survives((uintptr_t)blocks[i], nbytes)) {
				release(c, blocks[i]);
				nfreed++;
			}
		while (!mcache_visit(c, true))
			;
		for (size_t i = 0; i < n; i++)
			if (survives((uintptr_t)blocks[i], nbytes))
				for (size_t k = 0; k < nbytes; k++)
					CHECK_EQ(blocks[i][k], (char)(i | 1));
			else if (slab_is_in_hole(slab_at(blocks[i]),
						 manual_base(&heap, slab_at(blocks[i])),
						 (uintptr_t)blocks[i]))
				CHECK_EQ(mcache_check(&heap, slab_at(blocks[i]), (uintptr_t)blocks[i]),
					 BLOCK_TWICE);
		if (nbytes <= 1024)
			CHECK(count_holes(n) >= n * nbytes / 4096 / 2);
		for (size_t i = 0; i < n; i++)
			if (!survives((uintptr_t)blocks[i], nbytes)) {
				blocks[i] = take(c, sc);
				memset(blocks[i], (int)(i | 1), nbytes);
			}
		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; k < nbytes; k++)
				CHECK_EQ(blocks[i][k], (char)(i | 1));
		for (size_t i = 0; i < n; i++)
			release(c, blocks[i]);
		CHECK(nfreed > 0 || nbytes > 4096);
	}
	mcache_close(c);
	CHECK_EQ(heap.nholes, 0);
	CHECK_EQ(used_pages(), 0);
	end();
}

/* A page between holes becomes one, too, though its first block begins in one of them. */
TEST(hole_between_holes)
{
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	unsigned sc = mcache_class(700);
	size_t each = sizeclass_table[sc].slot_nbytes, n = fill_blocks(c, sc);
	CHECK(4096 % each != 0);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < n; i++) {
			uintptr_t at = (uintptr_t)blocks[i] % SLAB_NBYTES;
			bool late = at != 0 && at / 4096 == 8;
			if (at != 0 && late == (round == 1))
				release(c, blocks[i]);
		}
		while (!mcache_visit(c, true))
			;
		if (MGC_PAGE_SHIFT == 13 && os_page_size() == 4096)
			CHECK_EQ(slab_holes(slab_at(blocks[0])), round == 0 ? 0xfcfe : 0xfffe);
	}
	for (size_t i = 0; i < n; i++)
		if ((uintptr_t)blocks[i] % SLAB_NBYTES == 0)
			release(c, blocks[i]);
	finish(c);
}

/* Who frees slab after slab pays for each slab once: its pages go when he has gone on. All but what may stay go. */
TEST(holes_when_frees_have_gone_on)
{
	enum { SLABS = 200 };
	start();
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	unsigned sc = mcache_class(1024);
	size_t n = SLABS * slab_nblocks(sc);
	CHECK(n <= HOLE_BLOCKS);
	for (size_t i = 0; i < n; i++)
		blocks[i] = take(c, sc);
	os_fake_start();
	for (size_t i = 0; i < n; i++)
		if (!survives((uintptr_t)blocks[i], 1024))
			release(c, blocks[i]);
	size_t wait = ((size_t)4 << 20) / SLAB_NBYTES + MCACHE_NLATELY + 1; /* the last one is current */
	CHECK(os_fake_calls("discard") <= SLABS);
	CHECK(heap.nholes >= (SLABS - wait) * 15);
	CHECK(c->nsparse <= wait && c->nlately <= MCACHE_NLATELY);
	os_fake_stop();
	for (size_t i = 0; i < n; i++)
		if (survives((uintptr_t)blocks[i], 1024))
			release(c, blocks[i]);
	CHECK_EQ(c->nlately, 0);
	finish(c);
}

/* What another thread freed comes home though the owner does nothing: a visit takes the mail. */
TEST(visit_takes_mail)
{
	start();
	struct mcache *owner = mcache_open(&heap, MCACHE_THREAD),
		      *other = mcache_open(&heap, MCACHE_SHARED);
	unsigned sc = mcache_class(256);
	size_t n = fill_blocks(owner, sc), before = used_pages();
	for (size_t i = 0; i < n; i++)
		mcache_free(other, &heap, slab_at(blocks[i]), blocks[i]);
	mcache_trim(other);
	CHECK_EQ(used_pages(), before);
	(void)mcache_visit(owner, false); /* it may have been busy */
	CHECK_EQ(used_pages(), before);
	(void)mcache_visit(owner, false);
	CHECK(used_pages() <= SLAB_PAGES); /* the current one stays */
	owner->inside++; /* its thread is inside: it is left alone */
	fill_blocks(other, sc);
	before = used_pages();
	CHECK(mcache_visit(owner, true));
	CHECK_EQ(owner->visited, 0);
	owner->inside++;
	mcache_close(owner);
	mcache_close(other);
	end();
}

/* Frees that end a countdown, the short way: of such a slab others have freed so many blocks. */
struct last_free {
	struct mcache *owner;
	void *p;
};

/* free_all_but_one - of a slab that is full, n blocks: others so many, the owner the rest but the one in f. */
static void free_all_but_one(struct last_free *f, struct mcache *other, size_t n, size_t theirs)
{
	for (size_t i = 0; i < theirs; i++)
		mcache_free(other, &heap, slab_at(blocks[i]), blocks[i]);
	mcache_trim(other);
	for (size_t i = theirs; i + 1 < n; i++)
		release(f->owner, blocks[i]);
	f->p = blocks[n - 1];
}

static void finish_visited(struct mcache *owner, struct mcache *other)
{
	(void)mcache_visit(owner, true);
	CHECK_EQ(used_pages(), SLAB_PAGES); /* the current one stays */
	mcache_close(other);
	finish(owner);
}

/* fill_one - a slab of that class is full, and the current one is another. How many blocks it has. */
static size_t fill_one(struct mcache *c, unsigned sc)
{
	size_t n = slab_nblocks(sc);
	for (size_t i = 0; i < n; i++)
		blocks[i] = take(c, sc);
	release(c, take(c, sc));
	return n;
}

/* A countdown has run out and its thread has not come to say so: the slab is not empty to a visitor, though others have
 * freed all that is in use. */
TEST(visit_before_the_count)
{
	start();
	struct last_free f = { mcache_open(&heap, MCACHE_THREAD), NULL };
	struct mcache *other = mcache_open(&heap, MCACHE_SHARED);
	size_t n = fill_one(f.owner, mcache_class(1024));
	free_all_but_one(&f, other, n, n / 8);
	struct slab *s = slab_at(f.p);
	CHECK(s->state == SLAB_PARTIAL && s->countdown == 1);
	CHECK(slab_push(s, f.p));
	(void)mcache_visit(f.owner, true);
	CHECK_EQ(s->state, SLAB_PARTIAL);
	mcache_count_down(s);
	CHECK_EQ(s->state, SLAB_SPARSE);
	finish_visited(f.owner, other);
}

#if STEP_WORKS
static struct mcache *stepped;

static void free_last(void *arg)
{
	struct last_free *f = arg;
	struct slab *s = slab_at(f->p);
	if (slab_key((uintptr_t)f->p) != load_relaxed(&s->key))
		mcache_free(f->owner, &heap, s, f->p);
	else if (slab_push(s, f->p))
		mcache_count_down(s);
}

static void visit_stepped(void)
{
	(void)mcache_visit(stepped, true);
}

/* visit_after - so many instructions of the free that ends a countdown. False: it has fewer. */
static bool visit_after(size_t k, unsigned sc, size_t theirs)
{
	start();
	struct last_free f = { mcache_open(&heap, MCACHE_THREAD), NULL };
	struct mcache *other = mcache_open(&heap, MCACHE_SHARED);
	free_all_but_one(&f, other, fill_one(f.owner, sc), theirs);
	stepped = f.owner;
	bool more = step_run(free_last, &f, k, visit_stepped);
	finish_visited(f.owner, other);
	return more;
}

/* A visit between any two instructions of the free of the first block of a slab, of the last one above the floor, and of
 * the last one: the slab goes once. */
TEST_SECONDS(visit_amid_a_free, 50)
{
	unsigned sc = mcache_class(1024);
	size_t n = slab_nblocks(sc), theirs[] = { n - 1, n / 8, 0 };
	for (size_t i = 0; i < 3; i++) {
		size_t k = 0;
		while (visit_after(k, sc, theirs[i]))
			k++;
		printf("  %zu of %zu blocks freed by others: %zu instructions\n", theirs[i], n, k);
		CHECK(k > 20);
	}
}
#endif

#if STEP_WORKS
static size_t nvisits;

static void visit_each_step(void)
{
	if (load_relaxed(&heap.registry_lock.state) == LOCK_FREE) {
		scavenger_visit(&heap);
		nvisits++;
	}
	step_again(1, visit_each_step);
}

static void open_cache(void *c)
{
	*(struct mcache **)c = mcache_open(&heap, MCACHE_THREAD);
}

/* A cache that is being opened is visited after each instruction: it is in the list, and has nothing. */
TEST_SECONDS(visits_of_the_new, 50)
{
	start();
	struct mcache *c[3];
	for (size_t i = 0; i < 3; i++) {
		(void)step_run(open_cache, &c[i], 0, visit_each_step);
		CHECK_EQ(mcache_run_units(c[i]), 0);
	}
	CHECK(nvisits > 100);
	for (size_t i = 0; i < 3; i++)
		mcache_close(c[i]);
	end();
}
#endif

static uint32_t visiting;

static void *visit_all_the_time(void *arg)
{
	while (__atomic_load_n(&visiting, __ATOMIC_ACQUIRE))
		scavenger_visit(arg);
	return NULL;
}

#define WAVE 800

/* waves - of blocks, of which most die, by this thread's hand or another's, so that slabs become sparse; the others
 * are looked at when that is done. */
static void *waves(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	unsigned char *own[WAVE];
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	for (int round = 0; round < 200; round++) {
		unsigned sc = (unsigned)rng_below(&r, 8) * 3 + 1;
		size_t nbytes = sizeclass_table[sc].slot_nbytes, keep = 8 + rng_below(&r, 60);
		for (size_t i = 0; i < WAVE; i++) {
			own[i] = take(c, sc);
			memset(own[i], (int)(i | 1), nbytes);
		}
		for (size_t i = 0; i < WAVE; i++) {
			void *p = own[i];
			if (i % keep != 0 && rng_below(&r, 2) == 0)
				p = __atomic_exchange_n(&cells[rng_below(&r, NCELLS)], p,
							__ATOMIC_ACQ_REL);
			if (i % keep != 0 && p != NULL)
				release(c, p);
		}
		for (size_t i = 0; i < WAVE; i += keep) {
			for (size_t k = 0; k < nbytes; k++)
				CHECK_EQ(own[i][k], (unsigned char)(i | 1));
			release(c, own[i]);
		}
	}
	mcache_close(c);
	return NULL;
}

/* Threads that allocate and free, their own and each other's blocks, while somebody visits them all the time. */
TEST_SECONDS(visits_beside_work, 50)
{
	start();
	visiting = 1;
	pthread_t visitor, t[3];
	CHECK_EQ(pthread_create(&visitor, NULL, visit_all_the_time, &heap), 0);
	for (size_t i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, i == 0 ? churn : waves, (void *)(uintptr_t)(i + 1)),
			 0);
	for (size_t i = 0; i < 3; i++)
		CHECK_EQ(pthread_join(t[i], NULL), 0);
	__atomic_store_n(&visiting, 0, __ATOMIC_RELEASE);
	CHECK_EQ(pthread_join(visitor, NULL), 0);
	struct mcache *c = mcache_open(&heap, MCACHE_THREAD);
	for (size_t i = 0; i < NCELLS; i++)
		if (cells[i] != NULL)
			release(c, cells[i]);
	mcache_close(c);
	CHECK_EQ(used_pages(), 0);
	end();
}
