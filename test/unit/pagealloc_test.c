/* pagealloc_test.c - single steps of the page allocator; random ones: model/pagealloc_model_test.c */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "heap/pagealloc.h"
#include "os/os.h"

#define CHUNK MGC_CHUNK_PAGES

static struct pagealloc pa;

static void start(size_t npages, size_t added)
{
	cr_assert_eq(pagealloc_init(&pa, npages, npages), 0);
	pagealloc_add(&pa, 0, added);
	pagealloc_verify(&pa);
}

static void finish(void)
{
	pagealloc_verify(&pa);
	pagealloc_destroy(&pa);
}

static size_t must_alloc(size_t npages, size_t align, size_t want_clean)
{
	size_t first = SIZE_MAX, nclean = SIZE_MAX;
	cr_assert(pagealloc_alloc(&pa, npages, align, &first, &nclean), "%zu pages", npages);
	cr_expect_eq(nclean, want_clean, "%zu clean, not %zu", nclean, want_clean);
	return first;
}

static void must_fail(size_t npages, size_t align)
{
	size_t first = 7, nclean = 9, nfree = pa.nfree;
	cr_expect(!pagealloc_alloc(&pa, npages, align, &first, &nclean));
	cr_expect(first == 7 && nclean == 9 && pa.nfree == nfree, "a failure changes nothing");
	pagealloc_verify(&pa);
}

Test(pagealloc, empty_has_nothing, .timeout = 10)
{
	start(3 * CHUNK, 0);
	cr_expect_eq(pa.limit, 0);
	must_fail(1, 1);
	size_t first, npages;
	cr_expect(!pagealloc_take_dirty(&pa, SIZE_MAX, 1, 8, 1, &first, &npages));
	cr_expect(!pagealloc_is_free(&pa, 0));
	finish();
}

Test(pagealloc, init_rejects, .timeout = 10)
{
	cr_expect_eq(pagealloc_init(&pa, 0, 0), EINVAL);
	cr_expect_eq(pagealloc_init(&pa, CHUNK, CHUNK + 1), EINVAL);
	cr_expect_eq(pagealloc_init(&pa, ((size_t)1 << 31) + 1, ((size_t)1 << 31) + 1), EINVAL);
	pagealloc_destroy(&pa); /* of one that was not made */
}

static unsigned fail_at;
static int fail_nth(const char *call, size_t nbytes)
{
	(void)nbytes;
	if (strcmp(call, "advise_huge") == 0) /* cannot fail */
		return 0;
	return --fail_at == 0 ? ENOMEM : 0;
}

Test(pagealloc, init_survives_refusal, .timeout = 10)
{
	os_set_fault_hook(fail_nth);
	for (unsigned n = 1; n <= 3; n++) {
		fail_at = n;
		cr_expect_eq(pagealloc_init(&pa, 513 * CHUNK, 513 * CHUNK), ENOMEM, "call %u", n);
		cr_expect_eq(pa.memory, 0);
	}
	fail_at = 4;
	cr_expect_eq(pagealloc_init(&pa, 513 * CHUNK, 513 * CHUNK), 0);
	cr_expect_eq(fail_at, 1); /* all calls that can fail were tried */
	os_set_fault_hook(NULL);
	finish();
}

/* Tables are committed as the heap grows; refused, nothing changes, and the next time it works. */
Test(pagealloc, tables_follow_the_heap, .timeout = 10)
{
	size_t far = (size_t)5000 * CHUNK;
	start((size_t)10000 * CHUNK, CHUNK);
	size_t reached = pa.reached;
	cr_expect_lt(reached, 5000);
	os_set_fault_hook(fail_nth);
	for (unsigned n = 1; n <= 2; n++) {
		fail_at = n;
		cr_expect(!pagealloc_add(&pa, far, CHUNK));
		cr_expect_eq(pa.reached, reached);
		cr_expect_eq(pa.nfree, CHUNK);
		pagealloc_verify(&pa);
	}
	cr_expect(!pagealloc_is_free(&pa, far));
	os_set_fault_hook(NULL);
	cr_expect(pagealloc_add(&pa, far, CHUNK));
	cr_expect_eq(must_alloc(CHUNK, 1, CHUNK), 0);
	cr_expect_eq(must_alloc(CHUNK, 1, CHUNK), far);
	finish();
}

/* The tables of a range that was cut, or is short, become longer: what they know stays. */
Test(pagealloc, widened, .timeout = 10)
{
	size_t most = (size_t)10000 * CHUNK, far = (size_t)5000 * CHUNK;
	for (int cut = 0; cut < 2; cut++) {
		cr_assert_eq(pagealloc_init(&pa, most, cut ? most : CHUNK), 0);
		cr_expect(pagealloc_add(&pa, 0, 9 * CHUNK));
		cr_expect_eq(must_alloc(8 * CHUNK + 3, 1, 8 * CHUNK + 3), 0);
		if (cut)
			pagealloc_cut(&pa, 9 * CHUNK);
		cr_expect(!pagealloc_add(&pa, far, CHUNK), "beyond its tables");
		for (unsigned n = 1; n <= 3; n++) { /* the tables, and two commits */
			os_set_fault_hook(fail_nth);
			fail_at = n;
			struct pagealloc before = pa;
			cr_expect(!pagealloc_widen(&pa, far + CHUNK));
			cr_expect_eq(memcmp(&before, &pa, sizeof pa), 0);
			os_set_fault_hook(NULL);
		}
		cr_expect(pagealloc_widen(&pa, far + CHUNK));
		pagealloc_verify(&pa);
		cr_expect(pagealloc_add(&pa, far, CHUNK));
		cr_expect_eq(must_alloc(CHUNK, CHUNK, CHUNK), far);
		cr_expect_eq(must_alloc(CHUNK - 3, 1, CHUNK - 3), 8 * CHUNK + 3);
		pagealloc_free(&pa, 0, 8 * CHUNK + 3);
		must_fail(8 * CHUNK + 4, 1);
		cr_expect(!pagealloc_add(&pa, most - CHUNK, CHUNK));
		finish();
	}
}

Test(pagealloc, levels_follow_the_reservation, .timeout = 10)
{
	const struct {
		size_t nchunks;
		unsigned nlevels;
	} rows[] = { { 1, 1 },  { 8, 1 },   { 9, 2 },   { 64, 2 },
		     { 65, 3 }, { 512, 3 }, { 513, 4 }, { (size_t)1 << 18, 6 } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		cr_assert_eq(pagealloc_init(&pa, rows[i].nchunks * CHUNK, rows[i].nchunks * CHUNK), 0);
		cr_expect_eq(pa.nlevels, rows[i].nlevels, "%zu chunks", rows[i].nchunks);
		size_t last = (rows[i].nchunks - 1) * CHUNK;
		pagealloc_add(&pa, last, CHUNK);
		cr_expect_eq(must_alloc(CHUNK, 1, CHUNK), last);
		must_fail(1, 1);
		finish();
	}
}

Test(pagealloc, reservation_of_part_of_a_chunk, .timeout = 10)
{
	start(1, CHUNK);
	cr_expect_eq(must_alloc(CHUNK, 1, CHUNK), 0);
	finish();
}

Test(pagealloc, lowest_first, .timeout = 10)
{
	start(4 * CHUNK, 4 * CHUNK);
	for (size_t i = 0; i < 4 * CHUNK; i++)
		cr_assert_eq(must_alloc(1, 1, 1), i);
	must_fail(1, 1);
	const size_t holes[] = { 3, 5, 6, 30, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK + 9 };
	const size_t nholes = sizeof holes / sizeof holes[0];
	for (size_t i = 0; i < nholes; i++)
		pagealloc_free(&pa, holes[i], 1);
	must_fail(4, 1);
	cr_expect_eq(must_alloc(3, 1, 0), 2 * CHUNK - 1);
	cr_expect_eq(must_alloc(2, 1, 0), 5);
	must_fail(2, 1);
	cr_expect_eq(must_alloc(1, 1, 0), 3);
	cr_expect_eq(must_alloc(1, 1, 0), 30);
	cr_expect_eq(must_alloc(1, 1, 0), 3 * CHUNK + 9);
	must_fail(1, 1);
	finish();
}

/* A run of each length around the sizes of words, chunks and blocks, ending at each kind of edge. */
Test(pagealloc, runs_across_edges, .timeout = 30)
{
	const size_t lengths[] = { 1,
				   2,
				   63,
				   64,
				   65,
				   127,
				   128,
				   129,
				   CHUNK - 1,
				   CHUNK,
				   CHUNK + 1,
				   2 * CHUNK,
				   8 * CHUNK - 1,
				   8 * CHUNK,
				   8 * CHUNK + 1,
				   17 * CHUNK };
	const size_t edges[] = { 64, CHUNK, 8 * CHUNK, 9 * CHUNK, 64 * CHUNK };
	start(130 * CHUNK, 130 * CHUNK);
	must_alloc(130 * CHUNK, 1, 130 * CHUNK);
	for (size_t e = 0; e < sizeof edges / sizeof edges[0]; e++) {
		for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
			for (size_t before = 0; before <= 2; before++) {
				size_t at = edges[e] - (before < lengths[l] ? before : lengths[l]);
				pagealloc_free(&pa, at, lengths[l]);
				must_fail(lengths[l] + 1, 1);
				cr_assert_eq(must_alloc(lengths[l], 1, 0), at);
				must_fail(1, 1);
			}
		}
	}
	finish();
}

Test(pagealloc, alignment, .timeout = 10)
{
	start(64 * CHUNK, 64 * CHUNK);
	cr_expect_eq(must_alloc(1, 1, 1), 0);
	for (size_t align = 2; align <= 16 * CHUNK; align *= 2) {
		size_t first = must_alloc(3, align, 3);
		cr_expect_eq(first % align, 0);
		pagealloc_free(&pa, first, 3);
		must_alloc(3, align, 3 - (first == align ? 3 : 0));
		pagealloc_free(&pa, align, 3);
		cr_expect_eq(first, align, "%zu", align);
		/* clean again, for the next one */
		cr_assert(pagealloc_take_dirty(&pa, SIZE_MAX, 1, 64, 1, &first, &(size_t){ 0 }));
		pagealloc_put_clean(&pa, first, 3);
	}
	must_fail(1, (size_t)1 << 40);
	must_fail(1, (size_t)1 << 63);
	pagealloc_free(&pa, 0, 1);
	cr_expect_eq(must_alloc(1, (size_t)1 << 63, 0), 0);
	finish();
}

/* The lowest aligned place counts, even where a longer run above fits as well. */
Test(pagealloc, aligned_lowest, .timeout = 10)
{
	start(20 * CHUNK, 20 * CHUNK);
	must_alloc(20 * CHUNK, 1, 20 * CHUNK);
	pagealloc_free(&pa, 3, 5); /* 3…7: 4…7 fits 4 at 4 */
	pagealloc_free(&pa, 17, 6); /* 17…22 holds no 4 at 4 but 20…22: too short */
	pagealloc_free(&pa, 2 * CHUNK, 100); /* and much */
	cr_expect_eq(must_alloc(4, 4, 0), 4);
	cr_expect_eq(must_alloc(4, 4, 0), 2 * CHUNK);
	cr_expect_eq(must_alloc(4, 1, 0), 17);
	cr_expect_eq(must_alloc(2, 2, 0), 2 * CHUNK + 4);
	cr_expect_eq(must_alloc(1, 1, 0), 3);
	cr_expect_eq(must_alloc(1, 2, 0), 22);
	pagealloc_free(&pa, 10 * CHUNK - 5, CHUNK + 5); /* a carried run, aligned inside */
	cr_expect_eq(must_alloc(CHUNK, CHUNK, 0), 10 * CHUNK);
	finish();
}

/* Chunks that the space skipped stay absent: no run goes across them. */
Test(pagealloc, gaps, .timeout = 10)
{
	start(40 * CHUNK, 2 * CHUNK);
	pagealloc_add(&pa, 3 * CHUNK, 2 * CHUNK);
	pagealloc_add(&pa, 30 * CHUNK, 10 * CHUNK);
	pagealloc_verify(&pa);
	cr_expect_eq(pa.limit, 40 * CHUNK);
	cr_expect(!pagealloc_is_free(&pa, 2 * CHUNK) && pagealloc_is_free(&pa, 3 * CHUNK));
	must_fail(11 * CHUNK, 1);
	cr_expect_eq(must_alloc(3 * CHUNK, 1, 3 * CHUNK), 30 * CHUNK);
	cr_expect_eq(must_alloc(2 * CHUNK, 1, 2 * CHUNK), 0);
	pagealloc_add(&pa, 2 * CHUNK, CHUNK); /* and later it is not */
	cr_expect_eq(must_alloc(3 * CHUNK, 1, 3 * CHUNK), 2 * CHUNK);
	finish();
}

Test(pagealloc, counts_clean, .timeout = 10)
{
	start(2 * CHUNK, 2 * CHUNK);
	must_alloc(40, 1, 40);
	pagealloc_free(&pa, 10, 30);
	cr_expect_eq(pa.nfree - pa.nclean, 30);
	cr_expect_eq(must_alloc(50, 1, 20), 10); /* 30 dirty, 20 clean */
	cr_expect_eq(pa.nfree, pa.nclean);
	pagealloc_put_clean(&pa, 10, 25);
	cr_expect_eq(must_alloc(20, 1, 20), 10);
	cr_expect_eq(must_alloc(10, 1, 10), 60);
	finish();
}

static void must_take(size_t below, size_t min, size_t max, size_t align, size_t first, size_t npages)
{
	size_t at = SIZE_MAX, n = SIZE_MAX;
	if (!pagealloc_take_dirty(&pa, below, min, max, align, &at, &n))
		n = 0;
	cr_expect(npages == n && (n == 0 || at == first), "wanted %zu+%zu, got %zu+%zu", first,
		  npages, at, n);
	pagealloc_verify(&pa);
}

Test(pagealloc, take_dirty_from_the_top, .timeout = 10)
{
	start(20 * CHUNK, 20 * CHUNK);
	must_take(SIZE_MAX, 1, 8, 1, 0, 0); /* all clean */
	must_alloc(20 * CHUNK, 1, 20 * CHUNK);
	pagealloc_free(&pa, 5, 10);
	pagealloc_free(&pa, CHUNK - 3, 6);
	pagealloc_free(&pa, 15 * CHUNK, 2 * CHUNK);
	must_take(SIZE_MAX, 1, 16, 1, 17 * CHUNK - 16, 16);
	pagealloc_put_clean(&pa, 17 * CHUNK - 16, 16);
	must_take(17 * CHUNK - 16, 1, 16, 1, 17 * CHUNK - 32, 16);
	must_take(16 * CHUNK, 1, 2 * CHUNK, 1, 15 * CHUNK, CHUNK); /* `below` cuts the run */
	must_take(15 * CHUNK, 7, SIZE_MAX, 1, 5, 10); /* min leaves out the 6 */
	must_take(SIZE_MAX, 6, 16, 1, 17 * CHUNK - 48, 16);
	must_take(15 * CHUNK, 6, 64, 1, CHUNK - 3, 6);
	must_take(15 * CHUNK, 1, 64, 1, 0, 0);
	finish();
}

Test(pagealloc, take_dirty_aligned, .timeout = 10)
{
	start(4 * CHUNK, 4 * CHUNK);
	must_alloc(4 * CHUNK, 1, 4 * CHUNK);
	pagealloc_free(&pa, 3, 18); /* 8…15 of [3, 21) at 8 */
	pagealloc_free(&pa, 25, 6); /* nothing at 8 */
	pagealloc_free(&pa, 2 * CHUNK - 9, 9 + 17); /* 2C-8 … 2C+15 */
	must_take(SIZE_MAX, 1, 16, 8, 2 * CHUNK, 16);
	must_take(SIZE_MAX, 1, 20, 8, 2 * CHUNK - 8, 8);
	must_take(SIZE_MAX, 9, 16, 8, 0, 0);
	must_take(SIZE_MAX, 1, 16, 8, 8, 8);
	must_take(SIZE_MAX, 1, 16, 8, 0, 0);
	finish();
}

/* Clean pages end a dirty run, and the run that reaches page 0 ends there. */
Test(pagealloc, take_dirty_between_clean, .timeout = 10)
{
	start(2 * CHUNK, 2 * CHUNK);
	must_alloc(60, 1, 60);
	pagealloc_free(&pa, 0, 20);
	pagealloc_put_clean(&pa, 20, 10);
	pagealloc_free(&pa, 30, 30); /* 60 and above: clean, never used */
	must_take(SIZE_MAX, 31, 64, 1, 0, 0);
	must_take(SIZE_MAX, 1, 64, 1, 30, 30);
	must_take(SIZE_MAX, 20, 64, 1, 0, 20);
	cr_expect_eq(pa.nfree, pa.nclean);
	finish();
}

Test(pagealloc, largest_reservation, .timeout = 60)
{
	size_t npages = (size_t)1 << 27;
	cr_assert_eq(pagealloc_init(&pa, npages, npages), 0);
	pagealloc_add(&pa, 0, npages);
	cr_expect_eq(must_alloc(npages, 1, npages), 0);
	pagealloc_free(&pa, 12345, npages - 12345);
	must_fail(npages - 12344, 1);
	cr_expect_eq(must_alloc(npages - 12345, 1, 0), 12345);
	pagealloc_verify(&pa);
	pagealloc_free(&pa, npages - 1, 1);
	cr_expect_eq(must_alloc(1, 1, 0), npages - 1);
	finish();
}

#if MGC_ASSERT
Test(pagealloc, double_free_dies, .timeout = 10, .signal = SIGABRT)
{
	start(CHUNK, CHUNK);
	must_alloc(10, 1, 10);
	pagealloc_free(&pa, 5, 5);
	pagealloc_free(&pa, 2, 4);
}

Test(pagealloc, free_of_absent_dies, .timeout = 10, .signal = SIGABRT)
{
	start(2 * CHUNK, CHUNK);
	pagealloc_free(&pa, CHUNK, 1);
}
#endif

/* The verifier sees each of the invariants break. */
#define BREAKS(name, ...) \
	Test(pagealloc, verify_sees_##name, .timeout = 10, .signal = SIGABRT) \
	{ \
		start(20 * CHUNK, 20 * CHUNK); \
		must_alloc(100, 1, 100); \
		pagealloc_free(&pa, 10, 5); \
		pagealloc_verify(&pa); \
		__VA_ARGS__; \
		pagealloc_verify(&pa); \
	}
BREAKS(free_below_first, pa.first = 11)
BREAKS(dirty_above_dirty_end, pa.dirty_end = 14)
BREAKS(clean_not_free, pa.chunks[0].clean[0] |= 1)
BREAKS(leaf, pa.summary[pa.nlevels - 1][0].max--)
BREAKS(leaf_in_the_middle, pa.summary[pa.nlevels - 1][12].start--)
BREAKS(block, pa.summary[0][1].end--)
BREAKS(free_count, pa.nfree++)
BREAKS(clean_count, pa.nclean--)
BREAKS(bit, pa.chunks[19].free[0] &= ~(uint64_t)8)
