/* mallocgc-heap.h - regions: heaps of a program's own in libmallocgc-malloc, whose blocks are freed one by one
 * or all at once. Link with -lmallocgc-malloc.
 *
 * Threads: one at a time uses a heap; which one may change, if the program orders the two. Different heaps know
 * nothing of each other.
 * Blocks: as malloc's (multiples of 16 bytes at multiples of 16, contents undefined), but freed and resized by
 * the functions here: free() of one ends the process with a message.
 * Sizes are bytes. */
#ifndef MALLOCGC_HEAP_H
#define MALLOCGC_HEAP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MGC_API
#define MGC_API __attribute__((visibility("default")))
#endif

struct mgc_heap;

/* mgc_heap_create - a new heap without blocks. NULL and ENOMEM: no memory. It costs a page, and for each size
 * that is used 64 KiB of addresses; in a heap beyond 2 MiB, which has huge pages, of memory. */
MGC_API struct mgc_heap *mgc_heap_create(void);

/* mgc_heap_destroy - frees all its blocks and the heap. In time that grows with its memory (a step for each
 * 64 KiB and each block above 32 KiB), not with its blocks. NULL: nothing. */
MGC_API void mgc_heap_destroy(struct mgc_heap *heap);

/* mgc_heap_malloc, mgc_heap_calloc, mgc_heap_aligned_alloc - as malloc, calloc, aligned_alloc. NULL with ENOMEM
 * (no memory, or a size above PTRDIFF_MAX) or EINVAL (`align` is no power of two). */
MGC_API void *mgc_heap_malloc(struct mgc_heap *heap, size_t nbytes);
MGC_API void *mgc_heap_calloc(struct mgc_heap *heap, size_t n, size_t each);
MGC_API void *mgc_heap_aligned_alloc(struct mgc_heap *heap, size_t align, size_t nbytes);

/* mgc_heap_realloc - as realloc, for blocks of this heap; nbytes 0 frees and gives NULL. */
MGC_API void *mgc_heap_realloc(struct mgc_heap *heap, void *p, size_t nbytes);

/* mgc_heap_free - one block of this heap, or NULL. Ends the process when p is none. */
MGC_API void mgc_heap_free(struct mgc_heap *heap, void *p);

/* What a heap holds. struct_size is set by the caller to sizeof; fields are added at the end. */
struct mgc_heap_stats {
	size_t struct_size;
	size_t used_nbytes; /* in blocks, whole ones */
	size_t nblocks;
	size_t held_nbytes; /* addresses that are its own; those never used are not resident */
};

/* mgc_heap_read_stats - 0, or EINVAL for a struct_size that is too small. Takes a step for each free block. */
MGC_API int mgc_heap_read_stats(struct mgc_heap *heap, struct mgc_heap_stats *out);

#ifdef __cplusplus
}
#endif
#endif
