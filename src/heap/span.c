/* span.c - see span.h. WHO central.c, cache.c, sweep.c. LOCKS none: the caller owns the span.
 * The loops here work on words of 64 granules; `edge` masks cut the first and last word. */
#include "heap/span.h"

#include <string.h>

#include "base/check.h"

#define GRANULES_PER_WORD 64

void span_init(struct span *s, unsigned spanclass, unsigned sizeclass, uint32_t sweepgen)
{
	const struct sizeclass_info *info = &sizeclass_table[sizeclass];
	MGC_ASSERTION(sizeclass == 0 || s->npages == info->npages);
	s->slot_nbytes = sizeclass == 0 ? span_nbytes(s) : info->slot_nbytes;
	s->nslots = (uint16_t)info->nslots;
	s->reciprocal = info->reciprocal;
	store_relaxed(&s->spanclass, (uint16_t)spanclass);
	s->sizeclass = (uint8_t)sizeclass;
	s->scan_from = 0;
	s->overflow = 0;
	s->closed = 0;
	s->slack = 0;
	store_relaxed(&s->sweepgen, sweepgen);
	store_relaxed(&s->where, (uint8_t)SPAN_ON_NONE);
	list_init(&s->node);
}

void span_publish(struct space *sp, struct span *s)
{
	size_t page = space_page_of(sp, s->base);
	for (size_t i = s->npages; i-- > 0;)
		store_release(&sp->desc[page + i], desc_make(s->spanclass, i)); /* pairs: desc-publish */
}

void span_unpublish(struct space *sp, struct span *s)
{
	size_t page = space_page_of(sp, s->base);
	for (size_t i = 0; i < s->npages; i++)
		store_relaxed(&sp->desc[page + i], 0u);
}

static size_t granule_of(const struct space *sp, const struct span *s, uint32_t slot)
{
	return (span_slot_addr(s, slot) - sp->base) >> MGC_GRANULE_SHIFT;
}

/* granule_slot - the slot whose first granule is the span's g-th. slot_at - the space's g-th. */
static uint32_t granule_slot(const struct span *s, size_t g)
{
	/* a 24 B slot may begin in the middle of its granule: ask for the granule's last byte */
	return span_slot_of(s, s->base + (g << MGC_GRANULE_SHIFT) + MGC_GRANULE - 1);
}

static uint32_t slot_at(const struct space *sp, const struct span *s, size_t g)
{
	return granule_slot(s, g - ((s->base - sp->base) >> MGC_GRANULE_SHIFT));
}

static bool slot_is_taken(const struct space *sp, const struct span *s, uint32_t slot)
{
	uint64_t bit;
	return (load_acquire(&space_bits(sp, span_slot_addr(s, slot), &bit)->alloc) & bit) != 0;
}

/* find_dense - span_find_run by the masks: most refills are such, so it counts its instructions. */
static bool find_dense(const struct space *sp, struct span *s, uint32_t max_slots, uint32_t *lo,
		       uint32_t *hi)
{
	const uint64_t *begins = sizeclass_dense_mask[s->sizeclass - 1];
	const struct bitpair *b = &sp->bits[(s->base - sp->base) >> 10];
	size_t g = load_relaxed(&s->scan_from) * s->slot_nbytes >> MGC_GRANULE_SHIFT;
	size_t w = g / GRANULES_PER_WORD;
	uint64_t taken, free = 0, wanted = UINT64_MAX << g % GRANULES_PER_WORD;
	for (; w < MGC_DENSE_WORDS; w++, wanted = UINT64_MAX) {
		taken = load_acquire(&b[w].alloc); /* pairs: free-dirties: who freed a slot is done with it, and has set needzero */
		free = begins[w] & wanted & ~taken;
		if (free != 0)
			break;
	}
	if (free == 0) {
		store_relaxed(&s->scan_from, s->nslots);
		return false;
	}
	g = bits_ctz(free);
	*lo = granule_slot(s, w * GRANULES_PER_WORD + g);
	store_relaxed(&s->scan_from, (uint16_t)*lo);
	taken &= UINT64_MAX << g;
	while (taken == 0 && ++w < MGC_DENSE_WORDS)
		taken = load_acquire(&b[w].alloc); /* pairs: free-dirties */
	uint32_t end =
		taken == 0 ? s->nslots : granule_slot(s, w * GRANULES_PER_WORD + bits_ctz(taken));
	*hi = end - *lo > max_slots ? *lo + max_slots : end;
	return true;
}

bool span_find_run(const struct space *sp, struct span *s, uint32_t max_slots, uint32_t *lo,
		   uint32_t *hi)
{
	if (MGC_LIKELY(span_is_dense(s)))
		return find_dense(sp, s, max_slots, lo, hi);
	uint32_t slot = load_relaxed(&s->scan_from), end;
	while (slot < s->nslots && slot_is_taken(sp, s, slot))
		slot++;
	store_relaxed(&s->scan_from, (uint16_t)slot);
	for (end = slot; end < s->nslots && end - slot < max_slots && !slot_is_taken(sp, s, end); end++)
		;
	*lo = slot;
	*hi = end;
	return slot < end;
}

/* The slots [lo, hi) of a run, one word of bits after the other. */
struct run_bits {
	size_t w; /* index of the current word in sp->bits */
	uint64_t bits; /* its bits that begin a slot of the run */
	size_t g, g_end; /* granules that are left */
};

static struct run_bits run_begin(const struct space *sp, const struct span *s, uint32_t lo, uint32_t hi)
{
	return (struct run_bits){ .g = granule_of(sp, s, lo),
				  .g_end = lo < hi ? granule_of(sp, s, hi - 1) + 1 : 0 };
}

static bool run_next(const struct space *sp, const struct span *s, struct run_bits *r)
{
	if (r->g >= r->g_end)
		return false;
	r->w = r->g / GRANULES_PER_WORD;
	size_t word_end = (r->w + 1) * GRANULES_PER_WORD;
	if (span_is_dense(s)) {
		size_t first = (s->base - sp->base) >> (MGC_GRANULE_SHIFT + 6);
		r->bits = sizeclass_dense_mask[s->sizeclass - 1][r->w - first] &
			  ~bits_low(r->g % GRANULES_PER_WORD);
		if (r->g_end < word_end)
			r->bits &= bits_low(r->g_end % GRANULES_PER_WORD);
		r->g = word_end;
		return true;
	}
	r->bits = 0;
	for (; r->g < r->g_end && r->g < word_end; r->g += s->slot_nbytes >> MGC_GRANULE_SHIFT)
		r->bits |= UINT64_C(1) << r->g % GRANULES_PER_WORD;
	return true;
}

void span_take_run(const struct space *sp, struct span *s, uint32_t lo, uint32_t hi, bool black)
{
	struct run_bits r = run_begin(sp, s, lo, hi);
	while (run_next(sp, s, &r)) {
		struct bitpair *b = &sp->bits[r.w];
		if (black)
			or_relaxed(&b->mark, r.bits);
		/* nobody frees what is not allocated. The store ends the release sequence of the last free, which may
		 * be of a slot outside the run and later than the run was found: pairs: free-dirties */
		if (load_acquire(&b->alloc) == 0)
			store_release(&b->alloc, r.bits); /* pairs: alloc-bit */
		else
			or_release(&b->alloc, r.bits); /* pairs: alloc-bit */
	}
	store_relaxed(&s->scan_from, (uint16_t)hi);
}

uint64_t span_free_word(const struct space *sp, struct span *s, uint32_t max_slots, size_t *w)
{
	uint32_t from = load_relaxed(&s->scan_from);
	const uint64_t *begins = sizeclass_dense_mask[s->sizeclass - 1];
	size_t g = granule_of(sp, s, from), first = (s->base - sp->base) >> (MGC_GRANULE_SHIFT + 6);
	uint64_t passed = bits_low(g % GRANULES_PER_WORD);
	MGC_ASSERTION(span_has_words(s) && max_slots > 0);
	for (size_t i = g / GRANULES_PER_WORD; from < s->nslots && i < first + MGC_DENSE_WORDS; i++) {
		uint64_t free = begins[i - first] & ~passed & ~load_acquire(&sp->bits[i].alloc);
		if (free != 0) { /* pairs: free-dirties */
			while (bits_count(free) > max_slots)
				free &= ~(UINT64_C(1) << (63 - bits_clz(free)));
			*w = i;
			return free;
		}
		passed = 0;
	}
	store_relaxed(&s->scan_from, s->nslots);
	return 0;
}

void span_mark_run(const struct space *sp, struct span *s, uint32_t lo, uint32_t hi)
{
	struct run_bits r = run_begin(sp, s, lo, hi);
	while (run_next(sp, s, &r))
		or_relaxed(&sp->bits[r.w].mark, r.bits);
}

void span_drop_run(const struct space *sp, struct span *s, uint32_t lo, uint32_t hi)
{
	struct run_bits r = run_begin(sp, s, lo, hi);
	while (run_next(sp, s, &r)) {
		and_seq(&sp->bits[r.w].mark, ~r.bits);
		and_seq(&sp->bits[r.w].alloc, ~r.bits);
	}
}

/* The words of sp->bits that belong to the span alone: spans are whole pages. */
static struct bitpair *span_bits(const struct space *sp, const struct span *s, size_t *nwords)
{
	*nwords = s->nslots == 1 ? 1 : span_nbytes(s) >> 10;
	return &sp->bits[(s->base - sp->base) >> 10];
}

uint32_t span_count(const struct space *sp, const struct span *s)
{
	size_t nwords;
	const struct bitpair *b = span_bits(sp, s, &nwords);
	uint32_t n = 0;
	for (size_t i = 0; i < nwords; i++)
		n += bits_count(load_acquire(&b[i].alloc)); /* pairs: free-dirties: 0 frees the span */
	return n;
}

uint32_t span_sweep(const struct space *sp, struct span *s, bool keep, uintptr_t *zombie)
{
	size_t nwords;
	struct bitpair *b = span_bits(sp, s, &nwords);
	uint32_t live = 0;
	*zombie = 0;
	for (size_t i = 0; i < nwords; i++) {
		uint64_t alloc = load_relaxed(&b[i].alloc);
		uint64_t mark = load_relaxed(&b[i].mark);
		if (MGC_UNLIKELY(mark & ~alloc) && *zombie == 0)
			*zombie = s->base + (i << 10) +
				  ((size_t)bits_ctz(mark & ~alloc) << MGC_GRANULE_SHIFT);
		if (mark == 0) { /* nobody has anything here: no free comes between */
			if (alloc != 0)
				store_relaxed(&b[i].alloc, UINT64_C(0));
			continue;
		}
		if (alloc != mark)
			and_seq(&b[i].alloc, mark);
		if (!keep)
			store_relaxed(&b[i].mark, UINT64_C(0));
		live += bits_count(mark & alloc);
	}
	store_relaxed(&s->scan_from, (uint16_t)0);
	if (live < s->nslots)
		store_relaxed(&s->needzero, (uint8_t)1);
	return live;
}

uint32_t span_count_marks(const struct space *sp, const struct span *s)
{
	size_t nwords;
	const struct bitpair *b = span_bits(sp, s, &nwords);
	uint32_t n = 0;
	for (size_t i = 0; i < nwords; i++)
		n += bits_count(load_relaxed(&b[i].mark));
	return n;
}

void span_clear_marks(const struct space *sp, struct span *s)
{
	size_t nwords;
	struct bitpair *b = span_bits(sp, s, &nwords);
	for (size_t i = 0; i < nwords; i++)
		if (load_relaxed(&b[i].mark) != 0)
			store_relaxed(&b[i].mark, UINT64_C(0));
}

bool span_is_unmarked(const struct space *sp, const struct span *s)
{
	size_t nwords;
	const struct bitpair *b = span_bits(sp, s, &nwords);
	uint64_t marks = 0;
	for (size_t i = 0; i < nwords; i++)
		marks |= load_relaxed(&b[i].mark);
	return marks == 0;
}

void span_verify(const struct space *sp, const struct span *s)
{
	size_t nwords, begin = (s->base - sp->base) >> MGC_GRANULE_SHIFT;
	const struct bitpair *b = span_bits(sp, s, &nwords);
	for (size_t i = 0; i < nwords; i++) {
		uint64_t word = load_relaxed(&b[i].alloc) | load_relaxed(&b[i].mark);
		for (; word != 0; word &= word - 1) {
			size_t g = begin + i * GRANULES_PER_WORD + bits_ctz(word);
			uint32_t slot = slot_at(sp, s, g);
			if (slot >= s->nslots || granule_of(sp, s, slot) != g)
				mgc_fatal("span %p of %zu B slots: bit at %p begins no slot (P1)",
					  (void *)s->base, s->slot_nbytes,
					  (void *)(sp->base + (g << MGC_GRANULE_SHIFT)));
		}
	}
}
