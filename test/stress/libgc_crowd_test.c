/* libgc_crowd_test.c - many threads that fill the heap beside a collection, on few processors, cannot fill it several
 * times before it ends: past the bar (pacer_bar) they wait for it.
 * links: libgc   not under: thread, address, hostile */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include "lib/plain.h"

#include <gc/gc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	NTHREADS = 24,
	NCELLS = 20000,
	CELL_NBYTES = 64,
	LIVE_NBYTES = NTHREADS * NCELLS * CELL_NBYTES
};
enum { ROUNDS = 12 };

struct cell {
	struct cell *next;
	char rest[CELL_NBYTES - sizeof(struct cell *)];
};
static struct cell *kept[NTHREADS];

static size_t peak_nbytes(void)
{
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	return (size_t)use.ru_maxrss << 10;
}

/* fill - a list of its own, made anew in each round: what it replaces is garbage from then on. */
static void *fill(void *arg)
{
	struct cell **list = arg;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct cell *old = *list;
		*list = NULL;
		for (unsigned i = 0; i < NCELLS; i++) {
			struct cell *c = GC_malloc(sizeof *c);
			c->next = *list;
			*list = c;
			old = old != NULL ? old->next : NULL; /* half of the old list dies by and by */
		}
	}
	return NULL;
}

static int attempt(void)
{
	pthread_t t[NTHREADS];
	GC_INIT();
	for (unsigned i = 0; i < NTHREADS; i++)
		CHECK_EQ(GC_pthread_create(&t[i], NULL, fill, &kept[i]), 0);
	for (unsigned i = 0; i < NTHREADS; i++)
		CHECK_EQ(GC_pthread_join(t[i], NULL), 0);
	size_t most = peak_nbytes();
	printf("  %lu collections; resident at most %zu MB, live %d MB\n",
	       (unsigned long)GC_get_gc_no(), most >> 20, LIVE_NBYTES >> 20);
	return GC_get_gc_no() > 2 && most < (size_t)LIVE_NBYTES * 4 ? 0 : 1;
}

/* Each attempt in a process of its own, which knows its peak: one that is stopped from outside while it waits at the bar
 * has waited long enough. */
TEST_SECONDS(a_crowd_does_not_run_away, 120)
{
	int status = 1;
	setenv("MGC_DEBUG", "tracked=2", 1); /* beside the program, however many threads it has */
	for (unsigned i = 0; i < 3 && status != 0; i++) {
		fflush(stdout);
		pid_t child = fork();
		if (child == 0)
			exit(attempt());
		CHECK(child > 0);
		CHECK_EQ(waitpid(child, &status, 0), child);
	}
	CHECK_EQ(status, 0);
}
