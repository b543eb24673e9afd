/* os_linux_thread.c - threads as the kernel and the C library know them: ids, stacks, helpers.
 * WHAT   who am I, where is my stack, start a helper, does that thread block this signal.
 * WHO    attach (bounds), the collector's start (helpers), the stop when a thread is late.
 * STATE  none.
 * INV    T1 a helper runs no signal handler, unless it lets a signal in itself (a mutator does)
 * LOCKS  none of ours; os_spawn and os_stack_bounds may take the C library's.
 * UNITS  bytes.
 * FROM   glibc pthread_getattr_np.c for the main stack; unlike it no malloc and no stdio, so that a
 *        collector inside malloc can attach the first thread. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"
#include "os/os_linux.h"

#define HELPER_STACK ((size_t)256 << 10)
#define HELPER_STACK_MAX ((size_t)64 << 20)
#define STACK_UNLIMITED \
	((uintptr_t)1 << 40) /* without a limit mappings begin far below the stack */

os_tid os_self(void)
{
	return (os_tid)syscall(SYS_gettid);
}

/* ── stacks ─────────────────────────────────────────────────────────────────────────────── */

/* main_mapping - of the process's first stack, as the kernel tells it; and the end of the mapping below. */
static bool main_mapping(uintptr_t *from, uintptr_t *to, uintptr_t *below)
{
	uintptr_t inside = getauxval(AT_RANDOM); /* the kernel put it above the first frame */
	struct os_lines lines;
	char line[128];
	uint64_t lo = 0, hi = 0;
	bool found = false;
	*below = 0;
	if (inside == 0 || !os_lines_open(&lines, "/proc/self/maps"))
		return false;
	while (!found && os_lines_next(&lines, line, sizeof line)) {
		const char *p = line;
		if (!os_parse_number(&p, 16, &lo) || *p++ != '-' || !os_parse_number(&p, 16, &hi))
			continue;
		found = lo <= inside && inside < hi;
		if (!found)
			*below = hi;
	}
	os_lines_close(&lines);
	*from = lo;
	*to = hi;
	return found;
}

/* as_limited - what of so many bytes the first stack may grow to. */
static uintptr_t as_limited(uintptr_t nbytes)
{
	struct rlimit r;
	bool limited = getrlimit(RLIMIT_STACK, &r) == 0 && r.rlim_cur < nbytes;
	return limited ? align_down(r.rlim_cur, os_page_size()) : nbytes;
}

/* main_stack - the process's first stack. hi is the end of its mapping, so argv and the environment
 * are inside: programs do store pointers there. lo is as far as the kernel may grow it: the limit,
 * or the end of the mapping below. */
static bool main_stack(uintptr_t *lo, uintptr_t *hi)
{
	uintptr_t from, to, below;
	if (!main_mapping(&from, &to, &below))
		return false;
	*hi = to;
	*lo = min_size(to - as_limited(to - below), from);
	return true;
}

/* main_stack_untold - the same without /proc, as in a chroot that has none. The kernel begins the stack with the program's
 * file name, one word below its end; it keeps as much as the limit free below it, as it was when the program began. */
static bool main_stack_untold(uintptr_t *lo, uintptr_t *hi)
{
	const char *last = (const char *)getauxval(AT_EXECFN);
	if (last == NULL)
		return false;
	*hi = align_up((uintptr_t)last + strlen(last) + 1 + sizeof(void *), os_page_size());
	*lo = *hi - as_limited(STACK_UNLIMITED);
	return true;
}

/* thread_stack - what the C library says, without the guard at the low end. */
static int thread_stack(uintptr_t *lo, uintptr_t *hi)
{
	pthread_attr_t attr;
	void *at = NULL;
	size_t nbytes = 0, guard = 0;
	int error = pthread_getattr_np(pthread_self(), &attr);
	if (error != 0)
		return error;
	error = pthread_attr_getstack(&attr, &at, &nbytes);
#ifdef __GLIBC__ /* elsewhere the guard is outside */
	if (error == 0)
		error = pthread_attr_getguardsize(&attr, &guard);
#endif
	pthread_attr_destroy(&attr);
	*lo = (uintptr_t)at + (guard < nbytes ? guard : 0);
	*hi = (uintptr_t)at + nbytes;
	return error;
}

int os_stack_bounds(uintptr_t *lo, uintptr_t *hi)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	/* The frame is compared too: the first thread of a forked child may live on any stack. */
	bool first = os_self() == getpid();
	if (first && main_stack(lo, hi) && *lo <= here && here < *hi)
		return 0;
	int error = thread_stack(lo, hi);
	if (error != 0 && first && main_stack_untold(lo, hi) && *lo <= here && here < *hi)
		return 0;
	return error;
}

bool os_altstack(uintptr_t *lo, uintptr_t *hi)
{
	stack_t alt;
	if (sigaltstack(NULL, &alt) != 0 || (alt.ss_flags & SS_DISABLE) != 0)
		return false;
	*lo = (uintptr_t)alt.ss_sp;
	*hi = *lo + alt.ss_size;
	return true;
}

/* ── helpers ────────────────────────────────────────────────────────────────────────────── */

/* Lies on the stack of os_spawn's caller until the helper has taken it. */
struct start {
	void (*fn)(void *);
	void *arg;
	const char *name;
	uint32_t taken;
};

static uint32_t nhelpers; /* atomic: started, or being started, and not at their end */

static void *helper_main(void *p)
{
	struct start *start = p;
	void (*fn)(void *) = start->fn;
	void *arg = start->arg;
	char name[16]; /* the kernel's limit */
	mgc_format(name, sizeof name, "%s", start->name);
	store_release(&start->taken, 1u); /* pairs: helper-start */
	os_wake(&start->taken, 1); /* a stale address by now, perhaps: waking nobody is harmless */
	pthread_setname_np(pthread_self(), name);
	/* waking up, a helper does not push a thread of the program from its processor */
	(void)sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 });
	fn(arg);
	sub_relaxed(&nhelpers, 1u);
	return NULL;
}

static int add_tls(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			*(size_t *)arg += info->dlpi_phdr[i].p_memsz;
	return 0;
}

/* create - one attempt with this stack; EINVAL when the C library wants more for itself. */
static int create(struct start *start, size_t stack)
{
	pthread_attr_t attr;
	pthread_t thread;
	int error = pthread_attr_init(&attr);
	if (error != 0)
		return error;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	error = pthread_attr_setstacksize(&attr, stack);
	if (error == 0)
		error = pthread_create(&thread, &attr, helper_main, start);
	pthread_attr_destroy(&attr);
	return error;
}

int os_spawn(void (*fn)(void *), void *arg, const char *name)
{
	struct start start = { fn, arg, name, 0 };
	size_t stack = max_size(HELPER_STACK, (size_t)PTHREAD_STACK_MIN);
	sigset_t all, before;
	int error = os_refused("spawn", stack);
	if (error != 0)
		return error;
	dl_iterate_phdr(add_tls, &stack); /* thread-local blocks lie on the stack's upper end */
	stack = align_up(stack, os_page_size());
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* T1: inherited */
	add_relaxed(&nhelpers, 1u);
	do
		error = create(&start, stack);
	while (error == EINVAL && (stack *= 2) <= HELPER_STACK_MAX);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		sub_relaxed(&nhelpers, 1u);
	while (error == 0 && load_acquire(&start.taken) == 0) /* pairs: helper-start */
		os_wait(&start.taken, 0, 0);
	return error;
}

bool os_only_helpers(void)
{
	struct stat task; /* a directory has a link for itself, one for its name, and one for each in it */
	return os_thread_state(getpid()) == 'Z' && stat("/proc/self/task", &task) == 0 &&
	       task.st_nlink == load_relaxed(&nhelpers) + 3;
}

static void *end(void *arg)
{
	sigset_t none;
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL); /* one that waits may end the process in its way */
	(void)arg;
	exit(0);
}

void os_end_process(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, end, NULL) != 0)
		end(NULL);
}

void os_forget_helpers(void)
{
	nhelpers = 0;
}

/* status_line - what /proc says of the thread behind that key. */
static bool status_line(os_tid tid, const char *key, char *value, size_t room)
{
	struct os_lines lines;
	char path[64], line[128];
	size_t n = strlen(key);
	bool found = false;
	mgc_format(path, sizeof path, "/proc/self/task/%d/status", tid);
	if (!os_lines_open(&lines, path))
		return false;
	while (!found && os_lines_next(&lines, line, sizeof line)) {
		found = strncmp(line, key, n) == 0;
		if (found)
			mgc_format(value, room, "%s", line + n);
	}
	os_lines_close(&lines);
	return found;
}

bool os_thread_blocks(os_tid tid, int sig)
{
	char value[64];
	const char *p = value;
	uint64_t mask = 0;
	if (sig < 1 || sig > 64 || !status_line(tid, "SigBlk:\t", value, sizeof value))
		return false;
	os_parse_number(&p, 16, &mask);
	return (mask >> (sig - 1) & 1) != 0;
}

char os_thread_state(os_tid tid)
{
	char value[64];
	return status_line(tid, "State:\t", value, sizeof value) ? value[0] : '?';
}
