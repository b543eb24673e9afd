/* trace.h - what a trace callback is given while the marker reads an object. */
#ifndef MGC_GC_TRACE_H
#define MGC_GC_TRACE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdint.h>

#include "gc/mark.h"
#include "mallocgc.h"

struct mgc_tracer {
	struct marker *mk; /* NULL: what is named goes to `visit` instead (edge.c) */
	uintptr_t ambiguous;
	struct word_code code;
	void *user; /* of the layout */
	void (*visit)(void *arg, uintptr_t word);
	void *visit_arg;
};

/* trace_piece - what the callback says of the elements that begin in [at, at + MARK_PIECE), of that part of
 * the object, or of the whole of it. What lies behind the last element is zero. */
void trace_piece(struct mgc_tracer *tracer, const struct layout_desc *d, uintptr_t object,
		 uintptr_t at, size_t nbytes);

/* trace_user - the layout's user word; `tracer` as the callback got it. */
void *trace_user(const void *tracer);

#endif
