/* mark.h - from a word to an object, to its mark bit, to its pointers.
 *
 * WHAT   A word that may point into the heap waits in a ring of candidates while the cache line of its
 *        mark bit arrives; then it is resolved to its slot and marked; a newly marked object with
 *        pointers goes on the grey queue; from there through a FIFO, while its own line arrives, it is
 *        scanned. Both delays together are worth 5-8 times (measured: docs/adr/0003).
 * WHO    cycle.c, with one marker per thread that marks; roots.c feeds words.
 * INV    R1 a mark bit is set only where the allocation bit is (a precise word that breaks this is the
 *           program's mistake: fatal unless invalidptr=0; an ambiguous one is ignored)
 *        R2 an object is scanned by whoever set its mark bit, once
 * UNITS  bytes; words are 8 bytes.   FROM our own measurements; the idea of both queues is old. */
#ifndef MGC_GC_MARK_H
#define MGC_GC_MARK_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "gc/work.h"
#include "heap/heap.h"

#define MARK_RING 16
#define MARK_FIFO 16
#define MARK_RECENT 32
#define MARK_PENDING 32
/* Arrays are scanned in pieces of this size, so that several markers can share one and an assist takes no longer
 * than 0.2 ms for one: as large as the largest small object, which is scanned whole. */
#define MARK_PIECE MGC_MAX_SMALL
/* Set in a queued candidate that may not be a pointer; addresses have the bit clear. */
#define MARK_AMBIGUOUS (UINT64_C(1) << 63)

struct marker {
	uintptr_t base; /* of the space, and its size: copies, they never change */
	size_t nbytes;
	const uint32_t *desc;
	struct bitpair *bits;
	const struct spanclass *spanclass;
	struct heap *heap;
	struct grey_pool *pool;
	struct grey_block *block; /* mine, never NULL once started */
	unsigned ring_at;
	uintptr_t ring[MARK_RING]; /* candidates as offsets; 0: none */
	uintptr_t recent[MARK_RECENT]; /* ambiguous candidates of late: types, common constants */
	uintptr_t fifo[MARK_FIFO]; /* entries; 0: none */
	bool ignore_invalid;
	bool direct; /* the bits of the whole heap stay in the cache: nothing waits for them in the ring */
	bool alone; /* nobody else sets mark bits now: no atomic instruction is needed */
	bool of_roots; /* what is fed now are words of roots */
	bool in_stop; /* its thread keeps the world stopped as long as this is set, whatever pool.beside says */
	unsigned npending;
	uintptr_t pending[MARK_PENDING]; /* pairs whose key is not marked, for the pool */
	struct grey_boundary boundary; /* of the marker of the cycle's owner */
	/* not NULL: told of each object that becomes marked, by the marker that drains alone */
	void (*watch)(void *arg, uintptr_t object);
	void *watch_arg;
	uint64_t marked_nbytes, marked_objects;
	uint64_t rescanned_objects; /* by marker_rescan */
	uint64_t nput_off; /* callbacks that have to wait for a stop (pool.beside) */
	uint64_t told_nbytes; /* of them, added to the pool's count */
	uint64_t nspared; /* objects with a spare end (LAYOUT_SPARE) that were scanned */
	bool spare_used; /* one of them had something there, or was found by a pointer to there */
};

/* marker_init - its boundary is empty. */
void marker_init(struct marker *mk, struct heap *h, struct grey_pool *pool, bool ignore_invalid);
/* marker_finish - gives its block back; the queues are empty. */
void marker_finish(struct marker *mk);
/* marker_check_drained - dies if it has anything left (barrier.h: D5). */
void marker_check_drained(const struct marker *mk);

/* marker_sees_stop - it may call what needs a stopped world. Others that mark beside a short stop do not know when it ends. */
MGC_INLINE bool marker_sees_stop(const struct marker *mk)
{
	return mk->in_stop || !mk->pool->beside;
}

/* marker_candidate - a word that may point into the heap; `ambiguous` is MARK_AMBIGUOUS or 0. */
void marker_candidate_slow(struct marker *mk, uintptr_t tagged);

MGC_INLINE void marker_candidate(struct marker *mk, uintptr_t word, uintptr_t ambiguous)
{
	uintptr_t off = word - mk->base;
	if (off >= mk->nbytes)
		return;
	__builtin_prefetch(&mk->bits[off >> 10], 1);
	marker_candidate_slow(mk, word | ambiguous);
}

/* marker_words - n such words, ambiguous ones. */
void marker_words(struct marker *mk, const uintptr_t *w, size_t n);

/* How a pointer stands in its word: bit t of `tags` says whether words of tag t are pointers, and `keep` is
 * what of the word is the address. */
struct word_code {
	uintptr_t keep;
	uint16_t tags;
	uint8_t tag_mask;
};

/* word_code_of - a layout's. word_decode - the address, or 0 when the word is no pointer. */
MGC_INLINE struct word_code word_code_of(const struct layout_desc *d)
{
	struct word_code c = { UINTPTR_MAX, 1, 0 };
	if (d->flags & LAYOUT_TAGGED)
		c = (struct word_code){ ~(uintptr_t)d->tag_mask, d->tags, d->tag_mask };
	if (d->flags & LAYOUT_BOXED)
		c.keep &= LAYOUT_BOX_MASK;
	return c;
}

MGC_INLINE uintptr_t word_decode(struct word_code c, uintptr_t word)
{
	return c.tags >> (word & c.tag_mask) & 1 ? word & c.keep : 0;
}

/* marker_range - every aligned word of [lo, hi); the second with pointers that stand so in theirs. */
void marker_range(struct marker *mk, uintptr_t lo, uintptr_t hi, uintptr_t ambiguous);
void marker_range_coded(struct marker *mk, uintptr_t lo, uintptr_t hi, struct word_code code,
			uintptr_t ambiguous);

/* marker_object - marks the object at that first byte; true when it was not marked before. It will be
 * scanned when the marker drains. */
bool marker_object(struct marker *mk, uintptr_t addr);

/* marker_unmark - takes back what marker_object or space_mark did; candidates for it count again. */
void marker_unmark(struct marker *mk, uintptr_t addr);

/* marker_scan_object - feeds the object's pointers, without marking it (finalizers in order). */
void marker_scan_object(struct marker *mk, uintptr_t addr);

/* mark_in_place - without a marker and without memory: sets the mark bit of the object that the word
 * points into, if any, and flags its span so that marker_drain_alone scans it (W3). True: it was not
 * marked. */
bool mark_in_place(struct heap *h, struct grey_pool *pool, uintptr_t word);
/* mark_object_of - the first byte of the allocated object that the word points into; 0: into none. */
uintptr_t mark_object_of(const struct heap *h, uintptr_t word);
/* mark_is_marked - the word points into no object, or into one that is marked. */
bool mark_is_marked(const struct heap *h, uintptr_t word);

/* A pair, in an object of layout PAIRS: the value is kept as long as the object and the key are alive. A
 * key goes from 0 to itself to PAIR_DEAD, and does not come back. */
struct pair {
	uintptr_t key; /* atomic; 0 and PAIR_DEAD: none */
	uintptr_t value; /* atomic */
};
#define PAIR_DEAD ((uintptr_t)1)

/* marker_rescan - the memory [lo, hi) was written to: the marked objects in it are scanned again, as far as
 * they lie in it. Marks what it finds, now and then. */
void marker_rescan(struct marker *mk, uintptr_t lo, uintptr_t hi);
/* marker_rescan_waiting - scans the marked objects whose callbacks had to wait (pool.beside); drains
 * nothing. */
void marker_rescan_waiting(struct marker *mk);

/* marker_settle - every candidate that was fed is marked (not yet scanned). False: none waited. */
bool marker_settle(struct marker *mk);

/* marker_drain_mine - scans until this marker has nothing left. */
void marker_drain_mine(struct marker *mk);
/* marker_drain - scans until no marker has anything left. */
void marker_drain(struct marker *mk);
/* marker_assist - marks about nbytes of what others left in the pool, then gives back what it has. The
 * caller joined the mark. */
void marker_assist(struct marker *mk, uint64_t nbytes);
/* marker_feed - a list of blocks of words becomes candidates. */
void marker_feed(struct marker *mk, struct grey_block *list);
/* marker_drain_alone - the same for one marker while the others do not take part; also what overflowed
 * (work.h): afterwards everything that is reachable from what was marked is marked. */
void marker_drain_alone(struct marker *mk);

#endif
