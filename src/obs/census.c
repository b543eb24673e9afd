/* census.c - see census.h. */
#include "obs/census.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "gc/cycle.h"
#include "gc/graph.h"
#include "gc/rootwalk.h"
#include "base/out.h"
#include "os/os.h"

struct row {
	const char *name;
	uint64_t objects, nbytes;
	uint64_t held; /* leaks: by others that are leaked too */
	uintptr_t first;
};

struct census {
	struct gc *gc;
	struct row *row; /* [MGC_MAX_LAYOUT] */
	struct granules unborn;
	bool no_memory;
	/* leaks */
	struct graph graph; /* what is reachable */
	struct granules leaked, held;
	bool all;
};

static size_t rows_nbytes(void)
{
	return align_up(MGC_MAX_LAYOUT * sizeof(struct row), os_page_size());
}

static unsigned layout_of(const struct census *c, const struct span *s)
{
	return c->gc->heap->layouts.spanclass[s->spanclass].layout;
}

static void count(void *arg, struct span *s, uintptr_t object)
{
	struct census *c = arg;
	if (granules_has(&c->unborn, object))
		return;
	struct row *r = &c->row[layout_of(c, s)];
	r->objects++;
	r->nbytes += s->slot_nbytes;
}

static bool prepare(struct census *c)
{
	if (!granules_init(&c->unborn, c->gc->heap))
		return false;
	granules_put_unborn(&c->unborn, c->gc->heap);
	return true;
}

static void count_all(void *arg)
{
	struct census *c = arg;
	c->no_memory = !prepare(c);
	if (!c->no_memory)
		edge_each_object(c->gc->heap, count, c);
	granules_destroy(&c->unborn);
}

/* merge - one row for each name: a type's objects have several layouts when some are uncollectable. */
static void merge(struct census *c)
{
	for (unsigned id = 1; id < MGC_MAX_LAYOUT; id++) {
		struct row *r = &c->row[id];
		if (r->objects == 0)
			continue;
		r->name = layout_name(&c->gc->heap->layouts, id);
		for (unsigned other = 1; other < id; other++) {
			struct row *o = &c->row[other];
			if (o->objects == 0 || strcmp(o->name, r->name) != 0)
				continue;
			o->objects += r->objects;
			o->nbytes += r->nbytes;
			o->held += r->held;
			r->objects = 0;
			break;
		}
	}
}

/* take_largest - the row with the most bytes, which is then gone; NULL: none is left. */
static struct row *take_largest(struct census *c, struct row *out)
{
	struct row *best = NULL;
	for (unsigned id = 1; id < MGC_MAX_LAYOUT; id++)
		if (c->row[id].objects != 0 && (best == NULL || c->row[id].nbytes > best->nbytes))
			best = &c->row[id];
	if (best == NULL)
		return NULL;
	*out = *best;
	best->objects = 0;
	return out;
}

size_t census_types(struct gc *gc, struct mutator *m, struct mgc_type_usage *rows, size_t n)
{
	struct row r;
	struct census c = { .gc = gc, .row = (struct row *)os_alloc(rows_nbytes()) };
	size_t ntypes = 0;
	if (c.row != NULL)
		cycle_inspect(gc, m, false, count_all, &c);
	if (c.row == NULL || c.no_memory) {
		errno = ENOMEM;
	} else {
		merge(&c);
		for (; take_largest(&c, &r) != NULL; ntypes++)
			if (ntypes < n)
				rows[ntypes] = (struct mgc_type_usage){ r.name, r.objects, r.nbytes };
	}
	if (c.row != NULL)
		os_release((uintptr_t)c.row, rows_nbytes());
	return ntypes;
}

/* ── leaks ──────────────────────────────────────────────────────────────────────────────── */

static bool is_candidate(const struct census *c, const struct span *s, uintptr_t object)
{
	unsigned flags = c->gc->heap->layouts.spanclass[s->spanclass].flags;
	return (c->all ? !(flags & LAYOUT_TINY) : (flags & LAYOUT_UNCOLLECTABLE) != 0) &&
	       !granules_has(&c->unborn, object) && !granules_has(&c->graph.seen, object);
}

static void note_leaked(void *arg, struct span *s, uintptr_t object)
{
	struct census *c = arg;
	if (is_candidate(c, s, object))
		granules_put(&c->leaked, object);
}

/* The object whose references are being looked at. */
struct holder {
	struct census *c;
	uintptr_t object;
};

static void note_held(void *arg, uintptr_t slot, uintptr_t word)
{
	const struct holder *h = arg;
	struct span *s;
	uintptr_t to = edge_object(h->c->gc->heap, word, &s);
	(void)slot;
	if (to != h->object && granules_has(&h->c->leaked, to))
		granules_put(&h->c->held, to);
}

static void look_into(void *arg, struct span *s, uintptr_t object)
{
	struct holder h = { arg, object };
	if (granules_has(&h.c->leaked, object))
		edge_each(h.c->gc->heap, s, object, note_held, &h);
}

static void count_leaked(void *arg, struct span *s, uintptr_t object)
{
	struct census *c = arg;
	if (!granules_has(&c->leaked, object))
		return;
	struct row *r = &c->row[layout_of(c, s)];
	bool held = granules_has(&c->held, object);
	count(c, s, object);
	r->held += held;
	if (r->first == 0 || (!held && granules_has(&c->held, r->first)))
		r->first = object;
}

static void on_root(void *arg, const struct root_word *w)
{
	graph_add(arg, w->word, 0, 0);
}

/* find_leaks - data segments count as roots here, else a pointer in a static variable would be none. */
static void find_leaks(void *arg)
{
	struct census *c = arg;
	struct gc *gc = c->gc;
	c->no_memory = !prepare(c) || !graph_init(&c->graph, gc->heap) ||
		       !granules_init(&c->leaked, gc->heap) || !granules_init(&c->held, gc->heap);
	if (!c->no_memory) {
		rootwalk(gc->heap, &gc->roots, &gc->specials, ROOTS_BUT(ROOT_UNCOLLECTABLE), true,
			 on_root, &c->graph);
		graph_walk(&c->graph, 0);
		c->no_memory = c->graph.no_memory;
	}
	if (!c->no_memory) {
		edge_each_object(gc->heap, note_leaked, c);
		edge_each_object(gc->heap, look_into, c);
		edge_each_object(gc->heap, count_leaked, c);
	}
	graph_destroy(&c->graph);
	granules_destroy(&c->leaked);
	granules_destroy(&c->held);
	granules_destroy(&c->unborn);
}

static long write_leaks(struct census *c, struct out *o)
{
	struct row r;
	uint64_t objects = 0, nbytes = 0;
	merge(c);
	while (take_largest(c, &r) != NULL) {
		out_print(o, "mallocgc: leak: %lu of %s, %lu B, nothing refers to them", r.objects,
			  r.name, r.nbytes);
		if (r.held != 0)
			out_print(o, " but others of these (to %lu)", r.held);
		out_print(o, "; first %p\n", (void *)r.first);
		objects += r.objects;
		nbytes += r.nbytes;
	}
	if (objects != 0)
		out_print(o, "mallocgc: leaks: %lu objects, %lu B\n", objects, nbytes);
	return (long)objects;
}

long census_leaks(struct gc *gc, struct mutator *m, bool all, int fd)
{
	struct out o;
	struct census c = { .gc = gc, .all = all, .row = (struct row *)os_alloc(rows_nbytes()) };
	long n = -1;
	int err = ENOMEM;
	if (c.row != NULL)
		cycle_inspect(gc, m, true, find_leaks, &c);
	if (c.row != NULL && !c.no_memory) {
		out_init(&o, fd);
		n = write_leaks(&c, &o);
		err = out_flush(&o);
	}
	if (c.row != NULL)
		os_release((uintptr_t)c.row, rows_nbytes());
	errno = err;
	return err != 0 ? -1 : n;
}
