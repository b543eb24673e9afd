/* slab.h - a unit of 64 KiB that the malloc face cuts into equal blocks, and how an address finds its
 * record.
 *
 * WHAT   The record of the unit at address a is slabs[(a / 64 KiB) mod n], n a power of two that covers
 *        the heap's range: two instructions and no look at where the range begins. The index may be that
 *        of a foreign address; then the key tells.
 *        key    (unit's address ^ the owner's thread pointer). A block's address without the bits that
 *               say where in its unit it lies, and the caller's thread pointer, give the same word only
 *               if the block is in this very unit, is a multiple of 16, and the caller owns the slab: one
 *               compare on the way of free.
 *        lists  of free blocks are linked through the blocks' first words and end in a block that links
 *               to itself: block_end, which is nobody's. Another block that does so was pushed twice in
 *               a row, so the test for "empty" finds that double free too.
 *        countdown  frees by the owner until something happens: a FULL slab gets a free block (1), a
 *               PARTIAL one is SPARSE (blocks in use above its floor), or that one is empty (its blocks
 *               in use). So allocation counts nothing.
 *        holes  pages of 4 KiB in which nobody has a block may go back to the system while the rest of the
 *               unit stays. Their blocks are in no list, and are cut anew when the list is empty.
 * STATE  of a slab, written by its owner, or under CENTRAL where there is none:
 *          NONE → CURRENT → FULL → PARTIAL → CURRENT … ; PARTIAL → SPARSE → SPARE → NONE or CURRENT
 *          SPARSE: an eighth is in use, or less. It has no key, so that each free of it comes a longer way, which
 *          somebody else may keep out of (mcache_visit); SEEN: it was so at the last visit, too; LOOKED_AT:
 *          its pages have gone since it last changed. Any of these → CURRENT.
 *          thread exit: → ORPHAN (in its class's list) or ORPHAN_FULL (in none) → CURRENT of another, or NONE
 *        of a large object, at its first unit: NONE → LARGE → CACHED → LARGE … → NONE
 * INV    B1 every block of `free`, `held` and `remote` is inside the slab, at a multiple of the block size
 *        B2 `carved` blocks were ever linked; those above are untouched
 *        B3 remote's low bit is set from when a thread finds it clear and adds blocks until the owner
 *           takes the slab out of its mailbox. While it is set the slab is in a mailbox or about to be,
 *           and its unit stays a slab.
 *        B4 PARTIAL …, ORPHAN: countdown + floor = carved - length of `free` - remote blocks that are counted
 *           - blocks in holes, or IDLE_COUNT when that is 0 and B3 keeps the unit
 *        B5 remote blocks are counted when the slab comes out of a mailbox, and stay where they are until
 *           `free` is empty: nobody walks their list, whose blocks are in another thread's cache lines
 *        B6 a block that shares a byte with a hole is free, carved, and in neither list
 * UNITS  bytes; blocks; pages of 8 KiB.
 * FROM   lists per page: mimalloc. Posting a whole list of remote frees: snmalloc. */
#ifndef MGC_HEAP_SLAB_H
#define MGC_HEAP_SLAB_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/config.h"
#include "heap/sizeclass.h"

#define SLAB_SHIFT 16
#define SLAB_NBYTES ((size_t)1 << SLAB_SHIFT)
#define SLAB_PAGES (SLAB_NBYTES >> MGC_PAGE_SHIFT)
#define SLAB_RECORD_SHIFT 6

/* The smallest and strictest that malloc may hand out. */
#define BLOCK_ALIGN ((size_t)16)
/* Bits of an address that a key leaves out. */
#define KEY_OFFSET_BITS (SLAB_NBYTES - BLOCK_ALIGN)

/* A slab's word of remote frees: bit 0, posted; 4 … 15, where in the unit the list's first block lies;
 * 16 … 31, how many were added since the owner last counted; 32 … 47, how many are in the list. 48 … 63 are
 * the owner's: its holes, one bit for each 4 KiB. */
#define REMOTE_POSTED ((uintptr_t)1)
#define REMOTE_FRESH ((uintptr_t)0xffff << 16)
#define REMOTE_HOLES_SHIFT 48
#define SLAB_HOLE_NBYTES ((size_t)4096)
#define REMOTE_HOLES ((uintptr_t)0xffff << REMOTE_HOLES_SHIFT)
#define REMOTE_ONE ((uintptr_t)1 << 32 | (uintptr_t)1 << 16)

/* countdowns that no number of blocks comes near */
#define CURRENT_COUNT (UINT32_C(1) << 31)
#define IDLE_COUNT (UINT32_C(1) << 30)

struct mcache;

struct block {
	struct block *next;
};

enum slab_state {
	SLAB_NONE,
	SLAB_CURRENT,
	SLAB_FULL,
	SLAB_PARTIAL,
	SLAB_SPARSE,
	SLAB_SEEN,
	SLAB_LOOKED_AT,
	SLAB_SPARE,
	SLAB_ORPHAN,
	SLAB_ORPHAN_FULL,
	SLAB_SECURE, /* and those at the end: secure.h */
	SLAB_LARGE, /* from here on countdown is pages */
	SLAB_CACHED,
	SLAB_SECURE_LARGE,
	SLAB_SECURE_GONE,
};

struct slab {
	struct block *free; /* owner */
	uintptr_t key; /* atomic; 0 when nobody may free the short way */
	uint32_t countdown; /* owner; of a large object: its pages */
	uint16_t carved; /* atomic; owner, whoever frees looks; of a large object: its mapping is to be renewed */
	uint8_t sizeclass; /* atomic; 0: large, or nothing */
	uint8_t state; /* atomic */
	uintptr_t remote; /* atomic: blocks freed by others, see REMOTE_… */
	struct mcache *owner; /* atomic; of a large object: the region or shared cache that it is of, or who keeps it CACHED */
	union {
		struct {
			struct slab *next, *prev; /* in the list of its state */
		};
		struct { /* of a CURRENT one, which is in none: mcache_sample.h */
			struct block *held; /* atomic; owner: more free blocks */
			uint32_t shown;
			uint32_t until; /* owner: the countdown when its frees were last counted */
		};
	};
	struct slab *mail; /* in a mailbox */
};

_Static_assert(sizeof(struct slab) == (size_t)1 << SLAB_RECORD_SHIFT, "a cache line a unit");
_Static_assert(MGC_CHUNK_PAGES >= SLAB_PAGES, "a chunk is whole units");
_Static_assert(MGC_PAGE_SHIFT < SLAB_SHIFT && SLAB_RECORD_SHIFT <= SLAB_SHIFT,
	       "see slab_index_mask");

struct slab_list {
	struct slab *first, *last;
};

/* What an empty list of free blocks, and no slab at all, look like. */
extern struct block block_end;
extern struct slab slab_none;

/* The records. */
struct slabs {
	uintptr_t records;
	uintptr_t index_mask; /* of an address shifted so that a unit's number stands at a record's */
};

MGC_INLINE struct slab *slab_of(const struct slabs *t, uintptr_t addr)
{
	uintptr_t at = addr >> (SLAB_SHIFT - SLAB_RECORD_SHIFT) & t->index_mask;
	return (struct slab *)(t->records + at);
}

/* slab_key - of an address for the calling thread. x86-64: the thread pointer is the word at fs:0, and
 * the compiler would load it first. */
MGC_INLINE uintptr_t slab_key(uintptr_t addr)
{
	uintptr_t key = addr & ~(uintptr_t)KEY_OFFSET_BITS;
#if defined(__x86_64__)
	__asm__("xorq %%fs:0, %0" : "+r"(key) : : "cc");
#else
	key ^= (uintptr_t)__builtin_thread_pointer();
#endif
	return key;
}

MGC_INLINE size_t slab_block_nbytes(const struct slab *s)
{
	return sizeclass_table[s->sizeclass].slot_nbytes;
}

/* slab_nblocks - of a slab of that class. */
MGC_INLINE uint32_t slab_nblocks(unsigned sizeclass)
{
	return (uint32_t)(SLAB_NBYTES / sizeclass_table[sizeclass].slot_nbytes);
}

/* slab_pop, slab_push - the short ways. pop: NULL when the list is empty, or its first block was freed
 * twice in a row. push: true when the countdown has run out. */
MGC_INLINE void *slab_pop(struct slab *s)
{
	struct block *b = s->free, *next = b->next;
	if (MGC_UNLIKELY(next == b))
		return NULL;
	s->free = next;
	return b;
}

MGC_INLINE bool slab_push(struct slab *s, void *p)
{
	struct block *b = p;
	b->next = s->free;
	s->free = b;
	MGC_COMPILER_FENCE(); /* who sees the count sees the list: mcache_visit */
	order_shown(&s->countdown);
	return MGC_UNLIKELY(--s->countdown == 0);
}

/* remote_count - blocks in the list; remote_counted - those that the owner has counted. */
MGC_INLINE uint32_t remote_count(uintptr_t remote)
{
	return (uint32_t)(remote >> 32) & 0xffff;
}

MGC_INLINE uint32_t remote_fresh(uintptr_t remote)
{
	return (uint32_t)(remote & REMOTE_FRESH) >> 16;
}

MGC_INLINE uint32_t remote_counted(uintptr_t remote)
{
	return remote_count(remote) - remote_fresh(remote);
}

/* slab_is_listed - the slab is in the list of its class. slab_is_sparse - and has no key. */
MGC_INLINE bool slab_is_listed(const struct slab *s)
{
	uint8_t state = load_relaxed(&s->state);
	return state >= SLAB_PARTIAL && state <= SLAB_LOOKED_AT;
}
MGC_INLINE bool slab_is_sparse(const struct slab *s)
{
	return slab_is_listed(s) && load_relaxed(&s->state) != SLAB_PARTIAL;
}

/* slab_floor - blocks in use at which the countdown of a listed slab, or an orphan, ends. slab_used - of such a slab. */
MGC_INLINE uint32_t slab_floor(const struct slab *s)
{
	return load_relaxed(&s->state) == SLAB_PARTIAL ? load_relaxed(&s->carved) / 8u : 0;
}
MGC_INLINE uint32_t slab_used(const struct slab *s)
{
	return s->countdown + slab_floor(s);
}
/* slab_used_idle - the same where the unit may be kept though all came home. */
MGC_INLINE uint32_t slab_used_idle(const struct slab *s)
{
	return s->countdown == IDLE_COUNT ? 0 : slab_used(s);
}

/* remote_first - of the unit at `base`; the list's end when there is none. */
MGC_INLINE struct block *remote_first(uintptr_t remote, uintptr_t base)
{
	return remote_count(remote) != 0 ? (struct block *)(base + (remote & KEY_OFFSET_BITS))
					 : &block_end;
}

MGC_INLINE void slab_list_remove(struct slab_list *l, struct slab *s)
{
	*(s->prev != NULL ? &s->prev->next : &l->first) = s->next;
	*(s->next != NULL ? &s->next->prev : &l->last) = s->prev;
}

MGC_INLINE void slab_list_push_back(struct slab_list *l, struct slab *s)
{
	s->next = NULL;
	s->prev = l->last;
	*(l->last != NULL ? &l->last->next : &l->first) = s;
	l->last = s;
}

/* slab_carve - links some more untouched blocks of the slab at `base` into its empty list: about a page of
 * the system, at least one. How many; 0: all are carved. */
uint32_t slab_carve(struct slab *s, uintptr_t base);

/* slab_is_block - addr, inside the slab at `base`, is the start of a carved block. */
MGC_INLINE bool slab_is_block(const struct slab *s, uintptr_t base, uintptr_t addr)
{
	const struct sizeclass_info *info = &sizeclass_table[s->sizeclass];
	uint64_t offset = addr - base;
	uint64_t i = offset * info->reciprocal >> 32;
	return i < load_relaxed(&s->carved) && i * info->slot_nbytes == offset;
}

/* slab_take_held - the empty list of a CURRENT slab becomes those held back. False: there are none. */
MGC_INLINE bool slab_take_held(struct slab *s)
{
	struct block *held = s->held;
	if (held == &block_end)
		return false;
	store_release(&s->held, &block_end); /* pairs: carved */
	store_release(&s->free, held); /* pairs: carved */
	return true;
}

/* slab_take_remote - the empty list of the slab at `base` becomes what others freed. How many blocks. */
uint32_t slab_take_remote(struct slab *s, uintptr_t base);

/* slab_gather - what others freed joins the list, which need not be empty. How many blocks nobody had counted. */
uint32_t slab_gather(struct slab *s, uintptr_t base);

/* slab_make_holes - of the pages in which nobody has a block: returns them, a bit for each 4 KiB, for the caller to
 * give back; whole pages of the system, and 0 if they are less than an eighth of what is resident. */
uint32_t slab_make_holes(struct slab *s, uintptr_t base, size_t os_page_nbytes);

/* slab_fill_hole - the empty list becomes the *nblocks blocks of some pages that were given back, and there are no holes
 * there any more. How many pages; 0: there were none. */
uint32_t slab_fill_hole(struct slab *s, uintptr_t base, uint32_t *nblocks);

/* slab_is_in_hole - of a block. slab_holes - pages of 4 KiB that are. */
bool slab_is_in_hole(const struct slab *s, uintptr_t base, uintptr_t addr);
MGC_INLINE uint32_t slab_holes(const struct slab *s)
{
	return (uint32_t)(load_relaxed(&s->remote) >> REMOTE_HOLES_SHIFT);
}

/* slab_count_remote - the slab came out of a mailbox: it is not posted any more; how many blocks nobody had
 * counted. They stay where they are. */
uint32_t slab_count_remote(struct slab *s);

/* slab_add_remote - n blocks, linked from first to last, of a slab of another's. True: it was not posted, and is
 * to be now. */
bool slab_add_remote(struct slab *s, struct block *first, struct block *last, uint32_t n);

/* slab_count_free - length of the list, and blocks in holes. Stops at the first link that cannot be one, so the list may be
 * somebody else's and change meanwhile: then it is only about right. */
uint32_t slab_count_free(const struct slab *s, uintptr_t base);

/* slab_length - of the list, without a look at it: of a slab that has so many blocks in use, by B4. */
uint32_t slab_length(const struct slab *s, uint32_t used);

/* slab_mend - the same for a list that its owner may have left half made: cut off where it stops being one. */
uint32_t slab_mend(struct slab *s, uintptr_t base);

/* slab_find_twice - looks for a block that is in the list twice, 128 links into it: 0 when there is none.
 * For slabs that seem to be empty: a double free makes them seem so too early. Of up to SLAB_WALKS slabs at once the
 * lists are followed side by side, as each link may lie in memory that no cache holds. */
#define SLAB_WALKS 8
struct slab_walk {
	const struct slab *s;
	uintptr_t base;
	const struct block *at, *mark; /* slab_find_twice's */
};
uintptr_t slab_find_twice(struct slab_walk *w, unsigned n);

#endif
