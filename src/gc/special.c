/* special.c - see special.h. */
#include "gc/special.h"

#include <string.h>

#include "base/check.h"
#include "heap/span.h"
#include "mallocgc.h"
#include "os/os.h"

enum { FIN_FN, FIN_ARG }; /* tag: its order */
enum { LINK_OBJECT }; /* tag: 1 for a long one */

void specials_init(struct specials *s)
{
	memset(s, 0, sizeof *s);
	lock_init(&s->lock, LOCK_SPECIAL);
}

void specials_destroy(struct specials *s)
{
	ptrmap_destroy(&s->finalizers);
	ptrmap_destroy(&s->links);
}

static void unlock(struct specials *s)
{
	store_relaxed(&s->nregistered, s->finalizers.n + s->links.n);
	store_relaxed(&s->ndue, s->finalizers.nqueued);
	lock_release(&s->lock);
}

/* ── registering ────────────────────────────────────────────────────────────────────────── */

static void read_finalizer(const struct ptrmap_entry *e, struct finalizer *out)
{
	memset(out, 0, sizeof *out);
	if (e == NULL)
		return;
	out->fn = (finalizer_fn)e->value[FIN_FN];
	out->arg = (void *)e->value[FIN_ARG];
	out->order = (enum finalizer_order)e->tag;
}

static bool set_finalizer(struct specials *s, uintptr_t object, const struct finalizer *f,
			  struct finalizer *old)
{
	struct ptrmap_entry *e = ptrmap_find(&s->finalizers, object);
	read_finalizer(e, old);
	if (f->fn == NULL) {
		if (e != NULL)
			ptrmap_remove(&s->finalizers, e);
		return true;
	}
	if (e == NULL && (e = ptrmap_put(&s->finalizers, object)) == NULL)
		return false;
	e->value[FIN_FN] = (uintptr_t)f->fn;
	e->value[FIN_ARG] = (uintptr_t)f->arg;
	e->tag = (uint16_t)f->order;
	return true;
}

bool specials_set_finalizer(struct specials *s, uintptr_t object, const struct finalizer *f,
			    struct finalizer *old)
{
	struct finalizer ignored;
	lock_acquire(&s->lock);
	bool ok = set_finalizer(s, object, f, old != NULL ? old : &ignored);
	unlock(s);
	return ok;
}

int specials_set_link(struct specials *s, uintptr_t link, uintptr_t object, bool is_long)
{
	lock_acquire(&s->lock);
	size_t before = s->links.n;
	struct ptrmap_entry *e = ptrmap_put(&s->links, link);
	if (e != NULL) {
		e->value[LINK_OBJECT] = object;
		e->tag = is_long;
	}
	int result = e == NULL ? -1 : s->links.n == before;
	unlock(s);
	return result;
}

bool specials_clear_link(struct specials *s, uintptr_t link)
{
	lock_acquire(&s->lock);
	struct ptrmap_entry *e = ptrmap_find(&s->links, link);
	if (e != NULL)
		ptrmap_remove(&s->links, e);
	unlock(s);
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
	lock_acquire(&s->lock);
	int result = move_link(s, from, to);
	unlock(s);
	return result;
}

static bool links_to(void *object, struct ptrmap_entry *e)
{
	if (e->value[LINK_OBJECT] != (uintptr_t)object)
		return false;
	*(uintptr_t *)e->key = 0;
	return true;
}

void specials_forget(struct specials *s, uintptr_t object)
{
	lock_acquire(&s->lock);
	struct ptrmap_entry *e = ptrmap_find(&s->finalizers, object);
	if (e != NULL)
		ptrmap_remove(&s->finalizers, e);
	if (s->links.n != 0)
		ptrmap_filter(&s->links, links_to, (void *)object);
	unlock(s);
}

/* ── in a cycle ─────────────────────────────────────────────────────────────────────────── */

struct pass {
	struct specials *s;
	struct marker *mk;
	bool no_order;
	bool long_links;
	bool unreachable;
	size_t ndue;
};

static bool is_dead(const struct pass *p, uintptr_t object)
{
	return !space_is_marked(&p->mk->heap->pageheap.space, object);
}

void specials_each_root(struct specials *s, void (*fn)(void *arg, uintptr_t word), void *arg)
{
	lock_acquire(&s->lock);
	for (size_t i = 0; i < s->finalizers.used; i++) {
		const struct ptrmap_entry *e = &s->finalizers.entry[i];
		if (e->state == PTRMAP_QUEUED)
			fn(arg, e->key);
		if (e->state != PTRMAP_FREE)
			fn(arg, e->value[FIN_ARG]);
	}
	lock_release(&s->lock);
}

static void mark_word(void *mk, uintptr_t word)
{
	marker_candidate(mk, word, MARK_AMBIGUOUS);
}

void specials_mark_roots(struct specials *s, struct marker *mk)
{
	specials_each_root(s, mark_word, mk);
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
	if (p->long_links && lies_in_dead(p, e->key)) /* not before: a finalizer may keep it */
		return true;
	if ((e->tag != 0) != p->long_links || !is_dead(p, e->value[LINK_OBJECT]))
		return false;
	store_release((uintptr_t *)e->key, (uintptr_t)0); /* pairs: weak-null */
	return true;
}

static enum finalizer_order order_of(const struct pass *p, const struct ptrmap_entry *e)
{
	return p->no_order ? FINALIZE_NO_ORDER : (enum finalizer_order)e->tag;
}

/* keep_referents - what an ordered finalizable object refers to is not finalized in this cycle. */
static void keep_referents(struct pass *p, const struct ptrmap_entry *e)
{
	const struct space *sp = &p->mk->heap->pageheap.space;
	enum finalizer_order order = order_of(p, e);
	if (order == FINALIZE_ORDERED) {
		marker_scan_object(p->mk, e->key);
	} else if (order == FINALIZE_IGNORE_SELF) {
		marker_settle(p->mk); /* what others said of it still counts */
		bool fresh = space_mark(sp, e->key); /* its own pointers to it find it marked */
		marker_scan_object(p->mk, e->key);
		marker_settle(p->mk);
		if (fresh)
			marker_unmark(p->mk, e->key);
	}
}

static bool queue_dead(void *arg, struct ptrmap_entry *e)
{
	struct pass *p = arg;
	struct specials *s = p->s;
	bool unreachable = order_of(p, e) == FINALIZE_UNREACHABLE;
	if (unreachable != p->unreachable || !is_dead(p, e->key))
		return false;
	ptrmap_retire(&s->finalizers, e);
	p->ndue++;
	return false;
}

/* revive - marks what was queued behind `after` (0: all), and all that it reaches. */
static void revive(struct pass *p, uint32_t after)
{
	const struct ptrmap *m = &p->s->finalizers;
	for (uint32_t at = after != 0 ? m->entry[after - 1].next : m->first; at != 0;
	     at = m->entry[at - 1].next)
		marker_object(p->mk, m->entry[at - 1].key);
	marker_drain_alone(p->mk);
}

static void queue_pass(struct pass *p, bool unreachable)
{
	uint32_t before = p->s->finalizers.last;
	p->unreachable = unreachable;
	ptrmap_filter(&p->s->finalizers, queue_dead, p);
	revive(p, before);
}

void specials_null_links(struct specials *s, struct marker *mk)
{
	struct pass p = { .s = s, .mk = mk };
	lock_acquire(&s->lock);
	ptrmap_filter(&s->links, null_link, &p);
	unlock(s);
}

size_t specials_after_mark(struct specials *s, struct marker *mk, bool no_order)
{
	struct pass p = { .s = s, .mk = mk, .no_order = no_order };
	lock_acquire(&s->lock);
	for (size_t i = 0; i < s->finalizers.used; i++) {
		const struct ptrmap_entry *e = &s->finalizers.entry[i];
		if (e->state == PTRMAP_IN && is_dead(&p, e->key))
			keep_referents(&p, e);
	}
	marker_drain_alone(mk);
	queue_pass(&p, false);
	queue_pass(&p, true);
	p.long_links = true;
	ptrmap_filter(&s->links, null_link, &p);
	unlock(s);
	return p.ndue;
}

void specials_tidy(struct specials *s)
{
	lock_acquire(&s->lock);
	ptrmap_shrink(&s->finalizers);
	ptrmap_shrink(&s->links);
	unlock(s);
}

bool specials_next(struct specials *s, struct due *out)
{
	if (load_relaxed(&s->ndue) == 0)
		return false;
	lock_acquire(&s->lock);
	struct ptrmap_entry e;
	bool found = ptrmap_next(&s->finalizers, &e);
	if (found) {
		*out = (struct due){ e.key, (finalizer_fn)e.value[FIN_FN], (void *)e.value[FIN_ARG] };
		store_relaxed(&s->nrun, s->nrun + 1);
	}
	unlock(s);
	return found;
}

void specials_read_stats(struct specials *s, struct mgc_stats *out)
{
	out->finalizers_run = load_relaxed(&s->nrun);
	out->specials = load_relaxed(&s->nregistered);
	lock_acquire(&s->lock);
	out->finalizers_due = s->ndue;
	out->metadata_specials = (s->finalizers.capacity + s->links.capacity) *
				 (sizeof(struct ptrmap_entry) + sizeof(uint32_t));
	lock_release(&s->lock);
}
