/* snapshot.c - see snapshot.h. */
#include "gc/snapshot.h"

#include <errno.h>
#include <string.h>

#include "base/annotate.h"
#include "base/check.h"
#include "base/usdt.h"
#include "gc/barrier.h"
#include "os/os.h"

/* Words of buffer for want of memory; small, for the handler may run on a small stack. */
#define OWN_WORDS 32

/* note_duration - of its processor time: who shares a processor would have lost the rest anyway. */
static void note_duration(struct gc *gc, struct mutator *m, uint64_t ns)
{
	m->snapshot_ns = ns;
	max_relaxed(&gc->snapshot_max_ns, ns);
	histogram_add(&gc->snapshots, ns);
	MGC_PROBE(gc__snapshot, ns, m->tid);
}

void snapshot_take(struct gc *gc, struct mutator *m, bool tls)
{
	bool itself = m == mutator_self(); /* else it takes none of its time */
	MGC_ASSERTION(itself || m->gone || load_relaxed(&gc->stw.stopping) != 0 ||
		      load_relaxed(&m->status) == MUTATOR_CLAIMED); /* gc/barrier.h: D8 */
	uint64_t begin = itself ? os_thread_cpu_ns() : 0;
	annotate_quiet(true);
	uint32_t gen = heap_sweepgen(gc->heap);
	uintptr_t own[OWN_WORDS];
	struct sink out;
	sink_to_pool(&out, gc->heap, &gc->pool, own, OWN_WORDS);
	add_relaxed(&gc->unborn_nbytes, stacks_mark_unborn(m)); /* N1 */
	stacks_read_mutator(&gc->roots, &out, m, gen);
	if (tls)
		roots_read_tls(&gc->roots, &out, m);
	sink_close(&out);
	memset(own, 0, sizeof own); /* or they would stay on this stack, for the next cycle to find */
	MGC_KEEP(own);
	annotate_quiet(false);
	add_relaxed(&gc->roots.stack_nbytes, out.read_nbytes);
	if (itself)
		note_duration(gc, m, os_thread_cpu_ns() - begin);
	MGC_ASSERTION(load_relaxed(&m->taken) != gen && heap_phase(gc->heap) == PHASE_ROOTS); /* N5 */
	store_release(&m->taken, gen); /* pairs: taken */
}

/* ── the collector's side ───────────────────────────────────────────────────────────────── */

/* take_blocked - on behalf of a thread that waits in the system; false: it came back first. */
static bool take_blocked(struct gc *gc, struct mutator *m)
{
	uint32_t status = MUTATOR_BLOCKED;
	if (!cas_acq_rel(&m->status, &status, (uint32_t)MUTATOR_CLAIMED)) /* pairs: mutator-status */
		return false;
	if (load_relaxed(&m->taken) != heap_sweepgen(gc->heap))
		snapshot_take(gc, m, false);
	status = MUTATOR_CLAIMED;
	bool kept = cas_acq_rel(&m->status, &status, (uint32_t)MUTATOR_BLOCKED); /* pairs: mutator-status */
	MGC_ASSERTION(kept); /* gc/barrier.h: D8 */
	return true;
}

/* ask - true: the mutator's snapshot is there. */
static bool ask(void *arg, struct mutator *m)
{
	struct gc *gc = arg;
	uint32_t gen = heap_sweepgen(gc->heap);
	if (load_acquire(&m->taken) == gen) /* pairs: taken */
		return true;
	if (load_acquire(&m->status) == MUTATOR_BLOCKED) /* pairs: mutator-status */
		return take_blocked(gc, m);
	if (m->asked != gen || gc->stw.poll) {
		int err = stw_interrupt(&gc->stw, m);
		if (err == ESRCH) { /* ended without telling */
			m->gone = 1;
			snapshot_take(gc, m, false);
			return true;
		}
		if (err == 0) {
			gc->nsignals += m->asked != gen && !gc->stw.poll;
			m->asked = gen;
		}
	}
	return false;
}

void snapshot_collect(struct gc *gc, struct mutator *self)
{
	stw_ask_all(&gc->stw, self, ask, gc, true);
}

/* ── a newcomer ─────────────────────────────────────────────────────────────────────────── */

struct newcomer {
	struct gc *gc;
	struct mutator *m;
};

static MGC_NO_SANITIZE void shade_stack(void *arg)
{
	struct newcomer *n = arg;
	const volatile uintptr_t *w = (const volatile uintptr_t *)__builtin_frame_address(0);
	for (; (uintptr_t)w < n->m->stack_hi; w++)
		barrier_shade(n->m, *w);
}

void snapshot_newcomer(struct gc *gc, struct mutator *m)
{
	uint64_t pg = heap_phase_gen(gc->heap);
	struct newcomer n = { gc, m };
	MGC_CHECK(phase_gen_phase(pg) != PHASE_FLIP);
	if (phase_gen_phase(pg) == PHASE_ROOTS)
		store_relaxed(&m->pending, 1u); /* N3: it takes its own when this section ends */
	if (phase_gen_phase(pg) <= PHASE_ROOTS)
		return; /* no cycle, or it is asked like the others */
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
	if (sp >= m->stack_lo && sp < m->stack_hi) { /* else on a coroutine's, which others know */
		annotate_quiet(true);
		regs_call(shade_stack, &n);
		annotate_quiet(false);
	}
	store_release(&m->taken, phase_gen_sweepgen(pg)); /* pairs: taken */
}
