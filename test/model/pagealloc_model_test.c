/* pagealloc_model_test.c - millions of random operations on the page allocator, each compared with
 * the same one on an array of one byte a page.
 * SEED=number repeats a run.
 * not under: thread (there is one) */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "heap/pagealloc.h"
#include "lib/probe.h"

#define CHUNK MGC_CHUNK_PAGES
/* Sanitizers and emulators make each step ten times as long; the release build takes all of them. */
#define SHARE (MGC_WITH_ASAN || MGC_WITH_TSAN || PROBE_EMULATED ? 5 : 1)

enum page { ABSENT, CLEAN, DIRTY, USED };

/* Runs handed out: what the model's caller would hold. */
struct run {
	size_t first, npages;
};

static struct {
	uint8_t *page;
	size_t npages;
	struct run *runs;
	size_t nruns;
	uint64_t seed;
	uint64_t ops, allocated, refused, taken, none_dirty;
} model;

static struct pagealloc pa;

static uint64_t next_random(void)
{
	model.seed ^= model.seed << 13;
	model.seed ^= model.seed >> 7;
	model.seed ^= model.seed << 17;
	return model.seed * UINT64_C(0x2545f4914f6cdd1d) >> 11;
}

static size_t below(size_t n)
{
	return (size_t)(next_random() % n);
}

static void model_start(uint64_t seed, size_t nchunks)
{
	const char *env = getenv("SEED");
	memset(&model, 0, sizeof model);
	model.seed = env != NULL ? strtoull(env, NULL, 0) : seed;
	model.npages = nchunks * CHUNK;
	model.page = calloc(model.npages, 1);
	model.runs = calloc(model.npages, sizeof *model.runs);
	cr_assert(model.page != NULL && model.runs != NULL);
	cr_assert_eq(pagealloc_init(&pa, model.npages, model.npages), 0);
}

static void compare_all(void)
{
	size_t nfree = 0, nclean = 0;
	pagealloc_verify(&pa);
	for (size_t i = 0; i < model.npages; i++) {
		bool is_free = model.page[i] == CLEAN || model.page[i] == DIRTY;
		nfree += is_free;
		nclean += model.page[i] == CLEAN;
		cr_assert(pagealloc_is_free(&pa, i) == is_free, "page %zu", i);
	}
	cr_assert(nfree == pa.nfree && nclean == pa.nclean, "%zu %zu", pa.nfree, pa.nclean);
}

static void model_finish(void)
{
	compare_all();
	fprintf(stderr, "%lu operations, %lu allocated, %lu refused, %lu taken, %lu none dirty\n",
		(unsigned long)model.ops, (unsigned long)model.allocated, (unsigned long)model.refused,
		(unsigned long)model.taken, (unsigned long)model.none_dirty);
	pagealloc_destroy(&pa);
	free(model.page);
	free(model.runs);
}

static void add_chunks(size_t chunk, size_t n)
{
	pagealloc_add(&pa, chunk * CHUNK, n * CHUNK);
	memset(model.page + chunk * CHUNK, CLEAN, n * CHUNK);
}

/* model_find - the lowest aligned run of free pages, by trying every page; SIZE_MAX if none. */
static size_t model_find(size_t npages, size_t align)
{
	size_t open = 0; /* first page of the free run that holds page i - 1 */
	for (size_t i = 0; i <= model.npages; i++) {
		size_t at = (open + align - 1) / align * align;
		if (at + npages <= i)
			return at;
		if (i == model.npages || model.page[i] == ABSENT || model.page[i] == USED)
			open = i + 1;
	}
	return SIZE_MAX;
}

static void op_alloc(size_t npages, size_t align)
{
	size_t first = SIZE_MAX, nclean = 0, want = model_find(npages, align), want_clean = 0;
	bool got = pagealloc_alloc(&pa, npages, align, &first, &nclean);
	cr_assert(got == (want != SIZE_MAX) && first == want, "%zu at %zu: %zu, not %zu", npages,
		  align, first, want);
	model.allocated += got;
	model.refused += !got;
	if (!got)
		return;
	for (size_t i = first; i < first + npages; i++) {
		want_clean += model.page[i] == CLEAN;
		model.page[i] = USED;
	}
	cr_assert(nclean == want_clean, "%zu clean, not %zu", nclean, want_clean);
	model.runs[model.nruns++] = (struct run){ first, npages };
}

/* op_free - of a random run, sometimes only a part of it. */
static void op_free(bool clean)
{
	if (model.nruns == 0)
		return;
	size_t i = below(model.nruns);
	struct run r = model.runs[i];
	size_t from = below(3) == 0 ? below(r.npages) : 0;
	size_t n = below(3) == 0 ? 1 + below(r.npages - from) : r.npages - from;
	if (clean)
		pagealloc_put_clean(&pa, r.first + from, n);
	else
		pagealloc_free(&pa, r.first + from, n);
	memset(model.page + r.first + from, clean ? CLEAN : DIRTY, n);
	model.runs[i] = model.runs[--model.nruns];
	if (from > 0)
		model.runs[model.nruns++] = (struct run){ r.first, from };
	if (from + n < r.npages)
		model.runs[model.nruns++] = (struct run){ r.first + from + n, r.npages - from - n };
}

static bool model_dirty(size_t under, size_t min, size_t max, size_t align, struct run *out)
{
	size_t end = under < model.npages ? under : model.npages;
	while (end > 0) {
		if (model.page[end - 1] != DIRTY) {
			end--;
			continue;
		}
		size_t lo = end;
		while (lo > 0 && model.page[lo - 1] == DIRTY)
			lo--;
		size_t hi = end / align * align, up = (lo + align - 1) / align * align;
		if (hi > up && hi - up >= min) {
			max = max / align * align;
			out->npages = hi - up < max ? hi - up : max;
			out->first = hi - out->npages;
			return true;
		}
		end = lo;
	}
	return false;
}

static void op_scavenge(size_t under)
{
	size_t align = (size_t)1 << (below(3) == 0 ? below(9) : 0);
	size_t min = below(2) ? 1 : 1 + below(200);
	size_t max = (min > align ? min : align) + below(3) * below(600);
	size_t first, npages;
	for (size_t n = 1 + below(20); n > 0; n--) {
		struct run want = { 0, 0 };
		bool is = model_dirty(under, min, max, align, &want);
		bool got = pagealloc_take_dirty(&pa, under, min, max, align, &first, &npages);
		cr_assert(is == got && (!got || (first == want.first && npages == want.npages)),
			  "below %zu, %zu … %zu at %zu: %d %zu+%zu, not %d %zu+%zu", under, min,
			  max, align, got, first, npages, is, want.first, want.npages);
		model.taken += got;
		model.none_dirty += !got;
		if (!got)
			return;
		memset(model.page + first, USED, npages);
		if (below(4) == 0) { /* the lock was dropped: others come first */
			model.runs[model.nruns++] = want;
		} else {
			pagealloc_put_clean(&pa, first, npages);
			memset(model.page + first, CLEAN, npages);
		}
		under = below(2) ? first : under;
	}
}

static size_t some_length(size_t longest)
{
	switch (below(16)) {
	case 0:
		return 1 + below(longest);
	case 1:
		return 1 + below(3 * CHUNK < longest ? 3 * CHUNK : longest);
	case 2:
	case 3:
		return 1 + below(80);
	case 4:
		return 64;
	default:
		return 1 + below(6);
	}
}

/* step - one operation; `fill` out of 100 are allocations. */
static void step(unsigned fill, size_t longest)
{
	model.ops++;
	size_t dice = below(100);
	if (dice < fill)
		op_alloc(some_length(longest), (size_t)1 << (below(4) == 0 ? below(12) : 0));
	else if (below(20) == 0)
		op_scavenge(below(2) ? SIZE_MAX : below(model.npages + 1));
	else
		op_free(below(10) == 0);
}

/* churn - swings between nearly empty and exhausted. */
static void churn(size_t nops, size_t longest)
{
	for (size_t i = 0; i < nops / SHARE; i++) {
		unsigned phase = (unsigned)(i * 8 / nops % 4);
		step(phase == 0 ? 70 : phase == 1 ? 50 : phase == 2 ? 35 : 52, longest);
		if (i % (nops / 64) == 0)
			compare_all();
	}
}

/* Small reservations, so that the plain model keeps up for millions of operations. */
Test(pagealloc_model, one_level, .timeout = 80)
{
	model_start(1, 3);
	add_chunks(0, 3);
	churn(MGC_HOSTILE ? 2000000 : 800000, 2 * CHUNK);
	model_finish();
}

Test(pagealloc_model, two_levels_with_gaps, .timeout = 80)
{
	model_start(2, 20);
	add_chunks(1, 4);
	add_chunks(7, 2);
	add_chunks(10, 1);
	add_chunks(15, 5);
	churn(MGC_HOSTILE ? 800000 : 120000, 3 * CHUNK);
	model_finish();
}

Test(pagealloc_model, grows_while_it_works, .timeout = 80)
{
	model_start(3, 150);
	for (size_t at = below(3); at < 140;) {
		size_t n = 1 + below(9);
		add_chunks(at, n);
		at += n + (below(2) ? 0 : 1 + below(4));
		churn(MGC_HOSTILE ? 8000 : 640, 12 * CHUNK);
	}
	model_finish();
}

/* Nothing but single pages and pairs in a nearly full heap: the `first` hint at work. */
Test(pagealloc_model, nearly_full, .timeout = 80)
{
	model_start(4, 10);
	add_chunks(0, 10);
	while (model.nruns * 10 < model.npages * 9)
		op_alloc(1, 1);
	for (size_t i = 0; i < (MGC_HOSTILE ? 1000000 : 300000) / SHARE; i++, model.ops++) {
		if (below(2))
			op_alloc(1 + below(2), 1);
		else
			op_free(false);
	}
	model_finish();
}

/* Long runs across many blocks of each level. */
Test(pagealloc_model, long_runs, .timeout = 80)
{
	model_start(5, MGC_HOSTILE ? 700 : 90);
	add_chunks(0, MGC_HOSTILE ? 699 : 89);
	for (size_t i = 0; i < 4000; i++, model.ops++) {
		size_t n = 1 + below(model.npages / (1 + below(12)));
		if (below(5) < 3)
			op_alloc(n, (size_t)1 << (below(3) == 0 ? below(16) : 0));
		else if (below(8) != 0)
			op_free(below(4) == 0);
		else
			op_scavenge(below(model.npages + 100));
		if (i % 100 == 0)
			compare_all();
	}
	model_finish();
}

/* The scavenger walks a heap of single dirty pages from the top, while pages come and go. */
Test(pagealloc_model, scavenge_holes, .timeout = 80)
{
	model_start(6, 40);
	add_chunks(0, 40);
	op_alloc(model.npages, 1);
	for (size_t i = 0; i < model.npages; i += 1 + below(4)) {
		pagealloc_free(&pa, i, 1);
		model.page[i] = DIRTY;
	}
	size_t under = SIZE_MAX, first, npages;
	while (pagealloc_take_dirty(&pa, under, 1, 1 + below(3), 1, &first, &npages)) {
		size_t i = under < model.npages ? under : model.npages;
		for (; i > first + npages; i--)
			cr_assert(model.page[i - 1] != DIRTY, "page %zu was left out", i - 1);
		cr_assert(first + npages <= under);
		memset(model.page + first, CLEAN, npages);
		pagealloc_put_clean(&pa, first, npages);
		under = first;
		model.taken++;
	}
	cr_expect_eq(pa.nfree, pa.nclean);
	model.runs[0] = (struct run){ 0, 0 }; /* cut up by hand above */
	model.nruns = 0;
	model_finish();
}
