/* trace.c - see trace.h. WHO trace callbacks, inside the marker that called them. */
#include "gc/trace.h"

void mgc_trace(struct mgc_tracer *tracer, const void *ref)
{
	marker_candidate(tracer->mk, word_decode(tracer->code, (uintptr_t)ref), tracer->ambiguous);
}

void mgc_trace_range(struct mgc_tracer *tracer, const void *words, size_t n)
{
	uintptr_t lo = (uintptr_t)words;
	marker_range_coded(tracer->mk, lo, lo + n * sizeof(uintptr_t), tracer->code, tracer->ambiguous);
}

void *trace_user(const void *tracer)
{
	return ((const struct mgc_tracer *)tracer)->user;
}
