/* work.h - the grey queue: objects that are marked and not yet scanned, in blocks that markers
 * exchange, and the count of idle markers that ends a mark.
 *
 * WHAT   A marker fills and empties a block of its own, last in first out. A full one goes to the
 *        shared stack; who runs dry takes one from there; who sees others idle gives half of his.
 *        A block of words holds what was read from a stack or shaded by a barrier: words that may be
 *        references and are not marked yet.
 * STATE  a block is a marker's, a mutator's (barrier buffer), on `full`, or on `empty`.
 *        A mark is open (helpers and assists may join) until all who joined are idle or have left.
 * INV    W1 an object on a queue is marked; a word is not resolved before the last snapshot
 *        W2 all markers idle ⇒ `full` is empty and no marker holds an object
 *        W3 marking never fails: without memory for a block the object's span is flagged `overflow`
 *           and the pool's flag is set; marker_drain_alone scans such spans again
 *        W4 who sleeps for want of something to take is woken: it decides to under the lock, with `full` empty and the mark
 *           not over. Who pushes does so under the lock, and wakes one who sleeps. A mark comes to its end when a marker
 *           goes idle or leaves; that marker looks afterwards, itself or under the lock, and the last one to do so sees
 *           all the others idle: when it has the lock, a sleeper has seen the same, or is seen and woken
 *        W5 a marker that has not seen yet that the mark is closed takes nothing from `full`: what is there then was
 *           pushed by the cycle's owner, which goes on alone once it has seen that, so who pops under the lock sees it too
 * LOCKS  RECORDS around both stacks.
 * UNITS  objects; a block is 4 KiB.   FROM Go's mgcwork.go. */
#ifndef MGC_GC_WORK_H
#define MGC_GC_WORK_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/config.h"
#include "gc/keyfilter.h"
#include "os/lock.h"

#if MGC_HOSTILE
#define GREY_BLOCK_OBJECTS 14
#else
#define GREY_BLOCK_OBJECTS 510
#endif

#define GREY_OPEN 0x80000000u

struct grey_block {
	struct grey_block *next;
	uint32_t n;
	uint32_t words; /* holds words, not entries of marked objects */
	uintptr_t object[GREY_BLOCK_OBJECTS];
};

/* Blocks come from the system in slabs; most go back after each cycle. A slab is cut when its blocks are wanted,
 * so that whoever needs one touches no other. */
struct grey_slab {
	struct grey_slab *next;
	size_t nbytes;
	size_t ncut; /* blocks that were handed out since everything was empty */
	size_t ntouched; /* and ever: more is not resident */
};

struct grey_pool {
	struct lock lock;
	struct grey_block *full, *empty; /* lock; `full` is also peeked at without */
	struct grey_block *pending; /* lock: pairs whose key was unmarked (ephemeron.h) */
	struct grey_slab *slabs; /* lock */
	struct grey_slab *fresh; /* lock: of them the first that has uncut blocks, or NULL */
	uint32_t nmarkers; /* atomic: taking part in this mark; GREY_OPEN set while more may join */
	uint32_t nidle; /* atomic */
	uint32_t nsleeping; /* lock: of the idle ones */
	uint32_t bell; /* atomic, futex; changed under the lock, when somebody sleeps */
	uint32_t hungry; /* atomic: an assist found nothing to take */
	bool one_processor; /* who has something to give does not run while somebody asks for it */
	uint32_t overflow; /* atomic */
	uint32_t lost_pending; /* atomic: there was no memory to note a pair */
	uint32_t pause; /* atomic: so many threads wait for a boundary of the work, to fork (fork.h) */
	uint32_t chore; /* atomic: who collects shall touch memory at the next one (background.h) */
	bool beside; /* the program runs, and has no barrier: what needs a stopped world waits, but for the
			marker of who stopped it (marker_sees_stop). Set by the cycle's owner before a mark
			opens, or in the last stop, while no helper marks */
	uint64_t marked_nbytes; /* atomic: by all markers of this cycle, told now and then */
	struct key_filter keys;
	size_t max_slabs; /* tests: fewer, to see W3 at work */
	bool refused; /* lock: the system had no memory for a slab; it is asked again by the next grey_reserve */
	size_t nslabs, nbytes; /* lock: of slabs */
	size_t ntouched; /* lock: blocks, of all slabs */
	uint64_t nspared; /* atomic: objects with a spare end (LAYOUT_SPARE) that were scanned, ever */
	uint32_t spare_used; /* atomic: one was in use */
	uint32_t ncopied; /* atomic: blocks that this cycle's snapshots filled */
};

/* grey_pool_init - with one slab, which lasts for most shapes of heaps when there is never memory for another. False:
 * there is none for it. */
bool grey_pool_init(struct grey_pool *p);
void grey_pool_destroy(struct grey_pool *p);

/* grey_take_empty - an empty block of objects, or NULL when memory is refused. Also in the handler of a
 * thread that holds no lock. */
struct grey_block *grey_take_empty(struct grey_pool *p);
void grey_put_empty(struct grey_pool *p, struct grey_block *b);
void grey_put_full(struct grey_pool *p, struct grey_block *b);
/* grey_take_full - a block with objects, or NULL when there is none now. */
struct grey_block *grey_take_full(struct grey_pool *p);
/* grey_put_pending - n words of a list of their own; without memory for them lost_pending is set.
 * grey_take_pending - all of it. */
void grey_put_pending(struct grey_pool *p, const uintptr_t *word, uint32_t n);
struct grey_block *grey_take_pending(struct grey_pool *p);
/* What the owner of a cycle does between two pieces of work when somebody waits for that; fn NULL: nothing. */
struct grey_boundary {
	void (*fn)(void *arg);
	void *arg;
};

MGC_INLINE void grey_at_boundary(const struct grey_pool *p, const struct grey_boundary *b)
{
	if (MGC_UNLIKELY((load_relaxed(&p->pause) | load_relaxed(&p->chore)) != 0) && b->fn != NULL)
		b->fn(b->arg);
}

/* grey_wait_full - as take_full, but waits until there is one, or until every marker waits here
 * (NULL: the mark is over, and closed: nobody joins it any more). */
struct grey_block *grey_wait_full(struct grey_pool *p, const struct grey_boundary *b);
/* grey_start - opens a mark with one marker, the caller; all who took part in the one before are gone. */
void grey_start(struct grey_pool *p);
/* grey_join - one marker more; false when the mark is over. A helper that the system runs late is not
 * waited for. */
bool grey_join(struct grey_pool *p);
/* grey_leave - an assist has enough; its block is back in the pool. */
void grey_leave(struct grey_pool *p);
/* grey_reserve - has nbytes of slabs, so that no mutator waits for the system to map one, and as many blocks touched
 * as the snapshots of the last cycle filled, so that a thread that takes its own finds memory that is there. For the
 * collecting thread, when every block is empty. */
void grey_reserve(struct grey_pool *p, size_t nbytes);
/* grey_nbytes - memory that the pool keeps resident. */
size_t grey_nbytes(struct grey_pool *p);
/* grey_trim - after a cycle: gives slabs back to the system, but for one of usual size, or twice keep_nbytes. Every
 * block must be empty. */
void grey_trim(struct grey_pool *p, size_t keep_nbytes);
/* grey_forget_all - nobody marks, and nobody will look at what is grey: every block is empty, whoever has it. */
void grey_forget_all(struct grey_pool *p);

#endif
