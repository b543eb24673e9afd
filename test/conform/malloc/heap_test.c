/* heap_test.c - regions: blocks as malloc's, freed one by one or all at once; what they count; mistakes.
 * links: malloc */
#include "lib/plain.h"

#include <malloc.h>
#include <mallocgc-heap.h>
#include <sys/resource.h>

static size_t in_use(void)
{
	return mallinfo2().uordblks;
}

static struct mgc_heap_stats stats_of(struct mgc_heap *h)
{
	struct mgc_heap_stats st = { .struct_size = sizeof st };
	CHECK_EQ(mgc_heap_read_stats(h, &st), 0);
	return st;
}

TEST(all_at_once)
{
	size_t before = in_use();
	for (int round = 0; round < 5; round++) {
		struct mgc_heap *h = mgc_heap_create();
		CHECK(h != NULL);
		size_t n = 0, nbytes = 0;
		for (size_t i = 0; i < 30000; i++) {
			size_t size = i % 500 == 0 ? i * 10 : i % 3000;
			char *p = mgc_heap_malloc(h, size);
			CHECK(p != NULL && (uintptr_t)p % 16 == 0 && malloc_usable_size(p) >= size);
			memset(p, (int)i, size);
			n++;
			nbytes += malloc_usable_size(p);
		}
		struct mgc_heap_stats st = stats_of(h);
		CHECK_EQ(st.nblocks, n);
		CHECK_EQ(st.used_nbytes, nbytes);
		CHECK(st.held_nbytes >= nbytes);
		mgc_heap_destroy(h);
		CHECK(in_use() < before + 10000);
	}
	mgc_heap_destroy(NULL);
}

TEST(one_by_one)
{
	struct mgc_heap *h = mgc_heap_create();
	struct rng r = { test_seed() };
	static unsigned char *p[2000];
	static size_t size[2000];
	size_t live = 0;
	for (int i = 0; i < 200000; i++) {
		size_t k = rng_below(&r, 2000);
		if (p[k] != NULL)
			CHECK(size[k] == 0 ||
			      (p[k][0] == (k & 0xff) && p[k][size[k] - 1] == (k & 0xff)));
		if (p[k] != NULL && rng_below(&r, 3) != 0) {
			mgc_heap_free(h, p[k]);
			p[k] = NULL;
			live--;
			continue;
		}
		live += p[k] == NULL;
		size[k] = rng_below(&r, rng_below(&r, 50) == 0 ? 300000 : 600) + 1;
		p[k] = mgc_heap_realloc(h, p[k], size[k]);
		CHECK(p[k] != NULL);
		memset(p[k], (int)k, size[k]);
	}
	CHECK_EQ(stats_of(h).nblocks, live);
	for (size_t k = 0; k < 2000; k++)
		CHECK(mgc_heap_realloc(h, p[k], 0) == NULL || p[k] == NULL);
	mgc_heap_destroy(h);
}

TEST(edges)
{
	struct mgc_heap *h = mgc_heap_create();
	volatile size_t most = SIZE_MAX;
	errno = 0;
	CHECK(mgc_heap_malloc(h, most) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(mgc_heap_calloc(h, most, 2) == NULL && errno == ENOMEM);
	CHECK(mgc_heap_aligned_alloc(h, 24, 100) == NULL && errno == EINVAL);
	for (size_t align = 16; align <= 1 << 20; align *= 2) {
		void *p = mgc_heap_aligned_alloc(h, align, 100);
		CHECK(p != NULL && (uintptr_t)p % align == 0);
	}
	for (size_t n = 1; n < 1000000; n *= 3) {
		unsigned char *p = mgc_heap_calloc(h, 1, n);
		CHECK(p != NULL && p[0] == 0 && p[n / 2] == 0 && p[n - 1] == 0);
	}
	unsigned char *grown = mgc_heap_malloc(h, 1 << 20), *large = grown;
	for (size_t n = 1 << 20; n <= (size_t)16 << 20; n *= 2) {
		grown = mgc_heap_realloc(h, grown, n);
		CHECK(grown == large); /* nothing is behind it */
		CHECK(n == 1 << 20 || (grown[0] == 7 && grown[n / 2 - 1] == 7));
		memset(grown, 7, n);
	}
	grown = mgc_heap_realloc(h, grown, 2 << 20);
	CHECK(grown == large && grown[(2 << 20) - 1] == 7);
	mgc_heap_free(h, NULL);
	struct mgc_heap_stats st = { .struct_size = 1 };
	CHECK_EQ(mgc_heap_read_stats(h, &st), EINVAL);
	mgc_heap_destroy(h);
}

/* What becomes smaller stays where it is when there is no memory for another block. */
TEST(shrinks_where_there_is_no_memory)
{
#ifdef TEST_EMULATED
	SKIP("an emulator ignores it");
#endif
	static void *volatile kept;
	struct rlimit all, r;
	struct mgc_heap *h = mgc_heap_create();
	unsigned char *p = mgc_heap_malloc(h, 100000);
	CHECK(p != NULL);
	memset(p, 7, 1000);
	CHECK_EQ(getrlimit(RLIMIT_AS, &all), 0);
	r = all;
	r.rlim_cur = (rlim_t)300 << 20;
	CHECK_EQ(setrlimit(RLIMIT_AS, &r), 0);
	for (size_t n = (size_t)32 << 20; n >= 800; n /= 32)
		while (kept = mgc_heap_malloc(h, n), kept != NULL)
			;
	errno = 5;
	CHECK(mgc_heap_realloc(h, p, 900) == p && p[0] == 7 && p[899] == 7);
	CHECK_EQ(errno, 5);
	CHECK_EQ(setrlimit(RLIMIT_AS, &all), 0);
	mgc_heap_destroy(h);
}

/* Threads take heaps from each other, and leave some with blocks in them behind. */
static struct mgc_heap *shared[8];

static void *work(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	for (int i = 0; i < 300; i++) {
		struct mgc_heap *h = mgc_heap_create();
		CHECK(h != NULL);
		for (int k = 0; k < 200; k++)
			memset(mgc_heap_malloc(h, 100), 1, 100);
		h = __atomic_exchange_n(&shared[rng_below(&r, 8)], h, __ATOMIC_ACQ_REL);
		if (h != NULL) {
			mgc_heap_free(h, mgc_heap_malloc(h, 100));
			mgc_heap_destroy(h);
		}
	}
	return NULL;
}

TEST(threads)
{
	pthread_t t[3];
	for (size_t i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, work, (void *)(i + 1)), 0);
	for (size_t i = 0; i < 3; i++)
		CHECK_EQ(pthread_join(t[i], NULL), 0);
	for (size_t i = 0; i < 8; i++)
		mgc_heap_destroy(shared[i]);
}

static void free_of_heap(void *arg)
{
	void *volatile p = mgc_heap_malloc(mgc_heap_create(), (size_t)arg);
	free(p);
}

static void heap_of_free(void *arg)
{
	mgc_heap_free(mgc_heap_create(), malloc((size_t)arg));
}

static void other_heap(void *arg)
{
	mgc_heap_free(mgc_heap_create(), mgc_heap_malloc(mgc_heap_create(), (size_t)arg));
}

TEST(mistakes)
{
	CHECK_DIES(free_of_heap, (void *)100, "use mgc_heap_free");
	CHECK_DIES(free_of_heap, (void *)100000, "use mgc_heap_free");
	CHECK_DIES(heap_of_free, (void *)100, "not of this heap");
	CHECK_DIES(heap_of_free, (void *)100000, "not of this heap");
	CHECK_DIES(other_heap, (void *)100, "not of this heap");
	CHECK_DIES(other_heap, (void *)100000, "not of this heap");
}
