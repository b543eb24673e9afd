/* mcache_sample.h - which of a thread's allocations are sampled, with not an instruction on the short ways.
 *
 * WHAT   The points that the sampler throws (sampler.h) fall into one allocation of a size class in so many: `due`
 *        says how many it is to the next, that one included. The short ways count no allocations, but frees do
 *        count down, and blocks come from a list: since one last looked, as many were allocated as were in the list
 *        (`shown`) and were freed into it, less those that are in it. So the list is cut to `shown` blocks, the others
 *        wait as `held`, and the countdown is set to `until`. Whatever ends first comes the long way, which counts
 *        and cuts anew, ever shorter, until the very allocation that is due finds nothing.
 *        How many blocks are shown is a matter of cost: each cut walks so many links, and a thread that frees nothing
 *        comes the long way once for so many blocks.
 * WHO    mcache.c and mcache_slabs.c, for the current slabs of a metered cache; malloc_sample.c asks.
 * INV    P1 shown + until ≤ due: before the allocation that is due, one of the two has ended (the allocations of who
 *           walks a stack for the sampler are not sampled, and may use it up: then the next one is due)
 *        P2 a block is in `free` or in `held`, not in both, at each moment: in the child of a fork some may be lost
 * LOCKS  none: the cache's own thread. A visit leaves current slabs alone.  UNITS blocks. */
#ifndef MGC_HEAP_MCACHE_SAMPLE_H
#define MGC_HEAP_MCACHE_SAMPLE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "heap/mcache.h"

/* mcache_meter_count - what was allocated of c's current slab since the last look is counted. mcache_meter_cut - its list
 * and its countdown are set for what is due. `least` blocks are shown in any case: 1, when they are not for the program. */
void mcache_meter_count(struct mcache *c, struct slab *s);
void mcache_meter_cut(struct mcache *c, struct slab *s, uint32_t least);

/* mcache_meter_recount - the countdown of c's current slab has ended. */
void mcache_meter_recount(struct mcache *c, struct slab *s);

#endif
