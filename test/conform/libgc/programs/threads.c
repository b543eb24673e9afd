/* threads.c - registering, blocking, holding, wrapped threads, forks. */
#define GC_THREADS
#include "common.h"
#include <gc/javaxfc.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#undef pthread_create /* those below that are not wrapped say so */
#undef pthread_join
#undef pthread_exit

static volatile int stage;

static void *churn(void *arg)
{
	long sum = 0;
	for (long i = 0; i < 100000; i++) {
		long *p = GC_malloc(32 + (size_t)(i % 7) * 16);
		p[0] = i;
		if (i % 1000 == 0)
			*(void **)arg = p; /* keeps one */
		sum += p[0];
	}
	return (void *)sum;
}

static void wrapped(void)
{
	pthread_t t[4];
	void *cells[4], *result;
	long sum = 0;
	for (int i = 0; i < 4; i++)
		GC_pthread_create(&t[i], NULL, churn, &cells[i]);
	for (int i = 0; i < 4; i++) {
		printf("join: %d", GC_pthread_join(t[i], &result));
		sum += (long)result;
	}
	printf(" %ld\n", sum);
}

static void *registered(void *arg)
{
	struct GC_stack_base sb;
	int r[6];
	(void)arg;
	r[0] = GC_thread_is_registered();
	r[1] = GC_get_stack_base(&sb);
	r[2] = GC_register_my_thread(&sb);
	r[3] = GC_register_my_thread(&sb);
	r[4] = GC_thread_is_registered();
	void *cell;
	churn(&cell);
	r[5] = GC_unregister_my_thread();
	printf("register: %d %d %d %d %d %d\n", r[0], r[1], r[2], r[3], r[4] != 0, r[5]);
	return NULL;
}

/* On a stack of its own: another one than the system says, below all that it gave. */
#define OWN_NBYTES ((size_t)256 << 10)

static ucontext_t thread_context, own_context;
static char *own_stack;

static void register_own(void)
{
	struct GC_stack_base sb = { own_stack + OWN_NBYTES };
	void *cell, **list = NULL;
	int n = 0, r = GC_register_my_thread(&sb);
	for (int i = 0; i < 2000; i++) {
		void **p = GC_malloc(16);
		*p = list;
		list = p;
	}
	churn(&cell);
	GC_gcollect();
	churn(&cell);
	for (void **p = list; p != NULL; p = *p)
		n++;
	printf("own stack: %d %d %d\n", r, n, GC_unregister_my_thread());
}

static void *run_own(void *arg)
{
	getcontext(&own_context);
	own_context.uc_stack.ss_sp = own_stack;
	own_context.uc_stack.ss_size = OWN_NBYTES;
	own_context.uc_link = &thread_context;
	makecontext(&own_context, register_own, 0);
	swapcontext(&thread_context, &own_context);
	return arg;
}

static void on_own_stack(void)
{
	pthread_t t;
	void *low = (void *)0x20000000;
	own_stack = mmap(low, OWN_NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_create(&t, NULL, run_own, NULL);
	pthread_join(t, NULL);
}

static void *wait_for_stage(void *arg)
{
	while (stage == 0)
		sched_yield();
	return arg;
}

static void *inner(void *arg)
{
	long *p = GC_malloc(64);
	*p = 17;
	collect();
	*(int *)arg += *p == 17;
	return p;
}

static void *blocked(void *arg)
{
	void *p = GC_call_with_gc_active(inner, arg);
	*(int *)arg += p != NULL;
	return arg;
}

static void *collector(void *arg)
{
	collect();
	void *cell;
	churn(&cell);
	stage = 1;
	return arg;
}

static void blocking(void)
{
	pthread_t t;
	int good = 0;
	stage = 0;
	GC_pthread_create(&t, NULL, collector, NULL);
	printf("blocking: %d", GC_do_blocking(wait_for_stage, &good) == &good);
	GC_do_blocking(blocked, &good);
	printf(" %d\n", good);
	GC_pthread_join(t, NULL);
}

static volatile long ticks;
static volatile int stop;

static void *tick(void *arg)
{
	while (!stop) {
		ticks++;
		*(void **)GC_malloc(48) = arg;
	}
	return NULL;
}

static void holding(void)
{
	pthread_t t;
	stop = 0;
	GC_pthread_create(&t, NULL, tick, NULL);
	while (ticks < 1000)
		sched_yield();
	for (int i = 0; i < 20; i++) {
		GC_suspend_thread(t);
		long now = ticks;
		GC_gcollect();
		usleep(1000);
		if (now != ticks)
			printf("it runs\n");
		if (i == 0)
			printf("held: %d", GC_is_thread_suspended(t) != 0);
		GC_resume_thread(t);
		if (i == 0)
			printf(" %d\n", GC_is_thread_suspended(t) != 0);
		now = ticks;
		while (ticks == now)
			sched_yield();
	}
	GC_stop_world_external();
	long now = ticks;
	usleep(2000);
	printf("world: %d\n", ticks == now);
	GC_start_world_external();
	stop = 1;
	GC_pthread_join(t, NULL);
}

static void *end(void *arg)
{
	stop = 1;
	return arg;
}

/* A thread that has ended, and is yet to be joined, is suspended all the same. */
static void holding_one_that_ended(void)
{
	pthread_t t;
	stop = 0;
	GC_pthread_create(&t, NULL, end, NULL);
	while (!stop)
		sched_yield();
	usleep(20000);
	GC_suspend_thread(t);
	printf("held, ended: %d", GC_is_thread_suspended(t) != 0);
	GC_suspend_thread(t);
	GC_resume_thread(t);
	printf(" %d", GC_is_thread_suspended(t) != 0);
	GC_resume_thread(t);
	printf(" %d\n", GC_pthread_join(t, NULL));
}

static void *leave(void *arg)
{
	GC_pthread_exit(arg);
}

/* Threads that end without a result: what they were given goes, too. */
static volatile int may_go;

static void *until_cancelled(void *arg)
{
	while (!may_go)
		sched_yield();
	for (;;) {
		pthread_testcancel();
		usleep(100);
	}
	return arg;
}

static void *leave_by_system(void *arg)
{
	(pthread_exit)(arg);
}

#define NENDING 50

static void make_ending(void)
{
	for (int i = 0; i < 2 * NENDING; i++) {
		pthread_t t;
		void *arg = GC_MALLOC(64);
		watch(i, arg);
		GC_pthread_create(&t, NULL, i < NENDING ? until_cancelled : leave_by_system, arg);
		if (i < NENDING)
			GC_pthread_cancel(t);
		GC_pthread_detach(t);
	}
}

static void ending(void)
{
	afar(make_ending);
	may_go = 1;
	for (int i = 0; i < 100 && gone(0, 2 * NENDING) < 2 * NENDING; i++) {
		usleep(20000);
		collect();
	}
	say("cancelled: forgotten", gone(0, NENDING), NENDING);
	say("ended: forgotten", gone(NENDING, 2 * NENDING), NENDING);
}

static void *in_lock(void *p)
{
	return GC_base((char *)p + 5);
}

static void *with_base(struct GC_stack_base *sb, void *arg)
{
	return sb->mem_base != NULL ? arg : NULL;
}

static void rest(void)
{
	pthread_t t;
	void *result, *p = GC_malloc(100);
	GC_pthread_create(&t, NULL, leave, (void *)&stage);
	GC_pthread_join(t, &result);
	printf("exit: %d\n", result == (void *)&stage);
	printf("lock: %d\n", GC_call_with_alloc_lock(in_lock, p) == p);
	printf("base: %d\n", GC_call_with_stack_base(with_base, p) == p);
	struct GC_stack_base sb;
	printf("bottom: %d %d\n", GC_get_my_stackbottom(&sb) != NULL,
	       (char *)sb.mem_base == GC_stackbottom);
}

static void forks(void)
{
	void **chain = NULL;
	for (int i = 0; i < 10000; i++) {
		void **cell = GC_malloc(16);
		*cell = chain;
		chain = cell;
	}
	fflush(stdout);
	for (int i = 0; i < 5; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			int n = 0;
			void *cell;
			churn(&cell);
			collect();
			for (void **c = chain; c != NULL; c = *c)
				n++;
			_exit(n == 10000 ? 7 : 8);
		}
		waitpid(pid, &status, 0);
		printf("fork: %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	}
	GC_reachable_here(chain);
}

int main(void)
{
	pthread_t t;
	use_all();
	GC_set_handle_fork(1);
	GC_INIT();
	GC_set_warn_proc(GC_ignore_warn_proc);
	GC_allow_register_threads();
	wrapped();
	pthread_create(&t, NULL, registered, NULL);
	pthread_join(t, NULL);
	on_own_stack();
	blocking();
	holding();
	holding_one_that_ended();
	rest();
	ending();
	forks();
	return 0;
}
