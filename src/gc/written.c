/* written.c - see written.h. */
#include "gc/written.h"

#include "base/atomic.h"
#include "heap/space.h"
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

void written_ignore(struct written *w)
{
	if (w->on)
		(void)os_written_ignore(written_lo(w), written_hi(w));
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
