/* pageheap.c - see pageheap.h. */
#include "heap/pageheap.h"

#include <errno.h>
#include <string.h>

#include "base/annotate.h"
#include "base/bits.h"
#include "base/check.h"
#include "base/usdt.h"
#include "os/os.h"

/* Heaps below this stay on small pages: a first touch of 2 MiB makes all of it resident. Above, that is
 * little beside the rest, marking is faster, and allocation is lowest address first, so the heap is
 * dense. docs/adr/0007 */
#define HUGE_FROM_BYTES ((size_t)8 << 20)
/* Who would touch fresh memory of a heap below this sweeps so many spans first: 8 µs, and the faults of a span take one or
 * two. In a larger one those few MiB are little, and what the collecting thread sweeps costs the program nothing. docs/adr/0108 */
#define RECLAIM_FIRST_SPANS ((size_t)16)
#define RECLAIM_FIRST_BELOW_PAGES (((size_t)64 << 20) >> MGC_PAGE_SHIFT)
/* One give-back hides at most this much from allocation while the system works on it. */
#define SCAVENGE_STEP_PAGES ((size_t)512)

/* Heaps above this size grow and are touched this much ahead of the program, which tells where it is
 * each time it came this much farther. */
#define AHEAD_FROM_PAGES (((size_t)128 << 20) >> MGC_PAGE_SHIFT)
#define AHEAD_PAGES (((size_t)12 << 20) >> MGC_PAGE_SHIFT)
#define AHEAD_TELL_PAGES (((size_t)1 << 20) >> MGC_PAGE_SHIFT)
#define AHEAD_STEP_PAGES (((size_t)2 << 20) >> MGC_PAGE_SHIFT)
/* and grow by this part of them at once, or so much: a growth is some calls of the system, for which allocations
 * and first touches wait. */
#define AHEAD_GROW_PART 8
#define AHEAD_GROW_PAGES (((size_t)64 << 20) >> MGC_PAGE_SHIFT)

static int init(struct pageheap *ph, size_t max_nbytes, bool spanless)
{
	memset(ph, 0, sizeof *ph);
	lock_init(&ph->lock, LOCK_PAGEHEAP);
	ph->spanless = spanless;
	int err = spanless ? space_init_bare(&ph->space, max_nbytes)
			   : space_init(&ph->space, max_nbytes);
	if (err != 0)
		return err;
	err = pagealloc_init(&ph->pages, ph->space.most_pages, space_bound(&ph->space));
	if (err != 0) {
		space_destroy(&ph->space);
		return err;
	}
	ph->limit_nbytes = SIZE_MAX;
	ph->huge_from_pages = HUGE_FROM_BYTES >> MGC_PAGE_SHIFT;
	ph->huge_up_to_pages = SIZE_MAX;
	ph->hidden_pages = 1;
	return 0;
}

int pageheap_init(struct pageheap *ph, size_t max_nbytes)
{
	return init(ph, max_nbytes, false);
}

int pageheap_init_spanless(struct pageheap *ph, size_t max_nbytes)
{
	return init(ph, max_nbytes, true);
}

void pageheap_destroy(struct pageheap *ph)
{
	pagealloc_destroy(&ph->pages);
	space_destroy(&ph->space);
}

static size_t resident_pages(const struct pageheap *ph)
{
	return ph->used_pages + ph->pages.nfree - ph->pages.nclean;
}

/* fits_limit - npages more, all of them perhaps becoming resident. Lock held. */
static bool fits_limit(const struct pageheap *ph, size_t npages)
{
	size_t limit = load_relaxed(&ph->limit_nbytes);
	return limit == SIZE_MAX || (ph->used_pages + npages) << MGC_PAGE_SHIFT <= limit;
}

/* advise_huge - what of the new pages lies above the bound. */
static void advise_huge(struct pageheap *ph, size_t first, size_t end)
{
	first = max_size(first, load_relaxed(&ph->huge_from_pages));
	if (first < end && os_huge_page_size() != 0)
		os_advise_huge(space_page_addr(&ph->space, first), (end - first) << MGC_PAGE_SHIFT,
			       true);
}

/* reach - tables for pages below npages, which is within the range: they may have been cut for a limit that has been lifted
 * since. Lock held. */
static bool reach(struct pageheap *ph, size_t npages)
{
	return pagealloc_reach(&ph->pages, npages) ||
	       (pagealloc_widen(&ph->pages, min_size(npages * 2, ph->space.npages)) &&
		pagealloc_reach(&ph->pages, npages));
}

/* grow - adds chunks for a run of npages with that alignment; dense: all of them will be touched. Lock held. */
static bool grow(struct pageheap *ph, size_t npages, size_t align_pages, bool dense)
{
	size_t hidden = ph->space.grown == 0 ? align_up(ph->hidden_pages, align_pages) : 0;
	size_t nchunks = (npages + hidden + (align_pages > MGC_CHUNK_PAGES ? align_pages : 0) +
			  MGC_CHUNK_PAGES - 1) >>
			 MGC_CHUNK_PAGES_SHIFT;
	size_t first, added = nchunks << MGC_CHUNK_PAGES_SHIFT;
	if (MGC_UNLIKELY(space_over_limit(&ph->space))) /* until pageheap_obey */
		return false;
	if (added > ph->space.npages - ph->space.grown || !reach(ph, ph->space.grown + added) ||
	    !space_grow(&ph->space, nchunks, &first))
		return false;
	/* beyond what was reached only when the space had to skip somebody else's chunks: then they are lost */
	if (!pagealloc_add(&ph->pages, first, added))
		return false;
	if (first == 0) {
		size_t page, nclean;
		MGC_CHECK(pagealloc_alloc(&ph->pages, ph->hidden_pages, 1, &page, &nclean) && page == 0);
	}
	if (dense || npages <= ph->huge_up_to_pages)
		advise_huge(ph, first, first + added);
	return true;
}

/* take_locked - pages, without growing, or with. False when there is no such run. */
static bool take_locked(struct pageheap *ph, size_t npages, size_t align_pages, bool may_grow,
			bool dense, size_t *first, size_t *nclean)
{
	if (!fits_limit(ph, npages))
		return false;
	if (!pagealloc_alloc(&ph->pages, npages, align_pages, first, nclean) &&
	    (!may_grow || !grow(ph, npages, align_pages, dense) ||
	     !pagealloc_alloc(&ph->pages, npages, align_pages, first, nclean)))
		return false;
	ph->used_pages += npages;
	ph->least_dirty_pages = min_size(ph->least_dirty_pages, ph->pages.nfree - ph->pages.nclean);
	return true;
}

static struct span *make_span(struct pageheap *ph, size_t first, size_t npages, size_t nclean)
{
	struct span *s = &ph->space.spans[first];
	MGC_CHECK(s->state == SPAN_FREE);
	s->base = space_page_addr(&ph->space, first);
	s->npages = (uint32_t)npages;
	s->needzero = nclean != npages;
	list_init(&s->node);
	store_relaxed(&s->state, (uint8_t)SPAN_IN_USE);
	return s;
}

/* keep_limit - free dirty pages count against the limit too: give back what a new span would push
 * over it. Called without the lock. */
static void keep_limit(struct pageheap *ph)
{
	lock_acquire(&ph->lock);
	size_t resident = resident_pages(ph) << MGC_PAGE_SHIFT, limit = load_relaxed(&ph->limit_nbytes);
	lock_release(&ph->lock);
	if (resident > limit)
		pageheap_scavenge(ph, resident - limit, 1);
}

/* note_reached - of a new span: how far the heap is in use. Without the lock. */
static void note_reached(struct pageheap *ph, const struct span *s)
{
	size_t end = (size_t)(s - ph->space.spans) + s->npages;
	if (end < load_relaxed(&ph->reached_pages) + AHEAD_TELL_PAGES || ph->touch == NULL)
		return;
	store_relaxed(&ph->reached_pages, end);
	if (end >= AHEAD_FROM_PAGES)
		ph->touch(ph->reclaim_arg);
}

/* grow_ahead - lock held. Where addresses are limited, only by what is touched next: others need some, too. */
static void grow_ahead(struct pageheap *ph)
{
	size_t npages = max_size(ph->space.grown / AHEAD_GROW_PART, AHEAD_GROW_PAGES);
	npages = ph->space.reserved ? npages : 1;
	if (!grow(ph, npages, 1, true))
		(void)grow(ph, 1, 1, true);
}

/* next_ahead - pages [*first, *end) shall be touched; false: enough are. */
static bool next_ahead(struct pageheap *ph, size_t *first, size_t *end)
{
	size_t reached = load_relaxed(&ph->reached_pages), wanted = reached + AHEAD_PAGES;
	if (reached < AHEAD_FROM_PAGES || load_relaxed(&ph->limit_nbytes) != SIZE_MAX)
		return false;
	lock_acquire(&ph->lock);
	*first = max_size(ph->touched_pages, reached);
	if (*first < wanted && *first >= ph->space.grown)
		grow_ahead(ph);
	*end = min_size(*first + AHEAD_STEP_PAGES, ph->space.grown);
	*end -= *end % AHEAD_STEP_PAGES; /* whole huge pages */
	bool more = *first < wanted && *first < *end;
	if (more)
		ph->touched_pages = *end;
	lock_release(&ph->lock);
	return more;
}

bool pageheap_touch_step(struct pageheap *ph)
{
	size_t first, end;
	if (!next_ahead(ph, &first, &end))
		return false;
	os_populate(space_page_addr(&ph->space, first), (end - first) << MGC_PAGE_SHIFT);
	space_touch_tables(&ph->space, first, end - first);
	return true;
}

void pageheap_touch_ahead(struct pageheap *ph)
{
	while (pageheap_touch_step(ph))
		;
}

/* reclaim_first - before memory is touched that is not resident: of what lies unswept much is empty, and is. */
static void reclaim_first(struct pageheap *ph, size_t npages)
{
	lock_acquire(&ph->lock);
	bool worth = ph->pages.nfree - ph->pages.nclean < npages &&
		     ph->space.grown < RECLAIM_FIRST_BELOW_PAGES;
	lock_release(&ph->lock);
	if (worth)
		ph->reclaim(ph->reclaim_arg, npages, RECLAIM_FIRST_SPANS);
}

struct span *pageheap_alloc(struct pageheap *ph, size_t npages, size_t align_pages)
{
	if (npages > ph->space.npages || align_pages > MGC_ARENA_SIZE >> MGC_PAGE_SHIFT)
		return NULL;
	struct span *s = NULL;
	size_t first, nclean;
	if (ph->reclaim != NULL)
		reclaim_first(ph, npages);
	for (int attempt = 0; attempt < 2 && s == NULL; attempt++) {
		bool may_grow = ph->reclaim == NULL || attempt == 1;
		lock_acquire(&ph->lock);
		if (take_locked(ph, npages, align_pages, may_grow, false, &first, &nclean))
			s = make_span(ph, first, npages, nclean);
		lock_release(&ph->lock);
		if (s == NULL && attempt == 0 && ph->reclaim != NULL)
			ph->reclaim(ph->reclaim_arg, npages, SIZE_MAX);
	}
	if (s == NULL)
		return NULL;
	if (load_relaxed(&ph->limit_nbytes) != SIZE_MAX)
		keep_limit(ph);
	annotate_alloc(s->base, span_nbytes(s), true);
	note_reached(ph, s);
	return s;
}

/* clear_bits - of a span that goes back: whoever gets its pages starts from zero bits. */
static void clear_bits(struct pageheap *ph, struct span *s)
{
	size_t nwords = s->nslots == 1 ? 1 : span_nbytes(s) >> 10;
	struct bitpair *b = &ph->space.bits[(s->base - ph->space.base) >> 10];
	for (size_t i = 0; i < nwords; i++) {
		store_relaxed(&b[i].mark, UINT64_C(0));
		store_relaxed(&b[i].alloc, UINT64_C(0));
	}
}

void pageheap_free(struct pageheap *ph, struct span *s)
{
	size_t first = space_page_of(&ph->space, s->base), npages = s->npages;
	span_unpublish(&ph->space, s);
	clear_bits(ph, s);
	annotate_free(s->base, span_nbytes(s));
	lock_acquire(&ph->lock);
	MGC_CHECK(s->state == SPAN_IN_USE);
	store_relaxed(&s->state, (uint8_t)SPAN_FREE);
	ph->used_pages -= npages;
	pagealloc_free(&ph->pages, first, npages);
	lock_release(&ph->lock);
}

bool pageheap_take(struct pageheap *ph, size_t npages, size_t align_pages, bool dense,
		   size_t *first, size_t *nclean)
{
	if (npages > ph->space.npages || align_pages > MGC_ARENA_SIZE >> MGC_PAGE_SHIFT)
		return false;
	lock_acquire(&ph->lock);
	bool ok = take_locked(ph, npages, align_pages, true, dense, first, nclean);
	ph->taken_pages += ok ? npages : 0;
	lock_release(&ph->lock);
	if (ok && load_relaxed(&ph->limit_nbytes) != SIZE_MAX)
		keep_limit(ph);
	return ok;
}

bool pageheap_extend(struct pageheap *ph, size_t end_page, size_t npages)
{
	size_t nclean;
	lock_acquire(&ph->lock);
	bool ok = npages <= ph->space.npages && fits_limit(ph, npages);
	if (ok && !pagealloc_alloc_at(&ph->pages, end_page, npages, &nclean)) {
		/* only what ends where the heap ends can be helped by growing it */
		size_t last = end_page + npages - ph->space.grown;
		ok = end_page <= ph->space.grown && end_page + npages > ph->space.grown &&
		     pagealloc_is_free_run(&ph->pages, end_page, ph->space.grown - end_page) &&
		     grow(ph, last, 1, true) &&
		     pagealloc_alloc_at(&ph->pages, end_page, npages, &nclean);
	}
	ph->used_pages += ok ? npages : 0;
	ph->taken_pages += ok ? npages : 0;
	ph->least_dirty_pages = min_size(ph->least_dirty_pages, ph->pages.nfree - ph->pages.nclean);
	lock_release(&ph->lock);
	if (ok && load_relaxed(&ph->limit_nbytes) != SIZE_MAX)
		keep_limit(ph);
	return ok;
}

void pageheap_advise(struct pageheap *ph, size_t first, size_t npages)
{
	advise_huge(ph, first, align_up(first + npages, max_size(1, os_page_size() >> MGC_PAGE_SHIFT)));
}

bool pageheap_renew(struct pageheap *ph, size_t first, size_t npages)
{
	size_t nbytes = align_up(npages << MGC_PAGE_SHIFT, os_page_size());
	if (os_renew(space_page_addr(&ph->space, first), nbytes) != 0)
		return false;
	advise_huge(ph, first, first + (nbytes >> MGC_PAGE_SHIFT));
	return true;
}

size_t pageheap_give(struct pageheap *ph, size_t first, size_t npages, size_t ndirty, size_t *used)
{
	lock_acquire(&ph->lock);
	MGC_CHECK(npages <= ph->taken_pages && ndirty <= npages);
	ph->used_pages -= npages;
	ph->taken_pages -= npages;
	if (ndirty > 0)
		pagealloc_free(&ph->pages, first, ndirty);
	if (ndirty < npages)
		pagealloc_put_clean(&ph->pages, first + ndirty, npages - ndirty);
	size_t dirty = ph->pages.nfree - ph->pages.nclean;
	*used = ph->used_pages;
	lock_release(&ph->lock);
	return dirty;
}

/* give_back - the memory of pages that were taken to hide them from allocation, which nobody uses; then
 * frees them. Bytes, 0 when the system refuses. Without the lock. */
static size_t give_back(struct pageheap *ph, size_t first, size_t npages)
{
	int err = os_discard(space_page_addr(&ph->space, first), npages << MGC_PAGE_SHIFT);
	if (!ph->spanless)
		space_discard_tables(&ph->space, first, npages);
	lock_acquire(&ph->lock);
	if (err == 0) {
		pagealloc_put_clean(&ph->pages, first, npages);
		ph->scavenged_nbytes += npages << MGC_PAGE_SHIFT;
	} else {
		pagealloc_free(&ph->pages, first, npages);
	}
	lock_release(&ph->lock);
	return err == 0 ? npages << MGC_PAGE_SHIFT : 0;
}

size_t pageheap_scavenge(struct pageheap *ph, size_t nbytes, size_t min_pages)
{
	/* in runs that hold huge pages, whole ones: a piece would break it, and be touched again in small ones */
	size_t align = max_size(1, os_page_size() >> MGC_PAGE_SHIFT);
	size_t huge_pages = os_huge_page_size() >> MGC_PAGE_SHIFT;
	if (huge_pages != 0 && huge_pages <= min_size(min_pages, SCAVENGE_STEP_PAGES))
		align = huge_pages;
	size_t done = 0, below = SIZE_MAX;
	while (done < nbytes) {
		size_t first, npages;
		lock_acquire(&ph->lock);
		bool found = pagealloc_take_dirty(&ph->pages, below, max_size(min_pages, align),
						  SCAVENGE_STEP_PAGES, align, &first, &npages);
		lock_release(&ph->lock);
		if (!found)
			break;
		done += give_back(ph, first, npages);
		below = first;
	}
	MGC_PROBE(heap__scavenge, done, nbytes);
	return done;
}

bool pageheap_limit_changed(struct pageheap *ph)
{
	lock_acquire(&ph->lock);
	bool changed = space_limit_changed(&ph->space);
	lock_release(&ph->lock);
	return changed;
}

void pageheap_obey_locked(struct pageheap *ph)
{
	space_obey(&ph->space);
	pagealloc_cut(&ph->pages, space_bound(&ph->space)); /* and when the heap grows it is widened again: reach */
}

void pageheap_obey(struct pageheap *ph)
{
	lock_acquire(&ph->lock);
	pageheap_obey_locked(ph);
	lock_release(&ph->lock);
}

size_t pageheap_drop_ahead(struct pageheap *ph)
{
	size_t first = load_relaxed(&ph->reached_pages) + AHEAD_TELL_PAGES; /* spans may end before it */
	size_t nclean;
	lock_acquire(&ph->lock);
	size_t end = ph->touched_pages;
	bool taken = first < end && pagealloc_alloc_at(&ph->pages, first, end - first, &nclean);
	lock_release(&ph->lock);
	return taken ? give_back(ph, first, end - first) : 0;
}

size_t pageheap_read_idle(struct pageheap *ph, size_t *used)
{
	lock_acquire(&ph->lock);
	size_t dirty = ph->pages.nfree - ph->pages.nclean,
	       idle = min_size(ph->least_dirty_pages, dirty);
	ph->least_dirty_pages = dirty;
	*used = ph->used_pages;
	lock_release(&ph->lock);
	return idle;
}

void pageheap_read_stats(struct pageheap *ph, struct pageheap_stats *out)
{
	lock_acquire(&ph->lock);
	out->used_nbytes = ph->used_pages << MGC_PAGE_SHIFT;
	out->clean_nbytes = ph->pages.nclean << MGC_PAGE_SHIFT;
	out->dirty_nbytes = (ph->pages.nfree - ph->pages.nclean) << MGC_PAGE_SHIFT;
	out->reserved_nbytes = ph->space.nbytes;
	out->scavenged_nbytes = ph->scavenged_nbytes;
	out->tables_nbytes = space_tables_nbytes(&ph->space);
	lock_release(&ph->lock);
}

void pageheap_each(struct pageheap *ph, void (*fn)(void *arg, struct span *s), void *arg)
{
	struct space *sp = &ph->space;
	size_t grown = ph->spanless ? 0 : load_relaxed(&sp->grown);
	for (size_t page = 0; page < grown;) {
		uint32_t desc = load_acquire(&sp->desc[page]); /* pairs: desc-publish */
		if (desc == 0 || desc_distance(desc) != 0) { /* the latter: one that is being published */
			page++;
			continue;
		}
		struct span *s = &sp->spans[page];
		page += s->npages;
		fn(arg, s);
	}
}

struct verify {
	struct pageheap *ph;
	size_t used;
};

static void verify_span(void *arg, struct span *s)
{
	struct verify *v = arg;
	if (s->state != SPAN_IN_USE ||
	    s->base != space_page_addr(&v->ph->space, (size_t)(s - v->ph->space.spans)))
		mgc_fatal("span record of %p is corrupt: state %d", (void *)s->base, s->state);
	span_verify(&v->ph->space, s);
	v->used += s->npages;
}

void pageheap_verify(struct pageheap *ph)
{
	struct verify v = { ph, 0 };
	pageheap_each(ph, verify_span, &v);
	pagealloc_verify(&ph->pages);
	if (v.used + ph->taken_pages + load_relaxed(&ph->unpublished_pages) != ph->used_pages)
		mgc_fatal("page heap: %zu pages in spans and %zu without, %zu counted (H2)", v.used,
			  ph->taken_pages, ph->used_pages);
}
