/* fork_test.c - a threaded program forks all the time while its other threads allocate, free, store and
 * collect; each child goes on with the heap as it was, allocates and collects, and finds it whole. Between
 * the library's preparation and the fork itself nobody else gets into the library. A fork in the middle of a
 * mark does not wait for its end.
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

/* ── in the middle of a mark ────────────────────────────────────────────────────────────── */

/* A large heap of small objects in random order, which takes long to mark: MGC_TEST_MB, or 24 MB. */
struct cell {
	struct cell *next, *other;
	uint64_t sum, pad[5];
};
static struct mgc_type cell_type = { .name = "cell", .size = sizeof(struct cell), .ptr_bytes = 16 };
static struct cell **cells; /* a root */
static size_t ncells;

static void *build_cells(void *arg)
{
	struct rng r = { 99 };
	const char *mb = getenv("MGC_TEST_MB");
	ncells = (mb != NULL ? strtoul(mb, NULL, 10) : TEST_SLOW ? 6 : 24) * 16384;
	CHECK_EQ(mgc_root_add(&cells, sizeof cells, 0), 0);
	mgc_write(&cells, mgc_alloc(ncells * sizeof *cells, NULL, 0));
	for (size_t i = 0; i < ncells; i++) {
		struct cell *c = mgc_new(&cell_type);
		c->sum = (uintptr_t)c ^ i;
		if (i > 0) {
			c->next = cells[rng_below(&r, i)];
			c->other = cells[rng_below(&r, i)];
		}
		mgc_write(&cells[i], c);
	}
	return arg;
}

/* What only a stack that waits keeps, and values that only their keys keep: the cells before. */
#define NBESIDE 500
static uintptr_t waiting[64 + NBESIDE];
static struct mgc_weakmap *values; /* a root */

static struct cell *lone_cell(uint64_t n)
{
	struct cell *c = mgc_new(&cell_type);
	c->sum = (uintptr_t)c ^ n;
	return c;
}

static void *build_beside(void *arg)
{
	struct cell *held[NBESIDE]; /* until the stack waits, it counts for nothing */
	struct mgc_stack *s = mgc_stack_register(waiting, waiting + 64 + NBESIDE);
	CHECK(s != NULL && mgc_root_add(&values, sizeof values, 0) == 0);
	mgc_write(&values, mgc_weakmap_new());
	for (size_t i = 0; i < NBESIDE; i++) {
		held[i] = lone_cell(i);
		waiting[64 + i] = (uintptr_t)held[i];
		CHECK_EQ(mgc_weakmap_set(values, cells[i * (ncells / NBESIDE)], lone_cell(i)), 0);
	}
	mgc_stack_prepare(s, waiting + 64);
	mgc_keep_alive(held);
	return arg;
}

static void check_beside(void)
{
	for (size_t i = 0; i < NBESIDE; i++) {
		struct cell *on_stack = (struct cell *)waiting[64 + i];
		struct cell *value = mgc_weakmap_get(values, cells[i * (ncells / NBESIDE)]);
		CHECK(on_stack->sum == ((uintptr_t)on_stack ^ i));
		CHECK(value != NULL && value->sum == ((uintptr_t)value ^ i));
	}
}

static void check_cells(void)
{
	for (size_t i = 0; i < ncells; i++)
		CHECK(cells[i]->sum == ((uintptr_t)cells[i] ^ i) &&
		      (i == 0 || cells[i]->next->sum != 0));
	check_beside();
}

static void *collect_on(void *arg)
{
	while (__atomic_load_n(&stop, __ATOMIC_RELAXED) == 0)
		mgc_collect();
	return arg;
}

/* free_some - while the cycle runs a free is put off; in the child the object is garbage of the next cycle. */
static void free_some(void)
{
	void *freed[50];
	for (size_t i = 0; i < 50; i++)
		freed[i] = mgc_alloc(i % 10 == 0 ? 50000 : 80, NULL, 0);
	for (size_t i = 0; i < 50; i++)
		mgc_free(freed[i]);
}

static unsigned phase_at_fork;
static double begin_fork, took[1000]; /* us, until the fork itself */

static void check_unmarked(void *arg, struct span *s)
{
	CHECK(span_is_unmarked(arg, s));
}

/* check_trigger - the next cycle does not begin at once. */
static void check_trigger(void)
{
	CHECK(load_relaxed(&runtime.heap.trigger_nbytes) > load_relaxed(&runtime.heap.live_nbytes) / 4);
}

static void mark_child(void)
{
	CHECK_EQ(heap_phase(&runtime.heap), PHASE_OFF);
	check_trigger();
	if (phase_at_fork != PHASE_OFF) /* else spans may be unswept */
		pageheap_each(&runtime.heap.pageheap, check_unmarked, &runtime.heap.pageheap.space);
	heap_verify(&runtime.heap);
	churn(&rings[NTHREADS], nforks, 3000);
	check_cells();
	for (int i = 0; i < 2; i++) {
		mgc_collect();
		heap_verify(&runtime.heap);
		for (size_t n = 0; n < ncells / 8; n++)
			mgc_new(&cell_type); /* in the place of whatever was lost */
		check_cells();
		check_trigger();
	}
	_exit(0);
}

static void quick_child(void)
{
	_exit(0);
}

static void note_window(void)
{
	phase_at_fork = heap_phase(&runtime.heap);
	took[nforks % 1000] = 1e6 * (now_seconds() - begin_fork);
}

__attribute__((constructor)) static void register_first_too(void)
{
	pthread_atfork(note_window, NULL, NULL);
}

static void fork_in(bool in_mark, void (*fn)(void))
{
	while (in_mark && heap_phase(&runtime.heap) != PHASE_MARK)
		usleep(20);
	if (in_mark)
		free_some();
	begin_fork = now_seconds();
	run_child(fn);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void report(const char *what)
{
	size_t n = nforks < 1000 ? nforks : 1000;
	qsort(took, n, sizeof took[0], compare);
	printf("  %s: %zu forks, until all is prepared: median %.0f us, longest %.0f us\n", what, n,
	       took[n / 2], took[n - 1]);
}

/* A fork in the phase MARK has not waited for its end, however slow the machine is. */
TEST_SECONDS(no_fork_waits_for_the_end_of_a_mark, 60)
{
	pthread_t thread;
	unsigned in_mark = 0;
	mgc_root_add(rings, sizeof rings, 0);
	on_thread(build_cells, NULL);
	on_thread(build_beside, NULL);
	mgc_collect();
	for (nforks = 0; nforks < 30; nforks++)
		fork_in(false, quick_child);
	report("outside a cycle");
	double begin = now_seconds();
	mgc_collect();
	double cycle = 1e6 * (now_seconds() - begin);
	until = now_seconds() + test_seconds(0);
	CHECK_EQ(pthread_create(&thread, NULL, collect_on, NULL), 0);
	for (nforks = 0; (in_mark < 12 && nforks < 900) || now_seconds() < until; nforks++) {
		fork_in(true, nforks < 12 ? mark_child : quick_child);
		in_mark += phase_at_fork == PHASE_MARK || phase_at_fork == PHASE_TERM;
	}
	publish(&stop, 1);
	pthread_join(thread, NULL);
	printf("  %u of %u forks within a cycle of %.0f us\n", in_mark, nforks, cycle);
	report("in a mark");
	CHECK(in_mark >= 12);
	check_cells();
	heap_verify(&runtime.heap);
}
