/* mcache_sample.c - see mcache_sample.h. */
#include "heap/mcache_sample.h"

#include "base/bits.h"
#include "heap/mcache_slabs.h"

/* Blocks that are shown at most: so many links are walked at each cut. */
#define MAX_SHOWN (MGC_HOSTILE ? 3u : 64u)
/* Nothing is sampled that is further away; `until` is a countdown. */
#define MAX_DUE (UINT32_C(1) << 30)

static uint32_t draw(struct mcache *c, unsigned sc)
{
	uint64_t distance = sampler_draw(&c->sample);
	return (uint32_t)min_size((distance - 1) / sizeclass_table[sc].slot_nbytes + 1, MAX_DUE);
}

/* in_unit - as far as one can tell without a division. */
static bool in_unit(const struct slab *s, const struct block *b)
{
	return (((uintptr_t)b ^ (uintptr_t)s->free) & ~(SLAB_NBYTES - 1)) == 0;
}

/* walk - up to n links from the head of the slab's list: how many there are; *last is the last of them. */
static uint32_t walk(const struct slab *s, uint32_t n, struct block **last)
{
	uint32_t i = 0;
	*last = NULL;
	for (struct block *b = s->free; i < n && b != &block_end; b = b->next, i++) {
		if (MGC_UNLIKELY(!in_unit(s, b)))
			mcache_corrupt((uintptr_t)*last);
		*last = b;
	}
	return i;
}

void mcache_meter_count(struct mcache *c, struct slab *s)
{
	struct block *last;
	uint32_t most = s->shown + s->until - s->countdown; /* and no more, if nothing was freed twice */
	uint32_t left = walk(s, most + 1, &last);
	uint32_t *due = &c->due[s->sizeclass];
	if (MGC_UNLIKELY(left > most))
		mcache_corrupt((uintptr_t)last);
	*due -= (uint32_t)min_size(most - left, *due - 1);
	s->shown = left;
	mcache_count_frees(c, s);
}

/* hold - the list's blocks behind `last` (NULL: all) wait, before those that do already. First they leave the list: P2. */
static void hold(struct slab *s, struct block *last)
{
	struct block **link = last != NULL ? &last->next : &s->free, *first = *link, *end = first;
	if (first == &block_end)
		return;
	store_release(link, &block_end); /* pairs: carved */
	if (s->held != &block_end) {
		while (end->next != &block_end)
			end = end->next;
		end->next = s->held;
	}
	store_release(&s->held, first); /* pairs: carved */
}

void mcache_meter_cut(struct mcache *c, struct slab *s, uint32_t least)
{
	uint32_t due = c->due[s->sizeclass];
	struct block *last;
	s->shown = walk(s, (uint32_t)max_size(min_size(due / 2, MAX_SHOWN), least), &last);
	hold(s, last);
	s->until = s->countdown = (uint32_t)max_size(due - s->shown, 1);
}

void mcache_meter_recount(struct mcache *c, struct slab *s)
{
	mcache_meter_count(c, s);
	mcache_meter_cut(c, s, 0);
}

bool mcache_is_due(struct mcache *c, unsigned sc)
{
	struct slab *s = c->current[sc];
	if (s != &slab_none)
		mcache_meter_count(c, s);
	if (c->due[sc] > 1)
		return false;
	c->due[sc] = draw(c, sc);
	if (s != &slab_none)
		mcache_meter_cut(c, s, 0);
	return true;
}

/* unmeter - the slab's list is whole again. */
static void unmeter(struct mcache *c, struct slab *s)
{
	struct block *last;
	(void)walk(s, UINT32_MAX, &last);
	struct block *held = s->held;
	store_release(&s->held, &block_end); /* pairs: carved */
	store_release(last != NULL ? &last->next : &s->free, held); /* pairs: carved */
	mcache_count_anew(c, s);
}

void mcache_meter(struct mcache *c, bool on)
{
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++) {
		struct slab *s = c->current[sc];
		c->due[sc] = on ? draw(c, sc) : 0;
		if (s == &slab_none)
			continue;
		if (!on) {
			unmeter(c, s);
			continue;
		}
		mcache_count_frees(c, s);
		mcache_meter_cut(c, s, 0);
	}
	c->metered = on;
	mcache_show_runs(c);
}
