/* ptrmap.h - a hash table from an address to a record, and a queue of records that left it.
 *
 * WHAT   Records lie one behind the other in the order in which they came, so that looking through all
 *        of them reads memory in order; chains of 32-bit indices lead from a key to its record. A record
 *        may leave the table for the queue where it lies: that needs no memory.
 * STATE  a record: FREE → (put) IN → (remove) FREE, or IN → (retire) QUEUED → (next) FREE
 * INV    Q1 n + nqueued ≤ used ≤ capacity; a bucket for each record there is room for
 *        Q2 entries move in ptrmap_put and ptrmap_shrink only, never while the world is stopped
 * LOCKS  the owner's. */
#ifndef MGC_GC_PTRMAP_H
#define MGC_GC_PTRMAP_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ptrmap_state { PTRMAP_FREE, PTRMAP_IN, PTRMAP_QUEUED };

struct ptrmap_entry {
	uintptr_t key; /* not 0 */
	uintptr_t value[2];
	uint32_t next; /* index + 1 in the chain of the bucket, of the queue, or of free records */
	uint16_t tag; /* the owner's, as value[] */
	uint16_t state;
};

struct ptrmap {
	struct ptrmap_entry *entry; /* [capacity] */
	uint32_t *bucket; /* [capacity]: index + 1 of the first record */
	size_t capacity; /* a power of two, or 0 */
	size_t used; /* records from here on were never in use */
	size_t n; /* in the table */
	size_t nqueued;
	uint32_t first, last; /* of the queue; index + 1 */
	uint32_t free;
};

struct ptrmap_entry *ptrmap_find(const struct ptrmap *m, uintptr_t key);
/* ptrmap_put - the entry of key (not 0), new with zero values or the old one. NULL: no memory. */
struct ptrmap_entry *ptrmap_put(struct ptrmap *m, uintptr_t key);
/* ptrmap_rename - the entry is found by this key from now on, which no other has. */
void ptrmap_rename(struct ptrmap *m, struct ptrmap_entry *e, uintptr_t key);
void ptrmap_remove(struct ptrmap *m, struct ptrmap_entry *e);
/* ptrmap_retire - the entry leaves the table and is the last of the queue. */
void ptrmap_retire(struct ptrmap *m, struct ptrmap_entry *e);
/* ptrmap_next - takes the first of the queue; false when it is empty. */
bool ptrmap_next(struct ptrmap *m, struct ptrmap_entry *out);
/* ptrmap_filter - looks at every entry of the table once, in the order of memory; removes those for which
 * drop() is true. drop() may retire the entry instead. */
void ptrmap_filter(struct ptrmap *m, bool (*drop)(void *arg, struct ptrmap_entry *e), void *arg);
/* ptrmap_shrink - gives memory back when there is much more than is in use. */
void ptrmap_shrink(struct ptrmap *m);
void ptrmap_destroy(struct ptrmap *m);

#endif
