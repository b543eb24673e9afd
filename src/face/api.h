/* api.h - what the parts of the native API share (api*.c): each function makes sure that the thread is
 * attached, checks the arguments, calls the layer below. */
#ifndef MGC_FACE_API_H
#define MGC_FACE_API_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "face/runtime.h"

extern const struct runtime_config api_config;

/* api_no_memory - NULL with ENOMEM. api_fail - -1 with that errno. */
void *api_no_memory(void);
int api_fail(int err);

MGC_NORETURN void api_blocks(const struct mutator *m);
/* api_null - that argument of that call is NULL, and must not be. */
MGC_NORETURN void api_null(const char *call, const char *argument);

/* api_self - the calling thread; NULL: it cannot be attached. Dies when it is inside the library, or said that
 * it would not call it. */
MGC_INLINE struct mutator *api_self(void)
{
	struct mutator *m = runtime_self(&api_config);
	if (MGC_UNLIKELY(m == NULL))
		return NULL;
	mutator_check_entry(m);
	if (MGC_UNLIKELY(load_relaxed(&m->status) != MUTATOR_RUNNING)) /* pairs: mutator-status */
		api_blocks(m);
	return m;
}

/* api_writer - the calling thread; one that stores a reference and cannot be attached cannot go on. */
struct mutator *api_attach_writer(void);

MGC_INLINE struct mutator *api_writer(void)
{
	struct mutator *m = mutator_self();
	return MGC_LIKELY(m != &mutator_none) ? m : api_attach_writer();
}

#endif
