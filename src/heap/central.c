/* central.c - see central.h. */
#include "heap/central.h"

#include "base/check.h"
#include "heap/heap.h"
#include "os/os.h"

/* Who needs a slot sweeps at most so many spans for it, and takes fresh pages when all of them are full: a
 * heap with little garbage would let it wait for as long as all of it takes. Go takes 100; 32 take 15 µs here, and let
 * such a heap grow by a thirty-second. */
#define MOST_SWEEPS 32

void central_init(struct central *c)
{
	list_init(&c->unswept);
	list_init(&c->partial);
	list_init(&c->full);
	list_init(&c->cached);
	c->nspans = 0;
	c->lock.state = 0;
	store_release(&c->lock.rank, (uint32_t)LOCK_CENTRAL); /* pairs: central-ready */
}

static void list_first(struct list *head, struct span *s, enum span_where where)
{
	list_remove(&s->node);
	list_push_front(head, &s->node);
	store_seq(&s->where, (uint8_t)where); /* pairs: note-free */
}

/* list_last - so that what is filed as it was swept keeps its order from cycle to cycle: that of addresses, mostly
 * (docs/adr/0105). */
static void list_last(struct list *head, struct span *s, enum span_where where)
{
	list_remove(&s->node);
	list_push_back(head, &s->node);
	store_seq(&s->where, (uint8_t)where); /* pairs: note-free */
}

static void unlist(struct central *c, struct span *s)
{
	list_remove(&s->node);
	store_relaxed(&s->where, (uint8_t)SPAN_ON_NONE);
	c->nspans--;
}

static struct span *first_span(struct list *head)
{
	return list_empty(head) ? NULL : LIST_ENTRY(head->next, struct span, node);
}

/* claim - takes a span that is on the list of unswept ones, for sweeping. Lock held. */
static void claim(struct heap *h, struct central *c, struct span *s)
{
	list_first(&c->cached, s, SPAN_CACHED);
	store_relaxed(&s->sweepgen, heap_sweepgen(h) - 1);
}

/* claim_unswept - takes one of them. Lock held. */
static struct span *claim_unswept(struct heap *h, struct central *c)
{
	struct span *s = first_span(&c->unswept);
	if (s != NULL)
		claim(h, c, s);
	return s;
}

static struct span *make_span(struct heap *h, struct central *c, unsigned spanclass)
{
	unsigned sizeclass = h->layouts.spanclass[spanclass].sizeclass;
	struct span *s = pageheap_alloc(&h->pageheap, sizeclass_table[sizeclass].npages, 1);
	if (s == NULL)
		return NULL;
	span_init(s, spanclass, sizeclass, heap_sweepgen(h));
	lock_acquire(&c->lock);
	list_first(&c->cached, s, SPAN_CACHED);
	c->nspans++;
	lock_release(&c->lock);
	span_publish(&h->pageheap.space, s);
	return s;
}

/* file_locked - puts a swept span that nobody owns any more where it belongs, or returns false when it
 * is empty and was unlisted, to be freed. Lock held. */
MGC_INLINE bool file_locked(struct heap *h, struct central *c, struct span *s)
{
	list_last(&c->full, s, SPAN_FULL);
	/* bits are counted after `where` says FULL, so that a free on its way is seen here or sees it */
	fence_seq();
	uint32_t taken = span_count(&h->pageheap.space, s);
	bool gone = taken == 0 &&
		    heap_phase(h) == PHASE_OFF; /* else its pages keep their layout until then */
	if (gone)
		unlist(c, s);
	else if (taken < s->nslots && !load_relaxed(&s->closed))
		list_last(&c->partial, s, SPAN_PARTIAL);
	return !gone;
}

static bool file(struct heap *h, struct central *c, struct span *s)
{
	lock_acquire(&c->lock);
	bool kept = file_locked(h, c, s);
	lock_release(&c->lock);
	return kept;
}

struct span *central_take(struct heap *h, unsigned spanclass)
{
	struct central *c = heap_central(h, spanclass);
	for (unsigned i = 0; i < MOST_SWEEPS; i++) {
		lock_acquire(&c->lock);
		struct span *s = first_span(&c->partial);
		bool unswept = s == NULL;
		if (unswept)
			s = claim_unswept(h, c);
		else
			list_first(&c->cached, s, SPAN_CACHED);
		lock_release(&c->lock);
		if (s == NULL)
			return make_span(h, c, spanclass);
		store_relaxed(&s->scan_from, (uint16_t)0);
		if (!unswept || (h->ops.sweep_span(h, s) < s->nslots && !load_relaxed(&s->closed)))
			return s;
		central_put(h, s);
	}
	return make_span(h, c, spanclass);
}

struct span *central_share(struct heap *h, unsigned spanclass)
{
	struct central *c = heap_central(h, spanclass);
	lock_acquire(&c->lock);
	struct span *s = first_span(&c->partial);
	if (s == NULL) {
		lock_release(&c->lock);
		s = central_take(h, spanclass);
		if (s == NULL)
			return NULL;
		lock_acquire(&c->lock);
		list_first(&c->partial, s, SPAN_PARTIAL);
	}
	store_relaxed(&s->scan_from, (uint16_t)0);
	return s;
}

void central_unshare(struct heap *h, struct span *s)
{
	struct central *c = heap_central(h, s->spanclass);
	MGC_CHECK(file_locked(h, c, s)); /* the run just cut is in it */
	if (load_relaxed(&s->where) == SPAN_PARTIAL) /* the next one is cut from it, too */
		list_first(&c->partial, s, SPAN_PARTIAL);
	lock_release(&c->lock);
}

void central_put(struct heap *h, struct span *s)
{
	if (!file(h, heap_central(h, s->spanclass), s))
		pageheap_free(&h->pageheap, s);
}

void central_note_free(struct heap *h, struct span *s, unsigned spanclass, bool emptied)
{
	uint8_t where = load_seq(&s->where); /* pairs: note-free */
	if (where != SPAN_FULL && (where != SPAN_PARTIAL || !emptied))
		return;
	struct central *c = heap_central(h, spanclass);
	bool gone = false;
	lock_acquire(&c->lock);
	where = load_relaxed(&s->where);
	/* someone else's last free may have given the span back, even to another class by now */
	if (load_relaxed(&s->spanclass) == spanclass && (where == SPAN_FULL || where == SPAN_PARTIAL) &&
	    load_relaxed(&s->sweepgen) == heap_sweepgen(h)) {
		uint32_t taken = span_count(&h->pageheap.space, s);
		gone = taken == 0;
		if (gone)
			unlist(c, s);
		else if (taken < s->nslots && !load_relaxed(&s->closed))
			list_first(&c->partial, s, SPAN_PARTIAL);
	}
	lock_release(&c->lock);
	if (gone)
		pageheap_free(&h->pageheap, s);
}

void central_add_large(struct heap *h, struct span *s)
{
	struct central *c = heap_central(h, s->spanclass);
	lock_acquire(&c->lock);
	list_last(&c->full, s, SPAN_FULL);
	c->nspans++;
	lock_release(&c->lock);
}

void central_remove(struct heap *h, struct span *s)
{
	struct central *c = heap_central(h, s->spanclass);
	lock_acquire(&c->lock);
	while (s->where == SPAN_CACHED) { /* somebody sweeps it: until it is filed again */
		lock_release(&c->lock);
		os_yield();
		lock_acquire(&c->lock);
	}
	unlist(c, s);
	lock_release(&c->lock);
}

void central_start_sweep(struct central *c)
{
	lock_acquire(&c->lock);
	MGC_CHECK(list_empty(&c->unswept));
	list_splice(&c->unswept, &c->partial);
	list_splice(&c->unswept, &c->full);
	lock_release(&c->lock);
}

long central_sweep_one(struct heap *h, struct central *c)
{
	lock_acquire(&c->lock);
	struct span *s = claim_unswept(h, c);
	lock_release(&c->lock);
	if (s == NULL)
		return -1;
	h->ops.sweep_span(h, s);
	long npages = (long)s->npages;
	if (file(h, c, s))
		return 0;
	pageheap_free(&h->pageheap, s);
	return npages;
}

void central_ensure_swept(struct heap *h, struct span *s)
{
	uint32_t gen = heap_sweepgen(h), seen;
	while (MGC_UNLIKELY((seen = load_acquire(&s->sweepgen)) != gen)) { /* pairs: swept */
		if (seen == gen - 1) /* the other one is at it */
			os_yield();
		else if (cas_acq_rel(&s->sweepgen, &seen, gen - 1)) /* pairs: swept */
			h->ops.sweep_span(h, s);
	}
}

void central_settle(struct heap *h, struct span *s)
{
	struct central *c = heap_central(h, s->spanclass);
	lock_acquire(&c->lock);
	bool filed = load_relaxed(&s->where) != SPAN_CACHED &&
		     load_relaxed(&s->sweepgen) == heap_sweepgen(h) - 2;
	if (filed)
		claim(h, c, s);
	lock_release(&c->lock);
	if (filed) {
		h->ops.sweep_span(h, s);
		central_put(h, s);
	} else {
		central_ensure_swept(h, s);
	}
}

/* unswept_cached - one of them, moved to the end of its list. */
static struct span *unswept_cached(struct heap *h, struct central *c)
{
	struct span *found = NULL;
	lock_acquire(&c->lock);
	LIST_EACH(it, &c->cached) {
		struct span *s = LIST_ENTRY(it, struct span, node);
		if (load_relaxed(&s->sweepgen) == heap_sweepgen(h) - 2) {
			found = s;
			break;
		}
	}
	if (found != NULL) {
		list_remove(&found->node);
		list_push_back(&c->cached, &found->node);
	}
	lock_release(&c->lock);
	return found;
}

void central_sweep_cached(struct heap *h, struct central *c)
{
	struct span *s;
	/* its owner may give the span back meanwhile, but not before it was swept */
	while ((s = unswept_cached(h, c)) != NULL)
		central_ensure_swept(h, s);
}

void central_each(struct central *c, void (*fn)(void *arg, struct span *s), void *arg)
{
	struct list *lists[] = { &c->unswept, &c->partial, &c->full, &c->cached };
	for (unsigned l = 0; l < sizeof lists / sizeof lists[0]; l++)
		LIST_EACH(it, lists[l])
			fn(arg, LIST_ENTRY(it, struct span, node));
}

static uint32_t verify_list(struct heap *h, struct list *head, enum span_where where)
{
	uint32_t n = 0;
	LIST_EACH(it, head) {
		struct span *s = LIST_ENTRY(it, struct span, node);
		bool swept = s->sweepgen == heap_sweepgen(h);
		if (s->state != SPAN_IN_USE || (s->where != where && where != SPAN_ON_NONE))
			mgc_fatal("span %p is on list %d but says %d (C1)", (void *)s->base, where,
				  s->where);
		if (where == SPAN_ON_NONE ? swept : where != SPAN_CACHED && !swept)
			mgc_fatal("span %p is filed as swept and is not, or the reverse (C2)",
				  (void *)s->base);
		if (where == SPAN_FULL && !s->closed && span_count(&h->pageheap.space, s) < s->nslots)
			mgc_fatal("span %p is filed as full and is not (C3)", (void *)s->base);
		n++;
	}
	return n;
}

void central_verify(struct heap *h, struct central *c)
{
	lock_acquire(&c->lock);
	uint32_t n = verify_list(h, &c->unswept, SPAN_ON_NONE) +
		     verify_list(h, &c->partial, SPAN_PARTIAL) +
		     verify_list(h, &c->full, SPAN_FULL) + verify_list(h, &c->cached, SPAN_CACHED);
	if (n != c->nspans)
		mgc_fatal("central: %u spans listed, %u counted (C1)", n, c->nspans);
	lock_release(&c->lock);
}
