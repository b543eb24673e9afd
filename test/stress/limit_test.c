/* limit_test.c - a memory limit, most of which is live, under allocation as fast as it goes: by default the
 * program keeps its half of the processor time and garbage passes the limit within bounds; with limitover=0 the
 * limit holds.   links: mallocgc */
#include "lib/measured.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_BYTES = 96 << 20, NODE_BYTES = 64, RUN_CPU_S = 4 };

struct node {
	struct node *left, *right;
	char rest[NODE_BYTES - 2 * sizeof(struct node *)];
};
static struct mgc_type node_type = { .name = "node", .size = sizeof(struct node), .ptr_bytes = 16 };
static struct node *kept;

static double cpu_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct node *tree(size_t nnodes)
{
	if (nnodes == 0)
		return NULL;
	struct node *n = mgc_new(&node_type);
	mgc_write(&n->left, tree(nnodes / 2));
	mgc_write(&n->right, tree(nnodes - 1 - nnodes / 2));
	return n;
}

/* churn - garbage for that much processor time; false: it was refused memory. */
static int churn(double seconds)
{
	for (double end = cpu_s() + seconds; cpu_s() < end;)
		for (int i = 0; i < 10000; i++)
			if (mgc_new(&node_type) == NULL)
				return 0;
	return 1;
}

/* run - in a process of its own: may_pass says whether garbage may. */
static int run(const char *knobs, int may_pass)
{
	int failures = 0;
	setenv("MGC_DEBUG", knobs, 1);
	mgc_set_memory_limit(LIMIT_BYTES);
	double before = peak_resident();
	if (mgc_thread_attach() != 0 || mgc_root_add(&kept, sizeof kept, 0) != 0)
		return 1;
	mgc_write(&kept, tree((size_t)LIMIT_BYTES / 10 * 6 / NODE_BYTES));
	double cpu = cpu_s(), collecting = (double)stats().gc_cpu_ns / 1e9;
	int ok = churn(RUN_CPU_S);
	cpu = cpu_s() - cpu;
	double share = 1 - ((double)stats().gc_cpu_ns / 1e9 - collecting) / cpu;
	double peak = (peak_resident() - before) / (double)LIMIT_BYTES;
	printf("%s: peak %.3f of the limit, the program had %.1f %% of %.1f s; %llu limited "
	       "cycles, over by "
	       "%.1f MB at most\n",
	       knobs, peak, 100 * share, cpu, (unsigned long long)stats().limited_cycles,
	       (double)stats().over_limit_max / 1e6);
	failures += !ok;
	failures += peak > (may_pass ? 2.1 : 1.03);
	failures += may_pass && share < 0.4;
	failures += may_pass != (stats().over_limit_max > LIMIT_BYTES / 20);
	return failures;
}

static int in_child(const char *knobs, int may_pass)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		exit(run(knobs, may_pass));
	return waitpid(pid, &status, 0) != pid || status != 0;
}

int main(void)
{
	if (SKIP)
		return 77;
	int failures = in_child("limitover=100", 1) + in_child("limitover=0", 0);
	if (failures != 0)
		printf("FAILED\n");
	return failures != 0;
}
