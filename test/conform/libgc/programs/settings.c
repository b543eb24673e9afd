/* settings.c - what is set is given back; statistics hang together; callbacks are called. */
#define GC_THREADS
#include "common.h"
#include <gc/gc_mark.h>

#define TRY(name, value) \
	do { \
		GC_set_##name(value); \
		printf(#name ": %d\n", GC_get_##name() == (value)); \
	} while (0)

static int no_stop(void)
{
	return 0;
}

static int always_stop(void)
{
	return 1;
}

static void *on_oom(size_t n)
{
	(void)n;
	return NULL;
}

static int nwarned;

static void on_warning(char *format, GC_word arg)
{
	(void)format;
	(void)arg;
	nwarned++;
}

static int events[12];

static void on_event(GC_EventType e)
{
	events[e]++;
}

static int threads_held, threads_let_go;

static void on_thread(GC_EventType e, void *id)
{
	threads_held += e == GC_EVENT_THREAD_SUSPENDED && id != NULL;
	threads_let_go += e == GC_EVENT_THREAD_UNSUSPENDED && id != NULL;
}

static int resized;

static void on_resize(GC_word n)
{
	resized += n > 0;
}

static volatile int stage;

static void *busy(void *arg)
{
	while (!stage)
		*(volatile char *)arg = 1;
	return NULL;
}

static void callbacks(void)
{
	pthread_t t;
	static char c;
	GC_set_on_collection_event(on_event);
	GC_set_on_thread_event(on_thread);
	pthread_create(&t, NULL, busy, &c);
	GC_gcollect();
	stage = 1;
	pthread_join(t, NULL);
	int once = 0;
	for (int i = 0; i < 10; i++)
		once += events[i] >= 1;
	printf("events: %d, threads: %d %d\n", once, threads_held > 0, threads_let_go > 0);
	GC_set_on_collection_event(NULL);
	GC_set_on_thread_event(NULL);
	GC_set_on_heap_resize(on_resize);
	static void *kept[300];
	for (int i = 0; i < 300; i++)
		kept[i] = GC_malloc_atomic(100000);
	GC_gcollect();
	GC_reachable_here(kept);
	printf("resized: %d\n", resized > 0);
	GC_set_on_heap_resize(NULL);
}

static void statistics(void)
{
	GC_word heap, free_bytes, unmapped, since, total;
	struct GC_prof_stats_s s;
	size_t before = GC_get_total_bytes();
	for (int i = 0; i < 1000; i++)
		GC_malloc_atomic(1000);
	GC_get_heap_usage_safe(&heap, &free_bytes, &unmapped, &since, &total);
	printf("usage: %d %d %d\n", heap > 0 && free_bytes < heap,
	       total - before >= 1000000 - 50000, since <= total);
	GC_free(GC_malloc_atomic(6000));
	printf("freed by hand: %d\n", GC_get_expl_freed_bytes_since_gc() >= 5000);
	printf("record: %d", GC_get_prof_stats(&s, sizeof s) == sizeof s);
	printf(" %d", s.heapsize_full > 0 && s.gc_no == GC_get_gc_no() && s.obtained_from_os_bytes > 0);
	memset(&s, 0, sizeof s);
	printf(" %d\n", GC_get_prof_stats(&s, 16) == 16 && s.unmapped_bytes == 0);
	char longer[sizeof s + 16];
	printf("longer: %d",
	       GC_get_prof_stats((struct GC_prof_stats_s *)longer, sizeof longer) == sizeof s);
	printf(" %d\n", (unsigned char)longer[sizeof s] == 0xff);
	printf("sizes: %d %d\n", GC_get_size_map_at(16) >= 16,
	       GC_get_size_map_at(1 << 30) == (size_t)-1);
}

/* alike - what is told together is what is told one by one; it may change between two calls. */
static int alike(void)
{
	GC_word heap, free_bytes, unmapped, since, total;
	struct GC_prof_stats_s s;
	GC_get_heap_usage_safe(&heap, &free_bytes, &unmapped, &since, &total);
	GC_get_prof_stats(&s, sizeof s);
	return heap == GC_get_heap_size() && free_bytes == GC_get_free_bytes() &&
	       unmapped == GC_get_unmapped_bytes() && since == GC_get_bytes_since_gc() &&
	       total == GC_get_total_bytes() && s.heapsize_full == heap + unmapped &&
	       s.free_bytes_full == free_bytes + unmapped && s.unmapped_bytes == unmapped;
}

static void together(void)
{
	int once = 0;
	for (int i = 0; i < 100; i++)
		memset(GC_malloc_atomic(100000), 1, 100000);
	GC_gcollect_and_unmap();
	for (int i = 0; i < 100 && !once; i++)
		once = alike();
	printf("one by one: %d\n", once);
}

static int nobjects;
static void *wanted;

static void on_object(void *obj, size_t n, void *cd)
{
	nobjects += obj == wanted && n >= 777 && cd == &nobjects;
}

static void *enumerate(void *arg)
{
	GC_enumerate_reachable_objects_inner(on_object, arg);
	return arg;
}

static void stopping(void)
{
	GC_word no = GC_get_gc_no();
	printf("stop: %d", GC_try_to_collect(always_stop));
	printf(" %d", GC_get_gc_no() == no);
	printf(" %d", GC_try_to_collect(no_stop));
	printf(" %d", GC_get_gc_no() > no);
	GC_set_stop_func(always_stop);
	no = GC_get_gc_no();
	GC_gcollect();
	printf(" %d", GC_get_gc_no() > no);
	GC_gcollect_and_unmap();
	printf(" %d\n", GC_get_gc_no() > no);
	GC_set_stop_func(no_stop);
	no = GC_get_gc_no();
	GC_disable();
	GC_disable();
	GC_gcollect();
	GC_enable();
	GC_gcollect();
	printf("disabled: %d %d", GC_is_disabled(), GC_get_gc_no() == no);
	GC_enable();
	GC_set_disable_automatic_collection(1);
	for (int i = 0; i < 30000; i++)
		GC_malloc_atomic(1000);
	printf(" %d", GC_get_gc_no() == no);
	GC_gcollect();
	printf(" %d\n", GC_get_gc_no() > no);
	GC_set_disable_automatic_collection(0);
	GC_dont_gc = 1;
	no = GC_get_gc_no();
	GC_gcollect();
	printf("by the variable: %d %d\n", GC_is_disabled(), GC_get_gc_no() == no);
	GC_dont_gc = 0;
}

static void pointers(void)
{
	char *p = GC_malloc(100), *q = p;
	printf("pointers: %d", GC_same_obj(p + 5, p) == p + 5);
	printf(" %d", GC_pre_incr((void **)&q, 16) == p + 16 && q == p + 16);
	printf(" %d", GC_post_incr((void **)&q, 16) == p + 16 && q == p + 32);
	printf(" %d %d\n", GC_is_visible(p) == p, GC_is_valid_displacement(p + 8) == p + 8);
	void **cell = GC_malloc(16);
	GC_ptr_store_and_dirty(cell, p);
	printf("stored: %d\n", *cell == p);
	GC_end_stubborn_change(cell);
	printf("marked: %d\n", (GC_gcollect(), GC_is_marked(p)) != 0);
	GC_reachable_here(p);
	wanted = GC_malloc(777);
	GC_gcollect();
	GC_call_with_alloc_lock(enumerate, &nobjects);
	printf("enumerated: %d\n", nobjects);
}

int main(void)
{
	use_all();
	GC_set_markers_count(2);
	GC_INIT();
	GC_set_warn_proc(GC_ignore_warn_proc);
	TRY(all_interior_pointers, 1);
	TRY(finalize_on_demand, 1);
	TRY(java_finalization, 0);
	TRY(no_dls, 0);
	TRY(dont_expand, 0);
	TRY(dont_precollect, 1);
	TRY(full_freq, 5);
	TRY(non_gc_bytes, 0);
	TRY(max_retries, 3);
	TRY(free_space_divisor, 4);
	TRY(time_limit, 77);
	TRY(allocd_bytes_per_finalizer, 500);
	TRY(rate, 7);
	TRY(max_prior_attempts, 2);
	TRY(min_bytes_allocd, 1000);
	TRY(pages_executable, 0);
	TRY(force_unmap_on_gcollect, 0);
	TRY(stop_func, no_stop);
	TRY(oom_fn, on_oom);
	GC_set_time_limit_tv((struct GC_timeval_s){ 12, 34 });
	printf("tv: %lu %lu\n", GC_get_time_limit_tv().tv_ms, GC_get_time_limit_tv().tv_nsec);
	printf("version: %x\n", GC_get_version());
	callbacks();
	statistics();
	together();
	stopping();
	pointers();
	GC_set_max_heap_size(GC_get_heap_size() + (64 << 20));
	printf("expands: %d, beyond the limit: %d\n", GC_expand_hp(1 << 20), GC_expand_hp(1 << 30));
	GC_set_warn_proc(on_warning);
	printf("no memory: %d", GC_malloc_atomic(1 << 30) == NULL);
	printf(" %d\n", nwarned > 0);
	return 0;
}
