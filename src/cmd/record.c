/* record.c - mallocgc record: a recording of a process that runs already.
 * WHO    main.c.  STATE none.  LOCKS none.  UNITS seconds on the command line. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/recorder.h"
#include "cmd/target.h"

struct options {
	const char *output;
	double seconds; /* 0: until it ends */
};

static const struct option_row options[] = {
	{ "output", "FILE", &option_text, offsetof(struct options, output),
	  "where to (mallocgc.PID.jsonl)" },
	{ "seconds", "N", &option_seconds, offsetof(struct options, seconds), "not longer than so long" },
	{ 0 },
};

static int record_main(int argc, char **argv)
{
	struct options o = { 0 };
	char name[64];
	int status = options_parse(&cmd_record, &o, argc, argv);
	if (status >= 0)
		return status;
	pid_t pid = target_pid(&cmd_record, argc, argv);
	if (pid == 0)
		return STATUS_FAILED;
	snprintf(name, sizeof name, "mallocgc.%d.jsonl", (int)pid);
	if (o.output == NULL)
		o.output = name;
	/* a process that cannot be recorded leaves no file */
	static struct target t;
	if ((status = target_find(&t, pid)) != 0)
		return status;
	FILE *out = recorder_open(o.output);
	if (out == NULL)
		return STATUS_FAILED;
	status = recorder_watch(out, pid, (uint64_t)(o.seconds * 1e9));
	fclose(out);
	return status;
}

const struct subcommand cmd_record = {
	.name = "record",
	.summary = "record what the heap of a running process does",
	.help = "Usage: mallocgc record [OPTIONS] PID\n"
		"Records what the heap of a process does, until it ends, or SIGINT (Ctrl-C) comes. "
		"The process needs\n"
		"no setting and does nothing for it. `mallocgc report` and `mallocgc trace` read "
		"the file.",
	.options = options,
	.main = record_main,
};
