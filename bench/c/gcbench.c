/* gcbench.c - the classic GCBench (Ellis, Kovac, Boehm): a long-lived tree and a long-lived
 * array of doubles stay while trees of growing depth are built top down and bottom up, one
 * thread. usage: gcbench [SCALE=0]; each step of SCALE doubles the data. */
#include "bench_gc.h"

struct node {
	struct node *left, *right;
	int64_t i, j;
};
BENCH_TYPE(node_type, struct node, 2);
BENCH_TYPE(double_type, double, 0);

enum { STRETCH_DEPTH = 18, LONG_LIVED_DEPTH = 16, MIN_DEPTH = 4, MAX_DEPTH = 16 };
enum { ARRAY_LENGTH = 500000 };

static uint64_t tree_size(unsigned depth)
{
	return ((uint64_t)1 << (depth + 1)) - 1;
}

/* populate - top down: the parent is reachable when its children are stored into it. */
static void populate(unsigned depth, struct node *parent)
{
	if (depth == 0)
		return;
	bench_write(&parent->left, bench_new(&node_type));
	bench_write(&parent->right, bench_new(&node_type));
	populate(depth - 1, parent->left);
	populate(depth - 1, parent->right);
}

/* make_tree - bottom up: a node is new when its children are stored into it. */
static struct node *make_tree(unsigned depth)
{
	struct node *left = NULL, *right = NULL;
	if (depth > 0) {
		left = make_tree(depth - 1);
		right = make_tree(depth - 1);
	}
	struct node *n = bench_new(&node_type);
	n->left = left;
	n->right = right;
	return n;
}

static uint64_t count(const struct node *n)
{
	return n ? 1 + count(n->left) + count(n->right) : 0;
}

static uint64_t time_construction(unsigned depth, unsigned scale)
{
	uint64_t iterations = 2 * tree_size(STRETCH_DEPTH + scale) / tree_size(depth), sum = 0;
	for (uint64_t i = 0; i < iterations; i++) {
		struct node *n = bench_new(&node_type);
		populate(depth, n);
		sum += n->left != NULL;
	}
	for (uint64_t i = 0; i < iterations; i++)
		sum += make_tree(depth)->right != NULL;
	return sum;
}

int main(int argc, char **argv)
{
	unsigned scale = (unsigned)bench_arg(argc, argv, 1, 0);
	size_t length = (size_t)ARRAY_LENGTH << scale;
	bench_init();
	double wall = bench_wall_ns(), cpu = bench_cpu_ns();
	uint64_t checksum = make_tree(STRETCH_DEPTH + scale)->left != NULL;
	struct node *long_lived = bench_new(&node_type);
	populate(LONG_LIVED_DEPTH + scale, long_lived);
	double *array = bench_new_array(&double_type, length);
	for (size_t i = 0; i < length; i++)
		array[i] = i < length / 2 ? 1.0 / (double)(i + 1) : 0.0;
	for (unsigned d = MIN_DEPTH; d <= MAX_DEPTH + scale; d += 2)
		checksum = checksum * 31 + time_construction(d, scale);
	checksum = checksum * 31 + count(long_lived);
	checksum = checksum * 31 + (array[1000] == 1.0 / 1001.0);
	wall = bench_wall_ns() - wall;
	cpu = bench_cpu_ns() - cpu;
	bench_print("inner_wall_s", wall / 1e9);
	bench_print("inner_cpu_s", cpu / 1e9);
	bench_finish(checksum);
	return 0;
}
