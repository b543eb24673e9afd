/* stats.h - the statistics of a collected heap, as statout.h writes them. */
#ifndef MGC_OBS_STATS_H
#define MGC_OBS_STATS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "base/statout.h"
#include "gc/gc.h"

/* stats_read - everything that this heap counts; `face` as in struct stat_values. */
void stats_read(struct gc *gc, const char *face, struct stat_values *out);

#endif
