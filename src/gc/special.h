/* special.h - what hangs on objects without keeping them alive: finalizers, cleanups, weak references,
 * disappearing links; and handles, which do keep them.
 *
 * WHAT   A table by object for each kind, looked through after each mark; two have a queue of what is due.
 *        Weak pairs (key, value) lie in objects of their own: ephemeron.h.
 * STATE  finalizer: registered → (object found dead) → due, object alive again → run, or → removed
 *        cleanup:   registered → (object gone, or freed by hand) → due → run, or → removed
 *        weak:      registered → (object found dead; long: gone) → its reference is null, no record
 *                   registered → (the reference itself is dead) → no record
 * INV    F1 a due finalizer's object is a root; arguments are, from registration to the run; handles are
 *        F2 what becomes due does so where its record lies: nothing is allocated in a cycle
 *        F3 short references are nulled before any finalizer is queued, long ones after all were, when
 *           also cleanups are queued: only of what no finalizer brought back
 *        F4 nothing is taken from the queues while finalizers' objects are being marked (`reviving`): who
 *           got one early could cut what hangs on it, unshaded, from under the marker
 *        F5 the object of a due finalizer counts as a key (keyfilter.h), where the face made the filter
 *           ready: freed by hand it is left to the collector, and its finalizer does not run
 * LOCKS  SPECIAL, for a few records at a time: mutators take it inside their sections, and a cycle waits
 *        for sections. */
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
typedef void (*cleanup_fn)(void *arg);

enum finalizer_order {
	FINALIZE_ORDERED, /* before the objects it refers to; never in a cycle */
	FINALIZE_IGNORE_SELF, /* the same, but its pointers to itself do not count */
	FINALIZE_NO_ORDER, /* as soon as it is unreachable from the roots */
	FINALIZE_UNREACHABLE, /* as ORDERED, and not while an object that is finalized without order reaches it */
};

struct finalizer {
	finalizer_fn fn;
	void *arg;
	enum finalizer_order order;
};

/* Something to run: a finalizer (object not 0), or a cleanup. */
struct due {
	uintptr_t object;
	finalizer_fn fn;
	cleanup_fn cleanup;
	void *arg;
};

/* A weak reference: an object without pointers, one for each address and length of memory. It dies like
 * any other. */
struct mgc_weak {
	uintptr_t target; /* atomic; the address as it was given, 0 when the object is gone */
	uintptr_t seal; /* says, with its own address, that this is one; lowest bit: a long one */
};

#define WEAK_SEAL UINT64_C(0x9d5c8e21b76f34a4)

MGC_INLINE bool weak_is_one(const struct mgc_weak *w)
{
	return (w->seal ^ (uintptr_t)w ^ WEAK_SEAL) <= 1;
}

MGC_INLINE bool weak_is_long(const struct mgc_weak *w)
{
	return w->seal & 1;
}

struct specials {
	struct lock lock;
	struct ptrmap finalizers; /* object → fn, arg; tag: order, and what to add to the object */
	struct ptrmap cleanups; /* object → fn, arg */
	struct ptrmap weaks; /* object → struct mgc_weak, its target; tag: 1 for a long one */
	struct ptrmap links; /* link → object; tag: 1 for a long one */
	struct ptrmap handles; /* object */
	bool reviving; /* lock */
	void (*queued)(uintptr_t object); /* told of each object whose finalizer becomes due; NULL: nobody */
	uint32_t nwaiting; /* atomic: want the lock, and did not get it at once */
	size_t ndue; /* atomic: finalizers and cleanups queued */
	size_t ncleanups_due; /* atomic: of them, cleanups */
	uint64_t nrun, ncleanups_run; /* atomic */
	size_t nregistered; /* atomic: all but handles; and SPECIALS_WATCHED */
	bool watched; /* lock */
};

/* In nregistered: frees by hand are to be noticed though nothing is registered: the sampler wants to know. */
#define SPECIALS_WATCHED ((size_t)1 << 62)

void specials_init(struct specials *s);
void specials_destroy(struct specials *s);

/* specials_set_finalizer - registers, replaces or (fn NULL) removes; *old (if not NULL) gets what was
 * there. False: no memory; nothing changed. For one of the objects that share a tiny block, `object` is
 * the block and `offset` (< 16) where it begins in it. */
bool specials_set_finalizer(struct specials *s, uintptr_t object, unsigned offset,
			    const struct finalizer *f, struct finalizer *old);
/* specials_add_finalizer - of an object that has none: it was just made. False: no memory. */
bool specials_add_finalizer(struct specials *s, uintptr_t object, const struct finalizer *f);
/* specials_add_cleanup - its id; 0: no memory. specials_remove_cleanup - false: it is due, was run, or
 * never existed. */
uint64_t specials_add_cleanup(struct specials *s, uintptr_t object, cleanup_fn fn, void *arg);
bool specials_remove_cleanup(struct specials *s, uint64_t id);
/* specials_find_weak - the reference to that address in the object, or NULL. It may be unmarked.
 * specials_add_weak - w->target is set; an unmarked one for the same address may be there, too. False: no
 * memory. Both with the lock held. */
struct mgc_weak *specials_find_weak(struct specials *s, uintptr_t object, uintptr_t target,
				    bool is_long);
bool specials_add_weak(struct specials *s, uintptr_t object, struct mgc_weak *w, bool is_long);
/* specials_add_handle - its id; 0: no memory. specials_handle - the object, 0: there is no such handle;
 * without the lock. specials_remove_handle - what it held; 0: there is none. */
uint64_t specials_add_handle(struct specials *s, uintptr_t object);
uintptr_t specials_handle(const struct specials *s, uint64_t id);
uintptr_t specials_remove_handle(struct specials *s, uint64_t id);
/* specials_set_link - 0 new, 1 replaced, -1 no memory. */
int specials_set_link(struct specials *s, uintptr_t link, uintptr_t object, bool is_long);
bool specials_clear_link(struct specials *s, uintptr_t link);
/* specials_move_link - 0, 1: old not registered, 2: new is registered already. */
int specials_move_link(struct specials *s, uintptr_t from, uintptr_t to);

/* specials_watch_frees - from now on every free by hand is looked at. specials_nregistered - so many are: finalizers, cleanups,
 * references and links. specials_has - whether anything is registered, or due. */
void specials_watch_frees(struct specials *s);
MGC_INLINE size_t specials_nregistered(const struct specials *s)
{
	return load_relaxed(&s->nregistered) & ~SPECIALS_WATCHED;
}
MGC_INLINE bool specials_has(const struct specials *s)
{
	return specials_nregistered(s) != 0 || load_relaxed(&s->ndue) != 0;
}

/* specials_lock, _unlock - for those that want it held. */
void specials_lock(struct specials *s);
void specials_unlock(struct specials *s);

/* specials_forget - an object was freed by hand: its finalizers go (is_key: also those that are due),
 * references and links to it are nulled, its cleanups are due: how many. */
size_t specials_forget(struct specials *s, uintptr_t object, bool is_key);

/* specials_each_root - every word that the tables keep: arguments, handles, objects that are due. */
void specials_each_root(struct specials *s, void (*fn)(void *arg, uintptr_t word), void *arg);
/* specials_mark_roots - these become candidates. */
void specials_mark_roots(struct specials *s, struct marker *mk);
/* specials_null_links - short references and links to unmarked objects. */
void specials_null_links(struct specials *s, struct marker *mk);
/* specials_keep_referents - of specials_revive, the step that marks what ordered finalizable objects refer to; once more, if some
 * of it could not be seen. Drains nothing. */
void specials_keep_referents(struct specials *s, struct marker *mk);
/* specials_revive - queues finalizers, and marks what they need. The marker
 * drains alone, by drain(). Returns how many became due. */
size_t specials_revive(struct specials *s, struct marker *mk, void (*drain)(struct marker *mk));
/* specials_bury - nulls the long ones, and queues the cleanups of what is still unmarked: how many. */
size_t specials_bury(struct specials *s, struct marker *mk); /* and tells the sampler what is dead */

/* specials_queue_all - the finalizers of live objects are due, too, those that are wanted: how many (libgc face). */
size_t specials_queue_all(struct specials *s, bool (*wanted)(finalizer_fn fn));
/* specials_tidy - after a cycle, world running: gives back what a burst of registrations left. */
void specials_tidy(struct specials *s);

/* specials_read_stats - its part of the statistics. */
struct mgc_stats;
void specials_read_stats(struct specials *s, struct mgc_stats *out);

/* specials_next - takes the oldest due finalizer, or, if there is none, the oldest cleanup, of the kinds that are
 * wanted; false when there is none. */
enum due_kinds { DUE_FINALIZERS = 1, DUE_CLEANUPS = 2, DUE_ALL = 3 };
bool specials_next(struct specials *s, unsigned kinds, struct due *out);

#endif
