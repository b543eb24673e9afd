/* recording.h - the file that a recording is: a line of JSON for each thing seen (docs/recording.md).
 *
 * WHAT   A head, then samples of the counters, finished cycles, now and then a census with a map of the addresses,
 *        and at the end histograms, the stacks that allocate, and how it ended.
 * WHO    recorder.c writes; report.c and trace.c read (recording_read.c).
 * STATE  one struct for a file that is being written.
 * INV    R1 each line stands for itself, so a file that was cut off is good up to there
 *        R2 times are nanoseconds since the origin that the head is about, and never negative
 * UNITS  bytes, nanoseconds. */
#ifndef MGC_CMD_RECORDING_H
#define MGC_CMD_RECORDING_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdio.h>

#include "cmd/observe.h"
#include "cmd/sites.h"
#include "cmd/target.h"

#define RECORDING_FORMAT 1

struct recording {
	FILE *out;
	bool collected;
	uint64_t origin_ns; /* CLOCK_MONOTONIC: of the heap's start, or of the recording's where that is unknown */
	uint64_t ncycles; /* written, or lost */
	uint64_t nlost; /* cycles that were overwritten before they were seen */
};

/* recording_begin - the head line. `out` is empty. */
void recording_begin(struct recording *r, FILE *out, const struct target *t, const struct view *v);
/* recording_cycles - those that v has and earlier ones had not. */
void recording_cycles(struct recording *r, const struct view *v);
void recording_sample(struct recording *r, const struct view *v);
void recording_census(struct recording *r, const struct census *c, uint64_t now_ns);
/* recording_end - histograms and cycles of the last view, stacks, the last line. `how`: "exit", "killed",
 * "vanished", "stopped". `status`: of the process, -1 unknown. */
void recording_end(struct recording *r, const struct view *last, struct sites *sites,
		   const char *how, int status);

/* A recording that is read. */
struct recording_line {
	char *text; /* without the newline */
	size_t nbytes, room;
	size_t number; /* the first one is 1 */
	size_t nleft_out, first_left_out; /* damaged ones so far */
};

/* recording_open - a file whose head is ours, at its first line. NULL after a message. */
FILE *recording_open(const char *path);
/* recording_next - the next line that is JSON and has all its members; others are left out and counted. False: there is
 * none, and the memory is freed. A last line without an end is not there. */
bool recording_next(FILE *file, struct recording_line *line);
/* recording_judge - behind the last one: 0, or an exit status after a message that lines were left out. */
int recording_judge(const struct recording_line *line, const char *path);
/* recording_spare - 0, or an exit status after a message: the file that would be written is the recording. */
int recording_spare(FILE *recording, const char *output);
/* recording_is - whether the line's first key is that. */
bool recording_is(const struct recording_line *line, const char *key);
/* recording_number - of a key of the line's object itself, not of what is inside it; `none` if it is not
 * there. recording_member - the same of an object inside it. */
double recording_number(const char *object, const char *key, double none);
const char *recording_member(const char *object, const char *key);
/* recording_text - a string's content, still with its escapes; false if it is not there or too long. */
bool recording_text(const char *object, const char *key, char *out, size_t nbytes);

#endif
