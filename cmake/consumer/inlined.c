/* A user's program with the short paths inlined, compiled as C and as C++. */
#include <mallocgc-inline.h>

struct node {
	struct node *next;
	long number;
};
static struct mgc_type node_type = { "node", sizeof(struct node), 8 };
static struct node *list; /* a root */

static struct node *make_node(struct node *next, long number)
{
	struct node *n = (struct node *)mgc_new(&node_type);
	n->next = next;
	n->number = number;
	return n;
}

int main(void)
{
	long sum = 0;
	if (mgc_root_add(&list, sizeof list, 0) != 0)
		return 1;
	for (long i = 0; i < 1000000; i++) {
		mgc_write(&list, make_node(i % 1000 == 0 ? 0 : list, i));
		mgc_safepoint();
	}
	mgc_collect();
	if (!mgc_cas(&list, list, list->next))
		return 2;
	struct node *all = (struct node *)mgc_exchange(&list, 0);
	for (struct node *n = all; n != 0; n = n->next)
		sum += n->number;
	return sum == 998499501 ? 0 : 3; /* 999000 to 999998 */
}
