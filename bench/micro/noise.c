/* noise.c - what the machine alone does to the slowest operations of a program like lru.c: as many operations a second,
 * as many places of as large a memory looked at and written in each, and nothing is allocated.
 *
 * WHAT   Percentiles of how long an operation takes, the longest, and why: a slow one with processor time was
 *        interrupted or stolen from by the host (the thread's clock ran on), one without lost its processor.
 * WHO    run by hand: cc -O2 -std=gnu17 -Ibench/c bench/micro/noise.c && ./a.out [MIB=1200] [PLACES=8] [SECONDS=15]
 * UNITS  µs. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "bench.h"
#include "histogram.h"

enum { RATE = 200000, SLOW_NS = 25000 };

static struct histogram took;
static uint64_t *place, nplaces, random_state = 88172645463325252u;

static uint64_t operation(uint64_t n)
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < n; i++) { /* each address depends on what stands at another one */
		uint64_t r = bench_random(&random_state);
		uint64_t *p = &place[(r + place[r % nplaces]) % nplaces];
		sum += *p += i;
	}
	return sum;
}

static double percentile(double share)
{
	uint64_t seen = 0;
	unsigned i = 0;
	while (seen <= (uint64_t)((double)took.n * share))
		seen += took.count[i++];
	return (double)histogram_end(i - 1) / 1e3;
}

int main(int argc, char **argv)
{
	size_t nbytes = bench_arg(argc, argv, 1, 1200) << 20;
	uint64_t n = bench_arg(argc, argv, 2, 8), noperations = RATE * bench_arg(argc, argv, 3, 15);
	uint64_t sum = 0, interrupted = 0, switched = 0;
	nplaces = nbytes / sizeof *place;
	place = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (place == MAP_FAILED || nplaces == 0)
		return 1;
	madvise(place, nbytes, MADV_HUGEPAGE);
	for (uint64_t i = 0; i < nplaces; i++)
		place[i] = i;
	double start = bench_wall_ns();
	for (uint64_t i = 0; i < noperations; i++) {
		double due = start + (double)i * 1e9 / RATE;
		while (bench_wall_ns() < due)
			;
		double cpu = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID), begin = bench_wall_ns();
		sum += operation(n);
		double ns = bench_wall_ns() - begin;
		histogram_add(&took, (uint64_t)ns);
		if (ns < SLOW_NS)
			continue;
		cpu = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
		*(cpu > ns / 2 ? &interrupted : &switched) += 1;
	}
	printf("p50 %.2f  p99 %.2f  p99.9 %.2f  p99.99 %.2f  longest %.0f µs\n", percentile(.5),
	       percentile(.99), percentile(.999), percentile(.9999), (double)took.max / 1e3);
	printf("%llu of more than %d µs: %llu interrupted or stolen from, %llu without a processor "
	       "(checksum %llu)\n",
	       (unsigned long long)(interrupted + switched), SLOW_NS / 1000,
	       (unsigned long long)interrupted, (unsigned long long)switched, (unsigned long long)sum);
	return 0;
}
