/* sampler.h - a sample of all allocations: which stacks allocate, and what of it is still there.
 *
 * WHAT   Points are thrown into the stream of allocated bytes, on average one in `rate_nbytes`, each distance drawn
 *        from an exponential distribution; the object that a point falls into is sampled. An object of s
 *        bytes is so with probability 1 - exp(-s / rate), and stands for that many times more; at rate 1 each is, and
 *        stands for itself. The slow
 *        way of allocation counts bytes down (struct sample_clock); the short one knows nothing of it.
 *        A sample is its stack, one record for all that have the same one, and, while the object lives, an
 *        entry by its address.
 * WHO    the heap's cache and gc/alloc.c; malloc's long way; gc/special.c says what died. From outside, an
 *        observer may set rate_nbytes and read all tables (base/watch.h): nothing is made before the
 *        first sample.
 * STATE  off (rate_nbytes 0) ↔ on. One profile for the process: stacks are the process's, not a heap's.
 * INV    S1 a stack's record never moves or changes its stack
 *        S2 an address has at most one entry
 *        S3 who looks for an address that he may free finds its entry without the lock: it was entered before he
 *           had the address, and tables that were outgrown stay readable
 * LOCKS  SAMPLE, a leaf, for the tables.
 * UNITS  bytes; scaled counts are doubles.
 * FROM   tcmalloc and Go's mprof; the scaling is pprof's. */
#ifndef MGC_SAMPLE_SAMPLER_H
#define MGC_SAMPLE_SAMPLER_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "os/lock.h"
#include "sample/unwind.h"

#define SAMPLE_FRAMES 56

/* All samples with one stack. Counts are of what they stand for. SAMPLE writes. */
struct sample_stack {
	uint32_t hash;
	uint32_t nframes;
	double allocated_objects, allocated_nbytes;
	double live_objects, live_nbytes;
	uint64_t nsamples;
	uintptr_t pc[SAMPLE_FRAMES]; /* innermost first; each inside its call instruction */
};

/* A sampled object that lives. */
struct sample_entry {
	uintptr_t object; /* atomic; 0 never used, 1 gone */
	uint32_t stack;
	uint32_t reserved;
	double objects, nbytes; /* what it stands for */
};

struct sample_table {
	uint64_t mask; /* entries - 1 */
	struct sample_entry entry[];
};

struct sampler {
	uint64_t rate_nbytes; /* atomic: one sample in so many bytes; 0: off. Others may write it */
	uint32_t nlive; /* atomic: entries in use */
	uint32_t nstacks; /* atomic; written under the lock. Stack 0 is of those that found no room */
	struct sample_stack *stacks; /* reserved, committed as it fills */
	uint32_t *index; /* by hash: numbers of stacks */
	struct sample_table *table; /* atomic */
	uint32_t nused; /* entries that are no longer free to use; lock */
	uint64_t nsamples; /* atomic */
	uint64_t start_ns;
	struct lock lock;
};

extern struct sampler sampler;

/* A thread's countdown. Its thread's own. */
struct sample_clock {
	int64_t left_nbytes; /* until the next point; ≤ 0 only before the first */
	uint64_t random; /* state; 0: not begun */
	struct unwind_thread stack;
};

MGC_INLINE bool sampler_on(void)
{
	return MGC_UNLIKELY(load_relaxed(&sampler.rate_nbytes) != 0);
}

/* sampler_pass - the thread allocates nbytes, and the sampler is on: where in them the first point falls; nbytes
 * when none does. If one does, the countdown begins anew behind it, and the caller passes what follows. */
size_t sampler_pass(struct sample_clock *c, size_t nbytes);

/* sampler_draw - bytes from here to a point, that one's included; for who counts himself. */
uint64_t sampler_draw(struct sample_clock *c);

/* sampler_take - the object is sampled: the calling thread's stack is its stack. A point fell into thrown_nbytes, of which
 * nbytes were asked for. Takes SAMPLE; not in a section. */
void sampler_take(struct sample_clock *c, uintptr_t object, size_t nbytes, size_t thrown_nbytes);
/* sampler_forget - the object is freed, sampled or not. Quick for those that are not, and while none is there: whoever
 * frees an object that is sampled sees that it was counted. */
void sampler_forget_slow(uintptr_t object);
MGC_INLINE void sampler_forget(uintptr_t object)
{
	if (MGC_UNLIKELY(load_relaxed(&sampler.nlive) != 0))
		sampler_forget_slow(object);
}
/* sampler_resize - the object, sampled or not, is used for so many bytes now, where it is. */
void sampler_resize(uintptr_t object, size_t nbytes);
/* sampler_bury - the same for all objects that is_dead(arg, object) names. */
void sampler_bury(bool (*is_dead)(const void *arg, uintptr_t object), const void *arg);

#endif
