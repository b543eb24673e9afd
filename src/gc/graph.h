/* graph.h - what can be reached from a set of roots, in order of distance, with the way to each object.
 *
 * WHAT   A breadth-first walk by edge.h with a bitmap and a list of its own; nothing of the heap changes.
 * WHO    checkmark.c (what is published), obs/ (who keeps it, leaks).  The world stands still.
 * INV    G1 node[i].parent < i + 1: a way leads back to a root in a finite number of steps
 * COST   16 B for each object that is reached, 1 bit for each granule of the heap: from the system. */
#ifndef MGC_GC_GRAPH_H
#define MGC_GC_GRAPH_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gc/edge.h"

/* One bit for each granule of the heap as far as it has grown. */
struct granules {
	uint64_t *bits;
	size_t nbytes; /* of the bitmap */
	uintptr_t base;
	size_t covered_nbytes; /* of the heap */
};

/* granules_init - all clear; false: no memory. */
bool granules_init(struct granules *g, const struct heap *h);
void granules_destroy(struct granules *g);

MGC_INLINE bool granules_has(const struct granules *g, uintptr_t addr)
{
	size_t i = (addr - g->base) >> MGC_GRANULE_SHIFT;
	return addr - g->base < g->covered_nbytes && (g->bits[i / 64] >> (i % 64) & 1);
}

/* granules_put - true when the bit was clear. */
MGC_INLINE bool granules_put(struct granules *g, uintptr_t addr)
{
	size_t i = (addr - g->base) >> MGC_GRANULE_SHIFT;
	if (addr - g->base >= g->covered_nbytes || (g->bits[i / 64] >> (i % 64) & 1))
		return false;
	g->bits[i / 64] |= UINT64_C(1) << (i % 64);
	return true;
}

/* granules_put_unborn - the slots that were handed out to a mutator and are no objects yet. */
void granules_put_unborn(struct granules *g, struct heap *h);

struct graph_node {
	uintptr_t object;
	uint32_t parent; /* number of a node, from 1; 0: a root leads here */
	uint32_t via; /* word of the parent, from 1; 0: its trace callback said so. Of a root: the caller's */
};

struct graph {
	struct heap *heap;
	struct granules seen;
	struct graph_node *node;
	size_t n, capacity, done;
	bool typed_only; /* do not follow words of untyped objects */
	bool no_memory; /* it is not all */
};

bool graph_init(struct graph *g, struct heap *h);
void graph_destroy(struct graph *g);
/* graph_add - the object that the word points into; its number when it is new, else 0. */
uint32_t graph_add(struct graph *g, uintptr_t word, uint32_t parent, uint32_t via);
/* graph_walk - follows what was added, until all is seen, or the object `until` is: its number, or 0. */
uint32_t graph_walk(struct graph *g, uintptr_t until);

/* graph_grow - memory from the system for a growing array: doubles it. False: refused, as it was. */
bool graph_grow(void **array, size_t *capacity, size_t record);

#endif
