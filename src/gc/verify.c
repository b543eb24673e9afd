/* verify.c - see verify.h. LOCKS none. */
#include "gc/verify.h"

#include "base/check.h"
#include "gc/graph.h"
#include "mallocgc.h"

struct verify {
	struct graph reached;
	struct span *span;
	uintptr_t object;
};

static const char *what_is(struct heap *h, uintptr_t word)
{
	return space_span(&h->pageheap.space, word) == NULL ? "in no allocated page" : "a free slot";
}

static bool is_object(struct heap *h, uintptr_t word)
{
	struct span *s;
	return edge_object(h, word, &s) != 0;
}

static void on_root(void *arg, const struct root_word *w)
{
	struct verify *v = arg;
	bool exact = w->kind == ROOT_RANGE && !(w->flags & MGC_ROOT_AMBIGUOUS);
	if (exact && !is_object(v->reached.heap, w->word))
		mgc_misuse("verify: the root word at %p holds %p, which is %s: freed while in use, "
			   "or no pointer",
			   (void *)w->at, (void *)w->word, what_is(v->reached.heap, w->word));
	graph_add(&v->reached, w->word, 0, 0);
}

static void on_edge(void *arg, uintptr_t slot, uintptr_t word)
{
	const struct verify *v = arg;
	struct heap *h = v->reached.heap;
	if (is_object(h, word))
		return;
	mgc_misuse("verify: %s %p (%zu B) refers at +%zu to %p, which is %s: freed while in use, "
		   "or no pointer",
		   edge_type(h, v->span), (void *)v->object, edge_nbytes(v->span),
		   slot != 0 ? slot - v->object : 0, (void *)word, what_is(h, word));
}

void verify_references(struct heap *h, struct roots *r, struct specials *s)
{
	struct verify v;
	if (!graph_init(&v.reached, h))
		return; /* no memory to look */
	rootwalk(h, r, s, ROOTS_ALL, false, on_root, &v);
	graph_walk(&v.reached, 0);
	for (size_t i = 0; i < v.reached.n; i++) {
		v.object = v.reached.node[i].object;
		if (edge_object(h, v.object, &v.span) != 0 && !edge_ambiguous(h, v.span))
			edge_each(h, v.span, v.object, on_edge, &v);
	}
	graph_destroy(&v.reached);
}
