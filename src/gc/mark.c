/* mark.c - see mark.h. LOCKS none but the pool's. Words of objects and roots are read with relaxed
 * loads: the program may be writing them. */
#include "gc/mark.h"

#include <string.h>

#include "base/annotate.h"
#include "base/bits.h"
#include "base/check.h"
#include "gc/edge.h"
#include "gc/trace.h"

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

typedef void part_fn(void *obj, size_t from, size_t to, void *tracer);

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

static void flush_pending(struct marker *mk)
{
	if (mk->npending == 0)
		return;
	grey_put_pending(mk->pool, mk->pending, mk->npending);
	mk->npending = 0;
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
	flush_pending(mk);
	tell(mk, mk->marked_nbytes);
	tell_spared(mk);
	marker_check_drained(mk);
	memset(mk->recent, 0, sizeof mk->recent); /* what stays on this stack would keep objects later */
	if (mk->block != NULL)
		grey_put_empty(mk->pool, mk->block);
	mk->block = NULL;
}

/* ── the hot state ──────────────────────────────────────────────────────────────────────────
 * What the loop touches for every word lives in a local copy that the compiler keeps in registers; it is
 * loaded from the marker and stored back around every call that leaves the loop. */

struct hot {
	struct marker *mk;
	uintptr_t base;
	size_t last; /* of the offsets in the space; 0 is none: page 0 is hidden */
	const uint32_t *desc;
	struct bitpair *bits;
	const struct spanclass *spanclass;
	uintptr_t *bottom; /* of my block */
	uintptr_t *top; /* its next free cell */
	uintptr_t *full; /* its end */
	unsigned ring_in;
	bool alone, watched, direct, lenient; /* constants in most copies of the loop (drain_mine) */
};

/* A queue entry: the offset of an object, or of a piece of a large one, above its span class. */
#define ENTRY_SHIFT 16

MGC_INLINE uintptr_t entry_of(uintptr_t off, unsigned spanclass)
{
	return off << ENTRY_SHIFT | spanclass;
}

MGC_INLINE void hot_load_block(struct hot *h)
{
	struct grey_block *b = h->mk->block;
	h->bottom = b != NULL ? b->object : NULL;
	h->top = b != NULL ? b->object + b->n : NULL;
	h->full = b != NULL ? b->object + GREY_BLOCK_OBJECTS : NULL;
}

MGC_INLINE struct hot hot_load(struct marker *mk)
{
	struct hot h = { .mk = mk,
			 .base = mk->base,
			 .last = mk->nbytes - 1,
			 .desc = mk->desc,
			 .bits = mk->bits,
			 .spanclass = mk->spanclass,
			 .ring_in = mk->ring_at,
			 .alone = mk->alone,
			 .watched = mk->watch != NULL,
			 .direct = mk->direct,
			 .lenient = mk->ignore_invalid };
	hot_load_block(&h);
	return h;
}

MGC_INLINE void hot_store_block(const struct hot *h)
{
	if (h->mk->block != NULL)
		h->mk->block->n = (uint32_t)(h->top - h->mk->block->object);
}

MGC_INLINE void hot_store(const struct hot *h)
{
	hot_store_block(h);
	h->mk->ring_at = h->ring_in;
}

/* hot_refresh - what calls that left the loop may have changed. */
MGC_INLINE void hot_refresh(struct hot *h)
{
	h->ring_in = h->mk->ring_at;
	hot_load_block(h);
}

/* ── the grey queue ─────────────────────────────────────────────────────────────────────── */

static MGC_COLD void overflow(struct marker *mk, uintptr_t object)
{
	struct span *s = space_span(&mk->heap->pageheap.space, object);
	store_relaxed(&s->overflow, (uint8_t)1);
	store_release(&mk->pool->overflow, 1u); /* pairs: grey-overflow */
}

/* push_slow - my block is full: another one, or the span is flagged. */
static MGC_NOINLINE void push_slow(struct marker *mk, uintptr_t entry)
{
	struct grey_block *fresh = grey_take_empty(mk->pool);
	if (fresh == NULL) {
		overflow(mk, mk->base + (entry >> ENTRY_SHIFT));
		return;
	}
	if (mk->block != NULL)
		grey_put_full(mk->pool, mk->block);
	mk->block = fresh;
	fresh->object[fresh->n++] = entry;
}

MGC_INLINE void push(struct hot *h, uintptr_t entry)
{
	if (MGC_UNLIKELY(h->top == h->full)) {
		struct marker *mk = h->mk;
		hot_store_block(h);
		push_slow(mk, entry);
		hot_load_block(h);
		return;
	}
	*h->top++ = entry;
}

/* in_pieces - not when one callback speaks for the whole object. */
static bool in_pieces(const struct marker *mk, const struct spanclass *sc)
{
	const struct layout_desc *d = &mk->heap->layouts.layout[sc->layout].desc;
	return sc->scan != SCAN_TRACE || d->period != 0 || d->flags & LAYOUT_PARTS;
}

/* push_large - one entry for each piece, straight to the block. Returns the bytes that were marked. */
static MGC_NOINLINE size_t push_large(struct marker *mk, uintptr_t object, unsigned spanclass)
{
	const struct span *s = space_span(&mk->heap->pageheap.space, object);
	const struct spanclass *sc = &mk->spanclass[spanclass];
	size_t nbytes = s->slot_nbytes, step = in_pieces(mk, sc) ? MARK_PIECE : nbytes;
	for (size_t at = 0; at < nbytes && sc->scan != SCAN_NONE; at += step) {
		struct grey_block *b = mk->block;
		uintptr_t entry = entry_of(object + at - mk->base, spanclass);
		if (b == NULL || b->n == GREY_BLOCK_OBJECTS)
			push_slow(mk, entry);
		else
			b->object[b->n++] = entry;
	}
	return nbytes;
}

/* ── from a word to a mark bit ──────────────────────────────────────────────────────────── */

/* Who refers to a word: for a message only. */
struct holder {
	struct heap *heap;
	uintptr_t word;
	uintptr_t object, slot; /* of the first one that was found; slot 0: a trace callback named it */
	uintptr_t looking_at;
};

static void is_it(void *arg, uintptr_t slot, uintptr_t word)
{
	struct holder *f = arg;
	if (word != f->word || f->object != 0)
		return;
	f->object = f->looking_at;
	f->slot = slot;
}

static void look_into(void *arg, struct span *s, uintptr_t object)
{
	struct holder *f = arg;
	f->looking_at = object;
	if (f->object == 0 && !edge_ambiguous(f->heap, s) &&
	    space_is_marked(&f->heap->pageheap.space, object))
		edge_each(f->heap, s, object, is_it, f);
}

/* invalid_pointer - the word waited in the ring, so what is being scanned now need not be its holder. */
static MGC_COLD void invalid_pointer(struct marker *mk, uintptr_t tagged)
{
	if (tagged & MARK_AMBIGUOUS) /* beside a program without a barrier an object may be born there yet */
		mk->recent[(tagged >> 4) % MARK_RECENT] = 0;
	if (mk->ignore_invalid || (tagged & MARK_AMBIGUOUS))
		return;
	uintptr_t word = mk->base + tagged;
	struct span *s = space_span(&mk->heap->pageheap.space, word), *hs;
	struct holder f = { .heap = mk->heap, .word = word };
	const char *what = s == NULL ? "in no allocated page" : "a free slot";
	edge_each_object(mk->heap, look_into, &f);
	if (f.object == 0)
		mgc_misuse("a root refers to %p, which is %s: it was freed while in use, or the "
			   "word is "
			   "no pointer (MGC_DEBUG=invalidptr=0 ignores this)",
			   (void *)word, what);
	(void)edge_object(mk->heap, f.object, &hs);
	mgc_misuse("%s %p (%zu B) refers at +%zu to %p, which is %s: it was freed while in use, or "
		   "the word "
		   "is no pointer (MGC_DEBUG=invalidptr=0 ignores this)",
		   edge_type(mk->heap, hs), (void *)f.object, edge_nbytes(hs),
		   f.slot != 0 ? f.slot - f.object : 0, (void *)word, what);
}

static MGC_COLD uintptr_t far_object(struct marker *mk, uintptr_t off, uint32_t desc)
{
	const struct space *sp = &mk->heap->pageheap.space;
	return space_first_page(sp, off >> MGC_PAGE_SHIFT, desc) << MGC_PAGE_SHIFT;
}

/* has_bit - of the granule at that offset, in its line's word. Written so that it is one instruction. */
MGC_INLINE bool has_bit(uint64_t word, uintptr_t off)
{
	return word >> (off >> MGC_GRANULE_SHIFT & 63) & 1;
}

/* set_mark - true when the bit was clear. */
MGC_INLINE bool set_mark(struct hot *h, struct bitpair *pair, uintptr_t off, uint64_t seen)
{
	uint64_t bit = UINT64_C(1) << (off >> MGC_GRANULE_SHIFT & 63);
	if (h->alone) {
		store_relaxed(&pair->mark, seen | bit);
		return true;
	}
	return (or_relaxed(&pair->mark, bit) & bit) == 0;
}

/* found_by_end - of an object with a spare end: whether the word, the first one to find it, points there. A root's
 * may be there by chance, and is tried together with the byte before it. */
static MGC_COLD void found_by_end(struct marker *mk, const struct spanclass *sc, size_t at)
{
	mk->spare_used |= at >= sc->slot_nbytes - MGC_GRANULE && !mk->of_roots;
}

/* slot_within - the start of the allocated slot that the word points into; 0: there is none, or it is marked.
 * That comes first: a word may point into a slot that was marked and freed since. */
MGC_INLINE uintptr_t slot_within(struct hot *h, uintptr_t tagged, uint32_t desc)
{
	uintptr_t off = tagged & ~MARK_AMBIGUOUS;
	const struct spanclass *sc = &h->spanclass[desc_spanclass(desc)];
	size_t in = (off & (MGC_PAGE_SIZE - 1)) + (desc_distance(desc) << MGC_PAGE_SHIFT);
	uintptr_t start = off - in;
	if (MGC_LIKELY(sc->reciprocal != 0)) {
		start += ((in * sc->reciprocal) >> 32) * sc->slot_nbytes;
	} else if (MGC_UNLIKELY(desc == 0)) { /* span class 0 is all zero: not small */
		invalid_pointer(h->mk, tagged);
		return 0;
	} else if (MGC_UNLIKELY(desc_distance(desc) == DESC_FAR)) {
		start = far_object(h->mk, off, desc);
	}
	const struct bitpair *pair = &h->bits[start >> 10];
	uint64_t bit = UINT64_C(1) << ((start >> MGC_GRANULE_SHIFT) & 63);
	if (load_relaxed(&pair->mark) & bit)
		return 0;
	if (MGC_LIKELY(load_acquire(&pair->alloc) & bit)) { /* pairs: alloc-bit */
		if (MGC_UNLIKELY(sc->scan == SCAN_SPARE))
			found_by_end(h->mk, sc, off - start);
		return start;
	}
	invalid_pointer(h->mk, tagged);
	return 0;
}

/* mark_candidate - resolves the word, an offset into the space, to its slot; sets the mark bit; queues
 * what has pointers. */
MGC_INLINE void mark_candidate(struct hot *h, uintptr_t tagged)
{
	uintptr_t start = h->lenient ? tagged : tagged & ~MARK_AMBIGUOUS;
	uint32_t desc = load_acquire(&h->desc[start >> MGC_PAGE_SHIFT]); /* pairs: desc-publish */
	unsigned id = desc_spanclass(desc);
	const struct spanclass *sc = &h->spanclass[id];
	struct bitpair *pair = &h->bits[start >> 10];
	if (MGC_UNLIKELY((start & (uintptr_t)(intptr_t)sc->interior) != 0 ||
			 !has_bit(load_acquire(&pair->alloc), start))) {
		start = slot_within(h, tagged, desc);
		if (start == 0)
			return;
		pair = &h->bits[start >> 10];
	}
	uint64_t seen = load_relaxed(&pair->mark);
	if (has_bit(seen, start) || !set_mark(h, pair, start, seen))
		return;
	h->mk->marked_objects++;
	h->mk->marked_nbytes += sc->slot_nbytes;
	if (MGC_UNLIKELY(h->watched))
		h->mk->watch(h->mk->watch_arg, h->base + start);
	if (MGC_UNLIKELY(sc->nwords == 0)) {
		if (sc->slot_nbytes == 0) {
			hot_store_block(h);
			h->mk->marked_nbytes += push_large(h->mk, h->base + start, id);
			hot_load_block(h);
			return;
		}
		if (sc->scan == SCAN_NONE)
			return;
	}
	push(h, entry_of(start, id));
}

/* candidate - puts the word at the end of the ring; marks the oldest one. Zero is an empty cell: page 0
 * is hidden. */
MGC_INLINE void candidate(struct hot *h, uintptr_t word, uintptr_t ambiguous)
{
	uintptr_t off = word - h->base, tagged = h->lenient ? off : off | ambiguous;
	if (off - 1 >= h->last)
		return;
	if (!h->lenient && ambiguous != 0) { /* the same type or constant stands in object after object: once is enough */
		uintptr_t *recent = &h->mk->recent[(off >> 4) % MARK_RECENT];
		if (*recent == tagged)
			return;
		*recent = tagged;
	}
	if (h->direct) {
		mark_candidate(h, tagged);
		return;
	}
	__builtin_prefetch(&h->bits[off >> 10], 1);
	uintptr_t *cell = &h->mk->ring[h->ring_in++ % MARK_RING], oldest = *cell;
	*cell = tagged;
	if (MGC_LIKELY(oldest != 0))
		mark_candidate(h, oldest);
}

void marker_candidate_slow(struct marker *mk, uintptr_t tagged)
{
	struct hot h = hot_load(mk);
	candidate(&h, tagged & ~MARK_AMBIGUOUS, tagged & MARK_AMBIGUOUS);
	hot_store(&h);
}

void marker_words(struct marker *mk, const uintptr_t *w, size_t n)
{
	struct hot h = hot_load(mk);
	for (size_t i = 0; i < n; i++)
		candidate(&h, w[i], MARK_AMBIGUOUS);
	hot_store(&h);
}

/* flush_ring - marks all that wait; false: nothing did. A short ring means a graph without width: then the
 * objects' own lines are asked for together with those of their bits. */
static bool flush_ring(struct marker *mk)
{
	struct hot h = hot_load(mk);
	unsigned n = 0;
	uintptr_t waiting[MARK_RING];
	while (n < MARK_RING) { /* the newest first: behind an empty cell all are */
		uintptr_t *cell = &mk->ring[(h.ring_in - n - 1) % MARK_RING];
		if (*cell == 0)
			break;
		__builtin_prefetch((void *)(h.base + (*cell & ~MARK_AMBIGUOUS)));
		waiting[n++] = *cell;
		*cell = 0;
	}
	for (unsigned i = n; i > 0; i--)
		mark_candidate(&h, waiting[i - 1]);
	hot_store(&h);
	return n != 0;
}

void marker_settle(struct marker *mk)
{
	(void)flush_ring(mk);
}

bool marker_object(struct marker *mk, uintptr_t addr)
{
	if (space_is_marked(&mk->heap->pageheap.space, addr))
		return false;
	struct hot h = hot_load(mk);
	mark_candidate(&h, (addr - h.base) | (h.lenient ? 0 : MARK_AMBIGUOUS));
	hot_store(&h);
	return true;
}

void marker_unmark(struct marker *mk, uintptr_t addr)
{
	space_unmark(&mk->heap->pageheap.space, addr);
	memset(mk->recent, 0, sizeof mk->recent);
}

/* slot_start - of the allocated object that the word points into; 0: none. */
static uintptr_t slot_start(const struct heap *h, uintptr_t word, struct span **span)
{
	const struct space *sp = &h->pageheap.space;
	struct span *s = space_span(sp, word);
	if (s == NULL)
		return 0;
	uint32_t slot = span_slot_of(s, word);
	uintptr_t start = span_slot_addr(s, slot);
	*span = s;
	return slot < s->nslots && space_is_allocated(sp, start) ? start : 0;
}

bool mark_in_place(struct heap *h, struct grey_pool *pool, uintptr_t word)
{
	struct span *s;
	uintptr_t start = slot_start(h, word, &s);
	if (start == 0)
		return false;
	store_relaxed(&s->overflow, (uint8_t)1);
	fence_seq(); /* pairs: mark-in-place */
	if (!space_mark(&h->pageheap.space, start))
		return false;
	store_relaxed(&s->overflow, (uint8_t)1); /* again: who cleared it has not seen the mark */
	store_release(&pool->overflow, 1u); /* pairs: grey-overflow */
	return true;
}

uintptr_t mark_object_of(const struct heap *h, uintptr_t word)
{
	struct span *s;
	return slot_start(h, word, &s);
}

bool mark_is_marked(const struct heap *h, uintptr_t word)
{
	struct span *s;
	uintptr_t start = slot_start(h, word, &s);
	return start == 0 || space_is_marked(&h->pageheap.space, start);
}

/* ── scanning ───────────────────────────────────────────────────────────────────────────── */

/* load_word - of an object. The program may be writing it, and plainly: before anybody else has seen the object,
 * or where no reference stands. ThreadSanitizer is not asked. */
#if MGC_WITH_TSAN
static MGC_NO_SANITIZE uintptr_t load_word(const uintptr_t *w)
{
	return *(const volatile uintptr_t *)w;
}
#else
MGC_INLINE uintptr_t load_word(const uintptr_t *w)
{
	return load_relaxed(w);
}
#endif

MGC_INLINE void scan_words(struct hot *h, const uintptr_t *w, const uintptr_t *end, uintptr_t ambiguous)
{
	for (; w < end; w++)
		candidate(h, load_word(w), ambiguous);
}

MGC_NO_SANITIZE void marker_range(struct marker *mk, uintptr_t lo, uintptr_t hi, uintptr_t ambiguous)
{
	struct hot h = hot_load(mk);
	scan_words(&h, (const uintptr_t *)align_up(lo, sizeof(uintptr_t)),
		   (const uintptr_t *)align_down(hi, sizeof(uintptr_t)), ambiguous);
	hot_store(&h);
}

MGC_INLINE void scan_coded(struct hot *h, const uintptr_t *w, const uintptr_t *end,
			   struct word_code code, uintptr_t ambiguous)
{
	for (; w < end; w++)
		candidate(h, word_decode(code, load_word(w)), ambiguous);
}

MGC_NO_SANITIZE void marker_range_coded(struct marker *mk, uintptr_t lo, uintptr_t hi,
					struct word_code code, uintptr_t ambiguous)
{
	struct hot h = hot_load(mk);
	scan_coded(&h, (const uintptr_t *)align_up(lo, sizeof(uintptr_t)),
		   (const uintptr_t *)align_down(hi, sizeof(uintptr_t)), code, ambiguous);
	hot_store(&h);
}

/* scan_periodic - the words of [lo, hi) that the layout names, which repeats from `object` on. */
static void scan_periodic(struct hot *h, const struct layout_desc *d, uintptr_t object,
			  uintptr_t lo, uintptr_t hi, uintptr_t ambiguous)
{
	struct word_code code = word_code_of(d);
	size_t bit = ((lo - object) / sizeof(uintptr_t)) % d->period;
	for (uintptr_t at = lo; at < hi; at += sizeof(uintptr_t)) {
		if (d->mask[bit / 64] >> (bit % 64) & 1)
			candidate(h, word_decode(code, load_word((const uintptr_t *)at)), ambiguous);
		if (++bit == d->period)
			bit = 0;
	}
}

void trace_piece(struct mgc_tracer *tracer, const struct layout_desc *d, uintptr_t object,
		 uintptr_t at, size_t nbytes)
{
	size_t from = at - object, to = min_size(from + MARK_PIECE, nbytes), step = d->period;
	if (d->flags & LAYOUT_PARTS) {
		((part_fn *)(void (*)(void))d->trace)((void *)object, from, to, tracer);
	} else if (step == 0) {
		if (from == 0)
			d->trace((void *)object, tracer);
	} else {
		for (from = (from + step - 1) / step * step; from < to && from + step <= nbytes;
		     from += step)
			d->trace((void *)(object + from), tracer);
	}
}

/* scan_pairs - the value of each pair whose key is marked; the others wait for the end (ephemeron.h). Values
 * are ambiguous: a table that was left for a larger one may have some that were freed since. */
static void scan_pairs(struct marker *mk, uintptr_t lo, uintptr_t hi)
{
	for (struct pair *p = (struct pair *)lo; (uintptr_t)(p + 1) <= hi; p++) {
		uintptr_t key = load_acquire(&p->key); /* pairs: pair-key */
		if (key <= PAIR_DEAD)
			continue;
		uintptr_t object = mark_object_of(mk->heap, key);
		if (object == 0 || space_is_marked(&mk->heap->pageheap.space, object)) {
			key_filter_mark(&mk->pool->keys, object);
			marker_candidate(mk, load_relaxed(&p->value), MARK_AMBIGUOUS);
			continue;
		}
		if (mk->npending == MARK_PENDING)
			flush_pending(mk);
		mk->pending[mk->npending++] = (uintptr_t)p;
	}
}

/* look_at_end - of an object with a spare end: all zero, unless the program writes behind its objects. */
MGC_INLINE void look_at_end(struct marker *mk, const uintptr_t *end)
{
	_Static_assert(MGC_GRANULE == 2 * sizeof *end, "a spare end is two words");
	mk->nspared++;
	mk->spare_used |= (load_word(end - 1) | load_word(end - 2)) != 0;
}

/* scan_long - what is not told by one word of mask: long periods, callbacks, tags, pairs, pieces of large
 * objects. */
static MGC_NOINLINE void scan_long(struct marker *mk, uintptr_t at, const struct spanclass *sc)
{
	const struct layout_desc *d = &mk->heap->layouts.layout[sc->layout].desc;
	const struct span *s = space_span(&mk->heap->pageheap.space, at);
	uintptr_t ambiguous = sc->flags & LAYOUT_AMBIGUOUS ? MARK_AMBIGUOUS : 0;
	uintptr_t object = span_slot_addr(s, span_slot_of(s, at)),
		  end = align_down(object + s->slot_nbytes - s->slack, sizeof(uintptr_t));
	if (sc->scan == SCAN_TRACE) {
		struct mgc_tracer tracer = {
			.mk = mk, .ambiguous = ambiguous, .code = word_code_of(d), .user = d->user
		};
		if (marker_sees_stop(mk) || !(sc->flags & LAYOUT_STOPPED))
			trace_piece(&tracer, d, object, at, s->slot_nbytes - s->slack);
		else
			mk->nput_off++;
		return;
	}
	if (s->slot_nbytes > MARK_PIECE)
		end = min_size(end, at + MARK_PIECE);
	if (sc->scan == SCAN_PAIRS) {
		scan_pairs(mk, at, end);
		return;
	}
	struct hot h = hot_load(mk);
	if (d->kind == LAYOUT_MASK)
		scan_periodic(&h, d, object, at, end, ambiguous);
	else if (sc->scan == SCAN_CODED)
		scan_coded(&h, (const uintptr_t *)at, (const uintptr_t *)end, word_code_of(d),
			   ambiguous);
	else
		scan_words(&h, (const uintptr_t *)at, (const uintptr_t *)end, ambiguous);
	hot_store(&h);
	if (sc->scan == SCAN_SPARE)
		look_at_end(mk, (const uintptr_t *)end);
}

/* scan_some - the n words from w on, at least one. */
MGC_INLINE void scan_some(struct hot *h, const uintptr_t *w, size_t n, uintptr_t ambiguous)
{
	const uintptr_t *end = w + n;
	if (ambiguous == 0) {
		do
			candidate(h, load_word(w), 0);
		while (++w < end);
	} else {
		scan_words(h, w, end, MARK_AMBIGUOUS);
	}
}

/* scan - reads the words of a grey object, or of a piece of a large one; true: that may have taken long. */
MGC_INLINE bool scan(struct hot *h, uintptr_t entry)
{
	const struct spanclass *sc = &h->spanclass[(uint16_t)entry];
	const uintptr_t *w = (const uintptr_t *)(h->base + (entry >> ENTRY_SHIFT));
	uintptr_t ambiguous = !h->lenient && sc->flags & LAYOUT_AMBIGUOUS ? MARK_AMBIGUOUS : 0;
	if (MGC_LIKELY(sc->nwords != 0)) {
		scan_some(h, w, sc->nwords, ambiguous);
	} else if (sc->scan == SCAN_SPARE && sc->slot_nbytes != 0) {
		size_t n = sc->slot_nbytes / sizeof(uintptr_t);
		scan_some(h, w, n, ambiguous);
		look_at_end(h->mk, w + n);
	} else if (sc->scan == SCAN_MASK64 && ambiguous == 0) {
		for (uint64_t m = sc->mask; m != 0; m &= m - 1)
			candidate(h, load_word(&w[bits_ctz(m)]), 0);
	} else if (sc->scan == SCAN_MASK64) {
		for (uint64_t m = sc->mask; m != 0; m &= m - 1)
			candidate(h, load_word(&w[bits_ctz(m)]), MARK_AMBIGUOUS);
	} else if (sc->scan == SCAN_CODED64) {
		struct word_code code = { ~(uintptr_t)sc->tag_mask, sc->tags, sc->tag_mask };
		if (sc->flags & LAYOUT_BOXED)
			code.keep &= LAYOUT_BOX_MASK;
		for (uint64_t m = sc->mask; m != 0; m &= m - 1)
			candidate(h, word_decode(code, load_word(&w[bits_ctz(m)])), ambiguous);
	} else {
		hot_store(h);
		scan_long(h->mk, (uintptr_t)w, sc);
		hot_refresh(h);
		return sc->slot_nbytes == 0;
	}
	return false;
}

void marker_scan_object(struct marker *mk, uintptr_t addr)
{
	const struct span *s = space_span(&mk->heap->pageheap.space, addr);
	const struct spanclass *sc = &mk->spanclass[s->spanclass];
	struct hot h = hot_load(mk);
	for (size_t at = 0; at < s->slot_nbytes && sc->scan != SCAN_NONE; at += MARK_PIECE)
		(void)scan(&h, entry_of(addr + at - h.base, s->spanclass));
	hot_store(&h);
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
			push(h, entry);
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
			if (!flush_ring(mk))
				return true;
			hot_refresh(&h);
			refill(&h, at + 1);
			continue;
		}
		bool took_long = scan(&h, entry);
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

static void drain_mine(struct marker *mk)
{
	if (mk->watch != NULL)
		(void)drain_some(mk, UINT64_MAX, mk->alone, true, mk->direct, mk->ignore_invalid);
	else if (mk->ignore_invalid)
		drain_as(mk, true);
	else
		drain_as(mk, false);
	flush_pending(mk);
}

/* adopt - a block from the pool becomes mine; words become candidates. */
static void adopt(struct marker *mk, struct grey_block *b)
{
	if (b->words) {
		annotate_words(b->object, b->n);
		mk->of_roots = true;
		for (uint32_t i = 0; i < b->n; i++)
			marker_candidate(mk, b->object[i] & ~MARK_AMBIGUOUS, MARK_AMBIGUOUS);
		(void)flush_ring(mk);
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
		drain_mine(mk);
		struct grey_block *b = grey_wait_full(mk->pool, &mk->boundary);
		if (b == NULL)
			return;
		adopt(mk, b);
	}
}

/* unload - what I have goes to the others. */
static void unload(struct marker *mk)
{
	(void)flush_ring(mk);
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

/* ── objects that were written to ───────────────────────────────────────────────────────── */

/* rescan_large - the pieces of a marked large object that overlap [lo, hi). */
static void rescan_large(struct marker *mk, const struct span *s, uintptr_t lo, uintptr_t hi)
{
	const struct spanclass *sc = &mk->spanclass[s->spanclass];
	if (!space_is_born(&mk->heap->pageheap.space, s->base))
		return;
	if (sc->scan != SCAN_ALL) { /* a callback, or words that only the layout names */
		marker_scan_object(mk, s->base);
		return;
	}
	marker_range(mk, lo, min_size(hi, s->base + s->slot_nbytes - s->slack),
		     sc->flags & LAYOUT_AMBIGUOUS ? MARK_AMBIGUOUS : 0);
}

/* rescan_slots - the marked ones that overlap [lo, hi) go on the grey queue once more. */
static void rescan_slots(struct marker *mk, const struct span *s, uintptr_t lo, uintptr_t hi)
{
	struct hot h = hot_load(mk);
	size_t first = (span_slot_addr(s, span_slot_of(s, lo)) - h.base) >> MGC_GRANULE_SHIFT;
	size_t end = (hi - h.base) >> MGC_GRANULE_SHIFT;
	for (size_t w = first / 64; w * 64 < end; w++) {
		uint64_t marks = load_relaxed(&h.bits[w].mark) &
				 load_acquire(&h.bits[w].alloc); /* space_is_born; pairs: alloc-bit */
		if (w == first / 64)
			marks &= ~UINT64_C(0) << (first % 64);
		if (end - w * 64 < 64)
			marks &= (UINT64_C(1) << (end % 64)) - 1;
		mk->rescanned_objects += (unsigned)bits_count(marks);
		for (; marks != 0; marks &= marks - 1) {
			size_t granule = w * 64 + (unsigned)bits_ctz(marks);
			/* the slot begins somewhere in it */
			uintptr_t last = h.base + (granule << MGC_GRANULE_SHIFT) + MGC_GRANULE - 1;
			push(&h, entry_of(span_slot_addr(s, span_slot_of(s, last)) - h.base,
					  s->spanclass));
		}
	}
	hot_store(&h);
}

/* rescan_in_span - [lo, hi) lies in the span. */
static void rescan_in_span(struct marker *mk, const struct span *s, uintptr_t lo, uintptr_t hi)
{
	if (mk->spanclass[s->spanclass].scan == SCAN_NONE)
		return;
	if (s->sizeclass == 0)
		rescan_large(mk, s, lo, hi);
	else
		rescan_slots(mk, s, lo, hi);
}

void marker_rescan(struct marker *mk, uintptr_t lo, uintptr_t hi)
{
	const struct space *sp = &mk->heap->pageheap.space;
	while (lo < hi) {
		const struct span *s = space_span(sp, lo);
		uintptr_t end = s != NULL ? s->base + span_nbytes(s)
					  : align_down(lo, MGC_PAGE_SIZE) + MGC_PAGE_SIZE;
		end = min_size(end, hi);
		if (s != NULL)
			rescan_in_span(mk, s, lo, end);
		lo = end;
		if (mk->block != NULL && mk->block->n > GREY_BLOCK_OBJECTS / 2)
			drain_mine(mk);
	}
}

static void rescan_waiting_span(void *arg, struct span *s)
{
	struct marker *mk = arg;
	for (uint32_t slot = 0; slot < s->nslots; slot++)
		if (space_is_born(&mk->heap->pageheap.space, span_slot_addr(s, slot)))
			marker_scan_object(mk, span_slot_addr(s, slot));
}

void marker_rescan_waiting(struct marker *mk)
{
	struct heap *h = mk->heap;
	unsigned n = load_acquire(&h->layouts.nspanclasses); /* pairs: spanclass */
	for (unsigned sc = 1; sc < n; sc++)
		if (mk->spanclass[sc].scan == SCAN_TRACE && (mk->spanclass[sc].flags & LAYOUT_STOPPED))
			central_each(heap_central(h, sc), rescan_waiting_span, mk);
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
			drain_mine(mk);
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
		drain_mine(mk);
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
