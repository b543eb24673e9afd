/* stacks.c - see stacks.h. */
#include "gc/stacks.h"

#include <string.h>

#include "base/annotate.h"
#include "base/bits.h"
#include "base/check.h"
#include "gc/roots.h"
#include "gc/stw.h"
#include "heap/cache.h"
#include "os/os.h"

/* ── coroutine stacks ───────────────────────────────────────────────────────────────────── */

static struct mgc_stack *take_record(struct roots *r)
{
	if (r->free_stacks == NULL) {
		size_t nbytes = align_up(4096, os_page_size());
		struct mgc_stack *s = (struct mgc_stack *)os_alloc(nbytes);
		for (size_t i = 0; s != NULL && i < nbytes / sizeof *s; i++) {
			s[i].next_free = r->free_stacks;
			r->free_stacks = &s[i];
		}
	}
	struct mgc_stack *s = r->free_stacks;
	if (s != NULL)
		r->free_stacks = s->next_free;
	return s;
}

struct mgc_stack *stacks_add(struct roots *r, uintptr_t lo, uintptr_t hi)
{
	roots_acquire(r);
	struct mgc_stack *s = take_record(r);
	if (s != NULL) {
		*s = (struct mgc_stack){ .lo = lo, .hi = hi };
		list_push_back(&r->stacks, &s->node);
	}
	roots_release(r);
	return s;
}

void stacks_remove(struct roots *r, struct mgc_stack *s)
{
	roots_acquire(r);
	roots_drop_owned(r, &s->owned);
	list_remove(&s->node);
	s->lo = s->hi = 0;
	s->next_free = r->free_stacks;
	r->free_stacks = s;
	roots_release(r);
}

static void claim(struct mgc_stack *s)
{
	while (swap_acq_rel(&s->claim, 1u) != 0) /* pairs: stack-claim */
		os_yield();
}

static void unclaim(struct mgc_stack *s)
{
	store_release(&s->claim, 0u); /* pairs: stack-claim */
}

/* read_saved - the registers that were kept when a stack was left. */
static void read_saved(struct sink *out, const uintptr_t *saved)
{
	sink_range(out, (uintptr_t)saved, (uintptr_t)(saved + MUTATOR_SAVED_REGS));
}

static void read_owned(struct sink *out, const struct owned_range *o)
{
	for (; o != NULL; o = o->next) {
		uintptr_t top = load_relaxed(o->top);
		sink_range(out, o->lo, top < o->lo ? o->lo : min_size(top, o->hi));
	}
}

/* read_coroutine - its stack from sp on; what goes with it; and its memory, which may be an object. */
static void read_coroutine(struct sink *out, struct mgc_stack *s, uintptr_t sp, uint32_t gen)
{
	s->taken = gen;
	sink_word(out, s->lo);
	sink_range(out, sp, s->hi);
	read_owned(out, s->owned);
}

/* read_parked - under the claim, or with the world stopped. */
static void read_parked(struct sink *out, struct mgc_stack *s, uint32_t gen)
{
	if (s->taken == gen)
		return;
	read_coroutine(out, s, s->sp != 0 ? s->sp : s->hi, gen);
	if (s->sp != 0)
		read_saved(out, s->saved);
}

void stacks_read_parked(struct roots *r, struct sink *out, uint32_t gen)
{
	LIST_EACH(it, &r->stacks) {
		struct mgc_stack *s = LIST_ENTRY(it, struct mgc_stack, node);
		claim(s);
		read_parked(out, s, gen);
		unclaim(s);
	}
}

void stacks_take_again(struct roots *r)
{
	LIST_EACH(it, &r->stacks)
		LIST_ENTRY(it, struct mgc_stack, node)->taken = 0;
}

void stacks_prepare(struct mgc_stack *s, uintptr_t sp)
{
	claim(s);
	s->sp = sp;
	memset(s->saved, 0, sizeof s->saved);
	unclaim(s);
}

/* board - the mutator will run on `to`: B1. */
static void board(struct grey_pool *pool, struct mutator *m, struct mgc_stack *to)
{
	uint64_t pg = heap_phase_gen(m->heap);
	if (phase_gen_phase(pg) == PHASE_OFF) { /* the section keeps a cycle from taking roots */
		store_relaxed(&to->running, m);
		return;
	}
	claim(to);
	if (phase_gen_phase(pg = heap_phase_gen(m->heap)) == PHASE_ROOTS) {
		uintptr_t own[32];
		struct sink out;
		sink_to_pool(&out, m->heap, pool, own, sizeof own / sizeof *own);
		read_parked(&out, to, phase_gen_sweepgen(pg));
		sink_close(&out);
	}
	store_relaxed(&to->running, m);
	unclaim(to);
}

/* leave - its registers and its stack pointer are as the announcement found them. */
static void leave(struct mutator *m, struct mgc_stack *from, const uintptr_t *regs, uintptr_t sp)
{
	memcpy(from != NULL ? from->saved : m->own_saved, regs, STW_NREGS * sizeof *regs);
	m->left = from;
	m->adrift = false;
	if (from == NULL) {
		m->own_sp = sp;
		return;
	}
	from->sp = sp;
	if (load_relaxed(&m->taken) != heap_sweepgen(m->heap))
		from->taken = 0; /* what was copied when it was boarded is old */
	store_release(&from->running, (struct mutator *)NULL); /* pairs: stack-parked */
}

static bool holds(const struct mgc_stack *s, uintptr_t sp)
{
	return sp >= s->lo && sp < s->hi;
}

/* check_switch - what is announced must be what the stack pointer says. */
static void check_switch(struct mutator *m, struct mgc_stack *from, struct mgc_stack *to, uintptr_t sp)
{
	if (from != NULL && load_relaxed(&from->running) != m && from->sp != 0)
		mgc_misuse("mgc_stack_switch away from a stack that this thread does not run on");
	if (from != NULL && (sp < from->lo || sp > from->hi))
		mgc_misuse("mgc_stack_switch away from the stack at %p to %p, but thread %d runs "
			   "at sp %p",
			   (void *)from->lo, (void *)from->hi, m->tid, (void *)sp);
	if (from == NULL && m->announced != NULL && holds(m->announced, sp))
		mgc_misuse("mgc_stack_switch away from thread %d's own stack, but it runs on the "
			   "one at %p",
			   m->tid, (void *)m->announced->lo);
	struct mutator *other = to != NULL ? load_acquire(&to->running) : NULL; /* pairs: stack-parked */
	if (other != NULL && other != m)
		mgc_misuse("mgc_stack_switch to a stack that runs on another thread");
}

void stacks_switch(struct grey_pool *pool, struct mutator *m, struct mgc_stack *from,
		   struct mgc_stack *to, const uintptr_t *regs, uintptr_t sp)
{
	check_switch(m, from, to, sp);
	leave(m, from, regs, sp);
	if (to != NULL)
		board(pool, m, to);
	m->announced = to;
}

/* empty - nothing runs on it, and nothing lies there. */
static void empty(struct mgc_stack *s)
{
	claim(s);
	s->sp = 0;
	store_release(&s->running, (struct mutator *)NULL); /* pairs: stack-parked */
	unclaim(s);
}

void stacks_detach(struct roots *r, struct mutator *m)
{
	roots_leave_owned(r, m);
	if (m->announced != NULL)
		empty(m->announced);
}

void stacks_after_fork(struct roots *r, struct heap *h, const struct mutator *survivor)
{
	LIST_EACH(it, &h->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		if (m != survivor)
			stacks_detach(r, m);
	}
}

/* stack_of - the coroutine stack that holds sp: the one that was announced or left, if all is well. */
static struct mgc_stack *stack_of(struct roots *r, struct mutator *m, uintptr_t sp)
{
	if (m->announced != NULL && holds(m->announced, sp))
		return m->announced;
	if (m->left != NULL && holds(m->left, sp))
		return m->left;
	LIST_EACH(it, &r->stacks) {
		struct mgc_stack *s = LIST_ENTRY(it, struct mgc_stack, node);
		if (holds(s, sp))
			return s;
	}
	return NULL;
}

/* ── what a mutator has in hand ─────────────────────────────────────────────────────────── */

uint64_t stacks_mark_unborn(const struct mutator *m)
{
	const struct space *sp = &m->heap->pageheap.space;
	unsigned n = load_acquire(&m->heap->layouts.nspanclasses); /* pairs: spanclass */
	uint64_t nbytes = 0;
	for (unsigned sc = 1; sc < n; sc++) {
		struct run run = m->runs[sc];
		struct span *s = run_span(m, sc);
		if (s == NULL)
			continue;
		span_mark_run(sp, s, span_slot_of(s, run.cur), span_slot_of(s, run.end - 1) + 1);
		nbytes += run.end - run.cur;
	}
	return nbytes;
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

/* A stack that nobody registered is taken to be no deeper than this. */
#define UNKNOWN_STACK_NBYTES ((uintptr_t)64 << 20)

/* where_below_handler - where the thread stood on its own stack, or on the one whose cold end it last said:
 * of that the other end is unknown, so it is the lowest word from which all is there up to the cold end. */
static uintptr_t where_below_handler(const struct mutator *m, uintptr_t hi)
{
	if (m->stack_hi_var == NULL ||
	    (hi > m->stack_lo && hi <= m->stack_hi && m->stack_hi_var != &m->stack_hi))
		return lowest_pointer_into(m->sp, m->altstack_hi, m->stack_lo, hi);
	uintptr_t lo = hi - min_size(hi, UNKNOWN_STACK_NBYTES), at;
	while ((at = lowest_pointer_into(m->sp, m->altstack_hi, lo, hi)) < hi && !os_readable(at, hi))
		lo = at + 1;
	return at;
}

/* read_below_handler - the thread was stopped in a handler of the program's, on the alternate stack. */
static void read_below_handler(struct roots *r, struct sink *out, struct mutator *m, uint32_t gen)
{
	uintptr_t hi = m->stack_hi_var != NULL ? *m->stack_hi_var : m->stack_hi;
	uintptr_t lo = where_below_handler(m, hi);
	sink_range(out, m->altstack_lo, m->altstack_hi);
	sink_range(out, m->own_sp != 0 ? min_size(lo, m->own_sp) : lo, hi);
	if (m->own_sp != 0)
		read_saved(out, m->own_saved);
	LIST_EACH(it, &r->stacks) {
		struct mgc_stack *s = LIST_ENTRY(it, struct mgc_stack, node);
		if (load_relaxed(&s->running) != m && s != m->left)
			continue;
		/* one that it announced, and has not got to, waits as it was left */
		uintptr_t sp = lowest_pointer_into(m->sp, m->altstack_hi, s->lo, s->hi);
		read_coroutine(out, s, s->sp != 0 ? min_size(sp, s->sp) : sp, gen);
		read_saved(out, s->saved);
	}
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

/* stands_below - whether sp and the cold end that the program said last are of one stack. */
static bool stands_below(const struct mutator *m, uintptr_t hi)
{
	if (m->stack_hi_var != &m->stack_hi && m->sp >= m->stack_lo && hi <= m->stack_hi)
		return m->sp < hi;
	return m->sp < hi && os_readable(m->sp, hi);
}

/* read_switching - the program, which says where a stack ends and then switches to it, or the other way round, was stopped in
 * between. On which of the two it stands is known, and where the other ends: both are read as far as there is anything. */
static void read_switching(struct sink *out, uintptr_t sp, uintptr_t hi)
{
	sink_range(out, sp, os_readable_end(sp, sp + UNKNOWN_STACK_NBYTES));
	sink_range(out, os_readable_begin(hi - min_size(hi, UNKNOWN_STACK_NBYTES), hi), hi);
}

/* read_said_stack - of a thread whose cold end is what the program says (libgc face). */
static void read_said_stack(struct sink *out, const struct mutator *m, uintptr_t hi)
{
	if (MGC_LIKELY(stands_below(m, hi)))
		sink_range(out, m->sp, hi);
	else
		read_switching(out, m->sp, hi);
}

/* read_own_stack - of a thread that runs on a coroutine's. */
static void read_own_stack(struct sink *out, struct mutator *m)
{
	sink_range(out, m->own_sp, m->stack_hi);
	read_saved(out, m->own_saved);
}

static void unknown_stack(const struct mutator *m, const struct mgc_stack *s, uintptr_t hi)
{
	if (s != NULL)
		mgc_misuse("thread %d runs on the stack at %p (sp %p) without having announced it "
			   "with "
			   "mgc_stack_switch",
			   m->tid, (void *)s->lo, (void *)m->sp);
	mgc_misuse("thread %d runs on a stack that was not registered (sp %p, its own ends at %p)",
		   m->tid, (void *)m->sp, (void *)hi);
}

/* read_stack - from where the thread stands to the cold end of the stack it stands on. */
static void read_stack(struct roots *r, struct sink *out, struct mutator *m, uint32_t gen)
{
	struct mgc_stack *coroutine = stack_of(r, m, m->sp);
	uintptr_t hi = m->stack_hi_var != NULL ? *m->stack_hi_var : m->stack_hi;
	bool announced = coroutine == m->announced || coroutine == m->left || m->adrift;
	if (coroutine != NULL && announced) {
		read_coroutine(out, coroutine, m->sp, gen);
		if (m->own_sp != 0) /* its own stack waits below the switch */
			read_own_stack(out, m);
	} else if (m->sp >= m->altstack_lo && m->sp < m->altstack_hi) {
		read_below_handler(r, out, m, gen);
	} else if (coroutine == NULL && m->stack_hi_var != NULL) {
		read_said_stack(out, m, hi);
	} else if (coroutine == NULL && m->sp < hi && on_own_stack(m)) {
		sink_range(out, m->sp, hi);
	} else if (coroutine == NULL && m->adrift && r->strays) {
		sink_range(out, m->sp, os_readable_end(m->sp, m->sp + UNKNOWN_STACK_NBYTES));
	} else {
		unknown_stack(m, coroutine, hi);
	}
	if (m->announced != NULL && m->announced != coroutine) /* it has not got there yet */
		read_parked(out, m->announced, gen);
	for (struct stack_segment *s = m->segments; s != NULL; s = s->older)
		sink_range(out, s->lo, s->hi);
	if (m->owned != NULL)
		read_owned(out, m->owned->next);
}

/* read_fake_frames - what the words of [lo, hi) lead to there. */
static MGC_NO_SANITIZE void read_fake_frames(struct sink *out, struct mutator *m, uintptr_t lo,
					     uintptr_t hi)
{
	const volatile uintptr_t *w = (const volatile uintptr_t *)lo;
	uintptr_t frame_lo, frame_hi;
	for (; w < (const volatile uintptr_t *)hi; w++)
		if (annotate_fake_frame(m->fake_stack, *w, &frame_lo, &frame_hi))
			sink_range(out, frame_lo, frame_hi);
}

void stacks_read_mutator(struct roots *r, struct sink *out, struct mutator *m, uint32_t gen)
{
	if (m->tiny_cur != 0) /* may still be filled */
		sink_word(out, m->tiny_end - 1);
	if (m->gone)
		return;
	read_stack(r, out, m, gen);
	if (m->nregs != 0)
		sink_range(out, (uintptr_t)m->regs, (uintptr_t)(m->regs + m->nregs));
	if (MGC_UNLIKELY(m->fake_stack != NULL) && m->sp >= m->stack_lo && m->sp < m->stack_hi) {
		read_fake_frames(out, m, align_up(m->sp, sizeof(uintptr_t)), m->stack_hi);
		read_fake_frames(out, m, (uintptr_t)m->regs, (uintptr_t)(m->regs + m->nregs));
	}
}
