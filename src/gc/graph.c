/* graph.c - see graph.h. LOCKS none. */
#include "gc/graph.h"

#include <string.h>

#include "base/bits.h"
#include "heap/mutator.h"
#include "os/os.h"

bool granules_init(struct granules *g, const struct heap *h)
{
	const struct space *sp = &h->pageheap.space;
	g->base = sp->base;
	g->covered_nbytes = load_relaxed(&sp->grown) << MGC_PAGE_SHIFT;
	g->nbytes = align_up(g->covered_nbytes / MGC_GRANULE / 8 + 8, os_page_size());
	g->bits = (uint64_t *)os_alloc(g->nbytes);
	return g->bits != NULL;
}

void granules_destroy(struct granules *g)
{
	if (g->bits != NULL)
		os_release((uintptr_t)g->bits, g->nbytes);
	g->bits = NULL;
}

void granules_put_unborn(struct granules *g, struct heap *h)
{
	unsigned n = load_acquire(&h->layouts.nspanclasses); /* pairs: spanclass */
	LIST_EACH(it, &h->mutators) {
		const struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		for (unsigned sc = 1; sc < n; sc++)
			for (uintptr_t at = m->runs[sc].cur; at < m->runs[sc].end;
			     at += h->layouts.spanclass[sc].slot_nbytes)
				granules_put(g, at);
	}
}

bool graph_grow(void **array, size_t *capacity, size_t record)
{
	size_t old = *capacity, fresh = old != 0 ? 2 * old : (size_t)64 << 10;
	void *a = (void *)os_alloc(fresh * record);
	if (a == NULL)
		return false;
	if (old != 0) {
		memcpy(a, *array, old * record);
		os_release((uintptr_t)*array, old * record);
	}
	*array = a;
	*capacity = fresh;
	return true;
}

bool graph_init(struct graph *g, struct heap *h)
{
	*g = (struct graph){ .heap = h };
	return granules_init(&g->seen, h);
}

void graph_destroy(struct graph *g)
{
	granules_destroy(&g->seen);
	if (g->capacity != 0)
		os_release((uintptr_t)g->node, g->capacity * sizeof *g->node);
	*g = (struct graph){ 0 };
}

uint32_t graph_add(struct graph *g, uintptr_t word, uint32_t parent, uint32_t via)
{
	struct span *s;
	uintptr_t object = edge_object(g->heap, word, &s);
	if (object == 0 || g->no_memory || !granules_put(&g->seen, object))
		return 0;
	if (g->n == g->capacity && (g->n >= UINT32_MAX / 2 ||
				    !graph_grow((void **)&g->node, &g->capacity, sizeof *g->node))) {
		g->no_memory = true;
		return 0;
	}
	g->node[g->n++] = (struct graph_node){ object, parent, via };
	return (uint32_t)g->n;
}

static void on_edge(void *arg, uintptr_t slot, uintptr_t word)
{
	struct graph *g = arg;
	uintptr_t from = g->node[g->done].object;
	uint32_t via = slot != 0 ? (uint32_t)((slot - from) / sizeof(uintptr_t)) + 1 : 0;
	graph_add(g, word, (uint32_t)g->done + 1, via);
}

uint32_t graph_walk(struct graph *g, uintptr_t until)
{
	for (; g->done < g->n; g->done++) {
		struct span *s;
		uintptr_t object = g->node[g->done].object;
		if (object == until)
			return (uint32_t)g->done + 1;
		if (edge_object(g->heap, object, &s) == object &&
		    !(g->typed_only && edge_untyped(g->heap, s)))
			edge_each(g->heap, s, object, on_edge, g);
	}
	return 0;
}
