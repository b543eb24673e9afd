/* runtime.c - see runtime.h. */
#include "face/runtime.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/watch.h"
#include "face/watch_layout.h"
#include "gc/barrier.h"
#include "gc/cycle.h"
#include "gc/fork.h"
#include "obs/census.h"
#include "obs/gctrace.h"
#include "obs/stats.h"
#include "os/os.h"
#include "sample/pprof.h"

struct runtime runtime;
static uint32_t started; /* atomic */

const struct watch runtime_watch = { .magic = WATCH_MAGIC,
				     .layout = WATCH_LAYOUT_GC,
				     .version = MGC_VERSION_STRING,
				     .started = &started,
				     .face = WATCH_COLLECTED,
				     .nbytes = sizeof(struct watch),
				     .root = &runtime,
				     .sampler = &sampler };
WATCH_NOTE(runtime_watch);

/* No pthread_once: a start without memory is tried again. */
static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static const struct runtime_config *start_config;
static pthread_key_t exit_key;

/* ── finalizers and cleanups on threads of our own ──────────────────────────────────────── */

/* So many cleanups are worth another thread, if there may be one. */
#define CLEANUPS_PER_THREAD 32
#define RETRY_NS UINT64_C(10000000)

/* next_due - what leaves the queue is in the caller's hands only, whose snapshot may be taken already. */
static bool next_due(struct mutator *m, unsigned kinds, struct due *d)
{
	mutator_enter(m);
	bool found = specials_next(&runtime.gc.specials, kinds, d);
	if (found) {
		barrier_shade(m, d->object);
		barrier_shade(m, (uintptr_t)d->arg);
	}
	mutator_leave(m);
	return found;
}

static size_t run_due(unsigned kinds)
{
	struct due d;
	size_t n = 0;
	for (; next_due(mutator_self(), kinds, &d); n++) {
		if (d.cleanup != NULL)
			d.cleanup(d.arg);
		else
			d.fn((void *)d.object, d.arg);
	}
	return n;
}

size_t runtime_run_finalizers(void)
{
	return run_due(DUE_ALL);
}

struct runner {
	uint32_t nforks; /* when it was started: in a child it is not counted */
	uint32_t ncleaning_forks; /* when it was counted in runtime.ncleaning */
	bool finalizing; /* it has runtime.finalizing */
	bool cleaning; /* it is counted in runtime.ncleaning */
};

static size_t finalize(struct runner *r)
{
	r->finalizing = swap_acq_rel(&runtime.finalizing, 1u) == 0; /* pairs: finalizing */
	if (!r->finalizing)
		return 0;
	size_t n = run_due(DUE_FINALIZERS);
	store_release(&runtime.finalizing, 0u); /* pairs: finalizing */
	r->finalizing = false;
	return n;
}

/* begin_cleaning - false: as many clean as there may be. */
static bool begin_cleaning(struct runner *r)
{
	uint32_t n = load_relaxed(&runtime.ncleaning);
	do
		if (n >= (uint32_t)runtime.gc.knobs.cleanup_threads)
			return false;
	while (!cas_acq_rel(&runtime.ncleaning, &n, n + 1)); /* pairs: cleaning */
	r->ncleaning_forks = runtime.gc.nforks;
	r->cleaning = true;
	return true;
}

static void end_cleaning(struct runner *r)
{
	if (r->cleaning && r->ncleaning_forks == runtime.gc.nforks) /* else it was counted in the parent */
		sub_acq_rel(&runtime.ncleaning, 1u); /* pairs: cleaning */
	r->cleaning = false;
}

static size_t clean(struct runner *r)
{
	size_t n = begin_cleaning(r) ? run_due(DUE_CLEANUPS) : 0;
	end_cleaning(r);
	return n;
}

/* take_turn - until nothing is due, but what others run. One kind at a time: while this one waits in a function
 * of one kind, the other kind is anybody's. */
static void take_turn(struct runner *r)
{
	while (finalize(r) + clean(r) != 0)
		;
}

static void notify_due(struct gc *gc);

/* on_runner_exit - what it ran has ended the thread: another one goes on. */
static void on_runner_exit(void *arg)
{
	struct runner *r = arg;
	if (r->finalizing)
		store_release(&runtime.finalizing, 0u); /* pairs: finalizing */
	end_cleaning(r);
	if (r->nforks == runtime.gc.nforks)
		sub_acq_rel(&runtime.nrunners, 1u); /* pairs: runners */
	notify_due(&runtime.gc);
}

static void runner(void *arg)
{
	struct runner r = { .nforks = runtime.gc.nforks };
	struct mutator *m;
	(void)arg;
	while ((m = runtime_attach(load_relaxed(&start_config))) == NULL)
		os_sleep_ns(RETRY_NS); /* no memory for its record now */
	pthread_cleanup_push(on_runner_exit, &r);
	for (;;) {
		uint32_t seen = load_acquire(&runtime.due_word); /* pairs: due */
		take_turn(&r);
		stw_block(m);
		os_wait(&runtime.due_word, seen, 0);
		stw_unblock(&runtime.gc.stw, m);
	}
	pthread_cleanup_pop(0);
}

/* runners_wanted - those for cleanups, and one for finalizers where both are due: either may wait for long. */
static uint32_t runners_wanted(const struct gc *gc)
{
	size_t ncleanups = load_relaxed(&gc->specials.ncleanups_due),
	       ndue = load_relaxed(&gc->specials.ndue);
	size_t many = ncleanups / CLEANUPS_PER_THREAD + 1;
	bool also_finalizes = ndue > ncleanups || load_relaxed(&runtime.finalizing) != 0;
	bool also_cleans = ncleanups > 0 || load_relaxed(&runtime.ncleaning) != 0;
	return (uint32_t)(min_size(many, (size_t)gc->knobs.cleanup_threads) +
			  (also_finalizes && also_cleans));
}

static void notify_due(struct gc *gc)
{
	if (load_relaxed(&runtime.poll_finalizers) || load_relaxed(&gc->specials.ndue) == 0)
		return;
	add_acq_rel(&runtime.due_word, 1u); /* pairs: due */
	os_wake(&runtime.due_word, UINT32_MAX);
	uint32_t n = load_acquire(&runtime.nrunners), wanted = runners_wanted(gc); /* pairs: runners */
	while (n < wanted) {
		if (!cas_acq_rel(&runtime.nrunners, &n, n + 1)) /* pairs: runners */
			continue;
		if (os_spawn(runner, NULL, "mgc-finalize") != 0) {
			sub_acq_rel(&runtime.nrunners, 1u); /* pairs: runners */
			return;
		}
		n++;
	}
}

/* ── fork ───────────────────────────────────────────────────────────────────────────────── */

static void before_fork(void)
{
	fork_prepare(&runtime.gc);
}

static void after_fork_in_parent(void)
{
	fork_in_parent(&runtime.gc);
}

static void after_fork_in_child(void)
{
	fork_in_child(&runtime.gc);
	store_relaxed(&runtime.nrunners, 0u);
	store_relaxed(&runtime.finalizing, 0u);
	store_relaxed(&runtime.ncleaning, 0u);
}

/* ── start, attach, exit ────────────────────────────────────────────────────────────────── */

/* on_thread_exit - other destructors may still allocate: then the thread attaches again and this runs
 * once more, as often as the system allows. */
static void on_thread_exit(void *arg)
{
	(void)arg;
	if (mutator_attached())
		mutator_detach(mutator_self());
}

void runtime_read_stats(struct stat_values *out)
{
	stats_read(&runtime.gc, runtime.name, out);
}

static void write_stats(void)
{
	static struct stat_values values;
	runtime_read_stats(&values);
	stat_write_target(runtime.gc.knobs.stats, &values);
}

static void on_process_exit(void)
{
	struct mutator *m = runtime_self(load_relaxed(&start_config));
	os_reopen_stderr();
	if (runtime.gc.knobs.leaks && m != NULL)
		census_leaks(&runtime.gc, m, runtime.gc.knobs.leaks > 1, STDERR_FILENO);
	if (runtime.gc.knobs.exitstats)
		gctrace_exit_summary(&runtime.gc);
	if (runtime.gc.knobs.stats != NULL)
		write_stats();
	if (runtime.gc.knobs.profile != NULL)
		pprof_write_own(runtime.gc.knobs.profile);
	if (runtime.gc.knobs.recorder != NULL)
		os_tell(runtime.gc.knobs.recorder, WATCH_ENDS, WATCH_HEARD_SECS, WATCH_DONE_SECS);
}

/* prepare_exit - something is to be said then. */
static void prepare_exit(void)
{
	const struct knobs *k = &runtime.gc.knobs;
	if (k->exitstats || k->leaks || stat_to_stderr(k->stats))
		os_keep_stderr();
	atexit(on_process_exit);
}

/* read_settings - once, however often there is no memory to start with. */
static const struct knobs *read_settings(const struct runtime_config *config)
{
	static struct knobs k;
	static bool known;
	if (!known) {
		knob_read_env(&k);
		if (config->adjust != NULL)
			config->adjust(&k);
	}
	known = true;
	return &k;
}

/* start_collector - 0, or ENOMEM. */
static int start_collector(const struct knobs *k, const struct runtime_config *config)
{
	int err = gc_init(&runtime.gc, &runtime.heap, k, config->signal, config->concurrent);
	if (err == ENOMEM)
		return err;
	if (err == ENOSPC)
		mgc_fatal("cannot start: the program has taken all real-time signals, and threads "
			  "are stopped by one (MGC_DEBUG=poll=1 needs none)");
	if (err != 0)
		mgc_fatal("cannot start: no handler for signal %d: %s", runtime.gc.stw.signal,
			  strerror(err));
	runtime.name = config->name;
	runtime.gc.roots.globals = config->globals;
	runtime.gc.roots.end_nbytes = config->end_nbytes;
	if (config->own_finalizer_thread)
		runtime.gc.notify_due = notify_due;
	if (k->gctrace)
		gctrace_start(&runtime.gc);
	return 0;
}

/* start - start_lock is held; 0, or ENOMEM and nothing happened. */
static int start(const struct runtime_config *config)
{
	const struct knobs *k = read_settings(config);
	int err = heap_init(&runtime.heap, (size_t)k->reserve);
	if (err != 0)
		return err;
	err = start_collector(k, config);
	if (err != 0) {
		heap_destroy(&runtime.heap);
		return err;
	}
	if (pthread_key_create(&exit_key, on_thread_exit) != 0)
		mgc_fatal("no thread-specific key left to learn of thread exits");
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	if (k->scavtrace)
		gctrace_start_scav(&runtime.gc);
	store_relaxed(&sampler.rate_nbytes, knob_sample_rate(k));
	if (k->exitstats || k->leaks || k->stats != NULL || k->profile != NULL || k->recorder != NULL)
		prepare_exit();
	if (config->after_start != NULL)
		config->after_start();
	store_release(&started, 1u); /* pairs: runtime-started */
	if (k->recorder != NULL)
		os_tell(k->recorder, WATCH_STARTED, WATCH_HEARD_SECS, WATCH_DONE_SECS);
	return 0;
}

bool runtime_started(void)
{
	return load_acquire(&started) != 0; /* pairs: runtime-started */
}

int runtime_try_start(const struct runtime_config *config)
{
	int err = 0;
	if (runtime_started())
		return 0;
	pthread_mutex_lock(&start_lock);
	if (!runtime_started()) {
		store_relaxed(&start_config, config);
		err = start(config);
	}
	pthread_mutex_unlock(&start_lock);
	return err;
}

void runtime_start(const struct runtime_config *config)
{
	int err = runtime_try_start(config);
	if (err != 0)
		mgc_fatal("cannot start a heap: %s", strerror(err));
}

struct mutator *runtime_attach(const struct runtime_config *config)
{
	int saved = errno;
	mutator_tls = &mutator_collector; /* a signal handler that allocates now is told so */
	struct mutator *m = runtime_try_start(config) == 0 ? mutator_attach(&runtime.heap) : NULL;
	if (m == NULL)
		mutator_tls = &mutator_none;
	if (m != NULL) {
		pthread_setspecific(exit_key, m);
		if (config->attached != NULL)
			config->attached(m);
	}
	errno = saved;
	return m;
}

void runtime_detach(void)
{
	if (!mutator_attached())
		return;
	pthread_setspecific(exit_key, NULL);
	mutator_detach(mutator_self());
}

int runtime_create_thread(struct mutator *m, pthread_t *thread, const pthread_attr_t *attr,
			  void *(*fn)(void *), void *arg)
{
	int err = pthread_create(thread, attr, fn, arg);
	if (err == EAGAIN && m->sec == 0 && cycle_obey_limit(&runtime.gc, m))
		err = pthread_create(thread, attr, fn, arg);
	return err;
}
