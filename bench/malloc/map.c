/* map.c THREADS KEYS OPS SEED - an ordered map under inserts and deletes in random order.
 *
 * WHAT   A treap whose nodes hold a value of random size: nodes of one size that live for random
 *        times, found by chasing pointers, so the placement of the nodes counts as well. */
#include "bench_malloc.h"

struct node {
	struct node *left, *right;
	uint64_t key, heat;
	size_t n;
	char *value;
};

static uint64_t keys, ops;

static uint64_t heat_of(uint64_t key)
{
	uint64_t x = key * 0x9e3779b97f4a7c15;
	return (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
}

static void split(struct node *n, uint64_t key, struct node **left, struct node **right)
{
	if (!n) {
		*left = *right = NULL;
	} else if (n->key < key) {
		split(n->right, key, &n->right, right);
		*left = n;
	} else {
		split(n->left, key, left, &n->left);
		*right = n;
	}
}

static struct node *merge(struct node *left, struct node *right)
{
	if (!left || !right)
		return left ? left : right;
	if (left->heat > right->heat) {
		left->right = merge(left->right, right);
		return left;
	}
	right->left = merge(left, right->left);
	return right;
}

static uint64_t drop(struct node *n)
{
	uint64_t sum = bm_check(n->value, n->n, n->key) + n->n;
	free(n->value);
	free(n);
	return sum;
}

/* flip - insert the key, or delete it when it is there; what the deleted one held. */
static uint64_t flip(struct node **root, uint64_t key, uint64_t *rng)
{
	struct node *n, **at = root;
	uint64_t heat = heat_of(key);
	while ((n = *at) && n->key != key && n->heat >= heat)
		at = key < n->key ? &n->left : &n->right;
	if (n && n->key == key) {
		*at = merge(n->left, n->right);
		return drop(n);
	}
	struct node *fresh = bm_need(malloc(sizeof *fresh));
	fresh->key = key;
	fresh->heat = heat;
	fresh->n = 8 + bench_random(rng) % 120;
	bm_stamp(fresh->value = bm_need(malloc(fresh->n)), fresh->n, key);
	split(n, key, &fresh->left, &fresh->right);
	*at = fresh;
	return 0;
}

static uint64_t drop_all(struct node *n)
{
	if (!n)
		return 0;
	uint64_t sum = drop_all(n->left) + drop_all(n->right);
	return sum + drop(n);
}

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	struct node *root = NULL;
	for (uint64_t i = 0; i < ops; i++)
		t->sum += flip(&root, bench_random(&t->rng) % keys, &t->rng);
	t->sum += drop_all(root);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n = (unsigned)bench_arg(argc, argv, 1, 1);
	keys = bench_arg(argc, argv, 2, 100000);
	ops = bench_arg(argc, argv, 3, 1000000);
	bench_print_int("checksum", bm_run(n, bench_arg(argc, argv, 4, 1), work));
}
