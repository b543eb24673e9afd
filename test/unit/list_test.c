/* list_test.c - base/list.h against arrays of numbers. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

#define NNODES 40
#define NLISTS 3
#define NSTEPS 20000

struct node {
	int number;
	struct list link;
};

/* The model: what each list should hold, in order. */
struct model {
	int at[NNODES];
	int n;
};

static struct node nodes[NNODES];
static struct list heads[NLISTS];
static struct model models[NLISTS];

static void model_insert(struct model *m, int place, int number)
{
	memmove(&m->at[place + 1], &m->at[place], (size_t)(m->n - place) * sizeof m->at[0]);
	m->at[place] = number;
	m->n++;
}

static bool model_remove(struct model *m, int number)
{
	for (int i = 0; i < m->n; i++) {
		if (m->at[i] == number) {
			m->n--;
			memmove(&m->at[i], &m->at[i + 1], (size_t)(m->n - i) * sizeof m->at[0]);
			return true;
		}
	}
	return false;
}

static void compare(const struct list *head, const struct model *m)
{
	int i = 0;
	cr_assert_eq(list_empty(head), m->n == 0);
	LIST_EACH(it, head) {
		cr_assert_lt(i, m->n);
		cr_assert_eq(LIST_ENTRY(it, struct node, link)->number, m->at[i]);
		cr_assert_eq(it->next->prev, it);
		cr_assert_eq(it->prev->next, it);
		i++;
	}
	cr_assert_eq(i, m->n);
}

/* step - one random operation on the lists and on the model. */
static void step(void)
{
	int number = rand() % NNODES, which = rand() % NLISTS, other = rand() % NLISTS;
	struct node *node = &nodes[number];
	struct model *m = &models[which];
	bool listed = !list_empty(&node->link);
	if (rand() % 50 == 0 && which != other) {
		list_splice(&heads[which], &heads[other]);
		for (int i = 0; i < models[other].n; i++)
			model_insert(m, m->n, models[other].at[i]);
		models[other].n = 0;
	} else if (listed) {
		bool found = false;
		list_remove(&node->link);
		for (int i = 0; i < NLISTS; i++)
			found |= model_remove(&models[i], number);
		cr_assert(found);
		cr_assert(list_empty(&node->link), "a node on no list points to itself");
	} else if (rand() % 2 == 0) {
		list_push_front(&heads[which], &node->link);
		model_insert(m, 0, number);
	} else {
		list_push_back(&heads[which], &node->link);
		model_insert(m, m->n, number);
	}
}

Test(list, against_arrays, .timeout = 20)
{
	srand(4711);
	for (int i = 0; i < NLISTS; i++)
		list_init(&heads[i]);
	for (int i = 0; i < NNODES; i++) {
		nodes[i].number = i;
		list_init(&nodes[i].link);
	}
	for (int i = 0; i < NSTEPS; i++) {
		step();
		for (int l = 0; l < NLISTS; l++)
			compare(&heads[l], &models[l]);
	}
}

Test(list, removal_twice_is_harmless, .timeout = 10)
{
	struct list head, node;
	list_init(&head);
	list_init(&node);
	list_push_back(&head, &node);
	list_remove(&node);
	list_remove(&node);
	cr_assert(list_empty(&head));
	cr_assert(list_empty(&node));
}

Test(list, splice_of_nothing, .timeout = 10)
{
	struct list a, b, node;
	list_init(&a);
	list_init(&b);
	list_init(&node);
	list_splice(&a, &b);
	cr_assert(list_empty(&a) && list_empty(&b));
	list_push_front(&b, &node);
	list_splice(&b, &a);
	cr_assert_eq(b.next, &node);
	cr_assert_eq(b.prev, &node);
}
