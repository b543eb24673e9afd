/* blocks.c THREADS LIVE OPS LEAST MOST SHARE SEED - blocks of LEAST to MOST bytes, log-uniform.
 *
 * WHAT   LIVE of them; one at random is replaced OPS times; of each, one page in SHARE is written.
 *        4 KiB to 256 KiB are buffers of files and network, 256 KiB to 32 MiB images and tables. */
#include "bench_malloc.h"

struct slot {
	char *p;
	size_t n;
};

static uint64_t live, ops, least, most, share;

static uint64_t drop(struct slot *s, uint64_t at)
{
	uint64_t sum = s->p ? bm_check(s->p, s->n, at) + s->n : 0;
	for (size_t k = 4096; s->p && k + 16 < s->n; k += 4096 * share)
		if (s->p[k] != (char)k)
			bm_die("a page does not hold what was written to it");
	free(s->p);
	return sum;
}

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	struct slot *slots = bm_need(calloc(live, sizeof *slots));
	unsigned doubles = 63 - (unsigned)__builtin_clzll(most / least);
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t r = bench_random(&t->rng), at = (r >> 40) % live;
		struct slot *s = &slots[at];
		t->sum += drop(s, at);
		size_t from = least << r % doubles;
		s->n = from + (r >> 8) % from;
		bm_stamp(s->p = bm_need(malloc(s->n)), s->n, at);
		for (size_t k = 4096; k + 16 < s->n; k += 4096 * share)
			s->p[k] = (char)k;
	}
	for (uint64_t at = 0; at < live; at++)
		t->sum += drop(&slots[at], at);
	free(slots);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n = (unsigned)bench_arg(argc, argv, 1, 1);
	live = bench_arg(argc, argv, 2, 100);
	ops = bench_arg(argc, argv, 3, 300000);
	least = bench_arg(argc, argv, 4, 4096);
	most = bench_arg(argc, argv, 5, 262144);
	share = bench_arg(argc, argv, 6, 1);
	if (least < 16 || most < 2 * least || share == 0)
		bm_die("LEAST: at least 16; MOST: at least twice LEAST; SHARE: at least 1");
	bench_print_int("checksum", bm_run(n, bench_arg(argc, argv, 7, 1), work));
}
