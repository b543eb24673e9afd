/* lifetimes.c - what weak references, cleanups, weak maps and handles cost: memory, time of a call outside and
 * inside a cycle, time of a cycle that has many of them, and the longest call of a thread beside it.
 *
 * WHO    run by hand: make && cc -O2 -Iinclude -o /tmp/lifetimes bench/micro/lifetimes.c build/lib/libmallocgc.a -lpthread -ldl
 *        /tmp/lifetimes [thousands of each, default 1000]
 * UNITS  as printed; processor time, but for the longest call, which is wall time. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <mallocgc.h>

static size_t n = 1000000;
static void **objects, **refs; /* roots: arrays of n */
static struct mgc_weakmap *map;

static double seconds(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu(void)
{
	return seconds(CLOCK_THREAD_CPUTIME_ID);
}

static struct mgc_stats stats(void)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	return s;
}

/* ── memory, and time to make one ───────────────────────────────────────────────────────── */

static void nothing(void *arg)
{
	(void)arg;
}

static void make_weak(size_t i)
{
	mgc_write(&refs[i], mgc_weak_new(objects[i]));
}

static void make_cleanup(size_t i)
{
	if (mgc_cleanup_add(objects[i], nothing, NULL) == 0)
		abort();
}

static void make_pair(size_t i)
{
	if (mgc_weakmap_set(map, objects[i], objects[n - 1 - i]) != 0)
		abort();
}

static void make_handle(size_t i)
{
	if (mgc_handle_new(objects[i]) == 0)
		abort();
}

static void collect_and_tell(const char *what)
{
	double wall = seconds(CLOCK_MONOTONIC), all = seconds(CLOCK_PROCESS_CPUTIME_ID);
	mgc_collect();
	wall = seconds(CLOCK_MONOTONIC) - wall;
	printf("%-34s cycle: %6.1f ms of processor time, %6.1f ms; stopped: %.1f us\n", what,
	       (seconds(CLOCK_PROCESS_CPUTIME_ID) - all) * 1e3, wall * 1e3,
	       (double)stats().pause_last_ns / 1e3);
}

static void make_all(const char *what, void (*make)(size_t i))
{
	mgc_collect();
	struct mgc_stats before = stats();
	double begin = cpu();
	for (size_t i = 0; i < n; i++)
		make(i);
	double ns = (cpu() - begin) * 1e9 / (double)n;
	struct mgc_stats after = stats();
	mgc_collect();
	printf("%-34s %5.0f ns to make, %5.1f B of tables, %5.1f B of heap\n", what, ns,
	       (double)(after.metadata_specials - before.metadata_specials) / (double)n,
	       (double)stats().heap_live / (double)n - (double)before.heap_live / (double)n);
	collect_and_tell("");
}

/* ── calls ──────────────────────────────────────────────────────────────────────────────── */

#define CALLS 2000000

static void time_gets(const char *when)
{
	size_t sum = 0, step = 7919, at = 0;
	double begin = cpu();
	for (size_t i = 0; i < 10 * CALLS; i++)
		sum += (size_t)mgc_weak_get(refs[0]);
	double same = (cpu() - begin) * 1e9 / (10 * CALLS);
	begin = cpu();
	for (size_t i = 0; i < CALLS; i++, at = (at + step) % n)
		sum += (size_t)mgc_weak_get(refs[at]);
	double others = (cpu() - begin) * 1e9 / CALLS;
	begin = cpu();
	for (size_t i = 0; i < CALLS; i++, at = (at + step) % n)
		sum += (size_t)mgc_weakmap_get(map, objects[at]);
	double pairs = (cpu() - begin) * 1e9 / CALLS;
	printf("%-34s weak get %.2f ns of one, %.1f ns of %zu in turn; map get %.1f ns (%zu "
	       "cycles; %zx)\n",
	       when, same, others, n, pairs, (size_t)stats().cycles, sum & 1);
}

static int stop;

static void *collect_always(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
		mgc_collect();
	return NULL;
}

static void *use_always(void *arg)
{
	double longest = 0;
	size_t ncalls = 0;
	for (size_t i = 0; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); i++, ncalls++) {
		double begin = seconds(CLOCK_MONOTONIC);
		void *p = mgc_alloc(64, NULL, 0);
		struct mgc_weak *w = mgc_weak_new(p);
		mgc_cleanup_id id = mgc_cleanup_add(p, nothing, NULL);
		if (mgc_weak_get(w) != p || mgc_weakmap_get(map, objects[i % n]) == NULL || id == 0)
			abort();
		mgc_cleanup_remove(id);
		double took = seconds(CLOCK_MONOTONIC) - begin;
		if (took > longest)
			longest = took;
	}
	*(double *)arg = longest;
	return (void *)ncalls;
}

static void beside_cycles(void)
{
	pthread_t collector, user;
	double longest;
	void *ncalls;
	stop = 0;
	pthread_create(&collector, NULL, collect_always, NULL);
	time_gets("while cycles run");
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	pthread_join(collector, NULL);
	stop = 0;
	pthread_create(&user, NULL, use_always, &longest);
	double end = seconds(CLOCK_MONOTONIC) + 5;
	size_t ncycles = 0;
	for (; seconds(CLOCK_MONOTONIC) < end; ncycles++)
		mgc_collect();
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	pthread_join(user, &ncalls);
	printf("%-34s the longest of %zu new, get, add, remove took %.0f us, %zu cycles\n",
	       "beside cycles", (size_t)ncalls, longest * 1e6, ncycles);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		n = strtoul(argv[1], NULL, 10) * 1000;
	mgc_root_add(&objects, sizeof objects, 0);
	mgc_root_add(&refs, sizeof refs, 0);
	mgc_root_add(&map, sizeof map, 0);
	mgc_run_finalizers();
	mgc_write(&objects, mgc_alloc(n * sizeof *objects, NULL, 0));
	mgc_write(&refs, mgc_alloc(n * sizeof *refs, NULL, 0));
	mgc_write(&map, mgc_weakmap_new());
	for (size_t i = 0; i < n; i++)
		mgc_write(&objects[i], mgc_alloc(64, NULL, MGC_NOSCAN));
	mgc_collect();
	collect_and_tell("no specials");
	make_all("weak references", make_weak);
	make_all("pairs of a weak map", make_pair);
	time_gets("outside of cycles");
	make_all("cleanups", make_cleanup);
	make_all("handles", make_handle);
	beside_cycles();
	mgc_clear(objects, n * sizeof *objects);
	collect_and_tell("handles and values keep all");
	return 0;
}
