/* verify.h - every reference that the program can follow leads to an object.
 *
 * WHAT   Walks all that is reachable; a word of a typed object or registered root that points into the heap must
 *        point into an allocated slot. heap_verify walks the library's own invariants; this, the program's.
 * WHO    mgc_verify, and MGC_DEBUG=verify=2 before each collection.  The world stands still, all is swept.
 * UNITS  bytes. */
#ifndef MGC_GC_VERIFY_H
#define MGC_GC_VERIFY_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/rootwalk.h"

/* verify_references - dies naming the object, its type and the word. */
void verify_references(struct heap *h, struct roots *r, struct specials *s);

#endif
