/* moves_test.c (plain) - the only reference to an object moves from one old object to another while a cycle
 * runs beside a program without a barrier: the store falls on a page that may have been scanned already, and
 * that nobody writes to again before the cycle ends. The same of an object that was born just before. Many pages, and few
 * stores between two looks at them. */
#include "lib/plain.h"

#include "face/runtime.h"
#include "mallocgc.h"
#include "os/os.h"

#define NCELLS 60000 /* a few thousand pages */
#define NMOVES 40000
#define MOVES_PER_PAUSE 32
#define NYOUNG 16

struct treasure {
	uint64_t number, again;
};
struct cell {
	struct treasure *treasure;
	uint64_t ballast[15];
};
static struct mgc_type treasure_type = { .name = "treasure", .size = sizeof(struct treasure) };
static struct mgc_type cell_type = { .name = "cell",
				     .size = sizeof(struct cell),
				     .ptr_bytes = sizeof(void *) };
static struct mgc_type slot_type = { .name = "cells",
				     .size = sizeof(void *),
				     .ptr_bytes = sizeof(void *) };

static struct cell **cells;
static uint64_t held[NCELLS]; /* what should be in each cell; 0: nothing */
static uint32_t random_state = 1;

static uint32_t any_cell(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % NCELLS;
}

static void fill(void)
{
	cells = mgc_new_array(&slot_type, NCELLS);
	CHECK(cells != NULL);
	for (uint32_t i = 0; i < NCELLS; i++)
		cells[i] = mgc_new(&cell_type);
	for (uint32_t i = 0; i < NCELLS; i += 2) {
		struct treasure *t = mgc_new(&treasure_type);
		*t = (struct treasure){ i + 1, i + 1 };
		cells[i]->treasure = t;
		held[i] = i + 1;
	}
}

static void move(void)
{
	uint32_t from = any_cell(), to = any_cell();
	if (held[from] == 0 || held[to] != 0)
		return;
	cells[to]->treasure = cells[from]->treasure;
	cells[from]->treasure = NULL;
	held[to] = held[from];
	held[from] = 0;
}

/* renew - what was just made is in `young` alone, which is on the stack; and then for as long in an old object alone. */
static void renew(struct treasure *volatile *young, uint64_t number)
{
	uint32_t at = any_cell();
	struct treasure *t = *young;
	if (t != NULL) {
		CHECK_EQ(t->number, t->again);
		cells[at]->treasure = t;
		held[at] = t->number;
	}
	t = mgc_new(&treasure_type);
	*t = (struct treasure){ number, number };
	*young = t;
}

static void look(void)
{
	for (uint32_t i = 0; i < NCELLS; i++) {
		const struct treasure *t = cells[i]->treasure;
		CHECK_EQ(t != NULL, held[i] != 0);
		if (t != NULL)
			CHECK(t->number == held[i] && t->again == held[i]);
	}
}

static void *collect_all_the_time(void *arg)
{
	CHECK_EQ(mgc_thread_attach(), 0);
	while (!__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE))
		mgc_collect(), usleep(1000);
	return NULL;
}

/* system_tells - whether it notes written pages. */
static bool system_tells(void)
{
	uintptr_t page = os_reserve(os_page_size(), 0);
	int err = os_written_start(page, page + os_page_size());
	os_written_stop();
	return err == 0;
}

static void moves(const char *settings)
{
	struct treasure *volatile young[NYOUNG] = { NULL };
	bool done = false;
	pthread_t collector;
	setenv("MGC_DEBUG", settings, 1);
	if (!system_tells()) {
		printf("  left out: the system does not note written pages\n");
		return;
	}
	CHECK_EQ(mgc_thread_attach(), 0);
	CHECK_EQ(mgc_root_add(&cells, sizeof cells, 0), 0);
	runtime.gc.barriered = false; /* as the libgc face starts it */
	runtime.gc.concurrent = false;
	fill();
	CHECK_EQ(pthread_create(&collector, NULL, collect_all_the_time, &done), 0);
	for (unsigned i = 0; i < NMOVES; i++) {
		move();
		renew(&young[i % NYOUNG], NCELLS + i); /* young ones begin here */
		if (i % MOVES_PER_PAUSE == 0)
			usleep(1);
		if (i % (NMOVES / 20) == 0)
			look();
	}
	look();
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	mgc_blocking_enter();
	pthread_join(collector, NULL);
	mgc_blocking_leave();
	CHECK(runtime.gc.tracked);
	printf("  %lu cycles\n", (unsigned long)runtime.gc.ncycles);
}

TEST_SECONDS(the_only_reference_moves, 60)
{
	moves("tracked=3,clobberfree=1");
}

TEST_SECONDS(the_only_reference_moves_before_young_cycles, 60)
{
	moves("tracked=3,young=2,gcstress=128,clobberfree=1");
}
