/* libgc_conf.c - start of the face, collections on request, statistics and settings. Settings that have
 * no meaning here are kept and given back. */
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

struct libgc libgc = { .lock = { 0, LOCK_CLIENT } };

/* ── variables and accessors of the interface ───────────────────────────────────────────── */

#define SETTING(type, name, initial) \
	extern LIBGC_API type GC_##name; \
	type GC_##name = initial; \
	LIBGC_API type GC_get_##name(void); \
	LIBGC_API void GC_set_##name(type v); \
	type GC_get_##name(void) \
	{ \
		return GC_##name; \
	} \
	void GC_set_##name(type v) \
	{ \
		GC_##name = v; \
	}

SETTING(int, no_dls, 0)
SETTING(int, dont_expand, 0)
SETTING(int, dont_precollect, 0)
SETTING(int, full_freq, 19)
SETTING(int, find_leak, 0)
SETTING(unsigned long, time_limit, 50)
SETTING(GC_word, max_retries, 0)
SETTING(GC_word, non_gc_bytes, 0)
SETTING(int, use_entire_heap, 0)
SETTING(int, all_interior_pointers, 1)

extern LIBGC_API void *GC_least_plausible_heap_addr, *GC_greatest_plausible_heap_addr;
extern LIBGC_API int GC_parallel, GC_dont_gc;
extern LIBGC_API GC_word GC_gc_no, GC_free_space_divisor;
void *GC_least_plausible_heap_addr = (void *)UINTPTR_MAX, *GC_greatest_plausible_heap_addr;
int GC_parallel, GC_dont_gc;
GC_word GC_gc_no, GC_free_space_divisor = 3;

static void *default_oom(size_t nbytes)
{
	(void)nbytes;
	return NULL;
}

static void default_warn(char *format, GC_word arg)
{
	if (getenv("GC_NO_WARN") == NULL)
		fprintf(stderr, format, arg); /* the client's own format, by libgc's interface */
}

GC_oom_func GC_oom_fn = default_oom;
static GC_warn_proc warn_proc = default_warn;

void *libgc_out_of_memory(size_t nbytes)
{
	return GC_oom_fn != NULL ? GC_oom_fn(nbytes) : NULL;
}

void libgc_warn(const char *format, GC_word arg)
{
	if (warn_proc != NULL)
		warn_proc((char *)(uintptr_t)format, arg);
}

/* ── start ──────────────────────────────────────────────────────────────────────────────── */

LIBGC_API void GC_init(void);
LIBGC_API int GC_is_init_called(void);
LIBGC_API void GC_deinit(void);

/* env_number - a libgc environment variable with an optional k, m or g; `missing` when not set. */
static int64_t env_number(const char *name, int64_t missing)
{
	const char *s = getenv(name);
	char *end;
	if (s == NULL || *s == '\0')
		return missing;
	long long v = strtoll(s, &end, 10);
	static const char units[] = "kmgKMG";
	const char *u = *end != '\0' ? strchr(units, *end) : NULL;
	if (end == s || v < 0) {
		mgc_print(STDERR_FILENO, "mallocgc: %s=%s: not a size; ignored, as libgc does\n",
			  name, s);
		return missing;
	}
	return u != NULL ? v << (10 * ((u - units) % 3 + 1)) : v;
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

/* adjust - libgc's environment variables, where ours are not set. */
static void adjust(struct knobs *k)
{
	int64_t divisor = env_number("GC_FREE_SPACE_DIVISOR", 3);
	if (getenv("MGC_PERCENT") == NULL)
		k->percent = percent_of(at_least(divisor, 1));
	if (getenv("GC_DONT_GC") != NULL)
		k->percent = KNOB_OFF;
	if (getenv("MGC_MIN_HEAP") == NULL) /* libgc's is a heap size, ours one at 100 percent */
		k->min_heap = at_least(env_number("GC_INITIAL_HEAP_SIZE", 0), k->min_heap) * 100 /
			      at_least(k->percent, 1);
	if (getenv("MGC_LIMIT") == NULL)
		k->limit = env_number("GC_MAXIMUM_HEAP_SIZE", k->limit);
	if (getenv("GC_PRINT_STATS") != NULL)
		k->gctrace = 1;
	if (k->workers == 0)
		k->workers = env_number("GC_MARKERS", env_number("GC_NPROCS", 0)) % 65;
	if (k->log == NULL)
		k->log = getenv("GC_LOG_FILE");
}

static void observe(struct gc *gc)
{
	store_relaxed(&GC_gc_no, (GC_word)gc->ncycles);
	libgc.total_at_gc = load_relaxed(&gc->heap->allocated_nbytes);
}

static void after_start(void)
{
	libgc_init_kinds();
	libgc_init_roots();
	libgc_init_final();
	runtime.gc.after_cycle = observe;
	runtime.gc.short_pauses = getenv("GC_ENABLE_INCREMENTAL") != NULL;
	if (runtime.gc.knobs.hugepages)
		runtime.heap.pageheap.huge_from_pages = HUGE_FROM_NBYTES >> MGC_PAGE_SHIFT;
	runtime.gc.pacer.extra_nbytes = EXTRA_NBYTES;
	cycle_set_goal(&runtime.gc);
	GC_parallel = (int)runtime.gc.workers.limit;
	GC_least_plausible_heap_addr = (void *)runtime.heap.pageheap.space.base;
	GC_greatest_plausible_heap_addr =
		(void *)(runtime.heap.pageheap.space.base + runtime.heap.pageheap.space.nbytes);
}

const struct runtime_config libgc_config = {
	.name = "libgc",
	.signal = SIGPWR,
	.adjust = adjust,
	.after_start = after_start,
	.attached = libgc_attached,
	.globals = true,
	.end_pointers = true,
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

LIBGC_API void GC_gcollect(void);
LIBGC_API void GC_gcollect_and_unmap(void);
LIBGC_API int GC_try_to_collect(int (*stop)(void));
LIBGC_API int GC_collect_a_little(void);
LIBGC_API void GC_enable(void);
LIBGC_API void GC_disable(void);
LIBGC_API int GC_is_disabled(void);
LIBGC_API void GC_enable_incremental(void);
LIBGC_API int GC_is_incremental_mode(void);
LIBGC_API void GC_start_incremental_collection(void);
LIBGC_API void GC_start_mark_threads(void);
LIBGC_API int GC_expand_hp(size_t nbytes);
LIBGC_API void GC_set_max_heap_size(GC_word nbytes);
LIBGC_API void GC_set_free_space_divisor(GC_word d);
LIBGC_API GC_word GC_get_free_space_divisor(void);

void GC_gcollect(void)
{
	struct mutator *m = libgc_self();
	if (m != NULL && load_relaxed(&runtime.gc.disabled) <= 0)
		cycle_collect(&runtime.gc, m, CYCLE_FORCED);
}

void GC_gcollect_and_unmap(void)
{
	GC_gcollect();
	background_release(&runtime.gc);
}

int GC_try_to_collect(int (*stop)(void))
{
	(void)stop; /* a collection here is not abandoned half way */
	GC_gcollect();
	return load_relaxed(&runtime.gc.disabled) <= 0;
}

int GC_collect_a_little(void)
{
	return 0;
}

void GC_enable(void)
{
	libgc_ready();
	sub_relaxed(&runtime.gc.disabled, 1);
	store_relaxed(&GC_dont_gc, GC_dont_gc - 1);
}

/* GC_disable - a collection that runs beside the program is over when it returns: the caller may hide
 * references from now on. */
void GC_disable(void)
{
	struct mutator *m = libgc_self();
	add_relaxed(&runtime.gc.disabled, 1);
	store_relaxed(&GC_dont_gc, GC_dont_gc + 1);
	for (uint64_t pg; m != NULL && m->sec == 0 && lock_thread.nheld == 0 &&
			  phase_gen_phase(pg = heap_phase_gen(&runtime.heap)) != PHASE_OFF;)
		heap_wait_phase(&runtime.heap, pg);
}

int GC_is_disabled(void)
{
	return load_relaxed(&runtime.gc.disabled) > 0;
}

void GC_enable_incremental(void)
{
	libgc_ready();
	store_relaxed(&runtime.gc.short_pauses, true);
}

int GC_is_incremental_mode(void)
{
	return load_relaxed(&runtime.gc.short_pauses);
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
	lock_acquire(&runtime.gc.world);
	fn(&runtime.gc, v);
	cycle_set_goal(&runtime.gc);
	lock_release(&runtime.gc.world);
}

static void raise_min_heap(struct gc *gc, uint64_t nbytes)
{
	uint64_t percent = gc->pacer.percent > 0 ? (uint64_t)gc->pacer.percent : 100;
	uint64_t wanted = (load_relaxed(&gc->heap->live_nbytes) + nbytes) * 100 / percent;
	if (wanted > gc->pacer.min_nbytes)
		gc->pacer.min_nbytes = wanted;
}

int GC_expand_hp(size_t nbytes)
{
	change_pacer(raise_min_heap, nbytes);
	return 1;
}

static void set_limit(struct gc *gc, uint64_t nbytes)
{
	gc->pacer.limit_nbytes = nbytes != 0 ? nbytes : UINT64_MAX;
	store_relaxed(&gc->heap->pageheap.limit_nbytes, nbytes != 0 ? (size_t)nbytes : SIZE_MAX);
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

LIBGC_API size_t GC_get_heap_size(void);
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
LIBGC_API void GC_dump(void);
LIBGC_API void GC_dump_named(const char *name);
LIBGC_API unsigned long GC_get_full_gc_total_time(void);
LIBGC_API void GC_start_performance_measurement(void);

struct usage {
	size_t heap, free_nbytes, unmapped, since, total;
};

static struct usage usage(void)
{
	struct pageheap_stats s;
	struct heap *h = &runtime.heap;
	libgc_ready();
	pageheap_read_stats(&h->pageheap, &s);
	uint64_t live = load_relaxed(&h->live_nbytes), total = load_relaxed(&h->allocated_nbytes);
	struct usage u = { .heap = s.used_nbytes + s.dirty_nbytes,
			   .unmapped = s.clean_nbytes,
			   .since = total - libgc.total_at_gc,
			   .total = total };
	u.free_nbytes = u.heap > live ? u.heap - live : 0;
	return u;
}

size_t GC_get_heap_size(void)
{
	return usage().heap;
}

size_t GC_get_free_bytes(void)
{
	return usage().free_nbytes;
}

size_t GC_get_unmapped_bytes(void)
{
	return usage().unmapped;
}

size_t GC_get_bytes_since_gc(void)
{
	return usage().since;
}

size_t GC_get_total_bytes(void)
{
	return usage().total;
}

size_t GC_get_obtained_from_os_bytes(void)
{
	struct usage u = usage();
	return u.heap + u.unmapped;
}

size_t GC_get_memory_use(void)
{
	struct usage u = usage();
	return u.heap - u.free_nbytes;
}

void GC_get_heap_usage_safe(GC_word *heap, GC_word *free_nbytes, GC_word *unmapped, GC_word *since,
			    GC_word *total)
{
	struct usage u = usage();
	GC_word *out[] = { heap, free_nbytes, unmapped, since, total };
	const size_t value[] = { u.heap + u.unmapped, u.free_nbytes, u.unmapped, u.since, u.total };
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

void GC_dump(void)
{
	struct usage u = usage();
	mgc_print(STDERR_FILENO,
		  "mallocgc: heap %zu B, free %zu B, not resident %zu B, %lu collections\n", u.heap,
		  u.free_nbytes, u.unmapped, (unsigned long)GC_get_gc_no());
}

void GC_dump_named(const char *name)
{
	mgc_print(STDERR_FILENO, "mallocgc: dump %s\n", name);
	GC_dump();
}

unsigned long GC_get_full_gc_total_time(void)
{
	return runtime.gc.pause_total_ns / 1000000;
}

void GC_start_performance_measurement(void)
{
}

/* ── callbacks ──────────────────────────────────────────────────────────────────────────── */

LIBGC_API void GC_set_oom_fn(GC_oom_func fn);
LIBGC_API GC_oom_func GC_get_oom_fn(void);
LIBGC_API void GC_set_warn_proc(GC_warn_proc p);
LIBGC_API GC_warn_proc GC_get_warn_proc(void);
LIBGC_API void GC_ignore_warn_proc(char *format, GC_word arg);
LIBGC_API void GC_set_start_callback(void (*fn)(void));
LIBGC_API void (*GC_get_start_callback(void))(void);
LIBGC_API void GC_set_handle_fork(int v);
LIBGC_API void GC_atfork_prepare(void);
LIBGC_API void GC_atfork_parent(void);
LIBGC_API void GC_atfork_child(void);
LIBGC_API void GC_abort_on_oom(void);

void GC_set_oom_fn(GC_oom_func fn)
{
	GC_oom_fn = fn;
}

GC_oom_func GC_get_oom_fn(void)
{
	return GC_oom_fn;
}

void GC_set_warn_proc(GC_warn_proc p)
{
	libgc_ready();
	warn_proc = p;
}

GC_warn_proc GC_get_warn_proc(void)
{
	return warn_proc;
}

void GC_ignore_warn_proc(char *format, GC_word arg)
{
	(void)format;
	(void)arg;
}

void GC_set_start_callback(void (*fn)(void))
{
	libgc.start_callback = fn;
}

void (*GC_get_start_callback(void))(void)
{
	return libgc.start_callback;
}

/* fork is always handled. */
void GC_set_handle_fork(int v)
{
	(void)v;
}

void GC_atfork_prepare(void)
{
}

void GC_atfork_parent(void)
{
}

void GC_atfork_child(void)
{
}

void GC_abort_on_oom(void)
{
	mgc_fatal("the program asked to end when memory is exhausted, and it is");
}
