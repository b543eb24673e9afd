/* mcache_fork.c - the caches in the child of a fork: threads are gone, in the middle of what they did (mcache_after_fork).
 * LOCKS  none: the child has one thread. */
#include <string.h>

#include "base/bits.h"
#include "heap/mcache_slabs.h"

struct survivors {
	struct manual *h;
	const struct mcache *own, *late;
};

static void inherit_slab(struct manual *h, struct slab *s, uintptr_t base)
{
	uint32_t nfree = slab_mend(s, base);
	slab_count_remote(s); /* its mailbox is no more */
	nfree += remote_count(load_relaxed(&s->remote));
	manual_abandon(h, s, s->carved - (uint32_t)min_size(nfree, s->carved));
}

static void inherit(void *arg, struct slab *s, uintptr_t base)
{
	const struct survivors *v = arg;
	const struct mcache *owner = load_relaxed(&s->owner);
	enum slab_state state = (enum slab_state)load_relaxed(&s->state);
	if (state == SLAB_LARGE || state == SLAB_SECURE || state >= SLAB_SECURE_LARGE)
		return;
	if (owner == v->own || owner == v->late || owner == &v->h->orphans ||
	    (owner != NULL && owner->kind == MCACHE_REGION)) {
		if (state != SLAB_CACHED && (load_relaxed(&s->remote) & REMOTE_POSTED) != 0)
			manual_post(v->h, s);
	} else if (state == SLAB_CACHED) {
		manual_give_large(v->h, s, false);
	} else if (state == SLAB_SPARE) {
		mcache_set_state(s, SLAB_NONE);
		manual_give(v->h, s, 0, SLAB_PAGES, SLAB_PAGES);
	} else if (state != SLAB_ORPHAN && state != SLAB_ORPHAN_FULL) {
		inherit_slab(v->h, s, base);
	}
}

static void empty_cache(struct mcache *c)
{
	size_t from = offsetof(struct mcache, full);
	uint64_t bound = c->runs_bound, given = c->runs_given;
	mcache_forget_slabs(c);
	memset((char *)c + from, 0, offsetof(struct mcache, kind) - from);
	c->runs_bound = bound;
	c->runs_in = bound - MCACHE_MAX_KEPT;
	c->runs_given = given;
}

void mcache_after_fork(struct manual *h, struct mcache *own, struct mcache *late)
{
	struct survivors v = { h, own, late };
	struct list *it = h->caches.next;
	h->orphans.mailbox = NULL;
	h->nthreads = own != NULL;
	h->scavenging.on = h->scavenging.asleep = h->scavenging.due = 0;
	h->giveback.busy = 0;
	LIST_EACH(each, &h->caches)
		LIST_ENTRY(each, struct mcache, node)->mailbox = NULL;
	LIST_EACH(each, &h->idle)
		LIST_ENTRY(each, struct mcache, node)->mailbox = NULL;
	manual_each(h, inherit, &v); /* posts anew what was in the mailboxes */
	while (it != &h->caches) {
		struct mcache *c = LIST_ENTRY(it, struct mcache, node);
		it = it->next;
		if (c == own || c == late || c->kind == MCACHE_REGION)
			continue;
		empty_cache(c);
		list_remove(&c->node);
		list_push_front(&h->idle, &c->node);
	}
}
