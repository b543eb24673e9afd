/* mcache_visit.h - somebody else gives back what the cache of a thread that sleeps keeps.
 *
 * WHAT   On each of its ways but the two shortest a thread writes that it is inside, and then looks whether it is
 *        visited. The visitor writes that he visits, sees to it that all processors pass a fence, and then looks
 *        whether the thread is inside: one of the two sees the other, and the thread pays no fence. The shortest
 *        ways touch the current slabs, and the free lists and countdowns of slabs that have a key: of these the
 *        visitor leaves alone all in which a block is in use. A block is in use until its thread has counted it
 *        down, so of a slab without such a block the thread has nothing more to write; a second fence makes what
 *        it wrote visible. But to change its state: who counted down to 0 comes inside for that, and waits there
 *        if he is visited. So a PARTIAL slab whose countdown stands at 0 is left alone, too; that of a FULL one whose
 *        blocks were all freed by others has not begun.
 * WHO    mcache.c for the thread; scavenger.c visits.
 * LOCKS  one visitor at a time: `scavenging.lock`. */
#ifndef MGC_HEAP_MCACHE_VISIT_H
#define MGC_HEAP_MCACHE_VISIT_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>

#include "heap/manual.h"

/* mcache_enter, mcache_leave - around all that a visit keeps out. mcache_wait_visit - until it is over. */
void mcache_wait_visit(struct mcache *c);
MGC_INLINE void mcache_enter(struct mcache *c)
{
	store_relaxed(&c->inside, c->inside + 1);
	MGC_COMPILER_FENCE(); /* the visitor's membarrier is the fence of both */
	if (MGC_UNLIKELY(load_acquire(&c->visited) != 0)) /* pairs: visit */
		mcache_wait_visit(c);
	if (MGC_HOSTILE && c->inside % 16 == 1)
		os_yield(); /* inside */
}
MGC_INLINE void mcache_leave(struct mcache *c)
{
	store_release(&c->inside, c->inside + 1); /* pairs: inside */
}

/* mcache_visit - from another thread, one at a time, with `scavenging.lock`: gives back what the cache of a thread keeps
 * that has been on none of those ways since the last visit, takes its mail as far as that empties slabs, and
 * makes holes in sparse slabs that it finds for the second time; `all`: at once. False: there is more to do. */
bool mcache_visit(struct mcache *c, bool all);

#endif
