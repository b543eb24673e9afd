/* pacer.h - when the next collection starts, and how fast a concurrent one marks. Arithmetic only: no
 * lock, no clock, no memory, so that it can be simulated (test/unit/pacer_sim_test.c).
 * WHAT   goal     the heap size at which a cycle should be over: live + (live + roots) × percent / 100, more for a
 *                 small heap, never below the minimum heap × percent / 100, never above what the limit leaves.
 *        trigger  the size at which it starts: the goal less the runway, which is what the program
 *                 allocates while the expected work is marked with a quarter of the processors.
 *        assists  make up for what was misjudged: marking that an allocation owes, per byte, so that
 *                 the work is done when the heap is at the goal.
 *        limiter  a bucket that collection fills and the program drains: full, assists end, and a goal that
 *                 the limit set moves out, as far as `hard_nbytes`, until the program has its half of the
 *                 processors again.
 *        A collector that stops the world uses pacer_goal() alone.
 * WHO    gc/cycle.c. The caller keeps two threads out of one struct pacer.
 * STATE  between cycles → pacer_start_cycle → pacer_revise … → pacer_end_cycle → between cycles
 * INV    P1 goal, trigger > live_nbytes or equal to it; trigger ≤ goal      [pacer_sim_test.c]
 *        P2 an assist owes at most what remains to be marked                [pacer_assist_bytes]
 *        P3 0 ≤ fill ≤ capacity of the limiter                              [pacer_limit_cpu]
 * UNITS  bytes; work is bytes scanned, in the heap and outside; time is processor time in ns.
 * FROM   Go's mgcpacer.go and mgclimit.go since 1.19. Different here: roots and stacks are one number;
 *        an assist is capped by what remains. */
#ifndef MGC_GC_PACER_H
#define MGC_GC_PACER_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>

#define PACER_UTILISATION_PCT 25 /* of the processors, for background marking */
#define PACER_HISTORY 4 /* cycles whose speeds are remembered */
/* A heap up to here is marked in less time than anybody notices: who allocates may wait for that (pacer_hold, collector.c). */
#define PACER_SMALL_BYTES ((uint64_t)64 << 20)

struct pacer_limiter {
	uint64_t fill_ns;
	bool on; /* the collector used its half: no assists */
	bool passes; /* and garbage may pass the limit, until half of the bucket has drained */
	uint64_t gc_ns, mutator_ns; /* since the last cycle ended */
	uint64_t even_nbytes; /* growth that earns the program its half, as the last cycle was */
};

struct pacer {
	int64_t percent; /* negative: no collection by itself */
	uint64_t min_nbytes; /* at 100 percent */
	uint64_t first_nbytes; /* the goal of the first cycle, where the minimum is more; 0: the minimum */
	uint64_t extra_nbytes; /* the heap may grow by a quarter of what is live besides, by this much at most, and by a
				* half of this at least, but not by more than is live: small heaps collect seldom */
	uint64_t small_nbytes; /* a heap with less live than this grows by `percent` of the difference besides, and of what
				* is live at most: a goal that never falls when more lives */
	uint64_t lasting_nbytes; /* the goal is three quarters of what the heap was lately at least, up to this: who had so much will
				  * have it again */
	uint64_t least_growth_nbytes; /* over what is live, but for the limit */
	uint32_t late_pct; /* a concurrent cycle may end beyond its goal, by this much of the way to it, and nobody
			    * helps before the goal: where a program without a barrier wants short stops */
	uint64_t limit_nbytes; /* UINT64_MAX: none */
	uint64_t hard_nbytes; /* as far as garbage may pass the limit (pacer_most) */
	uint64_t live_nbytes; /* found by the last cycle */
	uint64_t roots_nbytes; /* scanned outside the heap by the last cycle */
	uint64_t slack_nbytes; /* held beside live objects: fragmentation, free pages, tables */

	/* set by pacer_end_cycle */
	uint64_t lately_nbytes; /* the heap's size; falls by a sixteenth with each cycle */
	uint64_t scan_nbytes; /* scanned inside the heap by the last cycle: live objects with pointers */
	double cons_mark[PACER_HISTORY]; /* bytes allocated per byte marked, in equal processor time */
	uint32_t ncycles;

	/* of the cycle that runs */
	bool running;
	uint64_t free_nbytes; /* nobody owes anything up to here */
	uint64_t goal_nbytes;
	uint64_t started_nbytes; /* heap size when it began */
	uint64_t remaining_nbytes; /* work, as last revised; 0: as good as done */
	double assist_ratio; /* work owed per byte allocated */

	struct pacer_limiter limiter;
};

/* pacer_goal - the heap size at which the next collection should be over, and at which one that stops
 * the world starts; UINT64_MAX: never. */
uint64_t pacer_goal(const struct pacer *p);

/* pacer_most - what allocation has to be refused for now: more than the limit, or than hard_nbytes once the
 * limiter was on. That is for garbage: what is live has to fit the limit. */
uint64_t pacer_most(const struct pacer *p);

/* pacer_limited - the limit sets the goal, not the percentage. */
bool pacer_limited(const struct pacer *p);

/* pacer_hold - the heap size at which allocation waits for a cycle that runs: the goal where it must be kept
 * (a limit sets it) or easily can (a small heap); else an eighth of the way farther, so that a program
 * whose collector was late need not stand still for it. UINT64_MAX: never. */
uint64_t pacer_hold(const struct pacer *p);

/* pacer_end - the heap size at which a concurrent one has to be over: the goal, and late_pct. */
uint64_t pacer_end(const struct pacer *p);

/* pacer_bar - the heap size that a program without a barrier does not pass before a cycle that runs is over, whatever
 * it waits: as far beyond the goal as the goal is from what lived. UINT64_MAX: nowhere. */
uint64_t pacer_bar(const struct pacer *p);

/* pacer_trigger - the heap size at which a concurrent collection starts; UINT64_MAX: never. */
uint64_t pacer_trigger(const struct pacer *p);

/* pacer_workers - threads that mark in the background on nprocs processors: `dedicated` do nothing else,
 * and one more works for `fraction_pct` of its time. */
struct pacer_plan {
	uint32_t dedicated, fraction_pct;
};
struct pacer_plan pacer_workers(uint32_t nprocs);

/* pacer_start_cycle - a cycle begins with the heap at this size. */
void pacer_start_cycle(struct pacer *p, uint64_t heap_nbytes);

/* pacer_revise - so large is the heap now, and so much was marked: call often, as with each block of
 * work. most_nbytes: the work there would be if nothing had died, roots included. */
void pacer_revise(struct pacer *p, uint64_t heap_nbytes, uint64_t done_nbytes, uint64_t most_nbytes);

/* pacer_assist_bytes - the work that allocating nbytes owes. Divide for the credit that work earns. */
uint64_t pacer_assist_bytes(const struct pacer *p, uint64_t nbytes);

/* pacer_end_cycle - what the cycle that ends was like. live_nbytes includes what was born in it. */
struct pacer_cycle {
	uint64_t heap_nbytes, live_nbytes, scan_nbytes, roots_nbytes;
	uint64_t gc_ns, mutator_ns; /* processor time between start and end; gc: assists included */
};
void pacer_end_cycle(struct pacer *p, const struct pacer_cycle *c);

/* pacer_drop_cycle - the one that runs will not end. */
void pacer_drop_cycle(struct pacer *p);

/* pacer_limit_cpu - so much processor time went by since the last call, inside cycles and outside. */
void pacer_limit_cpu(struct pacer *p, uint32_t nprocs, uint64_t gc_ns, uint64_t mutator_ns);

#endif
