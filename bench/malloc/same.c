/* same.c ORDER THREADS SIZE COUNT ROUNDS - many blocks of one size.
 *
 * ORDER  lifo   COUNT are made, then freed from the last to the first
 *        fifo   freed in the order they were made in, while new ones are made: COUNT stay live
 *        half   every other one is freed and made again, then all are freed */
#include "bench_malloc.h"

static uint64_t size, count, rounds;
static const char *order;

static void *make(uint64_t key)
{
	void *p = bm_need(malloc(size));
	bm_stamp(p, size, key);
	return p;
}

static void drop(struct bm_thread *t, void *p, uint64_t key)
{
	t->sum += bm_check(p, size, key);
	free(p);
}

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	void **all = bm_need(calloc(count, sizeof *all));
	if (!strcmp(order, "fifo")) {
		for (uint64_t i = 0; i < count * rounds; i++) {
			if (i >= count)
				drop(t, all[i % count], i - count);
			all[i % count] = make(i);
		}
		for (uint64_t i = 0; i < count; i++)
			drop(t, all[i], count * (rounds - 1) + i);
	} else {
		int half = !strcmp(order, "half");
		for (uint64_t r = 0; r < rounds; r++) {
			for (uint64_t i = 0; i < count; i++)
				all[i] = make(i);
			for (uint64_t i = 0; half && i < count; i += 2)
				drop(t, all[i], i);
			for (uint64_t i = 0; half && i < count; i += 2)
				all[i] = make(i);
			for (uint64_t i = count; i-- > 0;)
				drop(t, all[i], i);
		}
	}
	free(all);
	return NULL;
}

int main(int argc, char **argv)
{
	order = argc > 1 ? argv[1] : "lifo";
	unsigned n = (unsigned)bench_arg(argc, argv, 2, 1);
	size = bench_arg(argc, argv, 3, 32);
	count = bench_arg(argc, argv, 4, 100000);
	rounds = bench_arg(argc, argv, 5, 100);
	if (size == 0 || count == 0 || rounds == 0)
		bm_die("SIZE, COUNT and ROUNDS: at least 1");
	bench_print_int("checksum", bm_run(n, 1, work));
}
