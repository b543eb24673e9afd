/* histogram.h - many durations in little memory: buckets of 1/64 of their power of two, so a percentile
 * is at most 1.6 % too high. bench/go/internal/bench has the same; bench/run.py reads the line of
 * counts, so that runs can be pooled.   UNITS ns. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

enum { HISTOGRAM_SUB = 64, HISTOGRAM_SUB_SHIFT = 6, HISTOGRAM_BUCKETS = 59 * 64 };

struct histogram {
	uint64_t count[HISTOGRAM_BUCKETS], n, max;
};

static inline unsigned histogram_bucket(uint64_t ns)
{
	if (ns < HISTOGRAM_SUB)
		return (unsigned)ns;
	unsigned shift = 63 - HISTOGRAM_SUB_SHIFT - (unsigned)__builtin_clzll(ns);
	return (shift + 1) * HISTOGRAM_SUB + (unsigned)(ns >> shift) - HISTOGRAM_SUB;
}

/* histogram_end - the first duration that is too long for the bucket. */
static inline uint64_t histogram_end(unsigned bucket)
{
	if (bucket < HISTOGRAM_SUB)
		return bucket + 1;
	unsigned shift = bucket / HISTOGRAM_SUB - 1;
	return (uint64_t)(bucket % HISTOGRAM_SUB + HISTOGRAM_SUB + 1) << shift;
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	h->count[histogram_bucket(ns)]++;
	h->n++;
	if (ns > h->max)
		h->max = ns;
}

/* histogram_print - the longest, and one line of bucket:count pairs. */
static inline void histogram_print(const struct histogram *h, const char *name)
{
	printf("%s_max_us %.3f\n%s_histogram ", name, (double)h->max / 1e3, name);
	const char *comma = "";
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		if (h->count[i] != 0) {
			printf("%s%u:%llu", comma, i, (unsigned long long)h->count[i]);
			comma = ",";
		}
	putchar('\n');
}

#endif
