/* aligned.c THREADS LIVE OPS - blocks of alignments 32 to 4096, by all three functions. */
#include "bench_malloc.h"

struct slot {
	void *p;
	size_t n;
};

static uint64_t live, ops;

static void *make(uint64_t r, size_t align, size_t n)
{
	void *p = NULL;
	if (r % 4 == 0) {
		if (posix_memalign(&p, align, n))
			bm_die("posix_memalign");
	} else {
		p = bm_need(aligned_alloc(align, (n + align - 1) & -align));
	}
	if ((uintptr_t)p & (align - 1))
		bm_die("a block is not aligned");
	return p;
}

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	struct slot *slots = bm_need(calloc(live, sizeof *slots));
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t r = bench_random(&t->rng), at = (r >> 40) % live;
		struct slot *s = &slots[at];
		if (s->p)
			t->sum += bm_check(s->p, s->n, at + s->n);
		free(s->p);
		size_t align = (size_t)32 << (unsigned)__builtin_ctzll((r >> 8) | 1u << 7);
		s->n = align / 2 + (r >> 20) % (4 * align);
		bm_stamp(s->p = make(r, align, s->n), s->n, at + s->n);
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
	live = bench_arg(argc, argv, 2, 2000);
	ops = bench_arg(argc, argv, 3, 3000000);
	bench_print_int("checksum", bm_run(n, 1, work));
}
