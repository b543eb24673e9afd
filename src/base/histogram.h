/* histogram.h - durations counted in buckets, four to each doubling: each at most a quarter wide.
 * WHO    the collector, once or a few times a cycle; who looks from outside reads the counts as they are.
 * STATE  counts only grow.  LOCKS none: relaxed adds, from handlers too.
 * UNITS  nanoseconds. */
#ifndef MGC_BASE_HISTOGRAM_H
#define MGC_BASE_HISTOGRAM_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/bits.h"

#define HISTOGRAM_BUCKETS 176 /* up to 2^44 ns, five hours */

struct histogram {
	uint32_t count[HISTOGRAM_BUCKETS]; /* atomic */
};

/* histogram_bucket - of a duration: two bits behind its highest one. */
MGC_INLINE unsigned histogram_bucket(uint64_t ns)
{
	if (ns < 4)
		return (unsigned)ns;
	unsigned top = 63u - bits_clz(ns);
	unsigned bucket = (top << 2 | (unsigned)(ns >> (top - 2) & 3)) - 4;
	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* histogram_floor - the smallest duration of a bucket. */
MGC_INLINE uint64_t histogram_floor(unsigned bucket)
{
	if (bucket < 4)
		return bucket;
	unsigned top = (bucket + 4) >> 2;
	return (UINT64_C(4) | ((bucket + 4) & 3)) << (top - 2);
}

MGC_INLINE void histogram_add(struct histogram *h, uint64_t ns)
{
	add_relaxed(&h->count[histogram_bucket(ns)], 1u);
}

#endif
