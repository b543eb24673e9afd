/* leak_detector.h - makes malloc and its kin those of the collector, so that with GC_find_leak it names what is
 * not freed. */
#ifndef GC_LEAK_DETECTOR_H
#define GC_LEAK_DETECTOR_H
#ifndef GC_DEBUG
#define GC_DEBUG
#endif
#include "gc.h"
#include <stdlib.h>
#include <string.h>

#undef malloc
#undef calloc
#undef realloc
#undef free
#undef strdup
#undef strndup
#undef memalign
#undef posix_memalign
#define malloc(n) GC_MALLOC(n)
#define calloc(m, n) GC_MALLOC((m) * (n))
#define realloc(p, n) GC_REALLOC(p, n)
#define free(p) GC_FREE(p)
#define strdup(s) GC_STRDUP(s)
#define strndup(s, n) GC_STRNDUP(s, n)
#define memalign(a, n) GC_memalign(a, n)
#define posix_memalign(p, a, n) GC_posix_memalign(p, a, n)

#ifndef CHECK_LEAKS
#define CHECK_LEAKS() GC_gcollect()
#endif
#endif
