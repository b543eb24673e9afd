/* gc.h - the interface of Boehm's libgc, as far as libgc.so.1 of mallocgc has it, for programs that are
 * compiled against this library alone. Names, types and meanings are libgc 8.2's. */
#ifndef GC_H
#define GC_H
#include <pthread.h>
#include <sys/select.h> /* sigset_t, in every dialect of C */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GC_VERSION_MAJOR 8
#define GC_VERSION_MINOR 2
#define GC_VERSION_MICRO 2

typedef uintptr_t GC_word;
typedef intptr_t GC_signed_word;
typedef void *(*GC_fn_type)(void *client_data);
typedef void *(*GC_oom_func)(size_t nbytes);
typedef void (*GC_warn_proc)(char *format, GC_word arg);
typedef void (*GC_finalization_proc)(void *obj, void *client_data);
typedef void (*GC_finalizer_notifier_proc)(void);
typedef void (*GC_start_callback_proc)(void);
typedef void (*GC_push_other_roots_proc)(void);
typedef int (*GC_stop_func)(void);

struct GC_stack_base {
	void *mem_base; /* the cold end */
};

#define GC_SUCCESS 0
#define GC_DUPLICATE 1
#define GC_NO_MEMORY 2
#define GC_UNIMPLEMENTED 3
#define GC_NOT_FOUND 4

/* variables */
extern int GC_all_interior_pointers, GC_finalize_on_demand, GC_java_finalization, GC_no_dls;
extern int GC_dont_gc, GC_dont_expand, GC_parallel, GC_find_leak, GC_full_freq, GC_use_entire_heap;
extern GC_word GC_gc_no, GC_free_space_divisor, GC_max_retries, GC_non_gc_bytes;
extern unsigned long GC_time_limit;
extern GC_oom_func GC_oom_fn;
extern GC_finalizer_notifier_proc GC_finalizer_notifier;
extern GC_push_other_roots_proc GC_push_other_roots;
extern char *GC_stackbottom;
extern void *GC_least_plausible_heap_addr, *GC_greatest_plausible_heap_addr;

/* start and allocation */
void GC_init(void);
unsigned GC_get_version(void);
void *GC_malloc(size_t nbytes);
void *GC_malloc_atomic(size_t nbytes);
void *GC_malloc_uncollectable(size_t nbytes);
void *GC_malloc_atomic_uncollectable(size_t nbytes);
void *GC_malloc_ignore_off_page(size_t nbytes);
void *GC_malloc_atomic_ignore_off_page(size_t nbytes);
void *GC_malloc_many(size_t nbytes);
void *GC_memalign(size_t align, size_t nbytes);
int GC_posix_memalign(void **out, size_t align, size_t nbytes);
void *GC_realloc(void *p, size_t nbytes);
void GC_free(void *p);
char *GC_strdup(const char *s);
char *GC_strndup(const char *s, size_t n);
void *GC_base(void *p);
size_t GC_size(const void *p);
int GC_is_heap_ptr(const void *p);
#define GC_NEXT(p) (*(void **)(p))
#define GC_INIT() GC_init()
#define GC_MALLOC(n) GC_malloc(n)
#define GC_MALLOC_ATOMIC(n) GC_malloc_atomic(n)
#define GC_MALLOC_UNCOLLECTABLE(n) GC_malloc_uncollectable(n)
#define GC_REALLOC(p, n) GC_realloc(p, n)
#define GC_FREE(p) GC_free(p)
#define GC_NEW(t) ((t *)GC_malloc(sizeof(t)))
#define GC_STRDUP(s) GC_strdup(s)

/* collections and their settings */
void GC_gcollect(void);
void GC_gcollect_and_unmap(void);
int GC_try_to_collect(GC_stop_func stop);
int GC_collect_a_little(void);
void GC_enable(void);
void GC_disable(void);
int GC_is_disabled(void);
void GC_enable_incremental(void);
int GC_expand_hp(size_t nbytes);
void GC_set_max_heap_size(GC_word nbytes);
void GC_set_free_space_divisor(GC_word d);
GC_word GC_get_free_space_divisor(void);
void GC_set_all_interior_pointers(int v);
int GC_get_all_interior_pointers(void);
void GC_set_no_dls(int v);
void GC_set_handle_fork(int v);
void GC_set_oom_fn(GC_oom_func fn);
GC_oom_func GC_get_oom_fn(void);
void GC_set_warn_proc(GC_warn_proc p);
GC_warn_proc GC_get_warn_proc(void);
void GC_ignore_warn_proc(char *format, GC_word arg);
void GC_set_start_callback(GC_start_callback_proc fn);
void GC_set_on_collection_event(void (*fn)(int event));

/* statistics */
size_t GC_get_heap_size(void);
size_t GC_get_free_bytes(void);
size_t GC_get_bytes_since_gc(void);
size_t GC_get_total_bytes(void);
size_t GC_get_memory_use(void);
GC_word GC_get_gc_no(void);
void GC_get_heap_usage_safe(GC_word *heap, GC_word *free_nbytes, GC_word *unmapped, GC_word *since,
			    GC_word *total);

/* roots */
void GC_add_roots(void *lo, void *hi);
void GC_remove_roots(void *lo, void *hi);
void GC_clear_roots(void);
void GC_register_displacement(size_t offset);
void GC_set_push_other_roots(GC_push_other_roots_proc fn);
GC_push_other_roots_proc GC_get_push_other_roots(void);
void GC_push_all(void *lo, void *hi);
void GC_push_all_eager(void *lo, void *hi);
void GC_push_conditional(void *lo, void *hi, int all);

/* finalizers and links */
void GC_register_finalizer(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn, void **ocd);
void GC_register_finalizer_ignore_self(void *obj, GC_finalization_proc fn, void *cd,
				       GC_finalization_proc *ofn, void **ocd);
void GC_register_finalizer_no_order(void *obj, GC_finalization_proc fn, void *cd,
				    GC_finalization_proc *ofn, void **ocd);
void GC_register_finalizer_unreachable(void *obj, GC_finalization_proc fn, void *cd,
				       GC_finalization_proc *ofn, void **ocd);
int GC_should_invoke_finalizers(void);
int GC_invoke_finalizers(void);
void GC_set_finalize_on_demand(int v);
void GC_set_java_finalization(int v);
void GC_set_finalizer_notifier(GC_finalizer_notifier_proc fn);
int GC_register_disappearing_link(void **link);
int GC_general_register_disappearing_link(void **link, const void *obj);
int GC_move_disappearing_link(void **from, void **to);
int GC_unregister_disappearing_link(void **link);
int GC_register_long_link(void **link, const void *obj);
int GC_unregister_long_link(void **link);
#define GC_HIDE_POINTER(p) (~(GC_word)(p))
#define GC_REVEAL_POINTER(p) ((void *)GC_HIDE_POINTER(p))

/* threads */
void GC_allow_register_threads(void);
int GC_register_my_thread(const struct GC_stack_base *sb);
int GC_unregister_my_thread(void);
int GC_thread_is_registered(void);
int GC_get_stack_base(struct GC_stack_base *sb);
void *GC_call_with_stack_base(void *(*fn)(struct GC_stack_base *, void *), void *arg);
void *GC_do_blocking(GC_fn_type fn, void *arg);
void *GC_call_with_gc_active(GC_fn_type fn, void *arg);
void *GC_call_with_alloc_lock(GC_fn_type fn, void *arg);
int GC_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int GC_pthread_join(pthread_t t, void **result);
int GC_pthread_detach(pthread_t t);
void GC_pthread_exit(void *result);
int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
void *GC_dlopen(const char *path, int mode);
int GC_get_suspend_signal(void);

/* kinds, mark procedures, typed objects */
struct GC_ms_entry;
typedef struct GC_ms_entry *(*GC_mark_proc)(GC_word *addr, struct GC_ms_entry *top,
					    struct GC_ms_entry *limit, GC_word env);
#define GC_DS_LENGTH 0
#define GC_DS_PROC 2
#define GC_MAKE_PROC(index, env) (((((GC_word)(env)) << 6 | (GC_word)(index)) << 2) | GC_DS_PROC)
void **GC_new_free_list(void);
unsigned GC_new_kind(void **free_list, GC_word descriptor, int adjust, int clear);
unsigned GC_new_proc(GC_mark_proc proc);
void *GC_generic_malloc(size_t nbytes, int kind);
void GC_generic_malloc_many(size_t nbytes, int kind, void **result);
struct GC_ms_entry *GC_mark_and_push(void *obj, struct GC_ms_entry *top, struct GC_ms_entry *limit, void **src);
#define GC_MARK_AND_PUSH(obj, top, limit, src)                                              \
	((GC_word)(obj) >= (GC_word)GC_least_plausible_heap_addr &&                         \
			 (GC_word)(obj) <= (GC_word)GC_greatest_plausible_heap_addr         \
		 ? GC_mark_and_push(obj, top, limit, src)                                   \
		 : (top))
GC_word GC_make_descriptor(const GC_word *bitmap, size_t nbits);
void *GC_malloc_explicitly_typed(size_t nbytes, GC_word descriptor);
void *GC_calloc_explicitly_typed(size_t n, size_t nbytes, GC_word descriptor);

#ifdef __cplusplus
}
#endif
#endif
