/* stopping.c - a cycle with the world stopped from roots to the end of the mark, and often to the flip: for programs whose stores
 * have no barrier. Some are young ones (young.h).
 *
 * STATE  heap.phase_gen: OFF → MARK → CLEAR → OFF with sweepgen + 2; the other phases of the protocol
 *        (barrier.h) are passed without being published, for nobody runs to see them. But where CLEAR is left for after the
 *        stop (clearing.c) FLIP follows it.
 * INV    Z1 nothing is freed, and no layout or page state changes, from the stop to the start, or then to FLIP
 * LOCKS  ROOTS, and REGISTRY while the world is stopped. */
#include "base/bits.h"
#include "base/check.h"
#include "gc/checkmark.h"
#include "gc/cycle_form.h"
#include "gc/young.h"
#include "os/os.h"

/* mark_unborn - slots that mutators have in hand are theirs. */
static void mark_unborn(struct cycle *c)
{
	LIST_EACH(it, &c->gc->heap->mutators)
		c->mk.marked_nbytes += stacks_mark_unborn(LIST_ENTRY(it, struct mutator, node));
}

static void mark_mutators(struct cycle *c)
{
	struct gc *gc = c->gc;
	uint32_t gen = heap_sweepgen(gc->heap);
	uintptr_t buffer[SINK_WORDS];
	struct sink out;
	sink_to_marker(&out, &c->mk, load_relaxed(&gc->roots.end_nbytes), buffer, SINK_WORDS);
	LIST_EACH(it, &gc->heap->mutators) {
		stacks_read_mutator(&gc->roots, &out, LIST_ENTRY(it, struct mutator, node), gen);
	}
	stacks_read_parked(&gc->roots, &out, gen);
	sink_close(&out);
	gc->roots.stack_nbytes = out.read_nbytes;
}

void cycle_mark_roots(struct cycle *c)
{
	struct gc *gc = c->gc;
	uintptr_t buffer[SINK_WORDS];
	struct sink out;
	if (c->self != NULL) {
		c->self->sp = c->sp;
		c->self->nregs = 0;
	}
	roots_ask_face(&gc->roots, &c->mk); /* first: it may say where stacks end */
	mark_mutators(c);
	sink_to_marker(&out, &c->mk, load_relaxed(&gc->roots.end_nbytes), buffer, SINK_WORDS);
	LIST_EACH(it, &gc->heap->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		roots_read_tls(&gc->roots, &out, m);
	}
	roots_read_unbarriered(&gc->roots, &out);
	sink_close(&out);
	gc->roots.scanned_nbytes = out.read_nbytes;
	roots_mark_barriered(&gc->roots, &c->mk);
	specials_mark_roots(&gc->specials, &c->mk);
}

static void mark(struct cycle *c)
{
	struct gc *gc = c->gc;
	uint64_t begin = os_now_ns();
	bool ignore = gc->knobs.invalidptr == 0;
	grey_start(&gc->pool);
	marker_init(&c->mk, gc->heap, &gc->pool, ignore);
	workers_begin(&gc->workers, c->nhelpers, gc->heap, &gc->pool, ignore);
	c->mk.alone = c->nhelpers == 0;
	young_rescan(c);
	mark_unborn(c);
	cycle_mark_roots(c);
	marker_drain(&c->mk);
	c->rec.nworkers = 1;
	workers_count(&gc->workers, c->nhelpers, &c->mk, &c->rec.nworkers);
	cycle_drain(&c->mk);
	if (gc->knobs.gccheckmark)
		checkmark_end(gc, &c->mk);
	cycle_clear_or_later(c);
	young_end(c);
	c->rec.mark_ns = os_now_ns() - begin;
}

static void account(struct cycle *c)
{
	struct gc *gc = c->gc;
	struct cycle_record *r = &c->rec;
	r->heap_before = heap_live(gc->heap);
	r->heap_live = gc->barriered ? c->mk.marked_nbytes : c->live_nbytes;
	r->marked_objects = gc->barriered ? c->mk.marked_objects : c->live_objects;
	r->nmutators = load_relaxed(&gc->heap->nmutators);
	store_relaxed(&gc->heap->live_nbytes, r->heap_live);
}

/* clear_and_flip - beside the program. What it marks was not counted in the stop. */
static void clear_and_flip(struct cycle *c)
{
	struct heap *h = c->gc->heap;
	struct cycle_record *r = &c->rec;
	uint64_t counted = r->heap_live, nbytes = c->mk.marked_nbytes, objects = c->mk.marked_objects;
	cycle_clear_later(c);
	c->gc->pool.beside = false;
	cycle_flip(c);
	nbytes = c->mk.marked_nbytes - nbytes;
	r->born_nbytes = heap_live(h) - counted;
	r->heap_live += nbytes - min_size(r->freed_nbytes, nbytes + counted);
	r->marked_objects += c->mk.marked_objects - objects;
	add_relaxed(&h->live_nbytes, r->heap_live - counted);
	r->cpu_ns += c->later_ns;
}

void stopping_cycle(struct cycle *c)
{
	struct gc *gc = c->gc;
	cycle_let_leave(c);
	lock_acquire(&gc->roots.lock);
	uint64_t begin = os_now_ns(), cpu_begin = os_cpu_ns();
	cycle_tell(gc, CYCLE_STOPPING);
	stw_stop(&gc->stw, c->self);
	cycle_tell(gc, CYCLE_STOPPED);
	c->rec.stopping_ns = os_now_ns() - begin;
	cycle_sweep_cached(gc->heap);
	if (gc->knobs.verify)
		cycle_verify(c);
	young_begin(c);
	cycle_set_phase(c, PHASE_MARK);
	cycle_tell(gc, CYCLE_MARKING);
	mark(c);
	cycle_tell(gc, CYCLE_MARKED);
	if (!c->later)
		cycle_start_sweep(gc->heap);
	account(c);
	cycle_tell(gc, CYCLE_STARTING);
	c->rec.pause_ns = stw_start(&gc->stw, c->self) - begin;
	cycle_tell(gc, CYCLE_STARTED);
	c->rec.cpu_ns = os_cpu_ns() - cpu_begin;
	if (c->later) {
		lock_release(&gc->roots.lock);
		clear_and_flip(c);
		cycle_settle(c);
		cycle_start_sweep(gc->heap);
	} else {
		cycle_settle(c);
		lock_release(&gc->roots.lock);
	}
}
