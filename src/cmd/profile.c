/* profile.c - mallocgc profile: which stacks of a running process allocate, without a restart; names for a profile that
 * a process wrote itself.
 * WHAT   Switches the sampler on in the process (one word of its memory), waits, switches it off, and reads its tables:
 *        a profile in pprof's format, with names, and the first rows of it as text. What was sampled before is
 *        taken off. A sampler that the process had on keeps its rate.
 * WHO    main.c.  STATE what a signal asks.  LOCKS none.  UNITS seconds and bytes on the command line. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/knob.h"
#include "cmd/cmd.h"
#include "cmd/observe.h"
#include "cmd/options.h"
#include "cmd/profile_file.h"
#include "cmd/sites.h"
#include "os/os.h"
#include "sample/pprof.h"

enum { SHOWN_ROWS = 10, SHOWN_CALLERS = 3 };

static volatile sig_atomic_t interrupted;

struct options {
	const char *output, *file; /* NULL: a process */
	double seconds;
	uint64_t rate_nbytes;
	pid_t pid;
};

static bool parse_rate(const char *text, void *out)
{
	struct knobs k;
	char why[256];
	if (!knob_set(&k, "MGC_DEBUG.samplerate", text, why, sizeof why) || k.samplerate == 0)
		return false;
	*(uint64_t *)out = (uint64_t)k.samplerate;
	return true;
}

static const struct option_type option_rate = { parse_rate, "a rate: a size as 512KiB" };
static const struct option_row options[] = {
	{ "output", "FILE", &option_text, offsetof(struct options, output),
	  "where to (mallocgc.PID.pb; that FILE itself)" },
	{ "rate", "BYTES", &option_rate, offsetof(struct options, rate_nbytes),
	  "one sample in so many bytes, on average (512KiB)" },
	{ "seconds", "N", &option_seconds, offsetof(struct options, seconds), "for so long (10)" },
	{ 0 },
};

/* find_subject - a process, or a file. 0 or an exit status. */
static int find_subject(struct options *o, int argc, char **argv)
{
	const char *what = one_operand(&cmd_profile, "process or file", argc, argv);
	if (what != NULL && what[strspn(what, "0123456789")] != '\0')
		o->file = what;
	else if (what == NULL || (o->pid = target_pid(&cmd_profile, argc, argv)) == 0)
		return STATUS_FAILED;
	return 0;
}

/* ── what was sampled meanwhile ─────────────────────────────────────────────────────────── */

/* subtract - what `before` had: stacks keep their numbers. Lives: what lives now of what was allocated since. */
static void subtract(struct sites *now, const struct sites *before)
{
	for (size_t i = 0; i < before->nstacks && i < now->nstacks; i++) {
		struct sample_stack *s = &now->stacks[i];
		const struct sample_stack *b = &before->stacks[i];
		s->allocated_objects -= b->allocated_objects;
		s->allocated_nbytes -= b->allocated_nbytes;
		s->nsamples -= b->nsamples;
		if (s->live_nbytes > s->allocated_nbytes)
			s->live_nbytes = s->allocated_nbytes;
		if (s->live_objects > s->allocated_objects)
			s->live_objects = s->allocated_objects;
	}
}

static size_t lines_of(void *arg, uintptr_t pc, struct pprof_line *out, size_t max)
{
	static struct symbol_frame frames[SYMBOL_FRAMES];
	static char name[SYMBOL_FRAMES][SYMBOL_TEXT];
	size_t n = symbols_frames(arg, pc, frames);
	for (size_t i = 0; i < n && i < max; i++) {
		symbols_name(arg, pc, &frames[i], name[i], sizeof name[i]);
		out[i] = (struct pprof_line){ .function = name[i],
					      .linkage = frames[i].linkage,
					      .file = frames[i].file,
					      .line = frames[i].line };
	}
	return n < max ? n : max;
}

/* write_profile - beside the file at first: one that is there is whole, before and after. What is no file (a pipe, a device)
 * is written to, and stays; a symbolic link too. */
static int write_profile(struct pprof_source *source, const char *path)
{
	char beside[PATH_MAX + 16], real[PATH_MAX];
	struct stat st;
	bool there = stat(path, &st) == 0, file = !there || S_ISREG(st.st_mode);
	const char *place = there && file && realpath(path, real) != NULL ? real : path;
	bool fits = snprintf(beside, sizeof beside, file ? "%s.%d" : "%s", place, (int)getpid()) <
		    (int)sizeof beside;
	int fd = fits ? open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
	int err = !fits ? ENAMETOOLONG : fd < 0 ? errno : pprof_write(fd, source);
	if (fd >= 0 && close(fd) != 0 && err == 0)
		err = errno;
	if (err == ENODATA)
		complain("%s has addresses and no files: %s cannot be read", path, source->maps);
	if (file && (err == 0 || err == ENODATA) && rename(beside, place) != 0)
		err = errno;
	if (err == 0 || err == ENODATA)
		return err == 0 ? 0 : STATUS_FAILED;
	if (fd >= 0 && file)
		unlink(beside);
	complain("%s cannot be written: %s", path, strerror(err));
	return STATUS_FAILED;
}

static int by_allocated(const void *a, const void *b)
{
	const struct sample_stack *x = a, *y = b;
	return x->allocated_nbytes < y->allocated_nbytes   ? 1
	       : x->allocated_nbytes > y->allocated_nbytes ? -1
							   : 0;
}

static bool print_frame(void *arg, const char *name, const char *line)
{
	unsigned *n = arg;
	printf("%s%s%s%s%s", *n > 0 ? " < " : "", name, *line ? " (" : "", line, *line ? ")" : "");
	return ++*n <= SHOWN_CALLERS;
}

static void print_rows(struct sites *s)
{
	qsort(s->stacks, s->nstacks, sizeof s->stacks[0], by_allocated);
	printf("%10s %10s  %s\n", "allocated", "lives", "where");
	for (size_t i = 0; i < s->nstacks && i < SHOWN_ROWS && s->stacks[i].nsamples > 0; i++) {
		const struct sample_stack *k = &s->stacks[i];
		unsigned n = 0;
		printf("%10s %10s  ", bytes_text((uint64_t)k->allocated_nbytes).s,
		       bytes_text((uint64_t)k->live_nbytes).s);
		sites_walk(s, k, print_frame, &n);
		putchar('\n');
	}
}

/* ── the process ────────────────────────────────────────────────────────────────────────── */

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

/* wait_for - false: the process is gone. */
static bool wait_for(const struct target *t, double seconds)
{
	bool terminal = isatty(STDERR_FILENO), alive = true;
	uint64_t begin = os_now_ns(), now = begin;
	while (!interrupted && (double)(now - begin) < seconds * 1e9 && (alive = target_alive(t))) {
		double left = seconds - (double)(now - begin) / 1e9;
		if (terminal)
			fprintf(stderr, "\rsampling, %.0f s left \033[K", left);
		os_sleep_ns(left > 0.1 ? 100000000 : (uint64_t)(left * 1e9));
		now = os_now_ns();
	}
	if (terminal)
		fputs("\r\033[K", stderr);
	return alive;
}

static int gone(const struct target *t)
{
	complain("process %d %s: its samples are lost (mallocgc run --profile writes them when a "
		 "program ends)",
		 (int)t->pid, target_fate(t));
	return STATUS_FAILED;
}

static int write_sites(struct sites *s, const struct options *o, uint64_t duration_ns)
{
	char maps[64];
	snprintf(maps, sizeof maps, "/proc/%d/maps", (int)o->pid);
	struct pprof_source source = { .stacks = s->stacks,
				       .nstacks = s->nstacks,
				       .rate_nbytes = s->rate_nbytes,
				       .duration_ns = duration_ns,
				       .maps = maps,
				       .symbolize = lines_of,
				       .arg = &s->symbols };
	return write_profile(&source, o->output);
}

static int take_profile(const struct target *t, const struct options *o)
{
	static struct sites before, now;
	struct sigaction action = { .sa_handler = interrupt };
	if (!sites_read(t, &before))
		return gone(t);
	bool was_on = before.rate_nbytes != 0;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL); /* else the sampler would stay on in the process */
	uint64_t begin = os_now_ns();
	if (!was_on && !sites_set_rate(t, o->rate_nbytes))
		return gone(t);
	bool alive = wait_for(t, o->seconds) && sites_read(t, &now);
	if (!was_on)
		(void)sites_set_rate(t, 0);
	if (!alive)
		return gone(t);
	subtract(&now, &before);
	int status = write_sites(&now, o, os_now_ns() - begin);
	if (status == 0)
		print_rows(&now);
	sites_free(&before);
	sites_free(&now);
	return status != 0 ? status : finish_output();
}

/* ── a file ─────────────────────────────────────────────────────────────────────────────── */

static int name_profile(const struct options *o)
{
	static struct profile_file f;
	char maps[64];
	int status = profile_file_read(&f, o->file);
	if (status == 0) {
		snprintf(maps, sizeof maps, "/proc/self/fd/%d", fileno(f.maps));
		struct pprof_source source = { .stacks = f.sites.stacks,
					       .nstacks = f.sites.nstacks,
					       .rate_nbytes = f.rate_nbytes,
					       .duration_ns = f.duration_ns,
					       .time_ns = f.time_ns,
					       .maps = maps,
					       .symbolize = lines_of,
					       .arg = &f.sites.symbols };
		status = write_profile(&source, o->output != NULL ? o->output : o->file);
	}
	if (status == 0)
		print_rows(&f.sites);
	profile_file_free(&f);
	return status != 0 ? status : finish_output();
}

static int profile_main(int argc, char **argv)
{
	struct options o = { .seconds = 10, .rate_nbytes = KNOB_SAMPLE_RATE };
	static struct target t;
	char name[64];
	int status = options_parse(&cmd_profile, &o, argc, argv);
	if (status >= 0 || (status = find_subject(&o, argc, argv)) != 0)
		return status;
	if (o.file != NULL)
		return name_profile(&o);
	snprintf(name, sizeof name, "mallocgc.%d.pb", (int)o.pid);
	if (o.output == NULL)
		o.output = name;
	status = target_find(&t, o.pid);
	return status != 0 ? status : take_profile(&t, &o);
}

const struct subcommand cmd_profile = {
	.name = "profile",
	.summary = "sample who allocates in a running process; name a profile",
	.help = "Usage: mallocgc profile [OPTIONS] PID\n"
		"       mallocgc profile [--output FILE] FILE\n"
		"Samples the allocations of a running process that uses the library: which stacks "
		"allocate,\n"
		"and what of it lives. The file is for `go tool pprof`; the first rows are "
		"printed. SIGINT\n"
		"(Ctrl-C) ends it early.\n"
		"A FILE that a process wrote itself (MGC_PROFILE, run --profile) has addresses "
		"only: it gets the\n"
		"names of functions and lines of source.",
	.options = options,
	.main = profile_main,
};
