/* os_linux_misc.c - clocks, processors, waiting on a word, the process-wide fence.
 * WHAT   thin wrappers; system calls that the C library has no function for go through syscall().
 * WHO    everyone; os_now_ns, os_wait and os_wake also from the stop handler.
 * STATE  fence: whether membarrier works here, probed at its first use (nothing new is tried later,
 *        for the sake of processes under seccomp).
 * INV    W1 os_wait and os_wake leave errno as it was
 * LOCKS  none.
 * UNITS  nanoseconds.
 * FROM   - */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "os/os.h"
#include "os/os_linux.h"

/* ThreadSanitizer keeps a signal back until the thread's next atomic, unless it knows that the thread
 * sleeps in the system. */
#if MGC_WITH_TSAN
#include <sanitizer/linux_syscall_hooks.h>
#define BEFORE_SLEEP() __sanitizer_syscall_pre_futex(0, 0, 0, 0, 0, 0)
#define AFTER_SLEEP() __sanitizer_syscall_post_futex(0, 0, 0, 0, 0, 0, 0)
#else
#define BEFORE_SLEEP() ((void)0)
#define AFTER_SLEEP() ((void)0)
#endif

#define NS_PER_S UINT64_C(1000000000)
/* Kernel constants, here because some C libraries come without the kernel's headers. */
#define FUTEX_WAIT_PRIVATE_OP 128
#define FUTEX_WAKE_PRIVATE_OP 129
#define MEMBARRIER_QUERY 0
#define MEMBARRIER_PRIVATE 8
#define MEMBARRIER_PRIVATE_REGISTER 16
#define GETRANDOM_NONBLOCK 1

/* ── time ───────────────────────────────────────────────────────────────────────────────── */

static uint64_t read_clock(clockid_t clock)
{
	struct timespec t;
	if (clock_gettime(clock, &t) != 0)
		return 0;
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t os_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t os_cpu_ns(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t os_thread_cpu_ns(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static struct timespec timespec_of(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };
	return t;
}

void os_sleep_ns(uint64_t ns)
{
	uint64_t now = os_now_ns();
	struct timespec until = timespec_of(ns > INT64_MAX - now ? INT64_MAX : now + ns);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

void os_yield(void)
{
	sched_yield();
}

uint64_t os_random(void)
{
	uint64_t v;
	if (syscall(SYS_getrandom, &v, sizeof v, GETRANDOM_NONBLOCK) == (long)sizeof v)
		return v;
	static uint64_t calls;
	return bits_mix(os_now_ns() + bits_mix((uintptr_t)&v) + add_relaxed(&calls, 1u));
}

/* ── processors ─────────────────────────────────────────────────────────────────────────── */

/* affinity_count - processors in this thread's mask. 64 Ki of them, eight times what the largest
 * kernel is built for; the kernel writes only as many bytes as it has. */
static unsigned affinity_count(void)
{
	uint64_t mask[1024];
	long nbytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
	unsigned n = 0;
	for (long i = 0; i < nbytes / (long)sizeof mask[0]; i++)
		n += bits_count(mask[i]);
	if (n == 0) {
		long online = sysconf(_SC_NPROCESSORS_ONLN);
		n = online > 0 ? (unsigned)online : 1;
	}
	return n;
}

unsigned os_nprocs(void)
{
	unsigned n = affinity_count();
	uint64_t quota = os_cgroup_cpus("/proc/self/cgroup", "/proc/self/mountinfo");
	return quota < n ? (unsigned)quota : n;
}

/* ── waiting ────────────────────────────────────────────────────────────────────────────── */

#define TSAN_WAIT_NS UINT64_C(10000000)

int os_wait(uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
	int saved = errno;
	/* TSan keeps a signal for the next atomic operation: one that comes just before the call would wait
	 * for its end, and who waits for the signal's handler would wait for ever. */
	bool short_nap = MGC_WITH_TSAN && timeout_ns == 0;
	if (short_nap)
		timeout_ns = TSAN_WAIT_NS;
	struct timespec t = timespec_of(timeout_ns);
	BEFORE_SLEEP();
	long failed = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE_OP, expected,
			      timeout_ns != 0 ? &t : NULL, NULL, 0);
	int result = failed != 0 && errno != EAGAIN ? errno : 0;
	result = short_nap && result == ETIMEDOUT ? EINTR : result;
	AFTER_SLEEP();
	errno = saved;
	return result;
}

void os_wake(uint32_t *word, unsigned nwaiters)
{
	int saved = errno;
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE_OP,
		nwaiters > INT_MAX ? INT_MAX : (int)nwaiters, NULL, NULL, 0);
	errno = saved;
}

bool os_is_alone(void)
{
	return __libc_single_threaded;
}

static bool membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0) >= 0;
}

static bool register_fence(void)
{
	long have = syscall(SYS_membarrier, MEMBARRIER_QUERY, 0, 0);
	return have > 0 && (have & MEMBARRIER_PRIVATE) != 0 && membarrier(MEMBARRIER_PRIVATE_REGISTER);
}

static enum { UNKNOWN, WORKS, ABSENT } fence;

void os_membarrier_register(void)
{
	int saved = errno;
	if (load_relaxed(&fence) == UNKNOWN)
		store_relaxed(&fence, register_fence() ? WORKS : ABSENT);
	errno = saved;
}

bool os_membarrier(void)
{
	int saved = errno;
	os_membarrier_register();
	bool done = load_relaxed(&fence) == WORKS && os_refused("membarrier", 0) == 0 &&
		    (membarrier(MEMBARRIER_PRIVATE) ||
		     /* not registered in this address space: the child of a fork */
		     (errno == EPERM && register_fence() && membarrier(MEMBARRIER_PRIVATE)));
	errno = saved;
	return done;
}
