/* api_life.c - the lifetimes of include/mallocgc.h: finalizers, cleanups, weak references, ephemerons, weak
 * maps, handles, links. */
#include <errno.h>

#include "base/check.h"
#include "face/api.h"
#include "gc/barrier.h"
#include "gc/weak.h"
#include "gc/weakmap.h"
#include "mallocgc.h"

/* shade - inside m's section: a reference is put where the library keeps it, or taken from there. */
static void shade(struct mutator *m, const void *ref)
{
	if (heap_phase(m->heap) != PHASE_OFF)
		barrier_shade(m, (uintptr_t)ref);
}

/* object_of - the object that p points into, and whether others share its block; 0: none. */
static uintptr_t object_of(const void *p, size_t *nbytes, bool *is_tiny)
{
	uintptr_t object = gc_object(&runtime.gc, (uintptr_t)p, nbytes);
	const struct span *s = space_span(&runtime.heap.pageheap.space, object);
	*is_tiny = object != 0 && runtime.heap.layouts.spanclass[s->spanclass].flags & LAYOUT_TINY;
	return object;
}

/* ── finalizers and cleanups ────────────────────────────────────────────────────────────── */

int mgc_finalizer_set(void *obj, void (*fn)(void *obj, void *arg), void *arg)
{
	struct mutator *m = api_self();
	struct finalizer f = { fn, arg, FINALIZE_ORDERED };
	size_t nbytes;
	bool is_tiny;
	if (m == NULL)
		return api_fail(ENOMEM);
	uintptr_t object = object_of(obj, &nbytes, &is_tiny);
	if (object == 0 || (object != (uintptr_t)obj && !is_tiny))
		return api_fail(EINVAL);
	if (!key_filter_ready(&runtime.gc.pool.keys))
		return api_fail(ENOMEM);
	mutator_enter(m);
	shade(m, arg);
	bool ok = specials_set_finalizer(&runtime.gc.specials, object,
					 (unsigned)((uintptr_t)obj - object), &f, NULL);
	mutator_leave(m);
	return ok ? 0 : api_fail(ENOMEM);
}

mgc_cleanup_id mgc_cleanup_add(const void *obj, void (*fn)(void *arg), void *arg)
{
	struct mutator *m = api_self();
	size_t nbytes;
	bool is_tiny;
	if (m == NULL) {
		errno = ENOMEM;
		return 0;
	}
	uintptr_t object = object_of(obj, &nbytes, &is_tiny);
	bool inside = (uintptr_t)arg - object < nbytes; /* it would keep the object for ever */
	if (object == 0 || fn == NULL || inside) {
		errno = EINVAL;
		return 0;
	}
	mutator_enter(m);
	shade(m, arg);
	uint64_t id = specials_add_cleanup(&runtime.gc.specials, object, fn, arg);
	mutator_leave(m);
	if (id == 0)
		errno = ENOMEM;
	return id;
}

int mgc_cleanup_remove(mgc_cleanup_id id)
{
	struct mutator *m = api_self();
	if (m == NULL)
		return 0;
	mutator_enter(m);
	bool removed = specials_remove_cleanup(&runtime.gc.specials, id);
	mutator_leave(m);
	return removed;
}

size_t mgc_run_finalizers(void)
{
	if (api_self() == NULL)
		return 0;
	store_relaxed(&runtime.poll_finalizers, true);
	return runtime_run_finalizers();
}

/* ── weak references ────────────────────────────────────────────────────────────────────── */

static struct mgc_weak *new_weak(const void *p, bool is_long)
{
	struct mutator *m = api_self();
	bool known = true;
	struct mgc_weak *w = m != NULL ? weak_new(&runtime.gc, m, (uintptr_t)p, is_long, &known) : NULL;
	if (w == NULL)
		errno = known ? ENOMEM : EINVAL;
	mgc_keep_alive(p);
	return w;
}

struct mgc_weak *mgc_weak_new(const void *p)
{
	return new_weak(p, false);
}

struct mgc_weak *mgc_weak_new_long(const void *p)
{
	return new_weak(p, true);
}

static MGC_NORETURN MGC_COLD void no_weak(const void *p)
{
	mgc_misuse("mgc_weak_get: %p is no weak reference", p);
}

void *mgc_weak_get(const struct mgc_weak *weak)
{
	if (MGC_UNLIKELY(weak == NULL))
		return NULL;
	if (MGC_UNLIKELY(!weak_is_one(weak)))
		no_weak(weak);
	return (void *)barrier_weak_get(api_writer(), &weak->target, weak_is_long(weak));
}

/* ── pairs ──────────────────────────────────────────────────────────────────────────────── */

static struct pair *pair_of(struct mgc_ephemeron *e, const char *who)
{
	struct pair *p = (struct pair *)(void *)e;
	ephemeron_check(&runtime.gc, p, who);
	return p;
}

struct mgc_ephemeron *mgc_ephemeron_new(void *key, void *value)
{
	struct mutator *m = api_self();
	int err;
	if (m == NULL)
		return api_no_memory();
	struct pair *e = ephemeron_new(&runtime.gc, m, (uintptr_t)key, (uintptr_t)value, &err);
	if (e == NULL)
		errno = err;
	mgc_keep_alive(key);
	mgc_keep_alive(value);
	return (struct mgc_ephemeron *)(void *)e;
}

void *mgc_ephemeron_key(struct mgc_ephemeron *e)
{
	struct pair out;
	struct pair *p = pair_of(e, "mgc_ephemeron_key");
	return ephemeron_read(api_writer(), p, &out) ? (void *)out.key : NULL;
}

void *mgc_ephemeron_value(struct mgc_ephemeron *e)
{
	struct pair out;
	struct pair *p = pair_of(e, "mgc_ephemeron_value");
	return ephemeron_read(api_writer(), p, &out) ? (void *)out.value : NULL;
}

void mgc_ephemeron_set(struct mgc_ephemeron *e, void *value)
{
	ephemeron_set(api_writer(), pair_of(e, "mgc_ephemeron_set"), (uintptr_t)value);
}

struct mgc_weakmap *mgc_weakmap_new(void)
{
	struct mutator *m = api_self();
	struct mgc_weakmap *map = m != NULL ? weakmap_new(&runtime.gc, m) : NULL;
	return map != NULL ? map : api_no_memory();
}

void *mgc_weakmap_get(struct mgc_weakmap *map, const void *key)
{
	weakmap_check(map, "mgc_weakmap_get");
	return (void *)weakmap_get(api_writer(), map, (uintptr_t)key);
}

int mgc_weakmap_set(struct mgc_weakmap *map, void *key, void *value)
{
	struct mutator *m = api_self();
	weakmap_check(map, "mgc_weakmap_set");
	if (m == NULL)
		return api_fail(ENOMEM);
	int err = weakmap_set(&runtime.gc, m, map, (uintptr_t)key, (uintptr_t)value);
	mgc_keep_alive(map);
	mgc_keep_alive(key);
	mgc_keep_alive(value);
	return err == 0 ? 0 : api_fail(err);
}

int mgc_weakmap_remove(struct mgc_weakmap *map, const void *key)
{
	weakmap_check(map, "mgc_weakmap_remove");
	return weakmap_remove(&runtime.gc, api_writer(), map, (uintptr_t)key);
}

size_t mgc_weakmap_count(const struct mgc_weakmap *map)
{
	weakmap_check(map, "mgc_weakmap_count");
	return weakmap_count(map);
}

size_t mgc_weakmap_each(struct mgc_weakmap *map, int (*fn)(void *key, void *value, void *arg), void *arg)
{
	struct mutator *m = api_writer();
	struct pair p;
	size_t at = 0, n = 0;
	weakmap_check(map, "mgc_weakmap_each");
	if (fn == NULL)
		api_null("mgc_weakmap_each", "fn");
	struct pair *table = weakmap_table(map); /* our stack keeps it, also when the map gets another */
	for (; weakmap_next(m, table, &at, &p); at++) {
		n++;
		if (fn((void *)p.key, (void *)p.value, arg) != 0)
			break;
	}
	return n;
}

/* ── handles ────────────────────────────────────────────────────────────────────────────── */

mgc_handle mgc_handle_new(void *obj)
{
	struct mutator *m = api_self();
	if (obj == NULL || m == NULL) {
		errno = obj == NULL ? EINVAL : ENOMEM;
		return 0;
	}
	mutator_enter(m);
	shade(m, obj);
	uint64_t id = specials_add_handle(&runtime.gc.specials, (uintptr_t)obj);
	mutator_leave(m);
	if (id == 0)
		errno = ENOMEM;
	return (mgc_handle)id;
}

static MGC_NORETURN MGC_COLD void no_handle(const char *who, mgc_handle handle)
{
	mgc_misuse("%s: there is no handle %p: it was freed, or never made", who, (void *)handle);
}

void *mgc_handle_get(mgc_handle handle)
{
	uintptr_t object = handle != 0 ? specials_handle(&runtime.gc.specials, handle) : 0;
	if (MGC_UNLIKELY(object == 0 && handle != 0))
		no_handle("mgc_handle_get", handle);
	return (void *)object;
}

void mgc_handle_free(mgc_handle handle)
{
	struct mutator *m = api_writer();
	if (handle == 0)
		return;
	mutator_enter(m);
	uintptr_t object = specials_remove_handle(&runtime.gc.specials, handle);
	if (object != 0)
		shade(m, (const void *)object);
	mutator_leave(m);
	if (object == 0)
		no_handle("mgc_handle_free", handle);
}

/* ── links ──────────────────────────────────────────────────────────────────────────────── */

int mgc_link_set(void **link, const void *obj)
{
	struct mutator *m = api_self();
	if (m == NULL)
		return api_fail(ENOMEM);
	uintptr_t base = (uintptr_t)mgc_base(obj);
	if (base == 0 || link == NULL || (uintptr_t)link % sizeof(void *) != 0)
		return api_fail(EINVAL);
	mutator_enter(m);
	int known = specials_set_link(&runtime.gc.specials, (uintptr_t)link, base, false);
	mutator_leave(m);
	return known >= 0 ? 0 : api_fail(ENOMEM);
}

void *mgc_link_get(void *const *link)
{
	return (void *)barrier_weak_get(api_writer(), (const uintptr_t *)(const void *)link, false);
}

int mgc_link_clear(void **link)
{
	struct mutator *m = api_self();
	if (m == NULL)
		return api_fail(ENOMEM);
	mutator_enter(m);
	bool known = specials_clear_link(&runtime.gc.specials, (uintptr_t)link);
	mutator_leave(m);
	return known ? 0 : api_fail(EINVAL);
}
