/* snapshot.h - each mutator's share of the roots, taken once a cycle: its stacks, registers, owned ranges
 * and the unborn slots it has in hand.
 *
 * WHAT   A RUNNING mutator takes it itself: in the handler of our signal, or, when that came inside a
 *        section, at its end. For a BLOCKED one the collector does. The words are copied into blocks and
 *        resolved after the last snapshot.
 * STATE  mutator.taken: the sweep generation of the cycle that has it; from then on births are black.
 * INV    N1 the unborn slots of runs in hand are marked before `taken` is set
 *        N2 the handler takes only RECORDS, and that only when the thread held no lock
 *        N3 who attaches in ROOTS takes its own snapshot as soon as its record is whole: however many threads
 *           are born, the roots are taken
 *        N4 who detaches waits for nobody's snapshot
 *        N5 one is taken once, and ends in ROOTS: no word of it comes when the collector has read them
 * LOCKS  the owner of the cycle holds ROOTS from the first request to the last answer, and REGISTRY while it
 *        asks, not while it waits. The last round, in which every mutator has been taken, and the step to MARK are
 *        one hold of REGISTRY: who comes later sees MARK.
 * WHY    A thread may block our signal and wait for one that begins or ends; both must be able to, though the
 *        snapshot of the first is missing. A thread that ends before its own loses nothing by it: it holds no
 *        reference any more; what it gave to others it stored before ARM's Q, where the marker will find it, or after,
 *        and shaded (its buffer stays behind); its unborn slots stay allocated until they are found dead. Its owned
 *        ranges are in a table that only who has ROOTS may change: it leaves them behind (roots_leave_owned). The
 *        coroutine that it ends on is emptied under the claim, as each switch changes it.
 *        In a stop this cannot be: there the thread that is waited for stands still itself.
 * COST   of the mutator's time: half a nanosecond a word, and the signal. */
#ifndef MGC_GC_SNAPSHOT_H
#define MGC_GC_SNAPSHOT_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/gc.h"

/* snapshot_take - of m, whose sp and regs say where it stands; by itself, or for one that stands still.
 * tls: its thread-local blocks too (the world stands still, in the loader's lock). */
void snapshot_take(struct gc *gc, struct mutator *m, bool tls);

/* snapshot_collect - phase ROOTS: every mutator's but `self`'s, without stopping anybody for longer than
 * its own takes. REGISTRY and ROOTS are held. */
void snapshot_collect(struct gc *gc, struct mutator *self);

/* snapshot_newcomer - m has just been attached, by itself, inside a section. */
void snapshot_newcomer(struct gc *gc, struct mutator *m);

#endif
