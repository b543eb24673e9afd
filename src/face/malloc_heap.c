/* malloc_heap.c - regions (include/mallocgc-heap.h): a cache of the malloc face's heap without a thread.
 * WHO    programs.  LOCKS none: one thread at a time, as the header says. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/malloc.h"
#include "mallocgc-heap.h"

/* The public name of a cache. */
static struct mcache *cache_of(struct mgc_heap *heap)
{
	return (struct mcache *)heap;
}

struct mgc_heap *mgc_heap_create(void)
{
	int saved = errno;
	struct mcache *c = NULL;
	if (malloc_start())
		c = mcache_open(&malloc_face.heap, MCACHE_REGION);
	errno = c != NULL ? saved : ENOMEM;
	return (struct mgc_heap *)c;
}

void mgc_heap_destroy(struct mgc_heap *heap)
{
	int saved = errno;
	if (heap != NULL)
		mcache_drop(cache_of(heap));
	errno = saved;
}

static void *allocate(struct mgc_heap *heap, size_t nbytes, size_t align, bool *zero)
{
	int saved = errno;
	void *p = nbytes <= PTRDIFF_MAX ? malloc_from(cache_of(heap), nbytes, align, zero) : NULL;
	errno = p != NULL ? saved : ENOMEM;
	return p;
}

void *mgc_heap_malloc(struct mgc_heap *heap, size_t nbytes)
{
	bool zero;
	void *p = mcache_pop(cache_of(heap), nbytes);
	return MGC_LIKELY(p != NULL) ? p : allocate(heap, nbytes, BLOCK_ALIGN, &zero);
}

void *mgc_heap_calloc(struct mgc_heap *heap, size_t n, size_t each)
{
	size_t nbytes;
	bool zero = false;
	if (mul_overflows(n, each, &nbytes))
		nbytes = SIZE_MAX;
	void *p = allocate(heap, nbytes, BLOCK_ALIGN, &zero);
	return p == NULL || zero ? p : memset(p, 0, nbytes);
}

void *mgc_heap_aligned_alloc(struct mgc_heap *heap, size_t align, size_t nbytes)
{
	bool zero;
	if (!is_pow2(align)) {
		errno = EINVAL;
		return NULL;
	}
	return allocate(heap, nbytes, align, &zero);
}

static struct slab *own_block(struct mgc_heap *heap, void *p, const char *caller)
{
	struct slab *s = malloc_block(p, caller);
	if (load_relaxed(&s->owner) != cache_of(heap))
		mgc_misuse("%s(%p): the block is not of this heap", caller, p);
	return s;
}

void mgc_heap_free(struct mgc_heap *heap, void *p)
{
	int saved = errno;
	if (p != NULL)
		mcache_free(cache_of(heap), cache_of(heap)->heap,
			    own_block(heap, p, "mgc_heap_free"), p);
	errno = saved;
}

void *mgc_heap_realloc(struct mgc_heap *heap, void *p, size_t nbytes)
{
	if (p == NULL)
		return mgc_heap_malloc(heap, nbytes);
	struct slab *s = own_block(heap, p, "mgc_heap_realloc");
	size_t have = mcache_usable(s);
	if (nbytes == 0) {
		mgc_heap_free(heap, p);
		return NULL;
	}
	if (nbytes <= have && nbytes >= have / 2)
		return p;
	int saved = errno;
	if (have > MGC_MAX_SMALL && nbytes > MGC_MAX_SMALL && nbytes <= PTRDIFF_MAX) {
		bool done = mcache_resize_large(cache_of(heap)->heap, s, nbytes);
		errno = saved;
		if (done)
			return p;
	}
	void *q = mgc_heap_malloc(heap, nbytes);
	if (q == NULL && nbytes <= have) { /* smaller: it stays */
		errno = saved;
		return p;
	}
	if (q == NULL)
		return NULL;
	memcpy(q, p, min_size(have, nbytes));
	mgc_heap_free(heap, p);
	return q;
}

int mgc_heap_read_stats(struct mgc_heap *heap, struct mgc_heap_stats *out)
{
	if (out->struct_size < sizeof *out)
		return EINVAL;
	struct mcache_stats st;
	mcache_read_stats(cache_of(heap), &st);
	out->used_nbytes = st.used_nbytes;
	out->nblocks = st.nblocks;
	out->held_nbytes = st.held_nbytes;
	return 0;
}
