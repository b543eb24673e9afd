/* fork_test.c - a threaded program forks all the time while its other threads allocate, free, store and
 * collect; each child goes on with the heap as it was, allocates and collects, and finds it whole. Between
 * the library's preparation and the fork itself nobody else gets into the library.
 * Each test makes a number of forks, however long they take; MGC_TEST_SECONDS asks for more.
 * not under: thread, address, cross (a child of a threaded program may start no threads under ThreadSanitizer,
 * which says so and dies; AddressSanitizer's allocator may be locked in the child) */
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

static unsigned nforks;

static bool go_on(size_t wanted)
{
	return nforks < wanted || now_seconds() < until;
}

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

static void run_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		fn();
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (status != 0)
		fprintf(stderr, "child %u ended with status %#x\n", nforks, (unsigned)status);
	CHECK_EQ(status, 0);
}

TEST_SECONDS(children_of_a_threaded_program, 60)
{
	pthread_t threads[NTHREADS];
	mgc_root_add(rings, sizeof rings, 0);
	until = now_seconds() + test_seconds(0);
	for (uintptr_t i = 0; i < NTHREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, mutate, (void *)i), 0);
	for (; go_on(60); nforks++) {
		run_child(child);
		churn(&rings[NTHREADS], nforks, 500);
	}
	publish(&stop, 1);
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	mgc_collect();
	heap_verify(&runtime.heap);
	printf("  %u forks\n", nforks);
}

/* ── the gate ───────────────────────────────────────────────────────────────────────────── */

#define NENTRANTS 4

/* Each call of these enters a section, or takes a lock outside one. */
static struct entrant {
	uint64_t ncalls;
	void *slot;
} entrants[NENTRANTS];

static void ignore(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
}

static void enter_somehow(struct entrant *e, size_t kind)
{
	switch (kind) {
	case 0:
		mgc_free(mgc_alloc(60000, NULL, MGC_NOSCAN)); /* zeroes inside its section */
		break;
	case 1:
		mgc_free(mgc_alloc(8192, NULL, 0)); /* one slot to a span: to the central and back */
		break;
	case 2:
		CHECK_EQ(mgc_root_add(&e->slot, sizeof e->slot, 0), 0);
		CHECK_EQ(mgc_root_remove(&e->slot), 0);
		break;
	default: {
		struct node *n = mgc_new(&node_type);
		CHECK_EQ(mgc_finalizer_set(n, ignore, NULL), 0);
		CHECK_EQ(mgc_finalizer_set(n, NULL, NULL), 0);
	}
	}
}

static void *enter(void *arg)
{
	size_t me = (uintptr_t)arg;
	while (__atomic_load_n(&stop, __ATOMIC_RELAXED) == 0) {
		enter_somehow(&entrants[me], me);
		__atomic_fetch_add(&entrants[me].ncalls, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static bool window_open;
static unsigned nwindows, npassed;

/* in_window - registered before the library's handlers, so it runs after them: the gate is closed. Who
 * waits at it may have to finish the call that it was in; who gets through makes hundreds. The forking
 * thread itself passes. */
static void in_window(void)
{
	uint64_t before[NENTRANTS];
	if (!window_open)
		return;
	for (size_t i = 0; i < NENTRANTS; i++)
		before[i] = __atomic_load_n(&entrants[i].ncalls, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 8; i++) {
		usleep(250);
		mgc_free(mgc_alloc(i < 4 ? 100000 : 8192, NULL, 0));
		mgc_collect();
	}
	for (size_t i = 0; i < NENTRANTS; i++)
		npassed += __atomic_load_n(&entrants[i].ncalls, __ATOMIC_RELAXED) > before[i] + 1;
	nwindows++;
}

__attribute__((constructor)) static void register_first(void)
{
	pthread_atfork(in_window, NULL, NULL);
}

static void gate_child(void)
{
	window_open = false;
	for (size_t i = 0; i < 400; i++)
		enter_somehow(&entrants[i % NENTRANTS], i % 2 * 3);
	for (size_t nbytes = 16; nbytes <= 100000; nbytes += nbytes / 4)
		CHECK(mgc_alloc(nbytes, NULL, 0) != NULL);
	mgc_collect();
	heap_verify(&runtime.heap);
	_exit(0);
}

/* wait_passed - the gate opened again, for each. */
static void wait_passed(void)
{
	uint64_t before[NENTRANTS];
	for (size_t i = 0; i < NENTRANTS; i++)
		before[i] = __atomic_load_n(&entrants[i].ncalls, __ATOMIC_RELAXED);
	for (size_t i = 0; i < NENTRANTS; i++)
		while (__atomic_load_n(&entrants[i].ncalls, __ATOMIC_RELAXED) == before[i])
			usleep(500);
}

TEST_SECONDS(nobody_enters_between_preparation_and_fork, 60)
{
	pthread_t threads[NENTRANTS];
	mgc_thread_attach();
	until = now_seconds() + test_seconds(0);
	for (uintptr_t i = 0; i < NENTRANTS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, enter, (void *)i), 0);
	window_open = true;
	for (; go_on(12); nforks++) {
		run_child(gate_child);
		CHECK_EQ(npassed, 0);
		wait_passed();
	}
	window_open = false;
	publish(&stop, 1);
	for (size_t i = 0; i < NENTRANTS; i++)
		pthread_join(threads[i], NULL);
	printf("  %u forks\n", nforks);
	CHECK_EQ(nwindows, nforks);
}
