/* lock.h - a mutex with a rank. A thread may take a lock only above every rank it holds; equal
 * ranks nest only where all centrals are taken, in the order of their table. MGC_ASSERT builds check it
 * on each acquire. Only WORLD, PAGEHEAP and RECORDS may be held across a system call that can take long.
 * STATE  free → held → waited: somebody sleeps → starved: who slept was woken often, and in vain.
 *        Released: free; but starved → handed: only who slept takes it.
 * INV    L1 a thread that is stopped holds no lock: the stop handler looks at lock_thread, and the
 *           thread stands still when it gives back its last one
 *        L2 who sleeps for a lock that is held over a stop (up to REGISTRY) may be stopped; so such a lock
 *           is never waited for inside a mutator's section (heap/mutator.h). Who sleeps for another one
 *           counts as its holder: a stop that came between its wake and its turn would leave it free with
 *           the next sleeper not woken, and that one may be in a section
 *        L3 nobody takes a first lock after the gate was closed and the lock was seen free: the gate is
 *           looked at when the lock is held */
#ifndef MGC_OS_LOCK_H
#define MGC_OS_LOCK_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/config.h"

#define MGC_LOCKS(X) /* rank  name      guards */ \
	X(5, CLIENT, \
	  "a face: libgc's clients' allocation lock; malloc's cache for threads that have none") \
	X(10, WORLD, "one collection at a time; phase changes; malloc's scavenger at work") \
	X(20, ROOTS, "registered root ranges, data segments") \
	X(30, REGISTRY, "the list of mutators; attach and detach") \
	X(40, SPECIAL, "finalizers and disappearing links") \
	X(45, LAYOUT, "interning of layouts and span classes") \
	X(50, CENTRAL, "one span class: its spans' lists") \
	X(70, PAGEHEAP, "page bitmap and summaries, growth, scavenging") \
	X(80, SAMPLE, "the profile: its stacks, and which objects are sampled; takes nothing") \
	X(90, RECORDS, "pools of off-heap records; leaf")

enum lock_rank {
#define X(rank, name, guards) LOCK_##name = rank,
	MGC_LOCKS(X)
#undef X
};

enum lock_state { LOCK_FREE, LOCK_HELD, LOCK_WAITED, LOCK_STARVED, LOCK_HANDED };

struct lock {
	uint32_t state; /* atomic, futex */
	uint32_t rank;
};

#define LOCK_INIT(name) { 0, LOCK_##name }

/* What the stop of the world must know of the calling thread. */
struct lock_thread {
	uint32_t nheld;       /* locks it has, or is about to have */
	uint32_t stop_wanted; /* set by the handler that found nheld > 0 */
	uint32_t passes;      /* 1: it closed the gate, and holds one lock while it is closed */
};
extern MGC_TLS struct lock_thread lock_thread;
/* The gate of fork: while it is closed nobody but the forking thread takes a first lock or enters a
 * section. It is closed only while the world stands still, so nobody is inside then. */
extern uint32_t lock_gate; /* atomic, futex: 1 closed */
void lock_gate_close(void); /* the caller passes from now on */
void lock_gate_open(void);
/* The collector's: the thread gave back its last lock and a stop was wanted meanwhile. */
extern void (*lock_stop_hook)(void);

void lock_acquire_slow(struct lock *l);
void lock_release_slow(struct lock *l);
void lock_left_slow(void);
void lock_gate_wait(struct lock *l);
#if MGC_ASSERT
void lock_note_acquire(struct lock *l);
void lock_note_release(struct lock *l);
#else
MGC_INLINE void lock_note_acquire(struct lock *l)
{
	(void)l;
}
MGC_INLINE void lock_note_release(struct lock *l)
{
	(void)l;
}
#endif
/* lock_reset - in the child of a fork: the lock is free and nobody waits. */
void lock_reset(struct lock *l);

MGC_INLINE void lock_init(struct lock *l, enum lock_rank rank)
{
	l->state = 0;
	l->rank = (uint32_t)rank;
}

/* lock_gate_shut - the calling thread must wait before it enters anything. */
MGC_INLINE bool lock_gate_shut(void)
{
	return load_relaxed(&lock_gate) != 0 && !lock_thread.passes;
}

MGC_INLINE void lock_enter(void)
{
	lock_thread.nheld++;
	MGC_COMPILER_FENCE(); /* L1: counted before it is taken */
}

MGC_INLINE void lock_leave(void)
{
	MGC_COMPILER_FENCE();
	lock_thread.nheld--;
	MGC_COMPILER_FENCE();
	if (MGC_UNLIKELY(load_relaxed(&lock_thread.stop_wanted)) && lock_thread.nheld == 0)
		lock_left_slow();
}

MGC_INLINE bool lock_try(struct lock *l)
{
	uint32_t expected = 0;
	lock_enter();
	if (!cas_acq_rel(&l->state, &expected, 1u)) {
		lock_leave();
		return false;
	}
	if (MGC_UNLIKELY(lock_gate_shut()) && lock_thread.nheld == 1)
		lock_gate_wait(l);
	lock_note_acquire(l);
	return true;
}

MGC_INLINE void lock_acquire(struct lock *l)
{
	uint32_t expected = 0;
	lock_enter();
	if (MGC_UNLIKELY(!cas_acq_rel(&l->state, &expected, 1u)))
		lock_acquire_slow(l);
	if (MGC_UNLIKELY(lock_gate_shut()) && lock_thread.nheld == 1)
		lock_gate_wait(l);
	lock_note_acquire(l);
}

MGC_INLINE void lock_release_state(struct lock *l)
{
	uint32_t expected = LOCK_HELD;
	if (MGC_UNLIKELY(!cas_acq_rel(&l->state, &expected, (uint32_t)LOCK_FREE)))
		lock_release_slow(l);
}

MGC_INLINE void lock_release(struct lock *l)
{
	lock_note_release(l);
	lock_release_state(l);
	lock_leave();
}

MGC_INLINE bool lock_is_held(struct lock *l)
{
	return load_relaxed(&l->state) != LOCK_FREE;
}

#endif
