/* fibers.c - a small scheduler: a hundred fibers on three threads. A fiber runs for a while, then waits, and
 * goes on in whichever thread is free, while the collector runs beside them. Each has its own operand
 * stack. All that the collector must be told is which stacks there are, and each switch.
 * (As a test not under: thread. That sanitizer loses track of ucontexts.) */
#include <mallocgc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { NFIBERS = 100, NTHREADS = 3, ROUNDS = 200, STACK = 64 << 10, OPERANDS = 32 };

struct pair {
	struct pair *next;
	long number;
};
static struct mgc_type pair_type = { .name = "pair", .size = sizeof(struct pair), .ptr_bytes = 8 };

struct fiber {
	ucontext_t context;
	struct mgc_stack *stack;
	struct pair *operand[OPERANDS]; /* the words below top count as part of the fiber's stack */
	void *top;
	long id, sum;
	int done;
	struct fiber *next; /* in the queue */
};

static struct fiber fibers[NFIBERS];
static struct fiber *queue;
static unsigned nleft = NFIBERS;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread ucontext_t home; /* where a thread picks the next fiber */
static __thread struct fiber *running;

static void *checked(void *p)
{
	if (p == NULL) {
		perror("fibers");
		exit(1);
	}
	return p;
}

static void enqueue(struct fiber *f)
{
	pthread_mutex_lock(&lock);
	f->next = queue;
	queue = f;
	pthread_mutex_unlock(&lock);
}

/* The address of a thread-local variable must not be kept over a switch, which may end in another thread:
 * so whoever needs it calls a function that is not inlined. */
__attribute__((noinline)) static ucontext_t *my_home(void)
{
	return &home;
}

/* Leaves the calling fiber until a thread takes it from the queue again. */
static void yield(struct fiber *self)
{
	mgc_stack_switch(self->stack, NULL); /* right before the switch */
	swapcontext(&self->context, my_home());
}

static void push(struct fiber *f, struct pair *p)
{
	struct pair **top = f->top;
	*top = p; /* no mgc_write: it is this fiber's own */
	f->top = top + 1;
}

static struct pair *pop(struct fiber *f)
{
	struct pair **top = f->top;
	f->top = top - 1;
	return top[-1];
}

static void work(struct fiber *self)
{
	struct pair *list = NULL; /* on this fiber's stack, wherever it runs */
	for (long i = 0; i < ROUNDS; i++) {
		struct pair *p = checked(mgc_new(&pair_type));
		p->next = list;
		p->number = i;
		list = p;
		if (i % 10 == 0)
			push(self, p);
		if (i % 3 == 0)
			yield(self);
	}
	for (; list != NULL; list = list->next)
		self->sum += list->number;
	while (self->top != self->operand)
		self->sum += pop(self)->number;
}

static void fiber_main(unsigned high, unsigned low)
{
	struct fiber *self = (struct fiber *)((uintptr_t)high << 32 | low); /* makecontext passes ints */
	work(self);
	self->done = 1;
	yield(self);
}

static void start(struct fiber *f, long id)
{
	char *memory = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f->id = id;
	f->top = f->operand;
	f->stack = checked(mgc_stack_register(memory, memory + STACK));
	if (mgc_stack_add_owned(f->stack, f->operand, sizeof f->operand, &f->top) != 0)
		checked(NULL);
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = memory;
	f->context.uc_stack.ss_size = STACK;
	makecontext(&f->context, (void (*)(void))fiber_main, 2, (unsigned)((uintptr_t)f >> 32),
		    (unsigned)(uintptr_t)f);
	enqueue(f);
}

/* A thread: takes a fiber, runs it until it yields, puts it back. */
static void *thread_main(void *arg)
{
	for (;;) {
		pthread_mutex_lock(&lock);
		struct fiber *f = queue;
		if (f != NULL)
			queue = f->next;
		unsigned left = nleft;
		pthread_mutex_unlock(&lock);
		if (left == 0)
			return arg;
		if (f == NULL)
			continue; /* the others have them all */
		running = f;
		mgc_stack_switch(NULL, f->stack);
		swapcontext(my_home(), &f->context);
		f = running; /* this thread's own stack again: only now may others have the fiber */
		if (!f->done) {
			enqueue(f);
			continue;
		}
		mgc_stack_unregister(f->stack);
		munmap(f->context.uc_stack.ss_sp, STACK);
		pthread_mutex_lock(&lock);
		nleft--;
		pthread_mutex_unlock(&lock);
	}
}

int main(void)
{
	pthread_t threads[NTHREADS];
	long sum = 0, expected = 0;
	for (long i = 0; i < NFIBERS; i++)
		start(&fibers[i], i);
	for (int i = 0; i < NTHREADS; i++)
		if (mgc_thread_create(&threads[i], NULL, thread_main, NULL) != 0)
			return 1;
	for (int i = 0; i < 20; i++)
		mgc_collect();
	mgc_blocking_enter();
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	mgc_blocking_leave();
	for (int i = 0; i < NFIBERS; i++)
		sum += fibers[i].sum;
	for (long i = 0; i < ROUNDS; i++)
		expected += NFIBERS * (i % 10 == 0 ? 2 * i : i);
	printf("%d fibers on %d threads: sum %ld\n", NFIBERS, NTHREADS, sum);
	return sum != expected;
}
