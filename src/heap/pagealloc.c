/* pagealloc.c - see pagealloc.h. The rest of this file is about three walks:
 *   update     after a change of the bitmap: the leaves it touched, then their parents for as long as
 *              anything differs
 *   find       upwards from `first`, a finger search: sideways over whole blocks, up a level where a
 *              block of it begins, down where the longest run inside may fit
 *   dirty_down the same downwards, but the summaries know only "free", so they serve to skip
 * Levels are padded to whole groups of siblings; the padding stays zero, "nothing free". */
#include "heap/pagealloc.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

#define FANOUT ((size_t)1 << PAGEALLOC_FANOUT_SHIFT)
/* A run's length, and the sum of two in one block, fit 32 bits. */
#define MAX_PAGES ((size_t)1 << 31)

/* Tables are committed for so many chunks at a time: two system calls for 2 GiB of heap. */
#define REACH_CHUNKS ((size_t)512)

/* ── shape ──────────────────────────────────────────────────────────────────────────────── */

/* block_shift - log2 of the pages that one entry of the level speaks of. */
MGC_INLINE unsigned block_shift(const struct pagealloc *pa, unsigned level)
{
	return MGC_CHUNK_PAGES_SHIFT + PAGEALLOC_FANOUT_SHIFT * (pa->nlevels - 1 - level);
}

/* level_length - entries of the level, padding included. */
static size_t level_length(const struct pagealloc *pa, unsigned level)
{
	unsigned above_leaf = PAGEALLOC_FANOUT_SHIFT * (pa->nlevels - 1 - level);
	size_t n = (pa->nchunks + ((size_t)1 << above_leaf) - 1) >> above_leaf;
	return align_up(n, FANOUT);
}

/* lay_out - places the tables at pa->memory (which may still be 0). */
static void lay_out(struct pagealloc *pa)
{
	uintptr_t at = pa->memory;
	for (unsigned l = 0; l < pa->nlevels; l++) {
		pa->summary[l] = (struct page_summary *)at;
		at += align_up(level_length(pa, l) * sizeof(struct page_summary), MGC_CACHE_LINE);
	}
	pa->chunks = (struct pagealloc_chunk *)at;
}

/* commit - whole system pages around [from, to): what shares them is in the same mapping. */
static bool commit(const void *from, const void *to)
{
	uintptr_t lo = align_down((uintptr_t)from, os_page_size());
	uintptr_t hi = align_up((uintptr_t)to, os_page_size());
	return from == to || os_commit(lo, hi - lo) == 0;
}

/* chunks_reached - by tables for pages below npages. */
static size_t chunks_reached(size_t npages)
{
	return align_up((npages + MGC_CHUNK_PAGES - 1) >> MGC_CHUNK_PAGES_SHIFT, REACH_CHUNKS);
}

/* nbytes_for - of tables that reach so many pages: the records of the chunks beyond them are left out. */
static size_t nbytes_for(const struct pagealloc *pa, size_t npages)
{
	size_t n = min_size(max_size(chunks_reached(npages), pa->reached), pa->nchunks);
	return align_up((uintptr_t)(pa->chunks + n) - pa->memory, os_page_size());
}

int pagealloc_init(struct pagealloc *pa, size_t most_pages, size_t npages)
{
	memset(pa, 0, sizeof *pa);
	if (npages == 0 || npages > most_pages || most_pages > MAX_PAGES)
		return EINVAL;
	pa->nchunks = (most_pages + MGC_CHUNK_PAGES - 1) >> MGC_CHUNK_PAGES_SHIFT;
	pa->nlevels = 1;
	for (size_t n = pa->nchunks; n > FANOUT; n = (n + FANOUT - 1) / FANOUT)
		pa->nlevels++;
	MGC_ASSERTION(pa->nlevels <= PAGEALLOC_MAX_LEVELS);
	pa->first = pa->nchunks << MGC_CHUNK_PAGES_SHIFT;
	lay_out(pa);
	pa->memory_nbytes = nbytes_for(pa, npages);
	pa->memory = os_reserve_readable(pa->memory_nbytes);
	if (pa->memory == 0)
		return ENOMEM;
	lay_out(pa);
	if (pagealloc_reach(pa, 1)) {
		/* where the range begins, so do heaps: pages that are read before they are written come in twice */
		for (unsigned l = 0; l < pa->nlevels; l++)
			pa->summary[l][0] = (struct page_summary){ 0, 0, 0 };
		return 0;
	}
	pagealloc_destroy(pa);
	return ENOMEM;
}

bool pagealloc_reach(struct pagealloc *pa, size_t npages)
{
	size_t n = chunks_reached(npages);
	struct page_summary *leaf = pa->summary[pa->nlevels - 1];
	n = min_size(n, pa->nchunks);
	if (n <= pa->reached)
		return true;
	if (nbytes_for(pa, npages) > pa->memory_nbytes)
		return false;
	/* the upper levels lie before the leaves; all are shorter than a huge page, and touched here and there */
	if (!commit(pa->reached == 0 ? pa->summary[0] : leaf, leaf + align_up(n, FANOUT)) ||
	    !commit(pa->chunks, pa->chunks + n))
		return false;
	pa->reached = n;
	return true;
}

void pagealloc_cut(struct pagealloc *pa, size_t npages)
{
	size_t nbytes = nbytes_for(pa, npages);
	if (nbytes < pa->memory_nbytes)
		os_release(pa->memory + nbytes, pa->memory_nbytes - nbytes);
	pa->memory_nbytes = min_size(nbytes, pa->memory_nbytes);
}

bool pagealloc_widen(struct pagealloc *pa, size_t npages)
{
	struct pagealloc old = *pa;
	size_t nbytes = nbytes_for(pa, npages), leaves = align_up(pa->reached, FANOUT);
	if (nbytes <= pa->memory_nbytes)
		return true;
	if ((pa->memory = os_reserve_readable(nbytes)) != 0) {
		lay_out(pa);
		pa->memory_nbytes = nbytes;
		pa->reached = 0;
		if (pagealloc_reach(pa, old.reached << MGC_CHUNK_PAGES_SHIFT)) {
			uintptr_t end = (uintptr_t)(old.summary[pa->nlevels - 1] + leaves);
			memcpy(pa->summary[0], old.summary[0], end - old.memory);
			memcpy(pa->chunks, old.chunks, old.reached * sizeof *pa->chunks);
			pagealloc_destroy(&old);
			return true;
		}
		os_release(pa->memory, nbytes);
	}
	*pa = old;
	return false;
}

void pagealloc_destroy(struct pagealloc *pa)
{
	if (pa->memory != 0)
		os_release(pa->memory, pa->memory_nbytes);
	memset(pa, 0, sizeof *pa);
}

/* ── summaries ──────────────────────────────────────────────────────────────────────────── */

/* runs_from - the bits at which a run of at least n (1 … 64) set bits begins. */
MGC_INLINE uint64_t runs_from(uint64_t bits, unsigned n)
{
	unsigned have = 1;
	while (have < n && bits != 0) {
		unsigned step = have < n - have ? have : n - have;
		bits &= bits >> step;
		have += step;
	}
	return bits;
}

/* longer_in_word - the longest run of set bits in one word, or `least` if none is longer. */
MGC_INLINE unsigned longer_in_word(uint64_t bits, unsigned least)
{
	if (least >= 64)
		return least;
	for (bits = runs_from(bits, least + 1); bits != 0; bits &= bits >> 1)
		least++;
	return least;
}

static struct page_summary summarize(const uint64_t *words)
{
	unsigned start = 0, max = 0, open = 0; /* open: the run that reaches the end of the word */
	for (unsigned w = 0; w < PAGEALLOC_CHUNK_WORDS; w++) {
		uint64_t bits = words[w];
		if (bits == ~UINT64_C(0)) {
			open += 64;
			continue;
		}
		unsigned run = open + bits_ctz(~bits);
		if (open == w * 64)
			start = run;
		max = run > max ? run : max;
		open = bits_clz(~bits);
		if (bits != 0)
			max = longer_in_word(bits, max);
	}
	if (open == MGC_CHUNK_PAGES)
		start = open;
	return (struct page_summary){ start, open > max ? open : max, open };
}

/* merge - the summary of 8 siblings, each of `block` pages. */
static struct page_summary merge(const struct page_summary *s, uint32_t block)
{
	struct page_summary m = s[0];
	for (uint32_t i = 1; i < FANOUT; i++) {
		if (m.start == i * block)
			m.start += s[i].start;
		uint32_t across = m.end + s[i].start;
		m.max = m.max > across ? m.max : across;
		m.max = m.max > s[i].max ? m.max : s[i].max;
		m.end = s[i].end == block ? m.end + block : s[i].end;
	}
	return m;
}

/* assign - true when it changed. */
MGC_INLINE bool assign(struct page_summary *to, struct page_summary v)
{
	if (to->start == v.start && to->max == v.max && to->end == v.end)
		return false;
	*to = v;
	return true;
}

/* update - makes A3 hold again after all of [first, first + npages) became free, or not free. */
static void update(struct pagealloc *pa, size_t first, size_t npages, bool freed)
{
	size_t lo = first >> MGC_CHUNK_PAGES_SHIFT;
	size_t hi = (first + npages - 1) >> MGC_CHUNK_PAGES_SHIFT;
	unsigned level = pa->nlevels - 1;
	uint32_t whole = freed ? (uint32_t)MGC_CHUNK_PAGES : 0;
	bool changed = false;
	for (size_t c = lo; c <= hi; c++) {
		bool edge = c == lo || c == hi;
		struct page_summary v = { whole, whole, whole };
		changed |= assign(&pa->summary[level][c], edge ? summarize(pa->chunks[c].free) : v);
	}
	while (changed && level-- > 0) {
		uint32_t block = (uint32_t)1 << block_shift(pa, level + 1);
		lo >>= PAGEALLOC_FANOUT_SHIFT;
		hi >>= PAGEALLOC_FANOUT_SHIFT;
		changed = false;
		for (size_t i = lo; i <= hi; i++) {
			const struct page_summary *of = &pa->summary[level + 1][i * FANOUT];
			changed |= assign(&pa->summary[level][i], merge(of, block));
		}
	}
}

/* ── bits ───────────────────────────────────────────────────────────────────────────────── */

enum change { TAKE, GIVE_DIRTY, GIVE_CLEAN };

/* change_word - returns how many of the pages in `mask` were clean. */
MGC_INLINE unsigned change_word(uint64_t *free, uint64_t *clean, uint64_t mask, enum change what)
{
	if (what == TAKE) {
		MGC_ASSERTION((*free & mask) == mask);
		unsigned nclean = (*clean & mask) != 0 ? bits_count(*clean & mask) : 0;
		*free &= ~mask;
		*clean &= ~mask;
		return nclean;
	}
	MGC_ASSERTION((*free & mask) == 0);
	*free |= mask;
	if (what == GIVE_CLEAN)
		*clean |= mask;
	return 0;
}

/* change_bits - of a range; returns how many of its pages were clean. */
MGC_INLINE size_t change_bits(struct pagealloc *pa, size_t first, size_t npages, enum change what)
{
	size_t nclean = 0, end = first + npages;
	for (size_t p = first; p < end;) {
		unsigned bit = (unsigned)(p % 64);
		unsigned n = (unsigned)min_size(64 - bit, end - p);
		struct pagealloc_chunk *c = &pa->chunks[p >> MGC_CHUNK_PAGES_SHIFT];
		size_t w = p / 64 % PAGEALLOC_CHUNK_WORDS;
		nclean += change_word(&c->free[w], &c->clean[w], bits_low(n) << bit, what);
		p += n;
	}
	return nclean;
}

static void give(struct pagealloc *pa, size_t first, size_t npages, bool clean)
{
	MGC_ASSERTION(npages > 0 && first < pa->limit && npages <= pa->limit - first);
	if (clean)
		change_bits(pa, first, npages, GIVE_CLEAN);
	else
		change_bits(pa, first, npages, GIVE_DIRTY);
	pa->nfree += npages;
	pa->nclean += clean ? npages : 0;
	pa->first = min_size(pa->first, first);
	pa->dirty_end = clean ? pa->dirty_end : max_size(pa->dirty_end, first + npages);
	update(pa, first, npages, true);
}

static size_t take(struct pagealloc *pa, size_t first, size_t npages)
{
	size_t nclean = change_bits(pa, first, npages, TAKE);
	pa->nfree -= npages;
	pa->nclean -= nclean;
	update(pa, first, npages, false);
	return nclean;
}

bool pagealloc_add(struct pagealloc *pa, size_t first, size_t npages)
{
	MGC_ASSERTION((first | npages) % MGC_CHUNK_PAGES == 0);
	MGC_ASSERTION((first + npages) >> MGC_CHUNK_PAGES_SHIFT <= pa->nchunks);
	if (!pagealloc_reach(pa, first + npages))
		return false;
	if (npages == 0)
		return true;
	pa->limit = max_size(pa->limit, first + npages);
	give(pa, first, npages, true);
	return true;
}

void pagealloc_free(struct pagealloc *pa, size_t first, size_t npages)
{
	give(pa, first, npages, false);
}

void pagealloc_put_clean(struct pagealloc *pa, size_t first, size_t npages)
{
	give(pa, first, npages, true);
}

/* ── allocation ─────────────────────────────────────────────────────────────────────────── */

struct want {
	size_t npages, align;
	uint64_t starts; /* the bits of a word at which an aligned run may begin, if its word may */
	size_t found;
	size_t lowest; /* no page below is free */
};

/* find_in_chunk - the lowest fitting run that lies inside the chunk. */
static bool find_in_chunk(const uint64_t *words, size_t chunk_page, struct want *want)
{
	size_t n = want->npages;
	size_t open = 0; /* pages right before the word that are free, within the chunk */
	for (unsigned w = 0; w < PAGEALLOC_CHUNK_WORDS; w++) {
		uint64_t bits = words[w];
		size_t page = chunk_page + (size_t)w * 64;
		size_t lead = bits == ~UINT64_C(0) ? 64 : bits_ctz(~bits);
		size_t at = align_up(page - open, want->align);
		if (at + n <= page + lead) {
			want->found = at;
			return true;
		}
		if (n <= 64 && (page & (want->align - 1) & ~(size_t)63) == 0) {
			uint64_t fit = runs_from(bits, (unsigned)n) & want->starts;
			if (fit != 0) {
				want->found = page + bits_ctz(fit);
				return true;
			}
		}
		open = lead == 64 ? open + 64 : bits_clz(~bits);
	}
	return false;
}

/* find - sets want->found, or says that nothing fits. */
static bool find(const struct pagealloc *pa, struct want *want)
{
	unsigned leaf = pa->nlevels - 1, level = leaf;
	size_t i = pa->first >> MGC_CHUNK_PAGES_SHIFT;
	size_t run = i << MGC_CHUNK_PAGES_SHIFT; /* [run, page) is free */
	bool exact = false; /* want->lowest is settled */
	for (;;) {
		unsigned shift = block_shift(pa, level);
		size_t page = i << shift, block = (size_t)1 << shift;
		if (page >= pa->limit)
			return false;
		const struct page_summary *s = &pa->summary[level][i];
		size_t at = align_up(run, want->align);
		if (at + want->npages <= page + s->start) {
			want->found = at;
			return true;
		}
		if (s->max >= want->npages && s->start != block) {
			if (level != leaf) { /* look again at its first child, with the same run */
				level++;
				i <<= PAGEALLOC_FANOUT_SHIFT;
				continue;
			}
			if (find_in_chunk(pa->chunks[i].free, page, want))
				return true;
		}
		if (s->max != 0)
			exact = true;
		else if (!exact)
			want->lowest = max_size(want->lowest, page + block);
		if (s->end != block)
			run = page + block - s->end;
		for (i++; level > 0 && i % FANOUT == 0; level--)
			i >>= PAGEALLOC_FANOUT_SHIFT;
	}
}

bool pagealloc_alloc(struct pagealloc *pa, size_t npages, size_t align, size_t *first, size_t *nclean)
{
	MGC_ASSERTION(npages > 0 && is_pow2(align));
	if (npages > pa->nfree)
		return false;
	struct want want = { npages, align, ~UINT64_C(0), 0, pa->first };
	if (align > 1)
		want.starts = align >= 64 ? 1 : ~UINT64_C(0) / bits_low((unsigned)align);
	bool found = find(pa, &want);
	pa->first = want.lowest;
	if (!found)
		return false;
	if (want.found == want.lowest || npages * align == 1)
		pa->first = want.found + npages;
	*first = want.found;
	*nclean = take(pa, want.found, npages);
	return true;
}

bool pagealloc_is_free_run(const struct pagealloc *pa, size_t first, size_t npages)
{
	if (first > pa->limit || npages > pa->limit - first)
		return false;
	for (size_t p = first, n, end = first + npages; p < end; p += n) {
		n = min_size(64 - p % 64, end - p);
		uint64_t mask = bits_low((unsigned)n) << p % 64;
		const struct pagealloc_chunk *c = &pa->chunks[p >> MGC_CHUNK_PAGES_SHIFT];
		if ((c->free[p / 64 % PAGEALLOC_CHUNK_WORDS] & mask) != mask)
			return false;
	}
	return true;
}

bool pagealloc_alloc_at(struct pagealloc *pa, size_t first, size_t npages, size_t *nclean)
{
	if (!pagealloc_is_free_run(pa, first, npages))
		return false;
	*nclean = take(pa, first, npages);
	return true;
}

/* ── the scavenger ──────────────────────────────────────────────────────────────────────── */

struct hunt {
	size_t min, max, align;
	size_t end; /* of the dirty run that is open downwards; 0: none */
	size_t top; /* end of the highest dirty run seen; 0: none */
	size_t first, npages;
};

/* hunt_take - what the run [lo, end) yields, if enough. `open`: it may go on below lo, so that it is
 * judged only once nothing below can matter. */
static bool hunt_take(struct hunt *h, size_t lo, bool open)
{
	size_t hi = align_down(h->end, h->align);
	lo = align_up(lo, h->align);
	if (hi <= lo || hi - lo < (open ? max_size(h->min, h->max) : h->min))
		return false;
	if (hi - lo > h->max)
		lo = hi - h->max;
	h->first = lo;
	h->npages = hi - lo;
	return true;
}

/* hunt_word - the same for the 64 pages from `page`, downwards; bits are the dirty ones. */
static bool hunt_word(struct hunt *h, size_t page, uint64_t bits)
{
	unsigned pos = 64; /* bits below are still to be looked at; h->end says if a run is open */
	for (;;) {
		if (h->end == 0) {
			uint64_t below = bits & bits_low(pos);
			if (below == 0)
				return false;
			pos = 64 - bits_clz(below);
			h->end = page + pos;
			h->top = max_size(h->top, h->end);
		}
		uint64_t clear = ~bits & bits_low(pos);
		pos = clear == 0 ? 0 : 64 - bits_clz(clear);
		if (hunt_take(h, page + pos, pos == 0))
			return true;
		if (pos == 0)
			return false;
		h->end = 0;
	}
}

/* skip_down - the end of the highest chunk that ends at or below `page` and is worth a look, or 0.
 * No run is open; page is a whole number of chunks. */
static size_t skip_down(const struct pagealloc *pa, size_t page, size_t min)
{
	unsigned level = pa->nlevels - 1;
	while (page > 0) {
		while (level > 0 && (page & bits_low(block_shift(pa, level - 1))) == 0)
			level--;
		for (;; level++) { /* the largest block that ends here, and smaller ones in it */
			unsigned shift = block_shift(pa, level);
			const struct page_summary *s = &pa->summary[level][(page >> shift) - 1];
			if (s->max == 0 || (s->max < min && (s->start | s->end) == 0)) {
				page -= (size_t)1 << shift;
				break;
			}
			if (level == pa->nlevels - 1)
				return page;
		}
	}
	return 0;
}

static bool dirty_down(const struct pagealloc *pa, size_t page, struct hunt *h)
{
	while (page > 0) {
		if (h->end == 0 && page % MGC_CHUNK_PAGES == 0) {
			page = skip_down(pa, page, h->min);
			if (page == 0)
				return false;
		}
		size_t base = align_down(page - 1, 64);
		const struct pagealloc_chunk *c = &pa->chunks[base >> MGC_CHUNK_PAGES_SHIFT];
		size_t w = base / 64 % PAGEALLOC_CHUNK_WORDS;
		uint64_t bits = c->free[w] & ~c->clean[w] & bits_low((unsigned)(page - base));
		if (hunt_word(h, base, bits))
			return true;
		page = base;
	}
	return h->end != 0 && hunt_take(h, 0, false);
}

bool pagealloc_take_dirty(struct pagealloc *pa, size_t below, size_t min, size_t max, size_t align,
			  size_t *first, size_t *npages)
{
	MGC_ASSERTION(is_pow2(align) && min <= max && max >= align);
	if (pa->nfree == pa->nclean)
		return false;
	struct hunt hunt = { .min = min, .max = align_down(max, align), .align = align };
	bool found = dirty_down(pa, min_size(below, pa->dirty_end), &hunt);
	if (below >= pa->dirty_end && min <= 1) /* then nothing but pages that are not free was skipped */
		pa->dirty_end = found && hunt.top == hunt.first + hunt.npages ? hunt.first : hunt.top;
	if (!found)
		return false;
	take(pa, hunt.first, hunt.npages);
	*first = hunt.first;
	*npages = hunt.npages;
	return true;
}

/* ── looking at it ──────────────────────────────────────────────────────────────────────── */

bool pagealloc_is_free(const struct pagealloc *pa, size_t page)
{
	if (page >= pa->limit)
		return false;
	const struct pagealloc_chunk *c = &pa->chunks[page >> MGC_CHUNK_PAGES_SHIFT];
	return c->free[page / 64 % PAGEALLOC_CHUNK_WORDS] >> (page % 64) & 1;
}

MGC_NORETURN MGC_COLD static void broken(const char *what, size_t at)
{
	mgc_fatal("pagealloc: %s at %zu", what, at);
}

/* verify_chunk - A2, A3 of a leaf, and what `first` and `dirty_end` say. Adds up its bits. */
static void verify_chunk(const struct pagealloc *pa, size_t i, size_t *nfree, size_t *nclean)
{
	const struct pagealloc_chunk *c = &pa->chunks[i];
	for (unsigned w = 0; w < PAGEALLOC_CHUNK_WORDS; w++) {
		size_t page = (i << MGC_CHUNK_PAGES_SHIFT) + (size_t)w * 64;
		if ((c->clean[w] & ~c->free[w]) != 0)
			broken("A2, clean but not free in the word of page", page);
		if (c->free[w] != 0 && page + bits_ctz(c->free[w]) < pa->first)
			broken("A1, free page below `first`", page);
		uint64_t dirty = c->free[w] & ~c->clean[w];
		if (dirty != 0 && page + 64 - bits_clz(dirty) > pa->dirty_end)
			broken("A1, dirty page above `dirty_end`", page);
		*nfree += bits_count(c->free[w]);
		*nclean += bits_count(c->clean[w]);
	}
	struct page_summary leaf = pa->summary[pa->nlevels - 1][i];
	if (assign(&leaf, summarize(c->free)))
		broken("A3, summary of chunk", i);
}

void pagealloc_verify(const struct pagealloc *pa)
{
	size_t nfree = 0, nclean = 0, n = pa->limit >> MGC_CHUNK_PAGES_SHIFT;
	for (size_t i = 0; i < n; i++)
		verify_chunk(pa, i, &nfree, &nclean);
	if (nfree != pa->nfree || nclean != pa->nclean)
		broken("A4, count of free pages is not", nfree);
	for (unsigned l = pa->nlevels - 1; l-- > 0;) {
		n = (n + FANOUT - 1) / FANOUT;
		for (size_t i = 0; i < n; i++) {
			struct page_summary s = pa->summary[l][i];
			const struct page_summary *of = &pa->summary[l + 1][i * FANOUT];
			if (assign(&s, merge(of, (uint32_t)1 << block_shift(pa, l + 1))))
				broken("A3, summary of block", i << block_shift(pa, l));
		}
	}
}
