/* ephemeron.c - see ephemeron.h. */
#include "gc/ephemeron.h"

#include "base/bits.h"
#include "base/check.h"
#include "gc/ptrmap.h"
#include "os/os.h"

/* A pass that finds less than this share of what waits is not worth another one. */
#define WORTH_SHARE 8

/* ── every pair that waits ──────────────────────────────────────────────────────────────── */

typedef bool pair_fn(void *arg, struct pair *p);

struct walk {
	const struct heap *heap;
	pair_fn *fn;
	void *arg;
};

static void walk_span(void *arg, struct span *s)
{
	const struct walk *w = arg;
	if (w->heap->layouts.spanclass[s->spanclass].scan != SCAN_PAIRS)
		return;
	for (uint32_t slot = 0; slot < s->nslots; slot++) {
		struct pair *p = (struct pair *)span_slot_addr(s, slot);
		struct pair *end =
			p + (s->sizeclass == 0 ? s->slot_nbytes - s->slack : s->slot_nbytes) /
				    sizeof *p;
		if (space_is_born(&w->heap->pageheap.space, (uintptr_t)p))
			for (; p < end; p++)
				(void)w->fn(w->arg, p);
	}
}

/* walk_spans - fn for each pair of each marked object. */
static void walk_spans(struct heap *h, pair_fn *fn, void *arg)
{
	struct walk w = { h, fn, arg };
	pageheap_each(&h->pageheap, walk_span, &w);
}

/* walk_waiting - fn for each that waits; those for which it is false need not wait any more. */
static void walk_waiting(struct ephemerons *e, struct grey_pool *pool, pair_fn *fn, void *arg)
{
	struct grey_block **at = &e->waiting;
	while (*at != NULL) {
		struct grey_block *b = *at;
		uint32_t kept = 0;
		for (uint32_t i = 0; i < b->n; i++)
			if (fn(arg, (struct pair *)b->object[i]))
				b->object[kept++] = b->object[i];
		b->n = kept;
		if (kept != 0) {
			at = &b->next;
			continue;
		}
		*at = b->next;
		grey_put_empty(pool, b);
	}
}

static void prepend(struct grey_block **list, struct grey_block *more)
{
	struct grey_block *last = more;
	if (more == NULL)
		return;
	while (last->next != NULL)
		last = last->next;
	last->next = *list;
	*list = more;
}

static void walk_pairs(struct ephemerons *e, struct marker *mk, pair_fn *fn, void *arg)
{
	prepend(&e->waiting, grey_take_pending(mk->pool));
	walk_waiting(e, mk->pool, fn, arg);
	e->by_spans |= swap_acq_rel(&mk->pool->lost_pending, 0u) != 0; /* pairs: grey-overflow */
	if (e->by_spans)
		walk_spans(mk->heap, fn, arg);
}

/* ── passes ─────────────────────────────────────────────────────────────────────────────── */

struct firing {
	struct marker *mk;
	struct grey_block *words; /* values to be marked */
	struct ptrmap by_key; /* object → pair */
	size_t nwaiting, nfired, nlooked;
};

/* fire - the value of that pair. Without memory it is marked on the spot, and found by its span. */
static void fire(struct firing *f, const struct pair *p)
{
	struct heap *h = f->mk->heap;
	struct grey_pool *pool = f->mk->pool;
	uintptr_t value = load_relaxed(&p->value);
	if (!space_contains(&h->pageheap.space, value) || mark_is_marked(h, value))
		return;
	f->nfired++;
	if (f->words == NULL || f->words->n == GREY_BLOCK_OBJECTS) {
		if (f->words != NULL)
			grey_put_full(pool, f->words);
		f->words = grey_take_empty(pool);
		if (f->words == NULL) {
			(void)mark_in_place(h, pool, value);
			return;
		}
		f->words->words = 1;
	}
	f->words->object[f->words->n++] = value;
}

static void put_words(struct firing *f)
{
	if (f->words != NULL)
		grey_put_full(f->mk->pool, f->words);
	f->words = NULL;
}

/* look - true: its key is still unmarked. */
static bool look(void *arg, struct pair *p)
{
	struct firing *f = arg;
	uintptr_t key = load_acquire(&p->key); /* pairs: pair-key */
	f->nlooked++;
	if (key <= PAIR_DEAD)
		return false;
	if (mark_is_marked(f->mk->heap, key)) {
		key_filter_mark(&f->mk->pool->keys, mark_object_of(f->mk->heap, key));
		fire(f, p);
		return false;
	}
	f->nwaiting++;
	return true;
}

static void pass(struct ephemerons *e, struct firing *f)
{
	f->nwaiting = f->nfired = 0;
	walk_pairs(e, f->mk, look, f);
	put_words(f);
}

size_t ephemerons_fire(struct ephemerons *e, struct marker *mk)
{
	struct firing f = { .mk = mk };
	pass(e, &f);
	e->nlooked += f.nlooked;
	return f.nfired;
}

/* ── by key ─────────────────────────────────────────────────────────────────────────────── */

static bool index_pair(void *arg, struct pair *p)
{
	struct firing *f = arg;
	if (!look(f, p))
		return false;
	struct ptrmap_entry *e =
		ptrmap_add(&f->by_key, mark_object_of(f->mk->heap, load_relaxed(&p->key)));
	if (e != NULL) /* else the next pass finds it */
		e->value[0] = (uintptr_t)p;
	return true;
}

static void on_marked(void *arg, uintptr_t object)
{
	struct firing *f = arg;
	struct ptrmap_entry *e;
	while ((e = ptrmap_find(&f->by_key, object)) != NULL) {
		key_filter_mark(&f->mk->pool->keys, object);
		fire(f, (const struct pair *)e->value[0]);
		ptrmap_remove(&f->by_key, e);
	}
}

/* index_fresh - those that were noted since. */
static void index_fresh(struct ephemerons *e, struct firing *f)
{
	struct ephemerons fresh = { .waiting = grey_take_pending(f->mk->pool) };
	walk_waiting(&fresh, f->mk->pool, index_pair, f);
	prepend(&e->waiting, fresh.waiting);
}

static void drain_by_key(struct ephemerons *e, struct firing *f)
{
	struct marker *mk = f->mk;
	walk_waiting(e, mk->pool, index_pair, f);
	mk->watch = on_marked;
	mk->watch_arg = f;
	do {
		put_words(f);
		marker_drain_alone(mk);
		index_fresh(e, f);
	} while (f->words != NULL);
	mk->watch = NULL;
	ptrmap_destroy(&f->by_key);
}

void ephemerons_converge(struct ephemerons *e, struct marker *mk)
{
	struct firing f = { .mk = mk };
	for (;;) {
		marker_drain_alone(mk);
		pass(e, &f);
		if (f.nfired == 0)
			break;
		if (f.nfired < f.nwaiting / WORTH_SHARE && !e->by_spans && !e->rounds_only)
			drain_by_key(e, &f);
	}
	e->nlooked += f.nlooked;
}

/* ── the end ────────────────────────────────────────────────────────────────────────────── */

struct clearing {
	struct ephemerons *e;
	struct heap *heap;
	size_t ncleared;
};

/* clear - a table keeps the number of its pairs that were cleared in its first one, which is none. */
static bool clear(void *arg, struct pair *p)
{
	struct clearing *c = arg;
	uintptr_t key = load_relaxed(&p->key);
	if (key <= PAIR_DEAD || mark_is_marked(c->heap, key))
		return false;
	struct pair *first = (struct pair *)mark_object_of(c->heap, (uintptr_t)p);
	store_relaxed(&p->value, (uintptr_t)0);
	store_release(&p->key, PAIR_DEAD); /* pairs: pair-key */
	if (first != p)
		(void)add_relaxed(&first->value, (uintptr_t)1);
	c->ncleared++;
	return false;
}

void ephemerons_clear(struct ephemerons *e, struct marker *mk)
{
	struct clearing c = { .e = e, .heap = mk->heap };
	walk_pairs(e, mk, clear, &c);
	e->by_spans = false;
	(void)add_relaxed(&e->ncleared, (uint64_t)c.ncleared);
	key_filter_turn(&mk->pool->keys);
}

void ephemerons_forget_cycle(struct ephemerons *e)
{
	e->waiting = NULL;
	e->by_spans = false;
}

static bool check_pair(void *arg, struct pair *p)
{
	struct heap *h = arg;
	uintptr_t key = load_acquire(&p->key), value = load_relaxed(&p->value); /* pairs: pair-key */
	if (key > PAIR_DEAD && mark_is_marked(h, key) && !mark_is_marked(h, value))
		mgc_fatal("the pair at %p has a marked key (%p) and an unmarked value (%p) when "
			  "the mark "
			  "is over (E1)",
			  (void *)p, (void *)key, (void *)value);
	return true;
}

void ephemerons_check(struct heap *h)
{
	walk_spans(h, check_pair, h);
}
