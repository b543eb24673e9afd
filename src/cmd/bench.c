/* bench.c - mallocgc bench: the library beside what else this machine has, measured here.
 * WHAT   Small programs lie beside the libraries (mallocgc/bench): some only allocate and free, and run under each malloc
 *        that is found; some are written for a collector, and run on the native API, on our libgc.so.1 and on the system's.
 *        All ways of a program run in turn in each repetition, so that a busy machine hits all alike; the table has medians.
 *        Each prints a checksum, which must be the same on all of them.
 * WHO    main.c.  STATE one table of runs.  LOCKS none.
 * UNITS  seconds of processor time (user and system) and by the clock, bytes of peak resident memory. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/library.h"
#include "cmd/options.h"
#include "os/os.h"

enum { MAX_REPS = 99, MAX_WORDS = 8, MAX_PRINTED = 4096 };
enum group { GROUP_MALLOC, GROUP_GC, NGROUPS };
enum value { VALUE_CPU, VALUE_WALL, VALUE_PEAK, NVALUES };

/* ── what is run ────────────────────────────────────────────────────────────────────────── */

struct bench {
	const char *name;
	enum group group;
	const char *program; /* behind malloc-, native- or gc- */
	const char *arguments, *quick; /* separated by spaces */
};

static const struct bench benches[] = {
	{ "random", GROUP_MALLOC, "random", "1 1000 8000000 8192", "1 1000 400000 8192" },
	{ "map", GROUP_MALLOC, "map", "1 50000 600000", "1 50000 30000" },
	{ "words", GROUP_MALLOC, "words", "1 600000 60000 3", "1 60000 6000 1" },
	{ "strings", GROUP_MALLOC, "grow", "strings 1 1000 6000 4096", "strings 1 1000 300 4096" },
	{ "app", GROUP_MALLOC, "app", "1 250 2000", "1 12 2000" },
	{ "tree", GROUP_MALLOC, "tree", "2 16 8", "2 14 1" },
	{ "server", GROUP_MALLOC, "server", "2 1000 200 20000", "2 1000 10 20000" },
	{ "binary-trees", GROUP_GC, "binary_trees", "18", "13" },
	{ "gcbench", GROUP_GC, "gcbench", "0", "0" },
	{ "mark-tree", GROUP_GC, "mark", "tree 3276800 3", "tree 200000 2" },
};
enum { NBENCHES = sizeof benches / sizeof benches[0] };

/* A way to run a program: which of the binaries, and what the environment says. */
struct way {
	const char *name;
	enum group group;
	const char *prefix; /* of the program's name */
	const char *variable; /* NULL: none */
	const char *file; /* that is looked for among the system's libraries; NULL: ours, or none */
	const char *package; /* Debian's, that has it */
	enum face face; /* of ours */
	bool there;
	char value[PATH_MAX];
};

static struct way ways[] = {
	{ "mallocgc", GROUP_MALLOC, "malloc", "LD_PRELOAD", NULL, NULL, FACE_MALLOC, false, "" },
	{ "C library", GROUP_MALLOC, "malloc", NULL, NULL, NULL, FACE_AUTO, false, "" },
	{ "mimalloc", GROUP_MALLOC, "malloc", "LD_PRELOAD",
	  "libmimalloc.so.3 libmimalloc.so.2 libmimalloc.so", "libmimalloc2.0", FACE_AUTO, false, "" },
	{ "jemalloc", GROUP_MALLOC, "malloc", "LD_PRELOAD", "libjemalloc.so.2", "libjemalloc2",
	  FACE_AUTO, false, "" },
	{ "tcmalloc", GROUP_MALLOC, "malloc", "LD_PRELOAD", "libtcmalloc_minimal.so.4",
	  "libtcmalloc-minimal4", FACE_AUTO, false, "" },
	{ "native", GROUP_GC, "native", NULL, NULL, NULL, FACE_AUTO, false, "" },
	{ "our libgc", GROUP_GC, "gc", "LD_LIBRARY_PATH", NULL, NULL, FACE_LIBGC, false, "" },
	{ "libgc", GROUP_GC, "gc", NULL, LIBGC_SO, "libgc1", FACE_AUTO, false, "" },
};
enum { NWAYS = sizeof ways / sizeof ways[0] };

struct run {
	double value[NVALUES];
};

struct runs {
	struct run run[MAX_REPS];
	unsigned n;
	bool failed;
	char checksum[32];
};

struct options {
	bool quick;
	unsigned reps;
	const char *only, *csv;
};

static struct runs runs[NBENCHES][NWAYS];

/* ── what there is ──────────────────────────────────────────────────────────────────────── */

/* find_file - one of the names, separated by spaces, in the folders where a system has its libraries. */
static bool find_file(const char *names, char out[PATH_MAX])
{
	Dl_info libc;
	char beside[PATH_MAX] = "/lib";
	if (dladdr((const void *)(uintptr_t)&abort, &libc) != 0 && libc.dli_fname[0] == '/')
		snprintf(beside, sizeof beside, "%.*s",
			 (int)(strrchr(libc.dli_fname, '/') - libc.dli_fname), libc.dli_fname);
	const char *const folders[] = { beside, "/usr/local/lib", "/usr/lib64", "/usr/lib" };
	for (const char *name = names; *name != '\0'; name += strspn(name, " ")) {
		int n = (int)strcspn(name, " ");
		for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
			if (snprintf(out, PATH_MAX, "%s/%.*s", folders[i], n, name) < PATH_MAX &&
			    access(out, R_OK) == 0)
				return true;
		name += n;
	}
	return false;
}

/* find_way - whether it can be run; says so when not. 0, or an exit status when our own library is missing. */
static int find_way(struct way *w)
{
	char path[PATH_MAX];
	w->there = true;
	if (w->face != FACE_AUTO) {
		int status = library_find(w->face, w->value);
		if (status == 0 && w->face == FACE_LIBGC)
			*strrchr(w->value, '/') = '\0';
		return status;
	}
	if (w->file != NULL && !find_file(w->file, path)) {
		w->there = false;
		complain("%s is not installed, and left out (Debian: %s)", w->name, w->package);
	} else if (w->file != NULL && w->variable != NULL) {
		snprintf(w->value, sizeof w->value, "%s", path);
	}
	return 0;
}

/* find_programs - the folder they are in. 0 or an exit status. */
static int find_programs(char out[PATH_MAX])
{
	char folder[PATH_MAX], path[PATH_MAX + 32];
	library_folder(folder);
	snprintf(path, sizeof path, "%s/../lib/mallocgc/bench", folder);
	if (realpath(path, out) != NULL || realpath(MGC_LIBDIR "/mallocgc/bench", out) != NULL)
		return 0;
	complain("the benchmark programs are missing: looked in %s and " MGC_LIBDIR
		 "/mallocgc/bench (Debian: mallocgc-bench)",
		 path);
	return STATUS_FAILED;
}

/* ── one run ────────────────────────────────────────────────────────────────────────────── */

static _Noreturn void become(const struct bench *b, const struct way *w, const char *folder,
			     const char *arguments, int out)
{
	char path[PATH_MAX + 64], text[128];
	char *argv[MAX_WORDS + 2] = { path };
	int argc = 1;
	snprintf(path, sizeof path, "%s/%s-%s", folder, w->prefix, b->program);
	snprintf(text, sizeof text, "%s", arguments);
	for (char *word = strtok(text, " "); word != NULL && argc <= MAX_WORDS; word = strtok(NULL, " "))
		argv[argc++] = word;
	unsetenv("LD_PRELOAD");
	unsetenv("LD_LIBRARY_PATH");
	if ((w->variable != NULL && setenv(w->variable, w->value, 1) != 0) ||
	    dup2(out, STDOUT_FILENO) < 0)
		_exit(STATUS_FAILED);
	execv(path, argv);
	complain("%s: %s", path, strerror(errno));
	_exit(STATUS_NOT_FOUND);
}

/* read_checksum - what the program says behind `checksum`, until it closes its output. */
static void read_checksum(int fd, char *out, size_t nbytes)
{
	char text[MAX_PRINTED + 1];
	size_t n = 0;
	ssize_t got;
	while (n < MAX_PRINTED && (got = read(fd, text + n, MAX_PRINTED - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	const char *at = strstr(text, "checksum ");
	snprintf(out, nbytes, "%.*s", at != NULL ? (int)strcspn(at + 9, "\n") : 0,
		 at != NULL ? at + 9 : "");
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* run_once - false: it did not end well, or said another checksum than before. */
static bool run_once(const struct bench *b, const struct way *w, const char *folder,
		     const struct options *o, struct runs *r)
{
	int pipe_of[2], status;
	struct rusage usage;
	char checksum[32];
	if (pipe2(pipe_of, O_CLOEXEC) != 0)
		return false;
	uint64_t begin = os_now_ns();
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		become(b, w, folder, o->quick ? b->quick : b->arguments, pipe_of[1]);
	close(pipe_of[1]);
	read_checksum(pipe_of[0], checksum, sizeof checksum);
	close(pipe_of[0]);
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
		return false;
	struct run *run = &r->run[r->n++];
	run->value[VALUE_WALL] = (double)(os_now_ns() - begin) / 1e9;
	run->value[VALUE_CPU] = seconds(usage.ru_utime) + seconds(usage.ru_stime);
	run->value[VALUE_PEAK] = (double)usage.ru_maxrss * 1024;
	bool same = r->n == 1 || strcmp(r->checksum, checksum) == 0;
	snprintf(r->checksum, sizeof r->checksum, "%s", checksum);
	return status == 0 && same && checksum[0] != '\0';
}

static bool is_wanted(const struct bench *b, const struct options *o)
{
	static const char *const groups[NGROUPS] = { "malloc", "gc" };
	return o->only == NULL || strcmp(o->only, b->name) == 0 ||
	       strcmp(o->only, groups[b->group]) == 0;
}

/* run_all - every wanted program in every way, repetition by repetition; another way begins each time. */
static void run_all(const char *folder, const struct options *o, unsigned ntotal)
{
	unsigned ndone = 0;
	for (unsigned i = 0; i < NBENCHES; i++)
		for (unsigned turn = 0; turn < o->reps * NWAYS && is_wanted(&benches[i], o); turn++) {
			unsigned k = (turn + turn / NWAYS) % NWAYS;
			if (ways[k].group != benches[i].group || !ways[k].there)
				continue;
			if (isatty(STDERR_FILENO))
				fprintf(stderr, "\r[%u/%u] %s, %s\033[K", ++ndone, ntotal,
					benches[i].name, ways[k].name);
			struct runs *r = &runs[i][k];
			if (!r->failed && !run_once(&benches[i], &ways[k], folder, o, r))
				r->failed = true;
		}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

/* ── what came out ──────────────────────────────────────────────────────────────────────── */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(const struct runs *r, enum value value)
{
	double v[MAX_REPS];
	for (unsigned i = 0; i < r->n; i++)
		v[i] = r->run[i].value[value];
	qsort(v, r->n, sizeof v[0], by_size);
	return r->n == 0 ? 0 : (v[(r->n - 1) / 2] + v[r->n / 2]) / 2;
}

static bool is_good(const struct runs *r)
{
	return r->n > 0 && !r->failed;
}

/* print_means - the geometric mean, over the programs that ran on both, of each way to the first one of its group. */
static void print_means(enum group group, unsigned first, enum value value)
{
	printf("%-14s", "mean ratio");
	for (unsigned k = 0; k < NWAYS; k++) {
		double logs = 0;
		unsigned n = 0;
		if (ways[k].group != group || !ways[k].there)
			continue;
		for (unsigned i = 0; i < NBENCHES; i++)
			if (is_good(&runs[i][k]) && is_good(&runs[i][first]) &&
			    median(&runs[i][first], value) > 0 && median(&runs[i][k], value) > 0) {
				logs += log(median(&runs[i][k], value) / median(&runs[i][first], value));
				n++;
			}
		if (n > 0)
			printf(" %11.2f", exp(logs / n));
		else
			printf(" %11s", "-");
	}
	putchar('\n');
}

static void print_table(enum group group, enum value value)
{
	static const char *const titles[NVALUES] = { "processor time, s", "wall time, s",
						     "peak memory, MiB" };
	unsigned first = NWAYS;
	printf("\n%s\n%-14s", titles[value], "");
	for (unsigned k = NWAYS; k-- > 0;)
		first = ways[k].group == group && ways[k].there ? k : first;
	for (unsigned k = 0; k < NWAYS; k++)
		if (ways[k].group == group && ways[k].there)
			printf(" %11s", ways[k].name);
	putchar('\n');
	for (unsigned i = 0; i < NBENCHES; i++) {
		if (benches[i].group != group || (runs[i][first].n == 0 && !runs[i][first].failed))
			continue;
		printf("%-14s", benches[i].name);
		for (unsigned k = 0; k < NWAYS; k++) {
			double v = median(&runs[i][k], value);
			if (ways[k].group != group || !ways[k].there)
				continue;
			if (runs[i][k].failed)
				printf(" %11s", "failed");
			else
				printf(value == VALUE_PEAK ? " %11.1f" : " %11.3f",
				       value == VALUE_PEAK ? v / (1 << 20) : v);
		}
		putchar('\n');
	}
	print_means(group, first, value);
}

static bool group_ran(enum group group)
{
	for (unsigned i = 0; i < NBENCHES; i++)
		for (unsigned k = 0; k < NWAYS; k++)
			if (benches[i].group == group && (runs[i][k].n > 0 || runs[i][k].failed))
				return true;
	return false;
}

/* check - runs that failed, and programs whose ways do not agree; how many. */
static unsigned check(void)
{
	unsigned faults = 0;
	for (unsigned i = 0; i < NBENCHES; i++) {
		const struct runs *first = NULL;
		for (unsigned k = 0; k < NWAYS; k++) {
			const struct runs *r = &runs[i][k];
			if (r->failed) {
				complain("%s failed on %s", benches[i].name, ways[k].name);
				faults++;
			} else if (r->n > 0 && first != NULL &&
				   strcmp(first->checksum, r->checksum) != 0) {
				complain("%s came to another result on %s", benches[i].name,
					 ways[k].name);
				faults++;
			}
			first = first == NULL && is_good(r) ? r : first;
		}
	}
	return faults;
}

static int write_csv(const char *path)
{
	FILE *f = fopen(path, "w");
	if (f != NULL) {
		fputs("program,on,run,cpu_s,wall_s,peak_bytes,checksum\n", f);
		for (unsigned i = 0; i < NBENCHES; i++)
			for (unsigned k = 0; k < NWAYS; k++)
				for (unsigned rep = 0; rep < runs[i][k].n; rep++) {
					const double *v = runs[i][k].run[rep].value;
					fprintf(f, "%s,%s,%u,%.6f,%.6f,%.0f,%s\n", benches[i].name,
						ways[k].name, rep, v[VALUE_CPU], v[VALUE_WALL],
						v[VALUE_PEAK], runs[i][k].checksum);
				}
		if (fclose(f) == 0)
			return 0;
	}
	complain("%s: %s", path, strerror(errno));
	return STATUS_FAILED;
}

static void print_head(const struct options *o)
{
	struct utsname u;
	char line[256] = "", processor[128] = "";
	FILE *f = fopen("/proc/cpuinfo", "r");
	while (f != NULL && processor[0] == '\0' && fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, "model name", 10) == 0 && strchr(line, ':') != NULL)
			sscanf(strchr(line, ':') + 1, " %127[^\n]", processor);
	if (f != NULL)
		fclose(f);
	if (uname(&u) != 0)
		memset(&u, 0, sizeof u);
	printf("mallocgc " MGC_VERSION_STRING
	       ", %s, %u processors, %s %s; %u run%s each, in turn; medians%s\n",
	       processor[0] != '\0' ? processor : u.machine, os_nprocs(), u.sysname, u.release,
	       o->reps, o->reps == 1 ? "" : "s", o->quick ? "; small sizes" : "");
	fflush(stdout);
}

/* ── command line ───────────────────────────────────────────────────────────────────────── */

static const struct option_row options[] = {
	{ "quick", NULL, &option_flag, offsetof(struct options, quick),
	  "small sizes, one run: does it all work?" },
	{ "reps", "N", &option_number, offsetof(struct options, reps), "runs of each (3)" },
	{ "only", "NAME", &option_text, offsetof(struct options, only), "malloc, gc, or one program" },
	{ "csv", "FILE", &option_text, offsetof(struct options, csv), "each run as a row" },
	{ 0 },
};

/* prepare - finds programs and ways; how many runs there will be, or 0 and an exit status. */
static unsigned prepare(const struct options *o, char folder[PATH_MAX], int *status)
{
	unsigned n = 0;
	bool any = false;
	for (unsigned i = 0; i < NBENCHES; i++)
		any |= is_wanted(&benches[i], o);
	if (!any)
		*status = usage_error("bench", "no program is named %s", o->only);
	else
		*status = find_programs(folder);
	for (unsigned k = 0; k < NWAYS && *status == 0; k++) {
		unsigned wanted = 0;
		for (unsigned i = 0; i < NBENCHES; i++)
			wanted += benches[i].group == ways[k].group && is_wanted(&benches[i], o);
		if (wanted > 0)
			*status = find_way(&ways[k]);
		n += ways[k].there ? wanted * o->reps : 0;
	}
	return n;
}

static int bench_main(int argc, char **argv)
{
	static char folder[PATH_MAX];
	struct options o = { 0 };
	int status = options_parse(&cmd_bench, &o, argc, argv);
	if (status >= 0)
		return status;
	if (argc > optind)
		return usage_error("bench", "unexpected `%s`", argv[optind]);
	if (o.reps > MAX_REPS)
		return usage_error("bench", "--reps %u: not a number from 1 to %d", o.reps, MAX_REPS);
	o.reps = o.reps != 0 ? o.reps : o.quick ? 1 : 3;
	unsigned n = prepare(&o, folder, &status);
	if (status != 0)
		return status;
	print_head(&o);
	run_all(folder, &o, n);
	for (unsigned group = 0; group < NGROUPS; group++)
		for (unsigned value = 0; value < NVALUES && group_ran(group); value++)
			print_table(group, value);
	if (check() > 0)
		status = STATUS_FAILED;
	if (o.csv != NULL && write_csv(o.csv) != 0)
		status = STATUS_FAILED;
	return status != 0 ? status : finish_output();
}

const struct subcommand cmd_bench = {
	.name = "bench",
	.summary = "measure it on this machine, beside what else is installed",
	.help = "Usage: mallocgc bench [OPTIONS]\n"
		"Measures the library on this machine, beside what else is installed: small "
		"programs under our\n"
		"malloc, the C library's, mimalloc, jemalloc, tcmalloc; programs for a collector "
		"on the native\n"
		"API, on our libgc.so.1 and on the system's. Some minutes.",
	.options = options,
	.main = bench_main,
};
