/* pacer_test.c (plain) - gc/pacer.h: a table of cases, properties over random ones, and simulations of
 * whole programs: steady, growing, shrinking, with huge stacks, near a limit. */
#include "lib/plain.h"

#include "gc/pacer.h"

#define MB UINT64_C(1048576)
#define NONE UINT64_MAX
#define PACER(pct, min, limit, live, roots, slack) \
	{ .percent = pct, \
	  .min_nbytes = min, \
	  .limit_nbytes = limit, \
	  .live_nbytes = live, \
	  .roots_nbytes = roots, \
	  .slack_nbytes = slack }

TEST(cases)
{
	static const struct {
		struct pacer p;
		uint64_t goal;
	} cases[] = {
		/* percent, minimum, limit, live, roots, slack */
		{ PACER(100, 4 * MB, NONE, 0, 0, 0), 4 * MB },
		{ PACER(100, 4 * MB, NONE, 1 * MB, 0, 0), 4 * MB },
		{ PACER(100, 4 * MB, NONE, 10 * MB, 0, 0), 20 * MB },
		{ PACER(100, 4 * MB, NONE, 10 * MB, 10 * MB, 0), 30 * MB }, /* roots earn a share too */
		{ PACER(50, 4 * MB, NONE, 10 * MB, 0, 0), 15 * MB },
		{ PACER(50, 4 * MB, NONE, 1 * MB, 0, 0), 2 * MB }, /* the minimum shrinks with the percent */
		{ PACER(400, 4 * MB, NONE, 10 * MB, 0, 0), 50 * MB },
		{ PACER(400, 4 * MB, NONE, 0, 0, 0), 16 * MB },
		{ PACER(0, 4 * MB, NONE, 10 * MB, 0, 0), 10 * MB },
		{ PACER(-1, 4 * MB, NONE, 10 * MB, 0, 0), NONE },
		{ PACER(-1, 4 * MB, 64 * MB, 10 * MB, 0, 0), 62 * MB },
		{ PACER(100, 4 * MB, 64 * MB, 10 * MB, 0, 0), 20 * MB }, /* far from the limit */
		{ PACER(100, 4 * MB, 64 * MB, 40 * MB, 0, 0), 62 * MB }, /* 1/32 below it */
		{ PACER(100, 4 * MB, 64 * MB, 40 * MB, 0, 32 * MB), 42 * MB }, /* slack takes room: 5 % at least */
		{ PACER(100, 4 * MB, 64 * MB, 100 * MB, 0, 0), 105 * MB }, /* over it: still 5 % */
		{ PACER(100, 4 * MB, 0, 100 * MB, 0, 0), 105 * MB },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t goal = pacer_goal(&cases[i].p);
		if (goal != cases[i].goal)
			printf("  case %zu\n", i);
		CHECK_EQ(goal, cases[i].goal);
	}
}

/* What dies leaves three quarters of the heap to grow to, for a while, so that a heap that comes and goes is not collected all the time. */
TEST(lasting)
{
	struct pacer p = PACER(100, 4 * MB, NONE, 0, 0, 0);
	const struct pacer_cycle large = { .heap_nbytes = 64 * MB, .live_nbytes = 2 * MB };
	const struct pacer_cycle small = { .heap_nbytes = 4 * MB, .live_nbytes = 2 * MB };
	pacer_end_cycle(&p, &large);
	CHECK_EQ(pacer_goal(&p), 4 * MB);
	p.lasting_nbytes = 10 * MB;
	CHECK_EQ(pacer_goal(&p), 10 * MB);
	p.lasting_nbytes = 100 * MB;
	CHECK_EQ(pacer_goal(&p), 48 * MB);
	pacer_end_cycle(&p, &small);
	CHECK_EQ(pacer_goal(&p), 45 * MB);
	for (unsigned i = 0; i < 50; i++)
		pacer_end_cycle(&p, &small);
	CHECK_EQ(pacer_goal(&p), 4 * MB);
	p.percent = -1;
	CHECK_EQ(pacer_goal(&p), NONE);
}

TEST(extra)
{
	struct pacer p = PACER(10, 0, NONE, 10 * MB, 0, 0);
	p.extra_nbytes = 5 * MB;
	CHECK_EQ(pacer_goal(&p), 11 * MB + 10 * MB / 4);
	p.live_nbytes = 40 * MB; /* as much as may be */
	CHECK_EQ(pacer_goal(&p), 44 * MB + 5 * MB);
	p.extra_nbytes = UINT64_MAX; /* never more than what is live */
	CHECK_EQ(pacer_goal(&p), 84 * MB);
	p = (struct pacer)PACER(50, 0, NONE, 3 * MB, 0, 0);
	p.extra_nbytes = 4 * MB; /* half of it at least */
	CHECK_EQ(pacer_goal(&p), 3 * MB + 3 * MB / 2 + 2 * MB);
	p.live_nbytes = 1 * MB;
	CHECK_EQ(pacer_goal(&p), 1 * MB + MB / 2 + 1 * MB);
	p.live_nbytes = UINT64_MAX;
	CHECK_EQ(pacer_goal(&p), UINT64_MAX);
}

/* The first cycle may come before the heap is at its minimum. */
TEST(first)
{
	struct pacer p = PACER(50, 8 * MB, NONE, 0, 0, 0);
	const struct pacer_cycle c = { .heap_nbytes = 2 * MB, .live_nbytes = MB / 2 };
	CHECK_EQ(pacer_goal(&p), 4 * MB);
	p.first_nbytes = 2 * MB;
	CHECK_EQ(pacer_goal(&p), 2 * MB);
	p.first_nbytes = 5 * MB; /* but never after it */
	CHECK_EQ(pacer_goal(&p), 4 * MB);
	p.first_nbytes = 2 * MB;
	pacer_end_cycle(&p, &c);
	CHECK_EQ(pacer_goal(&p), 4 * MB);
}

TEST(small_heaps)
{
	static const struct {
		int64_t percent;
		uint64_t live, goal;
	} cases[] = {
		{ 100, 1 * MB, 4 * MB }, /* the least goal */
		{ 100, 4 * MB, 12 * MB },  { 100, 6 * MB, 18 * MB },    { 100, 8 * MB, 20 * MB },
		{ 50, 8 * MB, 14 * MB },   { 100, 11 * MB, 23 * MB },   { 100, 12 * MB, 24 * MB },
		{ 100, 13 * MB, 26 * MB }, { 200, 100 * MB, 300 * MB },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pacer p = PACER(cases[i].percent, 4 * MB, NONE, cases[i].live, 0, 0);
		p.small_nbytes = 12 * MB;
		CHECK_EQ(pacer_goal(&p), cases[i].goal);
	}
}

/* No product and no sum wraps: a huge setting means "late", never "all the time". */
TEST(overflow)
{
	static const uint64_t huge[] = { UINT64_MAX, INT64_MAX, UINT64_MAX / 2, UINT64_C(1) << 60 };
	for (size_t i = 0; i < 4; i++) {
		for (int64_t percent = 1; percent <= 100000; percent = percent * 10 / 3 + 1) {
			struct pacer p = PACER(percent, huge[i], NONE, 10 * MB, 0, 0);
			CHECK(pacer_goal(&p) >= huge[i] / 100);
			p = (struct pacer)PACER(percent, 4 * MB, NONE, huge[i], huge[i], 0);
			CHECK(pacer_goal(&p) >= huge[i]);
			p = (struct pacer)PACER(percent, 4 * MB, huge[i], 10 * MB, 0, huge[3] / 2);
			CHECK(pacer_goal(&p) >= 10 * MB);
			p = (struct pacer)PACER(percent, 4 * MB, 64 * MB, huge[i], 0, 0);
			CHECK(pacer_goal(&p) >= huge[i]);
		}
	}
}

TEST(properties)
{
	struct rng r = { test_seed() };
	for (int i = 0; i < 1000000; i++) {
		struct pacer p =
			PACER((int64_t)rng_below(&r, 500), rng_next(&r) >> (20 + rng_below(&r, 44)),
			      rng_below(&r, 2) ? NONE : rng_next(&r) >> (10 + rng_below(&r, 50)),
			      rng_next(&r) >> (20 + rng_below(&r, 44)),
			      rng_next(&r) >> (30 + rng_below(&r, 34)),
			      rng_next(&r) >> (30 + rng_below(&r, 34)));
		p.extra_nbytes = rng_below(&r, 2) * (rng_next(&r) >> (40 + rng_below(&r, 24)));
		p.small_nbytes = rng_below(&r, 2) * (rng_next(&r) >> (20 + rng_below(&r, 44)));
		p.lasting_nbytes = rng_below(&r, 2) * (rng_next(&r) >> (40 + rng_below(&r, 24)));
		p.first_nbytes = rng_below(&r, 2) * (rng_next(&r) >> (40 + rng_below(&r, 24)));
		p.lately_nbytes = rng_next(&r) >> (20 + rng_below(&r, 44));
		uint64_t goal = pacer_goal(&p);
		CHECK(goal >= p.live_nbytes); /* else it would collect without end */
		struct pacer q = p;
		q.percent++;
		CHECK(pacer_goal(&q) >= goal); /* monotonic in every setting */
		q = p;
		q.live_nbytes += q.live_nbytes / 16;
		CHECK(pacer_goal(&q) >= goal);
		q = p;
		q.limit_nbytes = NONE;
		CHECK(pacer_goal(&q) >= goal);
	}
}

/* A program: what it keeps live at time t, and how many bytes it allocates in all. Collections per
 * allocated byte and the heap's peak must stay inside bounds. */
struct program {
	const char *name;
	uint64_t (*live)(double t);
	uint64_t roots, allocated, limit;
	unsigned most_cycles;
	double most_heap; /* of the largest live size */
};

static uint64_t steady(double t)
{
	(void)t;
	return 50 * MB;
}

static uint64_t step(double t)
{
	return t < 0.5 ? 10 * MB : 80 * MB;
}

static uint64_t ramp(double t)
{
	return (uint64_t)(t * 100 * (double)MB);
}

static uint64_t shrinking(double t)
{
	return (uint64_t)((1.0 - t) * 100 * (double)MB);
}

static void simulate(const struct program *g)
{
	struct pacer p = PACER(100, 4 * MB, g->limit, 0, g->roots, 0);
	uint64_t done = 0, since = 0, peak = 0, most_live = 0;
	unsigned cycles = 0;
	while (done < g->allocated) {
		uint64_t goal = pacer_goal(&p), room = goal > p.live_nbytes ? goal - p.live_nbytes : 0;
		uint64_t more = room > 65536 ? room : 65536; /* a refill at least */
		done += more;
		since = p.live_nbytes + more;
		peak = since > peak ? since : peak;
		p.live_nbytes = g->live((double)done / (double)g->allocated);
		p.live_nbytes = p.live_nbytes > since ? since : p.live_nbytes;
		most_live = p.live_nbytes > most_live ? p.live_nbytes : most_live;
		cycles++;
	}
	printf("  %s: %u cycles, peak %.2f of %llu MB\n", g->name, cycles,
	       (double)peak / (double)most_live, (unsigned long long)(most_live / MB));
	CHECK(cycles <= g->most_cycles);
	CHECK((double)peak <= g->most_heap * (double)most_live);
}

TEST(simulations)
{
	static const struct program programs[] = {
		{ "steady", steady, 0, 10000 * MB, NONE, 210, 2.01 },
		{ "step", step, 0, 10000 * MB, NONE, 700, 2.01 },
		{ "ramp", ramp, 0, 10000 * MB, NONE, 800, 2.01 },
		{ "shrinking", shrinking, 0, 10000 * MB, NONE, 1000, 2.01 },
		{ "huge stacks", steady, 100 * MB, 10000 * MB, NONE, 75, 5.01 },
		{ "near the limit", steady, 0, 10000 * MB, 60 * MB, 1300, 1.17 },
		{ "over the limit", steady, 0, 10000 * MB, 40 * MB, 4200, 1.06 },
	};
	for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
		simulate(&programs[i]);
}
