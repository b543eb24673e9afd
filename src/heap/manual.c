/* manual.c - see manual.h. */
#include "heap/manual.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

#define ARENA_RECORDS_NBYTES ((MGC_ARENA_SIZE >> SLAB_SHIFT) << SLAB_RECORD_SHIFT)
/* The table of records stays whole under a limit of which it is no more than this part. */
#define RECORDS_PART 16

/* Small pages below this, but half of it is hidden: a heap has 2 MiB of them. Tools that end soon stay below that, and
 * what grows beyond pays 512 first touches for it, not 1,024. It is whole chunks, so that a start needs no call of the
 * system for it. docs/adr/0082 */
#define HUGE_FROM_PAGES ((size_t)4 << 20 >> MGC_PAGE_SHIFT)
#define HIDDEN_PAGES (min_size(HUGE_FROM_PAGES, MGC_CHUNK_PAGES) / 2)
/* Larger objects are as often sparse as dense. docs/adr/0032 */
#define HUGE_UP_TO_PAGES ((size_t)1 << 20 >> MGC_PAGE_SHIFT)
/* Free pages that may stay resident in any case. docs/adr/0013 */
#define FLOOR_PAGES ((size_t)4 << 20 >> MGC_PAGE_SHIFT)
/* A heap that never grew beyond this has no scavenger. */
#define SCAVENGER_FROM_PAGES (MGC_HOSTILE ? 0 : (size_t)8 << 20 >> MGC_PAGE_SHIFT)
/* Runs as long as that go back whole; a piece of a huge page breaks it, and is touched again in small ones. */
#define HUGE_PAGES ((size_t)2 << 20 >> MGC_PAGE_SHIFT)
/* Objects from there on are moved without a copy. Below, what comes in small pages keeps the place from having huge ones, and
 * most of it is new. Each move leaves a mapping of its own, of which a process may have 65,530; beyond so many, the next
 * ones are undone when they are freed. */
#define MOVE_FROM_PAGES (MGC_HOSTILE ? SLAB_PAGES : (size_t)4 << 20 >> MGC_PAGE_SHIFT)
#define MAX_MOVED (MGC_HOSTILE ? 4u : 4096u)
/* From there on an object may be more than the system has. docs/adr/0095 */
#define VAST_PAGES ((size_t)256 << 20 >> MGC_PAGE_SHIFT)
/* Places for the records that are tried. */
#define PLACE_TRIES 8
/* Pages wanted again within so long were given too early; so long it is remembered. */
#define REGRET_NS UINT64_C(1000000000)
#define SWING_NS UINT64_C(10000000000)

/* ── the table of records ───────────────────────────────────────────────────────────────── */

/* records_at - of that arena of the range, as an offset in the table. An arena's records lie together. */
static size_t records_at(const struct manual *h, size_t arena)
{
	uintptr_t addr = h->pageheap.space.base + (arena << MGC_ARENA_SHIFT);
	return (uintptr_t)slab_of(&h->slabs, addr) - h->slabs.records;
}

/* commit_arena - the records of the next arena. Those that were cut are mapped where they were, if nobody else is there. */
static bool commit_arena(struct manual *h)
{
	size_t offset = records_at(h, h->recorded), page = os_page_size();
	uintptr_t lo = align_down(h->slabs.records + offset, page);
	size_t nbytes = align_up(h->slabs.records + offset + ARENA_RECORDS_NBYTES, page) - lo;
	bool mapped = h->records_cut && offset != 0;
	if (mapped && os_reserve_readable_at(lo, nbytes) != 0)
		return false;
	bool ok = os_commit(lo, nbytes) == 0;
	if (!ok && mapped)
		os_release(lo, nbytes);
	return ok;
}

/* cut_records - those of arenas that are recorded stay, and the table's first ones: NULL finds the very first. Other
 * addresses of nobody's find no record any more. They lie at `at` and behind, and go on where the table begins. */
static void cut_records(struct manual *h)
{
	size_t at = records_at(h, 0), end = at + h->recorded * ARENA_RECORDS_NBYTES;
	size_t again = end > h->records_nbytes ? end - h->records_nbytes : 0;
	size_t lo = max_size(again, ARENA_RECORDS_NBYTES);
	end = max_size(end, ARENA_RECORDS_NBYTES);
	if (lo < at)
		os_release(h->slabs.records + lo, at - lo);
	if (end < h->records_nbytes)
		os_release(h->slabs.records + end, h->records_nbytes - end);
	h->records_cut = true;
}

/* release_records - all of them. */
static void release_records(const struct manual *h)
{
	if (!h->records_cut) {
		os_release(h->slabs.records, h->records_nbytes);
		return;
	}
	os_release(h->slabs.records, ARENA_RECORDS_NBYTES);
	for (size_t i = 0; i < h->recorded; i++)
		if (records_at(h, i) != 0)
			os_release(h->slabs.records + records_at(h, i), ARENA_RECORDS_NBYTES);
}

/* place_records - of a heap that starts under a limit which may be lifted: only the table's first ones are ours. They lie behind
 * the range, far from where the system maps by itself. */
static uintptr_t place_records(const struct manual *h)
{
	const struct space *sp = &h->pageheap.space;
	uintptr_t at = sp->base + sp->nbytes;
	for (int i = 0; i < PLACE_TRIES; i++, at = os_choose_place(SLAB_NBYTES))
		if (os_reserve_readable_at(at, ARENA_RECORDS_NBYTES) == 0)
			return at;
	return 0;
}

/* may_cut_records - an arena's are whole pages of the system, and all of them are much under that limit. */
static bool may_cut_records(const struct manual *h, size_t limit)
{
	return !h->records_cut && ARENA_RECORDS_NBYTES >= os_page_size() &&
	       h->records_nbytes > max_size(limit / RECORDS_PART, ARENA_RECORDS_NBYTES);
}

void manual_obey(struct manual *h)
{
	struct pageheap *ph = &h->pageheap;
	lock_acquire(&ph->lock);
	if (ph->space.bare && space_over_limit(&ph->space)) {
		pageheap_obey_locked(ph);
		if (may_cut_records(h, ph->space.limit))
			cut_records(h);
	}
	lock_release(&ph->lock);
}

/* ── all of it ──────────────────────────────────────────────────────────────────────────── */

int manual_init(struct manual *h, size_t max_nbytes)
{
	int err = pageheap_init_spanless(&h->pageheap, max_nbytes);
	if (err != 0)
		return err;
	size_t nunits = h->pageheap.space.nbytes >> SLAB_SHIFT;
	if (!is_pow2(nunits))
		nunits = (size_t)1 << (64 - bits_clz(nunits));
	h->records_nbytes = max_size(nunits << SLAB_RECORD_SHIFT, os_page_size());
	h->slabs.index_mask = (nunits - 1) << SLAB_RECORD_SHIFT;
	h->records_cut = !h->pageheap.space.reserved && may_cut_records(h, h->pageheap.space.limit);
	h->slabs.records = h->records_cut ? place_records(h) : os_reserve_readable(h->records_nbytes);
	if (h->slabs.records == 0) {
		pageheap_destroy(&h->pageheap);
		return ENOMEM;
	}
	lock_init(&h->lock, LOCK_CENTRAL);
	lock_init(&h->registry_lock, LOCK_REGISTRY);
	lock_init(&h->scavenging.lock, LOCK_WORLD);
	list_init(&h->caches);
	list_init(&h->idle);
	h->pageheap.huge_from_pages = HUGE_FROM_PAGES;
	h->pageheap.huge_up_to_pages = HUGE_UP_TO_PAGES;
	h->pageheap.hidden_pages = HIDDEN_PAGES;
	return 0;
}

void manual_destroy(struct manual *h)
{
	release_records(h);
	pageheap_destroy(&h->pageheap);
	memset(h, 0, sizeof *h);
}

static size_t first_page(const struct manual *h, const struct slab *s)
{
	return space_page_of(&h->pageheap.space, manual_base(h, s));
}

static void set_state(struct slab *s, enum slab_state state)
{
	store_relaxed(&s->state, (uint8_t)state);
}

/* ── pages ──────────────────────────────────────────────────────────────────────────────── */

/* commit_records - for all arenas that reach below addr. */
static bool commit_records(struct manual *h, uintptr_t addr)
{
	const struct space *sp = &h->pageheap.space;
	bool ok = true;
	if (addr - sp->base <= load_acquire(&h->recorded) << MGC_ARENA_SHIFT) /* pairs: recorded */
		return true;
	lock_acquire(&h->pageheap.lock);
	while (ok && addr - sp->base > h->recorded << MGC_ARENA_SHIFT) {
		ok = commit_arena(h);
		if (ok)
			store_release(&h->recorded, h->recorded + 1); /* pairs: recorded */
	}
	lock_release(&h->pageheap.lock);
	return ok;
}

/* note_wanted - pages were taken that are not resident. One verdict for each wave of giving back. */
static void note_wanted(struct giveback *g, size_t npages)
{
	size_t given = load_relaxed(&g->given_pages);
	if (MGC_LIKELY(given == 0) || add_relaxed(&g->wanted_pages, npages) + npages < given / 4)
		return;
	store_relaxed(&g->given_pages, (size_t)0);
	uint64_t now = os_now_ns();
	if (now - load_relaxed(&g->at_ns) < REGRET_NS) {
		size_t wave = max_size(load_relaxed(&g->wave_pages) * 5 / 4,
				       FLOOR_PAGES); /* not for a little more */
		store_relaxed(&g->swing_pages, max_size(load_relaxed(&g->swing_pages), wave));
		store_relaxed(&g->swing_ns, now);
	}
}

static size_t calm_pages(size_t used)
{
	return max_size(FLOOR_PAGES, used / 8);
}

/* allowed_pages - the same while it swings, too. */
static size_t allowed_pages(struct giveback *g, size_t used)
{
	size_t swing = load_relaxed(&g->swing_pages);
	return swing == 0 ? calm_pages(used) : max_size(FLOOR_PAGES, max_size(swing, used));
}

/* forget_swing - when it was long ago. */
static void forget_swing(struct giveback *g, uint64_t now)
{
	if (now - load_relaxed(&g->swing_ns) > SWING_NS)
		store_relaxed(&g->swing_pages, (size_t)0);
}

/* give_back - half of what may stay does, and serves what comes next. Short runs go only when they are as much
 * as half of what is in use; what that leaves is not looked at again before more comes. */
static void give_back(struct manual *h, size_t dirty, size_t used)
{
	struct giveback *g = &h->giveback;
	uint32_t idle = 0;
	if (!cas_acq_rel(&g->busy, &idle, 1u)) /* pairs: giveback */
		return;
	uint64_t now = os_now_ns();
	forget_swing(g, now);
	size_t before = now - load_relaxed(&g->at_ns) < REGRET_NS ? load_relaxed(&g->given_pages) : 0;
	size_t nbytes = (dirty - allowed_pages(g, used) / 2) << MGC_PAGE_SHIFT;
	size_t done = pageheap_scavenge(&h->pageheap, nbytes, HUGE_PAGES),
	       left = dirty - (done >> MGC_PAGE_SHIFT);
	if (left > allowed_pages(g, used) && left > used / 2)
		done += pageheap_scavenge(&h->pageheap, nbytes - done, SLAB_PAGES);
	nbytes = done;
	store_relaxed(&g->left_pages, dirty - (done >> MGC_PAGE_SHIFT));
	store_relaxed(&g->at_ns, now);
	store_relaxed(&g->wave_pages, before + dirty);
	store_relaxed(&g->wanted_pages, (size_t)0);
	store_relaxed(&g->given_pages, before + (nbytes >> MGC_PAGE_SHIFT));
	store_release(&g->busy, 0u); /* pairs: giveback */
}

/* obeys - a limit that came unseen is obeyed now, by this thread or another one: pages may be had after all. */
static bool obeys(struct manual *h)
{
	manual_obey(h);
	return h->pageheap.space.bare && !load_relaxed(&h->pageheap.space.reserved);
}

static bool is_beyond_memory(size_t npages)
{
	return MGC_UNLIKELY(npages > VAST_PAGES) && os_is_beyond_memory(npages << MGC_PAGE_SHIFT);
}

struct slab *manual_take(struct manual *h, size_t npages, size_t align, bool dense, size_t *nclean)
{
	size_t first, align_pages = max_size(SLAB_PAGES, align >> MGC_PAGE_SHIFT);
	if (is_beyond_memory(npages))
		return NULL;
	if (dense && npages >= HUGE_PAGES)
		align_pages = max_size(align_pages, HUGE_PAGES);
	if (!pageheap_take(&h->pageheap, npages, align_pages, dense, &first, nclean) &&
	    !(obeys(h) && pageheap_take(&h->pageheap, npages, align_pages, dense, &first, nclean)))
		return NULL;
	if (*nclean != 0)
		note_wanted(&h->giveback, *nclean);
	if (MGC_UNLIKELY(!load_relaxed(&h->scavenging.on) && load_relaxed(&h->nthreads) > 1 &&
			 load_relaxed(&h->pageheap.space.grown) > SCAVENGER_FROM_PAGES))
		store_relaxed(&h->scavenging.due, 1u);
	uintptr_t addr = space_page_addr(&h->pageheap.space, first);
	/* only the first unit has a record in use, but an address anywhere in the run finds one */
	if (commit_records(h, addr + (npages << MGC_PAGE_SHIFT)))
		return slab_of(&h->slabs, addr);
	size_t used;
	pageheap_give(&h->pageheap, first, npages, npages - *nclean, &used);
	return NULL;
}

void manual_give(struct manual *h, const struct slab *s, size_t skip, size_t npages, size_t ndirty)
{
	size_t used,
		dirty = pageheap_give(&h->pageheap, first_page(h, s) + skip, npages, ndirty, &used);
	struct giveback *g = &h->giveback;
	if (load_relaxed(&h->scavenging.on)) {
		manual_stir(h);
		return;
	}
	used = manual_resident_used(h, used);
	if (MGC_LIKELY(dirty <= calm_pages(used)))
		return;
	if (load_relaxed(&g->swing_pages) != 0)
		forget_swing(g, os_now_ns());
	if (dirty <= allowed_pages(g, used))
		return;
	size_t left = load_relaxed(&g->left_pages);
	if (dirty < left)
		store_relaxed(&g->left_pages, dirty);
	else if (dirty > left + FLOOR_PAGES / 2)
		give_back(h, dirty, used);
}

/* ── pages in units that stay ───────────────────────────────────────────────────────────── */

size_t manual_allowed_dirty(const struct manual *h, size_t used_pages)
{
	return max_size(FLOOR_PAGES / 2, manual_resident_used(h, used_pages) / 16);
}

bool manual_may_make_holes(struct manual *h, size_t nunits)
{
	struct giveback *g = &h->giveback;
	if (nunits * SLAB_PAGES <= FLOOR_PAGES)
		return false;
	if (load_relaxed(&g->swing_pages) != 0)
		forget_swing(g, os_now_ns());
	return load_relaxed(&g->swing_pages) == 0;
}

void manual_discard_holes(struct manual *h, uintptr_t base, uint32_t set)
{
	struct giveback *g = &h->giveback;
	size_t nbytes = (size_t)bits_count(set) * SLAB_HOLE_NBYTES;
	while (set != 0) {
		unsigned first = bits_ctz(set), n = bits_ctz(~(uint64_t)(set >> first));
		/* refused: it stays resident, no harm */
		(void)os_discard(base + first * SLAB_HOLE_NBYTES, n * SLAB_HOLE_NBYTES);
		set &= ~(uint32_t)(bits_low(n) << first);
	}
	add_relaxed(&h->nholes, nbytes / SLAB_HOLE_NBYTES);
	add_relaxed(&g->given_pages, nbytes >> MGC_PAGE_SHIFT);
	store_relaxed(&g->at_ns, os_now_ns());
	lock_acquire(&h->pageheap.lock);
	h->pageheap.scavenged_nbytes += nbytes;
	lock_release(&h->pageheap.lock);
}

void manual_note_filled(struct manual *h, uint32_t npages)
{
	sub_relaxed(&h->nholes, (size_t)npages);
	note_wanted(&h->giveback, (npages * SLAB_HOLE_NBYTES + MGC_PAGE_SIZE - 1) >> MGC_PAGE_SHIFT);
}

bool manual_extend(struct manual *h, struct slab *s, size_t npages)
{
	size_t end = first_page(h, s) + s->countdown;
	if (is_beyond_memory(s->countdown + npages) || !pageheap_extend(&h->pageheap, end, npages))
		return false;
	if (!commit_records(h, space_page_addr(&h->pageheap.space, end + npages))) {
		size_t used;
		pageheap_give(&h->pageheap, end, npages, npages, &used);
		return false;
	}
	s->countdown += (uint32_t)npages;
	return true;
}

/* ── large objects ──────────────────────────────────────────────────────────────────────── */

bool manual_move(struct manual *h, struct slab *s, struct slab *to, size_t npages, size_t nclean)
{
	size_t page = os_page_size();
	bool moved = s->countdown >= MOVE_FROM_PAGES && nclean >= npages / 2 &&
		     os_move(manual_base(h, s), align_up((size_t)s->countdown << MGC_PAGE_SHIFT, page),
			     manual_base(h, to), align_up(npages << MGC_PAGE_SHIFT, page)) == 0;
	if (npages >= HUGE_PAGES) /* what was moved has the advice of where it was */
		pageheap_advise(&h->pageheap, first_page(h, to), npages);
	if (moved)
		store_relaxed(&to->carved, (uint16_t)(add_relaxed(&h->nmoved, 1u) >= MAX_MOVED));
	return moved;
}

/* renew - pages of a large object from `skip` on, which goes back: true when they are clean. */
static bool renew(struct manual *h, const struct slab *s, size_t skip)
{
	return pageheap_renew(&h->pageheap, first_page(h, s) + skip, s->countdown - skip);
}

void manual_shrink(struct manual *h, struct slab *s, size_t npages)
{
	size_t n = s->countdown - npages;
	bool clean = load_relaxed(&s->carved) != 0 && renew(h, s, npages);
	s->countdown = (uint32_t)npages;
	manual_give(h, s, npages, n, clean ? 0 : n);
}

/* A page that was moved away leaves a page table behind, and where that is no huge page can come: so these are
 * renewed, too. */
void manual_give_large(struct manual *h, struct slab *s, bool moved)
{
	size_t npages = s->countdown;
	uint32_t counted = load_relaxed(&s->carved);
	bool clean = moved;
	if ((moved || counted != 0) && renew(h, s, 0)) {
		sub_relaxed(&h->nmoved, counted);
		clean = true;
	}
	set_state(s, SLAB_NONE);
	manual_give(h, s, 0, npages, clean ? 0 : npages);
}

/* ── slabs whose thread has ended ───────────────────────────────────────────────────────── */

static void list_orphan(struct manual *h, struct slab *s)
{
	unsigned sc = s->sizeclass;
	set_state(s, SLAB_ORPHAN);
	slab_list_push_back(&h->orphan[sc], s);
	store_relaxed(&h->norphans[sc], h->norphans[sc] + 1);
}

static void unlist_orphan(struct manual *h, struct slab *s)
{
	unsigned sc = s->sizeclass;
	slab_list_remove(&h->orphan[sc], s);
	store_relaxed(&h->norphans[sc], h->norphans[sc] - 1);
}

/* settle_orphan - its free list has changed: it is listed when it has something to give. True: all its
 * blocks came home and its unit is to be given back. Lock held. */
static bool settle_orphan(struct manual *h, struct slab *s)
{
	bool whole = s->countdown == 0 || s->countdown == IDLE_COUNT;
	uintptr_t remote = load_relaxed(&s->remote);
	if (whole && (remote & REMOTE_POSTED) == 0) {
		if (s->state == SLAB_ORPHAN)
			unlist_orphan(h, s);
		set_state(s, SLAB_NONE);
		return true;
	}
	if (whole)
		s->countdown = IDLE_COUNT;
	bool gives = s->free != &block_end || s->carved < slab_nblocks(s->sizeclass) ||
		     remote_count(remote) != 0 || slab_holes(s) != 0;
	if (gives && s->state != SLAB_ORPHAN)
		list_orphan(h, s);
	return false;
}

static void give_slab(struct manual *h, struct slab *s)
{
	manual_forget_holes(h, s);
	manual_give(h, s, 0, SLAB_PAGES, SLAB_PAGES);
}

void manual_abandon(struct manual *h, struct slab *s, uint32_t count)
{
	store_relaxed(&s->key, (uintptr_t)0);
	lock_acquire(&h->lock);
	s->countdown = count;
	set_state(s, SLAB_ORPHAN_FULL);
	bool gone = settle_orphan(h, s);
	if (!gone)
		store_release(&s->owner, &h->orphans); /* pairs: slab-owner */
	lock_release(&h->lock);
	if (gone)
		give_slab(h, s);
}

struct slab *manual_adopt(struct manual *h, struct mcache *c, unsigned sizeclass, uint32_t *used)
{
	if (load_relaxed(&h->norphans[sizeclass]) == 0)
		return NULL;
	lock_acquire(&h->lock);
	struct slab *s = h->orphan[sizeclass].first;
	if (s != NULL) {
		unlist_orphan(h, s);
		*used = slab_used_idle(s);
		set_state(s, SLAB_CURRENT);
		s->countdown = CURRENT_COUNT;
		store_release(&s->owner, c); /* pairs: slab-owner */
	}
	lock_release(&h->lock);
	return s;
}

/* collect_orphan - its remote list is counted. True: give its unit back. Lock held. */
static bool collect_orphan(struct manual *h, struct slab *s)
{
	s->countdown -= slab_count_remote(s);
	return settle_orphan(h, s);
}

/* ── mailboxes ──────────────────────────────────────────────────────────────────────────── */

static struct slab *take_mail(struct mcache *c)
{
	return load_relaxed(&c->mailbox) == NULL ? NULL : swap_acq_rel(&c->mailbox, NULL); /* pairs: mailbox */
}

/* drain_orphans - what was posted to nobody is dealt with by who posted it. */
static void drain_orphans(struct manual *h)
{
	struct slab *gone = NULL, *elsewhere = NULL, *next;
	lock_acquire(&h->lock);
	for (struct slab *s = take_mail(&h->orphans); s != NULL; s = next) {
		next = s->mail;
		struct slab **to = &elsewhere;
		if (load_acquire(&s->owner) == &h->orphans) { /* pairs: slab-owner */
			if (!collect_orphan(h, s))
				continue;
			to = &gone;
		}
		s->mail = *to;
		*to = s;
	}
	lock_release(&h->lock);
	for (; gone != NULL; gone = next) {
		next = gone->mail;
		give_slab(h, gone);
	}
	for (; elsewhere != NULL; elsewhere = next) {
		next = elsewhere->mail;
		manual_post(h, elsewhere);
	}
}

void manual_post(struct manual *h, struct slab *s)
{
	for (;;) {
		struct mcache *c = load_acquire(&s->owner); /* pairs: slab-owner */
		struct slab *old = load_relaxed(&c->mailbox), *next;
		if (MGC_HOSTILE)
			os_yield(); /* the owner may give the slab away here */
		do
			s->mail = old;
		while (!cas_acq_rel(&c->mailbox, &old, s)); /* pairs: mailbox */
		if (c == &h->orphans) {
			drain_orphans(h);
			return;
		}
		manual_stir(h);
		if (load_acquire(&s->owner) == c) /* pairs: slab-owner */
			return;
		/* the cache gave the slab away meanwhile, perhaps after it looked into its mailbox */
		s = take_mail(c);
		for (; s != NULL && s->mail != NULL; s = next) {
			next = s->mail;
			manual_post(h, s);
		}
		if (s == NULL)
			return;
	}
}

void manual_each(struct manual *h, void (*fn)(void *arg, struct slab *s, uintptr_t base), void *arg)
{
	const struct space *sp = &h->pageheap.space;
	size_t nbytes = load_relaxed(&sp->grown) << MGC_PAGE_SHIFT;
	nbytes = min_size(nbytes, load_acquire(&h->recorded) << MGC_ARENA_SHIFT); /* pairs: recorded */
	for (size_t at = 0; at < nbytes;) {
		struct slab *s = slab_of(&h->slabs, sp->base + at);
		uint8_t state = load_relaxed(&s->state);
		size_t step = SLAB_NBYTES;
		if (state >= SLAB_LARGE)
			step = max_size(step, align_up((size_t)load_relaxed(&s->countdown) << MGC_PAGE_SHIFT,
						       SLAB_NBYTES));
		if (state != SLAB_NONE)
			fn(arg, s, sp->base + at);
		at += step;
	}
}
