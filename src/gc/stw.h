/* stw.h - interrupting mutators. Stopping and starting the world: every mutator but the caller's stands
 * still, outside its sections, with its stack and registers readable. And, without a stop, the moment at
 * which each takes its own snapshot (snapshot.h).
 *
 * WHAT   One signal to each RUNNING thread. The handler parks on a futex; a thread inside a section
 *        parks when it leaves. BLOCKED threads get no signal: the collector claims them. One store and
 *        one wake start everybody; nobody waits until they run. A thread that blocks the signal, and every
 *        one where there is none (poll), answers at the end of its next section, at a safepoint, or by
 *        being claimed when it blocks.
 * STATE  stopping: 0 world runs; else the number of the stop in progress.
 *        a mutator's `parked` equals that number while it stands still.
 * INV    T1 a parked thread holds no lock and is in no section
 *        T2 between stw_stop and stw_start the REGISTRY lock is held: nobody attaches or detaches
 *        T3 the handler touches only the thread's own record, `stopping` and the futex
 *        T4 who answers does not do so a second time inside: the handler may have come between the release of
 *           the last lock and the look at stop_wanted, and the locks that a snapshot takes look at that too
 * LOCKS  caller holds WORLD; REGISTRY is taken by stw_stop and released by stw_start.
 * FROM   measurements: two-signal schemes that wait for everyone to run again cost half a second with
 *        64 busy threads on two processors. */
#ifndef MGC_GC_STW_H
#define MGC_GC_STW_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>

#include "base/histogram.h"
#include "heap/mutator.h"

struct stw {
	struct heap *heap;
	int signal;
	uint32_t stopping; /* atomic */
	uint32_t next_stop;
	uint32_t next_leave; /* REGISTRY: number of the last stw_let_leave */
	uint32_t nparked; /* atomic: woken on each park and each snapshot */
	uint32_t fence; /* atomic: number of the last quiescence */
	struct histogram handshakes; /* how long quiescences took */
	bool no_membarrier; /* fences by signal */
	bool poll; /* no signal at all: threads answer at their safepoints */
	/* the calling mutator, whose sp and regs are set, takes its snapshot; NULL: this heap has none */
	void (*snapshot)(struct mutator *m);
};

/* stw_init - installs the handler on that signal, or on a free one when it is 0; none with `poll`. 0 or an
 * errno. */
int stw_init(struct stw *stw, struct heap *h, int signal, bool poll);

/* stw_interrupt - asks a RUNNING mutator to stop, or to look: by signal, and at its next safepoint. 0, or ESRCH
 * when it has ended. stw_explain_late - says on standard error which thread is waited for, and why. */
int stw_interrupt(struct stw *stw, struct mutator *m);
void stw_explain_late(struct stw *stw, const struct mutator *m);

/* stw_let_leave - waits until each mutator but `self` was seen outside of sections, or so long: who stops the world next
 * would wait with all the others standing still. Returns how long it took. REGISTRY is not held while it sleeps: who ends would
 * spin for it. The caller has none of the locks that are taken in sections. */
uint64_t stw_let_leave(struct stw *stw, const struct mutator *self, uint64_t most_ns);

/* stw_stop - returns when every other mutator stands still. `self` may be NULL.
 * stw_start - and they run again: the time at which they could. To wake them often costs the caller its processor, and
 * what they do with it is no part of the stop. */
void stw_stop(struct stw *stw, struct mutator *self);
uint64_t stw_start(struct stw *stw, struct mutator *self);

/* stw_park - the calling mutator stands still if a stop is on, and takes its snapshot if one is wanted:
 * safepoint, and end of a section. */
void stw_park(struct stw *stw, struct mutator *m);
/* stw_leave_later - as mutator_leave, but a thread that was asked to stand still meanwhile goes on: who stops the
 * world asks it again, by a signal that comes a little later. At the latest it stands still at the end of
 * its next section. It has no lock. */
void stw_leave_later(struct stw *stw, struct mutator *m);

/* Who waits this long for a thread asks why, and says so once. */
#define STW_LATE_NS UINT64_C(2000000000)

/* stw_ask_all - calls ask(arg, m) for every mutator but `self` again and again, until each said true: it has
 * answered. REGISTRY is held; if `open`, not between two rounds: threads come and go then, and in the last round all
 * that there are have answered. Names one that is late. */
void stw_ask_all(struct stw *stw, struct mutator *self, bool (*ask)(void *arg, struct mutator *m),
		 void *arg, bool open);

/* stw_block, stw_unblock - the caller is about to wait in the system: until then its stack and
 * registers stay as they are, and the collector reads them without asking. */
void stw_block_save(uintptr_t *save, struct mutator *m);
#define stw_block(m) stw_block_save((m)->saved, (m))
void stw_unblock(struct stw *stw, struct mutator *m);

/* stw_spawn - os_spawn by whoever calls, as BLOCKED if it is a mutator outside sections: starting a thread may
 * wait for the loader's lock, which a cycle that stops the world can have. */
int stw_spawn(struct stw *stw, void (*fn)(void *), void *arg, const char *name);

/* The callee-saved registers, as many as C keeps values in: on arm64 the low halves of v8 … v15 too. */
#if defined(__x86_64__)
#define STW_NREGS 6
#elif defined(__aarch64__)
#define STW_NREGS 19
#endif

/* STW_ENTRY(name, fn) - defines name(a, b): it calls fn(a, b, regs, sp) with the callee-saved
 * registers and the stack pointer as name's caller has them. Not C: a register of the caller might be in
 * name's own frame only, which is gone when name returns and the caller blocks, or leaves its stack. */
void stw_block_regs(struct mutator *m, const uintptr_t *regs, uintptr_t sp);
#if defined(__x86_64__)
#define STW_ENTRY(name, fn) \
	__asm__(".text\n.globl " #name "\n.type " #name ", @function\n" #name \
		":\n.cfi_startproc\n" \
		"subq $56, %rsp\n.cfi_adjust_cfa_offset 56\n" \
		"movq %rbx, 0(%rsp)\n movq %rbp, 8(%rsp)\n movq %r12, 16(%rsp)\n" \
		"movq %r13, 24(%rsp)\n movq %r14, 32(%rsp)\n movq %r15, 40(%rsp)\n" \
		"movq %rsp, %rdx\n leaq 56(%rsp), %rcx\n call " #fn "\n" \
		"addq $56, %rsp\n.cfi_adjust_cfa_offset -56\n ret\n.cfi_endproc\n" \
		".size " #name ", .-" #name "\n")
#elif defined(__aarch64__)
#define STW_ENTRY(name, fn) \
	__asm__(".text\n.globl " #name "\n.type " #name ", %function\n" #name \
		":\n.cfi_startproc\n" \
		"sub sp, sp, #176\n.cfi_adjust_cfa_offset 176\n" \
		"stp x19, x20, [sp]\n stp x21, x22, [sp, #16]\n stp x23, x24, [sp, #32]\n" \
		"stp x25, x26, [sp, #48]\n stp x27, x28, [sp, #64]\n str x29, [sp, #80]\n" \
		"stp d8, d9, [sp, #88]\n stp d10, d11, [sp, #104]\n" \
		"stp d12, d13, [sp, #120]\n stp d14, d15, [sp, #136]\n str x30, [sp, #160]\n" \
		".cfi_rel_offset x30, 160\n mov x2, sp\n add x3, sp, #176\n bl " #fn "\n" \
		"ldr x30, [sp, #160]\n add sp, sp, #176\n.cfi_adjust_cfa_offset -176\n ret\n" \
		".cfi_endproc\n.size " #name ", .-" #name "\n")
#endif

/* regs_call - calls fn(arg) with every callee-saved register stored on the stack above fn's frame. */
void regs_call(void (*fn)(void *arg), void *arg);
/* regs_wipe - marking left addresses of everybody's objects in frames below the caller's, where its next
 * calls would not overwrite all of them: wipes as much as marking surely uses. */
void regs_wipe(void);

#endif
