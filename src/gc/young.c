/* young.c - see young.h. */
#include "gc/young.h"

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

/* With less than this live a whole mark takes less than what protecting pages costs. */
#define FROM_NBYTES ((uint64_t)4 << 20)
/* A span is dense when so many quarters of its slots are live. */
#define DENSE_QUARTERS 3
/* What the first write to a protected page costs, in objects scanned: 2 µs. */
#define OBJECTS_PER_FAULT 128
/* What the least of a young cycle takes: objects in open spans, and the census. */
#define NS_PER_OPEN_OBJECT 10
#define NS_PER_SPAN 60
#define ROUNDS_TAKE 2
/* One that takes less is not worth to run beside the program: protecting the open spans costs more. */
#define BRIEF_NS UINT64_C(4000000)
/* A young cycle that does more than this share of a whole one's work is not worth it; then so many cycles
 * are whole ones, twice as many each time. */
#define WORTH_PCT 60
#define PLAIN_CYCLES 8u
#define MOST_DOUBLINGS 4

/* ── begin ──────────────────────────────────────────────────────────────────────────────── */

/* In a stop only: was closed, and may be again when it ends. What is protected stays so until then. */
#define WAS_CLOSED 2u

static void open_span(void *arg, struct span *s)
{
	struct cycle *c = arg;
	span_clear_marks(&c->gc->heap->pageheap.space, s);
	store_relaxed(&s->closed, (uint8_t)(s->closed && !c->beside ? WAS_CLOSED : 0));
}

bool young_next(const struct gc *gc)
{
	return gc->young.sticky && gc->written.on && !gc->young.whole_next;
}

bool young_stops(const struct gc *gc)
{
	return young_next(gc) && (gc->young.brief || !gc->tracked);
}

void young_begin(struct cycle *c)
{
	struct gc *gc = c->gc;
	if (!gc->young.sticky || c->rec.young)
		return;
	pageheap_each(&gc->heap->pageheap, open_span, c);
	gc->young.sticky = false;
	c->reopens = !c->beside;
}

/* ── what may have been written to ──────────────────────────────────────────────────────── */

/* Neighbours among the closed spans, so that the system is asked once for all of them. */
struct stretch {
	struct cycle *c;
	uintptr_t lo, hi;
	void (*flush)(struct stretch *st);
	size_t nbytes_written;
};

static void stretch_flush(struct stretch *st)
{
	if (st->lo != st->hi)
		st->flush(st);
	st->lo = st->hi = 0;
}

static void stretch_add(struct stretch *st, const struct span *s)
{
	if (st->hi != s->base)
		stretch_flush(st);
	if (st->lo == st->hi)
		st->lo = s->base;
	st->hi = s->base + span_nbytes(s);
}

static enum scan_kind scan_of(const struct cycle *c, const struct span *s)
{
	return (enum scan_kind)c->gc->heap->layouts.spanclass[s->spanclass].scan;
}

static void rescan_written(void *arg, uintptr_t lo, uintptr_t hi)
{
	struct stretch *st = arg;
	st->nbytes_written += hi - lo;
	marker_rescan(&st->c->mk, lo, hi);
}

static void rescan_stretch(struct stretch *st)
{
	written_each(&st->c->gc->written, st->lo, st->hi, st->c->beside, rescan_written, st);
}

static void rescan_span(void *arg, struct span *s)
{
	struct stretch *st = arg;
	if (s->closed)
		stretch_add(st, s);
	else if (!st->c->beside && scan_of(st->c, s) != SCAN_NONE)
		marker_rescan(&st->c->mk, s->base, s->base + span_nbytes(s));
}

void young_rescan(struct cycle *c)
{
	struct stretch st = { .c = c, .flush = rescan_stretch };
	if (!c->rec.young)
		return;
	pageheap_each(&c->gc->heap->pageheap, rescan_span, &st);
	stretch_flush(&st);
	c->old_written_nbytes = c->rec.rescanned_nbytes = st.nbytes_written;
}

/* ── end ────────────────────────────────────────────────────────────────────────────────── */

struct census {
	struct cycle *c;
	uint64_t nspans;
	uint64_t nscan, ndense; /* live objects with pointers; those of them that could be in closed spans */
};

static bool may_close(const struct cycle *c, const struct span *s, uint32_t live)
{
	enum scan_kind scan = scan_of(c, s);
	return live != 0 && live * 4 >= s->nslots * DENSE_QUARTERS && scan != SCAN_NONE &&
	       scan != SCAN_TRACE && load_relaxed(&s->where) != SPAN_CACHED;
}

static void count_span(void *arg, struct span *s)
{
	struct census *all = arg;
	struct cycle *c = all->c;
	uint32_t live = span_count_marks(&c->gc->heap->pageheap.space, s);
	c->live_nbytes += live * s->slot_nbytes;
	c->live_objects += live;
	all->nspans++;
	all->nscan += scan_of(c, s) != SCAN_NONE ? live : 0;
	all->ndense += may_close(c, s, live) ? live : 0;
}

static void close_span(void *arg, struct span *s)
{
	struct stretch *st = arg;
	if (!may_close(st->c, s, span_count_marks(&st->c->gc->heap->pageheap.space, s)))
		return;
	store_relaxed(&s->closed, (uint8_t)1);
	stretch_add(st, s);
}

static void close_stretch(struct stretch *st)
{
	if (!st->c->beside)
		(void)written_forget(&st->c->gc->written, st->lo, st->hi);
}

static void reopen_span(void *arg, struct span *s)
{
	if (s->closed != WAS_CLOSED)
		return;
	store_relaxed(&s->closed, (uint8_t)0);
	stretch_add(arg, s);
}

/* reopen_stretch - who fills it is not to pay for the first write to each page. */
static void reopen_stretch(struct stretch *st)
{
	written_ignore_range(&st->c->gc->written, st->lo, st->hi);
}

static void each_stretch(struct cycle *c, void (*visit)(void *arg, struct span *s),
			 void (*flush)(struct stretch *st))
{
	struct stretch st = { .c = c, .flush = flush };
	pageheap_each(&c->gc->heap->pageheap, visit, &st);
	stretch_flush(&st);
}

/* least_ns - what a young cycle takes at least. */
static uint64_t least_ns(const struct census *all)
{
	return (all->nscan - all->ndense) * NS_PER_OPEN_OBJECT + all->nspans * NS_PER_SPAN;
}

/* pays - after a whole mark: the live heap is about what it was, so it is no heap that just grows, and most
 * of it can be closed. */
static bool pays(const struct census *all)
{
	uint64_t now = all->c->live_nbytes, before = all->c->gc->young.whole_nbytes;
	uint64_t change = now > before ? now - before : before - now;
	return now >= FROM_NBYTES && change <= now / 4 && all->ndense >= all->nscan / 4 * 3;
}

/* may_stick - whether the next cycle is to be a young one. */
static bool may_stick(const struct census *all)
{
	struct gc *gc = all->c->gc;
	struct young *y = &gc->young;
	bool always = gc->knobs.young > 1 || MGC_HOSTILE;
	if (gc->knobs.young == 0 || (gc->knobs.tracked > 1 && gc->knobs.young < 2))
		return false;
	if (y->plain_cycles > 0) {
		y->plain_cycles--;
		return false;
	}
	return (always || pays(all)) && written_start(&gc->written);
}

void young_end(struct cycle *c)
{
	struct gc *gc = c->gc;
	struct census all = { .c = c };
	if (gc->barriered)
		return;
	pageheap_each(&gc->heap->pageheap, count_span, &all);
	if (!c->rec.young) {
		gc->young.sticky = may_stick(&all);
		gc->young.whole_nbytes = c->live_nbytes;
		gc->young.whole_next = false;
		gc->young.brief &= least_ns(&all) < BRIEF_NS;
	}
	if (gc->young.sticky) {
		store_relaxed(&gc->heap->pageheap.huge_from_pages,
			      SIZE_MAX); /* to protect a part of one splits it */
		each_stretch(c, close_span, close_stretch);
	}
	if (c->reopens)
		each_stretch(c, reopen_span, reopen_stretch);
}

static void ignore_open(void *arg, struct span *s)
{
	struct stretch *st = arg;
	if (!s->closed)
		return;
	if (st->hi < s->base)
		written_ignore_range(&st->c->gc->written, st->hi, s->base);
	st->hi = s->base + span_nbytes(s);
}

void young_opened(struct cycle *c)
{
	struct gc *gc = c->gc;
	struct stretch st = { .c = c, .hi = written_lo(&gc->written) };
	pageheap_each(&gc->heap->pageheap, ignore_open, &st);
	written_ignore_range(&gc->written, st.hi, written_hi(&gc->written));
}

/* ── was it worth it? ───────────────────────────────────────────────────────────────────── */

bool young_failed(const struct cycle *c)
{
	return c->rec.young && c->gc->young.whole_next && !c->gc->concurrent;
}

void young_judge(struct cycle *c)
{
	struct gc *gc = c->gc;
	struct young *y = &gc->young;
	if (!c->rec.young)
		return;
	/* half of the room is gone: what is dead among the old takes too much of it, or nothing young dies */
	uint64_t goal = gc->goal_nbytes, room = goal > y->whole_nbytes ? goal - y->whole_nbytes : 0;
	y->whole_next = c->rec.heap_live > y->whole_nbytes + room / 2 || gc->written.failed;
	uint64_t work = c->mk.rescanned_objects + c->mk.marked_objects +
			OBJECTS_PER_FAULT * (c->old_written_nbytes / os_page_size());
	/* in rounds, beside the program, it takes twice as long as in one stop */
	uint64_t nshares = c->beside ? ROUNDS_TAKE : max_size(c->rec.nworkers, 1);
	y->brief = MGC_HOSTILE ? !y->brief : c->rec.cpu_ns / nshares < BRIEF_NS;
	bool worth = work * 100 <= c->live_objects * WORTH_PCT;
	if (worth) {
		y->nfailed = 0;
	} else if (gc->knobs.young < 2) {
		y->plain_cycles = PLAIN_CYCLES << y->nfailed;
		y->nfailed = (uint32_t)min_size(y->nfailed + 1, MOST_DOUBLINGS);
		y->whole_next = true;
	}
}
