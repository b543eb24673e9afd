/* layout_test.c - interning of layouts and span classes: equal is one, full tables merge, threads agree. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "heap/layout.h"
#include "lib/os_fake.h"

static struct layouts ls;

static void start(void)
{
	cr_assert_eq(layouts_init(&ls), 0);
}

static unsigned mask_id(uint64_t mask, uint32_t period)
{
	struct layout_desc d = { .kind = LAYOUT_MASK, .period = period, .mask = &mask };
	return layout_intern(&ls, &d);
}

static void trace(void *obj, void *tracer)
{
	(void)obj, (void)tracer;
}

Test(layout, fixed_ones, .timeout = 10)
{
	start();
	const struct layout_desc noscan = { .kind = LAYOUT_NOSCAN };
	const struct layout_desc words = { .kind = LAYOUT_WORDS, .flags = LAYOUT_AMBIGUOUS };
	const struct layout_desc tiny = { .kind = LAYOUT_NOSCAN, .flags = LAYOUT_TINY };
	cr_expect_eq(layout_intern(&ls, &noscan), LAYOUT_ID_NOSCAN);
	cr_expect_eq(layout_intern(&ls, &words), LAYOUT_ID_WORDS);
	cr_expect_eq(layout_intern(&ls, &tiny), LAYOUT_ID_TINY);
	cr_expect_eq(ls.nlayouts, LAYOUT_ID_FIRST_FREE);
	layouts_destroy(&ls);
}

Test(layout, init_refused, .timeout = 10)
{
	for (uint64_t n = 1; n <= 2; n++) {
		os_fake_start();
		os_fake_fail(NULL, n, 1, ENOMEM);
		int err = layouts_init(&ls);
		cr_expect_eq(err, os_fake_refused(NULL) != 0 ? ENOMEM : 0);
		os_fake_stop();
		if (err == 0)
			layouts_destroy(&ls);
	}
}

Test(layout, equal_is_one, .timeout = 10)
{
	start();
	unsigned a = mask_id(1, 2), b = mask_id(2, 2), c = mask_id(1, 3);
	cr_expect(a != b && b != c && a != c);
	cr_expect_eq(mask_id(1, 2), a);
	cr_expect_eq(mask_id(2, 2), b);
	struct layout_desc d = { .kind = LAYOUT_TRACE, .trace = trace };
	unsigned t = layout_intern(&ls, &d);
	cr_expect_eq(layout_intern(&ls, &d), t);
	d.user = &d;
	cr_expect_neq(layout_intern(&ls, &d), t, "another registrant");
	d.user = NULL;
	d.flags = LAYOUT_STOPPED;
	cr_expect_neq(layout_intern(&ls, &d), t, "other flags");
	layouts_destroy(&ls);
}

/* Many that differ in one thing only: wherever two meet in the hash table, they are told apart. */
Test(layout, nearly_equal_is_not, .timeout = 20)
{
	enum { N = 1200 };
	static unsigned id[N];
	static uint64_t mask[32] = { 1 };
	for (unsigned differ = 0; differ < 5; differ++) {
		start();
		for (unsigned twice = 0; twice < 2; twice++) {
			for (unsigned i = 0; i < N; i++) {
				mask[1] = differ == 0 ? i : 0;
				struct layout_desc d = { .kind = LAYOUT_MASK, .period = 128, .mask = mask };
				d.period += differ == 1 ? i : 0;
				d.flags = differ == 2 ? i : 0;
				d.user = (void *)(uintptr_t)(differ == 3 ? i : 0);
				d.trace = differ == 4 ? (void (*)(void *, void *))(uintptr_t)i : NULL;
				unsigned got = layout_intern(&ls, &d);
				cr_assert(got == (twice ? id[i] : LAYOUT_ID_FIRST_FREE + i),
					  "%u of difference %u", i, differ);
				id[i] = got;
			}
		}
		layouts_destroy(&ls);
	}
}

Test(layout, full_mask_is_every_word, .timeout = 10)
{
	start();
	const struct layout_desc words = { .kind = LAYOUT_WORDS };
	unsigned id = layout_intern(&ls, &words);
	cr_expect_eq(mask_id(1, 1), id);
	cr_expect_eq(mask_id(7, 3), id);
	cr_expect_eq(mask_id(UINT64_MAX, 64), id);
	cr_expect_neq(mask_id(UINT64_MAX >> 1, 64), id);
	layouts_destroy(&ls);
}

Test(layout, masks_are_copied, .timeout = 10)
{
	start();
	uint64_t mask[5] = { 1, 2, 3, 4, 5 };
	struct layout_desc d = { .kind = LAYOUT_MASK, .period = 300, .mask = mask };
	unsigned id = layout_intern(&ls, &d);
	memset(mask, 0xff, sizeof mask);
	const struct layout_desc *kept = &ls.layout[id].desc;
	cr_assert(kept->period == 300 && kept->mask != mask);
	for (uint64_t i = 0; i < 5; i++)
		cr_expect_eq(kept->mask[i], i + 1);
	mask[4] = 5;
	cr_expect_neq(layout_intern(&ls, &d), id);
	layouts_destroy(&ls);
}

/* expected_mask - the pointer words of a slot, word by word. */
static uint64_t expected_mask(uint64_t mask, uint32_t period, size_t nwords)
{
	uint64_t out = 0;
	for (size_t w = 0; w < nwords; w++)
		if (mask >> (w % period) & 1)
			out |= UINT64_C(1) << w;
	return out;
}

Test(layout, spanclass_of_every_size, .timeout = 20)
{
	start();
	const struct {
		uint64_t mask;
		uint32_t period;
	} rows[] = { { 1, 2 }, { 5, 3 }, { UINT64_C(0x8000000000000001), 64 }, { 9, 7 } };
	for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
		unsigned id = mask_id(rows[r].mask, rows[r].period);
		for (unsigned c = 0; c < MGC_NSIZECLASS; c++) {
			unsigned sc = layout_spanclass(&ls, id, c);
			const struct spanclass *s = &ls.spanclass[sc];
			cr_assert(sc != 0 && sc < ls.nspanclasses);
			cr_expect_eq(layout_spanclass(&ls, id, c), sc);
			cr_expect_eq(s->layout, id);
			cr_expect_eq(s->sizeclass, c);
			cr_expect_eq(s->slot_nbytes, sizeclass_table[c].slot_nbytes);
			cr_expect_eq(s->reciprocal, sizeclass_table[c].reciprocal);
			if (c == 0 || s->slot_nbytes > 512) {
				cr_expect_eq(s->scan, SCAN_PERIOD);
				continue;
			}
			cr_expect_eq(s->scan, SCAN_MASK64);
			cr_expect_eq(s->mask,
				     expected_mask(rows[r].mask, rows[r].period, s->slot_nbytes / 8),
				     "row %zu class %u", r, c);
		}
	}
	layouts_destroy(&ls);
}

Test(layout, spanclass_of_each_kind, .timeout = 10)
{
	start();
	struct layout_desc d = { .kind = LAYOUT_TRACE,
				 .flags = LAYOUT_NOZERO | LAYOUT_UNCOLLECTABLE,
				 .trace = trace };
	const struct spanclass *s = &ls.spanclass[layout_spanclass(&ls, layout_intern(&ls, &d), 4)];
	cr_expect(s->scan == SCAN_TRACE && s->flags == (LAYOUT_NOZERO | LAYOUT_UNCOLLECTABLE));
	s = &ls.spanclass[layout_spanclass(&ls, LAYOUT_ID_NOSCAN, 4)];
	cr_expect(s->scan == SCAN_NONE && s->flags == 0);
	s = &ls.spanclass[layout_spanclass(&ls, LAYOUT_ID_WORDS, 4)];
	cr_expect(s->scan == SCAN_ALL && s->flags == LAYOUT_AMBIGUOUS);
	s = &ls.spanclass[layout_spanclass(&ls, LAYOUT_ID_TINY, 1)];
	cr_expect(s->scan == SCAN_NONE && s->flags == LAYOUT_TINY);
	layouts_destroy(&ls);
}

/* When there are too many layouts the next is "every word"; the old ones stay, and callbacks and
 * flags that must hold are refused instead. */
Test(layout, full_table, .timeout = 20)
{
	start();
	unsigned id = 0, n = 0;
	for (uint64_t i = 0; id != LAYOUT_ID_WORDS; i++, n++) {
		id = mask_id(i * 2 + 1, 40);
		cr_assert_leq(n, MGC_MAX_LAYOUT);
		if (id != LAYOUT_ID_WORDS)
			cr_assert_eq(id, LAYOUT_ID_FIRST_FREE + i);
	}
	cr_expect_lt(ls.nlayouts, MGC_MAX_LAYOUT, "some are kept back for flags that must hold");
	cr_expect_geq(ls.nlayouts, MGC_MAX_LAYOUT * 9 / 10);
	for (uint64_t i = 0; i + 1 < n; i++)
		cr_assert_eq(mask_id(i * 2 + 1, 40), LAYOUT_ID_FIRST_FREE + i);
	uint64_t mask = 2;
	struct layout_desc d = { .kind = LAYOUT_TRACE, .trace = trace };
	cr_expect_eq(layout_intern(&ls, &d), 0);
	d = (struct layout_desc){
		.kind = LAYOUT_MASK, .period = 5, .mask = &mask, .flags = LAYOUT_UNCOLLECTABLE
	};
	cr_expect_neq(layout_intern(&ls, &d), 0);
	for (id = 1; id != 0; mask += 2)
		id = layout_intern(&ls, &d);
	cr_expect_eq(ls.nlayouts, MGC_MAX_LAYOUT);
	d.flags = LAYOUT_AMBIGUOUS;
	cr_expect_eq(layout_intern(&ls, &d), LAYOUT_ID_WORDS);
	layouts_destroy(&ls);
}

Test(layout, no_room_for_masks, .timeout = 20)
{
	start();
	static uint64_t mask[4096];
	struct layout_desc d = { .kind = LAYOUT_MASK, .period = 4096 * 64, .mask = mask };
	unsigned id = 0;
	for (mask[7] = 1; id != LAYOUT_ID_WORDS; mask[7]++) {
		id = layout_intern(&ls, &d);
		cr_assert_leq(mask[7], 100);
	}
	cr_expect_gt(mask[7], 4);
	cr_expect_lt(ls.nlayouts, 100);
	mask[7] = 1;
	cr_expect_eq(layout_intern(&ls, &d), LAYOUT_ID_FIRST_FREE);
	layouts_destroy(&ls);
}

/* Too many span classes: masks become "every word"; what must not merge still gets its own. */
Test(layout, full_spanclasses, .timeout = 20)
{
	start();
	unsigned merged = 0;
	for (uint64_t i = 0; merged < 500; i++) {
		unsigned id = mask_id(2 * i + 1, 50), c = (unsigned)(i % MGC_NSIZECLASS);
		unsigned sc = layout_spanclass(&ls, id, c);
		cr_assert(sc != 0 && sc < MGC_MAX_SPANCLASS);
		cr_assert_eq(ls.spanclass[sc].sizeclass, c);
		if (ls.spanclass[sc].layout != id) {
			cr_assert_eq(ls.spanclass[sc].layout, LAYOUT_ID_WORDS);
			merged++;
		}
	}
	struct layout_desc d = { .kind = LAYOUT_TRACE, .trace = trace };
	unsigned t = layout_intern(&ls, &d);
	for (unsigned c = 0; c < MGC_NSIZECLASS; c++) {
		cr_assert_eq(ls.spanclass[layout_spanclass(&ls, LAYOUT_ID_NOSCAN, c)].layout,
			     LAYOUT_ID_NOSCAN);
		unsigned sc = layout_spanclass(&ls, LAYOUT_ID_WORDS, c);
		cr_assert(sc != 0 && ls.spanclass[sc].layout == LAYOUT_ID_WORDS);
		sc = layout_spanclass(&ls, t, c);
		cr_assert(sc != 0 && ls.spanclass[sc].layout == t, "class %u", c);
	}
	for (unsigned sc = 1; sc < ls.nspanclasses; sc++)
		cr_assert(sc < MGC_MAX_SPANCLASS && ls.spanclass[sc].layout != 0);
	layouts_destroy(&ls);
}

Test(layout, really_full_spanclasses, .timeout = 20)
{
	start();
	bool refused = false;
	for (uintptr_t i = 1; i < 30 && !refused; i++) {
		struct layout_desc d = { .kind = LAYOUT_TRACE, .trace = trace, .user = (void *)i };
		unsigned id = layout_intern(&ls, &d);
		for (unsigned c = 0; c < MGC_NSIZECLASS; c++) {
			unsigned sc = layout_spanclass(&ls, id, c);
			cr_assert(sc == 0 || ls.spanclass[sc].layout == id,
				  "a callback never merges");
			refused |= sc == 0;
		}
	}
	cr_expect(refused);
	for (unsigned c = 0; c < MGC_NSIZECLASS; c++) { /* they leave room for what everyone needs */
		unsigned sc = layout_spanclass(&ls, LAYOUT_ID_NOSCAN, c);
		cr_assert(sc != 0 && ls.spanclass[sc].layout == LAYOUT_ID_NOSCAN);
		sc = layout_spanclass(&ls, mask_id(5, 9), c);
		cr_assert(sc != 0 && ls.spanclass[sc].layout == LAYOUT_ID_WORDS);
	}
	cr_expect_neq(layout_spanclass(&ls, LAYOUT_ID_TINY, 1), 0);
	cr_expect_leq(ls.nspanclasses, MGC_MAX_SPANCLASS);
	layouts_destroy(&ls);
}

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

#define NTHREADS 4
#define NMASKS 400

static struct seen {
	unsigned id[NMASKS], spanclass[NMASKS];
} seen[NTHREADS];

static void *intern_all(void *arg)
{
	struct seen *mine = arg;
	for (unsigned k = 0; k < NMASKS; k++) {
		unsigned i = (k * 7 + (unsigned)(mine - seen) * 100) % NMASKS;
		mine->id[i] = mask_id(2 * (uint64_t)i + 1, 45);
		mine->spanclass[i] = layout_spanclass(&ls, mine->id[i], i % MGC_NSIZECLASS);
		const struct spanclass *s = &ls.spanclass[mine->spanclass[i]];
		if (s->layout != mine->id[i] || s->sizeclass != i % MGC_NSIZECLASS)
			return mine; /* seen before it was complete */
	}
	return NULL;
}

Test(layout, threads_agree, .timeout = 30)
{
	start();
	pthread_t thread[NTHREADS];
	void *incomplete;
	for (unsigned t = 0; t < NTHREADS; t++)
		cr_assert_eq(pthread_create(&thread[t], NULL, intern_all, &seen[t]), 0);
	for (unsigned t = 0; t < NTHREADS; t++) {
		pthread_join(thread[t], &incomplete);
		cr_expect_null(incomplete);
	}
	for (unsigned t = 1; t < NTHREADS; t++)
		cr_expect_eq(memcmp(&seen[t], &seen[0], sizeof seen[0]), 0);
	cr_expect_eq(ls.nlayouts, LAYOUT_ID_FIRST_FREE + NMASKS);
	layouts_destroy(&ls);
}
