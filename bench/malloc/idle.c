/* idle.c PATTERN MIB MS - what stays in memory of a process that has nothing to do any more.
 *
 * WHAT   MIB of blocks of 64 … 2048 B are allocated and written, then freed as PATTERN says, and MS later the
 *        resident memory is looked at. Prints rss_idle_mib and live_mib.
 *          all      the only thread frees all, at random
 *          pages    the only thread frees 19 of 20 pages' worth of blocks: what lives fills whole pages
 *          twentieth  the only thread frees 19 of 20 blocks, one after the other
 *          worker   a thread does as `pages` does, and then waits
 *          others   the thread that allocated waits, and another one frees all
 *          pool     eight threads allocate and free a share each, at random, and then wait
 *          trickle  as `all`, and then a malloc and free in each millisecond */
#include "bench_malloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

enum { PAGE = 4096, POOL = 8 };

struct work {
	char **block;
	size_t n, nbytes, capacity;
	uint64_t rng;
};
static struct work all;
static double live_mib;
static atomic_size_t allocated_nbytes; /* the checksum: what the arguments say, on any malloc */
static atomic_int allocated, freed;

static size_t size_of(size_t i)
{
	return (size_t)64 << i % 6;
}

/* list_new - of blocks: not from the malloc that is looked at, and gone when the program waits. */
static char **list_new(size_t n)
{
	void *p = mmap(NULL, n * sizeof(char *), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		bm_die("mmap");
	return p;
}

/* allocate - in runs of one size, as a program does that builds one structure after the other. */
static void allocate(struct work *w, size_t nbytes)
{
	size_t most = nbytes / 64, run = 0, size = 64;
	w->capacity = most;
	w->block = list_new(most);
	for (w->nbytes = w->n = 0; w->nbytes < nbytes && w->n < most; run--) {
		if (run == 0) {
			size = size_of((size_t)bench_random(&w->rng));
			run = 4096;
		}
		char *p = bm_need(malloc(size));
		memset(p, 1, size);
		*(size_t *)p = size;
		w->block[w->n++] = p;
		w->nbytes += size;
	}
	atomic_fetch_add(&allocated_nbytes, w->nbytes);
}

static void keep(const char *p)
{
	live_mib += (double)*(const size_t *)p / (1 << 20);
}

static void free_some(struct work *w, const char *pattern)
{
	for (size_t i = w->n; i > 1 && strcmp(pattern, "all") == 0; i--) {
		size_t k = (size_t)(bench_random(&w->rng) % i);
		char *p = w->block[k];
		w->block[k] = w->block[i - 1];
		w->block[i - 1] = p;
	}
	for (size_t i = 0; i < w->n; i++) {
		bool stays =
			(strcmp(pattern, "pages") == 0 && (uintptr_t)w->block[i] / PAGE % 20 == 0) ||
			(strcmp(pattern, "twentieth") == 0 && i % 20 == 0);
		if (stays)
			keep(w->block[i]);
		else
			free(w->block[i]);
	}
	munmap(w->block, w->capacity * sizeof *w->block);
}

static void wait_for(atomic_int *what, int n)
{
	while (atomic_load(what) < n)
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
}

static void *work_and_wait(void *arg)
{
	allocate(&all, (size_t)arg);
	free_some(&all, "pages");
	atomic_fetch_add(&freed, 1);
	pause();
	return NULL;
}

static void *allocate_and_wait(void *arg)
{
	allocate(&all, (size_t)arg);
	atomic_store(&allocated, 1);
	pause();
	return NULL;
}

static void *share(void *arg)
{
	static atomic_int threads;
	struct work w = { .rng = (uint64_t)atomic_fetch_add(&threads, 1) + 1 };
	allocate(&w, (size_t)arg / POOL);
	free_some(&w, "all");
	atomic_fetch_add(&freed, 1);
	pause();
	return NULL;
}

static void start(void *(*fn)(void *), size_t nbytes)
{
	pthread_t t;
	if (pthread_create(&t, NULL, fn, (void *)nbytes))
		bm_die("pthread_create");
}

static void play(const char *pattern, size_t nbytes)
{
	if (strcmp(pattern, "worker") == 0) {
		start(work_and_wait, nbytes);
		wait_for(&freed, 1);
	} else if (strcmp(pattern, "others") == 0) {
		start(allocate_and_wait, nbytes);
		wait_for(&allocated, 1);
		free_some(&all, "all");
	} else if (strcmp(pattern, "pool") == 0) {
		for (int i = 0; i < POOL; i++)
			start(share, nbytes);
		wait_for(&freed, POOL);
	} else {
		allocate(&all, nbytes);
		free_some(&all, strcmp(pattern, "trickle") == 0 ? "all" : pattern);
	}
}

int main(int argc, char **argv)
{
	const char *pattern = argc > 1 ? argv[1] : "all";
	all.rng = 1;
	play(pattern, bench_arg(argc, argv, 2, 256) << 20);
	double until = bench_wall_ns() + (double)bench_arg(argc, argv, 3, 1000) * 1e6;
	while (bench_wall_ns() < until) {
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
		if (strcmp(pattern, "trickle") == 0)
			free(bm_need(malloc(100)));
	}
	bench_print("rss_idle_mib", bm_rss_mib());
	bench_print("live_mib", live_mib);
	bench_print_int("checksum", atomic_load(&allocated_nbytes));
	_exit(fflush(stdout)); /* threads wait for ever */
}
