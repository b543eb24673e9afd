/* trace.c - see trace.h. WHO trace callbacks, inside the marker that called them. */
#include "gc/trace.h"

void mgc_trace(struct mgc_tracer *tracer, const void *ref)
{
	uintptr_t word = word_decode(tracer->code, (uintptr_t)ref);
	if (MGC_LIKELY(tracer->mk != NULL))
		marker_candidate(tracer->mk, word, tracer->ambiguous);
	else
		tracer->visit(tracer->visit_arg, word);
}

void mgc_trace_range(struct mgc_tracer *tracer, const void *words, size_t n)
{
	uintptr_t lo = (uintptr_t)words;
	if (MGC_UNLIKELY(tracer->mk == NULL)) {
		for (size_t i = 0; i < n; i++)
			mgc_trace(tracer, (const void *)load_relaxed((const uintptr_t *)lo + i));
		return;
	}
	marker_range_coded(tracer->mk, lo, lo + n * sizeof(uintptr_t), tracer->code, tracer->ambiguous);
}

void *trace_user(const void *tracer)
{
	return ((const struct mgc_tracer *)tracer)->user;
}
