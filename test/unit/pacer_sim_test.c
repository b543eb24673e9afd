/* pacer_sim_test.c (plain) - gc/pacer.h driving a concurrent collector that exists only as numbers.
 * WHAT   A scene is a program (what it keeps live, how fast it allocates, its roots) on a machine (its
 *        processors, how fast they mark). It runs cycle after cycle in steps of processor time; each
 *        row of the table says how far the heap may pass the goal, what share of the processors
 *        collection may take, and after how many cycles all of this must hold. Where a limit is, allocation
 *        waits at pacer_hold, and the processors mark, until the cycle is over (collector.c).
 * UNITS  bytes, ns of processor time, bytes per ns. */
#include "lib/plain.h"

#include "gc/pacer.h"

#define MB UINT64_C(1048576)
#define KB UINT64_C(1024)
#define NONE UINT64_MAX
#define STEP_NS 50000.0
#define REFILL (8 * KB) /* an allocation is debited, and the trigger looked at, this often */

struct scene {
	const char *name;
	double (*live)(unsigned cycle, struct rng *r); /* MB */
	double (*alloc)(unsigned cycle, struct rng *r); /* bytes per ns on one processor */
	double mark;
	unsigned nprocs;
	uint64_t roots, limit, hard;
	int64_t percent;
	unsigned warm, cycles; /* bounds hold from cycle `warm` on */
	/* bounds */
	double most_over; /* largest heap of a cycle / its goal */
	double least_busy, most_busy; /* collection's share of the processors while a cycle runs */
	double most_share; /* and of all the time */
	double most_early; /* runway / (goal - live): how early cycles start */
	double most_limit; /* largest heap / limit; 0: any */
};

/* ── programs ───────────────────────────────────────────────────────────────────────────── */

static double live_steady(unsigned c, struct rng *r)
{
	(void)c;
	(void)r;
	return 100;
}

static double live_step(unsigned c, struct rng *r)
{
	(void)r;
	return c < 25 ? 40 : 160;
}

static double live_waves(unsigned c, struct rng *r)
{
	(void)r;
	return c % 8 < 4 ? 80 : 120;
}

static double live_jitter(unsigned c, struct rng *r)
{
	(void)c;
	return 90 + (double)rng_below(r, 20);
}

static double live_60(unsigned c, struct rng *r)
{
	(void)c;
	(void)r;
	return 60;
}

static double live_tiny(unsigned c, struct rng *r)
{
	(void)c;
	(void)r;
	return 0.1;
}

static double live_none(unsigned c, struct rng *r)
{
	(void)c;
	(void)r;
	return 0;
}

static double alloc_even(unsigned c, struct rng *r)
{
	(void)c;
	(void)r;
	return 0.1;
}

static double alloc_step(unsigned c, struct rng *r)
{
	(void)r;
	return c < 25 ? 0.05 : 0.12;
}

static double alloc_waves(unsigned c, struct rng *r)
{
	(void)r;
	return c % 8 < 4 ? 0.06 : 0.12;
}

static double alloc_alternates(unsigned c, struct rng *r)
{
	(void)r;
	return c % 2 == 0 ? 0.06 : 0.12;
}

static double alloc_jitter(unsigned c, struct rng *r)
{
	(void)c;
	return 0.08 + 0.0004 * (double)rng_below(r, 100);
}

static double alloc_wild(unsigned c, struct rng *r)
{
	(void)c;
	return 0.02 + 0.002 * (double)rng_below(r, 100);
}

static double alloc_flood(unsigned c, struct rng *r)
{
	(void)c;
	(void)r;
	return 5;
}

static double alloc_fast(unsigned c, struct rng *r)
{
	(void)c;
	(void)r;
	return 1;
}

static double alloc_drip(unsigned c, struct rng *r)
{
	(void)c;
	(void)r;
	return 0.001;
}

/* ── the machine ────────────────────────────────────────────────────────────────────────── */

struct sim {
	const struct scene *scene;
	struct pacer p;
	double heap, alloc, work, done, credit; /* credit: background work that pays for assists */
	double lag_ns; /* by which the last refill outlasted its step */
	double hold; /* of this cycle */
	double gc_ns, mutator_ns; /* of this cycle */
	double all_gc_ns, all_ns; /* since the bounds hold */
	double over, busy_least, busy_most, early, most; /* worst seen since then */
};

static void account(struct sim *s, double gc, double mutator)
{
	s->gc_ns += gc;
	s->mutator_ns += mutator;
	pacer_limit_cpu(&s->p, s->scene->nprocs, (uint64_t)gc, (uint64_t)mutator);
}

/* mutate - the program has this much time; part of it goes into assists. A refill that does not fit
 * takes its time from the next step. */
static void mutate(struct sim *s, double ns)
{
	s->lag_ns -= ns;
	while (s->lag_ns < 0) {
		if (s->heap >= s->hold) {
			s->done -= s->lag_ns * s->scene->mark;
			account(s, -s->lag_ns, 0);
			s->lag_ns = 0;
			return;
		}
		double owed = (double)pacer_assist_bytes(&s->p, REFILL);
		double part = 64.0 * (double)REFILL / (double)s->p.goal_nbytes; /* of what remains */
		CHECK(owed <= (double)s->p.remaining_nbytes * (part < 1 ? part : 1)); /* P2 */
		double paid = owed < s->credit ? owed : s->credit;
		double assist = (owed - paid) / s->scene->mark, allocate = (double)REFILL / s->alloc;
		s->credit -= paid;
		s->done += owed - paid;
		s->heap += (double)REFILL;
		s->lag_ns += assist + allocate;
		account(s, assist, allocate);
	}
}

static double background_procs(unsigned nprocs)
{
	struct pacer_plan plan = pacer_workers(nprocs);
	return plan.dedicated + plan.fraction_pct / 100.0;
}

/* mark_step - false when all is marked. */
static bool mark_step(struct sim *s, uint64_t most_work)
{
	double background = STEP_NS * background_procs(s->scene->nprocs);
	double rest = STEP_NS * s->scene->nprocs - background;
	s->done += background * s->scene->mark;
	s->credit += background * s->scene->mark;
	account(s, background, 0);
	mutate(s, rest);
	pacer_revise(&s->p, (uint64_t)s->heap, (uint64_t)s->done, most_work);
	CHECK(s->p.assist_ratio >= 0 && s->p.assist_ratio < 1e18);
	CHECK(s->p.limiter.fill_ns <= s->scene->nprocs * UINT64_C(100000000)); /* P3 */
	return s->done < s->work;
}

static void run_until_trigger(struct sim *s)
{
	uint64_t trigger = pacer_trigger(&s->p), goal = pacer_goal(&s->p);
	CHECK(goal >= s->p.live_nbytes && trigger >= s->p.live_nbytes && trigger <= goal); /* P1 */
	CHECK(trigger != NONE);
	while (s->heap < (double)trigger) {
		double ns = STEP_NS, alloc = s->alloc * s->scene->nprocs;
		if (s->heap + ns * alloc > (double)trigger)
			ns = ((double)trigger - s->heap) / alloc + 1;
		s->heap += ns * alloc;
		s->all_ns += ns * s->scene->nprocs;
		pacer_limit_cpu(&s->p, s->scene->nprocs, 0, (uint64_t)(ns * s->scene->nprocs));
	}
}

static void run_cycle(struct sim *s, double live)
{
	uint64_t nsteps = 0, most_work = (uint64_t)s->heap + s->scene->roots;
	double begin = s->heap;
	live = live < s->heap ? live : s->heap;
	s->work = live + (double)s->scene->roots;
	s->hold = s->scene->limit != NONE ? (double)pacer_hold(&s->p) : 1e18;
	s->done = s->credit = s->gc_ns = s->mutator_ns = 0;
	pacer_start_cycle(&s->p, (uint64_t)s->heap);
	while (mark_step(s, most_work))
		CHECK(++nsteps < 10000000);
	struct pacer_cycle end = {
		.heap_nbytes = (uint64_t)s->heap,
		.live_nbytes = (uint64_t)(live + s->heap - begin), /* births are black */
		.scan_nbytes = (uint64_t)live,
		.roots_nbytes = s->scene->roots,
		.gc_ns = (uint64_t)s->gc_ns,
		.mutator_ns = (uint64_t)s->mutator_ns,
	};
	pacer_end_cycle(&s->p, &end);
}

static void note_bounds(struct sim *s, uint64_t goal, uint64_t live, uint64_t trigger)
{
	double over = s->heap / (double)goal, busy = s->gc_ns / (s->gc_ns + s->mutator_ns);
	double early = (double)(goal - trigger) / ((double)(goal - live) + 1);
	s->over = over > s->over ? over : s->over;
	s->busy_most = busy > s->busy_most ? busy : s->busy_most;
	s->busy_least = busy < s->busy_least ? busy : s->busy_least;
	s->early = early > s->early ? early : s->early;
	s->most = s->heap > s->most ? s->heap : s->most;
}

static void simulate(const struct scene *g)
{
	struct rng r = { test_seed() };
	struct sim s = { .scene = g, .busy_least = 1 };
	s.p.percent = g->percent;
	s.p.min_nbytes = 4 * MB;
	s.p.limit_nbytes = g->limit;
	s.p.hard_nbytes = g->hard;
	for (unsigned c = 0; c < g->cycles; c++) {
		if (c == g->warm)
			s.all_gc_ns = s.all_ns = 0;
		s.alloc = g->alloc(c, &r);
		s.heap = (double)s.p.live_nbytes;
		run_until_trigger(&s);
		uint64_t goal = pacer_goal(&s.p), live = s.p.live_nbytes,
			 trigger = pacer_trigger(&s.p);
		run_cycle(&s, g->live(c, &r) * (double)MB);
		s.all_gc_ns += s.gc_ns;
		s.all_ns += s.gc_ns + s.mutator_ns;
		if (c >= g->warm)
			note_bounds(&s, goal, live, trigger);
	}
	double share = s.all_gc_ns / s.all_ns;
	printf("  %-28s heap/goal %.3f  busy %4.1f-%4.1f %%  share %4.1f %%  early %4.1f %%",
	       g->name, s.over, 100 * s.busy_least, 100 * s.busy_most, 100 * share, 100 * s.early);
	if (g->limit != NONE)
		printf("  heap/limit %.3f", s.most / (double)g->limit);
	puts("");
	fflush(stdout);
	CHECK(s.over <= g->most_over);
	CHECK(s.busy_least >= g->least_busy);
	CHECK(s.busy_most <= g->most_busy);
	CHECK(share <= g->most_share);
	CHECK(s.early <= g->most_early);
	if (g->most_limit != 0)
		CHECK(s.most / (double)g->limit <= g->most_limit);
}

TEST_SECONDS(scenes, 120)
{
	static const struct scene scenes[] = {
		/* name, live, alloc, mark, procs, roots, limit, hard, percent, warm, cycles,
		 * over, busy least and most, share, early, heap/limit */
		{ "steady", live_steady, alloc_even, 1, 4, 0, NONE, 0, 100, 5, 50, 1.005, 0.245,
		  0.255, 0.08, 0.25, 0 },
		{ "steady, two processors", live_steady, alloc_even, 1, 2, 0, NONE, 0, 100, 5, 50,
		  1.005, 0.245, 0.255, 0.08, 0.25, 0 },
		{ "steady, one processor", live_steady, alloc_even, 1, 1, 0, NONE, 0, 100, 5, 50,
		  1.005, 0.245, 0.255, 0.08, 0.25, 0 },
		{ "steady, 16 processors", live_steady, alloc_even, 1, 16, 0, NONE, 0, 100, 5, 50,
		  1.01, 0.245, 0.255, 0.08, 0.25, 0 },
		{ "steady, 400 percent", live_steady, alloc_even, 1, 4, 0, NONE, 0, 400, 5, 50,
		  1.005, 0.245, 0.255, 0.025, 0.07, 0 },
		{ "slow allocation", live_steady, alloc_drip, 1, 4, 0, NONE, 0, 100, 5, 50, 1, 0.24,
		  0.26, 0.002, 0.051, 0 },
		{ "big stacks", live_steady, alloc_even, 1, 4, 128 * MB, NONE, 0, 100, 5, 50, 1.005,
		  0.245, 0.255, 0.08, 0.25, 0 },
		{ "big roots, nothing live", live_none, alloc_even, 1, 4, 128 * MB, NONE, 0, 100, 5,
		  50, 1.005, 0.245, 0.255, 0.08, 0.25, 0 },
		{ "step in allocation", live_steady, alloc_step, 1, 4, 0, NONE, 0, 100, 5, 50, 1.03,
		  0.245, 0.5, 0.08, 0.301, 0 },
		{ "four cycles after it", live_steady, alloc_step, 1, 4, 0, NONE, 0, 100, 29, 50,
		  1.005, 0.245, 0.255, 0.1, 0.28, 0 },
		{ "heavy step in live size", live_step, alloc_even, 1, 4, 0, NONE, 0, 100, 5, 50,
		  1.2, 0.245, 0.6, 0.1, 0.301, 0 },
		{ "two cycles after it", live_step, alloc_even, 1, 4, 0, NONE, 0, 100, 27, 50,
		  1.005, 0.245, 0.255, 0.08, 0.25, 0 },
		{ "waves of allocation", live_steady, alloc_waves, 1, 4, 0, NONE, 0, 100, 8, 80,
		  1.03, 0.245, 0.5, 0.1, 0.301, 0 },
		{ "alternating allocation", live_steady, alloc_alternates, 1, 4, 0, NONE, 0, 100, 8,
		  80, 1.005, 0.245, 0.27, 0.1, 0.301, 0 },
		{ "waves of live size", live_waves, alloc_even, 1, 4, 0, NONE, 0, 100, 8, 80, 1.08,
		  0.245, 0.3, 0.1, 0.301, 0 },
		{ "jitter", live_jitter, alloc_jitter, 1, 4, 0, NONE, 0, 100, 8, 80, 1.05, 0.245,
		  0.4, 0.1, 0.301, 0 },
		{ "heavy jitter", live_jitter, alloc_wild, 1, 4, 0, NONE, 0, 100, 8, 80, 1.08,
		  0.245, 0.75, 0.15, 0.301, 0 },
		{ "allocation beats marking", live_steady, alloc_flood, 1, 4, 0, NONE, 0, 100, 200,
		  800, 2, 0.4, 0.95, 0.51, 0.301, 0 },
		{ "near the limit", live_steady, alloc_even, 1, 4, 0, 150 * MB, 0, 100, 5, 100, 1.1,
		  0.245, 0.75, 0.25, 0.301, 0 },
		{ "near the limit, percent off", live_steady, alloc_even, 1, 4, 0, 150 * MB, 0, -1,
		  5, 100, 1.02, 0.245, 0.6, 0.25, 0.301, 0 },
		{ "over the limit", live_steady, alloc_even, 1, 4, 0, 80 * MB, 160 * MB, 100, 200,
		  800, 1.2, 0.4, 0.9, 0.51, 0.301, 0 },
		{ "over the limit, flood", live_steady, alloc_flood, 1, 4, 0, 80 * MB, NONE, 100,
		  200, 600, 3, 0.4, 0.9, 0.51, 0.301, 0 },
		{ "tiny heap", live_tiny, alloc_even, 1, 4, 0, NONE, 0, 100, 5, 200, 1.05, 0.2, 0.3,
		  0.01, 0.301, 0 },
		{ "tiny heap, flood", live_tiny, alloc_flood, 1, 4, 0, NONE, 0, 100, 5, 200, 1.2,
		  0.2, 0.5, 0.3, 0.301, 0 },
		/* 60 MB of 100 live: a moderate program stays below its limit and has three quarters of the
		 * processors; one that allocates as fast as it can gets its half, and garbage passes the
		 * limit, as far as it may; or, by choice, the limit holds */
		{ "limit, moderate", live_60, alloc_even, 1, 1, 0, 100 * MB, 200 * MB, 100, 5, 50,
		  1.005, 0.245, 0.7, 0.25, 0.301, 0.97 },
		{ "limit, moderate, percent off", live_60, alloc_even, 1, 4, 0, 100 * MB, 200 * MB,
		  -1, 5, 50, 1.005, 0.245, 0.7, 0.25, 0.301, 0.97 },
		{ "limit, fast", live_60, alloc_fast, 1, 1, 0, 100 * MB, 200 * MB, 100, 100, 600,
		  1.005, 0.245, 1, 0.46, 0.301, 1.6 },
		{ "limit, fast, four processors", live_60, alloc_fast, 1, 4, 0, 100 * MB, 400 * MB,
		  100, 100, 600, 1.005, 0.245, 1, 0.46, 0.301, 1.6 },
		{ "limit, flood", live_60, alloc_flood, 1, 1, 0, 100 * MB, 200 * MB, 100, 100, 600,
		  1.01, 0.245, 1, 0.76, 0.301, 2 },
		{ "limit holds, fast", live_60, alloc_fast, 1, 1, 0, 100 * MB, 100 * MB, 100, 100,
		  600, 1.005, 0.245, 1, 0.69, 0.301, 0.98 },
		{ "more live than the limit", live_steady, alloc_fast, 1, 1, 0, 80 * MB, 200 * MB,
		  100, 100, 600, 1.6, 0.4, 1, 0.62, 0.301, 2.5 },
	};
	for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
		simulate(&scenes[i]);
}

/* A quarter of the processors, in whole threads where that is near enough (Go's table). */
TEST(workers)
{
	static const struct pacer_plan plans[] = { { 0, 0 }, { 0, 25 }, { 0, 50 }, { 0, 75 },
						   { 1, 0 }, { 1, 0 },  { 1, 50 }, { 2, 0 },
						   { 2, 0 }, { 2, 0 },  { 3, 0 },  { 3, 0 },
						   { 3, 0 } };
	for (uint32_t n = 1; n < sizeof plans / sizeof plans[0]; n++) {
		struct pacer_plan plan = pacer_workers(n);
		CHECK_EQ(plan.dedicated, plans[n].dedicated);
		CHECK_EQ(plan.fraction_pct, plans[n].fraction_pct);
	}
	for (uint32_t n = 1; n < 1000; n++) { /* never far from it, with a fraction only where it must */
		struct pacer_plan plan = pacer_workers(n);
		double share = (plan.dedicated + plan.fraction_pct / 100.0) / n;
		CHECK(share >= 0.25 * 0.7 && share <= 0.25 * 1.3);
	}
}

/* No cycle, no debt; a full bucket, no debt; never a trigger where there is no goal. */
TEST(edges)
{
	struct pacer p = { .percent = -1, .limit_nbytes = NONE, .live_nbytes = 10 * MB };
	CHECK(pacer_trigger(&p) == NONE);
	CHECK_EQ(pacer_assist_bytes(&p, MB), 0);
	p.percent = 100;
	CHECK(pacer_trigger(&p) > 10 * MB && pacer_trigger(&p) < 20 * MB);
	p.live_nbytes = 1000 * MB; /* nothing known of its speed: near the goal, in bytes */
	CHECK_EQ(pacer_trigger(&p), 1996 * MB);
	p.live_nbytes = 10 * MB;
	pacer_start_cycle(&p, 19 * MB);
	p.scan_nbytes = 10 * MB;
	pacer_revise(&p, 19 * MB, 0, 19 * MB);
	CHECK_EQ(pacer_assist_bytes(&p, 64 * KB), 640 * KB);
	pacer_revise(&p, 19 * MB, 5 * MB, 19 * MB);
	CHECK_EQ(pacer_assist_bytes(&p, 64 * KB), 320 * KB);
	pacer_revise(&p, 25 * MB, 5 * MB, 19 * MB); /* past the goal: the worst case, over a 64th */
	CHECK(pacer_assist_bytes(&p, 10 * KB) > 400 * KB && pacer_assist_bytes(&p, 10 * KB) < 450 * KB);
	CHECK_EQ(pacer_assist_bytes(&p, 19 * MB), 14 * MB);
	pacer_limit_cpu(&p, 2, UINT64_C(199999999), 0);
	CHECK(!p.limiter.on);
	pacer_limit_cpu(&p, 2, UINT64_MAX, 0);
	CHECK(p.limiter.on && p.limiter.fill_ns == UINT64_C(200000000));
	CHECK_EQ(pacer_assist_bytes(&p, MB), 0);
	pacer_limit_cpu(&p, 2, 0, 2400000); /* 0.82 of the program's time count */
	CHECK(p.limiter.on);
	pacer_limit_cpu(&p, 2, 0, 100000);
	CHECK(!p.limiter.on);
	pacer_limit_cpu(&p, 2, 0, UINT64_MAX);
	CHECK_EQ(p.limiter.fill_ns, 0);
	CHECK(pacer_assist_bytes(&p, MB) != 0);
}

/* drive - a cycle that took gc_ns of processor time, after the program allocated nbytes in mutator_ns. */
static void drive(struct pacer *p, uint64_t nbytes, uint64_t gc_ns, uint64_t mutator_ns)
{
	uint64_t live = p->live_nbytes;
	pacer_limit_cpu(p, 1, gc_ns, mutator_ns);
	pacer_end_cycle(p, &(struct pacer_cycle){ .heap_nbytes = live + nbytes, .live_nbytes = live });
}

/* The limiter moves the goal out to what gives the program 55 %, not beyond hard_nbytes, and back when half
 * of the bucket has drained; never for more live memory than the limit. */
TEST(limiter_moves_the_goal)
{
	struct pacer p = { .percent = 100,
			   .limit_nbytes = 128 * MB,
			   .hard_nbytes = 256 * MB,
			   .live_nbytes = 100 * MB };
	uint64_t at_limit = 124 * MB, ms = 1000000;
	CHECK(pacer_limited(&p));
	CHECK_EQ(pacer_goal(&p), at_limit);
	CHECK_EQ(pacer_hold(&p), at_limit);
	drive(&p, 24 * MB, 90 * ms, 24 * ms);
	CHECK_EQ(pacer_goal(&p), at_limit);
	CHECK_EQ(pacer_most(&p), 128 * MB);
	for (int i = 0; i < 4; i++)
		drive(&p, 24 * MB, 90 * ms, 24 * ms);
	CHECK(p.limiter.on && p.limiter.passes);
	CHECK_EQ(pacer_most(&p), 256 * MB);
	CHECK_EQ((pacer_goal(&p) + MB / 2) / MB, 210); /* 1 MB a ms, for 90 × 55 / 45 ms */
	CHECK_EQ(pacer_hold(&p), pacer_goal(&p));
	drive(&p, 110 * MB, 90 * ms, 55 * ms); /* twice as fast: farther, but not so far */
	CHECK_EQ(pacer_goal(&p), 248 * MB);
	drive(&p, 10 * MB, 0, 50 * ms);
	CHECK(!p.limiter.on && p.limiter.passes);
	drive(&p, 10 * MB, 0, 50 * ms);
	CHECK(!p.limiter.passes);
	CHECK_EQ(pacer_goal(&p), at_limit);
	for (int i = 0; i < 4; i++)
		drive(&p, 24 * MB, 90 * ms, 10 * ms);
	CHECK_EQ(pacer_most(&p), 256 * MB);
	p.live_nbytes = 125 * MB;
	CHECK_EQ(pacer_most(&p), 128 * MB);
	CHECK(pacer_goal(&p) > 125 * MB + 125 * MB / 20);
	p.live_nbytes = 40 * MB; /* the percentage is nearer than the limit */
	CHECK(!pacer_limited(&p));
	CHECK_EQ(pacer_goal(&p), 80 * MB);
}

/* Where allocation waits: at the goal of a small heap and at a limit; else an eighth of the way farther. */
TEST(hold)
{
	struct pacer p = { .percent = 100, .limit_nbytes = NONE, .live_nbytes = 20 * MB };
	CHECK_EQ(pacer_hold(&p), 40 * MB);
	p.live_nbytes = 80 * MB;
	CHECK_EQ(pacer_hold(&p), 170 * MB);
	p.limit_nbytes = 170 * MB;
	CHECK_EQ(pacer_hold(&p), 170 * MB - 170 * MB / 32);
	p.percent = -1;
	CHECK_EQ(pacer_hold(&p), pacer_goal(&p));
	p.limit_nbytes = NONE;
	CHECK_EQ(pacer_hold(&p), NONE);
}

/* Where a program without a barrier waits as long as it takes: as far beyond the goal as that is from what lived. */
TEST(bar)
{
	struct pacer p = { .percent = 50, .limit_nbytes = NONE, .live_nbytes = 100 * MB };
	CHECK_EQ(pacer_bar(&p), NONE);
	p.late_pct = 25;
	CHECK_EQ(pacer_bar(&p), 200 * MB);
	CHECK(pacer_bar(&p) > pacer_hold(&p));
	p.percent = -1;
	CHECK_EQ(pacer_bar(&p), NONE);
	p.percent = 50;
	p.live_nbytes = UINT64_MAX;
	CHECK_EQ(pacer_bar(&p), NONE);
}

/* More work than expected moves the goal out, in proportion, to twice of it at most and never over the
 * limit; a cycle that starts at its goal has a little way to go. */
TEST(farther)
{
	struct pacer p = { .percent = 100, .limit_nbytes = NONE, .live_nbytes = 10 * MB };
	p.scan_nbytes = 10 * MB;
	pacer_start_cycle(&p, 15 * MB);
	CHECK_EQ(p.goal_nbytes, 20 * MB);
	pacer_revise(&p, 16 * MB, 11 * MB, 15 * MB); /* 15 of 10: the goal is 15 + 7.5 */
	CHECK_EQ(pacer_assist_bytes(&p, 65 * KB), 40 * KB);
	pacer_revise(&p, 16 * MB, 11 * MB, 1000 * MB); /* 40, not 515 */
	CHECK_EQ(pacer_assist_bytes(&p, 24 * KB), 989 * KB);
	p.limit_nbytes = 30 * MB;
	pacer_revise(&p, 16 * MB, 11 * MB, 1000 * MB);
	CHECK_EQ(pacer_assist_bytes(&p, 14 * KB), 989 * KB);
	pacer_start_cycle(&p, 30 * MB);
	CHECK_EQ(p.goal_nbytes, 30 * MB + 64 * KB);
}

/* Nothing wraps, divides by zero or becomes no number, whatever the figures are. */
TEST(extremes)
{
	struct rng r = { test_seed() };
	for (int i = 0; i < 300000; i++) {
		uint64_t v[8];
		for (int k = 0; k < 8; k++)
			v[k] = rng_below(&r, 8) == 0 ? UINT64_MAX : rng_next(&r) >> rng_below(&r, 64);
		struct pacer p = { .percent = (int64_t)(v[0] >> 2) - 1,
				   .min_nbytes = v[1],
				   .limit_nbytes = v[2],
				   .live_nbytes = v[3] };
		for (int cycle = 0; cycle < 3; cycle++) {
			uint64_t goal = pacer_goal(&p), trigger = pacer_trigger(&p);
			CHECK(trigger <= goal && trigger >= p.live_nbytes);
			pacer_start_cycle(&p, v[4]);
			pacer_revise(&p, v[5], v[6], v[7]);
			CHECK(p.assist_ratio >= 0);
			CHECK(pacer_assist_bytes(&p, v[1]) <= p.remaining_nbytes);
			struct pacer_cycle c = { v[5], v[6], v[7], v[0], v[1], v[2] };
			pacer_end_cycle(&p, &c);
		}
	}
}
