/* mark_word.c - see mark_word.h, and mark.h for what others call. LOCKS none but the pool's. */
#include "gc/mark_word.h"

#include <string.h>

#include "base/check.h"
#include "gc/edge.h"

static MGC_COLD void overflow(struct marker *mk, uintptr_t object)
{
	struct span *s = space_span(&mk->heap->pageheap.space, object);
	store_relaxed(&s->overflow, (uint8_t)1);
	store_release(&mk->pool->overflow, 1u); /* pairs: grey-overflow */
}

MGC_NOINLINE void mark_push_slow(struct marker *mk, uintptr_t entry)
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

/* in_pieces - not when one callback speaks for the whole object. */
static bool in_pieces(const struct marker *mk, const struct spanclass *sc)
{
	const struct layout_desc *d = &mk->heap->layouts.layout[sc->layout].desc;
	return sc->scan != SCAN_TRACE || d->period != 0 || d->flags & LAYOUT_PARTS;
}

/* Straight to the block: the loop stored its state. */
MGC_NOINLINE size_t mark_push_large(struct marker *mk, uintptr_t object, unsigned spanclass)
{
	const struct span *s = space_span(&mk->heap->pageheap.space, object);
	const struct spanclass *sc = &mk->spanclass[spanclass];
	size_t nbytes = s->slot_nbytes, step = in_pieces(mk, sc) ? MARK_PIECE : nbytes;
	for (size_t at = 0; at < nbytes && sc->scan != SCAN_NONE; at += step) {
		struct grey_block *b = mk->block;
		uintptr_t entry = entry_of(object + at - mk->base, spanclass);
		if (b == NULL || b->n == GREY_BLOCK_OBJECTS)
			mark_push_slow(mk, entry);
		else
			b->object[b->n++] = entry;
	}
	return nbytes;
}

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

/* mark_invalid - the word waited in the ring, so what is being scanned now need not be its holder. */
MGC_COLD void mark_invalid(struct marker *mk, uintptr_t tagged)
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

MGC_COLD uintptr_t mark_far_object(struct marker *mk, uintptr_t off, uint32_t desc)
{
	const struct space *sp = &mk->heap->pageheap.space;
	return space_first_page(sp, off >> MGC_PAGE_SHIFT, desc) << MGC_PAGE_SHIFT;
}

/* mark_found_by_end - of an object with a spare end: whether the word, the first one to find it, points there. A root's
 * may be there by chance, and is tried together with the byte before it. */
MGC_COLD void mark_found_by_end(struct marker *mk, const struct spanclass *sc, size_t at)
{
	mk->spare_used |= at >= sc->slot_nbytes - MGC_GRANULE && !mk->of_roots;
}

void marker_candidate_slow(struct marker *mk, uintptr_t tagged)
{
	struct hot h = hot_load(mk);
	hot_candidate(&h, tagged & ~MARK_AMBIGUOUS, tagged & MARK_AMBIGUOUS);
	hot_store(&h);
}

void marker_words(struct marker *mk, const uintptr_t *w, size_t n)
{
	struct hot h = hot_load(mk);
	for (size_t i = 0; i < n; i++)
		hot_candidate(&h, w[i], MARK_AMBIGUOUS);
	hot_store(&h);
}

/* A short ring means a graph without width: then the objects' own lines are asked for together with those of
 * their bits. */
bool marker_settle(struct marker *mk)
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
		hot_mark(&h, waiting[i - 1]);
	hot_store(&h);
	return n != 0;
}

bool marker_object(struct marker *mk, uintptr_t addr)
{
	if (space_is_marked(&mk->heap->pageheap.space, addr))
		return false;
	struct hot h = hot_load(mk);
	hot_mark(&h, (addr - h.base) | (h.lenient ? 0 : MARK_AMBIGUOUS));
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
