/* gc_gcj.h - objects that begin with a pointer to their type, whose second word is the descriptor of their
 * pointers (gc_mark.h). */
#ifndef GC_GCJ_H
#define GC_GCJ_H
#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* GC_init_gcj_malloc - before the first object. mp is a GC_mark_proc, which descriptors may name by
 * mp_index (GC_GCJ_RESERVED_MARK_PROC_INDEX, or what GC_new_proc gave); debug objects are all traced
 * by it, with env 1. */
GC_API void GC_CALL GC_init_gcj_malloc(int mp_index, void *mp);
GC_API void *GC_CALL GC_gcj_malloc(size_t nbytes, void *type) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_gcj_malloc_ignore_off_page(size_t nbytes, void *type) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_debug_gcj_malloc(size_t nbytes, void *type, GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API int GC_gcj_kind, GC_gcj_debug_kind;
#ifdef GC_DEBUG
#define GC_GCJ_MALLOC(n, type) GC_debug_gcj_malloc(n, type, GC_EXTRAS)
#define GC_GCJ_MALLOC_IGNORE_OFF_PAGE(n, type) GC_debug_gcj_malloc(n, type, GC_EXTRAS)
#else
#define GC_GCJ_MALLOC(n, type) GC_gcj_malloc(n, type)
#define GC_GCJ_MALLOC_IGNORE_OFF_PAGE(n, type) GC_gcj_malloc_ignore_off_page(n, type)
#endif

#ifdef __cplusplus
}
#endif
#endif
