/* ptrmap.h - a hash table from an address to records, and a queue of records that left it.
 *
 * WHAT   Records lie one behind the other in the order in which they came, so that looking through all
 *        of them reads memory in order; chains of 32-bit indices lead from a key to its records. A record
 *        never moves, and no step takes longer in a large table: memory comes in chunks, and each fresh
 *        record splits one bucket. A record may leave the table for the queue where it lies: that needs
 *        no memory. An id names a record for others, until it leaves the table.
 * STATE  a record: FREE → (put, add) IN → (remove) FREE, or IN → (retire) QUEUED → (next) FREE
 * INV    Q1 n + nqueued ≤ used ≤ capacity; there are `used` buckets for each index
 *        Q2 chunks go back in ptrmap_shrink and ptrmap_destroy only
 *        Q3 by_value: value[0] is changed by ptrmap_set_value only, value[1] is not the owner's: it has
 *           both neighbours in that index, as many records may have the same value
 * LOCKS  the owner's.
 * FROM   linear hashing (Litwin 1980). */
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
	uint32_t tag : 6; /* the owner's, as value[] */
	uint32_t state : 2;
	uint32_t generation : 24; /* how often the record left the table */
};

/* Chunk 0 has room for this many records, chunk k > 0 for as many as all before it. */
#define PTRMAP_FIRST 2048
/* Indices, plus one, fit 32 bits. */
#define PTRMAP_CHUNKS 20

struct ptrmap {
	struct ptrmap_entry *chunk[PTRMAP_CHUNKS]; /* atomic; buckets lie behind the records */
	size_t capacity; /* a power of two, or 0 */
	size_t used; /* records from here on were never in use */
	size_t n; /* in the table */
	size_t nqueued;
	uint32_t first, last; /* of the queue; index + 1 */
	uint32_t free;
	bool by_value; /* set once, before the first record: they are also found by value[0] */
};

/* ptrmap_at - record number i < used, whatever its state. */
struct ptrmap_entry *ptrmap_at(const struct ptrmap *m, size_t i);
struct ptrmap_entry *ptrmap_find(const struct ptrmap *m, uintptr_t key);
/* ptrmap_find_more - after e: another one with the same key, or NULL. */
struct ptrmap_entry *ptrmap_find_more(const struct ptrmap *m, const struct ptrmap_entry *e);
/* ptrmap_find_value - one with that value[0] (by_value). */
struct ptrmap_entry *ptrmap_find_value(const struct ptrmap *m, uintptr_t value);
/* ptrmap_put - the entry of key (not 0), new with zero values or the old one. NULL: no memory.
 * ptrmap_add - a new one, also beside others of that key. */
struct ptrmap_entry *ptrmap_put(struct ptrmap *m, uintptr_t key);
struct ptrmap_entry *ptrmap_add(struct ptrmap *m, uintptr_t key);
/* ptrmap_rename - the entry is found by this key from now on, which no other has. */
void ptrmap_rename(struct ptrmap *m, struct ptrmap_entry *e, uintptr_t key);
void ptrmap_set_value(struct ptrmap *m, struct ptrmap_entry *e, uintptr_t value);
void ptrmap_remove(struct ptrmap *m, struct ptrmap_entry *e);
/* ptrmap_retire - the entry leaves the table and is the last of the queue. */
void ptrmap_retire(struct ptrmap *m, struct ptrmap_entry *e);
/* ptrmap_next - takes the first of the queue; false when it is empty. */
bool ptrmap_next(struct ptrmap *m, struct ptrmap_entry *out);
/* ptrmap_id - not 0, and no other record's for 2^24 lives of this one. ptrmap_by_id - the record, or NULL
 * when it left the table; of any number. Only where the table is never shrunk. */
uint64_t ptrmap_id(const struct ptrmap *m, const struct ptrmap_entry *e);
struct ptrmap_entry *ptrmap_by_id(const struct ptrmap *m, uint64_t id);
/* ptrmap_peek - the place of the record with that id, whatever it holds now, or NULL; without any lock. */
struct ptrmap_entry *ptrmap_peek(const struct ptrmap *m, uint64_t id);
/* ptrmap_filter - looks at each of the `most` records from *at on, in the order of memory, and moves *at;
 * removes those in the table for which drop() is true. drop() may retire the entry instead. False: that
 * was the end. The table may change between two calls. */
bool ptrmap_filter(struct ptrmap *m, size_t *at, size_t most,
		   bool (*drop)(void *arg, struct ptrmap_entry *e), void *arg);
/* ptrmap_shrink - gives chunks back when there are much more than are in use, and no record is in them. */
void ptrmap_shrink(struct ptrmap *m);
/* ptrmap_nbytes - memory that it has from the system. */
size_t ptrmap_nbytes(const struct ptrmap *m);
void ptrmap_destroy(struct ptrmap *m);

#endif
