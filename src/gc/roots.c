/* roots.c - see roots.h. */
#include "gc/roots.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "gc/stw.h"
#include "mallocgc.h"
#include "os/os.h"

/* Words that a stack snapshot holds before it is resolved. */
#define SNAPSHOT_WORDS 512

void roots_init(struct roots *r)
{
	memset(r, 0, sizeof *r);
	lock_init(&r->lock, LOCK_ROOTS);
}

void roots_destroy(struct roots *r)
{
	if (r->range != NULL)
		os_release((uintptr_t)r->range, r->capacity * sizeof *r->range);
	if (r->segment != NULL)
		os_release((uintptr_t)r->segment, r->segment_capacity * sizeof *r->segment);
}

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
	r->nranges++;
	return 0;
}

int roots_add(struct roots *r, uintptr_t lo, uintptr_t hi, unsigned flags, struct mutator *owner,
	      const uintptr_t *top)
{
	struct root_range range = { lo, hi, flags, owner, top };
	if (lo % sizeof(uintptr_t) != 0 || hi <= lo)
		return EINVAL;
	lock_acquire(&r->lock);
	int err = add_locked(r, &range);
	lock_release(&r->lock);
	return err;
}

static void remove_at(struct roots *r, size_t at)
{
	r->nranges--;
	memmove(&r->range[at], &r->range[at + 1], (r->nranges - at) * sizeof *r->range);
}

int roots_add_union(struct roots *r, uintptr_t lo, uintptr_t hi, unsigned flags)
{
	lock_acquire(&r->lock);
	for (size_t at = find(r, lo); at < r->nranges && r->range[at].lo < hi;) {
		lo = min_size(lo, r->range[at].lo);
		hi = max_size(hi, r->range[at].hi);
		remove_at(r, at);
	}
	int err = add_locked(r, &(struct root_range){ .lo = lo, .hi = hi, .flags = flags });
	lock_release(&r->lock);
	return err;
}

int roots_remove(struct roots *r, uintptr_t lo)
{
	lock_acquire(&r->lock);
	size_t at = find(r, lo);
	bool found = at < r->nranges && r->range[at].lo == lo;
	if (found)
		remove_at(r, at);
	lock_release(&r->lock);
	return found ? 0 : EINVAL;
}

void roots_remove_within(struct roots *r, uintptr_t lo, uintptr_t hi)
{
	lock_acquire(&r->lock);
	for (size_t i = r->nranges; i-- > 0;)
		if (r->range[i].lo >= lo && r->range[i].hi <= hi)
			remove_at(r, i);
	lock_release(&r->lock);
}

void roots_drop_owned(struct roots *r, struct mutator *m)
{
	lock_acquire(&r->lock);
	for (size_t i = r->nranges; i-- > 0;)
		if (r->range[i].owner == m)
			remove_at(r, i);
	lock_release(&r->lock);
}

void roots_note_segment(struct roots *r, uintptr_t lo, uintptr_t hi)
{
	if (r->keep_segment != NULL && !r->keep_segment(lo))
		return;
	if (r->nsegments == r->segment_capacity &&
	    !grow_table((void **)&r->segment, &r->segment_capacity, sizeof *r->segment))
		mgc_fatal("no memory for the list of data segments");
	r->segment[r->nsegments++] = (struct os_segment){ lo, hi };
}

/* ── coroutine stacks ───────────────────────────────────────────────────────────────────── */

static struct mgc_stack *take_stack_record(struct roots *r)
{
	if (r->free_stacks == NULL) {
		size_t nbytes = align_up(4096, os_page_size());
		struct mgc_stack *s = (struct mgc_stack *)os_alloc(nbytes);
		for (size_t i = 0; s != NULL && i < nbytes / sizeof *s; i++) {
			s[i].next = r->free_stacks;
			r->free_stacks = &s[i];
		}
	}
	struct mgc_stack *s = r->free_stacks;
	if (s != NULL)
		r->free_stacks = s->next;
	return s;
}

struct mgc_stack *roots_add_stack(struct roots *r, uintptr_t lo, uintptr_t hi)
{
	lock_acquire(&r->lock);
	struct mgc_stack *s = take_stack_record(r);
	if (s != NULL) {
		*s = (struct mgc_stack){ .next = r->stacks, .lo = lo, .hi = hi };
		r->stacks = s;
	}
	lock_release(&r->lock);
	return s;
}

void roots_remove_stack(struct roots *r, struct mgc_stack *s)
{
	lock_acquire(&r->lock);
	for (struct mgc_stack **at = &r->stacks; *at != NULL; at = &(*at)->next) {
		if (*at == s) {
			*at = s->next;
			s->next = r->free_stacks;
			r->free_stacks = s;
			break;
		}
	}
	lock_release(&r->lock);
}

void roots_switch_stack(struct mutator *m, struct mgc_stack *from, struct mgc_stack *to,
			const uintptr_t *regs, uintptr_t sp)
{
	if (from != NULL && from->running != m && from->sp != 0)
		mgc_misuse("mgc_stack_switch away from a stack that this thread does not run on");
	if (to != NULL && to->running != NULL && to->running != m)
		mgc_misuse("mgc_stack_switch to a stack that runs on another thread");
	memcpy(from != NULL ? from->saved : m->own_saved, regs, STW_NREGS * sizeof *regs);
	if (from != NULL) {
		from->sp = sp;
		from->running = NULL;
	} else {
		m->own_sp = sp;
	}
	if (to != NULL)
		to->running = m;
}

/* stands_on - the thread that was said to run on the stack really does by now. */
static bool stands_on(const struct mgc_stack *s)
{
	return s->running != NULL && s->running->sp >= s->lo && s->running->sp < s->hi;
}

/* ── reading stacks ─────────────────────────────────────────────────────────────────────── */

struct snapshot {
	size_t n;
	uintptr_t word[SNAPSHOT_WORDS];
};

/* snapshot_resolve - what was copied is looked up in the heap. */
static void snapshot_resolve(struct roots *r, struct marker *mk, struct snapshot *snap)
{
	for (size_t i = 0; i < snap->n; i++) {
		marker_candidate(mk, snap->word[i], MARK_AMBIGUOUS);
		if (r->end_pointers) /* marks the slot before, when the word is a slot's first byte */
			marker_candidate(mk, snap->word[i] - 1, MARK_AMBIGUOUS);
		snap->word[i] = 0; /* what stays behind on this stack would keep objects later */
	}
	snap->n = 0;
	MGC_KEEP(snap);
}

static MGC_NO_SANITIZE void read_stack(struct roots *r, struct marker *mk, uintptr_t lo, uintptr_t hi)
{
	struct snapshot snap = { .n = 0 };
	const volatile uintptr_t *w = (const volatile uintptr_t *)align_up(lo, sizeof(uintptr_t));
	const volatile uintptr_t *end = (const volatile uintptr_t *)align_down(hi, sizeof(uintptr_t));
	for (; w < end; w++) {
		uintptr_t word = *w;
		if (word - mk->base >= mk->nbytes + 1) /* one past the last byte may still count */
			continue;
		if (snap.n == SNAPSHOT_WORDS)
			snapshot_resolve(r, mk, &snap);
		snap.word[snap.n++] = word;
	}
	snapshot_resolve(r, mk, &snap);
	r->stack_nbytes += hi > lo ? hi - lo : 0;
}

/* stack_of - the coroutine stack that holds sp, if any is registered. */
static struct mgc_stack *stack_of(struct roots *r, uintptr_t sp)
{
	for (struct mgc_stack *s = r->stacks; s != NULL; s = s->next)
		if (sp >= s->lo && sp < s->hi)
			return s;
	return NULL;
}

/* lowest_pointer_into - of a signal frame on the alternate stack: where the thread's own stack was. */
static MGC_NO_SANITIZE uintptr_t lowest_pointer_into(uintptr_t from, uintptr_t to, uintptr_t lo,
						     uintptr_t hi)
{
	uintptr_t lowest = hi;
	for (const volatile uintptr_t *w = (const volatile uintptr_t *)from;
	     w < (const volatile uintptr_t *)to; w++)
		if (*w >= lo && *w < lowest)
			lowest = *w;
	return lowest;
}

/* read_below_handler - the thread was stopped in a handler of the program's, on the alternate stack. */
static void read_below_handler(struct roots *r, struct marker *mk, struct mutator *m)
{
	uintptr_t lo = lowest_pointer_into(m->sp, m->altstack_hi, m->stack_lo, m->stack_hi);
	read_stack(r, mk, m->altstack_lo, m->altstack_hi);
	read_stack(r, mk, m->own_sp != 0 ? min_size(lo, m->own_sp) : lo, m->stack_hi);
	for (struct mgc_stack *s = r->stacks; s != NULL; s = s->next)
		if (s->running == m)
			read_stack(r, mk, lowest_pointer_into(m->sp, m->altstack_hi, s->lo, s->hi),
				   s->hi);
}

/* on_own_stack - a first thread may have grown beyond the limit that it attached with. */
static bool on_own_stack(struct mutator *m)
{
	if (m->sp >= m->stack_lo)
		return true;
	if (!os_readable(m->sp, m->stack_lo))
		return false;
	m->stack_lo = m->sp;
	return true;
}

/* read_left_stack - one that a switch left: from sp on, and the registers as they were. */
static void read_left_stack(struct roots *r, struct marker *mk, const uintptr_t *saved,
			    uintptr_t sp, uintptr_t hi)
{
	read_stack(r, mk, sp, hi);
	read_stack(r, mk, (uintptr_t)saved, (uintptr_t)(saved + STW_NREGS));
}

/* read_mutator_stack - from where the thread stands to the cold end of the stack it stands on. */
static void read_mutator_stack(struct roots *r, struct marker *mk, struct mutator *m)
{
	struct mgc_stack *coroutine = stack_of(r, m->sp);
	uintptr_t hi = m->stack_hi_var != NULL ? *m->stack_hi_var : m->stack_hi;
	if (coroutine != NULL) {
		read_stack(r, mk, m->sp, coroutine->hi);
		if (m->own_sp != 0) /* its own stack waits below the switch */
			read_left_stack(r, mk, m->own_saved, m->own_sp, m->stack_hi);
	} else if (m->sp >= m->altstack_lo && m->sp < m->altstack_hi) {
		read_below_handler(r, mk, m);
	} else if (m->sp < hi && (m->stack_hi_var != NULL || on_own_stack(m))) {
		read_stack(r, mk, m->sp, hi);
	} else {
		mgc_misuse("thread %d runs on a stack that was not registered (sp %p, its own ends "
			   "at %p)",
			   m->tid, (void *)m->sp, (void *)hi);
	}
	for (struct stack_segment *s = m->segments; s != NULL; s = s->older)
		read_stack(r, mk, s->lo, s->hi);
}

/* mark_runs - unborn slots are kept, and the current tiny block, which may still be filled. */

static void mark_runs(struct marker *mk, struct mutator *m)
{
	const struct space *sp = &m->heap->pageheap.space;
	unsigned n = load_relaxed(&m->heap->layouts.nspanclasses);
	for (unsigned sc = 1; sc < n; sc++) {
		struct run run = m->runs[sc];
		struct span *s = m->spans[sc];
		if (s == NULL)
			continue;
		if (run.cur < run.end) {
			uint32_t lo = span_slot_of(s, run.cur), hi = span_slot_of(s, run.end - 1) + 1;
			span_mark_run(sp, s, lo, hi);
			mk->marked_nbytes += run.end - run.cur;
		}
	}
	if (m->tiny_cur != 0)
		marker_candidate(mk, m->tiny_end - 1, MARK_AMBIGUOUS);
}

struct visit {
	struct roots *r;
	struct marker *mk;
	uintptr_t sp;
};

static void mark_block(void *arg, uintptr_t lo, uintptr_t hi)
{
	struct visit *v = arg;
	if (v->sp > lo && v->sp < hi) /* reaches into the stack below: what is under sp is dead */
		lo = v->sp;
	marker_range(v->mk, lo, hi, MARK_AMBIGUOUS);
	v->r->scanned_nbytes += hi - lo;
}

void roots_mark_mutator(struct roots *r, struct marker *mk, struct mutator *m)
{
	struct visit v = { r, mk, m->sp };
	mark_runs(mk, m);
	if (m->gone)
		return;
	read_mutator_stack(r, mk, m);
	if (m->nregs != 0)
		read_stack(r, mk, (uintptr_t)m->regs, (uintptr_t)(m->regs + m->nregs));
	if (load_relaxed(&r->globals))
		os_each_tls(m->tls, mark_block, &v);
}

/* ── the rest ───────────────────────────────────────────────────────────────────────────── */

static void mark_ranges(struct roots *r, struct marker *mk)
{
	for (size_t i = 0; i < r->nranges; i++) {
		struct root_range *range = &r->range[i];
		uintptr_t hi = range->hi;
		bool ambiguous = range->owner != NULL ||
				 (range->flags & (MGC_ROOT_AMBIGUOUS | MGC_ROOT_UNBARRIERED));
		if (range->top != NULL)
			hi = *range->top < range->lo ? range->lo : min_size(*range->top, hi);
		marker_range(mk, range->lo, hi, ambiguous ? MARK_AMBIGUOUS : 0);
		r->scanned_nbytes += hi - range->lo;
	}
}

static void mark_uncollectable_span(struct marker *mk, struct span *s)
{
	for (uint32_t slot = 0; slot < s->nslots; slot++)
		marker_candidate(mk, span_slot_addr(s, slot), MARK_AMBIGUOUS);
}

/* mark_uncollectable - every allocated object of the span classes that are roots. */
static void mark_uncollectable(struct marker *mk)
{
	struct heap *h = mk->heap;
	unsigned n = load_relaxed(&h->layouts.nspanclasses);
	for (unsigned sc = 1; sc < n; sc++) {
		if (!(h->layouts.spanclass[sc].flags & LAYOUT_UNCOLLECTABLE))
			continue;
		struct central *c = heap_central(h, sc);
		struct list *lists[] = { &c->unswept, &c->partial, &c->full, &c->cached };
		for (unsigned l = 0; l < 4; l++)
			LIST_EACH(it, lists[l])
				mark_uncollectable_span(mk, LIST_ENTRY(it, struct span, node));
	}
}

void roots_mark_shared(struct roots *r, struct marker *mk)
{
	mark_ranges(r, mk);
	if (load_relaxed(&r->globals)) {
		for (size_t i = 0; i < r->nsegments; i++) {
			marker_range(mk, r->segment[i].lo, r->segment[i].hi, MARK_AMBIGUOUS);
			r->scanned_nbytes += r->segment[i].hi - r->segment[i].lo;
		}
	}
	for (struct mgc_stack *s = r->stacks; s != NULL; s = s->next) {
		if (s->sp != 0 && !stands_on(s))
			read_left_stack(r, mk, s->saved, s->sp, s->hi);
	}
	mark_uncollectable(mk);
	if (r->extra != NULL)
		r->extra(r->extra_arg, mk);
}
