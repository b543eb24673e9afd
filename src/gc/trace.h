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
	struct marker *mk;
	uintptr_t ambiguous;
	struct word_code code;
	void *user; /* of the layout */
};

/* trace_user - the layout's user word; `tracer` as the callback got it. */
void *trace_user(const void *tracer);

#endif
