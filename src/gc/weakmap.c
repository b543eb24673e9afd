/* weakmap.c - see weakmap.h. */
#include "gc/weakmap.h"

#include <errno.h>

#include "base/bits.h"
#include "base/check.h"
#include "gc/alloc.h"
#include "os/os.h"

/* The first table, counters included; hostile builds grow from next to nothing. */
#define FIRST_PLACES (MGC_HOSTILE ? (size_t)4 : (size_t)8)
/* Pairs that are moved in one section. */
#define MOVE_PAIRS (MGC_HOSTILE ? (size_t)3 : (size_t)64)
#define MAP_SEAL UINT64_C(0x57b3c1e9a2486df0)

/* Counters of a table: table[0].value, pairs that are dead, and above it log2 of the places;
 * table[1].value, pairs that were ever put. */
#define HEAD_PAIRS ((size_t)2)
#define SHIFT_AT 56

static size_t places_of(const struct pair *table)
{
	return (size_t)1 << (load_relaxed(&table[0].value) >> SHIFT_AT);
}

static size_t ndead_of(const struct pair *table)
{
	return load_relaxed(&table[0].value) & ((UINT64_C(1) << SHIFT_AT) - 1);
}

static size_t nput_of(const struct pair *table)
{
	return load_relaxed(&table[1].value);
}

/* ── objects ────────────────────────────────────────────────────────────────────────────── */

/* pairs_layout - its id; 0: no room for one more layout. */
static unsigned pairs_layout(struct gc *gc)
{
	unsigned id = load_relaxed(&gc->pairs_layout);
	if (id == 0) {
		id = layout_intern(&gc->heap->layouts, &(struct layout_desc){ .kind = LAYOUT_PAIRS });
		store_relaxed(&gc->pairs_layout, id);
	}
	return id;
}

static struct pair *new_pairs(struct gc *gc, struct mutator *m, size_t n)
{
	unsigned layout = pairs_layout(gc);
	if (layout == 0 || !key_filter_ready(&gc->pool.keys))
		return NULL;
	return (struct pair *)gc_alloc(gc, m, layout, n * sizeof(struct pair));
}

static struct pair *new_table(struct gc *gc, struct mutator *m, size_t places)
{
	struct pair *t = new_pairs(gc, m, places);
	if (t == NULL)
		return NULL;
	store_relaxed(&t[0].value, (uintptr_t)bits_ctz(places) << SHIFT_AT);
	store_relaxed(&t[0].key, PAIR_DEAD);
	store_relaxed(&t[1].key, PAIR_DEAD);
	return t;
}

struct mgc_weakmap *weakmap_new(struct gc *gc, struct mutator *m)
{
	static const uint64_t mask[] = { 1 };
	const struct layout_desc desc = { .kind = LAYOUT_MASK,
					  .period = sizeof(struct mgc_weakmap) / sizeof(uintptr_t),
					  .mask = mask };
	struct pair *table = new_table(gc, m, FIRST_PLACES);
	unsigned layout = layout_intern(&gc->heap->layouts, &desc);
	if (table == NULL || layout == 0)
		return NULL;
	struct mgc_weakmap *map = (struct mgc_weakmap *)gc_alloc(gc, m, layout, sizeof *map);
	if (map == NULL)
		return NULL;
	map->seal = (uintptr_t)map ^ MAP_SEAL;
	store_release(&map->table, table); /* pairs: map-table */
	return map;
}

void weakmap_check(const struct mgc_weakmap *map, const char *who)
{
	if (MGC_UNLIKELY(map == NULL || map->seal != ((uintptr_t)map ^ MAP_SEAL)))
		mgc_misuse("%s: %p is no weak map", who, (const void *)map);
}

/* check_key - 0 or the errno; *object is what the filter must know. */
static int check_key(struct gc *gc, uintptr_t key, uintptr_t *object)
{
	size_t nbytes;
	if (key <= PAIR_DEAD)
		return EINVAL;
	*object = gc_object(gc, key, &nbytes);
	if (*object == 0)
		return 0;
	const struct span *s = space_span(&gc->heap->pageheap.space, *object);
	bool forever = gc->heap->layouts.spanclass[s->spanclass].flags & LAYOUT_UNCOLLECTABLE;
	return forever ? EINVAL : 0;
}

/* ── the lock ───────────────────────────────────────────────────────────────────────────── */

#define LOCK_HELD 1u
#define LOCK_AWAITED 3u

static uint32_t lock_base(const struct gc *gc)
{
	return load_relaxed(&gc->nforks) << 2;
}

/* lock_slow - somebody has it, or had it in the parent of a fork. */
static MGC_NOINLINE void lock_slow(struct gc *gc, struct mutator *m, uint32_t *lock)
{
	uint32_t base = lock_base(gc), seen = load_relaxed(lock);
	for (;;) {
		bool held = (seen & ~3u) == base && seen & 1;
		if (!held && cas_acq_rel(lock, &seen, base | LOCK_AWAITED)) /* pairs: map-lock */
			return;
		if (!held ||
		    (seen != (base | LOCK_AWAITED) && !cas_relaxed(lock, &seen, base | LOCK_AWAITED)))
			continue;
		stw_block(m);
		os_wait(lock, base | LOCK_AWAITED, 0);
		stw_unblock(&gc->stw, m);
		seen = load_relaxed(lock);
	}
}

static void lock_map(struct gc *gc, struct mutator *m, struct mgc_weakmap *map)
{
	uint32_t base = lock_base(gc), seen = base;
	if (!cas_acq_rel(&map->lock, &seen, base | LOCK_HELD)) /* pairs: map-lock */
		lock_slow(gc, m, &map->lock);
}

static void unlock_map(struct gc *gc, struct mgc_weakmap *map)
{
	uint32_t base = lock_base(gc);
	if (swap_acq_rel(&map->lock, base) == (base | LOCK_AWAITED)) /* pairs: map-lock */
		os_wake(&map->lock, 1);
}

/* ── places ─────────────────────────────────────────────────────────────────────────────── */

/* place_of - where the key is, or the first empty place on its way. */
static struct pair *place_of(struct pair *table, uintptr_t key)
{
	size_t mask = places_of(table) - 1, at = (size_t)bits_mix(key) & mask;
	for (;; at = (at + 1) & mask) {
		if (at < HEAD_PAIRS)
			at = HEAD_PAIRS;
		uintptr_t there = load_acquire(&table[at].key); /* pairs: pair-key */
		if (there == key || there == 0)
			return &table[at];
	}
}

struct pair *weakmap_table(struct mgc_weakmap *map)
{
	return load_acquire(&map->table); /* pairs: map-table */
}

uintptr_t weakmap_get(struct mutator *m, struct mgc_weakmap *map, uintptr_t key)
{
	uintptr_t value = 0;
	if (key <= PAIR_DEAD)
		return 0;
	mutator_enter(m);
	struct pair *p = place_of(weakmap_table(map), key);
	if (load_relaxed(&p->key) == key)
		value = load_acquire(&p->value); /* pairs: pair-value */
	if (value != 0 && barrier_shades(heap_phase(m->heap)))
		barrier_shade(m, value);
	mutator_leave(m);
	return value;
}

/* replace - in a section. */
static void replace(struct mutator *m, struct pair *p, uintptr_t value)
{
	if (barrier_shades(heap_phase(m->heap))) {
		barrier_shade(m, load_relaxed(&p->value));
		barrier_shade(m, value);
	}
	store_release(&p->value, value); /* pairs: pair-value */
}

/* set_in_table - false: a larger one is needed first. */
static bool set_in_table(struct gc *gc, struct mutator *m, struct pair *table, uintptr_t object,
			 const struct pair *fresh)
{
	bool done = true;
	mutator_enter(m);
	struct pair *p = place_of(table, fresh->key);
	size_t nput = nput_of(table), places = places_of(table) - HEAD_PAIRS;
	if (load_relaxed(&p->key) == fresh->key) {
		replace(m, p, fresh->value);
	} else if (nput + 1 < places - places / 4) {
		if (barrier_shades(heap_phase(m->heap))) /* P4 */
			barrier_shade(m, fresh->key);
		key_filter_add(&gc->pool.keys, object);
		replace(m, p, fresh->value);
		store_relaxed(&table[1].value, nput + 1);
		store_release(&p->key, fresh->key); /* pairs: pair-key */
	} else {
		done = false;
	}
	mutator_leave(m);
	return done;
}

/* ── a larger table ─────────────────────────────────────────────────────────────────────── */

static void move_pair(struct gc *gc, struct mutator *m, struct pair *to, const struct pair *from,
		      bool shade)
{
	uintptr_t key = load_acquire(&from->key),
		  value = load_acquire(&from->value); /* pairs: pair-key, pair-value */
	if (key <= PAIR_DEAD)
		return;
	if (shade) {
		barrier_shade(m, key);
		barrier_shade(m, value);
	}
	struct pair *p = place_of(to, key);
	key_filter_add(&gc->pool.keys, mark_object_of(gc->heap, key));
	store_relaxed(&p->value, value);
	store_relaxed(&to[1].value, nput_of(to) + 1);
	store_release(&p->key, key); /* pairs: pair-key */
}

/* move_some - the pairs in places [at, end); false: the phase does not allow it now. */
static bool move_some(struct gc *gc, struct mutator *m, struct pair *to, const struct pair *from,
		      size_t at, size_t end)
{
	mutator_enter(m);
	uint64_t pg = heap_phase_gen(gc->heap);
	unsigned phase = phase_gen_phase(pg);
	bool now = phase != PHASE_CLOSED && phase != PHASE_CLEAR;
	for (; now && at < end; at++)
		move_pair(gc, m, to, &from[at], barrier_shades(phase));
	mutator_leave(m);
	if (!now)
		heap_wait_phase(gc->heap, pg); /* P3 */
	return now;
}

static int grow(struct gc *gc, struct mutator *m, struct mgc_weakmap *map, const struct pair *old)
{
	size_t nold = places_of(old), places = FIRST_PLACES, live = nput_of(old) - ndead_of(old);
	while (places - HEAD_PAIRS < 2 * (live + 1))
		places *= 2;
	struct pair *table = new_table(gc, m, places);
	if (table == NULL)
		return ENOMEM;
	for (size_t at = HEAD_PAIRS; at < nold;) {
		size_t end = min_size(at + MOVE_PAIRS, nold);
		if (move_some(gc, m, table, old, at, end))
			at = end;
	}
	barrier_write(m, (uintptr_t *)&map->table, (uintptr_t)table);
	return 0;
}

int weakmap_set(struct gc *gc, struct mutator *m, struct mgc_weakmap *map, uintptr_t key, uintptr_t value)
{
	const struct pair fresh = { key, value };
	uintptr_t object;
	int err = check_key(gc, key, &object);
	if (err != 0)
		return err;
	lock_map(gc, m, map);
	while (err == 0 && !set_in_table(gc, m, weakmap_table(map), object, &fresh))
		err = grow(gc, m, map, weakmap_table(map));
	unlock_map(gc, map);
	return err;
}

bool weakmap_remove(struct gc *gc, struct mutator *m, struct mgc_weakmap *map, uintptr_t key)
{
	if (key <= PAIR_DEAD)
		return false;
	lock_map(gc, m, map);
	mutator_enter(m);
	struct pair *table = weakmap_table(map), *p = place_of(table, key);
	bool known = load_relaxed(&p->key) == key;
	if (known) {
		if (barrier_shades(heap_phase(m->heap)))
			barrier_shade(m, load_relaxed(&p->value));
		store_release(&p->key, PAIR_DEAD); /* pairs: pair-key */
		store_relaxed(&p->value, (uintptr_t)0);
		(void)add_relaxed(&table[0].value, (uintptr_t)1);
	}
	mutator_leave(m);
	unlock_map(gc, map);
	return known;
}

size_t weakmap_count(const struct mgc_weakmap *map)
{
	const struct pair *table = load_acquire(&map->table); /* pairs: map-table */
	size_t ndead = ndead_of(table), nput = nput_of(table);
	return nput > ndead ? nput - ndead : 0;
}

/* ── reading both parts of a pair ───────────────────────────────────────────────────────── */

/* read_pair - waits out the end of a cycle: until then nobody knows whether a finalizer brings the key
 * back. False: there is no pair, or none any more. */
static bool read_pair(struct mutator *m, const struct pair *p, struct pair *out)
{
	for (;;) {
		mutator_enter(m);
		uint64_t pg = heap_phase_gen(m->heap);
		out->key = load_acquire(&p->key); /* pairs: pair-key */
		out->value = load_acquire(&p->value); /* pairs: pair-value */
		enum keep keep =
			out->key <= PAIR_DEAD ? KEEP_DEAD : barrier_keep(m, out->key, true, pg);
		if (keep == KEEP_YES && barrier_shades(phase_gen_phase(pg)))
			barrier_shade(m, out->value);
		mutator_leave(m);
		if (keep != KEEP_WAIT)
			return keep == KEEP_YES;
		heap_wait_phase(m->heap, pg);
	}
}

bool weakmap_next(struct mutator *m, struct pair *table, size_t *at, struct pair *out)
{
	size_t places = places_of(table);
	for (*at = max_size(*at, HEAD_PAIRS); *at < places; ++*at)
		if (load_relaxed(&table[*at].key) > PAIR_DEAD && read_pair(m, &table[*at], out))
			return true;
	return false;
}

struct pair *ephemeron_new(struct gc *gc, struct mutator *m, uintptr_t key, uintptr_t value, int *err)
{
	uintptr_t object;
	*err = check_key(gc, key, &object);
	if (*err != 0)
		return NULL;
	struct pair *e = new_pairs(gc, m, 1);
	if (e == NULL) {
		*err = ENOMEM;
		return NULL;
	}
	key_filter_add(&gc->pool.keys, object);
	store_relaxed(&e->value, value);
	store_release(&e->key, key); /* pairs: pair-key */
	return e;
}

void ephemeron_check(struct gc *gc, const struct pair *e, const char *who)
{
	const struct heap *h = gc->heap;
	const struct span *s = space_span(&h->pageheap.space, (uintptr_t)e);
	if (s == NULL || h->layouts.spanclass[s->spanclass].scan != SCAN_PAIRS ||
	    s->slot_nbytes != sizeof *e || mark_object_of(h, (uintptr_t)e) != (uintptr_t)e)
		mgc_misuse("%s: %p is no ephemeron", who, (const void *)e);
}

bool ephemeron_read(struct mutator *m, struct pair *e, struct pair *out)
{
	return read_pair(m, e, out);
}

void ephemeron_set(struct mutator *m, struct pair *e, uintptr_t value)
{
	mutator_enter(m);
	if (load_acquire(&e->key) > PAIR_DEAD) /* pairs: pair-key */
		replace(m, e, value);
	mutator_leave(m);
}
