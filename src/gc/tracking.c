/* tracking.c - a cycle beside a program that has no barrier: what it writes meanwhile is scanned again.
 *
 * WHAT   The system notes which pages of the heap are written (os_written_*). Everything is marked while
 *        the program runs; then the marked objects on written pages are scanned again, round by round, as
 *        long as that helps; then the world stops, shortly, and what was written since, and all roots, are
 *        scanned once more.
 *        A young one (young.h) keeps its marks and begins with what of the old was written to.
 * STATE  heap.phase_gen: OFF → ARM → MARK → (in the last stop) CLEAR → FLIP → OFF. What belongs to CLEAR is done in that stop or
 *        after it (clearing.c). Nobody shades. Births are white until the
 *        last stop: most of them are dead by then, and the others are found from there; black after it.
 * INV    K1 when the last stop ends, every object that is reachable is marked: say that a marked object
 *           refers to an unmarked one. Then the reference was stored after the object was scanned, and so
 *           after its page was last forgotten, for that comes before the scan; so the page is a written one,
 *           and the object was scanned again in the stop.
 *        K2 nothing is freed or reused from MARK to FLIP (barrier.h D4)
 *        K3 callbacks that need a stopped world run in the stop only (grey_pool.beside)
 *        If the system cannot say what was written (the program closed our descriptors), everything was.
 * LOCKS  ROOTS, and REGISTRY while the world is stopped.
 * FROM   Boehm, Demers, Shenker 1991, with the kernel's asynchronous write protection. */
#include "base/bits.h"
#include "base/check.h"
#include "gc/checkmark.h"
#include "gc/cycle.h"
#include "gc/cycle_form.h"
#include "gc/quiesce.h"
#include "gc/young.h"
#include "os/os.h"

/* A smaller heap is marked in a shorter stop than tracking it takes to set up. */
#define FROM_NBYTES ((uint64_t)4 << 20)
/* Rounds before the last stop; no more when so little is left that the stop is short, or when one did not take away a quarter of
 * what is left though the program was held. */
#define MOST_ROUNDS 8
#define FEW_NBYTES ((size_t)256 << 10)
/* When so little is left (some 25 ms), or a round did not take away a quarter, who comes for memory is held, a millisecond at a time:
 * else rounds end where the program writes as fast as they scan (docs/adr/0091). */
#define BRAKE_NBYTES ((size_t)32 << 20)

/* To help or to wait for a cycle is as long as the stop that it saves: the heap may grow a little instead. */
#define LATE_PCT 25

/* Guile moves a stack of some MiB with the allocation lock held in 2 to 5 ms. In a crowd of threads one is always somewhere
 * inside that has no processor, and allocation waits for the cycle. */
#define LEAVE_NS UINT64_C(10000000)

struct rescan {
	struct marker *mk;
	size_t nbytes_written;
};

static void rescan_other(void *arg, uintptr_t lo, uintptr_t hi)
{
	struct rescan *w = arg;
	marker_rescan(w->mk, lo, hi);
}

static void rescan_written(void *arg, uintptr_t lo, uintptr_t hi)
{
	struct rescan *w = arg;
	w->nbytes_written += hi - lo;
	rescan_other(arg, lo, hi);
}

/* rescan - what was written since it was forgotten; how much that was. */
static size_t rescan(struct cycle *c, bool forget)
{
	struct rescan w = { .mk = &c->mk };
	written_rest(&c->gc->written, forget, rescan_written, rescan_other, &w);
	return w.nbytes_written;
}

void cycle_let_leave(struct cycle *c)
{
	uint64_t left = LEAVE_NS - min_size(c->leave_ns, LEAVE_NS);
	c->leave_ns += stw_let_leave(&c->gc->stw, c->self, left);
}

void cycle_stopped(struct cycle *c, void (*fn)(struct cycle *c))
{
	struct gc *gc = c->gc;
	cycle_let_leave(c);
	lock_acquire(&gc->roots.lock);
	uint64_t begin = os_now_ns(), cpu_begin = os_thread_cpu_ns();
	cycle_tell(gc, CYCLE_STOPPING);
	stw_stop(&gc->stw, c->self);
	cycle_tell(gc, CYCLE_STOPPED);
	uint64_t stood = os_now_ns();
	c->mk.in_stop = true;
	fn(c);
	c->mk.in_stop = false;
	cycle_tell(gc, CYCLE_STARTING);
	uint64_t woken = stw_start(&gc->stw, c->self);
	cycle_tell(gc, CYCLE_STARTED);
	c->rec.stopping_ns = max_size(c->rec.stopping_ns, stood - begin);
	c->rec.pause_ns = max_size(c->rec.pause_ns, woken - begin);
	c->stopped_ns = max_size(c->stopped_ns, os_thread_cpu_ns() - cpu_begin);
	lock_release(&gc->roots.lock);
}

/* look_around - what only a stop can tell, so that most of what hangs on it is marked beside the program. */
static void look_around(struct cycle *c)
{
	stacks_take_again(&c->gc->roots);
	cycle_mark_roots(c);
	marker_rescan_waiting(&c->mk);
}

/* look_in_rounds - at the roots, in a short stop, and at what was written; what hangs on both is marked
 * beside the program. */
static void look_in_rounds(struct cycle *c)
{
	size_t before = SIZE_MAX;
	bool braked = false;
	for (unsigned i = 0; i < MOST_ROUNDS; i++) {
		uint64_t marked = c->mk.marked_nbytes;
		cycle_stopped(c, look_around);
		cycle_drain(&c->mk);
		written_watch_used(&c->gc->written, &c->gc->heap->pageheap); /* fresh spans, too */
		size_t now = rescan(c, true);
		cycle_drain(&c->mk);
		now += c->mk.marked_nbytes - marked;
		c->left_nbytes = now;
		bool even = now > before / 4 * 3;
		if (now <= FEW_NBYTES || (even && braked))
			return;
		braked = braked || even || now <= BRAKE_NBYTES;
		collector_brake(c->gc, braked);
		before = now;
	}
}

/* births_are_black - until the sweep generation changes; so are the slots that mutators have in hand. */
static void births_are_black(struct gc *gc)
{
	gc->unborn_nbytes = 0;
	LIST_EACH(it, &gc->heap->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		gc->unborn_nbytes += stacks_mark_unborn(m);
		store_release(&m->taken, heap_sweepgen(gc->heap)); /* pairs: taken */
	}
}

static void mark_each(struct marker *mk, const struct grey_block *b)
{
	for (; b != NULL; b = b->next)
		for (uint32_t i = 0; i < b->n; i++)
			(void)marker_object(mk, b->object[i]);
}

/* mark_freed - what was freed by hand meanwhile: cycle_flip takes the mark back, and knows a second free by
 * its not being there. */
static void mark_freed(struct cycle *c)
{
	mark_each(&c->mk, load_acquire(&c->gc->freed)); /* pairs: freed */
	LIST_EACH(it, &c->gc->heap->mutators)
		mark_each(&c->mk, load_acquire(&LIST_ENTRY(it, struct mutator, node)->freed)); /* pairs: freed */
}

static void mark_rest(struct cycle *c)
{
	c->rec.rescanned_nbytes = rescan(c, false);
	look_around(c);
	mark_freed(c);
}

/* finish - the mark ends. */
static void finish(struct cycle *c)
{
	c->rec.heap_before = heap_live(c->gc->heap);
	cycle_tell(c->gc, CYCLE_MARKING);
	births_are_black(c->gc);
	/* to wake helpers takes as long as to scan a little */
	uint32_t nhelpers = c->left_nbytes > FEW_NBYTES ? c->nstop_helpers : 0;
	c->mk.alone = nhelpers == 0;
	c->gc->pool.beside = false; /* the helpers are done before the stop is over */
	cycle_mark_with(c, nhelpers, mark_rest);
	if (c->gc->knobs.gccheckmark)
		checkmark_end(c->gc, &c->mk);
	cycle_clear_or_later(c);
	c->gc->pool.beside = true; /* for what is left of the mark */
	cycle_tell(c->gc, CYCLE_MARKED);
}

/* arm - from here on a write to the heap is noted, and a free is put off. */
static void arm(struct cycle *c)
{
	struct gc *gc = c->gc;
	cycle_sweep_cached(gc->heap);
	gc->pool.beside = true;
	heap_set_phase(gc->heap, PHASE_ARM, heap_sweepgen(gc->heap));
	quiesce(&gc->stw, c->self); /* who sweeps, by marks, or frees a span has done so: K2 */
	young_begin(c);
	written_watch_used_up(&gc->written, &gc->heap->pageheap); /* the others from the first round on */
	if (!c->rec.young) /* else what was noted about the old is asked for first */
		written_forget_watched(&gc->written);
	cycle_set_phase(c, PHASE_MARK);
}

void tracking_disarm(struct cycle *c)
{
	struct gc *gc = c->gc;
	gc->pool.beside = false;
	if (gc->young.sticky)
		young_opened(c);
	else
		written_ignore(&gc->written);
}

/* mark_first - of a young one, also what of the old was written to: all that was not closed counts as that. */
static void mark_first(struct cycle *c)
{
	if (c->rec.young) {
		young_rescan(c);
		(void)rescan(c, true);
	}
	cycle_stopped(c, look_around);
}

void tracking_phases(struct cycle *c)
{
	uint64_t begin = os_now_ns();
	arm(c);
	collector_begin(c->gc); /* not before the phase is MARK: see barriered_phases */
	cycle_init_marker(c);
	cycle_mark_with(c, c->nhelpers, mark_first);
	look_in_rounds(c); /* also at what the callbacks of objects that are marked by now refer to */
	c->rec.mark_ns = os_now_ns() - begin;
	c->nstop_helpers = workers_prepare(&c->gc->workers, c->gc->workers.limit);
	cycle_stopped(c, finish);
	collector_brake(c->gc, false);
	cycle_clear_later(c);
	young_end(c); /* it looks at each span: no longer stop for a larger heap */
	if (c->rec.young) /* what lives was counted, what was born black meanwhile among it */
		c->rec.heap_before = heap_live(c->gc->heap);
	cycle_flip(c);
	cycle_account(c, c->rec.heap_before);
}

/* ── is it worth it? ────────────────────────────────────────────────────────────────────── */

bool tracking_wanted(const struct gc *gc)
{
	if (gc->barriered || !gc->knobs.concurrent)
		return false;
	switch (gc->knobs.tracked) {
	case 0:
		return false;
	case 1:
		return heap_live(gc->heap) >= FROM_NBYTES &&
		       (load_relaxed(&gc->short_pauses) || (gc->longstop.felt && !gc->longstop.crowd));
	case 2:
		return heap_live(gc->heap) >= FROM_NBYTES;
	default:
		return true;
	}
}

/* look_at_program - what it did since the last cycle, without the cycle that ends now. */
static void look_at_program(struct cycle *c)
{
	struct gc *gc = c->gc;
	uint64_t now = os_now_ns(), cpu = os_cpu_ns();
	uint64_t wall = now - gc->looked_at_ns, all = cpu - gc->looked_cpu_ns;
	uint64_t collector = c->rec.cpu_ns - min_size(c->rec.assist_ns, c->rec.cpu_ns);
	uint64_t heap = c->rec.heap_before + c->rec.born_nbytes;
	longstop_program(&gc->longstop,
			 &(struct longstop_program){
				 .wall_ns = wall - min_size(c->rec.pause_ns, wall),
				 .cpu_ns = all - min_size(collector, all),
				 .nthreads = load_relaxed(&gc->heap->nmutators),
				 .nprocs = gc->nprocs,
				 .passed_bar = c->beside && heap > load_relaxed(&gc->bar_nbytes) });
	gc->looked_at_ns = now;
	gc->looked_cpu_ns = cpu;
}

static void judge(struct cycle *c)
{
	struct longstop *l = &c->gc->longstop;
	if (c->beside)
		longstop_beside(l, c->stopped_ns, c->rec.heap_live);
	else
		longstop_whole(l, (c->rec.cpu_ns - c->later_ns) / max_size(c->rec.nworkers, 1),
			       c->rec.heap_live, pacer_goal(&c->gc->pacer));
}

void tracking_consider(struct cycle *c)
{
	struct gc *gc = c->gc;
	if (gc->barriered)
		return;
	look_at_program(c);
	if (!c->rec.young)
		judge(c);
	gc->tracked = tracking_wanted(gc) && written_start(&gc->written);
	gc->pacer.late_pct = gc->tracked ? LATE_PCT : 0;
	store_relaxed(&gc->concurrent, gc->tracked && !young_stops(gc));
	if (gc->tracked) /* the first write to a protected one splits it, and takes twenty times as long */
		store_relaxed(&gc->heap->pageheap.huge_from_pages, SIZE_MAX);
}
