/* mark.c - see mark.h. LOCKS none but the pool's; CENTRAL, after an overflow. */
#include "gc/mark.h"

#include <string.h>

#include "base/annotate.h"
#include "base/check.h"
#include "gc/mark_scan.h"

/* After this many objects a marker looks whether others are idle, and tells how far it is. */
#define SHARE_EVERY 64
#define TELL_NBYTES ((uint64_t)16 << 10)
/* An assist that found nothing looks this often again: 5 to 10 µs. */
#define ASK_SPINS 200
#define SHARE_MIN 4
#define LINE_NBYTES 64

/* 16 B of bits for each KiB: those of such a heap fit the second cache, with room for more. */
#define DIRECT_NBYTES ((size_t)32 << 20)
#if MGC_HOSTILE
#undef DIRECT_NBYTES
#define DIRECT_NBYTES ((size_t)1 << 20)
#endif

void marker_init(struct marker *mk, struct heap *h, struct grey_pool *pool, bool ignore_invalid)
{
	struct space *sp = &h->pageheap.space;
	memset(mk, 0, sizeof *mk);
	mk->base = sp->base;
	mk->nbytes = sp->nbytes;
	mk->desc = sp->desc;
	mk->bits = sp->bits;
	mk->spanclass = h->layouts.spanclass;
	mk->heap = h;
	mk->pool = pool;
	mk->ignore_invalid = ignore_invalid;
	mk->direct = load_relaxed(&sp->grown) <= DIRECT_NBYTES >> MGC_PAGE_SHIFT;
}

/* tell - the pool counts what all markers of a cycle have done. */
static MGC_NOINLINE void tell(struct marker *mk, uint64_t marked_nbytes)
{
	add_relaxed(&mk->pool->marked_nbytes, marked_nbytes - mk->told_nbytes);
	mk->told_nbytes = marked_nbytes;
}

/* tell_spared - whether the program uses what lies behind its objects. */
static void tell_spared(struct marker *mk)
{
	if (mk->nspared != 0)
		add_relaxed(&mk->pool->nspared, mk->nspared);
	if (mk->spare_used)
		store_relaxed(&mk->pool->spare_used, 1u);
	mk->nspared = 0;
	mk->spare_used = false;
}

void marker_check_drained(const struct marker *mk)
{
	for (unsigned i = 0; i < MARK_RING; i++)
		MGC_CHECK(mk->ring[i] == 0);
	for (unsigned i = 0; i < MARK_FIFO; i++)
		MGC_CHECK(mk->fifo[i] == 0);
	MGC_CHECK(mk->block == NULL || mk->block->n == 0);
}

void marker_finish(struct marker *mk)
{
	mark_flush_pending(mk);
	tell(mk, mk->marked_nbytes);
	tell_spared(mk);
	marker_check_drained(mk);
	memset(mk->recent, 0, sizeof mk->recent); /* what stays on this stack would keep objects later */
	if (mk->block != NULL)
		grey_put_empty(mk->pool, mk->block);
	mk->block = NULL;
}

/* ── draining ───────────────────────────────────────────────────────────────────────────── */

/* share - gives half of the block away when somebody is idle. */
static void share(struct marker *mk)
{
	struct grey_block *mine = mk->block;
	if (mine == NULL || mine->n < SHARE_MIN || load_relaxed(&mk->pool->full) != NULL)
		return;
	struct grey_block *theirs = grey_take_empty(mk->pool);
	if (theirs == NULL)
		return;
	uint32_t n = mine->n / 2; /* the older half: nearer the roots, so larger graphs behind it */
	memcpy(theirs->object, mine->object, n * sizeof mine->object[0]);
	memmove(mine->object, mine->object + n, (mine->n - n) * sizeof mine->object[0]);
	theirs->n = n;
	mine->n -= n;
	store_relaxed(&mk->pool->hungry, 0u);
	grey_put_full(mk->pool, theirs);
}

static bool wanted_by_others(const struct grey_pool *p)
{
	return load_relaxed(&p->nidle) != 0 || load_relaxed(&p->hungry) != 0;
}

/* look_around - now and then: tells how far it is, gives when somebody has nothing, and lets a fork in. */
static MGC_NOINLINE void look_around(struct marker *mk)
{
	if (mk->marked_nbytes - mk->told_nbytes >= TELL_NBYTES)
		tell(mk, mk->marked_nbytes);
	if (wanted_by_others(mk->pool))
		share(mk);
	grey_at_boundary(mk->pool, &mk->boundary);
}

/* next_waiting - the first of the FIFO's cells from `at` on that is not empty; MARK_FIFO more: all are. */
static unsigned next_waiting(const struct marker *mk, unsigned at)
{
	uintptr_t any = 0;
	for (unsigned i = 0; i < MARK_FIFO; i++)
		any |= mk->fifo[i];
	if (any == 0)
		return at + MARK_FIFO;
	while (mk->fifo[at % MARK_FIFO] == 0)
		at++;
	return at;
}

/* expect - asks for the lines of an object that is scanned soon: the first one, and the one behind it, where the
 * processor would not see a stream yet. */
MGC_INLINE void expect(const struct hot *h, uintptr_t entry)
{
	uintptr_t object = h->base + (entry >> ENTRY_SHIFT);
	__builtin_prefetch((void *)object);
	if (h->spanclass[(uint16_t)entry].nwords > LINE_NBYTES / sizeof(uintptr_t))
		__builtin_prefetch((void *)(object + LINE_NBYTES));
}

/* refill - the FIFO is empty and the block may not be: as many entries as there are, from cell `at` on. */
MGC_INLINE void refill(struct hot *h, unsigned at)
{
	for (unsigned i = 0; i < MARK_FIFO && h->top != h->bottom; i++) {
		uintptr_t next = *--h->top;
		expect(h, next);
		h->mk->fifo[(at + i) % MARK_FIFO] = next;
	}
}

/* stop_here - an assist has enough: what waits in the FIFO goes back to the block. */
static void stop_here(struct hot *h)
{
	for (unsigned i = 0; i < MARK_FIFO; i++) {
		uintptr_t entry = h->mk->fifo[i];
		h->mk->fifo[i] = 0;
		if (entry != 0)
			hot_push(h, entry);
	}
	hot_store(h);
}

/* drain_some - until my block, my FIFO and my ring are empty (true), or until the marker has marked
 * `until` bytes in all: then what is left is in the block and the ring. Each step takes an entry off the
 * block and leaves it in the FIFO's cell, while its line arrives, for the one that came there 16 steps
 * before; zero is an empty cell. */
MGC_INLINE bool drain_some(struct marker *mk, uint64_t until, bool alone, bool watched, bool direct,
			   bool lenient)
{
	struct hot h = hot_load(mk);
	unsigned at = 0;
	MGC_ASSERTION(heap_phase(mk->heap) != PHASE_ARM && heap_phase(mk->heap) != PHASE_ROOTS); /* D2 */
	h.alone = alone;
	h.watched = watched;
	h.direct = direct;
	h.lenient = lenient;
	for (;; at++) {
		uintptr_t *cell = &mk->fifo[at % MARK_FIFO], entry = *cell, next = 0;
		if (MGC_LIKELY(h.top != h.bottom)) {
			next = *--h.top;
			expect(&h, next);
		}
		*cell = next;
		if (MGC_UNLIKELY(entry == 0)) {
			unsigned then = next_waiting(mk, at + 1);
			if (then != at + 1 + MARK_FIFO) {
				at = then - 1;
				continue;
			}
			hot_store(&h);
			if (!marker_settle(mk))
				return true;
			hot_refresh(&h);
			refill(&h, at + 1);
			continue;
		}
		bool took_long = hot_scan(&h, entry);
		if (MGC_UNLIKELY(took_long || at % SHARE_EVERY == 0)) {
			hot_store_block(&h);
			look_around(mk);
			hot_load_block(&h);
		}
		if (until != UINT64_MAX && mk->marked_nbytes >= until) {
			stop_here(&h);
			return false;
		}
	}
}

MGC_INLINE void drain_as(struct marker *mk, bool lenient)
{
	if (mk->alone && mk->direct)
		(void)drain_some(mk, UINT64_MAX, true, false, true, lenient);
	else if (mk->alone)
		(void)drain_some(mk, UINT64_MAX, true, false, false, lenient);
	else if (mk->direct)
		(void)drain_some(mk, UINT64_MAX, false, false, true, lenient);
	else
		(void)drain_some(mk, UINT64_MAX, false, false, false, lenient);
}

void marker_drain_mine(struct marker *mk)
{
	if (mk->watch != NULL)
		(void)drain_some(mk, UINT64_MAX, mk->alone, true, mk->direct, mk->ignore_invalid);
	else if (mk->ignore_invalid)
		drain_as(mk, true);
	else
		drain_as(mk, false);
	mark_flush_pending(mk);
}

/* adopt - a block from the pool becomes mine; words become candidates. */
static void adopt(struct marker *mk, struct grey_block *b)
{
	if (b->words) {
		annotate_words(b->object, b->n);
		mk->of_roots = true;
		for (uint32_t i = 0; i < b->n; i++)
			marker_candidate(mk, b->object[i] & ~MARK_AMBIGUOUS, MARK_AMBIGUOUS);
		(void)marker_settle(mk);
		mk->of_roots = false;
		grey_put_empty(mk->pool, b);
		return;
	}
	if (mk->block != NULL)
		grey_put_empty(mk->pool, mk->block);
	mk->block = b;
}

void marker_drain(struct marker *mk)
{
	for (;;) {
		marker_drain_mine(mk);
		struct grey_block *b = grey_wait_full(mk->pool, &mk->boundary);
		if (b == NULL)
			return;
		adopt(mk, b);
	}
}

/* unload - what I have goes to the others. */
static void unload(struct marker *mk)
{
	(void)marker_settle(mk);
	if (mk->block != NULL && mk->block->n != 0) {
		grey_put_full(mk->pool, mk->block);
		mk->block = NULL;
	}
}

/* take_or_ask - a block for an assist; when there is none, those who mark are asked for one. */
static struct grey_block *take_or_ask(struct grey_pool *p)
{
	struct grey_block *b = grey_take_full(p);
	if (b != NULL)
		return b;
	store_relaxed(&p->hungry, 1u);
	for (unsigned i = 0; i < ASK_SPINS && b == NULL && !p->one_processor; i++) {
		cpu_relax();
		b = grey_take_full(p);
	}
	return b;
}

void marker_assist(struct marker *mk, uint64_t nbytes)
{
	struct grey_block *b;
	while (mk->marked_nbytes < nbytes && (b = take_or_ask(mk->pool)) != NULL) {
		adopt(mk, b);
		if (!drain_some(mk, nbytes, false, false, mk->direct, mk->ignore_invalid))
			break;
	}
	unload(mk);
}

void marker_feed(struct marker *mk, struct grey_block *list)
{
	while (list != NULL) {
		struct grey_block *b = list;
		list = b->next;
		adopt(mk, b);
	}
}

/* ── overflow ───────────────────────────────────────────────────────────────────────────── */

static void rescan_span(void *arg, struct span *s)
{
	struct marker *mk = arg;
	if (!load_relaxed(&s->overflow))
		return;
	store_relaxed(&s->overflow, (uint8_t)0);
	for (uint32_t slot = 0; slot < s->nslots; slot++) {
		uintptr_t addr = span_slot_addr(s, slot);
		if (space_is_born(&mk->heap->pageheap.space, addr)) {
			marker_scan_object(mk, addr);
			marker_drain_mine(mk);
		}
	}
}

static bool rescan_overflowed(struct marker *mk)
{
	if (swap_acq_rel(&mk->pool->overflow, 0u) == 0) /* pairs: grey-overflow */
		return false;
	pageheap_each(&mk->heap->pageheap, rescan_span, mk);
	return true;
}

static void drain_shared(struct marker *mk)
{
	for (;;) {
		marker_drain_mine(mk);
		struct grey_block *b = grey_take_full(mk->pool);
		if (b == NULL)
			return;
		adopt(mk, b);
	}
}

void marker_drain_alone(struct marker *mk)
{
	do {
		drain_shared(mk);
	} while (rescan_overflowed(mk));
}
