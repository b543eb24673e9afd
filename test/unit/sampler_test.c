/* sampler_test.c - what the profile estimates against what was allocated: by size, by place, alive and dead,
 * freed by hand, on several threads; and that it is off when it is off. */
#include "lib/afar.h"
#include "lib/plain.h"

#include "mallocgc.h"
#include "sample/sampler.h"

#define RATE ((size_t)4096)

static struct sample_stack totals(void)
{
	struct sample_stack t = { 0 };
	for (uint32_t i = 0; i < sampler.nstacks; i++) {
		t.allocated_objects += sampler.stacks[i].allocated_objects;
		t.allocated_nbytes += sampler.stacks[i].allocated_nbytes;
		t.live_objects += sampler.stacks[i].live_objects;
		t.live_nbytes += sampler.stacks[i].live_nbytes;
		t.nsamples += sampler.stacks[i].nsamples;
	}
	return t;
}

/* Samples of n bytes are about n / RATE, give or take a root: six of them are a mistake. */
static void check_near(double estimate, double truth)
{
	double variance = truth * (double)RATE, off = estimate - truth;
	if (off * off > 36 * variance)
		fprintf(stderr, "estimated %.0f of %.0f, %.1f deviations off, squared\n", estimate,
			truth, off * off / variance);
	CHECK(off * off <= 36 * variance);
}

static MGC_NOINLINE MGC_ALIGNED(128) void *alloc_here(size_t nbytes)
{
	void *volatile p = mgc_alloc(nbytes, NULL, MGC_NOSCAN);
	return p;
}

TEST(nothing_is_sampled_when_it_is_off)
{
	for (int i = 0; i < 100000; i++)
		alloc_here(100);
	CHECK(sampler.stacks == NULL && sampler.nsamples == 0);
	CHECK_EQ(mgc_set_sample_rate(RATE), 0);
	for (int i = 0; i < 100000; i++)
		alloc_here(100);
	uint64_t n = sampler.nsamples;
	CHECK(n > 1000);
	CHECK_EQ(mgc_set_sample_rate(0), RATE);
	for (int i = 0; i < 100000; i++)
		alloc_here(100);
	CHECK(sampler.nsamples <= n + 1); /* a point may have fallen already */
}

TEST(bytes_and_objects_of_each_size)
{
	static const size_t sizes[] = { 16, 64, 112, 1024, 8192, 40960, 262144 };
	mgc_set_sample_rate(RATE);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct sample_stack before = totals();
		size_t n = (size_t)(16 << 20) / sizes[i];
		for (size_t k = 0; k < n; k++)
			alloc_here(sizes[i]);
		struct sample_stack after = totals();
		check_near(after.allocated_nbytes - before.allocated_nbytes, (double)(n * sizes[i]));
		check_near((after.allocated_objects - before.allocated_objects) * (double)sizes[i],
			   (double)(n * sizes[i]));
	}
}

static MGC_NOINLINE MGC_ALIGNED(128) void *alloc_there(size_t nbytes)
{
	__asm__ volatile("nop"); /* or the compiler makes one function of the two */
	void *volatile p = mgc_alloc(nbytes, NULL, MGC_NOSCAN);
	return p;
}

static double bytes_from(void *(*fn)(size_t))
{
	double sum = 0;
	for (uint32_t i = 0; i < sampler.nstacks; i++) {
		const struct sample_stack *s = &sampler.stacks[i];
		for (uint32_t k = 0; k < s->nframes; k++)
			if (s->pc[k] - (uintptr_t)fn < 128) {
				sum += s->allocated_nbytes;
				break;
			}
	}
	return sum;
}

/* In turn, and of one class: a sampler that looked at the same place of each run would see only one. */
TEST(places_that_take_turns)
{
	size_t n = 400000;
	mgc_set_sample_rate(RATE);
	for (size_t i = 0; i < n; i++)
		(i % 4 != 0 ? alloc_here : alloc_there)(64);
	check_near(bytes_from(alloc_here), 48.0 * (double)n);
	check_near(bytes_from(alloc_there), 16.0 * (double)n);
}

TEST(what_dies_is_no_longer_live)
{
	enum { N = 100000 };
	static void *kept[N];
	CHECK_EQ(mgc_root_add(kept, sizeof kept, 0), 0);
	mgc_set_sample_rate(RATE);
	for (int i = 0; i < N; i++) {
		void *p = alloc_here(128);
		if (i % 2)
			mgc_write(&kept[i], p);
	}
	mgc_collect();
	mgc_collect();
	struct sample_stack t = totals();
	check_near(t.allocated_nbytes, 128.0 * (double)N);
	check_near(t.live_nbytes, 64.0 * (double)N);
	check_near(t.live_objects * 128, 64.0 * (double)N);
	memset(kept, 0, sizeof kept);
	mgc_collect();
	mgc_collect();
	CHECK(totals().live_nbytes < 128.0 * (double)N / 100);
	check_near(totals().allocated_nbytes, 128.0 * (double)N);
}

/* Objects that are freed by hand, their memory used again at once. */
TEST(frees_by_hand_are_seen)
{
	mgc_set_sample_rate(RATE);
	for (int i = 0; i < 200000; i++) {
		void *p = alloc_here(i % 50 == 0 ? 50000 : 128);
		mgc_free(p);
	}
	CHECK_EQ(sampler.nlive, 0);
	CHECK(totals().live_nbytes < 1 && totals().live_nbytes > -1);
	CHECK(totals().nsamples > 1000);
}

static void *allocate(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100000; i++) {
		void *p = alloc_here(96);
		if (i % 3 == 0)
			mgc_free(p);
	}
	return NULL;
}

TEST(threads_together)
{
	enum { N = 6 };
	pthread_t t[N];
	mgc_set_sample_rate(RATE);
	for (int i = 0; i < N; i++)
		CHECK_EQ(mgc_thread_create(&t[i], NULL, allocate, NULL), 0);
	for (int i = 0; i < N; i++)
		pthread_join(t[i], NULL);
	check_near(totals().allocated_nbytes, 96.0 * 100000 * (double)N);
	mgc_collect();
	mgc_collect();
	CHECK(totals().live_objects < 600000.0 / 100);
}

/* More live samples than the table has room for at first. */
TEST(the_table_grows)
{
	enum { N = 60000 };
	static void *kept[N];
	CHECK_EQ(mgc_root_add(kept, sizeof kept, 0), 0);
	mgc_set_sample_rate(64);
	for (int i = 0; i < N; i++)
		mgc_write(&kept[i], alloc_here(256));
	CHECK(sampler.nlive > 4096);
	uint32_t n = sampler.nlive;
	double live = totals().live_nbytes;
	CHECK(live > 256.0 * (double)N * 0.95 && live < 256.0 * (double)N * 1.05);
	for (int i = 0; i < N; i++)
		mgc_free(kept[i]);
	CHECK(n > 0 && sampler.nlive == 0);
}

TEST(a_stack_is_a_record_once)
{
	mgc_set_sample_rate(RATE);
	for (int i = 0; i < 100000; i++)
		alloc_here(64);
	uint32_t n = sampler.nstacks;
	for (int i = 0; i < 100000; i++)
		alloc_here(64); /* another line: another stack, or the same when the loops were merged */
	CHECK(n >= 2 && n < 8 && sampler.nstacks < 2 * n);
	for (uint32_t i = 1; i < sampler.nstacks; i++)
		CHECK(sampler.stacks[i].nframes >= 3);
}
