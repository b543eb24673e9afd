/* shared_spans_test.c - threads that have a few objects of each of many layouts: they share spans, so
 * memory follows the objects and not threads × layouts; what one thread has not handed out yet survives
 * the others' frees, exits and collections.
 * links: mallocgc */
#include "lib/plain.h"
#include "mallocgc.h"

#define NTHREADS 64
#define NLAYOUTS 200
#define NWORDS 8

/* A layout for each k in 1 … NLAYOUTS: word i holds a pointer where bit i of k is set. */
static uint8_t masks[NLAYOUTS + 1];
static struct mgc_type types[NLAYOUTS + 1];
static struct mgc_type leaf_type = { .name = "leaf", .size = 2 * sizeof(uint64_t) };

static void make_types(void)
{
	setenv("MGC_DEBUG", "verify=1", 0);
	for (unsigned k = 1; k <= NLAYOUTS; k++) {
		masks[k] = (uint8_t)k;
		types[k] = (struct mgc_type){ .name = "wide",
					      .size = NWORDS * sizeof(uint64_t),
					      .ptr_bytes = NWORDS * sizeof(uint64_t),
					      .ptr_mask = &masks[k] };
	}
}

/* An object keeps a leaf in each pointer word and a number in the others. */
static uint64_t *make_object(unsigned k, uint64_t stamp)
{
	uint64_t *p = mgc_new(&types[k]);
	CHECK(p != NULL);
	for (unsigned i = 0; i < NWORDS; i++) {
		CHECK_EQ(p[i], 0);
		if (!(k >> i & 1)) {
			p[i] = stamp + i;
			continue;
		}
		uint64_t *leaf = mgc_new(&leaf_type);
		CHECK(leaf != NULL && leaf[0] == 0 && leaf[1] == 0);
		leaf[0] = leaf[1] = stamp + i;
		mgc_write(&p[i], leaf);
	}
	return p;
}

static void check_object(const uint64_t *p, unsigned k, uint64_t stamp)
{
	for (unsigned i = 0; i < NWORDS; i++) {
		const uint64_t *leaf = (const uint64_t *)p[i];
		if (k >> i & 1)
			CHECK(leaf[0] == stamp + i && leaf[1] == stamp + i);
		else
			CHECK_EQ(p[i], stamp + i);
	}
}

static size_t resident(void)
{
	long total, pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	CHECK(f != NULL && fscanf(f, "%ld %ld", &total, &pages) == 2);
	fclose(f);
	return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t in_spans(void)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	return s.heap_in_spans;
}

/* ── one object of each layout in each thread ───────────────────────────────────────────── */

static uint64_t *held[2][NTHREADS][NLAYOUTS + 1];
static pthread_barrier_t turn;

static uint64_t stamp_of(unsigned round, uintptr_t thread, unsigned k)
{
	return (round * NTHREADS + thread) * 1000000 + k * 1000;
}

static void make_round(unsigned round, uintptr_t me)
{
	for (unsigned k = 1; k <= NLAYOUTS; k++)
		mgc_write(&held[round][me][k], make_object(k, stamp_of(round, me, k)));
}

/* wait_turn - as programs should wait; and ThreadSanitizer lets no signal into this wait. */
static void wait_turn(void)
{
	mgc_blocking_enter();
	pthread_barrier_wait(&turn);
	mgc_blocking_leave();
}

static void *one_of_each(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	make_round(0, me);
	wait_turn(); /* measured, collected */
	wait_turn();
	make_round(1, me); /* from the runs that are in hand since */
	wait_turn();
	return NULL;
}

static void check_held(unsigned nrounds)
{
	for (unsigned round = 0; round < nrounds; round++)
		for (uintptr_t t = 0; t < NTHREADS; t++)
			for (unsigned k = 1; k <= NLAYOUTS; k++)
				check_object(held[round][t][k], k, stamp_of(round, t, k));
}

TEST_SECONDS(one_object_of_each_layout_in_each_thread, 60)
{
	pthread_t threads[NTHREADS];
	make_types();
	CHECK_EQ(mgc_root_add(held, sizeof held, 0), 0);
	mgc_set_percent(-1);
	pthread_barrier_init(&turn, NULL, NTHREADS + 1);
	size_t before = resident();
	for (uintptr_t t = 0; t < NTHREADS; t++)
		CHECK_EQ(pthread_create(&threads[t], NULL, one_of_each, (void *)t), 0);
	pthread_barrier_wait(&turn);
	size_t spans = in_spans(), after = resident();
	printf("  %zu KiB in spans, %zu KiB more resident\n", spans >> 10, (after - before) >> 10);
	mgc_collect();
	check_held(1);
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	mgc_collect();
	check_held(2);
	for (unsigned t = 0; t < NTHREADS; t++)
		pthread_join(threads[t], NULL);
	mgc_collect();
	check_held(2);
	/* objects of 64 B, as many unborn ones beside them, and leaves of 16 B */
	CHECK(spans < NTHREADS * NLAYOUTS * (size_t)(2 * 64 + NWORDS * 16) + ((size_t)2 << 20));
	memset(held, 0, sizeof held);
	mgc_collect();
	CHECK(in_spans() < ((size_t)1 << 20));
}

/* ── threads that come and go ───────────────────────────────────────────────────────────── */

#define NCELLS 3000
#define NWORKERS 6

static uint64_t *cell[NCELLS], stamp[NCELLS];
static uint32_t busy[NCELLS], stop; /* who set busy[i] may use cell[i] */

static void use_cell(struct rng *r)
{
	size_t i = rng_below(r, NCELLS);
	if (__atomic_exchange_n(&busy[i], 1, __ATOMIC_ACQUIRE))
		return;
	if (cell[i] != NULL) {
		uint64_t *p = cell[i];
		check_object(p, (unsigned)(stamp[i] % 1000), stamp[i] / 1000 * 1000);
		mgc_write(&cell[i], NULL);
		if (rng_below(r, 2))
			mgc_free(p);
	} else {
		unsigned k = 1 + (unsigned)rng_below(r, NLAYOUTS);
		uint64_t base = rng_below(r, 1u << 30) * 1000;
		stamp[i] = base + k;
		mgc_write(&cell[i], make_object(k, base));
	}
	__atomic_store_n(&busy[i], 0, __ATOMIC_RELEASE);
}

static void *short_life(void *arg)
{
	struct rng *r = arg;
	CHECK_EQ(mgc_thread_attach(), 0); /* before it takes a reference out of a cell */
	for (size_t n = 20 + rng_below(r, 500); n > 0; n--)
		use_cell(r);
	return NULL;
}

static void *employ(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		pthread_t thread;
		CHECK_EQ(pthread_create(&thread, NULL, short_life, &r), 0);
		pthread_join(thread, NULL);
	}
	return NULL;
}

TEST_SECONDS(threads_that_come_and_go, 60)
{
	pthread_t threads[NWORKERS];
	make_types();
	CHECK_EQ(mgc_root_add(cell, sizeof cell, 0), 0);
	uint64_t seed = test_seed();
	double until = now_seconds() + test_seconds(3);
	for (uintptr_t t = 0; t < NWORKERS; t++)
		CHECK_EQ(pthread_create(&threads[t], NULL, employ, (void *)(seed + t)), 0);
	while (now_seconds() < until) {
		mgc_collect();
		usleep(2000);
	}
	publish(&stop, 1);
	for (unsigned t = 0; t < NWORKERS; t++)
		pthread_join(threads[t], NULL);
	size_t live = 0;
	for (size_t i = 0; i < NCELLS; i++)
		live += cell[i] != NULL;
	mgc_collect();
	printf("  %zu objects, %zu KiB in spans\n", live, in_spans() >> 10);
	for (size_t i = 0; i < NCELLS; i++)
		if (cell[i] != NULL)
			check_object(cell[i], (unsigned)(stamp[i] % 1000), stamp[i] / 1000 * 1000);
	memset(cell, 0, sizeof cell);
	mgc_collect();
	CHECK(in_spans() < ((size_t)1 << 20));
}
