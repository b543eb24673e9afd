/* sweep.h - last cycle's marks become this cycle's allocations, one span at a time.
 *
 * WHO    central.c through heap_ops.sweep_span, on a refill, at the start of a cycle, or from the
 *        background thread.
 * STATE  span.sweepgen: h-2 unswept → h-1 claimed by the caller → h swept (set here)
 * INV    S1 only who moved the span to h-1 sweeps it
 *        S2 a marked slot was allocated (else: the program kept using a freed object) */
#ifndef MGC_GC_SWEEP_H
#define MGC_GC_SWEEP_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stddef.h>
#include <stdint.h>

#include "heap/heap.h"

uint32_t sweep_span(struct heap *h, struct span *s);
/* sweep_reclaim - heap_ops' reclaim: frees at least npages if unswept spans give so much. */
size_t sweep_reclaim(void *heap, size_t npages, size_t nspans);
/* sweep_large - sweeps the spans of large objects at once: they hold the most. */
void sweep_large(struct heap *h);

/* sweep_clobber - MGC_DEBUG=clobberfree: the memory of a freed object reads as 0xdeadbeef from now on. */
void sweep_clobber(uintptr_t object, size_t nbytes);

#endif
