/* inline.c - what the short paths cost, called and inlined, against a plain store.
 *
 * WHAT   ns of this thread's processor time for each of
 *          store     *slot = p, to a slot that changes each time
 *          write     mgc_write, called and inlined; outside a collection, and beside one that never ends
 *          new       mgc_new of 32 B, called and inlined
 *          poll      mgc_safepoint, called and inlined
 *        Variants run in turn, so that a noisy neighbour hits all of them alike; minimum and median.
 * WHO    run by hand, on the installed or built library:
 *        cc -O2 -std=gnu17 -Iinclude bench/micro/inline.c -Lbuild/lib -lmallocgc -lpthread -o inline
 *        LD_LIBRARY_PATH=build/lib ./inline [VARIANT N]
 *        With a variant's name and a count it runs that one only: for valgrind --tool=callgrind.
 * UNITS  ns. */
#include <mallocgc-inline.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 1024, REPS = 15, NLIST = 1 << 20 };

struct pair {
	struct pair *a, *b;
	long x, y;
};
static struct mgc_type pair_type = { .name = "pair", .size = sizeof(struct pair), .ptr_bytes = 16 };
static struct mgc_type table_type = { .name = "table", .size = 8 * SLOTS, .ptr_bytes = 8 * SLOTS };

static struct pair *list; /* a root */
static void **table;
static struct pair *some;

static void run_store(long n)
{
	for (long i = 0; i < n; i++)
		__atomic_store_n(&table[(size_t)i % SLOTS], some, __ATOMIC_RELEASE);
}

static void run_write_called(long n)
{
	for (long i = 0; i < n; i++)
		(mgc_write)(&table[(size_t)i % SLOTS], some);
}

static void run_write_inline(long n)
{
	for (long i = 0; i < n; i++)
		mgc_write(&table[(size_t)i % SLOTS], some);
}

static void run_new_called(long n)
{
	for (long i = 0; i < n; i++)
		some = (mgc_new)(&pair_type);
}

static void run_new_inline(long n)
{
	for (long i = 0; i < n; i++)
		some = mgc_new(&pair_type);
}

/* Three stores, and what mgc_new takes. */
static void run_construct(long n)
{
	for (long i = 0; i < n; i++) {
		struct pair *p = mgc_new(&pair_type);
		p->a = p->b = some;
		p->x = i;
		some = i % 64 == 0 ? NULL : p;
	}
}

static void run_poll_called(long n)
{
	for (long i = 0; i < n; i++)
		(mgc_safepoint)();
}

static void run_poll_inline(long n)
{
	for (long i = 0; i < n; i++)
		mgc_safepoint();
}

static void run_exchange(long n)
{
	for (long i = 0; i < n; i++)
		some = mgc_exchange(&table[(size_t)i % SLOTS], some);
}

static const struct variant {
	const char *name;
	void (*run)(long n);
} variants[] = {
	{ "store", run_store },
	{ "write-called", run_write_called },
	{ "write-inline", run_write_inline },
	{ "exchange-inline", run_exchange },
	{ "new-called", run_new_called },
	{ "new-inline", run_new_inline },
	{ "construct", run_construct },
	{ "poll-called", run_poll_called },
	{ "poll-inline", run_poll_inline },
};
enum { NVARIANTS = sizeof variants / sizeof variants[0] };

static double cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void measure(const char *when, long n)
{
	double ns[NVARIANTS][REPS];
	for (int rep = 0; rep < REPS; rep++)
		for (int v = 0; v < NVARIANTS; v++) {
			double begin = cpu_ns();
			variants[v].run(n);
			ns[v][rep] = (cpu_ns() - begin) / (double)n;
		}
	for (int v = 0; v < NVARIANTS; v++) {
		qsort(ns[v], REPS, sizeof ns[v][0], compare);
		printf("%-16s %-16s min %6.2f  median %6.2f ns\n", when, variants[v].name, ns[v][0],
		       ns[v][REPS / 2]);
	}
}

static int enough;

static void *collect(void *arg)
{
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		mgc_collect();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t collector;
	if (mgc_root_add(&list, sizeof list, 0) != 0 ||
	    mgc_root_add(&table, sizeof table, 0) != 0 || mgc_root_add(&some, sizeof some, 0) != 0)
		return 1;
	mgc_write(&table, mgc_new(&table_type));
	mgc_write(&some, mgc_new(&pair_type));
	for (int v = 0; v < NVARIANTS && argc == 3; v++)
		if (strcmp(argv[1], variants[v].name) == 0)
			variants[v].run(atol(argv[2]));
	if (argc == 3)
		return 0;
	measure("outside", 2000000);
	for (int i = 0; i < NLIST; i++) {
		struct pair *p = mgc_new(&pair_type);
		p->a = list;
		mgc_write(&list, p);
	}
	if (pthread_create(&collector, NULL, collect, NULL) != 0)
		return 1;
	measure("beside a cycle", 1000000);
	__atomic_store_n(&enough, 1, __ATOMIC_RELAXED);
	return pthread_join(collector, NULL);
}
