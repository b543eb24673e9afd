/* gctrace.h - one line for each collection, in Go's format, and the summary at exit. Our own fields
 * follow behind Go's, so that what reads Go's lines reads these. */
#ifndef MGC_OBS_GCTRACE_H
#define MGC_OBS_GCTRACE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/gc.h"

/* gctrace_start - prints from now on, to standard error or the file of MGC_LOG. */
void gctrace_start(struct gc *gc);
/* gctrace_start_scav - a line in Go's format when free memory was given back in the background. */
void gctrace_start_scav(struct gc *gc);
void gctrace_exit_summary(struct gc *gc);

#endif
