/* atomic.h - the only file that names a memory order. The order is in the verb. Shared plain fields
 * are read and written through these; each use that publishes something carries a `pairs:` tag
 * that stands at both of its ends. */
#ifndef MGC_BASE_ATOMIC_H
#define MGC_BASE_ATOMIC_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

#define load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define load_seq(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define store_seq(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define add_acq_rel(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define sub_relaxed(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define sub_acq_rel(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL)
#define or_relaxed(p, v) __atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define or_release(p, v) __atomic_fetch_or((p), (v), __ATOMIC_RELEASE)
#define and_seq(p, v) __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)
#define swap_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
/* `expected` is a pointer to the caller's copy, updated on failure. */
#define cas_acq_rel(p, expected, v) \
	__atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#define cas_seq(p, expected, v) \
	__atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#define cas_relaxed(p, expected, v) \
	__atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)

/* max_relaxed - *p = the larger of *p and v. */
MGC_INLINE void max_relaxed(uint64_t *p, uint64_t v)
{
	uint64_t old = load_relaxed(p);
	while (v > old && !cas_relaxed(p, &old, v))
		;
}

MGC_INLINE void fence_seq(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

MGC_INLINE void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

/* order_shown, order_seen - of a plain word whose order a membarrier makes: for ThreadSanitizer, which knows of none.
 * What was done before one is done before what follows the other, for who saw the word as it was written next. */
#if MGC_WITH_TSAN
void __tsan_release(void *p);
void __tsan_acquire(void *p);
#define order_shown(p) __tsan_release(p)
#define order_seen(p) __tsan_acquire(p)
#else
#define order_shown(p) ((void)0)
#define order_seen(p) ((void)0)
#endif

#endif
