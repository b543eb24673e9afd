/* cache.c - see cache.h. LOCKS takes none itself; central.c and pageheap.c do. */
#include "heap/cache.h"

#include <string.h>

#include "base/annotate.h"
#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

/* A refill prepares at most this much memory that needs zeroing, so that it is still in the first
 * level cache when it is handed out. Memory that is zero already is taken by the whole run. */
#define ZERO_RUN_NBYTES ((size_t)8192)
/* The first run of a class in a thread: 256 threads with 500 layouts hold 16 MiB in such runs. */
#define FIRST_RUN_NBYTES ((size_t)128)

void cache_flush_counts(struct mutator *m)
{
	uint64_t n = m->nbytes_handed;
	m->nbytes_handed = 0;
	if (n == 0)
		return;
	m->allocated_nbytes += n;
	add_relaxed(&m->heap->live_nbytes, n);
	add_relaxed(&m->heap->allocated_nbytes, n);
}

static void count_handed(struct mutator *m, size_t nbytes)
{
	m->nbytes_handed += nbytes;
	cache_flush_counts(m);
}

static uint32_t run_limit(const struct span *s, size_t nbytes)
{
	if (nbytes >= ZERO_RUN_NBYTES && span_nbytes(s) <= ZERO_RUN_NBYTES)
		return s->nslots; /* most often: no division */
	if (load_relaxed(&s->needzero))
		nbytes = min_size(nbytes, ZERO_RUN_NBYTES);
	return (uint32_t)max_size(min_size(nbytes / s->slot_nbytes, s->nslots), 1);
}

/* cut_run - where the run [lo, hi) of s ends, so that the slot into which the sampler's next point falls begins
 * another one. If that is slot lo, it is sampled now. */
static MGC_NOINLINE uint32_t cut_run(struct mutator *m, unsigned sc, const struct span *s,
				     uint32_t lo, uint32_t hi)
{
	size_t nbytes = s->slot_nbytes;
	uint32_t at = lo + (uint32_t)(sampler_pass(&m->sample, (hi - lo) * nbytes) / nbytes);
	if (at == lo) {
		m->sample_now = true;
		at = lo + 1 + (uint32_t)(sampler_pass(&m->sample, (hi - lo - 1) * nbytes) / nbytes);
	}
	if (at < hi)
		m->sample_due[sc / 64] |= UINT64_C(1) << sc % 64;
	return at;
}

/* begin_sample - whether this refill is for a slot that a point fell into. */
static void begin_sample(struct mutator *m, unsigned sc)
{
	uint64_t bit = UINT64_C(1) << sc % 64;
	m->sample_now = (m->sample_due[sc / 64] & bit) != 0;
	m->sample_due[sc / 64] &= ~bit;
}

/* clear_run - if it has to be zero. */
MGC_INLINE void clear_run(const struct mutator *m, unsigned spanclass, const struct span *s,
			  uintptr_t addr, uintptr_t end)
{
	bool zero = !(m->heap->layouts.spanclass[spanclass].flags & LAYOUT_NOZERO);
	annotate_alloc(addr, end - addr, zero);
	if (load_relaxed(&s->needzero) && zero)
		memset((void *)addr, 0, end - addr);
}

/* hand_out - the run, whose slots are taken, to the short way. No step in between names a slot that is not unborn: the child of
 * a fork may start from it. */
MGC_INLINE void hand_out(struct mutator *m, unsigned spanclass, uintptr_t addr, uintptr_t end)
{
	struct run *r = &m->runs[spanclass];
	store_relaxed(&r->end, (uintptr_t)0);
	store_release(&r->cur, addr);
	store_release(&r->end, end);
	m->nbytes_handed += end - addr;
}

/* next_run - takes a run of at most nbytes, or one slot, of s, which is the caller's for now. */
static bool next_run(struct mutator *m, unsigned spanclass, struct span *s, size_t nbytes, bool black)
{
	const struct space *sp = &m->heap->pageheap.space;
	uint32_t lo, hi;
	if (!span_find_run(sp, s, run_limit(s, nbytes), &lo, &hi))
		return false;
	if (sampler_on())
		hi = cut_run(m, spanclass, s, lo, hi);
	uintptr_t addr = span_slot_addr(s, lo), end = span_slot_addr(s, hi);
	clear_run(m, spanclass, s, addr, end);
	span_take_run(sp, s, lo, hi, black);
	hand_out(m, spanclass, addr, end);
	return true;
}

/* next_hole - the same without a limit and samples. */
MGC_INLINE bool next_hole(struct mutator *m, unsigned spanclass, struct span *s, bool black)
{
	const struct space *sp = &m->heap->pageheap.space;
	size_t w;
	uintptr_t end;
	uint64_t bits = span_has_words(s) ? span_find_hole(sp, s, &w, &end) : 0;
	if (MGC_UNLIKELY(bits == 0))
		return next_run(m, spanclass, s, SIZE_MAX, black);
	uintptr_t addr = sp->base + (((w << 6) + bits_ctz(bits)) << MGC_GRANULE_SHIFT);
	clear_run(m, spanclass, s, addr, end);
	span_take_word(sp, s, w, bits, black);
	hand_out(m, spanclass, addr, end);
	return true;
}

/* check_span - in release too: a record that was overwritten must not be allocated from. */
MGC_INLINE void check_span(const struct span *s, unsigned spanclass)
{
	const struct sizeclass_info *info =
		&sizeclass_table[s->sizeclass < MGC_NSIZECLASS ? s->sizeclass : 0];
	if (MGC_UNLIKELY(s->state != SPAN_IN_USE || s->spanclass != spanclass ||
			 s->nslots != info->nslots || s->slot_nbytes != info->slot_nbytes ||
			 load_relaxed(&s->scan_from) > s->nslots))
		mgc_fatal("the record of span %p is corrupted (class %u for %u, %u slots of %zu B, "
			  "state %u): "
			  "memory of the library was overwritten",
			  (void *)s->base, s->spanclass, spanclass, s->nslots, s->slot_nbytes,
			  s->state);
}

/* shared_nbytes - how long the next run from a shared span may be; 0: the thread gets its own span. */
static size_t shared_nbytes(const struct mutator *m, unsigned spanclass)
{
	const struct sizeclass_info *info =
		&sizeclass_table[m->heap->layouts.spanclass[spanclass].sizeclass];
	size_t nbytes = FIRST_RUN_NBYTES << m->nshared[spanclass];
	return info->nslots > 1 && nbytes < (size_t)info->npages << MGC_PAGE_SHIFT ? nbytes : 0;
}

static MGC_NOINLINE bool refill_shared(struct mutator *m, unsigned spanclass, size_t nbytes, bool black)
{
	struct span *s = central_share(m->heap, spanclass);
	if (s == NULL)
		return false;
	check_span(s, spanclass);
	MGC_CHECK(next_run(m, spanclass, s, nbytes, black));
	central_unshare(m->heap, s);
	m->nshared[spanclass]++;
	return true;
}

static bool refill_own(struct mutator *m, unsigned spanclass, bool black)
{
	struct span *s = m->spans[spanclass];
	if (s != NULL) {
		check_span(s, spanclass);
		central_ensure_swept(m->heap, s);
	}
	while (s == NULL || !next_run(m, spanclass, s, SIZE_MAX, black)) {
		m->runs[spanclass] = (struct run){ 0, 0 };
		m->spans[spanclass] = NULL;
		if (s != NULL)
			central_put(m->heap, s);
		s = central_take(m->heap, spanclass);
		m->spans[spanclass] = s;
		if (s == NULL)
			return false;
	}
	return true;
}

bool cache_refill(struct mutator *m, unsigned spanclass)
{
	bool black = mutator_births_black(m, mutator_enter_heap(m));
	begin_sample(m, spanclass);
	size_t shared = m->spans[spanclass] == NULL ? shared_nbytes(m, spanclass) : 0;
	bool ok = shared != 0 ? refill_shared(m, spanclass, shared, black)
			      : refill_own(m, spanclass, black);
	/* gc/barrier.h: D3 */
	MGC_ASSERTION(!ok || !black ||
		      space_is_marked(&m->heap->pageheap.space, m->runs[spanclass].cur));
	cache_flush_counts(m);
	mutator_leave(m);
	return ok;
}

/* is_near - the span in hand, in a section with that phase word, is swept, and the run used up: who looked before the section may have
 * looked at another class's, or a handler came in between. */
MGC_INLINE bool is_near(const struct mutator *m, unsigned spanclass, const struct span *s, uint64_t pg)
{
	const struct run *r = &m->runs[spanclass];
	return r->cur >= r->end && phase_gen_phase(pg) != PHASE_FLIP &&
	       load_acquire(&s->sweepgen) == phase_gen_sweepgen(pg); /* pairs: swept */
}

uintptr_t cache_pop_near(struct mutator *m, unsigned spanclass)
{
	if (!mutator_may_enter(m) || m->nbytes_handed >= load_relaxed(&m->heap->untold_nbytes) ||
	    sampler_on())
		return 0;
	mutator_enter(m);
	struct span *s = m->spans[spanclass];
	size_t nbytes = s != NULL ? s->slot_nbytes : 0;
	uint64_t pg = heap_phase_gen(m->heap);
	if (s != NULL && is_near(m, spanclass, s, pg)) {
		bool black = mutator_births_black(m, pg);
		check_span(s, spanclass);
		bool ok = next_hole(m, spanclass, s, black);
		MGC_ASSERTION(!ok || !black || /* gc/barrier.h: D3 */
			      space_is_marked(&m->heap->pageheap.space, m->runs[spanclass].cur));
	}
	mutator_leave(m);
	return s != NULL ? cache_pop(m, spanclass, nbytes) : 0;
}

/* link_word - the slots of these bits behind *tail, zeroed if need be; the last of them. */
static uintptr_t *link_word(const struct span *s, uintptr_t base, uint64_t bits, bool zero,
			    uintptr_t *tail)
{
	bool clear = zero && load_relaxed(&s->needzero);
	for (; bits != 0; bits &= bits - 1) {
		uintptr_t p = base + ((size_t)bits_ctz(bits) << MGC_GRANULE_SHIFT);
		annotate_alloc(p, s->slot_nbytes, zero);
		if (clear)
			memset((void *)p, 0, s->slot_nbytes);
		*tail = p;
		tail = (uintptr_t *)p;
	}
	return tail;
}

/* link_scattered - behind tail, at most nbytes of slots of the span in hand. */
static uintptr_t *link_scattered(struct mutator *m, unsigned sc, size_t nbytes, bool black,
				 uintptr_t *tail)
{
	const struct space *sp = &m->heap->pageheap.space;
	struct span *s = m->spans[sc];
	if (s == NULL || !span_has_words(s) || sampler_on())
		return tail;
	check_span(s, sc);
	central_ensure_swept(m->heap, s);
	bool zero = !(m->heap->layouts.spanclass[sc].flags & LAYOUT_NOZERO);
	size_t most = nbytes / s->slot_nbytes, left = most, w;
	uint64_t bits;
	while (left > 0 && (bits = span_free_word(sp, s, (uint32_t)left, &w)) != 0) {
		tail = link_word(s, sp->base + (w << (MGC_GRANULE_SHIFT + 6)), bits, zero, tail);
		span_take_word(sp, s, w, bits, black);
		left -= bits_count(bits);
	}
	count_handed(m, (most - left) * s->slot_nbytes);
	return tail;
}

uintptr_t cache_link(struct mutator *m, unsigned spanclass, uintptr_t first, size_t nbytes, void **list)
{
	size_t slot = m->heap->layouts.spanclass[spanclass].slot_nbytes, n = slot;
	uintptr_t *tail = (uintptr_t *)first, p;
	bool black = mutator_births_black(m, mutator_enter_heap(m));
	for (; n + slot <= nbytes && (p = cache_pop(m, spanclass, slot)) != 0; n += slot) {
		*tail = p;
		tail = (uintptr_t *)p;
	}
	if (n + slot <= nbytes)
		tail = link_scattered(m, spanclass, nbytes - n, black, tail);
	*tail = 0;
	*list = (void *)first;
	mutator_leave(m);
	return (uintptr_t)tail;
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

/* take_pages - a section of its own: what follows may take long. */
static struct span *take_pages(struct mutator *m, size_t nbytes, size_t align)
{
	size_t npages = (nbytes + MGC_PAGE_SIZE - 1) >> MGC_PAGE_SHIFT;
	(void)mutator_enter_heap(m); /* in FLIP what is swept here for its pages would be swept twice */
	struct span *s =
		pageheap_alloc(&m->heap->pageheap, npages, max_size(1, align >> MGC_PAGE_SHIFT));
	if (s != NULL)
		add_relaxed(&m->heap->pageheap.unpublished_pages, (size_t)s->npages);
	mutator_leave(m);
	return s;
}

/* publish_large - the pages become an object. */
static void publish_large(struct mutator *m, struct span *s, unsigned sc, size_t nbytes)
{
	struct heap *h = m->heap;
	uint64_t pg = mutator_enter_heap(m);
	span_init(s, sc, 0, phase_gen_sweepgen(pg));
	s->slack = (uint16_t)(span_nbytes(s) - nbytes);
	central_add_large(h, s);
	span_publish(&h->pageheap.space, s);
	span_take_run(&h->pageheap.space, s, 0, 1, mutator_births_black(m, pg)); /* P6 */
	sub_relaxed(&h->pageheap.unpublished_pages, (size_t)s->npages);
	count_handed(m, span_nbytes(s));
	mutator_leave(m);
}

uintptr_t cache_alloc_large(struct mutator *m, unsigned layout, size_t nbytes, size_t align)
{
	struct layouts *ls = &m->heap->layouts;
	if (nbytes > m->heap->pageheap.space.nbytes)
		return 0;
	unsigned sc = layout_spanclass(ls, layout, 0);
	struct span *s = sc != 0 ? take_pages(m, nbytes, align) : NULL;
	if (s == NULL)
		return 0;
	uintptr_t p = s->base;
	/* nobody scans it before it is published, and it is zero then */
	if (s->needzero && !(ls->spanclass[sc].flags & LAYOUT_NOZERO))
		memset((void *)p, 0, ls->spanclass[sc].scan == SCAN_NONE ? nbytes : span_nbytes(s));
	annotate_free(p + nbytes, span_nbytes(s) - nbytes);
	publish_large(m, s, sc, nbytes);
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

static void count_freed(struct heap *h, size_t nbytes)
{
	sub_relaxed(&h->live_nbytes, nbytes);
	add_relaxed(&h->freed_nbytes, nbytes);
}

/* settle - two bits cannot be cleared at once: a sweep between them would free the slot, somebody would get it,
 * and what we clear then would be his. A swept span is not swept again before we leave the section. */
MGC_INLINE void settle(struct heap *h, struct span *s)
{
	if (MGC_UNLIKELY(load_acquire(&s->sweepgen) != heap_sweepgen(h))) /* pairs: swept */
		central_settle(h, s);
}

/* free_slot - of a span that may be anybody's. False: it was found dead before. */
static bool free_slot(struct mutator *m, uintptr_t p, struct span *s)
{
	struct heap *h = m->heap;
	uint64_t bit;
	unsigned spanclass = s->spanclass;
	uint32_t slot = span_slot_of(s, p);
	struct bitpair *pair = space_bits(&h->pageheap.space, p, &bit);
	settle(h, s);
	if (!(load_relaxed(&pair->alloc) & bit))
		return false;
	store_relaxed(&s->needzero, (uint8_t)1);
	and_seq(&pair->mark, ~bit); /* where sweeping keeps marks */
	if (MGC_HOSTILE) /* a sweep could come now, if it were not settled */
		os_yield();
	uint64_t left = and_seq(&pair->alloc, ~bit) & ~bit; /* pairs: free-dirties */
	/* from here on the span may be given back, and be another's */
	if (m->spans[spanclass] == s)
		store_relaxed(&s->scan_from, (uint16_t)min_size(load_relaxed(&s->scan_from), slot));
	else if (load_seq(&s->where) != SPAN_CACHED) /* pairs: note-free */
		central_note_free(h, s, spanclass, left == 0);
	return true;
}

bool cache_free(struct mutator *m, uintptr_t p, struct span *s)
{
	struct heap *h = m->heap;
	size_t nbytes = s->slot_nbytes;
	bool done = true;
	(void)mutator_enter_heap(m);
	MGC_ASSERTION(heap_phase(h) < PHASE_ROOTS); /* gc/barrier.h: D4 */
	if (s->sizeclass == 0) {
		central_remove(h, s);
		pageheap_free(&h->pageheap, s);
	} else {
		done = free_slot(m, p, s);
	}
	if (done)
		count_freed(h, nbytes);
	mutator_leave(m);
	return done;
}

/* drop_run - the unborn rest of a run becomes free again. Its span may be another's. */
static void drop_run(struct mutator *m, unsigned sc)
{
	struct span *s = run_span(m, sc);
	struct run r = m->runs[sc];
	if (s == NULL)
		return;
	settle(m->heap, s);
	span_drop_run(&m->heap->pageheap.space, s, span_slot_of(s, r.cur),
		      span_slot_of(s, r.end - 1) + 1);
	m->nbytes_handed -= r.end - r.cur;
	if (m->spans[sc] == NULL)
		central_note_free(m->heap, s, sc, true);
}

/* flush_class - gives the run and the span of one class back. While a cycle is under way the unborn slots
 * stay allocated, to be found dead. */
static void flush_class(struct mutator *m, unsigned sc, bool off)
{
	struct span *s = m->spans[sc];
	m->nshared[sc] = 0;
	if (s != NULL)
		central_ensure_swept(m->heap, s);
	if (off)
		drop_run(m, sc);
	m->runs[sc] = (struct run){ 0, 0 };
	m->spans[sc] = NULL;
	if (s != NULL)
		central_put(m->heap, s);
}

void cache_flush(struct mutator *m)
{
	unsigned n = load_relaxed(&m->heap->layouts.nspanclasses);
	bool off = phase_gen_phase(mutator_enter_heap(m)) == PHASE_OFF;
	for (unsigned sc = 1; sc < n; sc++)
		flush_class(m, sc, off);
	m->tiny_cur = m->tiny_end = 0;
	cache_flush_counts(m);
	mutator_leave(m);
}
