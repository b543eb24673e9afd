/* manual.h - a heap whose blocks are freed by hand: the page heap below, what belongs to no thread, and
 * the list of caches.
 *
 * WHAT   Units for slabs and runs of pages for large objects come from the page heap; every object begins
 *        at a unit. A slab whose thread ended is an orphan: in the list of its class when it has blocks to
 *        give, until a thread adopts it or its last block comes home.
 *        Remote frees: whoever frees another's block collects it in its own outbox, adds a batch to the
 *        slab's remote list by one CAS, and when the list was not posted yet puts the slab into its
 *        owner's mailbox by another. The owner takes the whole mailbox by one exchange when it has run
 *        out of blocks. No lock, and two cache lines for up to 32 blocks.
 *        A mailbox may get a slab after its cache gave the slab away: whoever posts looks again at the
 *        owner afterwards, and takes the mailbox himself if that has changed; whoever takes a mailbox
 *        sends on what is not his. Giving away writes the owner, then takes the mailbox: either the
 *        poster's second look sees the new owner, or that last taking finds the slab (both are
 *        exchanges on the mailbox, so one of them comes first).
 *        Free pages go back to the system at the free that leaves too many: more than 4 MiB and an eighth
 *        of what is in use; whole huge pages first, short runs only when they are many. If a quarter of them is wanted again within a second, the heap swings: for the
 *        next ten seconds as many may stay as are in use, or were free then. So a process
 *        needs no thread for it, a heap that shrinks gives back though nobody calls again, and one that
 *        swings pays for its first swing.
 *        Pages in units that stay go back in the same way: when there are 4 MiB of units in which most is free.
 *        Once the scavenger's thread runs (scavenger.h) all that is its business, and frees give back nothing.
 * WHO    mcache.c; the faces for starting, statistics and fork.
 * STATE  a cache: in use by a thread or a region → idle → in use. Its memory is never given back.
 * INV    N1 a slab's owner is a cache in use, or &orphans
 *        N2 owner, key and state of a slab change by its owner, or under CENTRAL while that is &orphans
 * LOCKS  CENTRAL for orphans; REGISTRY for the lists of caches; PAGEHEAP below.
 * FROM   abandoned pages: mimalloc. */
#ifndef MGC_HEAP_MANUAL_H
#define MGC_HEAP_MANUAL_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"
#include "base/list.h"
#include "heap/pageheap.h"
#include "heap/slab.h"
#include "os/lock.h"
#include "os/os.h"
#include "sample/sampler.h"

/* Sizes find their slab by size alone: up to so many bytes in steps of 16, above to MGC_MAX_SMALL in steps of which every
 * class there is a multiple. */
#define MCACHE_DIRECT_NBYTES ((size_t)1024)
#define MCACHE_NDIRECT (MCACHE_DIRECT_NBYTES / BLOCK_ALIGN + 1)
#define MCACHE_MEDIUM_STEP ((size_t)128)
#define MCACHE_NMEDIUM ((MGC_MAX_SMALL - MCACHE_DIRECT_NBYTES) / MCACHE_MEDIUM_STEP)
#define MCACHE_NOUTBOX 32
#define MCACHE_NSPARE 8
/* Slabs that became sparser lately, and whose pages wait for the program to go on to others; so many of them, the oldest, are
 * looked at when there are more. docs/adr/0094 */
#define MCACHE_NLATELY 4u
#define MCACHE_LATELY_STEP 3u
/* Units of the longest run that a cache keeps. */
#define MCACHE_MAX_RUN 16
/* So many units of freed runs are kept: 2 MiB. */
#define MCACHE_MAX_KEPT (MGC_HOSTILE ? 4u : 32u)

/* Blocks of one foreign slab, freed here and not handed over yet. */
struct outbox {
	struct slab *slab;
	struct block *first, *last;
	uint32_t n, most; /* blocks, and at how many they are handed over */
};

enum mcache_kind {
	MCACHE_THREAD, /* its thread frees the short way */
	MCACHE_SHARED, /* of several threads, one at a time */
	MCACHE_REGION, /* the same, and nobody else frees its blocks */
};

/* One thread's slabs. Its thread alone uses all but the mailbox, and who visits it (mcache_visit). */
struct mcache {
	/* What the short ways see: the current slabs by size, each as so many bytes from here on, modulo 2^64, and that runs of
	 * up to so many bytes may be taken. 0 for all while each allocation has to come the slow way: then the slab is the
	 * cache itself, whose first word is as a slab's with an empty list. So a cache of zeros but for `none` has nothing,
	 * and needs no relocations in the library. */
	struct block *none; /* block_end */
	uintptr_t direct[MCACHE_NDIRECT], medium[MCACHE_NMEDIUM];
	size_t quick_run_nbytes;
	struct slab *current[MGC_NSIZECLASS];
	struct manual *heap;
	struct slab_list full;
	struct slab_list partial[MGC_NSIZECLASS];
	struct slab *spare[MCACHE_NSPARE]; /* empty */
	struct slab *lately[MCACHE_NLATELY]; /* sparse ones, each once, the oldest first: mcache_note_sparse */
	uint32_t nlately;
	/* Large objects that were freed, by their units, newest first; see mcache_alloc_run. */
	struct slab *run[MCACHE_MAX_RUN + 1];
	uint32_t nspare, nchecked; /* the first of them were looked at for double frees: mcache_check_spares */
	/* Units of runs that came in ever, and that went out ever and MCACHE_MAX_KEPT: as many are kept as the difference
	 * falls short of that. Of those that went out, so many were given back. */
	uint64_t runs_in, runs_bound,
		runs_given; /* owner, or its visitor; who only counts reads them as they are */
	struct outbox outbox[MCACHE_NOUTBOX];
	struct sample_clock sample;
	uint32_t due[MGC_NSIZECLASS]; /* allocations of the class to the next one that is sampled: mcache_sample.h */
	bool metered; /* they are counted */
	uint32_t nsparse; /* slabs that are SPARSE or SEEN */
	uint32_t inside; /* atomic: odd while its thread is on one of the ways that a visit keeps out */
	uint32_t visited; /* atomic, futex: 1 somebody visits the cache, 2 and its thread waits for that */
	uint32_t inside_seen, inside_trimmed, round; /* the visitor's */
	bool sampling; /* its thread walks its stack */
	bool slow; /* each allocation comes the slow way */
	uint8_t kind; /* atomic: enum mcache_kind */
	struct slab_list objects; /* a region's large ones */
	struct list node; /* of manual.caches or manual.idle */
	uint64_t listed_nbytes; /* atomic: mcache_allocated */
	MGC_ALIGNED(MGC_CACHE_LINE) struct slab *mailbox; /* atomic: slabs with remote frees */
};

struct manual {
	struct slabs slabs;
	struct pageheap pageheap;
	struct lock lock; /* CENTRAL */
	struct slab_list orphan[MGC_NSIZECLASS];
	uint32_t norphans[MGC_NSIZECLASS]; /* atomic; written under the lock */
	struct lock registry_lock;
	struct list caches, idle; /* registry_lock */
	struct giveback {
		uint32_t busy; /* atomic: a thread gives back */
		size_t given_pages; /* atomic: in one wave, until it is judged */
		size_t wanted_pages; /* atomic: taken since, and not resident */
		size_t wave_pages; /* atomic: that were free and resident, or given already, in that wave */
		size_t left_pages; /* atomic: that it left, or fewer */
		uint64_t at_ns; /* atomic: its last moment */
		size_t swing_pages; /* atomic: what may stay while the heap swings; 0: it does not */
		uint64_t swing_ns; /* atomic: since when it does */
	} giveback;
	struct scavenging {
		struct lock lock; /* WORLD: held while the scavenger works, so that a fork waits for it */
		uint32_t on; /* atomic: its thread runs */
		uint32_t asleep; /* atomic, futex: it waits for manual_stir */
		uint32_t due; /* atomic: it is time to start it */
		uint32_t round; /* the scavenger's */
	} scavenging;
	uint32_t nthreads; /* atomic: caches of threads */
	size_t nholes; /* atomic: of all slabs, 4 KiB each: in use for the page heap, and not resident */
	uint32_t nmoved; /* atomic: mappings that manual_move made, and nothing renewed */
	size_t records_nbytes; /* of the table of records, reserved, unless records_cut */
	bool records_cut; /* PAGEHEAP: only those of the arenas that are recorded are ours, and the first ones of the table */
	size_t recorded; /* arenas whose part of the table is committed; PAGEHEAP */
	struct mcache orphans; /* the owner of slabs that have none */
	bool first_taken; /* registry_lock */
	struct mcache first; /* the first thread's: a process that has one maps none */
};

/* manual_init - h is all zeros, as manual_destroy leaves it, too. 0 or an errno. max_nbytes as in pageheap_init. */
int manual_init(struct manual *h, size_t max_nbytes);
void manual_destroy(struct manual *h);

/* manual_base - address of the unit of a record. manual_holds - whether p lies in it. */
MGC_INLINE uintptr_t manual_base(const struct manual *h, const struct slab *s)
{
	uintptr_t base = h->pageheap.space.base; /* somewhere in the table the range begins */
	uintptr_t offset = ((uintptr_t)s - (uintptr_t)slab_of(&h->slabs, base)) & h->slabs.index_mask;
	return base + (offset << (SLAB_SHIFT - SLAB_RECORD_SHIFT));
}
MGC_INLINE bool manual_holds(const struct manual *h, const struct slab *s, uintptr_t p)
{
	return space_contains(&h->pageheap.space, p) && p - manual_base(h, s) < SLAB_NBYTES;
}

/* manual_take - npages from a unit's start, aligned to `align` bytes (a power of two) at least; *nclean says
 * how many read as zero. NULL: no memory. The record is in state NONE. dense: all of it will be touched, so it comes in huge
 * pages where the heap has to grow, and begins with one if it is as long. */
struct slab *manual_take(struct manual *h, size_t npages, size_t align, bool dense, size_t *nclean);
/* manual_give - npages from page `skip` of the record's unit on, of which the first ndirty were used. */
void manual_give(struct manual *h, const struct slab *s, size_t skip, size_t npages, size_t ndirty);
/* manual_extend - makes the large object's run longer in place. manual_shrink - shorter, npages remain.
 * manual_give_large - all of it goes back; moved: by manual_move, so that nothing of it is resident. */
bool manual_extend(struct manual *h, struct slab *s, size_t npages);
void manual_shrink(struct manual *h, struct slab *s, size_t npages);
void manual_give_large(struct manual *h, struct slab *s, bool moved);
/* manual_move - what the large object holds goes to the start of the run of npages at `to`, which was just taken
 * with nclean of them clean, without a copy. False: it is too little for that, or most of `to` is resident, which
 * would be lost, or the system cannot: copy. */
bool manual_move(struct manual *h, struct slab *s, struct slab *to, size_t npages, size_t nclean);

/* manual_obey - when the program has limited its address space since to less than what is reserved (space_over_limit), all
 * that is reserved and not in use goes back, of the table of records too; the heap goes on as far as the limit lets it.
 * manual_take sees such a limit by itself. */
void manual_obey(struct manual *h);

/* manual_stir - something was freed that may go back: wakes the scavenger if it sleeps. */
MGC_INLINE void manual_stir(struct manual *h)
{
	if (MGC_UNLIKELY(load_relaxed(&h->scavenging.asleep) != 0)) {
		store_relaxed(&h->scavenging.asleep, 0u);
		os_wake(&h->scavenging.asleep, 1);
	}
}

/* manual_may_make_holes - so many units wait, in which most pages are free: that is more than may stay, and the heap
 * does not swing. */
bool manual_may_make_holes(struct manual *h, size_t nunits);
/* manual_discard_holes - gives back those pages of 4 KiB of the unit. manual_note_filled - so many of them are
 * used again. manual_forget_holes - the slab is empty: it has none. */
void manual_discard_holes(struct manual *h, uintptr_t base, uint32_t set);
void manual_note_filled(struct manual *h, uint32_t npages);
MGC_INLINE void manual_forget_holes(struct manual *h, struct slab *s)
{
	uint32_t n = bits_count(slab_holes(s));
	if (n != 0) {
		sub_relaxed(&h->nholes, (size_t)n);
		store_relaxed(&s->remote, (uintptr_t)0);
	}
}
/* manual_resident_used - of so many pages in use, those that may be resident. */
MGC_INLINE size_t manual_resident_used(const struct manual *h, size_t used_pages)
{
	size_t holes = load_relaxed(&h->nholes) * SLAB_HOLE_NBYTES >> MGC_PAGE_SHIFT;
	return used_pages - min_size(holes, used_pages);
}
/* manual_allowed_dirty - free pages that may stay resident though nobody wanted them for a while. */
size_t manual_allowed_dirty(const struct manual *h, size_t used_pages);

/* manual_post - the slab's remote list has just become posted: tell its owner. */
void manual_post(struct manual *h, struct slab *s);
/* manual_abandon - the calling owner leaves the slab, of whose blocks `count` are in use. */
void manual_abandon(struct manual *h, struct slab *s, uint32_t count);
/* manual_adopt - an orphan of the class with something to give, c's from here on, or NULL. *used: blocks of it in use. */
struct slab *manual_adopt(struct manual *h, struct mcache *c, unsigned sizeclass, uint32_t *used);

/* manual_each - calls fn for every record that is not NONE, in address order. Others may change them. */
void manual_each(struct manual *h, void (*fn)(void *arg, struct slab *s, uintptr_t base), void *arg);

#endif
