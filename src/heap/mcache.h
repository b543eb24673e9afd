/* mcache.h - one thread's slabs: allocation and free by hand.
 *
 * WHAT   The short ways are mcache_pop and slab_push after a compare of keys; they stand in
 *        the face. Here is the rest: what happens when a list is empty or a countdown runs out, frees of
 *        other threads' blocks, large objects, the thread's end.
 *        Next slab of a class: what others freed of the current one; blocks never used of it; slabs whose
 *        remote frees were posted; the PARTIAL slab that waited longest (so it has the most free blocks);
 *        an orphan; an empty one kept here; the page heap.
 * WHO    the malloc face, and its regions.
 * LOCKS  none is held on entry.
 * UNITS  bytes.
 * COST   short ways: 13 (above 1 KiB 15) and 15 instructions on x86-64, returns included
 *        (test/conform/malloc/path_test.py). */
#ifndef MGC_HEAP_MCACHE_H
#define MGC_HEAP_MCACHE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/manual.h"
#include "heap/mcache_visit.h"

/* The cache of a thread that has none. Never written to, and only the short ways read it. */
extern struct mcache mcache_none;
#define MCACHE_NONE { .none = &block_end }
_Static_assert(offsetof(struct slab, free) == 0 && offsetof(struct mcache, none) == 0,
	       "MCACHE_NONE");

/* mcache_open - a cache, for the calling thread if of that kind. NULL: no memory. */
struct mcache *mcache_open(struct manual *h, enum mcache_kind kind);
/* mcache_close - its slabs become orphans, empty ones go back; the cache may be another's then. */
void mcache_close(struct mcache *c);
/* mcache_drop - the end of a region, with all its blocks: a step for each slab and large object. */
void mcache_drop(struct mcache *c);
struct mcache_stats {
	size_t used_nbytes, nblocks, held_nbytes;
};
/* mcache_read_stats - of a region. */
void mcache_read_stats(const struct mcache *c, struct mcache_stats *st);
/* mcache_allocated - bytes that all caches of h have allocated since the start, in whole blocks; what realloc did in place is
 * not in it. No allocation counts anything. Each was of a block that had come into a list, and lists are filled on the long
 * way, which counts: with untouched blocks, with what others freed, with what a slab has when it becomes current; and by
 * frees into the current slab, which its countdown counts anyway. Of a large object, the long way counts, or the runs that
 * went out. What lists hold at the moment is taken off again here; not what they held when a region was dropped, or, in the
 * child of a fork, the other threads' lists. Right for a process at rest, near it otherwise. */
uint64_t mcache_allocated(struct manual *h);
/* mcache_trim - hands over remote frees and gives back what is empty or cached. */
void mcache_trim(struct mcache *c);

/* mcache_check_empty - ends the program if a block was freed twice in a slab that seems to be empty (mcache_check_spares): for
 * the end of a process. A thread that is inside, as it ends in a signal handler, is not looked at. */
void mcache_check_empty(struct mcache *c);

/* mcache_set_slow - whether each allocation of the calling thread's cache comes the slow way: its short ways find
 * nothing then. */
void mcache_set_slow(struct mcache *c, bool slow);

/* mcache_meter - from here on, or no more, each class of the calling thread's cache knows when the next sample is due; the
 * sampler is on. Its runs come the slow way then. mcache_is_due - the thread allocates a block of that class, and comes the
 * slow way with it: it is to be sampled, and the next one is due some other time. */
void mcache_meter(struct mcache *c, bool on);
bool mcache_is_due(struct mcache *c, unsigned sizeclass);

/* mcache_after_fork - in the child: the threads of all caches but these two (or NULL) are gone, whatever they
 * were doing. Their slabs become orphans; blocks that were on their way are lost. No lock is held. */
void mcache_after_fork(struct manual *h, struct mcache *own, struct mcache *late);

/* mcache_class - size class for nbytes ≤ MGC_MAX_SMALL: blocks are multiples of 16 B. */
MGC_INLINE unsigned mcache_class(size_t nbytes)
{
	return sizeclass_of((nbytes + BLOCK_ALIGN - 1) & ~(BLOCK_ALIGN - 1));
}

/* mcache_class_aligned - smallest class for nbytes ≤ PTRDIFF_MAX of blocks that are multiples of `align`, a power
 * of two; 0: none. */
MGC_INLINE unsigned mcache_class_aligned(size_t nbytes, size_t align)
{
	align = align > BLOCK_ALIGN ? align : BLOCK_ALIGN;
	nbytes = ((nbytes != 0 ? nbytes : 1) + align - 1) & ~(align - 1);
	if (MGC_UNLIKELY(nbytes > MGC_MAX_SMALL))
		return 0;
	unsigned sc = sizeclass_of(nbytes);
	while (MGC_UNLIKELY((sizeclass_table[sc].slot_nbytes & (align - 1)) != 0))
		if (++sc == MGC_NSIZECLASS)
			return 0;
	return sc;
}

MGC_INLINE struct slab *mcache_shown(struct mcache *c, uintptr_t offset)
{
	return (struct slab *)((uintptr_t)c + offset);
}
/* The slab in another register than the one that returns the block: else that is moved there at the end. And not the same
 * on both ways: else the one jumps to the other's end. It is one instruction each. */
#if defined(__x86_64__)
#define MCACHE_KEEP_IN(reg, s) __asm__("" : "+" reg(s))
#else
#define MCACHE_KEEP_IN(reg, s) ((void)0)
#endif
/* mcache_pop_direct, mcache_pop_medium - a block of at least nbytes, up to MCACHE_DIRECT_NBYTES and beyond up to
 * MGC_MAX_SMALL, of the current slab that the short ways see, or NULL: then mcache_alloc. mcache_pop - of any size; NULL
 * for what is larger. */
MGC_INLINE void *mcache_pop_direct(struct mcache *c, size_t nbytes)
{
	struct slab *s = mcache_shown(c, c->direct[(nbytes + BLOCK_ALIGN - 1) / BLOCK_ALIGN]);
	MCACHE_KEEP_IN("d", s);
	return slab_pop(s);
}
MGC_INLINE void *mcache_pop_medium(struct mcache *c, size_t nbytes)
{
	size_t i = (nbytes - MCACHE_DIRECT_NBYTES - 1) / MCACHE_MEDIUM_STEP;
	struct slab *s = mcache_shown(c, c->medium[i]);
	MCACHE_KEEP_IN("c", s);
	return slab_pop(s);
}
MGC_INLINE void *mcache_pop(struct mcache *c, size_t nbytes)
{
	if (MGC_LIKELY(nbytes <= MCACHE_DIRECT_NBYTES))
		return mcache_pop_direct(c, nbytes);
	return MGC_LIKELY(nbytes <= MGC_MAX_SMALL) ? mcache_pop_medium(c, nbytes) : NULL;
}
#undef MCACHE_KEEP_IN

/* mcache_alloc - a block of that class, contents undefined. NULL: no memory. */
void *mcache_alloc(struct mcache *c, unsigned sizeclass);
/* mcache_alloc_large - any size > 0, a multiple of `align` (a power of two) and of 64 KiB. *zero: it reads
 * as zero. NULL: no memory. */
void *mcache_alloc_large(struct mcache *c, size_t nbytes, size_t align, bool *zero);

/* mcache_take_run - of the freed runs that the cache keeps, one of so many units (1 … MCACHE_MAX_RUN), or NULL:
 * CACHED, for the caller to claim; inside. mcache_keep_run - a run that was freed. mcache_trim_runs - there are too
 * many; leaves. */
MGC_INLINE struct slab *mcache_take_run(struct mcache *c, size_t units)
{
	struct slab *s = c->run[units];
	if (s != NULL) {
		c->run[units] = s->next;
		c->runs_bound += units; /* one instruction; see allocated_by */
	}
	return s;
}
/* mcache_run_units - units in all runs that are kept. */
MGC_INLINE uint64_t mcache_run_units(const struct mcache *c)
{
	return c->runs_in + MCACHE_MAX_KEPT - c->runs_bound;
}
void mcache_trim_runs(struct mcache *c);
MGC_INLINE void mcache_keep_run(struct mcache *c, struct slab *s)
{
	uint32_t units = s->countdown / SLAB_PAGES;
	mcache_enter(c);
	store_relaxed(&s->owner, c);
	store_relaxed(&s->state, (uint8_t)SLAB_CACHED);
	s->next = c->run[units];
	c->run[units] = s;
	c->runs_in += units;
	if (MGC_UNLIKELY(c->runs_in > c->runs_bound))
		mcache_trim_runs(c);
	else
		mcache_leave(c);
}
/* mcache_alloc_run - nbytes in (MGC_MAX_SMALL, MCACHE_MAX_RUN units], if such a run is kept and c is a thread's. */
MGC_INLINE void *mcache_alloc_run(struct mcache *c, size_t nbytes)
{
	size_t units = (nbytes + SLAB_NBYTES - 1) >> SLAB_SHIFT;
	if (c->run[units] == NULL)
		return NULL;
	mcache_enter(c);
	struct slab *s = mcache_take_run(c, units);
	if (MGC_LIKELY(s != NULL)) {
		store_relaxed(&s->owner, NULL);
		store_relaxed(&s->state, (uint8_t)SLAB_LARGE);
	}
	mcache_leave(c);
	if (MGC_UNLIKELY(s == NULL)) /* a visitor took it */
		return NULL;
	return (void *)manual_base(c->heap, s);
}

/* mcache_send - frees a block of another cache's slab: it waits in the outbox for more of its kind. Like
 * mcache_keep_run it leaves errno alone, and its last act is a call or nothing. mcache_send_long leaves. */
void mcache_send_long(struct mcache *c, struct outbox *o, struct slab *s, struct block *b);
MGC_INLINE void mcache_send(struct mcache *c, struct slab *s, void *p)
{
	struct outbox *o = &c->outbox[((uintptr_t)s >> SLAB_RECORD_SHIFT) % MCACHE_NOUTBOX];
	struct block *b = p;
	mcache_enter(c);
	if (MGC_LIKELY(o->slab == s && o->first != b)) {
		b->next = o->first;
		o->first = b;
		if (MGC_LIKELY(++o->n < o->most)) {
			mcache_leave(c);
			return;
		}
	}
	mcache_send_long(c, o, s, b);
}

/* mcache_free_own - frees a block of the calling thread's own slab, which has its key or is sparse. */
void mcache_free_own(struct mcache *c, struct slab *s, void *p);
/* mcache_free_sparse - the same of a sparse one of a thread. Most often there is nothing to do but to count: nobody looked
 * at it since the last free, and the scavenger is awake, or where there is none the next half is not free yet. */
MGC_INLINE void mcache_free_sparse(struct mcache *c, struct slab *s, void *p)
{
	const struct scavenging *g = &c->heap->scavenging;
	mcache_enter(c);
	uint32_t used = s->countdown - 1;
	bool calm = used != 0 &&
		    (load_relaxed(&g->on) ? load_relaxed(&g->asleep) == 0 : !is_pow2(used));
	if (MGC_LIKELY(calm && load_relaxed(&s->state) == SLAB_SPARSE)) {
		(void)slab_push(s, p);
		mcache_leave(c);
		return;
	}
	mcache_leave(c);
	mcache_free_own(c, s, p);
}

/* mcache_count_down - the slab's countdown, of the calling thread's slab, is 0. */
void mcache_count_down(struct slab *s);

/* What is wrong with a pointer that was given to free, or nothing. */
enum block_verdict { BLOCK_OK, BLOCK_FOREIGN, BLOCK_INSIDE, BLOCK_TWICE };

/* mcache_check - whether p begins an object of h that may be in use. */
enum block_verdict mcache_check(const struct manual *h, const struct slab *s, uintptr_t p);

/* mcache_free - frees what mcache_check found OK, from any thread: with the thread's cache, or NULL. */
void mcache_free(struct mcache *c, struct manual *h, struct slab *s, void *p);

/* mcache_usable - bytes of the object that begins at p, which mcache_check found OK. */
size_t mcache_usable(const struct slab *s);

/* mcache_resize_large - changes a large object in place. False: not possible, nothing changed. */
bool mcache_resize_large(struct manual *h, struct slab *s, size_t nbytes);
/* mcache_move_large - makes an object of c's (or of a thread's) larger where it cannot stay: its new address, with all
 * it holds. nbytes is beyond what runs have. NULL: no memory, nothing changed. */
void *mcache_move_large(struct mcache *c, struct slab *s, size_t nbytes);

#endif
