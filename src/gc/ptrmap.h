/* ptrmap.h - a hash table from an address to three words. Open addressing, linear probing, deletion by
 * shifting back. LOCKS the owner's. INV at most 3/4 full. Grows in ptrmap_put only, never while the
 * world is stopped. */
#ifndef MGC_GC_PTRMAP_H
#define MGC_GC_PTRMAP_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ptrmap_entry {
	uintptr_t key; /* 0: empty */
	uintptr_t value[3];
};

struct ptrmap {
	struct ptrmap_entry *entry;
	size_t capacity; /* a power of two, or 0 */
	size_t n;
};

struct ptrmap_entry *ptrmap_find(const struct ptrmap *m, uintptr_t key);
/* ptrmap_put - the entry of key (not 0), new with zero values or the old one. NULL: no memory. */
struct ptrmap_entry *ptrmap_put(struct ptrmap *m, uintptr_t key);
void ptrmap_remove(struct ptrmap *m, struct ptrmap_entry *e);
/* ptrmap_filter - removes every entry for which drop() is true; calls it at least once for each. */
void ptrmap_filter(struct ptrmap *m, bool (*drop)(void *arg, struct ptrmap_entry *e), void *arg);
/* ptrmap_shrink - gives memory back when the table is mostly empty; never while the world is stopped. */
void ptrmap_shrink(struct ptrmap *m);
void ptrmap_destroy(struct ptrmap *m);

#endif
