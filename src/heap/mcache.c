/* mcache.c - see mcache.h. */
#include "heap/mcache.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/usdt.h"
#include "heap/mcache_sample.h"
#include "heap/mcache_slabs.h"
#include "os/os.h"

/* An outbox hands over after so many blocks, or so many bytes. */
#define OUTBOX_BLOCKS (MGC_HOSTILE ? 3 : 32)
#define OUTBOX_NBYTES ((size_t)32768)

struct mcache mcache_none = MCACHE_NONE;

/* ── classes ────────────────────────────────────────────────────────────────────────────── */

/* show_current - to the short ways. */
static void show_current(struct mcache *c, unsigned sc)
{
	const struct slab *s = c->current[sc];
	uintptr_t offset = c->slow || s == &slab_none ? 0 : (uintptr_t)s - (uintptr_t)c;
	size_t below = sizeclass_table[sc - 1].slot_nbytes, most = sizeclass_table[sc].slot_nbytes;
	if (most <= MCACHE_DIRECT_NBYTES) {
		size_t from = sc == 1 ? 0 : below / BLOCK_ALIGN + 1;
		for (size_t i = from; i <= most / BLOCK_ALIGN; i++)
			c->direct[i] = offset;
		return;
	}
	for (size_t nbytes = below; nbytes < most; nbytes += MCACHE_MEDIUM_STEP)
		c->medium[(nbytes - MCACHE_DIRECT_NBYTES) / MCACHE_MEDIUM_STEP] = offset;
}

static void set_current(struct mcache *c, unsigned sc, struct slab *s)
{
	c->current[sc] = s;
	show_current(c, sc);
}

/* have_none - of a cache whose memory is zeros: it has no current slabs. */
static void have_none(struct mcache *c)
{
	c->none = &block_end;
	for (unsigned sc = 0; sc < MGC_NSIZECLASS; sc++)
		c->current[sc] = &slab_none;
}

void mcache_forget_slabs(struct mcache *c)
{
	memset(c, 0, offsetof(struct mcache, current));
	have_none(c);
}

void mcache_set_slow(struct mcache *c, bool slow)
{
	c->slow = slow;
	mcache_show_runs(c);
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++)
		show_current(c, sc);
}

/* set_owned - the slab, of whose blocks so many are in use, is c's current one. */
static void set_owned(struct mcache *c, struct slab *s, uint32_t used)
{
	mcache_count(c, s, slab_length(s, used));
	s->countdown = s->until = CURRENT_COUNT;
	store_relaxed(&s->held, &block_end);
	mcache_set_state(s, SLAB_CURRENT);
	if (c->kind == MCACHE_THREAD)
		store_relaxed(&s->key, slab_key(manual_base(c->heap, s)));
}

/* free_own - a block of a slab of c's, which has the thread's key or not. */
static void free_own(struct mcache *c, struct slab *s, void *p)
{
	if (slab_push(s, p))
		mcache_count_down_slab(c, s);
	else if (slab_is_sparse(s))
		mcache_note_sparse(c, s);
}

void mcache_free_own(struct mcache *c, struct slab *s, void *p)
{
	int saved = errno;
	mcache_enter(c);
	free_own(c, s, p);
	mcache_leave(c);
	errno = saved;
}

/* ── remote frees come home ─────────────────────────────────────────────────────────────── */

static void read_mail(struct mcache *c)
{
	if (MGC_LIKELY(load_relaxed(&c->mailbox) == NULL))
		return;
	struct slab *s = swap_acq_rel(&c->mailbox, NULL), *next; /* pairs: mailbox */
	for (; s != NULL; s = next) {
		next = s->mail;
		if (load_acquire(&s->owner) == c) /* pairs: slab-owner */
			mcache_collect(c, s);
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
	if (i >= c->nchecked)
		mcache_check_spares(c);
	struct slab *s = c->spare[i];
	c->nspare--;
	c->nchecked--;
	memmove(&c->spare[i], &c->spare[i + 1], (c->nspare - i) * sizeof c->spare[0]);
	return s;
}

/* empty_slab - with all its blocks to give. */
static struct slab *empty_slab(struct mcache *c, unsigned sc)
{
	struct slab *s = take_spare(c, sc);
	size_t nclean;
	if (s == NULL) {
		s = manual_take(c->heap, SLAB_PAGES, 0, false, &nclean);
		if (s == NULL)
			return NULL;
		store_relaxed(&s->sizeclass, (uint8_t)0);
		store_release(&s->owner, c); /* pairs: slab-owner */
	}
	if (s->sizeclass != sc) {
		store_relaxed(&s->sizeclass, (uint8_t)sc);
		mcache_empty(c, s);
	}
	return s;
}

/* next_slab - NULL: no memory. *used: of its blocks. */
static struct slab *next_slab(struct mcache *c, unsigned sc, uint32_t *used)
{
	struct slab *s = c->partial[sc].first;
	*used = 0;
	if (s == NULL) {
		s = manual_adopt(c->heap, c, sc, used);
		return s != NULL ? s : empty_slab(c, sc);
	}
	*used = slab_used_idle(s);
	mcache_unlist(c, s);
	return s;
}

/* fill - gives an empty list blocks, if there are any. */
static bool fill(struct mcache *c, struct slab *s)
{
	uintptr_t base = manual_base(c->heap, s);
	uint32_t npages, n = 0;
	if (slab_take_held(s))
		return true;
	if ((n = slab_take_remote(s, base)) == 0)
		n = slab_carve(s, base);
	while (n == 0 && (npages = slab_fill_hole(s, base, &n)) != 0)
		manual_note_filled(c->heap, npages);
	mcache_count(c, s, n);
	return n != 0;
}

/* make_current - the class's current slab is one with a free block. */
static bool make_current(struct mcache *c, unsigned sc)
{
	struct slab *s = c->current[sc];
	uint32_t used;
	if (s != &slab_none) {
		if (MGC_UNLIKELY(s->free != &block_end))
			mcache_corrupt((uintptr_t)s->free);
		if (MGC_UNLIKELY(c->metered))
			mcache_meter_count(c, s);
		if (fill(c, s))
			return true;
		mcache_count_frees(c, s);
		mcache_set_state(s, SLAB_FULL);
		s->countdown = 1;
		slab_list_push_back(&c->full, s);
		set_current(c, sc, &slab_none);
	}
	read_mail(c);
	s = next_slab(c, sc, &used);
	if (s == NULL)
		return false;
	set_owned(c, s, used);
	set_current(c, sc, s);
	return s->free != &block_end || fill(c, s);
}

void *mcache_alloc(struct mcache *c, unsigned sc)
{
	void *p = slab_pop(c->current[sc]);
	if (p != NULL)
		return p;
	MGC_PROBE(alloc__slow, sizeclass_table[sc].slot_nbytes, sc);
	mcache_enter(c);
	bool filled = make_current(c, sc);
	if (MGC_UNLIKELY(filled && c->metered))
		mcache_meter_cut(c, c->current[sc], 1);
	mcache_leave(c);
	return filled ? slab_pop(c->current[sc]) : NULL;
}

/* ── large objects ──────────────────────────────────────────────────────────────────────── */

static size_t pages_of(size_t nbytes)
{
	return (nbytes + MGC_PAGE_SIZE - 1) >> MGC_PAGE_SHIFT;
}

/* claim_large - s is an object of c's from here on; a thread's is of no cache. */
static void *claim_large(struct mcache *c, struct slab *s)
{
	store_relaxed(&s->owner, c->kind == MCACHE_THREAD ? NULL : c);
	if (c->kind == MCACHE_REGION)
		slab_list_push_back(&c->objects, s);
	mcache_set_state(s, SLAB_LARGE);
	return (void *)manual_base(c->heap, s);
}

/* claim_run - the same of one that was just taken. */
static void *claim_run(struct mcache *c, struct slab *s, size_t npages)
{
	s->countdown = (uint32_t)npages;
	store_relaxed(&s->sizeclass, (uint8_t)0);
	return claim_large(c, s);
}

/* count_large - the cache has allocated one of so many pages, that was no run (mcache_allocated). */
static void count_large(struct mcache *c, size_t npages)
{
	store_relaxed(&c->listed_nbytes, c->listed_nbytes + (npages << MGC_PAGE_SHIFT));
}

/* A run: a large object of up to MCACHE_MAX_RUN units. It has them to the end, also what it did not ask for, as
 * nobody else could use that; so runs of as many units are alike. */
static size_t run_pages(size_t npages)
{
	return npages <= MCACHE_MAX_RUN * SLAB_PAGES ? align_up(npages, SLAB_PAGES) : npages;
}

void *mcache_alloc_large(struct mcache *c, size_t nbytes, size_t align, bool *zero)
{
	if (nbytes > c->heap->pageheap.space.nbytes || align > MGC_ARENA_SIZE)
		return NULL;
	size_t npages = run_pages(pages_of(nbytes)), nclean;
	struct slab *s;
	*zero = false;
	if (align <= SLAB_NBYTES && npages <= MCACHE_MAX_RUN * SLAB_PAGES) {
		mcache_enter(c);
		s = mcache_take_run(c, npages / SLAB_PAGES);
		mcache_leave(c);
		if (s != NULL)
			return claim_large(c, s);
	}
	MGC_PROBE(alloc__large, nbytes, align);
	s = manual_take(c->heap, npages, align, false, &nclean);
	if (s == NULL)
		return NULL;
	*zero = nclean == npages;
	store_relaxed(&s->carved, (uint16_t)0);
	count_large(c, npages);
	return claim_run(c, s, npages);
}

void *mcache_move_large(struct mcache *c, struct slab *s, size_t nbytes)
{
	struct manual *h = c->heap;
	size_t npages = pages_of(nbytes), nclean;
	struct slab *to = manual_take(h, npages, 0, true, &nclean);
	if (to == NULL)
		return NULL;
	store_relaxed(&to->carved, (uint16_t)0);
	count_large(c, npages);
	bool moved = manual_move(h, s, to, npages, nclean);
	if (!moved)
		memcpy((void *)manual_base(h, to), (void *)manual_base(h, s),
		       (size_t)s->countdown << MGC_PAGE_SHIFT);
	if (c->kind == MCACHE_REGION)
		slab_list_remove(&c->objects, s);
	manual_give_large(h, s, moved);
	return claim_run(c, to, npages);
}

/* give_runs - the largest first, until no more than so many units are kept. */
static void give_runs(struct mcache *c, uint64_t units)
{
	for (size_t n = MCACHE_MAX_RUN; mcache_run_units(c) > units; n--)
		while (c->run[n] != NULL && mcache_run_units(c) > units) {
			c->runs_given += n;
			manual_give_large(c->heap, mcache_take_run(c, n), false);
		}
}

void mcache_trim_runs(struct mcache *c)
{
	int saved = errno;
	give_runs(c, MCACHE_MAX_KEPT / 2);
	mcache_leave(c);
	errno = saved;
}

static void free_large(struct mcache *c, struct manual *h, struct slab *s)
{
	if (c == NULL || s->countdown > MCACHE_MAX_RUN * SLAB_PAGES)
		manual_give_large(h, s, false);
	else
		mcache_keep_run(c, s);
}

bool mcache_resize_large(struct manual *h, struct slab *s, size_t nbytes)
{
	size_t want = run_pages(pages_of(nbytes)), have = s->countdown;
	if (want > have)
		return want <= h->pageheap.space.npages && manual_extend(h, s, want - have);
	if (want < have)
		manual_shrink(h, s, want);
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
		return !slab_is_block(s, base, p)    ? BLOCK_INSIDE
		       : slab_is_in_hole(s, base, p) ? BLOCK_TWICE
						     : BLOCK_OK;
	}
}

/* hand_over - adds a list of freed blocks to their slab's remote list. */
static void hand_over(struct manual *h, struct slab *s, struct block *first, struct block *last,
		      uint32_t n)
{
	if (slab_add_remote(s, first, last, n)) {
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
		hand_over(h, s, o->first, o->last, o->n);
}

void mcache_send_long(struct mcache *c, struct outbox *o, struct slab *s, struct block *b)
{
	int saved = errno;
	bool full = o->slab == s && o->n == o->most; /* with b in it */
	if (MGC_UNLIKELY(o->slab == s && !full))
		mcache_corrupt((uintptr_t)b);
	flush_outbox(c->heap, o);
	if (!full) {
		size_t most = min_size(OUTBOX_BLOCKS, OUTBOX_NBYTES / slab_block_nbytes(s));
		*o = (struct outbox){ s, b, b, 1, (uint32_t)max_size(most, 2) };
	}
	mcache_leave(c);
	errno = saved;
}

void mcache_free(struct mcache *c, struct manual *h, struct slab *s, void *p)
{
	struct mcache *owner = load_relaxed(&s->owner);
	if (load_relaxed(&s->state) == SLAB_LARGE) {
		if (owner != NULL && owner->kind == MCACHE_REGION)
			slab_list_remove(&owner->objects, s);
		free_large(c, h, s);
	} else if (c != NULL && owner == c) {
		mcache_free_own(c, s, p);
	} else if (c != NULL) {
		mcache_send(c, s, p);
	} else {
		hand_over(h, s, p, p, 1);
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

/* new_cache - who visits, counts or forks finds it from here on: it has nothing, and is no thread's yet. */
static struct mcache *new_cache(struct manual *h)
{
	lock_acquire(&h->registry_lock);
	struct mcache *c = h->first_taken ? NULL : &h->first;
	h->first_taken = true;
	lock_release(&h->registry_lock);
	if (c == NULL)
		c = (struct mcache *)os_alloc(align_up(sizeof *c, os_page_size()));
	if (c == NULL)
		return NULL;
	have_none(c);
	c->heap = h;
	c->runs_bound = MCACHE_MAX_KEPT;
	store_relaxed(&c->kind, (uint8_t)MCACHE_SHARED);
	list_init(&c->node);
	lock_acquire(&h->registry_lock);
	list_push_back(&h->caches, &c->node);
	lock_release(&h->registry_lock);
	return c;
}

struct mcache *mcache_open(struct manual *h, enum mcache_kind kind)
{
	struct mcache *c = reuse_cache(h);
	if (c == NULL)
		c = new_cache(h);
	if (c == NULL)
		return NULL;
	store_relaxed(&c->kind, (uint8_t)kind);
	if (kind == MCACHE_THREAD)
		add_acq_rel(&h->nthreads, 1u); /* pairs: scavenger-on */
	mcache_set_slow(c, false);
	return c;
}

static void retire_cache(struct mcache *c)
{
	struct manual *h = c->heap;
	if (c->kind == MCACHE_THREAD)
		sub_acq_rel(&h->nthreads, 1u); /* pairs: scavenger-on */
	store_relaxed(&c->kind, (uint8_t)MCACHE_SHARED);
	lock_acquire(&h->registry_lock);
	list_remove(&c->node);
	list_push_front(&h->idle, &c->node);
	lock_release(&h->registry_lock);
}

void mcache_flush_outboxes(struct mcache *c)
{
	for (unsigned i = 0; i < MCACHE_NOUTBOX; i++)
		flush_outbox(c->heap, &c->outbox[i]);
}

void mcache_check_empty(struct mcache *c)
{
	if ((load_relaxed(&c->inside) & 1) != 0)
		return;
	mcache_enter(c);
	mcache_check_spares(c);
	mcache_leave(c);
}

void mcache_give_kept(struct mcache *c)
{
	give_runs(c, 0);
	mcache_check_spares(c);
	while (c->nspare > 0)
		mcache_give_slab(c, c->spare[--c->nspare]);
	c->nchecked = 0;
}

static void trim(struct mcache *c)
{
	mcache_flush_outboxes(c);
	read_mail(c);
	mcache_give_kept(c);
}

void mcache_trim(struct mcache *c)
{
	mcache_enter(c);
	trim(c);
	mcache_leave(c);
}

static void abandon_class(struct mcache *c, unsigned sc)
{
	struct slab *s = c->current[sc];
	if (s != &slab_none) {
		set_current(c, sc, &slab_none);
		uint32_t used = s->carved - slab_count_free(s, manual_base(c->heap, s)) -
				remote_counted(load_relaxed(&s->remote));
		mcache_count_frees(c, s);
		mcache_count(c, s, -(int64_t)slab_length(s, used));
		manual_abandon(c->heap, s, used);
	}
	while ((s = c->partial[sc].first) != NULL) {
		mcache_unlist(c, s);
		manual_abandon(c->heap, s, slab_used(s));
	}
}

void mcache_close(struct mcache *c)
{
	struct manual *h = c->heap;
	struct slab *s;
	mcache_enter(c);
	if (c->metered)
		mcache_meter(c, false);
	trim(c);
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++)
		abandon_class(c, sc);
	while ((s = c->full.first) != NULL) {
		slab_list_remove(&c->full, s);
		manual_abandon(h, s, s->carved);
	}
	read_mail(c); /* none of it is ours any more: sent on */
	mcache_give_kept(c);
	mcache_leave(c);
	retire_cache(c);
	manual_stir(h);
}

/* ── regions ────────────────────────────────────────────────────────────────────────────── */

static void drop_list(struct mcache *c, struct slab_list *l)
{
	for (struct slab *s = l->first, *next; s != NULL; s = next) {
		next = s->next;
		mcache_give_slab(c, s);
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
			mcache_give_slab(c, s);
		}
		drop_list(c, &c->partial[sc]);
	}
	drop_list(c, &c->full);
	while ((s = c->objects.first) != NULL) {
		slab_list_remove(&c->objects, s);
		manual_give_large(c->heap, s, false);
	}
	c->nsparse = c->nlately = 0;
	mcache_give_kept(c);
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
	*st = (struct mcache_stats){ 0, 0, (mcache_run_units(c) + c->nspare) * SLAB_NBYTES };
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

/* allocated_by - of somebody's cache: what it counted; runs that went out, and were not given back; and of its current
 * slabs the frees that are not counted yet, less what the lists hold. */
MGC_NO_SANITIZE static uint64_t allocated_by(const struct mcache *c)
{
	uint64_t units = c->runs_bound - MCACHE_MAX_KEPT - c->runs_given;
	uint64_t nbytes = c->listed_nbytes + units * SLAB_NBYTES;
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++) {
		const struct slab *s = c->current[sc];
		if (s == &slab_none || load_relaxed(&s->state) != SLAB_CURRENT)
			continue;
		uint32_t used = s->carved - slab_count_free(s, manual_base(c->heap, s)) -
				remote_counted(load_relaxed(&s->remote));
		int64_t n = (int64_t)(s->until - s->countdown) - slab_length(s, used);
		nbytes += (uint64_t)n * slab_block_nbytes(s);
	}
	return nbytes;
}

uint64_t mcache_allocated(struct manual *h)
{
	uint64_t nbytes = 0;
	lock_acquire(&h->registry_lock);
	LIST_EACH(it, &h->caches)
		nbytes += allocated_by(LIST_ENTRY(it, struct mcache, node));
	LIST_EACH(it, &h->idle)
		nbytes += allocated_by(LIST_ENTRY(it, struct mcache, node));
	lock_release(&h->registry_lock);
	return nbytes;
}
