/* mallocgc.h - the native API: a garbage-collected heap for languages written in C.
 *
 * A runtime hands every allocation to this library: mgc_new(&type). Objects are found dead by a
 * collector that reads heap objects precisely (by their type) and stacks and registers
 * conservatively, so C code may hold references in ordinary local variables. Nothing ever moves. A
 * pointer to any byte of an object keeps the whole object alive; a pointer just behind it does not.
 *
 * THREADS  Any thread may allocate; it is attached at its first call and detached when it exits. A
 *          thread that receives a reference before its first call here must call mgc_thread_attach
 *          first. Unless a comment says otherwise a function may be called from any thread, and none
 *          may be called from a signal handler.
 * STORES   A pointer stored into a reachable object, or into a registered root, goes through
 *          mgc_write and its relatives. Stores into an object that no other reference leads to yet
 *          (initialisation) need none.
 * ERRORS   Functions that return a pointer give NULL, those that return int give -1, and set errno:
 *          ENOMEM (the limit is reached or the system refuses), EINVAL (an argument), EOVERFLOW (a
 *          product of sizes). A mistake that would corrupt memory (a double free, a foreign pointer)
 *          ends the process with a message that names it.
 * NULL     A pointer is not NULL unless the call says what that means. Most calls die of one with a message that
 *          names the argument; mgc_new, the stores and mgc_link_get, which do not look, fault at address 0.
 * UNITS    Sizes are bytes, times nanoseconds, unless a name says otherwise.
 * ABI      Before 1.0 the soname changes with every incompatible change; structs that start with
 *          struct_size grow at their end. */
#ifndef MALLOCGC_H
#define MALLOCGC_H
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MGC_VERSION_MAJOR 0
#define MGC_VERSION_MINOR 1
#define MGC_VERSION_PATCH 0
#define MGC_API __attribute__((visibility("default")))
#ifdef MGC_IMPL /* the library itself looks */
#define MGC_NONNULL(...)
#else
#define MGC_NONNULL(...) __attribute__((nonnull(__VA_ARGS__)))
#endif

/* ── start ──────────────────────────────────────────────────────────────────────────────── */

enum mgc_init_flags {
	/* No signal handler is installed, and no thread is interrupted: each answers the collector when it
	 * calls the library for memory, in mgc_safepoint, or by mgc_blocking_enter. One that does none of
	 * them for long delays collections, and is named on standard error after 2 s. For programs whose
	 * compiler inserts polls, or whose libraries cannot bear EINTR. */
	MGC_INIT_POLL = 1
};

/* mgc_init - what cannot be changed later; optional, before every other call. 0, or -1: EINVAL (unknown
 * flags), EALREADY (the library has started), ENOMEM (not even the smallest heap can be had; try again). */
MGC_API int mgc_init(unsigned flags);

/* ── types ──────────────────────────────────────────────────────────────────────────────── */
/* FROM  Go's type descriptors (size, bytes up to the last pointer, a mask); callbacks: Boehm's mark procedures. */

struct mgc_tracer;

enum mgc_type_flags {
	/* A pointer word may also hold an integer that happens to look like a pointer. */
	MGC_TYPE_AMBIGUOUS = 1,
	/* Objects are of any size (mgc_alloc with this type; no arrays): trace is called once for each, and
	 * learns from the object how long it is. */
	MGC_TYPE_WHOLE = 2,
	/* A pointer stands in the low 48 bits of its word, something else above (a NaN-boxed value). Such a
	 * word counts also on stacks, in roots and for mgc_write, as soon as there is such a type. Without
	 * a trace callback it is ambiguous: any number may look like one. */
	MGC_TYPE_BOXED = 4
};

/* struct mgc_type - the shape of an object. A static variable, filled once, not const and not moved:
 * the library keeps its id of the layout in `mgc_id`, which starts as 0. One type serves one copy of
 * the library.
 *   name       for reports; may be NULL
 *   size       bytes of one object, ≥ 1
 *   ptr_bytes  pointers lie below this offset (≤ size); 0: the object holds none
 *   ptr_mask   one bit for each 8-byte word below ptr_bytes, lowest bit of byte 0 first; NULL: every
 *              word may hold a pointer
 *   trace      instead of a mask: called by the collector, perhaps on another thread and while the
 *              program runs, to name the pointers of obj with mgc_trace and mgc_trace_range; once for
 *              each element of an array, and for some that are still all zero. It may read obj only: no
 *              allocation, no lock, no weak reference. NULL: use the mask
 *   ptr_tag_mask, ptr_tags  tagged words: those low bits (at most 15) say what a word is; it is a
 *              pointer if bit t of ptr_tags is set, where t is the word's tag. ptr_tags 0: every tag
 *              is. Elsewhere (stacks, roots, mgc_write) a tagged pointer counts as it is, for it
 *              points into its object. For masks and callbacks alike. A pointer that stands at an offset (behind
 *              a header, say) is one to the inside, and needs no declaration; an offset below 16 is a tag of a
 *              16-aligned object, if it is to tell pointers from other words
 *   trace_part  instead of trace, for objects of any size that may be large: as trace, but for the
 *              bytes [from, to) of obj only; pieces of one object, of 128 KiB, are traced in any
 *              order, at the same time. `to` may lie behind the size that was asked for
 * What a callback reads to find its way (a tag, a length) must be right before others can reach the
 * object and stay, or change by a release store: a length grows before the first mgc_write to what it adds,
 * which is zero until then (a collection may begin between the two), and what it no longer covers is
 * cleared before it shrinks (mgc_clear). */
struct mgc_type {
	const char *name;
	size_t size;
	size_t ptr_bytes;
	const uint8_t *ptr_mask;
	void (*trace)(void *obj, struct mgc_tracer *tracer);
	uint32_t flags;
	uint16_t ptr_tags;
	uint8_t ptr_tag_mask;
	uint8_t reserved;
	void (*trace_part)(void *obj, size_t from, size_t to, struct mgc_tracer *tracer);
	uint64_t mgc_id;
};

/* mgc_trace - for trace callbacks: obj refers to `ref` (any word; its tag and box are taken off, and what
 * is not a reference into the heap is ignored). mgc_trace_range - the same for the n words at `words`,
 * in a third of the time of n calls. source src/gc/trace.c */
MGC_API void mgc_trace(struct mgc_tracer *tracer, const void *ref);
MGC_API void mgc_trace_range(struct mgc_tracer *tracer, const void *words, size_t n);

/* ── allocation ─────────────────────────────────────────────────────────────────────────── */
/* FROM  Go's newobject, newarray and mallocgc; uncollectable: Boehm's GC_malloc_uncollectable. */

enum mgc_alloc_flags {
	MGC_NOSCAN = 1, /* holds no pointers */
	MGC_NOZERO = 2, /* contents undefined; only together with MGC_NOSCAN */
	MGC_UNCOLLECTABLE = 4, /* a root: lives until mgc_free */
	MGC_ARRAY = 8 /* size may be any multiple of the type's */
};

/* mgc_new - one object of the type, all zero. Aligned to 16 (to 8 when it is smaller than 32, to its
 * size's power of two when smaller than 8). NULL with ENOMEM. May collect.
 * cost: a handful of instructions when the thread's run has room. source src/gc/alloc.c */
MGC_API void *mgc_new(struct mgc_type *type) MGC_NONNULL(1);

/* mgc_new_array - n objects of the type side by side. n = 0 gives a pointer that must not be read.
 * NULL with EOVERFLOW or ENOMEM. */
MGC_API void *mgc_new_array(struct mgc_type *type, size_t n) MGC_NONNULL(1);

/* mgc_alloc - size bytes laid out as the type says; type NULL: MGC_NOSCAN, or every word may be a
 * pointer. NULL with ENOMEM, or EINVAL for flags that exclude each other. */
MGC_API void *mgc_alloc(size_t size, struct mgc_type *type, unsigned flags);

/* mgc_free - gives an object back before the collector finds it dead; NULL is ignored. p is its first
 * byte. The program promises that nobody uses it any more; while a collection runs the memory is
 * reused only after it. Dies on a foreign pointer, one inside an object, or a second free. */
MGC_API void mgc_free(void *p);

/* mgc_base - the first byte of the object that p points into, NULL when into none. */
MGC_API void *mgc_base(const void *p);
/* mgc_size - usable bytes of the object that p points into, 0 when into none. */
MGC_API size_t mgc_size(const void *p);
/* mgc_is_heap - whether p points into an object. */
MGC_API int mgc_is_heap(const void *p);

/* mgc_keep_alive - p is still in use here: keeps the object alive up to this call. */
static inline void mgc_keep_alive(const void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

/* ── stores ─────────────────────────────────────────────────────────────────────────────── */
/* FROM  Go's hybrid write barrier, after Yuasa and Dijkstra, and typedmemmove. */

/* Who stores over a word of a reachable object or root calls one of these, also for NULL and for what is no
 * pointer: a collection under way may need the word that is overwritten. An object that nobody else can
 * reach yet is filled with plain stores, all of it, however long that takes and whatever the collector does
 * meanwhile; the store that makes it reachable is mgc_write. Slots are 8-aligned, in objects, roots or
 * stacks. Each word is stored in one piece, as a release; who loads a pointer that another thread stored
 * loads it as an acquire (or "consume": what it points to was filled before). With <mallocgc-inline.h>
 * the single stores are inlined. source src/gc/barrier.c */

/* mgc_write - *(void **)slot = ptr. */
MGC_API void mgc_write(void *slot, void *ptr) MGC_NONNULL(1);
/* mgc_write_range - stores n pointers from src, which is any memory, to consecutive slots. */
MGC_API void mgc_write_range(void *slots, void *const *src, size_t n);
/* mgc_move - memmove of nbytes (a multiple of 8) of pointer words; the ranges may overlap. The words are
 * copied one after the other: others may see a part of them moved. Any length: a collection never waits
 * for more than some 8 KiB of it. */
MGC_API void mgc_move(void *dst, const void *src, size_t nbytes);
/* mgc_clear - zeroes nbytes (a multiple of 8) of pointer words, likewise. */
MGC_API void mgc_clear(void *dst, size_t nbytes);
/* mgc_cas - if *slot == expected, stores ptr, atomically; 1 when it stored. Sequentially consistent. */
MGC_API int mgc_cas(void *slot, void *expected, void *ptr) MGC_NONNULL(1);
/* mgc_exchange - stores ptr, atomically; returns what was there. Acquire and release. */
MGC_API void *mgc_exchange(void *slot, void *ptr) MGC_NONNULL(1);

struct mgc_stack;

/* ── roots ──────────────────────────────────────────────────────────────────────────────── */
/* FROM  Boehm's GC_add_roots and data segments; owned ranges are ours. */

enum mgc_root_flags {
	MGC_ROOT_UNBARRIERED = 1, /* also stored to without mgc_write */
	MGC_ROOT_AMBIGUOUS = 2 /* words may hold integers that look like pointers */
};

/* mgc_root_add - every 8-byte word of [start, start + nbytes) keeps its object alive: until the range
 * is removed. 0, or -1: EINVAL (NULL, misaligned, overlaps a known root), ENOMEM. */
MGC_API int mgc_root_add(void *start, size_t nbytes, unsigned flags);
/* mgc_root_remove - start as it was added. 0, or -1 with EINVAL. */
MGC_API int mgc_root_remove(void *start);
/* mgc_root_add_globals - data segments and thread-local variables are roots: of every loaded object, now and
 * in the future; unbarriered, ambiguous. 0, or -1 with ENOMEM. */
MGC_API int mgc_root_add_globals(void);
/* mgc_root_add_owned - an operand stack or handle array that belongs to the calling thread: the words
 * of [start, *top) count as part of its stack; needs no mgc_write. *top moves between start and
 * start + nbytes, and is read between any two instructions: raise it before the word below it is stored, lower
 * it after that was read. Removed by mgc_root_remove, or when the thread detaches. Another thread that stores into
 * it does so by mgc_write, and does not read it. (An exact shadow stack is one: push handles, pop them on return.) */
MGC_API int mgc_root_add_owned(void *start, size_t nbytes, void **top);
/* mgc_root_give - the owned range that starts there belongs to `stack` from now on (NULL: to the calling
 * thread's own stack): for an interpreter that goes on elsewhere. Nobody uses it meanwhile. 0, or -1 with
 * EINVAL. */
MGC_API int mgc_root_give(void *start, struct mgc_stack *stack);

/* ── threads ────────────────────────────────────────────────────────────────────────────── */
/* FROM  Boehm's GC_register_my_thread, GC_do_blocking and stack bottoms; Go's entersyscall. */

/* mgc_thread_attach - the calling thread's stack and registers count from now on. 0, or -1 with
 * ENOMEM. Calling it again does nothing. */
MGC_API int mgc_thread_attach(void);
/* mgc_thread_detach - the thread holds no reference any more. Happens by itself at thread exit. */
MGC_API void mgc_thread_detach(void);
/* mgc_thread_create - pthread_create, but `arg` stays alive until the new thread is attached: it is
 * before fn runs. 0, or an errno: EINVAL (thread or fn NULL), or what pthread_create says. attr may be NULL. */
MGC_API int mgc_thread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			      void *arg);
/* A collection interrupts each running thread once, by a real-time signal (SA_RESTART, SA_ONSTACK): read,
 * write, accept, waitpid and their like go on by themselves, but poll, select, epoll_wait, nanosleep,
 * sem_timedwait and others (signal(7)) return EINTR, as for any signal; not so between enter and leave. A
 * thread that blocks the signal is not interrupted: it answers when it calls the library. Until then the collection
 * waits for it, and so does whoever changes roots, calls mgc_collect or forks, and, while there are unbarriered
 * roots, every other thread; threads begin, allocate and end meanwhile. Who blocks the signal and waits for one that
 * may do the former waits between enter and leave, or both wait for ever. */

/* mgc_blocking_enter, mgc_blocking_leave - around a call that may wait long: meanwhile the collector
 * does not interrupt this thread, and the thread touches no reference. They do not nest. */
MGC_API void mgc_blocking_enter(void);
MGC_API void mgc_blocking_leave(void);
/* mgc_safepoint - a good moment for what the collector may want of this thread. Needed with MGC_INIT_POLL,
 * where a long computation would delay a collection; else there are signals. A load and a branch where
 * it is inlined. */
MGC_API void mgc_safepoint(void);

/* struct mgc_stack - a stack other than a thread's own: of a coroutine or fiber. It may run on one thread
 * today and on another tomorrow, and is read as it stands while it waits: what it refers to lives until it is
 * unregistered, also when nobody will ever switch to it again. The library needs about 6 KiB of the stack that runs,
 * 10 KiB where mgc_collect is called, less with sigaltstack (docs/adr/0023-stacks.md). */
/* mgc_stack_register - [lo, hi) is a stack that does not run now, and on which nothing lies; NULL with
 * ENOMEM or EINVAL. If that memory is an object of this heap, it lives as long as it is registered. */
MGC_API struct mgc_stack *mgc_stack_register(void *lo, void *hi);
/* mgc_stack_unregister - what lies on it counts no more; NULL is ignored. Dies when a thread runs on it. */
MGC_API void mgc_stack_unregister(struct mgc_stack *stack);
/* mgc_stack_prepare - [sp, hi) of a stack that waits counts as used: a first frame was put there, with what
 * the fiber is started with. Not needed when that is kept elsewhere until it runs. */
MGC_API void mgc_stack_prepare(struct mgc_stack *stack, void *sp) MGC_NONNULL(1);
/* mgc_stack_switch - call right before this thread leaves `from` (NULL: its own stack) for `to` (NULL:
 * its own stack), whichever way it switches. What lies on `from` above the caller's frame counts as used
 * until it runs again, with what the callee-saved registers hold now. A thread that runs on a stack
 * which it has not announced ends the process, with a message, at the next collection. A thread may
 * end on a fiber: nothing on that stack counts any more. */
MGC_API void mgc_stack_switch(struct mgc_stack *from, struct mgc_stack *to);
/* mgc_stack_add_owned - as mgc_root_add_owned, for code that runs on that stack (NULL: on the calling
 * thread's own): goes where the fiber goes. Removed by mgc_root_remove, or with the stack. */
MGC_API int mgc_stack_add_owned(struct mgc_stack *stack, void *start, size_t nbytes, void **top);

/* ── lifetimes ──────────────────────────────────────────────────────────────────────────── */
/* FROM  Go's SetFinalizer, AddCleanup, weak.Pointer and cgo.Handle; Boehm's disappearing links; ephemerons: Hayes 1997. */

/* What hangs on an object without keeping it alive. In the collection that finds obj dead, in this order:
 * short weak references to it become null; if it has a finalizer, that is due, and obj and all it reaches
 * live again until it has run. When nothing brought it back: long weak references become null, its pairs in
 * ephemerons and weak maps are gone, its cleanups are due. mgc_free(obj) does the same at once, but that
 * finalizers are dropped, also one that is due. An obj that is a key of a pair is cleared, and left to the
 * collections that follow.
 * Nothing orders what is due, except that objects are finalized before those they refer to.
 * Finalizers and cleanups are called on threads of the library's own, started when the first is due: one for
 * finalizers, up to MGC_DEBUG=cleanup_threads for cleanups; or by mgc_run_finalizers. They may do all that
 * any thread may, also end it, or fork. */

/* mgc_finalizer_set - when obj (its first byte) is found dead, fn(obj, arg) runs once; it may keep obj
 * alive, or set a finalizer again. Objects that reach each other, or themselves, and have finalizers never
 * are finalized: use cleanups. fn NULL removes it. arg is a root meanwhile. 0, or -1: EINVAL, ENOMEM.
 * source src/gc/special.c */
MGC_API int mgc_finalizer_set(void *obj, void (*fn)(void *obj, void *arg), void *arg);
/* mgc_cleanup_add - when obj is gone, fn(arg) runs once; any number for one object, which is any pointer
 * into it. arg is a root until then: from it, obj must not be reached. An id, or 0: EINVAL (obj is no
 * object; fn NULL; arg points into obj), ENOMEM. */
typedef uint64_t mgc_cleanup_id;
MGC_API mgc_cleanup_id mgc_cleanup_add(const void *obj, void (*fn)(void *arg), void *arg);
/* mgc_cleanup_remove - 1: it will not run; 0: it is due, or has run, or was removed. */
MGC_API int mgc_cleanup_remove(mgc_cleanup_id id);
/* mgc_run_finalizers - runs the finalizers and cleanups that are due on the calling thread; how many. After
 * the first call the library starts no thread for them. */
MGC_API size_t mgc_run_finalizers(void);

/* struct mgc_weak - a weak reference: an object of the heap like any other, kept by references to it; never
 * freed by hand. All to the same address are one, so == tells whether two name the same object, also when
 * it is gone. */
struct mgc_weak;
/* mgc_weak_new - to the address p, anywhere in an object. mgc_weak_new_long - one that outlives the object's
 * finalizer. NULL: EINVAL (p points into no object), ENOMEM. source src/gc/weak.c */
MGC_API struct mgc_weak *mgc_weak_new(const void *p);
MGC_API struct mgc_weak *mgc_weak_new_long(const void *p);
/* mgc_weak_get - the address, or NULL when the object is gone; of NULL too. Whoever has the result keeps the
 * object. Takes no lock; at the end of a collection it may wait for it, a long one longer: some tens of
 * microseconds, or what finalizable objects take to mark. */
MGC_API void *mgc_weak_get(const struct mgc_weak *weak);

/* struct mgc_ephemeron - a pair, an object like any other: as long as it and the key are alive it keeps the
 * value; what the value reaches keeps neither. A key that points into no object lives for ever. */
struct mgc_ephemeron;
/* mgc_ephemeron_new - NULL: EINVAL (the key is NULL or MGC_UNCOLLECTABLE), ENOMEM. source
 * src/gc/weakmap.c */
MGC_API struct mgc_ephemeron *mgc_ephemeron_new(void *key, void *value);
/* mgc_ephemeron_key, _value - NULL when the key is gone. May wait as mgc_weak_get of a long one.
 * mgc_ephemeron_set - another value; nothing when the key is gone. */
MGC_API void *mgc_ephemeron_key(struct mgc_ephemeron *e);
MGC_API void *mgc_ephemeron_value(struct mgc_ephemeron *e);
MGC_API void mgc_ephemeron_set(struct mgc_ephemeron *e, void *value);

/* struct mgc_weakmap - many pairs, found by the key's address; an object like any other. Any number of
 * threads may use one at a time; reading takes no lock. cost: 21 to 43 bytes for each pair. */
struct mgc_weakmap;
/* mgc_weakmap_new - an empty one. NULL with ENOMEM. */
MGC_API struct mgc_weakmap *mgc_weakmap_new(void);
/* mgc_weakmap_get - the value, NULL when there is none. */
MGC_API void *mgc_weakmap_get(struct mgc_weakmap *map, const void *key);
/* mgc_weakmap_set - puts or replaces. 0, or -1: EINVAL (the key is NULL or MGC_UNCOLLECTABLE), ENOMEM. */
MGC_API int mgc_weakmap_set(struct mgc_weakmap *map, void *key, void *value);
/* mgc_weakmap_remove - 1, or 0: it was not there. */
MGC_API int mgc_weakmap_remove(struct mgc_weakmap *map, const void *key);
/* mgc_weakmap_count - pairs whose keys no collection has found dead. */
MGC_API size_t mgc_weakmap_count(const struct mgc_weakmap *map);
/* mgc_weakmap_each - fn for each pair until it returns other than 0; how many calls. fn may change the map:
 * pairs that come or go meanwhile may be met or not. */
MGC_API size_t mgc_weakmap_each(struct mgc_weakmap *map,
				int (*fn)(void *key, void *value, void *arg), void *arg);

/* mgc_handle - a number that keeps an object alive until it is freed: for foreign code, kernel queues and
 * memory that the collector does not read. Nothing moves, so that it pins the object, too. */
typedef uintptr_t mgc_handle;
/* mgc_handle_new - another one at each call; 0: EINVAL (obj NULL), ENOMEM. */
MGC_API mgc_handle mgc_handle_new(void *obj);
/* mgc_handle_get - the object, as it was given; NULL for 0. Takes no lock. Dies when the handle was freed. */
MGC_API void *mgc_handle_get(mgc_handle handle);
/* mgc_handle_free - 0 is ignored. Dies of a second free. */
MGC_API void mgc_handle_free(mgc_handle handle);

/* mgc_link_set - *link (8-aligned) is zeroed when obj is found dead, as a short weak reference: for those
 * who have a word of their own and want no object for it. Does not keep obj alive. link may
 * lie in a pointer-free object or outside the heap; remove it with mgc_link_clear before that memory
 * goes away. 0, or -1: EINVAL (obj no object), ENOMEM.
 * mgc_link_clear - *link is an ordinary word again, and stays as it is. 0, or -1 with EINVAL: it was no link. */
MGC_API int mgc_link_set(void **link, const void *obj);
MGC_API int mgc_link_clear(void **link);
/* mgc_link_get - the object that the link names, or NULL when it is dead: the only way to read one, as
 * collections run beside the program. Whoever has the result keeps the object. */
MGC_API void *mgc_link_get(void *const *link) MGC_NONNULL(1);

/* ── control ────────────────────────────────────────────────────────────────────────────── */
/* FROM  Go's runtime.GC, SetGCPercent, SetMemoryLimit and FreeOSMemory. */

/* mgc_collect - finishes a running collection, runs a whole one and sweeps. */
MGC_API void mgc_collect(void);
/* mgc_set_percent - the heap may grow by this share of what is live before the next collection; 100 by
 * default, negative: never collect by itself. Returns the previous one. Waits for the end of a collection that runs, as do
 * mgc_set_memory_limit, mgc_release and mgc_root_add_globals: the longer, the larger the heap is. */
MGC_API int mgc_set_percent(int percent);
/* mgc_set_memory_limit - the most that the heap may keep resident with its tables, in bytes; negative: only
 * ask. INT64_MAX: none, not even the container's. Collections start early enough to keep it, and allocation
 * waits for one that runs; when what is live does not fit, allocation fails. Garbage may pass the limit, to
 * twice of it at most, while keeping it would take more than half of the processor time (statistics
 * limited_cycles, over_limit_max); MGC_DEBUG=limitover=0: never. Returns the previous limit. */
MGC_API int64_t mgc_set_memory_limit(int64_t nbytes);
/* mgc_release - gives free memory back to the system now; bytes given back. */
MGC_API size_t mgc_release(void);

/* ── statistics ─────────────────────────────────────────────────────────────────────────── */
/* FROM  Go's runtime/metrics and MemProfileRate. */

/* struct mgc_stats - set struct_size = sizeof(struct mgc_stats) before the call. What a gauge counts and
 * the names of all: docs/gen/stats.md, mallocgc(7). */
struct mgc_stats {
	size_t struct_size;
	/* written by `make docs` from src/base/stat.def */
	uint64_t cycles; /* gc-cycles: collections finished */
	uint64_t forced_cycles; /* gc-cycles: of them by mgc_collect */
	uint64_t heap_live; /* bytes: found live by the last collection */
	uint64_t heap_now; /* bytes: live, and what was allocated since */
	uint64_t heap_goal; /* bytes: a collection starts when /gc/heap/now reaches it */
	uint64_t heap_in_spans; /* bytes: pages that hold objects, or free slots between them */
	uint64_t heap_free_dirty; /* bytes: free pages, still resident */
	uint64_t heap_free_clean; /* bytes: free pages, given back or never touched */
	uint64_t total_allocated; /* bytes: allocated since the start, in whole slots */
	uint64_t total_freed; /* bytes: freed by mgc_free since the start */
	uint64_t scavenged; /* bytes: given back to the system since the start */
	uint64_t pause_total_ns; /* nanoseconds: time the world was stopped */
	uint64_t pause_max_ns; /* nanoseconds: the longest stop */
	uint64_t pause_last_ns; /* nanoseconds: the stop of the last collection */
	uint64_t gc_cpu_ns; /* nanoseconds: processor time of collecting, without sweeping on demand */
	uint64_t threads; /* threads: attached */
	uint64_t objects_marked; /* objects: found live by the last collection */
	uint64_t finalizers_run; /* finalizers: run since the start */
	uint64_t finalizers_due; /* finalizers: waiting to be run */
	uint64_t specials; /* objects: finalizers, cleanups, weak references and links that are registered */
	uint64_t stacks_scanned; /* bytes: stacks read by the last collection */
	uint64_t roots_scanned; /* bytes: roots and data segments read by the last collection */
	uint64_t percent; /* percent: MGC_PERCENT, or as set since; the largest number: off */
	uint64_t limit; /* bytes: MGC_LIMIT, or as set since; the largest number: none */
	uint64_t heap_reserved; /* bytes: addresses in which the heap may grow */
	uint64_t metadata_tables; /* bytes: span records, bits and page descriptors: committed */
	uint64_t metadata_mutators; /* bytes: records of threads: committed */
	uint64_t metadata_marking; /* bytes: grey queue */
	uint64_t metadata_specials; /* bytes: tables of finalizers, cleanups, weak references, links and handles */
	uint64_t cleanups_run; /* cleanups: run since the start */
	uint64_t cleanups_due; /* cleanups: waiting to be run */
	uint64_t handles; /* objects: handles that were made and not freed */
	uint64_t over_limit_max; /* bytes: the most that the heap was above its limit when a collection ended */
	uint64_t limited_cycles; /* gc-cycles: collections after which the heap could pass its limit, because collecting had taken half of the processor time */
};
/* mgc_read_stats - fills as much of it as struct_size says. Dies of one that was not set. Waits for no
 * collection: what it tells of collections is that of the last one that ended. */
MGC_API void mgc_read_stats(struct mgc_stats *stats) MGC_NONNULL(1);
/* mgc_write_stats - all of them to fd; format: "text" (name and value a line), "json" (one line), or
 * "openmetrics" (for Prometheus). 0, or -1: EINVAL (another format, or NULL), or what write says. */
MGC_API int mgc_write_stats(int fd, const char *format);

/* mgc_write_profile - writes to fd the sampled profile of heap and allocation: in pprof's format (go tool pprof), what
 * MGC_PROFILE writes at exit. It is empty unless MGC_PROFILE or MGC_DEBUG=samplerate was set, or
 * mgc_set_sample_rate called. 0, or -1: ENOMEM; what write says; ENODATA: there is no /proc to say which file
 * an address is in, the rest is written. source src/sample/pprof.c
 * mgc_set_sample_rate - one sample in so many bytes of allocation from now on; 0: none. The previous rate. */
MGC_API int mgc_write_profile(int fd);
MGC_API size_t mgc_set_sample_rate(size_t nbytes);

/* ── what is in the heap ────────────────────────────────────────────────────────────────────
 * All stop the world for as long as it takes to walk the heap. Objects are called by the names of their
 * types; MGC_DEBUG=types=1 keeps types of one layout apart, which share a name ("a|b") otherwise.
 * docs/debugging.md shows what they write. */

/* mgc_explain - writes to fd the shortest way from a root to the object that obj points into: the answer to "who
 * keeps this alive". How many references the way has; 0: nothing keeps it. The caller's own stack is
 * looked at last. -1: EINVAL (no object), ENOMEM, or what write says. source src/obs/explain.c */
MGC_API int mgc_explain(const void *obj, int fd);
/* mgc_dump_heap - writes all objects, references and roots to fd, a JSON object a line; not to a pipe that
 * a thread of this process reads. 0, or -1: ENOMEM, or what write says. source src/obs/heapdump.c */
MGC_API int mgc_dump_heap(int fd);
/* mgc_read_types - objects counted by type, most bytes first, into at most n rows; how many types have objects.
 * Call mgc_collect before, or the dead count too. source src/obs/census.c */
struct mgc_type_usage {
	const char *name; /* valid for ever */
	uint64_t objects;
	uint64_t nbytes; /* in whole slots */
};
MGC_API size_t mgc_read_types(struct mgc_type_usage *rows, size_t n);
/* mgc_report_leaks - writes to fd, by type, the uncollectable objects to which nothing leads: no root, stack, global
 * variable or object; how many there are. -1: ENOMEM, or what write says. */
MGC_API long mgc_report_leaks(int fd);
/* mgc_verify - walks the library's invariants and every reference of each reachable object; ends the process
 * with a message that names the object, its type and the word if one does not lead to an object. */
MGC_API void mgc_verify(void);

/* mgc_version - "0.1.0". */
MGC_API const char *mgc_version(void);

#ifdef __cplusplus
}
#endif
#endif
