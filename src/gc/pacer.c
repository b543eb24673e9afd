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

static uint64_t percent_goal(const struct pacer *p)
{
	if (p->percent < 0)
		return UINT64_MAX;
	uint64_t extra = p->extra_nbytes < p->live_nbytes ? p->extra_nbytes : p->live_nbytes;
	uint64_t grow = sum(share_of(sum(p->live_nbytes, p->roots_nbytes), p->percent), extra);
	uint64_t goal = sum(p->live_nbytes, grow), least = share_of(p->min_nbytes, p->percent);
	return goal > least ? goal : least;
}

static uint64_t limit_goal(const struct pacer *p)
{
	if (p->limit_nbytes == UINT64_MAX)
		return UINT64_MAX;
	uint64_t room = p->limit_nbytes > p->slack_nbytes ? p->limit_nbytes - p->slack_nbytes : 0;
	uint64_t least = sum(p->live_nbytes, share_of(p->live_nbytes, LIMIT_MIN_GROWTH_PCT));
	room -= room / 32; /* collect a little before the page heap refuses */
	return room > least ? room : least;
}

uint64_t pacer_goal(const struct pacer *p)
{
	uint64_t by_percent = percent_goal(p), by_limit = limit_goal(p);
	return by_percent < by_limit ? by_percent : by_limit;
}

uint64_t pacer_trigger(const struct pacer *p)
{
	uint64_t goal = pacer_goal(p);
	if (goal == UINT64_MAX || goal <= p->live_nbytes)
		return goal;
	uint64_t room = goal - p->live_nbytes, runway = p->born_nbytes + p->born_nbytes / 4;
	if (runway < room / 20)
		runway = room / 20;
	if (runway > room / 5 * 3)
		runway = room / 5 * 3;
	return goal - runway;
}
