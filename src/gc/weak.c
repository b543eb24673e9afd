/* weak.c - see weak.h. */
#include "gc/weak.h"

#include "gc/alloc.h"

/* find - the reference that is there, kept from now on; else `spare` (if not NULL) is entered. *wait: the
 * phase to wait out, 0: there is none. */
static struct mgc_weak *find_or_add(struct gc *gc, struct mutator *m, uintptr_t object, uintptr_t target,
				    bool is_long, struct mgc_weak *spare, uint64_t *wait)
{
	mutator_enter(m);
	uint64_t pg = heap_phase_gen(gc->heap);
	specials_lock(&gc->specials);
	struct mgc_weak *w = specials_find_weak(&gc->specials, object, target, is_long);
	/* as a long one: a finalizer may bring it back, and then it is still the only one */
	*wait = w != NULL && barrier_keep(m, (uintptr_t)w, true, pg) == KEEP_WAIT ? pg : 0;
	if (w == NULL && spare != NULL && specials_add_weak(&gc->specials, object, spare, is_long))
		w = spare;
	specials_unlock(&gc->specials);
	mutator_leave(m);
	return w;
}

static struct mgc_weak *make(struct gc *gc, struct mutator *m, uintptr_t target, bool is_long)
{
	struct mgc_weak *w =
		(struct mgc_weak *)gc_alloc(gc, m, LAYOUT_ID_NOSCAN, sizeof(struct mgc_weak));
	if (w == NULL)
		return NULL;
	w->target = target;
	w->seal = (uintptr_t)w ^ WEAK_SEAL ^ is_long;
	return w;
}

struct mgc_weak *weak_new(struct gc *gc, struct mutator *m, uintptr_t target, bool is_long, bool *known)
{
	size_t nbytes;
	uint64_t wait;
	uintptr_t object = gc_object(gc, target, &nbytes);
	struct mgc_weak *spare = NULL, *w;
	*known = object != 0;
	if (object == 0)
		return NULL;
	for (;;) {
		w = find_or_add(gc, m, object, target, is_long, spare, &wait);
		if (wait != 0)
			heap_wait_phase(gc->heap, wait);
		else if (w != NULL || spare != NULL)
			return w;
		else if ((spare = make(gc, m, target, is_long)) == NULL)
			return NULL;
	}
}
