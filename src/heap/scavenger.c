/* scavenger.c - see scavenger.h. */
#include "heap/scavenger.h"

#include <errno.h>

#include "base/bits.h"
#include "os/os.h"

/* What was free at two looks in a row goes: at the latest half a second after it became free. */
#define PERIOD_NS (MGC_HOSTILE ? UINT64_C(3000000) : UINT64_C(250000000))
/* Looks without a change before it sleeps: the second one finds what the first one waited for. */
#define QUIET_LOOKS 3
/* So long it works without a pause; each pause is three times as long, as far as the processor was not late with the one
 * before: so much is made good. */
#define SLICE_NS UINT64_C(1000000)
#define PAUSES 3
#define LATE_NS (10 * (PAUSES + 1) * SLICE_NS)
/* Free pages that go back under one hold of the lock. */
#define STEP_NBYTES ((size_t)1 << 20)
#define HUGE_PAGES ((size_t)2 << 20 >> MGC_PAGE_SHIFT)

/* What a pass has had. */
struct pace {
	uint64_t cpu_ns; /* of its thread, when it last paused */
	uint64_t until_ns; /* when that pause was to end */
};

static struct pace begin(void)
{
	return (struct pace){ os_thread_cpu_ns(), os_now_ns() };
}

/* pace - sleeps when it has worked long enough. */
static void pace(struct pace *p, bool all)
{
	uint64_t cpu = all ? 0 : os_thread_cpu_ns();
	if (all || cpu - p->cpu_ns < SLICE_NS)
		return;
	uint64_t now = os_now_ns();
	p->until_ns += (cpu - p->cpu_ns) * (PAUSES + 1);
	p->cpu_ns = cpu;
	if (p->until_ns > now)
		os_sleep_ns(p->until_ns - now);
	else if (now - p->until_ns > LATE_NS)
		p->until_ns = now - LATE_NS;
}

/* next_cache - one that was not seen in this round, or NULL. Those that were are at the end of the list. */
static struct mcache *next_cache(struct manual *h)
{
	struct mcache *c = NULL;
	lock_acquire(&h->registry_lock);
	if (!list_empty(&h->caches)) {
		c = LIST_ENTRY(h->caches.next, struct mcache, node);
		list_remove(&c->node);
		list_push_back(&h->caches, &c->node);
		if (c->round == h->scavenging.round)
			c = NULL;
		else
			c->round = h->scavenging.round;
	}
	lock_release(&h->registry_lock);
	return c;
}

/* visit - a cache, whose memory is never given back. */
static bool visit(struct manual *h, struct mcache *c, bool all)
{
	lock_acquire(&h->scavenging.lock);
	bool done = mcache_visit(c, all);
	lock_release(&h->scavenging.lock);
	return done;
}

/* visit_all - two at once may see some caches twice. */
static void visit_all(struct manual *h, struct pace *p, bool all)
{
	struct mcache *c;
	lock_acquire(&h->registry_lock);
	h->scavenging.round++;
	lock_release(&h->registry_lock);
	while ((c = next_cache(h)) != NULL)
		while (!visit(h, c, all))
			pace(p, all);
}

/* give_pages - of those that nobody wanted: long runs first, as the loss of short ones breaks huge pages. */
static void give_pages(struct manual *h, struct pace *p)
{
	size_t used, idle = pageheap_read_idle(&h->pageheap, &used),
		     keep = manual_allowed_dirty(h, used);
	size_t nbytes = (idle > keep ? idle - keep : 0) << MGC_PAGE_SHIFT, done = 0,
	       min_pages = HUGE_PAGES;
	while (done < nbytes) {
		lock_acquire(&h->scavenging.lock);
		size_t n = pageheap_scavenge(&h->pageheap, min_size(nbytes - done, STEP_NBYTES),
					     min_pages);
		lock_release(&h->scavenging.lock);
		done += n;
		if (n == 0 && min_pages == 1)
			break;
		min_pages = n == 0 ? 1 : min_pages;
		pace(p, false);
	}
}

void scavenger_visit(struct manual *h)
{
	struct pace p = { 0, 0 };
	visit_all(h, &p, true);
}

void scavenger_pass(struct manual *h)
{
	struct pace p = begin();
	visit_all(h, &p, false);
	give_pages(h, &p);
}

/* may_end - one thread is left. Should a second one come just now, its next growth starts a scavenger anew. */
static bool may_end(struct manual *h)
{
	if (load_acquire(&h->nthreads) > 1) /* pairs: scavenger-on */
		return false;
	store_release(&h->scavenging.on, 0u);
	return true;
}

/* run - who frees something wakes it if `asleep` stands; that is set before it looks, so what comes later than
 * its look is seen to the next time. */
static void run(void *arg)
{
	struct manual *h = arg;
	unsigned quiet = 0;
	while (!may_end(h)) {
		store_relaxed(&h->scavenging.asleep, 1u);
		(void)os_membarrier();
		scavenger_pass(h);
		os_sleep_ns(PERIOD_NS);
		quiet = load_relaxed(&h->scavenging.asleep) != 0 ? quiet + 1 : 0;
		if (quiet == QUIET_LOOKS) {
			os_wait(&h->scavenging.asleep, 1, 0);
			quiet = 0;
		}
	}
}

void scavenger_start(struct manual *h)
{
	int saved = errno;
	uint32_t off = 0;
	store_relaxed(&h->scavenging.due, 0u);
	if (load_acquire(&h->nthreads) > 1 &&
	    cas_acq_rel(&h->scavenging.on, &off, 1u) && /* pairs: scavenger-on */
	    os_spawn(run, h, "mgc-scavenger") != 0)
		store_release(&h->scavenging.on, 0u);
	errno = saved;
}
