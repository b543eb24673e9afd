/* fork.h - a program with threads forks, perhaps in the middle of a cycle.
 *
 * WHAT   The child has the forking thread only, so nothing that it needs may be half done by another. Who may
 *        be at something comes to rest in one of three ways.
 *        WORLD's holder (a cycle, or a sweep) is asked for a pause. Between two objects, or some spans, it
 *        stands still and lends WORLD: nobody waits for the end of a cycle. From CLOSED to FLIP, while roots
 *        are taken and in a stop it does not: these are short, and mutators may be waiting for the next phase.
 *        Where data segments are roots it has the loader's lock, and the fork waits for the end; then for who slept for WORLD,
 *        and has it next.
 *        Mutators are stopped for a moment, outside sections and without locks, and the gate is closed before
 *        they go on. They go on because the C library takes locks of its own after this, and whoever has
 *        them must be able to finish. Stores with a barrier pass the gate: what they shade the child forgets.
 *        Marking threads are not asked. They write mark bits and blocks of their own, which the child
 *        forgets, and take the pool's lock, which the gate keeps.
 *        The parent goes on with its cycle. The child gives it up: no mark bit, no block in use, nothing that
 *        says "taken" in this generation, phase OFF. What was freed by hand in that cycle is garbage of the next
 *        one. Threads of the collector's own start again when they are needed.
 * STATE  forking.loan  NONE → LENT by WORLD's holder → TAKEN by the forking thread → NONE, when the fork is over
 *        pool.pause    how many threads wait for WORLD in order to fork
 *        lock_gate     open → closed → open
 * INV    X1 WORLD's holder stands still with the phase OFF, MARK or TERM, in no stop, outside sections, and has
 *           no other lock of ours, nor the loader's
 *        X2 an offer is taken: who counted itself in pool.pause leaves it with WORLD or with the loan, and while
 *           it is lent nobody gets WORLD
 *        X3 the forking thread waits, and the holder stands still, as BLOCKED: others need not wait for them
 *        X4 the child clears marks before it has a second thread: no other moment is free of births, and of
 *           marks that a barrier sets for want of memory
 * WHY    From MARK and TERM the way back to OFF is short because nothing has died yet: no slot was freed, no
 *        span swept, no weak reference cleared (barrier.h: D4). All spans are swept for this generation, and
 *        with their marks gone they are as ARM found them, but for what was born since.
 * LOCKS  WORLD, or its loan, from prepare to the end. */
#ifndef MGC_GC_FORK_H
#define MGC_GC_FORK_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/gc.h"

/* So many spans are swept between two boundaries. */
#define FORK_SWEEP_SPANS 256

/* fork_stand_still - a boundary in the work of WORLD's holder, which is in one section if it is the mutator
 * `self`: if a fork waits, until that is over. */
void fork_stand_still(struct gc *gc, struct mutator *self);

MGC_INLINE bool fork_waits(const struct gc *gc)
{
	return load_relaxed(&gc->pool.pause) != 0;
}

/* fork_let_pass - WORLD was just taken, not inside the loader's lock: if a fork waits it goes first, unless the caller is RUNNING or has
 * another lock. Without this WORLD goes from one thread that sleeps for it to the next, and a fork does not sleep for it. */
void fork_let_pass(struct gc *gc);

/* The three handlers. Between the first and the fork other handlers of the same thread may use the library:
 * it passes the gate, and no collection starts. */
void fork_prepare(struct gc *gc);
void fork_in_parent(struct gc *gc);
void fork_in_child(struct gc *gc);

#endif
