/* micro.c OP [N] - one pattern of calls, N times: what does one malloc and its free cost?
 *
 * WHAT   Prints `ns X`, the time of one pair (of one whole growth, of one thread), taken inside the
 *        program after a tenth of N as a rehearsal. Under callgrind two runs with different N give the
 *        instructions of a pair: what they differ by, with the loop and the call (about 10).
 *        `micro which` prints the file that malloc comes from; `micro hello` only starts up. */
#define _GNU_SOURCE
#include "bench_malloc.h"
#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>

enum { BATCH = 1000, LIVE = 65536, RING = 1024 };

static void *volatile sink;
static void *kept[LIVE];

static void pair(uint64_t n, size_t size)
{
	for (uint64_t i = 0; i < n; i++)
		free(sink = malloc(size));
}

static void pair16(uint64_t n)
{
	pair(n, 16);
}

static void pair32k(uint64_t n)
{
	pair(n, 32 << 10);
}

static void pair256k(uint64_t n)
{
	pair(n, 256 << 10);
}

static void pair1m(uint64_t n)
{
	pair(n, 1 << 20);
}

static void pair32m(uint64_t n)
{
	pair(n, 32 << 20);
}

static void pairvar(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		free(sink = malloc(16 + (i * 16 & 1008)));
}

static void calloc64(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		free(sink = calloc(1, 64));
}

static void aligned(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		free(sink = aligned_alloc(64, 256));
}

static void batch16(uint64_t n)
{
	for (uint64_t i = 0; i < n; i += BATCH) {
		for (int k = 0; k < BATCH; k++)
			kept[k] = malloc(16);
		for (int k = 0; k < BATCH; k++)
			free(kept[k]);
	}
}

static void rand64k(uint64_t n)
{
	uint64_t rng = 0x9e3779b97f4a7c15;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t r = bench_random(&rng);
		void **slot = &kept[r % LIVE];
		free(*slot);
		*slot = malloc(16 + (r >> 20) % 1009);
	}
}

static void growth(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		char *p = NULL;
		for (size_t size = 16; size < 64 << 10; size += size / 2)
			p = realloc(p, size);
		free(p);
	}
}

static _Alignas(128) atomic_size_t made;
static _Alignas(128) atomic_size_t freed;

static void *consume(void *arg)
{
	uint64_t n = *(uint64_t *)arg;
	for (size_t i = 0; i < n; i++) {
		while (i == atomic_load_explicit(&made, memory_order_acquire))
			sched_yield();
		free(kept[i % RING]);
		atomic_store_explicit(&freed, i + 1, memory_order_release);
	}
	return NULL;
}

static void remote(uint64_t n)
{
	pthread_t other;
	atomic_store(&made, 0);
	atomic_store(&freed, 0);
	if (pthread_create(&other, NULL, consume, &n))
		bm_die("pthread_create");
	for (size_t i = 0; i < n; i++) {
		while (i - atomic_load_explicit(&freed, memory_order_acquire) == RING)
			sched_yield();
		kept[i % RING] = malloc(64);
		atomic_store_explicit(&made, i + 1, memory_order_release);
	}
	pthread_join(other, NULL);
}

static void *allocate64(void *arg)
{
	void *own[64];
	for (size_t i = 0; i < 64; i++)
		own[i] = malloc(16 * i);
	for (size_t i = 0; i < 64; i++)
		free(own[i]);
	return arg;
}

static void threads(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		pthread_t t;
		if (pthread_create(&t, NULL, allocate64, NULL))
			bm_die("pthread_create");
		pthread_join(t, NULL);
	}
}

static const struct op {
	const char *name;
	void (*run)(uint64_t n);
	uint64_t n;
} ops[] = {
	{ "pair16", pair16, 20000000 },     { "pairvar", pairvar, 20000000 },
	{ "batch16", batch16, 20000000 },   { "rand64k", rand64k, 3000000 },
	{ "calloc64", calloc64, 20000000 }, { "aligned", aligned, 10000000 },
	{ "pair32k", pair32k, 10000000 },   { "pair256k", pair256k, 500000 },
	{ "pair1m", pair1m, 300000 },       { "pair32m", pair32m, 20000 },
	{ "growth", growth, 100000 },       { "remote", remote, 3000000 },
	{ "threads", threads, 3000 },
};

static void which(void)
{
	Dl_info at;
	void *found = dlsym(RTLD_DEFAULT, "malloc");
	puts(found && dladdr(found, &at) ? at.dli_fname : "?");
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "hello";
	if (!strcmp(name, "hello"))
		return puts("hello") < 0;
	if (!strcmp(name, "which")) {
		which();
		return 0;
	}
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		const struct op *op = &ops[i];
		if (strcmp(op->name, name) != 0)
			continue;
		uint64_t n = bench_arg(argc, argv, 2, op->n);
		op->run(n / 10 + 1);
		double start = bench_wall_ns();
		op->run(n);
		bench_print("ns", (bench_wall_ns() - start) / (double)n);
		return 0;
	}
	fprintf(stderr, "micro: no operation %s\n", name);
	return 2;
}
