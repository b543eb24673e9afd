/* cycle.c - see cycle.h. */
#include "gc/cycle.h"

#include <string.h>

#include "base/annotate.h"
#include "base/bits.h"
#include "base/check.h"
#include "gc/background.h"
#include "gc/cycle_form.h"
#include "gc/fork.h"
#include "gc/sweep.h"
#include "gc/verify.h"
#include "gc/young.h"
#include "heap/cache.h"
#include "os/os.h"

/* Helpers are not worth waking for less live memory than this: a wake costs about 50 µs here. Where the whole mark is
 * a stop, half as much takes 0.4 ms. */
#define PARALLEL_FROM_BYTES ((uint64_t)2 << 20)
#define PARALLEL_STOP_FROM_BYTES ((uint64_t)1 << 20)

/* A program's only thread may run a cycle itself when the last one found no more than this: what an assist marks. */
#define BRIEF_NBYTES ((uint64_t)64 << 10)
#define BRIEF_HEAP_NBYTES ((uint64_t)16 << 20)

/* A fork waits this long for threads that have the loader's lock to collect. More would not help: then
 * somebody has it who waits for the fork. */
#define LOADER_WAIT_NS UINT64_C(200000000)

static void set_goal(struct gc *gc)
{
	store_relaxed(&gc->goal_nbytes, pacer_goal(&gc->pacer));
	store_relaxed(&gc->hold_nbytes, pacer_hold(&gc->pacer));
	store_relaxed(&gc->bar_nbytes, pacer_bar(&gc->pacer));
	store_relaxed(&gc->limited, (uint32_t)pacer_limited(&gc->pacer));
	gc_apply_limit(gc);
	uint64_t trigger = gc->concurrent ? pacer_trigger(&gc->pacer) : gc->goal_nbytes;
	if (gc->concurrent && gc->young.whole_next)
		trigger = 0; /* a young one kept too much: at once */
	else if (young_next(gc))
		trigger = min_size(trigger, heap_live(gc->heap) + YOUNG_MOST_NBYTES);
	store_relaxed(&gc->heap->trigger_nbytes, trigger);
}

void cycle_set_goal(struct gc *gc)
{
	set_goal(gc);
	gc_publish(gc);
}

static void at_boundary(void *arg)
{
	struct cycle *c = arg;
	background_chore(c->gc);
	fork_stand_still(c->gc, c->self);
}

void cycle_init_marker(struct cycle *c)
{
	marker_init(&c->mk, c->gc->heap, &c->gc->pool, c->gc->knobs.invalidptr == 0);
	c->mk.boundary = (struct grey_boundary){ at_boundary, c };
}

static void sweep_all(struct cycle *c)
{
	do
		fork_stand_still(c->gc, c->self);
	while (heap_sweep_step(c->gc->heap, FORK_SWEEP_SPANS));
}

static void sweep_rest(struct cycle *c)
{
	uint64_t begin = os_now_ns();
	sweep_all(c);
	c->rec.sweep_ns = os_now_ns() - begin;
}

void cycle_sweep_cached(struct heap *h)
{
	unsigned n = load_acquire(&h->layouts.nspanclasses); /* pairs: spanclass */
	for (unsigned sc = 1; sc < n; sc++)
		central_sweep_cached(h, heap_central(h, sc));
}

void cycle_start_sweep(struct heap *h)
{
	unsigned n = load_acquire(&h->layouts.nspanclasses); /* pairs: spanclass */
	for (unsigned sc = 1; sc < n; sc++)
		central_start_sweep(heap_central(h, sc));
	if (MGC_HOSTILE) /* who swept now would do it again */
		os_yield();
	heap_set_phase(h, PHASE_OFF, heap_sweepgen(h) + 2);
	heap_wake_phase(h);
}

void cycle_verify(struct cycle *c)
{
	struct gc *gc = c->gc;
	heap_verify(gc->heap);
	if (gc->knobs.verify < 2)
		return;
	if (c->self != NULL) {
		c->self->sp = c->sp;
		c->self->nregs = 0;
	}
	verify_references(gc->heap, &gc->roots, &gc->specials);
}

void cycle_drain(struct marker *mk)
{
	ephemerons_converge(&mk->heap->gc->ephemerons, mk);
}

void cycle_tell(struct gc *gc, enum cycle_event e)
{
	if (gc->event != NULL)
		gc->event(e);
}

/* expected_to_live - of what was born black while the cycle ran: the same share as of what it found, but
 * at least half. Counted whole it would let the next heap grow by twice what floats. */
static uint64_t expected_to_live(const struct cycle_record *r)
{
	if (r->born_nbytes == 0 || r->heap_before == 0)
		return r->born_nbytes;
	double share = (double)r->heap_live / (double)r->heap_before;
	return (uint64_t)((double)r->born_nbytes * (share < 0.5 ? 0.5 : share < 1 ? share : 1));
}

/* heap_slack - what memory the heap takes beyond what is handed out, when that is heap_nbytes: pages of
 * spans, tables, the grey queue. *total: all of it. */
static uint64_t heap_slack(struct gc *gc, uint64_t heap_nbytes, uint64_t *total)
{
	struct pageheap_stats s;
	pageheap_read_stats(&gc->heap->pageheap, &s);
	uint64_t beside = space_tables_for(s.used_nbytes) + grey_nbytes(&gc->pool);
	uint64_t limit = gc->pacer.limit_nbytes != UINT64_MAX ? gc->pacer.limit_nbytes : 0;
	*total = s.used_nbytes + beside;
	/* tables of a heap that is as large as the limit allows */
	beside += limit > s.used_nbytes ? space_tables_for(limit - s.used_nbytes) : 0;
	return beside + (s.used_nbytes > heap_nbytes ? s.used_nbytes - heap_nbytes : 0);
}

/* judge_limit - how far above its limit the heap was at the end of this cycle, and what collection took. */
static void judge_limit(struct gc *gc, struct cycle_record *r, uint64_t total)
{
	uint64_t limit = gc->pacer.limit_nbytes;
	r->over_nbytes = total > limit ? total - limit : 0;
	gc->over_max_nbytes = max_size(gc->over_max_nbytes, r->over_nbytes);
	gc->nlimited += gc->pacer.limiter.passes;
}

/* is_brief - a cycle after this one takes no longer than an assist may: so little is marked (of a run in hand only
 * bits are set), so little of stacks and roots is read, and so few spans are left to be swept before it. */
static bool is_brief(const struct cycle *c)
{
	const struct gc *gc = c->gc;
	const struct cycle_record *r = &c->rec;
	if (!gc->barriered || gc->knobs.stoproots ||
	    (MGC_HOSTILE && gc->ncycles % 2 == 0 /* both ways */))
		return false;
	return c->mk.marked_nbytes + load_relaxed(&gc->collector.assist_nbytes) <= BRIEF_NBYTES &&
	       r->roots_nbytes + r->stack_nbytes <= BRIEF_NBYTES &&
	       r->heap_before <= BRIEF_HEAP_NBYTES;
}

void cycle_settle(struct cycle *c)
{
	struct gc *gc = c->gc;
	struct cycle_record *r = &c->rec;
	r->roots_nbytes = gc->roots.scanned_nbytes;
	r->stack_nbytes = load_relaxed(&gc->roots.stack_nbytes);
	young_judge(c);
	uint64_t total;
	gc->pacer.slack_nbytes = heap_slack(gc, r->heap_before + r->born_nbytes, &total);
	collector_limit(gc, r->cpu_ns + r->sweep_ns);
	judge_limit(gc, r, total);
	store_relaxed(&gc->brief, (uint32_t)is_brief(c));
	if (!c->rec.young) /* else the goal stays */
		collector_end(
			gc, &(struct pacer_cycle){ .heap_nbytes = r->heap_before + r->born_nbytes,
						   .live_nbytes = r->heap_live + expected_to_live(r),
						   .scan_nbytes = r->heap_live,
						   .roots_nbytes = r->stack_nbytes + r->roots_nbytes,
						   .gc_ns = c->beside ? r->cpu_ns : 0,
						   .mutator_ns = r->mutator_ns });
	else if (c->beside)
		collector_drop(gc);
	written_settle(&gc->written);
	tracking_consider(c);
	set_goal(gc); /* published with the rest (record) */
	r->heap_goal = gc->goal_nbytes;
}

static void record(struct cycle *c)
{
	struct gc *gc = c->gc;
	struct cycle_record *r = &c->rec;
	gc->pause_total_ns += r->pause_ns;
	gc->pause_max_ns = max_size(gc->pause_max_ns, r->pause_ns);
	gc->nforced += r->reason == CYCLE_FORCED;
	r->number = gc->ncycles + 1;
	for (unsigned i = 0; i < NDELAYS; i++)
		r->longest_ns[i] = swap_acq_rel(&gc->longest_ns[i], UINT64_C(0));
	r->total_gc_cpu_ns = gc->last.total_gc_cpu_ns + r->cpu_ns + r->sweep_ns;
	gc->last = *r;
	gc_keep_record(gc, r);
	store_release(&gc->ncycles, r->number); /* pairs: cycle-count */
	gc_publish(gc);
	if (gc->observer != NULL)
		gc->observer(gc, r);
	if (gc->after_cycle != NULL)
		gc->after_cycle(gc);
}

static bool is_parallel(const struct gc *gc)
{
	uint64_t live = gc->ncycles > 0 ? gc->pacer.live_nbytes : heap_live(gc->heap);
	return live >= (gc->barriered ? PARALLEL_FROM_BYTES : PARALLEL_STOP_FROM_BYTES) || MGC_HOSTILE;
}

static uint32_t wanted_helpers(const struct cycle *c)
{
	const struct gc *gc = c->gc;
	if (!is_parallel(gc))
		return 0;
	bool by_itself = c->rec.reason == CYCLE_HEAP || c->rec.reason == CYCLE_PERIODIC;
	return c->beside && by_itself ? workers_beside(&gc->workers) : gc->workers.limit;
}

static void choose_form(struct cycle *c)
{
	struct gc *gc = c->gc;
	bool asked = c->rec.reason == CYCLE_FORCED || c->rec.reason == CYCLE_NO_MEMORY;
	c->rec.young = young_next(gc) && !asked;
	c->beside = gc->barriered ? gc->concurrent : gc->tracked && !(c->rec.young && young_stops(gc));
}

/* run - WORLD is held, the caller is inside a section of its own. */
static void run(struct cycle *c)
{
	struct gc *gc = c->gc;
	cycle_tell(gc, CYCLE_BEGIN);
	c->rec.start_ns = os_now_ns() - gc->start_ns;
	sweep_rest(c);
	choose_form(c);
	c->nhelpers = workers_prepare(&gc->workers, wanted_helpers(c));
	if (c->beside)
		concurrent_cycle(c);
	else
		stopping_cycle(c);
	workers_end(&gc->workers);
	grey_trim(&gc->pool, c->rec.heap_live / GREY_KEEP_PART);
	specials_tidy(&gc->specials);
	sweep_large(gc->heap);
	if (c->rec.reason == CYCLE_FORCED || c->rec.reason == CYCLE_NO_MEMORY)
		sweep_all(c);
	record(c);
	cycle_tell(gc, CYCLE_END);
	roots_keep_room(&gc->roots);
	background_after_cycle(gc);
}

/* note_included - the segment without what a face excluded. */
static void note_included(struct roots *r, uintptr_t lo, uintptr_t hi)
{
	for (size_t i = 0; i < r->nexcluded && lo < hi; i++) {
		const struct os_segment *x = &r->excluded[i];
		if (x->hi <= lo || x->lo >= hi)
			continue;
		if (x->lo > lo)
			roots_note_segment(r, lo, x->lo);
		lo = x->hi;
	}
	if (lo < hi)
		roots_note_segment(r, lo, hi);
}

/* note_around - the segment without our own variables, which hold addresses of the heap that are no
 * references. The program's may lie beside them: the library can be part of its executable. */
static void note_around(struct roots *r, uintptr_t lo, uintptr_t hi, const struct os_segment *own,
			size_t n)
{
	if (lo >= hi)
		return;
	if (n == 0) {
		note_included(r, lo, hi);
		return;
	}
	note_around(r, lo, min_size(hi, own->lo), own + 1, n - 1);
	note_around(r, max_size(lo, own->hi), hi, own + 1, n - 1);
}

static void note_segment(void *arg, uintptr_t lo, uintptr_t hi)
{
	struct cycle *c = arg;
	struct gc *gc = c->gc;
	const struct os_segment own[] = {
		{ (uintptr_t)gc, (uintptr_t)(gc + 1) },
		{ (uintptr_t)gc->heap, (uintptr_t)(gc->heap + 1) },
		{ (uintptr_t)&mutator_none, (uintptr_t)(&mutator_none + 1) },
	};
	note_around(&gc->roots, lo, hi, own, sizeof own / sizeof own[0]);
}

/* wait_as_blocked - until nobody has WORLD, or until it is ours; BLOCKED meanwhile: the thread may block
 * signals, and need not be interrupted. */
static void wait_as_blocked(struct gc *gc, struct mutator *self, bool keep)
{
	bool running = self != NULL && load_relaxed(&self->status) == MUTATOR_RUNNING;
	if (keep && running && !fork_waits(gc) && lock_try(&gc->world))
		return;
	if (running)
		stw_block(self);
	lock_acquire(&gc->world);
	fork_let_pass(gc);
	if (!keep)
		lock_release(&gc->world);
	else if (self != NULL)
		stw_unblock(&gc->stw, self);
}

void cycle_take_world(struct gc *gc)
{
	struct mutator *m = mutator_self();
	bool may_block = mutator_is_outside(m) && lock_thread.nheld == 0;
	wait_as_blocked(gc, may_block ? m : NULL, true);
}

/* start_threads - those that the coming cycle may want. Not in the loader's lock: who is inside dlopen can have the one that
 * a new thread needs, and wait for ours (docs/adr/0005). */
static void start_threads(struct gc *gc, struct mutator *self)
{
	wait_as_blocked(gc, self, true);
	workers_start(&gc->workers, is_parallel(gc) ? gc->workers.limit : 0);
	background_start(gc);
	lock_release(&gc->world);
}

/* take_world - nobody sleeps for WORLD with the loader's lock: whoever forks has WORLD, and the child of
 * that fork would find the loader's lock taken for ever (cycle_wait_loader). */
static bool take_world(struct cycle *c)
{
	struct gc *gc = c->gc;
	if (!c->globals) {
		wait_as_blocked(gc, c->self, true);
		return true;
	}
	if (!lock_try(&gc->world))
		return false;
	if (c->self != NULL)
		stw_unblock(&gc->stw, c->self);
	return true;
}

static void nothing(void *arg, uintptr_t lo, uintptr_t hi)
{
	(void)arg;
	(void)lo;
	(void)hi;
}

/* enter_loader - counts the thread, for a fork that must not find it inside. */
static void enter_loader(struct gc *gc)
{
	for (;;) {
		add_acq_rel(&gc->nloader, 1u); /* pairs: loader-count */
		fence_seq(); /* either we see the gate, or the fork sees us */
		if (!lock_gate_shut())
			return;
		sub_acq_rel(&gc->nloader, 1u); /* pairs: loader-count */
		os_wait(&lock_gate, 1, 0);
	}
}

void cycle_wait_loader(struct gc *gc)
{
	uint64_t until = os_now_ns() + LOADER_WAIT_NS;
	fence_seq();
	while (load_acquire(&gc->nloader) != 0 && os_now_ns() < until) /* pairs: loader-count */
		os_yield();
}

/* untrack - the system notes no writes any more. Between two cycles. */
static void untrack(struct gc *gc)
{
	if (gc->barriered)
		return;
	written_stop(&gc->written);
	gc->young.whole_next = true;
	gc->tracked = false;
	store_relaxed(&gc->concurrent, false);
}

void cycle_after_fork(struct gc *gc)
{
	untrack(gc);
	cycle_set_goal(gc); /* the parent's may be that of a cycle that runs: 0 */
}

/* begin_anew - for a second run; the request, and the lock, are those of the first. */
static void begin_anew(struct cycle *c)
{
	c->rec = (struct cycle_record){ .reason = c->rec.reason };
	c->live_nbytes = c->live_objects = 0;
	c->later = false; /* it may do in its stop what the first one left for after it */
	c->later_ns = 0;
}

/* exclusive - one collection at a time. Where data segments are roots, the loader's lock is held
 * around it, taken first: a thread that allocates inside dlopen holds that one already. */
static void exclusive(void *arg)
{
	struct cycle *c = arg;
	struct gc *gc = c->gc;
	c->again = true;
	if (!take_world(c))
		return;
	c->again = c->globals != gc->roots.globals;
	bool done = load_acquire(&gc->ncycles) != c->seen; /* pairs: cycle-count */
	bool off = load_relaxed(&gc->disabled) > 0; /* since it was asked for */
	if (!c->again && !off && (c->rec.reason != CYCLE_HEAP || !done)) {
		if (c->self != NULL)
			mutator_enter(c->self);
		gc->roots.nsegments = 0;
		if (c->globals)
			os_each_data(note_segment, NULL, c);
		roots_map(&gc->roots);
		run(c);
		if (young_failed(c)) {
			begin_anew(c);
			run(c);
		}
		if (c->self != NULL)
			mutator_leave(c->self);
	}
	lock_release(&gc->world);
}

struct request {
	struct gc *gc;
	struct mutator *self;
	enum cycle_reason reason;
};

/* collect - everything the caller keeps is on the stack above this frame, registers included. The
 * cycle's own record lies below: a marker holds addresses that are no references. */
static MGC_NOINLINE void collect(void *arg)
{
	const struct request *r = arg;
	struct gc *gc = r->gc;
	struct cycle c = { .gc = gc,
			   .self = r->self,
			   .sp = (uintptr_t)__builtin_frame_address(0),
			   .seen = load_acquire(&gc->ncycles) }; /* pairs: cycle-count */
	c.rec.reason = r->reason;
	start_threads(gc, c.self);
	do {
		c.globals = load_relaxed(&gc->roots.globals);
		if (c.globals) { /* the loader's lock may be long in coming, too */
			wait_as_blocked(gc, c.self, false);
			enter_loader(gc);
			os_each_data(nothing, exclusive, &c);
			sub_acq_rel(&gc->nloader, 1u); /* pairs: loader-count */
		} else {
			exclusive(&c);
		}
	} while (c.again);
}

void cycle_collect(struct gc *gc, struct mutator *m, enum cycle_reason reason)
{
	struct request r = { gc, m, reason };
	if (m != NULL)
		mutator_check_entry(m);
	if (lock_thread.passes) /* in a handler of fork: WORLD is its own */
		return;
	if (m != NULL)
		(void)cycle_obey_limit(gc, m);
	if (gc->before_stop != NULL && (m != NULL || !gc->calls_from_mutators))
		gc->before_stop(gc);
	if (m != NULL) {
		m->fake_stack = annotate_fake_stack();
		m->collects++;
	}
	annotate_quiet(true);
	regs_call(collect, &r);
	annotate_quiet(false);
	regs_wipe();
	if (m != NULL)
		m->collects--;
	if (gc->notify_due == NULL || load_relaxed(&gc->specials.ndue) == 0)
		return;
	if (m != NULL || !gc->calls_from_mutators)
		gc->notify_due(gc);
	else
		store_relaxed(&gc->notice, 1u);
}

struct inspection {
	struct cycle c;
	void (*fn)(void *arg);
	void *arg;
	bool segments;
};

static void inspect_exclusive(void *arg)
{
	struct inspection *i = arg;
	struct cycle *c = &i->c;
	struct gc *gc = c->gc;
	c->again = !take_world(c);
	if (c->again)
		return;
	mutator_enter(c->self);
	gc->roots.nsegments = 0;
	if (c->globals)
		os_each_data(note_segment, NULL, c);
	heap_sweep_some(gc->heap, SIZE_MAX, SIZE_MAX);
	cycle_sweep_cached(gc->heap);
	stw_stop(&gc->stw, c->self);
	c->self->sp = c->sp;
	c->self->nregs = 0;
	i->fn(i->arg);
	(void)stw_start(&gc->stw, c->self);
	mutator_leave(c->self);
	lock_release(&gc->world);
}

static MGC_NOINLINE void inspect(void *arg)
{
	struct inspection *i = arg;
	struct gc *gc = i->c.gc;
	i->c.sp = (uintptr_t)__builtin_frame_address(0);
	do {
		i->c.globals = i->segments || load_relaxed(&gc->roots.globals);
		if (i->c.globals) {
			wait_as_blocked(gc, i->c.self, false);
			enter_loader(gc);
			os_each_data(nothing, inspect_exclusive, i);
			sub_acq_rel(&gc->nloader, 1u); /* pairs: loader-count */
		} else {
			inspect_exclusive(i);
		}
	} while (i->c.again);
}

void cycle_inspect(struct gc *gc, struct mutator *m, bool segments, void (*fn)(void *arg), void *arg)
{
	struct inspection i = { .c = { .gc = gc, .self = m }, .fn = fn, .arg = arg, .segments = segments };
	mutator_check_entry(m);
	m->fake_stack = annotate_fake_stack();
	m->collects++;
	annotate_quiet(true);
	regs_call(inspect, &i);
	annotate_quiet(false);
	regs_wipe();
	m->collects--;
}

static void obey_limit(void *arg)
{
	struct gc *gc = arg;
	if (!pageheap_limit_changed(&gc->heap->pageheap)) /* another did */
		return;
	untrack(gc); /* what is mapped from now on is noted nowhere */
	pageheap_obey(&gc->heap->pageheap);
}

bool cycle_obey_limit(struct gc *gc, struct mutator *m)
{
	if (MGC_LIKELY(!pageheap_limit_changed(&gc->heap->pageheap)) || lock_thread.passes)
		return false;
	cycle_inspect(gc, m, false, obey_limit, gc);
	return true;
}
