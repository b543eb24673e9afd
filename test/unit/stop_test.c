/* stop_test.c (plain) - what a stop counts as: it is over when the threads can run, not when who stopped them has a processor
 * again; and a whole collection behind young ones asks the system for nothing about pages that were not written to.
 * not under: thread, cross */
#include "lib/plain.h"

#include "mallocgc.h"

#include "face/runtime.h"
#include "gc/cycle.h"
#include "os/os.h"

#define MS UINT64_C(1000000)

/* ── when a stop is over ────────────────────────────────────────────────────────────────── */

#define NROUNDS 300
#define NBUSY 8
#define FEW 10

static uint32_t nready, leave;

static void *be_busy(void *arg)
{
	CHECK_EQ(mgc_thread_attach(), 0);
	__atomic_add_fetch(&nready, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&leave, __ATOMIC_ACQUIRE) == 0)
		;
	mgc_thread_detach();
	return arg;
}

struct round {
	uint64_t told_ns, wall_ns, cpu_ns; /* of the start */
};

static struct round stop_once(struct mutator *m)
{
	struct gc *gc = &runtime.gc;
	cycle_take_world(gc);
	mutator_enter(m);
	stw_stop(&gc->stw, m);
	uint64_t begin = os_now_ns(), cpu = os_thread_cpu_ns(), woken = stw_start(&gc->stw, m);
	struct round r = { woken - begin, os_now_ns() - begin, os_thread_cpu_ns() - cpu };
	mutator_leave(m);
	lock_release(&gc->world);
	return r;
}

TEST_SECONDS(is_over_when_the_threads_can_run, 120)
{
	pthread_t busy[NBUSY];
	unsigned nlost = 0, ntold = 0;
	CHECK(mgc_alloc(64, NULL, MGC_NOSCAN) != NULL);
	for (unsigned i = 0; i < NBUSY; i++)
		CHECK_EQ(pthread_create(&busy[i], NULL, be_busy, NULL), 0);
	while (__atomic_load_n(&nready, __ATOMIC_ACQUIRE) < NBUSY)
		os_sleep_ns(MS);
	for (unsigned i = 0; i < NROUNDS; i++) {
		struct round r = stop_once(mutator_self());
		bool lost = r.wall_ns > r.cpu_ns + MS; /* the processor, to those it woke */
		nlost += lost;
		ntold += lost && r.told_ns > r.cpu_ns + MS;
	}
	__atomic_store_n(&leave, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < NBUSY; i++)
		pthread_join(busy[i], NULL);
	printf("  %u of %u starts cost the processor\n", nlost, NROUNDS);
	CHECK(nlost < FEW || ntold < nlost / 2);
}

/* ── what stays protected ───────────────────────────────────────────────────────────────── */

#define NNODES ((size_t)200000)

struct node {
	struct node *next;
	size_t room[7];
};

static size_t ignored_nbytes;

static int count(const char *call, size_t nbytes)
{
	if (strcmp(call, "written_ignore") == 0)
		ignored_nbytes += nbytes;
	return 0;
}

/* whole - a collection of everything, when the last one left its marks; of how much writes are not noted any more then. */
static size_t whole(void)
{
	CHECK(runtime.gc.young.sticky);
	os_set_fault_hook(count);
	ignored_nbytes = 0;
	mgc_collect();
	os_set_fault_hook(NULL);
	return ignored_nbytes;
}

TEST(what_was_not_written_to_stays_protected)
{
	static struct node *all;
	setenv("MGC_DEBUG", "young=2,tracked=0", 1);
	CHECK_EQ(mgc_root_add_globals(), 0);
	runtime.gc.barriered = runtime.gc.concurrent = false; /* as the libgc face starts it */
	for (size_t i = 0; i < NNODES; i++) {
		struct node *n = mgc_alloc(sizeof *n, NULL, 0);
		n->next = all;
		all = n;
	}
	mgc_collect();
	if (!runtime.gc.written.on)
		SKIP("the system does not note written pages");
	size_t ignored = whole();
	printf("  of %zu KiB %zu\n", NNODES * sizeof *all >> 10, ignored >> 10);
	CHECK(ignored < NNODES * sizeof *all / 8);
	all = NULL; /* who fills what is free then takes no faults */
	CHECK(whole() > 0 || MGC_HOSTILE);
}
