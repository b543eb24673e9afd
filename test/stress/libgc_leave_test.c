/* libgc_leave_test.c - a collection lets who has the allocation lock give it back before it stops the world: meanwhile the
 * others run. But it does not wait for ever.
 * links: libgc */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include "lib/plain.h"

#include <gc/gc.h>
#include <pthread.h>

#define MS UINT64_C(1000000)
#define LEAVE_NS (10 * MS) /* that of gc/tracking.c */
#define HOLD_NS (6 * MS)
#define NROUNDS 20
#define NRUNS 20

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec t = { 0, (long)ns };
	nanosleep(&t, NULL);
}

static uint64_t held_at; /* since when somebody has the lock; 0: nobody */
static uint64_t stopped_at; /* when a stop began, since it was last set to 0 */
static uint32_t nstops, nearly; /* and how many did while somebody had the lock, sooner than they may */

static uint64_t get(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void set(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

static void on_event(GC_EventType e)
{
	if (e != GC_EVENT_PRE_STOP_WORLD)
		return;
	uint64_t now = now_ns(), since = get(&held_at);
	__atomic_fetch_add(&nstops, 1, __ATOMIC_RELAXED);
	if (since != 0 && now - since < LEAVE_NS)
		__atomic_fetch_add(&nearly, 1, __ATOMIC_RELAXED);
	set(&stopped_at, now);
}

/* hold - for as long as it is told; UINT64_MAX: until the world is being stopped. */
static void *hold(void *arg)
{
	const uint64_t *ns = arg;
	uint64_t since = now_ns();
	set(&stopped_at, 0);
	set(&held_at, since);
	while (now_ns() - since < *ns && (*ns != UINT64_MAX || get(&stopped_at) == 0))
		sleep_ns(MS / 10);
	set(&held_at, 0);
	return arg;
}

static uint64_t hold_ns;
static uint32_t nruns;

/* holder - once for each run. */
static void *holder(void *arg)
{
	struct GC_stack_base base;
	CHECK_EQ(GC_get_stack_base(&base), GC_SUCCESS);
	CHECK_EQ(GC_register_my_thread(&base), GC_SUCCESS);
	GC_call_with_alloc_lock(hold, &hold_ns);
	__atomic_fetch_sub(&nruns, 1, __ATOMIC_RELAXED);
	CHECK_EQ(GC_unregister_my_thread(), GC_SUCCESS);
	return arg;
}

static void start(const char *form)
{
	setenv("MGC_DEBUG", form, 1);
	GC_INIT();
	GC_allow_register_threads();
	GC_set_on_collection_event(on_event);
}

/* collect_while_held - another thread has the lock when the collection is asked for. */
static void collect_while_held(uint64_t ns)
{
	pthread_t t;
	hold_ns = ns;
	nruns = 1;
	set(&held_at, 0);
	CHECK_EQ(pthread_create(&t, NULL, holder, NULL), 0);
	while (get(&held_at) == 0 && __atomic_load_n(&nruns, __ATOMIC_RELAXED) != 0)
		sleep_ns(MS / 20);
	GC_gcollect();
	CHECK_EQ(pthread_join(t, NULL), 0);
}

TEST(a_stop_comes_after_the_lock)
{
	start("tracked=0,young=0");
	for (int i = 0; i < NROUNDS; i++)
		collect_while_held(HOLD_NS);
	CHECK(nstops >= NROUNDS);
	CHECK_EQ(nearly, 0);
}

static uint32_t nlate;

/* visitor - comes and goes while the collection waits for who has the lock. */
static void *visitor(void *arg)
{
	struct GC_stack_base base;
	CHECK_EQ(GC_get_stack_base(&base), GC_SUCCESS);
	for (int i = 0; get(&held_at) == 0 && i < 1000; i++) /* it may sleep through that */
		sleep_ns(MS / 20);
	sleep_ns(MS);
	uint64_t began = now_ns();
	CHECK_EQ(GC_register_my_thread(&base), GC_SUCCESS);
	CHECK_EQ(GC_unregister_my_thread(), GC_SUCCESS);
	nlate += now_ns() - began > HOLD_NS / 3;
	return arg;
}

TEST(threads_come_and_go_meanwhile)
{
	start("tracked=0,young=0");
	for (int i = 0; i < NROUNDS; i++) {
		pthread_t t;
		set(&held_at, 0);
		CHECK_EQ(pthread_create(&t, NULL, visitor, NULL), 0);
		collect_while_held(HOLD_NS);
		CHECK_EQ(pthread_join(t, NULL), 0);
	}
	printf("  %u of %d were late\n", nlate, NROUNDS);
	CHECK(nlate * 2 < NROUNDS);
}

TEST(but_does_not_wait_for_ever)
{
	start("tracked=0,young=0");
	collect_while_held(UINT64_MAX);
	CHECK(get(&stopped_at) != 0);
}

static bool over;

/* busy_holder - has it most of the time. */
static void *busy_holder(void *arg)
{
	struct GC_stack_base base;
	uint64_t ns = 2 * MS; /* all stops of a cycle wait no longer than one may */
	CHECK_EQ(GC_get_stack_base(&base), GC_SUCCESS);
	CHECK_EQ(GC_register_my_thread(&base), GC_SUCCESS);
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		GC_call_with_alloc_lock(hold, &ns);
		sleep_ns(MS / 2);
	}
	CHECK_EQ(GC_unregister_my_thread(), GC_SUCCESS);
	return arg;
}

/* Here a stop may be on its way already when it takes the lock; without the wait that would be most of them. */
TEST(stops_of_cycles_beside_the_program)
{
	pthread_t t;
	start("tracked=3");
	CHECK_EQ(pthread_create(&t, NULL, busy_holder, NULL), 0);
	while (get(&held_at) == 0)
		sleep_ns(MS / 20);
	for (int i = 0; i < NRUNS; i++)
		GC_gcollect();
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(t, NULL), 0);
	printf("  %u of %u stops while the lock was held\n", nearly, nstops);
	CHECK(nstops >= NRUNS);
	CHECK(nearly * 4 < nstops);
}
