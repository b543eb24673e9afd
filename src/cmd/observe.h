/* observe.h - what the heap of another process looks like now: counters, span classes, a map of its addresses,
 * threads. Read while it runs, so sums may miss each other by what happened meanwhile.
 * WHO    top, trace, report.  UNITS bytes, nanoseconds (CLOCK_MONOTONIC, as the library's). */
#ifndef MGC_CMD_OBSERVE_H
#define MGC_CMD_OBSERVE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "cmd/target.h"
#include "face/runtime.h"

struct view {
	uint64_t now_ns, rss_nbytes;
	bool counted; /* allocated_nbytes is known: since the start; malloc's a little more, and what it reused when it next looks */
	uint64_t allocated_nbytes;
	bool collected; /* a face with a collector: the members up to start_ns mean something */
	uint64_t live_nbytes, goal_nbytes;
	unsigned phase; /* enum gc_phase */
	uint64_t ncycles;
	struct cycle_record recent[RECENT_CYCLES]; /* cycle N at N % RECENT_CYCLES */
	struct histogram pauses, snapshots, handshakes;
	uint64_t start_ns;
	uint64_t used_nbytes, dirty_nbytes,
		clean_nbytes; /* pages: in use, free and resident, free and not */
	uint64_t scavenged_nbytes;
};

/* view_read - false: the process is gone. */
bool view_read(const struct target *t, struct view *out);
/* view_cycle - the record of that cycle, or NULL when it is none of the recent ones. */
const struct cycle_record *view_cycle(const struct view *v, uint64_t number);
/* view_rss - what is resident of the process, 0 when unknown. */
uint64_t view_rss(pid_t pid);

/* A span class, or a size class of malloc. */
struct class_usage {
	char name[40]; /* of its types, or "" */
	uint64_t slot_nbytes; /* 0: large objects */
	uint64_t nspans, page_nbytes, nslots, nused, used_nbytes;
};

#define MAP_CELLS 2048

/* A part of the address range, all of the same size. */
struct map_cell {
	uint32_t page_nbytes, used_nbytes, dirty_nbytes, clean_nbytes;
	uint32_t resident_nbytes, huge_nbytes; /* as the kernel says; huge: of these, in huge pages */
	uint16_t class; /* the one that has most of it; an index of census.class */
	uint32_t class_nbytes;
};

struct census {
	size_t nclasses;
	struct class_usage class[MGC_MAX_SPANCLASS];
	uintptr_t base;
	uint64_t cell_nbytes, grown_nbytes;
	bool resident_known, huge_known; /* whether the kernel said */
	uint64_t resident_nbytes, huge_nbytes;
	size_t ncells;
	struct map_cell cell[MAP_CELLS];
};

/* census_read - false: the process is gone, or there is no memory. Classes with most bytes first. */
bool census_read(const struct target *t, struct census *out);

struct thread_usage {
	int tid;
	char name[20]; /* and */
	char state; /* as in ps: by thread_look */
	uint64_t allocated_nbytes, held_nbytes; /* ever; free slots it has in hand */
	uint64_t snapshot_ns; /* its last */
};

/* threads_read - at most n of them; how many. */
size_t threads_read(const struct target *t, struct thread_usage *out, size_t n);
void thread_look(const struct target *t, struct thread_usage *u);

/* phase_name - of an enum gc_phase. */
const char *phase_name(unsigned phase);
/* bytes_text - "1.2 MiB". */
struct bytes_text {
	char s[16];
};
struct bytes_text bytes_text(uint64_t nbytes);
/* histogram_percentile - upper end of the bucket that the p-th hundredth lies in; 0: nothing was counted. */
uint64_t histogram_percentile(const struct histogram *h, double p);
uint64_t histogram_total(const struct histogram *h);

#endif
