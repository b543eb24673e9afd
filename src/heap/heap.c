/* heap.c - see heap.h. */
#include "heap/heap.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

static size_t centrals_nbytes(void)
{
	return align_up(MGC_MAX_SPANCLASS * sizeof(struct central), os_page_size());
}

int heap_init(struct heap *h, size_t max_nbytes)
{
	memset(h, 0, sizeof *h);
	lock_init(&h->registry_lock, LOCK_REGISTRY);
	list_init(&h->mutators);
	list_init(&h->idle_records);
	heap_set_phase(h, PHASE_OFF, 2);
	h->trigger_nbytes = UINT64_MAX;
	h->untold_nbytes = HEAP_UNTOLD_NBYTES;
	int err = pageheap_init(&h->pageheap, max_nbytes);
	if (err != 0)
		return err;
	err = layouts_init(&h->layouts);
	if (err == 0) {
		h->centrals = (struct central *)os_alloc(centrals_nbytes());
		if (h->centrals != NULL)
			return 0;
		layouts_destroy(&h->layouts);
		err = ENOMEM;
	}
	pageheap_destroy(&h->pageheap);
	return err;
}

void heap_destroy(struct heap *h)
{
	MGC_CHECK(list_empty(&h->mutators));
	os_release((uintptr_t)h->centrals, centrals_nbytes());
	layouts_destroy(&h->layouts);
	pageheap_destroy(&h->pageheap);
	memset(h, 0, sizeof *h);
}

/* phase_half - the half of the word that holds the phase. */
static uint32_t *phase_half(struct heap *h)
{
	return (uint32_t *)&h->phase_gen + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

void heap_wait_phase(struct heap *h, uint64_t seen)
{
	os_wait(phase_half(h), (uint32_t)seen, UINT64_C(100000));
}

void heap_wake_phase(struct heap *h)
{
	os_wake(phase_half(h), UINT32_MAX);
}

static MGC_COLD void make_central(struct heap *h, struct central *c)
{
	lock_acquire(&h->layouts.lock);
	if (c->lock.rank == 0)
		central_init(c);
	lock_release(&h->layouts.lock);
}

/* ready - a central is ready when its lock has a rank, which is written last. */
static bool ready(struct central *c)
{
	return load_acquire(&c->lock.rank) != 0; /* pairs: central-ready */
}

struct central *heap_central(struct heap *h, unsigned spanclass)
{
	struct central *c = &h->centrals[spanclass];
	if (MGC_UNLIKELY(!ready(c)))
		make_central(h, c);
	return c;
}

size_t heap_sweep_some(struct heap *h, size_t npages, size_t nspans)
{
	size_t freed = 0;
	uint32_t gen = heap_sweepgen(h);
	unsigned n = load_acquire(&h->layouts.nspanclasses); /* pairs: spanclass */
	if (load_relaxed(&h->swept_gen) == gen)
		return 0;
	for (unsigned id = 1; id < n; id++) {
		while (ready(&h->centrals[id])) {
			if (freed >= npages || nspans == 0)
				return freed;
			long got = central_sweep_one(h, &h->centrals[id]);
			if (got < 0)
				break;
			freed += (size_t)got;
			nspans--;
		}
	}
	store_relaxed(&h->swept_gen, gen);
	return freed;
}

bool heap_sweep_step(struct heap *h, size_t nspans)
{
	unsigned n = load_acquire(&h->layouts.nspanclasses); /* pairs: spanclass */
	for (unsigned id = 1; id < n; id++)
		while (ready(&h->centrals[id]) && central_sweep_one(h, &h->centrals[id]) >= 0)
			if (--nspans == 0)
				return true;
	return false;
}

void heap_verify(struct heap *h)
{
	unsigned n = load_acquire(&h->layouts.nspanclasses); /* pairs: spanclass */
	for (unsigned id = 1; id < n; id++)
		if (ready(&h->centrals[id]))
			central_verify(h, &h->centrals[id]);
	pageheap_verify(&h->pageheap);
}
