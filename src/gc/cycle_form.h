/* cycle_form.h - what the two forms of a cycle share with cycle.c: the stopping one, for programs that
 * store without a barrier, and the concurrent one. */
#ifndef MGC_GC_CYCLE_FORM_H
#define MGC_GC_CYCLE_FORM_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/gc.h"

struct cycle {
	struct gc *gc;
	struct mutator *self; /* who runs the cycle; NULL: a thread of the collector's own */
	uintptr_t sp; /* of self: what lies below belongs to this cycle, and is no root */
	struct cycle_record rec;
	struct marker mk;
	uint64_t seen; /* cycles finished before this one was asked for */
	bool globals; /* the loader's lock is held */
	bool again; /* `globals` is not what it should be any more */
	uint32_t nhelpers; /* woken; rec.nworkers says how many marked */
};

/* From every span swept, and nobody stopped, to phase OFF with the next sweep generation, and
 * heap.live_nbytes set. WORLD is held. */
void stopping_cycle(struct cycle *c);
void concurrent_cycle(struct cycle *c);

/* cycle_sweep_cached - the spans that caches kept since the last cycle. */
void cycle_sweep_cached(struct heap *h);
/* cycle_start_sweep - the marks become valid: everything is unswept from here on, phase OFF. */
void cycle_start_sweep(struct heap *h);
/* cycle_verify - the verify knob, before roots are taken. The world stands still. */
void cycle_verify(struct cycle *c);
/* cycle_drain - the marker, alone, marks all that is reachable from what it has, over pairs too. */
void cycle_drain(struct marker *mk);
void cycle_tell(struct gc *gc, enum cycle_event e);

#endif
