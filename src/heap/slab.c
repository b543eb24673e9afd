/* slab.c - see slab.h. LOCKS none: the caller owns the slab. */
#include "heap/slab.h"

#include "base/bits.h"

/* Blocks are carved so many bytes at a time, and four times that once a slab has proved to be in use. */
#define CARVE_NBYTES ((size_t)4096)
/* How many links slab_find_twice follows. */
#define LOOK 128u

struct block block_end = { &block_end };
struct slab slab_none = { .free = &block_end };

bool slab_carve(struct slab *s, uintptr_t base)
{
	size_t nbytes = slab_block_nbytes(s), from = s->carved * nbytes;
	size_t step = from < SLAB_NBYTES / 4 ? CARVE_NBYTES : 4 * CARVE_NBYTES;
	uint32_t left = slab_nblocks(s->sizeclass) - s->carved;
	/* whole pages: what a block needs of one is the last that is touched of it */
	size_t room = align_down(from, CARVE_NBYTES) + step - from;
	uint32_t n = (uint32_t)min_size(max_size(room / nbytes, 1), left);
	if (n == 0)
		return false;
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
	return true;
}

bool slab_take_remote(struct slab *s, uintptr_t base)
{
	uintptr_t old = load_relaxed(&s->remote);
	if (remote_count(old) == 0)
		return false;
	while (!cas_acq_rel(&s->remote, &old, old & REMOTE_POSTED)) /* pairs: remote */
		;
	s->free = remote_first(old, base);
	return true;
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

uint32_t slab_count_free(const struct slab *s, uintptr_t base)
{
	uint32_t n = 0;
	const struct block *b = load_relaxed(&s->free);
	for (; n < s->carved && in_slab(s, base, b); n++)
		b = load_relaxed(&b->next);
	return n;
}

uint32_t slab_mend(struct slab *s, uintptr_t base)
{
	uint32_t n = 0;
	struct block **link = &s->free; /* pairs: carved (the fork itself orders the rest) */
	for (; *link != &block_end && n < s->carved && in_slab(s, base, *link); n++)
		link = &(*link)->next;
	*link = &block_end;
	return n;
}

uintptr_t slab_find_twice(const struct slab *s, uintptr_t base)
{
	const struct block *slow = s->free, *b = slow;
	for (unsigned i = 0; i < LOOK && b != &block_end; i++) {
		if (i == s->carved || !in_slab(s, base, b)) /* more than there are, or a link was overwritten */
			return (uintptr_t)b;
		b = b->next;
		if (b == slow)
			return (uintptr_t)b;
		if ((i & (i + 1)) == 0) /* Brent: the mark moves on by powers of two */
			slow = b;
	}
	return 0;
}
