/* roots.h - everything outside the heap that keeps objects alive, and how a stack is read.
 *
 * WHAT   registered ranges · data segments and thread-local blocks of loaded objects (when asked for)
 *        · each mutator's stack, registers and owned ranges · coroutine stacks · objects that are
 *        uncollectable · ranges that a face adds through a callback.
 *        A stack is first copied, filtered by heap range, and resolved later (CYCLE.md: snapshot then
 *        resolve); under a stop both follow each other.
 * WHO    cycle.c, world stopped; the faces register.
 * STATE  ranges are added and removed at any time; a cycle reads them under ROOTS.
 * INV    O1 ranges do not overlap    O2 sorted by start
 * LOCKS  ROOTS for tables.   UNITS bytes, words of 8. */
#ifndef MGC_GC_ROOTS_H
#define MGC_GC_ROOTS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gc/mark.h"
#include "heap/mutator.h"
#include "os/lock.h"

struct root_range {
	uintptr_t lo, hi;
	unsigned flags;          /* enum mgc_root_flags */
	struct mutator *owner;   /* of an owned range */
	const uintptr_t *top;    /* of an owned range: where its used part ends */
};

/* A stack that is not a thread's own (struct mgc_stack in the API). Written by the thread that switches,
 * in a section; read while the world is stopped. */
struct mgc_stack {
	struct mgc_stack *next;
	uintptr_t lo, hi;
	uintptr_t sp; /* parked: used from here to hi; 0: nothing on it */
	struct mutator *running; /* on this thread now, or after the switch that it announced */
	uintptr_t saved[MUTATOR_SAVED_REGS]; /* parked: the registers as the switch was announced */
};

struct roots {
	struct lock lock;
	struct root_range *range;
	size_t nranges, capacity;
	struct mgc_stack *stacks, *free_stacks;
	bool globals; /* atomic; data segments and TLS are roots. Changed under WORLD */
	bool end_pointers; /* a root word that is just behind an object keeps it (libgc face) */
	bool (*keep_segment)(uintptr_t lo); /* which data segments count; NULL: all */
	/* a face's own roots: called with the world stopped */
	void (*extra)(void *arg, struct marker *mk);
	void *extra_arg;
	struct os_segment *segment; /* of the loaded objects; filled in the loader's lock */
	size_t nsegments, segment_capacity;
	size_t scanned_nbytes; /* by the last cycle: stacks, then the rest */
	size_t stack_nbytes;
};

void roots_init(struct roots *r);
void roots_destroy(struct roots *r);

/* roots_add - 0, EINVAL (misaligned, overlapping) or ENOMEM. owner and top: NULL, or an owned range. */
int roots_add(struct roots *r, uintptr_t lo, uintptr_t hi, unsigned flags, struct mutator *owner,
	      const uintptr_t *top);
/* roots_add_union - the same, but what overlaps is merged (libgc face). */
int roots_add_union(struct roots *r, uintptr_t lo, uintptr_t hi, unsigned flags);
int roots_remove(struct roots *r, uintptr_t lo);
/* roots_remove_within - every range that lies in [lo, hi) (libgc face). */
void roots_remove_within(struct roots *r, uintptr_t lo, uintptr_t hi);
/* roots_drop_owned - the mutator is gone. */
void roots_drop_owned(struct roots *r, struct mutator *m);

/* roots_add_stack - a stack that nothing runs on; NULL: no memory. roots_remove_stack forgets it. */
struct mgc_stack *roots_add_stack(struct roots *r, uintptr_t lo, uintptr_t hi);
void roots_remove_stack(struct roots *r, struct mgc_stack *s);
/* roots_switch_stack - the owner, in a section, is about to leave `from` for `to` (NULL: its own). What it
 * keeps there begins at sp; regs are its STW_NREGS registers, which the switch may put anywhere. */
void roots_switch_stack(struct mutator *m, struct mgc_stack *from, struct mgc_stack *to,
			const uintptr_t *regs, uintptr_t sp);

/* roots_note_segment - for os_each_data. Allocates records: before the world stops. */
void roots_note_segment(struct roots *r, uintptr_t lo, uintptr_t hi);

/* roots_mark_mutator - stack, registers, TLS, runs in hand of a mutator that stands still (or is the
 * caller, whose sp was just stored). */
void roots_mark_mutator(struct roots *r, struct marker *mk, struct mutator *m);
/* roots_mark_shared - all the others. */
void roots_mark_shared(struct roots *r, struct marker *mk);

#endif
