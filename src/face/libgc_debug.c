/* libgc_debug.c - libgc's debugging allocation, for programs compiled with GC_DEBUG: plain objects; the
 * file and line that callers pass are not kept. */
#include <string.h>

#include "face/libgc.h"

#define WHERE const char *file, int line
#define UNUSED_WHERE ((void)file, (void)line)

LIBGC_API void *GC_malloc(size_t nbytes);
LIBGC_API void *GC_malloc_atomic(size_t nbytes);
LIBGC_API void *GC_malloc_uncollectable(size_t nbytes);
LIBGC_API void *GC_malloc_atomic_uncollectable(size_t nbytes);
LIBGC_API void *GC_realloc(void *p, size_t nbytes);
LIBGC_API void GC_free(void *p);
LIBGC_API char *GC_strdup(const char *s);
LIBGC_API char *GC_strndup(const char *s, size_t n);

LIBGC_API void *GC_debug_malloc(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_atomic(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_uncollectable(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_atomic_uncollectable(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_ignore_off_page(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_atomic_ignore_off_page(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_realloc(void *p, size_t nbytes, WHERE);
LIBGC_API void GC_debug_free(void *p);
LIBGC_API char *GC_debug_strdup(const char *s, WHERE);
LIBGC_API char *GC_debug_strndup(const char *s, size_t n, WHERE);
LIBGC_API void *GC_debug_malloc_replacement(size_t nbytes);
LIBGC_API void *GC_debug_realloc_replacement(void *p, size_t nbytes);

void *GC_debug_malloc(size_t nbytes, WHERE)
{
	UNUSED_WHERE;
	return GC_malloc(nbytes);
}

void *GC_debug_malloc_atomic(size_t nbytes, WHERE)
{
	UNUSED_WHERE;
	return GC_malloc_atomic(nbytes);
}

void *GC_debug_malloc_uncollectable(size_t nbytes, WHERE)
{
	UNUSED_WHERE;
	return GC_malloc_uncollectable(nbytes);
}

void *GC_debug_malloc_atomic_uncollectable(size_t nbytes, WHERE)
{
	UNUSED_WHERE;
	return GC_malloc_atomic_uncollectable(nbytes);
}

void *GC_debug_malloc_ignore_off_page(size_t nbytes, WHERE)
{
	UNUSED_WHERE;
	return GC_malloc(nbytes);
}

void *GC_debug_malloc_atomic_ignore_off_page(size_t nbytes, WHERE)
{
	UNUSED_WHERE;
	return GC_malloc_atomic(nbytes);
}

void *GC_debug_realloc(void *p, size_t nbytes, WHERE)
{
	UNUSED_WHERE;
	return GC_realloc(p, nbytes);
}

void GC_debug_free(void *p)
{
	GC_free(p);
}

char *GC_debug_strdup(const char *s, WHERE)
{
	UNUSED_WHERE;
	return GC_strdup(s);
}

char *GC_debug_strndup(const char *s, size_t n, WHERE)
{
	UNUSED_WHERE;
	return GC_strndup(s, n);
}

void *GC_debug_malloc_replacement(size_t nbytes)
{
	return GC_malloc(nbytes);
}

void *GC_debug_realloc_replacement(void *p, size_t nbytes)
{
	return GC_realloc(p, nbytes);
}

/* Finalizers of debug objects: the same as of plain ones. */
#define DEBUG_FINALIZER(suffix) \
	LIBGC_API void GC_register_finalizer##suffix(void *, GC_finalization_proc, void *, \
						     GC_finalization_proc *, void **); \
	LIBGC_API void GC_debug_register_finalizer##suffix(void *, GC_finalization_proc, void *, \
							   GC_finalization_proc *, void **); \
	void GC_debug_register_finalizer##suffix(void *obj, GC_finalization_proc fn, void *cd, \
						 GC_finalization_proc *ofn, void **ocd) \
	{ \
		GC_register_finalizer##suffix(obj, fn, cd, ofn, ocd); \
	}

DEBUG_FINALIZER()
DEBUG_FINALIZER(_ignore_self)
DEBUG_FINALIZER(_no_order)
DEBUG_FINALIZER(_unreachable)
