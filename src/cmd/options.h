/* options.h - the command line of a subcommand: from one table both what is taken and what --help prints, from which
 * tools/completions.py makes the shells' completions.
 * WHO    each subcommand has rows; main.c's table has the subcommands. */
#ifndef MGC_CMD_OPTIONS_H
#define MGC_CMD_OPTIONS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>

/* How an argument is read. */
struct option_type {
	bool (*parse)(const char *text, void *out);
	const char *wants; /* what it has to be, for the message that refuses one */
};

extern const struct option_type option_flag; /* sets a bool; no argument */
extern const struct option_type option_text; /* a const char * */
extern const struct option_type option_number; /* an unsigned, from 1 on */
extern const struct option_type option_seconds; /* a double */

struct option_row {
	const char *name; /* behind the dashes; NULL: behind the last row */
	const char *argument; /* as --help calls it; NULL: none */
	const struct option_type *type;
	size_t at; /* where in the subcommand's options it is kept */
	const char *text;
};

struct subcommand {
	const char *name;
	const char *summary; /* one line for mallocgc --help */
	const char *help; /* before the options: "Usage: …", and what it is */
	const char *help_end; /* behind them; NULL: nothing */
	const struct option_row *options; /* NULL: none */
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

/* options_parse - fills `out`; -1 to go on, with the operands from argv[optind] on, else an exit status: --help was asked
 * for, or a message says what is wrong. */
int options_parse(const struct subcommand *c, void *out, int argc, char **argv);
/* one_operand - the only argument behind the options; NULL after a message that says what it should be. */
const char *one_operand(const struct subcommand *c, const char *what, int argc, char **argv);

#endif
