/* explain.h - who keeps an object alive: the shortest way to it from a root. */
#ifndef MGC_OBS_EXPLAIN_H
#define MGC_OBS_EXPLAIN_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/gc.h"

/* explain - writes the way to fd; the number of references on it, 0 when nothing leads to the object.
 * -1 with errno: EINVAL no object there, ENOMEM, or what write said. The caller's own stack comes last. */
int explain(struct gc *gc, struct mutator *m, uintptr_t object, int fd);

#endif
