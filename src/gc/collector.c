/* collector.c - see collector.h. */
#include "gc/collector.h"

#include <string.h>

#include "base/annotate.h"
#include "base/bits.h"
#include "base/check.h"
#include "gc/cycle.h"
#include "os/os.h"

#define OWED_UNIT ((uint64_t)64 << 10)
/* An assist marks at least this much, or what joining costs is not earned; and at most this much, so that
 * no allocation takes long. */
#define ASSIST_LEAST ((uint64_t)32 << 10)
#define ASSIST_MOST ((uint64_t)64 << 10)
/* So long a cycle may hold a mutator whose allocation is past what pacer_hold says; then three quarters of the time, and
 * the heap grows: who fills it faster than one thread marks is slowed down to that thread. A small heap takes less than 10 ms
 * to be marked; more only when others have the processors, and then to allocate meanwhile would bring nothing. Under a limit it
 * is the limiter's business, and the program keeps half. */
#define HOLD_NS UINT64_C(1000000)
#define HOLD_SMALL_NS UINT64_C(100000000)
#define HOLD_LIMITED_NS UINT64_C(1000000000)
/* Of it at once, but for small heaps of programs with a barrier: a longer wait would be the stop that cycles avoid, and who
 * rarely comes for memory does not fill the heap. */
#define HOLD_STEP_NS UINT64_C(1000000)
#define HOLD_STEP_NBYTES ((uint64_t)16 << 10) /* twice a refill */

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
		store_relaxed(&gc->collector.wanted, 0u); /* who asks from here on is heard */
		if (heap_is_due(gc->heap)) /* else a cycle answered it that was about to begin when it came */
			cycle_collect(gc, NULL, CYCLE_HEAP);
	}
}

bool collector_request(struct gc *gc)
{
	struct collector *c = &gc->collector;
	if (load_acquire(&c->started) == 0 && swap_acq_rel(&c->started, 1u) == 0) { /* pairs: collector */
		if (stw_spawn(&gc->stw, run, gc, "mgc-cycle") != 0) {
			store_release(&c->started, 0u); /* pairs: collector */
			return false;
		}
	}
	if (load_relaxed(&c->wanted) == 0 && swap_acq_rel(&c->wanted, 1u) == 0) {
		if (gc->before_stop != NULL && gc->calls_from_mutators)
			gc->before_stop(gc);
		add_acq_rel(&c->word, 1u); /* pairs: collector-word */
		os_wake(&c->word, 1);
	}
	return true;
}

static bool try_pacer(struct gc *gc)
{
	return swap_acq_rel(&gc->collector.pacing, 1u) == 0; /* pairs: pacing */
}

static void take_pacer(struct gc *gc)
{
	while (!try_pacer(gc))
		os_yield();
}

static void give_pacer(struct gc *gc)
{
	store_release(&gc->collector.pacing, 0u); /* pairs: pacing */
}

void collector_begin(struct gc *gc)
{
	struct collector *c = &gc->collector;
	uint64_t live = heap_live(gc->heap);
	MGC_CHECK(load_relaxed(&c->brake) == 0);
	take_pacer(gc);
	store_relaxed(&c->assist_objects, UINT64_C(0));
	store_relaxed(&c->assist_nbytes, UINT64_C(0));
	store_relaxed(&c->assist_ns, UINT64_C(0));
	store_relaxed(&c->paid_nbytes, UINT64_C(0));
	c->most_nbytes = live + gc->pacer.roots_nbytes;
	store_relaxed(&gc->pool.marked_nbytes, UINT64_C(0));
	pacer_start_cycle(&gc->pacer, live);
	store_relaxed(&gc->heap->trigger_nbytes, UINT64_C(0)); /* every refill is debited */
	give_pacer(gc);
	store_relaxed(&c->wanted, 0u);
}

void collector_limit(struct gc *gc, uint64_t gc_ns)
{
	struct collector *c = &gc->collector;
	uint64_t now = os_cpu_ns(), all = now - c->limited_cpu_ns;
	c->limited_cpu_ns = now;
	take_pacer(gc);
	pacer_limit_cpu(&gc->pacer, gc->workers.limit + 1, gc_ns, all > gc_ns ? all - gc_ns : 0);
	give_pacer(gc);
}

void collector_end(struct gc *gc, const struct pacer_cycle *c)
{
	take_pacer(gc);
	pacer_end_cycle(&gc->pacer, c);
	store_relaxed(&gc->collector.owed, UINT64_C(0));
	give_pacer(gc);
}

void collector_drop(struct gc *gc)
{
	take_pacer(gc);
	pacer_drop_cycle(&gc->pacer);
	store_relaxed(&gc->collector.owed, UINT64_C(0));
	give_pacer(gc);
}

/* look - how much is left to mark, and how far is the goal? One mutator at a time; the others go by what
 * it found. */
static void look(struct gc *gc)
{
	struct collector *c = &gc->collector;
	if (!try_pacer(gc))
		return;
	if (gc->pacer.running) {
		pacer_revise(&gc->pacer, heap_live(gc->heap), load_relaxed(&gc->pool.marked_nbytes),
			     c->most_nbytes);
		store_relaxed(&c->owed, pacer_assist_bytes(&gc->pacer, OWED_UNIT));
	}
	give_pacer(gc);
}

/* paid_by_others - of that debt: what the background marked belongs to whoever comes first. */
static uint64_t paid_by_others(struct gc *gc, uint64_t debt)
{
	struct collector *c = &gc->collector;
	uint64_t all = load_relaxed(&gc->pool.marked_nbytes);
	uint64_t spent = load_relaxed(&c->assist_nbytes) + load_relaxed(&c->paid_nbytes);
	uint64_t pay = all > spent ? min_size(all - spent, debt) : 0;
	add_relaxed(&c->paid_nbytes, pay);
	return pay;
}

/* assist - in a section: the cycle cannot leave MARK before the assist has left the pool. */
static MGC_NOINLINE uint64_t assist(struct gc *gc, uint64_t nbytes)
{
	struct marker mk;
	uint64_t begin = os_thread_cpu_ns();
	uint64_t wall = delay_begin(gc);
	annotate_quiet(true);
	marker_init(&mk, gc->heap, &gc->pool, gc->knobs.invalidptr == 0);
	marker_assist(&mk, nbytes);
	marker_finish(&mk);
	annotate_quiet(false);
	add_relaxed(&gc->collector.assist_objects, mk.marked_objects);
	add_relaxed(&gc->collector.assist_nbytes, mk.marked_nbytes);
	add_relaxed(&gc->collector.assist_ns, os_thread_cpu_ns() - begin);
	delay_end(gc, DELAY_ASSIST, wall);
	return mk.marked_nbytes;
}

/* join_and_assist - the mutator, in no section, marks about nbytes of what the cycle has yet to mark; how
 * many it did: 0 when it found nothing. */
static uint64_t join_and_assist(struct gc *gc, struct mutator *m, uint64_t nbytes)
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

/* pay_debt - what nbytes owe, when it has become enough to be worth it. Who finds nothing to mark owes nothing
 * more: to ask again at each refill costs two looks at the processor's clock, and whoever has all of it was
 * told to share. */
static void pay_debt(struct gc *gc, struct mutator *m, uint64_t nbytes)
{
	m->debt_nbytes += load_relaxed(&gc->collector.owed) * nbytes / OWED_UNIT;
	if (m->debt_nbytes < ASSIST_LEAST)
		return;
	m->debt_nbytes -= paid_by_others(gc, m->debt_nbytes);
	if (m->debt_nbytes < ASSIST_LEAST)
		return;
	uint64_t debt = min_size(m->debt_nbytes, ASSIST_MOST), done = join_and_assist(gc, m, debt);
	m->debt_nbytes = done > 0 && debt > done ? debt - done : 0;
}

void collector_brake(struct gc *gc, bool on)
{
	store_relaxed(&gc->collector.brake, (uint32_t)on);
	store_relaxed(&gc->heap->untold_nbytes, on ? 0 : gc_untold_nbytes(gc));
}

/* too_far - a cycle runs, its phase word in *pg, and should have ended by now, or is about to. */
static bool too_far(struct gc *gc, uint64_t *pg)
{
	*pg = heap_phase_gen(gc->heap);
	return phase_gen_phase(*pg) != PHASE_OFF &&
	       (heap_live(gc->heap) > load_relaxed(&gc->hold_nbytes) ||
		load_relaxed(&gc->collector.brake) != 0);
}

/* at_bar - many threads on few processors would fill the heap several times before the collector had its turns. */
static bool at_bar(const struct gc *gc)
{
	return heap_live(gc->heap) > load_relaxed(&gc->bar_nbytes);
}

static bool is_limited(const struct gc *gc)
{
	return load_relaxed(&gc->limited) != 0 || at_bar(gc);
}

static bool is_small(const struct gc *gc)
{
	return load_relaxed(&gc->hold_nbytes) < PACER_SMALL_BYTES;
}

/* may_hold - at most HOLD_* in a cycle, and a part of the time since it was first held there. */
static bool may_hold(struct gc *gc, struct mutator *m, uint32_t sweepgen, uint64_t now)
{
	bool limited = is_limited(gc);
	uint64_t most = limited ? HOLD_LIMITED_NS : is_small(gc) ? HOLD_SMALL_NS : HOLD_NS;
	if (m->held_gen != sweepgen) {
		m->held_gen = sweepgen;
		m->held_ns = 0;
		m->held_since_ns = now;
	}
	uint64_t since = now - m->held_since_ns;
	return m->held_ns < most + (limited ? since / 2 : since / 4 * 3);
}

/* holds_long - past HOLD_STEP_NS, too. */
static bool holds_long(const struct gc *gc)
{
	return gc->barriered ? is_limited(gc) || is_small(gc) : at_bar(gc);
}

/* most_at_once - who comes for a large object fills the heap as many small refills would, each of which is held. */
static uint64_t most_at_once(const struct gc *gc, uint64_t nbytes)
{
	if (holds_long(gc))
		return UINT64_MAX;
	return HOLD_STEP_NS * (gc->barriered ? 1 + nbytes / HOLD_STEP_NBYTES : 1);
}

/* hold - keeps the mutator from allocating nbytes: it helps, or leaves the processor to who has what there is to do
 * (with one processor, the mutator's). */
static void hold(struct gc *gc, struct mutator *m, uint64_t nbytes)
{
	uint64_t pg, most = most_at_once(gc, nbytes), begin = os_now_ns(), now = begin;
	while (too_far(gc, &pg) && may_hold(gc, m, phase_gen_sweepgen(pg), now)) {
		if (now - begin >= most)
			break;
		if (join_and_assist(gc, m, ASSIST_MOST) == 0)
			heap_wait_phase(gc->heap, pg);
		uint64_t then = now;
		now = os_now_ns();
		m->held_ns += now - then;
	}
	max_relaxed(&gc->longest_ns[DELAY_WAIT], now - begin);
}

void collector_debit(struct gc *gc, struct mutator *m, uint64_t nbytes)
{
	uint64_t pg;
	look(gc);
	pay_debt(gc, m, nbytes);
	if (MGC_UNLIKELY(too_far(gc, &pg)) && !lock_thread.passes) /* else nothing moves on: a fork */
		hold(gc, m, nbytes);
}

void collector_after_fork(struct gc *gc)
{
	memset(&gc->collector, 0, sizeof gc->collector);
	collector_brake(gc, false); /* the cycle that had it on is gone */
}
