/* cmd.h - what the parts of the command share: exit statuses, messages, the table of subcommands.
 * WHO main.c calls one function of a subcommand; they call complain and finish_output. */
#ifndef MGC_CMD_CMD_H
#define MGC_CMD_CMD_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>

/* As env(1) and nohup(1): everything below 125 is the program's own status. */
enum { STATUS_FAILED = 125, STATUS_CANNOT_RUN = 126, STATUS_NOT_FOUND = 127 };

struct subcommand {
	const char *name;
	const char *summary; /* one line for mallocgc --help */
	/* argv[0] is the subcommand's name; returns an exit status */
	int (*main)(int argc, char **argv);
};

extern const struct subcommand cmd_bench;
extern const struct subcommand cmd_profile;
extern const struct subcommand cmd_record;
extern const struct subcommand cmd_report;
extern const struct subcommand cmd_run;
extern const struct subcommand cmd_sizes;
extern const struct subcommand cmd_top;
extern const struct subcommand cmd_trace;

/* complain - "mallocgc: …\n" on standard error. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* usage_error - the same, then where to find help; returns STATUS_FAILED. */
int usage_error(const char *subcommand, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* bad_option - usage_error for what getopt_long just refused; `result` is its ':' or '?'. */
int bad_option(const char *subcommand, int result, char **argv);
/* one_operand - the only argument behind the options; NULL after a usage_error that says what it should be. */
const char *one_operand(const char *subcommand, const char *what, int argc, char **argv);
/* parse_seconds - a positive number of seconds, at most a year. */
bool parse_seconds(const char *text, double *out);
/* finish_output - flushes standard output; STATUS_FAILED with a message if a write failed. */
int finish_output(void);

#endif
