/* sizeclass.h - object size → size class → slot size and span length.
 * Class 0 is a large object: a span of its own. The table is chosen by tools/mksizes.py; constant
 * data, no state. UNITS bytes, slots, pages.  FROM Go's sizeclasses.go, with our own sizes. */
#ifndef MGC_HEAP_SIZECLASS_H
#define MGC_HEAP_SIZECLASS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/config.h"
#include "heap/sizeclass_table.h"

_Static_assert(MGC_NSIZECLASS <= MGC_MAX_SIZECLASS, "config.h: MGC_MAX_SIZECLASS");

struct sizeclass_info {
	uint32_t slot_nbytes;
	uint32_t npages;
	uint32_t nslots;
	uint32_t reciprocal; /* ceil(2^32 / slot_nbytes): offset * reciprocal >> 32 is the slot */
};

extern const struct sizeclass_info sizeclass_table[MGC_NSIZECLASS];
/* index (n + 7) / 8 for n ≤ 1024, and 128 + (n - 1024 + 127) / 128 above */
extern const uint8_t sizeclass_by_size[];
/* allocation bits of a span of class k + 1 (slots ≤ 512 B, one page) with every slot taken: so many words */
#define MGC_DENSE_WORDS (MGC_PAGE_SIZE / 1024)
extern const uint64_t sizeclass_dense_mask[MGC_NDENSE][MGC_DENSE_WORDS];

/* sizeclass_of - smallest class whose slot holds nbytes, 0 … MGC_MAX_SMALL (0 counts as 1). */
MGC_INLINE unsigned sizeclass_of(size_t nbytes)
{
	if (nbytes <= 1024)
		return sizeclass_by_size[(nbytes + 7) / 8];
	return sizeclass_by_size[128 + (nbytes - 1024 + 127) / 128];
}

#endif
