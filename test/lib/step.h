/* step.h - something happens between two instructions, and between each two in turn.
 * WHAT   step_run(fn, arg, k, event) runs fn(arg) one instruction at a time and calls event() after the
 *        k-th: what another thread, or a signal, might do right there. The stop signal and all others are
 *        blocked meanwhile, and come when event() is over. False: fn had fewer instructions. An event may ask for
 *        another one later, with step_again.
 * WHO    tests of short pieces of code that others may interrupt; for k = 0, 1, … until it says false.
 *        x86-64 only (STEP_WORKS); not under ThreadSanitizer, which puts signals off, nor valgrind. */
#ifndef TEST_LIB_STEP_H
#define TEST_LIB_STEP_H
#if defined(__x86_64__) && !defined(MGC_SANITIZE_THREAD)
#define STEP_WORKS 1
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <ucontext.h>

#define STEP_FLAG 0x100 /* of the flags register: trap after each instruction */

static volatile size_t step_count, step_wanted;
static void (*volatile step_event)(void);

static void step_on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	(void)sig;
	(void)info;
	if (step_count++ != step_wanted)
		return;
	step_event();
	if (step_wanted < step_count)
		uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)STEP_FLAG;
}

/* step_again - from an event: so many instructions later this one happens. */
static __attribute__((unused)) void step_again(size_t later, void (*event)(void))
{
	step_wanted = step_count + later;
	step_event = event;
}

static __attribute__((unused, noinline)) bool step_run(void (*fn)(void *arg), void *arg, size_t k,
						       void (*event)(void))
{
	struct sigaction sa, before;
	memset(&sa, 0, sizeof sa);
	sa.sa_sigaction = step_on_trap;
	sa.sa_flags = SA_SIGINFO;
	sigfillset(&sa.sa_mask);
	step_count = 0;
	step_wanted = k;
	step_event = event;
	sigaction(SIGTRAP, &sa, &before);
	/* the red zone is stepped over, in case this frame uses it */
	__asm__ volatile("lea -128(%%rsp), %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n"
			 "lea 128(%%rsp), %%rsp\n" ::
				 : "memory", "cc");
	fn(arg);
	__asm__ volatile("lea -128(%%rsp), %%rsp\n pushfq\n andq $~0x100, (%%rsp)\n popfq\n"
			 "lea 128(%%rsp), %%rsp\n" ::
				 : "memory", "cc");
	sigaction(SIGTRAP, &before, NULL);
	return step_count > k;
}
#else
#define STEP_WORKS 0
#endif
#endif
