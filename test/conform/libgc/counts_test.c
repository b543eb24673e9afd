/* counts_test.c - sums since the last collection are sums, wherever a collection comes between two instructions of who asks.
 * links: libgc
 * not under: thread, cross */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include "lib/plain.h"
#include "lib/step.h"

#include <gc.h>

#define NBYTES ((size_t)1 << 20)
#define WAIT_US 20000 /* it may wait for a lock that the interrupted one holds */

#if STEP_WORKS
static uint32_t nasked, nanswered;

/* collector - allocates, frees and collects each time that it is asked to. */
static void *collector(void *arg)
{
	for (uint32_t n = 1;; n++) {
		spin_until(&nasked, n);
		GC_free(GC_malloc_atomic(NBYTES));
		GC_gcollect();
		publish(&nanswered, n);
	}
	return arg;
}

static void collect_now(void)
{
	uint32_t n = nasked + 1;
	if (__atomic_load_n(&nanswered, __ATOMIC_ACQUIRE) != nasked)
		return; /* still at the last one */
	publish(&nasked, n);
	for (int us = 0; us < WAIT_US && __atomic_load_n(&nanswered, __ATOMIC_ACQUIRE) != n; us += 100)
		usleep(100);
}

struct question {
	size_t (*ask)(void);
	size_t answer;
};

static void ask(void *arg)
{
	struct question *q = arg;
	q->answer = q->ask();
}

static size_t ask_prof_stats(void)
{
	struct GC_prof_stats_s s;
	GC_get_prof_stats(&s, sizeof s);
	return s.expl_freed_bytes_since_gc > s.bytes_allocd_since_gc ? s.expl_freed_bytes_since_gc
								     : s.bytes_allocd_since_gc;
}

/* ask_at_each - in a blocked thread, which no collection waits for. */
static void *ask_at_each(void *arg)
{
	struct question *q = arg;
	for (size_t k = 0; step_run(ask, q, k, collect_now); k++) {
		if (q->answer > 64 * NBYTES)
			printf("  %zd behind instruction %zu\n", q->answer, k);
		CHECK(q->answer <= 64 * NBYTES);
	}
	return NULL;
}

TEST_SECONDS(since_the_last_collection_nothing_is_less_than_nothing, 120)
{
	static size_t (*const asks[])(void) = { GC_get_expl_freed_bytes_since_gc,
						GC_get_bytes_since_gc, ask_prof_stats };
	pthread_t t;
	GC_INIT();
	CHECK_EQ(GC_pthread_create(&t, NULL, collector, NULL), 0);
	for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
		struct question q = { asks[i], 0 };
		asks[i](); /* what is bound at the first call */
		GC_do_blocking(ask_at_each, &q);
	}
	printf("  %u collections\n", nanswered);
}
#else
TEST(since_the_last_collection_nothing_is_less_than_nothing)
{
	SKIP("no single steps here");
}
#endif
