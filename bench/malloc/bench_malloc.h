/* bench_malloc.h - what the malloc benchmarks share: threads, and blocks that notice being damaged.
 *
 * WHAT   Each program of bench/malloc does a fixed amount of work with plain malloc and free, so that
 *        any allocator can be preloaded, and prints `checksum N`: a sum over what it read back, which
 *        depends on its arguments alone. A block carries a key at both ends from bm_stamp to
 *        bm_check; an allocator that loses, shares or moves memory wrongly makes the program abort.
 * ARGS   THREADS first; with one thread the work runs on the main thread and nothing else starts.
 * WHO    bench/malloc.py. */
#ifndef BENCH_MALLOC_H
#define BENCH_MALLOC_H

#include "../c/bench.h"
#include <pthread.h>
#include <unistd.h>

#define BM_MAX_THREADS 64

static inline void bm_die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	abort();
}

static inline void *bm_need(void *p)
{
	if (!p)
		bm_die("out of memory");
	return p;
}

/* bm_stamp - write key at both ends of the n > 0 bytes at p. */
static inline void bm_stamp(void *p, size_t n, uint64_t key)
{
	if (n >= 2 * sizeof key) {
		memcpy(p, &key, sizeof key);
		memcpy((char *)p + n - sizeof key, &key, sizeof key);
	} else {
		((char *)p)[0] = ((char *)p)[n - 1] = (char)key;
	}
}

/* bm_check - abort unless bm_stamp(p, n, key) is still there; the key. */
static inline uint64_t bm_check(const void *p, size_t n, uint64_t key)
{
	uint64_t head = key, tail = key;
	if (n >= 2 * sizeof key) {
		memcpy(&head, p, sizeof head);
		memcpy(&tail, (const char *)p + n - sizeof tail, sizeof tail);
	} else if (((const char *)p)[0] != (char)key || ((const char *)p)[n - 1] != (char)key) {
		head = ~key;
	}
	if (head != key || tail != key)
		bm_die("a block does not hold what was written to it");
	return key;
}

/* bm_size - a size as programs ask for them: small ones often, up to max bytes now and then. */
static inline size_t bm_size(uint64_t *rng, size_t max)
{
	uint64_t r = bench_random(rng);
	unsigned bits = 4 + (unsigned)__builtin_ctzll((r >> 40) | 1ull << 20); /* each double half as often */
	size_t n = ((size_t)1 << bits) + (r & (((size_t)1 << bits) - 1)) - 8;
	return n < max ? n : 8 + r % (max - 8);
}

struct bm_thread {
	unsigned id, nthreads;
	uint64_t rng, sum; /* own random numbers; what goes into the checksum */
	pthread_t thread;
};

/* bm_run - fn in n threads, each with its own random numbers; the sum of their sums. */
static inline uint64_t bm_run(unsigned n, uint64_t seed, void *(*fn)(void *))
{
	static struct bm_thread all[BM_MAX_THREADS];
	uint64_t sum = 0;
	if (n == 0 || n > BM_MAX_THREADS)
		bm_die("THREADS: 1 to 64");
	for (unsigned i = 0; i < n; i++) {
		all[i].id = i;
		all[i].nthreads = n;
		all[i].rng = (seed + i + 1) * 0x9e3779b97f4a7c15;
		if (n == 1)
			fn(&all[i]);
		else if (pthread_create(&all[i].thread, NULL, fn, &all[i]))
			bm_die("pthread_create");
	}
	for (unsigned i = 0; i < n; i++) {
		if (n > 1)
			pthread_join(all[i].thread, NULL);
		sum += all[i].sum;
	}
	return sum;
}

/* bm_rss_mib - what of this process is in memory just now. */
static inline double bm_rss_mib(void)
{
	long total = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%ld %ld", &total, &resident) != 2)
		bm_die("/proc/self/statm");
	fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

#endif
