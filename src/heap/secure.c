/* secure.c - see secure.h. */
#include "heap/secure.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

#define UNITS_PER_ARENA (MGC_ARENA_SIZE >> SLAB_SHIFT)
#define BLOCK_WORDS (SLAB_NBYTES / BLOCK_ALIGN / 64)
/* The system allows 65530 mappings; a guard makes two of one, and the program needs some. */
#define MAX_GUARDS (MGC_HOSTILE ? 16u : 16384u)
/* From so many draws on a class's random numbers begin anew. */
#define MAX_DRAWS 256u
/* A larger object's addresses do not wait. */
#define HELD_LARGE_PAGES ((size_t)16 << 20 >> MGC_PAGE_SHIFT)

struct secure_bits {
	uint64_t used[BLOCK_WORDS]; /* atomic; written under the class's lock, who checks looks without */
	uint64_t waits[BLOCK_WORDS]; /* the lock */
};

/* ── chance ─────────────────────────────────────────────────────────────────────────────── */

/* draw - below n. Lock held. */
static uint64_t draw(struct secure_class *c, uint64_t n)
{
	if (c->ndrawn++ % MAX_DRAWS == 0)
		c->random ^= os_random();
	c->random += UINT64_C(0x9e3779b97f4a7c15);
	return (bits_mix(c->random) >> 32) * n >> 32;
}

/* ── pages ──────────────────────────────────────────────────────────────────────────────── */

static size_t guard_pages(void)
{
	return max_size(1, os_page_size() >> MGC_PAGE_SHIFT);
}

/* set_guard - the pages at addr; none when there are many, or the system refuses: then they read as zero, as they do
 * when a guard is lifted. */
static void set_guard(struct secure *x, uintptr_t addr)
{
	size_t nbytes = guard_pages() << MGC_PAGE_SHIFT;
	if (add_relaxed(&x->nguards, (size_t)1) < MAX_GUARDS && os_decommit(addr, nbytes) == 0)
		return;
	sub_relaxed(&x->nguards, (size_t)1);
	memset((void *)addr, 0, nbytes);
}

/* lift_guard - the pages behind [base, base + npages) belong to the heap again. False: the system refused. */
static bool lift_guard(struct secure *x, uintptr_t from, size_t npages)
{
	if (os_commit(from, npages << MGC_PAGE_SHIFT) != 0)
		return false;
	if (load_relaxed(&x->nguards) != 0)
		sub_relaxed(&x->nguards, (size_t)1);
	return true;
}

/* take - npages and a guard behind them, all zero. */
static struct slab *take(struct secure *x, size_t npages, size_t align)
{
	size_t nclean;
	struct slab *s = manual_take(x->heap, npages + guard_pages(), align, false, &nclean);
	if (s == NULL) {
		secure_obey(x);
		s = manual_take(x->heap, npages + guard_pages(), align, false, &nclean);
	}
	if (s == NULL)
		return NULL;
	uintptr_t base = manual_base(x->heap, s);
	if (nclean < npages + guard_pages())
		memset((void *)base, 0, npages << MGC_PAGE_SHIFT);
	set_guard(x, base + (npages << MGC_PAGE_SHIFT));
	store_relaxed(&s->key, (uintptr_t)0);
	store_relaxed(&s->remote, (uintptr_t)0);
	store_relaxed(&s->free, &block_end);
	store_relaxed(&s->owner, NULL);
	return s;
}

/* ── slabs ──────────────────────────────────────────────────────────────────────────────── */

static size_t unit_of(const struct secure *x, uintptr_t addr)
{
	return (addr - x->heap->pageheap.space.base) >> SLAB_SHIFT;
}

/* commit_bits - of all arenas up to that unit. */
static bool commit_bits(struct secure *x, size_t unit)
{
	size_t want = unit / UNITS_PER_ARENA + 1;
	const size_t step = UNITS_PER_ARENA * sizeof(struct secure_bits);
	if (load_acquire(&x->committed) >= want) /* pairs: secure-bits */
		return true;
	bool ok = true;
	lock_acquire(&x->large.lock);
	while (ok && x->committed < want) {
		uintptr_t at = (uintptr_t)x->bits + x->committed * step;
		ok = !x->bits_cut || os_reserve_at(at, step) == 0;
		if (ok && os_commit(at, step) != 0) {
			ok = false;
			if (x->bits_cut)
				os_release(at, step);
		}
		if (ok)
			store_release(&x->committed, x->committed + 1); /* pairs: secure-bits */
	}
	lock_release(&x->large.lock);
	return ok;
}

void secure_obey(struct secure *x)
{
	lock_acquire(&x->large.lock);
	size_t used = x->committed * UNITS_PER_ARENA * sizeof(struct secure_bits);
	if (!x->bits_cut && os_address_limit() < x->heap->pageheap.space.nbytes) {
		os_release((uintptr_t)x->bits + used, x->bits_nbytes - used);
		x->bits_cut = true;
	}
	lock_release(&x->large.lock);
}

static void give_slab(struct secure *x, struct slab *s)
{
	uintptr_t end = manual_base(x->heap, s) + SLAB_NBYTES;
	if (!lift_guard(x, end, guard_pages())) /* nobody's from here on */
		return;
	store_relaxed(&s->state, (uint8_t)SLAB_NONE);
	manual_give(x->heap, s, 0, SLAB_PAGES + guard_pages(), SLAB_PAGES);
}

/* new_slab - of that class, in no list; no lock is held. */
static struct slab *new_slab(struct secure *x, unsigned sc)
{
	struct slab *s = take(x, SLAB_PAGES, 0);
	if (s == NULL)
		return NULL;
	size_t unit = unit_of(x, manual_base(x->heap, s));
	store_relaxed(&s->sizeclass, (uint8_t)sc);
	store_relaxed(&s->carved, (uint16_t)slab_nblocks(sc));
	s->countdown = 0;
	if (!commit_bits(x, unit)) {
		give_slab(x, s);
		return NULL;
	}
	memset(&x->bits[unit], 0, sizeof x->bits[unit]);
	store_release(&s->state, (uint8_t)SLAB_SECURE);
	return s;
}

/* pick - a free block of the slab, used from here on. Lock held. */
static uintptr_t pick(struct secure *x, struct secure_class *c, struct slab *s)
{
	uintptr_t base = manual_base(x->heap, s);
	struct secure_bits *b = &x->bits[unit_of(x, base)];
	uint32_t n = s->carved, nwords = (n + 63) / 64;
	for (uint64_t w = draw(c, nwords);; w = w + 1 < nwords ? w + 1 : 0) {
		uint64_t some = ~(b->used[w] | b->waits[w]) & bits_low((unsigned)(n - 64 * w));
		if (some == 0)
			continue;
		unsigned turn = (unsigned)draw(c, 64);
		uint64_t turned = some >> turn | (turn != 0 ? some << (64 - turn) : 0);
		unsigned bit = (bits_ctz(turned) + turn) % 64;
		store_relaxed(&b->used[w], b->used[w] | UINT64_C(1) << bit);
		if (++s->countdown == n)
			slab_list_remove(&c->usable, s);
		return base + (64 * w + bit) * slab_block_nbytes(s);
	}
}

static void see_zero(uintptr_t p, size_t nbytes)
{
	const uint64_t *word = (const uint64_t *)p;
	uint64_t any = 0;
	for (size_t i = 0; i < nbytes / sizeof *word; i++)
		any |= word[i];
	if (MGC_UNLIKELY(any != 0))
		mgc_misuse("block %p was written to after it was freed, or past the end of one "
			   "beside it",
			   (void *)p);
}

static void *alloc_small(struct secure *x, unsigned sc)
{
	struct secure_class *c = &x->class[sc];
	lock_acquire(&c->lock);
	while (c->usable.first == NULL) {
		lock_release(&c->lock);
		struct slab *s = new_slab(x, sc);
		if (s == NULL)
			return NULL;
		lock_acquire(&c->lock);
		slab_list_push_back(&c->usable, s);
	}
	uintptr_t p = pick(x, c, c->usable.first);
	lock_release(&c->lock);
	see_zero(p, sizeclass_table[sc].slot_nbytes);
	return (void *)p;
}

/* bit_of - the word and bit of block p of the slab. */
static uint64_t bit_of(const struct slab *s, uintptr_t base, uintptr_t p, size_t *word)
{
	size_t i = (p - base) / slab_block_nbytes(s);
	*word = i / 64;
	return UINT64_C(1) << i % 64;
}

/* let_go - the block has waited. Its slab is given back when it has no other, and there is another slab: returned,
 * in no list. Lock held. */
static struct slab *let_go(struct secure *x, struct secure_class *c, uintptr_t p)
{
	struct slab *s = slab_of(&x->heap->slabs, p);
	uintptr_t base = manual_base(x->heap, s);
	size_t word;
	uint64_t bit = bit_of(s, base, p, &word);
	x->bits[unit_of(x, base)].waits[word] &= ~bit;
	if (s->countdown-- == s->carved)
		slab_list_push_back(&c->usable, s);
	if (s->countdown != 0 || c->usable.first == c->usable.last)
		return NULL;
	slab_list_remove(&c->usable, s);
	return s;
}

static bool free_small(struct secure *x, struct slab *s, uintptr_t p)
{
	unsigned sc = load_relaxed(&s->sizeclass);
	struct secure_class *c = &x->class[sc];
	uintptr_t base = manual_base(x->heap, s);
	struct secure_bits *b = &x->bits[unit_of(x, base)];
	struct slab *gone = NULL;
	size_t word;
	uint64_t bit = bit_of(s, base, p, &word);
	lock_acquire(&c->lock);
	bool ok = (b->used[word] & bit) != 0;
	if (ok) {
		store_relaxed(&b->used[word], b->used[word] & ~bit);
		b->waits[word] |= bit;
		memset((void *)p, 0, slab_block_nbytes(s));
		uintptr_t *place = &c->held[draw(c, c->nheld)], old = *place;
		*place = p;
		if (old != 0)
			gone = let_go(x, c, old);
	}
	lock_release(&c->lock);
	if (gone != NULL)
		give_slab(x, gone);
	return ok;
}

/* ── large objects ──────────────────────────────────────────────────────────────────────── */

static void *alloc_large(struct secure *x, size_t nbytes, size_t align)
{
	if (nbytes > x->heap->pageheap.space.nbytes || align > MGC_ARENA_SIZE)
		return NULL;
	size_t npages = align_up(nbytes, max_size(MGC_PAGE_SIZE, os_page_size())) >> MGC_PAGE_SHIFT;
	struct slab *s = take(x, npages, align);
	if (s == NULL)
		return NULL;
	s->countdown = (uint32_t)npages;
	store_relaxed(&s->sizeclass, (uint8_t)0);
	store_release(&s->state, (uint8_t)SLAB_SECURE_LARGE);
	return (void *)manual_base(x->heap, s);
}

static void give_large(struct secure *x, struct slab *s)
{
	size_t npages = s->countdown;
	if (!lift_guard(x, manual_base(x->heap, s), npages + guard_pages()))
		return;
	store_relaxed(&s->state, (uint8_t)SLAB_NONE);
	manual_give(x->heap, s, 0, npages + guard_pages(), 0);
}

static bool free_large(struct secure *x, struct slab *s, uintptr_t p)
{
	uint8_t state = SLAB_SECURE_LARGE;
	if (!cas_acq_rel(&s->state, &state, (uint8_t)SLAB_SECURE_GONE))
		return false;
	size_t npages = s->countdown;
	if (os_decommit(p, npages << MGC_PAGE_SHIFT) != 0)
		memset((void *)p, 0, npages << MGC_PAGE_SHIFT);
	if (npages <= HELD_LARGE_PAGES) {
		lock_acquire(&x->large.lock);
		uintptr_t *place = &x->large.held[draw(&x->large, x->large.nheld)], old = *place;
		*place = (uintptr_t)s;
		lock_release(&x->large.lock);
		s = (struct slab *)old;
	}
	if (s != NULL)
		give_large(x, s);
	return true;
}

/* ── both ───────────────────────────────────────────────────────────────────────────────── */

int secure_init(struct secure *x, struct manual *h)
{
	size_t narenas = (h->pageheap.space.nbytes + MGC_ARENA_SIZE - 1) >> MGC_ARENA_SHIFT;
	x->bits_nbytes = narenas * UNITS_PER_ARENA * sizeof(struct secure_bits);
	x->bits_cut = os_address_limit() <
		      h->pageheap.space.nbytes; /* of a heap that starts under a limit, too */
	x->bits = (struct secure_bits *)(x->bits_cut ? os_choose_place(SLAB_NBYTES)
						     : os_reserve(x->bits_nbytes, 0));
	if (x->bits == NULL)
		return ENOMEM;
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++) {
		size_t places = SECURE_HELD_NBYTES / sizeclass_table[sc].slot_nbytes;
		lock_init(&x->class[sc].lock, LOCK_CENTRAL);
		x->class[sc].nheld = (uint32_t)min_size(places, SECURE_HELD);
	}
	lock_init(&x->large.lock, LOCK_CENTRAL);
	x->large.nheld = (uint32_t)min_size(SECURE_HELD_LARGE, SECURE_HELD);
	h->pageheap.huge_from_pages = SIZE_MAX; /* guards would break them */
	store_release(&x->heap, h); /* pairs: secure-on */
	return 0;
}

void *secure_alloc(struct secure *x, size_t nbytes, size_t align)
{
	unsigned sc = nbytes <= MGC_MAX_SMALL ? mcache_class_aligned(nbytes, align) : 0;
	return sc != 0 ? alloc_small(x, sc) : alloc_large(x, max_size(nbytes, 1), align);
}

enum block_verdict secure_check(struct secure *x, struct slab *s, uintptr_t p)
{
	if (!manual_holds(x->heap, s, p))
		return BLOCK_FOREIGN;
	uintptr_t base = manual_base(x->heap, s);
	uint8_t state = load_acquire(&s->state);
	if (state == SLAB_SECURE_LARGE)
		return p == base ? BLOCK_OK : BLOCK_INSIDE;
	if (state == SLAB_SECURE_GONE)
		return BLOCK_TWICE;
	if (state != SLAB_SECURE)
		return BLOCK_FOREIGN;
	if (!slab_is_block(s, base, p))
		return BLOCK_INSIDE;
	size_t word;
	uint64_t bit = bit_of(s, base, p, &word);
	return (load_relaxed(&x->bits[unit_of(x, base)].used[word]) & bit) != 0 ? BLOCK_OK : BLOCK_TWICE;
}

bool secure_free(struct secure *x, struct slab *s, void *p)
{
	return load_relaxed(&s->state) == SLAB_SECURE ? free_small(x, s, (uintptr_t)p)
						      : free_large(x, s, (uintptr_t)p);
}

size_t secure_usable(const struct slab *s)
{
	return load_relaxed(&s->state) == SLAB_SECURE ? slab_block_nbytes(s)
						      : (size_t)s->countdown << MGC_PAGE_SHIFT;
}

uint32_t secure_count_used(const struct secure *x, const struct slab *s)
{
	size_t unit = unit_of(x, manual_base(x->heap, s));
	uint32_t n = 0;
	for (size_t w = 0; w < BLOCK_WORDS && unit < load_acquire(&x->committed) * UNITS_PER_ARENA;
	     w++) /* pairs: secure-bits */
		n += bits_count(load_relaxed(&x->bits[unit].used[w]));
	return n;
}

void secure_each_lock(struct secure *x, void (*fn)(struct lock *l))
{
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++)
		fn(&x->class[sc].lock);
	fn(&x->large.lock);
}
