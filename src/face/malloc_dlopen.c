/* malloc_dlopen.c - dlopen without RTLD_DEEPBIND. A library that is loaded with it finds the C library's malloc and free
 * before ours, and frees with the one what it got from the other; PHP loads its extensions so. Hooks for this are no more in the
 * C library.
 * WHO    programs.
 * INV    the C library's dlopen returns to the program, not to here: it asks who its caller is, and takes the run path of
 *        that. So it is a tail call. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>

#include "face/malloc.h"

/* In builds for a debugger too. */
#ifdef __clang__
#define TAIL_CALLS
#define TAIL __attribute__((musttail))
#else
#define TAIL_CALLS __attribute__((optimize("optimize-sibling-calls")))
#define TAIL
#endif

/* next - the one that we stand before. Not a matter of a lock: all find the same. */
static MGC_NOINLINE void *(*next(void))(const char *, int)
{
	static void *found;
	void *fn = load_relaxed(&found);
	if (fn == NULL) {
		fn = dlsym(RTLD_NEXT, "dlopen");
		store_relaxed(&found, fn);
	}
	return (void *(*)(const char *, int))fn;
}

TAIL_CALLS MGC_EXPORT void *dlopen(const char *file, int mode)
{
	void *(*fn)(const char *, int) = next();
	if (MGC_UNLIKELY(fn == NULL))
		return NULL;
	TAIL return fn(file, mode & ~RTLD_DEEPBIND);
}
