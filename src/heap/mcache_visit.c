/* mcache_visit.c - see mcache_visit.h. */
#include "heap/mcache_visit.h"

#include "base/check.h"
#include "heap/mcache_slabs.h"
#include "os/os.h"

/* Slabs that are looked at in one visit: its thread may wait for it. */
#define VISIT_SLABS 16u

MGC_NOINLINE void mcache_wait_visit(struct mcache *c)
{
	uint32_t seen;
	do {
		store_release(&c->inside, c->inside - 1); /* pairs: inside */
		while ((seen = load_acquire(&c->visited)) != 0) /* pairs: visit */
			if (seen == 2 || cas_acq_rel(&c->visited, &seen, 2u)) /* pairs: visit */
				os_wait(&c->visited, 2, 0);
		store_relaxed(&c->inside, c->inside + 1);
		MGC_COMPILER_FENCE();
	} while (load_acquire(&c->visited) != 0); /* pairs: visit */
}

static void end_visit(struct mcache *c)
{
	if (swap_acq_rel(&c->visited, 0u) == 2) /* pairs: visit */
		os_wake(&c->visited, UINT32_MAX);
}

static bool begin_visit(struct mcache *c)
{
	store_relaxed(&c->visited, 1u);
	if (MGC_HOSTILE)
		os_yield();
	if (os_membarrier() && (load_acquire(&c->inside) & 1) == 0) { /* pairs: inside */
		if (MGC_HOSTILE)
			os_yield(); /* its thread comes, and waits */
		return true;
	}
	end_visit(c);
	return false;
}

/* all_home - all blocks of a slab that has a key were freed, and the last ones by others. Its thread may
 * count down meanwhile, and at 0 it is on its way to change the slab's state. */
MGC_NO_SANITIZE static bool all_home(struct slab *s)
{
	uintptr_t remote = load_acquire(&s->remote); /* pairs: remote */
	if (s->state == SLAB_FULL)
		return remote_fresh(remote) == s->carved;
	uint32_t left = load_relaxed(&s->countdown); /* once */
	bool home = s->state == SLAB_PARTIAL && left != 0 &&
		    left + slab_floor(s) == remote_fresh(remote);
	order_seen(&s->countdown); /* a membarrier follows */
	return home;
}

/* take_home - of the mail, the slabs that can be emptied for a thread that is not inside; the rest stays. */
static struct slab *take_home(struct mcache *c)
{
	struct slab *s = swap_acq_rel(&c->mailbox, NULL), *next, *home = NULL; /* pairs: mailbox */
	for (; s != NULL; s = next) {
		next = s->mail;
		bool own = load_acquire(&s->owner) == c; /* pairs: slab-owner */
		if (own && slab_is_sparse(s)) {
			mcache_collect(c, s);
		} else if (own && all_home(s)) {
			s->mail = home;
			home = s;
		} else {
			manual_post(c->heap, s);
		}
	}
	return home;
}

static void visit_mail(struct mcache *c)
{
	struct slab *home = take_home(c), *next;
	if (home != NULL)
		(void)os_membarrier(); /* as it did when the visit began */
	for (; home != NULL; home = next) {
		next = home->mail;
		slab_count_remote(home);
		if (home->state == SLAB_FULL)
			slab_list_remove(&c->full, home);
		else
			mcache_unlist(c, home);
		mcache_empty(c, home);
		mcache_retire(c, home);
	}
}

/* visit_sparse - false: more of them wait. */
static bool visit_sparse(struct mcache *c, bool all)
{
	unsigned left = VISIT_SLABS;
	for (unsigned sc = 1; sc < MGC_NSIZECLASS && c->nsparse > 0; sc++)
		for (struct slab *s = c->partial[sc].first, *next; s != NULL; s = next) {
			next = s->next;
			if (s->state != SLAB_SEEN && !(all && s->state == SLAB_SPARSE)) {
				if (s->state == SLAB_SPARSE)
					mcache_set_state(s, SLAB_SEEN);
				continue;
			}
			if (left-- == 0)
				return false;
			mcache_make_holes(c, s);
		}
	return true;
}

bool mcache_visit(struct mcache *c, bool all)
{
	uint32_t inside = load_relaxed(&c->inside);
	bool idle = all || inside == c->inside_seen, done = true;
	bool kept = all || inside != c->inside_trimmed || load_relaxed(&c->mailbox) != NULL;
	c->inside_seen = inside;
	if (load_relaxed(&c->kind) != MCACHE_THREAD ||
	    (!(idle && kept) && load_relaxed(&c->nsparse) == 0) || !begin_visit(c))
		return true;
	if (load_relaxed(&c->kind) == MCACHE_THREAD) {
		if (idle && kept) {
			mcache_flush_outboxes(c);
			visit_mail(c);
			mcache_give_kept(c);
			c->inside_trimmed = inside;
		}
		done = visit_sparse(c, all);
	}
	end_visit(c);
	return done;
}
