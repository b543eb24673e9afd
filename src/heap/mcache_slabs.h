/* mcache_slabs.h - the states that a cache's slabs go through: current, full, partial, sparse, empty (slab.h, STATE).
 * WHO    mcache.c and mcache_visit.c: a cache's own thread, inside (mcache_visit.h), or who visits it.
 * LOCKS  none is held on entry.  UNITS blocks. */
#ifndef MGC_HEAP_MCACHE_SLABS_H
#define MGC_HEAP_MCACHE_SLABS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "heap/mcache.h"

MGC_INLINE void mcache_set_state(struct slab *s, enum slab_state state)
{
	store_relaxed(&s->state, (uint8_t)state);
	if (MGC_HOSTILE)
		os_sleep_ns(1000); /* in the middle of a change: nobody else may be there */
}

/* mcache_forget_slabs - it has no current ones, whatever its words held. */
void mcache_forget_slabs(struct mcache *c);

/* mcache_show_runs - to the short ways, while neither `slow` nor `metered` asks for the long one. */
MGC_INLINE void mcache_show_runs(struct mcache *c)
{
	c->quick_run_nbytes = c->slow || c->metered ? 0 : MCACHE_MAX_RUN * SLAB_NBYTES;
}

/* mcache_count - so many blocks came into the list of one of c's current slabs (mcache_allocated). */
MGC_INLINE void mcache_count(struct mcache *c, const struct slab *s, int64_t n)
{
	store_relaxed(&c->listed_nbytes, c->listed_nbytes + (uint64_t)n * slab_block_nbytes(s));
}
/* mcache_count_frees - those of the current slab since they were last counted. mcache_count_anew - and its countdown
 * starts from the top. */
MGC_INLINE void mcache_count_frees(struct mcache *c, struct slab *s)
{
	mcache_count(c, s, s->until - s->countdown);
	s->until = s->countdown;
}
MGC_INLINE void mcache_count_anew(struct mcache *c, struct slab *s)
{
	mcache_count_frees(c, s);
	s->until = s->countdown = CURRENT_COUNT;
}

/* mcache_corrupt - a list of free blocks is not what was made of it: ends the program. */
void mcache_corrupt(uintptr_t block);

/* mcache_empty - nobody has a block of the slab: it can be carved anew, without a look at what was freed. */
void mcache_empty(struct mcache *c, struct slab *s);
/* mcache_retire - the slab is empty and in no list: kept for the next. mcache_give_slab - its unit goes back. */
void mcache_retire(struct mcache *c, struct slab *s);
/* mcache_check_spares - ends the program if in one of the empty slabs that wait a block was freed twice: before any of them
 * is used again, or goes back, and several at once, as their lists are in no cache any more. */
void mcache_check_spares(struct mcache *c);
void mcache_give_slab(struct mcache *c, struct slab *s);
/* mcache_unlist - out of the list of its class. */
void mcache_unlist(struct mcache *c, struct slab *s);

/* mcache_make_holes - gives back the pages of a sparse slab in which nobody has a block. mcache_note_sparse - it is
 * sparse, or sparser than it was. Without a scavenger its pages go soon, if there are many such slabs: when half as many blocks
 * are in use as at the last time, and the program has gone on to some others. */
void mcache_make_holes(struct mcache *c, struct slab *s);
void mcache_note_sparse(struct mcache *c, struct slab *s);

/* mcache_count_down_slab - its countdown is 0. */
void mcache_count_down_slab(struct mcache *c, struct slab *s);
/* mcache_collect - the slab came out of c's mailbox, and is c's. */
void mcache_collect(struct mcache *c, struct slab *s);

/* mcache_give_kept - what the cache keeps for the next call, empty slabs and runs, goes back.
 * mcache_flush_outboxes - hands over all frees of other threads' blocks. */
void mcache_give_kept(struct mcache *c);
void mcache_flush_outboxes(struct mcache *c);

#endif
