/* explain.c - see explain.h. The way is found with the world stopped, and written when it runs again: a
 * symbol's name takes the loader's lock. */
#include "obs/explain.h"

#include <errno.h>

#include "gc/cycle.h"
#include "gc/graph.h"
#include "gc/rootwalk.h"
#include "base/out.h"
#include "os/os.h"

/* Of a long way, this many steps at its beginning and at its end are told. */
#define EACH_END 16

/* An object on the way: how it is reached from the one before. */
struct step {
	const char *type;
	uintptr_t object;
	size_t nbytes;
	uint32_t via; /* as in graph_node */
};

struct search {
	struct gc *gc;
	struct mutator *self;
	uintptr_t wanted;
	struct graph graph;
	struct root_word *root; /* of the nodes without a parent: via is an index into it */
	size_t nroots, capacity;
	bool own_stack; /* only that, or all but that */
	bool no_memory;
	/* what was found */
	struct root_word first;
	int tid;
	struct step head[EACH_END], tail[EACH_END]; /* tail: from the end backwards */
	size_t nsteps;
};

static void on_root(void *arg, const struct root_word *w)
{
	struct search *s = arg;
	bool own = w->m == s->self && (w->kind == ROOT_STACK || w->kind == ROOT_REGISTER);
	if (own != s->own_stack)
		return;
	if (s->nroots == s->capacity && !graph_grow((void **)&s->root, &s->capacity, sizeof *s->root)) {
		s->no_memory = true;
		return;
	}
	if (graph_add(&s->graph, w->word, 0, (uint32_t)s->nroots) != 0)
		s->root[s->nroots++] = *w;
}

static struct step step_of(struct search *s, const struct graph_node *n)
{
	struct span *span;
	edge_object(s->gc->heap, n->object, &span);
	return (struct step){ edge_type(s->gc->heap, span), n->object, edge_nbytes(span), n->via };
}

/* keep_way - backwards, from the object to the root. */
static void keep_way(struct search *s, uint32_t number)
{
	size_t depth = 0;
	for (uint32_t at = number; at != 0; at = s->graph.node[at - 1].parent)
		s->nsteps++;
	for (uint32_t at = number; at != 0; at = s->graph.node[at - 1].parent, depth++) {
		const struct graph_node *n = &s->graph.node[at - 1];
		if (s->nsteps - depth <= EACH_END)
			s->head[s->nsteps - depth - 1] = step_of(s, n);
		else if (depth < EACH_END)
			s->tail[depth] = step_of(s, n);
		if (n->parent == 0)
			s->first = s->root[n->via];
	}
	s->tid = s->first.m != NULL ? s->first.m->tid : 0;
}

static uint32_t look(struct search *s, bool own_stack)
{
	struct gc *gc = s->gc;
	s->own_stack = own_stack;
	rootwalk(gc->heap, &gc->roots, &gc->specials, ROOTS_ALL, false, on_root, s);
	return graph_walk(&s->graph, s->wanted);
}

static void search(void *arg)
{
	struct search *s = arg;
	if (!graph_init(&s->graph, s->gc->heap)) {
		s->no_memory = true;
		return;
	}
	uint32_t found = look(s, false);
	if (found == 0)
		found = look(s, true);
	if (found != 0)
		keep_way(s, found);
	s->no_memory |= s->graph.no_memory;
	graph_destroy(&s->graph);
	if (s->capacity != 0)
		os_release((uintptr_t)s->root, s->capacity * sizeof *s->root);
}

static void print_root(struct out *o, const struct search *s)
{
	char symbol[256] = "";
	const struct root_word *w = &s->first;
	out_print(o, "  %s", w->kind == ROOT_RANGE ? "root" : root_kind_name(w->kind));
	if (w->kind == ROOT_RANGE || w->kind == ROOT_OWNED || w->kind == ROOT_SEGMENT)
		os_describe(w->at, symbol, sizeof symbol);
	if (w->at != 0)
		out_print(o, ", word at %p", (void *)w->at);
	if (symbol[0] != '\0')
		out_print(o, ", %s", symbol);
	if (s->tid != 0)
		out_print(o, ", thread %d", s->tid);
	out_print(o, "\n");
}

static void print_step(struct out *o, const struct step *p, bool first)
{
	if (first)
		out_print(o, "  -> ");
	else if (p->via != 0)
		out_print(o, "  +%zu -> ", (size_t)(p->via - 1) * sizeof(uintptr_t));
	else
		out_print(o, "  (trace) -> ");
	out_print(o, "%s %p (%zu B)\n", p->type, (void *)p->object, p->nbytes);
}

static void print_way(struct out *o, const struct search *s)
{
	size_t nhead = s->nsteps < EACH_END ? s->nsteps : EACH_END;
	size_t ntail = s->nsteps - nhead < EACH_END ? s->nsteps - nhead : EACH_END;
	print_root(o, s);
	for (size_t i = 0; i < nhead; i++)
		print_step(o, &s->head[i], i == 0);
	if (nhead + ntail < s->nsteps)
		out_print(o, "  ... %zu more\n", s->nsteps - nhead - ntail);
	for (size_t i = ntail; i-- > 0;)
		print_step(o, &s->tail[i], false);
}

int explain(struct gc *gc, struct mutator *m, uintptr_t object, int fd)
{
	struct out o;
	struct span *span;
	struct search s = { .gc = gc, .self = m, .wanted = edge_object(gc->heap, object, &span) };
	if (s.wanted == 0) {
		errno = EINVAL;
		return -1;
	}
	cycle_inspect(gc, m, false, search, &s);
	if (s.no_memory && s.nsteps == 0) {
		errno = ENOMEM;
		return -1;
	}
	out_init(&o, fd);
	out_print(&o, "%p %s\n", (void *)s.wanted, s.nsteps != 0 ? "is kept by" : "is kept by nothing");
	if (s.nsteps != 0)
		print_way(&o, &s);
	errno = out_flush(&o);
	return errno != 0 ? -1 : (int)s.nsteps;
}
