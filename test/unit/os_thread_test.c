/* os_thread_test.c - os/os.h: clocks, processors, waiting, thread ids, stacks, helpers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "lib/probe.h"
#include "os/os.h"

#define MS UINT64_C(1000000)

TestSuite(os_thread, .timeout = 30);

static pthread_t start(void *(*fn)(void *), void *arg)
{
	pthread_t thread;
	cr_assert_eq(pthread_create(&thread, NULL, fn, arg), 0);
	return thread;
}

/* await - until *word is value; the test's time limit is the way out. */
static void await(uint32_t *word, uint32_t value)
{
	while (load_acquire(word) != value)
		os_yield();
}

/* in_child - runs fn in a forked child, which must find it true. */
static bool in_child(bool (*fn)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(fn() ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ── time and processors ────────────────────────────────────────────────────────────────── */

Test(os_thread, clocks)
{
	uint64_t t0 = os_now_ns(), c0 = os_cpu_ns(), h0 = os_thread_cpu_ns();
	cr_assert_gt(t0, 0);
	os_sleep_ns(20 * MS);
	uint64_t t1 = os_now_ns();
	cr_assert_geq(t1 - t0, 20 * MS);
	cr_assert_lt(os_thread_cpu_ns() - h0, 20 * MS, "sleeping is no work");
	while (os_thread_cpu_ns() - h0 < 10 * MS)
		;
	cr_assert_geq(os_cpu_ns() - c0, 10 * MS);
	for (int i = 0; i < 1000; i++) {
		uint64_t t = os_now_ns();
		cr_assert_geq(t, t1);
		t1 = t;
	}
	os_sleep_ns(0);
	os_sleep_ns(1);
}

static void nothing(int sig)
{
	(void)sig;
}

static void *interrupt_often(void *arg)
{
	for (int i = 0; i < 20; i++) {
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
		os_sleep_ns(2 * MS);
	}
	return NULL;
}

Test(os_thread, sleep_survives_signals)
{
	pthread_t self = pthread_self();
	signal(SIGUSR1, nothing);
	pthread_t other = start(interrupt_often, &self);
	uint64_t t = os_now_ns();
	os_sleep_ns(60 * MS);
	cr_assert_geq(os_now_ns() - t, 60 * MS);
	pthread_join(other, NULL);
}

Test(os_thread, nprocs_follows_affinity)
{
	cpu_set_t all, one;
	cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
	unsigned n = os_nprocs();
	cr_assert(n >= 1 && n <= (unsigned)CPU_COUNT(&all));
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &all)) {
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			break;
		}
	}
	cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
	cr_assert_eq(os_nprocs(), 1);
}

Test(os_thread, random)
{
	uint64_t a = os_random(), ones = a, zeros = ~a;
	for (int i = 0; i < 200; i++) {
		uint64_t b = os_random();
		cr_assert_neq(a, b);
		ones |= b;
		zeros |= ~b;
		a = b;
	}
	cr_assert_eq(ones & zeros, UINT64_MAX, "every bit was 0 once and 1 once");
}

/* ── waiting ────────────────────────────────────────────────────────────────────────────── */

static uint32_t word, ready, woken;

Test(os_thread, wait_returns_at_once_when_changed)
{
	word = 5;
	errno = 77;
	cr_assert_eq(os_wait(&word, 4, 0), 0);
	cr_assert_eq(errno, 77);
}

Test(os_thread, wait_times_out)
{
	uint64_t t = os_now_ns();
	word = 5;
	errno = 77;
	cr_assert_eq(os_wait(&word, 5, 30 * MS), ETIMEDOUT);
	cr_assert_geq(os_now_ns() - t, 30 * MS);
	cr_assert_eq(errno, 77);
}

static void *waiter(void *arg)
{
	(void)arg;
	add_acq_rel(&ready, 1u);
	while (load_acquire(&word) == 0) {
		int why = os_wait(&word, 0, 0);
		cr_assert(why == 0 || why == EINTR, "%d", why); /* look again */
	}
	add_acq_rel(&woken, 1u);
	return NULL;
}

Test(os_thread, wake)
{
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		threads[i] = start(waiter, NULL);
	await(&ready, 4);
	os_sleep_ns(20 * MS);
	cr_assert_eq(load_acquire(&woken), 0);
	store_release(&word, 1u);
	errno = 77;
	os_wake(&word, UINT32_MAX);
	cr_assert_eq(errno, 77);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(load_acquire(&woken), 4);
}

static void *interrupted_waiter(void *result)
{
	store_release(&ready, 1u);
	*(int *)result = os_wait(&word, 0, 0);
	store_release(&woken, 1u);
	return NULL;
}

Test(os_thread, wait_ends_on_a_signal)
{
	int result = -1;
	struct sigaction sa = { 0 };
	sa.sa_handler = nothing; /* without SA_RESTART */
	sigaction(SIGUSR1, &sa, NULL);
	pthread_t thread = start(interrupted_waiter, &result);
	await(&ready, 1);
	while (load_acquire(&woken) == 0) {
		pthread_kill(thread, SIGUSR1);
		os_sleep_ns(MS);
	}
	pthread_join(thread, NULL);
	cr_assert_eq(result, EINTR);
}

/* ── the process-wide fence ─────────────────────────────────────────────────────────────── */

static bool fence(void)
{
	return os_membarrier();
}

/* Dekker with only compiler fences on one side: without the other's membarrier, both would see 0
 * now and then (that is what x86 reorders). */
static uint32_t mine, theirs, their_view, round_no;

static void *fast_side(void *arg)
{
	(void)arg;
	for (uint32_t i = 1; i <= 3000; i++) {
		for (unsigned spins = 0; load_acquire(&round_no) != i; spins++)
			if (spins > 10000) /* the other does not run */
				os_yield();
		store_relaxed(&theirs, 1u);
		MGC_COMPILER_FENCE();
		store_release(&their_view, load_relaxed(&mine) + 1);
	}
	return NULL;
}

Test(os_thread, membarrier)
{
	errno = 77;
	bool works = os_membarrier();
	cr_assert_eq(errno, 77);
	for (int i = 0; i < 100; i++)
		cr_assert_eq(os_membarrier(), works);
	cr_assert_eq(in_child(fence), works);
	if (!works)
		return;
	pthread_t other = start(fast_side, NULL);
	for (uint32_t i = 1; i <= 3000; i++) {
		mine = theirs = their_view = 0;
		store_release(&round_no, i);
		store_relaxed(&mine, 1u);
		cr_assert(os_membarrier());
		uint32_t my_view = load_relaxed(&theirs);
		while (load_acquire(&their_view) == 0)
			os_yield();
		cr_assert(my_view == 1 || load_relaxed(&their_view) == 2, "round %u", i);
	}
	pthread_join(other, NULL);
}

/* ── ids and stacks ─────────────────────────────────────────────────────────────────────── */

static bool id_is_new(void)
{
	return os_self() == getpid();
}

static void *get_id(void *arg)
{
	*(os_tid *)arg = os_self();
	return NULL;
}

Test(os_thread, self)
{
	os_tid other = 0;
	cr_assert_eq(os_self(), getpid());
	pthread_join(start(get_id, &other), NULL);
	cr_assert(other != 0 && other != os_self());
	cr_assert(in_child(id_is_new), "not cached across fork");
}

static bool bounds_hold(void)
{
	uintptr_t lo = 0, hi = 0, here = (uintptr_t)__builtin_frame_address(0);
	return os_stack_bounds(&lo, &hi) == 0 && lo <= here && here < hi;
}

/* bounds_hold_below - the same, 2 MiB further down. */
static MGC_NOINLINE bool bounds_hold_below(void)
{
	char room[2 << 20];
	room[0] = 1;
	MGC_KEEP(room);
	return bounds_hold();
}

Test(os_thread, stack_of_the_first_thread)
{
	uintptr_t lo, hi;
	struct rlimit limit;
	cr_assert_eq(os_stack_bounds(&lo, &hi), 0);
	uintptr_t here = (uintptr_t)&lo;
	cr_assert(lo <= here && here < hi);
	cr_assert_eq(hi % os_page_size(), 0);
	cr_assert(probe_all_readable(here, hi), "mapped up to the end");
	cr_assert(!probe_readable(hi) || PROBE_EMULATED, "and nothing behind it");
	cr_assert_eq(getrlimit(RLIMIT_STACK, &limit), 0);
	if (limit.rlim_cur != RLIM_INFINITY)
		cr_assert_leq(hi - lo, limit.rlim_cur + os_page_size());
	cr_assert(bounds_hold_below(), "before it has grown there");
	cr_assert(in_child(bounds_hold));
}

/* leave_proc - this process sees an empty folder as its root. False: the system does not let it. */
static bool leave_proc(void)
{
	char folder[] = "/tmp/mallocgc-root-XXXXXX";
	if (mkdtemp(folder) == NULL)
		return false;
	bool left = chroot(folder) == 0 || (unshare(CLONE_NEWUSER) == 0 && chroot(folder) == 0);
	rmdir(folder);
	return left && access("/proc/self/maps", F_OK) != 0;
}

static bool bounds_hold_without_proc(void)
{
	uintptr_t lo, hi, lo_untold, hi_untold;
	if (os_stack_bounds(&lo, &hi) != 0 || !leave_proc())
		return true;
	return os_stack_bounds(&lo_untold, &hi_untold) == 0 && hi_untold == hi &&
	       lo_untold < (uintptr_t)&lo && bounds_hold_below();
}

Test(os_thread, stack_of_the_first_thread_without_proc)
{
	cr_assert(in_child(bounds_hold_without_proc), "as in a chroot that has none");
}

static void *check_bounds(void *arg)
{
	*(bool *)arg = bounds_hold();
	return NULL;
}

static void *check_bounds_exact(void *arg)
{
	uintptr_t *expected = arg, lo, hi;
	if (os_stack_bounds(&lo, &hi) == 0 && lo == expected[0] && hi <= expected[1] &&
	    hi > (uintptr_t)&lo)
		expected[0] = 0;
	return NULL;
}

Test(os_thread, stack_of_a_thread)
{
	bool ok = false;
	pthread_join(start(check_bounds, &ok), NULL);
	cr_assert(ok);
}

/* The whole range can be read, above the guard: a scan from the stack pointer never faults. */
static void *read_all(void *arg)
{
	uintptr_t lo, hi;
	if (os_stack_bounds(&lo, &hi) == 0 && probe_all_readable(lo, hi))
		*(bool *)arg = true;
	return NULL;
}

Test(os_thread, stack_without_its_guard)
{
	static const size_t guards[] = { 0, 4096, 5000, 65536 };
	for (size_t i = 0; i < sizeof guards / sizeof guards[0]; i++) {
		pthread_attr_t attr;
		pthread_t thread;
		bool ok = false;
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, 1 << 20);
		pthread_attr_setguardsize(&attr, guards[i]);
		cr_assert_eq(pthread_create(&thread, &attr, read_all, &ok), 0);
		pthread_join(thread, NULL);
		cr_assert(ok, "guard of %zu", guards[i]);
		pthread_attr_destroy(&attr);
	}
}

Test(os_thread, stack_of_the_callers_choice)
{
	pthread_attr_t attr;
	pthread_t thread;
	size_t nbytes = 512 << 10;
	uintptr_t at = os_alloc(nbytes);
	uintptr_t expected[2] = { at, at + nbytes };
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, (void *)at, nbytes);
	cr_assert_eq(pthread_create(&thread, &attr, check_bounds_exact, expected), 0);
	pthread_join(thread, NULL);
	cr_assert_eq(expected[0], 0);
}

/* fork in a thread: the child's first thread lives on that thread's stack. */
static void *fork_here(void *arg)
{
	*(bool *)arg = in_child(bounds_hold);
	return NULL;
}

Test(os_thread, stack_after_fork_in_a_thread)
{
	bool ok = false;
	pthread_join(start(fork_here, &ok), NULL);
	cr_assert(ok);
}

Test(os_thread, altstack)
{
	uintptr_t lo = 1, hi = 1;
	stack_t off = { .ss_flags = SS_DISABLE }, on = { .ss_size = 65536 };
	cr_assert_eq(sigaltstack(&off, NULL), 0);
	cr_assert(!os_altstack(&lo, &hi));
	on.ss_sp = malloc(on.ss_size);
	cr_assert_eq(sigaltstack(&on, NULL), 0);
	cr_assert(os_altstack(&lo, &hi));
	cr_assert_eq(lo, (uintptr_t)on.ss_sp);
	cr_assert_eq(hi - lo, on.ss_size);
	cr_assert_eq(sigaltstack(&off, NULL), 0);
	cr_assert(!os_altstack(&lo, &hi));
	free(on.ss_sp);
}

/* ── helpers ────────────────────────────────────────────────────────────────────────────── */

struct helper {
	uint32_t done;
	os_tid tid;
	bool all_blocked, deep;
	char name[32];
};

static MGC_NOINLINE bool use_stack(void)
{
	char room[160 << 10];
	memset(room, 1, sizeof room);
	MGC_KEEP(room);
	return room[sizeof room - 1] == 1;
}

static void helper(void *arg)
{
	struct helper *h = arg;
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	h->all_blocked = true;
	for (int sig = 1; sig <= SIGRTMAX - (PROBE_EMULATED ? 2 : 0); sig++)
		if (sig != SIGKILL && sig != SIGSTOP && (sig < 32 || sig >= SIGRTMIN))
			h->all_blocked &= sigismember(&mask, sig) == 1;
	h->tid = os_self();
	h->deep = use_stack();
	pthread_getname_np(pthread_self(), h->name, sizeof h->name);
	store_release(&h->done, 1u);
}

Test(os_thread, spawn)
{
	struct helper h = { 0 };
	sigset_t before, after;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	cr_assert_eq(os_spawn(helper, &h, "mgc-test"), 0);
	await(&h.done, 1);
	cr_assert_neq(h.tid, os_self());
	cr_assert(h.all_blocked);
	cr_assert(h.deep);
	cr_assert_str_eq(h.name, "mgc-test");
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (int sig = 1; sig < 65; sig++)
		cr_assert_eq(sigismember(&before, sig), sigismember(&after, sig));
}

Test(os_thread, spawn_cuts_long_names)
{
	struct helper h = { 0 };
	cr_assert_eq(os_spawn(helper, &h, "a-name-of-more-than-fifteen-bytes"), 0);
	await(&h.done, 1);
	cr_assert_str_eq(h.name, "a-name-of-more-");
}

static void count_up(void *arg)
{
	add_acq_rel((uint32_t *)arg, 1u);
}

Test(os_thread, spawn_many)
{
	uint32_t n = 0;
	for (int i = 0; i < 200; i++)
		cr_assert_eq(os_spawn(count_up, &n, "mgc-many"), 0);
	await(&n, 200);
}

Test(os_thread, spawn_refused)
{
	struct rlimit none = { 0, 0 };
	uint32_t n = 0;
	if (setrlimit(RLIMIT_NPROC, &none) != 0 || setuid(65534) != 0)
		return; /* root may always */
	int error = os_spawn(count_up, &n, "mgc-no");
	cr_assert_eq(error, EAGAIN);
	cr_assert_eq(n, 0);
}

/* ── who blocks what ────────────────────────────────────────────────────────────────────── */

static void *block_and_wait(void *arg)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMAX - 2);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	*(os_tid *)arg = os_self();
	store_release(&ready, 1u);
	while (load_acquire(&word) == 0)
		os_wait(&word, 0, 0);
	return NULL;
}

Test(os_thread, blocks)
{
	os_tid tid;
	pthread_t thread = start(block_and_wait, &tid);
	await(&ready, 1);
	cr_assert(os_thread_blocks(tid, SIGUSR2));
	cr_assert(os_thread_blocks(tid, SIGRTMAX - 2) || PROBE_EMULATED,
		  "numbered otherwise there");
	cr_assert(!os_thread_blocks(tid, SIGUSR1));
	cr_assert(!os_thread_blocks(tid, SIGRTMAX - 3));
	cr_assert(!os_thread_blocks(os_self(), SIGUSR2));
	cr_assert(!os_thread_blocks(tid, 0));
	cr_assert(!os_thread_blocks(tid, 65));
	store_release(&word, 1u);
	os_wake(&word, 1);
	pthread_join(thread, NULL);
	while (syscall(SYS_tgkill, getpid(), tid, 0) == 0)
		os_yield();
	cr_assert(!os_thread_blocks(tid, SIGUSR2), "gone");
}
