/* cycles_test.c (plain) - who makes a cycle that nobody asked for: the collecting thread; the program's only
 * thread itself where hardly anything lives; the background thread when none came for long. */
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/plain.h"
#include "mallocgc.h"

#include "face/runtime.h"
#include "gc/background.h"
#include "os/os.h"

#define MIB ((size_t)1 << 20)

static void *kept[64];

static void doze(double seconds)
{
	struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
	while (nanosleep(&t, &t) != 0) /* a collection interrupts */
		;
}

/* make_garbage - until n cycles have passed. How often the collecting thread was asked meanwhile. */
static uint32_t make_garbage(uint64_t n)
{
	uint64_t until = load_acquire(&runtime.gc.ncycles) + n;
	uint32_t asked = load_acquire(&runtime.gc.collector.word);
	while (load_acquire(&runtime.gc.ncycles) < until)
		for (int i = 0; i < 1000; i++)
			CHECK(mgc_alloc(256, NULL, MGC_NOSCAN) != NULL);
	return load_acquire(&runtime.gc.collector.word) - asked;
}

static void begin(void)
{
	CHECK_EQ(mgc_root_add(kept, sizeof kept, 0), 0);
	mgc_collect();
	make_garbage(1);
}

/* In a process of several threads the kernel takes some 10 ms for what a barrier has to be preceded by, once: the first
 * cycle beside the program, and who allocates meanwhile, need not wait for that. */
TEST(barriers_are_announced_while_there_is_one_thread)
{
	enum { ASK = 0, BARRIER = 8 };
#ifdef MGC_SANITIZE_THREAD
	SKIP("the sanitizer has a thread of its own");
#endif
	CHECK(mgc_alloc(16, NULL, 0) != NULL);
	CHECK(MGC_HOSTILE || load_acquire(&runtime.gc.ncycles) == 0);
	long have = syscall(SYS_membarrier, ASK, 0, 0);
	if (have > 0 && (have & BARRIER) != 0)
		CHECK_EQ(syscall(SYS_membarrier, BARRIER, 0, 0), 0);
}

TEST(a_small_heap_is_collected_by_the_only_thread)
{
	begin();
	for (size_t nbytes = 32; nbytes <= 512;
	     nbytes += 32) /* runs in hand of many sizes are not much that lives */
		for (int i = 0; i < 500; i++)
			CHECK(mgc_alloc(nbytes, NULL, i % 2 ? MGC_NOSCAN : 0) != NULL);
	make_garbage(1);
	uint32_t asked = make_garbage(40);
	printf("  hardly anything lives: %u of 40\n", asked);
	CHECK(MGC_HOSTILE ? asked < 40 : asked == 0);
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	CHECK_EQ(s.pause_max_ns, 0);
}

TEST(what_lives_is_marked_beside_the_program)
{
	begin();
	for (size_t i = 0; i < 64; i++)
		mgc_write(&kept[i], mgc_alloc(MIB / 64, NULL, MGC_NOSCAN));
	make_garbage(1);
	uint32_t asked = make_garbage(8);
	printf("  a MiB lives: %u of 8\n", asked);
	CHECK(asked >= 8 || MGC_HOSTILE); /* there each may be one of gcstress */
}

static uint32_t ready, leave;

static void *wait_blocked(void *arg)
{
	mgc_thread_attach();
	mgc_blocking_enter();
	publish(&ready, 1);
	spin_until(&leave, 1);
	mgc_blocking_leave();
	return arg;
}

TEST(beside_other_threads_the_collecting_thread_does_it)
{
	pthread_t other;
	begin();
	CHECK_EQ(pthread_create(&other, NULL, wait_blocked, NULL), 0);
	spin_until(&ready, 1);
	uint32_t asked = make_garbage(8);
	printf("  two threads: %u of 8\n", asked);
	CHECK(asked >= 8 || MGC_HOSTILE);
	publish(&leave, 1);
	pthread_join(other, NULL);
}

/* A request that comes while another one is about to be answered is answered with it: when the collecting thread sees it,
 * nothing is due. */
TEST(a_request_is_answered_once)
{
	begin();
	CHECK(!heap_is_due(&runtime.heap));
	uint64_t n = load_acquire(&runtime.gc.ncycles);
	for (int i = 0; i < 5; i++) {
		CHECK(collector_request(&runtime.gc));
		spin_until(&runtime.gc.collector.wanted, 0);
		doze(0.02);
	}
	CHECK_EQ(load_acquire(&runtime.gc.ncycles), n);
}

/* ── when none came for long ────────────────────────────────────────────────────────────── */

static uint64_t periodic(void)
{
	lock_acquire(&runtime.gc.world);
	uint64_t n = runtime.gc.last.reason == CYCLE_PERIODIC ? runtime.gc.last.number : 0;
	lock_release(&runtime.gc.world);
	return n;
}

static void begin_periodic(int seconds)
{
	CHECK_EQ(mgc_root_add(kept, sizeof kept, 0), 0);
	runtime.gc.knobs.periodic = seconds;
	runtime.gc.knobs.gcstress = 1000000; /* else the hostile build collects all the time */
	runtime.gc.stress_count = 1;
	mgc_collect();
}

/* allocate_for - slowly, but never idle; no cycle comes by itself. */
static void allocate_for(double seconds)
{
	for (int i = 0; i < (int)(seconds * 50); i++) {
		mgc_alloc(16384, NULL, MGC_NOSCAN);
		doze(0.02);
	}
}

TEST(garbage_of_an_idle_program)
{
	begin_periodic(1);
	allocate_for(0.4); /* and then nothing more */
	for (int i = 0; i < 100 && periodic() == 0; i++)
		doze(0.1);
	CHECK(periodic() != 0);
	uint64_t n = load_acquire(&runtime.gc.ncycles);
	doze(2.5); /* nothing was allocated since */
	CHECK_EQ(load_acquire(&runtime.gc.ncycles), n);
}

TEST(garbage_of_a_slow_program)
{
	begin_periodic(1);
	for (int i = 0; i < 20 && periodic() == 0; i++)
		allocate_for(0.5);
	CHECK(periodic() != 0);
}

TEST(no_periodic_ones)
{
	begin_periodic(0);
	uint64_t n = load_acquire(&runtime.gc.ncycles);
	allocate_for(1.5);
	CHECK_EQ(load_acquire(&runtime.gc.ncycles), n);
}

/* ── memory touched ahead of the program ────────────────────────────────────────────────── */

/* who_collects_touches - a large heap came some MiB farther in that phase: was who collects told to touch memory ahead of it? */
static bool who_collects_touches(unsigned phase, uint32_t nprocs)
{
	store_relaxed(&runtime.gc.pool.chore, 0u);
	runtime.gc.workers.limit = nprocs - 1;
	heap_set_phase(&runtime.heap, phase, heap_sweepgen(&runtime.heap));
	background_touch(&runtime.heap);
	return load_relaxed(&runtime.gc.pool.chore) != 0;
}

static size_t touched_by_chore(unsigned phase)
{
	size_t before = runtime.heap.pageheap.touched_pages;
	heap_set_phase(&runtime.heap, phase, heap_sweepgen(&runtime.heap));
	background_chore(&runtime.gc);
	return runtime.heap.pageheap.touched_pages - before;
}

/* The phase is set by hand: WORLD is held, so no cycle begins, and nothing is allocated. */
TEST(who_collects_touches_memory_where_no_processor_is_idle)
{
	setenv("MGC_DEBUG", "background=0", 1);
	begin();
	CHECK(mgc_alloc(160 * MIB, NULL, MGC_NOSCAN) != NULL); /* else the heap is too small */
	lock_acquire(&runtime.gc.world);
	CHECK(!who_collects_touches(PHASE_MARK, 2)); /* nobody does */
	runtime.gc.background_started = 1; /* but sees nothing */
	CHECK(who_collects_touches(PHASE_MARK, 2) && who_collects_touches(PHASE_MARK, 1));
	CHECK(!who_collects_touches(PHASE_MARK, 8));
	CHECK(!who_collects_touches(PHASE_OFF, 2) && !who_collects_touches(PHASE_CLEAR, 2));
	CHECK_EQ(touched_by_chore(PHASE_MARK), 0); /* not told to */
	CHECK(who_collects_touches(PHASE_MARK, 2));
	CHECK_EQ(touched_by_chore(PHASE_CLEAR), 0);
	CHECK_EQ(load_relaxed(&runtime.gc.pool.chore), 1);
	store_relaxed(&runtime.gc.stw.stopping, 1u);
	CHECK_EQ(touched_by_chore(PHASE_MARK), 0);
	store_relaxed(&runtime.gc.stw.stopping, 0u);
	uint64_t begin = os_now_ns();
	CHECK(touched_by_chore(PHASE_MARK) > 0 || MGC_HOSTILE); /* where the heap grows by very little */
	CHECK(runtime.gc.chore_after_ns > begin); /* the mark goes on for a while */
	runtime.gc.chore_after_ns = UINT64_MAX;
	CHECK_EQ(touched_by_chore(PHASE_MARK), 0);
	size_t n = 0;
	for (; load_relaxed(&runtime.gc.pool.chore) != 0; n++) {
		runtime.gc.chore_after_ns = 0;
		CHECK(touched_by_chore(PHASE_MARK) <= 2 * MIB >> MGC_PAGE_SHIFT);
	}
	CHECK(n > 2 || MGC_HOSTILE);
	heap_set_phase(&runtime.heap, PHASE_OFF, heap_sweepgen(&runtime.heap));
	lock_release(&runtime.gc.world);
}

/* ── the first thread ends with pthread_exit ────────────────────────────────────────────── */

#if !MGC_WITH_TSAN /* which has a thread of its own */
static void *outlive(void *arg)
{
	usleep(100000);
	for (int i = 0; i < 20000; i++)
		CHECK(mgc_alloc(256, NULL, MGC_NOSCAN) != NULL);
	mgc_collect();
	usleep(1200000); /* the background thread has tidied up, and sleeps for long */
	return arg;
}

static void say_goodbye(void)
{
	for (int i = 0; i < 1000; i++)
		CHECK(mgc_alloc(32, NULL, 0) != NULL);
	mgc_collect();
	fputs("goodbye", stderr);
}

static void leave_by_thread(void *arg)
{
	pthread_t t;
	bool threads = arg != NULL;
	atexit(say_goodbye);
	begin();
	if (threads)
		CHECK_EQ(pthread_create(&t, NULL, outlive, NULL), 0);
	pthread_exit(NULL);
}

/* Those of the library do not keep a process from ending when all that are the program's have ended. */
TEST(a_process_of_which_only_the_librarys_threads_are_left_ends)
{
	for (uintptr_t threads = 0; threads < 2; threads++) {
		double since = now_seconds();
		struct ending e = ending_of(leave_by_thread, (void *)threads);
		printf("  %.2f s\n", now_seconds() - since);
		CHECK_EQ(e.status, 0);
		CHECK(strcmp(e.text, "goodbye") == 0);
	}
}
#endif
