/* bench_gc.h - the little that a benchmark needs of a collector, on either of two.
 *
 * WHAT   Each program of bench/c is written once against this header and compiled with
 *          -DBENCH_MALLOCGC   mallocgc's native API (mallocgc.h, -lmallocgc), or
 *          -DBENCH_LIBGC      libgc's API (gc/gc.h, -lgc; the same binary also runs on mallocgc's
 *                             libgc face through LD_LIBRARY_PATH).
 * RULES  An object's pointers stand in its first words (BENCH_TYPE counts them). A store of a
 *        pointer into an object or a root that is already reachable goes through bench_write;
 *        filling in an object that was just made needs no barrier in either library.
 * UNITS  times in ns unless the name says otherwise. */
#ifndef BENCH_GC_H
#define BENCH_GC_H

#include "bench.h"

/* ── the collector ────────────────────────────────────────────────────────────────────────── */

#if defined BENCH_MALLOCGC
#include <mallocgc-inline.h> /* Go's compiler inlines its barrier's check, too */
#include <pthread.h>

#define BENCH_NAME "mallocgc"
/* BENCH_TYPE(var, T, nptrs) - the collector's description of T; its first nptrs words point. */
#define BENCH_TYPE(var, T, nptrs) \
	static struct mgc_type var = { .name = #T, \
				       .size = sizeof(T), \
				       .ptr_bytes = (nptrs) * sizeof(void *) }
#define bench_new(type) mgc_new(type)
#define bench_new_array(type, n) mgc_new_array((type), (n))
#define bench_new_bytes(nbytes) mgc_alloc((nbytes), NULL, MGC_NOSCAN)
#define bench_write(slot, ptr) mgc_write((slot), (ptr))
#define bench_collect() mgc_collect()
#define bench_limit(nbytes) ((void)mgc_set_memory_limit((int64_t)(nbytes)))

static inline void bench_init(void)
{
	if (mgc_thread_attach() != 0) {
		perror("mgc_thread_attach");
		exit(1);
	}
}

/* bench_thread_create - arg needs no keeping alive: no program hands an object over. */
static inline void bench_thread_create(pthread_t *t, void *(*fn)(void *arg), void *arg)
{
	if (mgc_thread_create(t, NULL, fn, arg) != 0)
		exit(1);
}

static inline void bench_thread_join(pthread_t t)
{
	mgc_blocking_enter();
	pthread_join(t, NULL);
	mgc_blocking_leave();
}

/* bench_gc_counts - collections so far, and the longest time that the world was stopped. */
static inline void bench_gc_counts(uint64_t *cycles, double *pause_max_ns)
{
	struct mgc_stats stats = { .struct_size = sizeof stats };
	mgc_read_stats(&stats);
	*cycles = stats.cycles;
	*pause_max_ns = (double)stats.pause_max_ns;
}

/* bench_gc_cpu_ns - processor time of collections so far. */
static inline double bench_gc_cpu_ns(void)
{
	struct mgc_stats stats = { .struct_size = sizeof stats };
	mgc_read_stats(&stats);
	return (double)stats.gc_cpu_ns;
}

static inline void bench_root(void *start, size_t nbytes)
{
	if (mgc_root_add(start, nbytes, 0) != 0) {
		perror("mgc_root_add");
		exit(1);
	}
}

#elif defined BENCH_LIBGC
#define GC_THREADS
#include <gc/gc.h>

#define BENCH_NAME "libgc"
struct bench_type {
	size_t size;
	int noscan;
};
#define BENCH_TYPE(var, T, nptrs) \
	static const struct bench_type var = { .size = sizeof(T), .noscan = (nptrs) == 0 }
#define bench_write(slot, ptr) ((void)(*(slot) = (ptr)))
#define bench_collect() GC_gcollect()
#define bench_limit(nbytes) GC_set_max_heap_size(nbytes)

static inline void *bench_new(const struct bench_type *t)
{
	return t->noscan ? GC_MALLOC_ATOMIC(t->size) : GC_MALLOC(t->size);
}

static inline void *bench_new_array(const struct bench_type *t, size_t n)
{
	return t->noscan ? GC_MALLOC_ATOMIC(t->size * n) : GC_MALLOC(t->size * n);
}

#define bench_new_bytes(nbytes) GC_MALLOC_ATOMIC(nbytes)

static double bench_stop_ns, bench_pause_max_ns;

static void bench_on_event(GC_EventType event)
{
	if (event == GC_EVENT_PRE_STOP_WORLD) {
		bench_stop_ns = bench_wall_ns();
	} else if (event == GC_EVENT_POST_START_WORLD) {
		double pause = bench_wall_ns() - bench_stop_ns;
		if (pause > bench_pause_max_ns)
			bench_pause_max_ns = pause;
	}
}

static inline void bench_init(void)
{
	GC_INIT();
	GC_set_on_collection_event(bench_on_event);
	GC_start_performance_measurement();
}

static inline void bench_thread_create(pthread_t *t, void *(*fn)(void *arg), void *arg)
{
	if (pthread_create(t, NULL, fn, arg) != 0) /* libgc's, by a macro */
		exit(1);
}

static inline void bench_thread_join(pthread_t t)
{
	pthread_join(t, NULL);
}

static inline void bench_gc_counts(uint64_t *cycles, double *pause_max_ns)
{
	*cycles = GC_get_gc_no();
	*pause_max_ns = bench_pause_max_ns;
}

static inline double bench_gc_cpu_ns(void)
{
	return (double)GC_get_full_gc_total_time() * 1e6;
}

static inline void bench_root(void *start, size_t nbytes)
{
	(void)start; /* libgc scans all static data by itself */
	(void)nbytes;
}

#else
#error "compile with -DBENCH_MALLOCGC or -DBENCH_LIBGC"
#endif

/* bench_finish - the last lines of every program. */
static inline void bench_finish(uint64_t checksum)
{
	uint64_t cycles;
	double pause_max_ns;
	bench_gc_counts(&cycles, &pause_max_ns);
	bench_print_int("cycles", cycles);
	bench_print("pause_max_ms", pause_max_ns / 1e6);
	bench_print_int("checksum", checksum);
}

#endif
