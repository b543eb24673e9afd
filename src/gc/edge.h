/* edge.h - the references of one object, one by one, told apart by slot: for everything that explains or
 * checks the heap, not for marking it.
 *
 * WHAT   What marker_scan_object feeds to a marker, given to a function instead. Written apart from the
 *        marker on purpose, so that one checks the other.
 * WHO    checkmark.c, graph.c, obs/.  The world stands still.
 * UNITS  bytes, words of 8. */
#ifndef MGC_GC_EDGE_H
#define MGC_GC_EDGE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/heap.h"

/* fn(arg, slot, word) - slot: where it stands; 0: a trace callback named it. word: the address in it, without a
 * tag or what it is boxed with. */
typedef void (*edge_fn)(void *arg, uintptr_t slot, uintptr_t word);

/* edge_each - every word of the object that may be a reference and points into the heap's range. */
void edge_each(struct heap *h, const struct span *s, uintptr_t object, edge_fn fn, void *arg);
/* edge_each_in - the same of a copy of the object; not for one that has a trace callback. slot: where the
 * word is in the object. */
void edge_each_in(struct heap *h, const struct span *s, uintptr_t object, const uintptr_t *copy,
		  edge_fn fn, void *arg);

/* edge_object - the first byte of the allocated object that the word points into, and its span; 0: none. */
uintptr_t edge_object(struct heap *h, uintptr_t word, struct span **s);
/* edge_nbytes - of an object of that span, as far as the program may use it. */
size_t edge_nbytes(const struct span *s);
/* edge_decode - the address in a word of such an object; 0: it is no pointer. */
uintptr_t edge_decode(const struct heap *h, const struct span *s, uintptr_t word);
/* edge_kind - how its objects are read; edge_untyped: any of their words may be an integer. */
enum layout_kind edge_kind(const struct heap *h, const struct span *s);
bool edge_untyped(const struct heap *h, const struct span *s);
/* edge_ambiguous - its words may be integers that look like addresses. */
bool edge_ambiguous(const struct heap *h, const struct span *s);
/* edge_type - what messages call objects of that span. */
const char *edge_type(const struct heap *h, const struct span *s);

/* edge_each_object - every allocated slot of a published span. */
void edge_each_object(struct heap *h, void (*fn)(void *arg, struct span *s, uintptr_t object),
		      void *arg);

#endif
