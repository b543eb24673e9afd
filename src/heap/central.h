/* central.h - all spans of one span class.
 *
 * WHAT   Four lists of spans. A cache takes a span with free slots here and brings it back used up.
 * STATE  of a span, `where`:
 *          (page heap) → CACHED → FULL ─┐ free() of a slot: FULL → PARTIAL → CACHED
 *                          ↑            ↓ end of a cycle
 *                          └──────── UNSWEPT → (sweep) → PARTIAL, FULL or back to the page heap
 *        A free that leaves a FULL or PARTIAL span empty gives it back to the page heap.
 *        A CACHED span is owned by one mutator; it stays listed, so that a sweep that must finish can
 *        reach it. A span being swept is CACHED too, by whoever sweeps.
 *        Small runs are cut from the first PARTIAL span under the lock (central_share). Their unborn
 *        slots count as taken, so the span may be anything later, but not given back.
 *        The end of a cycle moves whole lists, so an unswept span still says FULL or PARTIAL; its
 *        sweepgen tells.
 * INV    C1 a swept span is on the list that `where` names      [central_verify]
 *        C2 spans on `partial` and `full` are swept (sweepgen == h), on `unswept` not
 *        C3 a FULL span has no free slot, except while central_note_free is on its way
 * LOCKS  CENTRAL, one per span class; never held across the page heap or a sweep.
 * FROM   Go's mcentral, with lists in place of span sets. */
#ifndef MGC_HEAP_CENTRAL_H
#define MGC_HEAP_CENTRAL_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "heap/span.h"
#include "os/lock.h"

struct heap;

struct central {
	struct lock lock;
	struct list unswept, partial, full, cached;
	uint32_t nspans;
} __attribute__((aligned(64)));

void central_init(struct central *c);

/* central_take - a swept span with at least one free slot, CACHED for the caller. NULL: out of memory. */
struct span *central_take(struct heap *h, unsigned spanclass);

/* central_put - the owner gives its span back. An empty one goes to the page heap. */
void central_put(struct heap *h, struct span *s);

/* central_share - a swept span with at least one free slot, of which the caller cuts a run and gives it
 * back at once with central_unshare: the lock is held in between. NULL, and no lock: out of memory. */
struct span *central_share(struct heap *h, unsigned spanclass);
void central_unshare(struct heap *h, struct span *s);

/* central_note_free - a slot of a span was freed by someone who is not its owner: a FULL span becomes
 * PARTIAL, one without taken slots goes back to the page heap. `emptied`: no slot near it is taken,
 * so the whole may be. Call after the allocation bit was cleared; the span may be gone by then, so its
 * class is what it was before. */
void central_note_free(struct heap *h, struct span *s, unsigned spanclass, bool emptied);

/* central_add_large - lists a new large span. central_remove - unlists a span, to free it. */
void central_add_large(struct heap *h, struct span *s);
void central_remove(struct heap *h, struct span *s);

/* central_start_sweep - the heap's sweepgen has moved on: everything listed is unswept. */
void central_start_sweep(struct central *c);

/* central_sweep_one - sweeps one unswept span and files it. Returns pages given to the page heap, or
 * -1 when none was left. */
long central_sweep_one(struct heap *h, struct central *c);

/* central_ensure_swept - a span that its owner's cache kept over the end of a cycle. The owner, or the
 * collector on its behalf: one of them sweeps, the other waits for it. */
void central_ensure_swept(struct heap *h, struct span *s);

/* central_settle - the span, which has an object and may be anybody's, is swept when it returns. The caller is in
 * a section that began in OFF. */
void central_settle(struct heap *h, struct span *s);

/* central_sweep_cached - sweeps every CACHED span that is still unswept, while no cycle is under way. */
void central_sweep_cached(struct heap *h, struct central *c);

/* central_each - fn for each span of the class. CENTRAL is held, or the world stands still. */
void central_each(struct central *c, void (*fn)(void *arg, struct span *s), void *arg);

void central_verify(struct heap *h, struct central *c);

#endif
