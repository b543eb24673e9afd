/* os_linux_signal.c - the signal that interrupts a thread wherever it is.
 * WHAT   picks a free real-time signal, installs our handler in front of whatever was there, sends
 *        with a cookie, and hands the handler the interrupted stack pointer and registers.
 * WHO    the stop of the world, and snapshots of late threads.
 * STATE  per signal: our function, the disposition found when it was installed, and whether we have sent one.
 * INV    G1 only a signal queued with the address of *our* cookie calls our function; each copy of
 *           the library in a process has its own. But where RLIMIT_SIGPENDING, which all processes of a user
 *           share, leaves no room for what comes with a signal, real-time ones are refused, and we send SIGURG;
 *           one below SIGRTMIN comes without its information: such a one may be ours, so it calls our function,
 *           which finds out whether anybody waits, and is passed on to a handler, not to a default that kills
 *        G2 everything else is passed on as if we were not there
 *        G3 errno is as before when the handler returns
 * LOCKS  none; os_signal_install is called by one thread at a time.
 * UNITS  registers in words.
 * FROM   - (Go's signal_unix.go forwards likewise.)
 *
 * REGISTERS. What is passed is the kernel's own record on the handler's stack: general registers
 * first, vector registers included. A pointer can live in a vector register alone, for one
 * instruction, in the middle of a memmove whose ends overlap.
 *
 * TSAN delays a signal to the next atomic or intercepted call and then calls the handler with the
 * context of long ago, whose frames are gone. So in those builds there is no
 * alternate stack, the handler's own frame is given as the stack pointer (all live frames are above
 * it, whenever it runs), and the preserved registers are spilled into it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "os/os.h"

#define NSIGNALS 65
/* A frame larger than this is not one the kernel made (AMX tiles take 11 KiB, SVE 9 KiB). */
#define MAX_FRAME ((uintptr_t)64 << 10)

typedef void stop_fn(uintptr_t sp, const uintptr_t *regs, size_t nregs);

static struct {
	stop_fn *fn;
	struct sigaction previous;
	uint32_t sent;
} installed[NSIGNALS];

static char cookie; /* its address is the cookie */

/* ── the interrupted context, by architecture ───────────────────────────────────────────── */

#if defined(__x86_64__)
#define RED_ZONE 128 /* leaf functions keep live values this far below the stack pointer */

static uintptr_t context_sp(const ucontext_t *uc)
{
	return (uintptr_t)uc->uc_mcontext.gregs[REG_RSP] - RED_ZONE;
}

static const uintptr_t *context_regs(const ucontext_t *uc)
{
	return (const uintptr_t *)(const void *)uc->uc_mcontext.gregs;
}

/* context_end - behind the vector registers: the FXSAVE image and, where its reserved bytes say
 * so, the XSAVE area it begins (arch/x86/include/uapi/asm/sigcontext.h, struct _fpx_sw_bytes). */
static uintptr_t context_end(const ucontext_t *uc)
{
	uintptr_t fp = (uintptr_t)uc->uc_mcontext.fpregs;
	struct {
		uint32_t magic1, extended_size;
		uint64_t features;
		uint32_t nbytes;
	} xsave;
	if (fp == 0)
		return (uintptr_t)(uc->uc_mcontext.gregs + NGREG);
	memcpy(&xsave, (const char *)fp + 464, sizeof xsave);
	return fp + (xsave.magic1 == 0x46505853 ? xsave.nbytes : 512);
}

#elif defined(__aarch64__)
static uintptr_t context_sp(const ucontext_t *uc)
{
	return uc->uc_mcontext.sp;
}

static const uintptr_t *context_regs(const ucontext_t *uc)
{
	return (const uintptr_t *)(const void *)uc->uc_mcontext.regs;
}

/* context_end - behind the records of the reserved area: the vector registers, and where they did
 * not fit (SVE), a block further up that the EXTRA record names. */
static uintptr_t context_end(const ucontext_t *uc)
{
	const char *p = (const char *)&uc->uc_mcontext.__reserved;
	const char *limit = p + sizeof uc->uc_mcontext.__reserved;
	uintptr_t extra = 0;
	struct {
		uint32_t magic, nbytes;
		uint64_t data;
		uint32_t data_nbytes;
	} record;
	while ((size_t)(limit - p) >= sizeof record) {
		memcpy(&record, p, sizeof record);
		if (record.magic == 0 || record.nbytes < 8 || record.nbytes > limit - p)
			break;
		if (record.magic == 0x45585401)
			extra = record.data + record.data_nbytes;
		p += record.nbytes;
	}
	return extra > (uintptr_t)p ? extra : (uintptr_t)p;
}

#else
#error "os_linux_signal.c: this processor's saved registers are not known"
#endif

/* ── handler ────────────────────────────────────────────────────────────────────────────── */

static MGC_NOINLINE void call(stop_fn *fn, const ucontext_t *uc)
{
	const uintptr_t *regs = context_regs(uc);
	uintptr_t lo = (uintptr_t)regs, hi = context_end(uc);
	if (MGC_WITH_TSAN) {
		fn((uintptr_t)__builtin_frame_address(0), regs, 0);
		return;
	}
	if (hi < lo || hi - lo > MAX_FRAME) /* not the kernel's frame: valgrind, an emulator */
		hi = (uintptr_t)uc + sizeof *uc;
	fn(context_sp(uc), regs, (hi - lo) / sizeof *regs);
}

/* die_by - what SIG_DFL would have done: the disposition is put back and the signal raised again,
 * to come when this handler returns. */
static void die_by(int sig)
{
	struct sigaction dfl;
	if (sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH)
		return; /* ignored by default */
	memset(&dfl, 0, sizeof dfl);
	dfl.sa_handler = SIG_DFL;
	sigaction(sig, &dfl, NULL);
	syscall(SYS_tgkill, getpid(), os_self(), sig);
}

static void pass_on(int sig, siginfo_t *info, void *context, bool may_die)
{
	const struct sigaction *previous = &installed[sig].previous;
	if ((previous->sa_flags & SA_SIGINFO) != 0)
		previous->sa_sigaction(sig, info, context);
	else if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN)
		previous->sa_handler(sig);
	else if (previous->sa_handler == SIG_DFL && may_die)
		die_by(sig);
}

/* may_be_ours - it came without its information. (So does one from another namespace of process ids.) */
static bool may_be_ours(int sig, const siginfo_t *info)
{
	return sig < SIGRTMIN && info->si_code == SI_USER && info->si_pid == 0 &&
	       load_relaxed(&installed[sig].sent) != 0;
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	if (MGC_WITH_TSAN)
		__builtin_unwind_init(); /* spills the preserved registers into this frame */
	stop_fn *fn = load_acquire(&installed[sig].fn); /* pairs: signal-installed */
	bool ours = info->si_code == SI_QUEUE && info->si_value.sival_ptr == &cookie; /* G1 */
	bool unsure = !ours && may_be_ours(sig, info);
	if (ours || unsure)
		call(fn, context);
	if (!ours)
		pass_on(sig, info, context, !unsure);
	errno = saved;
}

/* ── the contract of os.h ───────────────────────────────────────────────────────────────── */

static bool is_free(int sig)
{
	struct sigaction sa;
	return sigaction(sig, NULL, &sa) == 0 && (sa.sa_flags & SA_SIGINFO) == 0 &&
	       sa.sa_handler == SIG_DFL;
}

int os_pick_signal(int wanted)
{
	struct sigaction sa;
	if (wanted != 0) {
		bool usable = wanted > 0 && wanted < NSIGNALS && wanted != SIGKILL &&
			      wanted != SIGSTOP && sigaction(wanted, NULL, &sa) == 0;
		return usable ? wanted : 0;
	}
	/* Programs count from SIGRTMIN up, profilers and runtimes take the last ones. */
	for (int sig = SIGRTMAX - 2; sig >= SIGRTMIN; sig--)
		if (is_free(sig))
			return sig;
	return 0;
}

static bool stays_on_stack;

void os_signal_stay_on_stack(void)
{
	stays_on_stack = true;
}

int os_signal_install(int sig, void (*fn)(uintptr_t sp, const uintptr_t *regs, size_t nregs))
{
	struct sigaction sa, now;
	if (sig < 1 || sig >= NSIGNALS)
		return EINVAL;
	if (sigaction(sig, NULL, &now) != 0)
		return errno;
	if ((now.sa_flags & SA_SIGINFO) == 0 || now.sa_sigaction != on_signal)
		installed[sig].previous = now; /* else ours already: keep what was before it */
	store_release(&installed[sig].fn, fn); /* pairs: signal-installed */
	memset(&sa, 0, sizeof sa);
	sa.sa_sigaction = on_signal;
	sa.sa_flags = SA_SIGINFO | SA_RESTART | (MGC_WITH_TSAN || stays_on_stack ? 0 : SA_ONSTACK);
	sigfillset(&sa.sa_mask);
	return sigaction(sig, &sa, NULL) == 0 ? 0 : errno;
}

bool os_signal_is_ours(int sig)
{
	struct sigaction now;
	return sigaction(sig, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 &&
	       now.sa_sigaction == on_signal;
}

void os_signal_unblock(int sig)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static int queue(os_tid tid, int sig)
{
	siginfo_t info;
	memset(&info, 0, sizeof info);
	info.si_signo = sig;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_value.sival_ptr = &cookie;
	store_relaxed(&installed[sig].sent, 1u);
	return syscall(SYS_rt_tgsigqueueinfo, info.si_pid, tid, sig, &info) == 0 ? 0 : errno;
}

/* send_urgent - in place of a real-time signal for which there is no room. SIGURG is harmless where nobody expects it. Whoever
 * took it from us since is left alone. */
static int send_urgent(os_tid tid, int sig)
{
	stop_fn *fn = load_relaxed(&installed[sig].fn);
	if (load_relaxed(&installed[SIGURG].fn) != fn &&
	    (fn == NULL || os_signal_install(SIGURG, fn) != 0))
		return EAGAIN;
	return os_signal_is_ours(SIGURG) ? queue(tid, SIGURG) : EAGAIN;
}

int os_signal_send(os_tid tid, int sig)
{
	int saved = errno, result = queue(tid, sig);
	if (result == EAGAIN)
		result = send_urgent(tid, sig);
	errno = saved;
	return result;
}
