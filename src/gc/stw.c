/* stw.c - see stw.h. */
#include "gc/stw.h"

#include <errno.h>
#include <string.h>

#include "base/annotate.h"
#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

/* Most sections are over after a few of these. */
#define LEAVE_SPINS 200
#define LEAVE_STEP_NS UINT64_C(50000)

/* The one handler of the process serves the one collecting heap of this copy of the library. */
static struct stw *handler_stw;

MGC_NOINLINE void regs_call(void (*fn)(void *arg), void *arg)
{
	__builtin_unwind_init(); /* spills the callee-saved registers into this frame */
	void (*volatile call)(void *) = fn;
	call(arg); /* its frame lies below the spilled registers */
	MGC_COMPILER_FENCE();
}

#if MGC_WITH_ASAN
/* not by memset: frames that a coroutine's stack left by a switch are poisoned still */
MGC_NOINLINE MGC_NO_SANITIZE void regs_wipe(void)
{
	volatile uintptr_t room[(6 << 10) / sizeof(uintptr_t)];
	for (size_t i = 0; i < sizeof room / sizeof room[0]; i++)
		room[i] = 0;
}
#else
MGC_NOINLINE void regs_wipe(void)
{
	char room[6 << 10];
	memset(room, 0, sizeof room);
	MGC_KEEP(room);
}
#endif

/* ── the mutator's side ─────────────────────────────────────────────────────────────────── */

/* stand_still - the stack and registers are published; waits until the stop is over. */
static void stand_still(struct stw *stw, struct mutator *m, uint32_t stop)
{
	MGC_ASSERTION(lock_thread.nheld == 0); /* T1; gc/barrier.h: D9 */
	store_release(&m->parked, stop); /* pairs: parked */
	add_acq_rel(&stw->nparked, 1u);
	os_wake(&stw->nparked, 1);
	while (load_acquire(&stw->stopping) == stop) /* pairs: stopping */
		os_wait(&stw->stopping, stop, 0);
	store_relaxed(&m->parked, 0u);
}

/* note_sp - where the calling thread stands. It may have got an alternate stack since it attached. */
static void note_sp(struct mutator *m, uintptr_t sp)
{
	if ((sp < m->stack_lo || sp >= m->stack_hi) && !os_altstack(&m->altstack_lo, &m->altstack_hi))
		m->altstack_lo = m->altstack_hi = 0;
	m->sp = sp;
	m->fake_stack = annotate_fake_stack();
}

/* wants_snapshot - of the calling mutator, which is in no other section. */
static bool wants_snapshot(const struct stw *stw, const struct mutator *m)
{
	uint64_t pg = heap_phase_gen(m->heap);
	return phase_gen_phase(pg) == PHASE_ROOTS && stw->snapshot != NULL &&
	       load_relaxed(&m->taken) != phase_gen_sweepgen(pg);
}

static void give_snapshot(struct stw *stw, struct mutator *m)
{
	MGC_ASSERTION(lock_thread.nheld == 0); /* gc/barrier.h: D9 */
	stw->snapshot(m);
	MGC_ASSERTION(lock_thread.nheld == 0);
	add_acq_rel(&stw->nparked, 1u); /* pairs: answered */
	os_wake(&stw->nparked, 1);
}

struct park {
	struct stw *stw;
	struct mutator *m;
};

static void snapshot_here(void *arg)
{
	struct park *p = arg;
	note_sp(p->m, (uintptr_t)__builtin_frame_address(0));
	p->m->nregs = 0;
	give_snapshot(p->stw, p->m);
}

static void park_here(void *arg)
{
	struct park *p = arg;
	uint32_t stop;
	while ((stop = load_acquire(&p->stw->stopping)) != 0) { /* pairs: stopping */
		store_relaxed(&p->m->pending, 0u);
		note_sp(p->m, (uintptr_t)__builtin_frame_address(0));
		p->m->nregs = 0;
		stand_still(p->stw, p->m, stop);
	}
}

/* answer_quiescence - the calling thread is in no section: who waits for that need not catch the moment. */
static void answer_quiescence(const struct stw *stw, struct mutator *m)
{
	uint32_t number = load_acquire(&stw->fence); /* pairs: quiet */
	if (number != m->quiet) {
		fence_seq();
		store_release(&m->quiet, number); /* pairs: quiet */
	}
}

void stw_park(struct stw *stw, struct mutator *m)
{
	int saved = errno;
	answer_quiescence(stw, m);
	if (MGC_UNLIKELY(lock_thread.nheld != 0)) { /* T1: when it has given back the last one */
		store_relaxed(&m->pending, 1u); /* or, if that is inside a section, at its end */
		store_relaxed(&lock_thread.stop_wanted, 1u);
		return;
	}
	struct park p = { stw, m };
	do {
		store_relaxed(&m->pending, 0u);
		store_relaxed(&m->sec, m->sec + 1); /* the handler must not park the thread a second time, from inside */
		MGC_COMPILER_FENCE();
		if (load_acquire(&stw->stopping) != 0) /* pairs: stopping */
			regs_call(park_here, &p);
		if (wants_snapshot(stw, m))
			regs_call(snapshot_here, &p);
		MGC_COMPILER_FENCE();
		store_relaxed(&m->sec, m->sec - 1);
		MGC_COMPILER_FENCE();
	} while (load_relaxed(&m->pending));
	errno = saved;
}

/* on_unlocked - the thread gave back its last lock, and was asked to stop while it had one. */
static void on_unlocked(void)
{
	struct mutator *m = mutator_self();
	/* else it parks at the end of its section, or is claimed */
	if (mutator_is_outside(m))
		stw_park(handler_stw, m);
}

void stw_leave_later(struct stw *stw, struct mutator *m)
{
	MGC_COMPILER_FENCE();
	store_release(&m->sec, m->sec - 1);
	MGC_COMPILER_FENCE();
	if (m->sec != 0 || !load_relaxed(&m->pending))
		return;
	answer_quiescence(stw, m);
	if (load_acquire(&stw->stopping) == 0) /* pairs: stopping */
		return;
	store_release(&m->again, 1u); /* pairs: stop-again. To wake who waits would be too soon: the signal
					 would come before this thread is out of here. It looks soon by itself. */
}

static void on_signal(uintptr_t sp, const uintptr_t *regs, size_t nregs)
{
	struct stw *stw = load_acquire(&handler_stw); /* pairs: handler-ready */
	struct mutator *m = mutator_self();
	uint32_t stop;
	if (m == &mutator_none || stw == NULL)
		return;
	uint32_t fence = load_acquire(&stw->fence); /* pairs: fenced */
	if (fence != m->fenced) {
		fence_seq();
		store_release(&m->fenced, fence); /* pairs: fenced */
	}
	if (m->sec != 0 || lock_thread.nheld != 0) {
		store_relaxed(&m->pending, 1u);
		store_relaxed(&lock_thread.stop_wanted, lock_thread.nheld);
		return;
	}
	store_relaxed(&lock_thread.stop_wanted, 0u); /* T4 */
	while ((stop = load_acquire(&stw->stopping)) != 0) { /* pairs: stopping */
		if (load_acquire(&m->status) != MUTATOR_RUNNING) /* claimed: its stack is known */
			return;
		store_relaxed(&m->pending, 0u);
		note_sp(m, sp);
		m->regs = regs;
		m->nregs = nregs;
		stand_still(stw, m, stop);
	}
	if (wants_snapshot(stw, m) && load_acquire(&m->status) == MUTATOR_RUNNING) { /* pairs: mutator-status */
		note_sp(m, sp);
		m->regs = regs;
		m->nregs = nregs;
		give_snapshot(stw, m);
	}
}

/* stw_block_save(save, m) - stores the callee-saved registers as the caller has them, and its stack
 * pointer last, then goes on as stw_block_saved(save, m). Not C: a C function may have moved them. */
void stw_block_saved(uintptr_t *save, struct mutator *m);
#if defined(__x86_64__)
__asm__(".text\n.hidden stw_block_saved\n.hidden stw_block_save\n.globl stw_block_save\n"
	".type stw_block_save, @function\nstw_block_save:\n"
	"movq %rbx, 0(%rdi)\n movq %rbp, 8(%rdi)\n movq %r12, 16(%rdi)\n movq %r13, 24(%rdi)\n"
	"movq %r14, 32(%rdi)\n movq %r15, 40(%rdi)\n movq %rsp, 48(%rdi)\n jmp stw_block_saved\n"
	".size stw_block_save, .-stw_block_save\n");
#elif defined(__aarch64__)
__asm__(".text\n.hidden stw_block_saved\n.hidden stw_block_save\n.globl stw_block_save\n"
	".type stw_block_save, %function\nstw_block_save:\n"
	"stp x19, x20, [x0]\n stp x21, x22, [x0, #16]\n stp x23, x24, [x0, #32]\n"
	"stp x25, x26, [x0, #48]\n stp x27, x28, [x0, #64]\n str x29, [x0, #80]\n"
	"stp d8, d9, [x0, #88]\n stp d10, d11, [x0, #104]\n stp d12, d13, [x0, #120]\n"
	"stp d14, d15, [x0, #136]\n mov x9, sp\n str x9, [x0, #152]\n"
	"b stw_block_saved\n.size stw_block_save, .-stw_block_save\n");
#endif
_Static_assert(STW_NREGS < MUTATOR_SAVED_REGS, "room for the registers and the stack pointer");

__attribute__((used)) void stw_block_saved(uintptr_t *save, struct mutator *m)
{
	uint32_t running = MUTATOR_RUNNING;
	MGC_CHECK(m->sec == 0);
	store_relaxed(&m->sec, 1u); /* a stop in between would note where its own frame is, and that would stay */
	MGC_COMPILER_FENCE();
	m->sp = save[STW_NREGS];
	m->fake_stack = annotate_fake_stack();
	m->regs = save;
	m->nregs = STW_NREGS;
	if (!cas_acq_rel(&m->status, &running, (uint32_t)MUTATOR_BLOCKED)) /* pairs: mutator-status */
		mgc_misuse("mgc_blocking_enter in a thread that is blocking already");
	MGC_COMPILER_FENCE();
	store_release(&m->sec, 0u); /* a stop that was put off finds the thread BLOCKED, and claims it */
}

void stw_block_regs(struct mutator *m, const uintptr_t *regs, uintptr_t sp)
{
	memcpy(m->saved, regs, STW_NREGS * sizeof *regs);
	m->saved[STW_NREGS] = sp;
	stw_block_saved(m->saved, m);
}

void stw_unblock(struct stw *stw, struct mutator *m)
{
	for (;;) {
		uint32_t blocked = MUTATOR_BLOCKED;
		if (cas_acq_rel(&m->status, &blocked, (uint32_t)MUTATOR_RUNNING)) /* pairs: mutator-status */
			break;
		if (blocked != MUTATOR_CLAIMED)
			mgc_misuse("mgc_blocking_leave without mgc_blocking_enter");
		uint32_t stop = load_acquire(&stw->stopping); /* pairs: stopping */
		if (stop != 0)
			os_wait(&stw->stopping, stop, 0);
		else
			os_yield();
	}
	m->nregs = 0;
	/* a signal that came meanwhile was left to the collector, which may not have claimed the thread */
	if (load_acquire(&stw->stopping) != 0 || wants_snapshot(stw, m)) /* pairs: stopping */
		stw_park(stw, m);
}

int stw_spawn(struct stw *stw, void (*fn)(void *), void *arg, const char *name)
{
	struct mutator *m = mutator_self();
	bool running = mutator_is_outside(m);
	if (running)
		stw_block(m);
	int err = os_spawn(fn, arg, name);
	if (running)
		stw_unblock(stw, m);
	return err;
}

/* ── the collector's side ───────────────────────────────────────────────────────────────── */

int stw_init(struct stw *stw, struct heap *h, int signal, bool poll)
{
	memset(stw, 0, sizeof *stw);
	stw->heap = h;
	stw->poll = poll;
	lock_stop_hook = on_unlocked;
	if (!poll && (stw->signal = os_pick_signal(signal)) == 0)
		return ENOSPC;
	store_release(&handler_stw, stw); /* pairs: handler-ready */
	return poll ? 0 : os_signal_install(stw->signal, on_signal);
}

/* keep_signal - what somebody else has put in our place would get our signals, and we no answer. */
static void keep_signal(struct stw *stw)
{
	if (stw->poll || os_signal_is_ours(stw->signal))
		return;
	mgc_print(2,
		  "mallocgc: the handler of signal %d, by which threads are interrupted for a "
		  "collection, "
		  "was replaced by the program or a library; ours goes in front of it again\n",
		  stw->signal);
	os_signal_install(stw->signal, on_signal);
}

int stw_interrupt(struct stw *stw, struct mutator *m)
{
	store_relaxed(&m->pending, 1u); /* should it block the signal, or get none */
	return os_signal_send(m->tid, stw->signal); /* 0 in poll mode: is it there? */
}

/* stands_still - or makes sure that it will. */
static bool stands_still(void *arg, struct mutator *m)
{
	struct stw *stw = arg;
	uint32_t stop = stw->stopping;
	if (m->gone || load_acquire(&m->parked) == stop) /* pairs: parked */
		return true;
	uint32_t status = load_acquire(&m->status); /* pairs: mutator-status */
	if (status == MUTATOR_CLAIMED)
		return true;
	if (status == MUTATOR_BLOCKED)
		return cas_acq_rel(&m->status, &status, (uint32_t)MUTATOR_CLAIMED); /* pairs: mutator-status */
	if (m->signalled != stop || swap_acq_rel(&m->again, 0u) != 0 || stw->poll) { /* pairs: stop-again */
		int err = stw_interrupt(stw, m);
		if (err == ESRCH) /* ended without telling */
			m->gone = 1;
		if (err == 0)
			m->signalled = stop;
	}
	return false;
}

static const char *why_late(const struct stw *stw, const struct mutator *m)
{
	char state = os_thread_state(m->tid);
	if (state == 'T' || state == 't')
		return "it is stopped, by a debugger or by SIGSTOP";
	if (state == 'D')
		return "it waits in the kernel, where no signal reaches it: in vfork, perhaps";
	if (stw->poll)
		return "it does not poll: mgc_safepoint, an allocation, mgc_blocking_enter";
	return os_thread_blocks(m->tid, stw->signal)
		       ? "it blocks the signal, and does not call the library"
		       : "it does not run";
}

void stw_explain_late(struct stw *stw, const struct mutator *m)
{
	mgc_print(2, "mallocgc: thread %d delays a collection: %s (signal %d)\n", m->tid,
		  why_late(stw, m), stw->signal);
}

/* ask_each - how many mutators have not answered yet; *late is one of them. */
static unsigned ask_each(struct stw *stw, struct mutator *self,
			 bool (*ask)(void *arg, struct mutator *m), void *arg, struct mutator **late)
{
	unsigned missing = 0;
	LIST_EACH(it, &stw->heap->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		if (m != self && !ask(arg, m)) {
			missing++;
			*late = m;
		}
	}
	return missing;
}

/* wait_answer - until somebody answers, or a while. Meanwhile, if `open`, threads come and go. */
static void wait_answer(struct stw *stw, uint32_t seen, unsigned round, bool open)
{
	if (open)
		lock_release(&stw->heap->registry_lock);
	os_wait(&stw->nparked, seen, round < 4 ? 200000 : 2000000);
	if (open)
		lock_acquire(&stw->heap->registry_lock);
}

void stw_ask_all(struct stw *stw, struct mutator *self, bool (*ask)(void *arg, struct mutator *m),
		 void *arg, bool open)
{
	uint64_t begin = os_now_ns();
	bool explained = false;
	struct mutator *late = NULL;
	keep_signal(stw);
	for (unsigned round = 0;; round++) {
		uint32_t seen = load_acquire(&stw->nparked); /* pairs: answered */
		if (ask_each(stw, self, ask, arg, &late) == 0)
			return;
		if (!explained && os_now_ns() - begin > STW_LATE_NS) {
			stw_explain_late(stw, late);
			explained = true;
		}
		wait_answer(stw, seen, round, open);
	}
}

/* is_inside - a section, and runs. Seen from outside, now and then. */
static bool is_inside(const struct mutator *m)
{
	return load_relaxed(&m->sec) != 0 && load_relaxed(&m->status) == MUTATOR_RUNNING && !m->gone;
}

/* any_inside - of those that have not been seen outside in this wait. */
static bool any_inside(struct stw *stw, const struct mutator *self, uint32_t number, unsigned nspins)
{
	bool any = false;
	LIST_EACH(it, &stw->heap->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		if (m == self || m->seen_outside == number)
			continue;
		bool inside = is_inside(m);
		for (; inside && nspins != 0; nspins--) {
			cpu_relax();
			inside = is_inside(m);
		}
		if (!inside)
			m->seen_outside = number;
		any = any || inside;
	}
	return any;
}

uint64_t stw_let_leave(struct stw *stw, const struct mutator *self, uint64_t most_ns)
{
	uint64_t begin = os_now_ns();
	lock_acquire(&stw->heap->registry_lock);
	uint32_t number = ++stw->next_leave == 0 ? ++stw->next_leave : stw->next_leave;
	unsigned nspins = LEAVE_SPINS;
	while (any_inside(stw, self, number, nspins) && os_now_ns() - begin < most_ns) {
		lock_release(&stw->heap->registry_lock); /* threads come and go */
		os_sleep_ns(LEAVE_STEP_NS);
		lock_acquire(&stw->heap->registry_lock);
		nspins = 0;
	}
	lock_release(&stw->heap->registry_lock);
	return os_now_ns() - begin;
}

void stw_stop(struct stw *stw, struct mutator *self)
{
	lock_acquire(&stw->heap->registry_lock);
	uint32_t stop = ++stw->next_stop == 0 ? ++stw->next_stop : stw->next_stop;
	store_seq(&stw->stopping, stop); /* pairs: stopping */
	stw_ask_all(stw, self, stands_still, stw, false);
}

/* wake_all - when that is done, had nobody else got this thread's processor meanwhile. */
static uint64_t wake_all(struct stw *stw)
{
	uint64_t begin = os_now_ns(), cpu = os_thread_cpu_ns();
	os_wake(&stw->stopping, UINT32_MAX);
	return begin + min_size(os_thread_cpu_ns() - cpu, os_now_ns() - begin);
}

uint64_t stw_start(struct stw *stw, struct mutator *self)
{
	store_seq(&stw->stopping, 0u); /* pairs: stopping */
	LIST_EACH(it, &stw->heap->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		uint32_t claimed = MUTATOR_CLAIMED;
		if (m != self)
			(void)cas_acq_rel(&m->status, &claimed,
					  (uint32_t)MUTATOR_BLOCKED); /* pairs: mutator-status */
	}
	uint64_t woken = wake_all(stw);
	lock_release(&stw->heap->registry_lock);
	return woken;
}
