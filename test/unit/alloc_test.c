/* alloc_test.c (plain) - gc/alloc.h through the native API: alignment, zeroing after reuse, tiny objects,
 * large ones, flags and limits of arguments, explicit free, and what the statistics say of it. */
#include "lib/afar.h"

#include "base/config.h"
#include "face/runtime.h"

/* ── alignment and size ─────────────────────────────────────────────────────────────────── */

static size_t promised_alignment(size_t nbytes)
{
	size_t a = 1;
	if (nbytes >= 32)
		return 16;
	if (nbytes >= 8)
		return 8;
	while (2 * a <= nbytes) /* "its size's power of two" */
		a *= 2;
	return nbytes % a == 0 ? a : nbytes & -nbytes;
}

static void check_object(const void *p, size_t nbytes)
{
	size_t usable = mgc_size(p);
	CHECK(p != NULL);
	CHECK((uintptr_t)p % promised_alignment(nbytes) == 0);
	CHECK(usable >= nbytes);
	CHECK(mgc_is_heap(p) && mgc_is_heap((const char *)p + nbytes - 1));
	if (nbytes < MGC_MAX_TINY)
		return; /* may share its block */
	CHECK(mgc_base(p) == p && mgc_base((const char *)p + nbytes - 1) == p);
	size_t end = nbytes > MGC_MAX_SMALL ? (usable + MGC_PAGE_SIZE - 1) & ~(MGC_PAGE_SIZE - 1)
					    : usable;
	CHECK(mgc_base((const char *)p + end) != p);
	CHECK(usable <= nbytes + nbytes / 7 + 16 || nbytes > MGC_MAX_SMALL);
}

TEST(every_small_size)
{
	for (size_t nbytes = 1; nbytes <= 3000; nbytes++) {
		check_object(mgc_alloc(nbytes, NULL, 0), nbytes);
		check_object(mgc_alloc(nbytes, NULL, MGC_NOSCAN), nbytes);
	}
	for (size_t nbytes = 3001; nbytes <= MGC_MAX_SMALL + 3000; nbytes += 61)
		check_object(mgc_alloc(nbytes, NULL, nbytes % 2 ? MGC_NOSCAN : 0), nbytes);
	for (size_t nbytes = MGC_MAX_SMALL - 5; nbytes <= MGC_MAX_SMALL + 5; nbytes++)
		check_object(mgc_alloc(nbytes, NULL, 0), nbytes);
}

TEST(types_of_every_size)
{
	static struct mgc_type types[700];
	for (size_t i = 0; i < 700; i++) {
		types[i] = (struct mgc_type){ .size = i + 1 };
		check_object(mgc_new(&types[i]), i + 1);
		check_object(mgc_new_array(&types[i], 3), 3 * (i + 1));
	}
}

TEST(large_sizes)
{
	for (size_t nbytes = 40000; nbytes < ((size_t)64 << 20); nbytes += nbytes / 3 + 1)
		for (size_t more = 0; more < 3; more++)
			check_object(mgc_alloc(nbytes + more, NULL, MGC_NOSCAN), nbytes + more);
	for (size_t npages = 5; npages < 40; npages += 7)
		for (long more = -9; more <= 9; more += 3) {
			size_t nbytes = npages * MGC_PAGE_SIZE + (size_t)more;
			check_object(mgc_alloc(nbytes, NULL, 0), nbytes);
		}
}

/* What is just behind an object of pages of its own is not it. */
TEST(mgc_size_of_large_objects)
{
	char *p = mgc_alloc(100001, NULL, 0);
	CHECK_EQ(mgc_size(p), 100001);
	CHECK_EQ(mgc_size(p + 50000), 100001);
}

TEST(not_in_the_heap)
{
	int local;
	void *p = malloc(100);
	CHECK(!mgc_is_heap(NULL) && !mgc_is_heap(&local) && !mgc_is_heap(p) && !mgc_is_heap((void *)-1));
	CHECK(mgc_base((void *)-1) == NULL && mgc_size(&local) == 0);
	mgc_free(NULL);
	free(p);
}

/* ── zeroing ────────────────────────────────────────────────────────────────────────────── */

static bool all_zero(const unsigned char *p, size_t n)
{
	while (n > 0 && *p == 0)
		p++, n--;
	return n == 0;
}

static const size_t some_sizes[] = { 1,     2,     3,     7,      8,      15,     16,
				     17,    24,    25,    32,     48,     63,     64,
				     100,   127,   128,   129,    200,    256,    400,
				     512,   600,   1000,  1024,   1500,   2048,   3000,
				     4096,  5000,  8192,  9000,   16384,  20000,  32768,
				     32769, 40000, 65536, 100000, 300000, 1048576 };
#define NSIZES (sizeof some_sizes / sizeof some_sizes[0])

/* Fills the memory with dirt, drops it by hand or lets it be found dead, and looks at what comes next. */
static void *dirty(void *arg)
{
	struct rng *r = arg;
	void *kept[64] = { NULL };
	for (unsigned i = 0; i < 3000; i++) {
		size_t nbytes = some_sizes[rng_below(r, NSIZES)];
		unsigned flags = rng_below(r, 3) == 0 ? MGC_NOSCAN : 0;
		if (nbytes > 10000 && rng_below(r, 8) != 0)
			continue;
		unsigned char *p = mgc_alloc(nbytes, NULL, flags);
		CHECK(p != NULL);
		CHECK(all_zero(p, nbytes < MGC_MAX_TINY ? nbytes : mgc_size(p)));
		memset(p, 0xee, nbytes);
		size_t at = rng_below(r, 64);
		if (rng_below(r, 3) == 0)
			mgc_free(kept[at]);
		kept[at] = p;
	}
	for (int i = 0; i < 64; i++)
		CHECK(kept[i] == NULL || *(unsigned char *)kept[i] == 0xee);
	return NULL;
}

TEST(memory_is_zero_after_reuse)
{
	struct rng r = { test_seed() };
	for (int round = 0; round < 8; round++) {
		on_thread(dirty, &r);
		if (round % 2 == 0)
			collect_afar();
		if (round == 5)
			mgc_release();
	}
}

/* Slots freed by hand in a span that the cache holds, at its front and behind the cursor. */
TEST(free_into_the_current_span)
{
	enum { N = 200 };
	static unsigned char *p[N];
	CHECK_EQ(mgc_root_add(p, sizeof p, 0), 0);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < N; i++) {
			if (p[i] != NULL)
				continue;
			p[i] = mgc_alloc(40, NULL, 0);
			CHECK(all_zero(p[i], 40));
			memset(p[i], 1 + i % 200, 40);
		}
		for (int i = 0; i < N; i++)
			for (int b = 0; b < 40; b++)
				CHECK_EQ(p[i][b], 1 + i % 200);
		for (int i = round % 7; i < N; i += 1 + round % 5) {
			mgc_free(p[i]);
			p[i] = NULL;
		}
		if (round % 10 == 9)
			collect_afar();
	}
}

TEST(nozero)
{
	unsigned char *p = mgc_alloc(100, NULL, MGC_NOSCAN | MGC_NOZERO);
	CHECK(p != NULL && mgc_size(p) >= 100);
	memset(p, 1, 100);
	p = mgc_alloc(200000, NULL, MGC_NOSCAN | MGC_NOZERO | MGC_UNCOLLECTABLE);
	CHECK(p != NULL);
	collect_afar();
	CHECK(mgc_base(p + 7) == p);
	mgc_free(p);
}

/* ── tiny objects ───────────────────────────────────────────────────────────────────────── */

TEST(tiny_objects_are_packed)
{
	struct rng r = { test_seed() };
	enum { N = 3000 };
	static unsigned char *p[N];
	static size_t size[N];
	size_t total = 0, used;
	CHECK_EQ(mgc_root_add(p, sizeof p, MGC_ROOT_AMBIGUOUS), 0);
	struct mgc_stats before = { .struct_size = sizeof before }, after = before;
	collect_afar();
	mgc_read_stats(&before);
	for (size_t i = 0; i < N; i++) {
		size[i] = 1 + rng_below(&r, 15);
		total += size[i];
		p[i] = mgc_alloc(size[i], NULL, MGC_NOSCAN);
		CHECK((uintptr_t)p[i] % (size[i] % 8 == 0   ? 8
					 : size[i] % 4 == 0 ? 4
					 : size[i] % 2 == 0 ? 2
							    : 1) ==
		      0);
		CHECK(all_zero(p[i], size[i]));
		memset(p[i], 1 + (int)i % 255, size[i]);
		if (i % 500 == 499)
			collect_afar(); /* the block in hand is kept, others by their pieces */
	}
	for (size_t i = 0; i < N; i++)
		for (size_t b = 0; b < size[i]; b++)
			CHECK_EQ(p[i][b], 1 + (int)i % 255);
	collect_afar();
	mgc_read_stats(&after);
	used = after.heap_live > before.heap_live ? after.heap_live - before.heap_live : 0;
	printf("  %zu bytes in %zu\n", total, used);
	CHECK(used < total * 2 + 20000);
	mgc_free(p[5]); /* does nothing: others share the block */
	CHECK(mgc_is_heap(p[5]) && *p[5] == 6);
}

/* ── arguments ──────────────────────────────────────────────────────────────────────────── */

static void check_refused(const void *p, int err)
{
	CHECK(p == NULL);
	CHECK_EQ(errno, err);
	errno = 0;
}

TEST(refused)
{
	static struct mgc_type t = { .size = 48, .ptr_bytes = 48 };
	errno = 0;
	check_refused(mgc_new_array(&t, SIZE_MAX), EOVERFLOW);
	check_refused(mgc_new_array(&t, SIZE_MAX / 48 + 1), EOVERFLOW);
	check_refused(mgc_new_array(&t, SIZE_MAX / 48 - 1), EOVERFLOW);
	check_refused(mgc_new_array(&t, PTRDIFF_MAX / 48 - 1), ENOMEM);
	check_refused(mgc_alloc(SIZE_MAX, NULL, 0), ENOMEM);
	check_refused(mgc_alloc(PTRDIFF_MAX, NULL, 0), ENOMEM);
	check_refused(mgc_alloc((size_t)1 << 45, NULL, MGC_NOSCAN), ENOMEM);
	check_refused(mgc_alloc(16, NULL, MGC_NOZERO), EINVAL);
	check_refused(mgc_alloc(16, &t, MGC_NOZERO), EINVAL);
	check_refused(mgc_alloc(16, NULL, 1u << 31), EINVAL);
	CHECK(mgc_new(&t) != NULL && errno == 0);
}

TEST(empty)
{
	static struct mgc_type t = { .size = 48, .ptr_bytes = 48 };
	CHECK(mgc_new_array(&t, 0) != NULL);
	CHECK(mgc_alloc(0, NULL, 0) != NULL);
	CHECK(mgc_alloc(0, NULL, MGC_NOSCAN) != NULL);
	CHECK(mgc_alloc(0, &t, MGC_ARRAY) != NULL);
	CHECK(mgc_alloc(0, NULL, MGC_UNCOLLECTABLE) != NULL);
}

/* An object of more than 512 MiB: an address far inside finds its beginning over many pages. */
TEST(far_inside)
{
	size_t nbytes = (size_t)1300 << 20;
	char *p = mgc_alloc(nbytes, NULL, MGC_NOSCAN | MGC_NOZERO); /* nothing of it is touched */
	if (p == NULL)
		SKIP("no address space for it");
	for (size_t at = 0; at < nbytes; at += ((size_t)37 << 20) + 11)
		CHECK(mgc_base(p + at) == p);
	CHECK(mgc_base(p + nbytes - 1) == p && mgc_size(p) == nbytes);
	static void *inside;
	uintptr_t hidden = hide(p);
	inside = p + nbytes - 5;
	p = NULL;
	CHECK_EQ(mgc_root_add(&inside, sizeof inside, 0), 0);
	collect_afar();
	CHECK(is_alive(hidden));
	inside = NULL;
	collect_afar();
	mgc_free(mgc_alloc(nbytes, NULL, MGC_NOSCAN | MGC_NOZERO));
}

/* ── statistics ─────────────────────────────────────────────────────────────────────────── */

static void *keep_thousand(void *arg)
{
	void **slots = arg;
	for (int i = 0; i < 1000; i++)
		slots[i] = mgc_alloc(96, NULL, 0);
	mgc_free(mgc_alloc(96, NULL, 0));
	mgc_free(mgc_alloc(200000, NULL, 0));
	return NULL;
}

static struct mgc_stats stats(void)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	return s;
}

TEST(stats_add_up)
{
	static void *slots[1000];
	mgc_set_percent(-1);
	CHECK_EQ(mgc_root_add(slots, sizeof slots, 0), 0);
	collect_afar();
	struct mgc_stats a = stats();
	on_thread(keep_thousand, slots);
	struct mgc_stats b = stats();
	collect_afar();
	struct mgc_stats c = stats();
	CHECK(b.cycles >= a.cycles && c.cycles > b.cycles && c.forced_cycles >= 2);
	CHECK(b.total_freed - a.total_freed >= 96 + 200000 &&
	      b.total_freed - a.total_freed < 96 + 220000);
	CHECK(b.total_allocated - a.total_allocated >= 96 * 1001 + 200000);
	CHECK(b.heap_now - a.heap_now >= 96000 && b.heap_now - a.heap_now < 120000);
	CHECK(c.heap_live - a.heap_live == 96000 && c.objects_marked - a.objects_marked == 1000);
	CHECK(c.heap_now >= c.heap_live && c.heap_in_spans >= c.heap_live);
	CHECK(c.threads == 1 && c.pause_max_ns >= c.pause_last_ns);
	CHECK(c.pause_total_ns >= c.pause_max_ns && c.gc_cpu_ns > 0);
	mgc_release();
	struct mgc_stats d = stats();
	CHECK(d.scavenged >= c.scavenged && d.heap_free_dirty <= c.heap_free_dirty);
	struct mgc_stats part = { .struct_size = 2 * sizeof(size_t), .forced_cycles = 77 };
	mgc_read_stats(&part);
	CHECK(part.cycles == d.cycles && part.forced_cycles == 77);
}

/* What is handed out and given back by threads that come and go does not drift. */
static void *come_and_go(void *arg)
{
	for (int i = 0; i < 300; i++)
		mgc_free(mgc_alloc(16 + (size_t)i % 500, NULL, 0));
	return arg;
}

TEST(heap_now_does_not_drift)
{
	mgc_set_percent(-1);
	collect_afar();
	struct mgc_stats a = stats();
	for (int i = 0; i < 200; i++)
		on_thread(come_and_go, NULL);
	struct mgc_stats b = stats();
	CHECK(b.heap_now < a.heap_now + 300000);
	CHECK(b.total_allocated - a.total_allocated >= b.total_freed - a.total_freed);
	collect_afar();
	CHECK(stats().heap_now < a.heap_now + 100000);
}

TEST(settings)
{
	int percent = mgc_set_percent(50);
	CHECK_EQ(percent, 100);
	CHECK_EQ(mgc_set_percent(-7), 50);
	CHECK_EQ(mgc_set_percent(100), -1);
	CHECK(mgc_set_memory_limit(-1) == INT64_MAX);
	CHECK(mgc_set_memory_limit(INT64_C(1) << 30) == INT64_MAX);
	CHECK(mgc_set_memory_limit(-1) == INT64_C(1) << 30);
	CHECK(mgc_set_memory_limit(INT64_MAX) == INT64_C(1) << 30);
	CHECK(strcmp(mgc_version(), MGC_VERSION_STRING) == 0);
}

/* With collections off nothing is collected; on again, the garbage goes. */
static void *allocate_100_mb(void *arg)
{
	for (int i = 0; i < 100000; i++)
		CHECK(mgc_alloc(1000, NULL, 0) != NULL);
	return arg;
}

TEST(percent)
{
	mgc_set_percent(-1);
	on_thread(allocate_100_mb, NULL);
	struct mgc_stats a = stats();
#if !MGC_HOSTILE
	CHECK(a.cycles == 0 && a.heap_now > 100000000);
#endif
	mgc_set_percent(100);
	on_thread(allocate_100_mb, NULL);
	struct mgc_stats b = stats();
	CHECK(b.cycles > a.cycles + 2 && b.heap_now < 20000000);
}
