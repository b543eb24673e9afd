/* libgc_suspend.c - one thread held by another, and the world stopped at the program's wish.
 *
 * WHAT   The thread gets libgc's second signal (SIGXCPU), which is free here; its handler waits until it is
 *        resumed. It counts as BLOCKED meanwhile, so collections go on and read its stack. A thread inside
 *        the library would keep its locks, or the loader's: then it is let go, and asked again.
 * STATE  of a record: ASKED → HELD → LET_GO → GONE, or ASKED → BUSY → ASKED
 * INV    a record is idle again only by who resumes, when the handler is through with it
 * LOCKS  `mutex`, the C library's, for the lists; not taken by the handler. Whoever has it neither allocates from the heap nor
 *        collects: finalizers would run, and wait for what a held thread has. */
#include <pthread.h>
#include <signal.h>

#include "base/check.h"
#include "face/libgc.h"
#include "gc/cycle.h"
#include "os/os.h"

#define ASK_AGAIN_NS UINT64_C(1000000)

LIBGC_API void GC_suspend_thread(pthread_t id);
LIBGC_API void GC_resume_thread(pthread_t id);
LIBGC_API int GC_is_thread_suspended(pthread_t id);
LIBGC_API void GC_stop_world_external(void);
LIBGC_API void GC_start_world_external(void);

enum { ASKED, BUSY, HELD, LET_GO, GONE };

struct suspension {
	struct suspension *next;
	pthread_t id;
	int tid;
	uint32_t state; /* atomic, futex */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct suspension *suspensions;
static struct suspension *idle; /* records that were used, or were never */
static struct suspension *asked; /* atomic: whose thread is being asked; one at a time */

static void set_state(struct suspension *s, uint32_t state)
{
	store_release(&s->state, state); /* pairs: suspended */
	os_wake(&s->state, UINT32_MAX);
}

/* stay - until somebody resumes the calling thread. */
static void stay(struct suspension *s, struct mutator *m)
{
	bool running = load_relaxed(&m->status) == MUTATOR_RUNNING;
	if (running)
		stw_block(m);
	set_state(s, HELD);
	while (load_acquire(&s->state) == HELD) /* pairs: suspended */
		os_wait(&s->state, HELD, 0);
	if (running)
		stw_unblock(&runtime.gc.stw, m);
	set_state(s, GONE);
}

static void on_signal(uintptr_t sp, const uintptr_t *regs, size_t nregs)
{
	struct suspension *s = load_acquire(&asked); /* pairs: suspension */
	struct mutator *m = mutator_self();
	(void)sp; /* registers lie on the stack above the handler */
	(void)regs;
	(void)nregs;
	if (s == NULL || !mutator_attached() || s->tid != m->tid || load_relaxed(&s->state) != ASKED)
		return;
	if (m->sec != 0 || m->collects != 0 || lock_thread.nheld != 0)
		set_state(s, BUSY);
	else
		stay(s, m);
}

static struct suspension *find(pthread_t id)
{
	struct suspension *s = suspensions;
	while (s != NULL && !pthread_equal(s->id, id))
		s = s->next;
	return s;
}

/* tid_of - of a registered thread; 0: it is none. */
static int tid_of(pthread_t id)
{
	int tid = 0;
	struct mutator *self = libgc_self();
	mutator_enter(self);
	while (!lock_try(&runtime.heap.registry_lock)) { /* never waited for inside a section */
		mutator_leave(self);
		os_yield();
		mutator_enter(self);
	}
	LIST_EACH(it, &runtime.heap.mutators) {
		const struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		if (m->tls == (uintptr_t)id) /* glibc's handle is the same address */
			tid = m->tid;
	}
	lock_release(&runtime.heap.registry_lock);
	mutator_leave(self);
	return tid;
}

/* ask - until the thread is held. False: it has ended. */
static bool ask(struct suspension *s)
{
	store_release(&asked, s); /* pairs: suspension */
	while (load_acquire(&s->state) != HELD) { /* pairs: suspended */
		set_state(s, ASKED);
		if (os_signal_send(s->tid, SIGXCPU) != 0)
			break;
		while (load_acquire(&s->state) == ASKED && /* pairs: suspended */
		       os_signal_send(s->tid, 0) == 0)
			os_wait(&s->state, ASKED, ASK_AGAIN_NS);
		if (load_acquire(&s->state) == BUSY) /* pairs: suspended */
			os_yield();
	}
	store_release(&asked, (struct suspension *)NULL); /* pairs: suspension */
	return load_acquire(&s->state) == HELD; /* pairs: suspended */
}

/* more_idle - a page of them, which lasts. */
static void more_idle(void)
{
	struct suspension *fresh = (struct suspension *)os_alloc(os_page_size());
	if (fresh == NULL)
		mgc_fatal("no memory to suspend a thread");
	for (size_t i = 0; i < os_page_size() / sizeof *fresh; i++) {
		fresh[i].next = idle;
		idle = &fresh[i];
	}
}

static struct suspension *make(pthread_t id, int tid)
{
	if (idle == NULL)
		more_idle();
	struct suspension *s = idle;
	idle = s->next;
	*s = (struct suspension){ suspensions, id, tid, ASKED };
	suspensions = s;
	return s;
}

static void drop(struct suspension *s)
{
	struct suspension **at = &suspensions;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->next = idle;
	idle = s;
}

static void before_fork(void)
{
	pthread_mutex_lock(&mutex);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&mutex);
}

/* install - `mutex` is held. */
static void install(void)
{
	static bool installed;
	if (!installed && os_signal_install(SIGXCPU, on_signal) != 0)
		mgc_fatal("GC_suspend_thread: signal %d cannot be handled", SIGXCPU);
	if (!installed)
		pthread_atfork(before_fork, after_fork, after_fork);
	installed = true;
}

void GC_suspend_thread(pthread_t id)
{
	libgc_self();
	int tid = tid_of(id);
	pthread_mutex_lock(&mutex);
	install();
	struct suspension *s = tid != 0 && find(id) == NULL ? make(id, tid) : NULL;
	bool is_self = pthread_equal(id, pthread_self());
	if (s != NULL && !is_self && !ask(s)) {
		drop(s);
		s = NULL;
	}
	if (s == NULL && find(id) == NULL)
		libgc_hold_ended(id, true);
	pthread_mutex_unlock(&mutex);
	if (s != NULL && is_self)
		stay(s, mutator_self());
}

void GC_resume_thread(pthread_t id)
{
	libgc_self();
	pthread_mutex_lock(&mutex);
	struct suspension *s = find(id);
	if (s != NULL) {
		while (load_acquire(&s->state) == ASKED) /* pairs: suspended; it suspends itself just now */
			os_yield();
		set_state(s, LET_GO);
		while (load_acquire(&s->state) != GONE) /* pairs: suspended */
			os_wait(&s->state, LET_GO, 0);
		drop(s);
	}
	libgc_hold_ended(id, false);
	pthread_mutex_unlock(&mutex);
}

int GC_is_thread_suspended(pthread_t id)
{
	pthread_mutex_lock(&mutex);
	bool found = find(id) != NULL || libgc_holds_ended(id);
	pthread_mutex_unlock(&mutex);
	return found;
}

/* ── the world ──────────────────────────────────────────────────────────────────────────── */

/* GC_stop_world_external - until the same thread starts it again; nobody may allocate meanwhile. */
void GC_stop_world_external(void)
{
	struct mutator *m = libgc_self();
	if (m == NULL)
		mgc_fatal("no memory to attach the thread that stops the world");
	mutator_check_entry(m);
	cycle_take_world(&runtime.gc);
	mutator_enter(m);
	stw_stop(&runtime.gc.stw, m);
}

void GC_start_world_external(void)
{
	struct mutator *m = mutator_self();
	if (!lock_is_held(&runtime.gc.world) || m->sec == 0)
		mgc_misuse("GC_start_world_external by a thread that did not stop the world");
	(void)stw_start(&runtime.gc.stw, m);
	mutator_leave(m);
	lock_release(&runtime.gc.world);
}
