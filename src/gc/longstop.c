/* longstop.c - see longstop.h. */
#include "gc/longstop.h"

/* expected - how long a whole cycle would stop the world that finds so much alive. */
static uint64_t expected(const struct longstop *l, uint64_t live_nbytes)
{
	if (l->stop_live == 0)
		return 0;
	return (uint64_t)((double)l->stop_ns * (double)live_nbytes / (double)l->stop_live);
}

/* from_ns - a stop of that length is a long one. */
static uint64_t from_ns(const struct longstop *l)
{
	return l->busy ? LONGSTOP_BUSY_FROM_NS : LONGSTOP_FROM_NS;
}

void longstop_whole(struct longstop *l, uint64_t ns, uint64_t live_nbytes, uint64_t goal_nbytes)
{
	bool grows = l->stop_live != 0 && live_nbytes > l->stop_live + l->stop_live / 4;
	l->stop_ns = ns;
	l->stop_live = live_nbytes;
	l->nplain -= l->nplain > 0;
	uint64_t most = goal_nbytes / 2 < live_nbytes ? goal_nbytes : 2 * live_nbytes;
	uint64_t next = grows ? expected(l, most) : ns;
	l->felt = l->nplain == 0 && next >= from_ns(l);
}

void longstop_beside(struct longstop *l, uint64_t ns, uint64_t live_nbytes)
{
	uint64_t whole = expected(l, live_nbytes);
	l->nfailed = ns < whole / 4 * 3 ? 0 : l->nfailed + 1;
	if (l->nfailed == LONGSTOP_MOST_FAILED) {
		l->nfailed = 0;
		l->nplain = LONGSTOP_PLAIN_CYCLES;
	}
	l->felt = l->nplain == 0 && whole >= from_ns(l) / 4 * 3;
}

void longstop_program(struct longstop *l, const struct longstop_program *p)
{
	bool many = p->nthreads > LONGSTOP_CROWD * p->nprocs;
	l->nbehind = many && p->passed_bar ? LONGSTOP_PLAIN_CYCLES : l->nbehind - (l->nbehind > 0);
	l->crowd = many && (p->cpu_ns * 4 > p->wall_ns * p->nprocs * 3 || l->nbehind > 0);
	/* a cycle beside the program would have had half a processor less than a whole one */
	l->busy = p->cpu_ns * 2 > p->wall_ns * (2 * p->nprocs - 1);
}
