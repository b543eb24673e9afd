/* collector.h - the thread that runs cycles beside the program, and the mutators' share of the work.
 *
 * STATE  word: counts requests; the thread sleeps on it.
 * LOCKS  none; a cycle takes WORLD. */
#ifndef MGC_GC_COLLECTOR_H
#define MGC_GC_COLLECTOR_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>

struct gc;
struct mutator;

struct collector {
	uint32_t word; /* atomic, futex */
	uint32_t started; /* atomic */
	uint32_t wanted; /* atomic: a request that no cycle has answered yet */
	uint64_t assist_objects, assist_nbytes; /* atomic: marked by assists in this cycle */
	uint64_t assist_ns; /* atomic */
	uint32_t brake; /* atomic: the last stop is near; who comes for memory is held as if the heap had passed its goal */
	uint64_t limited_cpu_ns; /* processor time of the process when the limiter last looked */
	uint32_t pacing; /* atomic, as a spin lock: the pacer is looked at, or changed */
	uint64_t owed; /* atomic: what OWED_UNIT allocated bytes owe now */
	uint64_t most_nbytes; /* the work, if nothing has died */
	uint64_t paid_nbytes; /* atomic: of the background's marking, what debts were paid with */
};

/* collector_request - a cycle is due; returns at once. False: no thread can be had. */
bool collector_request(struct gc *gc);

/* collector_begin - a cycle begins: counters to zero, a request is answered. */
void collector_begin(struct gc *gc);
/* collector_end - it is over: the pacer learns what it was like. */
struct pacer_cycle;
void collector_end(struct gc *gc, const struct pacer_cycle *c);
/* collector_drop - it is over, and was not one to learn from. */
void collector_drop(struct gc *gc);

/* collector_limit - a cycle took gc_ns of the processor time since the last one: has collection had its half?
 * WORLD is held. */
void collector_limit(struct gc *gc, uint64_t gc_ns);

/* collector_debit - the mutator is about to allocate nbytes while a cycle runs: it marks what they owe,
 * unless the background has done as much. */
void collector_debit(struct gc *gc, struct mutator *m, uint64_t nbytes);

/* collector_brake - until the cycle's end, or not any more: what allocates shall write less for a moment. */
void collector_brake(struct gc *gc, bool on);

/* collector_after_fork - in the child: the thread is gone. */
void collector_after_fork(struct gc *gc);

#endif
