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
/* A program that allocated anything since the last cycle gets one after this time, as in Go. */
#define FORCED_AFTER_NS UINT64_C(120000000000)
/* Free memory that stays resident for the next allocation. */
#define KEEP_SHARE 32
#define KEEP_BYTES ((size_t)2 << 20)
/* and what the program allocates in this many times RELEASE_AFTER_NS: 10 s. */
#define KEEP_PERIODS 40
#define RELEASE_STEP ((size_t)1 << 20)
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

/* release_idle - after each period without a cycle, until all is given back that is worth it or a cycle
 * comes. What a busy program needs anew would cost it a fault for each page. */
static void release_idle(struct gc *gc, uint32_t seen)
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
	}
}

/* wait_cycle - until one has ended; one is asked for when none came for long and the program lives on: it
 * may have dropped much since. */
static void wait_cycle(struct gc *gc, uint32_t seen)
{
	uint64_t allocated = load_relaxed(&gc->heap->allocated_nbytes);
	while (load_acquire(&gc->background_word) == seen) { /* pairs: background */
		pageheap_touch_ahead(&gc->heap->pageheap);
		int err = os_wait(&gc->background_word, seen,
				  load_relaxed(&gc->concurrent) ? FORCED_AFTER_NS : 0);
		uint64_t now = load_relaxed(&gc->heap->allocated_nbytes);
		if (err == 0 || now == allocated || gc->pacer.percent < 0 ||
		    load_relaxed(&gc->disabled) > 0)
			continue;
		cycle_collect(gc, NULL, CYCLE_PERIODIC);
		allocated = now;
	}
}

static void run(void *arg)
{
	struct gc *gc = arg;
	uint32_t seen = 0;
	mutator_tls = &mutator_collector;
	for (;;) {
		wait_cycle(gc, seen);
		seen = wait_quiet(gc, load_acquire(&gc->background_word), SWEEP_AFTER_NS); /* pairs: background */
		sweep_all(gc);
		release_idle(gc, seen);
	}
}

void background_after_cycle(struct gc *gc)
{
	if (!gc->knobs.background)
		return;
	add_acq_rel(&gc->background_word, 1u); /* pairs: background */
	if (gc->background_started) {
		os_wake(&gc->background_word, 1);
		return;
	}
	gc->background_started = os_spawn(run, gc, "mgc-background") == 0;
}

void background_touch(void *heap)
{
	struct gc *gc = ((struct heap *)heap)->gc;
	if (load_relaxed(&gc->background_started)) /* else nobody waits for the word */
		os_wake(&gc->background_word, 1);
}

size_t background_release(struct gc *gc)
{
	lock_acquire(&gc->world);
	heap_sweep_some(gc->heap, SIZE_MAX);
	lock_release(&gc->world);
	return pageheap_scavenge(&gc->heap->pageheap, SIZE_MAX, 1) +
	       pageheap_drop_ahead(&gc->heap->pageheap);
}

void background_after_fork(struct gc *gc)
{
	gc->background_started = 0;
	gc->background_word = 0;
}
