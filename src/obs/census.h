/* census.h - objects counted by type; uncollectable ones that nothing refers to. */
#ifndef MGC_OBS_CENSUS_H
#define MGC_OBS_CENSUS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/gc.h"
#include "mallocgc.h"

/* census_types - the first n rows, most bytes first; how many types have objects. 0 with ENOMEM. */
size_t census_types(struct gc *gc, struct mutator *m, struct mgc_type_usage *rows, size_t n);
/* census_leaks - writes to fd, by type, the uncollectable objects that nothing leads to, or all such objects;
 * how many there are. -1 with errno: ENOMEM, or what write said. */
long census_leaks(struct gc *gc, struct mutator *m, bool all, int fd);

#endif
