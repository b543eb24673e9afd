/* cache.c - see cache.h. LOCKS takes none itself; central.c and pageheap.c do. */
#include "heap/cache.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

/* A refill prepares at most this much memory that needs zeroing, so that it is still in the first
 * level cache when it is handed out. Memory that is zero already is taken by the whole run. */
#define ZERO_RUN_NBYTES ((size_t)8192)

static void count_handed(struct mutator *m, size_t nbytes)
{
	m->nbytes_handed += nbytes;
	cache_flush_counts(m);
}

void cache_flush_counts(struct mutator *m)
{
	uint64_t n = m->nbytes_handed;
	m->nbytes_handed = 0;
	if (n == 0)
		return;
	add_relaxed(&m->heap->live_nbytes, n);
	add_relaxed(&m->heap->allocated_nbytes, n);
}

static uint32_t run_limit(const struct span *s)
{
	if (!load_relaxed(&s->needzero))
		return s->nslots;
	size_t n = ZERO_RUN_NBYTES / s->slot_nbytes;
	return n > 0 ? (uint32_t)n : 1;
}

/* ensure_swept - a span that the cache kept over the end of a cycle. */
static void ensure_swept(struct heap *h, struct span *s)
{
	uint32_t gen = heap_sweepgen(h);
	if (MGC_LIKELY(load_acquire(&s->sweepgen) == gen)) /* pairs: swept */
		return;
	store_relaxed(&s->sweepgen, gen - 1);
	h->ops.sweep_span(h, s);
}

static bool next_run(struct mutator *m, unsigned spanclass, struct span *s)
{
	const struct space *sp = &m->heap->pageheap.space;
	uint32_t lo, hi;
	if (!span_find_run(sp, s, run_limit(s), &lo, &hi))
		return false;
	uintptr_t addr = span_slot_addr(s, lo), end = span_slot_addr(s, hi);
	if (load_relaxed(&s->needzero) && !(m->heap->layouts.spanclass[spanclass].flags & LAYOUT_NOZERO))
		memset((void *)addr, 0, end - addr);
	span_take_run(sp, s, lo, hi, m->black != 0);
	/* no step in between names a slot that is not unborn: the child of a fork may start from it */
	struct run *r = &m->runs[spanclass];
	store_relaxed(&r->end, (uintptr_t)0);
	store_release(&r->cur, addr);
	store_release(&r->end, end);
	count_handed(m, end - addr);
	return true;
}

/* check_span - in release too: a record that was overwritten must not be allocated from. */
static void check_span(const struct span *s, unsigned spanclass)
{
	const struct sizeclass_info *info =
		&sizeclass_table[s->sizeclass < MGC_NSIZECLASS ? s->sizeclass : 0];
	if (MGC_UNLIKELY(s->state != SPAN_IN_USE || s->spanclass != spanclass || s->nslots != info->nslots ||
			 s->slot_nbytes != info->slot_nbytes || s->scan_from > s->nslots))
		mgc_fatal("the record of span %p is corrupted (class %u for %u, %u slots of %zu B, "
			  "state %u): "
			  "memory of the library was overwritten",
			  (void *)s->base, s->spanclass, spanclass, s->nslots, s->slot_nbytes,
			  s->state);
}

bool cache_refill(struct mutator *m, unsigned spanclass)
{
	bool ok = true;
	mutator_enter(m);
	struct span *s = m->spans[spanclass];
	if (s != NULL) {
		check_span(s, spanclass);
		ensure_swept(m->heap, s);
	}
	while (s == NULL || !next_run(m, spanclass, s)) {
		m->runs[spanclass] = (struct run){ 0, 0 };
		m->spans[spanclass] = NULL;
		if (s != NULL)
			central_put(m->heap, s);
		s = central_take(m->heap, spanclass);
		m->spans[spanclass] = s;
		if (s == NULL) {
			ok = false;
			break;
		}
	}
	mutator_leave(m);
	return ok;
}

bool cache_refill_tiny(struct mutator *m)
{
	struct layouts *ls = &m->heap->layouts;
	unsigned sc = layout_spanclass(ls, LAYOUT_ID_TINY, sizeclass_of(MGC_MAX_TINY));
	uintptr_t p = cache_pop(m, sc, MGC_MAX_TINY);
	if (p == 0) {
		if (!cache_refill(m, sc))
			return false;
		p = cache_pop(m, sc, MGC_MAX_TINY);
	}
	m->tiny_end = p + MGC_MAX_TINY;
	m->tiny_cur = p;
	return true;
}

static struct span *take_large(struct mutator *m, unsigned sc, size_t nbytes, size_t align)
{
	struct heap *h = m->heap;
	size_t npages = (nbytes + MGC_PAGE_SIZE - 1) >> MGC_PAGE_SHIFT;
	struct span *s = pageheap_alloc(&h->pageheap, npages, max_size(1, align >> MGC_PAGE_SHIFT));
	if (s == NULL)
		return NULL;
	span_init(s, sc, 0, heap_sweepgen(h));
	s->slack = (uint16_t)(span_nbytes(s) - nbytes);
	span_take_run(&h->pageheap.space, s, 0, 1, m->black != 0);
	central_add_large(h, s);
	return s;
}

uintptr_t cache_alloc_large(struct mutator *m, unsigned layout, size_t nbytes, size_t align)
{
	struct layouts *ls = &m->heap->layouts;
	if (nbytes > m->heap->pageheap.space.nbytes)
		return 0;
	mutator_enter(m);
	unsigned sc = layout_spanclass(ls, layout, 0);
	struct span *s = sc != 0 ? take_large(m, sc, nbytes, align) : NULL;
	bool zero = s != NULL && s->needzero && !(ls->spanclass[sc].flags & LAYOUT_NOZERO);
	uintptr_t p = s != NULL ? s->base : 0;
	if (s != NULL) {
		if (zero && ls->spanclass[sc].scan != SCAN_NONE)
			memset((void *)p, 0, span_nbytes(s)); /* never scanned before it is zero */
		span_publish(&m->heap->pageheap.space, s);
		count_handed(m, span_nbytes(s));
	}
	mutator_leave(m);
	if (zero && ls->spanclass[sc].scan == SCAN_NONE)
		memset((void *)p, 0, nbytes);
	MGC_KEEP(p);
	return p;
}

enum free_verdict cache_check(struct heap *h, uintptr_t p, struct span **span)
{
	const struct space *sp = &h->pageheap.space;
	struct span *s = space_span(sp, p);
	*span = s;
	if (s == NULL)
		return FREE_FOREIGN;
	if (h->layouts.spanclass[s->spanclass].flags & LAYOUT_TINY)
		return FREE_TINY;
	uint32_t slot = span_slot_of(s, p);
	if (slot >= s->nslots || span_slot_addr(s, slot) != p)
		return FREE_INSIDE;
	return space_is_allocated(sp, p) ? FREE_OK : FREE_DOUBLE;
}

void cache_free(struct mutator *m, uintptr_t p, struct span *s)
{
	struct heap *h = m->heap;
	uint64_t bit;
	mutator_enter(m);
	size_t nbytes = s->slot_nbytes;
	unsigned spanclass = s->spanclass;
	uint64_t live = load_relaxed(&h->live_nbytes); /* may have been set anew since it was counted */
	while (!cas_relaxed(&h->live_nbytes, &live, live - min_size(nbytes, live)))
		;
	add_relaxed(&h->freed_nbytes, nbytes);
	if (s->sizeclass == 0) {
		central_remove(h, s);
		pageheap_free(&h->pageheap, s);
	} else {
		struct bitpair *pair = space_bits(&h->pageheap.space, p, &bit);
		uint32_t slot = span_slot_of(s, p);
		store_relaxed(&s->needzero, (uint8_t)1);
		and_seq(&pair->mark, ~bit); /* an unswept span must not bring it back */
		uint64_t left = and_seq(&pair->alloc, ~bit) & ~bit; /* pairs: free-dirties, free-unmarks */
		/* from here on the span may be given back, and be another's */
		if (m->spans[spanclass] == s)
			s->scan_from = (uint16_t)min_size(s->scan_from, slot);
		else if (load_seq(&s->where) != SPAN_CACHED) /* pairs: note-free */
			central_note_free(h, s, spanclass, left == 0);
	}
	mutator_leave(m);
}

/* flush_class - gives one span back; the unborn rest of its run becomes free again. */
static void flush_class(struct mutator *m, unsigned sc)
{
	struct span *s = m->spans[sc];
	struct run r = m->runs[sc];
	m->spans[sc] = NULL;
	m->runs[sc] = (struct run){ 0, 0 };
	if (s == NULL)
		return;
	ensure_swept(m->heap, s);
	if (r.cur < r.end) {
		span_drop_run(&m->heap->pageheap.space, s, span_slot_of(s, r.cur),
			      span_slot_of(s, r.end - 1) + 1);
		m->nbytes_handed -= r.end - r.cur;
	}
	central_put(m->heap, s);
}

void cache_flush(struct mutator *m)
{
	unsigned n = load_relaxed(&m->heap->layouts.nspanclasses);
	for (unsigned sc = 1; sc < n; sc++)
		flush_class(m, sc);
	m->tiny_cur = m->tiny_end = 0;
	cache_flush_counts(m);
}
