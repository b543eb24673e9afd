/* birth_test.c (plain) - the moment at which a slot becomes an object: a snapshot that comes between any two
 * instructions of an allocation finds it; and what was the last object of a run dies as any other, though
 * its thread allocates nothing more. */
#include "lib/afar.h"
#include "lib/step.h"

#include <mallocgc-inline.h>

#include "face/runtime.h"

/* ── the last object of a run dies ──────────────────────────────────────────────────────── */

#define NSIZES 24
static uintptr_t last[NSIZES];
static uint32_t ready, leave;

static __attribute__((noinline)) void make_last(void)
{
	for (size_t i = 0; i < NSIZES; i++)
		for (int k = 0; k < 20; k++) /* runs begin small */
			last[i] = hide(mgc_alloc(16 + 16 * i, NULL, 0));
}

static __attribute__((noinline)) void wipe_stack(void)
{
	char room[16 << 10];
	memset(room, 0, sizeof room);
	__asm__ volatile("" : : "r"(room) : "memory");
}

/* make_and_wait - with its runs in hand, and no reference. */
static void *make_and_wait(void *arg)
{
	make_last();
	wipe_stack();
	mgc_blocking_enter();
	publish(&ready, 1);
	spin_until(&leave, 1);
	mgc_blocking_leave();
	return arg;
}

TEST(the_last_object_of_a_run_dies)
{
	pthread_t thread;
	size_t alive;
	mgc_thread_attach();
	mgc_blocking_enter();
	CHECK_EQ(pthread_create(&thread, NULL, make_and_wait, NULL), 0);
	spin_until(&ready, 1);
	for (int i = 0; i < 3; i++)
		collect_afar();
	alive = count_alive(last, NSIZES, NULL);
	publish(&leave, 1);
	pthread_join(thread, NULL);
	mgc_blocking_leave();
	if (alive != 0)
		printf("  %zu of %d are alive\n", alive, NSIZES);
	CHECK(alive <= 2); /* a word of the C library's may look like one */
}

/* ── a snapshot between any two instructions ────────────────────────────────────────────── */

#if STEP_WORKS
static struct mgc_type born_type = { .name = "born", .size = 48, .ptr_bytes = 48 };
static uintptr_t born;
static uint32_t ncalled, ndone; /* cycles */
static size_t nsnapshots;

static void *collect_on_demand(void *arg)
{
	while (!__atomic_load_n(&leave, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&ncalled, __ATOMIC_ACQUIRE) == ndone) {
			usleep(20);
			continue;
		}
		mgc_collect();
		__atomic_add_fetch(&ndone, 1, __ATOMIC_RELEASE);
	}
	return arg;
}

/* ask_for_snapshot - a cycle begins; goes on when it has sent this thread its signal, which comes as soon as
 * the thread goes on, too: between the same two instructions. Inside a section it would wait for its end. */
static void ask_for_snapshot(void)
{
	struct mutator *m = mutator_self();
	uint32_t before = load_relaxed(&m->asked);
	if (m->sec != 0)
		return;
	publish(&ncalled, ncalled + 1);
	while (load_relaxed(&m->asked) == before)
		sched_yield();
	nsnapshots++;
}

static void step_called(void *arg)
{
	(void)arg;
	born = hide(mgc_new(&born_type));
}

static void step_inlined(void *arg)
{
	(void)arg;
	born = hide(mgc_inline_new(&born_type));
}

static void finish_cycle(void)
{
	mgc_blocking_enter();
	spin_until(&ndone, ncalled);
	mgc_blocking_leave();
}

static void make_at_each_step(void (*make)(void *arg))
{
	bool more = true;
	for (size_t k = 0; more && k < 400; k++) {
		uint32_t before = ncalled;
		wipe_stack();
		more = step_run(make, NULL, k, ask_for_snapshot);
		uintptr_t object = born;
		if (ncalled == before)
			continue;
		finish_cycle();
		if (!is_alive(object))
			printf("  lost: a snapshot after instruction %zu\n", k);
		CHECK(is_alive(object));
	}
}

/* Without the cycles of the hostile build, which would make each step a different one. */
TEST_SECONDS(a_snapshot_between_any_two_instructions_of_an_allocation, 60)
{
	pthread_t thread;
	setenv("MGC_DEBUG", "gcstress=1000000,clobberfree=1", 1);
	mgc_thread_attach();
	CHECK_EQ(pthread_create(&thread, NULL, collect_on_demand, NULL), 0);
	for (int i = 0; i < 3; i++) {
		mgc_new(&born_type);
		make_at_each_step(step_called);
		make_at_each_step(step_inlined);
	}
	printf("  %zu snapshots\n", nsnapshots);
	CHECK(nsnapshots > 40);
	mgc_blocking_enter();
	publish(&leave, 1);
	pthread_join(thread, NULL);
	mgc_blocking_leave();
}
#endif
