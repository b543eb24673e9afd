/* pace_test.c - as many collections as the goal asks for: neither twice as many, because one was asked for
 * while another was about to begin or had just ended, nor with a heap far beyond its goal, because the
 * collecting thread was late.
 * links: mallocgc
 * runs: alone */
#include "lib/measured.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIVE_BYTES = 16 << 20, CHURN_BYTES = 1 << 30, NODE_BYTES = 64 };

struct node {
	struct node *next;
	char rest[NODE_BYTES - sizeof(struct node *)];
};
static struct mgc_type node_type = { .name = "node", .size = sizeof(struct node), .ptr_bytes = 8 };
static struct node *kept;

static void keep(size_t nbytes)
{
	for (size_t n = nbytes / NODE_BYTES; n > 0; n--) {
		struct node *fresh = mgc_new(&node_type);
		fresh->next = kept;
		mgc_write(&kept, fresh);
	}
}

/* churn - allocates that much garbage, without asking for statistics: that would wait for a cycle's end. */
static void churn(size_t nbytes)
{
	for (size_t n = 0; n < nbytes / NODE_BYTES; n++) {
		struct node *fresh = mgc_new(&node_type);
		fresh->rest[0] = 1;
	}
}

static int attempt(void)
{
	int failures = 0;
	if (mgc_thread_attach() != 0 || mgc_root_add(&kept, sizeof kept, 0) != 0)
		return 1;
	keep(LIVE_BYTES);
	mgc_collect();
	struct mgc_stats before = stats();
	churn(CHURN_BYTES);
	double most = peak_resident(), live = (double)before.heap_live;
	double cycles = (double)(stats().cycles - before.cycles), due = (double)CHURN_BYTES / live;
	printf("%.0f cycles, %.0f due; resident at most %.1f MB, live %.1f MB\n", cycles, due,
	       most / 1e6, live / 1e6);
	if (cycles > 1.5 * due) {
		printf("FAILED: more cycles than the goal asks for\n");
		failures++;
	}
	if (most > 3 * live) {
		printf("FAILED: the heap grew far beyond its goal\n");
		failures++;
	}
	return failures != 0;
}

/* Each attempt in a process of its own, which knows its peak. A collecting thread that gets no processor for a
 * tenth of a second lets the heap grow: three times in a row it should not happen. */
int main(void)
{
	int status = 1;
	if (SKIP)
		return 77;
	for (unsigned i = 0; i < 3 && status != 0; i++) {
		fflush(stdout);
		pid_t child = fork();
		if (child == 0)
			exit(attempt());
		if (child < 0 || waitpid(child, &status, 0) != child)
			return 1;
	}
	return status != 0;
}
