/* statout.h - statistics as text, JSON or OpenMetrics, where MGC_STATS says.
 * WHO    the faces, when the process exits; mgc_write_stats.
 * STATE  none.  LOCKS none; neither stdio nor the heap is used.
 * UNITS  those of stat.def. UINT64_MAX is "none": JSON's null, OpenMetrics' +Inf. */
#ifndef MGC_BASE_STATOUT_H
#define MGC_BASE_STATOUT_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stat_format { STAT_TEXT, STAT_JSON, STAT_OPENMETRICS };

/* The rows of stat.def, in its order. */
enum stat_id {
#define MGC_STAT(id, name, kind, unit, help) STAT_##id,
#include "base/stat.def"
#undef MGC_STAT
	NSTATS
};

/* What is written: the values by stat_id, and which of them this face has. */
struct stat_values {
	const char *face; /* "native", "libgc", "malloc" */
	uint64_t value[NSTATS];
	bool absent[NSTATS];
};

/* stat_target - MGC_STATS: FORMAT or FORMAT:FILE. False: it is neither; *file is NULL without a file. */
bool stat_target(const char *text, enum stat_format *format, const char **file);
/* stat_write - to the descriptor. 0, or the errno of the first write that failed. */
int stat_write(int fd, enum stat_format format, const struct stat_values *values);
/* stat_to_stderr - whether such a target, or NULL, is standard error: the setting names no file. */
bool stat_to_stderr(const char *text);
/* stat_write_target - where `text`, a good stat_target, says: %p in the file's name is the process. Text and
 * JSON (one line a process) are appended, OpenMetrics replaces. Without a file: standard error. A file that
 * cannot be written is named on standard error. */
void stat_write_target(const char *text, const struct stat_values *values);
/* stat_file_name - the name with the process's number for each %p; cut off at the buffer's end. */
void stat_file_name(char *out, size_t nbytes, const char *pattern);

#endif
