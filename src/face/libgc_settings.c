/* libgc_settings.c - settings and callbacks of the libgc face: variables that clients may write, and their
 * accessors. A setting that has no meaning here is kept and given back; docs/libgc.md says which. */
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "face/libgc.h"
#include "gc/cycle.h"
#include "os/os.h"

#define ACCESSORS(type, name, variable) \
	LIBGC_API type GC_get_##name(void); \
	LIBGC_API void GC_set_##name(type v); \
	type GC_get_##name(void) \
	{ \
		return load_relaxed(&(variable)); \
	} \
	void GC_set_##name(type v) \
	{ \
		store_relaxed(&(variable), v); \
	}
#define SETTING(type, name, initial) \
	extern LIBGC_API type GC_##name; \
	type GC_##name = initial; \
	ACCESSORS(type, name, GC_##name)
#define KEPT(type, name, initial) \
	static type kept_##name = initial; \
	ACCESSORS(type, name, kept_##name)

SETTING(int, no_dls, 0)
SETTING(int, dont_expand, 0)
SETTING(int, dont_precollect, 0)
SETTING(int, full_freq, 19)
SETTING(int, find_leak, 0)
SETTING(GC_word, max_retries, 0)
SETTING(GC_word, non_gc_bytes, 0)
SETTING(int, all_interior_pointers, 1)
SETTING(int, finalize_on_demand, 0)
SETTING(int, java_finalization, 1)
KEPT(int, rate, 10)
KEPT(int, max_prior_attempts, 1)
KEPT(int, manual_vdb_allowed, 0)
KEPT(GC_word, allocd_bytes_per_finalizer, 10000)
ACCESSORS(int, disable_automatic_collection, libgc.no_automatic)
ACCESSORS(int, force_unmap_on_gcollect, libgc.force_unmap)
ACCESSORS(GC_stop_func, stop_func, libgc.stop_func)

/* ── time limits ────────────────────────────────────────────────────────────────────────── */

struct GC_timeval_s {
	unsigned long tv_ms, tv_nsec;
};

LIBGC_API unsigned long GC_get_time_limit(void);
LIBGC_API void GC_set_time_limit(unsigned long ms);
LIBGC_API struct GC_timeval_s GC_get_time_limit_tv(void);
LIBGC_API void GC_set_time_limit_tv(struct GC_timeval_s limit);

unsigned long GC_time_limit = 999999; /* GC_TIME_UNLIMITED */
static unsigned long time_limit_ns;

unsigned long GC_get_time_limit(void)
{
	return GC_time_limit;
}

void GC_set_time_limit(unsigned long ms)
{
	GC_time_limit = ms;
	time_limit_ns = 0;
}

struct GC_timeval_s GC_get_time_limit_tv(void)
{
	return (struct GC_timeval_s){ GC_time_limit, time_limit_ns };
}

void GC_set_time_limit_tv(struct GC_timeval_s limit)
{
	GC_time_limit = limit.tv_ms;
	time_limit_ns = limit.tv_nsec;
}

/* ── settings that do something when they are set ───────────────────────────────────────── */

LIBGC_API void GC_set_markers_count(unsigned n);
LIBGC_API void GC_set_pages_executable(int v);
LIBGC_API int GC_get_pages_executable(void);
LIBGC_API void GC_set_min_bytes_allocd(size_t nbytes);
LIBGC_API size_t GC_get_min_bytes_allocd(void);
LIBGC_API void GC_set_handle_fork(int v);
LIBGC_API void GC_atfork_prepare(void);
LIBGC_API void GC_atfork_parent(void);
LIBGC_API void GC_atfork_child(void);

static size_t min_bytes_allocd = 1;

void GC_set_markers_count(unsigned n)
{
	if (runtime_started())
		libgc_warn("GC_set_markers_count after the collector started\n", 0);
	libgc.markers = n < 64 ? n : 64;
}

void GC_set_pages_executable(int v)
{
	if (v)
		mgc_misuse("GC_set_pages_executable(%d): code cannot run in this heap", v);
}

int GC_get_pages_executable(void)
{
	return 0;
}

void GC_set_min_bytes_allocd(size_t nbytes)
{
	libgc_ready();
	min_bytes_allocd = nbytes;
	cycle_take_world(&runtime.gc);
	runtime.gc.pacer.least_growth_nbytes = nbytes;
	cycle_set_goal(&runtime.gc);
	lock_release(&runtime.gc.world);
}

size_t GC_get_min_bytes_allocd(void)
{
	return min_bytes_allocd;
}

/* A fork is always handled: these have nothing to do. */
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

/* ── callbacks ──────────────────────────────────────────────────────────────────────────── */

LIBGC_API void GC_set_oom_fn(GC_oom_func fn);
LIBGC_API GC_oom_func GC_get_oom_fn(void);
LIBGC_API void GC_set_warn_proc(GC_warn_proc p);
LIBGC_API GC_warn_proc GC_get_warn_proc(void);
LIBGC_API void GC_ignore_warn_proc(char *format, GC_word arg);
LIBGC_API void GC_set_abort_func(GC_abort_func fn);
LIBGC_API GC_abort_func GC_get_abort_func(void);
LIBGC_API void GC_abort_on_oom(void);
LIBGC_API void GC_set_start_callback(void (*fn)(void));
LIBGC_API void (*GC_get_start_callback(void))(void);

static void *default_oom(size_t nbytes)
{
	(void)nbytes;
	return NULL;
}

static void default_warn(char *format, GC_word arg)
{
	GC_err_printf(format, arg); /* the client's own format, by libgc's interface */
}

static void default_abort(const char *text)
{
	mgc_print(STDERR_FILENO, "%s", text);
	if (getenv("GC_LOOP_ON_ABORT") != NULL) /* for a debugger to come */
		for (;;)
			os_sleep_ns(UINT64_C(1000000000));
}

GC_oom_func GC_oom_fn = default_oom;
GC_abort_func GC_on_abort = default_abort;
static GC_warn_proc warn_proc = default_warn;

static void on_death(const char *text)
{
	GC_abort_func fn = GC_on_abort;
	if (fn != NULL)
		fn(text);
}

void libgc_init_settings(void)
{
	mgc_on_death = on_death;
}

void *libgc_out_of_memory(size_t nbytes)
{
	libgc_warn("mallocgc: no memory for an object of %lu bytes\n", nbytes);
	return GC_oom_fn != NULL ? GC_oom_fn(nbytes) : NULL;
}

void libgc_warn(const char *format, GC_word arg)
{
	if (warn_proc != NULL)
		warn_proc((char *)(uintptr_t)format, arg);
}

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

void GC_set_abort_func(GC_abort_func fn)
{
	GC_on_abort = fn;
}

GC_abort_func GC_get_abort_func(void)
{
	return GC_on_abort;
}

void GC_abort_on_oom(void)
{
	mgc_fatal("the program asked to end when memory is exhausted, and it is");
}

void GC_set_start_callback(void (*fn)(void))
{
	libgc.start_callback = fn;
}

void (*GC_get_start_callback(void))(void)
{
	return libgc.start_callback;
}
