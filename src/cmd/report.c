/* report.c - mallocgc report: a recording as one HTML file that opens offline.
 * WHAT   puts the page (src/cmd/report/), Chart.js and the recording's lines into each other. What is drawn, and
 *        how, is in report.js.
 * WHO    main.c; run.
 * STATE  the parts, in the command itself: taken from the tree, and Chart.js from where Debian's libjs-chart.js
 *        has it, when the command was built.  LOCKS none. */
#include "cmd/report.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/recording.h"

/* ASSET - the file's bytes, as id_begin to id_end. */
#define ASSET(id, file) \
	__asm__(".pushsection .rodata.asset,\"a\"\n" #id "_begin:\n.incbin \"" file "\"\n" #id \
		"_end:\n.byte 0\n.popsection"); \
	__attribute__((visibility("hidden"))) extern const char id##_begin[], id##_end[]

ASSET(asset_page, MGC_REPORT_DIR "/report.html");
ASSET(asset_style, MGC_REPORT_DIR "/report.css");
ASSET(asset_script, MGC_REPORT_DIR "/report.js");
#if MGC_WITH_CHART
ASSET(asset_chart, MGC_CHART);
#else
ASSET(asset_chart, "/dev/null");
#endif

int report_possible(void)
{
	if (MGC_WITH_CHART)
		return 0;
	complain("this command was built without Chart.js, which draws reports: install "
		 "libjs-chart.js "
		 "and build again");
	return STATUS_FAILED;
}

/* put_data - the recording's lines. In JSON `<` stands in strings only; escaped it ends no script. */
static void put_data(FILE *out, FILE *recording, struct recording_line *line)
{
	while (recording_next(recording, line)) {
		for (const char *s = line->text; *s != '\0';) {
			size_t n = strcspn(s, "<");
			fwrite(s, 1, n, out);
			if (s[n] == '<')
				fputs("\\u003c", out);
			s += n + (s[n] == '<');
		}
		fputc('\n', out);
	}
}

/* put_page - the page with its parts in the place of lines that name them. */
static void put_page(FILE *out, FILE *recording, struct recording_line *line)
{
	const struct {
		const char *mark, *begin, *end;
	} parts[] = { { "@style@\n", asset_style_begin, asset_style_end },
		      { "@chart@\n", asset_chart_begin, asset_chart_end },
		      { "@script@\n", asset_script_begin, asset_script_end },
		      { "@recording@\n", NULL, NULL } };
	for (const char *s = asset_page_begin; s < asset_page_end;) {
		const char *end = memchr(s, '\n', (size_t)(asset_page_end - s));
		end = end != NULL ? end + 1 : asset_page_end;
		bool put = false;
		for (size_t i = 0; i < sizeof parts / sizeof parts[0] && !put; i++) {
			put = (size_t)(end - s) == strlen(parts[i].mark) &&
			      memcmp(s, parts[i].mark, (size_t)(end - s)) == 0;
			if (put && parts[i].begin != NULL)
				fwrite(parts[i].begin, 1, (size_t)(parts[i].end - parts[i].begin), out);
			else if (put)
				put_data(out, recording, line);
		}
		if (!put)
			fwrite(s, 1, (size_t)(end - s), out);
		s = end;
	}
}

int report_write(FILE *recording, const char *source, const char *path)
{
	struct recording_line line = { 0 };
	if (recording_spare(recording, path) != 0)
		return STATUS_FAILED;
	FILE *out = fopen(path, "w");
	if (out == NULL) {
		complain("%s: %s", path, strerror(errno));
		return STATUS_FAILED;
	}
	bool failed = fseek(recording, 0, SEEK_SET) != 0;
	put_page(out, recording, &line);
	failed |= ferror(out) != 0;
	if (fclose(out) == 0 && !failed)
		return recording_judge(&line, source);
	complain("%s cannot be written: %s", path, strerror(errno));
	return STATUS_FAILED;
}

static const struct option_row options[] = {
	{ "output", "FILE", &option_text, 0, "where to (RECORDING with .html at its end)" },
	{ 0 },
};

static int report_main(int argc, char **argv)
{
	char name[PATH_MAX];
	const char *output = name;
	int status = options_parse(&cmd_report, &output, argc, argv);
	if (status >= 0)
		return status;
	const char *path = one_operand(&cmd_report, "recording", argc, argv);
	if (path == NULL)
		return STATUS_FAILED;
	const char *dot = strrchr(path, '.');
	int n = dot != NULL && strcmp(dot, ".jsonl") == 0 ? (int)(dot - path) : (int)strlen(path);
	snprintf(name, sizeof name, "%.*s.html", n, path);
	if (report_possible() != 0)
		return STATUS_FAILED;
	FILE *recording = recording_open(path);
	if (recording == NULL)
		return STATUS_FAILED;
	status = report_write(recording, path, output);
	fclose(recording);
	return status;
}

const struct subcommand cmd_report = {
	.name = "report",
	.summary = "make a page of a recording",
	.help = "Usage: mallocgc report [OPTIONS] RECORDING\n"
		"Makes a page of a recording (`mallocgc record`, `mallocgc run --record`): one "
		"HTML file that needs\n"
		"nothing else. `mallocgc run --report FILE` does both.",
	.options = options,
	.main = report_main,
};
