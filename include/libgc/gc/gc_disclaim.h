/* gc_disclaim.h - objects that are asked, or told, when nothing reaches them any more. */
#ifndef GC_DISCLAIM_H
#define GC_DISCLAIM_H
#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Not 0: the object is kept, and asked again by a later collection. */
typedef int(GC_CALLBACK *GC_disclaim_proc)(void *obj);
/* For a kind of GC_new_kind, before its first object. Here what an object refers to is there for the
 * procedure, whatever mark_from_all says. */
GC_API void GC_CALL GC_register_disclaim_proc(int kind, GC_disclaim_proc fn, int mark_from_all)
	GC_ATTR_NONNULL(2);

struct GC_finalizer_closure {
	GC_finalization_proc proc;
	void *cd;
};
GC_API void GC_CALL GC_init_finalized_malloc(void);
/* *fc stays as it is for as long as such objects live. */
GC_API void *GC_CALL GC_finalized_malloc(size_t nbytes, const struct GC_finalizer_closure *fc)
	GC_ATTR_MALLOC GC_ATTR_NONNULL(2);

#ifdef __cplusplus
}
#endif
#endif
