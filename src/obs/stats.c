/* stats.c - see stats.h. */
#include "obs/stats.h"

#include <string.h>

#include "mallocgc.h"

void stats_read(struct gc *gc, const char *face, struct stat_values *out)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	gc_read_stats(gc, &s);
	memset(out, 0, sizeof *out);
	out->face = face;
#define MGC_STAT(id, name, kind, unit, help) out->value[STAT_##id] = s.id;
#include "base/stat.def"
#undef MGC_STAT
}
