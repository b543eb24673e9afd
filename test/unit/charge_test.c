/* charge_test.c - what a system that does not overcommit memory (vm.overcommit_memory=2) charges a program:
 * all private memory that it may write, touched or not. It follows the heap, not the reservation.
 * links: mallocgc
 * not under: address, thread */
#include "lib/plain.h"
#include "mallocgc.h"

#define MIB ((size_t)1 << 20)

struct mappings {
	size_t writable; /* bytes of private mappings that may be written */
	size_t largest_writable, largest;
};

static struct mappings read_mappings(void)
{
	struct mappings m = { 0, 0, 0 };
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");
	CHECK(f != NULL);
	while (fgets(line, sizeof line, f) != NULL) {
		unsigned long lo, hi;
		char may[8];
		CHECK(sscanf(line, "%lx-%lx %7s", &lo, &hi, may) == 3);
		bool writable = may[1] == 'w' && may[3] == 'p';
		size_t nbytes = hi - lo;
		m.writable += writable ? nbytes : 0;
		m.largest = nbytes > m.largest ? nbytes : m.largest;
		if (writable && nbytes > m.largest_writable)
			m.largest_writable = nbytes;
	}
	fclose(f);
	return m;
}

static void *kept[64];

TEST(charge_follows_the_heap)
{
	struct mappings before = read_mappings();
	CHECK_EQ(mgc_root_add(kept, sizeof kept, 0), 0);
	mgc_collect();
	struct mappings empty = read_mappings();
	printf("  empty: %zu KiB\n", (empty.writable - before.writable) >> 10);
	CHECK(empty.writable - before.writable < 8 * MIB + (TEST_SLOW ? 8 * MIB : 0));
	CHECK(empty.largest >= 512 * MIB && empty.largest_writable < 64 * MIB); /* the range is reserved */
	for (size_t i = 0; i < 64; i++) {
		kept[i] = mgc_alloc(MIB, NULL, MGC_NOSCAN);
		CHECK(kept[i] != NULL);
	}
	struct mappings full = read_mappings();
	printf("  64 MiB: %zu KiB\n", (full.writable - empty.writable) >> 10);
	CHECK(full.writable - empty.writable >= 64 * MIB - 4 * MIB);
	CHECK(full.writable - empty.writable < 64 * MIB + 64 * MIB / 10 + 8 * MIB);
	memset(kept, 0, sizeof kept);
}
