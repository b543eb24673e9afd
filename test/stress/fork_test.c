/* fork_test.c - a threaded program forks all the time while its other threads allocate, free, store and
 * collect; each child goes on with the heap as it was, allocates and collects, and finds it whole.
 * not under: thread, cross */
#include "lib/plain.h"
#include "mallocgc.h"

#include "face/runtime.h"

struct node {
	struct node *next;
	uint64_t key, check;
};
static struct mgc_type node_type = { .name = "node", .size = sizeof(struct node), .ptr_bytes = 8 };

static uint32_t stop;
static double until;

#define NTHREADS 4
static struct node *rings[NTHREADS + 1];

static bool sound(const struct node *n)
{
	size_t length = 0;
	for (; n != NULL; n = n->next, length++)
		if (n->check != ~n->key)
			return false;
	return length > 0;
}

static void churn(struct node **ring, uint64_t seed, int rounds)
{
	struct rng r = { seed };
	for (int i = 0; i < rounds; i++) {
		struct node *n = mgc_new(&node_type);
		CHECK(n != NULL && n->key == 0 && n->check == 0);
		n->key = rng_next(&r);
		n->check = ~n->key;
		n->next = i % 500 == 0 ? NULL : *ring;
		mgc_write(ring, n);
		if (i % 7 == 0)
			mgc_free(mgc_alloc(rng_below(&r, 3000) + 16, NULL, 0));
		if (i % 900 == 0)
			mgc_alloc(200000, NULL, MGC_NOSCAN);
	}
}

static void *mutate(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	for (uint64_t round = 0; __atomic_load_n(&stop, __ATOMIC_RELAXED) == 0; round++) {
		churn(&rings[me], round * 31 + me, 3000);
		if (round % 4 == me)
			mgc_collect();
	}
	return NULL;
}

static void child(void)
{
	alarm(20);
	for (int i = 0; i < NTHREADS; i++)
		CHECK(rings[i] == NULL || sound(rings[i]));
	churn(&rings[NTHREADS], 7, 5000);
	mgc_collect();
	churn(&rings[NTHREADS], 8, 2000);
	mgc_collect();
	for (int i = 0; i <= NTHREADS; i++)
		CHECK(rings[i] == NULL || sound(rings[i]));
	heap_verify(&runtime.heap);
	_exit(0);
}

TEST_SECONDS(children_of_a_threaded_program, 60)
{
	pthread_t threads[NTHREADS];
	int forks = 0;
	mgc_root_add(rings, sizeof rings, 0);
	until = now_seconds() + test_seconds(4);
	for (uintptr_t i = 0; i < NTHREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, mutate, (void *)i), 0);
	for (; now_seconds() < until; forks++) {
		int status;
		pid_t pid = fork();
		if (pid == 0)
			child();
		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
		if (status != 0)
			fprintf(stderr, "child %d ended with status %#x\n", forks, (unsigned)status);
		CHECK_EQ(status, 0);
		churn(&rings[NTHREADS], (uint64_t)forks, 500);
	}
	publish(&stop, 1);
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	mgc_collect();
	heap_verify(&runtime.heap);
	printf("  %d forks\n", forks);
	CHECK(forks > 3);
}
