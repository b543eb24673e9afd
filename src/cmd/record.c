/* record.c - mallocgc record: a recording of a process that runs already.
 * WHO    main.c.  STATE none.  LOCKS none.  UNITS seconds on the command line. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/recorder.h"
#include "cmd/target.h"

static int help(void)
{
	puts("Usage: mallocgc record [OPTIONS] PID\n"
	     "Records what the heap of a process does, until it ends, or SIGINT (Ctrl-C) comes. "
	     "The "
	     "process needs\n"
	     "no setting and does nothing for it. `mallocgc report` and `mallocgc trace` read the "
	     "file.\n\n"
	     "  --output FILE  where to (mallocgc.PID.jsonl)\n"
	     "  --seconds N    not longer than so long");
	return finish_output();
}

struct options {
	const char *output;
	double seconds; /* 0: until it ends */
	pid_t pid;
};

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option options[] = { { "output", required_argument, NULL, 'o' },
						 { "seconds", required_argument, NULL, 's' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	int c;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:ho:", options, NULL)) != -1) {
		if (c == 'h')
			return help();
		if (c == 'o')
			o->output = optarg;
		else if (c != 's')
			return bad_option("record", c, argv);
		else if (!parse_seconds(optarg, &o->seconds))
			return usage_error("record", "%s is not a good number of seconds", optarg);
	}
	o->pid = target_pid("record", argc, argv);
	return o->pid != 0 ? -1 : STATUS_FAILED;
}

static int record_main(int argc, char **argv)
{
	struct options o = { 0 };
	char name[64];
	int status = parse(&o, argc, argv);
	if (status >= 0)
		return status;
	snprintf(name, sizeof name, "mallocgc.%d.jsonl", (int)o.pid);
	if (o.output == NULL)
		o.output = name;
	/* a process that cannot be recorded leaves no file */
	static struct target t;
	if ((status = target_find(&t, o.pid)) != 0)
		return status;
	FILE *out = fopen(o.output, "w");
	if (out == NULL) {
		complain("%s: %s", o.output, strerror(errno));
		return STATUS_FAILED;
	}
	status = recorder_watch(out, o.pid, (uint64_t)(o.seconds * 1e9));
	fclose(out);
	return status;
}

const struct subcommand cmd_record = { "record", "record what the heap of a running process does",
				       record_main };
