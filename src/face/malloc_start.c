/* malloc_start.c - the malloc face's start, its threads' caches, fork, settings.
 * WHO    malloc.c, on the ways that are not short. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/statout.h"
#include "base/watch.h"
#include "face/malloc.h"
#include "os/os.h"
#include "sample/pprof.h"
#include "sample/sampler.h"
#include "sample/unfreed.h"

/* Places that MGC_DEBUG=leaks=1 lists. */
#define LEAK_PLACES ((size_t)20)

struct mcache malloc_gone = MCACHE_NONE;

struct malloc_face malloc_face;
uintptr_t malloc_records = (uintptr_t)&slab_none, malloc_index_mask;
MGC_TLS struct mcache *malloc_self = &mcache_none;

static pthread_key_t exit_key;
static bool no_key; /* the program has all of them: no thread gets a cache, as its end would not be told */

bool malloc_started(void)
{
	return load_acquire(&malloc_face.started) == 2; /* pairs: malloc-started */
}

/* ── settings ───────────────────────────────────────────────────────────────────────────── */

/* has_settings - one look at the environment, which nearly always holds nothing for us. */
static bool has_settings(void)
{
	for (char **e = environ; e != NULL && *e != NULL; e++)
		if (memcmp(*e, "MGC_", 4) == 0)
			return true;
	return false;
}

static void read_settings(void)
{
	struct malloc_face *f = &malloc_face;
	if (f->knobs_read || environ == NULL) /* the latter: before the C library's own constructor */
		return;
	f->knobs_read = true;
	if (has_settings())
		knob_read_env(&f->knobs);
	else
		knob_defaults(&f->knobs);
}

static void apply_settings(void)
{
	struct malloc_face *f = &malloc_face;
	if (!f->knobs_read)
		return;
	if (f->knobs.limit >= 0)
		store_relaxed(&f->heap.pageheap.limit_nbytes, (size_t)f->knobs.limit);
	if (!f->knobs.hugepages)
		f->heap.pageheap.huge_from_pages = SIZE_MAX;
	uint64_t rate = knob_sample_rate(&f->knobs);
	if (f->knobs.leaks && f->knobs.samplerate == 0)
		rate = 1;
	store_relaxed(&sampler.rate_nbytes, rate);
	if (f->knobs.secure && !secure_on(&f->secure) && secure_init(&f->secure, &f->heap) != 0)
		mgc_fatal("MGC_DEBUG=secure: no address space for its tables");
	struct mcache *c = malloc_own_cache();
	if (f->knobs.secure && c != NULL) /* what allocated before now shall not go on unseen */
		mcache_set_slow(c, true);
	else if (rate != 0 && c != NULL)
		mcache_meter(c, true);
}

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

static void on_thread_exit(void *arg)
{
	struct mcache *c = malloc_own_cache();
	(void)arg; /* a program that writes to a key that it never made may have changed it */
	malloc_self = &malloc_gone; /* destructors that run after this one still allocate and free */
	if (c != NULL)
		mcache_close(c);
}

static bool start_heap(void)
{
	struct malloc_face *f = &malloc_face;
	read_settings();
	lock_init(&f->late_lock, LOCK_CLIENT);
	int err = manual_init(&f->heap, f->knobs_read ? (size_t)f->knobs.reserve : 0);
	if (err != 0)
		return false;
	apply_settings();
	store_release(&malloc_records, f->heap.slabs.records); /* first: index 0 is in any table */
	store_release(&malloc_index_mask, f->heap.slabs.index_mask);
	no_key = pthread_key_create(&exit_key, on_thread_exit) != 0;
	return true;
}

bool malloc_start(void)
{
	uint32_t *state = &malloc_face.started, none = 0;
	while (!malloc_started()) {
		if (cas_acq_rel(state, &none, 1u)) {
			bool ok = start_heap();
			store_release(state, ok ? 2u : 0u); /* pairs: malloc-started */
			return ok;
		}
		none = 0;
		os_yield();
	}
	return true;
}

struct mcache *malloc_own_cache(void)
{
	struct mcache *c = malloc_self;
	return c == &mcache_none || c == &malloc_gone ? NULL : c;
}

struct mcache *malloc_cache(void)
{
	struct mcache *c = malloc_self;
	if (MGC_LIKELY(c != &mcache_none))
		return c != &malloc_gone ? c : NULL;
	if (!malloc_start() || no_key)
		return NULL;
	c = mcache_open(&malloc_face.heap, MCACHE_THREAD);
	if (c == NULL)
		return NULL;
	malloc_self = c;
	pthread_setspecific(exit_key, c); /* may allocate */
	return c;
}

void malloc_start_scavenger(void)
{
	struct malloc_face *f = &malloc_face;
	if (f->knobs_read && f->knobs.background)
		scavenger_start(&f->heap);
	else
		store_relaxed(&f->heap.scavenging.due, 0u);
}

struct mcache *malloc_late(void)
{
	struct malloc_face *f = &malloc_face;
	if (!malloc_start())
		return NULL;
	lock_acquire(&f->late_lock);
	if (f->late == NULL)
		f->late = mcache_open(&f->heap, MCACHE_SHARED);
	if (f->late == NULL)
		lock_release(&f->late_lock);
	return f->late;
}

void malloc_late_end(void)
{
	lock_release(&malloc_face.late_lock);
}

/* ── fork ─────────────────────────────────────────────────────────────────────────────────
 * The gate is closed, then each lock seen free, in the order of their ranks: nobody takes a first lock
 * any more, but the forking thread, whose other handlers may allocate. Threads that need no lock go on
 * meanwhile, so in the child their caches are as they were at some moment; what they hold becomes orphans. */

static void each_lock(void (*fn)(struct lock *l))
{
	struct malloc_face *f = &malloc_face;
	fn(&f->late_lock);
	fn(&f->heap.scavenging.lock);
	fn(&f->heap.registry_lock);
	if (secure_on(&f->secure))
		secure_each_lock(&f->secure, fn);
	fn(&f->heap.lock);
	fn(&f->heap.pageheap.lock);
	fn(&sampler.lock);
}

static void see_free(struct lock *l)
{
	lock_acquire(l);
	lock_release(l);
}

static void before_fork(void)
{
	if (!malloc_started())
		return;
	lock_gate_close();
	each_lock(see_free);
}

static void after_fork_in_parent(void)
{
	if (malloc_started())
		lock_gate_open();
}

static void after_fork_in_child(void)
{
	if (!malloc_started())
		return;
	struct malloc_face *f = &malloc_face;
	each_lock(lock_reset);
	lock_gate_open();
	mcache_after_fork(&f->heap, malloc_own_cache(), f->late);
}

/* tell_recorder - without a heap, one begins: programs that allocate nothing before main are recorded, too. */
static void tell_recorder(char what)
{
	if (malloc_face.knobs_read && malloc_face.knobs.recorder != NULL && malloc_start())
		os_tell(malloc_face.knobs.recorder, what, WATCH_HEARD_SECS, WATCH_DONE_SECS);
}

/* check_lists - a block that was freed twice in a row is at the head of its list until something is
 * allocated: the last one of them would go unseen. So would those in slabs that wait to be looked at. */
static void check_lists(void)
{
	struct mcache *c = malloc_own_cache();
	if (c != NULL)
		mcache_check_empty(c);
	for (unsigned sc = 1; c != NULL && sc < MGC_NSIZECLASS; sc++) {
		const struct block *b = c->current[sc]->free;
		if (b->next == b && b != &block_end)
			mgc_misuse("block %p was freed twice", (void *)(uintptr_t)b);
	}
}

static void write_stats(const char *target)
{
	static struct stat_values values;
	malloc_read_stats(&values);
	stat_write_target(target, &values);
}

__attribute__((destructor)) static void on_exit_of_process(void)
{
	const struct knobs *k = &malloc_face.knobs;
	check_lists();
	if (!malloc_face.knobs_read)
		return;
	os_reopen_stderr();
	if (k->leaks) {
		size_t places = k->leaks == 1 ? LEAK_PLACES : SIZE_MAX;
		unfreed_report(STDERR_FILENO, places, (uintptr_t)&malloc_start);
	}
	if (malloc_started() && k->exitstats)
		malloc_print_summary(STDERR_FILENO);
	if (k->stats != NULL)
		write_stats(k->stats);
	if (k->profile != NULL)
		pprof_write_own(k->profile);
	tell_recorder(WATCH_ENDS);
}

__attribute__((constructor)) static void construct(void)
{
	const struct knobs *k = &malloc_face.knobs;
	read_settings();
	if (malloc_started())
		apply_settings();
	if (k->exitstats || k->leaks || stat_to_stderr(k->stats))
		os_keep_stderr();
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	tell_recorder(WATCH_STARTED);
}
