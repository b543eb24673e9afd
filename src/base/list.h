/* list.h - intrusive doubly linked ring. A head is a node that is its own list. The caller's lock
 * guards every node of a list; a node that is on no list points to itself. */
#ifndef MGC_BASE_LIST_H
#define MGC_BASE_LIST_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

struct list {
	struct list *next, *prev;
};

#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))
#define LIST_EACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)

MGC_INLINE void list_init(struct list *l)
{
	l->next = l->prev = l;
}

MGC_INLINE bool list_empty(const struct list *l)
{
	return l->next == l;
}

MGC_INLINE void list_insert_between(struct list *n, struct list *before, struct list *after)
{
	n->prev = before;
	n->next = after;
	before->next = n;
	after->prev = n;
}

MGC_INLINE void list_push_front(struct list *head, struct list *n)
{
	list_insert_between(n, head, head->next);
}

MGC_INLINE void list_push_back(struct list *head, struct list *n)
{
	list_insert_between(n, head->prev, head);
}

MGC_INLINE void list_remove(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

/* list_splice - moves all of `from` to the end of `to`. */
MGC_INLINE void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#endif
