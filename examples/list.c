/* list.c - a typed list: the smallest use of mallocgc.
 * Builds a list, forgets half of it, collects, and shows that the rest is whole.
 * Build:  cc list.c $(pkg-config --cflags --libs mallocgc) */
#include <mallocgc.h>
#include <stdio.h>
#include <stdlib.h>

struct item {
	struct item *next; /* word 0 */
	long value;        /* word 1: never a pointer, so the collector does not look at it */
};

/* One bit for each word that may hold a pointer, the lowest bit for word 0. */
static const uint8_t item_pointers[] = { 1 };
static struct mgc_type item_type = {
	.name = "item",
	.size = sizeof(struct item),
	.ptr_bytes = sizeof(struct item *), /* no pointer lies behind these bytes */
	.ptr_mask = item_pointers,
};

/* A list of n items. The variable `head` is enough to keep all of it: the collector looks at the
 * stacks and registers of the program by itself. */
static struct item *make_list(long n)
{
	struct item *head = NULL;
	for (long i = 0; i < n; i++) {
		struct item *item = mgc_new(&item_type); /* zeroed */
		if (item == NULL) {
			perror("mgc_new");
			exit(1);
		}
		item->value = i;
		item->next = head; /* nobody else can reach `item` yet: a plain store will do */
		head = item;
	}
	return head;
}

static long sum(const struct item *head)
{
	long total = 0;
	for (; head != NULL; head = head->next)
		total += head->value;
	return total;
}

int main(void)
{
	enum { N = 100000 };
	struct item *head = make_list(N);

	/* Unlink every second item. `item` is reachable, so this store goes through mgc_write. */
	for (struct item *item = head; item != NULL && item->next != NULL; item = item->next)
		mgc_write(&item->next, item->next->next);

	mgc_collect();
	struct mgc_stats stats = { .struct_size = sizeof stats };
	mgc_read_stats(&stats);
	printf("sum %ld, %llu bytes live after %llu collections\n", sum(head),
	       (unsigned long long)stats.heap_live, (unsigned long long)stats.cycles);

	long expected = 0;
	for (long i = N - 1; i >= 0; i -= 2)
		expected += i;
	return sum(head) == expected && stats.heap_live < N * sizeof(struct item) ? 0 : 1;
}
