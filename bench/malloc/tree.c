/* tree.c THREADS DEPTH ROUNDS - binary trees, built and freed whole, beside one that stays. */
#include "bench_malloc.h"

struct node {
	struct node *left, *right;
	uint64_t key;
};

static uint64_t depth, rounds;

static struct node *build(uint64_t d, uint64_t key)
{
	struct node *n = bm_need(malloc(sizeof *n));
	n->key = key;
	n->left = d ? build(d - 1, 2 * key) : NULL;
	n->right = d ? build(d - 1, 2 * key + 1) : NULL;
	return n;
}

static uint64_t count(const struct node *n, uint64_t key)
{
	if (n->key != key)
		bm_die("a node lost its key");
	return n->left ? 1 + count(n->left, 2 * key) + count(n->right, 2 * key + 1) : 1;
}

static void drop(struct node *n)
{
	if (n->left) {
		drop(n->left);
		drop(n->right);
	}
	free(n);
}

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	struct node *stays = build(depth, 1);
	for (uint64_t r = 0; r < rounds; r++) {
		for (uint64_t d = 4; d <= depth; d += 2) {
			for (uint64_t k = 0; k < (uint64_t)1 << (depth - d); k++) {
				struct node *n = build(d, k + 1);
				t->sum += count(n, k + 1);
				drop(n);
			}
		}
	}
	t->sum += count(stays, 1);
	drop(stays);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n = (unsigned)bench_arg(argc, argv, 1, 1);
	depth = bench_arg(argc, argv, 2, 16);
	rounds = bench_arg(argc, argv, 3, 3);
	bench_print_int("checksum", bm_run(n, 1, work));
}
