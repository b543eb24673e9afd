/* slab.c - see slab.h. LOCKS none: the caller owns the slab. */
#include "heap/slab.h"

#include "base/bits.h"

/* Blocks are carved so many bytes at a time, and four times that once a slab has proved to be in use. */
#define CARVE_NBYTES ((size_t)4096)
/* How many links slab_find_twice follows. */
#define LOOK 128u

struct block block_end = { &block_end };
struct slab slab_none = { .free = &block_end };

uint32_t slab_carve(struct slab *s, uintptr_t base)
{
	size_t nbytes = slab_block_nbytes(s), from = s->carved * nbytes;
	size_t step = from < SLAB_NBYTES / 4 ? CARVE_NBYTES : 4 * CARVE_NBYTES;
	uint32_t left = slab_nblocks(s->sizeclass) - s->carved;
	/* whole pages: what a block needs of one is the last that is touched of it */
	size_t room = align_down(from, CARVE_NBYTES) + step - from;
	uint32_t n = (uint32_t)min_size(max_size(room / nbytes, 1), left);
	if (n == 0)
		return 0;
	struct block *first = (struct block *)(base + from), *b = first;
	for (uint32_t i = 1; i < n; i++) {
		struct block *next = (struct block *)((uintptr_t)b + nbytes);
		b->next = next;
		b = next;
	}
	b->next = &block_end;
	/* only now: in the child of a fork the list may stand as it was at any moment, and what was in the blocks
	 * before may look like a link to one that is in use */
	store_release(&s->carved, (uint16_t)(s->carved + n)); /* pairs: carved */
	store_release(&s->free, first); /* pairs: carved */
	return n;
}

uint32_t slab_take_remote(struct slab *s, uintptr_t base)
{
	uintptr_t old = load_relaxed(&s->remote);
	if (remote_count(old) == 0)
		return 0;
	while (!cas_acq_rel(&s->remote, &old, old & (REMOTE_POSTED | REMOTE_HOLES))) /* pairs: remote */
		;
	s->free = remote_first(old, base);
	return remote_count(old);
}

uint32_t slab_gather(struct slab *s, uintptr_t base)
{
	uintptr_t old = load_relaxed(&s->remote);
	if (remote_count(old) == 0)
		return 0;
	while (!cas_acq_rel(&s->remote, &old, old & (REMOTE_POSTED | REMOTE_HOLES))) /* pairs: remote */
		;
	struct block *first = remote_first(old, base), *last = first;
	for (uint32_t i = 1; i < remote_count(old); i++)
		last = last->next;
	last->next = s->free;
	s->free = first;
	return remote_fresh(old);
}

uint32_t slab_count_remote(struct slab *s)
{
	uintptr_t old = load_relaxed(&s->remote);
	while (!cas_acq_rel(&s->remote, &old, old & ~(REMOTE_POSTED | REMOTE_FRESH))) /* pairs: remote */
		;
	return remote_fresh(old);
}

bool slab_add_remote(struct slab *s, struct block *first, struct block *last, uint32_t n)
{
	uintptr_t base = align_down((uintptr_t)first, SLAB_NBYTES), old = load_relaxed(&s->remote), new;
	do {
		last->next = remote_first(old, base);
		new = (old & ~(uintptr_t)KEY_OFFSET_BITS) + n *REMOTE_ONE;
		new |= ((uintptr_t)first - base) | REMOTE_POSTED;
	} while (!cas_acq_rel(&s->remote, &old, new)); /* pairs: remote */
	return (old & REMOTE_POSTED) == 0;
}

static bool in_slab(const struct slab *s, uintptr_t base, const struct block *b)
{
	return (uintptr_t)b - base < SLAB_NBYTES && slab_is_block(s, base, (uintptr_t)b);
}

/* ── holes ──────────────────────────────────────────────────────────────────────────────── */

#define HOLE_SHIFT 12
#define NHOLES (SLAB_NBYTES >> HOLE_SHIFT)
_Static_assert(SLAB_HOLE_NBYTES == (size_t)1 << HOLE_SHIFT && NHOLES == 16, "see REMOTE_HOLES");

/* A run of holes: pages, and the blocks that share a byte with them. */
struct hole {
	uint32_t page, npages, block, nblocks;
};

/* next_hole - the lowest run in that set of pages, of which some holds a block. */
static struct hole next_hole(const struct slab *s, uint32_t set)
{
	struct hole h = { .page = bits_ctz(set) };
	while (h.page + h.npages < NHOLES && (set >> (h.page + h.npages) & 1) != 0)
		h.npages++;
	size_t each = slab_block_nbytes(s);
	h.block = (uint32_t)((h.page << HOLE_SHIFT) / each);
	size_t end = ((((size_t)h.page + h.npages) << HOLE_SHIFT) + each - 1) / each;
	h.nblocks = (uint32_t)min_size(end, s->carved) - (uint32_t)min_size(h.block, s->carved);
	return h;
}

static uint32_t hole_mask(const struct hole *h)
{
	return ((UINT32_C(1) << h->npages) - 1) << h->page;
}

/* count_blocks_in - of all runs of the set. */
static uint32_t count_blocks_in(const struct slab *s, uint32_t set)
{
	uint32_t n = 0;
	while (set != 0) {
		struct hole h = next_hole(s, set);
		n += h.nblocks;
		set &= ~hole_mask(&h);
	}
	return n;
}

/* add_free - bytes of one free block to the pages that it lies in. */
static void add_free(uint32_t free[NHOLES], size_t offset, size_t nbytes)
{
	for (size_t end = offset + nbytes; offset < end;) {
		size_t part = min_size(end, align_down(offset, SLAB_HOLE_NBYTES) + SLAB_HOLE_NBYTES) -
			      offset;
		free[offset >> HOLE_SHIFT] += (uint32_t)part;
		offset += part;
	}
}

/* free_pages - in which all that was ever carved is free. None when the list is not as it should be. */
static uint32_t free_pages(const struct slab *s, uintptr_t base)
{
	uint32_t free[NHOLES] = { 0 }, set = 0, holes = slab_holes(s);
	size_t each = slab_block_nbytes(s), end = s->carved * each;
	uint32_t n = 0;
	for (const struct block *b = s->free; b != &block_end; b = b->next) {
		if (n++ == s->carved || !in_slab(s, base, b))
			return 0;
		add_free(free, (uintptr_t)b - base, each);
	}
	while (holes != 0) {
		struct hole h = next_hole(s, holes);
		add_free(free, h.block * each, h.nblocks * each);
		holes &= ~hole_mask(&h);
	}
	for (uint32_t i = 0; i < NHOLES; i++) {
		size_t lo = (size_t)i << HOLE_SHIFT, hi = lo + SLAB_HOLE_NBYTES;
		bool whole = s->carved == slab_nblocks(s->sizeclass); /* behind the last block lies nothing */
		if ((hi <= end || whole) && free[i] == min_size(hi, end) - min_size(lo, end))
			set |= UINT32_C(1) << i;
	}
	return set;
}

/* whole_os_pages - the part of the set that is whole pages of the system. */
static uint32_t whole_os_pages(uint32_t set, size_t os_page_nbytes)
{
	uint32_t n = (uint32_t)(os_page_nbytes >> HOLE_SHIFT), all = 0;
	if (n <= 1)
		return set;
	for (uint32_t i = 0; n < NHOLES && i < NHOLES; i += n) {
		uint32_t page = ((UINT32_C(1) << n) - 1) << i;
		all |= (set & page) == page ? page : 0;
	}
	return all;
}

/* touches - the block shares a byte with one of those pages. */
static bool touches(const struct slab *s, uintptr_t offset, uint32_t set)
{
	uint32_t first = (uint32_t)(offset >> HOLE_SHIFT);
	uint32_t last = (uint32_t)((offset + slab_block_nbytes(s) - 1) >> HOLE_SHIFT);
	return (set & ((UINT32_C(2) << last) - (UINT32_C(1) << first))) != 0;
}

/* looks_free - each block of that page begins with what may be a link. Others may write to those that are in use. */
MGC_NO_SANITIZE static bool looks_free(const struct slab *s, uintptr_t base, uint32_t page)
{
	size_t each = slab_block_nbytes(s), at = (size_t)page << HOLE_SHIFT;
	size_t end = min_size(at + SLAB_HOLE_NBYTES, s->carved * each);
	for (at = at / each * each; at < end; at += each) {
		const struct block *b = (const struct block *)(base + at), *next;
		if (at >> HOLE_SHIFT != page && (slab_holes(s) >> (at >> HOLE_SHIFT) & 1) != 0)
			continue; /* it begins in a hole: free, and not to be touched */
		next = load_relaxed(&b->next);
		if (next != &block_end && !in_slab(s, base, next))
			return false;
	}
	return true;
}

/* free_pages_at_most - without a look at the list, which lies all over the unit, while blocks follow each other. */
static uint32_t free_pages_at_most(const struct slab *s, uintptr_t base)
{
	uint32_t n = 0, holes = slab_holes(s);
	for (uint32_t page = 0; page < NHOLES; page++)
		n += (holes >> page & 1) == 0 && looks_free(s, base, page);
	return n;
}

uint32_t slab_make_holes(struct slab *s, uintptr_t base, size_t os_page_nbytes)
{
	uint32_t holes = slab_holes(s), resident = NHOLES - bits_count(holes);
	if (free_pages_at_most(s, base) * 8 < resident)
		return 0;
	uint32_t set = whole_os_pages(free_pages(s, base), os_page_nbytes) & ~holes;
	if (set == 0 || bits_count(set) * 8 < resident)
		return 0;
	struct block **link = &s->free;
	while (*link != &block_end)
		if (touches(s, (uintptr_t)*link - base, set))
			*link = (*link)->next;
		else
			link = &(*link)->next;
	/* only now: in the child of a fork that comes between, these blocks are lost, not in two places */
	or_release(&s->remote, (uintptr_t)set << REMOTE_HOLES_SHIFT); /* pairs: carved */
	return set;
}

uint32_t slab_fill_hole(struct slab *s, uintptr_t base, uint32_t *nblocks)
{
	uint32_t holes = slab_holes(s);
	if (holes == 0)
		return 0;
	struct hole h = next_hole(s, holes);
	size_t each = slab_block_nbytes(s);
	uintptr_t old = load_relaxed(&s->remote), mask = (uintptr_t)hole_mask(&h) << REMOTE_HOLES_SHIFT;
	while (!cas_acq_rel(&s->remote, &old, old & ~mask)) /* pairs: remote */
		;
	struct block *next = &block_end;
	for (uint32_t i = h.block + h.nblocks; i-- > h.block;) {
		struct block *b = (struct block *)(base + i * each);
		b->next = next;
		next = b;
	}
	store_release(&s->free, next); /* pairs: carved */
	*nblocks = h.nblocks;
	return h.npages;
}

bool slab_is_in_hole(const struct slab *s, uintptr_t base, uintptr_t addr)
{
	uint32_t holes = slab_holes(s);
	return MGC_UNLIKELY(holes != 0) && touches(s, addr - base, holes);
}

/* ── counting, checking ─────────────────────────────────────────────────────────────────── */

static uint32_t count_list(const struct slab *s, uintptr_t base, const struct block *b)
{
	uint32_t n = 0;
	for (; n < s->carved && in_slab(s, base, b); n++)
		b = load_relaxed(&b->next);
	return n;
}

/* held_blocks - of a CURRENT slab; of another's it may be something else, meanwhile. */
MGC_NO_SANITIZE static struct block *held_blocks(const struct slab *s)
{
	return load_relaxed(&s->state) == SLAB_CURRENT ? load_relaxed(&s->held) : &block_end;
}

uint32_t slab_count_free(const struct slab *s, uintptr_t base)
{
	return count_list(s, base, load_relaxed(&s->free)) + count_list(s, base, held_blocks(s)) +
	       count_blocks_in(s, slab_holes(s));
}

uint32_t slab_length(const struct slab *s, uint32_t used)
{
	uint32_t holes = slab_holes(s);
	uint32_t n = s->carved - used - remote_counted(load_relaxed(&s->remote));
	return MGC_LIKELY(holes == 0) ? n : n - count_blocks_in(s, holes);
}

/* mend_list - that of free blocks, and `behind` joins it. */
static uint32_t mend_list(struct slab *s, uintptr_t base, struct block *behind)
{
	uint32_t n = 0;
	struct block **link = &s->free; /* pairs: carved (the fork itself orders the rest) */
	for (; n < s->carved; n++, link = &(*link)->next) {
		if (*link == &block_end || !in_slab(s, base, *link)) {
			if (behind == &block_end)
				break;
			*link = behind;
			behind = &block_end;
			if (!in_slab(s, base, *link))
				break;
		}
	}
	*link = &block_end;
	return n;
}

uint32_t slab_mend(struct slab *s, uintptr_t base)
{
	return mend_list(s, base, held_blocks(s)) + count_blocks_in(s, slab_holes(s));
}

/* follow - link number i of a list; a block that is no block, or that comes again, or 0. */
static uintptr_t follow(struct slab_walk *w, unsigned i)
{
	if (w->at == &block_end)
		return 0;
	if (i == w->s->carved ||
	    !in_slab(w->s, w->base, w->at)) /* more than there are, or a link was overwritten */
		return (uintptr_t)w->at;
	w->at = w->at->next;
	if (w->at == w->mark)
		return (uintptr_t)w->at;
	if ((i & (i + 1)) == 0) /* Brent: the mark moves on by powers of two */
		w->mark = w->at;
	return 0;
}

uintptr_t slab_find_twice(struct slab_walk *w, unsigned n)
{
	uintptr_t twice = 0;
	for (unsigned k = 0; k < n; k++)
		w[k].at = w[k].mark = w[k].s->free;
	for (unsigned i = 0; i < LOOK && twice == 0; i++)
		for (unsigned k = 0; k < n && twice == 0; k++)
			twice = follow(&w[k], i);
	return twice;
}
