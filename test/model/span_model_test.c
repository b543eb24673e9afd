/* span_model_test.c - random steps on spans of every class, each granule's two bits compared with an
 * array of one byte a slot. The neighbours' bits must stay as they are.
 * SEED=number repeats a run.
 * not under: thread (there is one) */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "heap/span.h"

#define NEIGHBOUR UINT64_C(0xa5a5a5a55a5a5a5a)
#define MAX_SLOTS (MGC_PAGE_SIZE / MGC_GRANULE)

static struct space sp;
static struct span *s;
static uint64_t seed;
static bool taken[MAX_SLOTS], marked[MAX_SLOTS];

static uint32_t below(size_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed * UINT64_C(0x2545f4914f6cdd1d) >> 11) % n);
}

static struct bitpair *bits_at(size_t page)
{
	return &sp.bits[page * (MGC_PAGE_SIZE / 1024)];
}

static void start(unsigned sizeclass, uint64_t with_seed)
{
	const char *env = getenv("SEED");
	seed = (env != NULL ? strtoull(env, NULL, 0) : with_seed) * 7919 + sizeclass + 1;
	if (sp.base == 0) {
		size_t first;
		cr_assert_eq(space_init(&sp, 4 * MGC_ARENA_SIZE), 0);
		cr_assert(space_grow(&sp, 1, &first));
	}
	size_t page = 5, words = MGC_PAGE_SIZE / 1024;
	s = &sp.spans[page];
	s->base = space_page_addr(&sp, page);
	s->npages = sizeclass != 0 ? sizeclass_table[sizeclass].npages : 1 + below(20);
	span_init(s, 7, sizeclass, 2);
	memset(bits_at(page - 1), 0, (s->npages + 2) * words * sizeof(struct bitpair));
	struct bitpair *before = bits_at(page) - 1, *behind = bits_at(page + s->npages);
	before->mark = before->alloc = behind->mark = behind->alloc = NEIGHBOUR;
	memset(taken, 0, sizeof taken);
	memset(marked, 0, sizeof marked);
}

static void compare(void)
{
	size_t nwords = span_nbytes(s) >> 10;
	const struct bitpair *b = bits_at(5);
	static struct bitpair want[MGC_MAX_SMALL_PAGES * 8 + 64];
	uint32_t count = 0;
	memset(want, 0, nwords * sizeof want[0]);
	for (uint32_t i = 0; i < s->nslots; i++) {
		size_t granule = i * s->slot_nbytes / MGC_GRANULE;
		want[granule / 64].alloc |= (uint64_t)taken[i] << (granule % 64);
		want[granule / 64].mark |= (uint64_t)marked[i] << (granule % 64);
		count += taken[i];
	}
	for (size_t w = 0; w < nwords; w++)
		cr_assert(b[w].alloc == want[w].alloc && b[w].mark == want[w].mark,
			  "slots of %zu B, word %zu: %lx %lx", s->slot_nbytes, w, b[w].alloc,
			  b[w].mark);
	cr_assert(b[-1].alloc == NEIGHBOUR && b[-1].mark == NEIGHBOUR);
	cr_assert(b[nwords].alloc == NEIGHBOUR && b[nwords].mark == NEIGHBOUR);
	cr_assert_eq(span_count(&sp, s), count);
	span_verify(&sp, s);
}

/* step_claim - what the owner does for a refill. */
static void step_claim(void)
{
	uint32_t lo = 0, hi = 0, from = s->scan_from;
	uint32_t max = below(2) ? s->nslots : 1 + below(s->nslots);
	uint32_t want_lo = from, want_hi;
	while (want_lo < s->nslots && taken[want_lo])
		want_lo++;
	for (want_hi = want_lo; want_hi < s->nslots && want_hi - want_lo < max && !taken[want_hi];)
		want_hi++;
	bool got = span_find_run(&sp, s, max, &lo, &hi);
	cr_assert_eq(got, want_lo < s->nslots);
	if (!got) {
		s->scan_from = below(2) ? 0 : (uint16_t)below(s->nslots);
		return;
	}
	cr_assert(lo == want_lo && hi == want_hi, "%u … %u, not %u … %u", lo, hi, want_lo, want_hi);
	bool black = below(3) == 0;
	span_take_run(&sp, s, lo, hi, black);
	memset(taken + lo, 1, hi - lo);
	if (black)
		memset(marked + lo, 1, hi - lo);
	cr_assert_eq(s->scan_from, hi);
	if (below(3) == 0) { /* flushed: the rest of the run was never born */
		uint32_t cur = lo + below(hi - lo + 1);
		span_drop_run(&sp, s, cur, hi);
		memset(taken + cur, 0, hi - cur);
		memset(marked + cur, 0, hi - cur);
	}
}

/* step_claim_word - what the owner does for a list: free slots wherever they lie, those of one word of bits. */
static void step_claim_word(void)
{
	uint32_t max = 1 + below(below(2) ? 3 : 70), i = s->scan_from, n = 0;
	size_t w = 0, first = 0;
	uint64_t want = 0;
	for (; i < s->nslots && n < max; i++) {
		size_t granule = (span_slot_addr(s, i) - sp.base) / MGC_GRANULE;
		if (taken[i])
			continue;
		if (want != 0 && granule / 64 != first)
			break;
		first = granule / 64;
		want |= UINT64_C(1) << granule % 64;
		taken[i] = true;
		n++;
	}
	uint64_t bits = span_free_word(&sp, s, max, &w);
	cr_assert(bits == want && (want == 0 || w == first), "%lx in %zu, not %lx in %zu", bits, w,
		  want, first);
	if (bits == 0) {
		s->scan_from = below(2) ? 0 : (uint16_t)below(s->nslots);
		return;
	}
	bool black = below(3) == 0;
	for (uint64_t left = black ? bits : 0; left != 0; left &= left - 1) {
		uintptr_t addr = sp.base + (w * 64 + bits_ctz(left)) * MGC_GRANULE;
		marked[span_slot_of(s, addr)] = true;
	}
	span_take_word(&sp, s, w, bits, black);
	uintptr_t last = sp.base + (w * 64 + 63 - bits_clz(bits)) * MGC_GRANULE;
	cr_assert_eq(s->scan_from, span_slot_of(s, last) + 1);
}

static bool has_words(void)
{
	return s->sizeclass >= 1 && s->sizeclass <= MGC_NDENSE && s->slot_nbytes % MGC_GRANULE == 0;
}

static void step_free(void)
{
	for (uint32_t n = below(20), i; n > 0; n--) {
		i = below(s->nslots);
		uint64_t bit;
		struct bitpair *pair = space_bits(&sp, span_slot_addr(s, i), &bit);
		and_seq(&pair->mark, ~bit);
		and_seq(&pair->alloc, ~bit);
		taken[i] = marked[i] = false;
	}
}

static void step_mark(void)
{
	for (uint32_t n = below(2) ? below(s->nslots) : below(10); n > 0; n--) {
		uint32_t i = below(s->nslots);
		if (!taken[i])
			continue;
		cr_assert_eq(space_mark(&sp, span_slot_addr(s, i)), !marked[i]);
		marked[i] = true;
	}
	uint32_t lo = below(s->nslots), hi = lo;
	while (hi < s->nslots && taken[hi] && hi - lo < 40)
		hi++;
	span_mark_run(&sp, s, lo, hi);
	memset(marked + lo, 1, hi - lo);
}

static void step_sweep(void)
{
	uint32_t live = 0;
	uintptr_t zombie = 1;
	for (uint32_t i = 0; i < s->nslots; i++) {
		taken[i] = taken[i] && marked[i];
		marked[i] = false;
		live += taken[i];
	}
	s->needzero = 0;
	cr_assert_eq(span_sweep(&sp, s, false, &zombie), live);
	cr_assert(zombie == 0 && s->scan_from == 0 && s->needzero == (live < s->nslots));
}

static void play(unsigned nsteps)
{
	for (unsigned i = 0; i < nsteps; i++) {
		uint32_t dice = below(16);
		if (dice < 3 && has_words())
			step_claim_word();
		else if (dice < 8)
			step_claim();
		else if (dice < 11)
			step_free();
		else if (dice < 15)
			step_mark();
		else
			step_sweep();
		compare();
	}
}

Test(span_model, every_class, .timeout = 80)
{
	for (unsigned c = 1; c < MGC_NSIZECLASS; c++)
		for (uint64_t round = 0; round < 10; round++) {
			start(c, round);
			play(400);
		}
}

Test(span_model, small_classes_longer, .timeout = 80)
{
	for (unsigned c = 1; c <= MGC_NDENSE + 2; c++) {
		start(c, 77);
		play(20000);
	}
}

Test(span_model, large, .timeout = 20)
{
	for (uint64_t round = 0; round < 50; round++) {
		start(0, round);
		play(200);
	}
}
