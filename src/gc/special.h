/* special.h - what hangs on objects without keeping them alive: finalizers and disappearing links.
 *
 * WHAT   Two tables by address, looked through after each mark; one has a queue of finalizers that are due.
 * STATE  finalizer: registered → (object found dead) → due, object alive again → run, or → removed
 * INV    F1 a due entry's object and argument are roots; a registered one's argument is
 *        F2 a finalizer becomes due where its record lies: nothing is allocated in a cycle
 *        F3 links are nulled before any finalizer is queued (short), or after all were (long)
 * LOCKS  SPECIAL; a cycle takes it after the mark. */
#ifndef MGC_GC_SPECIAL_H
#define MGC_GC_SPECIAL_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gc/mark.h"
#include "gc/ptrmap.h"
#include "os/lock.h"

typedef void (*finalizer_fn)(void *obj, void *arg);

enum finalizer_order {
	FINALIZE_ORDERED,     /* before the objects it refers to; never in a cycle */
	FINALIZE_IGNORE_SELF, /* the same, but its pointers to itself do not count */
	FINALIZE_NO_ORDER,    /* as soon as it is unreachable from the roots */
	FINALIZE_UNREACHABLE, /* when not even other finalizable objects reach it */
};

struct finalizer {
	finalizer_fn fn;
	void *arg;
	enum finalizer_order order;
};

struct due {
	uintptr_t object;
	finalizer_fn fn;
	void *arg;
};

struct specials {
	struct lock lock;
	struct ptrmap finalizers; /* object → fn, arg, order; the queue of those that are due */
	struct ptrmap links; /* link → object, 1 for a long one */
	size_t ndue;        /* atomic: finalizers queued */
	uint64_t nrun;      /* atomic */
	size_t nregistered; /* atomic: finalizers and links */
};

void specials_init(struct specials *s);
void specials_destroy(struct specials *s);

/* specials_set_finalizer - registers, replaces or (fn NULL) removes; *old (if not NULL) gets what was
 * there. False: no memory; nothing changed. */
bool specials_set_finalizer(struct specials *s, uintptr_t object, const struct finalizer *f,
			    struct finalizer *old);
/* specials_set_link - 0 new, 1 replaced, -1 no memory. */
int specials_set_link(struct specials *s, uintptr_t link, uintptr_t object, bool is_long);
bool specials_clear_link(struct specials *s, uintptr_t link);
/* specials_move_link - 0, 1: old not registered, 2: new is registered already. */
int specials_move_link(struct specials *s, uintptr_t from, uintptr_t to);

/* specials_forget - an object was freed by hand: its finalizer goes, links to it are nulled. */
void specials_forget(struct specials *s, uintptr_t object);

/* specials_each_root - every word that the table keeps: arguments, and objects that are due. */
void specials_each_root(struct specials *s, void (*fn)(void *arg, uintptr_t word), void *arg);
/* specials_mark_roots - these become candidates. */
void specials_mark_roots(struct specials *s, struct marker *mk);
/* specials_null_links - short links to unmarked objects. */
void specials_null_links(struct specials *s, struct marker *mk);
/* specials_after_mark - queues finalizers, marks what they need, then nulls long links; no_order:
 * all finalizers count as NO_ORDER. The marker drains alone. Returns how many became due. */
size_t specials_after_mark(struct specials *s, struct marker *mk, bool no_order);

/* specials_tidy - after a cycle, world running: gives back what a burst of registrations left. */
void specials_tidy(struct specials *s);

/* specials_read_stats - its part of the statistics. */
struct mgc_stats;
void specials_read_stats(struct specials *s, struct mgc_stats *out);

/* specials_next - takes the oldest due finalizer; false when none. */
bool specials_next(struct specials *s, struct due *out);

#endif
