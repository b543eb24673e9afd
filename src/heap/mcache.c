/* mcache.c - see mcache.h. */
#include "heap/mcache.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

/* An outbox hands over after so many blocks, or so many bytes. */
#define OUTBOX_BLOCKS (MGC_HOSTILE ? 3 : 32)
#define OUTBOX_NBYTES ((size_t)32768)
/* Large objects of up to so many pages are kept when they are freed, and so many bytes of them. */
#define LARGE_KEEP_PAGES ((size_t)1 << 20 >> MGC_PAGE_SHIFT)
#define LARGE_KEEP_NBYTES ((size_t)2 << (MGC_HOSTILE ? 17 : 20))

#define NONE4 &slab_none, &slab_none, &slab_none, &slab_none
#define NONE16 NONE4, NONE4, NONE4, NONE4
#define NONE64 NONE16, NONE16, NONE16, NONE16
_Static_assert(MCACHE_NDIRECT == 65 && MGC_NSIZECLASS == 74, "the initializers below");
struct mcache mcache_none = {
	.direct = { NONE64, &slab_none },
	.current = { NONE64, NONE4, NONE4, &slab_none, &slab_none },
};

/* ── classes ────────────────────────────────────────────────────────────────────────────── */

unsigned mcache_class_aligned(size_t nbytes, size_t align)
{
	nbytes = align_up(nbytes == 0 ? 1 : nbytes, max_size(align, BLOCK_ALIGN));
	if (nbytes > MGC_MAX_SMALL || align > MGC_MAX_SMALL)
		return 0;
	for (unsigned sc = sizeclass_of(nbytes); sc < MGC_NSIZECLASS; sc++)
		if ((sizeclass_table[sc].slot_nbytes & (align - 1)) == 0)
			return sc;
	return 0;
}

static void set_current(struct mcache *c, unsigned sc, struct slab *s)
{
	size_t hi = sizeclass_table[sc].slot_nbytes / BLOCK_ALIGN;
	c->current[sc] = s;
	if (hi >= MCACHE_NDIRECT)
		return;
	size_t lo = sc == 1 ? 0 : sizeclass_table[sc - 1].slot_nbytes / BLOCK_ALIGN + 1;
	for (size_t i = lo; i <= hi; i++)
		c->direct[i] = s;
}

static void set_state(struct slab *s, enum slab_state state)
{
	store_relaxed(&s->state, (uint8_t)state);
}

/* set_owned - the slab is c's current one. */
static void set_owned(struct mcache *c, struct slab *s)
{
	s->countdown = CURRENT_COUNT;
	set_state(s, SLAB_CURRENT);
	if (c->kind == MCACHE_THREAD)
		store_relaxed(&s->key, slab_key(manual_base(c->heap, s)));
}

MGC_COLD static void corrupt_list(uintptr_t block)
{
	mgc_misuse("block %p was freed twice, or written to after it was freed", (void *)block);
}

/* ── empty slabs ────────────────────────────────────────────────────────────────────────── */

static void give_slab(struct mcache *c, struct slab *s)
{
	set_state(s, SLAB_NONE);
	manual_give(c->heap, s, 0, SLAB_PAGES, SLAB_PAGES);
}

/* retire - the slab is empty and in no list. */
static void retire(struct mcache *c, struct slab *s)
{
	store_relaxed(&s->key, (uintptr_t)0);
	if (c->nspare == MCACHE_NSPARE) { /* the oldest goes */
		give_slab(c, c->spare[0]);
		memmove(c->spare, c->spare + 1, sizeof c->spare - sizeof c->spare[0]);
		c->nspare--;
	}
	set_state(s, SLAB_SPARE);
	c->spare[c->nspare++] = s;
}

/* retire_partial - a PARTIAL slab whose blocks have all come home, unless its mail is still on the way. */
static void retire_partial(struct mcache *c, struct slab *s)
{
	uintptr_t twice = slab_find_twice(s, manual_base(c->heap, s));
	if (MGC_UNLIKELY(twice != 0))
		corrupt_list(twice);
	if (load_relaxed(&s->remote) != 0) {
		s->countdown = IDLE_COUNT;
		return;
	}
	slab_list_remove(&c->partial[s->sizeclass], s);
	retire(c, s);
}

static void set_partial(struct mcache *c, struct slab *s, uint32_t count)
{
	s->countdown = count;
	set_state(s, SLAB_PARTIAL);
	slab_list_push_back(&c->partial[s->sizeclass], s);
	if (count == 0)
		retire_partial(c, s);
}

void mcache_count_down(struct slab *s)
{
	struct mcache *c = s->owner;
	switch ((enum slab_state)s->state) {
	case SLAB_CURRENT:
		s->countdown = CURRENT_COUNT;
		break;
	case SLAB_FULL:
		slab_list_remove(&c->full, s);
		set_partial(c, s, s->carved - 1u);
		break;
	default:
		retire_partial(c, s);
	}
}

/* ── remote frees come home ─────────────────────────────────────────────────────────────── */

/* take_remote - the current slab, which has no free block, gets what others freed. */
static bool take_remote(struct slab *s)
{
	if ((load_relaxed(&s->remote) & ~REMOTE_POSTED) == 0)
		return false;
	uintptr_t list = swap_acq_rel(&s->remote, REMOTE_POSTED) & ~REMOTE_POSTED; /* pairs: remote */
	s->free = (struct block *)list;
	return true;
}

/* collect - a slab of ours came out of the mailbox. */
static void collect(struct mcache *c, struct slab *s)
{
	uintptr_t list = swap_acq_rel(&s->remote, (uintptr_t)0) & ~REMOTE_POSTED; /* pairs: remote */
	uint32_t n = list != 0 ? slab_attach(s, (struct block *)list) : 0;
	if (s->state == SLAB_FULL && n > 0) {
		slab_list_remove(&c->full, s);
		set_partial(c, s, s->carved - n);
	} else if (s->state == SLAB_PARTIAL) {
		s->countdown -= n;
		if (s->countdown == 0 || s->countdown == IDLE_COUNT)
			retire_partial(c, s);
	}
}

static void read_mail(struct mcache *c)
{
	if (MGC_LIKELY(load_relaxed(&c->mailbox) == NULL))
		return;
	struct slab *s = swap_acq_rel(&c->mailbox, NULL), *next; /* pairs: mailbox */
	for (; s != NULL; s = next) {
		next = s->mail;
		if (load_acquire(&s->owner) == c) /* pairs: slab-owner */
			collect(c, s);
		else
			manual_post(c->heap, s);
	}
}

/* ── allocation ─────────────────────────────────────────────────────────────────────────── */

static struct slab *take_spare(struct mcache *c, unsigned sc)
{
	if (c->nspare == 0)
		return NULL;
	uint32_t i = c->nspare - 1;
	while (i > 0 && c->spare[i]->sizeclass != sc)
		i--;
	if (c->spare[i]->sizeclass != sc) /* none of this class: the one used last */
		i = c->nspare - 1;
	struct slab *s = c->spare[i];
	c->nspare--;
	memmove(&c->spare[i], &c->spare[i + 1], (c->nspare - i) * sizeof c->spare[0]);
	return s;
}

/* empty_slab - with all its blocks to give. */
static struct slab *empty_slab(struct mcache *c, unsigned sc)
{
	struct slab *s = take_spare(c, sc);
	size_t nclean;
	if (s == NULL) {
		s = manual_take(c->heap, SLAB_PAGES, 0, &nclean);
		if (s == NULL)
			return NULL;
		store_relaxed(&s->sizeclass, (uint8_t)0);
		store_relaxed(&s->remote, (uintptr_t)0);
		store_release(&s->owner, c); /* pairs: slab-owner */
	}
	if (s->sizeclass != sc) {
		store_relaxed(&s->sizeclass, (uint8_t)sc);
		s->carved = 0;
		store_relaxed(&s->free, &block_end);
	}
	return s;
}

static struct slab *next_slab(struct mcache *c, unsigned sc)
{
	struct slab *s = c->partial[sc].first;
	if (s != NULL)
		slab_list_remove(&c->partial[sc], s);
	else
		s = manual_adopt(c->heap, c, sc);
	if (s == NULL)
		s = empty_slab(c, sc);
	return s;
}

/* refill - makes the class's current slab one with a free block. */
static bool refill(struct mcache *c, unsigned sc)
{
	struct slab *s = c->current[sc];
	if (s != &slab_none) {
		if (MGC_UNLIKELY(s->free != &block_end))
			corrupt_list((uintptr_t)s->free);
		if (take_remote(s) || slab_carve(s, manual_base(c->heap, s)))
			return true;
		set_state(s, SLAB_FULL);
		s->countdown = 1;
		slab_list_push_back(&c->full, s);
		set_current(c, sc, &slab_none);
	}
	read_mail(c);
	s = next_slab(c, sc);
	if (s == NULL)
		return false;
	set_owned(c, s);
	set_current(c, sc, s);
	return s->free != &block_end || slab_carve(s, manual_base(c->heap, s)) || take_remote(s);
}

void *mcache_alloc(struct mcache *c, unsigned sc)
{
	void *p = slab_pop(c->current[sc]);
	if (p != NULL)
		return p;
	return refill(c, sc) ? slab_pop(c->current[sc]) : NULL;
}

/* ── large objects ──────────────────────────────────────────────────────────────────────── */

static size_t pages_of(size_t nbytes)
{
	return (nbytes + MGC_PAGE_SIZE - 1) >> MGC_PAGE_SHIFT;
}

static void drop_large(struct mcache *c, uint32_t i)
{
	c->nlarge--;
	c->large_nbytes -= (size_t)c->large[i]->countdown << MGC_PAGE_SHIFT;
	memmove(&c->large[i], &c->large[i + 1], (c->nlarge - i) * sizeof c->large[0]);
}

static struct slab *find_large(struct mcache *c, size_t npages)
{
	for (uint32_t i = c->nlarge; i-- > 0;) {
		struct slab *s = c->large[i];
		if (s->countdown >= npages && s->countdown - npages <= npages / 8) {
			drop_large(c, i);
			return s;
		}
	}
	return NULL;
}

void *mcache_alloc_large(struct mcache *c, size_t nbytes, size_t align, bool *zero)
{
	if (nbytes > c->heap->pageheap.space.nbytes || align > MGC_ARENA_SIZE)
		return NULL;
	size_t npages = pages_of(nbytes), nclean = 0;
	struct slab *s = align <= SLAB_NBYTES && c->nlarge > 0 ? find_large(c, npages) : NULL;
	if (s == NULL) {
		s = manual_take(c->heap, npages, align, &nclean);
		if (s == NULL)
			return NULL;
		s->countdown = (uint32_t)npages;
	}
	*zero = nclean == npages;
	store_relaxed(&s->sizeclass, (uint8_t)0);
	store_relaxed(&s->owner, c->kind == MCACHE_REGION ? c : NULL);
	if (c->kind == MCACHE_REGION)
		slab_list_push_back(&c->objects, s);
	set_state(s, SLAB_LARGE);
	return (void *)manual_base(c->heap, s);
}

static void give_large(struct manual *h, struct slab *s)
{
	size_t npages = s->countdown;
	set_state(s, SLAB_NONE);
	manual_give(h, s, 0, npages, npages);
}

static void give_oldest_large(struct mcache *c)
{
	struct slab *s = c->large[0];
	drop_large(c, 0);
	give_large(c->heap, s);
}

static void free_large(struct mcache *c, struct manual *h, struct slab *s)
{
	if (c == NULL || s->countdown > LARGE_KEEP_PAGES) {
		give_large(h, s);
		return;
	}
	set_state(s, SLAB_CACHED);
	c->large_nbytes += (size_t)s->countdown << MGC_PAGE_SHIFT;
	if (c->nlarge == MCACHE_NLARGE)
		give_oldest_large(c);
	c->large[c->nlarge++] = s;
	while (c->large_nbytes > LARGE_KEEP_NBYTES)
		give_oldest_large(c);
}

bool mcache_resize_large(struct manual *h, struct slab *s, size_t nbytes)
{
	size_t want = pages_of(nbytes), have = s->countdown;
	if (want > have)
		return want <= h->pageheap.space.npages && manual_extend(h, s, want - have);
	if (want < have) {
		s->countdown = (uint32_t)want;
		manual_give(h, s, want, have - want, have - want);
	}
	return true;
}

/* ── free, the long way ─────────────────────────────────────────────────────────────────── */

enum block_verdict mcache_check(const struct manual *h, const struct slab *s, uintptr_t p)
{
	if (!manual_holds(h, s, p))
		return BLOCK_FOREIGN;
	uintptr_t base = manual_base(h, s);
	switch ((enum slab_state)load_relaxed(&s->state)) {
	case SLAB_NONE:
		return BLOCK_FOREIGN;
	case SLAB_LARGE:
		return p == base ? BLOCK_OK : BLOCK_INSIDE;
	case SLAB_CACHED:
	case SLAB_SPARE:
		return BLOCK_TWICE;
	default:
		return slab_is_block(s, base, p) ? BLOCK_OK : BLOCK_INSIDE;
	}
}

/* hand_over - adds a list of freed blocks to their slab's remote list. */
static void hand_over(struct manual *h, struct slab *s, struct block *first, struct block *last)
{
	uintptr_t old = load_relaxed(&s->remote);
	do {
		uintptr_t rest = old & ~REMOTE_POSTED;
		last->next = rest != 0 ? (struct block *)rest : &block_end;
	} while (!cas_acq_rel(&s->remote, &old, (uintptr_t)first | REMOTE_POSTED)); /* pairs: remote */
	if ((old & REMOTE_POSTED) == 0) {
		if (MGC_HOSTILE)
			os_yield(); /* the owner sees the blocks before the mail */
		manual_post(h, s);
	}
}

static void flush_outbox(struct manual *h, struct outbox *o)
{
	struct slab *s = o->slab;
	o->slab = NULL;
	if (s != NULL)
		hand_over(h, s, o->first, o->last);
}

static void free_remote(struct mcache *c, struct manual *h, struct slab *s, struct block *b)
{
	if (c == NULL) {
		hand_over(h, s, b, b);
		return;
	}
	struct outbox *o = &c->outbox[((uintptr_t)s >> SLAB_RECORD_SHIFT) % MCACHE_NOUTBOX];
	if (o->slab != s) {
		flush_outbox(h, o);
		o->slab = s;
		o->last = o->first = b;
		o->n = 1;
		return;
	}
	if (MGC_UNLIKELY(o->first == b))
		corrupt_list((uintptr_t)b);
	b->next = o->first;
	o->first = b;
	if (++o->n >= OUTBOX_BLOCKS || o->n * slab_block_nbytes(s) >= OUTBOX_NBYTES)
		flush_outbox(h, o);
}

void mcache_free(struct mcache *c, struct manual *h, struct slab *s, void *p)
{
	struct mcache *owner = load_relaxed(&s->owner);
	if (load_relaxed(&s->state) == SLAB_LARGE) {
		if (owner != NULL)
			slab_list_remove(&owner->objects, s);
		free_large(c, h, s);
	} else if (c != NULL && owner == c) {
		if (slab_push(s, p))
			mcache_count_down(s);
	} else {
		free_remote(c, h, s, p);
	}
}

size_t mcache_usable(const struct slab *s)
{
	if (load_relaxed(&s->state) == SLAB_LARGE)
		return (size_t)s->countdown << MGC_PAGE_SHIFT;
	return slab_block_nbytes(s);
}

/* ── a cache's life ─────────────────────────────────────────────────────────────────────── */

static struct mcache *reuse_cache(struct manual *h)
{
	struct mcache *c = NULL;
	lock_acquire(&h->registry_lock);
	if (!list_empty(&h->idle)) {
		c = LIST_ENTRY(h->idle.next, struct mcache, node);
		list_remove(&c->node);
		list_push_back(&h->caches, &c->node);
	}
	lock_release(&h->registry_lock);
	return c;
}

struct mcache *mcache_open(struct manual *h, enum mcache_kind kind)
{
	struct mcache *c = reuse_cache(h);
	if (c == NULL) {
		c = (struct mcache *)os_alloc(align_up(sizeof *c, os_page_size()));
		if (c == NULL)
			return NULL;
		memcpy(c, &mcache_none, offsetof(struct mcache, heap));
		c->heap = h;
		list_init(&c->node);
		lock_acquire(&h->registry_lock);
		list_push_back(&h->caches, &c->node);
		lock_release(&h->registry_lock);
	}
	c->kind = (uint8_t)kind;
	return c;
}

static void retire_cache(struct mcache *c)
{
	struct manual *h = c->heap;
	c->kind = MCACHE_SHARED;
	lock_acquire(&h->registry_lock);
	list_remove(&c->node);
	list_push_front(&h->idle, &c->node);
	lock_release(&h->registry_lock);
}

static void flush_outboxes(struct mcache *c)
{
	for (unsigned i = 0; i < MCACHE_NOUTBOX; i++)
		flush_outbox(c->heap, &c->outbox[i]);
}

static void give_kept(struct mcache *c)
{
	while (c->nlarge > 0)
		give_oldest_large(c);
	while (c->nspare > 0)
		give_slab(c, c->spare[--c->nspare]);
}

void mcache_trim(struct mcache *c)
{
	flush_outboxes(c);
	read_mail(c);
	give_kept(c);
}

static void abandon_class(struct mcache *c, unsigned sc)
{
	struct slab *s = c->current[sc];
	if (s != &slab_none) {
		set_current(c, sc, &slab_none);
		manual_abandon(c->heap, s, s->carved - slab_count_free(s, manual_base(c->heap, s)));
	}
	while ((s = c->partial[sc].first) != NULL) {
		slab_list_remove(&c->partial[sc], s);
		manual_abandon(c->heap, s, s->countdown);
	}
}

void mcache_close(struct mcache *c)
{
	struct manual *h = c->heap;
	struct slab *s;
	mcache_trim(c);
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++)
		abandon_class(c, sc);
	while ((s = c->full.first) != NULL) {
		slab_list_remove(&c->full, s);
		manual_abandon(h, s, s->carved);
	}
	read_mail(c); /* none of it is ours any more: sent on */
	give_kept(c);
	retire_cache(c);
}

/* ── regions ────────────────────────────────────────────────────────────────────────────── */

static void drop_list(struct mcache *c, struct slab_list *l)
{
	for (struct slab *s = l->first, *next; s != NULL; s = next) {
		next = s->next;
		give_slab(c, s);
	}
	*l = (struct slab_list){ NULL, NULL };
}

void mcache_drop(struct mcache *c)
{
	struct slab *s;
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++) {
		s = c->current[sc];
		if (s != &slab_none) {
			set_current(c, sc, &slab_none);
			give_slab(c, s);
		}
		drop_list(c, &c->partial[sc]);
	}
	drop_list(c, &c->full);
	while ((s = c->objects.first) != NULL) {
		slab_list_remove(&c->objects, s);
		give_large(c->heap, s);
	}
	give_kept(c);
	retire_cache(c);
}

static void count_slab(const struct mcache *c, const struct slab *s, struct mcache_stats *st)
{
	size_t n = s->carved - slab_count_free(s, manual_base(c->heap, s));
	st->nblocks += n;
	st->used_nbytes += n * slab_block_nbytes(s);
	st->held_nbytes += SLAB_NBYTES;
}

void mcache_read_stats(const struct mcache *c, struct mcache_stats *st)
{
	*st = (struct mcache_stats){ 0, 0, c->large_nbytes + c->nspare * SLAB_NBYTES };
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++) {
		if (c->current[sc] != &slab_none)
			count_slab(c, c->current[sc], st);
		for (const struct slab *s = c->partial[sc].first; s != NULL; s = s->next)
			count_slab(c, s, st);
	}
	for (const struct slab *s = c->full.first; s != NULL; s = s->next)
		count_slab(c, s, st);
	for (const struct slab *s = c->objects.first; s != NULL; s = s->next) {
		size_t nbytes = (size_t)s->countdown << MGC_PAGE_SHIFT;
		st->nblocks++;
		st->used_nbytes += nbytes;
		st->held_nbytes += nbytes;
	}
}

/* ── the child of a fork ────────────────────────────────────────────────────────────────── */

struct survivors {
	struct manual *h;
	const struct mcache *own, *late;
};

static void inherit_slab(struct manual *h, struct slab *s, uintptr_t base)
{
	uintptr_t list = load_relaxed(&s->remote) & ~REMOTE_POSTED;
	uint32_t nfree = slab_mend(s, base);
	store_relaxed(&s->remote, (uintptr_t)0);
	if (list != 0)
		nfree += slab_attach(s, (struct block *)list);
	manual_abandon(h, s, s->carved - (uint32_t)min_size(nfree, s->carved));
}

static void inherit(void *arg, struct slab *s, uintptr_t base)
{
	const struct survivors *v = arg;
	const struct mcache *owner = load_relaxed(&s->owner);
	enum slab_state state = (enum slab_state)load_relaxed(&s->state);
	if (state == SLAB_LARGE)
		return;
	if (owner == v->own || owner == v->late || owner == &v->h->orphans ||
	    (owner != NULL && owner->kind == MCACHE_REGION)) {
		if (state != SLAB_CACHED && load_relaxed(&s->remote) != 0)
			manual_post(v->h, s);
	} else if (state == SLAB_CACHED) {
		give_large(v->h, s);
	} else if (state == SLAB_SPARE) {
		set_state(s, SLAB_NONE);
		manual_give(v->h, s, 0, SLAB_PAGES, SLAB_PAGES);
	} else if (state != SLAB_ORPHAN && state != SLAB_ORPHAN_FULL) {
		inherit_slab(v->h, s, base);
	}
}

static void empty_cache(struct mcache *c)
{
	size_t from = offsetof(struct mcache, full);
	memcpy(c, &mcache_none, offsetof(struct mcache, heap));
	memset((char *)c + from, 0, offsetof(struct mcache, kind) - from);
}

void mcache_after_fork(struct manual *h, struct mcache *own, struct mcache *late)
{
	struct survivors v = { h, own, late };
	struct list *it = h->caches.next;
	h->orphans.mailbox = NULL;
	LIST_EACH(each, &h->caches)
		LIST_ENTRY(each, struct mcache, node)->mailbox = NULL;
	LIST_EACH(each, &h->idle)
		LIST_ENTRY(each, struct mcache, node)->mailbox = NULL;
	manual_each(h, inherit, &v); /* posts anew what was in the mailboxes */
	while (it != &h->caches) {
		struct mcache *c = LIST_ENTRY(it, struct mcache, node);
		it = it->next;
		if (c == own || c == late || c->kind == MCACHE_REGION)
			continue;
		empty_cache(c);
		list_remove(&c->node);
		list_push_front(&h->idle, &c->node);
	}
}
