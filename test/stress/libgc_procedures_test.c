/* libgc_procedures_test.c - a mark procedure never sees the program run, also where threads help to mark and a
 * collection beside the program stops it more than once: a stop that is short ends while they still mark.
 *
 * WHAT   While a procedure runs the world stands still, and it sees what a program did just behind the allocation lock. One that a helper calls takes, once in each stop, longer
 *        than the stop in which it found the object.
 * links: libgc   not under: address
 * AddressSanitizer's runtime makes each stop longer than that. */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include "lib/plain.h"

#include <gc/gc.h>
#include <gc/gc_mark.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define NOBJECTS 10000
#define SLOW_NS 10000000L
#define PUSH_NS 3000000L

static void **volatile objects[NOBJECTS]; /* each a root of its own: many are found at once in a stop */
static uint32_t standing, slow, nslow, nwrong;
static pthread_t owner; /* of the stop */

static void on_event(GC_EventType e)
{
	if (e == GC_EVENT_POST_STOP_WORLD) {
		owner = pthread_self();
		__atomic_store_n(&slow, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&standing, 1, __ATOMIC_RELEASE);
	} else if (e == GC_EVENT_PRE_START_WORLD) {
		__atomic_store_n(&standing, 0, __ATOMIC_RELEASE);
	}
}

static void sleep_ns(long ns)
{
	struct timespec t = { 0, ns };
	nanosleep(&t, NULL);
}

/* push - the other roots have been marked: helpers have what they found in hand before the stop is over. */
static void push(void)
{
	sleep_ns(PUSH_NS);
}

static void see_standing(void)
{
	if (!__atomic_load_n(&standing, __ATOMIC_ACQUIRE))
		__atomic_fetch_add(&nwrong, 1, __ATOMIC_RELAXED);
}

static struct GC_ms_entry *mark_slowly(GC_word *addr, struct GC_ms_entry *top,
				       struct GC_ms_entry *limit, GC_word env)
{
	(void)env;
	see_standing();
	if (!pthread_equal(owner, pthread_self()) &&
	    __atomic_exchange_n(&slow, 0, __ATOMIC_RELAXED) != 0) {
		__atomic_fetch_add(&nslow, 1, __ATOMIC_RELAXED);
		sleep_ns(SLOW_NS);
		see_standing();
	}
	return GC_MARK_AND_PUSH((void *)*addr, top, limit, (void **)addr);
}

TEST_SECONDS(procedures_see_no_program, 60)
{
	setenv("MGC_DEBUG", "tracked=3,workers=8", 0);
	GC_INIT();
	GC_set_on_collection_event(on_event);
	GC_set_push_other_roots(push);
	unsigned proc = GC_new_proc(mark_slowly);
	unsigned kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(proc, 0), 0, 1);
	for (int i = 0; i < NOBJECTS; i++) {
		objects[i] = GC_generic_malloc(32, (int)kind);
		objects[i][0] = GC_malloc_atomic(500);
	}
	for (GC_word until = GC_get_gc_no() + 10; GC_get_gc_no() < until;)
		(void)GC_malloc_atomic(3000);
	printf("  a helper was slow in %u stops\n", nslow);
	CHECK_EQ(nwrong, 0);
}

/* ── the allocation lock ────────────────────────────────────────────────────────────────── */

#define NTURNS 300

static uint32_t unsettled, nstops_unsettled, nstops_in_turns, done;

static void look(GC_EventType e)
{
	if (e == GC_EVENT_POST_STOP_WORLD && !__atomic_load_n(&done, __ATOMIC_RELAXED)) {
		nstops_in_turns++;
		nstops_unsettled += __atomic_load_n(&unsettled, __ATOMIC_RELAXED);
	}
}

static void *unsettle(void *arg)
{
	__atomic_store_n(&unsettled, 1, __ATOMIC_RELAXED);
	for (double until = now_seconds() + 0.001; now_seconds() < until;)
		;
	return arg;
}

static void *turns(void *arg)
{
	for (int i = 0; i < NTURNS; i++) {
		GC_call_with_alloc_lock(unsettle, NULL);
		__atomic_store_n(&unsettled, 0, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&done, 1, __ATOMIC_RELAXED);
	return arg;
}

/* What a program does first when it has given back the lock is done, nearly always, when a collection that waited for it looks. */
TEST_SECONDS(a_collection_is_not_at_once_behind_the_lock, 60)
{
	pthread_t t;
	GC_INIT();
	GC_set_on_collection_event(look);
	CHECK_EQ(GC_pthread_create(&t, NULL, turns, NULL), 0);
	while (!__atomic_load_n(&done, __ATOMIC_RELAXED))
		GC_gcollect();
	CHECK_EQ(GC_pthread_join(t, NULL), 0);
	printf("  %u of %u stops\n", nstops_unsettled, nstops_in_turns);
	CHECK(nstops_unsettled * 3 < nstops_in_turns + 3);
}
