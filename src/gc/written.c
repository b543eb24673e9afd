/* written.c - see written.h. */
#include "gc/written.h"

#include "base/atomic.h"
#include "heap/pageheap.h"
#include "heap/space.h"
#include "heap/span.h"
#include "os/os.h"

/* Whoever closes our descriptors this often does not want them. */
#define MOST_FAILURES 3

bool written_start(struct written *w)
{
	if (w->on)
		return true;
	if (w->nfailures > MOST_FAILURES || !w->space->reserved)
		return false;
	w->on = os_written_start(w->space->base, w->space->base + w->space->nbytes) == 0;
	if (!w->on)
		w->nfailures = MOST_FAILURES + 1; /* not on this system */
	return w->on;
}

void written_stop(struct written *w)
{
	if (w->on)
		os_written_stop();
	w->on = false;
}

static bool fail(struct written *w)
{
	w->nfailures += !w->failed;
	w->failed = true;
	return false;
}

void written_each(struct written *w, uintptr_t lo, uintptr_t hi, bool forget, written_fn *fn, void *arg)
{
	if (w->on && !w->failed && os_written_each(lo, hi, forget, fn, arg) == 0)
		return;
	(void)fail(w);
	fn(arg, lo, hi);
}

bool written_forget(struct written *w, uintptr_t lo, uintptr_t hi)
{
	return (w->on && os_written_each(lo, hi, true, NULL, NULL) == 0) || fail(w);
}

struct watch {
	struct written *w;
	bool used_up_only;
};

/* will_be_written - somebody takes slots from the span, or will do so soon: a fault for each of its pages would
 * not help. */
static bool will_be_written(const struct watch *a, const struct span *s)
{
	uint8_t where = load_relaxed(&s->where);
	return where == SPAN_CACHED || (a->used_up_only && where == SPAN_PARTIAL);
}

/* watch - ascending; what lies near the last range belongs to it, as does all there is no room for. */
static void watch(void *arg, struct span *s)
{
	struct watch *a = arg;
	struct written *w = a->w;
	struct written_range *last = w->nranges > 0 ? &w->range[w->nranges - 1] : NULL;
	uintptr_t hi = s->base + span_nbytes(s);
	if (will_be_written(a, s))
		return;
	if (last == NULL || (s->base - last->hi >= WRITTEN_GAP_NBYTES && w->nranges < WRITTEN_RANGES))
		w->range[w->nranges++] = (struct written_range){ s->base, hi };
	else
		last->hi = hi;
}

static void watch_spans(struct watch a, struct pageheap *ph)
{
	a.w->nranges = 0;
	pageheap_each(ph, watch, &a);
}

void written_watch_used(struct written *w, struct pageheap *ph)
{
	watch_spans((struct watch){ w, false }, ph);
}

struct share {
	size_t nbytes, partial_nbytes;
};

static void add_span(void *arg, struct span *s)
{
	struct share *a = arg;
	a->nbytes += span_nbytes(s);
	if (load_relaxed(&s->where) == SPAN_PARTIAL)
		a->partial_nbytes += span_nbytes(s);
}

void written_watch_used_up(struct written *w, struct pageheap *ph)
{
	struct share a = { 0, 0 };
	pageheap_each(ph, add_span, &a);
	watch_spans((struct watch){ w, a.partial_nbytes <= a.nbytes / 2 }, ph);
}

void written_forget_watched(struct written *w)
{
	for (unsigned i = 0; i < w->nranges; i++)
		if (!written_forget(w, w->range[i].lo, w->range[i].hi))
			return;
}

void written_rest(struct written *w, bool forget, written_fn *written, written_fn *other, void *arg)
{
	uintptr_t from = written_lo(w);
	for (unsigned i = 0; i < w->nranges; i++) {
		const struct written_range *r = &w->range[i];
		if (from < r->lo)
			other(arg, from, r->lo);
		written_each(w, r->lo, r->hi, forget, written, arg);
		from = r->hi;
	}
	if (from < written_hi(w))
		other(arg, from, written_hi(w));
}

void written_ignore_range(struct written *w, uintptr_t lo, uintptr_t hi)
{
	if (w->on && lo < hi)
		(void)os_written_ignore(lo, hi);
}

void written_ignore(struct written *w)
{
	written_ignore_range(w, written_lo(w), written_hi(w));
}

uintptr_t written_lo(const struct written *w)
{
	return w->space->base;
}

uintptr_t written_hi(const struct written *w)
{
	return space_page_addr(w->space, load_relaxed(&w->space->grown));
}

void written_settle(struct written *w)
{
	if (w->failed)
		written_stop(w);
	w->failed = false;
}
