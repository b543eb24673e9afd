/* background.c - see background.h. */
#include "gc/background.h"

#include "base/bits.h"
#include "base/check.h"
#include "heap/mutator.h"
#include "os/os.h"

#define SWEEP_AFTER_NS UINT64_C(50000000)
#define RELEASE_AFTER_NS UINT64_C(250000000)
/* One step of sweeping frees at most this much before it lets a cycle in. */
#define SWEEP_STEP_PAGES 512
/* Free memory that stays resident for the next allocation. */
#define KEEP_SHARE 32
#define KEEP_BYTES ((size_t)2 << 20)
#define RELEASE_STEP ((size_t)1 << 20)
/* Give back in runs of 2 MiB first; only what is still too much in smaller ones. */
#define LONG_RUN_PAGES ((size_t)256)

/* wait_quiet - until no cycle ended for that long. The cycles that were seen. */
static uint32_t wait_quiet(struct gc *gc, uint32_t seen, uint64_t ns)
{
	for (;;) {
		int err = os_wait(&gc->background_word, seen, ns);
		uint32_t now = load_acquire(&gc->background_word); /* pairs: background */
		if (now == seen && err != 0)
			return seen;
		seen = now;
	}
}

static void sweep_all(struct gc *gc)
{
	size_t freed;
	do {
		lock_acquire(&gc->world);
		freed = heap_sweep_some(gc->heap, SWEEP_STEP_PAGES);
		lock_release(&gc->world);
	} while (freed >= SWEEP_STEP_PAGES);
}

static size_t too_much(struct gc *gc)
{
	struct pageheap_stats s;
	pageheap_read_stats(&gc->heap->pageheap, &s);
	size_t keep = s.used_nbytes / KEEP_SHARE + KEEP_BYTES;
	return s.dirty_nbytes > keep ? s.dirty_nbytes - keep : 0;
}

/* release - gives back up to nbytes in runs of min_pages, letting a cycle or a fork in between steps. */
static void release(struct gc *gc, size_t nbytes, size_t min_pages)
{
	size_t done = 0, got = 1;
	while (done < nbytes && got > 0) {
		lock_acquire(&gc->world);
		got = pageheap_scavenge(&gc->heap->pageheap, min_size(nbytes - done, RELEASE_STEP),
					min_pages);
		lock_release(&gc->world);
		done += got;
	}
}

static void release_some(struct gc *gc)
{
	release(gc, too_much(gc), LONG_RUN_PAGES);
	release(gc, too_much(gc), 1);
}

static void run(void *arg)
{
	struct gc *gc = arg;
	uint32_t seen = 0;
	mutator_tls = &mutator_collector;
	for (;;) {
		while (load_acquire(&gc->background_word) == seen) /* pairs: background */
			os_wait(&gc->background_word, seen, 0);
		seen = wait_quiet(gc, load_acquire(&gc->background_word), SWEEP_AFTER_NS); /* pairs: background */
		sweep_all(gc);
		if (wait_quiet(gc, seen, RELEASE_AFTER_NS) != seen)
			continue;
		release_some(gc);
		if (wait_quiet(gc, seen, RELEASE_AFTER_NS) == seen)
			release(gc, SIZE_MAX, 1);
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

size_t background_release(struct gc *gc)
{
	lock_acquire(&gc->world);
	heap_sweep_some(gc->heap, SIZE_MAX);
	lock_release(&gc->world);
	return pageheap_scavenge(&gc->heap->pageheap, SIZE_MAX, 1);
}

void background_after_fork(struct gc *gc)
{
	gc->background_started = 0;
	gc->background_word = 0;
}
