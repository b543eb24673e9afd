/* options.c - see options.h. STATE getopt's.  LOCKS none. */
#include "cmd/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"

enum { MAX_OPTIONS = 16, FIRST_VALUE = UCHAR_MAX + 1, COLUMNS = 96 };
#define MAX_SECONDS 2e6 /* as milliseconds they fit an int */

/* ── arguments ──────────────────────────────────────────────────────────────────────────── */

static bool parse_flag(const char *text, void *out)
{
	(void)text;
	*(bool *)out = true;
	return true;
}

static bool parse_text(const char *text, void *out)
{
	*(const char **)out = text;
	return true;
}

static bool parse_number(const char *text, void *out)
{
	char *end;
	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	*(unsigned *)out = (unsigned)n;
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && n > 0 && n <= UINT_MAX;
}

static bool parse_seconds(const char *text, void *out)
{
	char *end;
	double *seconds = out;
	*seconds = strtod(text, &end);
	return end != text && *end == '\0' && *seconds >= 0.01 && *seconds <= MAX_SECONDS;
}

const struct option_type option_flag = { parse_flag, "" };
const struct option_type option_text = { parse_text, "" };
const struct option_type option_number = { parse_number, "a number from 1 on" };
const struct option_type option_seconds = { parse_seconds, "seconds, from 0.01 to 2000000" };

/* ── --help ─────────────────────────────────────────────────────────────────────────────── */

static int put_label(const struct option_row *row, char *out, size_t nbytes)
{
	return snprintf(out, nbytes, "  --%s%s%s  ", row->name, row->argument != NULL ? " " : "",
			row->argument != NULL ? row->argument : "");
}

/* print_wrapped - text from that column on, no line longer than COLUMNS. */
static void print_wrapped(const char *text, int column)
{
	while ((int)strlen(text) > COLUMNS - column) {
		int n = COLUMNS - column;
		while (text[n] != ' ')
			n--;
		printf("%.*s\n%*s", n, text, column, "");
		text += n + 1;
	}
	puts(text);
}

static int print_help(const struct subcommand *c)
{
	char label[64];
	int column = 0;
	puts(c->help);
	for (const struct option_row *row = c->options; row != NULL && row->name != NULL; row++) {
		int n = put_label(row, label, sizeof label);
		column = n > column ? n : column;
	}
	for (const struct option_row *row = c->options; row != NULL && row->name != NULL; row++) {
		put_label(row, label, sizeof label);
		printf("%s%-*s", row == c->options ? "\n" : "", column, label);
		print_wrapped(row->text, column);
	}
	if (c->help_end != NULL)
		printf("\n%s\n", c->help_end);
	return finish_output();
}

/* ── the command line ───────────────────────────────────────────────────────────────────── */

/* bad_option - for what getopt_long just refused; `value` is its ':' or '?'. */
static int bad_option(const struct subcommand *c, int value, char **argv)
{
	const char *word = argv[optind - 1];
	if (value == ':')
		return usage_error(c->name, "option %s needs an argument", word);
	if (strncmp(word, "--", 2) == 0)
		return usage_error(c->name, "unknown or misused option %s", word);
	return usage_error(c->name, "unknown option -%c", optopt);
}

int options_parse(const struct subcommand *c, void *out, int argc, char **argv)
{
	struct option words[MAX_OPTIONS + 2] = { { "help", no_argument, NULL, 'h' } };
	int n = 0;
	for (const struct option_row *row = c->options;
	     row != NULL && row->name != NULL && n < MAX_OPTIONS; row++, n++)
		words[n + 1] =
			(struct option){ row->name, row->argument != NULL, NULL, FIRST_VALUE + n };
	opterr = 0;
	for (int value; (value = getopt_long(argc, argv, "+:h", words, NULL)) != -1;) {
		if (value == 'h')
			return print_help(c);
		if (value < FIRST_VALUE)
			return bad_option(c, value, argv);
		const struct option_row *row = &c->options[value - FIRST_VALUE];
		if (!row->type->parse(optarg, (char *)out + row->at))
			return usage_error(c->name, "--%s %s: not %s", row->name, optarg,
					   row->type->wants);
	}
	return -1;
}

const char *one_operand(const struct subcommand *c, const char *what, int argc, char **argv)
{
	if (argc - optind == 1)
		return argv[optind];
	usage_error(c->name, argc == optind ? "a %s is missing" : "one %s at a time", what);
	return NULL;
}
