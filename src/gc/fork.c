/* fork.c - see fork.h. */
#include "gc/fork.h"

#include "base/check.h"
#include "gc/background.h"
#include "gc/checkmark.h"
#include "gc/cycle.h"
#include "os/os.h"

enum loan { NONE, LENT, TAKEN };

/* Who waits for WORLD looks this often whether it is free: it may be given back instead of lent. */
#define LOOK_NS UINT64_C(100000)

static struct mutator *own_mutator(void)
{
	struct mutator *m = mutator_self();
	return m == &mutator_none || m == &mutator_collector ? NULL : m;
}

/* ── who has WORLD ──────────────────────────────────────────────────────────────────────── */

/* may_lend - X1. Where data segments are roots, the loader's lock is held for the whole cycle. */
static bool may_lend(const struct gc *gc)
{
	unsigned phase = heap_phase(gc->heap);
	bool between = phase == PHASE_OFF || phase == PHASE_MARK || phase == PHASE_TERM;
	return between && load_relaxed(&gc->stw.stopping) == 0 && !load_relaxed(&gc->roots.globals);
}

/* lend - returns when WORLD is ours again. */
static void lend(struct gc *gc)
{
	uint32_t *loan = &gc->forking.loan, seen;
	store_release(loan, (uint32_t)LENT); /* pairs: world-lent */
	os_wake(loan, UINT32_MAX);
	while ((seen = load_acquire(loan)) != NONE) /* pairs: world-lent */
		os_wait(loan, seen, 0);
}

void fork_let_pass(struct gc *gc)
{
	const struct mutator *self = own_mutator();
	bool blocked = self == NULL || load_relaxed(&self->status) != MUTATOR_RUNNING; /* X3 */
	MGC_ASSERTION(heap_phase(gc->heap) == PHASE_OFF && load_relaxed(&gc->stw.stopping) == 0);
	if (MGC_UNLIKELY(fork_waits(gc)) && blocked && lock_thread.nheld == 1)
		lend(gc);
}

void fork_stand_still(struct gc *gc, struct mutator *self)
{
	MGC_ASSERTION(self != NULL || own_mutator() == NULL); /* X3 */
	if (MGC_LIKELY(!fork_waits(gc)) || !may_lend(gc))
		return;
	if (self != NULL) {
		MGC_CHECK(self->sec == 1);
		mutator_leave(self);
		stw_block(self);
	}
	lend(gc);
	if (self != NULL) {
		stw_unblock(&gc->stw, self);
		mutator_enter(self);
	}
}

/* ── before ─────────────────────────────────────────────────────────────────────────────── */

/* borrow - takes the loan; it counts as the lock. */
static bool borrow(struct gc *gc)
{
	uint32_t lent = LENT;
	if (!cas_acq_rel(&gc->forking.loan, &lent, (uint32_t)TAKEN)) /* pairs: world-lent */
		return false;
	lock_enter();
	lock_note_acquire(&gc->world);
	return true;
}

/* give_back - what borrow took. Who stood still goes on, and others that wait look again. */
static void give_back(struct gc *gc)
{
	lock_note_release(&gc->world);
	store_release(&gc->forking.loan, (uint32_t)NONE); /* pairs: world-lent */
	os_wake(&gc->forking.loan, UINT32_MAX);
	lock_leave();
}

/* wait_world - until WORLD is ours (false) or was lent (true). */
static bool wait_world(struct gc *gc)
{
	bool owned = false, borrowed = false;
	add_acq_rel(&gc->pool.pause, 1u);
	while (!(owned = lock_try(&gc->world)) && !(borrowed = borrow(gc))) {
		uint32_t seen = load_acquire(&gc->forking.loan); /* pairs: world-lent */
		if (seen != LENT)
			os_wait(&gc->forking.loan, seen, LOOK_NS);
	}
	sub_acq_rel(&gc->pool.pause, 1u);
	return borrowed;
}

/* each_lock - those that threads of the collector's own may hold: they are no mutators. */
static void each_lock(struct gc *gc, void (*fn)(struct lock *l))
{
	fn(&gc->roots.lock);
	fn(&gc->heap->registry_lock);
	fn(&gc->specials.lock);
	fn(&gc->heap->layouts.lock);
	fn(&gc->heap->pageheap.lock);
	fn(&sampler.lock);
	fn(&gc->pool.lock);
}

static void see_free(struct lock *l)
{
	lock_acquire(l);
	lock_release(l);
}

void fork_prepare(struct gc *gc)
{
	struct mutator *self = own_mutator();
	bool running = self != NULL && load_relaxed(&self->status) == MUTATOR_RUNNING;
	if (running && self->sec != 0)
		mgc_misuse("fork in a trace or root callback, in a signal handler that came upon "
			   "the library, "
			   "or with the allocation lock of the libgc face");
	if (running)
		stw_block(self); /* X3 */
	bool borrowed = wait_world(gc);
	if (running)
		stw_unblock(&gc->stw, self);
	gc->forking.borrowed = borrowed;
	add_relaxed(&gc->disabled, 1);
	stw_stop(&gc->stw, self);
	lock_gate_close();
	(void)stw_start(&gc->stw, self);
	each_lock(gc, see_free);
	cycle_wait_loader(gc);
}

/* ── after ──────────────────────────────────────────────────────────────────────────────── */

static void release_world(struct gc *gc)
{
	if (gc->forking.borrowed)
		give_back(gc);
	else
		lock_release(&gc->world);
}

void fork_in_parent(struct gc *gc)
{
	sub_relaxed(&gc->disabled, 1);
	lock_gate_open();
	release_world(gc);
}

static void clear_marks(void *arg, struct span *s)
{
	span_clear_marks(arg, s);
}

/* drop_cycle - from MARK or TERM to OFF. */
static void drop_cycle(struct gc *gc)
{
	struct heap *h = gc->heap;
	unsigned phase = heap_phase(h);
	if (phase == PHASE_OFF)
		return;
	MGC_CHECK(phase == PHASE_MARK || phase == PHASE_TERM);
	pageheap_each(&h->pageheap, clear_marks, &h->pageheap.space); /* X4 */
	LIST_EACH(it, &h->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		m->shaded = m->freed = NULL;
		m->taken = m->asked = 0;
		m->debt_nbytes = 0;
	}
	gc->freed = NULL;
	stacks_take_again(&gc->roots);
	ephemerons_forget_cycle(&gc->ephemerons);
	grey_forget_all(&gc->pool);
	checkmark_drop(gc);
	heap_set_phase(h, PHASE_OFF, heap_sweepgen(h));
	pacer_drop_cycle(&gc->pacer);
}

void fork_in_child(struct gc *gc)
{
	struct mutator *self = own_mutator();
	os_forget_helpers();
	release_world(gc);
	lock_reset(&gc->world);
	each_lock(gc, lock_reset);
	store_relaxed(&gc->pool.pause, 0u);
	store_relaxed(&gc->nloader, 0u);
	lock_gate_open();
	workers_after_fork(&gc->workers);
	background_after_fork(gc);
	collector_after_fork(gc);
	drop_cycle(gc);
	cycle_after_fork(gc);
	store_relaxed(&gc->specials.nwaiting, 0u);
	gc->nforks++;
	stacks_after_fork(&gc->roots, gc->heap, self);
	mutator_reset_registry(gc->heap, self);
	sub_relaxed(&gc->disabled, 1);
}
