/* barrier.h - what a store does while a cycle is under way, the phases, and why nothing is lost.
 *
 * WHAT   mgc_write and its relatives. Outside a cycle: a store inside a section. In a cycle the word that
 *        is overwritten and the word that is stored are both shaded: they go into the mutator's buffer,
 *        from there to a marker.
 *
 * STATE  phase (heap.phase_gen), changed by the cycle's owner only, but for TERM → MARK:
 *        OFF     no barrier. Every span is swept, every mark bit 0, before it is left.
 *        ARM     barriers work; births are white; frees are put off; no slot is reused, no page changes
 *                its layout, until OFF.
 *        ROOTS   each mutator's snapshot is taken, once. From its own on, a mutator's births are black.
 *        MARK    after the last snapshot: snapshots are resolved, roots read, objects scanned.
 *        TERM    nothing is left to scan, it seems: who shades an unmarked object now says so (→ MARK).
 *        CLOSED  nothing is left. Weak references are read by their mark; newcomers wait.
 *        CLEAR   weak references to the dead are nulled, finalizers queued, what they need is marked; then
 *                long references are nulled, cleanups queued, and pairs with dead keys cleared.
 *        FLIP    the sweep generation changes: nobody takes a run or frees meanwhile.
 *        Q, a quiescence (quiesce.h), follows ARM (twice), TERM, CLOSED, the nulling in CLEAR, and FLIP:
 *        every section that began under the phase before has ended.
 *
 * INV    (in brackets: who looks, in builds with asserts; for D5 in all, for D6 where verify is set)
 *        D1 after ARM's Q every store to a reachable slot shades its old and its new word
 *           [barrier_write, move_piece: no store without shades from ROOTS on]
 *        D2 nothing is scanned before the last snapshot (an object may be marked, for want of memory)
 *           [mark.c drain_some]
 *        D3 a mutator whose snapshot is taken makes black objects only   [cache_refill]
 *        D4 from ARM to FLIP no allocation bit is cleared, and no span in use changes layout or pages
 *           [cache_free, central.c file_locked; D7]
 *        D5 at CLEAR nothing grey is left: buffers, blocks, rings, snapshots, pairs (ephemeron.h: E1)
 *           [marker_check_drained, ephemerons_check]
 *        D6 every mark bit is 0 when ARM begins   [concurrent.c check_unmarked]
 *        D7 sweeping begins in OFF only, in a section: it ends before ARM's Q does   [sweep_span]
 *        D8 a mutator's status changes by compare-and-swap only, so one that is CLAIMED stays where it is
 *           [snapshot_take, take_blocked]
 *        D9 who stands still or takes its snapshot, in our handler or elsewhere, has no lock
 *           [stw.c stand_still, give_snapshot]
 *        D10 every mutator is taken when MARK begins   [concurrent.c check_taken]
 *
 * WHY    Say that a mutator holds a white object W after its snapshot. It got W (a) from the snapshot
 *        itself: then W is in a block and will be marked. (b) by allocation: no, D3. (c) by loading it
 *        from a slot. Follow that chain of slots back to a root or a snapshot as they were at ARM's Q;
 *        every link is either as it was then, and the marker will follow it, or was overwritten later,
 *        and the store shaded what it overwrote (D1): W, or an object of the chain nearer to W, is grey.
 *        (d) from another mutator by a store after ARM's Q: that store shaded W as its new word.
 *        An owned range is a stack: what it holds below its top is in its owner's snapshot, (a), nobody else
 *        loads from it, and another mutator's store into it shades, (d).
 *        A mutator may come and go in any phase before CLOSED (snapshot.h: N3, N4).
 *        An object that is not published needs no barrier: what it refers to is held by its maker, whose
 *        snapshot either has it or comes later, when it has both (D2: nobody reads the object between).
 *        Termination: in TERM every buffer was taken after a Q, so it holds all that was shaded before;
 *        whoever shades something unmarked later sets the phase back to MARK by compare-and-swap, and
 *        the owner's own compare-and-swap to CLOSED then fails. Shadings that were under way at that
 *        moment are seen by CLOSED's Q and second look.
 *        Arming takes two: the first Q ends the last unshaded store S. But a mutator that shades already
 *        may have read the slot before S and overwrite it after, shading what it read and not what S put
 *        there; the second Q ends that one too, before anybody's snapshot. (test/spin finds the object
 *        that is lost without it.)
 *        Pairs: a value that hangs on a marked key is grey until it is marked. TERM is entered after a pass
 *        over the pairs that found none; from then on marks come only from what buffers hold, and that
 *        leads back to MARK. A mutator that has a key holds it like any W: it is, or will be, marked, and
 *        then its value is. Who takes a value out of its pair (reads, replaces, removes) shades it; who
 *        moves pairs to a table that nobody will read in this cycle shades both, and not from CLOSED on.
 *        FLIP is left without a Q. So who reads it must not touch marks, buffers or slots: frees and
 *        refills wait, stores do not shade, and a weak reference that is not null is alive.
 *        The arming race, a store delayed between the test of the phase and the store itself, is what
 *        `sec` is for: the section is open across both, and Q waits for it (store sec, load phase | store
 *        phase, membarrier, load sec).
 *
 * WHO    face/api.c; special.c for weak reads; alloc.c for put-off frees.
 * LOCKS  none on the way; a full buffer is exchanged under RECORDS.
 * FROM   Doligez-Gonthier, Gammie-Hosking-Engelhardt, Go's hybrid barrier; quiescence as in userspace RCU. */
#ifndef MGC_GC_BARRIER_H
#define MGC_GC_BARRIER_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "gc/gc.h"
#include "heap/mutator.h"

/* barrier_shades - in this phase a word that is overwritten or stored must be shaded. */
MGC_INLINE bool barrier_shades(unsigned phase)
{
	return phase >= PHASE_ARM && phase <= PHASE_CLOSED;
}

/* barrier_shade - inside m's section, in such a phase: the object that the word points into, if any,
 * will be marked in this cycle. */
void barrier_shade(struct mutator *m, uintptr_t word);

void barrier_write_slow(struct mutator *m, uintptr_t *slot, uintptr_t word);

/* barrier_write - *slot = word. Not a general section: a fork need not wait for it, and it may stand
 * inside one. */
MGC_INLINE void barrier_write(struct mutator *m, uintptr_t *slot, uintptr_t word)
{
	store_relaxed(&m->sec, m->sec + 1);
	MGC_COMPILER_FENCE(); /* pairs: quiesce */
	bool off = heap_phase(m->heap) == PHASE_OFF;
	if (MGC_UNLIKELY(!off))
		barrier_write_slow(m, slot, word);
	else
		store_release(slot, word);
	MGC_ASSERTION(!off || heap_phase(m->heap) < PHASE_ROOTS); /* D1 */
	mutator_leave(m);
}

/* The same for n words; the ranges may overlap in barrier_move. NULL src: zeroes. */
void barrier_move(struct mutator *m, uintptr_t *dst, const uintptr_t *src, size_t n);
bool barrier_cas(struct mutator *m, uintptr_t *slot, uintptr_t expected, uintptr_t word);
uintptr_t barrier_exchange(struct mutator *m, uintptr_t *slot, uintptr_t word);

/* barrier_keep - inside m's section, which has that phase word: m has read `word` where it keeps nothing
 * alive. KEEP_WAIT: nothing is decided yet; leave the section, heap_wait_phase, read it again. A long one
 * survives its object's finalizer: in CLEAR it is not known which objects come back, and what hangs on one
 * that did is not marked yet. */
enum keep { KEEP_YES, KEEP_DEAD, KEEP_WAIT };
enum keep barrier_keep(struct mutator *m, uintptr_t word, bool is_long, uint64_t phase_gen);

/* barrier_weak_get - *slot, a word that does not keep its object: the object, kept from now on by whoever
 * holds the result, or 0 when it is dead. */
uintptr_t barrier_weak_get_slow(struct mutator *m, const uintptr_t *slot, bool is_long);

MGC_INLINE uintptr_t barrier_weak_get(struct mutator *m, const uintptr_t *slot, bool is_long)
{
	store_relaxed(&m->sec, m->sec + 1);
	MGC_COMPILER_FENCE(); /* pairs: quiesce */
	uintptr_t word = load_acquire(slot); /* pairs: weak-null */
	bool off = heap_phase(m->heap) == PHASE_OFF;
	mutator_leave(m);
	return MGC_LIKELY(off) ? word : barrier_weak_get_slow(m, slot, is_long);
}

/* barrier_take_buffers - every mutator's buffer, as a list; they are quiet after the next Q. REGISTRY is
 * taken. */
struct grey_block *barrier_take_buffers(struct heap *h);

/* barrier_defer_free - inside m's section of a phase that is not OFF: the object at p, of that size, will be freed when
 * the cycle flips, and is counted now. False: no memory to remember it. */
bool barrier_defer_free(struct mutator *m, uintptr_t p, size_t nbytes);
/* barrier_hand_over - m is about to be detached: its buffers go to the collector. */
void barrier_hand_over(struct mutator *m);
/* barrier_take_freed - what the mutators freed since, as a list of blocks; quiet after the next Q.
 * barrier_unmark_freed - of one of them, after the mark: its size. Dies of a second free. */
struct grey_block *barrier_take_freed(struct heap *h);
size_t barrier_unmark_freed(struct heap *h, uintptr_t p);

#endif
