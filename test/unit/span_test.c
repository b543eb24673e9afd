/* span_test.c - one span: slots and addresses, runs, sweeping, what the verifier sees. Random steps:
 * model/span_model_test.c */
#include <criterion/criterion.h>
#include <signal.h>

#include "heap/span.h"

static struct space sp;

/* span_of - a span of that class in the middle of fresh memory; class 0: npages pages. */
static struct span *span_of(unsigned sizeclass, uint32_t npages)
{
	size_t first = 0;
	if (sp.base == 0) {
		cr_assert_eq(space_init(&sp, 4 * MGC_ARENA_SIZE), 0);
		cr_assert(space_grow(&sp, 2, &first));
	}
	struct span *s = &sp.spans[first + 3];
	s->base = space_page_addr(&sp, first + 3);
	s->npages = sizeclass != 0 ? sizeclass_table[sizeclass].npages : npages;
	s->state = SPAN_IN_USE;
	span_init(s, 7, sizeclass, 2);
	return s;
}

static uint64_t *alloc_word(const struct span *s, uint32_t slot, uint64_t *bit)
{
	return &space_bits(&sp, span_slot_addr(s, slot), bit)->alloc;
}

Test(span, init_by_class, .timeout = 10)
{
	for (unsigned c = 1; c < MGC_NSIZECLASS; c++) {
		struct span *s = span_of(c, 0);
		cr_expect_eq(s->slot_nbytes, sizeclass_table[c].slot_nbytes);
		cr_expect_eq(s->nslots, sizeclass_table[c].nslots);
		cr_expect(s->spanclass == 7 && s->sizeclass == c && s->sweepgen == 2);
		cr_expect(s->where == SPAN_ON_NONE && list_empty(&s->node));
	}
	struct span *s = span_of(0, 70);
	cr_expect_eq(s->slot_nbytes, 70 * MGC_PAGE_SIZE);
	cr_expect_eq(s->nslots, 1);
	cr_expect_eq(span_nbytes(s), 70 * MGC_PAGE_SIZE);
}

Test(span, slot_of_every_address, .timeout = 30)
{
	for (unsigned c = 1; c < MGC_NSIZECLASS; c++) {
		struct span *s = span_of(c, 0);
		for (size_t off = 0; off < span_nbytes(s); off += 1 + off % 7)
			cr_assert_eq(span_slot_of(s, s->base + off), off / s->slot_nbytes, "%u %zu",
				     c, off);
		cr_assert_geq(span_slot_of(s, s->base + (size_t)s->nslots * s->slot_nbytes), s->nslots);
	}
	struct span *s = span_of(0, 40);
	cr_expect_eq(span_slot_of(s, s->base + span_nbytes(s) - 1), 0);
}

Test(span, takes_all_in_one_run, .timeout = 10)
{
	for (unsigned c = 0; c < MGC_NSIZECLASS; c++) {
		struct span *s = span_of(c, 1);
		uint32_t lo = 9, hi = 9;
		cr_assert(span_find_run(&sp, s, s->nslots, &lo, &hi));
		cr_assert(lo == 0 && hi == s->nslots, "class %u: %u … %u", c, lo, hi);
		cr_assert_eq(span_count(&sp, s), 0, "finding takes nothing");
		span_take_run(&sp, s, lo, hi, false);
		cr_assert_eq(span_count(&sp, s), s->nslots, "class %u", c);
		for (uint32_t i = 0; i < s->nslots; i++) {
			cr_assert(space_is_allocated(&sp, span_slot_addr(s, i)));
			cr_assert(!space_is_marked(&sp, span_slot_addr(s, i)));
		}
		cr_assert(!span_find_run(&sp, s, s->nslots, &lo, &hi));
		span_verify(&sp, s);
		span_drop_run(&sp, s, 0, s->nslots);
		cr_assert_eq(span_count(&sp, s), 0);
	}
}

Test(span, run_stops_at_taken_slots, .timeout = 10)
{
	struct span *s = span_of(sizeclass_of(24), 0);
	uint32_t lo, hi;
	span_take_run(&sp, s, 10, 11, false);
	span_take_run(&sp, s, 100, 200, false);
	s->scan_from = 0;
	cr_assert(span_find_run(&sp, s, 1000, &lo, &hi) && lo == 0 && hi == 10);
	s->scan_from = 5;
	cr_assert(span_find_run(&sp, s, 3, &lo, &hi) && lo == 5 && hi == 8, "at most max_slots");
	s->scan_from = 10;
	cr_assert(span_find_run(&sp, s, 1000, &lo, &hi) && lo == 11 && hi == 100);
	s->scan_from = 150;
	cr_assert(span_find_run(&sp, s, 1000, &lo, &hi) && lo == 200 && hi == s->nslots);
	span_take_run(&sp, s, 200, s->nslots, false);
	cr_expect(!span_find_run(&sp, s, 1, &lo, &hi),
		  "what lies below scan_from is not looked for");
}

Test(span, black_runs_are_marked, .timeout = 10)
{
	struct span *s = span_of(sizeclass_of(200), 0);
	uintptr_t zombie;
	span_take_run(&sp, s, 0, 3, true);
	span_take_run(&sp, s, 3, 6, false);
	for (uint32_t i = 0; i < 6; i++)
		cr_expect_eq(space_is_marked(&sp, span_slot_addr(s, i)), i < 3);
	span_mark_run(&sp, s, 4, 5);
	cr_expect_eq(span_sweep(&sp, s, false, &zombie), 4);
	cr_expect_eq(zombie, 0);
	for (uint32_t i = 0; i < 6; i++) {
		cr_expect(!space_is_marked(&sp, span_slot_addr(s, i)));
		cr_expect_eq(space_is_allocated(&sp, span_slot_addr(s, i)), i < 3 || i == 4);
	}
}

Test(span, mark_tells_who_was_first, .timeout = 10)
{
	struct span *s = span_of(sizeclass_of(64), 0);
	span_take_run(&sp, s, 0, 2, false);
	cr_expect(space_mark(&sp, span_slot_addr(s, 1)));
	cr_expect(!space_mark(&sp, span_slot_addr(s, 1)));
	cr_expect(!space_is_marked(&sp, span_slot_addr(s, 0)));
}

Test(span, sweep_says_what_is_needed, .timeout = 10)
{
	struct span *s = span_of(sizeclass_of(1024), 0);
	uintptr_t zombie;
	s->needzero = 0;
	s->scan_from = 5;
	span_take_run(&sp, s, 0, s->nslots, true);
	cr_expect_eq(span_sweep(&sp, s, false, &zombie), s->nslots);
	cr_expect_eq(s->needzero, 0, "all stay: no slot has old contents");
	cr_expect_eq(s->scan_from, 0);
	span_mark_run(&sp, s, 1, s->nslots);
	cr_expect_eq(span_sweep(&sp, s, false, &zombie), s->nslots - 1);
	cr_expect_eq(s->needzero, 1);
}

Test(span, sweep_names_a_zombie, .timeout = 10)
{
	struct span *s = span_of(sizeclass_of(24), 0);
	uintptr_t zombie;
	span_take_run(&sp, s, 0, 300, false);
	span_mark_run(&sp, s, 0, 300);
	span_drop_run(&sp, s, 290, 291);
	space_mark(&sp, span_slot_addr(s, 290)); /* a pointer to it was left */
	cr_expect_eq(span_sweep(&sp, s, false, &zombie), 299);
	cr_expect(zombie != 0 && span_slot_of(s, zombie + MGC_GRANULE - 1) == 290);
	cr_expect(!space_is_allocated(&sp, span_slot_addr(s, 290)), "and it stays free");
}

Test(span, large, .timeout = 10)
{
	struct span *s = span_of(0, 50);
	uintptr_t zombie;
	uint32_t lo, hi;
	cr_assert(span_find_run(&sp, s, 1, &lo, &hi) && lo == 0 && hi == 1);
	span_take_run(&sp, s, 0, 1, false);
	cr_expect_eq(span_count(&sp, s), 1);
	space_mark(&sp, s->base);
	span_verify(&sp, s);
	cr_expect_eq(span_sweep(&sp, s, false, &zombie), 1);
	cr_expect_eq(span_sweep(&sp, s, false, &zombie), 0);
	cr_expect_eq(span_count(&sp, s), 0);
}

Test(span, verify_sees_a_bit_inside_a_slot, .timeout = 10, .signal = SIGABRT)
{
	struct span *s = span_of(sizeclass_of(48), 0);
	uint64_t bit;
	span_take_run(&sp, s, 0, 20, false);
	span_verify(&sp, s);
	uint64_t *word = alloc_word(s, 10, &bit);
	*word |= bit << 1;
	span_verify(&sp, s);
}

Test(span, verify_sees_a_bit_behind_the_last_slot, .timeout = 10, .signal = SIGABRT)
{
	struct span *s = span_of(sizeclass_of(112), 0); /* leaves a tail of 16 B */
	uint64_t bit;
	span_verify(&sp, s);
	*alloc_word(s, s->nslots, &bit) |= bit;
	span_verify(&sp, s);
}
