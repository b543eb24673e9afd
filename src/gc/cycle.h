/* cycle.h - one collection from beginning to end.
 *
 * WHAT   Who collects and when, what both forms (cycle_form.h) need before and do after. The phases are
 *        told in barrier.h.
 * INV    Y1 at the start every span is swept and every mark bit is 0, or marks are kept (young.h)   [verify knob]
 * LOCKS  WORLD for the whole cycle; REGISTRY while the world is stopped; the loader's lock around both. */
#ifndef MGC_GC_CYCLE_H
#define MGC_GC_CYCLE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/gc.h"

/* cycle_collect - runs a cycle on the calling thread, a mutator outside any section or NULL. With
 * CYCLE_HEAP it does nothing when another thread just collected. */
void cycle_collect(struct gc *gc, struct mutator *m, enum cycle_reason reason);

/* cycle_inspect - between two collections, with everything swept and the world stopped: calls fn(arg). The
 * caller is a mutator outside any section. segments: the list of data segments is filled, also where they
 * are no roots. What lies on the caller's stack below its frame is no root. */
void cycle_inspect(struct gc *gc, struct mutator *m, bool segments, void (*fn)(void *arg), void *arg);

/* cycle_take_world - WORLD for who changes or reads what a cycle uses, released by lock_release: a thread that may be interrupted
 * waits as BLOCKED, for the cycle that runs may want its answer, and no signal may reach it (poll, or its mask). */
void cycle_take_world(struct gc *gc);

/* cycle_wait_loader - before a fork, the gate is closed: until no collection has the loader's lock, which
 * its child could never take. */
void cycle_wait_loader(struct gc *gc);

/* cycle_after_fork - in the child: no cycle runs, and the system does not note what it writes. */
void cycle_after_fork(struct gc *gc);

/* cycle_obey_limit - the program has limited its address space since the heap's was reserved, which lets nobody in the
 * process map anything any more, or has lifted such a limit: stops the world, and gives back what is reserved, or makes the
 * range longer. True: that has happened, and the heap may grow again, as far as the limit lets it. The caller is a mutator
 * outside any section. */
bool cycle_obey_limit(struct gc *gc, struct mutator *m);

/* cycle_is_clearing - words that are no references, but are followed all the same, are not: what the last stop found dead may still
 * be named by one. For who is in a section; what it says holds until its end. cycle_wait_cleared - outside of any: until it is not. */
MGC_INLINE bool cycle_is_clearing(const struct gc *gc)
{
	return load_acquire(&gc->clearing) != 0; /* pairs: clearing */
}
void cycle_wait_cleared(struct gc *gc);

/* cycle_set_goal - recomputes the trigger: a setting changed. */
void cycle_set_goal(struct gc *gc);

#endif
