/* gc_disclaim.h - objects that are asked, or told, when nothing reaches them any more. */
#ifndef GC_DISCLAIM_H
#define GC_DISCLAIM_H
#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Not 0: the object is kept, and asked again by a later collection. Called with the allocation lock held: it may not allocate.
 * GC_is_marked(obj) says, there, whether GC_set_mark_bit was called with the object after it was found dead. */
typedef int(GC_CALLBACK *GC_disclaim_proc)(void *obj);
/* For a kind of GC_new_kind, before its first object. mark_from_all: of objects that refer to each other each is asked before those that it
 * refers to, a collection later, and one in a cycle never. Memory that an object refers to is there in any case. */
GC_API void GC_CALL GC_register_disclaim_proc(int kind, GC_disclaim_proc fn, int mark_from_all)
	GC_ATTR_NONNULL(2);

struct GC_finalizer_closure {
	GC_finalization_proc proc;
	void *cd;
};
GC_API void GC_CALL GC_init_finalized_malloc(void);
/* *fc stays as it is for as long as such objects live. Called as one with mark_from_all. */
GC_API void *GC_CALL GC_finalized_malloc(size_t nbytes, const struct GC_finalizer_closure *fc)
	GC_ATTR_MALLOC GC_ATTR_NONNULL(2);

#ifdef __cplusplus
}
#endif
#endif
