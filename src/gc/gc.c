/* gc.c - puts the collector of a heap together. */
#include "gc/gc.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/statout.h"
#include "gc/background.h"
#include "gc/barrier.h"
#include "gc/cycle.h"
#include "gc/snapshot.h"
#include "gc/sweep.h"
#include "mallocgc.h"
#include "os/os.h"

#define MAX_HELPERS 15

static void park(struct mutator *m)
{
	stw_park(&m->heap->gc->stw, m);
}

/* attached - threads inherit their mask: one that blocks all signals must still be stopped. */
static void attached(struct mutator *m)
{
	struct gc *gc = m->heap->gc;
	if (!gc->knobs.poll)
		os_signal_unblock(gc->stw.signal);
	snapshot_newcomer(gc, m);
}

/* detached - waits for no lock of the roots: snapshot.h, N4. */
static void detached(struct mutator *m)
{
	mutator_enter(m);
	stacks_detach(&m->heap->gc->roots, m);
	mutator_leave(m);
	barrier_hand_over(m);
}

static void snapshot(struct mutator *m)
{
	snapshot_take(m->heap->gc, m, false);
}

static uint32_t helpers_wanted(const struct gc *gc, const struct knobs *k)
{
	if (k->workers != 0)
		return (uint32_t)k->workers - 1;
	return gc->nprocs - 1 < MAX_HELPERS ? gc->nprocs - 1 : MAX_HELPERS;
}

void gc_set_limit(struct gc *gc, uint64_t nbytes)
{
	unsigned __int128 hard = (unsigned __int128)nbytes * (100 + (uint64_t)gc->knobs.limitover) / 100;
	gc->limit_is_set = nbytes != UINT64_MAX;
	gc->pacer.limit_nbytes = nbytes;
	gc->pacer.hard_nbytes = hard < UINT64_MAX ? (uint64_t)hard : UINT64_MAX;
}

void gc_apply_limit(struct gc *gc)
{
	uint64_t limit = pacer_most(&gc->pacer);
	store_relaxed(&gc->heap->pageheap.limit_nbytes,
		      gc->limit_is_set && limit < SIZE_MAX
			      ? (size_t)limit - space_tables_for((size_t)limit)
			      : SIZE_MAX);
}

/* A program is held at the goal of a small heap, so nothing floats that the next goal would count, as it does in Go.
 * What lives there is little, and its cycles are many (docs/adr/0046). */
#define SMALL_NBYTES ((uint64_t)12 << 20)

/* take_ceiling - the container's limit bounds the goal when none was set: a part of it, because others use
 * memory there too. */
static void take_ceiling(struct gc *gc)
{
	size_t all = gc->knobs.ceiling != 0 ? os_memory_limit() : SIZE_MAX;
	if (all == SIZE_MAX)
		return;
	gc->pacer.limit_nbytes = all / 100 * (uint64_t)gc->knobs.ceiling;
	gc->pacer.hard_nbytes = all;
}

static void apply_knobs(struct gc *gc)
{
	const struct knobs *k = &gc->knobs;
	gc->pacer.percent = k->percent;
	gc->pacer.min_nbytes = (uint64_t)k->min_heap;
	gc_set_limit(gc, k->limit >= 0 ? (uint64_t)k->limit : UINT64_MAX);
	if (k->limit < 0)
		take_ceiling(gc);
	if (!k->hugepages)
		gc->heap->pageheap.huge_from_pages = SIZE_MAX;
	gc->nprocs = os_nprocs();
	gc->workers.limit = helpers_wanted(gc, k);
	gc->heap->layouts.by_type = k->types || k->gccheckmark != 0;
	gc->pool.one_processor = gc->workers.limit == 0;
	gc->heap->untold_nbytes = gc_untold_nbytes(gc);
}

/* init_tables - what must not be missing once memory is short. */
static bool init_tables(struct gc *gc)
{
	bool roots = roots_init(&gc->roots, &gc->stw), pool = grey_pool_init(&gc->pool);
	if (roots && pool)
		return true;
	roots_destroy(&gc->roots);
	grey_pool_destroy(&gc->pool);
	return false;
}

int gc_init(struct gc *gc, struct heap *h, const struct knobs *knobs, int signal, bool concurrent)
{
	memset(gc, 0, sizeof *gc);
	gc->heap = h;
	gc->knobs = *knobs;
	gc->start_ns = os_now_ns();
	lock_init(&gc->world, LOCK_WORLD);
	if (!init_tables(gc))
		return ENOMEM;
	specials_init(&gc->specials);
	apply_knobs(gc);
	h->gc = gc;
	h->ops.sweep_span = sweep_span;
	h->ops.park = park;
	h->ops.attached = attached;
	h->ops.detached = detached;
	h->ops.deserted = background_deserted;
	h->pageheap.reclaim = sweep_reclaim;
	h->pageheap.reclaim_arg = h;
	gc->barriered = concurrent;
	gc->pacer.small_nbytes = concurrent ? SMALL_NBYTES : 0;
	gc->written.space = &h->pageheap.space;
	h->pageheap.touch = background_touch;
	gc->concurrent = concurrent && knobs->concurrent;
	cycle_set_goal(gc);
	if (os_is_alone()) /* later a cycle would wait for it, and who allocates for the cycle */
		os_membarrier_register();
	int err = stw_init(&gc->stw, h, signal, knobs->poll != 0);
	gc->stw.snapshot = snapshot;
	return err;
}

void gc_keep_record(struct gc *gc, const struct cycle_record *r)
{
	gc->recent[r->number % RECENT_CYCLES] = *r;
	if (r->pause_ns != 0)
		histogram_add(&gc->pauses, r->pause_ns);
}

/* The struct in mallocgc.h is that of the rows. */
#define MGC_STAT(id, name, kind, unit, help) \
	_Static_assert(offsetof(struct mgc_stats, id) == sizeof(size_t) + STAT_##id * sizeof(uint64_t), \
		       "stat.def and struct mgc_stats differ: make docs");
#include "base/stat.def"
#undef MGC_STAT
_Static_assert(sizeof(struct mgc_stats) == sizeof(size_t) + NSTATS * sizeof(uint64_t),
	       "stat.def and struct mgc_stats differ: make docs");

/* note_cycle - what the last cycle found, and the settings. WORLD is held. */
static void note_cycle(const struct gc *gc, struct mgc_stats *out)
{
	out->cycles = gc->ncycles;
	out->forced_cycles = gc->nforced;
	out->heap_live = gc->last.heap_live;
	out->heap_goal = load_relaxed(&gc->heap->trigger_nbytes); /* which a cycle sets to 0 while it runs */
	out->pause_total_ns = gc->pause_total_ns;
	out->pause_max_ns = gc->pause_max_ns;
	out->pause_last_ns = gc->last.pause_ns;
	out->gc_cpu_ns = gc->last.total_gc_cpu_ns;
	out->objects_marked = gc->last.marked_objects;
	out->stacks_scanned = gc->last.stack_nbytes;
	out->roots_scanned = gc->last.roots_nbytes;
	out->percent = gc->pacer.percent < 0 ? UINT64_MAX : (uint64_t)gc->pacer.percent;
	out->limit = gc->pacer.limit_nbytes;
	out->over_limit_max = gc->over_max_nbytes;
	out->limited_cycles = gc->nlimited;
}

/* read_heap - what src/heap counts. */
static void read_heap(struct heap *h, struct mgc_stats *out)
{
	struct pageheap_stats ph;
	pageheap_read_stats(&h->pageheap, &ph);
	out->heap_now = heap_live(h);
	out->heap_in_spans = ph.used_nbytes;
	out->heap_free_dirty = ph.dirty_nbytes;
	out->heap_free_clean = ph.clean_nbytes;
	out->heap_reserved = ph.reserved_nbytes;
	out->scavenged = ph.scavenged_nbytes;
	out->metadata_tables = ph.tables_nbytes;
	out->metadata_mutators = load_relaxed(&h->records_nbytes);
	out->total_freed = load_relaxed(&h->freed_nbytes);
	/* a thread may not have counted yet what another freed already */
	out->total_allocated = max_size(load_relaxed(&h->allocated_nbytes), out->total_freed);
	out->threads = load_relaxed(&h->nmutators);
}

void gc_publish(struct gc *gc)
{
	struct published *p = &gc->published;
	struct mgc_stats now = { 0 };
	note_cycle(gc, &now);
	const uint64_t *value = (const uint64_t *)((const char *)&now + sizeof now.struct_size);
	uint64_t turn = load_relaxed(&p->turn) + 1;
	for (unsigned i = 0; i < NSTATS; i++)
		store_release(&p->row[turn % 2][i], value[i]); /* pairs: published-row */
	store_release(&p->turn, turn); /* pairs: published */
}

/* read_published - one row as it was written. A value of a later turn shows the turn before it, too: so a turn that is still the
 * same says that there is none. */
static void read_published(const struct published *p, struct mgc_stats *out)
{
	uint64_t *value = (uint64_t *)((char *)out + sizeof out->struct_size);
	uint64_t turn;
	do {
		turn = load_acquire(&p->turn); /* pairs: published */
		for (unsigned i = 0; i < NSTATS; i++)
			value[i] = load_acquire(&p->row[turn % 2][i]); /* pairs: published-row */
	} while (load_relaxed(&p->turn) != turn);
}

void gc_read_stats(struct gc *gc, struct mgc_stats *out)
{
	read_published(&gc->published, out);
	read_heap(gc->heap, out);
	specials_read_stats(&gc->specials, out);
	out->metadata_marking = grey_nbytes(&gc->pool);
}
