/* profile.c - mallocgc profile: which stacks of a running process allocate, without a restart.
 * WHAT   Switches the sampler on in the process (one word of its memory), waits, switches it off, and reads its tables:
 *        a profile in pprof's format, with names, and the first rows of it as text. What was sampled before is
 *        taken off. A sampler that the process had on keeps its rate.
 * WHO    main.c.  STATE what a signal asks.  LOCKS none.  UNITS seconds and bytes on the command line. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/knob.h"
#include "cmd/cmd.h"
#include "cmd/observe.h"
#include "cmd/sites.h"
#include "os/os.h"
#include "sample/pprof.h"

enum { SHOWN_ROWS = 10, SHOWN_CALLERS = 3 };

static volatile sig_atomic_t interrupted;

static int help(void)
{
	puts("Usage: mallocgc profile [OPTIONS] PID\n"
	     "Samples the allocations of a running process that uses the library: which stacks "
	     "allocate,\n"
	     "and what of it lives. The file is for `go tool pprof`; the first rows are printed. "
	     "SIGINT\n"
	     "(Ctrl-C) ends it early.\n\n"
	     "  --output FILE  where to (mallocgc.PID.pb)\n"
	     "  --rate BYTES   one sample in so many bytes, on average (512KiB)\n"
	     "  --seconds N    for so long (10)");
	return finish_output();
}

struct options {
	const char *output;
	double seconds;
	uint64_t rate_nbytes;
	pid_t pid;
};

static bool parse_rate(const char *text, uint64_t *out)
{
	struct knobs k;
	char why[256];
	if (!knob_set(&k, "MGC_DEBUG.samplerate", text, why, sizeof why) || k.samplerate == 0)
		return false;
	*out = (uint64_t)k.samplerate;
	return true;
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option options[] = { { "output", required_argument, NULL, 'o' },
						 { "rate", required_argument, NULL, 'r' },
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
		else if (c != 's' && c != 'r')
			return bad_option("profile", c, argv);
		else if (c == 's' && !parse_seconds(optarg, &o->seconds))
			return usage_error("profile", "%s is not a good number of seconds", optarg);
		else if (c == 'r' && !parse_rate(optarg, &o->rate_nbytes))
			return usage_error("profile", "%s is not a good rate: a size as 512KiB", optarg);
	}
	o->pid = target_pid("profile", argc, argv);
	return o->pid != 0 ? -1 : STATUS_FAILED;
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

static bool name_of(void *arg, uintptr_t pc, struct pprof_line *out)
{
	static char name[256];
	symbols_name(arg, pc, name, sizeof name);
	*out = (struct pprof_line){ .function = name };
	return true;
}

static int write_profile(struct sites *s, const struct options *o, uint64_t duration_ns)
{
	char maps[64];
	snprintf(maps, sizeof maps, "/proc/%d/maps", (int)o->pid);
	struct pprof_source source = { .stacks = s->stacks,
				       .nstacks = s->nstacks,
				       .rate_nbytes = s->rate_nbytes,
				       .duration_ns = duration_ns,
				       .maps = maps,
				       .symbolize = name_of,
				       .arg = &s->symbols };
	int fd = open(o->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int err = fd < 0 ? errno : pprof_write(fd, &source);
	if (fd >= 0 && close(fd) != 0 && err == 0)
		err = errno;
	if (err == 0)
		return 0;
	complain("%s cannot be written: %s", o->output, strerror(err));
	return STATUS_FAILED;
}

static int by_allocated(const void *a, const void *b)
{
	const struct sample_stack *x = a, *y = b;
	return x->allocated_nbytes < y->allocated_nbytes   ? 1
	       : x->allocated_nbytes > y->allocated_nbytes ? -1
							   : 0;
}

static void print_rows(struct sites *s)
{
	char name[256];
	qsort(s->stacks, s->nstacks, sizeof s->stacks[0], by_allocated);
	printf("%10s %10s  %s\n", "allocated", "lives", "where");
	for (size_t i = 0; i < s->nstacks && i < SHOWN_ROWS && s->stacks[i].nsamples > 0; i++) {
		const struct sample_stack *k = &s->stacks[i];
		uint32_t first = sites_inner(s, k);
		printf("%10s %10s  ", bytes_text((uint64_t)k->allocated_nbytes).s,
		       bytes_text((uint64_t)k->live_nbytes).s);
		for (uint32_t f = first; f < k->nframes && f <= first + SHOWN_CALLERS; f++) {
			symbols_name(&s->symbols, k->pc[f], name, sizeof name);
			printf("%s%s", f > first ? " < " : "", name);
		}
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

static int gone(const struct options *o)
{
	complain("process %d has ended, and its samples with it (mallocgc run --profile writes "
		 "them when a "
		 "program ends)",
		 (int)o->pid);
	return STATUS_FAILED;
}

static int take_profile(const struct target *t, const struct options *o)
{
	static struct sites before, now;
	struct sigaction action = { .sa_handler = interrupt };
	if (!sites_read(t, &before))
		return gone(o);
	bool was_on = before.rate_nbytes != 0;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	uint64_t begin = os_now_ns();
	if (!was_on && !sites_set_rate(t, o->rate_nbytes))
		return gone(o);
	bool alive = wait_for(t, o->seconds) && sites_read(t, &now);
	if (!was_on)
		(void)sites_set_rate(t, 0);
	if (!alive)
		return gone(o);
	subtract(&now, &before);
	int status = write_profile(&now, o, os_now_ns() - begin);
	if (status == 0)
		print_rows(&now);
	sites_free(&before);
	sites_free(&now);
	return status != 0 ? status : finish_output();
}

static int profile_main(int argc, char **argv)
{
	struct options o = { .seconds = 10, .rate_nbytes = KNOB_SAMPLE_RATE };
	static struct target t;
	char name[64];
	int status = parse(&o, argc, argv);
	if (status >= 0)
		return status;
	snprintf(name, sizeof name, "mallocgc.%d.pb", (int)o.pid);
	if (o.output == NULL)
		o.output = name;
	status = target_find(&t, o.pid);
	return status != 0 ? status : take_profile(&t, &o);
}

const struct subcommand cmd_profile = { "profile", "sample who allocates in a running process",
					profile_main };
