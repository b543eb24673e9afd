/* alloc.c - typed allocation of short-lived objects, ns per object, by size and kind.
 * usage: alloc [MIB=1024]; allocates that much of each size, at most 16 Mi objects.
 * The only reference is a global, so everything but the last object dies at once; the
 * collections that this causes are part of the figure. Each object is written to once. */
#include "bench_gc.h"

enum { MAX_OBJECTS = 1 << 24 };
#define SIZES(X) \
	X(16) \
	X(24) \
	X(32) \
	X(48) \
	X(64) \
	X(96) \
	X(128) \
	X(192) \
	X(256) \
	X(384) \
	X(512)

static void *sink;
static uint64_t checksum;

/* allocate - one loop per type, so that type and size are constants inside it. */
#define DEFINE_KIND(kind, nptrs, N) \
	BENCH_TYPE(kind##_type_##N, struct kind##_##N, nptrs); \
	static __attribute__((noinline)) void kind##_run_##N(uint64_t n) \
	{ \
		for (uint64_t i = 0; i < n; i++) { \
			struct kind##_##N *p = bench_new(&kind##_type_##N); \
			p->word[0] = i; \
			bench_write(&sink, p); \
		} \
		checksum = checksum * 31 + ((struct kind##_##N *)sink)->word[0]; \
	}
#define DEFINE(N) \
	struct scan_##N { \
		void *pointer; \
		uint64_t word[(N) / 8 - 1]; \
	}; \
	struct noscan_##N { \
		uint64_t word[(N) / 8]; \
	}; \
	DEFINE_KIND(scan, 1, N) \
	DEFINE_KIND(noscan, 0, N)
SIZES(DEFINE)

static const struct {
	const char *kind;
	size_t size;
	void (*run)(uint64_t);
} runs[] = {
#define SCAN_ROW(N) { "scan", N, scan_run_##N },
#define NOSCAN_ROW(N) { "noscan", N, noscan_run_##N },
	SIZES(SCAN_ROW) SIZES(NOSCAN_ROW)
};

int main(int argc, char **argv)
{
	uint64_t nbytes = bench_arg(argc, argv, 1, 1024) << 20;
	bench_init();
	bench_root(&sink, sizeof sink);
	for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
		uint64_t n = nbytes / runs[i].size;
		if (n > MAX_OBJECTS)
			n = MAX_OBJECTS;
		runs[i].run(n / 16); /* warm up */
		double wall = bench_wall_ns(), cpu = bench_cpu_ns();
		runs[i].run(n);
		wall = (bench_wall_ns() - wall) / (double)n;
		cpu = (bench_cpu_ns() - cpu) / (double)n;
		char key[64];
		snprintf(key, sizeof key, "%s_%zu_ns", runs[i].kind, runs[i].size);
		bench_print(key, wall);
		snprintf(key, sizeof key, "%s_%zu_cpu_ns", runs[i].kind, runs[i].size);
		bench_print(key, cpu);
	}
	bench_finish(checksum);
	return 0;
}
