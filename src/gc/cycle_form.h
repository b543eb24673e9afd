/* cycle_form.h - what the two forms of a cycle share with cycle.c: the stopping one, for programs that
 * store without a barrier, and the concurrent one. */
#ifndef MGC_GC_CYCLE_FORM_H
#define MGC_GC_CYCLE_FORM_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "base/usdt.h"
#include "gc/gc.h"
#include "os/os.h"

/* The grey queue has this part of what is live ready for a cycle, and keeps up to twice as much: else its stores
 * would wait for fresh pages. */
#define GREY_KEEP_PART 64

struct cycle {
	struct gc *gc;
	struct mutator *self; /* who runs the cycle; NULL: a thread of the collector's own */
	uintptr_t sp; /* of self: what lies below belongs to this cycle, and is no root */
	struct cycle_record rec;
	struct marker mk;
	uint64_t seen; /* cycles finished before this one was asked for */
	uint64_t live_nbytes, live_objects; /* counted by young_end */
	uint64_t old_written_nbytes; /* of a young one: in closed spans */
	uint64_t helpers_ns; /* of a concurrent one: their processor time */
	/* of a tracked one: */
	size_t left_nbytes; /* what the last round found */
	uint32_t nstop_helpers; /* for the last stop */
	uint64_t stopped_ns; /* processor time of the longest stop */
	uint64_t leave_ns; /* waited before stops */
	bool reopens; /* spans were closed when it began, some of which may not be again (young.h) */
	bool later; /* what hangs on dead objects is dealt with when the world runs again (clearing.c) */
	uint64_t later_ns; /* processor time of that */
	bool beside; /* the form: the program runs meanwhile */
	bool globals; /* the loader's lock is held */
	bool again; /* `globals` is not what it should be any more */
	uint32_t nhelpers; /* woken; rec.nworkers says how many marked */
};

/* From every span swept, and nobody stopped, to phase OFF with the next sweep generation, and
 * heap.live_nbytes set. WORLD is held. */
void stopping_cycle(struct cycle *c);
void concurrent_cycle(struct cycle *c);

/* tracking_phases - concurrent_cycle for a program without a barrier. */
void tracking_phases(struct cycle *c);
/* tracking_disarm - when it is OFF again, for it takes a while and in FLIP nobody may refill. */
void tracking_disarm(struct cycle *c);
/* tracking_wanted - cycles of this program should run beside it. */
bool tracking_wanted(const struct gc *gc);
/* tracking_consider - between cycles, of a program without a barrier: how long do its stops last? From now
 * on its cycles run beside it, if that helps and the system can tell what was written. */
void tracking_consider(struct cycle *c);

/* cycle_init_marker - c->mk, which lets a fork in between two objects. */
void cycle_init_marker(struct cycle *c);

/* Steps of one form that another one takes, too (in their files).
 * cycle_mark_with - with so many helpers, from what the callback feeds until nothing is left.
 * cycle_mark_roots - the world stands still: stacks, registers and all roots again.
 * cycle_let_leave - who is in a section, and might be for long (the libgc face's allocation lock is one), may leave it before a stop;
 * all stops of a cycle wait for LEAVE_NS at most. No lock is held but WORLD.
 * cycle_stopped - calls fn in a stop.
 * cycle_clear - links to dead objects, finalizers, in PHASE_CLEAR. cycle_clear_or_later - the same in the stop that ends the mark of a program
 * without a barrier; or births are black from here on, and cycle_clear_later does it when the world runs again.
 * cycle_flip - applies put-off frees, ends the cycle.
 * cycle_account - `before`: heap.live_nbytes when births became black. */
void cycle_mark_with(struct cycle *c, uint32_t nhelpers, void (*feed)(struct cycle *c));
void cycle_mark_roots(struct cycle *c);
void cycle_let_leave(struct cycle *c);
void cycle_stopped(struct cycle *c, void (*fn)(struct cycle *c));
void cycle_clear(struct cycle *c);
void cycle_clear_or_later(struct cycle *c);
void cycle_clear_later(struct cycle *c);
void cycle_flip(struct cycle *c);
void cycle_account(struct cycle *c, uint64_t before);

/* cycle_sweep_cached - the spans that caches kept since the last cycle. */
void cycle_sweep_cached(struct heap *h);
/* cycle_settle - the record says what was found: the pacer learns it, and the next cycle has its goal.
 * Nobody allocates meanwhile, or what is allocated before that would be nobody's business. */
void cycle_settle(struct cycle *c);
/* cycle_start_sweep - the marks become valid: everything is unswept from here on, phase OFF. */
void cycle_start_sweep(struct heap *h);
/* cycle_verify - the verify knob, before roots are taken. The world stands still. */
void cycle_verify(struct cycle *c);
/* cycle_drain - the marker, alone, marks all that is reachable from what it has, over pairs too. */
void cycle_drain(struct marker *mk);
void cycle_tell(struct gc *gc, enum cycle_event e);

/* cycle_at - the cycle has come to that phase: for reports. cycle_set_phase - and from here on mutators see it. */
MGC_INLINE void cycle_at(struct cycle *c, enum gc_phase phase)
{
	uint64_t *at = &c->rec.phase_at_ns[phase];
	if (*at == 0)
		*at = os_now_ns() - c->gc->start_ns;
	MGC_PROBE(gc__phase, phase, c->gc->ncycles + 1);
}

MGC_INLINE void cycle_set_phase(struct cycle *c, enum gc_phase phase)
{
	heap_set_phase(c->gc->heap, phase, heap_sweepgen(c->gc->heap));
	cycle_at(c, phase);
}

#endif
