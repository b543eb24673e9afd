/* scratch.c THREADS SIZE ROUNDS WRITES - do threads get blocks on one cache line?
 *
 * WHAT   The main thread allocates one small block for each thread, close together. Each thread frees
 *        its own, then ROUNDS times allocates a block, writes to it WRITES times and frees it. An
 *        allocator that gives two threads parts of one line makes the writes many times slower. */
#include "bench_malloc.h"

static uint64_t size, rounds, writes;
static void *first[BM_MAX_THREADS];

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	free(first[t->id]);
	for (uint64_t r = 0; r < rounds; r++) {
		volatile unsigned char *p = bm_need(malloc(size));
		for (uint64_t k = 0; k < size; k++)
			p[k] = (unsigned char)k;
		for (uint64_t w = 0; w < writes; w++)
			for (uint64_t k = 0; k < size; k++)
				p[k]++;
		for (uint64_t k = 0; k < size; k++)
			t->sum += (unsigned char)(p[k] - k);
		free((void *)p);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n = (unsigned)bench_arg(argc, argv, 1, 2);
	size = bench_arg(argc, argv, 2, 8);
	rounds = bench_arg(argc, argv, 3, 1000);
	writes = bench_arg(argc, argv, 4, 30000);
	for (unsigned i = 0; i < n && i < BM_MAX_THREADS; i++)
		first[i] = bm_need(malloc(size));
	bench_print_int("checksum", bm_run(n, 1, work));
}
