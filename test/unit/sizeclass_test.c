/* sizeclass_test.c - the size class tables, exhaustively: every size, every offset of every class. */
#include <criterion/criterion.h>

#include "heap/sizeclass.h"

#define SPAN_NBYTES(info) ((size_t)(info)->npages * MGC_PAGE_SIZE)

Test(sizeclass, every_size_gets_the_smallest_slot, .timeout = 10)
{
	for (size_t nbytes = 0; nbytes <= MGC_MAX_SMALL; nbytes++) {
		unsigned c = sizeclass_of(nbytes), want = 1;
		while (sizeclass_table[want].slot_nbytes < nbytes)
			want++;
		cr_assert(c == want, "%zu B: class %u, not %u", nbytes, c, want);
	}
}

Test(sizeclass, rows_are_whole, .timeout = 10)
{
	cr_expect_eq(sizeclass_table[0].slot_nbytes, 0);
	cr_expect_eq(sizeclass_table[0].nslots, 1);
	cr_expect_eq(sizeclass_table[0].reciprocal, 0);
	cr_expect_eq(sizeclass_table[1].slot_nbytes, MGC_GRANULE);
	cr_expect_eq(sizeclass_table[MGC_NSIZECLASS - 1].slot_nbytes, MGC_MAX_SMALL);
	for (unsigned c = 1; c < MGC_NSIZECLASS; c++) {
		const struct sizeclass_info *i = &sizeclass_table[c];
		cr_expect_gt(i->slot_nbytes, sizeclass_table[c - 1].slot_nbytes, "class %u", c);
		cr_expect(i->npages >= 1 && i->npages <= MGC_MAX_SMALL_PAGES, "class %u", c);
		cr_expect_eq(i->nslots, SPAN_NBYTES(i) / i->slot_nbytes, "class %u", c);
		cr_expect_eq(i->slot_nbytes % (c == 2 ? 8 : MGC_GRANULE), 0, "class %u", c);
	}
}

/* A request for a power of two, and for a multiple of 16, is aligned as much. */
Test(sizeclass, slots_are_aligned, .timeout = 10)
{
	for (size_t nbytes = 8; nbytes <= MGC_PAGE_SIZE; nbytes *= 2) {
		const struct sizeclass_info *i = &sizeclass_table[sizeclass_of(nbytes)];
		cr_expect_eq(i->slot_nbytes % nbytes, 0, "%zu B", nbytes);
	}
	for (size_t nbytes = 16; nbytes <= MGC_MAX_SMALL; nbytes += 16)
		cr_assert_eq(sizeclass_table[sizeclass_of(nbytes)].slot_nbytes % 16, 0, "%zu B", nbytes);
}

Test(sizeclass, reciprocal_divides_every_offset, .timeout = 30)
{
	for (unsigned c = 1; c < MGC_NSIZECLASS; c++) {
		const struct sizeclass_info *i = &sizeclass_table[c];
		uint32_t slot = 0;
		size_t next = i->slot_nbytes;
		for (size_t off = 0; off < SPAN_NBYTES(i); off++) {
			if (off == next) {
				slot++;
				next += i->slot_nbytes;
			}
			uint64_t got = (uint64_t)off * i->reciprocal >> 32;
			cr_assert(got == slot, "class %u, offset %zu: %lu", c, off, (unsigned long)got);
		}
	}
}

/* No two slots of a span begin in one granule: a granule's bits are one slot's. */
Test(sizeclass, one_slot_a_granule, .timeout = 10)
{
	for (unsigned c = 1; c < MGC_NSIZECLASS; c++)
		cr_expect_geq(sizeclass_table[c].slot_nbytes, MGC_GRANULE, "class %u", c);
}

Test(sizeclass, waste_is_bounded, .timeout = 10)
{
	for (unsigned c = 1; c < MGC_NSIZECLASS; c++) {
		const struct sizeclass_info *i = &sizeclass_table[c];
		size_t tail = SPAN_NBYTES(i) - (size_t)i->nslots * i->slot_nbytes;
		cr_expect_leq(tail * 16, SPAN_NBYTES(i), "class %u: tail of %zu B", c, tail);
	}
	for (size_t nbytes = 1; nbytes <= MGC_MAX_SMALL; nbytes++) {
		size_t over = sizeclass_table[sizeclass_of(nbytes)].slot_nbytes - nbytes;
		if (nbytes <= 128)
			cr_assert_leq(over, 15, "%zu B", nbytes);
		else
			cr_assert_leq(over * 8, nbytes + 7, "%zu B: %zu over", nbytes, over);
	}
}

Test(sizeclass, dense_masks_are_the_slots, .timeout = 10)
{
	for (unsigned c = 1; c <= MGC_NDENSE; c++) {
		const struct sizeclass_info *i = &sizeclass_table[c];
		uint64_t want[MGC_PAGE_SIZE / 1024] = { 0 };
		cr_assert_eq(i->npages, 1);
		for (uint32_t slot = 0; slot < i->nslots; slot++) {
			size_t granule = (size_t)slot * i->slot_nbytes / MGC_GRANULE;
			want[granule / 64] |= UINT64_C(1) << (granule % 64);
		}
		for (size_t w = 0; w < MGC_PAGE_SIZE / 1024; w++)
			cr_expect_eq(sizeclass_dense_mask[c - 1][w], want[w], "class %u word %zu", c, w);
	}
}
