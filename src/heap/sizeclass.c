/* sizeclass.c - the tables of sizeclass.h. */
#include "heap/sizeclass.h"

const struct sizeclass_info sizeclass_table[MGC_NSIZECLASS] = { { 0, 0, 1, 0 },
#define X(slot, pages, slots, recip) { slot, pages, slots, recip },
								MGC_SIZECLASSES(X)
#undef X
};

const uint8_t sizeclass_by_size[] = { MGC_CLASS_BY_SIZE };

_Static_assert(sizeof sizeclass_by_size == 129 + (MGC_MAX_SMALL - 1024) / 128,
	       "sizeclass_of indexes the whole table");

const uint64_t sizeclass_dense_mask[MGC_NDENSE][MGC_PAGE_SIZE / 1024] = {
#define X(...) { __VA_ARGS__ },
	MGC_DENSE_MASKS(X)
#undef X
};
