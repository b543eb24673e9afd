/* mallocgc-raw.h - malloc's interface on the collected heap, for the memory of libraries that free theirs: blocks are
 * never collected and never read for references, but count in the heap, its limit and its profile.
 * Threads: any. NULL: no memory, with ENOMEM. */
#ifndef MALLOCGC_RAW_H
#define MALLOCGC_RAW_H
#include <mallocgc.h>
#include <string.h>

static inline void *mgc_raw_malloc(size_t nbytes)
{
	/* Blocks of 16 and more have a slot of their own. */
	return mgc_alloc(nbytes < 16 ? 16 : nbytes, NULL, MGC_UNCOLLECTABLE | MGC_NOSCAN | MGC_NOZERO);
}

static inline void *mgc_raw_calloc(size_t n, size_t each)
{
	size_t nbytes = n * each;
	if (each != 0 && nbytes / each != n)
		return NULL;
	return mgc_alloc(nbytes < 16 ? 16 : nbytes, NULL, MGC_UNCOLLECTABLE | MGC_NOSCAN);
}

/* mgc_raw_realloc - in place while nbytes fits and fills at least half of the block. */
static inline void *mgc_raw_realloc(void *p, size_t nbytes)
{
	size_t has = p != NULL ? mgc_size(p) : 0;
	void *fresh;
	if (nbytes <= has && nbytes >= has / 2)
		return p;
	fresh = mgc_raw_malloc(nbytes);
	if (fresh == NULL)
		return nbytes <= has ? p : NULL;
	if (p != NULL) {
		memcpy(fresh, p, has < nbytes ? has : nbytes);
		mgc_free(p);
	}
	return fresh;
}
#endif
