/* mcache_slabs.c - see mcache_slabs.h. */
#include "heap/mcache_slabs.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "heap/mcache_sample.h"
#include "os/os.h"

MGC_COLD void mcache_corrupt(uintptr_t block)
{
	mgc_misuse("block %p was freed twice, or written to after it was freed", (void *)block);
}

/* ── empty slabs ────────────────────────────────────────────────────────────────────────── */

void mcache_give_slab(struct mcache *c, struct slab *s)
{
	manual_forget_holes(c->heap, s);
	mcache_set_state(s, SLAB_NONE);
	manual_give(c->heap, s, 0, SLAB_PAGES, SLAB_PAGES);
}

void mcache_empty(struct mcache *c, struct slab *s)
{
	manual_forget_holes(c->heap, s);
	store_relaxed(&s->carved, (uint16_t)0);
	store_relaxed(&s->free, &block_end);
	store_relaxed(&s->remote, (uintptr_t)0);
}

_Static_assert(MCACHE_NSPARE <= SLAB_WALKS, "all spares are checked at once");

static void check(struct slab_walk *walks, unsigned n)
{
	uintptr_t twice = slab_find_twice(walks, n);
	if (MGC_UNLIKELY(twice != 0))
		mcache_corrupt(twice);
}

void mcache_check_spares(struct mcache *c)
{
	struct slab_walk walks[SLAB_WALKS];
	unsigned n = 0;
	for (uint32_t i = c->nchecked; i < c->nspare; i++, n++)
		walks[n] = (struct slab_walk){ .s = c->spare[i],
					       .base = manual_base(c->heap, c->spare[i]) };
	check(walks, n);
	c->nchecked = c->nspare;
}

void mcache_retire(struct mcache *c, struct slab *s)
{
	store_relaxed(&s->key, (uintptr_t)0);
	if (c->nspare == MCACHE_NSPARE) { /* the oldest goes */
		if (c->nchecked == 0)
			mcache_check_spares(c);
		mcache_give_slab(c, c->spare[0]);
		memmove(c->spare, c->spare + 1, sizeof c->spare - sizeof c->spare[0]);
		c->nspare--;
		c->nchecked--;
	}
	mcache_set_state(s, SLAB_SPARE);
	c->spare[c->nspare++] = s;
}

static void forget_lately(struct mcache *c, const struct slab *s)
{
	for (uint32_t i = 0; i < c->nlately; i++)
		if (c->lately[i] == s) {
			c->nlately--;
			memmove(&c->lately[i], &c->lately[i + 1],
				(c->nlately - i) * sizeof c->lately[0]);
			return;
		}
}

void mcache_unlist(struct mcache *c, struct slab *s)
{
	c->nsparse -= s->state == SLAB_SPARSE || s->state == SLAB_SEEN;
	if (slab_is_sparse(s))
		forget_lately(c, s);
	slab_list_remove(&c->partial[s->sizeclass], s);
}

/* retire_partial - a listed slab whose blocks have all come home, unless its mail is still on the way. */
static void retire_partial(struct mcache *c, struct slab *s)
{
	uintptr_t remote = load_relaxed(&s->remote);
	if ((remote & REMOTE_POSTED) != 0) {
		s->countdown = IDLE_COUNT;
		return;
	}
	mcache_unlist(c, s);
	if (remote != 0) {
		struct slab_walk walk = { .s = s, .base = manual_base(c->heap, s) };
		check(&walk, 1);
		mcache_empty(c, s);
	}
	mcache_retire(c, s);
}

/* ── sparse slabs ───────────────────────────────────────────────────────────────────────── */

void mcache_make_holes(struct mcache *c, struct slab *s)
{
	uintptr_t base = manual_base(c->heap, s);
	c->nsparse -= s->state != SLAB_LOOKED_AT;
	mcache_set_state(s, SLAB_LOOKED_AT);
	if (s->countdown == IDLE_COUNT)
		return;
	s->countdown -= slab_gather(s, base);
	if (s->countdown == 0) {
		retire_partial(c, s);
		return;
	}
	uint32_t set = slab_make_holes(s, base, os_page_size());
	if (MGC_HOSTILE)
		os_yield(); /* the pages are in no list, and not given back yet */
	if (set != 0)
		manual_discard_holes(c->heap, base, set);
}

/* put_off - who frees goes from slab to slab: the holes of this one are made when he has gone on to others, and once. */
static void put_off(struct mcache *c, struct slab *s)
{
	struct slab *old[MCACHE_LATELY_STEP];
	forget_lately(c, s);
	if (c->nlately == MCACHE_NLATELY) {
		memcpy(old, c->lately, sizeof old);
		c->nlately -= MCACHE_LATELY_STEP;
		memmove(c->lately, c->lately + MCACHE_LATELY_STEP, c->nlately * sizeof c->lately[0]);
		for (unsigned i = 0; i < MCACHE_LATELY_STEP; i++)
			if (old[i]->state != SLAB_LOOKED_AT)
				mcache_make_holes(c, old[i]);
	}
	c->lately[c->nlately++] = s;
}

void mcache_note_sparse(struct mcache *c, struct slab *s)
{
	struct manual *h = c->heap;
	c->nsparse += s->state != SLAB_SPARSE && s->state != SLAB_SEEN;
	mcache_set_state(s, SLAB_SPARSE);
	if (c->kind == MCACHE_THREAD && load_relaxed(&h->scavenging.on))
		manual_stir(h);
	else if (is_pow2(s->countdown) && manual_may_make_holes(h, c->nsparse + MCACHE_NLATELY))
		put_off(c, s);
}

/* set_used - so many blocks of a listed slab are in use now. */
static void set_used(struct mcache *c, struct slab *s, uint32_t used)
{
	uint32_t floor = slab_floor(s);
	s->countdown = used > floor ? used - floor : used;
	if (used == 0)
		retire_partial(c, s);
	if (used == 0 || (used > floor && s->state == SLAB_PARTIAL))
		return;
	store_relaxed(&s->key, (uintptr_t)0);
	mcache_note_sparse(c, s);
}

static void set_partial(struct mcache *c, struct slab *s, uint32_t count)
{
	mcache_set_state(s, SLAB_PARTIAL);
	slab_list_push_back(&c->partial[s->sizeclass], s);
	set_used(c, s, count);
}

void mcache_count_down_slab(struct mcache *c, struct slab *s)
{
	switch ((enum slab_state)s->state) {
	case SLAB_CURRENT:
		if (c->metered)
			mcache_meter_recount(c, s);
		else
			mcache_count_anew(c, s);
		break;
	case SLAB_FULL:
		slab_list_remove(&c->full, s);
		set_partial(c, s, s->carved - 1u);
		break;
	default:
		set_used(c, s, slab_floor(s));
	}
}

void mcache_count_down(struct slab *s)
{
	struct mcache *c = s->owner;
	mcache_enter(c);
	mcache_count_down_slab(c, s);
	mcache_leave(c);
}

/* ── remote frees come home ─────────────────────────────────────────────────────────────── */

void mcache_collect(struct mcache *c, struct slab *s)
{
	uint32_t n = slab_count_remote(s);
	if (s->state == SLAB_FULL && n > 0) {
		slab_list_remove(&c->full, s);
		set_partial(c, s, s->carved - n);
	} else if (slab_is_listed(s)) {
		set_used(c, s, s->countdown == IDLE_COUNT ? 0 : slab_used(s) - n);
	}
}
