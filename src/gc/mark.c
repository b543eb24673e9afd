/* mark.c - see mark.h. LOCKS none but the pool's. Words of objects and roots are read with relaxed
 * loads: the program may be writing them. */
#include "gc/mark.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "gc/trace.h"
#include "mallocgc.h"

/* After this many objects a marker looks whether others are idle. */
#define SHARE_EVERY 64
#define SHARE_MIN 4

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
}

void marker_finish(struct marker *mk)
{
	MGC_CHECK(mk->ring_n == 0 && mk->fifo_n == 0);
	memset(mk->ring, 0, sizeof mk->ring); /* what stays behind on this stack would keep objects later */
	memset(mk->fifo, 0, sizeof mk->fifo);
	if (mk->block != NULL) {
		MGC_CHECK(mk->block->n == 0);
		grey_put_empty(mk->pool, mk->block);
	}
	mk->block = NULL;
}

/* ── the grey queue ─────────────────────────────────────────────────────────────────────── */

static MGC_COLD void overflow(struct marker *mk, uintptr_t object)
{
	struct span *s = space_span(&mk->heap->pageheap.space, object);
	store_relaxed(&s->overflow, (uint8_t)1);
	store_release(&mk->pool->overflow, 1u); /* pairs: grey-overflow */
}

static MGC_NOINLINE void push_slow(struct marker *mk, uintptr_t object)
{
	struct grey_block *fresh = grey_take_empty(mk->pool);
	if (fresh == NULL) {
		overflow(mk, object);
		return;
	}
	if (mk->block != NULL)
		grey_put_full(mk->pool, mk->block);
	mk->block = fresh;
	fresh->object[fresh->n++] = object;
}

MGC_INLINE void push(struct marker *mk, uintptr_t object)
{
	struct grey_block *b = mk->block;
	if (MGC_UNLIKELY(b == NULL || b->n == GREY_BLOCK_OBJECTS)) {
		push_slow(mk, object);
		return;
	}
	b->object[b->n++] = object;
}

/* push_large - one entry for each piece. */
static void push_large(struct marker *mk, uintptr_t object)
{
	const struct span *s = space_span(&mk->heap->pageheap.space, object);
	bool whole = mk->spanclass[s->spanclass].scan == SCAN_TRACE;
	for (size_t at = 0; at < s->slot_nbytes; at += MARK_PIECE) {
		push(mk, object + at);
		if (whole)
			break;
	}
}

/* ── from a word to a mark bit ──────────────────────────────────────────────────────────── */

static MGC_COLD void invalid_pointer(struct marker *mk, uintptr_t word)
{
	const struct space *sp = &mk->heap->pageheap.space;
	const struct span *s = space_span(sp, word);
	if (mk->ignore_invalid)
		return;
	mgc_misuse("an object (at %p) refers to %p, which is %s: it was freed while in use, or the "
		   "word is no pointer (MGC_DEBUG=invalidptr=0 ignores this)",
		   (void *)mk->scanning, (void *)word,
		   s == NULL ? "in no allocated page" : "a free slot");
}

static MGC_COLD uintptr_t far_object(struct marker *mk, uintptr_t off, uint32_t desc)
{
	const struct space *sp = &mk->heap->pageheap.space;
	return space_first_page(sp, off >> MGC_PAGE_SHIFT, desc) << MGC_PAGE_SHIFT;
}

/* mark_candidate - resolves the word to its slot, sets the mark bit, queues what has pointers. */
MGC_INLINE void mark_candidate(struct marker *mk, uintptr_t tagged)
{
	uintptr_t off = (tagged & ~MARK_AMBIGUOUS) - mk->base;
	uint32_t desc = load_acquire(&mk->desc[off >> MGC_PAGE_SHIFT]); /* pairs: desc-publish */
	const struct spanclass *sc = &mk->spanclass[desc_spanclass(desc)];
	size_t in = (off & (MGC_PAGE_SIZE - 1)) + (desc_distance(desc) << MGC_PAGE_SHIFT);
	uintptr_t start = off - in;
	if (MGC_UNLIKELY(desc == 0)) {
		if (!(tagged & MARK_AMBIGUOUS))
			invalid_pointer(mk, tagged);
		return;
	}
	if (MGC_LIKELY(sc->reciprocal != 0))
		start += ((in * sc->reciprocal) >> 32) * sc->slot_nbytes;
	else if (MGC_UNLIKELY(desc_distance(desc) == DESC_FAR))
		start = far_object(mk, off, desc);
	struct bitpair *pair = &mk->bits[start >> 10];
	uint64_t bit = UINT64_C(1) << ((start >> MGC_GRANULE_SHIFT) & 63);
	if (load_relaxed(&pair->mark) & bit)
		return;
	if (MGC_UNLIKELY(!(load_acquire(&pair->alloc) & bit))) {
		if (!(tagged & MARK_AMBIGUOUS))
			invalid_pointer(mk, tagged);
		return;
	}
	if (mk->alone)
		store_relaxed(&pair->mark, load_relaxed(&pair->mark) | bit);
	else if (or_relaxed(&pair->mark, bit) & bit)
		return;
	mk->marked_objects++;
	mk->marked_nbytes += sc->slot_nbytes;
	if (MGC_UNLIKELY(sc->slot_nbytes == 0))
		mk->marked_nbytes += span_nbytes(space_span(&mk->heap->pageheap.space, mk->base + start));
	if (sc->scan == SCAN_NONE)
		return;
	if (MGC_LIKELY(sc->slot_nbytes != 0))
		push(mk, mk->base + start);
	else
		push_large(mk, mk->base + start);
}

/* candidate - puts the word at the end of the ring; marks the oldest one when it is full. */
MGC_INLINE void candidate(struct marker *mk, uintptr_t word, uintptr_t ambiguous)
{
	uintptr_t off = word - mk->base;
	if (off >= mk->nbytes)
		return;
	__builtin_prefetch(&mk->bits[off >> 10], 1);
	unsigned at = mk->ring_at;
	mk->ring_at = (at + 1) % MARK_RING;
	if (mk->ring_n == MARK_RING) {
		uintptr_t oldest = mk->ring[at];
		mk->ring[at] = word | ambiguous;
		mark_candidate(mk, oldest);
		return;
	}
	mk->ring[at] = word | ambiguous;
	mk->ring_n++;
}

void marker_candidate_slow(struct marker *mk, uintptr_t tagged)
{
	candidate(mk, tagged & ~MARK_AMBIGUOUS, tagged & MARK_AMBIGUOUS);
}

/* flush_ring - marks all that wait. A short ring means a graph without width: then the objects' own
 * lines are asked for together with those of their bits. */
static void flush_ring(struct marker *mk)
{
	unsigned n = mk->ring_n, at = (mk->ring_at + MARK_RING - n) % MARK_RING;
	mk->ring_n = 0;
	uintptr_t waiting[MARK_RING];
	for (unsigned i = 0; i < n; i++) {
		waiting[i] = mk->ring[(at + i) % MARK_RING];
		__builtin_prefetch((void *)(waiting[i] & ~MARK_AMBIGUOUS));
	}
	for (unsigned i = 0; i < n; i++)
		mark_candidate(mk, waiting[i]);
}

void marker_settle(struct marker *mk)
{
	flush_ring(mk);
}

bool marker_object(struct marker *mk, uintptr_t addr)
{
	if (space_is_marked(&mk->heap->pageheap.space, addr))
		return false;
	mark_candidate(mk, addr | MARK_AMBIGUOUS);
	return true;
}

/* ── scanning ───────────────────────────────────────────────────────────────────────────── */

MGC_NO_SANITIZE void marker_range(struct marker *mk, uintptr_t lo, uintptr_t hi, uintptr_t ambiguous)
{
	const uintptr_t *w = (const uintptr_t *)align_up(lo, sizeof(uintptr_t));
	const uintptr_t *end = (const uintptr_t *)align_down(hi, sizeof(uintptr_t));
	for (; w < end; w++)
		candidate(mk, load_relaxed(w), ambiguous);
}

/* scan_periodic - the words of [lo, hi) that the layout names, which repeats from `object` on. */
static void scan_periodic(struct marker *mk, const struct layout_desc *d, uintptr_t object,
			  uintptr_t lo, uintptr_t hi, uintptr_t ambiguous)
{
	size_t bit = ((lo - object) / sizeof(uintptr_t)) % d->period;
	for (uintptr_t at = lo; at < hi; at += sizeof(uintptr_t)) {
		if (d->mask[bit / 64] >> (bit % 64) & 1)
			candidate(mk, load_relaxed((const uintptr_t *)at), ambiguous);
		if (++bit == d->period)
			bit = 0;
	}
}

void mgc_trace(struct mgc_tracer *tracer, const void *ref)
{
	candidate(tracer->mk, (uintptr_t)ref, tracer->ambiguous);
}

void *trace_user(const void *tracer)
{
	return ((const struct mgc_tracer *)tracer)->user;
}

static void scan_long(struct marker *mk, uintptr_t at, const struct spanclass *sc)
{
	const struct layout_desc *d = &mk->heap->layouts.layout[sc->layout].desc;
	const struct span *s = space_span(&mk->heap->pageheap.space, at);
	uintptr_t ambiguous = sc->flags & LAYOUT_AMBIGUOUS ? MARK_AMBIGUOUS : 0;
	uintptr_t object = span_slot_addr(s, span_slot_of(s, at)), end = object + s->slot_nbytes;
	if (s->slot_nbytes > MARK_PIECE) {
		end = min_size(end - s->slack, at + MARK_PIECE);
		end = align_down(end, sizeof(uintptr_t));
	}
	if (sc->scan == SCAN_TRACE) {
		struct mgc_tracer tracer = { mk, ambiguous, d->user };
		d->trace((void *)object, &tracer);
	} else if (sc->scan == SCAN_PERIOD) {
		scan_periodic(mk, d, object, at, end, ambiguous);
	} else {
		marker_range(mk, at, end, ambiguous);
	}
}

/* scan - reads the words of a grey object, or of a piece of a large one. */
MGC_INLINE void scan(struct marker *mk, uintptr_t at)
{
	uint32_t desc = load_relaxed(&mk->desc[(at - mk->base) >> MGC_PAGE_SHIFT]);
	const struct spanclass *sc = &mk->spanclass[desc_spanclass(desc)];
	const uintptr_t *w = (const uintptr_t *)at;
	uintptr_t ambiguous = sc->flags & LAYOUT_AMBIGUOUS ? MARK_AMBIGUOUS : 0;
	mk->scanning = at;
	if (sc->scan == SCAN_MASK64) {
		for (uint64_t m = sc->mask; m != 0; m &= m - 1)
			candidate(mk, load_relaxed(&w[bits_ctz(m)]), ambiguous);
	} else if (sc->scan == SCAN_ALL && sc->slot_nbytes != 0) {
		const uintptr_t *end = w + sc->slot_nbytes / sizeof(uintptr_t);
		for (; w < end; w++)
			candidate(mk, load_relaxed(w), ambiguous);
	} else {
		scan_long(mk, at, sc);
	}
}

void marker_scan_object(struct marker *mk, uintptr_t addr)
{
	const struct span *s = space_span(&mk->heap->pageheap.space, addr);
	const struct spanclass *sc = &mk->spanclass[s->spanclass];
	if (sc->scan == SCAN_NONE)
		return;
	for (size_t at = 0; at < s->slot_nbytes; at += MARK_PIECE) {
		scan(mk, addr + at);
		if (sc->scan == SCAN_TRACE)
			break;
	}
}

/* ── draining ───────────────────────────────────────────────────────────────────────────── */

/* share - gives half of the block away when somebody is idle. */
static void share(struct marker *mk)
{
	struct grey_block *mine = mk->block;
	if (load_relaxed(&mk->pool->nidle) == 0 || mine == NULL || mine->n < SHARE_MIN ||
	    load_relaxed(&mk->pool->full) != NULL)
		return;
	struct grey_block *theirs = grey_take_empty(mk->pool);
	if (theirs == NULL)
		return;
	uint64_t n = mine->n / 2; /* the older half: nearer the roots, so larger graphs behind it */
	memcpy(theirs->object, mine->object, n * sizeof mine->object[0]);
	memmove(mine->object, mine->object + n, (mine->n - n) * sizeof mine->object[0]);
	theirs->n = n;
	mine->n -= n;
	grey_put_full(mk->pool, theirs);
}

static void fill_fifo(struct marker *mk)
{
	struct grey_block *b = mk->block;
	while (mk->fifo_n < MARK_FIFO && b != NULL && b->n > 0) {
		uintptr_t object = b->object[--b->n];
		__builtin_prefetch((void *)object);
		mk->fifo[(mk->fifo_at + mk->fifo_n++) % MARK_FIFO] = object;
	}
}

/* drain_mine - until my block, my FIFO and my ring are empty. */
static void drain_mine(struct marker *mk)
{
	for (unsigned n = 0;; n++) {
		fill_fifo(mk);
		if (mk->fifo_n == 0) {
			if (mk->ring_n == 0)
				return;
			flush_ring(mk);
			continue;
		}
		uintptr_t object = mk->fifo[mk->fifo_at];
		mk->fifo_at = (mk->fifo_at + 1) % MARK_FIFO;
		mk->fifo_n--;
		scan(mk, object);
		if (n % SHARE_EVERY == 0)
			share(mk);
	}
}

static void adopt(struct marker *mk, struct grey_block *b)
{
	if (mk->block != NULL)
		grey_put_empty(mk->pool, mk->block);
	mk->block = b;
}

void marker_drain(struct marker *mk)
{
	for (;;) {
		drain_mine(mk);
		struct grey_block *b = grey_wait_full(mk->pool);
		if (b == NULL)
			return;
		adopt(mk, b);
	}
}

void marker_drain_alone(struct marker *mk)
{
	for (;;) {
		drain_mine(mk);
		struct grey_block *b = grey_take_full(mk->pool);
		if (b == NULL)
			return;
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
		if (space_is_marked(&mk->heap->pageheap.space, addr)) {
			marker_scan_object(mk, addr);
			drain_mine(mk);
		}
	}
}

bool mark_rescan_overflowed(struct marker *mk)
{
	if (swap_acq_rel(&mk->pool->overflow, 0u) == 0) /* pairs: grey-overflow */
		return false;
	pageheap_each(&mk->heap->pageheap, rescan_span, mk);
	return true;
}
