/* main.c - the command `mallocgc`: finds the subcommand; --help and --version.
 * WHAT   each subcommand has a file of its own and a row in the table below.
 * WHO    the shell.
 * STATE  none.  LOCKS  none.  FROM  - */
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"

static const struct subcommand *const subcommands[] = { &cmd_run,    &cmd_top,   &cmd_record,
							&cmd_report, &cmd_trace, &cmd_profile,
							&cmd_bench,  &cmd_sizes };
enum { NSUBCOMMANDS = sizeof subcommands / sizeof subcommands[0] };

static void complain_list(const char *format, va_list args)
{
	fflush(stdout);
	fputs("mallocgc: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

void complain(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	complain_list(format, args);
	va_end(args);
}

int usage_error(const char *subcommand, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	complain_list(format, args);
	va_end(args);
	fprintf(stderr, "Try `mallocgc%s%s --help`.\n", *subcommand ? " " : "", subcommand);
	return STATUS_FAILED;
}

int finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	complain("cannot write standard output: %s", strerror(errno));
	return STATUS_FAILED;
}

static int help(void)
{
	puts("Usage: mallocgc COMMAND [ARGS…]\n"
	     "A memory manager in the manner of Go's, for programs that were not built for it.\n");
	for (size_t i = 0; i < NSUBCOMMANDS; i++)
		printf("  %-8s %s\n", subcommands[i]->name, subcommands[i]->summary);
	puts("\n  --help, --version; mallocgc COMMAND --help says more about one of them.\n\n"
	     "Exit status: the program's own; 125 mallocgc itself failed; 126 the program cannot "
	     "be\n"
	     "run; 127 it was not found. Settings are environment variables (MGC_PERCENT, "
	     "MGC_LIMIT,\n"
	     "MGC_LOG, MGC_DEBUG): see mallocgc(7).");
	return finish_output();
}

int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "");
	const char *word = argc > 1 ? argv[1] : "";
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
		return help();
	if (strcmp(word, "--version") == 0) {
		puts("mallocgc " MGC_VERSION_STRING);
		return finish_output();
	}
	if (argc < 2)
		return usage_error("", "a command is missing");
	for (size_t i = 0; i < NSUBCOMMANDS; i++)
		if (strcmp(word, subcommands[i]->name) == 0)
			return subcommands[i]->main(argc - 1, argv + 1);
	return usage_error("", word[0] == '-' ? "unknown option %s" : "unknown command `%s`", word);
}
