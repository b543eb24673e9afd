/* lock_test.c - os/lock.h: exclusion, sleeping and waking, and the order of ranks. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/step.h"
#include "os/lock.h"
#include "os/os.h"

#define NTHREADS 8
#define NROUNDS 20000

static struct lock shared = LOCK_INIT(CENTRAL);
static volatile uint64_t counter; /* guarded by shared; volatile so that races lose counts */
static uint32_t inside, worst;

static void *count_up(void *arg)
{
	unsigned every = (unsigned)(uintptr_t)arg;
	for (unsigned i = 0; i < NROUNDS; i++) {
		if (i % 5 != 0 || !lock_try(&shared))
			lock_acquire(&shared);
		uint32_t n = add_relaxed(&inside, 1u) + 1;
		if (n > load_relaxed(&worst))
			store_relaxed(&worst, n);
		counter = counter + 1;
		if (i % every == 0) /* held while others must sleep */
			os_yield();
		sub_relaxed(&inside, 1u);
		lock_release(&shared);
	}
	return NULL;
}

Test(lock, eight_threads, .timeout = 50)
{
	pthread_t threads[NTHREADS];
	for (uintptr_t i = 0; i < NTHREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, count_up, (void *)(i * 7 + 3)), 0);
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(counter, (uint64_t)NTHREADS * NROUNDS);
	cr_assert_eq(worst, 1);
	cr_assert_eq(shared.state, 0);
}

/* A lock that is held long sends its waiters to sleep, and each release wakes one. */
static void *take_once(void *arg)
{
	(void)arg;
	lock_acquire(&shared);
	counter = counter + 1;
	lock_release(&shared);
	return NULL;
}

Test(lock, sleepers_are_woken, .timeout = 20)
{
	pthread_t threads[NTHREADS];
	lock_acquire(&shared);
	for (int i = 0; i < NTHREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, take_once, NULL), 0);
	uint64_t cpu = os_cpu_ns();
	os_sleep_ns(200000000);
	cpu = os_cpu_ns() - cpu;
	cr_assert_eq(counter, 0);
	cr_assert_eq(load_relaxed(&shared.state), 2, "somebody sleeps");
	cr_assert_lt(cpu, 150000000, "waiters burnt %lu ns of 200 ms", (unsigned long)cpu);
	lock_release(&shared);
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(counter, NTHREADS);
	cr_assert_eq(shared.state, 0);
}

/* L2: a stop that finds a thread asleep asks how many locks it has. */
static volatile uint32_t asleep_with;

static void note_nheld(int sig)
{
	(void)sig;
	store_release(&asleep_with, lock_thread.nheld + 100);
}

static void *wait_for(void *lock)
{
	lock_acquire(lock);
	lock_release(lock);
	return NULL;
}

Test(lock, who_sleeps_may_be_stopped_only_for_some, .timeout = 20)
{
	static const enum lock_rank ranks[] = { LOCK_CLIENT,   LOCK_WORLD,    LOCK_ROOTS,
						LOCK_REGISTRY, LOCK_SPECIAL,  LOCK_LAYOUT,
						LOCK_CENTRAL,  LOCK_PAGEHEAP, LOCK_RECORDS };
	struct sigaction sa = { .sa_handler = note_nheld, .sa_flags = SA_RESTART };
	sigaction(SIGUSR1, &sa, NULL);
	for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
		pthread_t thread;
		struct lock l;
		lock_init(&l, ranks[i]);
		lock_acquire(&l);
		cr_assert_eq(pthread_create(&thread, NULL, wait_for, &l), 0);
		while (load_relaxed(&l.state) < LOCK_WAITED)
			os_yield();
		os_sleep_ns(20000000); /* until it sleeps */
		store_release(&asleep_with, 0u);
		pthread_kill(thread, SIGUSR1);
		while (load_acquire(&asleep_with) == 0)
			os_yield();
		cr_expect_eq(asleep_with, ranks[i] <= LOCK_REGISTRY ? 100 : 101, "rank %d: %u",
			     ranks[i], asleep_with - 100);
		lock_release(&l);
		pthread_join(thread, NULL);
	}
}

/* A thread that takes the lock again at once, each time, has to let the sleeper have it. */
static uint32_t taken_at_last;

static void *take_at_last(void *arg)
{
	lock_acquire(arg);
	store_release(&taken_at_last, 1u);
	lock_release(arg);
	return NULL;
}

static void let_a_sleeper_have_it(enum lock_rank rank)
{
	pthread_t thread;
	struct lock l;
	unsigned nrounds = 0;
	store_release(&taken_at_last, 0u);
	lock_init(&l, rank);
	lock_acquire(&l);
	cr_assert_eq(pthread_create(&thread, NULL, take_at_last, &l), 0);
	for (; load_acquire(&taken_at_last) == 0; nrounds++) {
		cr_assert_lt(nrounds, 50);
		while (load_relaxed(&l.state) == LOCK_HELD) /* until it sleeps, or is about to */
			os_yield();
		os_sleep_ns(2000000);
		lock_release(&l);
		lock_acquire(&l); /* before it wakes, mostly */
	}
	lock_release(&l);
	pthread_join(thread, NULL);
	cr_assert_eq(load_relaxed(&l.state), LOCK_FREE);
}

Test(lock, nobody_sleeps_for_ever, .timeout = 50)
{
	for (int i = 0; i < 10; i++)
		let_a_sleeper_have_it(i % 2 == 0 ? LOCK_SPECIAL : LOCK_WORLD);
}

/* L3: the gate is closed, and the lock seen free, between any two instructions of lock_acquire: the
 * thread has not got the lock when the gate opens. */
#if STEP_WORKS
static uint32_t got_it, closed, seen_free, passed, got_before;

static void close_gate(void)
{
	got_before = load_relaxed(&got_it);
	seen_free = load_relaxed(&shared.state) == 0;
	store_seq(&lock_gate, 1u);
	store_release(&closed, 1u);
}

static void take_shared(void *arg)
{
	(void)arg;
	lock_acquire(&shared);
	store_release(&got_it, 1u);
	lock_release(&shared);
}

static void *open_gate(void *arg)
{
	while (load_acquire(&closed) == 0)
		os_yield();
	os_sleep_ns(1000000);
	passed += seen_free && !got_before && load_acquire(&got_it) != 0;
	lock_gate_open();
	return arg;
}

Test(lock, nobody_passes_a_closed_gate, .timeout = 50)
{
	pthread_t thread;
	size_t step;
	/* the check of ranks alone is thousands of instructions where each access is checked */
	for (step = 0; !got_before; step += MGC_WITH_ASAN ? 11 : 1) {
		got_it = closed = 0;
		cr_assert_eq(pthread_create(&thread, NULL, open_gate, NULL), 0);
		cr_assert(step_run(take_shared, NULL, step, close_gate));
		pthread_join(thread, NULL);
	}
	cr_assert_gt(step, 10);
	cr_assert_eq(passed, 0, "%u of %zu times", passed, step);
}
#endif

Test(lock, try_and_held, .timeout = 10)
{
	struct lock l;
	lock_init(&l, LOCK_RECORDS);
	cr_assert(!lock_is_held(&l));
	cr_assert(lock_try(&l));
	cr_assert(lock_is_held(&l));
	cr_assert(!lock_try(&l));
	lock_release(&l);
	cr_assert(!lock_is_held(&l));
	cr_assert(lock_try(&l));
	lock_release(&l);
}

Test(lock, reset_in_a_forked_child, .timeout = 10)
{
	int status;
	lock_acquire(&shared);
	pid_t pid = fork();
	if (pid == 0) {
		lock_reset(&shared);
		lock_acquire(&shared);
		lock_release(&shared);
		_exit(shared.state == 0 ? 0 : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	lock_release(&shared);
}

/* ── ranks: checked in MGC_ASSERT builds only ───────────────────────────────────────────── */

static struct lock world = LOCK_INIT(WORLD), roots = LOCK_INIT(ROOTS), central = LOCK_INIT(CENTRAL),
		   central2 = LOCK_INIT(CENTRAL), pageheap = LOCK_INIT(PAGEHEAP),
		   records = LOCK_INIT(RECORDS);

Test(lock, ascending_ranks_are_fine, .timeout = 10)
{
	struct lock *order[] = { &world, &roots, &central, &central2, &pageheap, &records };
	enum { N = sizeof order / sizeof order[0] };
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++)
			lock_acquire(order[i]);
		for (int i = 0; i < N; i++) /* the order of release is free */
			lock_release(order[round == 0 ? i : round == 1 ? N - 1 - i : (i + 3) % N]);
	}
	for (int i = 0; i < N; i++) { /* nothing is remembered */
		lock_acquire(order[N - 1 - i]);
		lock_release(order[N - 1 - i]);
	}
}

/* More CENTRAL locks than a thread usually holds, as before a fork; then the bookkeeping is clean. */
Test(lock, many_of_one_table, .timeout = 10)
{
	static struct lock table[40];
	for (int stride = 1; stride <= 7; stride += 2) { /* 40 and these have no common divisor but 1, 5 */
		if (stride == 5)
			continue;
		for (int i = 0; i < 40; i++) {
			lock_init(&table[i], LOCK_CENTRAL);
			lock_acquire(&table[i]);
		}
		for (int i = 0; i < 40; i++)
			lock_release(&table[i * stride % 40]);
		lock_acquire(&world);
		lock_release(&world);
	}
}

#if MGC_ASSERT
/* dies - both locks are taken in this order in a child, which must abort naming both. */
static void dies(struct lock *first, struct lock *second, const char *name1, const char *name2)
{
	int fds[2], status;
	char got[600];
	cr_assert_eq(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(fds[1], STDERR_FILENO);
		lock_acquire(first);
		lock_acquire(second);
		_exit(0);
	}
	close(fds[1]);
	ssize_t n = read(fds[0], got, sizeof got - 1);
	got[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s then %s passed", name1, name2);
	cr_assert_neq(strstr(got, name1), NULL, "got: %s", got);
	cr_assert_neq(strstr(got, name2), NULL, "got: %s", got);
}

Test(lock, descending_ranks_die, .timeout = 20)
{
	static struct lock roots2 = LOCK_INIT(ROOTS);
	dies(&records, &pageheap, "RECORDS", "PAGEHEAP");
	dies(&roots, &world, "ROOTS", "WORLD");
	dies(&roots, &roots2, "ROOTS", "ROOTS");
	dies(&central, &roots, "CENTRAL", "ROOTS");
}

static void try_below(void)
{
	lock_acquire(&records);
	if (lock_try(&roots))
		_exit(0);
}

Test(lock, a_try_is_checked_too, .timeout = 10, .signal = SIGABRT)
{
	try_below();
}

static void *other_thread(void *arg)
{
	(void)arg;
	lock_acquire(&world);
	lock_release(&world);
	return NULL;
}

Test(lock, ranks_are_per_thread, .timeout = 10)
{
	pthread_t thread;
	lock_acquire(&records);
	cr_assert_eq(pthread_create(&thread, NULL, other_thread, NULL), 0);
	pthread_join(thread, NULL);
	lock_release(&records);
}
#endif
