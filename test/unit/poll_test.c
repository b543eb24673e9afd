/* poll_test.c (plain) - threads that no signal interrupts: none is installed (MGC_INIT_POLL), they block it, or
 * somebody took it away; who is late is named; what a signal interrupts and what not (EINTR).
 * not under: thread, cross */
#include <poll.h>
#include <sys/syscall.h>

#include "lib/afar.h"
#include "lib/step.h"

#include <mallocgc-inline.h>

#include "face/runtime.h"

/* caught_signals - as the kernel has them. */
static uint64_t caught_signals(void)
{
	char line[256];
	unsigned long long mask = 0;
	FILE *f = fopen("/proc/self/status", "r");
	CHECK(f != NULL);
	while (fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "SigCgt: %llx", &mask) == 1)
			break;
	fclose(f);
	return mask;
}

static void *make_object(void *arg)
{
	void *p = mgc_alloc(64, NULL, MGC_NOSCAN);
	*(uintptr_t *)arg = hide(p);
	return NULL;
}

/* new_object - made by another thread, for which this one must not wait as RUNNING: a cycle that is under way,
 * or that the allocation begins, waits for this one's answer, and the other for the cycle. */
static uintptr_t new_object(void)
{
	uintptr_t hidden;
	mgc_blocking_enter();
	on_thread(make_object, &hidden);
	mgc_blocking_leave();
	return hidden;
}

static struct {
	uintptr_t hidden;
	uint32_t ready, leave;
	void (*wait)(void); /* one step of waiting */
} held;

/* hold - an object on its stack, while it waits in its way. */
static void *hold(void *arg)
{
	void *volatile local = NULL;
	CHECK_EQ(mgc_thread_attach(), 0);
	put_afar((void **)(uintptr_t)&local, held.hidden);
	publish(&held.ready, 1);
	while (__atomic_load_n(&held.leave, __ATOMIC_ACQUIRE) == 0)
		held.wait();
	local = NULL;
	return arg;
}

static pthread_t start_holder(void (*wait)(void))
{
	pthread_t t;
	held.wait = wait;
	CHECK_EQ(pthread_create(&t, NULL, hold, NULL), 0);
	mgc_blocking_enter();
	spin_until(&held.ready, 1);
	mgc_blocking_leave();
	return t;
}

static void end_holder(pthread_t t)
{
	publish(&held.leave, 1);
	mgc_blocking_enter();
	pthread_join(t, NULL);
	mgc_blocking_leave();
}

static void collect_twice(void)
{
	mgc_blocking_enter();
	collect_afar();
	collect_afar();
	mgc_blocking_leave();
}

static void wait_polling(void)
{
	mgc_safepoint();
}

static void wait_allocating(void)
{
	mgc_keep_alive(mgc_alloc(2000, NULL, MGC_NOSCAN));
}

static void wait_storing(void)
{
	static void *word;
	mgc_write(&word, NULL);
}

static void wait_blocking(void)
{
	mgc_blocking_enter();
	usleep(1000);
	mgc_blocking_leave();
}

static void (*const ways[])(void) = { wait_polling, wait_allocating, wait_storing, wait_blocking };
enum { NWAYS = sizeof ways / sizeof ways[0] };

static void check_holder(void (*wait)(void))
{
	held.ready = held.leave = 0;
	mgc_set_percent(-1); /* nobody has the object until it is put: no cycle comes by itself */
	held.hidden = new_object();
	pthread_t t = start_holder(wait);
	collect_twice();
	mgc_blocking_enter();
	CHECK(is_alive(held.hidden));
	mgc_blocking_leave();
	end_holder(t);
}

/* ── those that wait for a cycle that runs, which waits for them ── */

static void wait_setting(void)
{
	mgc_set_percent(-1);
}

static void wait_limiting(void)
{
	mgc_set_memory_limit(-1);
}

static void wait_releasing(void)
{
	mgc_release();
}

static void wait_adding_globals(void)
{
	CHECK_EQ(mgc_root_add_globals(), 0);
}

static void (*const waits[])(void) = { wait_setting, wait_limiting, wait_releasing, wait_adding_globals };
enum { NWAITS = sizeof waits / sizeof waits[0] };

TEST(polls_of_who_waits_for_the_cycle)
{
	CHECK_EQ(mgc_init(MGC_INIT_POLL), 0);
	for (size_t i = 0; i < NWAITS; i++)
		check_holder(waits[i]);
}

/* A cycle stands because this thread does not poll: it reads what the last one found. */
TEST(figures_are_read_while_a_cycle_runs)
{
	struct mgc_stats before = { .struct_size = sizeof before }, now = { .struct_size = sizeof now };
	pthread_t t;
	CHECK_EQ(mgc_init(MGC_INIT_POLL), 0);
	mgc_collect();
	mgc_read_stats(&before);
	CHECK_EQ(pthread_create(&t, NULL, collect, NULL), 0);
	while (load_relaxed(&runtime.heap.trigger_nbytes) != 0) /* so that every refill is debited */
		sched_yield();
	mgc_read_stats(&now);
	CHECK(now.cycles == before.cycles && now.pause_total_ns == before.pause_total_ns);
	CHECK_EQ(now.heap_goal, before.heap_goal);
	mgc_blocking_enter();
	pthread_join(t, NULL);
	mgc_blocking_leave();
	mgc_read_stats(&now);
	CHECK(now.cycles == before.cycles + 1 && now.forced_cycles == before.forced_cycles + 1);
}

/* ── no handler ─────────────────────────────────────────────────────────────────────────── */

static void *nothing(void *arg)
{
	return arg;
}

static unsigned handlers_with(unsigned flags)
{
	on_thread(nothing, NULL); /* the C library has one, from the first thread on */
	uint64_t before = caught_signals();
	CHECK_EQ(mgc_init(flags), 0);
	for (size_t i = 0; i < NWAYS; i++)
		check_holder(ways[i]);
	return (unsigned)__builtin_popcountll(caught_signals() & ~before);
}

TEST(no_signal_handler)
{
	CHECK_EQ(handlers_with(MGC_INIT_POLL), 0);
	CHECK_EQ(runtime.gc.last.nsignals, 0);
}

TEST(one_signal_handler)
{
	CHECK_EQ(handlers_with(0), 1);
}

TEST(init_comes_first)
{
	CHECK(mgc_init(0x100) == -1 && errno == EINVAL);
	CHECK_EQ(mgc_init(MGC_INIT_POLL), 0);
	CHECK(mgc_init(0) == -1 && errno == EALREADY);
}

/* Where the kernel has no membarrier the quiescence, too, is answered at safepoints. */
TEST(polls_without_membarrier)
{
	CHECK_EQ(mgc_init(MGC_INIT_POLL), 0);
	runtime.gc.stw.no_membarrier = true;
	for (size_t i = 0; i < NWAYS; i++)
		check_holder(ways[i]);
}

TEST(polls_and_one_stop)
{
	setenv("MGC_DEBUG", "stoproots=1", 1);
	CHECK_EQ(mgc_init(MGC_INIT_POLL), 0);
	for (size_t i = 0; i < NWAYS; i++)
		check_holder(ways[i]);
}

#if !defined(MGC_SANITIZE_ADDRESS)
TEST(fork_among_polls)
{
	CHECK_EQ(mgc_init(MGC_INIT_POLL), 0);
	held.hidden = new_object();
	pthread_t t = start_holder(wait_polling);
	for (int i = 0; i < 5; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			mgc_collect();
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK_EQ(status, 0);
	}
	end_holder(t);
}
#endif

/* ── threads that are late are named ────────────────────────────────────────────────────── */

static double lazy_until;
static bool lazy_masks, lazy_vforks;

static void be_lazy(void)
{
	sigset_t all;
	sigfillset(&all);
	if (lazy_masks)
		pthread_sigmask(SIG_SETMASK, &all, NULL);
	if (lazy_vforks) {
		pid_t pid = vfork();
		if (pid == 0) {
			struct timespec t = { 2, 700000000 };
			nanosleep(&t, NULL);
			_exit(0);
		}
		CHECK(pid > 0);
	}
	while (now_seconds() < lazy_until)
		;
	mgc_safepoint();
}

static void collect_with_a_lazy_one(void *arg)
{
	bool polls = arg == NULL;
	if (polls)
		CHECK_EQ(mgc_init(MGC_INIT_POLL), 0);
	lazy_until = now_seconds() + (lazy_vforks ? 0 : 2.7);
	held.hidden = new_object();
	pthread_t t = start_holder(be_lazy);
	usleep(50000);
	mgc_collect();
	fprintf(stderr, "collected\n");
	end_holder(t);
}

static void check_named(void *arg, const char *why)
{
	struct ending e = ending_of(collect_with_a_lazy_one, arg);
	CHECK_EQ(e.status, 0);
	const char *named = strstr(e.text, "delays a collection"),
		   *after = strstr(e.text, "collected\n");
	if (named == NULL || after == NULL || named > after || strstr(e.text, why) == NULL)
		printf("  wanted \"%s\", got \"%s\"\n", why, e.text);
	CHECK(named != NULL && after != NULL && named < after && strstr(e.text, why) != NULL);
}

TEST(a_thread_that_does_not_poll_is_named)
{
	check_named(NULL, "it does not poll");
}

TEST(a_thread_that_blocks_the_signal_is_named)
{
	lazy_masks = true;
	check_named("", "it blocks the signal");
}

TEST(a_thread_in_vfork_is_named)
{
	lazy_vforks = true;
	check_named("", "it waits in the kernel");
}

/* ── the signal is blocked ──────────────────────────────────────────────────────────────── */

static void block_signals(void)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void (*way)(void);

static void wait_masked(void)
{
	block_signals();
	way();
}

TEST(threads_that_block_all_signals)
{
	for (size_t i = 0; i < NWAYS; i++) {
		way = ways[i];
		check_holder(wait_masked);
	}
}

TEST(threads_that_block_all_signals_and_wait_for_the_cycle)
{
	for (size_t i = 0; i < NWAITS; i++) {
		way = waits[i];
		check_holder(wait_masked);
	}
}

/* ── and wait for others, as RUNNING ones: the cycle waits for their snapshot, and nobody else for the cycle ── */

static struct mgc_type waited_type = { .name = "waited", .size = 48, .ptr_bytes = 48 };
static void *waited_root;
static struct {
	void *words[16], *top; /* an owned range */
	uint32_t in_cycle; /* one has begun, and waits */
	uintptr_t hidden;
} waited;

/* end_in_cycle - it has an owned range, runs in hand and a shaded word, and ends while others are waited for. */
static void *end_in_cycle(void *arg)
{
	waited.top = waited.words + 1;
	CHECK_EQ(mgc_root_add_owned(waited.words, sizeof waited.words, &waited.top), 0);
	waited.words[0] = mgc_new(&waited_type);
	publish(&held.ready, 1);
	spin_until(&waited.in_cycle, 1);
	mgc_write(&waited_root, waited.words[0]);
	waited.hidden = hide(waited.words[0]);
	return arg;
}

static void *begin_in_cycle(void *arg)
{
	mgc_keep_alive(mgc_new(&waited_type)); /* its first call */
	return arg;
}

static void *collect_and_tell(void *arg)
{
	mgc_collect();
	return arg;
}

/* wait_for_births_and_deaths - in a cycle that waits for the caller in that phase. */
static void wait_for_births_and_deaths(unsigned phase)
{
	pthread_t ending, beginning, collecting;
	CHECK_EQ(mgc_root_add(&waited_root, sizeof waited_root, 0), 0);
	mgc_set_percent(-1);
	held.ready = waited.in_cycle = 0;
	block_signals();
	CHECK_EQ(pthread_create(&ending, NULL, end_in_cycle, NULL), 0);
	mgc_blocking_enter();
	spin_until(&held.ready, 1);
	mgc_blocking_leave();
	CHECK_EQ(pthread_create(&collecting, NULL, collect_and_tell, NULL), 0);
	while (heap_phase(&runtime.heap) != phase)
		sched_yield();
	publish(&waited.in_cycle, 1);
	pthread_join(ending, NULL);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(pthread_create(&beginning, NULL, begin_in_cycle, NULL), 0);
		pthread_join(beginning, NULL);
	}
	CHECK_EQ(heap_phase(&runtime.heap), phase); /* all that while we were waited for */
	mgc_safepoint();
	mgc_blocking_enter();
	pthread_join(collecting, NULL);
	CHECK(is_alive(waited.hidden));
	mgc_blocking_leave();
	mgc_write(&waited_root, NULL);
	/* the range went with its thread */
	CHECK_EQ(mgc_root_add_owned(waited.words, sizeof waited.words, &waited.top), 0);
	CHECK_EQ(mgc_root_remove(waited.words), 0);
	CHECK_EQ(mgc_root_remove(&waited_root), 0);
}

static void wait_in_cycles(bool membarrier)
{
	setenv("MGC_DEBUG", "gcstress=1000000,clobberfree=1", 1);
	mgc_thread_attach();
	runtime.gc.stw.no_membarrier = !membarrier;
	for (int i = 0; i < 10; i++)
		wait_for_births_and_deaths(membarrier ? PHASE_ROOTS : PHASE_ARM);
}

TEST(threads_that_block_all_signals_and_join)
{
	wait_in_cycles(true);
}

/* Where the kernel has no membarrier the quiescence waits for them, too. */
TEST(threads_that_block_all_signals_and_join_without_membarrier)
{
	wait_in_cycles(false);
}

/* ── a signal between the release of a lock and the look whether a stop was wanted meanwhile ── */

static void (*take_snapshot)(struct mutator *m);
static uint32_t ntaken;
static MGC_TLS uint32_t ninside;

static void count_snapshot(struct mutator *m)
{
	CHECK_EQ(ninside, 0); /* the release of a lock that the snapshot takes is no place for another */
	ninside++;
	take_snapshot(m);
	ninside--;
	ntaken++;
}

/* wait_on_the_brink - what an earlier signal left, when the lock was held. */
static void wait_on_the_brink(void)
{
	store_relaxed(&lock_thread.stop_wanted, 1u);
}

TEST(a_signal_at_the_release_of_a_lock_is_answered_once)
{
	mgc_thread_attach();
	take_snapshot = runtime.gc.stw.snapshot;
	runtime.gc.stw.snapshot = count_snapshot;
	for (int i = 0; i < 10; i++)
		check_holder(wait_on_the_brink);
	CHECK_EQ(ntaken, 20);
}

/* Two signals between any two instructions of a thread that takes locks, inside sections and around them: first one
 * that comes for nothing, then one for a snapshot. It is taken once, before the thread is out of all, and while it has no
 * lock. */
#if STEP_WORKS
static struct lock outer = LOCK_INIT(CENTRAL), inner = LOCK_INIT(RECORDS);
/* The second comes at most so many instructions later. */
#define NEAR 16
static size_t second_step;
static bool asked_for;

static void count_locked_snapshot(struct mutator *m)
{
	CHECK_EQ(ninside, 0);
	CHECK_EQ(lock_thread.nheld, 0);
	ninside++;
	lock_acquire(&inner);
	lock_release(&inner);
	ninside--;
	ntaken++;
	store_release(&m->taken, heap_sweepgen(m->heap));
}

static void release_outside(void *arg)
{
	lock_acquire(&outer);
	lock_release(&outer);
	(void)arg;
}

static void release_in_section(void *arg)
{
	mutator_enter(arg);
	lock_acquire(&outer);
	lock_release(&outer);
	mutator_leave(arg);
}

static void leave_with_lock(void *arg)
{
	lock_acquire(&outer);
	mutator_enter(arg);
	mutator_leave(arg);
	lock_release(&outer);
}

static void ask_for_snapshot(void)
{
	asked_for = true;
	heap_set_phase(&runtime.heap, PHASE_ROOTS, heap_sweepgen(&runtime.heap));
	stw_interrupt(&runtime.gc.stw, mutator_self());
}

static void ask_for_nothing(void)
{
	stw_interrupt(&runtime.gc.stw, mutator_self());
	step_again(second_step, ask_for_snapshot);
}

/* snapshot_at - false: fn had fewer instructions. */
static bool snapshot_at(void (*fn)(void *), size_t first, size_t second)
{
	struct mutator *m = mutator_self();
	second_step = second;
	asked_for = false;
	ntaken = 0;
	m->taken = 0;
	step_run(fn, m, first, ask_for_nothing);
	heap_set_phase(&runtime.heap, PHASE_OFF, heap_sweepgen(&runtime.heap));
	CHECK_EQ(ntaken, asked_for ? 1 : 0);
	CHECK(lock_thread.nheld == 0 && lock_thread.stop_wanted == 0 && m->sec == 0);
	return asked_for;
}

TEST(two_signals_between_any_two_instructions_around_locks)
{
	static void (*const fns[])(void *) = { release_outside, release_in_section, leave_with_lock };
	const size_t stride = MGC_WITH_ASAN ? 311
			      : MGC_HOSTILE ? 61
					    : 1; /* checks are long there */
	size_t n = 0;
	mgc_thread_attach();
	mgc_set_percent(-1);
	runtime.gc.stw.snapshot = count_locked_snapshot;
	for (size_t i = 0; i < sizeof fns / sizeof fns[0]; i++)
		for (size_t first = 0; snapshot_at(fns[i], first, 0); first += stride)
			for (size_t second = stride;
			     second <= NEAR * stride && snapshot_at(fns[i], first, second);
			     second += stride)
				n++;
	printf("  %zu pairs\n", n);
	CHECK(n > 30);
}
#endif

/* ── the signal is somebody else's ──────────────────────────────────────────────────────── */

static void wait_running(void)
{
}

static uint32_t ntheirs;

static void their_handler(int sig)
{
	(void)sig;
	__atomic_add_fetch(&ntheirs, 1, __ATOMIC_RELAXED);
}

static void steal(void *arg)
{
	struct sigaction sa = { .sa_handler = (void (*)(int))(void (*)(void))arg };
	check_holder(wait_running);
	int sig = runtime.gc.stw.signal;
	CHECK_EQ(sigaction(sig, &sa, NULL), 0);
	check_holder(wait_running);
	if (arg != (void *)(void (*)(void))their_handler)
		return;
	raise(sig); /* it still gets what is not ours */
	CHECK_EQ(ntheirs, 1);
}

static void check_steal(void *handler)
{
	struct ending e = ending_of(steal, handler);
	if (e.status != 0)
		printf("  %s\n", e.text);
	CHECK_EQ(e.status, 0);
	CHECK(strstr(e.text, "was replaced by the program or a library") != NULL);
}

TEST(a_signal_that_was_taken_over_is_taken_back)
{
	check_steal((void *)(void (*)(void))their_handler);
	check_steal((void *)SIG_IGN);
	check_steal((void *)SIG_DFL);
}

/* ── what is interrupted, and what not ──────────────────────────────────────────────────── */

static int in_pipe[2];
static ssize_t read_result;
static int sleep_result, poll_result, poll_errno;

static void wait_reading(void)
{
	char c;
	read_result = read(in_pipe[0], &c, 1);
}

static void wait_sleeping(void)
{
	struct timespec t = { 20, 0 };
	sleep_result = nanosleep(&t, NULL);
}

static void wait_in_poll(void)
{
	struct pollfd p = { .fd = in_pipe[0], .events = POLLIN };
	poll_result = poll(&p, 1, 20000);
	poll_errno = errno;
}

static void wait_in_poll_blocking(void)
{
	mgc_blocking_enter();
	wait_in_poll();
	mgc_blocking_leave();
}

/* interrupt_once - collects while the holder waits so; what else ends its waiting follows. */
static pthread_t interrupt_once(void (*wait)(void))
{
	held.ready = held.leave = 0;
	mgc_set_percent(-1); /* nobody has the object until it is put: no cycle comes by itself */
	held.hidden = new_object();
	pthread_t t = start_holder(wait);
	usleep(100000); /* it sleeps in the kernel by now */
	collect_twice();
	usleep(50000);
	return t;
}

TEST(eintr)
{
	CHECK_EQ(pipe(in_pipe), 0);
	pthread_t t = interrupt_once(wait_reading); /* restarts */
	publish(&held.leave, 1);
	CHECK_EQ(read_result, 0);
	CHECK_EQ(write(in_pipe[1], "x", 1), 1);
	end_holder(t);
	CHECK_EQ(read_result, 1);

	t = interrupt_once(wait_sleeping); /* does not */
	CHECK_EQ(sleep_result, -1);
	publish(&held.leave, 1);
	mgc_collect();
	end_holder(t);

	t = interrupt_once(wait_in_poll);
	CHECK(poll_result == -1 && poll_errno == EINTR);
	publish(&held.leave, 1);
	CHECK_EQ(write(in_pipe[1], "x", 1), 1);
	end_holder(t);
	CHECK_EQ(read(in_pipe[0], &poll_errno, 1), 1);

	poll_result = -2;
	t = interrupt_once(wait_in_poll_blocking); /* no signal comes there */
	CHECK_EQ(poll_result, -2);
	publish(&held.leave, 1);
	CHECK_EQ(write(in_pipe[1], "x", 1), 1);
	end_holder(t);
	CHECK_EQ(poll_result, 1);
}
