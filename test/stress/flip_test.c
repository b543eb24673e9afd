/* flip_test.c - while a cycle ends nobody sweeps: large objects are allocated all the time, for whose pages
 * spans are swept, beside collections; small objects must stay what they are. (A span that is swept between the
 * marks becoming valid and the new sweep generation would be swept twice, and its objects be free.) */
#include "lib/plain.h"
#include "mallocgc.h"

#include "face/runtime.h"

#define NTHREADS 3
#define NKEPT 400

struct node {
	struct node *next;
	uint64_t key, check;
};
static struct mgc_type node_type = { .name = "node", .size = sizeof(struct node), .ptr_bytes = 8 };
static struct node *kept[NTHREADS][NKEPT]; /* roots */
static uint32_t stop;

static void check_kept(size_t me)
{
	for (size_t i = 0; i < NKEPT; i++)
		CHECK(kept[me][i] == NULL || kept[me][i]->check == ~kept[me][i]->key);
}

static void *allocate(void *arg)
{
	size_t me = (uintptr_t)arg;
	struct rng r = { me + 1 };
	for (uint64_t n = 0; __atomic_load_n(&stop, __ATOMIC_RELAXED) == 0; n++) {
		struct node *x = mgc_new(&node_type);
		x->key = rng_next(&r);
		x->check = ~x->key;
		mgc_write(&kept[me][rng_below(&r, NKEPT)], x);
		/* often no free run of pages is long enough for it */
		mgc_alloc(40000 + rng_below(&r, (size_t)1 << (16 + n % 8)), NULL, MGC_NOSCAN);
		if (n % 16 == 0)
			check_kept(me);
	}
	return NULL;
}

TEST_SECONDS(large_objects_while_cycles_end, 60)
{
	pthread_t threads[NTHREADS];
	double until = now_seconds() + test_seconds(1);
	mgc_root_add(kept, sizeof kept, 0);
	for (uintptr_t i = 0; i < NTHREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, allocate, (void *)i), 0);
	while (now_seconds() < until)
		mgc_collect();
	publish(&stop, 1);
	for (size_t i = 0; i < NTHREADS; i++) {
		pthread_join(threads[i], NULL);
		check_kept(i);
	}
	mgc_collect();
	heap_verify(&runtime.heap);
}
