/* mcache.h - one thread's slabs: allocation and free by hand.
 *
 * WHAT   The short ways are slab_pop of direct[size] and slab_push after a compare of keys; they stand in
 *        the face. Here is the rest: what happens when a list is empty or a countdown runs out, frees of
 *        other threads' blocks, large objects, the thread's end.
 *        Next slab of a class: what others freed of the current one; blocks never used of it; slabs whose
 *        remote frees were posted; the PARTIAL slab that waited longest (so it has the most free blocks);
 *        an orphan; an empty one kept here; the page heap.
 * WHO    the malloc face, and its regions.
 * LOCKS  none is held on entry.
 * UNITS  bytes.
 * COST   short ways: 13 and 15 instructions on x86-64, returns included (test/unit/malloc_path_test). */
#ifndef MGC_HEAP_MCACHE_H
#define MGC_HEAP_MCACHE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/manual.h"

/* The cache of a thread that has none: every slab of it is slab_none. Never written to. */
extern struct mcache mcache_none;

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
/* mcache_trim - hands over remote frees and gives back what is empty or cached. */
void mcache_trim(struct mcache *c);

/* mcache_after_fork - in the child: the threads of all caches but these two (or NULL) are gone, whatever they
 * were doing. Their slabs become orphans; blocks that were on their way are lost. No lock is held. */
void mcache_after_fork(struct manual *h, struct mcache *own, struct mcache *late);

/* mcache_class - size class for nbytes ≤ MGC_MAX_SMALL: blocks are multiples of 16 B. */
MGC_INLINE unsigned mcache_class(size_t nbytes)
{
	return sizeclass_of((nbytes + BLOCK_ALIGN - 1) & ~(BLOCK_ALIGN - 1));
}

/* mcache_class_aligned - smallest class of blocks that are multiples of `align`, a power of two; 0: none. */
unsigned mcache_class_aligned(size_t nbytes, size_t align);

/* mcache_alloc - a block of that class, contents undefined. NULL: no memory. */
void *mcache_alloc(struct mcache *c, unsigned sizeclass);
/* mcache_alloc_large - any size > 0, a multiple of `align` (a power of two) and of 64 KiB. *zero: it reads
 * as zero. NULL: no memory. */
void *mcache_alloc_large(struct mcache *c, size_t nbytes, size_t align, bool *zero);

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

#endif
