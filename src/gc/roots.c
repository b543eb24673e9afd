/* roots.c - see roots.h. */
#include "gc/roots.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "gc/stw.h"
#include "mallocgc.h"
#include "os/os.h"

#define MAP_FROM_NBYTES ((size_t)64 << 10)

/* grow_table - doubles a table of records. Its size in bytes stays a multiple of a page. */
static bool grow_table(void **table, size_t *capacity, size_t record)
{
	size_t old = *capacity, fresh = old != 0 ? 2 * old : align_up(4096, os_page_size()) / record;
	void *t = (void *)os_alloc(fresh * record);
	if (t == NULL)
		return false;
	if (old != 0) {
		memcpy(t, *table, old * record);
		os_release((uintptr_t)*table, old * record);
	}
	*table = t;
	*capacity = fresh;
	return true;
}

bool roots_init(struct roots *r, struct stw *stw)
{
	memset(r, 0, sizeof *r);
	r->stw = stw;
	lock_init(&r->lock, LOCK_ROOTS);
	list_init(&r->stacks);
	return grow_table((void **)&r->segment, &r->segment_capacity, sizeof *r->segment);
}

void roots_destroy(struct roots *r)
{
	if (r->range != NULL)
		os_release((uintptr_t)r->range, r->capacity * sizeof *r->range);
	if (r->segment != NULL)
		os_release((uintptr_t)r->segment, r->segment_capacity * sizeof *r->segment);
}

static void forget_left(struct roots *r);

static void acquire(struct roots *r)
{
	struct mutator *m = mutator_self();
	bool outside = mutator_is_outside(m);
	if (m != &mutator_none)
		mutator_enter(m);
	if (!outside) {
		lock_acquire(&r->lock);
		return;
	}
	if (lock_try(&r->lock))
		return;
	mutator_leave(m);
	stw_block(m);
	lock_acquire(&r->lock);
	stw_unblock(r->stw, m);
	store_relaxed(&m->sec, m->sec + 1); /* not through the gate: a fork that shut it waits for this lock */
	MGC_COMPILER_FENCE();
}

void roots_acquire(struct roots *r)
{
	acquire(r);
	forget_left(r);
}

void roots_release(struct roots *r)
{
	struct mutator *m = mutator_self();
	lock_release(&r->lock);
	if (m != &mutator_none)
		mutator_leave(m);
}

static bool is_unbarriered(const struct root_range *range)
{
	return range->owned == NULL && (range->flags & MGC_ROOT_UNBARRIERED) != 0;
}

bool roots_barriered(const struct root_range *range)
{
	return range->owned == NULL && !(range->flags & MGC_ROOT_UNBARRIERED);
}

/* find - index of the first range that ends above lo. Lock held. */
static size_t find(const struct roots *r, uintptr_t lo)
{
	size_t a = 0, b = r->nranges;
	while (a < b) {
		size_t mid = (a + b) / 2;
		if (r->range[mid].hi <= lo)
			a = mid + 1;
		else
			b = mid;
	}
	return a;
}

static int add_locked(struct roots *r, const struct root_range *range)
{
	size_t at = find(r, range->lo);
	if (at < r->nranges && r->range[at].lo < range->hi)
		return EINVAL;
	if (r->nranges == r->capacity && !grow_table((void **)&r->range, &r->capacity, sizeof *r->range))
		return ENOMEM;
	memmove(&r->range[at + 1], &r->range[at], (r->nranges - at) * sizeof *r->range);
	r->range[at] = *range;
	r->range[at].serial = ++r->nadded;
	r->nranges++;
	r->nunbarriered += is_unbarriered(range);
	return 0;
}

int roots_add(struct roots *r, uintptr_t lo, uintptr_t hi, unsigned flags)
{
	struct root_range range = { .lo = lo, .hi = hi, .flags = flags };
	if (lo % sizeof(uintptr_t) != 0 || hi <= lo)
		return EINVAL;
	roots_acquire(r);
	int err = add_locked(r, &range);
	roots_release(r);
	return err;
}

/* ── owned ranges ───────────────────────────────────────────────────────────────────────── */

static struct owned_range *take_owned(struct roots *r)
{
	if (r->free_owned == NULL) {
		size_t nbytes = align_up(4096, os_page_size());
		struct owned_range *o = (struct owned_range *)os_alloc(nbytes);
		for (size_t i = 0; o != NULL && i < nbytes / sizeof *o; i++) {
			o[i].next = r->free_owned;
			r->free_owned = &o[i];
		}
	}
	struct owned_range *o = r->free_owned;
	if (o != NULL)
		r->free_owned = o->next;
	return o;
}

static void hang(struct owned_range *o, struct owned_range **list)
{
	o->list = list;
	o->next = *list;
	*list = o;
}

static void unhang(struct owned_range *o)
{
	struct owned_range **at = o->list;
	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
}

static void drop_owned(struct roots *r, struct owned_range *o)
{
	unhang(o);
	o->next = r->free_owned;
	r->free_owned = o;
}

struct owned_range **roots_own_list(struct roots *r, struct mutator *m)
{
	if (m->owned == NULL) {
		roots_acquire(r);
		struct owned_range *first = take_owned(r);
		if (first != NULL)
			*first = (struct owned_range){ .lo = 0 };
		m->owned = first;
		roots_release(r);
	}
	return m->owned != NULL ? &m->owned->next : NULL;
}

void roots_leave_owned(struct roots *r, struct mutator *m)
{
	struct owned_range *first = m->owned, *others = load_relaxed(&r->left);
	m->owned = NULL;
	if (first == NULL)
		return;
	do
		first->left = others;
	while (!cas_acq_rel(&r->left, &others, first)); /* pairs: owned-left */
}

/* forget_left - drops the ranges of threads that are gone. Lock held. */
static void forget_left(struct roots *r)
{
	if (MGC_LIKELY(load_relaxed(&r->left) == NULL))
		return;
	struct owned_range *first =
		swap_acq_rel(&r->left, (struct owned_range *)NULL); /* pairs: owned-left */
	while (first != NULL) {
		struct owned_range *left = first->left;
		roots_drop_owned(r, &first->next);
		first->next = r->free_owned;
		r->free_owned = first;
		first = left;
	}
}

int roots_add_owned(struct roots *r, uintptr_t lo, uintptr_t hi, const uintptr_t *top,
		    struct owned_range **list)
{
	if (lo % sizeof(uintptr_t) != 0 || hi <= lo)
		return EINVAL;
	roots_acquire(r);
	int err = ENOMEM;
	struct owned_range *o = take_owned(r);
	if (o != NULL) {
		*o = (struct owned_range){ .lo = lo, .hi = hi, .top = top };
		hang(o, list);
		err = add_locked(r, &(struct root_range){ .lo = lo, .hi = hi, .owned = o });
		if (err != 0)
			drop_owned(r, o);
	}
	roots_release(r);
	return err;
}

bool roots_is_owned(const struct roots *r, uintptr_t addr)
{
	size_t at = find(r, addr);
	return at < r->nranges && r->range[at].lo <= addr && r->range[at].owned != NULL;
}

int roots_give_owned(struct roots *r, uintptr_t lo, struct owned_range **list)
{
	roots_acquire(r); /* so it is not on the way while roots are taken */
	size_t at = find(r, lo);
	struct owned_range *o = at < r->nranges && r->range[at].lo == lo ? r->range[at].owned : NULL;
	if (o != NULL) {
		unhang(o);
		hang(o, list);
	}
	roots_release(r);
	return o != NULL ? 0 : EINVAL;
}

static void remove_at(struct roots *r, size_t at)
{
	if (r->range[at].owned != NULL)
		drop_owned(r, r->range[at].owned);
	r->nunbarriered -= is_unbarriered(&r->range[at]);
	r->nranges--;
	memmove(&r->range[at], &r->range[at + 1], (r->nranges - at) * sizeof *r->range);
}

int roots_add_union(struct roots *r, uintptr_t lo, uintptr_t hi, unsigned flags)
{
	roots_acquire(r);
	for (size_t at = find(r, lo); at < r->nranges && r->range[at].lo < hi;) {
		lo = min_size(lo, r->range[at].lo);
		hi = max_size(hi, r->range[at].hi);
		remove_at(r, at);
	}
	int err = add_locked(r, &(struct root_range){ .lo = lo, .hi = hi, .flags = flags });
	roots_release(r);
	return err;
}

size_t roots_words(const struct roots *r, uintptr_t lo)
{
	size_t at = find(r, lo);
	bool found = at < r->nranges && r->range[at].lo == lo;
	return found ? (r->range[at].hi - lo) / sizeof(uintptr_t) : 0;
}

int roots_remove(struct roots *r, uintptr_t lo)
{
	size_t at = find(r, lo);
	if (at == r->nranges || r->range[at].lo != lo)
		return EINVAL;
	remove_at(r, at);
	return 0;
}

void roots_remove_within(struct roots *r, uintptr_t lo, uintptr_t hi)
{
	roots_acquire(r);
	for (size_t i = r->nranges; i-- > 0;)
		if (r->range[i].lo >= lo && r->range[i].hi <= hi)
			remove_at(r, i);
	roots_release(r);
}

void roots_drop_owned(struct roots *r, struct owned_range **list)
{
	while (*list != NULL)
		remove_at(r, find(r, (*list)->lo));
}

void roots_note_segment(struct roots *r, uintptr_t lo, uintptr_t hi)
{
	if (r->keep_segment != NULL && !r->keep_segment(lo, hi))
		return;
	if (r->nsegments == r->segment_capacity &&
	    !grow_table((void **)&r->segment, &r->segment_capacity, sizeof *r->segment))
		mgc_fatal("no memory for the list of data segments");
	r->segment[r->nsegments++] = (struct os_segment){ lo, hi };
}

void roots_keep_room(struct roots *r)
{
	if (r->nsegments > r->segment_capacity / 2)
		(void)grow_table((void **)&r->segment, &r->segment_capacity, sizeof *r->segment);
}

void roots_map(struct roots *r)
{
	lock_acquire(&r->lock);
	for (size_t i = 0; r->nmapped != r->nadded && i < r->nranges; i++) {
		const struct root_range *range = &r->range[i];
		uintptr_t lo = align_up(range->lo, os_page_size());
		if (range->serial > r->nmapped && is_unbarriered(range) &&
		    range->hi - range->lo >= MAP_FROM_NBYTES)
			os_populate_read(lo, align_down(range->hi, os_page_size()) - lo);
	}
	r->nmapped = r->nadded;
	lock_release(&r->lock);
}

/* ── reading ────────────────────────────────────────────────────────────────────────────── */

bool roots_have_unbarriered(const struct roots *r)
{
	return r->nunbarriered != 0 || load_relaxed(&r->globals) || r->extra != NULL;
}

struct visit {
	struct sink *out;
	uintptr_t sp;
};

static void read_block(void *arg, uintptr_t lo, uintptr_t hi)
{
	struct visit *v = arg;
	if (v->sp > lo && v->sp < hi) /* reaches into the stack below: what is under sp is dead */
		lo = v->sp;
	sink_range(v->out, lo, hi);
}

void roots_read_tls(struct roots *r, struct sink *out, struct mutator *m)
{
	struct visit v = { out, m->sp };
	if (load_relaxed(&r->globals) && !m->gone)
		os_each_tls(m->tls, read_block, &v);
}

void roots_read_unbarriered(struct roots *r, struct sink *out)
{
	for (size_t i = 0; i < r->nranges; i++)
		if (is_unbarriered(&r->range[i]))
			sink_range(out, r->range[i].lo, r->range[i].hi);
	for (size_t i = 0; load_relaxed(&r->globals) && i < r->nsegments; i++)
		sink_range(out, r->segment[i].lo, r->segment[i].hi);
}

static void mark_uncollectable_span(void *arg, struct span *s)
{
	struct marker *mk = arg;
	for (uint32_t slot = 0; slot < s->nslots; slot++)
		marker_candidate(mk, span_slot_addr(s, slot), MARK_AMBIGUOUS);
}

/* mark_uncollectable - every allocated object of the span classes that are roots. */
static void mark_uncollectable(struct marker *mk)
{
	struct heap *h = mk->heap;
	unsigned n = load_acquire(&h->layouts.nspanclasses); /* pairs: spanclass */
	for (unsigned sc = 1; sc < n; sc++) {
		if (!(h->layouts.spanclass[sc].flags & LAYOUT_UNCOLLECTABLE))
			continue;
		struct central *c = heap_central(h, sc);
		lock_acquire(&c->lock);
		central_each(c, mark_uncollectable_span, mk);
		lock_release(&c->lock);
	}
}

void roots_mark_barriered(struct roots *r, struct marker *mk)
{
	struct word_code code = { load_relaxed(&mk->heap->layouts.word_mask), 1, 0 };
	for (size_t i = 0; i < r->nranges; i++) {
		const struct root_range *range = &r->range[i];
		if (!roots_barriered(range))
			continue;
		marker_range_coded(mk, range->lo, range->hi, code,
				   range->flags & MGC_ROOT_AMBIGUOUS ? MARK_AMBIGUOUS : 0);
		r->scanned_nbytes += range->hi - range->lo;
	}
	mark_uncollectable(mk);
}

void roots_ask_face(struct roots *r, struct marker *mk)
{
	if (r->extra != NULL && marker_sees_stop(mk))
		r->extra(r->extra_arg, mk);
}
