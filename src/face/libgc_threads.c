/* libgc_threads.c - registration of threads, blocking calls, and the pthread wrappers. */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "gc/cycle.h"
#include "os/os.h"

LIBGC_API int GC_register_my_thread(const struct GC_stack_base *sb);
LIBGC_API int GC_unregister_my_thread(void);
LIBGC_API int GC_thread_is_registered(void);
LIBGC_API void GC_allow_register_threads(void);
LIBGC_API int GC_get_stack_base(struct GC_stack_base *sb);
LIBGC_API void *GC_get_my_stackbottom(struct GC_stack_base *sb);
LIBGC_API void GC_set_stackbottom(void *thread, const struct GC_stack_base *sb);
LIBGC_API void *GC_call_with_stack_base(void *(*fn)(struct GC_stack_base *, void *), void *arg);
LIBGC_API void *GC_do_blocking(GC_fn_type fn, void *arg);
LIBGC_API void *GC_call_with_gc_active(GC_fn_type fn, void *arg);
LIBGC_API void *GC_call_with_alloc_lock(GC_fn_type fn, void *arg);
LIBGC_API void GC_alloc_lock(void);
LIBGC_API void GC_alloc_unlock(void);
LIBGC_API int GC_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *),
				void *arg);
LIBGC_API int GC_pthread_join(pthread_t t, void **result);
LIBGC_API int GC_pthread_detach(pthread_t t);
LIBGC_API int GC_pthread_cancel(pthread_t t);
LIBGC_API void GC_pthread_exit(void *result) __attribute__((noreturn));
LIBGC_API int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
LIBGC_API void *GC_dlopen(const char *path, int mode);
LIBGC_API void GC_register_altstack(void *stack, GC_word nbytes, void *altstack, GC_word alt_nbytes);
LIBGC_API int GC_get_suspend_signal(void);
LIBGC_API int GC_get_thr_restart_signal(void);
LIBGC_API void GC_set_suspend_signal(int sig);
LIBGC_API void GC_set_thr_restart_signal(int sig);

char *GC_stackbottom;

/* libgc_attached - the main thread's cold end is the variable that coroutine clients write. */
void libgc_attached(struct mutator *m)
{
	if (m->tid != (int)getpid())
		return;
	if (GC_stackbottom == NULL)
		GC_stackbottom = (char *)m->stack_hi;
	m->stack_hi_var = (const uintptr_t *)(const void *)&GC_stackbottom;
}

/* ── registration ───────────────────────────────────────────────────────────────────────── */

int GC_register_my_thread(const struct GC_stack_base *sb)
{
	if (mutator_attached()) {
		return GC_DUPLICATE;
	}
	struct mutator *m = libgc_self();
	if (m == NULL)
		return GC_NO_MEMORY;
	uintptr_t hi = sb != NULL ? (uintptr_t)sb->mem_base : 0;
	if (hi != 0 && (hi <= m->stack_lo || hi > m->stack_hi)) /* of a stack that the system does not know */
		GC_set_stackbottom(m, sb);
	return GC_SUCCESS;
}

int GC_unregister_my_thread(void)
{
	runtime_detach();
	return GC_SUCCESS;
}

int GC_thread_is_registered(void)
{
	return mutator_attached();
}

void GC_allow_register_threads(void)
{
	libgc_ready();
}

int GC_get_stack_base(struct GC_stack_base *sb)
{
	uintptr_t lo, hi;
	int err = os_stack_bounds(&lo, &hi);
	if (err != 0)
		return GC_UNIMPLEMENTED;
	sb->mem_base = (void *)hi;
	return GC_SUCCESS;
}

void *GC_get_my_stackbottom(struct GC_stack_base *sb)
{
	struct mutator *m = libgc_self();
	sb->mem_base =
		m == NULL ? NULL : (void *)(m->stack_hi_var != NULL ? *m->stack_hi_var : m->stack_hi);
	return m;
}

void GC_set_stackbottom(void *thread, const struct GC_stack_base *sb)
{
	struct mutator *m = thread != NULL ? thread : libgc_self();
	if (m == NULL)
		return;
	if (m->stack_hi_var == (const uintptr_t *)(const void *)&GC_stackbottom) {
		GC_stackbottom = sb->mem_base;
		return;
	}
	m->stack_hi = (uintptr_t)sb->mem_base; /* of a stack that we may know nothing of */
	m->stack_hi_var = &m->stack_hi;
}

MGC_NOINLINE void *GC_call_with_stack_base(void *(*fn)(struct GC_stack_base *, void *), void *arg)
{
	struct GC_stack_base sb = { __builtin_frame_address(0) };
	void *result = fn(&sb, arg);
	MGC_KEEP(&sb);
	return result;
}

/* GC_register_altstack - the thread's own stack, as it may be another than the system says, and the one its
 * signal handlers run on. */
void GC_register_altstack(void *stack, GC_word nbytes, void *altstack, GC_word alt_nbytes)
{
	struct mutator *m = libgc_self();
	if (m == NULL)
		return;
	mutator_enter(m);
	if (stack != NULL && m->stack_hi_var == NULL) {
		m->stack_lo = min_size(m->stack_lo, (uintptr_t)stack);
		m->stack_hi = max_size(m->stack_hi, (uintptr_t)stack + nbytes);
	}
	m->altstack_lo = (uintptr_t)altstack;
	m->altstack_hi = (uintptr_t)altstack + alt_nbytes;
	mutator_leave(m);
}

/* ── blocking ───────────────────────────────────────────────────────────────────────────── */

MGC_NOINLINE void *GC_do_blocking(GC_fn_type fn, void *arg)
{
	struct mutator *m = libgc_self();
	if (m == NULL || load_relaxed(&m->status) == MUTATOR_BLOCKED)
		return fn(arg);
	stw_block(m);
	void *result = fn(arg);
	stw_unblock(&runtime.gc.stw, m);
	MGC_KEEP(arg);
	return result;
}

/* GC_call_with_gc_active - from inside a blocking call back into code that uses the heap: what lies
 * above the blocking call stays in use as an older segment of the stack. */
MGC_NOINLINE void *GC_call_with_gc_active(GC_fn_type fn, void *arg)
{
	struct mutator *m = libgc_self();
	if (m == NULL || load_relaxed(&m->status) == MUTATOR_RUNNING)
		return fn(arg);
	uintptr_t saved[MUTATOR_SAVED_REGS]; /* on this stack: read as part of the new segment */
	memcpy(saved, m->saved, sizeof saved);
	const uintptr_t *var = m->stack_hi_var;
	uintptr_t hi = m->stack_hi, sp = m->sp;
	struct stack_segment segment = { m->segments, sp, var != NULL ? *var : hi };
	m->segments = &segment;
	m->stack_hi_var = NULL;
	m->stack_hi = (uintptr_t)__builtin_frame_address(0) + 2 * sizeof(uintptr_t);
	stw_unblock(&runtime.gc.stw, m);
	void *result = fn(arg);
	stw_block(m);
	m->segments = segment.older;
	m->stack_hi_var = var;
	m->stack_hi = hi;
	memcpy(m->saved, saved, sizeof saved);
	m->sp = sp;
	MGC_KEEP(saved);
	return result;
}

/* libgc_lock - nor while links to what a collection found dead are still to be nulled (gc/clearing.c). */
void libgc_lock(void)
{
	struct mutator *m = libgc_self();
	for (;;) {
		if (m != NULL) { /* a stop that the last one put off may come now */
			mutator_enter(m);
			mutator_leave(m);
		}
		lock_acquire(&libgc.lock);
		if (m == NULL)
			return;
		mutator_enter(m);
		if (MGC_LIKELY(!cycle_is_clearing(&runtime.gc)))
			return;
		lock_release(&libgc.lock);
		mutator_leave(m);
		cycle_wait_cleared(&runtime.gc);
	}
}

/* The client's allocation lock: mutual exclusion, and no collection in between, nor just behind: Guile, which moves
 * a stack with the lock held, notes only after that where it is now (vm_expand_stack). With libgc, too, who waits for the lock has
 * yet to wake up. */
void GC_alloc_lock(void)
{
	if (MGC_UNLIKELY(!load_relaxed(&runtime.gc.links_guarded)))
		store_relaxed(&runtime.gc.links_guarded, true);
	libgc_lock();
}

void GC_alloc_unlock(void)
{
	lock_release(&libgc.lock); /* in the section: what waits for the last lock waits for its end, too */
	if (mutator_attached())
		stw_leave_later(&runtime.gc.stw, mutator_self());
}

void *GC_call_with_alloc_lock(GC_fn_type fn, void *arg)
{
	GC_alloc_lock();
	void *result = fn(arg);
	GC_alloc_unlock();
	return result;
}

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

/* What is known of a thread made by GC_pthread_create: its result stays alive until it is joined. In
 * an uncollectable object. */
struct thread {
	struct thread *next;
	pthread_t id;
	void *(*fn)(void *);
	void *arg;
	void *result;
	uint32_t *attached; /* atomic, futex: its maker's, which may go on, and end, as soon as it is set */
	bool detached, finished;
	bool held; /* GC_suspend_thread came when it was finished */
};

static pthread_mutex_t threads_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct thread *threads;

/* lock_threads - and GC_suspend_thread does not hold the thread meanwhile: nobody could make or join any. */
static void lock_threads(void)
{
	if (mutator_attached())
		mutator_self()->collects++;
	pthread_mutex_lock(&threads_mutex);
}

static void unlock_threads(void)
{
	pthread_mutex_unlock(&threads_mutex);
	if (mutator_attached())
		mutator_self()->collects--;
}

static void *make_thread(struct mutator *m, void *(*fn)(void *), void *arg)
{
	uintptr_t p = m == NULL ? 0
				: gc_alloc(&runtime.gc, m, libgc.kind_layout[KIND_UNCOLLECTABLE],
					   sizeof(struct thread));
	struct thread *t = (struct thread *)p;
	if (t != NULL) {
		t->fn = fn;
		t->arg = arg;
	}
	return t;
}

static void forget_thread(struct thread *t)
{
	gc_free(&runtime.gc, mutator_self(), (uintptr_t)t);
}

/* look_up - the lock is held. A thread that is neither joined nor detached shares its number with nobody; behind it there may be one
 * that was just joined. */
static struct thread *look_up(pthread_t id)
{
	struct thread *t = threads;
	while (t != NULL && !pthread_equal(t->id, id))
		t = t->next;
	return t;
}

/* unlink_thread - the lock is held. False: somebody else did. */
static bool unlink_thread(const struct thread *t)
{
	struct thread **at = &threads;
	while (*at != NULL && *at != t)
		at = &(*at)->next;
	if (*at == NULL)
		return false;
	*at = t->next;
	return true;
}

static struct thread *find(pthread_t id)
{
	lock_threads();
	struct thread *t = look_up(id);
	unlock_threads();
	return t;
}

/* unlink_joined - its number may be that of another thread by now. */
static bool unlink_joined(const struct thread *t)
{
	lock_threads();
	bool found = unlink_thread(t);
	unlock_threads();
	return found;
}

/* unlink_over - the lock is held: of a thread that is detached and finished the record is nobody's but the caller's. */
static bool unlink_over(const struct thread *t)
{
	return t->detached && t->finished && unlink_thread(t);
}

void libgc_hold_ended(pthread_t id, bool held)
{
	lock_threads();
	struct thread *t = look_up(id);
	if (t != NULL)
		t->held = held && t->finished;
	unlock_threads();
}

bool libgc_holds_ended(pthread_t id)
{
	lock_threads();
	const struct thread *t = look_up(id);
	bool held = t != NULL && t->held;
	unlock_threads();
	return held;
}

/* finished - however it came about. Who detaches the thread just now may be the one who forgets it. */
static void finished(void *p)
{
	struct thread *t = p;
	lock_threads();
	t->finished = true;
	bool mine = unlink_over(t);
	unlock_threads();
	if (mine && libgc_self() != NULL)
		forget_thread(t);
}

/* ── fork ───────────────────────────────────────────────────────────────────────────────── */

static void before_fork(void)
{
	lock_threads();
}

static void after_fork_in_parent(void)
{
	unlock_threads();
}

/* after_fork_in_child - nobody is inside the allocation lock when a process forks, but its word may say so: of a thread that had just
 * got it, and that the gate made give it back; or that slept for it. What is known of the threads that are not here is for nobody. */
static void after_fork_in_child(void)
{
	struct thread *kept = NULL, *next;
	lock_reset(&libgc.lock);
	for (struct thread *t = mutator_attached() ? threads : NULL; t != NULL; t = next) {
		next = t->next;
		if (!pthread_equal(t->id, pthread_self())) {
			forget_thread(t);
			continue;
		}
		t->next = kept;
		kept = t;
	}
	threads = kept;
	unlock_threads();
}

/* libgc_init_threads - after the runtime: its handlers come later before a fork, and earlier after it. */
void libgc_init_threads(void)
{
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static void *thread_main(void *p)
{
	struct thread *t = p;
	if (libgc_self() == NULL)
		mgc_fatal("no memory to attach a thread");
	lock_threads();
	t->id = pthread_self();
	t->next = threads;
	threads = t;
	unlock_threads();
	uint32_t *attached = t->attached;
	store_release(attached, 1u); /* pairs: libgc-thread */
	os_wake(attached, 1); /* a stale address by now, perhaps: waking nobody is harmless */
	void *result = NULL;
	pthread_cleanup_push(finished, t);
	result = t->fn(t->arg);
	t->result = result; /* kept until it is joined */
	pthread_cleanup_pop(1);
	return result;
}

int GC_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	struct mutator *m = libgc_self();
	struct thread *t = make_thread(m, fn, arg);
	int state = PTHREAD_CREATE_JOINABLE;
	uint32_t attached = 0;
	if (t == NULL)
		return EAGAIN;
	t->attached = &attached;
	if (attr != NULL)
		pthread_attr_getdetachstate(attr, &state);
	t->detached = state == PTHREAD_CREATE_DETACHED;
	int err = runtime_create_thread(m, id, attr, thread_main, t);
	if (err != 0)
		forget_thread(t);
	while (err == 0 && load_acquire(&attached) == 0) /* pairs: libgc-thread */
		os_wait(&attached, 0, 0);
	return err;
}

int GC_pthread_join(pthread_t id, void **result)
{
	void *value = NULL;
	struct thread *t = find(id);
	int err = pthread_join(id, &value);
	if (err != 0)
		return err;
	if (result != NULL)
		*result = value;
	if (t != NULL && unlink_joined(t) && libgc_self() != NULL)
		forget_thread(t);
	return 0;
}

int GC_pthread_detach(pthread_t id)
{
	lock_threads();
	struct thread *t = look_up(id);
	if (t != NULL)
		t->detached = true;
	bool mine = t != NULL && unlink_over(t);
	unlock_threads();
	if (mine && libgc_self() != NULL)
		forget_thread(t);
	return pthread_detach(id);
}

int GC_pthread_cancel(pthread_t id)
{
	return pthread_cancel(id);
}

void GC_pthread_exit(void *result)
{
	pthread_t me = pthread_self();
	lock_threads();
	struct thread *t = look_up(me);
	if (t != NULL)
		t->result = result;
	unlock_threads();
	pthread_exit(result);
}

/* GC_pthread_sigmask - a thread that blocked our signal could not be stopped. */
int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t mine;
	libgc_ready();
	if (set != NULL && (how == SIG_BLOCK || how == SIG_SETMASK)) {
		mine = *set;
		sigdelset(&mine, runtime.gc.stw.signal);
		set = &mine;
	}
	return pthread_sigmask(how, set, old);
}

void *GC_dlopen(const char *path, int mode)
{
	return dlopen(path, mode);
}

int GC_get_suspend_signal(void)
{
	libgc_ready();
	return runtime.gc.stw.signal;
}

int GC_get_thr_restart_signal(void)
{
	return SIGXCPU; /* never sent: one signal is enough here */
}

/* GC_set_suspend_signal - before the collector starts, as in libgc. */
void GC_set_suspend_signal(int sig)
{
	if (runtime_started()) {
		libgc_warn(
			"GC_set_suspend_signal after the collector started: signal %lu not used\n",
			(GC_word)sig);
		return;
	}
	libgc_config.signal = sig;
}

void GC_set_thr_restart_signal(int sig)
{
	(void)sig;
}
