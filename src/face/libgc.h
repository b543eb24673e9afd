/* libgc.h - the libgc face: what its files share. Its functions are the ABI of Boehm's libgc.so.1
 * (their names, types and meaning are its documented interface), on our heap.
 *
 * STATE  one process-wide face, cold until the first call of any entry.
 * LOCKS  `lock` (the client's "allocation lock"): outside all of ours; never taken by the collector, but nobody has it while links
 *        are nulled after a stop (gc/clearing.c). */
#ifndef MGC_FACE_LIBGC_H
#define MGC_FACE_LIBGC_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "face/runtime.h"

#define LIBGC_API __attribute__((visibility("default")))

typedef uintptr_t GC_word;
typedef void (*GC_finalization_proc)(void *obj, void *client_data);
typedef void *(*GC_fn_type)(void *client_data);
typedef void *(*GC_oom_func)(size_t nbytes);
typedef void (*GC_warn_proc)(char *format, GC_word arg);

typedef void (*GC_abort_func)(const char *text);
typedef int (*GC_stop_func)(void);
typedef void (*GC_describe_type_fn)(void *obj, char *out);

struct GC_stack_base {
	void *mem_base;
};
struct GC_ms_entry;
typedef struct GC_ms_entry *(*GC_mark_proc)(GC_word *addr, struct GC_ms_entry *top,
					    struct GC_ms_entry *limit, GC_word env);

enum { GC_SUCCESS = 0, GC_DUPLICATE = 1, GC_NO_MEMORY = 2, GC_UNIMPLEMENTED = 3, GC_NOT_FOUND = 4 };

/* The kinds that always exist, by the numbers that clients pass. */
enum { KIND_PTRFREE, KIND_NORMAL, KIND_UNCOLLECTABLE, KIND_AUNCOLLECTABLE, KIND_FIRST_FREE };
#define MAX_KINDS 16
#define MAX_PROCS 64
#define RESERVED_PROCS \
	8 /* numbers below are for the collector and for gcj; clients know the count */
#define PROC_GCJ 0
#define PROC_BITMAP 1 /* ours: env is the number of a long bitmap */
#define DENSE_SIZES \
	1025 /* sizes to 1024 B, each by itself: whether it has a byte more is looked up with its class */

/* What is known of a kind. Written before its number is given to the client. */
struct kind {
	GC_word descriptor;
	bool adjust; /* the object's size is added to the descriptor */
	int (*disclaim)(void *obj); /* not 0: the object is kept; NULL: none */
	bool marks_all; /* what an object refers to is asked after it */
	GC_describe_type_fn describe; /* NULL: none */
};

struct libgc {
	struct lock lock; /* GC_call_with_alloc_lock */
	unsigned kind_layout[MAX_KINDS];
	struct kind kind[MAX_KINDS];
	uint32_t nkinds;
	GC_mark_proc proc[MAX_PROCS];
	uint32_t nprocs;
	/* dense_entry by size, of the two usual kinds, for the fast path; atomic; 0: not yet known */
	uint32_t dense[2][DENSE_SIZES];
	struct marker *marker; /* while the client's root callbacks run */
	void (*start_callback)(void);
	bool main_dropped; /* GC_clear_roots: the main program's data is no root where GC_no_dls is set */
	uintptr_t main_lo, main_hi; /* where the main program's segments lie */
	/* What was allocated, and freed by hand, when the last cycle ended: atomic, and read before the sum of now, which only
	 * grows; else a cycle that ends between the two makes the difference negative. */
	uint64_t total_at_gc, freed_at_gc;
	uint64_t reclaimed_nbytes; /* by the last cycle */
	uint64_t reclaimed_before_nbytes; /* by all before it */
	GC_stop_func stop_func; /* asked before a collection; not 0: not now */
	int no_automatic; /* collections only when asked for */
	int force_unmap; /* GC_gcollect gives free memory back, too */
	unsigned markers; /* GC_set_markers_count; 0: never called */
	bool debugging; /* debug objects exist: each collection checks them */
};

extern struct libgc libgc;
extern struct runtime_config libgc_config;

MGC_INLINE struct mutator *libgc_self(void)
{
	return runtime_self(&libgc_config);
}

struct usage {
	size_t heap, free_nbytes, unmapped, since, total;
};
struct usage libgc_usage(void);
/* libgc_add_link - as GC_register_long_link, or its short kin, but also where leaks are looked for, when the program gets none. */
int libgc_add_link(void **link, const void *obj, bool is_long);
void libgc_init_settings(void);

/* libgc_ready - the face is started, whether or not the thread is attached. */
void libgc_ready(void);
/* libgc_lock - takes the clients' allocation lock, in a section from here on; GC_alloc_unlock gives it back. */
void libgc_lock(void);
/* libgc_out_of_memory - asks the client's callback. */
void *libgc_out_of_memory(size_t nbytes);
/* libgc_main_attached - the main program's cold stack end follows GC_stackbottom. */
void libgc_attached(struct mutator *m);
void libgc_init_kinds(void);
void libgc_init_roots(void);
void libgc_init_final(void);
void libgc_init_events(void);
void libgc_init_threads(void);
/* libgc_hold_ended - GC_pthread_create made the thread, it has ended, and nobody joined it: then it counts as suspended, or no more.
 * libgc_holds_ended - whether it does. */
void libgc_hold_ended(pthread_t id, bool held);
bool libgc_holds_ended(pthread_t id);
void libgc_warn(const char *format, GC_word arg);
/* libgc_kind_layout - of a kind that was made; dies naming the function when it was not. */
unsigned libgc_kind_layout(int kind, const char *function);
/* libgc_kind_of - the kind of the object at that first byte. */
unsigned libgc_kind_of(uintptr_t object);
/* libgc_alloc - of any kind; asks the client's callback when memory is exhausted. */
void *libgc_alloc(unsigned kind, size_t nbytes);
void *libgc_alloc_layout(unsigned layout, size_t nbytes);
/* libgc_alloc_fresh - the same of a kind without a disclaim procedure, or before it is told; 0: no memory, and nobody was asked. */
uintptr_t libgc_alloc_fresh(unsigned kind, size_t nbytes);
/* libgc_with_end - with the byte that an object of that layout has more (libgc_end.c). */
size_t libgc_with_end(unsigned layout, size_t nbytes);
/* libgc_end_layout - that of an object that GC_malloc makes: it may be one that is watched. */
unsigned libgc_end_layout(unsigned layout, size_t nbytes);
/* libgc_end_spare - so much of an object of that span is not to be used, as it is watched. */
size_t libgc_end_spare(const struct span *s);
/* libgc_end_unseen - objects in slots below this many bytes may have no byte more. */
uint64_t libgc_end_unseen(void);
void libgc_init_end(void);
/* libgc_learn_end - after a collection. */
void libgc_learn_end(void);
/* libgc_tell_heap_resize - when the heap's size is not what it was. */
void libgc_tell_heap_resize(void);
/* libgc_look_for_errors - in the stop, after the mark: names what nobody freed; checks debug objects. */
void libgc_look_for_errors(void);
/* libgc_describe - an object for a message, in [out, out + nbytes). */
void libgc_describe(uintptr_t object, char *out, size_t nbytes);
/* libgc_mark_toggles - in the stop, before the mark: the client says which are strong. */
void libgc_mark_toggles(struct marker *mk);
/* libgc_add_finalizer - fresh: of an object that the calling thread has just allocated. It need not be where the client was asked for
 * memory: then it is what he had kept, in the heap or not. Asks him, too, where there is no memory for the record. */
void libgc_add_finalizer(void *obj, GC_finalization_proc fn, void *cd, enum finalizer_order order,
			 bool fresh);
/* libgc_disclaimed - an object of a kind with a disclaim procedure was made; fresh: see libgc_add_finalizer. */
void libgc_disclaimed(unsigned kind, void *obj, bool fresh);
/* libgc_asks_by - that "finalizer" is not the program's, but calls its disclaim procedure, or GC_finalized_malloc's. */
bool libgc_asks_by(GC_finalization_proc fn);
/* libgc_note_mark - the program says of an object that it is marked, or not: kept for its disclaim procedure, if it has one. */
void libgc_note_mark(uintptr_t object, bool is_marked);
/* libgc_is_asked - that procedure is called with it just now; *is_marked: the program said so. */
bool libgc_is_asked(uintptr_t object, bool *is_marked);
/* libgc_tell_awaiting - after a collection: of objects whose finalizers became due. */
void libgc_tell_awaiting(void);

/* The variables of the interface that other files here read. */
extern LIBGC_API int GC_all_interior_pointers, GC_no_dls, GC_java_finalization, GC_finalize_on_demand;
extern LIBGC_API char *GC_stackbottom;
extern LIBGC_API void (*GC_push_other_roots)(void);
extern LIBGC_API void (*GC_finalizer_notifier)(void);
extern LIBGC_API GC_oom_func GC_oom_fn;
extern LIBGC_API GC_abort_func GC_on_abort;
extern LIBGC_API int GC_find_leak, GC_dont_gc, GC_full_freq, GC_use_entire_heap;
extern LIBGC_API unsigned long GC_time_limit;
extern LIBGC_API GC_word GC_non_gc_bytes, GC_free_space_divisor;
LIBGC_API void GC_err_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
