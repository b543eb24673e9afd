/* keyfilter.h - which objects may be keys of weak pairs (ephemeron.h).
 *
 * WHAT   A key that is freed by hand is left to the collector, so that its address is not used again
 *        before its pairs are gone. Nothing leads from an object to the pairs that it is key of; two sets
 *        of bits by hash say which ones may have some. One is current; the other is filled by whoever
 *        marks, and takes its place when the mark is over. Who adds a pair sets its bit in both.
 * INV    X1 every key of a pair in a marked table has its bit in the current set
 * LOCKS  none. */
#ifndef MGC_GC_KEYFILTER_H
#define MGC_GC_KEYFILTER_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"

/* A set has 2^this bits. */
#define KEY_FILTER_SHIFT (MGC_HOSTILE ? 8 : 18)

struct key_filter {
	uint64_t *bits; /* atomic; both sets, NULL before the first pair */
	uint32_t current; /* atomic: 0 or 1 */
};

/* key_filter_ready - before the first pair; false: no memory. */
bool key_filter_ready(struct key_filter *f);
/* key_filter_add - before a pair with a key in that object can be seen. */
void key_filter_add(struct key_filter *f, uintptr_t object);
/* key_filter_mark - a marker has seen such a pair. */
void key_filter_mark(struct key_filter *f, uintptr_t object);
/* key_filter_turn - the mark is over. */
void key_filter_turn(struct key_filter *f);
/* key_filter_has - the object is a key, or was lately, or looks like one. */
bool key_filter_has(const struct key_filter *f, uintptr_t object);

#endif
