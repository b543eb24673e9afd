/* mark.c - cost of one full collection of a heap that is all alive, per object of 64 bytes.
 * usage: mark [random|list|tree] [OBJECTS=3276800] [COLLECTIONS=7]
 *   random  one shuffled cycle through all objects and three random edges more each
 *   list    one shuffled linked list: nothing to do in parallel, the worst case
 *   tree    a binary tree in allocation order: the best case */
#include "bench_gc.h"

struct node {
	struct node *edge[4];
	uint64_t id, pad[3];
};
BENCH_TYPE(node_type, struct node, 4);
BENCH_TYPE(slot_type, struct node *, 1);

enum { MAX_COLLECTIONS = 1000 };
static struct node *root;
static uint64_t random_state = 88172645463325252u, next_id;

static __attribute__((noinline)) void build_shuffled(size_t nobj, unsigned extra_edges)
{
	struct node **nodes = bench_new_array(&slot_type, nobj);
	for (size_t i = 0; i < nobj; i++) {
		struct node *n = bench_new(&node_type);
		n->id = i;
		bench_write(&nodes[i], n);
	}
	uint32_t *order = malloc(nobj * sizeof *order);
	for (size_t i = 0; i < nobj; i++)
		order[i] = (uint32_t)i;
	for (size_t i = nobj - 1; i > 0; i--) {
		size_t j = bench_random(&random_state) % (i + 1);
		uint32_t t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
	for (size_t i = 0; i < nobj; i++) {
		struct node *n = nodes[order[i]];
		if (i + 1 < nobj)
			bench_write(&n->edge[0], nodes[order[i + 1]]);
		else if (extra_edges)
			bench_write(&n->edge[0], nodes[order[0]]);
		for (unsigned e = 1; e <= extra_edges; e++)
			bench_write(&n->edge[e], nodes[bench_random(&random_state) % nobj]);
	}
	bench_write(&root, nodes[order[0]]);
	free(order);
	memset(nodes, 0, nobj * sizeof *nodes); /* a stale word somewhere must not keep them all */
}

static struct node *build_tree(size_t nobj)
{
	if (nobj == 0)
		return NULL;
	struct node *n = bench_new(&node_type);
	n->id = next_id++;
	size_t left = nobj / 2;
	bench_write(&n->edge[0], build_tree(left));
	bench_write(&n->edge[1], build_tree(nobj - 1 - left));
	return n;
}

static uint64_t sum_chain(size_t nobj)
{
	uint64_t sum = 0;
	const struct node *n = root;
	for (size_t i = 0; i < nobj && n; i++, n = n->edge[0])
		sum = sum * 3 + n->id;
	return sum;
}

static uint64_t sum_tree(const struct node *n)
{
	return n ? n->id + 3 * sum_tree(n->edge[0]) + 5 * sum_tree(n->edge[1]) : 0;
}

int main(int argc, char **argv)
{
	const char *graph = argc > 1 ? argv[1] : "random";
	size_t nobj = bench_arg(argc, argv, 2, 3276800), n = bench_arg(argc, argv, 3, 7);
	double wall[MAX_COLLECTIONS], cpu[MAX_COLLECTIONS];
	if (n < 1 || n > MAX_COLLECTIONS || nobj < 1)
		return 2;
	bench_init();
	bench_root(&root, sizeof root);
	if (!strcmp(graph, "tree"))
		bench_write(&root, build_tree(nobj));
	else if (!strcmp(graph, "list"))
		build_shuffled(nobj, 0);
	else
		build_shuffled(nobj, 3);
	bench_collect();
	for (size_t i = 0; i < n; i++) {
		wall[i] = bench_wall_ns();
		cpu[i] = bench_cpu_ns();
		bench_collect();
		wall[i] = (bench_wall_ns() - wall[i]) / (double)nobj;
		cpu[i] = (bench_cpu_ns() - cpu[i]) / (double)nobj;
	}
	qsort(wall, n, sizeof *wall, bench_by_value);
	qsort(cpu, n, sizeof *cpu, bench_by_value);
	bench_print("cpu_ns_per_object", cpu[n / 2]);
	bench_print("cpu_ns_per_object_min", cpu[0]);
	bench_print("wall_ns_per_object", wall[n / 2]);
	bench_print("wall_ns_per_object_max", wall[n - 1]);
	bench_finish(strcmp(graph, "tree") ? sum_chain(nobj) : sum_tree(root));
	return 0;
}
