/* weak.h - weak references as the program makes and reads them.
 * WHAT   One reference (struct mgc_weak, special.h) for each address, short or long: whoever asks again
 *        gets the same one as long as anybody has it. It is an ordinary object without pointers, and the
 *        table of specials does not keep it: finding it there is itself a weak read.
 * LOCKS  SPECIAL, inside a section. */
#ifndef MGC_GC_WEAK_H
#define MGC_GC_WEAK_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/barrier.h"

/* weak_new - to the object that `target` points into, which the caller holds. NULL: no memory, or (*known
 * false) it points into none. */
struct mgc_weak *weak_new(struct gc *gc, struct mutator *m, uintptr_t target, bool is_long, bool *known);

#endif
