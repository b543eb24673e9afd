/* workers.c - see workers.h. */
#include "gc/workers.h"

#include "base/annotate.h"
#include "base/check.h"
#include "heap/mutator.h"
#include "os/os.h"

static void drain(struct worker *me)
{
	uint64_t begin = os_thread_cpu_ns();
	annotate_quiet(true);
	me->joined = true;
	marker_drain(&me->mk);
	marker_finish(&me->mk);
	annotate_quiet(false);
	me->cpu_ns = os_thread_cpu_ns() - begin;
}

static void run(void *arg)
{
	struct worker *me = arg;
	struct workers *w = me->all;
	uint32_t seen = me->born;
	mutator_tls = &mutator_collector;
	for (;;) {
		uint32_t round = load_acquire(&w->round); /* pairs: worker-round */
		if (round == seen) {
			os_wait(&w->round, seen, 0);
			continue;
		}
		seen = round;
		if (me->index >= load_relaxed(&w->nwanted))
			continue;
		if (grey_join(me->mk.pool))
			drain(me);
		if (sub_acq_rel(&w->nbusy, 1u) == 1) /* pairs: worker-done */
			os_wake(&w->nbusy, 1);
	}
}

static bool start_one(struct workers *w)
{
	struct worker *fresh = &w->worker[w->nstarted];
	fresh->all = w;
	fresh->index = w->nstarted;
	fresh->born = load_relaxed(&w->round); /* no round is on now: it waits for the next one */
	if (os_spawn(run, fresh, "mgc-mark") != 0)
		return false;
	w->nstarted++;
	return true;
}

void workers_start(struct workers *w, uint32_t n)
{
	if (n > w->limit)
		n = w->limit;
	if (n > 0 && w->worker == NULL)
		w->worker = (struct worker *)os_alloc(MAX_WORKERS * sizeof *w->worker);
	if (w->worker == NULL)
		return;
	while (w->nstarted < n && start_one(w))
		;
}

uint32_t workers_prepare(const struct workers *w, uint32_t n)
{
	return w->nstarted < n ? w->nstarted : n;
}

void workers_begin(struct workers *w, uint32_t n, struct heap *h, struct grey_pool *pool,
		   bool ignore_invalid)
{
	if (n == 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		marker_init(&w->worker[i].mk, h, pool, ignore_invalid);
		w->worker[i].joined = false;
		w->worker[i].cpu_ns = 0;
	}
	store_relaxed(&w->nwanted, n);
	store_relaxed(&w->nbusy, n);
	add_acq_rel(&w->round, 1u); /* pairs: worker-round */
	os_wake(&w->round, UINT32_MAX);
}

/* What a worker wrote before it went idle is seen by who closed the mark (work.c: mark-idle). */
void workers_count(struct workers *w, uint32_t n, struct marker *mk, uint32_t *joined)
{
	for (uint32_t i = 0; i < n; i++) {
		*joined += w->worker[i].joined;
		mk->marked_nbytes += w->worker[i].mk.marked_nbytes;
		mk->marked_objects += w->worker[i].mk.marked_objects;
	}
}

uint64_t workers_cpu_ns(const struct workers *w, uint32_t n)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < n; i++)
		sum += w->worker[i].cpu_ns;
	return sum;
}

void workers_end(struct workers *w)
{
	uint32_t busy;
	while ((busy = load_acquire(&w->nbusy)) != 0) /* pairs: worker-done */
		os_wait(&w->nbusy, busy, 0);
}

void workers_after_fork(struct workers *w)
{
	w->nstarted = 0;
	w->round = 0;
	w->nbusy = 0;
}
