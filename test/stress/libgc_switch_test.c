/* libgc_switch_test.c - programs that switch stacks by hand, as Crystal's do: the cold end is a variable that they write, or
 * is told by the callback that pushes roots, and a stop may come at any instruction of it. And an alternate stack that
 * is none any more, as Asymptote's.
 * links: libgc
 * not under: thread, address */
#include "lib/fiber.h"

#include <sched.h>

#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc.h>
#include <gc/gc_mark.h>

#define NFIBERS 6
#define STACK_NBYTES ((size_t)256 << 10)
#define ROUND 2000

struct node {
	struct node *next;
	long number;
};

struct fiber {
	void *at;
	char *hi;
	volatile int waits; /* nobody runs on it: its stack is pushed */
	struct scheduler *on;
};

/* The last fiber is the thread's own stack. */
struct scheduler {
	struct fiber fiber[NFIBERS + 1];
	struct fiber *volatile current;
	void *handle;
	void (*say)(struct fiber *to);
};

static void check_list(const struct node *n, long count)
{
	for (; n != NULL; n = n->next)
		CHECK_EQ(n->number, --count);
	CHECK_EQ(count, 0);
}

static struct node *put(struct node *list, long number)
{
	struct node *p = GC_malloc(sizeof *p);
	p->next = list;
	p->number = number;
	return p;
}

static struct node *make_list(long n)
{
	struct node *list = NULL;
	for (long i = 0; i < n; i++)
		list = put(list, i);
	return list;
}

/* next_of_round - a list of ROUND is whole, and begins anew; else one more. */
static struct node *next_of_round(struct node *list, long n)
{
	if (n % ROUND == 0) {
		check_list(list, n == 0 ? 0 : ROUND);
		list = NULL;
	}
	return put(list, n % ROUND);
}

/* go - `to` counts as running, and the one that is left as waiting, while sp still is on the latter. */
static NOINLINE void go(struct fiber *to)
{
	struct scheduler *s = to->on;
	struct fiber *from = s->current;
	s->current = to;
	s->say(to);
	to->waits = 0;
	from->waits = 1;
	fiber_jump(&from->at, to->at);
}

static void on_fiber(void *arg)
{
	struct fiber *me = arg;
	struct node *list = NULL;
	for (long n = 0;; n++) {
		list = next_of_round(list, n);
		GC_malloc(200);
		go(&me->on->fiber[NFIBERS]);
	}
}

static void set_up(struct scheduler *s, void (*say)(struct fiber *to), char *own_hi)
{
	for (int i = 0; i < NFIBERS; i++) {
		struct fiber *f = &s->fiber[i];
		f->hi = fiber_map(STACK_NBYTES) + STACK_NBYTES;
		f->at = fiber_make(f->hi, on_fiber, f);
		f->waits = 1;
	}
	for (int i = 0; i <= NFIBERS; i++)
		s->fiber[i].on = s;
	s->fiber[NFIBERS].hi = own_hi;
	s->current = &s->fiber[NFIBERS];
	s->say = say;
}

static void push_waiting(const struct scheduler *s)
{
	for (int i = 0; i <= NFIBERS; i++)
		if (s->fiber[i].waits)
			GC_push_all_eager(s->fiber[i].at, s->fiber[i].hi);
}

/* ── one thread, which writes GC_stackbottom ────────────────────────────────────────────── */

static struct scheduler alone;
static GC_push_other_roots_proc next;

static void push_alone(void)
{
	push_waiting(&alone);
	if (next != NULL)
		next();
}

static void say_by_variable(struct fiber *to)
{
	*(char *volatile *)&GC_stackbottom = to->hi;
	for (volatile int i = 0; i < 30; i++) /* most stops come between the word and the switch */
		;
}

static void switch_alone(const char *settings)
{
	const long n = 50000;
	setenv("MGC_DEBUG", settings, 1);
	GC_init();
	set_up(&alone, say_by_variable, GC_stackbottom);
	next = GC_get_push_other_roots();
	GC_set_push_other_roots(push_alone);
	struct node *list = make_list(n);
	for (long i = 0; i < 1000000 || GC_get_gc_no() < 4; i++)
		go(&alone.fiber[i % NFIBERS]);
	check_list(list, n);
}

TEST(stopped_between_the_word_and_the_switch)
{
	switch_alone("tracked=3,young=0");
}

TEST(stopped_there_by_young_collections)
{
	switch_alone("tracked=3,young=2");
}

/* ── threads, whose stacks' ends the callback tells while they stand still ──────────────── */

#define NTHREADS 3
static struct scheduler each[NTHREADS];
static uint32_t writer, readers, npushed, nstarted;

static void lock_write(void)
{
	while (__atomic_exchange_n(&writer, 1, __ATOMIC_SEQ_CST) != 0)
		sched_yield();
	while (__atomic_load_n(&readers, __ATOMIC_SEQ_CST) != 0)
		sched_yield();
	nstarted++;
}

static void lock_read(void)
{
	for (;;) {
		__atomic_add_fetch(&readers, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&writer, __ATOMIC_SEQ_CST) == 0)
			return;
		__atomic_sub_fetch(&readers, 1, __ATOMIC_SEQ_CST);
		sched_yield();
	}
}

static void unlock_read(void)
{
	__atomic_sub_fetch(&readers, 1, __ATOMIC_SEQ_CST);
}

static void push_threads(void)
{
	for (int i = 0; i < NTHREADS; i++) {
		struct GC_stack_base sb = { NULL };
		if (each[i].handle == NULL)
			continue;
		push_waiting(&each[i]);
		sb.mem_base = each[i].current->hi;
		GC_set_stackbottom(each[i].handle, &sb);
	}
	npushed++;
	__atomic_store_n(&writer, 0, __ATOMIC_SEQ_CST);
	if (next != NULL)
		next();
}

static void say_nothing(struct fiber *to)
{
	(void)to;
}

static NOINLINE void go_locked(struct fiber *to)
{
	lock_read();
	go(to);
	unlock_read();
}

static void on_locked_fiber(void *arg)
{
	struct fiber *me = arg;
	struct node *list = NULL;
	unlock_read(); /* of who came here */
	for (long n = 0;; n++) {
		list = next_of_round(list, n);
		go_locked(&me->on->fiber[NFIBERS]);
	}
}

static void *end_here(void *base)
{
	GC_set_stackbottom(NULL, base);
	return NULL;
}

static void *schedule(void *arg)
{
	struct scheduler *s = arg;
	struct GC_stack_base sb;
	CHECK_EQ(GC_get_stack_base(&sb), GC_SUCCESS);
	(void)GC_register_my_thread(&sb);
	void *handle = GC_get_my_stackbottom(&sb);
	lock_read();
	set_up(s, say_nothing, sb.mem_base);
	for (int i = 0; i < NFIBERS; i++)
		s->fiber[i].at = fiber_make(s->fiber[i].hi, on_locked_fiber, &s->fiber[i]);
	s->handle = handle;
	unlock_read();
	struct node *list = make_list(20000);
	for (long i = 0; i < 200000 || GC_get_gc_no() < 4; i++)
		go_locked(&s->fiber[i % NFIBERS]);
	check_list(list, 20000);
	lock_read();
	s->handle = NULL;
	unlock_read();
	struct GC_stack_base own = { s->fiber[NFIBERS].hi };
	GC_call_with_alloc_lock(end_here, &own);
	return NULL;
}

static void switch_in_threads(const char *settings)
{
	pthread_t t[NTHREADS];
	setenv("MGC_DEBUG", settings, 1);
	GC_init();
	GC_allow_register_threads();
	GC_set_start_callback(lock_write);
	next = GC_get_push_other_roots();
	GC_set_push_other_roots(push_threads);
	for (int i = 0; i < NTHREADS; i++)
		CHECK_EQ(GC_pthread_create(&t[i], NULL, schedule, &each[i]), 0);
	for (int i = 0; i < NTHREADS; i++)
		CHECK_EQ(GC_pthread_join(t[i], NULL), 0);
	GC_disable(); /* no collection is on any more */
	CHECK(nstarted == npushed && npushed >= 4);
}

TEST(ends_told_in_the_stop)
{
	switch_in_threads("tracked=0,young=0");
}

TEST(ends_told_in_the_stops_of_a_cycle_beside_the_program)
{
	switch_in_threads("tracked=3");
}

/* ── an alternate stack that is in use for something else ───────────────────────────────── */

static volatile int stage;

static void *collect_much(void *arg)
{
	for (int i = 0; i < 30; i++)
		GC_gcollect();
	stage = 1;
	return arg;
}

TEST(the_alternate_stack_is_not_touched)
{
	static unsigned char other[64 << 10];
	pthread_t t;
	GC_init();
	GC_allow_register_threads();
	stack_t alt = { .ss_sp = other, .ss_size = sizeof other };
	CHECK_EQ(sigaltstack(&alt, NULL), 0);
	memset(other, 0x5a, sizeof other);
	CHECK_EQ(GC_pthread_create(&t, NULL, collect_much, NULL), 0);
	while (!stage)
		;
	CHECK_EQ(GC_pthread_join(t, NULL), 0);
	for (size_t i = 0; i < sizeof other; i++)
		CHECK_EQ(other[i], 0x5a);
}
