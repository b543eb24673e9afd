/* threads.c - threads that share one heap: each builds trees and leaves its best one in a shared
 * array; the main thread waits without being in the collector's way. */
#include <mallocgc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { NTHREADS = 4, DEPTH = 12, NTREES = 60 };

struct tree {
	struct tree *left, *right;
};
/* No mask: every word below ptr_bytes is a pointer. */
static struct mgc_type tree_type = { .name = "tree",
				     .size = sizeof(struct tree),
				     .ptr_bytes = sizeof(struct tree) };

/* What a thread is given; it lives in the heap. `result` does not point into the heap, so there is
 * nothing for the collector to follow: ptr_bytes is 0. */
struct job {
	struct tree **result; /* its slot in `results` */
	long id;
};
static struct mgc_type job_type = { .name = "job", .size = sizeof(struct job) };

static struct tree *results[NTHREADS]; /* a root: see main */

static void *checked(void *p)
{
	if (p == NULL) {
		perror("out of memory");
		exit(1);
	}
	return p;
}

static struct tree *make_tree(long depth)
{
	struct tree *tree = checked(mgc_new(&tree_type));
	if (depth > 0) {
		/* Between these two lines a collection may happen: `tree` is on this thread's stack.
		 * The stores are plain, because no other thread can reach the tree yet. */
		tree->left = make_tree(depth - 1);
		tree->right = make_tree(depth - 1);
	}
	return tree;
}

static long count(const struct tree *tree)
{
	return tree != NULL ? 1 + count(tree->left) + count(tree->right) : 0;
}

static void *work(void *arg)
{
	struct job *job = arg;
	for (long i = 0; i < NTREES; i++) {
		struct tree *tree = make_tree(DEPTH);
		if (i == job->id * 7)
			mgc_write(job->result, tree); /* others can reach it from here on */
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[NTHREADS];
	if (mgc_root_add(results, sizeof results, 0) != 0)
		return 1;
	for (long i = 0; i < NTHREADS; i++) {
		struct job *job = checked(mgc_new(&job_type));
		job->result = &results[i];
		job->id = i;
		/* As pthread_create, but `job` cannot be collected before the thread has it. */
		if (mgc_thread_create(&threads[i], NULL, work, job) != 0)
			return 1;
	}

	/* The main thread sleeps now, perhaps for long; the collector need not ask it to stop. */
	mgc_blocking_enter();
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	mgc_blocking_leave();

	mgc_collect();
	int failed = 0;
	for (int i = 0; i < NTHREADS; i++) {
		long n = count(results[i]);
		printf("thread %d left a tree of %ld nodes\n", i, n);
		failed |= n != (2L << DEPTH) - 1;
	}
	return failed;
}
