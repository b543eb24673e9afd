/* malloc_model_test.c - millions of random calls from many threads against what they must leave true: live
 * blocks do not overlap, keep their contents, are aligned and as long as they say; calloc's are zero. Blocks
 * pass between threads, threads come and go.
 * links: malloc */
#include "lib/plain.h"

#include <malloc.h>

#define NSLOTS 4096
#define NTHREADS 4
#define NGENERATIONS 6

/* A live block. Its bytes are all `fill`; words at both ends carry its own address, so that two that overlap
 * cannot both be right. */
struct live {
	unsigned char *p;
	size_t nbytes;
	unsigned char fill;
};

/* Where threads leave blocks for each other. */
static struct live *exchange[NSLOTS]; /* atomic; pairs: the exchange itself */

static size_t pick_size(struct rng *r)
{
	switch (rng_below(r, 16)) {
	case 0:
		return rng_below(r, 2) == 0 ? 0 : rng_below(r, 100000);
	case 1:
		return rng_below(r, 40) == 0 ? rng_below(r, 3 << 20) : rng_below(r, 40000);
	case 2:
	case 3:
		return rng_below(r, 8192);
	default:
		return rng_below(r, 400);
	}
}

/* What is looked at of a large block: its ends. */
static size_t looked_at(size_t nbytes)
{
	return nbytes < 512 ? nbytes : 256;
}

static void fill(struct live *b)
{
	size_t n = looked_at(b->nbytes);
	memset(b->p, b->fill, n);
	memset(b->p + b->nbytes - n, b->fill, n);
	if (b->nbytes >= 16)
		memcpy(b->p + b->nbytes - 8, &b->p, 8);
}

/* check_start - the first bytes, up to `upto`, are as they were filled. */
static void check_start(const struct live *b, size_t upto)
{
	size_t n = looked_at(b->nbytes), end = b->nbytes >= 16 ? b->nbytes - 8 : b->nbytes;
	for (size_t i = 0; i < n && i < end && i < upto; i++)
		CHECK_EQ(b->p[i], b->fill);
}

static void check_fill(const struct live *b)
{
	size_t n = looked_at(b->nbytes), end = b->nbytes >= 16 ? b->nbytes - 8 : b->nbytes;
	check_start(b, b->nbytes);
	for (size_t i = b->nbytes - n; i < end; i++)
		CHECK_EQ(b->p[i], b->fill);
	if (end != b->nbytes)
		CHECK(memcmp(b->p + end, &b->p, 8) == 0);
}

static void allocate(struct rng *r, struct live *b)
{
	size_t align = 16, nbytes = pick_size(r);
	b->nbytes = nbytes;
	b->fill = (unsigned char)(rng_next(r) | 1);
	switch (rng_below(r, 8)) {
	case 0:
		b->p = calloc(nbytes / 8 + 1, 8);
		b->nbytes = (nbytes / 8 + 1) * 8;
		CHECK(b->p != NULL);
		for (size_t i = 0; i < b->nbytes; i++)
			CHECK_EQ(b->p[i], 0);
		break;
	case 1:
		align = (size_t)16 << rng_below(r, rng_below(r, 16) == 0 ? 14 : 6);
		b->p = aligned_alloc(align, nbytes);
		break;
	default:
		b->p = malloc(nbytes);
	}
	CHECK(b->p != NULL);
	CHECK_EQ((uintptr_t)b->p % align, 0);
	CHECK(malloc_usable_size(b->p) >= b->nbytes);
	b->nbytes = rng_below(r, 4) == 0 ? malloc_usable_size(b->p) : b->nbytes;
	fill(b);
}

static void release(struct live *b)
{
	check_fill(b);
	free(b->p);
	b->p = NULL;
}

static void resize(struct rng *r, struct live *b)
{
	size_t nbytes = pick_size(r) + 1;
	check_fill(b);
	b->p = realloc(b->p, nbytes);
	CHECK(b->p != NULL);
	check_start(b, nbytes);
	b->nbytes = nbytes;
	fill(b);
}

/* trade - leaves a block where another thread finds it, and takes what is there. */
static void trade(struct rng *r, struct live *b)
{
	struct live *mine = NULL;
	if (b->p != NULL) {
		mine = malloc(sizeof *mine);
		CHECK(mine != NULL);
		*mine = *b;
		b->p = NULL;
	}
	mine = __atomic_exchange_n(&exchange[rng_below(r, NSLOTS)], mine, __ATOMIC_ACQ_REL);
	if (mine != NULL) {
		*b = *mine;
		free(mine);
	}
}

static size_t ncalls;

static void *work(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	size_t nslots = 1 + rng_below(&r, 3000), n = rng_below(&r, TEST_SLOW ? 20000 : 200000);
	struct live *slots = calloc(nslots, sizeof *slots);
	CHECK(slots != NULL);
	for (size_t i = 0; i < n; i++) {
		struct live *b = &slots[rng_below(&r, nslots)];
		if (rng_below(&r, 8) == 0)
			trade(&r, b);
		else if (b->p == NULL)
			allocate(&r, b);
		else if (rng_below(&r, 8) == 0)
			resize(&r, b);
		else
			release(b);
	}
	for (size_t i = 0; i < nslots; i++) {
		if (slots[i].p != NULL && rng_below(&r, 2) == 0)
			trade(&r, &slots[i]);
		if (slots[i].p != NULL)
			release(&slots[i]);
	}
	free(slots);
	__atomic_fetch_add(&ncalls, n, __ATOMIC_RELAXED);
	return NULL;
}

TEST_SECONDS(random_calls, 50)
{
	uint64_t seed = test_seed();
	for (size_t g = 0; g < NGENERATIONS; g++) {
		pthread_t threads[NTHREADS];
		for (size_t i = 0; i < NTHREADS; i++)
			CHECK_EQ(pthread_create(&threads[i], NULL, work,
						(void *)(uintptr_t)(seed + g * NTHREADS + i)),
				 0);
		for (size_t i = 0; i < NTHREADS; i++)
			CHECK_EQ(pthread_join(threads[i], NULL), 0);
	}
	for (size_t i = 0; i < NSLOTS; i++) {
		if (exchange[i] != NULL)
			release(exchange[i]);
		free(exchange[i]);
	}
	printf("  %zu calls\n", ncalls);
}
