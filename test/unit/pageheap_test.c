/* pageheap_test.c - spans of pages: alignment, zeroing, limits, scavenging, reclaim, refusals, threads. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/bits.h"
#include "heap/pageheap.h"
#include "lib/os_fake.h"
#include "lib/probe.h"
#include "os/os.h"

#define CHUNK MGC_CHUNK_PAGES

static struct pageheap ph;

static void start(size_t nbytes)
{
	cr_assert_eq(pageheap_init(&ph, nbytes), 0);
}

static void finish(void)
{
	pageheap_verify(&ph);
	pageheap_destroy(&ph);
}

/* take - a span, published as one large object, or NULL. */
static struct span *take(size_t npages, size_t align)
{
	struct span *s = pageheap_alloc(&ph, npages, align);
	if (s == NULL)
		return NULL;
	cr_assert(s->npages == npages && s->state == SPAN_IN_USE);
	cr_assert_eq(s->base % (align << MGC_PAGE_SHIFT), 0, "%zu", align);
	span_init(s, 3, 0, 2);
	span_take_run(&ph.space, s, 0, 1, false);
	span_publish(&ph.space, s);
	return s;
}

static struct pageheap_stats stats(void)
{
	struct pageheap_stats out;
	pageheap_read_stats(&ph, &out);
	return out;
}

static void fill(struct span *s)
{
	memset((void *)s->base, 0xb7, span_nbytes(s));
}

static bool all_zero(const struct span *s)
{
	return probe_all_zero(s->base, s->base + span_nbytes(s));
}

Test(pageheap, needzero_tells, .timeout = 10)
{
	start(0);
	struct span *a = take(5, 1);
	cr_assert(!a->needzero && all_zero(a));
	fill(a);
	uintptr_t base = a->base;
	pageheap_free(&ph, a);
	cr_expect_null(space_span(&ph.space, base));
	cr_expect(!space_is_allocated(&ph.space, base), "whoever comes next starts from zero bits");
	struct span *b = take(6, 1); /* five used ones and a fresh one */
	cr_expect(b->base == base && b->needzero);
	pageheap_free(&ph, b);
	pageheap_scavenge(&ph, SIZE_MAX, 1);
	b = take(6, 1);
	cr_expect(b->base == base && !b->needzero && all_zero(b));
	pageheap_free(&ph, b);
	finish();
}

Test(pageheap, address_to_span, .timeout = 10)
{
	start(0);
	struct span *s[6];
	for (size_t i = 0; i < 6; i++)
		s[i] = take(1 + 3 * i, 1);
	for (size_t i = 0; i < 6; i++)
		for (size_t off = 0; off < span_nbytes(s[i]); off += 1000)
			cr_assert_eq(space_span(&ph.space, s[i]->base + off), s[i]);
	pageheap_verify(&ph);
	for (size_t i = 0; i < 6; i++)
		pageheap_free(&ph, s[i]);
	cr_expect_eq(stats().used_nbytes, 0);
	finish();
}

Test(pageheap, aligned, .timeout = 30)
{
	start(0);
	take(1, 1);
	for (size_t align = 1; align <= MGC_ARENA_SIZE >> MGC_PAGE_SHIFT; align *= 2) {
		cr_assert_not_null(take(3, align), "%zu pages", align);
		cr_assert_not_null(take(CHUNK + 1, align), "%zu pages", align);
	}
	finish();
}

/* The first growth loses a page: whatever comes first fits all the same. */
Test(pageheap, first_growth, .timeout = 20)
{
	const size_t npages[] = { CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK };
	for (size_t i = 0; i < sizeof npages / sizeof npages[0]; i++) {
		for (size_t align = 1; align <= 2 * CHUNK; align *= 4) {
			start(8 * MGC_ARENA_SIZE);
			cr_assert_not_null(take(npages[i], align), "%zu at %zu", npages[i], align);
			size_t enough = npages[i] + align + (align > CHUNK ? align : 0);
			cr_expect_lt(ph.space.grown, enough + CHUNK, "%zu at %zu", npages[i], align);
			finish();
		}
	}
}

/* The range is aligned to an arena: what must be aligned more is refused. */
Test(pageheap, aligned_above_an_arena, .timeout = 30)
{
	start(0);
	for (size_t align = MGC_ARENA_SIZE >> MGC_PAGE_SHIFT << 1; align != 0; align *= 2)
		cr_assert_null(take(2, align));
	finish();
}

Test(pageheap, exhaustion, .timeout = 30)
{
	start(3 * MGC_ARENA_SIZE);
	size_t npages = ph.space.npages - 1; /* page 0 is hidden */
	cr_expect_null(take(npages + 1, 1));
	cr_expect_null(take(SIZE_MAX, 1));
	struct span *all = take(npages, 1);
	cr_assert_not_null(all);
	cr_expect_null(take(1, 1));
	pageheap_free(&ph, all);
	size_t n = 0;
	static struct span *s[8192];
	while (n < 8192 && (s[n] = take(7, 1)) != NULL)
		n++;
	cr_expect_eq(n, npages / 7 < 8192 ? npages / 7 : 8192);
	while (n-- > 0)
		pageheap_free(&ph, s[n]);
	cr_expect_not_null(take(npages, 1), "free pages are one run again");
	finish();
}

Test(pageheap, limit, .timeout = 30)
{
	start(0);
	ph.limit_nbytes = 101 * MGC_PAGE_SIZE;
	take(1, 1);
	struct span *a = take(60, 1);
	cr_assert_not_null(a);
	cr_expect_null(take(41, 1));
	struct span *b = take(40, 1);
	cr_expect_not_null(b);
	cr_expect_null(take(1, 1));
	fill(a);
	pageheap_free(&ph, a);
	struct pageheap_stats st = stats();
	cr_expect(st.used_nbytes == 41 * MGC_PAGE_SIZE && st.dirty_nbytes == 60 * MGC_PAGE_SIZE);
	cr_assert_not_null(take(60, 64), "not in the hole, which must go to make room");
	st = stats();
	cr_expect_leq(st.used_nbytes + st.dirty_nbytes, ph.limit_nbytes, "H3");
	cr_expect_eq(st.scavenged_nbytes, 60 * MGC_PAGE_SIZE);
	ph.limit_nbytes = SIZE_MAX;
	cr_expect_not_null(take(1000, 1));
	finish();
}

static void nothing(void *arg)
{
	(void)arg;
}

/* What was touched ahead of a large heap goes back whole, unless a span has come to stand there; what is
 * touched once is not touched again. */
Test(pageheap, touched_ahead_and_dropped, .timeout = 60)
{
	start(0);
	ph.touch = nothing;
	size_t least = MGC_HOSTILE ? 0 : (size_t)8 << 20; /* there it grows by less than is touched at once */
	struct span *s = take((size_t)160 << (20 - MGC_PAGE_SHIFT), 1);
	uintptr_t lo = s->base + span_nbytes(s), hi = lo + ((size_t)16 << 20);
	size_t before = probe_resident(lo, hi);
	pageheap_touch_ahead(&ph);
	size_t touched = probe_resident(lo, hi), scavenged = stats().scavenged_nbytes;
	cr_assert_geq(touched, before + least / os_page_size());
	size_t given = pageheap_drop_ahead(&ph);
	cr_expect_geq(given, least);
	cr_expect_eq(stats().scavenged_nbytes, scavenged + given);
	size_t left = probe_resident(lo, hi);
	cr_expect_leq(left, touched - given / os_page_size());
	pageheap_touch_ahead(&ph);
	cr_expect_eq(probe_resident(lo, hi), left);

	struct span *next = take((size_t)20 << (20 - MGC_PAGE_SHIFT), 1);
	cr_assert(!next->needzero);
	fill(next);
	cr_expect_eq(pageheap_drop_ahead(&ph), 0);
	cr_expect_eq(*(unsigned char *)(next->base + span_nbytes(next) - 1), 0xb7);
	pageheap_free(&ph, next);
	pageheap_free(&ph, s);
	finish();
}

/* A run that does not begin and end with huge pages gives back those that are whole. */
Test(pageheap, scavenges_whole_huge_pages, .timeout = 10)
{
	size_t huge = os_huge_page_size() >> MGC_PAGE_SHIFT, first, nclean, used;
	if (huge == 0 || huge > 512) /* larger ones, of 32 MiB and more, are none for us */
		return;
	cr_assert_eq(pageheap_init_spanless(&ph, 0), 0);
	cr_assert(pageheap_take(&ph, 3 * huge, 1, false, &first, &nclean));
	cr_expect_neq(first % huge, 0);
	pageheap_give(&ph, first, 3 * huge, 3 * huge, &used);
	cr_expect_eq(pageheap_scavenge(&ph, SIZE_MAX, huge), 2 * huge << MGC_PAGE_SHIFT);
	cr_expect_eq(pageheap_scavenge(&ph, SIZE_MAX, 1), huge << MGC_PAGE_SHIFT);
	pageheap_destroy(&ph);
}

Test(pageheap, scavenges_from_the_top, .timeout = 10)
{
	start(0);
	struct span *s[20];
	for (size_t i = 0; i < 20; i++) {
		s[i] = take(4, 1);
		fill(s[i]);
	}
	uintptr_t lo = s[0]->base, hi = lo + 80 * MGC_PAGE_SIZE;
	for (size_t i = 0; i < 20; i += 2)
		pageheap_free(&ph, s[i]);
	cr_expect_eq(stats().dirty_nbytes, 40 * MGC_PAGE_SIZE);
	cr_expect_eq(pageheap_scavenge(&ph, SIZE_MAX, 5), 0, "no run is that long");
	size_t before = probe_resident(lo, hi);
	cr_expect_eq(pageheap_scavenge(&ph, 10 * MGC_PAGE_SIZE, 1), 12 * MGC_PAGE_SIZE);
	cr_expect_eq(probe_resident(lo, hi), before - 24);
	cr_expect(probe_resident(s[18]->base, s[19]->base) == 0);
	cr_expect(probe_resident(s[0]->base, s[1]->base) == 8);
	cr_expect_eq(pageheap_scavenge(&ph, SIZE_MAX, 1), 28 * MGC_PAGE_SIZE);
	cr_expect_eq(pageheap_scavenge(&ph, SIZE_MAX, 1), 0);
	struct pageheap_stats st = stats();
	cr_expect(st.dirty_nbytes == 0 && st.scavenged_nbytes == 40 * MGC_PAGE_SIZE);
	for (size_t i = 1; i < 20; i += 2)
		cr_expect_eq(*(uint8_t *)s[i]->base, 0xb7, "used pages are left alone");
	finish();
}

Test(pageheap, refused_discard_keeps_pages, .timeout = 10)
{
	start(0);
	struct span *s = take(9, 1);
	fill(s);
	pageheap_free(&ph, s);
	os_fake_start();
	os_fake_fail("discard", 1, OS_FAKE_FOREVER, EAGAIN);
	cr_expect_eq(pageheap_scavenge(&ph, SIZE_MAX, 1), 0);
	os_fake_stop();
	cr_expect_eq(stats().dirty_nbytes, 9 * MGC_PAGE_SIZE);
	s = take(9, 1);
	cr_expect(s->needzero);
	finish();
}

static struct {
	struct span *kept;
	unsigned calls;
	size_t asked, spans;
} sweeper;

static size_t reclaim(void *arg, size_t npages, size_t nspans)
{
	cr_assert_eq(arg, &sweeper);
	cr_assert(!lock_is_held(&ph.lock));
	sweeper.calls++;
	sweeper.asked = npages;
	sweeper.spans = nspans;
	if (sweeper.kept == NULL)
		return 0;
	size_t n = sweeper.kept->npages;
	pageheap_free(&ph, sweeper.kept);
	sweeper.kept = NULL;
	return n;
}

Test(pageheap, reclaims_before_it_grows, .timeout = 10)
{
	start(0);
	take(CHUNK - 51, 1); /* and page 0 is hidden */
	sweeper.kept = take(50, 1);
	uintptr_t base = sweeper.kept->base;
	ph.reclaim = reclaim;
	ph.reclaim_arg = &sweeper;
	struct span *s = take(45, 1);
	cr_expect(s->base == base && sweeper.calls == 1 && sweeper.asked == 45);
	cr_expect_eq(ph.space.grown, CHUNK);
	s = take(45, 1); /* nothing to reclaim: it grows */
	cr_expect(s != NULL && sweeper.calls == 3 && sweeper.spans == SIZE_MAX);
	cr_expect_eq(ph.space.grown, 2 * CHUNK);
	take(1, 1);
	cr_expect(sweeper.calls == 4 && sweeper.spans < 100, "not for all while there are pages");
	finish();
}

Test(pageheap, reclaims_before_it_touches, .timeout = 10)
{
	start(0);
	sweeper.kept = take(2, 1);
	uintptr_t base = sweeper.kept->base;
	ph.reclaim = reclaim;
	ph.reclaim_arg = &sweeper;
	sweeper.calls = 0;
	struct span *s = take(2, 1);
	cr_expect(s->base == base && s->needzero, "fresh memory was taken");
	cr_expect(sweeper.calls == 1 && sweeper.asked == 2 && sweeper.spans < 100, "for few spans");
	s = take(2, 1);
	cr_expect(s->base != base && !s->needzero && sweeper.calls == 2);
	pageheap_free(&ph, s);
	take(1, 1);
	cr_expect_eq(sweeper.calls, 2, "nobody is asked while there is resident memory");
	finish();
}

static size_t each_count;
static uintptr_t each_last;

static void count_span(void *arg, struct span *s)
{
	cr_assert(arg == &each_count && s->base > each_last && s->state == SPAN_IN_USE);
	each_last = s->base;
	each_count++;
}

Test(pageheap, each_in_address_order, .timeout = 10)
{
	start(0);
	struct span *s[40];
	for (size_t i = 0; i < 40; i++)
		s[i] = take(1 + i * 5 % 23, 1);
	for (size_t i = 0; i < 40; i += 3)
		pageheap_free(&ph, s[i]);
	pageheap_each(&ph, count_span, &each_count);
	cr_expect_eq(each_count, 26);
	finish();
}

/* Whichever memory call is refused: NULL, nothing lost, and the next try works. */
Test(pageheap, growth_refused, .timeout = 30)
{
	for (uint64_t n = 1; n <= 12; n++) {
		start(8 * MGC_ARENA_SIZE);
		os_fake_start();
		os_fake_fail(NULL, n, 1, ENOMEM);
		struct span *s = take(CHUNK + 7, 1);
		cr_expect(s != NULL || os_fake_refused(NULL) == 1);
		os_fake_stop();
		pageheap_verify(&ph);
		cr_expect_not_null(take(CHUNK + 7, 1), "after refusal %lu", (unsigned long)n);
		finish();
	}
}

Test(pageheap, init_refused, .timeout = 30)
{
	size_t before = probe_mapped_bytes();
	for (uint64_t n = 1; n <= 12; n++) {
		os_fake_start();
		os_fake_fail(NULL, n, OS_FAKE_FOREVER, ENOMEM);
		int err = pageheap_init(&ph, 0);
		cr_expect(err == ENOMEM || os_fake_refused(NULL) == 0);
		os_fake_stop();
		if (err == 0)
			pageheap_destroy(&ph);
		cr_expect_leq(probe_mapped_bytes(), before + ((size_t)1 << 20), "call %lu",
			      (unsigned long)n);
	}
}

#define CORRUPT(name, ...) \
	Test(pageheap, verify_sees_##name, .timeout = 10, .signal = SIGABRT) \
	{ \
		start(0); \
		struct span *s = take(5, 1); \
		take(2, 1); \
		pageheap_verify(&ph); \
		__VA_ARGS__; \
		pageheap_verify(&ph); \
	}
CORRUPT(state, s->state = SPAN_FREE)
CORRUPT(base, s->base += MGC_PAGE_SIZE)
CORRUPT(count, s->npages = 5, ph.used_pages--)

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

#define NTHREADS 4
#define NKEPT 64

static bool stop_scavenging;

static void *scavenge_on(void *arg)
{
	while (!load_acquire(&stop_scavenging))
		pageheap_scavenge(&ph, 64 * MGC_PAGE_SIZE, 1);
	return arg;
}

/* stamp, stamped - the first word of each page says whose it is. */
static void stamp(struct span *s, uint64_t who)
{
	for (size_t i = 0; i < s->npages; i++)
		*(uint64_t *)(s->base + i * MGC_PAGE_SIZE) = who + i;
}

static bool stamped(struct span *s, uint64_t who)
{
	for (size_t i = 0; i < s->npages; i++)
		if (*(uint64_t *)(s->base + i * MGC_PAGE_SIZE) != who + i)
			return false;
	return true;
}

static void *churn(void *arg)
{
	uint64_t seed = (uintptr_t)arg * 99991, who[NKEPT];
	struct span *kept[NKEPT] = { NULL };
	for (unsigned i = 0; i < 30000; i++) {
		seed = bits_mix(seed + i);
		unsigned k = (unsigned)(seed % NKEPT);
		if (kept[k] != NULL) {
			if (!stamped(kept[k], who[k]))
				return "somebody wrote into a span in use";
			pageheap_free(&ph, kept[k]);
			kept[k] = NULL;
			continue;
		}
		struct span *s =
			pageheap_alloc(&ph, 1 + (seed >> 8) % ((seed >> 20) % 20 == 0 ? 200 : 6), 1);
		if (s == NULL)
			return "no memory";
		for (size_t p = 0; !s->needzero && p < s->npages; p++)
			if (*(uint64_t *)(s->base + p * MGC_PAGE_SIZE) != 0)
				return "not zero";
		span_init(s, 3, 0, 2);
		span_publish(&ph.space, s);
		stamp(s, who[k] = seed);
		kept[k] = s;
	}
	for (unsigned k = 0; k < NKEPT; k++)
		if (kept[k] != NULL)
			pageheap_free(&ph, kept[k]);
	return NULL;
}

Test(pageheap, threads_and_a_scavenger, .timeout = 60)
{
	pthread_t thread[NTHREADS], scavenger;
	start(0);
	cr_assert_eq(pthread_create(&scavenger, NULL, scavenge_on, NULL), 0);
	for (uintptr_t t = 0; t < NTHREADS; t++)
		cr_assert_eq(pthread_create(&thread[t], NULL, churn, (void *)(t + 1)), 0);
	for (unsigned t = 0; t < NTHREADS; t++) {
		void *complaint;
		pthread_join(thread[t], &complaint);
		cr_expect_null(complaint, "%s", (char *)complaint);
	}
	store_release(&stop_scavenging, true);
	pthread_join(scavenger, NULL);
	cr_expect_eq(stats().used_nbytes, 0);
	struct pageheap_stats st = stats();
	cr_expect_eq(st.dirty_nbytes + st.clean_nbytes, (ph.space.grown - ph.hidden_pages)
								<< MGC_PAGE_SHIFT);
	finish();
}
