/* secure.h - blocks freed by hand that are hard to misuse: slower, with all that is known of them kept elsewhere.
 *
 * WHAT   Over the page heap and the records of manual.h, in the place of a thread's cache:
 *        known    which blocks of a slab are used, and which wait, are two bit maps outside the heap: no
 *                 link of ours lies in free memory, and each wrong free is told exactly.
 *        place    a block is one of its slab's free ones at random.
 *        wait     a freed block goes to a random place of its class's quarantine, and the block that
 *                 was there is free now: on average it waits for as many frees as there are places.
 *        zero     a block is zeroed when it is freed and looked at when it is given out: a write in
 *                 between is found then. So all blocks read as zero.
 *        guards   behind each slab and each large object lies a page that cannot be touched, as long
 *                 as there are not too many: the system bounds a process's mappings.
 *        large    memory that was freed cannot be touched at once; its addresses wait, too.
 * WHO    the malloc face with MGC_DEBUG=secure=1. Blocks that were given out before it was read stay what they are.
 * STATE  a record: NONE → SECURE → NONE for a slab; NONE → SECURE_LARGE → SECURE_GONE → NONE at a large
 *        object's first unit. `countdown` is a slab's blocks that are used or wait; a large object's pages, without
 *        its guard. `key` and `owner` are 0: all frees come the long way.
 * INV    X1 no block is used and waits; a slab is in its class's list if some block is neither
 *        X2 a block that is neither reads as zero, or was written to by a mistake
 *        X3 SECURE_LARGE → SECURE_GONE is one step for one thread
 * LOCKS  CENTRAL, one for each class and one for large objects, never two; PAGEHEAP below.
 * UNITS  bytes; blocks; pages of 8 KiB.
 * FROM   GrapheneOS hardened_malloc: bit maps elsewhere, quarantine at random, zero and look again. */
#ifndef MGC_HEAP_SECURE_H
#define MGC_HEAP_SECURE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/manual.h"
#include "heap/mcache.h"

/* Places of a quarantine: as many blocks, or bytes of them, but a few. Large ones have their own: addresses only. */
#define SECURE_HELD (MGC_HOSTILE ? 4 : 256)
#define SECURE_HELD_NBYTES ((size_t)256 << 10)
#define SECURE_HELD_LARGE 32

struct secure_class {
	struct lock lock; /* CENTRAL; of what follows, and of the bits of the class's slabs */
	struct slab_list usable; /* slabs with a free block */
	uint64_t random; /* state */
	uint32_t ndrawn;
	uint32_t nheld; /* places */
	uintptr_t held[SECURE_HELD]; /* blocks; 0: none */
};

struct secure {
	struct manual *heap; /* atomic; NULL: not started */
	struct secure_bits *bits; /* of each unit; reserved, committed with the arenas */
	size_t bits_nbytes;
	size_t committed; /* arenas; atomic, written under large.lock */
	bool bits_cut; /* large.lock: only theirs are ours */
	size_t nguards; /* atomic */
	struct secure_class class[MGC_NSIZECLASS];
	struct secure_class large;
};

/* secure_init - 0 or ENOMEM. */
int secure_init(struct secure *x, struct manual *h);

/* secure_obey - what is reserved for bits and not in use goes back, if the address space has been limited since: manual_obey. */
void secure_obey(struct secure *x);

/* secure_on - whether it is. */
MGC_INLINE bool secure_on(const struct secure *x)
{
	return load_acquire(&x->heap) != NULL; /* pairs: secure-on */
}

/* secure_is - the record is of one of its units, or was in front of a moment. */
MGC_INLINE bool secure_is(const struct slab *s)
{
	uint8_t state = load_relaxed(&s->state);
	return state == SLAB_SECURE || state >= SLAB_SECURE_LARGE;
}

/* secure_alloc - nbytes ≤ PTRDIFF_MAX at a multiple of align, a power of two; reads as zero. NULL: no memory. */
void *secure_alloc(struct secure *x, size_t nbytes, size_t align);
/* secure_check - whether p, which found the record, begins a block in use. */
enum block_verdict secure_check(struct secure *x, struct slab *s, uintptr_t p);
/* secure_free - what secure_check found OK. False: it was freed meanwhile, by another thread. */
bool secure_free(struct secure *x, struct slab *s, void *p);
/* secure_usable - bytes of the block, which secure_check found OK. */
size_t secure_usable(const struct slab *s);
/* secure_count_used - blocks of the slab that are used; others may change that meanwhile. */
uint32_t secure_count_used(const struct secure *x, const struct slab *s);
/* secure_each_lock - for fork. */
void secure_each_lock(struct secure *x, void (*fn)(struct lock *l));

#endif
