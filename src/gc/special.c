/* special.c - see special.h. */
#include "gc/special.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "heap/span.h"
#include "mallocgc.h"
#include "os/os.h"
#include "sample/sampler.h"

enum { FIN_FN, FIN_ARG }; /* tag: its order, and the offset in a tiny block */
enum { WEAK_REF, WEAK_TARGET }; /* tag: 1 for a long one */
enum { LINK_OBJECT }; /* tag: 1 for a long one */
enum { HANDLE_ID };

#define ORDER_BITS 2
/* Records that are looked at before others get the lock. */
#define STEP (MGC_HOSTILE ? (size_t)3 : (size_t)128)
/* How often the cycle yields to those who wait, between two steps. */
#define YIELDS 20

void specials_init(struct specials *s)
{
	memset(s, 0, sizeof *s);
	lock_init(&s->lock, LOCK_SPECIAL);
	s->links.by_value = true;
}

void specials_destroy(struct specials *s)
{
	ptrmap_destroy(&s->finalizers);
	ptrmap_destroy(&s->cleanups);
	ptrmap_destroy(&s->weaks);
	ptrmap_destroy(&s->links);
	ptrmap_destroy(&s->handles);
}

void specials_lock(struct specials *s)
{
	if (lock_try(&s->lock))
		return;
	add_relaxed(&s->nwaiting, 1u);
	lock_acquire(&s->lock);
	sub_relaxed(&s->nwaiting, 1u);
}

void specials_unlock(struct specials *s)
{
	store_relaxed(&s->nregistered, s->finalizers.n + s->cleanups.n + s->weaks.n + s->links.n +
					       (s->watched ? SPECIALS_WATCHED : 0));
	store_relaxed(&s->ncleanups_due, s->cleanups.nqueued);
	store_relaxed(&s->ndue, s->finalizers.nqueued + s->cleanups.nqueued);
	lock_release(&s->lock);
}

void specials_watch_frees(struct specials *s)
{
	if (load_relaxed(&s->nregistered) & SPECIALS_WATCHED)
		return;
	specials_lock(s);
	s->watched = true;
	specials_unlock(s);
}

/* ── finalizers and cleanups ────────────────────────────────────────────────────────────── */

static enum finalizer_order order_of(const struct ptrmap_entry *e)
{
	return (enum finalizer_order)(e->tag & ((1u << ORDER_BITS) - 1));
}

static unsigned offset_of(const struct ptrmap_entry *e)
{
	return e->tag >> ORDER_BITS;
}

static void read_finalizer(const struct ptrmap_entry *e, struct finalizer *out)
{
	memset(out, 0, sizeof *out);
	if (e == NULL)
		return;
	out->fn = (finalizer_fn)e->value[FIN_FN];
	out->arg = (void *)e->value[FIN_ARG];
	out->order = order_of(e);
}

static void write_finalizer(struct ptrmap_entry *e, unsigned offset, const struct finalizer *f)
{
	e->value[FIN_FN] = (uintptr_t)f->fn;
	e->value[FIN_ARG] = (uintptr_t)f->arg;
	e->tag = ((unsigned)f->order | offset << ORDER_BITS) & 0x3f;
}

static bool set_finalizer(struct specials *s, uintptr_t object, unsigned offset,
			  const struct finalizer *f, struct finalizer *old)
{
	struct ptrmap_entry *e = ptrmap_find(&s->finalizers, object);
	while (e != NULL && offset_of(e) != offset)
		e = ptrmap_find_more(&s->finalizers, e);
	read_finalizer(e, old);
	if (f->fn == NULL) {
		if (e != NULL)
			ptrmap_remove(&s->finalizers, e);
		return true;
	}
	if (e == NULL && (e = ptrmap_add(&s->finalizers, object)) == NULL)
		return false;
	write_finalizer(e, offset, f);
	return true;
}

bool specials_set_finalizer(struct specials *s, uintptr_t object, unsigned offset,
			    const struct finalizer *f, struct finalizer *old)
{
	struct finalizer ignored;
	specials_lock(s);
	bool ok = set_finalizer(s, object, offset, f, old != NULL ? old : &ignored);
	specials_unlock(s);
	return ok;
}

bool specials_add_finalizer(struct specials *s, uintptr_t object, const struct finalizer *f)
{
	specials_lock(s);
	MGC_ASSERTION(ptrmap_find(&s->finalizers, object) == NULL);
	struct ptrmap_entry *e = ptrmap_add(&s->finalizers, object);
	if (e != NULL)
		write_finalizer(e, 0, f);
	specials_unlock(s);
	return e != NULL;
}

uint64_t specials_add_cleanup(struct specials *s, uintptr_t object, cleanup_fn fn, void *arg)
{
	uint64_t id = 0;
	specials_lock(s);
	struct ptrmap_entry *e = ptrmap_add(&s->cleanups, object);
	if (e != NULL) {
		e->value[FIN_FN] = (uintptr_t)fn;
		e->value[FIN_ARG] = (uintptr_t)arg;
		id = ptrmap_id(&s->cleanups, e);
	}
	specials_unlock(s);
	return id;
}

bool specials_remove_cleanup(struct specials *s, uint64_t id)
{
	specials_lock(s);
	struct ptrmap_entry *e = ptrmap_by_id(&s->cleanups, id);
	if (e != NULL)
		ptrmap_remove(&s->cleanups, e);
	specials_unlock(s);
	return e != NULL;
}

/* ── weak references and links ──────────────────────────────────────────────────────────── */

struct mgc_weak *specials_find_weak(struct specials *s, uintptr_t object, uintptr_t target, bool is_long)
{
	struct ptrmap_entry *e = ptrmap_find(&s->weaks, object);
	while (e != NULL && (e->value[WEAK_TARGET] != target || (e->tag != 0) != is_long))
		e = ptrmap_find_more(&s->weaks, e);
	return e != NULL ? (struct mgc_weak *)e->value[WEAK_REF] : NULL;
}

bool specials_add_weak(struct specials *s, uintptr_t object, struct mgc_weak *w, bool is_long)
{
	struct ptrmap_entry *e = ptrmap_add(&s->weaks, object);
	if (e == NULL)
		return false;
	e->value[WEAK_REF] = (uintptr_t)w;
	e->value[WEAK_TARGET] = w->target;
	e->tag = is_long;
	return true;
}

static void null_word(uintptr_t at)
{
	store_release((uintptr_t *)at, (uintptr_t)0); /* pairs: weak-null */
}

int specials_set_link(struct specials *s, uintptr_t link, uintptr_t object, bool is_long)
{
	specials_lock(s);
	size_t before = s->links.n;
	struct ptrmap_entry *e = ptrmap_put(&s->links, link);
	if (e != NULL) {
		ptrmap_set_value(&s->links, e, object);
		e->tag = is_long;
	}
	int result = e == NULL ? -1 : s->links.n == before;
	specials_unlock(s);
	return result;
}

bool specials_clear_link(struct specials *s, uintptr_t link)
{
	specials_lock(s);
	struct ptrmap_entry *e = ptrmap_find(&s->links, link);
	if (e != NULL)
		ptrmap_remove(&s->links, e);
	specials_unlock(s);
	return e != NULL;
}

static int move_link(struct specials *s, uintptr_t from, uintptr_t to)
{
	struct ptrmap_entry *e = ptrmap_find(&s->links, from);
	if (e == NULL)
		return 1;
	if (from == to)
		return 0;
	if (ptrmap_find(&s->links, to) != NULL)
		return 2;
	ptrmap_rename(&s->links, e, to);
	return 0;
}

int specials_move_link(struct specials *s, uintptr_t from, uintptr_t to)
{
	specials_lock(s);
	int result = move_link(s, from, to);
	specials_unlock(s);
	return result;
}

/* ── handles ────────────────────────────────────────────────────────────────────────────── */

uint64_t specials_add_handle(struct specials *s, uintptr_t object)
{
	uint64_t id = 0;
	specials_lock(s);
	struct ptrmap_entry *e = ptrmap_add(&s->handles, object);
	if (e != NULL) {
		id = ptrmap_id(&s->handles, e);
		store_release(&e->value[HANDLE_ID], (uintptr_t)id); /* pairs: handle */
	}
	specials_unlock(s);
	return id;
}

/* Without the lock: the id says that the record is this handle's, and its table never shrinks. */
uintptr_t specials_handle(const struct specials *s, uint64_t id)
{
	struct ptrmap_entry *e = ptrmap_peek(&s->handles, id);
	return e != NULL && load_acquire(&e->value[HANDLE_ID]) == id /* pairs: handle */
		       ? load_relaxed(&e->key)
		       : 0;
}

uintptr_t specials_remove_handle(struct specials *s, uint64_t id)
{
	specials_lock(s);
	struct ptrmap_entry *e = ptrmap_by_id(&s->handles, id);
	uintptr_t object = e != NULL ? e->key : 0;
	if (e != NULL) {
		store_release(&e->value[HANDLE_ID], (uintptr_t)0); /* pairs: handle */
		ptrmap_remove(&s->handles, e);
	}
	specials_unlock(s);
	return object;
}

/* retire_cleanups - all of that object, from the head of their chain: each takes the same time. */
static size_t retire_cleanups(struct specials *s, uintptr_t object)
{
	struct ptrmap_entry *e;
	size_t n = 0;
	for (; (e = ptrmap_find(&s->cleanups, object)) != NULL; n++)
		ptrmap_retire(&s->cleanups, e);
	return n;
}

/* ── an object is freed by hand ─────────────────────────────────────────────────────────── */

/* cancel_due - its finalizers that are queued: they stay there, and do nothing. */
static void cancel_due(struct specials *s, uintptr_t object)
{
	for (uint32_t at = s->finalizers.first; at != 0;) {
		struct ptrmap_entry *e = ptrmap_at(&s->finalizers, at - 1);
		if (e->key == object)
			e->value[FIN_FN] = 0;
		at = e->next;
	}
}

size_t specials_forget(struct specials *s, uintptr_t object, bool is_key)
{
	struct ptrmap_entry *e;
	specials_lock(s);
	while ((e = ptrmap_find(&s->finalizers, object)) != NULL)
		ptrmap_remove(&s->finalizers, e);
	if (is_key)
		cancel_due(s, object);
	while ((e = ptrmap_find(&s->weaks, object)) != NULL) {
		null_word((uintptr_t)&((struct mgc_weak *)e->value[WEAK_REF])->target);
		ptrmap_remove(&s->weaks, e);
	}
	while ((e = ptrmap_find_value(&s->links, object)) != NULL) {
		null_word(e->key);
		ptrmap_remove(&s->links, e);
	}
	size_t ndue = retire_cleanups(s, object);
	specials_unlock(s);
	return ndue;
}

/* ── in a cycle ─────────────────────────────────────────────────────────────────────────── */

struct pass {
	struct specials *s;
	struct marker *mk;
	void (*drain)(struct marker *mk);
	bool (*wanted)(finalizer_fn fn);
	bool is_long;
	bool unreachable, any_unreachable;
	size_t ndue;
};

static bool is_dead(const struct pass *p, uintptr_t object)
{
	return !space_is_marked(&p->mk->heap->pageheap.space, object);
}

/* let_others - who waits for the lock gets it before the cycle takes it again. */
static void let_others(const struct specials *s)
{
	for (unsigned i = 0; i < YIELDS && load_relaxed(&s->nwaiting) != 0; i++)
		os_yield();
}

/* each - fn for every record in the table; those that come meanwhile need not be seen: a mutator that
 * registers something now holds only what is marked. */
static void each(struct pass *p, struct ptrmap *m, bool (*drop)(void *arg, struct ptrmap_entry *e))
{
	bool more = true;
	for (size_t at = 0; more;) {
		specials_lock(p->s);
		more = ptrmap_filter(m, &at, STEP, drop, p);
		specials_unlock(p->s);
		let_others(p->s);
	}
}

enum root_parts { ROOT_KEY = 1, ROOT_QUEUED_KEY = 2, ROOT_ARG = 4 };

struct root_walk {
	struct specials *s;
	struct key_filter *keys; /* NULL: nobody marks */
	void (*fn)(void *arg, uintptr_t word);
	void *arg;
};

static void visit_record(const struct root_walk *w, const struct ptrmap_entry *e, unsigned parts)
{
	bool due = parts & ROOT_QUEUED_KEY && e->state == PTRMAP_QUEUED;
	if (e->state == PTRMAP_FREE)
		return;
	if (due && w->keys != NULL) /* F5 */
		key_filter_mark(w->keys, e->key);
	if (due || parts & ROOT_KEY)
		w->fn(w->arg, e->key);
	if (parts & ROOT_ARG)
		w->fn(w->arg, e->value[FIN_ARG]);
}

static void visit_table(const struct root_walk *w, const struct ptrmap *m, unsigned parts)
{
	bool more = true;
	for (size_t at = 0; more;) {
		specials_lock(w->s);
		size_t end = min_size(at + STEP, m->used);
		for (; at < end; at++)
			visit_record(w, ptrmap_at(m, at), parts);
		more = at < m->used;
		specials_unlock(w->s);
		let_others(w->s);
	}
}

static void visit_roots(const struct root_walk *w)
{
	visit_table(w, &w->s->finalizers, ROOT_QUEUED_KEY | ROOT_ARG);
	visit_table(w, &w->s->cleanups, ROOT_ARG);
	visit_table(w, &w->s->handles, ROOT_KEY);
}

void specials_each_root(struct specials *s, void (*fn)(void *arg, uintptr_t word), void *arg)
{
	visit_roots(&(struct root_walk){ .s = s, .fn = fn, .arg = arg });
}

static void mark_word(void *mk, uintptr_t word)
{
	marker_candidate(mk, word, MARK_AMBIGUOUS);
}

void specials_mark_roots(struct specials *s, struct marker *mk)
{
	visit_roots(&(struct root_walk){ s, &mk->pool->keys, mark_word, mk });
}

/* lies_in_dead - the link itself is inside an object that dies: its registration dies with it. */
static bool lies_in_dead(const struct pass *p, uintptr_t link)
{
	const struct space *sp = &p->mk->heap->pageheap.space;
	const struct span *span = space_span(sp, link);
	if (span == NULL)
		return false;
	uint32_t slot = span_slot_of(span, link);
	return slot >= span->nslots || !space_is_marked(sp, span_slot_addr(span, slot));
}

static bool null_link(void *arg, struct ptrmap_entry *e)
{
	const struct pass *p = arg;
	if (p->is_long && lies_in_dead(p, e->key)) /* not before: a finalizer may keep it */
		return true;
	if ((e->tag != 0) != p->is_long || !is_dead(p, e->value[LINK_OBJECT]))
		return false;
	null_word(e->key);
	return true;
}

static bool null_weak(void *arg, struct ptrmap_entry *e)
{
	const struct pass *p = arg;
	struct mgc_weak *w = (struct mgc_weak *)e->value[WEAK_REF];
	if ((e->tag != 0) == p->is_long && is_dead(p, e->key)) {
		null_word((uintptr_t)&w->target);
		return true;
	}
	return p->is_long && is_dead(p, (uintptr_t)w); /* not before: a finalizer may keep it */
}

void specials_null_links(struct specials *s, struct marker *mk)
{
	struct pass p = { .s = s, .mk = mk };
	each(&p, &s->links, null_link);
	each(&p, &s->weaks, null_weak);
}

/* keep_referents - what an ordered finalizable object refers to is not finalized in this cycle. */
static bool keep_referents(void *arg, struct ptrmap_entry *e)
{
	struct pass *p = arg;
	const struct space *sp = &p->mk->heap->pageheap.space;
	enum finalizer_order order = order_of(e);
	if (!is_dead(p, e->key))
		return false;
	if (order == FINALIZE_ORDERED || order == FINALIZE_UNREACHABLE) {
		marker_scan_object(p->mk, e->key);
	} else if (order == FINALIZE_IGNORE_SELF) {
		marker_settle(p->mk); /* what others said of it still counts */
		bool fresh = space_mark(sp, e->key); /* its own pointers to it find it marked */
		marker_scan_object(p->mk, e->key);
		marker_settle(p->mk);
		if (fresh)
			marker_unmark(p->mk, e->key);
	}
	return false;
}

static bool queue_dead(void *arg, struct ptrmap_entry *e)
{
	struct pass *p = arg;
	bool unreachable = order_of(e) == FINALIZE_UNREACHABLE;
	p->any_unreachable |= unreachable;
	if (unreachable != p->unreachable || !is_dead(p, e->key))
		return false;
	key_filter_add(&p->mk->pool->keys, e->key); /* F5 */
	if (MGC_UNLIKELY(p->s->queued != NULL))
		p->s->queued(e->key);
	ptrmap_retire(&p->s->finalizers, e);
	p->ndue++;
	return false;
}

/* revive - marks what was queued behind `after` (0: all), and all that it reaches. Nobody else touches
 * the queue now (F4). */
static void revive(struct pass *p, uint32_t after)
{
	const struct ptrmap *m = &p->s->finalizers;
	for (uint32_t at = after != 0 ? ptrmap_at(m, after - 1)->next : m->first; at != 0;
	     at = ptrmap_at(m, at - 1)->next)
		marker_object(p->mk, ptrmap_at(m, at - 1)->key);
	p->drain(p->mk);
}

static void queue_pass(struct pass *p, bool unreachable)
{
	uint32_t before = p->s->finalizers.last;
	size_t ndue = p->ndue;
	p->unreachable = unreachable;
	each(p, &p->s->finalizers, queue_dead);
	if (p->ndue != ndue)
		revive(p, before);
}

static void set_reviving(struct specials *s, bool reviving)
{
	specials_lock(s);
	s->reviving = reviving;
	specials_unlock(s);
}

void specials_keep_referents(struct specials *s, struct marker *mk)
{
	struct pass p = { .s = s, .mk = mk };
	each(&p, &s->finalizers, keep_referents);
}

size_t specials_revive(struct specials *s, struct marker *mk, void (*drain)(struct marker *mk))
{
	struct pass p = { .s = s, .mk = mk, .drain = drain };
	set_reviving(s, true);
	specials_keep_referents(s, mk);
	drain(mk);
	queue_pass(&p, false);
	if (p.any_unreachable)
		queue_pass(&p, true);
	set_reviving(s, false);
	return p.ndue;
}

static bool queue_cleanup(void *arg, struct ptrmap_entry *e)
{
	struct pass *p = arg;
	if (is_dead(p, e->key))
		p->ndue += retire_cleanups(p->s, e->key);
	return false;
}

static bool sample_is_dead(const void *pass, uintptr_t object)
{
	return is_dead(pass, object);
}

size_t specials_bury(struct specials *s, struct marker *mk)
{
	struct pass p = { .s = s, .mk = mk, .is_long = true };
	each(&p, &s->links, null_link);
	each(&p, &s->weaks, null_weak);
	each(&p, &s->cleanups, queue_cleanup);
	sampler_bury(sample_is_dead, &p);
	return p.ndue;
}

static bool queue_any(void *arg, struct ptrmap_entry *e)
{
	struct pass *p = arg;
	if (!p->wanted((finalizer_fn)e->value[FIN_FN]))
		return false;
	ptrmap_retire(&p->s->finalizers, e);
	p->ndue++;
	return false;
}

size_t specials_queue_all(struct specials *s, bool (*wanted)(finalizer_fn fn))
{
	struct pass p = { .s = s, .wanted = wanted };
	each(&p, &s->finalizers, queue_any);
	return p.ndue;
}

void specials_tidy(struct specials *s)
{
	specials_lock(s);
	ptrmap_shrink(&s->finalizers);
	ptrmap_shrink(&s->weaks);
	ptrmap_shrink(&s->links);
	specials_unlock(s);
}

/* ── what is due ────────────────────────────────────────────────────────────────────────── */

static bool next_finalizer(struct specials *s, struct due *out)
{
	struct ptrmap_entry e;
	do
		if (!ptrmap_next(&s->finalizers, &e))
			return false;
	while (e.value[FIN_FN] == 0); /* its object was freed by hand */
	*out = (struct due){ .object = e.key + offset_of(&e),
			     .fn = (finalizer_fn)e.value[FIN_FN],
			     .arg = (void *)e.value[FIN_ARG] };
	store_relaxed(&s->nrun, s->nrun + 1);
	return true;
}

static bool next_cleanup(struct specials *s, struct due *out)
{
	struct ptrmap_entry e;
	if (!ptrmap_next(&s->cleanups, &e))
		return false;
	*out = (struct due){ .cleanup = (cleanup_fn)e.value[FIN_FN], .arg = (void *)e.value[FIN_ARG] };
	store_relaxed(&s->ncleanups_run, s->ncleanups_run + 1);
	return true;
}

bool specials_next(struct specials *s, unsigned kinds, struct due *out)
{
	if (load_relaxed(&s->ndue) == 0)
		return false;
	specials_lock(s);
	bool found = ((kinds & DUE_FINALIZERS) && !s->reviving && next_finalizer(s, out)) ||
		     ((kinds & DUE_CLEANUPS) && next_cleanup(s, out));
	specials_unlock(s);
	return found;
}

void specials_read_stats(struct specials *s, struct mgc_stats *out)
{
	out->finalizers_run = load_relaxed(&s->nrun);
	out->cleanups_run = load_relaxed(&s->ncleanups_run);
	out->specials = specials_nregistered(s);
	lock_acquire(&s->lock);
	out->finalizers_due = s->finalizers.nqueued;
	out->cleanups_due = s->cleanups.nqueued;
	out->handles = s->handles.n;
	out->metadata_specials = ptrmap_nbytes(&s->finalizers) + ptrmap_nbytes(&s->cleanups) +
				 ptrmap_nbytes(&s->weaks) + ptrmap_nbytes(&s->links) +
				 ptrmap_nbytes(&s->handles);
	lock_release(&s->lock);
}
