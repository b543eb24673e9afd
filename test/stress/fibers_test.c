/* fibers_test.c (plain) - fibers that migrate between threads, all the time, while collections run beside
 * them, for MGC_TEST_SECONDS (3). Each holds trees on its stack, in registers over a switch, and on an
 * operand stack of its own; fibers end, and are destroyed while they wait; threads are born and end. What
 * is made here is filled by plain stores, whatever the collector does, and published by one exchange.
 * ThreadSanitizer is told of the switches. */
#include "lib/plain.h"
#include "lib/fiber.h"

#include <mallocgc-inline.h>
#include <ucontext.h>

/* ── trees that can be checked ──────────────────────────────────────────────────────────── */

struct node {
	uint64_t sum;
	struct node *child[2];
	uint64_t own;
};
static const uint8_t mask[] = { 6 };
static struct mgc_type node_type = {
	.name = "node", .size = sizeof(struct node), .ptr_bytes = 24, .ptr_mask = mask
};

static uint64_t sum_of(const struct node *n)
{
	return n != NULL ? n->sum : 0;
}

/* make_node - plain stores only. */
static struct node *make_node(struct rng *r, struct node *left, struct node *right)
{
	struct node *n = mgc_new(&node_type);
	CHECK(n != NULL && n->sum == 0 && n->own == 0 && n->child[0] == NULL && n->child[1] == NULL);
	n->child[0] = left;
	n->child[1] = right;
	n->own = rng_next(r) | 1;
	n->sum = n->own + 3 * sum_of(left) + 7 * sum_of(right);
	return n;
}

static struct node *make_tree(struct rng *r, unsigned depth)
{
	if (depth == 0)
		return make_node(r, NULL, NULL);
	struct node *left = make_tree(r, depth - 1), *right = make_tree(r, depth - 1);
	return make_node(r, left, right);
}

static void check_tree(struct rng *r, const struct node *n, unsigned depth)
{
	if (n == NULL)
		return;
	CHECK(n->sum == n->own + 3 * sum_of(n->child[0]) + 7 * sum_of(n->child[1]));
	unsigned first = (unsigned)rng_below(r, 2);
	check_tree(r, n->child[first], depth + 1);
	if (depth < 5)
		check_tree(r, n->child[!first], depth + 1);
}

/* ── fibers ─────────────────────────────────────────────────────────────────────────────── */

enum { NFIBERS = 60, NTHREADS = 4, NOPERANDS = 64, TABLE = 64 };
#define STACK_NBYTES ((size_t)64 << 10)

struct fiber {
	char *memory;
	struct mgc_stack *stack;
	void *sp;
	ucontext_t context; /* instead, if the switch is the C library's */
	struct node *operand[NOPERANDS];
	void *top;
	uint64_t seed;
	void *tsan;
};

/* What a thread needs to know of itself; found anew after each switch. */
struct worker {
	void *home;
	ucontext_t home_context;
	void *tsan_home;
	struct fiber *left; /* who has just been left, and may be run by others now */
	bool ended; /* it is never to run again */
};
static __thread struct worker *this_worker;

static struct node *table[TABLE]; /* a root; by mgc_exchange only */
static struct fiber *queue[NFIBERS];
static unsigned nqueued, next_seed;
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static bool by_ucontext;
static double until;
static uint32_t nswitches, nended, ndestroyed, nborn;

static NOINLINE struct worker *self(void)
{
	struct worker *w = this_worker;
	__asm__ volatile("" : "+r"(w));
	return w;
}

/* go_on - until something of each kind has happened, where the machine has much else to do. */
static bool go_on(void)
{
	return now_seconds() < until || __atomic_load_n(&nended, __ATOMIC_RELAXED) == 0 ||
	       __atomic_load_n(&nswitches, __ATOMIC_RELAXED) <= 100;
}

/* lock_queue - who has it may be stopped. ThreadSanitizer keeps a signal from who waits for a mutex. */
static void lock_queue(void)
{
#ifdef MGC_SANITIZE_THREAD
	while (pthread_mutex_trylock(&queue_lock) != 0)
		usleep(10);
#else
	pthread_mutex_lock(&queue_lock);
#endif
}

static void put(struct fiber *f)
{
	lock_queue();
	CHECK(nqueued < NFIBERS);
	queue[nqueued++] = f;
	pthread_mutex_unlock(&queue_lock);
}

static struct fiber *take(struct rng *r)
{
	struct fiber *f = NULL;
	lock_queue();
	if (nqueued > 0) {
		unsigned i = (unsigned)rng_below(r, nqueued);
		f = queue[i];
		queue[i] = queue[--nqueued];
	}
	pthread_mutex_unlock(&queue_lock);
	return f;
}

static void fiber_main(void *arg);

static void context_main(void)
{
	fiber_main(NULL);
}

/* make_fiber - and queues it. */
static void make_fiber(void)
{
	struct fiber *f = calloc(1, sizeof *f);
	CHECK(f != NULL);
	f->memory = fiber_map(STACK_NBYTES);
	f->top = f->operand;
	f->seed = test_seed() + __atomic_fetch_add(&next_seed, 1, __ATOMIC_RELAXED);
	f->stack = mgc_stack_register(f->memory, f->memory + STACK_NBYTES);
	CHECK(f->stack != NULL);
	f->tsan = TSAN_CREATE();
	CHECK_EQ(mgc_stack_add_owned(f->stack, f->operand, sizeof f->operand, &f->top), 0);
	if (by_ucontext) {
		getcontext(&f->context);
		f->context.uc_stack.ss_sp = f->memory;
		f->context.uc_stack.ss_size = STACK_NBYTES;
		makecontext(&f->context, context_main, 0);
	} else {
		f->sp = fiber_make(f->memory + STACK_NBYTES, fiber_main, NULL);
	}
	put(f);
}

static void destroy(struct fiber *f)
{
	mgc_stack_unregister(f->stack);
	TSAN_DESTROY(f->tsan);
	fiber_unmap(f->memory, STACK_NBYTES);
	free(f);
}

/* landed - on another stack: the one that was left is free to go. */
static NOINLINE void landed(void)
{
	TSAN_LANDED();
	struct worker *w = self();
	struct fiber *f = w->left;
	bool ended = w->ended;
	w->left = NULL;
	w->ended = false;
	if (f != NULL && ended)
		destroy(f);
	else if (f != NULL)
		put(f);
	__atomic_add_fetch(&nswitches, 1, __ATOMIC_RELAXED);
}

/* go - from `from` (NULL: home) to `to` (NULL: home). */
static NOINLINE void go(struct fiber *from, struct fiber *to)
{
	struct worker *w = self();
	w->left = from;
	mgc_stack_switch(from != NULL ? from->stack : NULL, to != NULL ? to->stack : NULL);
	TSAN_SWITCH(to != NULL ? to->tsan : w->tsan_home);
	if (by_ucontext)
		swapcontext(from != NULL ? &from->context : &w->home_context,
			    to != NULL ? &to->context : &w->home_context);
	else
		fiber_jump(from != NULL ? &from->sp : &w->home, to != NULL ? to->sp : w->home);
	landed();
}

/* The fiber that is now running: the thread's `running`, set by who switched to it. */
static __thread struct fiber *running_fiber;

static NOINLINE struct fiber *current(void)
{
	struct fiber *f = running_fiber;
	__asm__ volatile("" : "+r"(f));
	return f;
}

static NOINLINE void set_current(struct fiber *f)
{
	running_fiber = f;
}

/* yield - home, or to another fiber directly. */
static void yield(struct fiber *f, struct rng *r)
{
	struct fiber *next = rng_below(r, 2) ? take(r) : NULL;
	set_current(next);
	go(f, next);
}

/* ── what a fiber does ──────────────────────────────────────────────────────────────────── */

static void use_operands(struct fiber *f, struct rng *r)
{
	struct node **top = f->top;
	if (top < f->operand + NOPERANDS && rng_below(r, 2)) {
		*top++ = make_tree(r, 2);
		f->top = top;
	} else if (top > f->operand) {
		struct node *n = *--top;
		f->top = top;
		check_tree(r, n, 0);
	}
}

static NOINLINE void live(struct fiber *f, struct rng *r)
{
	struct node *mine = make_tree(r, 3), *list = NULL;
	for (size_t rounds = rng_below(r, 400); rounds > 0 && go_on(); rounds--) {
		list = rounds % 32 == 0 ? NULL : make_node(r, list, NULL);
		use_operands(f, r);
		struct node *fresh = make_node(r, rounds % 16 == 0 ? NULL : mine, make_tree(r, 2));
		struct node *other = mgc_exchange(&table[rng_below(r, TABLE)], fresh);
		if (rng_below(r, 3) == 0)
			yield(f, r);
		check_tree(r, other, 0); /* both lived over the switch, perhaps in registers only */
		check_tree(r, mine, 0);
		check_tree(r, list, 4);
		mine = fresh;
	}
	for (struct node **n = f->operand; n < (struct node **)f->top; n++)
		check_tree(r, *n, 0);
}

static void fiber_main(void *arg)
{
	(void)arg;
	landed();
	struct fiber *f = current();
	struct rng r = { f->seed };
	live(f, &r);
	__atomic_add_fetch(&nended, 1, __ATOMIC_RELAXED);
	set_current(NULL);
	self()->ended = true;
	go(f, NULL);
}

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

static void *worker(void *arg)
{
	struct worker w = { .tsan_home = TSAN_CURRENT() };
	struct rng r = { (uintptr_t)arg };
	struct node *mine = make_tree(&r, 3); /* on the thread's own stack, while it runs fibers */
	this_worker = &w;
	for (size_t rounds = 100 + rng_below(&r, 1000); rounds > 0 && go_on(); rounds--) {
		struct fiber *f = take(&r);
		if (f != NULL && rng_below(&r, 50) == 0) {
			destroy(f); /* while it waits, with all that it holds */
			__atomic_add_fetch(&ndestroyed, 1, __ATOMIC_RELAXED);
			f = NULL;
		}
		if (f != NULL) {
			set_current(f);
			go(NULL, f);
		} else {
			lock_queue();
			bool few = nqueued < NFIBERS - NTHREADS - 8;
			pthread_mutex_unlock(&queue_lock);
			if (few)
				make_fiber();
		}
		if (rng_below(&r, 100) == 0) {
			mgc_blocking_enter();
			usleep(200);
			mgc_blocking_leave();
		}
		check_tree(&r, mine, 0);
	}
	return NULL;
}

/* keep_working - threads are born and end. */
static void *keep_working(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	while (go_on()) {
		pthread_t t;
		CHECK_EQ(pthread_create(&t, NULL, worker, (void *)(uintptr_t)rng_next(&r)), 0);
		pthread_join(t, NULL);
		__atomic_add_fetch(&nborn, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void play(double seconds)
{
	pthread_t threads[NTHREADS];
	struct rng r = { test_seed() };
	struct mgc_stats s = { .struct_size = sizeof s };
	CHECK_EQ(mgc_root_add(table, sizeof table, 0), 0);
	until = now_seconds() + test_seconds(seconds);
	for (unsigned i = 0; i < NFIBERS / 2; i++)
		make_fiber();
	for (unsigned i = 0; i < NTHREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, keep_working,
					(void *)(uintptr_t)rng_next(&r)),
			 0);
	do
		mgc_collect();
	while (go_on());
	mgc_blocking_enter();
	for (unsigned i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	mgc_blocking_leave();
	for (struct fiber *f; (f = take(&r)) != NULL;)
		destroy(f);
	mgc_collect();
	for (unsigned i = 0; i < TABLE; i++)
		check_tree(&r, table[i], 0);
	mgc_read_stats(&s);
	printf("  %llu collections, %u switches, %u threads; of the fibers %u ended, %u were "
	       "destroyed\n",
	       (unsigned long long)s.cycles, nswitches, nborn, nended, ndestroyed);
	CHECK(s.cycles > 1 && nswitches > 100 && nended > 0 && nborn > 0);
}

TEST(switched_by_hand)
{
	play(1.5);
}

TEST(switched_by_ucontext)
{
	by_ucontext = true;
	play(1);
}

TEST(verified)
{
	setenv("MGC_DEBUG", "verify=1,clobberfree=1,workers=3,gcstress=50", 1);
	play(1.5);
}

TEST(with_roots_in_one_stop)
{
	setenv("MGC_DEBUG", "stoproots=1,clobberfree=1", 1);
	play(1);
}

TEST(stopping)
{
	setenv("MGC_DEBUG", "concurrent=0,clobberfree=1", 1);
	play(1);
}

TEST(by_polls)
{
	setenv("MGC_DEBUG", "poll=1,clobberfree=1", 1);
	play(1);
}
