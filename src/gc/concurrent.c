/* concurrent.c - a cycle beside the program: the phases of barrier.h, one after the other.
 *
 * WHAT   ARM, the roots, mark and its end, what hangs on dead objects, flip. Nobody stands still, unless
 *        there are roots that are written to without a barrier: then for as long as it takes to copy
 *        them and the stacks.
 * INV    the D's of barrier.h
 * LOCKS  ROOTS and REGISTRY while roots are taken; SPECIAL is never held across a quiescence: whoever
 *        waits for it may be inside a section. */
#include "base/bits.h"
#include "base/check.h"
#include "gc/barrier.h"
#include "gc/checkmark.h"
#include "gc/cycle_form.h"
#include "gc/quiesce.h"
#include "gc/snapshot.h"
#include "os/os.h"

static void q(struct cycle *c)
{
	quiesce(&c->gc->stw, c->self);
}

/* ── before the mark ────────────────────────────────────────────────────────────────────── */

static void verify(struct cycle *c)
{
	stw_stop(&c->gc->stw, c->self);
	cycle_verify(c);
	(void)stw_start(&c->gc->stw, c->self);
}

/* check_stopped - the stop before the mark, or, with the marker, the one after it. */
static void check_stopped(struct cycle *c, struct marker *mk)
{
	stw_stop(&c->gc->stw, c->self);
	if (mk == NULL)
		checkmark_begin(c->gc);
	else
		checkmark_end(c->gc, mk);
	(void)stw_start(&c->gc->stw, c->self);
}

static void check_unmarked(void *arg, struct span *s)
{
	const struct space *sp = arg;
	if (span_is_unmarked(sp, s))
		return;
	fence_seq(); /* pairs: mark-in-place */
	if (load_relaxed(&s->overflow) == 0) /* else a mutator that shades already had no memory for a buffer */
		mgc_fatal("span %p has marks when a cycle begins (D6)", (void *)s->base);
}

static void arm(struct cycle *c)
{
	struct heap *h = c->gc->heap;
	cycle_sweep_cached(h);
	if (c->gc->knobs.verify)
		verify(c);
	cycle_set_phase(c, PHASE_ARM);
	q(c); /* nobody stores unshaded any more */
	q(c); /* and nobody overwrites what was stored so, having read the slot before */
	if (MGC_HOSTILE || c->gc->knobs.verify)
		pageheap_each(&h->pageheap, check_unmarked, &h->pageheap.space);
	if (c->gc->knobs.gccheckmark)
		check_stopped(c, NULL);
}

/* take_own - the snapshot of the mutator that runs the cycle. */
static void take_own(struct cycle *c, bool tls)
{
	if (c->self == NULL)
		return;
	c->self->sp = c->sp;
	c->self->nregs = 0;
	snapshot_take(c->gc, c->self, tls);
}

static void take_shared(struct cycle *c, bool unbarriered)
{
	struct gc *gc = c->gc;
	uintptr_t buffer[SINK_WORDS];
	struct sink out;
	sink_to_pool(&out, gc->heap, &gc->pool, buffer, SINK_WORDS);
	stacks_read_parked(&gc->roots, &out, heap_sweepgen(gc->heap));
	add_relaxed(&gc->roots.stack_nbytes, out.read_nbytes);
	if (unbarriered)
		roots_read_unbarriered(&gc->roots, &out);
	gc->roots.scanned_nbytes += out.read_nbytes;
	sink_close(&out);
}

/* check_taken - D10. REGISTRY is held. */
static void check_taken(const struct heap *h)
{
	LIST_EACH(it, &h->mutators) {
		const struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		MGC_CHECK(load_relaxed(&m->taken) == heap_sweepgen(h));
	}
}

static void take_roots_running(struct cycle *c)
{
	struct gc *gc = c->gc;
	lock_acquire(&gc->heap->registry_lock);
	cycle_set_phase(c, PHASE_ROOTS);
	take_own(c, false);
	snapshot_collect(gc, c->self);
	take_shared(c, false);
	if (MGC_HOSTILE)
		check_taken(gc->heap);
	cycle_set_phase(c, PHASE_MARK);
	lock_release(&gc->heap->registry_lock);
}

static void take_roots_stopped(struct cycle *c)
{
	struct gc *gc = c->gc;
	uint64_t begin = os_now_ns();
	stw_stop(&gc->stw, c->self);
	c->rec.stopping_ns = os_now_ns() - begin;
	cycle_set_phase(c, PHASE_ROOTS);
	take_own(c, true);
	LIST_EACH(it, &gc->heap->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		if (m != c->self)
			snapshot_take(gc, m, true);
	}
	take_shared(c, true);
	if (MGC_HOSTILE)
		check_taken(gc->heap);
	cycle_set_phase(c, PHASE_MARK);
	c->rec.pause_ns = stw_start(&gc->stw, c->self) - begin;
}

static void take_roots(struct cycle *c)
{
	struct gc *gc = c->gc;
	gc->unborn_nbytes = gc->snapshot_max_ns = gc->nsignals = 0;
	gc->roots.stack_nbytes = gc->roots.scanned_nbytes = 0;
	grey_reserve(&gc->pool, heap_live(gc->heap) / GREY_KEEP_PART);
	lock_acquire(&gc->roots.lock);
	if (roots_have_unbarriered(&gc->roots) || gc->knobs.stoproots)
		take_roots_stopped(c);
	else
		take_roots_running(c);
	lock_release(&gc->roots.lock);
	c->rec.snapshot_max_ns = c->rec.pause_ns == 0 ? gc->snapshot_max_ns : 0;
	c->rec.nsignals = gc->nsignals;
}

/* ── mark ───────────────────────────────────────────────────────────────────────────────── */

static void mark_roots(struct cycle *c)
{
	struct gc *gc = c->gc;
	lock_acquire(&gc->roots.lock);
	roots_ask_face(&gc->roots, &c->mk);
	roots_mark_barriered(&gc->roots, &c->mk);
	lock_release(&gc->roots.lock);
	specials_mark_roots(&gc->specials, &c->mk);
}

/* found_more - marks what the buffers hold, and all that hangs on it; false: nothing of it was white, nor
 * did a mutator mark anything itself for want of memory: a pair may hang on that. */
static bool found_more(struct cycle *c, struct grey_block *buffers)
{
	uint64_t before = c->mk.marked_objects;
	bool overflowed = load_acquire(&c->gc->pool.overflow) != 0; /* pairs: grey-overflow */
	marker_feed(&c->mk, buffers);
	marker_drain_alone(&c->mk);
	return overflowed || c->mk.marked_objects != before;
}

/* terminated - the phase is CLOSED and nothing is grey; false: it is MARK again. */
static bool terminated(struct cycle *c)
{
	struct heap *h = c->gc->heap;
	uint32_t gen = heap_sweepgen(h);
	uint64_t term = phase_gen_make(PHASE_TERM, gen), closed = phase_gen_make(PHASE_CLOSED, gen);
	cycle_set_phase(c, PHASE_TERM);
	struct grey_block *buffers = barrier_take_buffers(h);
	q(c);
	if (found_more(c, buffers) || !cas_seq(&h->phase_gen, &term, closed)) { /* pairs: phase */
		cycle_set_phase(c, PHASE_MARK);
		return false;
	}
	q(c); /* who was shading when it closed has done so */
	buffers = barrier_take_buffers(h);
	q(c); /* and does not write into these any more */
	if (found_more(c, buffers)) {
		cycle_set_phase(c, PHASE_MARK);
		return false;
	}
	return true;
}

void cycle_mark_with(struct cycle *c, uint32_t nhelpers, void (*feed)(struct cycle *c))
{
	struct gc *gc = c->gc;
	uint32_t nmarkers = 1;
	grey_start(&gc->pool);
	workers_begin(&gc->workers, nhelpers, gc->heap, &gc->pool, gc->knobs.invalidptr == 0);
	feed(c);
	marker_drain(&c->mk);
	workers_end(&gc->workers); /* before the mark may be opened again */
	workers_count(&gc->workers, nhelpers, &c->mk, &nmarkers);
	c->rec.nworkers = nmarkers > c->rec.nworkers ? nmarkers : c->rec.nworkers;
	c->helpers_ns += workers_cpu_ns(&gc->workers, nhelpers);
	cycle_drain(&c->mk);
}

static void mark(struct cycle *c)
{
	cycle_init_marker(c);
	cycle_mark_with(c, c->nhelpers, mark_roots);
	while (!terminated(c)) {
		grey_start(&c->gc->pool); /* for assists */
		marker_drain(&c->mk);
		cycle_drain(&c->mk);
	}
	if (c->gc->knobs.gccheckmark)
		check_stopped(c, &c->mk);
}

/* ── after the mark ─────────────────────────────────────────────────────────────────────── */

/* unmark_freed - objects that the program freed meanwhile die in the coming sweep. */
static void unmark_freed(struct cycle *c)
{
	struct gc *gc = c->gc;
	struct grey_block *b = barrier_take_freed(gc->heap);
	q(c);
	while (b != NULL) {
		struct grey_block *next = b->next;
		for (uint32_t i = 0; i < b->n; i++)
			c->rec.freed_nbytes += barrier_unmark_freed(gc->heap, b->object[i]);
		grey_put_empty(&gc->pool, b);
		b = next;
	}
}

static void discard_buffers(struct cycle *c)
{
	struct gc *gc = c->gc;
	struct grey_block *b = barrier_take_buffers(gc->heap), *next;
	for (; b != NULL; b = next) {
		next = b->next;
		grey_put_empty(&gc->pool, b);
	}
	while ((b = grey_take_full(&gc->pool)) != NULL)
		grey_put_empty(&gc->pool, b);
}

/* cycle_flip - nobody takes a run or frees from here on, until the cycle is OFF. */
void cycle_flip(struct cycle *c)
{
	unmark_freed(c); /* most of them, before anybody has to wait */
	cycle_set_phase(c, PHASE_FLIP);
	q(c);
	unmark_freed(c);
	discard_buffers(c);
}

/* account - `before` is what was counted as live when the last snapshot was taken: what came after was
 * born black. */
void cycle_account(struct cycle *c, uint64_t before)
{
	struct gc *gc = c->gc;
	struct heap *h = gc->heap;
	struct cycle_record *r = &c->rec;
	uint64_t marked =
		c->mk.marked_nbytes + load_relaxed(&gc->collector.assist_nbytes) + gc->unborn_nbytes;
	if (r->young) /* what was marked before, too */
		marked = c->live_nbytes;
	uint64_t now = heap_live(h);
	r->heap_before = before;
	r->heap_live = marked > r->freed_nbytes ? marked - r->freed_nbytes : 0;
	r->born_nbytes = now - before;
	r->marked_objects =
		r->young ? c->live_objects
			 : c->mk.marked_objects + load_relaxed(&gc->collector.assist_objects);
	r->nmutators = load_relaxed(&gc->heap->nmutators);
	r->assist_ns = load_relaxed(&gc->collector.assist_ns);
	if (before > r->heap_live)
		sub_relaxed(&h->live_nbytes, before - r->heap_live);
	else
		add_relaxed(&h->live_nbytes, r->heap_live - before);
}

static void barriered_phases(struct cycle *c)
{
	struct gc *gc = c->gc;
	arm(c);
	collector_begin(gc); /* not before ARM: who finds the heap at its trigger in OFF asks for a cycle */
	take_roots(c);
	uint64_t before = heap_live(gc->heap), mark_begin = os_now_ns();
	mark(c);
	c->rec.mark_ns = os_now_ns() - mark_begin;
	cycle_set_phase(c, PHASE_CLEAR);
	cycle_clear(c);
	cycle_flip(c);
	cycle_account(c, before);
}

void concurrent_cycle(struct cycle *c)
{
	struct gc *gc = c->gc;
	uint64_t begin = os_now_ns(), cpu_begin = os_thread_cpu_ns(), all_begin = os_cpu_ns();
	if (!gc->barriered)
		tracking_phases(c);
	else
		barriered_phases(c);
	c->rec.cpu_ns = os_thread_cpu_ns() - cpu_begin + c->helpers_ns + c->rec.assist_ns;
	uint64_t all = os_cpu_ns() - all_begin;
	c->rec.mutator_ns = all > c->rec.cpu_ns ? all - c->rec.cpu_ns : 0;
	cycle_settle(c);
	cycle_start_sweep(gc->heap);
	if (!gc->barriered)
		tracking_disarm(c);
	c->rec.cycle_ns = os_now_ns() - begin;
}
