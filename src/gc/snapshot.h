/* snapshot.h - each mutator's share of the roots, taken once a cycle: its stacks, registers, owned ranges
 * and the unborn slots it has in hand.
 *
 * WHAT   A RUNNING mutator takes it itself: in the handler of our signal, or, when that came inside a
 *        section, at its end. For a BLOCKED one the collector does. The words are copied into blocks and
 *        resolved after the last snapshot.
 * STATE  mutator.taken: the sweep generation of the cycle that has it; from then on births are black.
 * INV    N1 the unborn slots of runs in hand are marked before `taken` is set
 *        N2 the handler takes only RECORDS, and that only when the thread held no lock
 * LOCKS  the owner of the cycle holds ROOTS and REGISTRY from the first request to the last answer.
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
