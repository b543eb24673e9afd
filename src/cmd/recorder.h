/* recorder.h - looks at a process again and again and writes a recording, until it ends.
 *
 * WHAT   Counters and finished cycles some fifty times a second at first, then ever more seldom, so that a day's
 *        recording is not much longer than an hour's; a census as often as one costs a hundredth of the time.
 *        A program that is started here tells us when its heap is there and, at its exit, waits until
 *        it was looked at once more (knob `recorder`): so the last line says what the process's own
 *        statistics say. Of one that was running already the last look counts.
 * WHO    run, record.  LOCKS none.  ERRORS exit statuses, after a message. */
#ifndef MGC_CMD_RECORDER_H
#define MGC_CMD_RECORDER_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* recorder_open - a file for a recording, empty. NULL after a message; what is no file is refused. */
FILE *recorder_open(const char *path);
/* recorder_run - runs the program at `path` and records the first process that has the heap, or the first
 * with a collected one; of a process that begins anew by exec, what comes last. Returns what the command shall: the program's status (128 and the signal
 * when one killed it), STATUS_FAILED when there was nothing to record. */
int recorder_run(FILE *out, const char *path, char **argv);
/* recorder_watch - records a process that runs, for so long (0: until it ends or SIGINT comes). */
int recorder_watch(FILE *out, pid_t pid, uint64_t duration_ns);

#endif
