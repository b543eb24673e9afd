/* binary_trees.c - build and drop complete binary trees of 16-byte nodes (Computer Language
 * Benchmarks Game), one thread. usage: binary_trees [DEPTH=18] */
#include "bench_gc.h"

struct node {
	struct node *left, *right;
};
BENCH_TYPE(node_type, struct node, 2);

enum { MIN_DEPTH = 4 };

static struct node *tree_make(unsigned depth)
{
	struct node *left = NULL, *right = NULL;
	if (depth > 0) {
		left = tree_make(depth - 1);
		right = tree_make(depth - 1);
	}
	struct node *n = bench_new(&node_type);
	n->left = left;
	n->right = right;
	return n;
}

static uint64_t tree_count(const struct node *n)
{
	return n->left ? 1 + tree_count(n->left) + tree_count(n->right) : 1;
}

int main(int argc, char **argv)
{
	unsigned max_depth = (unsigned)bench_arg(argc, argv, 1, 18);
	if (max_depth < MIN_DEPTH + 2)
		max_depth = MIN_DEPTH + 2;
	bench_init();
	double wall = bench_wall_ns(), cpu = bench_cpu_ns();
	uint64_t checksum = tree_count(tree_make(max_depth + 1)), nodes = checksum;
	struct node *long_lived = tree_make(max_depth);
	for (unsigned depth = MIN_DEPTH; depth <= max_depth; depth += 2) {
		unsigned iterations = 1u << (max_depth - depth + MIN_DEPTH);
		uint64_t check = 0;
		for (unsigned i = 0; i < iterations; i++)
			check += tree_count(tree_make(depth));
		nodes += check;
		checksum = checksum * 31 + check;
	}
	uint64_t kept = tree_count(long_lived);
	nodes += kept;
	wall = bench_wall_ns() - wall;
	cpu = bench_cpu_ns() - cpu;
	bench_print("inner_wall_s", wall / 1e9);
	bench_print("ns_per_node", wall / (double)nodes);
	bench_print("cpu_ns_per_node", cpu / (double)nodes);
	bench_finish(checksum * 31 + kept);
	return 0;
}
