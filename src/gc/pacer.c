/* pacer.c - see pacer.h. */
#include "gc/pacer.h"

/* Under a memory limit a collection must still earn its cost: the heap may always grow by this share
 * of what is live, even if the limit is then exceeded (the limit on the page heap is the hard one). */
#define LIMIT_MIN_GROWTH_PCT 5

/* sum, share_of - what does not fit is UINT64_MAX: a huge setting means late, never all the time. */
static uint64_t sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t share_of(uint64_t nbytes, int64_t percent)
{
	uint64_t product;
	if (!__builtin_mul_overflow(nbytes, (uint64_t)percent, &product))
		return product / 100;
	return __builtin_mul_overflow(nbytes / 100, (uint64_t)percent, &product) ? UINT64_MAX : product;
}

static uint64_t least_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* more_for_small - of a small heap the `percent` is taken of this besides. */
static uint64_t more_for_small(const struct pacer *p)
{
	return p->live_nbytes < p->small_nbytes
		       ? least_of(p->live_nbytes, p->small_nbytes - p->live_nbytes)
		       : 0;
}

/* extra - beside the `percent`. */
static uint64_t extra(const struct pacer *p)
{
	uint64_t more = least_of(p->live_nbytes / 4, p->extra_nbytes);
	return least_of(p->live_nbytes, most_of(more, p->extra_nbytes / 2));
}

/* least_goal - however little lives. */
static uint64_t least_goal(const struct pacer *p)
{
	uint64_t least = share_of(p->min_nbytes, p->percent);
	if (p->lately_nbytes == 0 && p->first_nbytes != 0) /* no cycle was yet */
		return least_of(least, p->first_nbytes);
	return most_of(least, least_of(p->lately_nbytes / 4 * 3, p->lasting_nbytes));
}

static uint64_t percent_goal(const struct pacer *p)
{
	if (p->percent < 0)
		return UINT64_MAX;
	uint64_t base = sum(sum(p->live_nbytes, p->roots_nbytes), more_for_small(p));
	uint64_t grow = sum(share_of(base, p->percent), extra(p));
	return most_of(sum(p->live_nbytes, most_of(grow, p->least_growth_nbytes)), least_goal(p));
}

/* room_below - for objects, under that limit. */
static uint64_t room_below(const struct pacer *p, uint64_t limit)
{
	uint64_t room = limit > p->slack_nbytes ? limit - p->slack_nbytes : 0;
	return room - room / 32; /* collect a little before the page heap refuses */
}

/* hard_limit - for the goal. */
static uint64_t hard_limit(const struct pacer *p)
{
	return p->limiter.passes && p->hard_nbytes > p->limit_nbytes ? p->hard_nbytes : p->limit_nbytes;
}

uint64_t pacer_most(const struct pacer *p)
{
	return p->live_nbytes <= room_below(p, p->limit_nbytes) ? hard_limit(p) : p->limit_nbytes;
}

static uint64_t limit_goal(const struct pacer *p)
{
	if (p->limit_nbytes == UINT64_MAX)
		return UINT64_MAX;
	uint64_t room = room_below(p, p->limit_nbytes);
	uint64_t least = sum(p->live_nbytes, share_of(p->live_nbytes, LIMIT_MIN_GROWTH_PCT));
	return room > least ? room : least;
}

bool pacer_limited(const struct pacer *p)
{
	uint64_t by_limit = limit_goal(p);
	return by_limit != UINT64_MAX && by_limit <= percent_goal(p);
}

uint64_t pacer_goal(const struct pacer *p)
{
	if (!pacer_limited(p))
		return percent_goal(p);
	uint64_t even = sum(p->live_nbytes, p->limiter.even_nbytes), goal = limit_goal(p);
	uint64_t farther = least_of(even, room_below(p, hard_limit(p)));
	return farther > goal ? farther : goal;
}

uint64_t pacer_hold(const struct pacer *p)
{
	uint64_t goal = pacer_goal(p);
	if (p->late_pct > 0 && !pacer_limited(p))
		return pacer_end(p);
	if (goal <= PACER_SMALL_BYTES || goal < p->live_nbytes || pacer_limited(p))
		return goal;
	return least_of(sum(goal, (goal - p->live_nbytes) / 8), limit_goal(p));
}

/* ── concurrent cycles ──────────────────────────────────────────────────────────────────── */

/* The trigger lies in this part of the way from live to goal. Earlier, and cycles would follow each
 * other without a pause when marking is slow: assists are the better answer then. Later, and the
 * first allocations after it would find the goal reached. Go's 45/64 and 61/64. */
#define TRIGGER_LEAST_PCT 70
#define TRIGGER_MOST_PCT 95

/* Of a large heap the last 5 % are much memory; this much runway is enough for starting up. */
#define TRIGGER_NEAR_BYTES ((uint64_t)4 << 20)

/* A cycle that begins at its goal (asked for, or the goal was lowered) still gets a way to go. */
#define GOAL_AHEAD_BYTES ((uint64_t)64 << 10)

/* Near the goal and past it, what remains is spread over at least this part of the goal: one refill
 * must not pay for all of it at once (8 KiB at a goal of 200 MB: 1/390 of what remains). */
#define WAY_LEAST_PART 64

/* What remains is never taken for nothing: the estimate is a guess until marking ends. */
#define REMAINING_LEAST_BYTES 1000

/* The limiter's bucket: a tenth of a second of each processor; Go's is a second, and a program that runs for
 * five has not had its half then. Collection's share is 45 %, to make up for what it took before the bucket
 * was full. It is off again only when a hundredth has drained: what an assist takes beyond the brim is
 * forgotten, and if each allocation opened the gate for the next assist, collection would keep far more than
 * half. The goal comes back under the limit when half has drained: else every other cycle would come too
 * early. */
#define LIMITER_NS_PER_PROC UINT64_C(100000000)
#define LIMITER_GC_PCT 45
#define LIMITER_OFF_PCT 99
#define LIMITER_BACK_PCT 50

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static double recent_cons_mark(const struct pacer *p)
{
	double most = 0;
	for (unsigned i = 0; i < PACER_HISTORY; i++) /* too early costs less than too late */
		most = p->cons_mark[i] > most ? p->cons_mark[i] : most;
	return most;
}

static uint64_t expected_work(const struct pacer *p)
{
	return sum(p->scan_nbytes, p->roots_nbytes);
}

static uint64_t runway(const struct pacer *p)
{
	if (p->ncycles == 0 && p->late_pct > 0)
		return UINT64_MAX; /* not known yet, and nobody is to wait: as early as may be */
	double free_share = (100.0 - PACER_UTILISATION_PCT) / PACER_UTILISATION_PCT;
	double nbytes = recent_cons_mark(p) * free_share * (double)expected_work(p);
	return nbytes < 0x1p63 ? (uint64_t)nbytes : UINT64_MAX;
}

uint64_t pacer_end(const struct pacer *p)
{
	uint64_t goal = pacer_goal(p),
		 end = sum(goal, share_of(less(goal, p->live_nbytes), p->late_pct));
	return goal < p->limit_nbytes && end > p->limit_nbytes ? p->limit_nbytes : end;
}

uint64_t pacer_bar(const struct pacer *p)
{
	uint64_t goal = pacer_goal(p);
	return p->late_pct > 0 ? sum(goal, less(goal, p->live_nbytes)) : UINT64_MAX;
}

uint64_t pacer_trigger(const struct pacer *p)
{
	uint64_t goal = pacer_goal(p), room = less(goal, p->live_nbytes);
	if (goal == UINT64_MAX)
		return UINT64_MAX;
	uint64_t least = p->live_nbytes + share_of(room, TRIGGER_LEAST_PCT);
	uint64_t most = p->live_nbytes + share_of(room, TRIGGER_MOST_PCT);
	if (most < less(goal, TRIGGER_NEAR_BYTES))
		most = goal - TRIGGER_NEAR_BYTES;
	uint64_t trigger = less(goal, runway(p));
	return trigger < least ? least : trigger < most ? trigger : most;
}

struct pacer_plan pacer_workers(uint32_t nprocs)
{
	uint32_t hundredths = nprocs * PACER_UTILISATION_PCT, dedicated = (hundredths + 50) / 100;
	uint32_t used = dedicated * 100, off = used > hundredths ? used - hundredths : hundredths - used;
	if (off * 100 <= 30 * hundredths)
		return (struct pacer_plan){ dedicated, 0 };
	return (struct pacer_plan){ hundredths / 100, hundredths % 100 };
}

void pacer_start_cycle(struct pacer *p, uint64_t heap_nbytes)
{
	uint64_t goal = pacer_end(p), least = sum(heap_nbytes, GOAL_AHEAD_BYTES);
	p->running = true;
	p->started_nbytes = heap_nbytes;
	p->free_nbytes = p->late_pct > 0 ? pacer_goal(p) : 0;
	p->goal_nbytes = goal > least ? goal : least;
	pacer_revise(p, heap_nbytes, 0, expected_work(p));
}

/* farther_goal - more work than expected: the goal moves out in proportion, so that assists do not
 * have to make up for the mistake at once; at most by another `percent`. */
static uint64_t farther_goal(const struct pacer *p, uint64_t most_work)
{
	uint64_t expected = expected_work(p);
	double way = (double)less(p->goal_nbytes, p->started_nbytes);
	double factor = (double)most_work / (double)(expected != 0 ? expected : 1);
	double goal = (double)p->started_nbytes + way * (factor > 1 ? factor : 1);
	uint64_t hard = sum(p->goal_nbytes, share_of(p->goal_nbytes, p->percent > 0 ? p->percent : 0));
	hard = hard < p->limit_nbytes || p->goal_nbytes > p->limit_nbytes ? hard : p->limit_nbytes;
	hard = hard > p->goal_nbytes ? hard : p->goal_nbytes;
	return goal < (double)hard ? (uint64_t)goal : hard;
}

void pacer_revise(struct pacer *p, uint64_t heap_nbytes, uint64_t done_nbytes, uint64_t most_nbytes)
{
	uint64_t goal = p->goal_nbytes, work = expected_work(p);
	if (done_nbytes > work) {
		work = most_nbytes;
		goal = farther_goal(p, most_nbytes);
	}
	if (heap_nbytes >= goal)
		work = most_nbytes;
	uint64_t remaining = less(work, done_nbytes), way = less(goal, heap_nbytes);
	p->remaining_nbytes = remaining > REMAINING_LEAST_BYTES ? remaining : REMAINING_LEAST_BYTES;
	way = way > goal / WAY_LEAST_PART ? way : goal / WAY_LEAST_PART + 1;
	p->assist_ratio = heap_nbytes < p->free_nbytes ? 0 : (double)p->remaining_nbytes / (double)way;
}

uint64_t pacer_assist_bytes(const struct pacer *p, uint64_t nbytes)
{
	if (!p->running || p->limiter.on)
		return 0;
	double owed = p->assist_ratio * (double)nbytes;
	return owed < (double)p->remaining_nbytes ? (uint64_t)owed : p->remaining_nbytes;
}

static void learn_speeds(struct pacer *p, const struct pacer_cycle *c)
{
	uint64_t work = sum(c->scan_nbytes, c->roots_nbytes);
	if (work == 0 || c->gc_ns == 0 || c->mutator_ns == 0)
		return; /* nothing to be learned from */
	double born = (double)less(c->heap_nbytes, p->started_nbytes);
	double alloc_speed = born / (double)c->mutator_ns, mark_speed = (double)work / (double)c->gc_ns;
	p->cons_mark[p->ncycles++ % PACER_HISTORY] = alloc_speed / mark_speed;
}

/* learn_even - at the speed at which the program allocated since the last cycle, in the time that is due to it
 * for a cycle like this one. */
static void learn_even(struct pacer *p, const struct pacer_cycle *c)
{
	struct pacer_limiter *l = &p->limiter;
	double due_ns = (double)l->gc_ns * (100.0 - LIMITER_GC_PCT) / LIMITER_GC_PCT;
	double even =
		(double)less(c->heap_nbytes, p->live_nbytes) / ((double)l->mutator_ns + 1) * due_ns;
	l->even_nbytes = even < 0x1p63 ? (uint64_t)even : UINT64_MAX;
	l->gc_ns = l->mutator_ns = 0;
}

void pacer_end_cycle(struct pacer *p, const struct pacer_cycle *c)
{
	learn_speeds(p, c);
	learn_even(p, c);
	uint64_t lately = p->lately_nbytes - p->lately_nbytes / 16;
	p->lately_nbytes = lately > c->heap_nbytes ? lately : c->heap_nbytes;
	p->live_nbytes = c->live_nbytes;
	p->scan_nbytes = c->scan_nbytes;
	p->roots_nbytes = c->roots_nbytes;
	pacer_drop_cycle(p);
}

void pacer_drop_cycle(struct pacer *p)
{
	p->running = false;
	p->remaining_nbytes = 0;
	p->assist_ratio = 0;
}

void pacer_limit_cpu(struct pacer *p, uint32_t nprocs, uint64_t gc_ns, uint64_t mutator_ns)
{
	uint64_t capacity = nprocs * LIMITER_NS_PER_PROC;
	uint64_t drained = share_of(mutator_ns, 100 * LIMITER_GC_PCT / (100 - LIMITER_GC_PCT));
	uint64_t fill = less(sum(p->limiter.fill_ns, gc_ns), drained);
	p->limiter.gc_ns = sum(p->limiter.gc_ns, gc_ns);
	p->limiter.mutator_ns = sum(p->limiter.mutator_ns, mutator_ns);
	p->limiter.fill_ns = fill < capacity ? fill : capacity;
	p->limiter.on = fill >= (p->limiter.on ? share_of(capacity, LIMITER_OFF_PCT) : capacity);
	p->limiter.passes =
		fill >= (p->limiter.passes ? share_of(capacity, LIMITER_BACK_PCT) : capacity);
}
