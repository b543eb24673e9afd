/* longstop.h - are the stops of a program without a barrier long enough to be felt, and do cycles beside it
 * make them shorter? Arithmetic only: no lock, no clock, no memory.
 * WHAT   A whole cycle that stops the world tells how long marking takes; so what the next one would take is
 *        known, also of a heap that grows: all that is allocated until then may live. From 6 ms on the cycles
 *        run beside the program; below three quarters of that they stop it again. Where the program keeps all
 *        processors busy by itself it is 10 ms: a cycle beside it takes from it what the stop would, and as
 *        much again. When the last stops of three of them in turn were about as long as that of a whole
 *        one, for the program writes everywhere at once, eight cycles stop it, and then it is tried again.
 *        A crowd is always stopped: more than two threads for each processor, that keep three quarters of them busy, or
 *        filled the heap past its bar (pacer_bar) beside the last cycle, for others have a part of the processors. Each
 *        of them waits for its turn longer than for a stop; a cycle beside them takes as many turns as it has marking
 *        to do, while they fill the heap.
 * WHO    tracking.c.
 * UNITS  processor time in ns: on a busy machine every stop is long.   FROM docs/adr/0043. */
#ifndef MGC_GC_LONGSTOP_H
#define MGC_GC_LONGSTOP_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>

#define LONGSTOP_FROM_NS UINT64_C(6000000)
#define LONGSTOP_BUSY_FROM_NS UINT64_C(10000000)
#define LONGSTOP_MOST_FAILED 3
#define LONGSTOP_PLAIN_CYCLES 8
#define LONGSTOP_CROWD 2 /* threads for each processor */

struct longstop {
	uint64_t stop_ns, stop_live; /* of the last whole cycle that stopped the world: how long, for what */
	uint32_t nfailed; /* cycles beside the program, in turn, that did not help */
	uint32_t nplain; /* so many more stop it, before another one is tried */
	bool busy; /* so is every processor, by the program itself */
	bool crowd;
	uint32_t nbehind; /* so many more cycles count as in a crowd: one beside it fell behind */
	bool felt; /* the next one should run beside it */
};

/* longstop_whole - a whole cycle stopped the world for ns and found so much alive. The next one may find all of
 * goal_nbytes alive, if the heap found so much more than the last one did that it seems to grow. */
void longstop_whole(struct longstop *l, uint64_t ns, uint64_t live_nbytes, uint64_t goal_nbytes);
/* longstop_beside - a cycle ran beside the program, and its longest stop took ns. */
void longstop_beside(struct longstop *l, uint64_t ns, uint64_t live_nbytes);

/* longstop_program - what the program did since the last cycle, the time aside in which it was stopped: wall time, its
 * processor time (the collector's not among it), its threads; passed_bar: beside the cycle that ended now. */
struct longstop_program {
	uint64_t wall_ns, cpu_ns;
	uint32_t nthreads, nprocs;
	bool passed_bar;
};
void longstop_program(struct longstop *l, const struct longstop_program *p);

#endif
