/* lock.c - the slow half of lock.h, and the rank check of MGC_ASSERT builds. */
#include "os/lock.h"

#include <limits.h>

#include "base/check.h"
#include "os/os.h"

/* Spins this often before it sleeps: sections are shorter than a system call (185 ns here). */
#define SPINS 60
/* Who was woken this often in vain is handed the lock; WORLD, which is had for whole collections, at once. */
#define PATIENCE 4

MGC_TLS struct lock_thread lock_thread;
void (*lock_stop_hook)(void);

void lock_left_slow(void)
{
	store_relaxed(&lock_thread.stop_wanted, 0u);
	if (lock_stop_hook != NULL)
		lock_stop_hook();
}

uint32_t lock_gate;

void lock_gate_close(void)
{
	lock_thread.passes = 1;
	store_seq(&lock_gate, 1u); /* pairs: gate */
}

void lock_gate_open(void)
{
	lock_thread.passes = 0;
	store_seq(&lock_gate, 0u); /* pairs: gate */
	os_wake(&lock_gate, UINT32_MAX);
}

/* lock_gate_wait - gives the lock back until the gate is open (L3): whoever closed it and then saw the lock
 * free either came after us, or we see what it stored. */
void lock_gate_wait(struct lock *l)
{
	do {
		uint32_t expected = 0;
		lock_release_state(l);
		lock_leave();
		while (load_acquire(&lock_gate) != 0) /* pairs: gate */
			os_wait(&lock_gate, 1, 0);
		lock_enter();
		if (!cas_acq_rel(&l->state, &expected, 1u))
			lock_acquire_slow(l);
	} while (lock_gate_shut());
}

/* ── waiting ────────────────────────────────────────────────────────────────────────────── */

/* take_from - the lock is free, or was handed to those who sleep and the caller was woken. */
static bool take_from(struct lock *l, uint32_t *seen, bool woken)
{
	bool mine = *seen == LOCK_FREE || (*seen == LOCK_HANDED && woken);
	return mine && cas_acq_rel(&l->state, seen, (uint32_t)LOCK_WAITED); /* pairs: lock-handed */
}

/* announce - before it sleeps: the state says so. */
static bool announce(struct lock *l, uint32_t *seen, uint32_t as)
{
	if (*seen >= as)
		return true;
	if (!cas_acq_rel(&l->state, seen, as))
		return false;
	*seen = as;
	return true;
}

static bool spin(struct lock *l)
{
	for (unsigned i = 0; i < SPINS; i++) {
		uint32_t expected = LOCK_FREE;
		if (load_relaxed(&l->state) == LOCK_FREE &&
		    cas_acq_rel(&l->state, &expected, (uint32_t)LOCK_HELD))
			return true;
		cpu_relax();
	}
	return false;
}

/* Without LOCK_STARVED a thread that takes the lock in a loop has it back each time before a sleeper looks:
 * for seconds, and the sleeper may be in a section that a cycle waits for. L2: one that is held over a stop
 * must not be handed to a thread that is stopped; WORLD may be, for nobody stops anybody without it. */
void lock_acquire_slow(struct lock *l)
{
	bool over_stop = l->rank <= LOCK_REGISTRY;
	unsigned patience = l->rank == LOCK_WORLD ? 0 : over_stop ? UINT_MAX : PATIENCE;
	if (spin(l))
		return;
	bool slept = false;
	for (unsigned nwoken = 0;;) {
		uint32_t seen = load_relaxed(&l->state);
		if (take_from(l, &seen, slept))
			return;
		bool starved = nwoken >= patience;
		if (seen == LOCK_FREE || !announce(l, &seen, starved ? LOCK_STARVED : LOCK_WAITED))
			continue;
		if (over_stop) /* L2 */
			lock_leave();
		nwoken += os_wait(&l->state, seen, 0) == 0; /* not by a signal */
		if (over_stop)
			lock_enter();
		slept = true;
	}
}

void lock_release_slow(struct lock *l)
{
	uint32_t seen = LOCK_WAITED;
	if (cas_acq_rel(&l->state, &seen, (uint32_t)LOCK_FREE)) {
		os_wake(&l->state, 1);
	} else {
		store_release(&l->state, (uint32_t)LOCK_HANDED); /* pairs: lock-handed */
		os_wake(&l->state, UINT32_MAX); /* whoever of them comes first */
	}
}

#if MGC_ASSERT
#define MAX_RANK 128
static MGC_TLS uint16_t held[MAX_RANK]; /* locks of each rank that this thread holds */

static const char *rank_name(uint32_t rank)
{
	switch (rank) {
#define X(r, name, guards) \
	case r: \
		return #name;
		MGC_LOCKS(X)
#undef X
	default:
		return "?";
	}
}

void lock_note_acquire(struct lock *l)
{
	/* a heap without a collector takes all centrals for a fork, one after the other */
	uint32_t lowest = l->rank == LOCK_CENTRAL ? l->rank + 1 : l->rank;
	for (uint32_t rank = lowest; rank < MAX_RANK; rank++)
		if (held[rank] != 0)
			mgc_fatal("lock order: %s taken while %s is held", rank_name(l->rank),
				  rank_name(rank));
	held[l->rank]++;
}

void lock_note_release(struct lock *l)
{
	MGC_CHECK(held[l->rank] != 0);
	held[l->rank]--;
}

void lock_reset(struct lock *l)
{
	l->state = 0;
	for (unsigned i = 0; i < MAX_RANK; i++)
		held[i] = 0;
}
#else
void lock_reset(struct lock *l)
{
	l->state = 0;
}
#endif
