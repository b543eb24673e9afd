/* random.c THREADS LIVE OPS MAX SEED - random sizes that live for random times.
 *
 * WHAT   Each thread holds LIVE blocks and replaces a random one OPS times; sizes up to MAX bytes,
 *        small ones often (bm_size). */
#include "bench_malloc.h"

struct slot {
	void *p;
	size_t n;
};

static uint64_t live, ops, max;

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	struct slot *slots = bm_need(calloc(live, sizeof *slots));
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t at = bench_random(&t->rng) % live;
		struct slot *s = &slots[at];
		if (s->p)
			t->sum += bm_check(s->p, s->n, at + s->n);
		free(s->p);
		s->n = bm_size(&t->rng, max);
		bm_stamp(s->p = bm_need(malloc(s->n)), s->n, at + s->n);
	}
	for (uint64_t at = 0; at < live; at++) {
		if (slots[at].p)
			t->sum += bm_check(slots[at].p, slots[at].n, at + slots[at].n);
		free(slots[at].p);
	}
	free(slots);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n = (unsigned)bench_arg(argc, argv, 1, 1);
	live = bench_arg(argc, argv, 2, 1000);
	ops = bench_arg(argc, argv, 3, 10000000);
	max = bench_arg(argc, argv, 4, 4096);
	bench_print_int("checksum", bm_run(n, bench_arg(argc, argv, 5, 1), work));
}
