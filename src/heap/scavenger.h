/* scavenger.h - a thread that gives memory back for a program of malloc's that has threads.
 *
 * WHAT   Free pages that nobody wanted for a period; what the caches of threads keep that do nothing; the pages
 *        in sparse slabs in which nobody has a block. Paced: no more than a quarter of one processor, in pieces of
 *        at most a millisecond. Two periods after the last change it has seen all, and sleeps until somebody
 *        frees something again.
 *        A process with one thread has none of ours: there the free that leaves too much gives back (manual.h).
 * WHO    the malloc face.
 * STATE  none → runs, from the first growth beyond 8 MiB with two threads → none, within a period of the moment
 *        when one thread is left. In the child of a fork: none.
 * LOCKS  its own (WORLD) while it works; below it REGISTRY to find the next cache, and what its work takes.
 * FROM   Go's background scavenger. */
#ifndef MGC_HEAP_SCAVENGER_H
#define MGC_HEAP_SCAVENGER_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "heap/mcache.h"

/* scavenger_start - starts its thread, if there is none and it is time to. Allocates (os_spawn): from places where the
 * calling thread is inside nothing. Leaves errno. */
void scavenger_start(struct manual *h);
MGC_INLINE bool scavenger_is_due(const struct manual *h)
{
	return MGC_UNLIKELY(load_relaxed(&h->scavenging.due) != 0);
}

/* scavenger_pass - one look at everything. */
void scavenger_pass(struct manual *h);
/* scavenger_visit - what the caches of threads keep and what sparse slabs have free, all of it and now. */
void scavenger_visit(struct manual *h);

#endif
