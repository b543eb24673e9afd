/* gc_mark.h - for language runtimes: kinds of objects, mark procedures, root callbacks.
 * Mark procedures, root callbacks and what they call run with the world stopped: they allocate nothing,
 * and take no lock that another thread may have. */
#ifndef GC_MARK_H
#define GC_MARK_H
#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A place on the collector's mark stack; only handed from call to call. */
struct GC_ms_entry {
	void *opaque;
};
/* Calls GC_MARK_AND_PUSH for each pointer in the object, and returns the last one's result. It must cope
 * with objects that were just allocated (cleared, or linked by their first words). */
typedef struct GC_ms_entry *(*GC_mark_proc)(GC_word *addr, struct GC_ms_entry *mark_stack_ptr,
					    struct GC_ms_entry *mark_stack_limit, GC_word env);
#define GC_PROC_BYTES 100
#define GC_LOG_MAX_MARK_PROCS 6
#define GC_MAX_MARK_PROCS (1 << GC_LOG_MAX_MARK_PROCS)
#define GC_RESERVED_MARK_PROCS 8
#define GC_GCJ_RESERVED_MARK_PROC_INDEX 0

/* Descriptors. LENGTH: the first so many bytes; BITMAP: 62 bits, the first word's on top; PROC: a procedure
 * and its argument; PER_OBJECT: at that offset in the object, or (negative) in what its first word
 * points to. */
#define GC_DS_TAG_BITS 2
#define GC_DS_TAGS ((1 << GC_DS_TAG_BITS) - 1)
#define GC_DS_LENGTH 0
#define GC_DS_BITMAP 1
#define GC_DS_PROC 2
#define GC_DS_PER_OBJECT 3
#define GC_INDIR_PER_OBJ_BIAS 0x10
#define GC_MAKE_PROC(index, env) \
	(((((GC_word)(env)) << GC_LOG_MAX_MARK_PROCS | (GC_word)(index)) << GC_DS_TAG_BITS) | GC_DS_PROC)

GC_API void *GC_least_plausible_heap_addr, *GC_greatest_plausible_heap_addr;
GC_API struct GC_ms_entry *GC_CALL GC_mark_and_push(void *obj, struct GC_ms_entry *mark_stack_ptr,
						    struct GC_ms_entry *mark_stack_limit, void **src);
#define GC_MARK_AND_PUSH(obj, msp, limit, src) \
	((GC_word)(obj) >= (GC_word)GC_least_plausible_heap_addr && \
			 (GC_word)(obj) <= (GC_word)GC_greatest_plausible_heap_addr ? \
		 GC_mark_and_push(obj, msp, limit, src) : \
		 (msp))

/* GC_new_kind - add_size: the object's size is added to the descriptor; clear: objects begin as zero. The
 * free list is not used here. The names with _inner are for holders of the allocation lock. */
GC_API void **GC_CALL GC_new_free_list(void);
GC_API void **GC_CALL GC_new_free_list_inner(void);
GC_API unsigned GC_CALL GC_new_kind(void **free_list, GC_word descriptor, int add_size, int clear)
	GC_ATTR_NONNULL(1);
GC_API unsigned GC_CALL GC_new_kind_inner(void **free_list, GC_word descriptor, int add_size, int clear)
	GC_ATTR_NONNULL(1);
GC_API unsigned GC_CALL GC_new_proc(GC_mark_proc proc);
GC_API unsigned GC_CALL GC_new_proc_inner(GC_mark_proc proc);
GC_API void *GC_CALL GC_generic_malloc(size_t nbytes, int kind) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_generic_malloc_ignore_off_page(size_t nbytes, int kind) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_generic_malloc_uncollectable(size_t nbytes, int kind) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_generic_or_special_malloc(size_t nbytes, int kind) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_debug_generic_or_special_malloc(size_t nbytes, int kind,
							GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
#ifdef GC_DEBUG
#define GC_GENERIC_OR_SPECIAL_MALLOC(n, kind) GC_debug_generic_or_special_malloc(n, kind, GC_EXTRAS)
#else
#define GC_GENERIC_OR_SPECIAL_MALLOC(n, kind) GC_generic_or_special_malloc(n, kind)
#endif
GC_API int GC_CALL GC_get_kind_and_size(const void *p, size_t *nbytes) GC_ATTR_NONNULL(1);

/* What messages call objects of the kind: at most GC_TYPE_DESCR_LEN bytes with the final 0. */
#define GC_TYPE_DESCR_LEN 40
typedef void(GC_CALLBACK *GC_describe_type_fn)(void *p, char *out);
GC_API void GC_CALL GC_register_describe_type_fn(int kind, GC_describe_type_fn fn);

/* From a debug object's GC_base to what the program sees. */
GC_API size_t GC_CALL GC_get_debug_header_size(void) GC_ATTR_CONST;
GC_API const size_t GC_debug_header_size;
#define GC_USR_PTR_FROM_BASE(p) ((void *)((char *)(p) + GC_get_debug_header_size()))

GC_API void *GC_CALL GC_clear_stack(void *p);
GC_API int GC_CALL GC_is_marked(const void *p) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_clear_mark_bit(const void *p) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_set_mark_bit(const void *p) GC_ATTR_NONNULL(1);

/* Called when a collection begins, the world still running; and in the stop, to push more roots. */
typedef void(GC_CALLBACK *GC_start_callback_proc)(void);
GC_API void GC_CALL GC_set_start_callback(GC_start_callback_proc fn);
GC_API GC_start_callback_proc GC_CALL GC_get_start_callback(void);
typedef void(GC_CALLBACK *GC_push_other_roots_proc)(void);
GC_API GC_push_other_roots_proc GC_push_other_roots;
GC_API void GC_CALL GC_set_push_other_roots(GC_push_other_roots_proc fn);
GC_API GC_push_other_roots_proc GC_CALL GC_get_push_other_roots(void);
GC_API void GC_CALL GC_push_all(void *lo, void *hi);
GC_API void GC_CALL GC_push_all_eager(void *lo, void *hi);
GC_API void GC_CALL GC_push_conditional(void *lo, void *hi, int all);
GC_API void GC_CALL GC_push_finalizer_structures(void);

/* For holders of the allocation lock. */
typedef void(GC_CALLBACK *GC_reachable_object_proc)(void *obj, size_t nbytes, void *client_data);
GC_API void GC_CALL GC_enumerate_reachable_objects_inner(GC_reachable_object_proc fn, void *client_data)
	GC_ATTR_NONNULL(1);
GC_API int GC_CALL GC_is_tmp_root(void *p);

#ifdef __cplusplus
}
#endif
#endif
