/* secure_test.c - the secure heap from inside: random places, zeroed blocks, how long blocks wait, what is given
 * back, guards, threads that free each other's blocks, and a system that refuses the Nth call. */
#include "lib/plain.h"

#include "heap/secure.h"
#include "os/os.h"

static struct manual heap;
static struct secure secure;

static void start(void)
{
	memset(&secure, 0, sizeof secure);
	CHECK_EQ(manual_init(&heap, 0), 0);
	CHECK_EQ(secure_init(&secure, &heap), 0);
}

static struct slab *slab_at(const void *p)
{
	return slab_of(&heap.slabs, (uintptr_t)p);
}

static void *take(size_t nbytes, size_t align)
{
	unsigned char *p = secure_alloc(&secure, nbytes, align);
	CHECK(p != NULL && (uintptr_t)p % align == 0);
	CHECK_EQ(secure_check(&secure, slab_at(p), (uintptr_t)p), BLOCK_OK);
	size_t have = secure_usable(slab_at(p));
	CHECK(have >= nbytes);
	for (size_t i = 0; i < have; i++)
		CHECK(p[i] == 0);
	memset(p, 0xee, have);
	return p;
}

static void release(void *p)
{
	CHECK_EQ(secure_check(&secure, slab_at(p), (uintptr_t)p), BLOCK_OK);
	CHECK(secure_free(&secure, slab_at(p), p));
	CHECK_EQ(secure_check(&secure, slab_at(p), (uintptr_t)p), BLOCK_TWICE);
	CHECK(!secure_free(&secure, slab_at(p), p));
}

static size_t used_pages(void)
{
	struct pageheap_stats st;
	pageheap_read_stats(&heap.pageheap, &st);
	return st.used_nbytes >> MGC_PAGE_SHIFT;
}

TEST(sizes_and_alignment)
{
	static void *p[200];
	struct rng r = { test_seed() };
	start();
	for (int round = 0; round < (int)test_size(200); round++) {
		for (size_t i = 0; i < 200; i++) {
			size_t nbytes = i % 50 == 7 ? rng_below(&r, 3000000) : rng_below(&r, 40000);
			p[i] = take(nbytes, (size_t)16 << rng_below(&r, i % 20 == 3 ? 13 : 3));
		}
		for (size_t i = 0; i < 200; i++)
			release(p[i]);
	}
	pageheap_verify(&heap.pageheap);
}

TEST(what_is_no_block)
{
	start();
	char *p = take(100, 16), *big = take(100000, 16);
	for (size_t i = 1; i < 100; i++)
		CHECK_EQ(secure_check(&secure, slab_at(p), (uintptr_t)p + i), BLOCK_INSIDE);
	CHECK_EQ(secure_check(&secure, slab_at(big), (uintptr_t)big + 16), BLOCK_INSIDE);
	CHECK_EQ(secure_check(&secure, slab_at(&p), (uintptr_t)&p), BLOCK_FOREIGN);
	uintptr_t base = (uintptr_t)p & ~(SLAB_NBYTES - 1), other = base;
	other += other == (uintptr_t)p ? secure_usable(slab_at(p)) : 0;
	CHECK_EQ(secure_check(&secure, slab_at(p), other), BLOCK_TWICE); /* never given out */
}

/* Neighbours in time are none in place: of 2048 pairs about 32 would be so by chance, blocks of 1 KiB. */
TEST(places_are_random)
{
	unsigned next = 0, again = 0;
	uintptr_t last = 0, freed[256] = { 0 };
	start();
	for (unsigned i = 0; i < 2048; i++) {
		uintptr_t p = (uintptr_t)take(1024, 16);
		next += p - last == 1024;
		last = p;
	}
	CHECK(next < 200);
	for (unsigned i = 0; i < 2048; i++) {
		uintptr_t p = (uintptr_t)take(1024, 16);
		again += p == freed[i % 256];
		freed[i % 256] = p;
		release((void *)p);
	}
	CHECK(again < 50);
}

/* A block waits for about as many frees as there are places, and then comes again. */
TEST(freed_blocks_wait)
{
	enum { N = 4000 };
	static uintptr_t gone[N];
	unsigned soon = 0, later = 0;
	start();
	for (unsigned i = 0; i < N; i++) {
		uintptr_t p = (uintptr_t)take(512, 16);
		for (unsigned k = 1; k <= i; k++)
			if (gone[i - k] == p) {
				soon += k <= 2;
				later++;
				break;
			}
		gone[i] = p;
		release((void *)p);
	}
	CHECK(later > N / 2); /* memory is used again */
	CHECK(MGC_HOSTILE || soon < N / 50);
}

static void *volatile dangling;

static void write_late(void *arg)
{
	unsigned char *p = secure_alloc(&secure, 64, 16);
	secure_free(&secure, slab_at(p), p);
	dangling = p;
	((volatile unsigned char *)dangling)[(size_t)arg] = 1;
	for (int i = 0; i < 100000; i++) {
		p = secure_alloc(&secure, 64, 16);
		secure_free(&secure, slab_at(p), p);
	}
}

TEST(late_writes_are_found)
{
	start();
	for (size_t i = 0; i < 64; i += 9)
		CHECK_DIES(write_late, (void *)i, "written to after it was freed");
}

static void touch(void *at)
{
	*(volatile char *)at = 1;
}

static void check_faults(void *at)
{
	struct ending e = ending_of(touch, at);
#if defined(MGC_SANITIZE_ADDRESS) || defined(MGC_SANITIZE_THREAD) /* its handler exits */
	CHECK(strstr(e.text, "SEGV") != NULL);
#else
	CHECK(WIFSIGNALED(e.status) && WTERMSIG(e.status) == SIGSEGV);
#endif
}

TEST(guards)
{
	start();
	char *p = take(100, 16), *big = take(200000, 16);
	check_faults((char *)((uintptr_t)p & ~(SLAB_NBYTES - 1)) + SLAB_NBYTES);
	check_faults(big + secure_usable(slab_at(big)));
	release(big);
	check_faults(big);
	check_faults(big + 199999);
}

/* All goes back but what waits, and a slab for each class. */
TEST(memory_goes_back)
{
	enum { N = 20000 };
	static void *p[N];
	start();
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < N; i++)
			p[i] = take(i % 2 ? 700 : 3000, 16);
		size_t full = used_pages();
		for (size_t i = 0; i < N; i++)
			release(p[i]);
		CHECK(used_pages() < full / 3);
	}
	for (int i = 0; i < 200; i++)
		release(take(1000000, 16));
	CHECK(used_pages() < (size_t)40 * 1000000 / MGC_PAGE_SIZE);
	CHECK(secure.nguards < 2000);
	pageheap_verify(&heap.pageheap);
}

#define SLOTS 512
static void *slot[SLOTS]; /* atomic */

static void *exchange_blocks(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	for (size_t i = 0; i < test_size(60000); i++) {
		void *p = take(rng_below(&r, i % 100 == 0 ? 100000 : 600), 16);
		void *old = __atomic_exchange_n(&slot[rng_below(&r, SLOTS)], p, __ATOMIC_ACQ_REL);
		if (old != NULL)
			CHECK(secure_free(&secure, slab_at(old), old));
	}
	return NULL;
}

TEST(threads_free_each_others)
{
	pthread_t t[4];
	uint64_t seed = test_seed();
	start();
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, exchange_blocks, (void *)(uintptr_t)(seed + i));
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (size_t i = 0; i < SLOTS; i++)
		if (slot[i] != NULL)
			release(slot[i]);
	pageheap_verify(&heap.pageheap);
}

/* ── the system refuses ─────────────────────────────────────────────────────────────────── */

static int calls_left;

static int refuse_after(const char *call, size_t nbytes)
{
	(void)nbytes;
	if (strcmp(call, "release") == 0 || strncmp(call, "advise", 6) == 0)
		return 0;
	return calls_left-- > 0 ? 0 : ENOMEM;
}

static size_t live_with_refusals(void)
{
	size_t got = 0;
	void *p[64] = { NULL };
	memset(&secure, 0, sizeof secure);
	if (manual_init(&heap, (size_t)1 << 30) != 0)
		return 0;
	bool on = secure_init(&secure, &heap) == 0;
	for (unsigned i = 0; on && i < 64; i++) {
		p[i] = secure_alloc(&secure, i % 8 == 7 ? (size_t)i << 13 : (size_t)i * 100, 16);
		if (p[i] != NULL)
			memset(p[i], 1, secure_usable(slab_at(p[i])));
		got += p[i] != NULL;
	}
	for (unsigned i = 0; i < 64; i++)
		if (p[i] != NULL)
			CHECK(secure_free(&secure, slab_at(p[i]), p[i]));
	pageheap_verify(&heap.pageheap);
	if (on)
		os_release((uintptr_t)secure.bits, secure.bits_nbytes);
	manual_destroy(&heap);
	return got;
}

TEST(nth_call_fails)
{
	os_set_fault_hook(refuse_after);
	size_t got = 0;
	int n = 0;
	for (; n < 400; n++) {
		calls_left = n;
		got = live_with_refusals();
	}
	os_set_fault_hook(NULL);
	CHECK_EQ(got, 64);
}
