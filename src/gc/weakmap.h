/* weakmap.h - ephemerons and weak maps as the program uses them: the mutators' side of ephemeron.h.
 *
 * WHAT   An ephemeron is one pair in an object of its own. A map is an object that refers to its table, an
 *        object full of pairs, with open addressing by the key's address. Reading takes no lock: in one table a
 *        place goes from empty to a key to dead, and a larger table takes the place of a full one.
 * STATE  map->lock: 0 or an even number free, odd held; it counts from nforks << 2: what was held in the
 *        parent of a fork is free in the child.
 * INV    P1 table[0] and table[1] hold no pair but counters
 *        P2 a table has an empty place: probing ends
 *        P3 pairs are moved to another table only when no cycle is between CLOSED and FLIP; in one, keys
 *           and values are shaded (barrier.h: WHY), for the new table may be black and never read
 *        P4 a key that is put while a cycle runs is shaded: the table may be black, and its maker not yet
 *           taken, so that nobody else would find the key, nor that it is dead
 * LOCKS  map->lock to change a map, outside of any section; who waits for it is BLOCKED.
 * UNITS  pairs. */
#ifndef MGC_GC_WEAKMAP_H
#define MGC_GC_WEAKMAP_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/barrier.h"

struct mgc_weakmap {
	struct pair *table; /* atomic; the only reference in here */
	uint32_t lock; /* atomic, futex */
	uint32_t spare;
	uintptr_t seal;
};

/* Those that return int give 0 or an errno. */
struct mgc_weakmap *weakmap_new(struct gc *gc, struct mutator *m);
/* weakmap_check - dies unless it is one. */
void weakmap_check(const struct mgc_weakmap *map, const char *who);
uintptr_t weakmap_get(struct mutator *m, struct mgc_weakmap *map, uintptr_t key);
int weakmap_set(struct gc *gc, struct mutator *m, struct mgc_weakmap *map, uintptr_t key,
		uintptr_t value);
bool weakmap_remove(struct gc *gc, struct mutator *m, struct mgc_weakmap *map, uintptr_t key);
size_t weakmap_count(const struct mgc_weakmap *map);
/* weakmap_next - the first pair at or behind place *at, both kept; false: there is none. */
bool weakmap_next(struct mutator *m, struct pair *table, size_t *at, struct pair *out);
struct pair *weakmap_table(struct mgc_weakmap *map);

/* ephemeron_new - errno in *err when NULL. */
struct pair *ephemeron_new(struct gc *gc, struct mutator *m, uintptr_t key, uintptr_t value, int *err);
void ephemeron_check(struct gc *gc, const struct pair *e, const char *who);
/* ephemeron_read - both parts, kept; false: the key is gone. */
bool ephemeron_read(struct mutator *m, struct pair *e, struct pair *out);
void ephemeron_set(struct mutator *m, struct pair *e, uintptr_t value);

#endif
