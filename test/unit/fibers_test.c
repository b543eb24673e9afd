/* fibers_test.c (plain) - coroutine stacks through the native API: switched by hand, migrating while a
 * cycle takes roots, destroyed, left behind by threads that end, unknown ones; ranges that go with them.
 * not under: thread */
#include "lib/afar.h"
#include "lib/fiber.h"
#include "lib/step.h"

#include <mallocgc-inline.h>

#include "face/runtime.h"

#define STACK_NBYTES ((size_t)64 << 10)

struct fiber {
	char *memory;
	size_t nbytes;
	struct mgc_stack *stack;
	void *sp;
	void **home; /* of who resumed it */
	void (*body)(struct fiber *f);
	bool ended;
};

static void fiber_main(void *arg)
{
	struct fiber *f = arg;
	f->body(f);
	f->ended = true;
	mgc_stack_switch(f->stack, NULL);
	fiber_jump(&f->sp, *f->home);
}

static struct fiber make_fiber(size_t nbytes, void (*body)(struct fiber *f))
{
	struct fiber f = { .memory = fiber_map(nbytes), .nbytes = nbytes, .body = body };
	f.stack = mgc_stack_register(f.memory, f.memory + nbytes);
	CHECK(f.stack != NULL);
	return f;
}

/* resume - on the calling thread, until it yields or ends. */
static void resume(struct fiber *f)
{
	void *home;
	if (f->sp == NULL)
		f->sp = fiber_make(f->memory + f->nbytes, fiber_main, f);
	f->home = &home;
	mgc_stack_switch(NULL, f->stack);
	fiber_jump(&home, f->sp);
}

static void yield(struct fiber *f)
{
	mgc_stack_switch(f->stack, NULL);
	fiber_jump(&f->sp, *f->home);
}

static void destroy(struct fiber *f)
{
	mgc_stack_unregister(f->stack);
	fiber_unmap(f->memory, f->nbytes);
}

static void *resume_on_thread(void *arg)
{
	resume(arg);
	return NULL;
}

static void *make_object(void *arg)
{
	void *p = mgc_alloc(64, NULL, MGC_NOSCAN);
	CHECK(p != NULL);
	*(uintptr_t *)arg = hide(p);
	return NULL;
}

static uintptr_t new_object(void)
{
	uintptr_t hidden;
	on_thread(make_object, &hidden);
	return hidden;
}

static uintptr_t on_fiber; /* the object that the fiber holds */

static void hold_and_yield(struct fiber *f)
{
	void *volatile local = NULL;
	put_afar((void **)(uintptr_t)&local, on_fiber);
	yield(f);
	CHECK(hide(local) == on_fiber);
	local = NULL;
}

/* ── where a fiber can be ───────────────────────────────────────────────────────────────── */

TEST(parked_then_resumed_elsewhere)
{
	struct fiber f = make_fiber(STACK_NBYTES, hold_and_yield);
	on_fiber = new_object();
	on_thread(resume_on_thread, &f); /* that thread is gone */
	collect_afar();
	CHECK(is_alive(on_fiber));
	on_thread(resume_on_thread, &f);
	CHECK(f.ended);
	collect_afar();
	CHECK(!is_alive(on_fiber));
	destroy(&f);
}

TEST(destroyed_while_parked)
{
	struct fiber f = make_fiber(STACK_NBYTES, hold_and_yield), g = f;
	on_fiber = new_object();
	on_thread(resume_on_thread, &f);
	collect_afar();
	CHECK(is_alive(on_fiber));
	destroy(&f);
	collect_afar();
	CHECK(!is_alive(on_fiber));
	g = make_fiber(STACK_NBYTES, hold_and_yield); /* its record is used again */
	collect_afar();
	destroy(&g);
}

/* The first frame holds the only reference. */
static void *put_argument(void *arg)
{
	struct fiber *f = arg;
	f->sp = fiber_make(f->memory + f->nbytes, fiber_main, unhide(on_fiber));
	return NULL;
}

static void prepared(bool prepare)
{
	struct fiber f = make_fiber(STACK_NBYTES, hold_and_yield);
	on_fiber = new_object();
	on_thread(put_argument, &f);
	if (prepare)
		mgc_stack_prepare(f.stack, f.sp);
	collect_afar();
	CHECK_EQ(is_alive(on_fiber), prepare);
	destroy(&f);
}

TEST(what_a_fiber_is_started_with)
{
	prepared(true);
	prepared(false);
}

/* In a cycle that has the stack already, empty, preparing it shades what lies there. */
static void *prepare_in_mark(void *arg)
{
	struct fiber *f = arg;
	CHECK_EQ(mgc_thread_attach(), 0);
	lock_acquire(&runtime.gc.world);
	f->sp = fiber_make(f->memory + f->nbytes, fiber_main, unhide(on_fiber));
	heap_set_phase(&runtime.heap, PHASE_MARK, heap_sweepgen(&runtime.heap));
	mgc_stack_prepare(f->stack, f->sp);
	struct grey_block *b = load_acquire(&mutator_self()->shaded);
	bool found = false;
	for (uint32_t i = 0; b != NULL && i < b->n; i++)
		found |= b->object[i] == ~on_fiber;
	heap_set_phase(&runtime.heap, PHASE_OFF, heap_sweepgen(&runtime.heap));
	lock_release(&runtime.gc.world);
	return (void *)(uintptr_t)found;
}

TEST(prepared_while_a_cycle_marks)
{
	struct fiber f = make_fiber(STACK_NBYTES, hold_and_yield);
	on_fiber = new_object();
	CHECK(on_thread(prepare_in_mark, &f) != NULL);
	destroy(&f);
}

/* ── migration while roots are taken ────────────────────────────────────────────────────── */

/* A thread that does not answer keeps the cycle in ROOTS. */
static uint32_t stubborn_ready, stubborn_may_go, migrated;

static void *stubborn(void *arg)
{
	CHECK_EQ(mgc_thread_attach(), 0);
	publish(&stubborn_ready, 1);
	while (__atomic_load_n(&stubborn_may_go, __ATOMIC_ACQUIRE) == 0)
		;
	mgc_safepoint();
	return arg;
}

static void *volatile handed; /* no root: the thread that takes it puts it on its stack at once */

static void hand_over(struct fiber *f)
{
	void *volatile local = NULL;
	put_afar((void **)(uintptr_t)&local, on_fiber);
	yield(f); /* before the cycle; what follows is on another thread, in ROOTS */
	handed = local;
	local = NULL;
	yield(f);
}

/* Its snapshot is taken; then it resumes the fiber, whose stack is not, and takes the object from there. */
static void *resume_in_roots(void *arg)
{
	struct fiber *f = arg;
	void *volatile local;
	CHECK_EQ(mgc_thread_attach(), 0);
	struct mutator *m = mutator_self();
	publish(&stubborn_ready, 2);
	do
		mgc_safepoint();
	while (heap_phase(m->heap) != PHASE_ROOTS || load_relaxed(&m->taken) != heap_sweepgen(m->heap));
	resume(f);
	local = handed;
	handed = NULL;
	publish(&migrated, 1);
	while (heap_phase(m->heap) != PHASE_OFF)
		mgc_safepoint();
	mgc_safepoint();
	spin_until(&migrated, 2);
	local = NULL;
	return (void *)local;
}

TEST(migration_while_roots_are_taken)
{
	pthread_t silent, taker, collector;
	setenv("MGC_DEBUG", "poll=1,workers=1,background=0", 1);
	on_fiber = new_object(); /* this thread is not attached yet: nobody waits for it to poll */
	struct fiber f = make_fiber(STACK_NBYTES, hand_over);
	mgc_blocking_enter();
	on_thread(resume_on_thread, &f);
	CHECK_EQ(pthread_create(&silent, NULL, stubborn, NULL), 0);
	spin_until(&stubborn_ready, 1);
	CHECK_EQ(pthread_create(&taker, NULL, resume_in_roots, &f), 0);
	spin_until(&stubborn_ready, 2);
	CHECK_EQ(pthread_create(&collector, NULL, collect, NULL), 0);
	spin_until(&migrated, 1);
	publish(&stubborn_may_go, 1);
	pthread_join(collector, NULL);
	pthread_join(silent, NULL);
	CHECK(is_alive(on_fiber));
	publish(&migrated, 2);
	pthread_join(taker, NULL);
	mgc_blocking_leave();
}

/* A handler on an alternate stack, between the announcement and the switch: what waits on the fiber is not
 * on any stack that the handler's frame leads to. */
static struct fiber *awaited;
static uint32_t handler_ready, handler_leave;

static void wait_in_handler(int sig)
{
	(void)sig;
	publish(&handler_ready, 1);
	while (__atomic_load_n(&handler_leave, __ATOMIC_ACQUIRE) == 0)
		;
}

static void *announce_and_wait(void *arg)
{
	void *home;
	stack_t alt = { .ss_sp = fiber_map(STACK_NBYTES), .ss_size = STACK_NBYTES };
	struct sigaction sa = { .sa_handler = wait_in_handler, .sa_flags = SA_ONSTACK };
	CHECK_EQ(mgc_thread_attach(), 0);
	CHECK_EQ(sigaltstack(&alt, NULL), 0);
	sigaction(SIGUSR1, &sa, NULL);
	awaited->home = &home;
	mgc_stack_switch(NULL, awaited->stack);
	raise(SIGUSR1);
	fiber_jump(&home, awaited->sp);
	return arg;
}

TEST(interrupted_on_the_alternate_stack_before_the_switch)
{
	pthread_t t;
	struct fiber f = make_fiber(STACK_NBYTES, hold_and_yield);
	awaited = &f;
	on_fiber = new_object();
	on_thread(resume_on_thread, &f);
	CHECK_EQ(pthread_create(&t, NULL, announce_and_wait, NULL), 0);
	spin_until(&handler_ready, 1);
	collect_afar();
	CHECK(is_alive(on_fiber));
	publish(&handler_leave, 1);
	pthread_join(t, NULL);
	CHECK(f.ended);
	destroy(&f);
}

/* A snapshot between any two instructions of a switch to a fiber and back, and of what it does there: the
 * object on the thread's own stack and the one on the fiber's, in registers for a part of the way, live. */
#if STEP_WORKS
static size_t snapshot_step;
static uint32_t step_ready, step_may_end;
static bool step_here;

static bool asked_for_snapshot(const struct mutator *m)
{
	unsigned phase = heap_phase(m->heap);
	return (phase == PHASE_ROOTS && load_acquire(&m->asked) == heap_sweepgen(m->heap)) ||
	       (phase != PHASE_OFF && load_acquire(&m->sec) != 0);
}

static void let_others_collect(void)
{
	struct mutator *m = mutator_self();
	uint64_t before = load_acquire(&runtime.gc.ncycles);
	step_here = true;
	publish(&step_ready, 1);
	while (load_acquire(&runtime.gc.ncycles) == before && !asked_for_snapshot(m))
		usleep(10);
}

static void hold_for_ever(struct fiber *f)
{
	void *volatile local = NULL;
	put_afar((void **)(uintptr_t)&local, on_fiber);
	for (;;) {
		void *kept = local; /* in a register over the switch */
		yield(f);
		CHECK(hide(kept) == on_fiber);
	}
}

static void resume_stepped(void *arg)
{
	resume(arg);
}

static uintptr_t at_home;

static void *resume_at_step(void *arg)
{
	void *volatile local = NULL;
	CHECK_EQ(mgc_thread_attach(), 0);
	put_afar((void **)(uintptr_t)&local, at_home);
	step_here = false;
	step_run(resume_stepped, arg, snapshot_step, let_others_collect);
	CHECK(hide(local) == at_home);
	publish(&step_ready, 1); /* if it had not come that far */
	spin_until(&step_may_end, 1);
	return arg;
}

TEST_SECONDS(a_snapshot_at_any_point_of_a_switch, 60)
{
	struct fiber f = make_fiber(STACK_NBYTES, hold_for_ever);
	struct rng r = { test_seed() };
	size_t stride = getenv("MGC_TEST_LONG") != NULL ? 1 : 5;
	snapshot_step = rng_below(&r, stride);
	on_fiber = new_object();
	on_thread(resume_on_thread, &f); /* it waits, with its object */
	do {
		pthread_t t;
		at_home = new_object();
		step_ready = step_may_end = 0;
		CHECK_EQ(pthread_create(&t, NULL, resume_at_step, &f), 0);
		spin_until(&step_ready, 1);
		collect_afar();
		CHECK(is_alive(on_fiber) && is_alive(at_home));
		publish(&step_may_end, 1);
		pthread_join(t, NULL);
		snapshot_step += stride;
	} while (step_here);
	printf("  %zu instructions\n", snapshot_step);
	CHECK(snapshot_step > 100);
}
#endif

/* ── threads that come and go on fibers ─────────────────────────────────────────────────── */

static void hold_and_exit(struct fiber *f)
{
	void *volatile local = NULL;
	(void)f;
	put_afar((void **)(uintptr_t)&local, on_fiber);
	pthread_exit((void *)(uintptr_t)(local != NULL));
}

static void hold_and_detach(struct fiber *f)
{
	void *volatile local = NULL;
	put_afar((void **)(uintptr_t)&local, on_fiber);
	mgc_thread_detach();
	CHECK(load_relaxed(&f->stack->running) == NULL);
	local = NULL;
	mgc_stack_switch(f->stack, NULL); /* attaches it again, here */
	fiber_jump(&f->sp, *f->home);
}

static void ended_on(void (*body)(struct fiber *f))
{
	struct fiber f = make_fiber(STACK_NBYTES, body);
	on_fiber = new_object();
	on_thread(resume_on_thread, &f);
	CHECK(load_relaxed(&f.stack->running) == NULL);
	collect_afar();
	CHECK(!is_alive(on_fiber));
	destroy(&f); /* it runs nowhere */
}

TEST(a_thread_that_ends_on_a_fiber)
{
#ifndef MGC_SANITIZE_ADDRESS /* it follows the thread's own stack only */
	ended_on(hold_and_exit);
#else
	(void)hold_and_exit;
#endif
	ended_on(hold_and_detach);
}

/* A thread's first call can come while it runs on a registered stack: its own has nothing of ours. */
static uint32_t adrift_ready, adrift_leave;

static void attach_here(void *arg)
{
	struct fiber *f = arg;
	void *volatile local = NULL;
	CHECK(!mutator_attached());
	CHECK_EQ(mgc_thread_attach(), 0);
	put_afar((void **)(uintptr_t)&local, on_fiber);
	publish(&adrift_ready, 1);
	while (__atomic_load_n(&adrift_leave, __ATOMIC_ACQUIRE) == 0)
		;
	local = NULL;
	mgc_thread_detach();
	fiber_jump(&f->sp, *f->home);
}

static void *run_unattached(void *arg)
{
	struct fiber *f = arg;
	void *home;
	f->home = &home;
	f->sp = fiber_make(f->memory + f->nbytes, attach_here, f);
	fiber_jump(&home, f->sp);
	return NULL;
}

TEST(a_thread_that_attaches_on_a_fiber)
{
	pthread_t t;
	struct fiber f = make_fiber(STACK_NBYTES, NULL);
	on_fiber = new_object();
	CHECK_EQ(pthread_create(&t, NULL, run_unattached, &f), 0);
	spin_until(&adrift_ready, 1);
	collect_afar();
	CHECK(is_alive(on_fiber));
	publish(&adrift_leave, 1);
	pthread_join(t, NULL);
	destroy(&f);
}

/* ── ranges that go with a fiber ────────────────────────────────────────────────────────── */

static void *operands[8], *operands_top = operands;

static void push_and_yield(struct fiber *f)
{
	put_afar(&operands[0], on_fiber);
	operands_top = operands + 1;
	collect_afar();
	CHECK(is_alive(on_fiber));
	yield(f);
	collect_afar(); /* on another thread */
	CHECK(is_alive(on_fiber));
	operands_top = operands;
	yield(f);
}

TEST(owned_range_of_a_fiber)
{
	struct fiber f = make_fiber(STACK_NBYTES, push_and_yield);
	CHECK_EQ(mgc_stack_add_owned(f.stack, operands, sizeof operands, &operands_top), 0);
	on_fiber = new_object();
	on_thread(resume_on_thread, &f);
	collect_afar();
	CHECK(is_alive(on_fiber));
	on_thread(resume_on_thread, &f);
	collect_afar();
	CHECK(!is_alive(on_fiber));
	destroy(&f);
	CHECK(mgc_root_remove(operands) == -1 && errno == EINVAL); /* gone with the stack */
}

/* An interpreter that changes places: from a thread to a fiber, and on to another thread. */
static struct fiber *given;

static void *own_and_give(void *arg)
{
	CHECK_EQ(mgc_root_add_owned(operands, sizeof operands, &operands_top), 0);
	operands_top = operands + 8;
	CHECK_EQ(mgc_root_give(operands, given->stack), 0);
	return arg; /* and is gone */
}

static void *take_over(void *arg)
{
	CHECK_EQ(mgc_root_give(operands, NULL), 0);
	collect_afar();
	CHECK(is_alive(on_fiber));
	return arg;
}

TEST(owned_ranges_change_hands)
{
	struct fiber f = make_fiber(STACK_NBYTES, NULL);
	given = &f;
	on_fiber = new_object();
	put_afar(&operands[7], on_fiber);
	on_thread(own_and_give, NULL);
	collect_afar();
	CHECK(is_alive(on_fiber));
	on_thread(take_over, NULL);
	collect_afar(); /* it went with that thread */
	CHECK(!is_alive(on_fiber));
	CHECK(mgc_root_give(operands, NULL) == -1 && errno == EINVAL);
	destroy(&f);
}

/* ── stacks in unusual places ───────────────────────────────────────────────────────────── */

static void *object_stack(void *arg)
{
	struct fiber *f = arg;
	f->nbytes = STACK_NBYTES;
	f->memory = mgc_alloc(f->nbytes, NULL, MGC_NOSCAN);
	f->stack = mgc_stack_register(f->memory, f->memory + f->nbytes);
	f->memory = (char *)hide(f->memory);
	return NULL;
}

static void *resume_hidden(void *arg)
{
	struct fiber *f = arg, visible = *f;
	visible.memory = unhide((uintptr_t)f->memory);
	resume(&visible);
	f->sp = (void *)hide(visible.sp);
	return NULL;
}

TEST(a_stack_that_is_an_object)
{
	struct fiber f = { .body = hold_and_yield };
	on_thread(object_stack, &f);
	uintptr_t memory = (uintptr_t)f.memory;
	collect_afar();
	CHECK(is_alive(memory));
	on_fiber = new_object();
	on_thread(resume_hidden, &f);
	collect_afar();
	CHECK(is_alive(memory));
	CHECK(is_alive(on_fiber));
	mgc_stack_unregister(f.stack);
	collect_afar();
	CHECK(!is_alive(memory));
	CHECK(!is_alive(on_fiber));
}

/* ── how much of a small stack the library needs ────────────────────────────────────────── */

#define PAINT 0x5a
static struct mgc_type pair_type = { .size = 32, .ptr_bytes = 16 };
static uint32_t small_ready, small_leave;

static size_t used_of(const struct fiber *f)
{
	size_t clean = 0;
	while (clean < f->nbytes && f->memory[clean] == PAINT)
		clean++;
	return f->nbytes - clean;
}

static void be_interrupted(struct fiber *f)
{
	(void)f;
	publish(&small_ready, 1);
	while (__atomic_load_n(&small_leave, __ATOMIC_ACQUIRE) == 0)
		;
}

static void allocate_much(struct fiber *f)
{
	void **list = NULL;
	(void)f;
	for (int i = 0; i < 300000; i++) {
		void **p = mgc_new(&pair_type);
		p[0] = i % 1000 == 0 ? NULL : list;
		list = p;
		if (i % 1000 == 0)
			mgc_alloc(100000, NULL, 0);
	}
}

static void collect_here(struct fiber *f)
{
	(void)f;
	for (int i = 0; i < 3; i++)
		mgc_collect();
}

static void interrupt_it(pthread_t t)
{
	spin_until(&small_ready, 1);
	for (int i = 0; i < 3; i++)
		collect_afar();
	publish(&small_leave, 1);
	pthread_join(t, NULL);
}

static size_t measure(const char *what, void (*body)(struct fiber *f), size_t nbytes)
{
	struct fiber f = make_fiber(nbytes, body);
	pthread_t t;
	memset(f.memory, PAINT, nbytes);
	CHECK_EQ(pthread_create(&t, NULL, resume_on_thread, &f), 0);
	if (body == be_interrupted)
		interrupt_it(t);
	else
		pthread_join(t, NULL);
	CHECK(f.ended);
	size_t used = used_of(&f);
	printf("  %-12s %zu B of the stack used\n", what, used);
	destroy(&f);
	return used;
}

TEST(small_stacks)
{
	size_t stack = (size_t)64 << 10;
#if !defined(MGC_SANITIZE_ADDRESS) && !defined(MGC_SANITIZE_UNDEFINED) && !MGC_ASSERT
	stack = 16 << 10; /* a frame that overflows dies of the guard below it */
#endif
	CHECK(measure("interrupted", be_interrupted, stack) < stack);
	CHECK(measure("allocating", allocate_much, stack) < stack);
	CHECK(measure("collecting", collect_here, stack) < stack);
}

/* ── mistakes ───────────────────────────────────────────────────────────────────────────── */

static bool register_it;

static void spin_for_ever(void *arg)
{
	(void)arg;
	publish(&adrift_ready, 2);
	for (;;)
		__asm__ volatile("");
}

static void collect_at_once(void *arg)
{
	(void)arg;
	mgc_collect();
}

static void *switch_silently(void *arg)
{
	void *home;
	char *memory = fiber_map(STACK_NBYTES);
	CHECK_EQ(mgc_thread_attach(), 0);
	if (register_it)
		CHECK(mgc_stack_register(memory, memory + STACK_NBYTES) != NULL);
	fiber_jump(&home, fiber_make(memory + STACK_NBYTES, (void (*)(void *))arg, NULL));
	return NULL;
}

static void interrupted_on_unknown_stack(void *arg)
{
	pthread_t t;
	register_it = arg != NULL;
	adrift_ready = 0;
	pthread_create(&t, NULL, switch_silently, (void *)(void (*)(void))spin_for_ever);
	spin_until(&adrift_ready, 2);
	mgc_collect();
}

static void collecting_on_unknown_stack(void *arg)
{
	register_it = arg != NULL;
	switch_silently((void *)(void (*)(void))collect_at_once);
}

static void leaves_what_it_is_not_on(void *arg)
{
	char *memory = fiber_map(STACK_NBYTES);
	struct mgc_stack *s = mgc_stack_register(memory, memory + STACK_NBYTES);
	(void)arg;
	mgc_stack_switch(s, NULL);
}

static void says_own(struct fiber *f)
{
	(void)f;
	mgc_stack_switch(NULL, f->stack);
}

static void leaves_own_but_is_not_there(void *arg)
{
	struct fiber f = make_fiber(STACK_NBYTES, says_own);
	(void)arg;
	resume(&f);
}

static void unregister_running(struct fiber *f)
{
	mgc_stack_unregister(f->stack);
}

static void prepare_running(struct fiber *f)
{
	mgc_stack_prepare(f->stack, f->memory + f->nbytes - 64);
}

static void wrong_use(void *body)
{
	struct fiber f = make_fiber(STACK_NBYTES, (void (*)(struct fiber *))(void (*)(void))body);
	resume(&f);
}

static void prepare_outside(void *arg)
{
	struct fiber f = make_fiber(STACK_NBYTES, NULL);
	mgc_stack_prepare(f.stack, f.memory + (ptrdiff_t)arg);
}

static void board_a_running_one(void *arg)
{
	pthread_t t;
	struct fiber f = make_fiber(STACK_NBYTES, be_interrupted);
	(void)arg;
	pthread_create(&t, NULL, resume_on_thread, &f);
	spin_until(&small_ready, 1);
	mgc_stack_switch(NULL, f.stack);
}

TEST(mistakes)
{
	CHECK_DIES(interrupted_on_unknown_stack, NULL, "a stack that was not registered (sp 0x");
	CHECK_DIES(interrupted_on_unknown_stack, (void *)1, "without having announced it");
	CHECK_DIES(collecting_on_unknown_stack, NULL, "a stack that was not registered (sp 0x");
	CHECK_DIES(collecting_on_unknown_stack, (void *)1, "without having announced it");
	CHECK_DIES(leaves_what_it_is_not_on, NULL, "mgc_stack_switch away from the stack at");
	CHECK_DIES(leaves_own_but_is_not_there, NULL, "own stack, but it runs on the one at");
	CHECK_DIES(wrong_use, (void *)(void (*)(void))unregister_running,
		   "mgc_stack_unregister of a stack");
	CHECK_DIES(wrong_use, (void *)(void (*)(void))prepare_running, "mgc_stack_prepare of a stack");
	CHECK_DIES(prepare_outside, (void *)-8, "is not in the stack");
	CHECK_DIES(prepare_outside, (void *)12, "is not in the stack");
	CHECK_DIES(board_a_running_one, NULL, "runs on another thread");
}
