/* mutator.c - see mutator.h. LOCKS REGISTRY for the list. */
#include "heap/mutator.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "heap/cache.h"
#include "os/os.h"

struct mutator mutator_none = { .sec = 1 };
struct mutator mutator_collector = { .sec = 1 };
MGC_TLS struct mutator *mutator_tls = &mutator_none;
/* The same variable, by the name that inlined code in a program has for it. */
extern __attribute__((visibility("default"), alias("mutator_tls"))) MGC_TLS struct mutator *mgc_inline_self;

static size_t record_nbytes(void)
{
	return align_up(sizeof(struct mutator), os_page_size());
}

static struct mutator *reuse_record(struct heap *h)
{
	struct mutator *m = NULL;
	lock_acquire(&h->registry_lock);
	if (!list_empty(&h->idle_records)) {
		m = LIST_ENTRY(h->idle_records.next, struct mutator, node);
		list_remove(&m->node);
	}
	lock_release(&h->registry_lock);
	return m;
}

/* clear_record - everything but the arrays of runs, which detach left empty. */
static void clear_record(struct mutator *m)
{
	size_t from = offsetof(struct mutator, status);
	m->sec = m->pending = 0;
	memset((char *)m + from, 0, sizeof *m - from);
	list_init(&m->node);
}

static void describe_thread(struct mutator *m)
{
	uintptr_t lo = 0, hi = 0;
	int error = os_stack_bounds(&lo, &hi);
	if (error != 0)
		mgc_fatal("the bounds of thread %d's stack cannot be found (error %d): what it "
			  "refers to would be lost",
			  os_self(), error);
	m->stack_lo = lo;
	m->stack_hi = hi;
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	m->adrift = here < lo || here >= hi;
	os_altstack(&m->altstack_lo, &m->altstack_hi);
	m->tls = os_tls_self();
	m->tid = os_self();
}

/* register_record - not while a cycle is past the point where a newcomer could still be taken. */
static void register_record(struct heap *h, struct mutator *m)
{
	for (;;) {
		lock_acquire(&h->registry_lock);
		uint64_t pg = heap_phase_gen(h);
		if (phase_gen_phase(pg) < PHASE_CLOSED)
			break;
		lock_release(&h->registry_lock);
		heap_wait_phase(h, pg);
	}
	list_push_back(&h->mutators, &m->node);
	store_relaxed(&h->nmutators, h->nmutators + 1);
	mutator_tls = m;
	lock_release(&h->registry_lock);
}

struct mutator *mutator_attach(struct heap *h)
{
	MGC_CHECK(!mutator_attached() || mutator_tls == &mutator_collector);
	struct mutator *m = reuse_record(h);
	if (m == NULL) {
		m = (struct mutator *)os_alloc(record_nbytes());
		if (m == NULL)
			return NULL;
		add_relaxed(&h->records_nbytes, record_nbytes());
	}
	clear_record(m);
	m->heap = h;
	describe_thread(m);
	m->sec = 1; /* a stop waits until the record is whole */
	m->status = MUTATOR_RUNNING;
	register_record(h, m);
	if (h->ops.attached != NULL)
		h->ops.attached(m);
	mutator_leave(m);
	return m;
}

static void set_dead(struct mutator *m)
{
	for (;;) {
		uint32_t status = load_acquire(&m->status); /* pairs: mutator-status */
		MGC_CHECK(status != MUTATOR_DEAD);
		if (status != MUTATOR_CLAIMED &&
		    cas_acq_rel(&m->status, &status, (uint32_t)MUTATOR_DEAD)) /* pairs: mutator-status */
			return;
		os_yield();
	}
}

/* registry_enter - takes REGISTRY for a thread that a stop may be waiting for: the stop holds that
 * lock, so whoever would wait for it inside a section would never park. */
static void registry_enter(struct mutator *m)
{
	for (;;) {
		mutator_enter(m);
		if (lock_try(&m->heap->registry_lock))
			return;
		mutator_leave(m);
		os_yield();
	}
}

void mutator_detach(struct mutator *m)
{
	struct heap *h = m->heap;
	MGC_CHECK(m == mutator_tls);
	if (h->ops.detached != NULL)
		h->ops.detached(m);
	cache_flush(m);
	registry_enter(m);
	set_dead(m);
	list_remove(&m->node);
	store_relaxed(&h->nmutators, h->nmutators - 1);
	mutator_tls = &mutator_none;
	/* a stop that was told to wait for this thread finds it dead under the same lock */
	list_push_front(&h->idle_records, &m->node);
	bool last = h->nmutators == 0;
	lock_release(&h->registry_lock);
	if (last && h->ops.deserted != NULL)
		h->ops.deserted(h);
}

void mutator_park_slow(struct mutator *m)
{
	m->heap->ops.park(m);
}

void mutator_reset_registry(struct heap *h, struct mutator *survivor)
{
	struct list *it = h->mutators.next;
	while (it != &h->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		it = it->next;
		if (m == survivor)
			continue;
		list_remove(&m->node);
		store_relaxed(&h->nmutators, h->nmutators - 1);
		cache_flush(m);
		m->status = MUTATOR_DEAD;
		list_push_front(&h->idle_records, &m->node);
	}
	if (survivor != NULL)
		survivor->tid = os_self();
}

MGC_COLD void mutator_re_entered(const struct mutator *m)
{
	mgc_misuse(
		"a call inside the allocator: from a signal handler, or a trace or root callback "
		"(thread %d)",
		m->tid);
}

MGC_COLD void mutator_leave_flip(struct mutator *m)
{
	MGC_CHECK(m->sec == 1); /* a section around this one would keep the cycle from ending */
	mutator_leave(m);
	uint64_t pg = heap_phase_gen(m->heap);
	if (phase_gen_phase(pg) == PHASE_FLIP)
		heap_wait_phase(m->heap, pg);
	mutator_enter(m);
}

void mutator_gate_wait(struct mutator *m)
{
	while (lock_gate_shut()) {
		mutator_leave(m);
		os_wait(&lock_gate, 1, 0);
		store_relaxed(&m->sec, m->sec + 1);
		MGC_COMPILER_FENCE();
	}
}
