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
extern LIBGC_API resize_proc GC_on_heap_resize;

static event_proc on_collection;
static thread_event_proc on_thread;
resize_proc GC_on_heap_resize;

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
	event_proc fn = load_relaxed(&on_collection);
	if (fn != NULL)
		fn(number[e]);
}

void GC_set_on_collection_event(event_proc fn)
{
	libgc_ready();
	store_relaxed(&on_collection, fn);
	runtime.gc.event = pass_on;
}

event_proc GC_get_on_collection_event(void)
{
	return on_collection;
}

void GC_set_on_thread_event(thread_event_proc fn)
{
	on_thread = fn; /* kept; a thread is stopped without a word here */
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

static void fill(struct GC_prof_stats_s *s)
{
	struct pageheap_stats ph;
	struct heap *h = &runtime.heap;
	libgc_ready();
	pageheap_read_stats(&h->pageheap, &ph);
	GC_word live = load_relaxed(&h->live_nbytes), total = load_relaxed(&h->allocated_nbytes);
	GC_word resident = ph.used_nbytes + ph.dirty_nbytes;
	*s = (struct GC_prof_stats_s){
		.heapsize_full = resident + ph.clean_nbytes,
		.free_bytes_full = resident > live ? resident - live : 0,
		.unmapped_bytes = ph.clean_nbytes,
		.bytes_allocd_since_gc = total - libgc.total_at_gc,
		.allocd_bytes_before_gc = libgc.total_at_gc,
		.gc_no = load_relaxed(&runtime.gc.ncycles),
		.markers_m1 = runtime.gc.workers.limit,
		.obtained_from_os_bytes = resident + ph.clean_nbytes,
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
