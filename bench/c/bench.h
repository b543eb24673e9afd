/* bench.h - clocks, output, random numbers and arguments of every benchmark program.
 *
 * WHAT   bench/go/internal/bench has the same for Go. Programs print `key value` lines on stdout,
 *        which the runners read (parse_lines in bench/common.py).
 * UNITS  times in ns unless the name says otherwise. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double bench_clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline double bench_wall_ns(void)
{
	return bench_clock_ns(CLOCK_MONOTONIC);
}

/* bench_cpu_ns - CPU time of the whole process: the collector's threads count. */
static inline double bench_cpu_ns(void)
{
	return bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static inline void bench_print(const char *key, double value)
{
	printf("%s %.3f\n", key, value);
}

static inline void bench_print_int(const char *key, uint64_t value)
{
	printf("%s %llu\n", key, (unsigned long long)value);
}

static inline uint64_t bench_random(uint64_t *state) /* xorshift64 */
{
	uint64_t x = *state;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

static inline int bench_by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* bench_arg - the i-th command line argument as a number, or its default. */
static inline uint64_t bench_arg(int argc, char **argv, int i, uint64_t otherwise)
{
	return i < argc ? strtoull(argv[i], NULL, 10) : otherwise;
}

#endif
