/* target.h - another process that uses the library: finds its heap and reads its memory (base/watch.h).
 * WHO    the subcommands that look at a process: top, trace, report.
 * ERRORS functions that return a status give 0, or an exit status after a message. */
#ifndef MGC_CMD_TARGET_H
#define MGC_CMD_TARGET_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/watch.h"
#include "cmd/options.h"

struct target {
	pid_t pid;
	struct watch watch; /* its heap's; addresses are the process's */
	char object[256]; /* the file that the library is in */
	char face[16]; /* "native", "libgc", "malloc" */
	char command[128]; /* what ps shows */
};

/* target_pid - the only argument is the number of a process; 0 after a message: it is not. */
pid_t target_pid(const struct subcommand *c, int argc, char **argv);
/* target_find - looks through what the process has loaded for a heap in use; of several a collected one. Refuses
 * other layouts, processes that may not be read, and those without the library, with a message. */
int target_find(struct target *t, pid_t pid);
/* target_read - memory of the process. False: it is gone, or the memory is. */
bool target_read(const struct target *t, uintptr_t addr, void *out, size_t nbytes);
/* target_gather - the same of n ≤ TARGET_PIECES pieces of so many bytes, which lie one behind the other in out then; in one call. */
#define TARGET_PIECES 128
bool target_gather(const struct target *t, const uintptr_t *addr, size_t n, void *out, size_t nbytes);
/* target_alive - whether it still runs that program. */
bool target_alive(const struct target *t);
/* target_fate - what became of one that does not: the rest of a sentence. */
const char *target_fate(const struct target *t);
/* text_clean - puts a question mark in the place of each character that a terminal may take for a command. */
void text_clean(char *text);

#endif
