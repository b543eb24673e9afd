/* phases.c THREADS MIB PHASES SEED - what stays in memory when a program's habits change.
 *
 * WHAT   Each phase fills up to MIB live with blocks of its own range of sizes, then frees all but
 *        one in twenty of what is live, at random. Prints the memory in use after the last phase
 *        (rss_kept_mib, of which live_mib are blocks) and after everything was freed
 *        (rss_freed_mib). */
#include "bench_malloc.h"

struct block {
	char *p;
	size_t n;
};

static uint64_t limit, phases;
static size_t live[BM_MAX_THREADS];
static pthread_barrier_t all_thinned;

static uint64_t fill(struct block *b)
{
	for (size_t k = 0; k < b->n; k += 4096)
		b->p[k] = 1;
	bm_stamp(b->p, b->n, b->n);
	return b->n;
}

static uint64_t drop(struct block *b)
{
	uint64_t sum = bm_check(b->p, b->n, b->n);
	free(b->p);
	return sum;
}

static void report(unsigned nthreads)
{
	size_t sum = 0;
	for (unsigned i = 0; i < nthreads; i++)
		sum += live[i];
	bench_print("rss_kept_mib", bm_rss_mib());
	bench_print("live_mib", (double)sum / (1 << 20));
}

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	struct block *all = NULL;
	size_t n = 0, cap = 0, now = 0;
	for (uint64_t phase = 0; phase < phases; phase++) {
		size_t least = (size_t)16 << (phase * 5 % 11); /* 16 B to 16 KiB, far apart */
		while (now < limit / t->nthreads) {
			if (n == cap)
				all = bm_need(realloc(all, (cap = cap ? 2 * cap : 1024) * sizeof *all));
			struct block *b = &all[n++];
			b->n = least + bench_random(&t->rng) % least;
			b->p = bm_need(malloc(b->n));
			now += b->n;
			t->sum += fill(b);
		}
		size_t kept = 0;
		for (size_t i = 0; i < n; i++) {
			if (bench_random(&t->rng) % 20 == 0) {
				all[kept++] = all[i];
			} else {
				now -= all[i].n;
				t->sum += drop(&all[i]);
			}
		}
		n = kept;
	}
	live[t->id] = now;
	pthread_barrier_wait(&all_thinned);
	if (t->id == 0)
		report(t->nthreads);
	pthread_barrier_wait(&all_thinned);
	while (n > 0)
		t->sum += drop(&all[--n]);
	free(all);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n = (unsigned)bench_arg(argc, argv, 1, 1);
	limit = bench_arg(argc, argv, 2, 64) << 20;
	phases = bench_arg(argc, argv, 3, 6);
	pthread_barrier_init(&all_thinned, NULL, n);
	uint64_t sum = bm_run(n, bench_arg(argc, argv, 4, 1), work);
	bench_print("rss_freed_mib", bm_rss_mib());
	bench_print_int("checksum", sum);
}
