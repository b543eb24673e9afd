/* cycle.c - what a cycle costs whatever lives: with threads that wait in the system, or that compute.
 *
 * WHAT   mgc_collect by turns on a heap of a few objects, beside THREADS threads that are blocked (in
 *        mgc_blocking_enter), or run (and write to an object of their own now and then). Wall time of each.
 *        bench/cycle.py runs it under gctrace and strace, and makes a table.
 * WHO    bench/cycle.py; or by hand:
 *        cc -O2 -std=gnu17 -Iinclude bench/micro/cycle.c -Lbuild/lib -lmallocgc -lpthread -o cycle
 *        LD_LIBRARY_PATH=build/lib ./cycle THREADS blocked|running CYCLES [LIVE_MIB]
 * UNITS  µs. */
#include <mallocgc-inline.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct node {
	struct node *next, *other;
	long pad[6];
};
static struct mgc_type node_type = { .name = "node", .size = sizeof(struct node), .ptr_bytes = 16 };

static struct node *live; /* a root */
static unsigned nready, enough;

static void *be_blocked(void *arg)
{
	mgc_thread_attach();
	__atomic_fetch_add(&nready, 1, __ATOMIC_SEQ_CST);
	mgc_blocking_enter();
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		usleep(100000);
	mgc_blocking_leave();
	return arg;
}

static void *be_running(void *arg)
{
	mgc_thread_attach();
	struct node *mine = mgc_new(&node_type);
	__atomic_fetch_add(&nready, 1, __ATOMIC_SEQ_CST);
	for (unsigned n = 0; !__atomic_load_n(&enough, __ATOMIC_RELAXED); n++) {
		if (n % 4096 == 0)
			mgc_write(&mine->next, mine);
		mine->pad[n % 6]++;
	}
	return arg;
}

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void make_live(long nmib)
{
	for (long i = 0; i < nmib << 14; i++) {
		struct node *n = mgc_new(&node_type);
		n->next = live;
		mgc_write(&live, n);
	}
}

int main(int argc, char **argv)
{
	if (argc < 4 || mgc_root_add(&live, sizeof live, 0) != 0)
		return 2;
	unsigned nthreads = (unsigned)atol(argv[1]), ncycles = (unsigned)atol(argv[3]);
	void *(*be)(void *) = strcmp(argv[2], "running") == 0 ? be_running : be_blocked;
	pthread_t *threads = calloc(nthreads + 1, sizeof *threads);
	double *us = calloc(ncycles + 1, sizeof *us);
	make_live(argc > 4 ? atol(argv[4]) : 0);
	for (unsigned i = 0; i < nthreads; i++)
		if (pthread_create(&threads[i], NULL, be, NULL) != 0)
			return 1;
	while (__atomic_load_n(&nready, __ATOMIC_SEQ_CST) < nthreads)
		usleep(1000);
	for (unsigned i = 0; i < ncycles; i++) {
		double begin = now_us();
		mgc_collect();
		us[i] = now_us() - begin;
	}
	__atomic_store_n(&enough, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < nthreads; i++)
		pthread_join(threads[i], NULL);
	qsort(us, ncycles, sizeof *us, compare);
	printf("cycle_us_min %.1f\ncycle_us_median %.1f\ncycle_us_max %.1f\n", us[0],
	       us[ncycles / 2], us[ncycles > 0 ? ncycles - 1 : 0]);
	return 0;
}
