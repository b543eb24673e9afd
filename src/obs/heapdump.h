/* heapdump.h - all objects, their types and references, and all roots, as lines of JSON; docs/debugging.md has
 * the format, tools/heap.py reads it. */
#ifndef MGC_OBS_HEAPDUMP_H
#define MGC_OBS_HEAPDUMP_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/gc.h"

/* heapdump - 0, or -1 with errno: ENOMEM, or what write said. */
int heapdump(struct gc *gc, struct mutator *m, int fd);

#endif
