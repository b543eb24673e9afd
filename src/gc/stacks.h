/* stacks.h - every stack of the program: threads' own, alternate ones, coroutines'; and how what a
 * mutator has in hand is read from where it stands.
 *
 * WHAT   A coroutine's stack is registered, and each switch is announced just before it is made. What
 *        is read goes into a sink: all of it while the world stands still, or each thread's own by
 *        itself, at its own time (snapshot.c).
 * STATE  a coroutine's stack: parked (running NULL, sp set or 0) ↔ announced or running on a mutator
 *        claim 0 ↔ 1: somebody copies it, or changes who runs on it, while a cycle takes roots
 *        A coroutine has no thread while it waits: whoever runs it next reads its stack first, if the
 *        cycle has not got it yet, so migration costs nothing.
 * INV    B1 in ROOTS a stack that is not `taken` is changed by nobody but a mutator that is not taken
 *           either and had announced it before; leaving it, that one makes it not taken again
 *        B2 a mutator's snapshot takes the stack it stands on, its own one, and the one it announced
 * LOCKS  ROOTS for the list; a cycle holds it while it takes roots.
 * UNITS  bytes, words of 8. */
#ifndef MGC_GC_STACKS_H
#define MGC_GC_STACKS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "gc/sink.h"
#include "heap/mutator.h"

struct roots;

/* A range that is part of a stack (an operand stack, an array of handles): hangs on a mutator's list, for
 * its own stack, or on a coroutine's. A mutator's list begins with a record that is no range: whoever goes
 * leaves the list behind by it. */
struct owned_range {
	struct owned_range *next;
	struct owned_range **list; /* where it hangs */
	struct owned_range *left; /* first record: the next list that was left behind */
	uintptr_t lo, hi;
	const uintptr_t *top; /* atomic, the program's: where the used part ends */
};

/* A stack that is not a thread's own (struct mgc_stack in the API). Written by the thread that switches,
 * in a section. */
struct mgc_stack {
	struct list node; /* roots.stacks; ROOTS */
	struct mgc_stack *next_free;
	struct owned_range *owned; /* ROOTS */
	uintptr_t lo, hi;
	uintptr_t sp; /* parked: used from here to hi; 0: nothing on it */
	struct mutator *running; /* atomic: on this thread now, or after the switch that it announced */
	uint32_t claim; /* atomic, as a spin lock */
	uint32_t taken; /* sweep generation of the cycle whose snapshot has it */
	uintptr_t saved[MUTATOR_SAVED_REGS]; /* parked: the registers as the switch was announced */
};

/* stacks_add - a stack that nothing runs on; NULL: no memory. stacks_remove forgets it. */
struct mgc_stack *stacks_add(struct roots *r, uintptr_t lo, uintptr_t hi);
void stacks_remove(struct roots *r, struct mgc_stack *s);
/* stacks_prepare - what lies on it from sp on counts, though it has not run yet. In a section; the caller
 * shades it, for a cycle may have found nothing there. */
void stacks_prepare(struct mgc_stack *s, uintptr_t sp);
/* stacks_detach - the mutator goes, in a section; a coroutine that it ends on has nothing on its stack any more.
 * stacks_after_fork - so do all but the survivor, in the child. */
void stacks_detach(struct roots *r, struct mutator *m);
void stacks_after_fork(struct roots *r, struct heap *h, const struct mutator *survivor);
/* stacks_switch - the owner, in a section, is about to leave `from` for `to` (NULL: its own). regs, sp: as
 * whoever announces it has them (stw.h: STW_ENTRY); the switch that follows may put the registers
 * elsewhere (a ucontext), so they are kept in the record. While a cycle takes roots a stack that was not
 * taken yet is taken first. */
void stacks_switch(struct grey_pool *pool, struct mutator *m, struct mgc_stack *from,
		   struct mgc_stack *to, const uintptr_t *regs, uintptr_t sp);

/* stacks_read_mutator - stacks, registers and the tiny block of a mutator that stands still, or is the
 * caller; m->sp and m->regs say where it stands. */
void stacks_read_mutator(struct roots *r, struct sink *out, struct mutator *m, uint32_t gen);
/* stacks_mark_unborn - marks the unborn slots that m has in hand; their bytes. (Who was interrupted behind a
 * cursor's step has the slot below it elsewhere: cache_pop.) */
uint64_t stacks_mark_unborn(const struct mutator *m);
/* stacks_read_parked - every coroutine's stack that is not taken. */
void stacks_read_parked(struct roots *r, struct sink *out, uint32_t gen);
/* stacks_take_again - the world stands still: none counts as taken, though the cycle is the same. */
void stacks_take_again(struct roots *r);

#endif
