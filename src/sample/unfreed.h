/* unfreed.h - what of the sampled allocations still lives, as text: by the stack that allocated it.
 *
 * WHAT   The places with most bytes first, each with its stack, then the totals. Exact where every
 *        allocation is sampled (rate 1); else estimates, and said to be such.
 * WHO    the malloc face at exit, where what was not freed is a leak: nothing else tells.
 * LOCKS  takes SAMPLE while it copies the counts, none while it writes.
 * UNITS  bytes. */
#ifndef MGC_SAMPLE_UNFREED_H
#define MGC_SAMPLE_UNFREED_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stddef.h>
#include <stdint.h>

/* unfreed_report - to fd, at most `most` places. Frames of the object (library or program) that holds the address
 * `own` are left out where they are the innermost: the allocator's. */
void unfreed_report(int fd, size_t most, uintptr_t own);

#endif
