/* entry_test.c (plain) - every entry point of the native API in a loop on some threads, while another
 * collects all the time: a thread that is stopped inside one must hold nothing that anybody needs.
 * A mistake here is a deadlock, so the time limit is the check. */
#include <limits.h>

#include "lib/plain.h"
#include "mallocgc.h"

#define SECONDS 0.4

static double until;
static uint32_t stop;

static bool go_on(void)
{
	return now_seconds() < until && __atomic_load_n(&stop, __ATOMIC_RELAXED) == 0;
}

static void *collect_all_the_time(void *arg)
{
	uint64_t n = 0;
	(void)arg;
	do { /* once, however late it starts */
		mgc_collect();
		n++;
	} while (go_on());
	return (void *)(uintptr_t)n;
}

/* Allocates what takes pages, so that it needs the page heap and its locks. */
static void *allocate_large(void *arg)
{
	(void)arg;
	while (go_on()) {
		char *p = mgc_alloc(100000, NULL, MGC_NOSCAN);
		CHECK(p != NULL && p[0] == 0 && p[99999] == 0);
		p[0] = p[99999] = 1;
	}
	return NULL;
}

/* against_collections - two threads of `fn`, one that allocates, and one that collects. */
static void against_collections(void *(*fn)(void *))
{
	pthread_t threads[4];
	void *result;
	until = now_seconds() + test_seconds(SECONDS);
	void *(*const all[])(void *) = { fn, fn, allocate_large, collect_all_the_time };
	for (uintptr_t i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, all[i], (void *)i), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], &result);
	CHECK((uintptr_t)result > 0);
}

static void *read_stats(void *arg)
{
	(void)arg;
	while (go_on()) {
		struct mgc_stats s = { .struct_size = sizeof s };
		mgc_read_stats(&s);
		CHECK(s.heap_now < UINT64_C(1) << 40);
	}
	return NULL;
}

TEST(stats)
{
	against_collections(read_stats);
}

static void *add_roots(void *arg)
{
	void *ranges[8][2];
	while (go_on()) {
		for (int i = 0; i < 8; i++) {
			ranges[i][0] = mgc_alloc(32, NULL, 0);
			ranges[i][1] = NULL;
			CHECK_EQ(mgc_root_add(ranges[i], sizeof ranges[i], 0), 0);
		}
		for (int i = 0; i < 8; i++)
			CHECK_EQ(mgc_root_remove(ranges[i]), 0);
	}
	return arg;
}

TEST(roots)
{
	against_collections(add_roots);
}

static void *add_stacks(void *arg)
{
	size_t nbytes = 65536;
	char *memory = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	while (go_on()) {
		struct mgc_stack *s = mgc_stack_register(memory, memory + nbytes);
		CHECK(s != NULL);
		mgc_stack_unregister(s);
	}
	return arg;
}

TEST(stacks)
{
	against_collections(add_stacks);
}

static uint32_t nfinalized;

static void count_finalized(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	__atomic_add_fetch(&nfinalized, 1, __ATOMIC_RELAXED);
}

static void *finalize(void *arg)
{
	while (go_on()) {
		for (int i = 0; i < 20; i++)
			CHECK_EQ(mgc_finalizer_set(mgc_alloc(32, NULL, 0), count_finalized, NULL), 0);
		if (arg != NULL)
			mgc_run_finalizers();
	}
	return NULL;
}

TEST(finalizers_by_the_program)
{
	mgc_run_finalizers();
	against_collections(finalize);
}

/* On the library's own thread, and the finalizers themselves allocate until collections are due. */
static void allocate_in_finalizer(void *obj, void *arg)
{
	(void)arg;
	for (int i = 0; i < 200; i++)
		CHECK(mgc_alloc(3000, NULL, 0) != NULL);
	count_finalized(obj, arg);
}

static void *finalize_by_thread(void *arg)
{
	while (go_on()) {
		for (int i = 0; i < 20; i++)
			CHECK_EQ(mgc_finalizer_set(mgc_alloc(32, NULL, 0), allocate_in_finalizer, NULL),
				 0);
		usleep(100);
	}
	return arg;
}

TEST(finalizers_on_their_own_thread)
{
	against_collections(finalize_by_thread);
	for (int i = 0; i < 1000 && __atomic_load_n(&nfinalized, __ATOMIC_RELAXED) == 0; i++)
		usleep(10000); /* its thread had no processor */
	CHECK(__atomic_load_n(&nfinalized, __ATOMIC_RELAXED) > 0);
}

static void *set_links(void *arg)
{
	void **links = mgc_alloc(64 * sizeof *links, NULL, MGC_NOSCAN);
	while (go_on()) {
		for (int i = 0; i < 64; i++) {
			void *p = mgc_alloc(48, NULL, 0);
			links[i] = p;
			CHECK_EQ(mgc_link_set(&links[i], p), 0);
			mgc_keep_alive(p); /* the link itself does not */
		}
		for (int i = 0; i < 64; i++)
			mgc_link_clear(&links[i]);
	}
	return arg;
}

TEST(links)
{
	against_collections(set_links);
}

/* Types that nobody has seen before: their layouts and span classes are made on the way. */
static void *use_new_types(void *arg)
{
	static uint32_t nth;
	while (go_on()) {
		uint64_t n = __atomic_add_fetch(&nth, 1, __ATOMIC_RELAXED);
		static uint8_t masks[4096][3];
		static struct mgc_type types[4096];
		if (n >= 4096) {
			usleep(100);
			continue;
		}
		for (unsigned bit = 0; bit < 12; bit++)
			masks[n][bit / 8] |= (uint8_t)((n >> bit & 1) << (bit % 8));
		masks[n][1] |= 0x80;
		types[n] = (struct mgc_type){
			.name = "n", .size = 128 + n % 40 * 8, .ptr_bytes = 128, .ptr_mask = masks[n]
		};
		CHECK(mgc_new(&types[n]) != NULL);
		CHECK(mgc_new_array(&types[n], 3) != NULL);
		CHECK(mgc_alloc(512, &types[n], MGC_UNCOLLECTABLE) != NULL || errno == ENOMEM);
	}
	return arg;
}

TEST(new_types)
{
	against_collections(use_new_types);
}

static void *release(void *arg)
{
	while (go_on())
		mgc_release();
	return arg;
}

TEST(release)
{
	against_collections(release);
}

static void *set_controls(void *arg)
{
	while (go_on()) {
		mgc_set_percent(50);
		mgc_set_percent(200);
		mgc_set_memory_limit(INT64_C(1) << 33);
		mgc_set_memory_limit(INT64_MAX);
	}
	return arg;
}

TEST(controls)
{
	against_collections(set_controls);
}

static void *block(void *arg)
{
	while (go_on()) {
		void *keep = mgc_alloc(64, NULL, 0);
		mgc_blocking_enter();
		usleep(50);
		mgc_blocking_leave();
		mgc_safepoint();
		mgc_keep_alive(keep);
	}
	return arg;
}

TEST(blocking)
{
	against_collections(block);
}

static void *nothing(void *arg)
{
	CHECK(mgc_alloc(100, NULL, 0) != NULL);
	return arg;
}

static void *create_threads(void *arg)
{
	while (go_on()) {
		pthread_t t;
		if ((uintptr_t)arg == 0)
			CHECK_EQ(mgc_thread_create(&t, NULL, nothing, mgc_alloc(16, NULL, 0)), 0);
		else
			CHECK_EQ(pthread_create(&t, NULL, nothing, NULL), 0);
		pthread_join(t, NULL);
	}
	return NULL;
}

TEST(threads)
{
	against_collections(create_threads);
}

static void *attach_and_detach(void *arg)
{
	while (go_on()) {
		CHECK_EQ(mgc_thread_attach(), 0);
		mgc_thread_detach();
	}
	return arg;
}

TEST(attach_and_detach)
{
	against_collections(attach_and_detach);
}

/* Explicit frees of objects of all sizes, while spans are being swept. */
static void *free_objects(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	void *keep[64] = { NULL };
	while (go_on()) {
		size_t i = rng_below(&r, 64);
		mgc_free(keep[i]);
		keep[i] = mgc_alloc(rng_below(&r, 2) ? 16 + rng_below(&r, 2000) : 40000, NULL, 0);
	}
	return NULL;
}

TEST(frees)
{
	against_collections(free_objects);
}

static void *move_pointers(void *arg)
{
	void *slots[16] = { NULL };
	CHECK_EQ(mgc_root_add_owned(&slots[0], sizeof slots, (void **)(void *)&(void *){ slots + 16 }),
		 0);
	CHECK_EQ(mgc_root_remove(&slots[0]), 0);
	while (go_on()) {
		void *p = mgc_alloc(128, NULL, 0);
		mgc_write(&slots[3], p);
		mgc_write_range(&slots[0], &slots[3], 1);
		mgc_move(&slots[1], &slots[0], 8 * sizeof slots[0]);
		CHECK(slots[1] == p);
		CHECK_EQ(mgc_cas(&slots[1], p, NULL), 1);
		CHECK_EQ(mgc_cas(&slots[1], p, NULL), 0);
		CHECK(mgc_exchange(&slots[1], p) == NULL);
		mgc_clear(slots, sizeof slots);
		CHECK(slots[1] == NULL && mgc_base(p) == p && mgc_size((char *)p + 5) == 128);
	}
	return arg;
}

TEST(stores)
{
	against_collections(move_pointers);
}

/* A thread that blocks every signal, as programs with a thread of their own for signals have: it is
 * stopped when it allocates. */
static void *allocate_without_signals(void *arg)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	while (go_on()) {
		CHECK(mgc_alloc(200, NULL, 0) != NULL);
		if ((uintptr_t)arg == 1)
			mgc_collect();
	}
	mgc_thread_detach();
	return NULL;
}

TEST(threads_without_signals)
{
	against_collections(allocate_without_signals);
}
