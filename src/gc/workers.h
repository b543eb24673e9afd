/* workers.h - the threads that mark together with the one that collects.
 * STATE  started at the first collection that is worth it; then asleep on `round`.
 *        In a round a worker joins the mark if it is still open, or passes.
 * INV    K1 a worker touches the heap only between joining and its own report
 *        K2 nobody waits for a worker while the world is stopped, except for what it marks
 * LOCKS  none; WORLD's holder is the only caller, but of workers_beside: what that reads is set at the start. */
#ifndef MGC_GC_WORKERS_H
#define MGC_GC_WORKERS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdint.h>

#include "gc/mark.h"

#define MAX_WORKERS 64

struct workers;

struct worker {
	struct workers *all;
	struct marker mk;
	unsigned index;
	uint32_t born; /* the last round before it was started */
	bool joined; /* this round */
	uint64_t cpu_ns; /* that it took for the round */
};

struct workers {
	uint32_t round;   /* atomic, futex */
	uint32_t nbusy;   /* atomic, futex: have not reported yet */
	uint32_t nwanted; /* of this round: those with a smaller index take part */
	uint32_t nstarted;
	uint32_t limit; /* most that are ever started; 0: none */
	struct worker *worker;
};

/* workers_beside - so many mark beside the program: with who collects they are a quarter of the processors. */
MGC_INLINE uint32_t workers_beside(const struct workers *w)
{
	return w->limit / 4;
}

/* workers_start - starts threads until there are n, or as many as may be; WORLD held, no lock of the loader's. workers_prepare -
 * how many of n there are (fewer when threads are refused). */
void workers_start(struct workers *w, uint32_t n);
uint32_t workers_prepare(const struct workers *w, uint32_t n);
/* workers_begin - wakes n of them to take part in a mark that is open. */
void workers_begin(struct workers *w, uint32_t n, struct heap *h, struct grey_pool *pool,
		   bool ignore_invalid);
/* workers_count - adds what they marked to *mk, and to *joined how many did; the mark is over. */
void workers_count(struct workers *w, uint32_t n, struct marker *mk, uint32_t *joined);
/* workers_cpu_ns - processor time of n of them in the round that has ended. */
uint64_t workers_cpu_ns(const struct workers *w, uint32_t n);
/* workers_end - waits until all have reported: their blocks are back in the pool. */
void workers_end(struct workers *w);
/* workers_after_fork - in the child: they are gone. */
void workers_after_fork(struct workers *w);

#endif
