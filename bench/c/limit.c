/* limit.c - a program under a memory limit most of which is live: what it keeps of its processor, and how far
 * it goes over.
 * usage: limit [LIMIT_MIB=320] [LIVE_PERCENT=60] [MIB_PER_SECOND=0: as fast as it can] [SECONDS=10]
 *
 * WHAT   A tree of live objects, and garbage of the same size (64 B) beside it. With a rate the program waits
 *        for the next thousand objects' time without leaving its processor.
 * PRINTS over_percent: peak of the process's memory over the limit; share_percent: the program's part of all
 *        the processor time of the run, the rest being the collector's. */
#include <sys/resource.h>

#include "bench_gc.h"

struct node {
	struct node *left, *right;
	uint64_t pad[6];
};
BENCH_TYPE(node_type, struct node, 2);
static struct node *live;

static struct node *tree(size_t nobj)
{
	if (nobj == 0)
		return NULL;
	struct node *n = bench_new(&node_type);
	bench_write(&n->left, tree(nobj / 2));
	bench_write(&n->right, tree(nobj - 1 - nobj / 2));
	return n;
}

static double resident_bytes(void)
{
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	return (double)use.ru_maxrss * 1024;
}

static __attribute__((noinline)) void garbage(void)
{
	for (uint64_t i = 0; i < 1000; i++) {
		struct node *n = bench_new(&node_type);
		n->pad[0] = i;
	}
}

int main(int argc, char **argv)
{
	double limit = (double)bench_arg(argc, argv, 1, 320) * (1 << 20);
	double share = (double)bench_arg(argc, argv, 2, 60) / 100;
	double rate = (double)bench_arg(argc, argv, 3, 0) * (1 << 20);
	double duration = (double)bench_arg(argc, argv, 4, 10) * 1e9, nbytes = 0;
	bench_init();
	bench_limit((uint64_t)limit);
	bench_root(&live, sizeof live);
	bench_write(&live, tree((size_t)(limit * share / sizeof(struct node))));
	bench_collect();
	double start = bench_wall_ns(), cpu = bench_cpu_ns(), collecting = bench_gc_cpu_ns(),
	       now = start;
	while (now - start < duration) {
		now = bench_wall_ns();
		if (rate > 0 && nbytes / rate * 1e9 > now - start)
			continue;
		garbage();
		nbytes += 1000 * sizeof(struct node);
	}
	collecting = bench_gc_cpu_ns() - collecting;
	cpu = bench_cpu_ns() - cpu;
	bench_print("over_percent", (resident_bytes() / limit - 1) * 100);
	bench_print("share_percent", (1 - collecting / cpu) * 100);
	bench_print("mib_per_s", nbytes / (now - start) * 1e9 / (1 << 20));
	bench_finish((uint64_t)limit);
	return 0;
}
