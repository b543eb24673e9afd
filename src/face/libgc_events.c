/* libgc_events.c - what clients are told of collections and threads, and the statistics in one struct. */
#include <string.h>

#include "base/bits.h"
#include "face/libgc.h"

/* The numbers of libgc's event enumeration. */
enum {
	EVENT_START,
	EVENT_MARK_START,
	EVENT_MARK_END,
	EVENT_RECLAIM_START,
	EVENT_RECLAIM_END,
	EVENT_END,
	EVENT_PRE_STOP_WORLD,
	EVENT_POST_STOP_WORLD,
	EVENT_PRE_START_WORLD,
	EVENT_POST_START_WORLD,
	EVENT_THREAD_SUSPENDED,
	EVENT_THREAD_UNSUSPENDED,
};

typedef void (*event_proc)(int event);
typedef void (*thread_event_proc)(int event, void *thread);
typedef void (*resize_proc)(GC_word nbytes);

/* libgc's statistics record; callers say how much of it they know. */
struct GC_prof_stats_s {
	GC_word heapsize_full, free_bytes_full, unmapped_bytes, bytes_allocd_since_gc;
	GC_word allocd_bytes_before_gc, non_gc_bytes, gc_no, markers_m1;
	GC_word bytes_reclaimed_since_gc, reclaimed_bytes_before_gc, expl_freed_bytes_since_gc;
	GC_word obtained_from_os_bytes;
};

LIBGC_API void GC_set_on_collection_event(event_proc fn);
LIBGC_API event_proc GC_get_on_collection_event(void);
LIBGC_API void GC_set_on_thread_event(thread_event_proc fn);
LIBGC_API thread_event_proc GC_get_on_thread_event(void);
LIBGC_API void GC_set_on_heap_resize(resize_proc fn);
LIBGC_API resize_proc GC_get_on_heap_resize(void);
LIBGC_API size_t GC_get_prof_stats(struct GC_prof_stats_s *out, size_t nbytes);
LIBGC_API size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *out, size_t nbytes);
LIBGC_API size_t GC_get_expl_freed_bytes_since_gc(void);
extern LIBGC_API resize_proc GC_on_heap_resize;

static event_proc on_collection;
static thread_event_proc on_thread;
resize_proc GC_on_heap_resize;

static void tell(int number)
{
	event_proc fn = load_relaxed(&on_collection);
	if (fn != NULL)
		fn(number);
}

/* tell_threads - of every thread that the stop holds; libgc's thread ids are those of pthread. */
static void tell_threads(int number)
{
	thread_event_proc fn = load_relaxed(&on_thread);
	struct mutator *self = mutator_self();
	if (fn == NULL)
		return;
	LIST_EACH(it, &runtime.heap.mutators) {
		const struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		if (m != self)
			fn(number, (void *)m->tls);
	}
}

static void pass_on(enum cycle_event e)
{
	static const int number[] = {
		[CYCLE_BEGIN] = EVENT_START,
		[CYCLE_STOPPING] = EVENT_PRE_STOP_WORLD,
		[CYCLE_STOPPED] = EVENT_POST_STOP_WORLD,
		[CYCLE_MARKING] = EVENT_MARK_START,
		[CYCLE_MARKED] = EVENT_MARK_END,
		[CYCLE_STARTING] = EVENT_PRE_START_WORLD,
		[CYCLE_STARTED] = EVENT_POST_START_WORLD,
		[CYCLE_END] = EVENT_END,
	};
	if (e == CYCLE_STOPPING && libgc.start_callback != NULL) /* once for each time that roots are pushed */
		libgc.start_callback();
	if (e == CYCLE_STOPPED)
		tell_threads(EVENT_THREAD_SUSPENDED);
	if (e == CYCLE_STARTING)
		tell_threads(EVENT_THREAD_UNSUSPENDED);
	if (e == CYCLE_MARKED)
		libgc_look_for_errors();
	if (e == CYCLE_END) { /* what is left of it is swept bit by bit */
		tell(EVENT_RECLAIM_START);
		tell(EVENT_RECLAIM_END);
	}
	tell(number[e]);
}

void libgc_init_events(void)
{
	runtime.gc.event = pass_on;
}

/* libgc_tell_heap_resize - with no lock of ours but WORLD. */
void libgc_tell_heap_resize(void)
{
	static GC_word told; /* atomic */
	resize_proc fn = GC_on_heap_resize;
	if (fn == NULL)
		return;
	GC_word now = libgc_usage().heap;
	if (swap_acq_rel(&told, now) != now)
		fn(now);
}

void GC_set_on_collection_event(event_proc fn)
{
	store_relaxed(&on_collection, fn);
}

event_proc GC_get_on_collection_event(void)
{
	return on_collection;
}

void GC_set_on_thread_event(thread_event_proc fn)
{
	store_relaxed(&on_thread, fn);
}

thread_event_proc GC_get_on_thread_event(void)
{
	return on_thread;
}

void GC_set_on_heap_resize(resize_proc fn)
{
	GC_on_heap_resize = fn;
}

resize_proc GC_get_on_heap_resize(void)
{
	return GC_on_heap_resize;
}

size_t GC_get_expl_freed_bytes_since_gc(void)
{
	uint64_t at_gc = load_acquire(&libgc.freed_at_gc); /* pairs: since-gc */
	return load_relaxed(&runtime.heap.freed_nbytes) - at_gc;
}

static void fill(struct GC_prof_stats_s *s)
{
	struct usage u = libgc_usage();
	*s = (struct GC_prof_stats_s){
		.heapsize_full = u.heap + u.unmapped,
		.free_bytes_full = u.free_nbytes + u.unmapped,
		.unmapped_bytes = u.unmapped,
		.bytes_allocd_since_gc = u.since,
		.allocd_bytes_before_gc = u.total - u.since,
		.non_gc_bytes = load_relaxed(&GC_non_gc_bytes),
		.gc_no = load_relaxed(&runtime.gc.ncycles),
		.markers_m1 = runtime.gc.workers.limit,
		.bytes_reclaimed_since_gc = libgc.reclaimed_nbytes,
		.reclaimed_bytes_before_gc = libgc.reclaimed_before_nbytes,
		.expl_freed_bytes_since_gc = GC_get_expl_freed_bytes_since_gc(),
		.obtained_from_os_bytes = u.heap + u.unmapped,
	};
}

size_t GC_get_prof_stats(struct GC_prof_stats_s *out, size_t nbytes)
{
	struct GC_prof_stats_s s;
	fill(&s);
	memset(out, 0xff, nbytes); /* what a newer caller knows and this record does not */
	memcpy(out, &s, min_size(nbytes, sizeof s));
	return min_size(nbytes, sizeof s);
}

size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *out, size_t nbytes)
{
	return GC_get_prof_stats(out, nbytes);
}
