/* threads.c - threads, mutexes and condition variables: a part of SRFI 18, on pthreads that share the heap.
 * WHAT   Nothing moves, so a pthread_mutex_t lies in the heap like any other bytes. Whoever waits does it in
 *        a blocking section. A thread's result is stored with set_slot(), as others read it.
 * LOCKS  `lock` of an object is held for a few instructions only; nothing is allocated under it */
#include "scheme.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "vm.h"

struct sync {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t state; /* thread: 1 started, 2 ended; mutex: 1 locked; condition: signals so far */
};

/* Thread, mutex and condition variable begin alike. */
struct shared {
	value header;
	value sync; /* bytes: a struct sync */
	value name;
	value specific;
	/* a thread only */
	value thunk, result, failed, parameters;
};

static struct shared *shared_of(value v)
{
	return (struct shared *)v;
}

static struct sync *sync_of(value v)
{
	return (struct sync *)(void *)((struct bytes *)shared_of(v)->sync)->byte;
}

static value make_shared(enum kind kind, size_t nslots, int n, const value *a)
{
	value bytes = make_bytes(sizeof(struct sync), 0);
	struct sync *s = (struct sync *)(void *)((struct bytes *)bytes)->byte;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	value v = object_with(kind, nslots, bytes, n > 0 ? a[0] : V_FALSE, V_UNSPECIFIED, 0);
	return v;
}

/* wait_while - until state is no longer `state`; the lock is held before and after. */
static void wait_while(struct sync *s, uint64_t state)
{
	mgc_blocking_enter();
	while (s->state == state)
		pthread_cond_wait(&s->changed, &s->lock);
	mgc_blocking_leave();
}

static void set_state(struct sync *s, uint64_t state)
{
	s->state = state;
	pthread_cond_broadcast(&s->changed);
}

/* ── threads ── */

static value want_thread(value v)
{
	return want(v, KIND_THREAD, "thread");
}

static void *run_thread(void *arg)
{
	value thread = (value)arg, result = root.out_of_memory;
	struct vm *vm = vm_new();
	bool ok = false;
	if (vm != NULL) {
		vm->r.thread = thread;
		vm->r.parameters = shared_of(thread)->parameters;
		ok = vm_run(vm, shared_of(thread)->thunk, &result);
		vm_delete(vm);
	}
	set_slot(&shared_of(thread)->result, result);
	set_slot(&shared_of(thread)->failed, boolean(!ok));
	lock_quietly(&sync_of(thread)->lock);
	set_state(sync_of(thread), 2);
	pthread_mutex_unlock(&sync_of(thread)->lock);
	mgc_keep_alive((void *)thread);
	return NULL;
}

PRIMITIVE(p_make_thread) /* thunk name */
{
	value t = make_shared(KIND_THREAD, 7, n - 1, a + 1);
	shared_of(t)->thunk = a[0];
	shared_of(t)->result = shared_of(t)->failed = V_FALSE;
	shared_of(t)->parameters = V_NIL;
	return t;
}

PRIMITIVE(p_thread_start)
{
	pthread_t thread;
	pthread_attr_t attr;
	struct sync *s = sync_of(want_thread(a[0]));
	lock_quietly(&s->lock);
	bool fresh = s->state == 0;
	s->state += fresh;
	pthread_mutex_unlock(&s->lock);
	if (!fresh)
		fail("the thread was started before", a[0]);
	set_slot(&shared_of(a[0])->parameters, vm->r.parameters);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int err = mgc_thread_create(&thread, &attr, run_thread, (void *)a[0]);
	pthread_attr_destroy(&attr);
	if (err != 0)
		fail(strerror(err), 0);
	return a[0];
}

PRIMITIVE(p_thread_join)
{
	struct sync *s = sync_of(want_thread(a[0]));
	lock_quietly(&s->lock);
	if (s->state == 1)
		wait_while(s, 1);
	uint64_t state = s->state;
	pthread_mutex_unlock(&s->lock);
	if (state == 0)
		fail("the thread was never started", a[0]);
	if (shared_of(a[0])->failed != V_FALSE)
		fail_as("uncaught-exception", "the thread ended by an exception",
			shared_of(a[0])->result);
	return shared_of(a[0])->result;
}

PRIMITIVE(p_current_thread)
{
	if (vm->r.thread == 0)
		vm->r.thread = make_shared(KIND_THREAD, 7, 0, NULL);
	return vm->r.thread;
}

RETURNS(p_is_thread, boolean(is_kind(a[0], KIND_THREAD)))

PRIMITIVE(p_thread_yield)
{
	mgc_blocking_enter();
	nanosleep(&(struct timespec){ 0, 1 }, NULL);
	mgc_blocking_leave();
	return V_UNSPECIFIED;
}

PRIMITIVE(p_thread_sleep)
{
	double seconds = num_double(a[0]);
	struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
	mgc_blocking_enter();
	nanosleep(&t, NULL);
	mgc_blocking_leave();
	return V_UNSPECIFIED;
}

RETURNS(p_thread_specific, shared_of(want_thread(a[0]))->specific)

PRIMITIVE(p_thread_specific_set)
{
	set_slot(&shared_of(want_thread(a[0]))->specific, a[1]);
	return V_UNSPECIFIED;
}

/* ── mutexes and condition variables ── */

static struct sync *want_mutex(value v)
{
	return sync_of(want(v, KIND_MUTEX, "mutex"));
}

static struct sync *want_condvar(value v)
{
	return sync_of(want(v, KIND_CONDVAR, "condition variable"));
}

RETURNS(p_make_mutex, make_shared(KIND_MUTEX, 3, n, a))
RETURNS(p_is_mutex, boolean(is_kind(a[0], KIND_MUTEX)))

PRIMITIVE(p_mutex_lock)
{
	struct sync *s = want_mutex(a[0]);
	lock_quietly(&s->lock);
	while (s->state == 1)
		wait_while(s, 1);
	s->state = 1;
	pthread_mutex_unlock(&s->lock);
	return V_TRUE;
}

static void unlock(struct sync *s)
{
	lock_quietly(&s->lock);
	set_state(s, 0);
	pthread_mutex_unlock(&s->lock);
}

PRIMITIVE(p_mutex_unlock) /* mutex condition: waits until it is signalled */
{
	struct sync *s = want_mutex(a[0]);
	if (n == 1) {
		unlock(s);
		return V_TRUE;
	}
	struct sync *c = want_condvar(a[1]);
	lock_quietly(&c->lock);
	uint64_t before = c->state;
	unlock(s);
	if (c->state == before)
		wait_while(c, before);
	pthread_mutex_unlock(&c->lock);
	return V_TRUE;
}

RETURNS(p_make_condvar, make_shared(KIND_CONDVAR, 3, n, a))

PRIMITIVE(p_condvar_signal) /* wakes all: who was not meant looks again at what he waits for */
{
	struct sync *c = want_condvar(a[0]);
	lock_quietly(&c->lock);
	set_state(c, c->state + 1);
	pthread_mutex_unlock(&c->lock);
	return V_UNSPECIFIED;
}

static const struct prim_info threads[] = {
	{ "make-thread", p_make_thread, 1, 2, 0 },
	{ "thread-start!", p_thread_start, 1, 1, 0 },
	{ "thread-join!", p_thread_join, 1, 1, 0 },
	{ "current-thread", p_current_thread, 0, 0, 0 },
	{ "thread?", p_is_thread, 1, 1, 0 },
	{ "thread-yield!", p_thread_yield, 0, 0, 0 },
	{ "thread-sleep!", p_thread_sleep, 1, 1, 0 },
	{ "thread-specific", p_thread_specific, 1, 1, 0 },
	{ "thread-specific-set!", p_thread_specific_set, 2, 2, 0 },
	{ "make-mutex", p_make_mutex, 0, 1, 0 },
	{ "mutex?", p_is_mutex, 1, 1, 0 },
	{ "mutex-lock!", p_mutex_lock, 1, 1, 0 },
	{ "mutex-unlock!", p_mutex_unlock, 1, 2, 0 },
	{ "make-condition-variable", p_make_condvar, 0, 1, 0 },
	{ "condition-variable-signal!", p_condvar_signal, 1, 1, 0 },
	{ "condition-variable-broadcast!", p_condvar_signal, 1, 1, 0 },
};

void threads_init(void)
{
	DEFINE_ALL(threads);
}
