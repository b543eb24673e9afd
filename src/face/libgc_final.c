/* libgc_final.c - finalizers in libgc's four orders, disappearing links, and when finalizers run. */
#include "base/check.h"
#include "face/libgc.h"
#include "gc/cycle.h"

LIBGC_API void GC_register_finalizer(void *obj, GC_finalization_proc fn, void *cd,
				     GC_finalization_proc *ofn, void **ocd);
LIBGC_API void GC_register_finalizer_ignore_self(void *obj, GC_finalization_proc fn, void *cd,
						 GC_finalization_proc *ofn, void **ocd);
LIBGC_API void GC_register_finalizer_no_order(void *obj, GC_finalization_proc fn, void *cd,
					      GC_finalization_proc *ofn, void **ocd);
LIBGC_API void GC_register_finalizer_unreachable(void *obj, GC_finalization_proc fn, void *cd,
						 GC_finalization_proc *ofn, void **ocd);
LIBGC_API int GC_invoke_finalizers(void);
LIBGC_API int GC_should_invoke_finalizers(void);
LIBGC_API void GC_finalize_all(void);
LIBGC_API int GC_register_disappearing_link(void **link);
LIBGC_API int GC_general_register_disappearing_link(void **link, const void *obj);
LIBGC_API int GC_move_disappearing_link(void **from, void **to);
LIBGC_API int GC_unregister_disappearing_link(void **link);
LIBGC_API int GC_register_long_link(void **link, const void *obj);
LIBGC_API int GC_move_long_link(void **from, void **to);
LIBGC_API int GC_unregister_long_link(void **link);
LIBGC_API void GC_alloc_unlock(void);
LIBGC_API void GC_set_free_space_divisor(GC_word d);
LIBGC_API void *GC_base(void *p);
LIBGC_API void GC_set_finalizer_notifier(void (*fn)(void));
LIBGC_API void (*GC_get_finalizer_notifier(void))(void);

void (*GC_finalizer_notifier)(void);

/* run_due - what is due now, also inside a finalizer that asks for it. */
static int run_due(void)
{
	struct mutator *m = libgc_self();
	if (m == NULL)
		return 0;
	cycle_wait_cleared(&runtime.gc); /* what is due already is not given out meanwhile */
	m->in_finalizer++;
	int n = (int)runtime_run_finalizers();
	m->in_finalizer--;
	return n;
}

static void notify_due(struct gc *gc)
{
	(void)gc;
	libgc_tell_awaiting();
	if (!GC_finalize_on_demand) {
		if (mutator_self()->in_finalizer == 0) /* one that allocates is not interrupted by others */
			run_due();
	} else if (GC_finalizer_notifier != NULL) {
		GC_finalizer_notifier();
	}
}

/* before_stop - settings that clients write as variables are read when a cycle begins. */
static void before_stop(struct gc *gc)
{
	static GC_word divisor = 3;
	if (MGC_UNLIKELY(load_relaxed(&GC_free_space_divisor) != load_relaxed(&divisor))) {
		store_relaxed(&divisor, GC_free_space_divisor);
		GC_set_free_space_divisor(GC_free_space_divisor);
	}
	if (MGC_UNLIKELY(GC_find_leak || libgc.debugging)) { /* E1 */
		gc->knobs.tracked = 0;
		gc->knobs.young = 0;
		gc->young.whole_next = true;
	}
	bool looks = GC_find_leak || libgc.debugging; /* for errors, when all that will be kept is marked */
	store_relaxed(&gc->clears_later, !looks);
	store_relaxed(&gc->roots.end_nbytes, GC_all_interior_pointers != 0 ? libgc_end_unseen() : 0);
}

void libgc_init_final(void)
{
	runtime.gc.notify_due = notify_due;
	runtime.gc.before_stop = before_stop;
	runtime.gc.calls_from_mutators = true;
}

/* charge - a record counts toward the next collection, as its object does: a program that registers much
 * and keeps little would let the tables grow. */
static void charge(void)
{
	add_relaxed(&runtime.heap.live_nbytes, sizeof(struct ptrmap_entry));
}

/* ── finalizers ─────────────────────────────────────────────────────────────────────────── */

static void set(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn, void **ocd,
		enum finalizer_order order)
{
	struct mutator *m = libgc_self();
	struct finalizer f = { fn, cd, order }, old = { 0 };
	size_t nbytes;
	bool ok = true;
	if (GC_find_leak) /* what nobody freed is named, and nothing is finalized */
		return;
	if (m != NULL && gc_object(&runtime.gc, (uintptr_t)obj, &nbytes) == (uintptr_t)obj) {
		mutator_enter(m);
		ok = specials_set_finalizer(&runtime.gc.specials, (uintptr_t)obj, 0, &f, &old);
		if (fn != NULL && old.fn == NULL)
			charge();
		mutator_leave(m);
	}
	if (!ok)
		libgc_out_of_memory(sizeof(struct finalizer));
	if (ofn != NULL)
		*ofn = old.fn;
	if (ocd != NULL)
		*ocd = old.arg;
}

void libgc_add_finalizer(void *obj, GC_finalization_proc fn, void *cd, enum finalizer_order order,
			 bool fresh)
{
	struct mutator *m = mutator_self();
	if (GC_find_leak)
		return;
	if (MGC_UNLIKELY(!fresh)) {
		set(obj, fn, cd, NULL, NULL, order);
		return;
	}
	mutator_enter(m);
	bool ok = specials_add_finalizer(&runtime.gc.specials, (uintptr_t)obj,
					 &(struct finalizer){ fn, cd, order });
	charge();
	mutator_leave(m);
	if (!ok)
		libgc_out_of_memory(sizeof(struct finalizer));
}

void GC_register_finalizer(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn,
			   void **ocd)
{
	set(obj, fn, cd, ofn, ocd, FINALIZE_ORDERED);
}

void GC_register_finalizer_ignore_self(void *obj, GC_finalization_proc fn, void *cd,
				       GC_finalization_proc *ofn, void **ocd)
{
	set(obj, fn, cd, ofn, ocd, FINALIZE_IGNORE_SELF);
}

void GC_register_finalizer_no_order(void *obj, GC_finalization_proc fn, void *cd,
				    GC_finalization_proc *ofn, void **ocd)
{
	set(obj, fn, cd, ofn, ocd, FINALIZE_NO_ORDER);
}

void GC_register_finalizer_unreachable(void *obj, GC_finalization_proc fn, void *cd,
				       GC_finalization_proc *ofn, void **ocd)
{
	set(obj, fn, cd, ofn, ocd, FINALIZE_UNREACHABLE);
}

int GC_invoke_finalizers(void)
{
	return run_due();
}

int GC_should_invoke_finalizers(void)
{
	return load_relaxed(&runtime.gc.specials.ndue) != 0;
}

static bool is_finalizer(finalizer_fn fn)
{
	return !libgc_asks_by(fn);
}

/* GC_finalize_all - what finalizers register meanwhile, too. Nobody is asked whether a live object may go: a no would have no end. */
void GC_finalize_all(void)
{
	struct mutator *m = libgc_self();
	size_t n;
	if (m == NULL)
		return;
	do {
		libgc_lock(); /* not while a collection queues what is dead */
		n = specials_queue_all(&runtime.gc.specials, is_finalizer);
		GC_alloc_unlock();
		run_due();
	} while (n != 0);
}

/* ── links ──────────────────────────────────────────────────────────────────────────────── */

int libgc_add_link(void **link, const void *obj, bool is_long)
{
	struct mutator *m = libgc_self();
	size_t nbytes;
	if ((uintptr_t)link % sizeof(GC_word) != 0)
		mgc_misuse("a disappearing link at %p, which is not aligned to 8", (void *)link);
	uintptr_t base = gc_object(&runtime.gc, (uintptr_t)obj, &nbytes);
	if (m == NULL)
		return GC_NO_MEMORY;
	if (base == 0) /* an object that is not collected never disappears */
		return GC_SUCCESS;
	mutator_enter(m);
	int known = specials_set_link(&runtime.gc.specials, (uintptr_t)link, base, is_long);
	if (known == 0)
		charge();
	mutator_leave(m);
	return known < 0 ? GC_NO_MEMORY : known > 0 ? GC_DUPLICATE : GC_SUCCESS;
}

static int set_link(void **link, const void *obj, bool is_long)
{
	return GC_find_leak ? GC_UNIMPLEMENTED : libgc_add_link(link, obj, is_long);
}

static int move_link(void **from, void **to)
{
	static const int result[] = { GC_SUCCESS, GC_NOT_FOUND, GC_DUPLICATE };
	struct mutator *m = libgc_self();
	if (m == NULL)
		return GC_NO_MEMORY;
	mutator_enter(m);
	int r = specials_move_link(&runtime.gc.specials, (uintptr_t)from, (uintptr_t)to);
	mutator_leave(m);
	return result[r];
}

static int clear_link(void **link)
{
	struct mutator *m = libgc_self();
	if (m == NULL)
		return 0;
	mutator_enter(m);
	bool known = specials_clear_link(&runtime.gc.specials, (uintptr_t)link);
	mutator_leave(m);
	return known;
}

int GC_general_register_disappearing_link(void **link, const void *obj)
{
	return set_link(link, obj, false);
}

int GC_register_disappearing_link(void **link)
{
	if (GC_base(link) == NULL)
		mgc_misuse("GC_register_disappearing_link(%p), which is in no object", (void *)link);
	return set_link(link, link, false);
}

int GC_move_disappearing_link(void **from, void **to)
{
	return move_link(from, to);
}

int GC_unregister_disappearing_link(void **link)
{
	return clear_link(link);
}

int GC_register_long_link(void **link, const void *obj)
{
	return set_link(link, obj, true);
}

int GC_move_long_link(void **from, void **to)
{
	return move_link(from, to);
}

int GC_unregister_long_link(void **link)
{
	return clear_link(link);
}

/* ── settings ───────────────────────────────────────────────────────────────────────────── */

void GC_set_finalizer_notifier(void (*fn)(void))
{
	GC_finalizer_notifier = fn;
}

void (*GC_get_finalizer_notifier(void))(void)
{
	return GC_finalizer_notifier;
}
