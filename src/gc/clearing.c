/* clearing.c - what hangs on dead objects: links are nulled, finalizers queued, what these need is marked.
 *
 * WHAT   After the mark, in CLEAR. Of a program with a barrier it is done beside the program (barrier.h). Of one
 *        without, in the stop; or after it, where the program can tell no difference: that is what may_clear_later says.
 *        Then the stop ends when everything reachable is marked, as libgc's does.
 * STATE  gc.clearing: 0 → (in the stop) 1 → (cycle_clear_later) 0; waited for by who has the lock under which a program follows
 *        its links (cycle.h: cycle_wait_cleared).
 * INV    L1 while it is 1, nobody but the collector has the address of an unmarked object
 *        L2 while it is 1, births are black, nothing is freed or reused, nobody attaches, and no fork is let in
 *        L3 a procedure of the program that needs a stopped world finds one
 * WHY    When the stop ends nothing reachable is unmarked, so a mutator has, and can load, addresses of marked objects
 *        only, and what it stores anywhere is one of those, or a birth, which is black: by loads and stores it never gets at
 *        an unmarked object. Hence what is dead at the end of the stop stays as it is: nobody writes to it, no store has to be
 *        shaded, and nothing has to be scanned again. There are other ways to an unmarked object, and each is shut:
 *        (a) a word that the collector does not see as a reference, with a link to null it. Who follows one has the allocation
 *            lock, and is in a section with it (GC_alloc_lock). It looks at gc.clearing in there; and the stop in which
 *            that becomes 1 waits for all sections. So either it read the word before that stop, and the stop found what it
 *            read in its registers; or it waits, outside its section and without the lock, until all links are nulled. A
 *            program that never took the lock is none that follows links so, and one with a single thread need not: their
 *            links are nulled in the stop.
 *        (b) the queue of finalizers: nothing is taken from it while their objects are being marked (special.h F4). What
 *            was in it before is a root, and marked. Nor are all finalizers queued at once meanwhile, for that takes the lock
 *            of (a).
 *        (c) what is told of objects that will be finalized: not before they are marked, either.
 *        (d) conservative words: a stale one in a stack or register counted as a root; one that the collector does not scan
 *            (of an object without pointers, of malloc) is (a) or the program's mistake with libgc, too, which does all this
 *            after its stop.
 *        L3: an unmarked object whose kind has such a procedure is marked, and its procedure put off (marker.nput_off);
 *        then there is another stop for it. That stop looks at all finalizers again that keep what they refer to: the
 *        procedure of an object that is itself not to be marked may have been put off, too.
 *        Spans may have been closed in the stop already (young.h): what is marked for a finalizer is scanned after that, and was
 *        written to by nobody since, so it is old with good reason. Nulled links count as written to.
 * LOCKS  SPECIAL, for a few records at a time. Never the lock of (a).
 * FROM   barrier.h, whose CLEAR this is; libgc's GC_finalize runs behind its stop with its lock held. */
#include "base/check.h"
#include "gc/barrier.h"
#include "gc/cycle.h"
#include "gc/cycle_form.h"
#include "gc/quiesce.h"
#include "os/os.h"

/* When fewer records are likely to go it takes no longer than to flip beside the program does. */
#define LATER_FROM ((size_t)1024)

/* ── one after the other ────────────────────────────────────────────────────────────────── */

static struct cycle *cycle_of(struct marker *mk)
{
	return LIST_ENTRY(mk, struct cycle, mk);
}

/* call_put_off - the world stands still. The face's roots tell nothing new, but a program counts on being asked for them in each
 * stop (Crystal's start callback takes the lock that its push callback gives back). */
static void call_put_off(struct cycle *c)
{
	roots_ask_face(&c->gc->roots, &c->mk);
	specials_keep_referents(&c->gc->specials, &c->mk);
	marker_rescan_waiting(&c->mk);
	cycle_drain(&c->mk);
}

/* drain_later - beside the program: L3. */
static void drain_later(struct marker *mk)
{
	cycle_drain(mk);
	if (mk->nput_off == 0)
		return;
	cycle_stopped(cycle_of(mk), call_put_off);
	mk->nput_off = 0;
}

void cycle_clear(struct cycle *c)
{
	struct gc *gc = c->gc;
	size_t before = specials_nregistered(&gc->specials);
	MGC_ASSERTION(!c->mk.alone || load_relaxed(&gc->stw.stopping) != 0);
	if (MGC_HOSTILE)
		marker_check_drained(&c->mk); /* D5 */
	if (MGC_HOSTILE || gc->knobs.verify)
		ephemerons_check(gc->heap);
	specials_null_links(&gc->specials, &c->mk);
	if (gc->barriered && c->beside) /* else the world stands still, or who would read one waits */
		quiesce(&gc->stw, c->self); /* who read a weak reference has looked at its mark */
	c->rec.finalizers_due =
		specials_revive(&gc->specials, &c->mk, c->later ? drain_later : cycle_drain);
	specials_bury(&gc->specials, &c->mk);
	ephemerons_clear(&gc->ephemerons, &c->mk);
	marker_finish(&c->mk);
	size_t after = specials_nregistered(&gc->specials);
	gc->nrecords_gone = before > after ? before - after : 0;
	gc->nrecords_left = after;
}

/* ── after the stop ─────────────────────────────────────────────────────────────────────── */

/* likely_gone - about so many records will go: as many as the last time, and those that came since. */
static size_t likely_gone(const struct gc *gc)
{
	size_t now = specials_nregistered(&gc->specials);
	return gc->nrecords_gone + (now > gc->nrecords_left ? now - gc->nrecords_left : 0);
}

/* may_clear_later - nobody runs. */
static bool may_clear_later(const struct gc *gc)
{
	const struct specials *s = &gc->specials;
	bool guarded = s->links.n == 0 || load_relaxed(&gc->links_guarded);
	return !gc->barriered && load_relaxed(&gc->clears_later) && guarded && s->weaks.n == 0 &&
	       load_relaxed(&gc->heap->nmutators) > 1 &&
	       (MGC_HOSTILE || likely_gone(gc) >= LATER_FROM);
}

void cycle_clear_or_later(struct cycle *c)
{
	struct gc *gc = c->gc;
	cycle_set_phase(c, PHASE_CLEAR);
	if (!may_clear_later(gc)) {
		cycle_clear(c);
		return;
	}
	c->later = true;
	LIST_EACH(it, &gc->heap->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		store_release(&m->taken, heap_sweepgen(gc->heap)); /* pairs: taken */
	}
	c->mk.alone = false; /* births set marks, too */
	c->mk.nput_off = 0;
	gc->pool.beside = true; /* L3 */
	store_release(&gc->clearing, 1u); /* pairs: clearing */
}

void cycle_clear_later(struct cycle *c)
{
	struct gc *gc = c->gc;
	uint64_t begin = os_thread_cpu_ns();
	if (!c->later)
		return;
	workers_end(&gc->workers); /* who was woken late */
	cycle_clear(c);
	store_release(&gc->clearing, 0u); /* pairs: clearing */
	os_wake(&gc->clearing, UINT32_MAX);
	c->later_ns = os_thread_cpu_ns() - begin;
}

void cycle_wait_cleared(struct gc *gc)
{
	struct mutator *m = mutator_self();
	if (MGC_LIKELY(!cycle_is_clearing(gc)))
		return;
	bool running = mutator_is_outside(m);
	if (running) /* it may block signals, and another stop may come: L3 */
		stw_block(m);
	while (cycle_is_clearing(gc))
		os_wait(&gc->clearing, 1, 0);
	if (running)
		stw_unblock(&gc->stw, m);
}
