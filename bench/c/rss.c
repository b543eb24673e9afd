/* rss.c - what stays resident when a big heap empties? Fill the heap with blocks of 64-2048
 * bytes in groups of one size each, drop most groups, collect once, sit idle.
 * usage: rss [MIB=1024] [KEEP_ONE_IN=4; 0 keeps none] [IDLE_MS=1000]
 * Groups are much larger than a page, so the survivors fill whole pages.
 * Bound: live * 1.2 + 8 MiB, one second after the collection. */
#define _GNU_SOURCE
#include "bench_gc.h"
#include <unistd.h>

enum { GROUP_BYTES = 1 << 20, MIN_BLOCK = 64, MAX_BLOCK = 2048, BLOCK_STEP = 16 };
BENCH_TYPE(slot_type, void *, 1);

static void **groups;
static uint64_t random_state = 88172645463325252u;

static double resident_mib(void)
{
	long total, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%ld %ld", &total, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

/* fill_group - one table of blocks of one size, every byte of them written. */
static __attribute__((noinline)) void **fill_group(size_t *nbytes)
{
	size_t steps = (MAX_BLOCK - MIN_BLOCK) / BLOCK_STEP + 1;
	size_t size = MIN_BLOCK + BLOCK_STEP * (bench_random(&random_state) % steps);
	size_t n = GROUP_BYTES / size;
	void **group = bench_new_array(&slot_type, n);
	for (size_t i = 0; i < n; i++) {
		void *block = bench_new_bytes(size);
		memset(block, (int)(size & 255) | 1, size);
		bench_write(&group[i], block);
	}
	*nbytes = n * (size + sizeof *group);
	return group;
}

static __attribute__((noinline)) size_t fill(size_t ngroups, size_t keep_one_in, size_t *filled)
{
	size_t live = ngroups * sizeof *groups, nbytes;
	bench_write(&groups, bench_new_array(&slot_type, ngroups));
	for (size_t i = 0; i < ngroups; i++) {
		bench_write(&groups[i], fill_group(&nbytes));
		*filled += nbytes;
		if (keep_one_in && i % keep_one_in == 0)
			live += nbytes;
	}
	return live;
}

int main(int argc, char **argv)
{
	size_t ngroups = bench_arg(argc, argv, 1, 1024);
	size_t keep_one_in = bench_arg(argc, argv, 2, 4), filled = 0;
	unsigned idle_ms = (unsigned)bench_arg(argc, argv, 3, 1000);
	bench_init();
	bench_root(&groups, sizeof groups);
	double empty = resident_mib(), t = bench_wall_ns();
	size_t live = fill(ngroups, keep_one_in, &filled);
	double fill_s = (bench_wall_ns() - t) / 1e9;
	double full = resident_mib(), live_mib = (double)live / 1048576;
	for (size_t i = 0; i < ngroups; i++)
		if (!keep_one_in || i % keep_one_in)
			bench_write(&groups[i], NULL);
	t = bench_wall_ns();
	bench_collect();
	double collect_ms = (bench_wall_ns() - t) / 1e6, now = resident_mib();
	usleep(idle_ms * 1000);
	double after = resident_mib(), limit = live_mib * 1.2 + 8;
	uint64_t checksum = filled;
	for (size_t i = 0; i < ngroups; i++)
		if (groups[i])
			checksum = checksum * 31 + *(unsigned char *)((void **)groups[i])[7];
	bench_print("fill_s", fill_s);
	bench_print("collect_ms", collect_ms);
	bench_print("empty_mib", empty);
	bench_print("filled_mib", (double)filled / 1048576);
	bench_print("full_rss_mib", full);
	bench_print("live_mib", live_mib);
	bench_print("rss_at_once_mib", now);
	bench_print("rss_after_mib", after);
	bench_print("limit_mib", limit);
	bench_print("rss_to_limit", after / limit);
	bench_finish(checksum);
	return 0;
}
