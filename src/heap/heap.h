/* heap.h - one heap: everything that the modules of src/heap share, and nothing of the collector but
 * an opaque pointer and the calls that go up to it.
 *
 * LIFE   heap_init once, before the first mutator attaches. The default heap of a process lives as
 *        long as the process.
 * LOCKS  fields say theirs. */
#ifndef MGC_HEAP_HEAP_H
#define MGC_HEAP_HEAP_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stddef.h>
#include <stdint.h>

#include "heap/central.h"
#include "heap/layout.h"
#include "heap/pageheap.h"
#include "os/lock.h"

struct gc;
struct mutator;

/* The calls from this layer up to the collector. All NULL in the malloc face. */
struct heap_ops {
	/* sweeps a span whose sweepgen the caller moved to h-1, and moves it to h; returns live slots */
	uint32_t (*sweep_span)(struct heap *h, struct span *s);
	/* a mutator leaves its section and a stop is pending: stands still until it is over */
	void (*park)(struct mutator *m);
	/* a mutator was attached (on its own thread) / is about to be detached */
	void (*attached)(struct mutator *m);
	void (*detached)(struct mutator *m);
	/* the last mutator was detached */
	void (*deserted)(struct heap *h);
};

/* The phase of collection, and the sweep generation, in one word: phase in the low byte, sweepgen above
 * it. Written by the cycle's owner only, but for TERM → MARK (gc/barrier.h). */
enum gc_phase {
	PHASE_OFF,
	PHASE_ARM,
	PHASE_ROOTS,
	PHASE_MARK,
	PHASE_TERM,
	PHASE_CLOSED,
	PHASE_CLEAR,
	PHASE_FLIP,
};

#define HEAP_UNTOLD_NBYTES (MGC_HOSTILE ? 256 : 8192)

struct heap {
	uint64_t phase_gen; /* atomic; pairs: phase */
	uint64_t live_nbytes; /* atomic: allocated since, plus live after, the last cycle; read by heap_live */
	uint64_t trigger_nbytes; /* atomic: a refill that sees live above it asks the collector */
	uint64_t allocated_nbytes; /* atomic, ever handed out in runs and large objects */
	uint64_t allocated_objects;
	uint64_t freed_nbytes; /* atomic, by mgc_free */
	uint64_t untold_nbytes; /* atomic: so much a thread may hand out before it counts it here, and looks whether a collection is due */
	struct pageheap pageheap;
	struct layouts layouts;
	struct central *centrals; /* [MGC_MAX_SPANCLASS], demand-zero, made ready at first use */
	uint32_t swept_gen; /* atomic: in this sweep generation no list has an unswept span any more */
	struct heap_ops ops;
	struct gc *gc;
	struct lock registry_lock;
	struct list mutators; /* registry_lock */
	uint32_t nmutators; /* atomic; written under registry_lock */
	size_t records_nbytes; /* atomic; of all records, in use or idle */
	struct list idle_records; /* of detached mutators, to be used again; registry_lock */
};

MGC_INLINE uint64_t heap_phase_gen(const struct heap *h)
{
	return load_acquire(&h->phase_gen); /* pairs: phase */
}

MGC_INLINE uint64_t phase_gen_make(unsigned phase, uint32_t sweepgen)
{
	return (uint64_t)sweepgen << 8 | phase;
}

MGC_INLINE unsigned phase_gen_phase(uint64_t phase_gen)
{
	return (unsigned)(phase_gen & 0xff);
}

MGC_INLINE uint32_t phase_gen_sweepgen(uint64_t phase_gen)
{
	return (uint32_t)(phase_gen >> 8);
}

MGC_INLINE unsigned heap_phase(const struct heap *h)
{
	return phase_gen_phase(heap_phase_gen(h));
}

MGC_INLINE uint32_t heap_sweepgen(const struct heap *h)
{
	return phase_gen_sweepgen(heap_phase_gen(h));
}

MGC_INLINE void heap_set_phase(struct heap *h, unsigned phase, uint32_t sweepgen)
{
	store_seq(&h->phase_gen, phase_gen_make(phase, sweepgen)); /* pairs: phase */
}

/* heap_live - how much is alive, or was not found dead yet. A thread counts what it handed out some time after; where another
 * freed it before, the sum stands below zero until then. */
MGC_INLINE uint64_t heap_live(const struct heap *h)
{
	int64_t n = (int64_t)load_relaxed(&h->live_nbytes);
	return n > 0 ? (uint64_t)n : 0;
}

/* heap_is_due - allocation has reached the trigger. Always so while a cycle runs beside the program. */
MGC_INLINE bool heap_is_due(const struct heap *h)
{
	return heap_live(h) >= load_relaxed(&h->trigger_nbytes);
}

/* heap_wait_phase - sleeps a little while the phase word is `seen`. */
void heap_wait_phase(struct heap *h, uint64_t seen);
void heap_wake_phase(struct heap *h);

/* heap_init - 0 or an errno. max_nbytes bounds the address range, 0 for the system's budget. */
int heap_init(struct heap *h, size_t max_nbytes);
/* heap_destroy - gives all back; no mutator may be attached. */
void heap_destroy(struct heap *h);

/* heap_central - the central of a span class, made ready at first use. */
struct central *heap_central(struct heap *h, unsigned spanclass);

/* heap_sweep_some - sweeps unswept spans until npages were freed or none is left, nspans of them at most; pages freed. */
size_t heap_sweep_some(struct heap *h, size_t npages, size_t nspans);

/* heap_sweep_step - sweeps so many unswept spans; false: none is left. */
bool heap_sweep_step(struct heap *h, size_t nspans);

/* heap_verify - every invariant of the modules below; the world must stand still. */
void heap_verify(struct heap *h);

#endif
