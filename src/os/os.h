/* os.h - everything asked of the operating system, with what must hold before and after.
 *
 * Page states of an address range (FROM Go's mem.go; ranges are whole os_page_size() pages):
 *   NONE      not ours; any use faults, anyone may map it
 *   RESERVED  ours, PROT_NONE, costs nothing            os_reserve     NONE → RESERVED
 *   READABLE  ours, reads as zero, not written to,      os_reserve_readable  NONE → READABLE
 *             not charged as committed memory
 *   READY     readable and writable, zero until written os_commit      RESERVED, READABLE → READY
 *                                                       os_decommit    READY → RESERVED
 *                                                       os_release     any → NONE
 * (Go's Prepared, a state between RESERVED and READY, is for systems where a mapping has to be made usable in two
 * steps; on Linux it is READY.) Inside READY, os_discard gives the memory back and keeps the range: it reads as zero again.
 *
 * ERRORS   functions that return int give 0 or an errno; those that return an address give 0 when
 *          refused, and errno says why. Nothing here prints or dies.
 * THREADS  all may be called from any thread; those marked [signal-safe] also from a handler and
 *          while other threads are stopped.
 * Every call that the system may refuse goes through a hook that tests replace (os_set_fault_hook), so that "the Nth
 * call fails" can be played for all N. None calls malloc, except where it says so. */
#ifndef MGC_OS_OS_H
#define MGC_OS_OS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ── memory ─────────────────────────────────────────────────────────────────────────────── */

/* os_page_size - bytes of the system's page, a power of two, read once. [signal-safe] */
size_t os_page_size(void);
/* os_huge_page_size - bytes of a transparent huge page, or 0 where there is none (or "never"). */
size_t os_huge_page_size(void);

/* os_reserve - NONE → RESERVED. nbytes > 0; align a power of two, 0 for a page. Returns the
 * address, a multiple of align, or 0. The system chooses the place (randomised as it does). */
uintptr_t os_reserve(size_t nbytes, size_t align);
/* os_reserve_at - NONE → RESERVED at exactly this address; 0 or errno, EEXIST when any part is in
 * use already (nothing is ever mapped over). */
int os_reserve_at(uintptr_t addr, size_t nbytes);
/* os_reserve_readable - NONE → READABLE, for tables that are looked into before they are filled; and the same at exactly
 * an address, as os_reserve_at. */
uintptr_t os_reserve_readable(size_t nbytes);
int os_reserve_readable_at(uintptr_t addr, size_t nbytes);
/* os_commit - RESERVED, READABLE → READY. Idempotent on READY. 0 or ENOMEM. */
int os_commit(uintptr_t addr, size_t nbytes);
/* os_decommit - READY → RESERVED: contents lost, commit charge returned, advice forgotten. 0 or
 * errno. */
int os_decommit(uintptr_t addr, size_t nbytes);
/* os_discard - READY stays READY, contents become zero, physical memory is returned. 0 or errno
 * (then the contents are unchanged or zero). Handles locked memory, from Linux 5.18 on: before, it
 * is EINVAL there. */
int os_discard(uintptr_t addr, size_t nbytes);
/* os_release - any state → NONE. Cannot fail on a range that is ours. */
void os_release(uintptr_t addr, size_t nbytes);
/* os_advise_huge - READY: on, ask for transparent huge pages; off, ask for none from now on (those
 * that are there break up as parts of them are discarded). Advice only. */
void os_advise_huge(uintptr_t addr, size_t nbytes, bool on);
/* os_populate - READY: fault the range in now. Advice only. */
void os_populate(uintptr_t addr, size_t nbytes);
/* os_populate_read - memory of any kind, the program's: map what would be read there now. It stays as it is. Advice only. */
void os_populate_read(uintptr_t addr, size_t nbytes);
/* os_move - what the READY range of nbytes at `from` holds moves to the start of the READY range of `room` ≥ nbytes at
 * `to`, without a copy: the rest of that, and `from`, read as zero. They do not overlap. The range at `to` is a
 * mapping of its own from here on, in which the kernel counts against vm.max_map_count what lies before and behind;
 * os_renew ends that, and it reads as zero. 0 or an errno, then `from` is as it was, and `to` READY, with any
 * contents. Linux 5.7; ranges that are several mappings already cannot be moved (EFAULT). */
int os_move(uintptr_t from, size_t nbytes, uintptr_t to, size_t room);
int os_renew(uintptr_t addr, size_t nbytes);
/* os_alloc - READY memory in one call, for records: NONE → READY. 0 when refused. */
uintptr_t os_alloc(size_t nbytes);

/* os_address_budget - bytes of address space that a reservation may take: min(MGC_MAX_RESERVE, a quarter of what there
 * is). */
size_t os_address_budget(void);
/* os_address_limit - RLIMIT_AS, which a program may change at any time, and which makes a large reservation itself a
 * cost; SIZE_MAX: none. */
size_t os_address_limit(void);
/* os_address_most - the hard limit: what the program may raise the other one to. */
size_t os_address_most(void);
/* os_is_beyond_memory - so much in one piece is more than memory and swap together, and the system refuses it to who asks for
 * a mapping (vm.overcommit_memory is 0); ours are without reserve, so it grants them anything. Reads a file then. */
bool os_is_beyond_memory(size_t nbytes);
/* os_lock_budget - after mlockall with MCL_FUTURE every new mapping is locked, so a large reservation is a
 * cost too: the bytes that may be locked. SIZE_MAX: nothing is locked. `mapped` is a page that was mapped just
 * now, to tell by, or 0: then one is mapped and unmapped. */
size_t os_lock_budget(uintptr_t mapped);
/* os_choose_place - a random address, a multiple of align, far from where the system maps by itself:
 * for a range whose parts are reserved one by one. Nothing is mapped, and nothing promised. */
uintptr_t os_choose_place(size_t align);
/* os_memory_limit - the cgroup's memory limit (v2 memory.max and memory.high, or v1), else
 * SIZE_MAX. Reads files: not while threads are stopped. */
size_t os_memory_limit(void);
/* os_resident - bytes resident in this process, 0 when unknown. */
size_t os_resident(void);

/* Written pages. One range at a time; one caller at a time. Linux 6.7; elsewhere, and where a sandbox
 * forbids it, os_written_start says so (ENOSYS, EINVAL, EPERM …) and the rest is not called.
 *
 * os_written_start - from now on the system can note writes to [lo, hi), which may be RESERVED in part.
 * Opens two descriptors. os_written_stop - ends it. In the child of a fork: stop, and start again. */
int os_written_start(uintptr_t lo, uintptr_t hi);
void os_written_stop(void);
/* os_written_each - calls fn for each run of pages of [lo, hi) that was written since it was last
 * forgotten, or has never been; with `forget`, from here on such a page counts as not written until the next
 * write: page by page in one step, so no write is missed. fn NULL: forgets only. 0 or an errno, after which
 * nothing is known (the program closed our descriptors, say). [signal-safe] */
int os_written_each(uintptr_t lo, uintptr_t hi, bool forget,
		    void (*fn)(void *arg, uintptr_t lo, uintptr_t hi), void *arg);
/* os_written_ignore - writes need not be noted for now: the next ones cost nothing. 0 or an errno. */
int os_written_ignore(uintptr_t lo, uintptr_t hi);

/* os_set_fault_hook - tests only: `hook(call, nbytes)` is asked before each call that the system may refuse and says 0
 * to let it pass or the errno to fail with. `call` is the function's name without "os_": reserve,
 * reserve_at, reserve_readable, commit, decommit, discard, move, renew, alloc, spawn, membarrier, written_start,
 * written_each, written_ignore; and for counting, as these do not fail, release, advise_huge, populate. NULL removes
 * it. */
void os_set_fault_hook(int (*hook)(const char *call, size_t nbytes));

/* ── time and processors ────────────────────────────────────────────────────────────────── */

uint64_t os_now_ns(void); /* monotonic [signal-safe] */
uint64_t os_cpu_ns(void); /* processor time of the process */
uint64_t os_thread_cpu_ns(void); /* processor time of this thread */
unsigned os_nprocs(void); /* processors this thread may run on (affinity and the cgroup's
				  * quota rounded up), ≥ 1. Reads files. */
void os_yield(void);
void os_sleep_ns(uint64_t ns);
uint64_t os_random(void); /* for placement; never fails, falls back to the clock */

/* ── waiting [signal-safe] ──────────────────────────────────────────────────────────────── */

/* os_wait - sleeps while *word == expected, until os_wake, a signal, or the timeout (ns, 0: none).
 * Returns 0 when woken or changed, EINTR or ETIMEDOUT. Spurious returns happen: look again. */
int os_wait(uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void os_wake(uint32_t *word, unsigned nwaiters);

/* os_membarrier - every running thread of the process passes a full fence before this returns.
 * False: the system has none (then callers use a signal). Probed once. */
bool os_membarrier(void);
/* os_membarrier_register - what the first call has to do, once: in a process of several threads the kernel takes some 10 ms for it. */
void os_membarrier_register(void);
/* os_is_alone - the process has no other thread. False: perhaps. */
bool os_is_alone(void);

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

typedef int os_tid;

os_tid os_self(void); /* [signal-safe], the kernel's id; not cached across fork */

/* os_stack_bounds - [*lo, *hi) of the calling thread's own stack, without its guard. *hi of the
 * first thread is behind argv and the environment, *lo as far down as the stack may grow: not all
 * of it is mapped. Reads files and, except in the first thread, may allocate: only at attach, never
 * while threads are stopped. 0 or errno. */
int os_stack_bounds(uintptr_t *lo, uintptr_t *hi);
/* os_readable - whether every page of [lo, hi) can be read, asked of the kernel. [signal-safe] */
bool os_readable(uintptr_t lo, uintptr_t hi);
/* os_readable_end - hi, or the first page boundary in [lo, hi) behind which nothing can be read; os_readable_begin - lo, or the
 * last one below which nothing can. [signal-safe] */
uintptr_t os_readable_end(uintptr_t lo, uintptr_t hi);
uintptr_t os_readable_begin(uintptr_t lo, uintptr_t hi);
/* os_altstack - the calling thread's alternate signal stack, false when none. [signal-safe] */
bool os_altstack(uintptr_t *lo, uintptr_t *hi);

/* os_spawn - starts a detached helper thread with every signal blocked, on a stack of 256 KiB and
 * its thread-local blocks. Only the first 15 bytes of `name` show. Allocates (pthread_create).
 * 0 or errno. */
int os_spawn(void (*fn)(void *), void *arg, const char *name);
/* os_only_helpers - nobody is left in the process but threads of os_spawn: the first one has ended (pthread_exit in main), and so have
 * all others. Reads /proc; false where that is missing, or another library's threads are there. os_end_process - what the C
 * library does when the last thread ends, which ours keep it from: exit(0), on a thread like one of the program. Returns.
 * os_forget_helpers - in the child of a fork. */
bool os_only_helpers(void);
void os_end_process(void);
void os_forget_helpers(void);

/* os_pick_signal - a real-time signal that nobody handles, from SIGRTMAX-2 down, or the `wanted`
 * one (0: none wanted) whoever handles it, if a program may use it. Returns its number, or 0. */
int os_pick_signal(int wanted);
/* os_signal_install - installs `fn(sp, regs, nregs)` for the signal: full mask, restarting, on the
 * alternate stack if the thread has one, errno preserved. sp is the lowest address of the
 * interrupted stack that may hold live values (the red zone below the stack pointer included). The
 * interrupted registers lie on the handler's own stack at [regs, regs + nregs): general and vector
 * ones with what the kernel keeps between them, some 100 to 1500 words; scan them in place. Under
 * TSan sp is in the handler's own frame and nregs is 0. Signals of that number that do not carry
 * our cookie go to the handler that was there before. A second call replaces fn. One caller at a
 * time. 0 or errno. */
int os_signal_install(int sig, void (*fn)(uintptr_t sp, const uintptr_t *regs, size_t nregs));
/* os_signal_stay_on_stack - handlers installed from now on do not use the alternate stack. */
void os_signal_stay_on_stack(void);
/* os_signal_is_ours - whether the disposition of that signal is still what os_signal_install set. */
bool os_signal_is_ours(int sig);
/* os_signal_unblock - the calling thread lets that signal in. [signal-safe] */
void os_signal_unblock(int sig);
/* os_signal_send - queues the signal, with our cookie, to one thread; signal 0: only asks whether it is
 * there. When too many are queued (RLIMIT_SIGPENDING) a real-time one becomes SIGURG, with the same function. 0, ESRCH
 * (gone), EAGAIN (the program has taken SIGURG). One caller at a time for a real-time one. */
int os_signal_send(os_tid tid, int sig);
/* os_thread_blocks - true when that thread has the signal blocked (reads /proc). */
bool os_thread_blocks(os_tid tid, int sig);
/* os_thread_state - the letter that /proc has for it: R, S, D (no signal reaches it there), T (stopped), t
 * (by a debugger); '?' when unknown. */
char os_thread_state(os_tid tid);

/* ── a process that watches ─────────────────────────────────────────────────────────────── */

/* os_tell - one byte to whoever listens at the abstract local socket `name`, who answers twice with one: when he has heard
 * it, and when he has done what he does then. Waits for each so long at most: who is stopped is found out by the
 * first. False: nobody is there, or he did not answer. Leaves errno. */
bool os_tell(const char *name, char what, unsigned heard_secs, unsigned done_secs);

/* os_keep_stderr - standard error as it is now stays at hand. os_reopen_stderr - for a report when the process exits: if the
 * program has closed it, it is open again. Both leave errno. */
void os_keep_stderr(void);
void os_reopen_stderr(void);

/* ── loaded objects ─────────────────────────────────────────────────────────────────────── */

struct os_segment {
	uintptr_t lo, hi;
};

/* os_each_data - calls fn for every writable data segment (data and bss, without what the loader
 * makes read-only) of every loaded object, our own included, inside the loader's lock: while it
 * runs no object comes or goes. `within`, if not NULL, then runs once in the same lock, after the
 * last segment. One object may give several ranges; they never overlap and need no alignment. */
void os_each_data(void (*fn)(void *arg, uintptr_t lo, uintptr_t hi), void (*within)(void *arg),
		  void *arg);

/* os_describe - the loaded object and symbol that hold the address, as "prog+0x4010 (name+8)", or "". Static
 * functions have names where the file was not stripped. Takes the loader's lock and reads files: not while
 * threads are stopped. */
void os_describe(uintptr_t addr, char *buf, size_t nbytes);

/* os_tls_self - the calling thread's handle for os_each_tls. [signal-safe] */
uintptr_t os_tls_self(void);
/* os_each_tls - calls fn for the thread-local blocks of the thread with that handle: the static ones
 * in one range with all that lies between and around them, each dynamic one (none at all where the C
 * library's layout is unknown, as musl's). No alignment. That thread must be stopped or be the
 * caller, and the caller must be inside os_each_data's `within`: it takes the same lock again, and
 * outside a stopped thread may hold it. Not from a handler. The handle of a thread that has ended
 * gives nothing as long as nobody else has taken its memory. */
void os_each_tls(uintptr_t handle, void (*fn)(void *arg, uintptr_t lo, uintptr_t hi), void *arg);

#endif
