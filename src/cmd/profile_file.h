/* profile_file.h - a heap profile that a process wrote (MGC_PROFILE, mgc_write_profile) is read, to give it names.
 * WHO    profile.c.  STATE none.
 * ERRORS functions that return a status give 0, or an exit status after a message.
 * FROM   github.com/google/pprof/proto/profile.proto; the library's own files only (sample/pprof.c). */
#ifndef MGC_CMD_PROFILE_FILE_H
#define MGC_CMD_PROFILE_FILE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdio.h>

#include "cmd/sites.h"

struct profile_file {
	struct sites sites; /* stacks, and the files that were mapped */
	uint64_t rate_nbytes, time_ns, duration_ns;
	FILE *maps; /* the mappings, as /proc/PID/maps has them */
};

/* profile_file_read - a file may be anybody's: what is wrong with it is said, and nothing beyond its end is read. */
int profile_file_read(struct profile_file *f, const char *path);
void profile_file_free(struct profile_file *f);

#endif
