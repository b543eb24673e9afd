/* zeroed.c THREADS LIVE OPS MAX - calloc of random sizes, each block all zero, then dirtied. */
#include "bench_malloc.h"

struct slot {
	unsigned char *p;
	size_t n;
};

static uint64_t live, ops, max;

static uint64_t check_zero(const unsigned char *p, size_t n)
{
	uint64_t any = 0, word;
	size_t k = 0;
	for (; k + sizeof word <= n; k += sizeof word) {
		memcpy(&word, p + k, sizeof word);
		any |= word;
	}
	for (; k < n; k++)
		any |= p[k];
	if (any)
		bm_die("calloc: a byte is not zero");
	return n;
}

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	struct slot *slots = bm_need(calloc(live, sizeof *slots));
	for (uint64_t i = 0; i < ops; i++) {
		struct slot *s = &slots[bench_random(&t->rng) % live];
		free(s->p);
		s->n = bm_size(&t->rng, max);
		s->p = bm_need(calloc(1, s->n));
		t->sum += check_zero(s->p, s->n);
		memset(s->p, 0xa5, s->n);
	}
	for (uint64_t i = 0; i < live; i++)
		free(slots[i].p);
	free(slots);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n = (unsigned)bench_arg(argc, argv, 1, 1);
	live = bench_arg(argc, argv, 2, 1000);
	ops = bench_arg(argc, argv, 3, 3000000);
	max = bench_arg(argc, argv, 4, 65536);
	bench_print_int("checksum", bm_run(n, 1, work));
}
