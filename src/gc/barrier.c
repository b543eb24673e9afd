/* barrier.c - see barrier.h. */
#include "gc/barrier.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "gc/checkmark.h"
#include "os/os.h"

/* A long move is many sections, so that a quiescence never waits long. */
#define MOVE_WORDS ((size_t)1024)

/* fresh_buffer - instead of the full one (or none); NULL: no memory, the full one stays. */
static MGC_NOINLINE struct grey_block *fresh_buffer(struct mutator *m, struct grey_block *full)
{
	struct grey_pool *pool = &m->heap->gc->pool;
	struct grey_block *fresh = grey_take_empty(pool), *seen = full;
	if (fresh == NULL)
		return NULL;
	fresh->words = 1;
	if (full != NULL && cas_acq_rel(&m->shaded, &seen, fresh)) /* pairs: shaded */
		grey_put_full(pool, full);
	else /* there was none, or the collector has just taken it */
		store_release(&m->shaded, fresh); /* pairs: shaded */
	return fresh;
}

static void buffer(struct mutator *m, uintptr_t word)
{
	struct grey_block *b = load_acquire(&m->shaded); /* pairs: shaded */
	if (b == NULL || b->n == GREY_BLOCK_OBJECTS)
		b = fresh_buffer(m, b);
	if (b == NULL)
		(void)mark_in_place(m->heap, &m->heap->gc->pool, word);
	else
		b->object[b->n++] = word;
}

void barrier_shade(struct mutator *m, uintptr_t word)
{
	struct heap *h = m->heap;
	uint64_t pg = heap_phase_gen(h);
	word &= load_relaxed(&h->layouts.word_mask);
	if (!space_contains(&h->pageheap.space, word) || !barrier_shades(phase_gen_phase(pg)))
		return;
	if (phase_gen_phase(pg) < PHASE_TERM) {
		buffer(m, word);
		return;
	}
	if (mark_is_marked(h, word))
		return;
	buffer(m, word);
	if (phase_gen_phase(pg) == PHASE_TERM) /* from CLOSED its owner looks again himself */
		(void)cas_seq(&h->phase_gen, &pg, (pg & ~UINT64_C(0xff)) | PHASE_MARK); /* pairs: phase */
}

MGC_COLD void barrier_write_slow(struct mutator *m, uintptr_t *slot, uintptr_t word)
{
	checkmark_note(m->heap->gc, slot);
	barrier_shade(m, load_relaxed(slot));
	barrier_shade(m, word);
	store_release(slot, word);
}

/* move_piece - n words in one section. */
static void move_piece(struct mutator *m, uintptr_t *dst, const uintptr_t *src, size_t n)
{
	mutator_enter(m);
	bool off = heap_phase(m->heap) == PHASE_OFF, up = src < dst;
	for (size_t k = 0; k < n; k++) {
		size_t i = up ? n - 1 - k : k;
		uintptr_t word = src != NULL ? load_relaxed(&src[i]) : 0;
		if (off)
			store_release(&dst[i], word);
		else
			barrier_write_slow(m, &dst[i], word);
	}
	MGC_ASSERTION(!off || heap_phase(m->heap) < PHASE_ROOTS); /* D1 */
	mutator_leave(m);
}

void barrier_move(struct mutator *m, uintptr_t *dst, const uintptr_t *src, size_t n)
{
	bool up = src != NULL && src < dst;
	for (size_t done = 0; done < n;) {
		size_t piece = min_size(n - done, MOVE_WORDS), at = up ? n - done - piece : done;
		move_piece(m, dst + at, src != NULL ? src + at : NULL, piece);
		done += piece;
	}
}

bool barrier_cas(struct mutator *m, uintptr_t *slot, uintptr_t expected, uintptr_t word)
{
	mutator_enter(m);
	if (heap_phase(m->heap) != PHASE_OFF) {
		checkmark_note(m->heap->gc, slot);
		barrier_shade(m, expected);
		barrier_shade(m, word);
	}
	bool stored = cas_seq(slot, &expected, word);
	mutator_leave(m);
	return stored;
}

uintptr_t barrier_exchange(struct mutator *m, uintptr_t *slot, uintptr_t word)
{
	mutator_enter(m);
	bool off = heap_phase(m->heap) == PHASE_OFF;
	if (!off) {
		checkmark_note(m->heap->gc, slot);
		barrier_shade(m, word);
	}
	uintptr_t old = swap_acq_rel(slot, word);
	if (!off)
		barrier_shade(m, old);
	mutator_leave(m);
	return old;
}

enum keep barrier_keep(struct mutator *m, uintptr_t word, bool is_long, uint64_t phase_gen)
{
	unsigned phase = phase_gen_phase(phase_gen);
	if (phase == PHASE_OFF || phase == PHASE_FLIP)
		return KEEP_YES;
	if (phase < PHASE_CLOSED) {
		barrier_shade(m, word);
		return KEEP_YES;
	}
	if (is_long && phase == PHASE_CLEAR)
		return KEEP_WAIT;
	if (mark_is_marked(m->heap, word))
		return KEEP_YES;
	return phase == PHASE_CLEAR ? KEEP_DEAD : KEEP_WAIT;
}

uintptr_t barrier_weak_get_slow(struct mutator *m, const uintptr_t *slot, bool is_long)
{
	struct heap *h = m->heap;
	for (;;) {
		mutator_enter(m);
		uintptr_t word = load_acquire(slot); /* pairs: weak-null */
		uint64_t pg = heap_phase_gen(h);
		enum keep keep = word == 0 ? KEEP_DEAD : barrier_keep(m, word, is_long, pg);
		mutator_leave(m);
		if (keep != KEEP_WAIT)
			return keep == KEEP_YES ? word : 0;
		heap_wait_phase(h, pg); /* not inside: a quiescence follows */
	}
}

static struct grey_block *take(struct grey_block **list)
{
	return load_relaxed(list) == NULL ? NULL : swap_acq_rel(list, (struct grey_block *)NULL);
}

/* take_all - adds the list that each mutator has at that offset of its record. */
static struct grey_block *take_all(struct heap *h, size_t offset, struct grey_block *all)
{
	lock_acquire(&h->registry_lock);
	LIST_EACH(it, &h->mutators) {
		char *m = (char *)LIST_ENTRY(it, struct mutator, node);
		struct grey_block *list = take((struct grey_block **)(void *)(m + offset)), *last = list;
		if (list == NULL)
			continue;
		while (last->next != NULL)
			last = last->next;
		last->next = all;
		all = list;
	}
	lock_release(&h->registry_lock);
	return all;
}

struct grey_block *barrier_take_buffers(struct heap *h)
{
	return take_all(h, offsetof(struct mutator, shaded), NULL); /* pairs: shaded */
}

/* ── explicit frees ─────────────────────────────────────────────────────────────────────── */

bool barrier_defer_free(struct mutator *m, uintptr_t p, size_t nbytes)
{
	struct grey_block *b = load_acquire(&m->freed); /* pairs: freed */
	barrier_shade(m, p); /* what it refers to may still be wanted */
	if (b == NULL || b->n == GREY_BLOCK_OBJECTS) {
		struct grey_block *fresh = grey_take_empty(&m->heap->gc->pool), *seen = b;
		if (fresh == NULL)
			return false;
		fresh->next = b;
		if (b == NULL || !cas_acq_rel(&m->freed, &seen, fresh)) { /* pairs: freed */
			fresh->next = NULL; /* none, or the collector has just taken them */
			store_release(&m->freed, fresh); /* pairs: freed */
		}
		b = fresh;
	}
	b->object[b->n++] = p;
	add_relaxed(&m->heap->freed_nbytes, nbytes);
	return true;
}

void barrier_hand_over(struct mutator *m)
{
	struct gc *gc = m->heap->gc;
	unsigned phase = phase_gen_phase(mutator_enter_heap(m));
	struct grey_block *b = take(&m->shaded); /* pairs: shaded */
	struct grey_block *freed = take(&m->freed); /* pairs: freed */
	if (b != NULL && barrier_shades(phase))
		grey_put_full(&gc->pool, b);
	else if (b != NULL)
		grey_put_empty(&gc->pool, b);
	while (freed != NULL) { /* one by one: there are few */
		struct grey_block *next = freed->next, *others = load_relaxed(&gc->freed);
		do
			freed->next = others;
		while (!cas_acq_rel(&gc->freed, &others, freed)); /* pairs: freed */
		freed = next;
	}
	mutator_leave(m);
}

struct grey_block *barrier_take_freed(struct heap *h)
{
	return take_all(h, offsetof(struct mutator, freed), take(&h->gc->freed)); /* pairs: freed */
}

size_t barrier_unmark_freed(struct heap *h, uintptr_t p)
{
	struct span *s = space_span(&h->pageheap.space, p);
	uint64_t bit;
	struct bitpair *pair = space_bits(&h->pageheap.space, p, &bit);
	if ((and_seq(&pair->mark, ~bit) & bit) == 0)
		mgc_misuse("second free of %p (a slot of %zu B), while a collection ran", (void *)p,
			   s->slot_nbytes);
	return s->slot_nbytes;
}
