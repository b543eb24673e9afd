/* background.c - see background.h. */
#include "gc/background.h"

#include "base/bits.h"
#include "base/check.h"
#include "gc/cycle.h"
#include "gc/fork.h"
#include "heap/mutator.h"
#include "os/os.h"

#define SWEEP_AFTER_NS UINT64_C(50000000)
#define RELEASE_AFTER_NS UINT64_C(250000000)
/* A program that allocates less than this in that time is idle. */
#define IDLE_BYTES ((uint64_t)64 << 10)
#define SECOND_NS UINT64_C(1000000000)
/* When the last thread that is known goes the process is looked at after so long, twice that, and so on until then. */
#define LOOK_FIRST_NS UINT64_C(500000)
#define LOOK_SOON_NS UINT64_C(64000000)
/* Free memory that stays resident for the next allocation. */
#define KEEP_SHARE 32
#define KEEP_BYTES ((size_t)2 << 20)
/* and what the program allocates in this many times RELEASE_AFTER_NS: 10 s. */
#define KEEP_PERIODS 40
#define RELEASE_STEP ((size_t)1 << 20)
/* Who collects marks so many times as long as it touched: a program may take memory faster than anybody touches it. */
#define CHORE_REST 3
/* Give back in runs of 2 MiB first; only what is still too much in smaller ones. */
#define LONG_RUN_PAGES ((size_t)256)

/* wait_quiet - until no cycle ended for that long. The cycles that were seen. */
static uint32_t wait_quiet(struct gc *gc, uint32_t seen, uint64_t ns)
{
	for (;;) {
		pageheap_touch_ahead(&gc->heap->pageheap);
		int err = os_wait(&gc->background_word, seen, ns);
		uint32_t now = load_acquire(&gc->background_word); /* pairs: background */
		if (now == seen && err != 0)
			return seen;
		seen = now;
	}
}

static void sweep_all(struct gc *gc)
{
	bool more;
	do {
		lock_acquire(&gc->world);
		more = heap_sweep_step(gc->heap, FORK_SWEEP_SPANS);
		fork_stand_still(gc, NULL); /* to give WORLD back is not enough: we would have it again first */
		lock_release(&gc->world);
	} while (more);
}

/* too_much - free memory beside what an idle program keeps, and what this one will have used again soon:
 * it allocated that much while we waited. */
static size_t too_much(struct gc *gc, size_t allocated_nbytes)
{
	struct pageheap_stats s;
	pageheap_read_stats(&gc->heap->pageheap, &s);
	size_t keep = s.used_nbytes / KEEP_SHARE + KEEP_BYTES + allocated_nbytes * KEEP_PERIODS;
	return s.dirty_nbytes > keep ? s.dirty_nbytes - keep : 0;
}

/* release - gives back up to nbytes in runs of min_pages, letting a cycle or a fork in between steps. */
static void release(struct gc *gc, size_t nbytes, size_t min_pages)
{
	size_t done = 0, got = 1;
	while (done < nbytes && got > 0) {
		lock_acquire(&gc->world);
		fork_stand_still(gc, NULL);
		got = pageheap_scavenge(&gc->heap->pageheap, min_size(nbytes - done, RELEASE_STEP),
					min_pages);
		lock_release(&gc->world);
		done += got;
	}
	if (done > 0 && gc->scavenged != NULL)
		gc->scavenged(gc, done);
}

/* periodic_left_ns - until a cycle is due that nobody asked for; 0: none ever is. */
static uint64_t periodic_left_ns(const struct gc *gc, uint64_t since_ns)
{
	uint64_t period = (uint64_t)gc->knobs.periodic * SECOND_NS, passed = os_now_ns() - since_ns;
	if (period == 0 || !load_relaxed(&gc->concurrent))
		return 0;
	return passed < period ? period - passed : 1;
}

/* release_idle - after each period without a cycle, until all is given back that is worth it or a cycle
 * comes or is due. What a busy program needs anew would cost it a fault for each page. */
static void release_idle(struct gc *gc, uint32_t seen, uint64_t since_ns)
{
	uint64_t before, after = load_relaxed(&gc->heap->allocated_nbytes);
	for (bool first = true; wait_quiet(gc, seen, RELEASE_AFTER_NS) == seen; first = false) {
		before = after;
		after = load_relaxed(&gc->heap->allocated_nbytes);
		if (!first && after - before < IDLE_BYTES) {
			release(gc, SIZE_MAX, 1);
			pageheap_drop_ahead(&gc->heap->pageheap);
			return;
		}
		release(gc, too_much(gc, after - before), LONG_RUN_PAGES);
		release(gc, too_much(gc, after - before), 1);
		if (periodic_left_ns(gc, since_ns) == 1)
			return;
	}
}

/* is_deserted - no thread of the program is known any more. */
static bool is_deserted(const struct gc *gc)
{
	return load_relaxed(&gc->heap->nmutators) == 0;
}

/* look_at_desert - when main has ended with pthread_exit, and all others have ended too, the C library would end the process
 * if our threads did not count as the last ones. */
static void look_at_desert(const struct gc *gc)
{
	if (is_deserted(gc) && os_only_helpers())
		os_end_process();
}

/* look_soon - the last one has said that it goes; soon it is gone. */
static void look_soon(const struct gc *gc)
{
	for (uint64_t ns = LOOK_FIRST_NS; ns < LOOK_SOON_NS && is_deserted(gc); ns *= 2) {
		os_sleep_ns(ns);
		look_at_desert(gc);
	}
}

/* left_ns - until wait_cycle has something to do; 0: for ever. */
static uint64_t left_ns(const struct gc *gc, uint64_t since_ns)
{
	uint64_t left = periodic_left_ns(gc, since_ns);
	return is_deserted(gc) && (left == 0 || left > SECOND_NS) ? SECOND_NS : left;
}

/* wait_cycle - until one has ended; one is made when none came for long (MGC_DEBUG=periodic) and the program
 * allocated something since: it may have dropped much. */
static void wait_cycle(struct gc *gc, uint32_t seen, uint64_t since_ns)
{
	while (load_acquire(&gc->background_word) == seen) { /* pairs: background */
		pageheap_touch_ahead(&gc->heap->pageheap);
		uint64_t left = left_ns(gc, since_ns);
		if (os_wait(&gc->background_word, seen, left) == 0 || left == 0)
			continue;
		look_at_desert(gc);
		if (periodic_left_ns(gc, since_ns) != 1)
			continue;
		since_ns = os_now_ns();
		if (load_relaxed(&gc->heap->allocated_nbytes) !=
			    load_relaxed(&gc->cycle_allocated_nbytes) &&
		    gc->pacer.percent >= 0 && load_relaxed(&gc->disabled) == 0)
			cycle_collect(gc, NULL, CYCLE_PERIODIC);
	}
}

static void run(void *arg)
{
	struct gc *gc = arg;
	uint32_t seen = 0;
	uint64_t since_ns = os_now_ns();
	mutator_tls = &mutator_collector;
	os_membarrier_register(); /* it takes 10 ms, which the first cycle beside the program need not wait for */
	for (;;) {
		wait_cycle(gc, seen, since_ns);
		look_soon(gc);
		seen = wait_quiet(gc, load_acquire(&gc->background_word), SWEEP_AFTER_NS); /* pairs: background */
		since_ns = os_now_ns();
		sweep_all(gc);
		release_idle(gc, seen, since_ns);
	}
}

static void wake(struct gc *gc)
{
	if (load_relaxed(&gc->background_started)) /* else nobody waits for the word */
		os_wake(&gc->background_word, 1);
}

void background_after_cycle(struct gc *gc)
{
	if (!gc->knobs.background)
		return;
	store_relaxed(&gc->cycle_allocated_nbytes, load_relaxed(&gc->heap->allocated_nbytes));
	add_acq_rel(&gc->background_word, 1u); /* pairs: background */
	wake(gc);
}

void background_start(struct gc *gc)
{
	if (gc->knobs.background && !gc->background_started)
		store_relaxed(&gc->background_started,
			      (uint32_t)(os_spawn(run, gc, "mgc-background") == 0));
}

void background_deserted(struct heap *h)
{
	struct gc *gc = h->gc;
	add_acq_rel(&gc->background_word, 1u); /* pairs: background. It may be about to sleep for long */
	wake(gc);
}

/* marks_beside - the program runs, and so does who collects. */
static bool marks_beside(const struct gc *gc)
{
	return heap_phase(gc->heap) == PHASE_MARK && load_relaxed(&gc->stw.stopping) == 0;
}

/* has_idle_processor - beside those of the program's threads, of who collects and of its helpers. */
static bool has_idle_processor(const struct gc *gc)
{
	uint32_t nprocs = gc->workers.limit + 1;
	return load_relaxed(&gc->heap->nmutators) + 1 + workers_beside(&gc->workers) < nprocs;
}

void background_touch(void *heap)
{
	struct gc *gc = ((struct heap *)heap)->gc;
	if (marks_beside(gc) && !has_idle_processor(gc) && load_relaxed(&gc->background_started))
		store_relaxed(&gc->pool.chore, 1u);
	else
		wake(gc);
}

void background_chore(struct gc *gc)
{
	if (load_relaxed(&gc->pool.chore) == 0 || !marks_beside(gc))
		return;
	uint64_t begin = os_now_ns();
	if (begin < gc->chore_after_ns)
		return;
	store_relaxed(&gc->pool.chore, 0u); /* before: it may be told again meanwhile */
	if (pageheap_touch_step(&gc->heap->pageheap))
		store_relaxed(&gc->pool.chore, 1u);
	uint64_t end = os_now_ns();
	gc->chore_after_ns = end + (end - begin) * CHORE_REST;
}

size_t background_release(struct gc *gc)
{
	cycle_take_world(gc);
	heap_sweep_some(gc->heap, SIZE_MAX, SIZE_MAX);
	lock_release(&gc->world);
	return pageheap_scavenge(&gc->heap->pageheap, SIZE_MAX, 1) +
	       pageheap_drop_ahead(&gc->heap->pageheap);
}

void background_after_fork(struct gc *gc)
{
	gc->background_started = 0;
	gc->background_word = 0;
}
