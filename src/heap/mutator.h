/* mutator.h - a thread that allocates: its record, its sections, attach and detach.
 *
 * WHAT   The record holds the thread's runs (one per span class), what the collector must know of the
 *        thread (state word, stack, saved registers) and its list node. One pointer in thread-local
 *        storage finds it; before attach that pointer is the empty record, whose runs are all empty,
 *        so the fast path needs no test for "attached".
 * STATE  status   RUNNING ↔ BLOCKED (the owner, mgc_blocking_enter/leave)
 *                 BLOCKED ↔ CLAIMED (the collector, while it reads the stack on the owner's behalf)
 *                 RUNNING → DEAD    (detach)
 *        sec      > 0 inside the library: a signal that lands there only sets `pending`, and the
 *                 thread parks, or takes its snapshot, when sec returns to 0. No lock is ever held
 *                 outside a section.
 * INV    M1 only the owner changes runs[], spans[], sec; the collector reads them while the owner is
 *           parked, BLOCKED or DEAD
 *        M2 status changes only by CAS
 *        M3 [cur, end) of a run are unborn slots: allocation bits set, zero unless NOZERO
 *        M4 a run whose spans[] is NULL was cut from a span that others use too (central_share); while
 *           it holds unborn slots that span stays in use, swept or not, and run_span finds it
 * LOCKS  node: REGISTRY.
 * FROM   Go's P and mcache. */
#ifndef MGC_HEAP_MUTATOR_H
#define MGC_HEAP_MUTATOR_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/list.h"
#include "heap/heap.h"
#include "sample/sampler.h"

/* Unborn slots, handed out by moving cur. */
struct run {
	uintptr_t cur, end;
};

enum mutator_status { MUTATOR_RUNNING, MUTATOR_BLOCKED, MUTATOR_CLAIMED, MUTATOR_DEAD };

/* A part of a thread's stack that is in use although the thread now runs below it without being
 * scanned (a collector-active call inside a blocking one); newest first. */
struct stack_segment {
	struct stack_segment *older;
	uintptr_t lo, hi;
};

#define MUTATOR_SAVED_REGS 24 /* room: gc/stw.h says how many there are, and puts sp behind them */

struct mutator {
	/* include/mallocgc-inline.h knows the layout of the first four members (face/api_inline.c). */
	uint32_t sec; /* owner's plain store */
	uint32_t pending; /* atomic: park when the section ends */
	struct heap *heap;
	struct run runs[MGC_MAX_SPANCLASS];
	struct span *spans[MGC_MAX_SPANCLASS]; /* the span of its own that a run comes from, or NULL */
	uint8_t nshared[MGC_MAX_SPANCLASS]; /* runs cut from shared spans so far */

	uint32_t status; /* atomic, CAS */
	uint32_t taken; /* atomic: sweep generation of the cycle whose snapshot has this thread: while it is
			   the heap's, births are marked */
	uint32_t asked; /* collector: the same of the last signal for a snapshot */
	uint32_t fence_asked; /* collector: number of the last quiescence that it got a signal for */
	uint32_t fenced; /* atomic: number of the last quiescence that this thread's handler fenced for */
	uint32_t quiet; /* atomic: number of the last quiescence that this thread, in no section, answered */
	uint32_t again; /* atomic: it was asked in a section after which it must not stand still at once: the
			   collector asks it once more */
	uint32_t seen_outside; /* collector: number of the last wait before a stop that saw it outside of sections */
	uint32_t gone; /* collector: the thread ended without detaching; nothing of it is read */
	int tid;
	uintptr_t tiny_cur, tiny_end;

	/* The stack. hi is its cold end; a thread may change it (coroutines). */
	uintptr_t stack_lo, stack_hi;
	const uintptr_t *stack_hi_var; /* not NULL: the cold end is what this variable says (libgc face) */
	uintptr_t altstack_lo, altstack_hi;
	uintptr_t sp; /* where it stands: written by the owner when parked or BLOCKED */
	const uintptr_t *regs; /* with sp: the registers that are not on the stack above it */
	size_t nregs;
	void *fake_stack; /* with sp: where AddressSanitizer keeps the thread's locals (annotate.h) */
	uintptr_t saved[MUTATOR_SAVED_REGS]; /* callee-saved registers of a BLOCKED owner */
	uintptr_t own_saved[MUTATOR_SAVED_REGS]; /* with own_sp: registers as the switch was announced */
	struct mgc_stack *announced; /* the coroutine stack it runs on, or is about to; NULL: its own */
	struct mgc_stack *left; /* the one it announced to leave, and may still be on */
	struct owned_range *owned; /* owner: the first record of its list (gc/stacks.h), or NULL; the list: ROOTS */
	bool adrift; /* attached on another stack than its own, and announced none yet */
	uintptr_t own_sp; /* the thread runs on a coroutine's stack; its own is in use from here; or 0 */
	struct stack_segment *segments;
	uintptr_t tls; /* handle for os_each_tls */
	uint32_t parked; /* atomic: stands still for stop number `parked` */
	uint32_t signalled; /* collector: the stop that the thread was last sent a signal for */
	uint32_t collects; /* owner, and its own handlers: it runs a collection, perhaps with the loader's lock, or has that of the libgc face's threads: not to be suspended */
	uint32_t in_finalizer; /* so many calls of the libgc face run some on this thread */
	struct mutator_ext *ext; /* for the face that attached it */

	struct grey_block *shaded; /* atomic: words that the barrier shaded; the owner appends in a section,
				      the collector takes the whole block by exchange */
	struct grey_block *freed; /* owner in a section, or the collector in FLIP: frees to be done after */
	uint64_t debt_nbytes; /* owner: marking that its allocations owe */
	uint64_t held_ns; /* owner: how long the cycle of held_gen kept it from allocating, */
	uint64_t held_since_ns; /* from then on */
	uint32_t held_gen;
	uint64_t snapshot_ns; /* processor time of the last snapshot */

	uint64_t allocated_nbytes; /* ever; owner */
	/* Of the sampler; owner. A run ends before the slot that a point falls into: the next one of its class. */
	struct sample_clock sample;
	bool sample_now; /* the slot that is being refilled for */
	uint64_t sample_due[MGC_MAX_SPANCLASS / 64]; /* by span class: the next refill is for such a slot */
	uint64_t nbytes_handed; /* since the last flush into heap->live_nbytes: about heap->untold_nbytes at most */
	struct list node; /* heap->mutators, or idle_records */
};

/* mutator_self - the calling thread's record; the empty one when it is not attached. That one is in a
 * section for ever, so that inlined code, which looks at `sec`, comes to us. */
extern MGC_TLS struct mutator *mutator_tls;
extern struct mutator mutator_none;
/* The record of the collector's own threads: never attached, and in a section for ever, so that a
 * callback which allocates there is told so instead of waiting for itself. */
extern struct mutator mutator_collector;

MGC_INLINE struct mutator *mutator_self(void)
{
	return mutator_tls;
}

MGC_INLINE bool mutator_attached(void)
{
	return mutator_tls != &mutator_none;
}

/* mutator_is_outside - m runs the program: it is in no section, as the empty record and the collector's own always are, and
 * not BLOCKED. Asked by m itself. */
MGC_INLINE bool mutator_is_outside(const struct mutator *m)
{
	return m->sec == 0 && load_relaxed(&m->status) == MUTATOR_RUNNING;
}

/* mutator_attach - makes the calling thread a mutator of h, which it must not be yet. NULL when
 * memory for the record is refused. The stack is that of the system; change it afterwards. */
struct mutator *mutator_attach(struct heap *h);
/* mutator_detach - gives all its spans back; the record may be reused by another thread. */
void mutator_detach(struct mutator *m);

/* mutator_check_entry - dies when the caller interrupted the library, or was called back by it. Between
 * the library's preparation and the fork the forking thread holds WORLD, and may come in. */
MGC_NORETURN void mutator_re_entered(const struct mutator *m);

/* mutator_may_enter - that it would not; also false of the records that are in a section for ever. */
MGC_INLINE bool mutator_may_enter(const struct mutator *m)
{
	return m->sec == 0 && lock_thread.nheld <= lock_thread.passes;
}

MGC_INLINE void mutator_check_entry(const struct mutator *m)
{
	if (MGC_UNLIKELY(!mutator_may_enter(m)))
		mutator_re_entered(m);
}

/* mutator_park_slow - a stop came while the section was open. */
void mutator_park_slow(struct mutator *m);

/* mutator_births_black - in a section, with the word of that section (heap_phase_gen). */
MGC_INLINE bool mutator_births_black(const struct mutator *m, uint64_t phase_gen)
{
	return load_relaxed(&m->taken) == phase_gen_sweepgen(phase_gen);
}

/* mutator_gate_wait - steps out of the section until the fork is over. */
void mutator_gate_wait(struct mutator *m);

MGC_INLINE void mutator_enter(struct mutator *m)
{
	store_relaxed(&m->sec, m->sec + 1); /* atomic for who waits outside: quiesce.c */
	MGC_COMPILER_FENCE();
	if (MGC_UNLIKELY(lock_gate_shut()) && m->sec == 1)
		mutator_gate_wait(m);
}

void mutator_leave_flip(struct mutator *m);

/* mutator_enter_heap - a section that changes which slots are whose; the heap's phase word, which keeps
 * its sweep generation until the section ends. While a cycle flips, nobody gets in. */
MGC_INLINE uint64_t mutator_enter_heap(struct mutator *m)
{
	uint64_t pg;
	mutator_enter(m);
	while (MGC_UNLIKELY(phase_gen_phase(pg = heap_phase_gen(m->heap)) == PHASE_FLIP))
		mutator_leave_flip(m);
	return pg;
}

MGC_INLINE void mutator_leave(struct mutator *m)
{
	MGC_COMPILER_FENCE();
	store_release(&m->sec, m->sec - 1);
	MGC_COMPILER_FENCE(); /* only our own handler writes pending behind our back */
	if (MGC_UNLIKELY(load_relaxed(&m->pending)) && m->sec == 0)
		mutator_park_slow(m);
}

/* mutator_reset_registry - in the child of a fork: every other mutator is gone; their spans go back.
 * Caller holds no lock and all locks were reset. */
void mutator_reset_registry(struct heap *h, struct mutator *survivor);

#endif
