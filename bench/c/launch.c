/* launch.c - run one program and say what it cost: wall, CPU and peak RSS as lines in a file.
 *
 * WHAT   launch [-w MIB] [-c CPUS] [-t SECONDS] [-e NAME=VALUE]... -o FILE -- PROGRAM ARGS...
 *          -w  first touch and free that much memory in a child: on a virtual machine memory that
 *              went back to the host is many times slower to touch than memory freed just now
 *          -c  pin the program to CPUs, as 0 or 0,1   -t  kill it after that time
 *          -e  for the program's environment only: LD_PRELOAD must not reach this one
 * WHO    bench/common.py. A small C program does this because the kernel lets a child's peak RSS
 *        start from its parent's at exec: under Python everything would read at least 15 MB.
 * STATE  exits with the program's status, 128 + signal if one killed it, 124 on a timeout. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t timed_out;
static volatile pid_t child;

static void die(const char *what)
{
	fprintf(stderr, "launch: %s: %s\n", what, strerror(errno));
	exit(126);
}

static void on_alarm(int sig)
{
	(void)sig;
	timed_out = 1;
	if (child > 0)
		kill(child, SIGKILL);
}

static void warm(size_t nbytes)
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		char *p = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			_exit(1);
		madvise(p, nbytes, MADV_HUGEPAGE);
		for (size_t i = 0; i < nbytes; i += 4096)
			((volatile char *)p)[i] = 1;
		_exit(0);
	}
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	if (status)
		fprintf(stderr, "launch: could not warm %zu bytes\n", nbytes);
}

static void pin(const char *cpus)
{
	cpu_set_t set;
	char *end;
	if (!cpus)
		return;
	CPU_ZERO(&set);
	for (; *cpus; cpus = *end == ',' ? end + 1 : end) {
		CPU_SET(strtoul(cpus, &end, 10), &set);
		if (end == cpus)
			break;
	}
	if (sched_setaffinity(0, sizeof set, &set))
		die("sched_setaffinity");
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	size_t warm_mib = 0;
	int timeout = 0, opt;
	const char *out = NULL, *cpus = NULL;
	char *extra[argc]; /* for the program's environment */
	int nextra = 0;
	while ((opt = getopt(argc, argv, "+w:c:t:e:o:")) != -1) {
		if (opt == 'w')
			warm_mib = strtoul(optarg, NULL, 10);
		else if (opt == 'c')
			cpus = optarg;
		else if (opt == 't')
			timeout = atoi(optarg);
		else if (opt == 'e')
			extra[nextra++] = optarg;
		else if (opt == 'o')
			out = optarg;
		else
			return 126;
	}
	if (!out || optind >= argc) {
		fprintf(stderr, "usage: launch [-w MIB] [-c CPUS] [-t SECONDS] [-e NAME=VALUE]... "
				"-o FILE -- "
				"PROGRAM ARGS\n");
		return 126;
	}
	FILE *f = fopen(out, "w");
	if (!f)
		die(out);
	if (warm_mib)
		warm(warm_mib << 20);
	struct sigaction act = { .sa_handler = on_alarm };
	sigaction(SIGALRM, &act, NULL);
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		pin(cpus);
		while (nextra > 0)
			putenv(extra[--nextra]);
		execvp(argv[optind], argv + optind);
		die(argv[optind]);
	}
	alarm((unsigned)timeout);
	struct rusage use;
	int status;
	while (wait4(child, &status, 0, &use) < 0)
		if (errno != EINTR)
			die("wait4");
	clock_gettime(CLOCK_MONOTONIC, &end);
	alarm(0);
	double wall = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	fprintf(f, "wall_s %.6f\nuser_s %.6f\nsys_s %.6f\ncpu_s %.6f\nrss_mib %.3f\n", wall,
		seconds(use.ru_utime), seconds(use.ru_stime),
		seconds(use.ru_utime) + seconds(use.ru_stime), (double)use.ru_maxrss / 1024);
	fprintf(f, "minor_faults %ld\ninvoluntary_switches %ld\n", use.ru_minflt, use.ru_nivcsw);
	if (fclose(f))
		die(out);
	if (timed_out)
		return 124;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
