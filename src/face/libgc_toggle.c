/* libgc_toggle.c - references that the program makes strong and weak again, objects that ask before they
 * die, word of what will be finalized, and a walk over all objects.
 *
 * WHAT   A toggle reference is a record in an uncollectable object: a hidden address with a long link to it,
 *        so that it is nulled when the object is gone. In each collection's stop the program's callback says
 *        which of them count. A disclaim procedure runs as a finalizer does, with libgc.lock held, and may keep
 *        the object, then it is asked again.
 * LOCKS  libgc.lock for the list; the collector reads it in the stop: who holds the lock is in a section. */
#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "gc/cycle.h"
#include "gc/edge.h"
#include "gc/graph.h"
#include "os/os.h"

enum toggle_status { TOGGLE_DROP, TOGGLE_STRONG, TOGGLE_WEAK };

typedef int (*toggle_fn)(void *obj);
typedef void (*await_fn)(void *obj);
typedef int (*disclaim_fn)(void *obj);
typedef void (*reachable_fn)(void *obj, size_t nbytes, void *arg);

struct GC_finalizer_closure {
	GC_finalization_proc proc;
	void *cd;
};

LIBGC_API void GC_set_toggleref_func(toggle_fn fn);
LIBGC_API toggle_fn GC_get_toggleref_func(void);
LIBGC_API int GC_toggleref_add(void *obj, int is_strong);
LIBGC_API void GC_set_await_finalize_proc(await_fn fn);
LIBGC_API await_fn GC_get_await_finalize_proc(void);
LIBGC_API void GC_init_finalized_malloc(void);
LIBGC_API void GC_register_disclaim_proc(int kind, disclaim_fn fn, int mark_from_all);
LIBGC_API void *GC_finalized_malloc(size_t nbytes, const struct GC_finalizer_closure *closure);
LIBGC_API void GC_enumerate_reachable_objects_inner(reachable_fn fn, void *arg);
LIBGC_API int GC_unregister_long_link(void **link);
LIBGC_API void *GC_malloc_atomic_uncollectable(size_t nbytes);
LIBGC_API void GC_free(void *p);
LIBGC_API void GC_alloc_unlock(void);

/* ── toggle references ──────────────────────────────────────────────────────────────────── */

struct toggle {
	struct toggle *next;
	uintptr_t hidden; /* ~address; 0: the object is gone, or was dropped */
	int status;
};

static struct toggle *toggles; /* libgc.lock; the stop */
static toggle_fn toggle_func;

void GC_set_toggleref_func(toggle_fn fn)
{
	libgc_ready();
	toggle_func = fn;
}

toggle_fn GC_get_toggleref_func(void)
{
	return toggle_func;
}

/* take_dead - unlinks a record without an object, if there is one. */
static struct toggle *take_dead(void)
{
	struct toggle *found = NULL;
	libgc_lock();
	for (struct toggle **at = &toggles; *at != NULL && found == NULL; at = &(*at)->next) {
		if ((*at)->hidden != 0)
			continue;
		found = *at;
		*at = found->next;
		break;
	}
	GC_alloc_unlock();
	return found;
}

int GC_toggleref_add(void *obj, int is_strong)
{
	struct toggle *t;
	if (toggle_func == NULL || libgc_self() == NULL)
		return GC_SUCCESS; /* as libgc: without a callback there are none */
	while ((t = take_dead()) != NULL) {
		GC_unregister_long_link((void **)&t->hidden);
		GC_free(t);
	}
	t = GC_malloc_atomic_uncollectable(sizeof *t);
	if (t == NULL)
		return GC_NO_MEMORY;
	t->hidden = ~(uintptr_t)obj;
	t->status = is_strong ? TOGGLE_STRONG : TOGGLE_WEAK;
	if (libgc_add_link((void **)&t->hidden, obj, true) == GC_NO_MEMORY) { /* where leaks are looked for, too */
		GC_free(t);
		return GC_NO_MEMORY;
	}
	libgc_lock();
	t->next = toggles;
	toggles = t;
	GC_alloc_unlock();
	return GC_SUCCESS;
}

void libgc_mark_toggles(struct marker *mk)
{
	for (struct toggle *t = toggles; t != NULL; t = t->next) {
		uintptr_t object = ~t->hidden;
		if (t->hidden == 0)
			continue;
		t->status = toggle_func != NULL ? toggle_func((void *)object) : t->status;
		if (t->status == TOGGLE_STRONG)
			marker_candidate(mk, object, MARK_AMBIGUOUS);
		if (t->status == TOGGLE_DROP)
			t->hidden = 0;
	}
}

/* ── objects that ask before they die ───────────────────────────────────────────────────── */

/* Between the collection that finds an object dead and the question the program may find it by a hidden pointer, and say so by
 * GC_set_mark_bit: then GC_is_marked, called by the procedure, says that it is not dead at all. Such a note lasts until the object is
 * asked, perhaps by a later collection: then it is kept once more than it need be. */
static struct ptrmap noted; /* SPECIAL */
static bool notes_lost; /* SPECIAL: there was no memory for one, so that everything is kept */
static uintptr_t asked; /* atomic: about this one a procedure is called, by who has libgc.lock */

void libgc_note_mark(uintptr_t object, bool is_marked)
{
	struct mutator *m = libgc_self();
	if (m == NULL || libgc.kind[libgc_kind_of(object)].disclaim == NULL)
		return;
	mutator_enter(m);
	specials_lock(&runtime.gc.specials);
	struct ptrmap_entry *e = is_marked ? ptrmap_put(&noted, object) : ptrmap_find(&noted, object);
	if (is_marked)
		notes_lost |= e == NULL;
	else if (e != NULL)
		ptrmap_remove(&noted, e);
	specials_unlock(&runtime.gc.specials);
	mutator_leave(m);
}

bool libgc_is_asked(uintptr_t object, bool *is_marked)
{
	if (MGC_LIKELY(load_relaxed(&asked) != object))
		return false;
	struct mutator *m = libgc_self();
	mutator_enter(m);
	specials_lock(&runtime.gc.specials);
	*is_marked = notes_lost || ptrmap_find(&noted, object) != NULL;
	specials_unlock(&runtime.gc.specials);
	mutator_leave(m);
	return true;
}

static void disclaim(void *obj, void *arg)
{
	const struct kind *k = arg;
	libgc_lock();
	store_relaxed(&asked, (uintptr_t)obj);
	bool refused = k->disclaim(obj) != 0;
	store_relaxed(&asked, (uintptr_t)0);
	libgc_note_mark((uintptr_t)obj, false);
	GC_alloc_unlock();
	if (refused)
		libgc_disclaimed((unsigned)(k - libgc.kind), obj, false);
}

/* libgc_disclaimed - where the objects that it refers to are to be whole for the procedure, they are asked later than this one. */
void libgc_disclaimed(unsigned kind, void *obj, bool fresh)
{
	struct kind *k = &libgc.kind[kind];
	libgc_add_finalizer(obj, disclaim, k, k->marks_all ? FINALIZE_ORDERED : FINALIZE_NO_ORDER,
			    fresh);
}

void GC_register_disclaim_proc(int kind, disclaim_fn fn, int mark_from_all)
{
	libgc_kind_layout(kind, "GC_register_disclaim_proc");
	if (kind < KIND_FIRST_FREE)
		mgc_misuse("GC_register_disclaim_proc of kind %d, which is not of GC_new_kind", kind);
	libgc.kind[kind].marks_all = mark_from_all != 0;
	libgc.kind[kind].disclaim = fn;
}

void GC_init_finalized_malloc(void)
{
	libgc_ready();
}

static void run_closure(void *obj, void *arg)
{
	const struct GC_finalizer_closure *c = arg;
	libgc_lock();
	c->proc(obj, c->cd);
	GC_alloc_unlock();
}

void *GC_finalized_malloc(size_t nbytes, const struct GC_finalizer_closure *closure)
{
	libgc_ready();
	uintptr_t fresh = libgc_alloc_fresh(KIND_NORMAL, nbytes);
	void *p = fresh != 0 ? (void *)fresh : libgc_out_of_memory(nbytes);
	if (p != NULL)
		libgc_add_finalizer(p, run_closure, (void *)(uintptr_t)closure, FINALIZE_ORDERED,
				    fresh != 0);
	return p;
}

bool libgc_asks_by(GC_finalization_proc fn)
{
	return fn == disclaim || fn == run_closure;
}

/* ── what will be finalized ─────────────────────────────────────────────────────────────── */

static await_fn await_proc;
static uintptr_t *awaiting; /* since the last stop; SPECIAL */
static size_t nawaiting, awaiting_capacity;

/* note_queued - while the world stands still, or in a cycle beside the program. */
static void note_queued(uintptr_t object)
{
	if (nawaiting == awaiting_capacity &&
	    !graph_grow((void **)&awaiting, &awaiting_capacity, sizeof *awaiting))
		return;
	awaiting[nawaiting++] = object;
}

void GC_set_await_finalize_proc(await_fn fn)
{
	libgc_ready();
	await_proc = fn;
	store_relaxed(&runtime.gc.specials.queued, fn != NULL ? note_queued : NULL);
}

await_fn GC_get_await_finalize_proc(void)
{
	return await_proc;
}

static uintptr_t take_awaiting(void)
{
	struct mutator *m = libgc_self();
	mutator_enter(m);
	specials_lock(&runtime.gc.specials);
	bool any = nawaiting > 0 && !runtime.gc.specials.reviving; /* else it may not be marked yet */
	uintptr_t object = any ? awaiting[--nawaiting] : 0;
	specials_unlock(&runtime.gc.specials);
	mutator_leave(m);
	return object;
}

void libgc_tell_awaiting(void)
{
	uintptr_t object;
	if (load_relaxed(&nawaiting) == 0 || libgc_self() == NULL)
		return;
	while ((object = take_awaiting()) != 0)
		if (await_proc != NULL)
			await_proc((void *)object);
}

/* ── every object ───────────────────────────────────────────────────────────────────────── */

struct found {
	uintptr_t object;
	size_t nbytes;
};

struct walk {
	struct found *found;
	size_t n, capacity;
	struct granules unborn;
	bool no_memory;
};

static void note_object(void *arg, struct span *s, uintptr_t object)
{
	struct walk *w = arg;
	if (w->no_memory || granules_has(&w->unborn, object))
		return;
	if (w->n == w->capacity && !graph_grow((void **)&w->found, &w->capacity, sizeof *w->found))
		w->no_memory = true;
	else
		w->found[w->n++] = (struct found){ object, edge_nbytes(s) };
}

static void walk_heap(void *arg)
{
	struct walk *w = arg;
	w->no_memory = !granules_init(&w->unborn, &runtime.heap);
	if (w->no_memory)
		return;
	granules_put_unborn(&w->unborn, &runtime.heap);
	edge_each_object(&runtime.heap, note_object, w);
	granules_destroy(&w->unborn);
}

/* GC_enumerate_reachable_objects_inner - what the last collection found and what was made since. The caller
 * has the allocation lock, in whose section no collection would end: it is given back for the walk. */
void GC_enumerate_reachable_objects_inner(reachable_fn fn, void *arg)
{
	struct walk w = { .found = NULL };
	struct mutator *m = libgc_self();
	bool locked = m != NULL && m->sec != 0;
	if (m == NULL)
		return;
	add_relaxed(&runtime.gc.disabled, 1); /* nothing that was found dies before fn has it */
	if (locked)
		GC_alloc_unlock();
	cycle_inspect(&runtime.gc, m, false, walk_heap, &w);
	if (locked)
		libgc_lock();
	if (w.no_memory)
		mgc_fatal("no memory to enumerate the objects of the heap");
	for (size_t i = 0; i < w.n; i++)
		fn((void *)w.found[i].object, w.found[i].nbytes, arg);
	sub_relaxed(&runtime.gc.disabled, 1);
	if (w.found != NULL)
		os_release((uintptr_t)w.found, w.capacity * sizeof *w.found);
}
