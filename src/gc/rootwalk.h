/* rootwalk.h - every root with the place where it stands: for what explains or checks the heap.
 *
 * WHAT   The readers of stacks.c and roots.c, with a sink that gets their ranges instead of their words.
 * WHO    checkmark.c, obs/.  The world stands still; the loader's lock is held where data segments and
 *        thread-local blocks are roots (cycle_inspect).
 * UNITS  words of 8 bytes. */
#ifndef MGC_GC_ROOTWALK_H
#define MGC_GC_ROOTWALK_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gc/roots.h"
#include "gc/special.h"
#include "heap/heap.h"

enum root_kind {
	ROOT_RANGE, /* registered; flags says how */
	ROOT_OWNED, /* a thread's operand stack or handle array */
	ROOT_UNCOLLECTABLE, /* an object that only mgc_free ends */
	ROOT_FINALIZER, /* due, or an argument; `at` is 0 */
	ROOT_STACK,
	ROOT_REGISTER,
	ROOT_TLS,
	ROOT_SEGMENT, /* data of a loaded object */
	ROOT_NKINDS
};

#define ROOTS_ALL ((1u << ROOT_NKINDS) - 1)
#define ROOTS_BUT(kind) (ROOTS_ALL & ~(1u << (kind)))

struct root_word {
	enum root_kind kind;
	uintptr_t at; /* address of the word */
	uintptr_t word;
	const struct mutator *m; /* whose stack, registers, range; NULL: nobody's, or a parked coroutine's */
	unsigned flags; /* of a registered range */
};

/* root_kind_name - as messages and dumps say it. */
const char *root_kind_name(enum root_kind kind);

/* rootwalk - fn for every word of those kinds (bits 1 << kind) that points into the heap's range.
 * segments: data segments are read although they are no roots of this heap. */
void rootwalk(struct heap *h, struct roots *r, struct specials *s, unsigned kinds, bool segments,
	      void (*fn)(void *arg, const struct root_word *w), void *arg);

#endif
