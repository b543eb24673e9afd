/* fiber.h - fibers with a switch of our own in assembler, as Boost.Context and language runtimes have: the
 * callee-saved registers lie on the stack that is left.
 * WHAT   fiber_make puts a first frame onto memory, fiber_jump leaves one stack for another. The collector
 *        is told by whoever calls them.
 *        TSAN_…: ThreadSanitizer's name of a stack, and the switch, told right before it is made. It keeps signals
 *        for a while, and with the stack, not with the thread that they are for; and to make or destroy the name of a
 *        stack it stands on that stack itself. So they are blocked meanwhile, and from a switch to TSAN_LANDED, on
 *        the other stack.
 * WHO    tests of coroutine stacks, after plain.h. */
#ifndef TEST_LIB_FIBER_H
#define TEST_LIB_FIBER_H
#include "lib/plain.h"

#ifdef MGC_SANITIZE_ADDRESS
#include <sanitizer/asan_interface.h>
#endif

#ifdef MGC_SANITIZE_THREAD
#include <sanitizer/tsan_interface.h>
static NOINLINE UNUSED void fiber_mask(int how)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(how, &all, NULL);
}

static NOINLINE UNUSED void *fiber_tsan_create(void)
{
	fiber_mask(SIG_BLOCK);
	void *stack = __tsan_create_fiber(0);
	fiber_mask(SIG_UNBLOCK);
	return stack;
}

static NOINLINE UNUSED void fiber_tsan_destroy(void *stack)
{
	fiber_mask(SIG_BLOCK);
	__tsan_destroy_fiber(stack);
	fiber_mask(SIG_UNBLOCK);
}

#define TSAN_CREATE() fiber_tsan_create()
#define TSAN_DESTROY(stack) fiber_tsan_destroy(stack)
#define TSAN_CURRENT() __tsan_get_current_fiber()
/* macros: the switch belongs to no function of its own */
#define TSAN_SWITCH(to) (fiber_mask(SIG_BLOCK), __tsan_switch_to_fiber((to), 0))
#define TSAN_LANDED() fiber_mask(SIG_UNBLOCK)
#else
#define TSAN_CREATE() NULL
#define TSAN_DESTROY(stack) ((void)(stack))
#define TSAN_CURRENT() NULL
#define TSAN_SWITCH(to) ((void)(to))
#define TSAN_LANDED() ((void)0)
#endif

/* fiber_jump - saves where it stands in *from, goes on at `to`. */
void fiber_jump(void **from, void *to);
void fiber_start(void);

#if defined(__x86_64__)
#define FIBER_SAVED 7 /* words: six registers and where to go on */
__asm__(".text\n.globl fiber_jump\n.type fiber_jump, @function\nfiber_jump:\n"
	"pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
	"movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
	"popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n"
	".size fiber_jump, .-fiber_jump\n"
	".globl fiber_start\n.type fiber_start, @function\nfiber_start:\n"
	"movq %r12, %rdi\n callq *%r13\n ud2\n.size fiber_start, .-fiber_start\n");
#elif defined(__aarch64__)
#define FIBER_SAVED 20
__asm__(".text\n.globl fiber_jump\n.type fiber_jump, %function\nfiber_jump:\n"
	"sub sp, sp, #160\n stp x19, x20, [sp]\n stp x21, x22, [sp, #16]\n"
	"stp x23, x24, [sp, #32]\n stp x25, x26, [sp, #48]\n stp x27, x28, [sp, #64]\n"
	"stp x29, x30, [sp, #80]\n stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n"
	"stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n"
	"mov x9, sp\n str x9, [x0]\n mov sp, x1\n"
	"ldp x19, x20, [sp]\n ldp x21, x22, [sp, #16]\n ldp x23, x24, [sp, #32]\n"
	"ldp x25, x26, [sp, #48]\n ldp x27, x28, [sp, #64]\n ldp x29, x30, [sp, #80]\n"
	"ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n"
	"ldp d14, d15, [sp, #144]\n add sp, sp, #160\n ret\n.size fiber_jump, .-fiber_jump\n"
	".globl fiber_start\n.type fiber_start, %function\nfiber_start:\n"
	"mov x0, x19\n blr x20\n brk #0\n.size fiber_start, .-fiber_start\n");
#endif

/* fiber_make - where fiber_jump finds fn(arg), which never returns, on the empty stack [lo, hi). */
static inline UNUSED void *fiber_make(void *hi, void (*fn)(void *arg), void *arg)
{
	uintptr_t *sp = (uintptr_t *)((uintptr_t)hi & ~(uintptr_t)15) - FIBER_SAVED - 1;
	sp -= (uintptr_t)(sp + FIBER_SAVED) % 16 / 8; /* 16-aligned once the words are popped */
	memset(sp, 0, (FIBER_SAVED + 1) * sizeof *sp);
#if defined(__x86_64__)
	sp[2] = (uintptr_t)fn;
	sp[3] = (uintptr_t)arg;
	sp[6] = (uintptr_t)fiber_start;
#elif defined(__aarch64__)
	sp[0] = (uintptr_t)arg;
	sp[1] = (uintptr_t)fn;
	sp[11] = (uintptr_t)fiber_start;
#endif
	return sp;
}

/* fiber_map - a stack with an unmapped page below it. */
static inline UNUSED char *fiber_map(size_t nbytes)
{
	char *p = mmap(NULL, nbytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(mprotect(p, 4096, PROT_NONE), 0);
	return p + 4096;
}

static inline UNUSED void fiber_unmap(char *memory, size_t nbytes)
{
#ifdef MGC_SANITIZE_ADDRESS /* what it noted of frames would outlive them */
	__asan_unpoison_memory_region(memory, nbytes);
#endif
	CHECK_EQ(munmap(memory - 4096, nbytes + 4096), 0);
}

#endif
