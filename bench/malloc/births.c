/* births.c THREADS TOTAL BLOCKS - threads that are born, allocate, and die: TOTAL of them, at most
 * THREADS at a time. Each frees half of its BLOCKS and leaves the rest to the main thread. */
#include "bench_malloc.h"

struct life {
	pthread_t thread;
	uint64_t id;
	void **blocks;
};

static uint64_t nblocks;

static size_t size_of(uint64_t id, uint64_t k)
{
	return 16 + (id * 31 + k * 97) % 1000;
}

static void *live(void *arg)
{
	struct life *me = arg;
	me->blocks = bm_need(malloc(nblocks * sizeof *me->blocks));
	for (uint64_t k = 0; k < nblocks; k++)
		bm_stamp(me->blocks[k] = bm_need(malloc(size_of(me->id, k))), size_of(me->id, k), k);
	for (uint64_t k = 0; k < nblocks; k += 2) {
		bm_check(me->blocks[k], size_of(me->id, k), k);
		free(me->blocks[k]);
	}
	return NULL;
}

static uint64_t bury(struct life *dead)
{
	uint64_t sum = 0;
	pthread_join(dead->thread, NULL);
	for (uint64_t k = 1; k < nblocks; k += 2) {
		sum += bm_check(dead->blocks[k], size_of(dead->id, k), k) + size_of(dead->id, k);
		free(dead->blocks[k]);
	}
	free(dead->blocks);
	return sum;
}

int main(int argc, char **argv)
{
	static struct life lives[BM_MAX_THREADS];
	uint64_t n = bench_arg(argc, argv, 1, 2), total = bench_arg(argc, argv, 2, 10000), sum = 0;
	nblocks = bench_arg(argc, argv, 3, 100);
	if (n == 0 || n > BM_MAX_THREADS || total < n)
		bm_die("THREADS: 1 to 64; TOTAL: at least THREADS");
	for (uint64_t i = 0; i < total + n; i++) {
		struct life *l = &lives[i % n];
		if (i >= n)
			sum += bury(l);
		l->id = i;
		if (i < total && pthread_create(&l->thread, NULL, live, l))
			bm_die("pthread_create");
	}
	bench_print_int("checksum", sum);
}
