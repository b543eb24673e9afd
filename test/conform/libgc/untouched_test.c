/* untouched_test.c - the libgc face: a large range of roots that the program has not touched yet. It is mapped before the
 * world stops, not by a fault for each of its pages in the stop, and what is written there later is found.
 * links: libgc */
#include "lib/plain.h"

#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc.h>
#include <sys/resource.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

#define NBYTES ((size_t)4 << 20)

static long stopped_at,
	nfaults; /* page faults of the thread that collects: when the stop began, in all stops */

static long faults(void)
{
	struct rusage u;
	CHECK_EQ(getrusage(RUSAGE_THREAD, &u), 0);
	return u.ru_minflt;
}

static void on_event(GC_EventType e)
{
	if (e == GC_EVENT_POST_STOP_WORLD)
		stopped_at = faults();
	else if (e == GC_EVENT_PRE_START_WORLD)
		nfaults += faults() - stopped_at;
}

static void *make(void *arg)
{
	void **slot = arg;
	*slot = GC_malloc_atomic(100);
	memset(*slot, 0x5a, 100);
	return NULL;
}

static void *fill(void *arg)
{
	for (int i = 0; i < 1000; i++)
		memset(GC_malloc_atomic(100), 0, 100);
	return arg;
}

static char *map(void)
{
	char *p = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	madvise(p, NBYTES, MADV_NOHUGEPAGE);
	return p;
}

TEST(an_untouched_range)
{
	long page = sysconf(_SC_PAGESIZE);
	GC_INIT();
	GC_gcollect(); /* whatever the first one touches */
	GC_set_on_collection_event(on_event);
	char *p = map();
	if (madvise(p, (size_t)page, MADV_POPULATE_READ) != 0)
		SKIP("no MADV_POPULATE_READ");
	GC_add_roots(p, p + NBYTES);
	GC_gcollect();
	CHECK(nfaults < (long)NBYTES / page / 4);
	void **slot = (void **)(p + NBYTES - sizeof *slot);
	on_thread(make, slot);
	for (int i = 0; i < 3; i++) {
		GC_gcollect();
		on_thread(fill, NULL);
	}
	CHECK(GC_base(*slot) == *slot && ((char *)*slot)[99] == 0x5a);
}
