/* gc.h - the interface of Boehm's libgc 8.2, of which mallocgc's libgc.so.1 has all: for programs that are
 * compiled against this library alone. docs/libgc.md says for each name whether something differs.
 *
 * Define before including: GC_THREADS in programs with threads (then pthread_create and its kin are
 * those of the collector); GC_DEBUG for objects that know where they were made.
 * Words are 8 bytes; sizes are bytes; "0" as a result of an int function is false or GC_SUCCESS. */
#ifndef GC_H
#define GC_H
#include "gc_version.h"
#include "gc_config_macros.h"
#include <stddef.h>
#ifdef GC_THREADS
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef void *GC_PTR;
typedef unsigned long GC_word;
typedef long GC_signed_word;

/* ── start ──────────────────────────────────────────────────────────────────────────────── */

/* GC_init - idempotent, and called by the first allocation. GC_INIT below also sets what the GC_* macros
 * of the program say. */
GC_API void GC_CALL GC_init(void);
GC_API int GC_CALL GC_is_init_called(void);
GC_API void GC_CALL GC_deinit(void);
/* GC_get_version - major << 16 | minor << 8 | micro. */
GC_API unsigned GC_CALL GC_get_version(void);

/* ── allocation ─────────────────────────────────────────────────────────────────────────── */

/* Objects are cleared (atomic ones are not) and aligned to 16. Atomic: never looked into for pointers.
 * Uncollectable: kept until GC_free, and what they refer to as well. Out of memory: what the oom function
 * returns. */
GC_API void *GC_CALL GC_malloc(size_t nbytes) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_CALL GC_malloc_atomic(size_t nbytes) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_CALL GC_malloc_uncollectable(size_t nbytes) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_CALL GC_malloc_atomic_uncollectable(size_t nbytes) GC_ATTR_MALLOC
	GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_CALL GC_malloc_stubborn(size_t nbytes) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
/* For large objects that have a pointer to their first page as long as they are in use. Here any interior
 * pointer keeps them. */
GC_API void *GC_CALL GC_malloc_ignore_off_page(size_t nbytes) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_CALL GC_malloc_atomic_ignore_off_page(size_t nbytes) GC_ATTR_MALLOC
	GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_CALL GC_memalign(size_t align, size_t nbytes) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(2);
GC_API int GC_CALL GC_posix_memalign(void **out, size_t align, size_t nbytes) GC_ATTR_NONNULL(1);
GC_API char *GC_CALL GC_strdup(const char *s) GC_ATTR_MALLOC;
GC_API char *GC_CALL GC_strndup(const char *s, size_t n) GC_ATTR_MALLOC GC_ATTR_NONNULL(1);
/* GC_realloc - keeps the object's kind; 0 bytes: frees it, NULL. */
GC_API void *GC_CALL GC_realloc(void *p, size_t nbytes) GC_ATTR_ALLOC_SIZE(2);
GC_API void GC_CALL GC_free(void *p);
/* GC_malloc_many - several objects of that size, linked by their first words; they are the caller's. */
GC_API void *GC_CALL GC_malloc_many(size_t nbytes);
#define GC_NEXT(p) (*(void **)(p))

/* GC_base - the first byte of the object that p points into; NULL: into none. GC_size - of the object that
 * begins at p. */
GC_API void *GC_CALL GC_base(void *p);
GC_API size_t GC_CALL GC_size(const void *p) GC_ATTR_NONNULL(1);
GC_API int GC_CALL GC_is_heap_ptr(const void *p);
/* GC_get_size_map_at - the size that an object of i bytes really has; (size_t)-1: not a small one. */
GC_API size_t GC_CALL GC_get_size_map_at(int i);

/* Debugging allocation: a header says where the object was made, a guard behind it is looked at by each
 * collection. */
#define GC_EXTRAS __FILE__, __LINE__
#define GC_EXTRA_PARAMS const char *s, int i
GC_API void *GC_CALL GC_debug_malloc(size_t nbytes, GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_debug_malloc_atomic(size_t nbytes, GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_debug_malloc_uncollectable(size_t nbytes, GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_debug_malloc_atomic_uncollectable(size_t nbytes,
							  GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_debug_malloc_stubborn(size_t nbytes, GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_debug_malloc_ignore_off_page(size_t nbytes, GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_debug_malloc_atomic_ignore_off_page(size_t nbytes,
							    GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_debug_malloc_replacement(size_t nbytes) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_debug_realloc(void *p, size_t nbytes, GC_EXTRA_PARAMS);
GC_API void *GC_CALL GC_debug_realloc_replacement(void *p, size_t nbytes);
GC_API void GC_CALL GC_debug_free(void *p);
GC_API char *GC_CALL GC_debug_strdup(const char *str, GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API char *GC_CALL GC_debug_strndup(const char *str, size_t n, GC_EXTRA_PARAMS) GC_ATTR_MALLOC;
GC_API void GC_CALL GC_debug_change_stubborn(const void *p);
GC_API void GC_CALL GC_debug_end_stubborn_change(const void *p);

#ifdef GC_DEBUG
#define GC_MALLOC(n) GC_debug_malloc(n, GC_EXTRAS)
#define GC_MALLOC_ATOMIC(n) GC_debug_malloc_atomic(n, GC_EXTRAS)
#define GC_MALLOC_UNCOLLECTABLE(n) GC_debug_malloc_uncollectable(n, GC_EXTRAS)
#define GC_MALLOC_ATOMIC_UNCOLLECTABLE(n) GC_debug_malloc_atomic_uncollectable(n, GC_EXTRAS)
#define GC_MALLOC_IGNORE_OFF_PAGE(n) GC_debug_malloc_ignore_off_page(n, GC_EXTRAS)
#define GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(n) GC_debug_malloc_atomic_ignore_off_page(n, GC_EXTRAS)
#define GC_REALLOC(p, n) GC_debug_realloc(p, n, GC_EXTRAS)
#define GC_FREE(p) GC_debug_free(p)
#define GC_STRDUP(s) GC_debug_strdup(s, GC_EXTRAS)
#define GC_STRNDUP(s, n) GC_debug_strndup(s, n, GC_EXTRAS)
#define GC_REGISTER_FINALIZER(p, f, d, of, od) GC_debug_register_finalizer(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_IGNORE_SELF(p, f, d, of, od) \
	GC_debug_register_finalizer_ignore_self(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_NO_ORDER(p, f, d, of, od) \
	GC_debug_register_finalizer_no_order(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_UNREACHABLE(p, f, d, of, od) \
	GC_debug_register_finalizer_unreachable(p, f, d, of, od)
#define GC_END_STUBBORN_CHANGE(p) GC_debug_end_stubborn_change(p)
#define GC_PTR_STORE_AND_DIRTY(p, q) GC_debug_ptr_store_and_dirty(p, q)
#define GC_GENERAL_REGISTER_DISAPPEARING_LINK(link, obj) \
	GC_general_register_disappearing_link(link, GC_base((void *)(obj)))
#define GC_REGISTER_LONG_LINK(link, obj) GC_register_long_link(link, GC_base((void *)(obj)))
#define GC_REGISTER_DISPLACEMENT(n) GC_debug_register_displacement(n)
#else
#ifdef GC_DEBUG_REPLACEMENT
#define GC_MALLOC(n) GC_debug_malloc_replacement(n)
#define GC_REALLOC(p, n) GC_debug_realloc_replacement(p, n)
#else
#define GC_MALLOC(n) GC_malloc(n)
#define GC_REALLOC(p, n) GC_realloc(p, n)
#endif
#define GC_MALLOC_ATOMIC(n) GC_malloc_atomic(n)
#define GC_MALLOC_UNCOLLECTABLE(n) GC_malloc_uncollectable(n)
#define GC_MALLOC_ATOMIC_UNCOLLECTABLE(n) GC_malloc_atomic_uncollectable(n)
#define GC_MALLOC_IGNORE_OFF_PAGE(n) GC_malloc_ignore_off_page(n)
#define GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(n) GC_malloc_atomic_ignore_off_page(n)
#define GC_FREE(p) GC_free(p)
#define GC_STRDUP(s) GC_strdup(s)
#define GC_STRNDUP(s, n) GC_strndup(s, n)
#define GC_REGISTER_FINALIZER(p, f, d, of, od) GC_register_finalizer(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_IGNORE_SELF(p, f, d, of, od) \
	GC_register_finalizer_ignore_self(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_NO_ORDER(p, f, d, of, od) \
	GC_register_finalizer_no_order(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_UNREACHABLE(p, f, d, of, od) \
	GC_register_finalizer_unreachable(p, f, d, of, od)
#define GC_END_STUBBORN_CHANGE(p) GC_end_stubborn_change(p)
#define GC_PTR_STORE_AND_DIRTY(p, q) GC_ptr_store_and_dirty(p, q)
#define GC_GENERAL_REGISTER_DISAPPEARING_LINK(link, obj) \
	GC_general_register_disappearing_link(link, obj)
#define GC_REGISTER_LONG_LINK(link, obj) GC_register_long_link(link, obj)
#define GC_REGISTER_DISPLACEMENT(n) GC_register_displacement(n)
#endif
#define GC_MALLOC_STUBBORN(n) GC_MALLOC(n)
#define GC_CHANGE_STUBBORN(p) GC_change_stubborn(p)
#define GC_NEW(t) ((t *)GC_MALLOC(sizeof(t)))
#define GC_NEW_ATOMIC(t) ((t *)GC_MALLOC_ATOMIC(sizeof(t)))
#define GC_NEW_STUBBORN(t) GC_NEW(t)
#define GC_NEW_UNCOLLECTABLE(t) ((t *)GC_MALLOC_UNCOLLECTABLE(sizeof(t)))

/* ── collections ────────────────────────────────────────────────────────────────────────── */

GC_API void GC_CALL GC_gcollect(void);
GC_API void GC_CALL GC_gcollect_and_unmap(void);
/* GC_try_to_collect - unless stop() says otherwise, which is asked before; 1: there was a collection. */
typedef int(GC_CALLBACK *GC_stop_func)(void);
GC_API int GC_CALL GC_try_to_collect(GC_stop_func stop) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_set_stop_func(GC_stop_func stop) GC_ATTR_NONNULL(1);
GC_API GC_stop_func GC_CALL GC_get_stop_func(void);
/* GC_disable, GC_enable - nest. Not even GC_gcollect collects meanwhile. */
GC_API void GC_CALL GC_disable(void);
GC_API void GC_CALL GC_enable(void);
GC_API int GC_CALL GC_is_disabled(void);
GC_API void GC_CALL GC_set_disable_automatic_collection(int v);
GC_API int GC_CALL GC_get_disable_automatic_collection(void);
/* GC_enable_incremental - short pauses are worth more than speed. */
GC_API void GC_CALL GC_enable_incremental(void);
GC_API int GC_CALL GC_is_incremental_mode(void);
GC_API int GC_CALL GC_incremental_protection_needs(void);
GC_API void GC_CALL GC_start_incremental_collection(void);
GC_API int GC_CALL GC_collect_a_little(void);
GC_API void GC_CALL GC_start_mark_threads(void);
#define GC_PROTECTS_NONE 0
#define GC_PROTECTS_POINTER_HEAP 1
#define GC_PROTECTS_PTRFREE_HEAP 2
#define GC_PROTECTS_STATIC_DATA 4
#define GC_PROTECTS_STACK 8

/* How the heap grows: by about 150 / divisor percent of what is live; expand_hp: not before this much more;
 * max_heap_size: never beyond, 0: no limit. */
GC_API int GC_CALL GC_expand_hp(size_t nbytes);
GC_API void GC_CALL GC_set_max_heap_size(GC_word nbytes);
GC_API void GC_CALL GC_set_free_space_divisor(GC_word d);
GC_API GC_word GC_CALL GC_get_free_space_divisor(void);
GC_API void GC_CALL GC_set_min_bytes_allocd(size_t nbytes);
GC_API size_t GC_CALL GC_get_min_bytes_allocd(void);

/* What the program is told. Of collection events some come while the world stands still. */
typedef enum {
	GC_EVENT_START,
	GC_EVENT_MARK_START,
	GC_EVENT_MARK_END,
	GC_EVENT_RECLAIM_START,
	GC_EVENT_RECLAIM_END,
	GC_EVENT_END,
	GC_EVENT_PRE_STOP_WORLD,
	GC_EVENT_POST_STOP_WORLD,
	GC_EVENT_PRE_START_WORLD,
	GC_EVENT_POST_START_WORLD,
	GC_EVENT_THREAD_SUSPENDED,
	GC_EVENT_THREAD_UNSUSPENDED
} GC_EventType;
typedef void(GC_CALLBACK *GC_on_collection_event_proc)(GC_EventType event);
GC_API void GC_CALL GC_set_on_collection_event(GC_on_collection_event_proc fn);
GC_API GC_on_collection_event_proc GC_CALL GC_get_on_collection_event(void);
#ifdef GC_THREADS
typedef void(GC_CALLBACK *GC_on_thread_event_proc)(GC_EventType event, void *thread_id);
GC_API void GC_CALL GC_set_on_thread_event(GC_on_thread_event_proc fn);
GC_API GC_on_thread_event_proc GC_CALL GC_get_on_thread_event(void);
#endif
typedef void(GC_CALLBACK *GC_on_heap_resize_proc)(GC_word nbytes);
GC_API GC_on_heap_resize_proc GC_on_heap_resize;
GC_API void GC_CALL GC_set_on_heap_resize(GC_on_heap_resize_proc fn);
GC_API GC_on_heap_resize_proc GC_CALL GC_get_on_heap_resize(void);
typedef void *(GC_CALLBACK *GC_oom_func)(size_t nbytes);
GC_API GC_oom_func GC_oom_fn;
GC_API void GC_CALL GC_set_oom_fn(GC_oom_func fn) GC_ATTR_NONNULL(1);
GC_API GC_oom_func GC_CALL GC_get_oom_fn(void);
typedef void(GC_CALLBACK *GC_warn_proc)(char *format, GC_word arg);
GC_API void GC_CALL GC_set_warn_proc(GC_warn_proc fn) GC_ATTR_NONNULL(1);
GC_API GC_warn_proc GC_CALL GC_get_warn_proc(void);
GC_API void GC_CALLBACK GC_ignore_warn_proc(char *format, GC_word arg);
GC_API void GC_CALL GC_set_log_fd(int fd);
/* What an end for cause does with its text, before abort(). */
typedef void(GC_CALLBACK *GC_abort_func)(const char *text);
GC_API void GC_CALL GC_set_abort_func(GC_abort_func fn) GC_ATTR_NONNULL(1);
GC_API GC_abort_func GC_CALL GC_get_abort_func(void);
GC_API void GC_CALL GC_abort_on_oom(void);

/* ── settings: a variable and its accessors ─────────────────────────────────────────────── */

GC_API int GC_all_interior_pointers;
GC_API void GC_CALL GC_set_all_interior_pointers(int v);
GC_API int GC_CALL GC_get_all_interior_pointers(void);
GC_API int GC_find_leak;
GC_API void GC_CALL GC_set_find_leak(int v);
GC_API int GC_CALL GC_get_find_leak(void);
GC_API int GC_finalize_on_demand;
GC_API void GC_CALL GC_set_finalize_on_demand(int v);
GC_API int GC_CALL GC_get_finalize_on_demand(void);
GC_API int GC_java_finalization;
GC_API void GC_CALL GC_set_java_finalization(int v);
GC_API int GC_CALL GC_get_java_finalization(void);
GC_API int GC_no_dls;
GC_API void GC_CALL GC_set_no_dls(int v);
GC_API int GC_CALL GC_get_no_dls(void);
GC_API int GC_dont_expand;
GC_API void GC_CALL GC_set_dont_expand(int v);
GC_API int GC_CALL GC_get_dont_expand(void);
GC_API int GC_dont_precollect;
GC_API void GC_CALL GC_set_dont_precollect(int v);
GC_API int GC_CALL GC_get_dont_precollect(void);
GC_API int GC_full_freq;
GC_API void GC_CALL GC_set_full_freq(int v);
GC_API int GC_CALL GC_get_full_freq(void);
GC_API GC_word GC_non_gc_bytes;
GC_API void GC_CALL GC_set_non_gc_bytes(GC_word nbytes);
GC_API GC_word GC_CALL GC_get_non_gc_bytes(void);
GC_API GC_word GC_max_retries;
GC_API void GC_CALL GC_set_max_retries(GC_word n);
GC_API GC_word GC_CALL GC_get_max_retries(void);
GC_API unsigned long GC_time_limit;
#define GC_TIME_UNLIMITED 999999
GC_API void GC_CALL GC_set_time_limit(unsigned long ms);
GC_API unsigned long GC_CALL GC_get_time_limit(void);
struct GC_timeval_s {
	unsigned long tv_ms, tv_nsec;
};
GC_API void GC_CALL GC_set_time_limit_tv(struct GC_timeval_s limit);
GC_API struct GC_timeval_s GC_CALL GC_get_time_limit_tv(void);
GC_API void GC_CALL GC_set_allocd_bytes_per_finalizer(GC_word nbytes);
GC_API GC_word GC_CALL GC_get_allocd_bytes_per_finalizer(void);
GC_API void GC_CALL GC_set_rate(int v);
GC_API int GC_CALL GC_get_rate(void);
GC_API void GC_CALL GC_set_max_prior_attempts(int n);
GC_API int GC_CALL GC_get_max_prior_attempts(void);
GC_API void GC_CALL GC_set_manual_vdb_allowed(int v);
GC_API int GC_CALL GC_get_manual_vdb_allowed(void);
GC_API void GC_CALL GC_set_pages_executable(int v);
GC_API int GC_CALL GC_get_pages_executable(void);
GC_API void GC_CALL GC_set_force_unmap_on_gcollect(int v);
GC_API int GC_CALL GC_get_force_unmap_on_gcollect(void);
GC_API void GC_CALL GC_set_markers_count(unsigned n);
GC_API int GC_parallel;
GC_API int GC_CALL GC_get_parallel(void);
GC_API int GC_dont_gc, GC_use_entire_heap;
GC_API GC_word GC_gc_no, GC_free_space_divisor;
GC_API GC_word GC_CALL GC_get_gc_no(void);

/* ── statistics ─────────────────────────────────────────────────────────────────────────── */

GC_API size_t GC_CALL GC_get_heap_size(void);
GC_API size_t GC_CALL GC_get_free_bytes(void);
GC_API size_t GC_CALL GC_get_unmapped_bytes(void);
GC_API size_t GC_CALL GC_get_bytes_since_gc(void);
GC_API size_t GC_CALL GC_get_expl_freed_bytes_since_gc(void);
GC_API size_t GC_CALL GC_get_total_bytes(void);
GC_API size_t GC_CALL GC_get_obtained_from_os_bytes(void);
GC_API size_t GC_CALL GC_get_memory_use(void);
/* Any pointer may be NULL. */
GC_API void GC_CALL GC_get_heap_usage_safe(GC_word *heap, GC_word *free_nbytes, GC_word *unmapped,
					   GC_word *since, GC_word *total);
struct GC_prof_stats_s {
	GC_word heapsize_full, free_bytes_full, unmapped_bytes, bytes_allocd_since_gc;
	GC_word allocd_bytes_before_gc, non_gc_bytes, gc_no, markers_m1;
	GC_word bytes_reclaimed_since_gc, reclaimed_bytes_before_gc, expl_freed_bytes_since_gc;
	GC_word obtained_from_os_bytes;
};
/* How many bytes were filled in; the rest of nbytes is 0xff. */
GC_API size_t GC_CALL GC_get_prof_stats(struct GC_prof_stats_s *out, size_t nbytes);
#ifdef GC_THREADS
GC_API size_t GC_CALL GC_get_prof_stats_unsafe(struct GC_prof_stats_s *out, size_t nbytes);
#endif
GC_API void GC_CALL GC_start_performance_measurement(void);
GC_API unsigned long GC_CALL GC_get_full_gc_total_time(void);
GC_API void GC_CALL GC_dump(void);
GC_API void GC_CALL GC_dump_named(const char *name);
GC_API void GC_CALL GC_dump_regions(void);
GC_API void GC_CALL GC_dump_finalization(void);

/* ── roots ──────────────────────────────────────────────────────────────────────────────── */

/* Data segments, thread-local blocks and stacks are roots by themselves. [lo, hi) */
GC_API void GC_CALL GC_add_roots(void *lo, void *hi);
GC_API void GC_CALL GC_remove_roots(void *lo, void *hi);
GC_API void GC_CALL GC_clear_roots(void);
GC_API void GC_CALL GC_exclude_static_roots(void *lo, void *hi);
GC_API void GC_CALL GC_clear_exclusion_table(void);
typedef int(GC_CALLBACK *GC_has_static_roots_func)(const char *object, void *start, size_t nbytes);
GC_API void GC_CALL GC_register_has_static_roots_callback(GC_has_static_roots_func fn);
GC_API void GC_CALL GC_register_displacement(size_t offset);
GC_API void GC_CALL GC_debug_register_displacement(size_t offset);

/* ── finalizers, links ──────────────────────────────────────────────────────────────────── */

/* Called as fn(obj, cd) when nothing reaches the object; it is alive again then. A NULL fn takes the
 * registration back. *ofn and *ocd, if not NULL, get the one before. Orders: an object before those that
 * it refers to, and never in a cycle; the same without its pointers to itself; as it comes; when not even
 * another finalizer's object reaches it. */
typedef void(GC_CALLBACK *GC_finalization_proc)(void *obj, void *client_data);
#define GC_DECLARE_FINALIZER(name) \
	GC_API void GC_CALL GC_##name(void *obj, GC_finalization_proc fn, void *cd, \
				      GC_finalization_proc *ofn, void **ocd); \
	GC_API void GC_CALL GC_debug_##name(void *obj, GC_finalization_proc fn, void *cd, \
					    GC_finalization_proc *ofn, void **ocd)
GC_DECLARE_FINALIZER(register_finalizer);
GC_DECLARE_FINALIZER(register_finalizer_ignore_self);
GC_DECLARE_FINALIZER(register_finalizer_no_order);
GC_DECLARE_FINALIZER(register_finalizer_unreachable);
#undef GC_DECLARE_FINALIZER
GC_API int GC_CALL GC_should_invoke_finalizers(void);
GC_API int GC_CALL GC_invoke_finalizers(void);
typedef void(GC_CALLBACK *GC_finalizer_notifier_proc)(void);
GC_API GC_finalizer_notifier_proc GC_finalizer_notifier;
GC_API void GC_CALL GC_set_finalizer_notifier(GC_finalizer_notifier_proc fn);
GC_API GC_finalizer_notifier_proc GC_CALL GC_get_finalizer_notifier(void);
typedef void(GC_CALLBACK *GC_await_finalize_proc)(void *obj);
GC_API void GC_CALL GC_set_await_finalize_proc(GC_await_finalize_proc fn);
GC_API GC_await_finalize_proc GC_CALL GC_get_await_finalize_proc(void);

/* A link is a word of the program's, not seen by the collector, that becomes 0 when the object is found
 * dead: before its finalizer is queued, or (long) when it is really gone. */
#define GC_SUCCESS 0
#define GC_DUPLICATE 1
#define GC_NO_THREADS 2
#define GC_NO_MEMORY 2
#define GC_UNIMPLEMENTED 3
#define GC_NOT_FOUND 4
GC_API int GC_CALL GC_register_disappearing_link(void **link) GC_ATTR_NONNULL(1);
GC_API int GC_CALL GC_general_register_disappearing_link(void **link, const void *obj)
	GC_ATTR_NONNULL(1) GC_ATTR_NONNULL(2);
GC_API int GC_CALL GC_move_disappearing_link(void **from, void **to) GC_ATTR_NONNULL(2);
GC_API int GC_CALL GC_unregister_disappearing_link(void **link);
GC_API int GC_CALL GC_register_long_link(void **link, const void *obj) GC_ATTR_NONNULL(1)
	GC_ATTR_NONNULL(2);
GC_API int GC_CALL GC_move_long_link(void **from, void **to) GC_ATTR_NONNULL(2);
GC_API int GC_CALL GC_unregister_long_link(void **link);
typedef GC_word GC_hidden_pointer;
#define GC_HIDE_POINTER(p) (~(GC_hidden_pointer)(p))
#define GC_REVEAL_POINTER(p) ((void *)GC_HIDE_POINTER(p))
#if defined(I_HIDE_POINTERS) || defined(GC_I_HIDE_POINTERS)
#define HIDE_POINTER(p) GC_HIDE_POINTER(p)
#define REVEAL_POINTER(p) GC_REVEAL_POINTER(p)
#endif

/* A toggle reference counts in a collection when the program says so in its callback. */
typedef enum {
	GC_TOGGLE_REF_DROP,
	GC_TOGGLE_REF_STRONG,
	GC_TOGGLE_REF_WEAK
} GC_ToggleRefStatus;
typedef GC_ToggleRefStatus(GC_CALLBACK *GC_toggleref_func)(void *obj);
GC_API void GC_CALL GC_set_toggleref_func(GC_toggleref_func fn);
GC_API GC_toggleref_func GC_CALL GC_get_toggleref_func(void);
GC_API int GC_CALL GC_toggleref_add(void *obj, int is_strong) GC_ATTR_NONNULL(1);

/* GC_reachable_here - p is alive up to here. */
GC_API void GC_CALL GC_noop1(GC_word x);
#ifdef __GNUC__
#define GC_reachable_here(p) __asm__ __volatile__("" : : "X"((void *)(p)) : "memory")
#else
#define GC_reachable_here(p) GC_noop1((GC_word)(p))
#endif

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

/* Any thread that calls the collector is known to it from then on; these are for programs that say so. */
struct GC_stack_base {
	void *mem_base; /* the cold end */
};
typedef void *(GC_CALLBACK *GC_stack_base_func)(struct GC_stack_base *sb, void *arg);
GC_API void *GC_CALL GC_call_with_stack_base(GC_stack_base_func fn, void *arg) GC_ATTR_NONNULL(1);
GC_API int GC_CALL GC_get_stack_base(struct GC_stack_base *sb) GC_ATTR_NONNULL(1);
GC_API void *GC_CALL GC_get_my_stackbottom(struct GC_stack_base *sb) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_set_stackbottom(void *thread, const struct GC_stack_base *sb) GC_ATTR_NONNULL(2);
/* The first thread's cold end: a program that switches stacks may write it. */
GC_API char *GC_stackbottom;

typedef void *(GC_CALLBACK *GC_fn_type)(void *client_data);
GC_API void *GC_CALL GC_call_with_alloc_lock(GC_fn_type fn, void *arg) GC_ATTR_NONNULL(1);
/* GC_do_blocking - fn may wait, and does not touch the heap; collections do not wait for it. */
GC_API void *GC_CALL GC_do_blocking(GC_fn_type fn, void *arg) GC_ATTR_NONNULL(1);
GC_API void *GC_CALL GC_call_with_gc_active(GC_fn_type fn, void *arg) GC_ATTR_NONNULL(1);

#ifdef GC_THREADS
GC_API void GC_CALL GC_alloc_lock(void);
GC_API void GC_CALL GC_alloc_unlock(void);
GC_API void GC_CALL GC_allow_register_threads(void);
GC_API int GC_CALL GC_register_my_thread(const struct GC_stack_base *sb) GC_ATTR_NONNULL(1);
GC_API int GC_CALL GC_unregister_my_thread(void);
GC_API int GC_CALL GC_thread_is_registered(void);
GC_API void GC_CALL GC_register_altstack(void *stack, GC_word nbytes, void *altstack,
					 GC_word alt_nbytes);
GC_API void GC_CALL GC_stop_world_external(void);
GC_API void GC_CALL GC_start_world_external(void);
GC_API int GC_CALL GC_get_suspend_signal(void);
GC_API int GC_CALL GC_get_thr_restart_signal(void);
GC_API void GC_CALL GC_set_suspend_signal(int sig);
GC_API void GC_CALL GC_set_thr_restart_signal(int sig);
#include "gc_pthread_redirects.h"
#else
#define GC_alloc_lock() (void)0
#define GC_alloc_unlock() (void)0
#endif

/* A fork is always handled. */
GC_API void GC_CALL GC_set_handle_fork(int v);
GC_API void GC_CALL GC_atfork_prepare(void);
GC_API void GC_CALL GC_atfork_parent(void);
GC_API void GC_CALL GC_atfork_child(void);

/* ── checked pointers, announced stores ─────────────────────────────────────────────────── */

GC_API void *GC_CALL GC_same_obj(void *p, void *q);
GC_API void *GC_CALL GC_pre_incr(void **p, ptrdiff_t by) GC_ATTR_NONNULL(1);
GC_API void *GC_CALL GC_post_incr(void **p, ptrdiff_t by) GC_ATTR_NONNULL(1);
GC_API void *GC_CALL GC_is_visible(void *p);
GC_API void *GC_CALL GC_is_valid_displacement(void *p);
GC_API void(GC_CALLBACK *GC_same_obj_print_proc)(void *p, void *q);
GC_API void(GC_CALLBACK *GC_is_valid_displacement_print_proc)(void *p);
GC_API void(GC_CALLBACK *GC_is_visible_print_proc)(void *p);
GC_API void GC_CALL GC_change_stubborn(const void *p);
GC_API void GC_CALL GC_end_stubborn_change(const void *p) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_ptr_store_and_dirty(void *p, const void *q);
GC_API void GC_CALL GC_debug_ptr_store_and_dirty(void *p, const void *q);
#if defined(GC_DEBUG) && defined(__GNUC__)
#define GC_PTR_ADD3(x, n, type) ((type)GC_same_obj((x) + (n), (x)))
#define GC_PRE_INCR3(x, n, type) ((type)GC_pre_incr((void **)&(x), (n) * (ptrdiff_t)sizeof *(x)))
#define GC_POST_INCR3(x, n, type) ((type)GC_post_incr((void **)&(x), (n) * (ptrdiff_t)sizeof *(x)))
#define GC_PTR_ADD(x, n) GC_PTR_ADD3(x, n, __typeof__(x))
#define GC_PRE_INCR(x, n) GC_PRE_INCR3(x, n, __typeof__(x))
#define GC_POST_INCR(x) GC_POST_INCR3(x, 1, __typeof__(x))
#define GC_POST_DECR(x) GC_POST_INCR3(x, -1, __typeof__(x))
#else
#define GC_PTR_ADD(x, n) ((x) + (n))
#define GC_PRE_INCR(x, n) ((x) += (n))
#define GC_POST_INCR(x) ((x)++)
#define GC_POST_DECR(x) ((x)--)
#endif
#ifdef GC_DEBUG
#define GC_PTR_STORE(p, q) \
	(*(void **)GC_is_visible((void *)(p)) = GC_is_valid_displacement((void *)(q)))
#else
#define GC_PTR_STORE(p, q) (*(void **)(p) = (void *)(q))
#endif

/* ── GC_INIT: what macros of the program ask for, then GC_init ──────────────────────────── */

#define GC_INIT_CONF_ROOTS
#ifdef GC_DONT_EXPAND
#define GC_INIT_CONF_DONT_EXPAND GC_set_dont_expand(1)
#else
#define GC_INIT_CONF_DONT_EXPAND
#endif
#ifdef GC_FORCE_UNMAP_ON_GCOLLECT
#define GC_INIT_CONF_FORCE_UNMAP_ON_GCOLLECT GC_set_force_unmap_on_gcollect(1)
#else
#define GC_INIT_CONF_FORCE_UNMAP_ON_GCOLLECT
#endif
#ifdef GC_DONT_GC
#define GC_INIT_CONF_MAX_RETRIES (void)(GC_dont_gc = 1)
#elif defined(GC_MAX_RETRIES)
#define GC_INIT_CONF_MAX_RETRIES GC_set_max_retries(GC_MAX_RETRIES)
#else
#define GC_INIT_CONF_MAX_RETRIES
#endif
#ifdef GC_ALLOCD_BYTES_PER_FINALIZER
#define GC_INIT_CONF_ALLOCD_BYTES_PER_FINALIZER \
	GC_set_allocd_bytes_per_finalizer(GC_ALLOCD_BYTES_PER_FINALIZER)
#else
#define GC_INIT_CONF_ALLOCD_BYTES_PER_FINALIZER
#endif
#ifdef GC_FREE_SPACE_DIVISOR
#define GC_INIT_CONF_FREE_SPACE_DIVISOR GC_set_free_space_divisor(GC_FREE_SPACE_DIVISOR)
#else
#define GC_INIT_CONF_FREE_SPACE_DIVISOR
#endif
#ifdef GC_FULL_FREQ
#define GC_INIT_CONF_FULL_FREQ GC_set_full_freq(GC_FULL_FREQ)
#else
#define GC_INIT_CONF_FULL_FREQ
#endif
#ifdef GC_TIME_LIMIT
#define GC_INIT_CONF_TIME_LIMIT GC_set_time_limit(GC_TIME_LIMIT)
#else
#define GC_INIT_CONF_TIME_LIMIT
#endif
#if defined(GC_MARKERS) && defined(GC_THREADS)
#define GC_INIT_CONF_MARKERS GC_set_markers_count(GC_MARKERS)
#else
#define GC_INIT_CONF_MARKERS
#endif
#if defined(GC_SIG_SUSPEND) && defined(GC_THREADS)
#define GC_INIT_CONF_SUSPEND_SIGNAL GC_set_suspend_signal(GC_SIG_SUSPEND)
#else
#define GC_INIT_CONF_SUSPEND_SIGNAL
#endif
#if defined(GC_SIG_THR_RESTART) && defined(GC_THREADS)
#define GC_INIT_CONF_THR_RESTART_SIGNAL GC_set_thr_restart_signal(GC_SIG_THR_RESTART)
#else
#define GC_INIT_CONF_THR_RESTART_SIGNAL
#endif
#ifdef GC_MAXIMUM_HEAP_SIZE
#define GC_INIT_CONF_MAXIMUM_HEAP_SIZE GC_set_max_heap_size(GC_MAXIMUM_HEAP_SIZE)
#else
#define GC_INIT_CONF_MAXIMUM_HEAP_SIZE
#endif
#ifdef GC_IGNORE_WARN
#define GC_INIT_CONF_IGNORE_WARN GC_set_warn_proc(GC_ignore_warn_proc)
#else
#define GC_INIT_CONF_IGNORE_WARN
#endif
#ifdef GC_INITIAL_HEAP_SIZE
#define GC_INIT_CONF_INITIAL_HEAP_SIZE \
	{ \
		size_t heap_nbytes = GC_get_heap_size(); \
		if (heap_nbytes < (GC_INITIAL_HEAP_SIZE)) \
			(void)GC_expand_hp((GC_INITIAL_HEAP_SIZE)-heap_nbytes); \
	}
#else
#define GC_INIT_CONF_INITIAL_HEAP_SIZE
#endif
#define GC_INIT() \
	{ \
		GC_INIT_CONF_DONT_EXPAND; \
		GC_INIT_CONF_FORCE_UNMAP_ON_GCOLLECT; \
		GC_INIT_CONF_MAX_RETRIES; \
		GC_INIT_CONF_ALLOCD_BYTES_PER_FINALIZER; \
		GC_INIT_CONF_FREE_SPACE_DIVISOR; \
		GC_INIT_CONF_FULL_FREQ; \
		GC_INIT_CONF_TIME_LIMIT; \
		GC_INIT_CONF_MARKERS; \
		GC_INIT_CONF_SUSPEND_SIGNAL; \
		GC_INIT_CONF_THR_RESTART_SIGNAL; \
		GC_INIT_CONF_MAXIMUM_HEAP_SIZE; \
		GC_init(); \
		GC_INIT_CONF_ROOTS; \
		GC_INIT_CONF_IGNORE_WARN; \
		GC_INIT_CONF_INITIAL_HEAP_SIZE; \
	}

#ifdef __cplusplus
}
#endif
#endif
