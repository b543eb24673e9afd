/* trace.c - mallocgc trace: a recording as trace events, which Perfetto and chrome://tracing show.
 * WHAT   each cycle, its phases and its stop as slices, one below the other; heap, goal and what is resident as
 *        counters.
 * WHO    main.c.  STATE what is written so far.  LOCKS none.
 * UNITS  nanoseconds in a recording, microseconds in the format.
 * FROM   "Trace Event Format" of Chrome's tracing: the JSON object form, events X, C and M. */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/recording.h"

enum track { TRACK_CYCLES = 1, TRACK_PHASES, TRACK_STOPS };

struct trace {
	FILE *out;
	long pid;
	bool any; /* an event was written */
};

static void begin_event(struct trace *tr, const char *kind, int track)
{
	fprintf(tr->out, "%s{\"ph\":\"%s\",\"pid\":%ld,\"tid\":%d", tr->any ? ",\n" : "", kind,
		tr->pid, track);
	tr->any = true;
}

static void put_slice(struct trace *tr, int track, const char *name, double begin_ns, double end_ns)
{
	begin_event(tr, "X", track);
	fprintf(tr->out, ",\"name\":\"%s\",\"cat\":\"gc\",\"ts\":%.3f,\"dur\":%.3f", name,
		begin_ns / 1e3, end_ns > begin_ns ? (end_ns - begin_ns) / 1e3 : 0);
}

static void put_name(struct trace *tr, const char *what, int track, const char *name)
{
	begin_event(tr, "M", track);
	fprintf(tr->out, ",\"name\":\"%s\",\"args\":{\"name\":\"%s\"}}", what, name);
}

/* put_arguments - numbers of the line that a slice shows when it is chosen; ends the event. */
static void put_arguments(struct trace *tr, const char *line)
{
	static const char *const keys[] = { "before",  "live",  "goal",    "born",
					    "stacks",  "roots", "objects", "workers",
					    "threads", "cpu",   "assist",  "snapshot" };
	fputs(",\"args\":{\"forced\":", tr->out);
	fputs(*recording_member(line, "forced") == 't' ? "true" : "false", tr->out);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		fprintf(tr->out, ",\"%s\":%.0f", keys[i], recording_number(line, keys[i], 0));
	fputs("}}", tr->out);
}

/* put_phases - from each one to the next; the last one to the end. */
static void put_phases(struct trace *tr, const char *line, double end)
{
	const char *phases = recording_member(line, "phases");
	for (unsigned i = PHASE_ARM; phases != NULL && i <= PHASE_FLIP; i++) {
		double at = recording_number(phases, phase_name(i), -1), next = end;
		if (at < 0)
			continue;
		for (unsigned k = PHASE_FLIP; k > i; k--) {
			double other = recording_number(phases, phase_name(k), -1);
			next = other >= at ? other : next;
		}
		put_slice(tr, TRACK_PHASES, phase_name(i), at, next);
		fputc('}', tr->out);
	}
}

static void put_cycle(struct trace *tr, const char *line)
{
	char name[32];
	double start = recording_number(line, "start", 0), sweep = recording_number(line, "sweep", 0);
	double pause = recording_number(line, "pause", 0), beside = recording_number(line, "beside", 0);
	double end = start + sweep + (beside > pause ? beside : pause);
	snprintf(name, sizeof name, "collection %.0f", recording_number(line, "cycle", 0));
	put_slice(tr, TRACK_CYCLES, name, start, end);
	put_arguments(tr, line);
	if (sweep > 0) {
		put_slice(tr, TRACK_PHASES, "sweep", start, start + sweep);
		fputc('}', tr->out);
	}
	put_phases(tr, line, end);
	if (pause > 0) { /* where a cycle beside the program stopped it the recording does not say: at its end */
		double begin = beside > 0 ? end - pause : start + sweep;
		put_slice(tr, TRACK_STOPS, "stopped", begin, begin + pause);
		fputc('}', tr->out);
	}
}

static void put_sample(struct trace *tr, const char *line)
{
	static const char *const keys[] = { "heap", "goal", "rss", "pages", "free" };
	double at = recording_number(line, "sample", 0);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		double v = recording_number(line, keys[i], -1);
		if (v < 0 || v > 9e15) /* no goal */
			continue;
		begin_event(tr, "C", 0);
		fprintf(tr->out, ",\"name\":\"%s\",\"ts\":%.3f,\"args\":{\"bytes\":%.0f}}", keys[i],
			at / 1e3, v);
	}
}

static void put_head(struct trace *tr, const char *line)
{
	char text[4096];
	double pid = recording_number(line, "pid", 0);
	tr->pid = pid >= 0 && pid <= INT_MAX ? (long)pid : 0;
	put_name(tr, "process_name", 0, recording_text(line, "command", text, sizeof text) ? text : "");
	put_name(tr, "thread_name", TRACK_CYCLES, "collections");
	put_name(tr, "thread_name", TRACK_PHASES, "phases");
	put_name(tr, "thread_name", TRACK_STOPS, "world stopped");
}

/* put_trace - 0, or an exit status after a message about lines of the file `path`. */
static int put_trace(FILE *out, FILE *recording, const char *path)
{
	struct trace tr = { .out = out };
	struct recording_line line = { 0 };
	fputs("{\"displayTimeUnit\":\"ms\",\"otherData\":{\"source\":\"mallocgc " MGC_VERSION_STRING
	      "\"},\n\"traceEvents\":[\n",
	      out);
	while (recording_next(recording, &line)) {
		if (recording_is(&line, "mallocgc"))
			put_head(&tr, line.text);
		else if (recording_is(&line, "cycle"))
			put_cycle(&tr, line.text);
		else if (recording_is(&line, "sample"))
			put_sample(&tr, line.text);
	}
	fputs("\n]}\n", out);
	return recording_judge(&line, path);
}

static const struct option_row options[] = {
	{ "output", "FILE", &option_text, 0, "where to (standard output)" },
	{ 0 },
};

static int trace_main(int argc, char **argv)
{
	const char *output = NULL;
	int status = options_parse(&cmd_trace, &output, argc, argv);
	if (status >= 0)
		return status;
	const char *path = one_operand(&cmd_trace, "recording", argc, argv);
	FILE *recording = path != NULL ? recording_open(path) : NULL;
	if (recording == NULL)
		return STATUS_FAILED;
	status = output != NULL ? recording_spare(recording, output) : 0;
	if (status == 0 && output != NULL && freopen(output, "w", stdout) == NULL) {
		complain("%s: %s", output, strerror(errno));
		status = STATUS_FAILED;
	}
	if (status == 0) {
		status = put_trace(stdout, recording, path);
		int written = finish_output();
		status = written != 0 ? written : status;
	}
	fclose(recording);
	return status;
}

const struct subcommand cmd_trace = {
	.name = "trace",
	.summary = "make trace events for Perfetto of a recording",
	.help = "Usage: mallocgc trace [OPTIONS] RECORDING\n"
		"Writes the collections of a recording as trace events, which ui.perfetto.dev and "
		"chrome://tracing\n"
		"show.",
	.options = options,
	.main = trace_main,
};
