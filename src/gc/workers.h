/* workers.h - the threads that mark together with the one that collects.
 * STATE  started at the first collection that is worth it; then asleep on `round`.
 * INV    K1 a worker touches the heap only between a change of `round` and its own report
 * LOCKS  none; WORLD's holder is the only caller. */
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
};

struct workers {
	uint32_t round;   /* atomic, futex */
	uint32_t nbusy;   /* atomic, futex: have not reported yet */
	uint32_t nwanted; /* of this round: those with a smaller index take part */
	uint32_t nstarted;
	uint32_t limit; /* most that are ever started; 0: none */
	struct worker *worker;
};

/* workers_begin - sets up to n workers (fewer when threads are refused) to drain; returns how many take
 * part. init prepares a worker's marker. */
uint32_t workers_prepare(struct workers *w, uint32_t n);
void workers_begin(struct workers *w, uint32_t n, struct heap *h, struct grey_pool *pool,
		   bool ignore_invalid);
/* workers_end - waits until all have reported; adds what they marked to *mk. */
void workers_end(struct workers *w, uint32_t n, struct marker *mk);
/* workers_after_fork - in the child: they are gone. */
void workers_after_fork(struct workers *w);

#endif
