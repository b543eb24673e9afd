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

/* watch - ascending; what lies near the last range belongs to it, as does all there is no room for. A span
 * that somebody takes slots from will be written to, and a fault for each of its pages would not help. */
static void watch(void *arg, struct span *s)
{
	struct written *w = arg;
	struct written_range *last = w->nranges > 0 ? &w->range[w->nranges - 1] : NULL;
	uintptr_t hi = s->base + span_nbytes(s);
	if (load_relaxed(&s->where) == SPAN_CACHED)
		return;
	if (last == NULL || (s->base - last->hi >= WRITTEN_GAP_NBYTES && w->nranges < WRITTEN_RANGES))
		w->range[w->nranges++] = (struct written_range){ s->base, hi };
	else
		last->hi = hi;
}

void written_watch_used(struct written *w, struct pageheap *ph)
{
	w->nranges = 0;
	pageheap_each(ph, watch, w);
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
