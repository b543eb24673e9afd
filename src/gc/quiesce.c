/* quiesce.c - see quiesce.h. */
#include "gc/quiesce.h"

#include <errno.h>

#include "base/usdt.h"
#include "os/os.h"

#define SPINS 200
#define ASK_AGAIN 1000
/* REGISTRY is nobody's for so long while somebody is late: who sleeps for it is never handed it (lock.h: L2), and must
 * have the time to wake. */
#define LET_OTHERS_NS UINT64_C(200000)

static void pause_or_yield(unsigned spins)
{
	if (spins < SPINS)
		cpu_relax();
	else
		os_yield();
}

/* fence - one mutator, where there is no membarrier: its handler does it, or its next safepoint. A BLOCKED
 * thread passed a fence when it changed its status, and passes one before it touches anything. False: it is
 * late. */
static bool fence(struct stw *stw, struct mutator *m, uint32_t number)
{
	for (unsigned spins = 0; spins < ASK_AGAIN; spins++) {
		if (load_acquire(&m->fenced) == number || /* pairs: fenced */
		    load_acquire(&m->quiet) == number || /* pairs: quiet */
		    load_acquire(&m->status) != MUTATOR_RUNNING) /* pairs: mutator-status */
			return true;
		if (m->fence_asked != number || (stw->poll && spins == 0)) {
			int err = stw_interrupt(stw, m);
			if (err == ESRCH)
				return true;
			if (err == 0) /* else too many signals are queued */
				m->fence_asked = number;
		}
		pause_or_yield(spins);
	}
	return false;
}

/* wait_outside - `sec` is seen 0, or m says that it was: one whose sections follow each other closely (a
 * long mgc_move) is hardly ever seen between two. */
static void wait_outside(struct mutator *m, uint32_t number)
{
	for (unsigned spins = 0; load_acquire(&m->sec) != 0 && !m->gone; spins++) { /* pairs: quiesce */
		if (load_acquire(&m->quiet) == number) /* pairs: quiet */
			return;
		if (spins == SPINS)
			store_relaxed(&m->pending, 1u);
		pause_or_yield(spins);
	}
}

/* pass_all - one after the other; who is late, or NULL. */
static struct mutator *pass_all(struct stw *stw, struct mutator *self, uint32_t number, bool fenced)
{
	LIST_EACH(it, &stw->heap->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		if (m == self)
			continue;
		if (!fenced && !fence(stw, m, number))
			return m;
		wait_outside(m, number);
	}
	return NULL;
}

void quiesce(struct stw *stw, struct mutator *self)
{
	uint64_t begin = os_now_ns();
	bool fenced = !stw->no_membarrier && os_membarrier(), explained = false;
	struct mutator *late;
	lock_acquire(&stw->heap->registry_lock);
	uint32_t number = stw->fence + 1;
	store_seq(&stw->fence, number); /* pairs: fenced, quiet */
	while ((late = pass_all(stw, self, number, fenced)) != NULL) {
		if (!explained && os_now_ns() - begin > STW_LATE_NS) {
			stw_explain_late(stw, late);
			explained = true;
		}
		lock_release(&stw->heap->registry_lock); /* Q2 */
		os_sleep_ns(LET_OTHERS_NS);
		lock_acquire(&stw->heap->registry_lock);
	}
	lock_release(&stw->heap->registry_lock);
	uint64_t ns = os_now_ns() - begin;
	histogram_add(&stw->handshakes, ns);
	MGC_PROBE(gc__handshake, ns, number);
}
