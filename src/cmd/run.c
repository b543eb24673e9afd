/* run.c - mallocgc run: start a program with its memory manager replaced.
 * WHAT   sets LD_LIBRARY_PATH (to our libgc.so.1) or LD_PRELOAD (to our malloc), then execs; or, to record it, runs
 *        the program as a child.
 * WHO    main.c.
 * STATE  the environment that the program inherits.  LOCKS  none.
 * FROM   ld.so(8); statuses of env(1). */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/knob.h"
#include "base/statout.h"
#include "cmd/cmd.h"
#include "cmd/library.h"
#include "cmd/options.h"
#include "cmd/program.h"
#include "cmd/recorder.h"
#include "cmd/recording.h"
#include "cmd/report.h"

struct request {
	enum face face;
	bool libgc, malloc, trace;
	const char *stats, *limit, *percent, *profile, *report, *record; /* NULL: as the environment says */
	char **argv; /* the program and its arguments */
};

#define ROW(name, argument, type, member, text) \
	{ name, argument, &option_##type, offsetof(struct request, member), text }
static const struct option_row options[] = {
	ROW("libgc", NULL, flag, libgc,
	    "in the place of Boehm's collector: our libgc.so.1 is found first"),
	ROW("malloc", NULL, flag, malloc,
	    "in the place of the C library's malloc, free, … Without either: --libgc if "
	    "PROGRAM is linked with libgc.so.1; nothing is replaced if it is linked with "
	    "libmallocgc, whose heap the other options are for then; else --malloc"),
	ROW("trace", NULL, flag, trace,
	    "a line for each collection on standard error, or in the file MGC_LOG"),
	ROW("stats", "FORMAT[:FILE]", text, stats,
	    "statistics when it exits: text, json or openmetrics; %p in FILE is the process"),
	ROW("profile", "FILE", text, profile, "a sampled heap profile when it exits, for `go tool pprof`"),
	ROW("report", "FILE", text, report, "when it has ended, a page (HTML) of what its heap did"),
	ROW("record", "FILE", text, record,
	    "the recording that such a page is made of (mallocgc report, trace)"),
	ROW("limit", "BYTES", text, limit, "the most memory that the heap may keep resident, as 512MiB"),
	ROW("percent", "N", text, percent,
	    "collect when the heap has grown by N % of what is live; off: never"),
	{ 0 },
};
#undef ROW

/* parse - fills `r`; -1 to go on, else an exit status. */
static int parse(struct request *r, int argc, char **argv)
{
	int status = options_parse(&cmd_run, r, argc, argv);
	if (status >= 0)
		return status;
	if (r->libgc && r->malloc)
		return usage_error("run", "--libgc and --malloc exclude each other");
	r->face = r->libgc ? FACE_LIBGC : r->malloc ? FACE_MALLOC : FACE_AUTO;
	r->argv = argv + optind;
	return r->argv[0] != NULL ? -1 : usage_error("run", "a program is missing");
}

/* set_joined - NAME=first SEPARATOR second; an empty half leaves the separator out. 0 or an exit
 * status. */
static int set_joined(const char *name, const char *first, const char *separator, const char *second)
{
	char *text = NULL;
	if (*first == '\0' || *second == '\0')
		separator = "";
	if (asprintf(&text, "%s%s%s", first, separator, second) >= 0 && setenv(name, text, 1) == 0) {
		free(text);
		return 0;
	}
	complain("%s cannot be set: %s", name, strerror(errno));
	return STATUS_FAILED;
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);
	return value != NULL ? value : "";
}

/* select_library - makes the dynamic linker find our library first. 0 or an exit status. */
static int select_library(enum face face)
{
	char path[PATH_MAX];
	int status = face == FACE_OWN ? 0 : library_find(face, path);
	if (status != 0 || face == FACE_OWN)
		return status;
	/* Neither variable has a way to quote. */
	const char *variable = face == FACE_LIBGC ? "LD_LIBRARY_PATH" : "LD_PRELOAD";
	const char *separators = face == FACE_LIBGC ? ":;" : ": ";
	if (strpbrk(path, separators) != NULL) {
		complain("%s cannot name %s: its path has one of the characters \"%s\"", variable,
			 path, separators);
		return STATUS_FAILED;
	}
	return set_joined(variable, face == FACE_LIBGC ? dirname(path) : path, ":",
			  environment(variable));
}

/* add_trace - gctrace=1 in MGC_DEBUG; the last word counts, so ours goes behind. */
static int add_trace(void)
{
	return set_joined("MGC_DEBUG", environment("MGC_DEBUG"), ",", "gctrace=1");
}

/* check_place - whether a file that is written at the exit can be: 0 or an exit status. It is not created: a program that
 * writes none shall leave none, and %p in the name stands for a number that is not known yet. */
static int check_place(const char *file)
{
	char folder[PATH_MAX];
	struct stat st;
	bool there = stat(file, &st) == 0, good = there && access(file, W_OK) == 0;
	if (there && S_ISDIR(st.st_mode)) {
		good = false;
		errno = EISDIR;
	} else if (!there && errno == ENOENT && strlen(file) < sizeof folder) {
		strcpy(folder, file);
		const char *where = dirname(folder);
		good = strstr(where, "%p") != NULL ||
		       (file[strlen(file) - 1] != '/' && stat(where, &st) == 0 &&
			access(where, W_OK | X_OK) == 0);
	}
	if (good)
		return 0;
	complain("%s: %s", file, strerror(errno));
	return STATUS_FAILED;
}

/* check_places - of statistics and profile. */
static int check_places(const struct request *r)
{
	enum stat_format format;
	const char *file = NULL;
	if (r->stats != NULL && stat_target(r->stats, &format, &file) && file != NULL &&
	    check_place(file) != 0)
		return STATUS_FAILED;
	return r->profile != NULL ? check_place(r->profile) : 0;
}

/* set_setting - with the name of its `file`, which ends the value, made whole: the program may be in another folder when it
 * writes it. 0 or an exit status. */
static int set_setting(const char *variable, const char *value, const char *file)
{
	char here[PATH_MAX], *whole = NULL;
	if (file != NULL && *file != '/' && getcwd(here, sizeof here) != NULL &&
	    strchr(here, '%') == NULL &&
	    asprintf(&whole, "%.*s%s/%s", (int)(file - value), value, here, file) < 0)
		whole = NULL;
	int status = setenv(variable, whole != NULL ? whole : value, 1) == 0 ? 0 : STATUS_FAILED;
	if (status != 0)
		complain("%s cannot be set: %s", variable, strerror(errno));
	free(whole);
	return status;
}

/* set_knobs - the settings that were given as options, once they were found good. 0 or an exit status. */
static int set_knobs(const struct request *r)
{
	enum stat_format format;
	const char *stats = NULL;
	if (r->stats != NULL)
		(void)stat_target(r->stats, &format, &stats);
	const struct {
		const char *option, *variable, *value, *file;
	} rows[] = { { "--stats", "MGC_STATS", r->stats, stats },
		     { "--limit", "MGC_LIMIT", r->limit, NULL },
		     { "--profile", "MGC_PROFILE", r->profile, r->profile },
		     { "--percent", "MGC_PERCENT", r->percent, NULL } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct knobs k;
		char why[256];
		if (rows[i].value == NULL)
			continue;
		if (*rows[i].value == '\0')
			return usage_error("run", "%s is empty", rows[i].option);
		if (!knob_set(&k, rows[i].variable, rows[i].value, why, sizeof why))
			return usage_error("run", "%s %s%s", rows[i].option, rows[i].value,
					   why + strlen(rows[i].variable) + 1 + strlen(rows[i].value));
		if (set_setting(rows[i].variable, rows[i].value, rows[i].file) != 0)
			return STATUS_FAILED;
	}
	return 0;
}

/* choose_face - by what the program is linked with; 0 or an exit status. */
static int choose_face(struct request *r, struct program *p)
{
	program_look(p);
	if (r->face == FACE_LIBGC && !p->libgc && p->loader[0] != '\0')
		complain("note: %s is not linked with " LIBGC_SO
			 ": ours serves it only if it loads "
			 "one while it runs",
			 p->elf);
	if (r->face == FACE_AUTO)
		r->face = p->libgc ? FACE_LIBGC : p->own ? FACE_OWN : FACE_MALLOC;
	if (r->face != FACE_MALLOC || p->own || (!r->trace && r->percent == NULL) ||
	    (p->broken && !r->malloc))
		return 0;
	const char *option = r->trace ? "--trace" : "--percent";
	if (r->malloc)
		complain("%s is about collections, and --malloc has none", option);
	else
		complain("%s is about collections, and %s is linked with no collector: it would "
			 "run on "
			 "--malloc, which has none",
			 option, p->elf);
	return STATUS_FAILED;
}

/* drop_empty - nothing was recorded, so there is nothing to find in the file. */
static void drop_empty(const char *file)
{
	struct stat st;
	if (file != NULL && stat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0)
		unlink(file);
}

/* open_files - the recording, which is a temporary file where only the page is wanted, and whether the page can be
 * made: before the program runs, not after. 0 or an exit status. */
static int open_files(const struct request *r, FILE **recording)
{
	if (r->report != NULL && report_possible() != 0)
		return STATUS_FAILED;
	FILE *page = r->report != NULL ? fopen(r->report, "a") : NULL;
	if (r->report != NULL && page == NULL) {
		complain("%s: %s", r->report, strerror(errno));
		return STATUS_FAILED;
	}
	if (page != NULL)
		fclose(page);
	*recording = r->record != NULL ? recorder_open(r->record) : tmpfile();
	if (*recording != NULL && r->report != NULL && recording_spare(*recording, r->report) != 0) {
		fclose(*recording);
		drop_empty(r->record);
		return STATUS_FAILED;
	}
	if (*recording == NULL && r->record == NULL)
		complain("a temporary file: %s", strerror(errno));
	return *recording != NULL ? 0 : STATUS_FAILED;
}

/* run_recorded - as a child. The sampler is on unless the environment says otherwise: the last word counts. */
static int run_recorded(const struct request *r, const struct program *p)
{
	FILE *recording;
	int status = open_files(r, &recording);
	if (status != 0)
		return status;
	if ((status = set_joined("MGC_DEBUG", "samplerate=524288", ",", environment("MGC_DEBUG"))) == 0) {
		status = recorder_run(recording, p->path, r->argv);
		int page = 0;
		if (r->report != NULL && ftello(recording) > 0)
			page = report_write(recording, r->record != NULL ? r->record : "the recording",
					    r->report);
		status = status != 0 ? status : page;
	}
	if (ftello(recording) <= 0) {
		drop_empty(r->report);
		drop_empty(r->record);
	}
	fclose(recording);
	return status;
}

static int run_main(int argc, char **argv)
{
	struct request r = { 0 };
	static struct program program;
	int status = parse(&r, argc, argv);
	if (status >= 0)
		return status;
	if ((status = program_find(&program, r.argv[0])) != 0 ||
	    (status = program_check(&program, r.face != FACE_AUTO)) != 0 ||
	    (status = choose_face(&r, &program)) != 0 || (status = set_knobs(&r)) != 0 ||
	    (status = check_places(&r)) != 0 || (status = select_library(r.face)) != 0 ||
	    (r.trace && (status = add_trace()) != 0))
		return status;
	if (r.report != NULL || r.record != NULL)
		return run_recorded(&r, &program);
	execvp(program.path, r.argv);
	complain("%s: %s", program.path, strerror(errno));
	return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
}

const struct subcommand cmd_run = {
	.name = "run",
	.summary = "run a program with its memory manager replaced",
	.help = "Usage: mallocgc run [OPTIONS] [--] PROGRAM [ARGS…]\n"
		"Runs PROGRAM with its memory manager replaced.",
	.options = options,
	.main = run_main,
};
