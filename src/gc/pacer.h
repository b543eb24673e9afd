/* pacer.h - when the next collection starts. Arithmetic only: no lock, no clock, no memory, so that it
 * can be simulated. UNITS bytes.  FROM Go's mgcpacer.go: goal = live + (live + roots) × percent / 100,
 * never below the minimum heap × percent / 100, never above what the memory limit leaves. */
#ifndef MGC_GC_PACER_H
#define MGC_GC_PACER_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdint.h>

struct pacer {
	uint64_t born_nbytes; /* allocated while the last cycle marked */
	int64_t percent; /* negative: no collection by itself */
	uint64_t min_nbytes; /* at 100 percent */
	uint64_t extra_nbytes; /* the heap may grow by this much more, at most by what is live: small heaps
				* collect seldom */
	uint64_t limit_nbytes; /* UINT64_MAX: none */
	uint64_t live_nbytes; /* found by the last cycle */
	uint64_t roots_nbytes; /* scanned outside the heap by the last cycle */
	uint64_t slack_nbytes; /* held by the page heap beside live objects: fragmentation, free pages */
};

/* pacer_goal - the heap size that the next collection should not let the heap exceed; UINT64_MAX: none. */
uint64_t pacer_goal(const struct pacer *p);
/* pacer_trigger - the heap size at which one that runs beside the program must start for that. */
uint64_t pacer_trigger(const struct pacer *p);

#endif
