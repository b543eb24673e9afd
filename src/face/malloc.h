/* malloc.h - what the files of the malloc face share.
 * WHAT   one heap for the process, one cache for each thread that has allocated, found by one pointer of
 *        initial-exec thread-local storage. All is constant-initialised, so the first call may come
 *        before any constructor.
 * STATE  of a thread: no cache (mcache_none) → a cache → none any more (malloc_gone): then, and where no
 *        memory for a cache or no thread-specific key is left, it shares the late cache under a lock.
 * LOCKS  CLIENT guards the late cache. */
#ifndef MGC_FACE_MALLOC_H
#define MGC_FACE_MALLOC_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>

#include "base/knob.h"
#include "heap/mcache.h"
#include "heap/scavenger.h"
#include "heap/secure.h"

#define MGC_EXPORT __attribute__((visibility("default")))
/* Said at the declaration, it spares a look into the global offset table. */
#define MGC_HIDDEN __attribute__((visibility("hidden")))

struct malloc_face {
	struct manual heap;
	struct secure secure; /* started if MGC_DEBUG=secure=1 */
	uint32_t started; /* atomic: 0, 1 by a thread that starts it, 2 */
	struct lock late_lock;
	struct mcache *late; /* late_lock */
	struct knobs knobs;
	bool knobs_read;
};

extern MGC_HIDDEN struct malloc_face malloc_face;
/* Copies of malloc_face.heap.slabs, each a word that one instruction reads. Until the heap starts every
 * address finds the record of nothing. */
extern MGC_HIDDEN uintptr_t malloc_records, malloc_index_mask;
/* The cache of a thread whose end has passed here: as empty as mcache_none. */
extern struct mcache malloc_gone;
extern MGC_TLS struct mcache *malloc_self;

/* malloc_cache - the calling thread's cache, made if need be; NULL: it has none, use the late one. */
struct mcache *malloc_cache(void);
/* malloc_own_cache - the same, but none is made. */
struct mcache *malloc_own_cache(void);

/* malloc_start_scavenger - scavenger_is_due; MGC_DEBUG=background=0 means never. */
void malloc_start_scavenger(void);

/* malloc_late - the late cache with its lock held, or NULL without. malloc_late_end - releases it. */
struct mcache *malloc_late(void);
void malloc_late_end(void);

/* malloc_start - makes the heap if need be; false: no memory. malloc_from - from that cache; in secure mode from
 * where all blocks come from but those of regions. */
bool malloc_start(void);
void *malloc_from(struct mcache *c, size_t nbytes, size_t align, bool *zero);

/* malloc_class - of so many bytes, a multiple of `align`; 0: it is a large object. */
MGC_INLINE unsigned malloc_class(size_t nbytes, size_t align)
{
	if (align > BLOCK_ALIGN)
		return mcache_class_aligned(nbytes, align);
	return nbytes <= MGC_MAX_SMALL ? mcache_class(nbytes) : 0;
}

/* malloc_from_late - the same from the late cache. NULL: no memory. */
void *malloc_from_late(size_t nbytes, size_t align, bool *zero);

/* malloc_watched - the same from c while the sampler is on, or has been. malloc_watch_resized - the large object
 * has changed its size in place. */
void *malloc_watched(struct mcache *c, size_t nbytes, size_t align, bool *zero);
void malloc_watch_resized(struct slab *s, void *p, size_t nbytes);

/* malloc_started - whether the heap exists. */
bool malloc_started(void);

/* malloc_long, malloc_aligned, malloc_free_long - the long ways: still without a call to the system where the
 * thread's cache has something. malloc_slow - the longest. nbytes any, align a power of two. NULL with errno
 * ENOMEM: no memory. `zero`, if not NULL: says whether the block reads as zero. */
void *malloc_long(size_t nbytes);
void *malloc_aligned(size_t nbytes, size_t align);
void *malloc_slow(size_t nbytes, size_t align, bool *zero);
void malloc_free_long(void *p);

/* malloc_block - the record of the object at p; dies when p begins none. `caller` is named. */
struct slab *malloc_block(const void *p, const char *caller);

/* malloc_block_nbytes - of the object with that record. */
size_t malloc_block_nbytes(const struct slab *s);

/* What is in the heap, by class. */
struct malloc_count {
	size_t nslabs[MGC_NSIZECLASS], nblocks[MGC_NSIZECLASS], nfree[MGC_NSIZECLASS];
	size_t small_nbytes, large_nbytes, nlarge; /* in use */
	size_t resident_nbytes; /* in use, but for pages of slabs that were given back, and free */
	size_t returned_nbytes; /* given back, and not resident since */
	struct pageheap_stats pages;
};
void malloc_count(struct malloc_count *n);
void malloc_print_summary(int fd);
/* malloc_read_stats - those rows of stat.def that this face has. */
struct stat_values;
void malloc_read_stats(struct stat_values *out);

/* C23; the C library's headers do not have them yet. */
void free_sized(void *p, size_t nbytes);
void free_aligned_sized(void *p, size_t align, size_t nbytes);

/* malloc_short - a block of the thread's current slab, or NULL: then the long way. */
MGC_INLINE void *malloc_short(size_t nbytes)
{
	if (MGC_LIKELY(nbytes <= MCACHE_DIRECT_NBYTES)) /* and not mcache_pop: each way reads malloc_self where it wants it */
		return mcache_pop_direct(malloc_self, nbytes);
	return MGC_LIKELY(nbytes <= MGC_MAX_SMALL) ? mcache_pop_medium(malloc_self, nbytes) : NULL;
}

/* malloc_slab - the record that the address finds: its own, if it lies in the heap. */
MGC_INLINE struct slab *malloc_slab(uintptr_t addr)
{
	struct slabs t = { malloc_records, malloc_index_mask };
	return slab_of(&t, addr);
}

/* malloc_free_inline - free and the deletes. */
MGC_INLINE void malloc_free_inline(void *p)
{
	struct slab *s = malloc_slab((uintptr_t)p);
	if (MGC_UNLIKELY(slab_key((uintptr_t)p) != s->key)) /* plain: the compiler folds no atomic load */
		malloc_free_long(p);
	else if (slab_push(s, p))
		mcache_count_down(s);
}

#endif
