/* space_test.c - the heap's range and its side tables: placement, growth, refusals, a limited address
 * space. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "heap/space.h"
#include "heap/span.h"
#include "lib/os_fake.h"
#include "lib/probe.h"

static struct space sp;

static size_t must_grow(size_t nchunks)
{
	size_t first = SIZE_MAX;
	cr_assert(space_grow(&sp, nchunks, &first), "%zu chunks", nchunks);
	return first;
}

/* use_pages - memory and tables of the pages work, and were zero. */
static void use_pages(size_t first, size_t npages)
{
	uintptr_t lo = space_page_addr(&sp, first), hi = space_page_addr(&sp, first + npages);
	for (uintptr_t at = lo; at < hi; at += MGC_PAGE_SIZE) {
		uint64_t bit;
		size_t page = space_page_of(&sp, at);
		struct bitpair *low = space_bits(&sp, at, &bit);
		struct bitpair *high = space_bits(&sp, at + MGC_PAGE_SIZE - 1, &bit);
		cr_assert(*(uint64_t *)at == 0 && sp.desc[page] == 0 && sp.spans[page].base == 0);
		cr_assert(low->mark == 0 && low->alloc == 0 && high->mark == 0 && high->alloc == 0);
		cr_assert(bit == UINT64_C(1) << 63 && high == low + MGC_PAGE_SIZE / 1024 - 1);
		memset((void *)at, 0x5a, 8);
		memset((void *)(at + MGC_PAGE_SIZE - 8), 0x5a, 8);
		low->mark = high->alloc = 1;
		sp.desc[page] = 1;
		sp.spans[page].base = at;
	}
}

Test(space, range, .timeout = 10)
{
	cr_assert_eq(space_init(&sp, 0), 0);
	cr_expect_eq(sp.base % MGC_ARENA_SIZE, 0);
	cr_expect_eq(sp.nbytes % MGC_ARENA_SIZE, 0);
	cr_expect_eq(sp.npages, sp.nbytes / MGC_PAGE_SIZE);
	cr_expect(space_contains(&sp, sp.base) && space_contains(&sp, sp.base + sp.nbytes - 1));
	cr_expect(!space_contains(&sp, sp.base - 1) && !space_contains(&sp, sp.base + sp.nbytes));
	cr_expect(!space_contains(&sp, 0) && !space_contains(&sp, UINTPTR_MAX));
	cr_expect_eq(space_page_of(&sp, sp.base + 3 * MGC_PAGE_SIZE - 1), 2);
	cr_expect_eq(space_page_addr(&sp, 2), sp.base + 2 * MGC_PAGE_SIZE);
	space_destroy(&sp);
	cr_expect_eq(sp.base, 0);
}

/* Every descriptor of the range can be read, and says "in no span", before anything has grown. */
Test(space, descriptors_are_readable, .timeout = 10)
{
	cr_assert_eq(space_init(&sp, 0), 0);
	cr_expect(probe_readable((uintptr_t)&sp.desc[0]));
	for (size_t page = 0; page < sp.npages; page += sp.npages / 1000 + 1)
		cr_assert_eq(load_relaxed(&sp.desc[page]), 0);
	cr_expect_eq(load_relaxed(&sp.desc[sp.npages - 1]), 0);
	cr_expect_null(space_span(&sp, sp.base + sp.nbytes - 1));
	cr_expect_null(space_span(&sp, sp.base + sp.nbytes));
	space_destroy(&sp);
}

Test(space, grows_upwards_to_its_end, .timeout = 30)
{
	size_t arenas = 3, chunks = arenas * MGC_ARENA_SIZE / MGC_CHUNK_SIZE, page = 0;
	cr_assert_eq(space_init(&sp, arenas * MGC_ARENA_SIZE), 0);
	for (size_t n = 1; page / MGC_CHUNK_PAGES + n <= chunks; n = n % 5 + 1) {
		size_t first = must_grow(n);
		cr_assert_eq(first, page);
		use_pages(first, n * MGC_CHUNK_PAGES);
		page += n * MGC_CHUNK_PAGES;
		cr_assert_eq(sp.grown, page);
	}
	size_t left = chunks - page / MGC_CHUNK_PAGES, first = 77;
	cr_expect(!space_grow(&sp, left + 1, &first));
	cr_expect_eq(first, 77);
	if (left > 0)
		must_grow(left);
	cr_expect(!space_grow(&sp, 1, &first));
	space_destroy(&sp);
}

Test(space, gives_everything_back, .timeout = 10)
{
	size_t before = probe_mapped_bytes();
	cr_assert_eq(space_init(&sp, 4 * MGC_ARENA_SIZE), 0);
	use_pages(must_grow(2), 2 * MGC_CHUNK_PAGES);
	cr_expect_geq(probe_mapped_bytes(), before + 4 * MGC_ARENA_SIZE);
	uintptr_t base = sp.base;
	space_destroy(&sp);
	cr_expect(!probe_readable(base));
	cr_expect_lt(probe_mapped_bytes(), before + ((size_t)1 << 16));
}

Test(space, smaller_when_refused, .timeout = 10)
{
	os_fake_start();
	os_fake_fail("reserve", 1, 3, ENOMEM);
	cr_assert_eq(space_init(&sp, 64 * MGC_ARENA_SIZE), 0);
	os_fake_stop();
	cr_expect_lt(sp.nbytes, 64 * MGC_ARENA_SIZE);
	must_grow(1);
	space_destroy(&sp);
}

Test(space, init_refused_leaves_nothing, .timeout = 30)
{
	size_t before = probe_mapped_bytes();
	os_fake_start();
	os_fake_fail("reserve", 1, OS_FAKE_FOREVER, ENOMEM);
	cr_expect_eq(space_init(&sp, 0), ENOMEM);
	os_fake_start();
	os_fake_fail("reserve", 2, OS_FAKE_FOREVER, ENOMEM);
	cr_expect_eq(space_init(&sp, 0), ENOMEM);
	os_fake_start();
	os_fake_fail("reserve_readable", 1, OS_FAKE_FOREVER, ENOMEM);
	space_init(&sp, 0);
	if (sp.base != 0 && sp.desc != NULL)
		space_destroy(&sp);
	os_fake_stop();
	cr_expect_lt(probe_mapped_bytes(), before + ((size_t)1 << 20));
}

/* Whatever commit is refused, the space is as before and the next growth works. */
Test(space, growth_survives_refusal, .timeout = 30)
{
	for (uint64_t nth = 1; nth <= 5; nth++) {
		cr_assert_eq(space_init(&sp, 4 * MGC_ARENA_SIZE), 0);
		size_t first = 77;
		os_fake_start();
		os_fake_fail("commit", nth, 1, ENOMEM);
		bool grew = space_grow(&sp, 1, &first);
		cr_expect_eq(grew, os_fake_refused("commit") == 0, "commit %lu", (unsigned long)nth);
		os_fake_stop();
		if (!grew) {
			cr_expect(first == 77 && sp.grown == 0);
			cr_expect_eq(must_grow(1), 0);
		}
		use_pages(0, MGC_CHUNK_PAGES);
		space_destroy(&sp);
	}
}

static void limit_address_space(size_t nbytes)
{
	if (MGC_WITH_ASAN || PROBE_EMULATED)
		cr_skip_test(
			"a sanitizer's own mappings are most of any limit; an emulator ignores it");
	struct rlimit r = { nbytes, nbytes };
	cr_assert_eq(setrlimit(RLIMIT_AS, &r), 0);
}

/* With RLIMIT_AS the range is not reserved; chunks are mapped one by one, never over others. */
Test(space, limited_address_space, .timeout = 30)
{
	size_t before = probe_mapped_bytes();
	limit_address_space(before + ((size_t)1 << 30));
	cr_assert_eq(space_init(&sp, 0), 0);
	cr_assert(!sp.reserved, "a reservation would count against the limit");
	cr_expect_lt(probe_mapped_bytes(), before + ((size_t)1 << 28), "only tables");
	use_pages(must_grow(3), 3 * MGC_CHUNK_PAGES);
	size_t first, n = 3;
	while (space_grow(&sp, 1, &first))
		n++;
	cr_expect_gt(n * MGC_CHUNK_SIZE, (size_t)1 << 29, "%zu chunks of the limit used", n);
	cr_expect_leq(n * MGC_CHUNK_SIZE, (size_t)1 << 30);
	space_destroy(&sp);
	cr_expect_lt(probe_mapped_bytes(), before + ((size_t)1 << 20));
}

Test(space, limited_growth_survives_refusal, .timeout = 30)
{
	limit_address_space(probe_mapped_bytes() + ((size_t)1 << 30));
	cr_assert_eq(space_init(&sp, 0), 0);
	for (unsigned i = 0; i < 3; i++) { /* a table's, then the chunk's */
		size_t before = sp.grown, first = 77;
		os_fake_start();
		os_fake_fail("commit", 1, 1, ENOMEM);
		cr_expect(!space_grow(&sp, 1, &first));
		os_fake_stop();
		cr_expect_eq(must_grow(1), before, "nothing is left in the way");
	}
	space_destroy(&sp);
}

/* A reservation that the system would lock is not made. */
Test(space, locked_memory, .timeout = 30)
{
	if (MGC_WITH_ASAN || MGC_WITH_TSAN || mlockall(MCL_FUTURE) != 0)
		cr_skip_test("not allowed to lock memory, or a sanitizer's own is too much");
	cr_assert_eq(space_init(&sp, 0), 0);
	cr_assert(!sp.reserved);
	use_pages(must_grow(1), MGC_CHUNK_PAGES);
	space_destroy(&sp);
	munlockall();
}

/* Without tables there is memory all the same, and all of it goes back. */
Test(space, bare, .timeout = 30)
{
	size_t before = probe_mapped_bytes(), first;
	cr_assert_eq(space_init_bare(&sp, 4 * MGC_ARENA_SIZE), 0);
	cr_expect(sp.bare && sp.spans == NULL && sp.desc == NULL);
	cr_expect_leq(probe_mapped_bytes(), before + 5 * MGC_ARENA_SIZE);
	cr_expect_eq(sp.base % MGC_ARENA_SIZE, 0);
	for (size_t n = 4 * MGC_ARENA_SIZE / MGC_CHUNK_SIZE; n > 0; n--) {
		cr_assert(space_grow(&sp, 1, &first));
		memset((void *)space_page_addr(&sp, first), 1, MGC_CHUNK_SIZE);
	}
	cr_expect(!space_grow(&sp, 1, &first));
	cr_expect_eq(space_tables_nbytes(&sp), 0);
	space_destroy(&sp);
	cr_expect_lt(probe_mapped_bytes(), before + ((size_t)1 << 16));
}

/* The program limits its address space after the range was reserved: what is not in use goes back, and the rest goes on
 * under the limit. */
Test(space, obeys_a_later_limit, .timeout = 30)
{
	size_t before = probe_mapped_bytes(), first, n = 0;
	cr_assert_eq(space_init(&sp, 0), 0);
	cr_expect(!space_over_limit(&sp));
	use_pages(must_grow(2), 2 * MGC_CHUNK_PAGES);
	size_t room = 2 * MGC_ARENA_SIZE + MGC_ARENA_SIZE / 2;
	limit_address_space(before + room);
	cr_assert(space_over_limit(&sp));
	cr_expect(mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	space_obey(&sp);
	cr_expect(!space_over_limit(&sp));
	cr_expect_leq(probe_mapped_bytes(), before + 2 * MGC_CHUNK_SIZE + ((size_t)16 << 20),
		      "%zu MiB", (probe_mapped_bytes() - before) >> 20);
	cr_expect(sp.nbytes % MGC_ARENA_SIZE == 0 && sp.npages == sp.nbytes / MGC_PAGE_SIZE);
	for (size_t page = 0; page < sp.npages; page++)
		cr_assert_eq(load_relaxed(&sp.desc[page]), page < 2 * MGC_CHUNK_PAGES);
	cr_expect_eq(*(uint64_t *)sp.base, 0x5a5a5a5a5a5a5a5a);
	while (space_grow(&sp, 1, &first)) {
		use_pages(first, MGC_CHUNK_PAGES);
		n++;
	}
	cr_expect(n * MGC_CHUNK_SIZE > room - MGC_ARENA_SIZE / 2 && n * MGC_CHUNK_SIZE < room,
		  "%zu chunks", n);
	space_destroy(&sp);
	cr_expect_lt(probe_mapped_bytes(), before + ((size_t)1 << 16));
}

/* Without tables too, and its bounds stay as they are. Where somebody else has mapped meanwhile it goes on behind him. */
Test(space, bare_obeys_a_later_limit, .timeout = 30)
{
	size_t before = probe_mapped_bytes(), first, room = (size_t)256 << 20;
	cr_assert_eq(space_init_bare(&sp, 0), 0);
	size_t nbytes = sp.nbytes;
	*(uint64_t *)space_page_addr(&sp, must_grow(1)) = 5;
	limit_address_space(before + room);
	cr_assert(space_over_limit(&sp));
	space_obey(&sp);
	cr_expect(!space_over_limit(&sp) && !space_limit_changed(&sp));
	cr_expect(sp.nbytes == nbytes && sp.npages == nbytes >> MGC_PAGE_SHIFT);
	cr_expect_leq(probe_mapped_bytes(), before + MGC_CHUNK_SIZE + ((size_t)1 << 16));
	cr_expect_geq(space_bound(&sp) << MGC_PAGE_SHIFT, room);
	cr_expect_leq(space_bound(&sp) << MGC_PAGE_SHIFT, before + room + MGC_ARENA_SIZE);
	uintptr_t next = space_page_addr(&sp, sp.grown);
	void *theirs =
		mmap((void *)next, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	cr_assert_eq((uintptr_t)theirs, next);
	cr_expect_eq(must_grow(1), 2 * MGC_CHUNK_PAGES);
	size_t n = 2;
	for (; space_grow(&sp, 1, &first); n++)
		memset((void *)space_page_addr(&sp, first), 1, 4096);
	cr_expect(n * MGC_CHUNK_SIZE > room - room / 4 && n * MGC_CHUNK_SIZE <= room, "%zu chunks", n);
	cr_expect_eq(*(uint64_t *)sp.base, 5);
	space_destroy(&sp);
	cr_expect(probe_readable(next), "it is not ours");
}

/* The limit is below what is in use: nothing can be had, and what is there stays. */
Test(space, obeys_a_limit_below_it, .timeout = 30)
{
	size_t first;
	cr_assert_eq(space_init(&sp, 0), 0);
	use_pages(must_grow(40), 40 * MGC_CHUNK_PAGES);
	limit_address_space((size_t)16 << 20);
	space_obey(&sp);
	cr_expect_geq(sp.npages, 40 * MGC_CHUNK_PAGES);
	cr_expect(!space_grow(&sp, 1, &first));
	cr_expect_eq(*(uint64_t *)space_page_addr(&sp, 40 * MGC_CHUNK_PAGES - 1), 0x5a5a5a5a5a5a5a5a);
	space_destroy(&sp);
}

static void set_soft_limit(size_t nbytes)
{
	struct rlimit r;
	if (MGC_WITH_ASAN || PROBE_EMULATED)
		cr_skip_test("as above");
	cr_assert_eq(getrlimit(RLIMIT_AS, &r), 0);
	r.rlim_cur = nbytes == 0 ? r.rlim_max : nbytes;
	cr_assert_eq(setrlimit(RLIMIT_AS, &r), 0);
}

static void check_wide(size_t npages)
{
	cr_expect_eq(sp.npages, npages, "%zu pages, not %zu", sp.npages, npages);
	cr_expect_eq(sp.nbytes, npages * MGC_PAGE_SIZE);
	for (size_t page = sp.grown; page < sp.npages; page += 4096)
		cr_assert_eq(load_relaxed(&sp.desc[page]), 0);
	cr_assert_eq(load_relaxed(&sp.desc[sp.npages - 1]), 0);
}

/* A limit that came late, or was there at the start, is lifted: first to another one, then altogether. */
static void check_lifted(bool late)
{
	size_t before = probe_mapped_bytes();
	if (!late)
		set_soft_limit(before + 2 * MGC_ARENA_SIZE);
	cr_assert_eq(space_init(&sp, 0), 0);
	cr_assert_eq(sp.reserved, late);
	use_pages(must_grow(2), 2 * MGC_CHUNK_PAGES);
	if (late) {
		set_soft_limit(before + 2 * MGC_ARENA_SIZE);
		cr_assert(space_limit_changed(&sp) && space_over_limit(&sp));
		space_obey(&sp);
	}
	cr_expect(!space_limit_changed(&sp));
	size_t npages = sp.npages;
	set_soft_limit(before + 9 * MGC_ARENA_SIZE);
	cr_assert(space_limit_changed(&sp) && !space_over_limit(&sp));
	space_obey(&sp);
	cr_expect(!space_limit_changed(&sp));
	check_wide(npages + 7 * (MGC_ARENA_SIZE >> MGC_PAGE_SHIFT));
	size_t nchunks = npages / MGC_CHUNK_PAGES; /* as many as there was room for in all */
	use_pages(must_grow(nchunks), nchunks * MGC_CHUNK_PAGES);
	set_soft_limit(0);
	space_obey(&sp);
	check_wide(sp.most_pages);
	use_pages(must_grow(nchunks), nchunks * MGC_CHUNK_PAGES);
	cr_expect(space_contains(&sp, sp.base + (sp.most_pages << MGC_PAGE_SHIFT) - 1));
	set_soft_limit(before + 40 * MGC_ARENA_SIZE); /* less than the tables are now */
	cr_assert(space_over_limit(&sp));
	space_obey(&sp);
	cr_expect(!space_over_limit(&sp));
	cr_expect_lt(probe_mapped_bytes(), before + 20 * MGC_ARENA_SIZE);
	use_pages(must_grow(1), MGC_CHUNK_PAGES);
	space_destroy(&sp);
	cr_expect_lt(probe_mapped_bytes(), before + ((size_t)1 << 16));
}

Test(space, a_late_limit_is_lifted, .timeout = 30)
{
	check_lifted(true);
}

Test(space, an_early_limit_is_lifted, .timeout = 30)
{
	check_lifted(false);
}

/* The tables for a growth that was refused are cut, too, and are made ready once more when the range is longer again. */
Test(space, lifted_after_a_refused_growth, .timeout = 30)
{
	size_t before = probe_mapped_bytes(), nchunks = 3 * MGC_ARENA_SIZE / MGC_CHUNK_SIZE, first;
	cr_assert_eq(space_init(&sp, 0), 0);
	use_pages(must_grow(2), 2 * MGC_CHUNK_PAGES);
	os_fake_start();
	os_fake_fail("commit", 10, 1, ENOMEM); /* after three for each arena */
	cr_assert(!space_grow(&sp, nchunks, &first));
	os_fake_stop();
	set_soft_limit(before + MGC_ARENA_SIZE);
	space_obey(&sp);
	set_soft_limit(0);
	space_obey(&sp);
	check_wide(sp.most_pages);
	use_pages(must_grow(nchunks), nchunks * MGC_CHUNK_PAGES);
	space_destroy(&sp);
}

/* Somebody else is where a table would go on: the range becomes longer by less. */
Test(space, widens_up_to_others, .timeout = 30)
{
	size_t before = probe_mapped_bytes(), pages_per_arena = MGC_ARENA_SIZE >> MGC_PAGE_SHIFT;
	set_soft_limit(before + 2 * MGC_ARENA_SIZE);
	cr_assert_eq(space_init(&sp, 0), 0);
	size_t npages = sp.npages;
	char *wall = (char *)align_up((uintptr_t)&sp.desc[npages + 8 * pages_per_arena], 1 << 16);
	cr_assert_eq(mmap(wall, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
		     wall);
	*wall = 42;
	set_soft_limit(before + 40 * MGC_ARENA_SIZE);
	space_obey(&sp);
	size_t upto = ((uintptr_t)wall - (uintptr_t)sp.desc) / sizeof *sp.desc;
	cr_expect(sp.npages > npages && sp.npages <= upto, "%zu, then %zu of %zu pages", npages,
		  sp.npages, upto);
	cr_expect(!space_limit_changed(&sp), "not again for the same limit");
	cr_expect_eq(*wall, 42);
	size_t nchunks = sp.npages / MGC_CHUNK_PAGES;
	use_pages(must_grow(nchunks), nchunks * MGC_CHUNK_PAGES);
	space_destroy(&sp);
	cr_expect(probe_readable((uintptr_t)wall), "what is not ours is not unmapped");
	munmap(wall, 4096);
	cr_expect_lt(probe_mapped_bytes(), before + ((size_t)1 << 16));
}

Test(space, walks_around_others, .timeout = 30)
{
	limit_address_space(probe_mapped_bytes() + ((size_t)1 << 30));
	cr_assert_eq(space_init(&sp, 0), 0);
	cr_assert(!sp.reserved);
	cr_expect_eq(must_grow(1), 0);
	char *wall = (char *)space_page_addr(&sp, 3 * MGC_CHUNK_PAGES);
	cr_assert_eq(mmap(wall, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
		     wall);
	*wall = 42;
	size_t first = must_grow(3); /* not at 1: the wall stands in it */
	cr_expect_eq(first, 4 * MGC_CHUNK_PAGES);
	use_pages(first, 3 * MGC_CHUNK_PAGES);
	cr_expect_eq(must_grow(1), 7 * MGC_CHUNK_PAGES);
	cr_expect_eq(*wall, 42);
	space_destroy(&sp);
	cr_expect(probe_readable((uintptr_t)wall), "what is not ours is not unmapped");
	cr_expect(!probe_readable((uintptr_t)wall - MGC_CHUNK_SIZE));
	cr_expect(!probe_readable((uintptr_t)wall + MGC_CHUNK_SIZE));
}

/* From any page of a long span its first page is found, also where the distance does not fit. */
Test(space, first_page_of_long_spans, .timeout = 30)
{
	const size_t npages = 3 * (size_t)DESC_FAR + 100;
	size_t nchunks = (npages + MGC_CHUNK_PAGES) / MGC_CHUNK_PAGES + 1;
	cr_assert_eq(space_init(&sp, 2 * nchunks * MGC_CHUNK_SIZE + MGC_ARENA_SIZE), 0);
	size_t base = must_grow(nchunks) + 5;
	struct span *s = &sp.spans[base];
	s->base = space_page_addr(&sp, base);
	s->npages = (uint32_t)npages;
	span_init(s, 9, 0, 2);
	span_publish(&sp, s);
	for (size_t i = 0; i < npages; i++) {
		uint32_t desc = sp.desc[base + i];
		cr_assert_eq(desc_spanclass(desc), 9);
		cr_assert_eq(space_first_page(&sp, base + i, desc), base, "page %zu", i);
	}
	cr_expect_eq(space_span(&sp, s->base + span_nbytes(s) - 1), s);
	cr_expect_null(space_span(&sp, s->base + span_nbytes(s)));
	cr_expect_null(space_span(&sp, s->base - 1));
	span_unpublish(&sp, s);
	for (size_t i = 0; i < npages; i++)
		cr_assert_eq(sp.desc[base + i], 0);
	space_destroy(&sp);
}
