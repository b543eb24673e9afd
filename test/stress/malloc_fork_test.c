/* malloc_fork_test.c - a program forks all the time while its threads allocate with the malloc face, hand each other blocks
 * and free them. Each child finds every block that was handed on whole, frees it, and goes on with the heap, in more
 * threads, too; its child does as well. The same runs with MGC_DEBUG=secure=1 (stress/malloc_fork-secure), where
 * memory that is not as it should be ends the process.
 * links: malloc
 * not under: thread, address, cross */
#include "lib/plain.h"

#define NTHREADS 3
#define NSLOTS 256

/* What a block holds: how long it is, and bytes that follow from `seed`. */
struct filled {
	size_t nbytes;
	uint64_t seed;
	unsigned char bytes[];
};

static struct filled *slot[NSLOTS]; /* atomic */
static uint32_t stop;

static struct filled *fill(struct rng *r)
{
	static const size_t most[] = { 100, 1000, 30000, 300000 };
	size_t kind = rng_below(r, 64);
	size_t n = rng_below(r, most[kind < 40 ? 0 : kind < 60 ? 1 : kind < 63 ? 2 : 3]);
	struct filled *f = calloc(1, sizeof *f + n);
	CHECK(f != NULL);
	for (size_t i = 0; i < n; i += 64)
		CHECK_EQ(f->bytes[i], 0);
	f->nbytes = n;
	f->seed = rng_next(r);
	memset(f->bytes, (int)(f->seed & 0xff), n);
	if (kind % 8 == 0) {
		f->nbytes = n / 2;
		f = realloc(f, sizeof *f + n / 2);
	}
	return f;
}

static void empty(struct filled *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->nbytes; i++)
		CHECK_EQ(f->bytes[i], (unsigned char)f->seed);
	free(f);
}

static void exchange(struct rng *r, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		struct filled *f = fill(r);
		empty(__atomic_exchange_n(&slot[rng_below(r, NSLOTS)], f, __ATOMIC_ACQ_REL));
	}
}

static void *live(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	while (__atomic_load_n(&stop, __ATOMIC_RELAXED) == 0)
		exchange(&r, 100);
	return NULL;
}

static void *live_shortly(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	exchange(&r, 300);
	return NULL;
}

/* take_over - a child's first thing: all that was handed on is there. */
static void take_over(struct rng *r)
{
	for (size_t i = 0; i < NSLOTS; i++)
		empty(slot[i]);
	memset(slot, 0, sizeof slot);
	exchange(r, 300);
}

static void in_child(struct rng *r, bool again)
{
	pthread_t t;
	int status = 0;
	take_over(r);
	CHECK_EQ(pthread_create(&t, NULL, live_shortly, (void *)(uintptr_t)rng_next(r)), 0);
	exchange(r, 300);
	pid_t pid = again ? fork() : 1;
	if (pid == 0) {
		take_over(r);
		_exit(0);
	}
	CHECK(!again || (pid > 0 && waitpid(pid, &status, 0) == pid));
	CHECK_EQ(status, 0);
	pthread_join(t, NULL);
	_exit(0);
}

TEST_SECONDS(children_go_on, 60)
{
	pthread_t threads[NTHREADS];
	struct rng r = { test_seed() };
	double until = now_seconds() + test_seconds(0);
	unsigned nforks = 0;
	for (uintptr_t i = 0; i < NTHREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, live, (void *)(uintptr_t)rng_next(&r)), 0);
	for (; nforks < (TEST_SLOW ? 12 : 60) || now_seconds() < until; nforks++) {
		int status;
		pid_t pid = fork();
		if (pid == 0)
			in_child(&r, nforks % 4 == 0);
		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
		CHECK_EQ(status, 0);
		exchange(&r, 100);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < NSLOTS; i++)
		empty(slot[i]);
	printf("  %u forks\n", nforks);
}
