/* keys_test.c - a program that took every thread-specific key before it first allocated still has a malloc, in all its
 * threads: nothing tells of a thread's end then, so none has a cache of its own.
 * links: malloc
 * not under: thread, address */
#include "lib/plain.h"

static unsigned nkeys;

__attribute__((constructor(101))) static void take_all(void)
{
	pthread_key_t key;
	while (pthread_key_create(&key, NULL) == 0)
		nkeys++;
}

static void *live(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	static char *slot[64];
	for (int i = 0; i < 20000; i++) {
		size_t n = rng_below(&r, i % 100 == 0 ? 200000 : 2000) + 1;
		char *p = i % 3 == 0 ? calloc(1, n) : realloc(malloc(n / 2), n);
		CHECK(p != NULL);
		memset(p, (int)n, n);
		free(__atomic_exchange_n(&slot[rng_below(&r, 64)], p, __ATOMIC_ACQ_REL));
	}
	return NULL;
}

TEST(malloc_without_a_key)
{
	pthread_t t[3];
	pthread_key_t key;
	CHECK(nkeys > 900 && pthread_key_create(&key, NULL) != 0);
	for (uintptr_t i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, live, (void *)(i + 1)), 0);
	live((void *)9);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_join(t[i], NULL), 0);
}
