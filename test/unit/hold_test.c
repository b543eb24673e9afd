/* hold_test.c (plain) - how long a mutator is held that allocates past the goal of a large heap while a cycle runs. The
 * test sets the phase by hand, with no cycle behind it: WORLD is held, so none begins, and there is nothing to mark. */
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/plain.h"

#include "mallocgc.h"

#include "face/runtime.h"
#include "os/os.h"

#define LARGE_NBYTES ((size_t)80 << 20)
#define GOAL_NBYTES ((uint64_t)64 << 20)
#define MS UINT64_C(1000000)

/* begin - a heap past its goal, and a cycle that does not end. */
static struct mutator *begin(bool limited)
{
	CHECK_EQ(mgc_set_percent(-1), 100);
	CHECK(mgc_alloc(LARGE_NBYTES, NULL, MGC_NOSCAN) != NULL);
	lock_acquire(&runtime.gc.world);
	store_relaxed(&runtime.gc.hold_nbytes, GOAL_NBYTES);
	store_relaxed(&runtime.gc.limited, (uint32_t)limited);
	heap_set_phase(&runtime.heap, PHASE_MARK, heap_sweepgen(&runtime.heap));
	return mutator_self();
}

static void end(void)
{
	heap_set_phase(&runtime.heap, PHASE_OFF, heap_sweepgen(&runtime.heap));
	lock_release(&runtime.gc.world);
}

/* ask - what an allocation that comes for memory does before it gets some. */
static void ask(void)
{
	collector_debit(&runtime.gc, mutator_self(), 16 << 10);
}

static void ask_for(uint64_t ns)
{
	uint64_t since = os_now_ns();
	while (os_now_ns() - since < ns)
		ask();
}

/* share_of_processor - in percent, of 400 ms; no more than it is on an idle machine. */
static uint64_t share_of_processor(void)
{
	uint64_t cpu = os_thread_cpu_ns();
	ask_for(400 * MS);
	return (os_thread_cpu_ns() - cpu) / (4 * MS);
}

TEST(who_fills_the_heap_keeps_a_quarter)
{
	begin(false);
	uint64_t percent = share_of_processor();
	end();
	CHECK(percent < 40);
}

TEST(at_a_limit_it_is_held_for_a_second)
{
	struct mutator *m = begin(true);
	ask_for(100 * MS);
	end();
	CHECK(m->held_ns >= 1000 * MS); /* by the first one */
}

/* Before the last stop of a program without a barrier, wherever the goal is. */
TEST(the_brake_holds)
{
	struct mutator *m = begin(false);
	store_relaxed(&runtime.gc.hold_nbytes, UINT64_MAX);
	ask_for(10 * MS);
	CHECK_EQ(m->held_ns, 0);
	CHECK(load_relaxed(&runtime.heap.untold_nbytes) != 0);
	collector_brake(&runtime.gc, true);
	CHECK_EQ(load_relaxed(&runtime.heap.untold_nbytes), 0); /* every refill comes this way */
	ask_for(20 * MS);
	uint64_t held = m->held_ns;
	CHECK(held > 0);
	collector_brake(&runtime.gc, false);
	CHECK(load_relaxed(&runtime.heap.untold_nbytes) != 0);
	ask_for(10 * MS);
	CHECK_EQ(m->held_ns, held);
	end();
}

/* A child has no cycle that would take it off again. */
TEST(the_brake_is_off_in_a_child)
{
	(void)mgc_alloc(16, NULL, 0);
	uint64_t usual = load_relaxed(&runtime.heap.untold_nbytes);
	collector_brake(&runtime.gc, true);
	pid_t pid = fork();
	if (pid == 0)
		_exit(load_relaxed(&runtime.gc.collector.brake) != 0 ||
		      load_relaxed(&runtime.heap.untold_nbytes) != usual);
	int status;
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	collector_brake(&runtime.gc, false);
}

/* held_after_pause - what it may be held for after 300 ms without it is not taken at once, but for a large object. */
static uint64_t held_after_pause(size_t nbytes)
{
	struct mutator *m = begin(false);
	ask_for(10 * MS);
	uint64_t held = m->held_ns;
	nanosleep(&(struct timespec){ .tv_nsec = 300 * (long)MS }, NULL);
	collector_debit(&runtime.gc, m, nbytes);
	end();
	return m->held_ns - held;
}

TEST(who_rarely_comes_for_memory_is_held_shortly)
{
	uint64_t held = held_after_pause(8 << 10);
	CHECK(held > 0 && held < 100 * MS);
}

TEST(who_comes_for_a_large_object_is_held_as_for_many_small_ones)
{
	CHECK(held_after_pause(4 << 20) > 200 * MS);
}
