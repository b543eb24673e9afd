/* libgc.h - the libgc face: what its files share. Its functions are the ABI of Boehm's libgc.so.1
 * (their names, types and meaning are its documented interface), on our heap.
 *
 * STATE  one process-wide face, cold until the first call of any entry.
 * LOCKS  `lock` (the client's "allocation lock"): outside all of ours; never taken by the collector. */
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
#define DENSE_SIZES 129 /* sizes to 1024 B in steps of 8, as sizeclass_of looks them up */

struct libgc {
	struct lock lock; /* GC_call_with_alloc_lock */
	unsigned kind_layout[MAX_KINDS];
	uint32_t nkinds;
	GC_mark_proc proc[MAX_PROCS];
	uint32_t nprocs;
	/* span classes of the two usual kinds by size, for the fast path; 0: not yet known */
	uint16_t dense[2][DENSE_SIZES];
	struct marker *marker; /* while the client's root callbacks run */
	void (*start_callback)(void);
	bool main_dropped; /* GC_clear_roots: the main program's data is no root any more */
	uintptr_t main_lo, main_hi; /* where the main program's segments lie */
	uint64_t total_at_gc; /* allocated when the last cycle ended */
};

extern struct libgc libgc;
extern const struct runtime_config libgc_config;

MGC_INLINE struct mutator *libgc_self(void)
{
	return runtime_self(&libgc_config);
}

/* libgc_ready - the face is started, whether or not the thread is attached. */
void libgc_ready(void);
/* libgc_out_of_memory - asks the client's callback. */
void *libgc_out_of_memory(size_t nbytes);
/* libgc_main_attached - the main program's cold stack end follows GC_stackbottom. */
void libgc_attached(struct mutator *m);
void libgc_init_kinds(void);
void libgc_init_roots(void);
void libgc_init_final(void);
void libgc_warn(const char *format, GC_word arg);

/* The variables of the interface that other files here read. */
extern LIBGC_API int GC_all_interior_pointers, GC_no_dls, GC_java_finalization, GC_finalize_on_demand;
extern LIBGC_API char *GC_stackbottom;
extern LIBGC_API void (*GC_push_other_roots)(void);
extern LIBGC_API void (*GC_finalizer_notifier)(void);
extern LIBGC_API GC_oom_func GC_oom_fn;

#endif
