/* os_signal_test.c - os/os.h: the signal that stops threads. What the handler is told about the
 * interrupted thread, on which stack, and what happens to signals that are not ours. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "os/os.h"

#define MS UINT64_C(1000000)
#define MARK UINT64_C(0x5ca1ab1e0ddba11)

TestSuite(os_signal, .timeout = 30);

static void await(uint32_t *word, uint32_t value)
{
	while (load_acquire(word) != value)
		os_yield();
}

/* What the handler saw, and of which thread. */
static struct {
	uint32_t calls;
	os_tid tid;
	uintptr_t sp, frame;
	const uintptr_t *regs;
	size_t nregs, marks;
} seen;

/* ncalls - so far. ThreadSanitizer delivers signals at atomics, so it must be one. */
static uint32_t ncalls(void)
{
	return load_acquire(&seen.calls);
}

static MGC_NO_SANITIZE void on_stop(uintptr_t sp, const uintptr_t *regs, size_t nregs)
{
	seen.marks = 0;
	for (size_t i = 0; i < nregs; i++)
		seen.marks += ((const volatile uintptr_t *)regs)[i] == MARK;
	seen.tid = os_self();
	seen.sp = sp;
	seen.frame = (uintptr_t)__builtin_frame_address(0);
	seen.regs = regs;
	seen.nregs = nregs;
	errno = EDOM; /* must not show outside */
	add_acq_rel(&seen.calls, 1u);
}

/* A thread of a test: tells its id, then runs `body` until told to stop. */
struct target {
	uint32_t up, stop;
	os_tid tid;
	uintptr_t lo, hi, alt_lo, alt_hi; /* its stacks; AddressSanitizer gives all an alternate one */
	void (*body)(struct target *);
	pthread_t thread;
};

static void *target_main(void *arg)
{
	struct target *t = arg;
	t->tid = os_self();
	os_stack_bounds(&t->lo, &t->hi);
	if (!os_altstack(&t->alt_lo, &t->alt_hi))
		t->alt_lo = t->alt_hi = 0;
	t->body(t);
	return NULL;
}

static void target_start(struct target *t, void (*body)(struct target *))
{
	t->body = body;
	cr_assert_eq(pthread_create(&t->thread, NULL, target_main, t), 0);
	await(&t->up, 1);
}

static void target_stop(struct target *t)
{
	store_release(&t->stop, 1u);
	pthread_join(t->thread, NULL);
}

static void spin(struct target *t)
{
	store_release(&t->up, 1u);
	while (load_acquire(&t->stop) == 0)
		;
}

static int install(void)
{
	int sig = os_pick_signal(0);
	cr_assert_neq(sig, 0);
	cr_assert_eq(os_signal_install(sig, on_stop), 0);
	return sig;
}

/* ── choosing ───────────────────────────────────────────────────────────────────────────── */

static void plain_handler(int sig)
{
	(void)sig;
	add_acq_rel(&seen.calls, 1000u);
}

Test(os_signal, pick)
{
	int first = os_pick_signal(0);
	cr_assert_eq(first, SIGRTMAX - 2);
	signal(first, plain_handler);
	cr_assert_eq(os_pick_signal(0), first - 1);
	signal(first - 1, SIG_IGN);
	cr_assert_eq(os_pick_signal(0), first - 2);
	signal(first, SIG_DFL);
	cr_assert_eq(os_pick_signal(0), first);
}

Test(os_signal, pick_wanted)
{
	cr_assert_eq(os_pick_signal(SIGUSR2), SIGUSR2);
	cr_assert_eq(os_pick_signal(SIGRTMIN), SIGRTMIN);
	signal(SIGUSR1, plain_handler);
	cr_assert_eq(os_pick_signal(SIGUSR1), SIGUSR1, "whoever handles it");
	static const int bad[] = { SIGKILL, SIGSTOP, 32, 33, 65, 1000, -1 };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(os_pick_signal(bad[i]), 0, "%d", bad[i]);
}

Test(os_signal, pick_none_free)
{
	for (int sig = SIGRTMIN; sig <= SIGRTMAX - 2; sig++)
		signal(sig, plain_handler);
	cr_assert_eq(os_pick_signal(0), 0);
}

Test(os_signal, install_refused)
{
	cr_assert_eq(os_signal_install(0, on_stop), EINVAL);
	cr_assert_eq(os_signal_install(65, on_stop), EINVAL);
	cr_assert_neq(os_signal_install(SIGKILL, on_stop), 0);
}

/* ── delivery ───────────────────────────────────────────────────────────────────────────── */

Test(os_signal, running_thread)
{
	struct target t = { 0 };
	int sig = install();
	target_start(&t, spin);
	for (uint32_t i = 1; i <= 200; i++) {
		cr_assert_eq(os_signal_send(t.tid, sig), 0);
		await(&seen.calls, i);
		cr_assert_eq(seen.tid, t.tid);
		cr_assert(seen.sp >= t.lo && seen.sp < t.hi);
		bool alt = seen.frame >= t.alt_lo && seen.frame < t.alt_hi;
		cr_assert(alt || seen.frame < seen.sp, "the handler is below what it interrupted");
		if (MGC_WITH_TSAN)
			continue; /* no registers: os.h */
		cr_assert_gt(seen.nregs, 16);
		cr_assert((uintptr_t)seen.regs > seen.frame &&
			  (uintptr_t)(seen.regs + seen.nregs) < (alt ? t.alt_hi : t.hi));
	}
	target_stop(&t);
}

static void wait_for_pipe(struct target *t)
{
	char c;
	int fds[2];
	if (pipe(fds) != 0)
		abort();
	t->lo = (uintptr_t)(unsigned)fds[1];
	store_release(&t->up, 1u);
	if (read(fds[0], &c, 1) != 1 || c != 'x')
		abort(); /* EINTR, in spite of SA_RESTART */
}

Test(os_signal, blocked_in_a_system_call)
{
	struct target t = { 0 };
	int sig = install();
	target_start(&t, wait_for_pipe);
	os_sleep_ns(20 * MS);
	for (uint32_t i = 1; i <= 20; i++) {
		cr_assert_eq(os_signal_send(t.tid, sig), 0);
		await(&seen.calls, i);
		cr_assert_eq(seen.tid, t.tid);
	}
	cr_assert_eq(write((int)t.lo, "x", 1), 1);
	pthread_join(t.thread, NULL);
}

static void mask_for_a_while(struct target *t)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	store_release(&t->up, 1u);
	while (load_acquire(&t->stop) == 0)
		;
	sigemptyset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
}

Test(os_signal, masked_thread_gets_it_later)
{
	struct target t = { 0 };
	int sig = install();
	target_start(&t, mask_for_a_while);
	cr_assert_eq(os_signal_send(t.tid, sig), 0);
	os_sleep_ns(50 * MS);
	cr_assert_eq(ncalls(), 0);
	cr_assert(os_thread_blocks(t.tid, sig));
	target_stop(&t);
	cr_assert_eq(ncalls(), 1);
}

Test(os_signal, to_oneself_and_errno)
{
	int sig = install();
	for (uint32_t i = 1; i <= 10; i++) {
		errno = ERANGE;
		cr_assert_eq(os_signal_send(os_self(), sig), 0);
		cr_assert_eq(ncalls(), i, "delivered before send returns");
		cr_assert_eq(errno, ERANGE);
	}
}

static void at_once(struct target *t)
{
	store_release(&t->up, 1u);
}

Test(os_signal, gone_thread)
{
	struct target t = { 0 };
	int sig = install();
	target_start(&t, at_once);
	pthread_join(t.thread, NULL);
	while (syscall(SYS_tgkill, getpid(), t.tid, 0) == 0)
		os_yield();
	cr_assert_eq(os_signal_send(t.tid, sig), ESRCH);
}

static void leave_no_room(void)
{
	struct rlimit none = { 0, 0 };
	cr_assert_eq(setrlimit(RLIMIT_SIGPENDING, &none), 0);
}

Test(os_signal, queue_is_full)
{
	struct target t = { 0 };
	int sig = install();
	target_start(&t, mask_for_a_while);
	leave_no_room();
	for (int i = 0; i < 3; i++) /* as SIGURG, of which one waits at most */
		cr_assert_eq(os_signal_send(t.tid, sig), 0);
	cr_assert_eq(ncalls(), 0);
	target_stop(&t);
	cr_assert_eq(ncalls(), 1);
	raise(SIGURG);
	cr_assert_eq(os_signal_send(os_self(), sig), 0);
	cr_assert_geq(ncalls(), 2);
	signal(SIGURG, plain_handler);
	cr_assert_eq(os_signal_send(os_self(), sig), EAGAIN, "it is the program's now");
}

/* One below SIGRTMIN comes, without the cookie: to us, and to a handler that was there before. */
Test(os_signal, queue_is_full_for_one_below_the_real_time_ones)
{
	leave_no_room();
	cr_assert_eq(os_signal_install(SIGPWR, on_stop), 0);
	cr_assert_eq(os_signal_send(os_self(), SIGPWR), 0);
	cr_assert_eq(ncalls(), 1, "and it did not kill");
	signal(SIGUSR2, plain_handler);
	cr_assert_eq(os_signal_install(SIGUSR2, on_stop), 0);
	raise(SIGUSR2);
	cr_assert_eq(ncalls(), 1001, "none of ours was sent");
	cr_assert_eq(os_signal_send(os_self(), SIGUSR2), 0);
	cr_assert_eq(ncalls(), 2002);
}

Test(os_signal, many_threads_many_times)
{
	enum { N = 6 };
	static struct target t[N];
	int sig = install();
	for (int i = 0; i < N; i++)
		target_start(&t[i], spin);
	for (uint32_t round = 0; round < 30; round++) {
		for (int i = 0; i < N; i++)
			cr_assert_eq(os_signal_send(t[i].tid, sig), 0);
		await(&seen.calls, (round + 1) * N);
	}
	for (int i = 0; i < N; i++)
		target_stop(&t[i]);
}

/* ── what is passed: a value that lives in one register only ────────────────────────────── */

#if !MGC_WITH_TSAN
static void in_general_register(struct target *t)
{
	uint64_t mark = ~MARK;
	store_release(&t->up, 1u);
#if defined(__x86_64__)
	__asm__ volatile("movq %0, %%r13\n\tnotq %%r13\n"
			 "1:\tcmpl $0, %1\n\tje 1b\n\txorl %%r13d, %%r13d"
			 :
			 : "r"(mark), "m"(t->stop)
			 : "r13", "cc", "memory");
#else
	__asm__ volatile("mvn x23, %0\n"
			 "1:\tldr w9, %1\n\tcbz w9, 1b\n\tmov x23, xzr"
			 :
			 : "r"(mark), "m"(t->stop)
			 : "x23", "x9", "cc", "memory");
#endif
}

static void in_vector_register(struct target *t)
{
	uint64_t mark = ~MARK;
	store_release(&t->up, 1u);
#if defined(__x86_64__)
	__asm__ volatile(
		"movq %0, %%r13\n\tnotq %%r13\n\tmovq %%r13, %%xmm11\n\txorl %%r13d, %%r13d\n"
		"1:\tcmpl $0, %1\n\tje 1b\n\tpxor %%xmm11, %%xmm11"
		:
		: "r"(mark), "m"(t->stop)
		: "r13", "xmm11", "cc", "memory");
#else
	__asm__ volatile("mvn x23, %0\n\tmov v27.d[1], x23\n\tmov x23, xzr\n"
			 "1:\tldr w9, %1\n\tcbz w9, 1b\n\tmovi v27.2d, #0"
			 :
			 : "r"(mark), "m"(t->stop)
			 : "x23", "x9", "v27", "cc", "memory");
#endif
}

static void registers_show_the_mark(void (*body)(struct target *))
{
	struct target t = { 0 };
	int sig = install();
	target_start(&t, body);
	os_sleep_ns(10 * MS); /* into the loop */
	cr_assert_eq(os_signal_send(t.tid, sig), 0);
	await(&seen.calls, 1);
	target_stop(&t);
	cr_assert_geq(seen.marks, 1);
}

Test(os_signal, general_registers)
{
	registers_show_the_mark(in_general_register);
}

Test(os_signal, vector_registers)
{
	registers_show_the_mark(in_vector_register);
}

#if defined(__x86_64__)
/* A leaf function keeps values in the 128 bytes below its stack pointer. */
static void in_red_zone(struct target *t)
{
	uint64_t mark = ~MARK;
	store_release(&t->up, 1u);
	__asm__ volatile("movq %0, %%r13\n\tnotq %%r13\n\tleaq -256(%%rsp), %%rsp\n\t"
			 "movq %%r13, -128(%%rsp)\n\txorl %%r13d, %%r13d\n"
			 "1:\tcmpl $0, (%1)\n\tje 1b\n\tmovq $0, -128(%%rsp)\n\t"
			 "leaq 256(%%rsp), %%rsp"
			 :
			 : "r"(mark), "r"(&t->stop)
			 : "r13", "cc", "memory");
}

Test(os_signal, red_zone)
{
	struct target t = { 0 };
	int sig = install();
	target_start(&t, in_red_zone);
	os_sleep_ns(10 * MS);
	cr_assert_eq(os_signal_send(t.tid, sig), 0);
	await(&seen.calls, 1);
	cr_assert_eq(*(volatile uint64_t *)seen.sp, MARK);
	target_stop(&t);
}
#endif

static char altstack[256 << 10];

static void spin_with_altstack(struct target *t)
{
	stack_t before, alt = { .ss_sp = altstack, .ss_size = sizeof altstack };
	if (sigaltstack(&alt, &before) != 0)
		abort();
	spin(t);
	sigaltstack(&before, NULL);
}

Test(os_signal, alternate_stack)
{
	struct target t = { 0 };
	uintptr_t lo = (uintptr_t)altstack, hi = lo + sizeof altstack;
	int sig = install();
	target_start(&t, spin_with_altstack);
	cr_assert_eq(os_signal_send(t.tid, sig), 0);
	await(&seen.calls, 1);
	cr_assert(seen.frame >= lo && seen.frame < hi, "runs there");
	cr_assert((uintptr_t)seen.regs >= lo && (uintptr_t)(seen.regs + seen.nregs) <= hi);
	cr_assert(seen.sp >= t.lo && seen.sp < t.hi, "and tells of the thread's own stack");
	target_stop(&t);
}
#endif

/* ── signals that are not ours ──────────────────────────────────────────────────────────── */

static siginfo_t passed;

static void info_handler(int sig, siginfo_t *info, void *context)
{
	passed = *info;
	if (sig == info->si_signo && context != NULL)
		add_acq_rel(&seen.calls, 1000u);
}

/* foreign - three ways in which others send this signal. */
static void foreign(int sig)
{
	union sigval v = { .sival_ptr = &seen };
	raise(sig);
	sigqueue(getpid(), sig, v);
	kill(getpid(), sig);
}

Test(os_signal, passed_to_the_handler_before)
{
	struct sigaction sa = { .sa_sigaction = info_handler, .sa_flags = SA_SIGINFO };
	int sig = os_pick_signal(0);
	sigaction(sig, &sa, NULL);
	cr_assert_eq(os_signal_install(sig, on_stop), 0);
	foreign(sig);
	cr_assert_eq(ncalls(), 3000);
	cr_assert_eq(passed.si_pid, getpid(), "with its own information");
	cr_assert_eq(os_signal_send(os_self(), sig), 0);
	cr_assert_eq(ncalls(), 3001, "ours is not passed on");
	/* A second installation does not chain to itself. */
	cr_assert_eq(os_signal_install(sig, on_stop), 0);
	foreign(sig);
	cr_assert_eq(ncalls(), 6001);
}

Test(os_signal, passed_to_a_plain_handler)
{
	signal(SIGUSR1, plain_handler);
	cr_assert_eq(os_signal_install(SIGUSR1, on_stop), 0);
	errno = ERANGE;
	foreign(SIGUSR1);
	cr_assert_eq(ncalls(), 3000);
	cr_assert_eq(os_signal_send(os_self(), SIGUSR1), 0);
	cr_assert_eq(ncalls(), 3001);
	cr_assert_eq(errno, ERANGE);
}

Test(os_signal, ignored_before)
{
	signal(SIGUSR1, SIG_IGN);
	cr_assert_eq(os_signal_install(SIGUSR1, on_stop), 0);
	foreign(SIGUSR1);
	cr_assert_eq(os_signal_install(SIGWINCH, on_stop), 0); /* ignored by default */
	foreign(SIGWINCH);
	cr_assert_eq(os_signal_send(os_self(), SIGWINCH), 0);
	cr_assert_eq(ncalls(), 1);
}

static void other_stop(uintptr_t sp, const uintptr_t *regs, size_t nregs)
{
	(void)sp;
	(void)regs;
	(void)nregs;
	add_acq_rel(&seen.calls, 50u);
}

Test(os_signal, a_second_installation_replaces_the_function)
{
	int sig = install();
	cr_assert_eq(os_signal_install(sig, other_stop), 0);
	cr_assert_eq(os_signal_send(os_self(), sig), 0);
	cr_assert_eq(ncalls(), 50);
}

/* Without a handler before, a foreign signal kills the process, as it would have without us. */
Test(os_signal, default_before)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		int sig = os_pick_signal(0);
		os_signal_install(sig, on_stop);
		os_signal_send(os_self(), sig);
		if (ncalls() == 1)
			kill(getpid(), sig);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status));
	cr_assert_eq(WTERMSIG(status), SIGRTMAX - 2);
}

/* A handler of the program that is interrupted by ours, and the other way round: all is masked. */
static void send_in_handler(uintptr_t sp, const uintptr_t *regs, size_t nregs)
{
	sigset_t mask;
	(void)sp;
	(void)regs;
	(void)nregs;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	if (sigismember(&mask, SIGUSR1) == 1 && sigismember(&mask, SIGRTMAX - 3) == 1)
		add_acq_rel(&seen.calls, 1u);
	raise(SIGUSR1); /* waits until we return */
	if (ncalls() == 1)
		add_acq_rel(&seen.calls, 1u);
}

Test(os_signal, everything_is_masked_inside)
{
	int sig = os_pick_signal(0);
	signal(SIGUSR1, plain_handler);
	cr_assert_eq(os_signal_install(sig, send_in_handler), 0);
	cr_assert_eq(os_signal_send(os_self(), sig), 0);
	await(&seen.calls, 1002); /* at once; under ThreadSanitizer soon */
}
