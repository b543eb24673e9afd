/* collector.c - see collector.h. */
#include "gc/collector.h"

#include <string.h>

#include "gc/cycle.h"
#include "os/os.h"

static void run(void *arg)
{
	struct gc *gc = arg;
	uint32_t seen = 0;
	mutator_tls = &mutator_collector;
	for (;;) {
		uint32_t now = load_acquire(&gc->collector.word); /* pairs: collector-word */
		if (now == seen) {
			os_wait(&gc->collector.word, seen, 0);
			continue;
		}
		seen = now;
		cycle_collect(gc, NULL, CYCLE_HEAP);
		store_relaxed(&gc->collector.wanted, 0u); /* also when another thread's cycle did it */
	}
}

bool collector_request(struct gc *gc)
{
	struct collector *c = &gc->collector;
	if (load_acquire(&c->started) == 0 && swap_acq_rel(&c->started, 1u) == 0) { /* pairs: collector */
		if (os_spawn(run, gc, "mgc-cycle") != 0) {
			store_release(&c->started, 0u); /* pairs: collector */
			return false;
		}
	}
	if (load_relaxed(&c->wanted) == 0 && swap_acq_rel(&c->wanted, 1u) == 0) {
		add_acq_rel(&c->word, 1u); /* pairs: collector-word */
		os_wake(&c->word, 1);
	}
	return true;
}

void collector_begin(struct gc *gc)
{
	struct collector *c = &gc->collector;
	c->assist_objects = c->assist_nbytes = c->assist_ns = 0;
	store_relaxed(&c->wanted, 0u);
}

/* assist - in a section: the cycle cannot leave MARK before the assist has left the pool. */
static MGC_NOINLINE uint64_t assist(struct gc *gc, uint64_t nbytes)
{
	struct marker mk;
	uint64_t begin = os_thread_cpu_ns();
	marker_init(&mk, gc->heap, &gc->pool, gc->knobs.invalidptr == 0);
	marker_assist(&mk, nbytes);
	marker_finish(&mk);
	add_relaxed(&gc->collector.assist_objects, mk.marked_objects);
	add_relaxed(&gc->collector.assist_nbytes, mk.marked_nbytes);
	add_relaxed(&gc->collector.assist_ns, os_thread_cpu_ns() - begin);
	return mk.marked_nbytes;
}

uint64_t collector_assist(struct gc *gc, struct mutator *m, uint64_t nbytes)
{
	uint64_t done = 0;
	mutator_enter(m);
	if (heap_phase(gc->heap) == PHASE_MARK && grey_join(&gc->pool)) {
		done = assist(gc, nbytes);
		grey_leave(&gc->pool);
		regs_wipe();
	}
	mutator_leave(m);
	return done;
}

void collector_after_fork(struct gc *gc)
{
	memset(&gc->collector, 0, sizeof gc->collector);
}
