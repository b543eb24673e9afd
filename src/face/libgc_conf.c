/* libgc_conf.c - start of the face, collections on request, how the heap grows, statistics. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "gc/background.h"
#include "gc/cycle.h"
#include "os/os.h"

/* The libgc whose interface this is, as GC_get_version packs it: 8.2.2. */
#define VERSION_MIMICKED (8u << 16 | 2u << 8 | 2u)
/* libgc collects when what was allocated is about half of what is live, but lets small heaps keep some MB
 * first: these two give the same residence on its clients (measured: docs/adr/0004). */
#define DEFAULT_PERCENT 50
/* Huge pages from here on: smaller heaps of these programs are faster without (docs/adr/0024). */
#define HUGE_FROM_NBYTES ((size_t)128 << 20)
#define EXTRA_NBYTES ((uint64_t)4 << 20)
/* The first collection comes early: what it finds bounds the heap until the next one, and until it has seen small objects
 * they are larger (libgc_end.c). docs/adr/0108 */
#define FIRST_NBYTES ((uint64_t)2 << 20)
/* A goal that lasts a while when most has died: libgc's heap never shrinks. */
#define LASTING_NBYTES ((uint64_t)16 << 20)

struct libgc libgc = { .lock = { 0, LOCK_CLIENT } };

/* ── variables of the interface ─────────────────────────────────────────────────────────── */

extern LIBGC_API void *GC_least_plausible_heap_addr, *GC_greatest_plausible_heap_addr;
extern LIBGC_API int GC_parallel;
int GC_use_entire_heap;
extern LIBGC_API GC_word GC_gc_no;
void *GC_least_plausible_heap_addr = (void *)UINTPTR_MAX, *GC_greatest_plausible_heap_addr;
int GC_parallel, GC_dont_gc;
GC_word GC_gc_no, GC_free_space_divisor = 3;

/* ── start ──────────────────────────────────────────────────────────────────────────────── */

LIBGC_API void GC_init(void);
LIBGC_API int GC_is_init_called(void);
LIBGC_API void GC_deinit(void);
LIBGC_API void GC_gcollect(void);

/* env_at_least - a libgc environment variable with an optional k, m or g; `missing` when not set, or less than that. */
static int64_t env_at_least(int64_t least, const char *name, int64_t missing)
{
	const char *s = getenv(name);
	char *end;
	if (s == NULL || *s == '\0')
		return missing;
	long long v = strtoll(s, &end, 10);
	static const char units[] = "kmgKMG";
	const char *u = *end != '\0' ? strchr(units, *end) : NULL;
	unsigned shift = u != NULL ? 10 * ((unsigned)(u - units) % 3 + 1) : 0;
	if (end == s || v < least || v > INT64_MAX >> shift) {
		mgc_print(STDERR_FILENO, "mallocgc: %s=%s: not a size; ignored, as libgc does\n",
			  name, s);
		return missing;
	}
	return v << shift;
}

static int64_t env_number(const char *name, int64_t missing)
{
	return env_at_least(0, name, missing);
}

static int64_t at_least(int64_t v, int64_t least)
{
	return v > least ? v : least;
}

/* percent_of - how much of the live size the heap may grow, from libgc's divisor of free space. */
static int64_t percent_of(int64_t divisor)
{
	return at_least(DEFAULT_PERCENT * 3 / divisor, 5);
}

/* env_settings - the variables that only give a setting its first value. */
static void env_settings(void)
{
	GC_dont_gc |= getenv("GC_DONT_GC") != NULL;
	GC_find_leak |= getenv("GC_FIND_LEAK") != NULL;
	GC_use_entire_heap |= getenv("GC_USE_ENTIRE_HEAP") != NULL;
	GC_all_interior_pointers |= getenv("GC_ALL_INTERIOR_POINTERS") != NULL;
	GC_full_freq = (int)env_number("GC_FULL_FREQUENCY", GC_full_freq);
	GC_time_limit = (unsigned long)env_number("GC_PAUSE_TIME_TARGET", (int64_t)GC_time_limit);
	GC_free_space_divisor =
		(GC_word)env_number("GC_FREE_SPACE_DIVISOR", (int64_t)GC_free_space_divisor);
	libgc.force_unmap |= getenv("GC_FORCE_UNMAP_ON_GCOLLECT") != NULL;
}

/* adjust - libgc's environment variables, where ours are not set. */
static void adjust(struct knobs *k)
{
	env_settings();
	os_signal_stay_on_stack(); /* as libgc: Asymptote's alternate stack is the frame of a function that has returned */
	k->invalidptr = 0; /* no word of this face is known to be a pointer */
	int64_t divisor = (int64_t)GC_free_space_divisor;
	if (getenv("MGC_PERCENT") == NULL)
		k->percent = percent_of(at_least(divisor, 1));
	if (getenv("MGC_MIN_HEAP") == NULL) /* libgc's is a heap size, ours one at 100 percent */
		k->min_heap = at_least(env_number("GC_INITIAL_HEAP_SIZE", 0), k->min_heap) * 100 /
			      at_least(k->percent, 1);
	if (getenv("MGC_LIMIT") == NULL && getenv("GC_MAXIMUM_HEAP_SIZE") != NULL) {
		k->limit = env_at_least(1, "GC_MAXIMUM_HEAP_SIZE", k->limit);
		k->limitover = 0; /* libgc's is hard */
	}
	if (getenv("GC_PRINT_STATS") != NULL || getenv("GC_PRINT_VERBOSE_STATS") != NULL)
		k->gctrace = 1;
	if (k->workers == 0)
		k->workers = env_number("GC_MARKERS", env_number("GC_NPROCS", libgc.markers)) % 65;
	const char *log = getenv("GC_LOG_FILE");
	if (k->log == NULL && log != NULL)
		k->log = knob_keep(log);
	if (GC_find_leak) { /* what nobody freed is looked for in the stop, among everything */
		k->tracked = 0;
		k->young = 0;
	}
}

static void observe(struct gc *gc)
{
	const struct cycle_record *r = &gc->last;
	store_relaxed(&GC_gc_no, (GC_word)gc->ncycles);
	store_release(&libgc.total_at_gc, load_relaxed(&gc->heap->allocated_nbytes)); /* pairs: since-gc */
	store_release(&libgc.freed_at_gc, load_relaxed(&gc->heap->freed_nbytes)); /* pairs: since-gc */
	libgc.reclaimed_before_nbytes += libgc.reclaimed_nbytes;
	libgc.reclaimed_nbytes = r->heap_before > r->heap_live ? r->heap_before - r->heap_live : 0;
	libgc_learn_end();
	libgc_tell_heap_resize();
}

/* veto - asked when a collection is due by itself. */
static bool veto(void)
{
	return load_relaxed(&GC_dont_gc) != 0 || libgc.no_automatic ||
	       (libgc.stop_func != NULL && libgc.stop_func() != 0);
}

static void exit_check(void)
{
	if (GC_find_leak && getenv("GC_SKIP_LEAK_EXIT") == NULL)
		GC_gcollect();
}

static bool may_be_incremental(void)
{
	return getenv("GC_DISABLE_INCREMENTAL") == NULL;
}

static void after_start(void)
{
	libgc_init_kinds();
	libgc_init_end();
	libgc_init_roots();
	libgc_init_final();
	libgc_init_events();
	libgc_init_threads();
	runtime.gc.after_cycle = observe;
	runtime.gc.veto = veto;
	runtime.gc.short_pauses = may_be_incremental() && getenv("GC_ENABLE_INCREMENTAL") != NULL;
	if (runtime.gc.knobs.hugepages)
		runtime.heap.pageheap.huge_from_pages = HUGE_FROM_NBYTES >> MGC_PAGE_SHIFT;
	if (getenv("MGC_MIN_HEAP") == NULL && getenv("GC_INITIAL_HEAP_SIZE") == NULL)
		runtime.gc.pacer.first_nbytes = FIRST_NBYTES;
	runtime.gc.pacer.extra_nbytes = EXTRA_NBYTES;
	runtime.gc.pacer.lasting_nbytes = LASTING_NBYTES;
	cycle_set_goal(&runtime.gc);
	GC_parallel = (int)runtime.gc.workers.limit;
	libgc_init_settings();
	if (GC_find_leak)
		atexit(exit_check);
	GC_least_plausible_heap_addr = (void *)runtime.heap.pageheap.space.base;
	GC_greatest_plausible_heap_addr =
		(void *)(runtime.heap.pageheap.space.base + runtime.heap.pageheap.space.nbytes);
}

struct runtime_config libgc_config = {
	.name = "libgc",
	.signal = SIGPWR,
	.adjust = adjust,
	.after_start = after_start,
	.attached = libgc_attached,
	.globals = true,
	.end_nbytes = UINT64_MAX,
};

void libgc_ready(void)
{
	runtime_start(&libgc_config);
}

void GC_init(void)
{
	libgc_self();
}

int GC_is_init_called(void)
{
	return runtime_started();
}

void GC_deinit(void)
{
}

/* ── collecting ─────────────────────────────────────────────────────────────────────────── */

LIBGC_API void GC_gcollect_and_unmap(void);
LIBGC_API int GC_try_to_collect(GC_stop_func stop);
LIBGC_API int GC_collect_a_little(void);
LIBGC_API int GC_incremental_protection_needs(void);
LIBGC_API void GC_enable(void);
LIBGC_API void GC_disable(void);
LIBGC_API int GC_is_disabled(void);
LIBGC_API void GC_enable_incremental(void);
LIBGC_API int GC_is_incremental_mode(void);
LIBGC_API void GC_start_incremental_collection(void);
LIBGC_API void GC_start_mark_threads(void);
LIBGC_API size_t GC_get_heap_size(void);
LIBGC_API int GC_expand_hp(size_t nbytes);
LIBGC_API void GC_set_max_heap_size(GC_word nbytes);
LIBGC_API void GC_set_free_space_divisor(GC_word d);
LIBGC_API GC_word GC_get_free_space_divisor(void);

/* collect - false: the program said no. */
static bool collect(GC_stop_func stop)
{
	struct mutator *m = libgc_self();
	if (m == NULL || load_relaxed(&GC_dont_gc) != 0 || (stop != NULL && stop() != 0))
		return false;
	cycle_collect(&runtime.gc, m, CYCLE_FORCED);
	return true;
}

void GC_gcollect(void)
{
	if (collect(libgc.stop_func) && libgc.force_unmap)
		background_release(&runtime.gc);
}

/* GC_gcollect_and_unmap - the stop function is not asked. */
void GC_gcollect_and_unmap(void)
{
	if (collect(NULL))
		background_release(&runtime.gc);
}

/* GC_try_to_collect - the program is asked once, before: a collection is not abandoned half way. */
int GC_try_to_collect(GC_stop_func stop)
{
	return collect(stop);
}

/* GC_collect_a_little - there are no small steps: a whole collection, if one is due. */
int GC_collect_a_little(void)
{
	struct mutator *m = libgc_self();
	struct gc *gc = &runtime.gc;
	if (m != NULL && !veto() && heap_is_due(gc->heap))
		cycle_collect(gc, m, CYCLE_HEAP);
	return 0;
}

void GC_enable(void)
{
	libgc_ready();
	if (load_relaxed(&GC_dont_gc) == 0) {
		libgc_warn("GC_enable without a GC_disable before it\n", 0);
		return;
	}
	sub_relaxed(&GC_dont_gc, 1);
	if (load_relaxed(&runtime.gc.disabled) > 0) /* the program may have set the variable itself */
		sub_relaxed(&runtime.gc.disabled, 1);
}

/* GC_disable - a collection that runs beside the program is over when it returns, and none begins: the
 * caller may hide references from now on. */
void GC_disable(void)
{
	struct mutator *m = libgc_self();
	add_relaxed(&runtime.gc.disabled, 1);
	add_relaxed(&GC_dont_gc, 1);
	if (m != NULL && m->sec == 0 && lock_thread.nheld == 0) {
		cycle_take_world(&runtime.gc);
		lock_release(&runtime.gc.world);
	}
}

int GC_is_disabled(void)
{
	return load_relaxed(&GC_dont_gc) != 0;
}

void GC_enable_incremental(void)
{
	libgc_ready();
	store_relaxed(&runtime.gc.short_pauses, may_be_incremental());
}

int GC_is_incremental_mode(void)
{
	return load_relaxed(&runtime.gc.short_pauses);
}

/* GC_incremental_protection_needs - nothing is protected: the system takes notes. */
int GC_incremental_protection_needs(void)
{
	return 0;
}

void GC_start_incremental_collection(void)
{
}

void GC_start_mark_threads(void)
{
}

static void change_pacer(void (*fn)(struct gc *gc, uint64_t v), uint64_t v)
{
	libgc_ready();
	cycle_take_world(&runtime.gc);
	fn(&runtime.gc, v);
	cycle_set_goal(&runtime.gc);
	lock_release(&runtime.gc.world);
}

static void raise_min_heap(struct gc *gc, uint64_t nbytes)
{
	uint64_t percent = gc->pacer.percent > 0 ? (uint64_t)gc->pacer.percent : 100;
	uint64_t wanted = heap_live(gc->heap) + nbytes;
	gc->pacer.min_nbytes = max_size(gc->pacer.min_nbytes, wanted * 100 / percent);
	if (gc->pacer.first_nbytes != 0)
		gc->pacer.first_nbytes = max_size(gc->pacer.first_nbytes, wanted);
}

/* has_room - the limit lets the heap grow by so much. */
static bool has_room(size_t nbytes)
{
	libgc_ready();
	cycle_take_world(&runtime.gc);
	uint64_t limit = runtime.gc.pacer.limit_nbytes;
	lock_release(&runtime.gc.world);
	return limit == UINT64_MAX || (nbytes <= limit && GC_get_heap_size() <= limit - nbytes);
}

int GC_expand_hp(size_t nbytes)
{
	if (!has_room(nbytes))
		return 0;
	change_pacer(raise_min_heap, nbytes);
	libgc_tell_heap_resize();
	return 1;
}

static void set_limit(struct gc *gc, uint64_t nbytes)
{
	gc->knobs.limitover = 0; /* libgc's is hard */
	gc_set_limit(gc, nbytes != 0 ? nbytes : UINT64_MAX);
}

void GC_set_max_heap_size(GC_word nbytes)
{
	change_pacer(set_limit, nbytes);
}

static void set_percent(struct gc *gc, uint64_t percent)
{
	if (gc->pacer.percent >= 0)
		gc->pacer.percent = (int64_t)percent;
}

void GC_set_free_space_divisor(GC_word d)
{
	GC_free_space_divisor = d;
	if (d > 0)
		change_pacer(set_percent, (uint64_t)percent_of((int64_t)d));
}

GC_word GC_get_free_space_divisor(void)
{
	return GC_free_space_divisor;
}

/* ── statistics ─────────────────────────────────────────────────────────────────────────── */

LIBGC_API size_t GC_get_free_bytes(void);
LIBGC_API size_t GC_get_unmapped_bytes(void);
LIBGC_API size_t GC_get_bytes_since_gc(void);
LIBGC_API size_t GC_get_total_bytes(void);
LIBGC_API size_t GC_get_obtained_from_os_bytes(void);
LIBGC_API size_t GC_get_memory_use(void);
LIBGC_API void GC_get_heap_usage_safe(GC_word *heap, GC_word *free_nbytes, GC_word *unmapped,
				      GC_word *since, GC_word *total);
LIBGC_API GC_word GC_get_gc_no(void);
LIBGC_API int GC_get_parallel(void);
LIBGC_API unsigned GC_get_version(void);
LIBGC_API unsigned long GC_get_full_gc_total_time(void);
LIBGC_API void GC_start_performance_measurement(void);

struct usage libgc_usage(void)
{
	struct pageheap_stats s;
	struct heap *h = &runtime.heap;
	libgc_ready();
	pageheap_read_stats(&h->pageheap, &s);
	uint64_t at_gc = load_acquire(&libgc.total_at_gc); /* pairs: since-gc */
	uint64_t live = heap_live(h), total = load_relaxed(&h->allocated_nbytes);
	struct usage u = { .heap = s.used_nbytes + s.dirty_nbytes,
			   .unmapped = s.clean_nbytes,
			   .since = total - at_gc,
			   .total = total };
	u.free_nbytes = u.heap > live ? u.heap - live : 0;
	return u;
}

size_t GC_get_heap_size(void)
{
	return libgc_usage().heap;
}

size_t GC_get_free_bytes(void)
{
	return libgc_usage().free_nbytes;
}

size_t GC_get_unmapped_bytes(void)
{
	return libgc_usage().unmapped;
}

size_t GC_get_bytes_since_gc(void)
{
	return libgc_usage().since;
}

size_t GC_get_total_bytes(void)
{
	return libgc_usage().total;
}

size_t GC_get_obtained_from_os_bytes(void)
{
	struct usage u = libgc_usage();
	return u.heap + u.unmapped;
}

size_t GC_get_memory_use(void)
{
	struct usage u = libgc_usage();
	return u.heap - u.free_nbytes;
}

void GC_get_heap_usage_safe(GC_word *heap, GC_word *free_nbytes, GC_word *unmapped, GC_word *since,
			    GC_word *total)
{
	struct usage u = libgc_usage();
	GC_word *out[] = { heap, free_nbytes, unmapped, since, total };
	const size_t value[] = { u.heap, u.free_nbytes, u.unmapped, u.since, u.total };
	for (unsigned i = 0; i < 5; i++)
		if (out[i] != NULL)
			*out[i] = value[i];
}

GC_word GC_get_gc_no(void)
{
	return load_relaxed(&GC_gc_no);
}

int GC_get_parallel(void)
{
	return GC_parallel;
}

unsigned GC_get_version(void)
{
	return VERSION_MIMICKED;
}

unsigned long GC_get_full_gc_total_time(void)
{
	return runtime.gc.pause_total_ns / 1000000;
}

void GC_start_performance_measurement(void)
{
}
