/* exhaustion_test.c - memory runs out: the Nth call to the system is refused, for every N; a limit; a
 * small address space. Allocation fails with NULL and ENOMEM, nothing is corrupted, the program goes on.
 * not under: thread, address, cross: their own memory counts, and qemu has no RLIMIT_AS */
#include "lib/plain.h"

#include <malloc.h>
#include <mallocgc.h>
#include <sys/resource.h>

#include "face/runtime.h"
#include "lib/os_fake.h"
#include "os/os.h"

/* ── a small program of everything ──────────────────────────────────────────────────────── */

struct node {
	struct node *left, *right;
	uint64_t sum;
};
static const uint8_t node_mask[] = { 3 };
static struct mgc_type node_type = {
	.name = "node", .size = sizeof(struct node), .ptr_bytes = 16, .ptr_mask = node_mask
};
static struct node *root;

static struct node *grow(struct node *tree, uint64_t key)
{
	struct node *n = mgc_new(&node_type);
	if (n == NULL) {
		CHECK_EQ(errno, ENOMEM);
		return tree;
	}
	CHECK(n->left == NULL && n->right == NULL && n->sum == 0);
	n->sum = key;
	if (key % 2)
		n->left = tree;
	else
		n->right = tree;
	return n;
}

static uint64_t count(const struct node *n)
{
	uint64_t total = 0;
	for (; n != NULL; n = n->sum % 2 ? n->left : n->right)
		total++;
	return total;
}

static void on_final(void *obj, void *arg)
{
	(void)obj;
	++*(int *)arg;
}

/* As the libgc face runs: no barrier, collections beside the program by the pages that it wrote. */
static bool tracked;

static void store_root(struct node *n)
{
	if (tracked)
		*(struct node *volatile *)&root = n;
	else
		mgc_write(&root, n);
}

static bool start(void)
{
	bool first = !runtime_started();
	if (tracked)
		setenv("MGC_DEBUG", "tracked=3,workers=2", 1);
	if (mgc_thread_attach() != 0)
		return false;
	if (tracked && first)
		runtime.gc.barriered = runtime.gc.concurrent = false;
	return true;
}

/* program - returns false when any part of it was refused; whatever happens, the heap stays sound. */
static bool program(void)
{
	static int finalized;
	bool ok = true;
	if (!start() || mgc_root_add(&root, sizeof root, tracked ? MGC_ROOT_UNBARRIERED : 0) != 0)
		return false;
	uint64_t made = 0;
	for (uint64_t i = 1; i <= test_size(20000); i++) {
		struct node *next = grow(root, i);
		made += next != root;
		ok &= next != root;
		store_root(next);
	}
	for (size_t n = 1; n < 3 << 20; n = n * 3 + 1) {
		char *p = mgc_alloc(n, NULL, MGC_NOSCAN);
		ok &= p != NULL;
		if (p != NULL) {
			CHECK(p[0] == 0 && p[n - 1] == 0);
			memset(p, 0x5a, n);
		}
	}
	for (size_t i = 0; i < test_size(3000); i++) {
		void *p = mgc_alloc(64, NULL, 0);
		ok &= p != NULL && mgc_finalizer_set(p, on_final, &finalized) == 0;
	}
	mgc_collect();
	CHECK_EQ(count(root), made);
	mgc_run_finalizers();
	mgc_root_remove(&root);
	root = NULL;
	mgc_collect();
	heap_verify(&runtime.heap);
	return ok;
}

static void refuse_nth(void *arg)
{
	os_fake_start();
	os_fake_fail(NULL, (uint64_t)(uintptr_t)arg, 1, ENOMEM);
	bool ok = program();
	bool refused = os_fake_refused(NULL) != 0;
	os_fake_stop();
	CHECK(os_fake_calls("spawn") > 0 || refused);
	CHECK(!tracked || refused || os_fake_calls("written_start") > 0);
	CHECK(program()); /* with memory back, everything works */
	_exit(refused ? ok ? 3 : 2 : 0);
}

static void refuse_each(void)
{
	unsigned n = 1, failed = 0, survived = 0;
	for (;; n++) {
		struct ending e = ending_of(refuse_nth, (void *)(uintptr_t)n);
		if (WIFEXITED(e.status) && WEXITSTATUS(e.status) == 0)
			break; /* the program makes fewer calls than n */
		bool known = WIFEXITED(e.status) &&
			     (WEXITSTATUS(e.status) == 2 || WEXITSTATUS(e.status) == 3);
		if (!known)
			fprintf(stderr, "call %u refused: status %#x, %s\n", n, (unsigned)e.status,
				e.text);
		CHECK(known);
		failed += WEXITSTATUS(e.status) == 2;
		survived += WEXITSTATUS(e.status) == 3;
		CHECK(n < 2000);
	}
	printf("  %u calls; %u were noticed by the program, %u made good\n", n - 1, failed, survived);
	CHECK(n > 10 && survived > 0);
}

TEST_SECONDS(every_call_refused_once, 60)
{
	refuse_each();
}

TEST_SECONDS(every_call_refused_once_without_a_barrier, 60)
{
	tracked = true;
	refuse_each();
}

static void refuse_from(void *arg)
{
	os_fake_start();
	os_fake_fail(NULL, (uint64_t)(uintptr_t)arg, OS_FAKE_FOREVER, ENOMEM);
	program();
	os_fake_stop();
	CHECK(program());
	_exit(0);
}

static void refuse_all_behind_each(void)
{
	for (unsigned n = 1; n < 26; n++) {
		struct ending e = ending_of(refuse_from, (void *)(uintptr_t)n);
		if (e.status != 0)
			fprintf(stderr, "from call %u: status %#x, %s\n", n, (unsigned)e.status, e.text);
		CHECK_EQ(e.status, 0);
	}
}

TEST_SECONDS(all_calls_refused_from_the_nth_on, 60)
{
	refuse_all_behind_each();
}

TEST_SECONDS(all_calls_refused_from_the_nth_on_without_a_barrier, 60)
{
	tracked = true;
	refuse_all_behind_each();
}

/* ── limits ─────────────────────────────────────────────────────────────────────────────── */

static void *kept[4096];

static size_t fill(size_t nbytes)
{
	size_t n = 0;
	errno = 0;
	while (n < 4096 && (kept[n] = mgc_alloc(nbytes, NULL, MGC_NOSCAN)) != NULL) {
		memset(kept[n], 0x77, nbytes);
		n++;
	}
	return n;
}

TEST(the_memory_limit_holds_and_gives_way)
{
	mgc_root_add(kept, sizeof kept, 0);
	CHECK_EQ(mgc_set_memory_limit(64 << 20), INT64_MAX);
	for (int round = 0; round < 3; round++) {
		size_t n = fill(100000);
		CHECK_EQ(errno, ENOMEM);
		CHECK(n > 300 && n * 100000 <= 64 << 20); /* what is live has to fit */
		CHECK(os_resident() < (size_t)90 << 20);
		memset(kept, 0, sizeof kept);
		for (size_t i = 0; i < test_size(20000); i++) /* garbage never fails */
			CHECK(mgc_alloc(50000, NULL, MGC_NOSCAN) != NULL);
	}
	CHECK_EQ(mgc_set_memory_limit(INT64_MAX), 64 << 20);
	CHECK(fill(30000) == 4096);
}

TEST(small_objects_under_a_limit)
{
	mgc_root_add(&root, sizeof root, 0);
	mgc_set_memory_limit(16 << 20);
	uint64_t made = 0;
	for (uint64_t i = 1;; i++, made++) {
		struct node *next = grow(root, i);
		if (next == root)
			break;
		mgc_write(&root, next);
	}
	CHECK(made > 200000);
	CHECK_EQ(count(root), made);
	root = NULL;
	for (size_t i = 0; i < test_size(3000000); i++)
		CHECK(mgc_new(&node_type) != NULL);
}

static void in_small_address_space(void *arg)
{
	struct rlimit r = { (rlim_t)(uintptr_t)arg << 20, (rlim_t)(uintptr_t)arg << 20 };
	/* a thread that creates another one gets an arena of the C library's malloc: 64 MiB, where they happen to fit */
	mallopt(M_ARENA_MAX, 1);
	setrlimit(RLIMIT_AS, &r);
	mgc_root_add(kept, sizeof kept, 0);
	size_t n = fill(1 << 20);
	CHECK_EQ(errno, ENOMEM);
	CHECK(n >= (size_t)(uintptr_t)arg / 3);
	memset(kept, 0, sizeof kept);
	for (size_t i = 0; i < test_size(20000); i++)
		CHECK(mgc_alloc(50000, NULL, 0) != NULL);
	printf("  %zu MiB of %zu were had\n", n, (size_t)(uintptr_t)arg);
	fflush(stdout);
	_exit(0);
}

/* without_room - so many KiB are left when the library is called for the first time. */
static void without_room(void *arg)
{
	struct rlimit all, r;
	unsigned long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "r");
	CHECK(statm != NULL && fscanf(statm, "%lu", &pages) == 1);
	fclose(statm);
	getrlimit(RLIMIT_AS, &all);
	r = all;
	r.rlim_cur = pages * os_page_size() + ((rlim_t)(uintptr_t)arg << 10);
	setrlimit(RLIMIT_AS, &r);
	errno = 0;
	bool attached = mgc_thread_attach() == 0;
	CHECK(attached || errno == ENOMEM);
	if (!attached)
		CHECK(mgc_new(&node_type) == NULL && mgc_alloc(1 << 20, NULL, 0) == NULL);
	setrlimit(RLIMIT_AS, &all);
	/* a heap can be had later; one that was made now has a range that fits what there was */
	CHECK(program() || attached);
	_exit(attached ? 3 : 4);
}

TEST(no_room_for_a_heap)
{
	unsigned refused = 0;
	for (size_t kib = 0; kib <= 4096; kib += 512) {
		struct ending e = ending_of(without_room, (void *)kib);
		bool known = WIFEXITED(e.status) &&
			     (WEXITSTATUS(e.status) == 3 || WEXITSTATUS(e.status) == 4);
		if (!known)
			fprintf(stderr, "%zu KiB: status %#x, %s\n", kib, (unsigned)e.status, e.text);
		CHECK(known);
		refused += WEXITSTATUS(e.status) == 4;
	}
	CHECK(refused > 0);
}

TEST(a_limited_address_space)
{
	static const size_t mib[] = { 120, 200, 400 };
	for (int i = 0; i < 3; i++) {
		struct ending e = ending_of(in_small_address_space, (void *)mib[i]);
		if (e.status != 0)
			fprintf(stderr, "%zu MiB: status %#x, %s\n", mib[i], (unsigned)e.status, e.text);
		CHECK_EQ(e.status, 0);
	}
}

/* The limit is set by the program, when the heap is long there. */
static void limit_later(size_t mib)
{
	struct rlimit r;
	mgc_root_add(kept, sizeof kept, 0);
	mgc_root_add(&root, sizeof root, 0);
	CHECK(fill(30000) == 4096);
	memset(kept, 0, sizeof kept);
	getrlimit(RLIMIT_AS, &r);
	r.rlim_cur = (rlim_t)mib << 20;
	CHECK_EQ(setrlimit(RLIMIT_AS, &r), 0);
}

enum {
	GROWN_BYTES = 250 << 20
}; /* of fill(30000) and of what is allocated beside it, where the collecting thread is not late */

/* check_room - for others, beside a heap that has grown to GROWN_BYTES. One whose collecting thread got no processor has
 * grown further, and keeps that: it is no room that was not given back, and the limit is so much higher for the question. */
static void check_room(size_t nbytes)
{
	struct mgc_stats s = { .struct_size = sizeof s };
	struct rlimit limit, higher;
	mgc_read_stats(&s);
	size_t grown = s.heap_in_spans + s.heap_free_dirty + s.heap_free_clean;
	getrlimit(RLIMIT_AS, &limit);
	higher = limit;
	higher.rlim_cur += grown > GROWN_BYTES ? grown - GROWN_BYTES : 0;
	CHECK_EQ(setrlimit(RLIMIT_AS, &higher), 0);
	void *p = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
	CHECK(p != MAP_FAILED);
	munmap(p, nbytes);
}

TEST(a_limit_of_the_address_space_that_comes_later)
{
	mgc_root_add_globals(); /* whose list is needed in every cycle */
	limit_later(300);
	size_t n = fill(1 << 20);
	CHECK_EQ(errno, ENOMEM);
	CHECK(n > 150 && n < 300);
	for (size_t i = 0; i < n; i++)
		CHECK(((unsigned char *)kept[i])[i] == 0x77);
	memset(kept, 0, sizeof kept);
	mgc_collect();
	for (size_t i = 0; i < test_size(20000); i++)
		CHECK(mgc_alloc(50000, NULL, 0) != NULL);
}

/* The heap need not grow for it: a collection is enough, and the program has room for others again. */
TEST(the_next_collection_finds_a_later_limit)
{
	limit_later(500);
	for (size_t i = 0; i < test_size(20000); i++)
		CHECK(mgc_alloc(50000, NULL, 0) != NULL);
	check_room(40 << 20);
}

static void *nothing(void *arg)
{
	return arg;
}

/* A stack that is longer than what the C library keeps of those that ended: it must be mapped. */
TEST(the_next_thread_finds_a_later_limit)
{
	pthread_attr_t attr;
	pthread_t t;
	limit_later(500);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 20);
	CHECK_EQ(mgc_thread_create(&t, &attr, nothing, NULL), 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	pthread_attr_destroy(&attr);
}

static void set_soft_limit(size_t mib)
{
	struct rlimit r;
	getrlimit(RLIMIT_AS, &r);
	r.rlim_cur = mib == 0 ? r.rlim_max : (rlim_t)mib << 20;
	CHECK_EQ(setrlimit(RLIMIT_AS, &r), 0);
}

/* fill_under - one limit after the other, 0 for none; what one of them refuses the next gives. */
static void fill_under(const size_t *mib, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		set_soft_limit(mib[i]);
		size_t want = mib[i] == 0 ? 700 : mib[i], have = 0;
		while (have < want && (kept[have] = mgc_alloc(1 << 20, NULL, MGC_NOSCAN)) != NULL)
			memset(kept[have++], 0x77, 1 << 20);
		printf("  %zu MiB: %zu were had\n", mib[i], have);
		CHECK(mib[i] == 0 ? have == 700 : have + 150 > mib[i] && have < mib[i]);
		memset(kept, 0, sizeof kept);
		mgc_collect();
	}
}

static const size_t lifted[] = { 300, 500, 0 };

TEST(a_limit_that_is_lifted)
{
	mgc_root_add_globals();
	limit_later(400);
	fill_under(lifted, sizeof lifted / sizeof lifted[0]);
}

static void start_limited(void *arg)
{
	set_soft_limit(200);
	mgc_root_add(kept, sizeof kept, 0);
	CHECK_EQ(mgc_thread_attach(), 0);
	fill_under(lifted, sizeof lifted / sizeof lifted[0]);
	(void)arg;
	fflush(stdout);
	_exit(0);
}

TEST(a_limit_that_was_there_and_is_lifted)
{
	struct ending e = ending_of(start_limited, NULL);
	if (e.status != 0)
		fprintf(stderr, "status %#x, %s\n", (unsigned)e.status, e.text);
	CHECK_EQ(e.status, 0);
}

static void *allocate_for_long(void *arg)
{
	uint32_t *limited = arg;
	for (size_t i = 0; i < test_size(200000); i += load_acquire(limited)) { /* pairs: limited */
		void **p = mgc_alloc(200, NULL, 0);
		CHECK(p != NULL && p[0] == NULL);
	}
	return NULL;
}

TEST(threads_go_on_under_a_later_limit)
{
	static uint32_t limited;
	pthread_t t[4];
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, allocate_for_long, &limited), 0);
	limit_later(800);
	store_release(&limited, 1u); /* pairs: limited */
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(pthread_join(t[i], NULL), 0);
	check_room(40 << 20);
}

/* Nothing can be mapped, so the grey queue has what it was born with: a long list, and a tree, take no longer than with
 * all the memory there is. */
static double seconds_of_collection(bool refuse)
{
	if (refuse) {
		os_fake_start();
		os_fake_fail("alloc", 1, OS_FAKE_FOREVER, ENOMEM);
	}
	double begin = now_seconds();
	mgc_collect();
	begin = now_seconds() - begin;
	if (refuse)
		os_fake_stop();
	return begin;
}

TEST_SECONDS(marking_without_memory_is_not_slow, 60)
{
	mgc_root_add(&root, sizeof root, 0);
	struct node *list = NULL;
	for (uint64_t i = 0; i < test_size(300000); i++) {
		struct node *n = grow(list, i);
		mgc_write(&root, n);
		list = n;
	}
	double with = seconds_of_collection(false), without = seconds_of_collection(true);
	printf("  %.3f s, without memory %.3f s\n", with, without);
	CHECK(without < 10 * with + 0.5);
	CHECK_EQ(count(root), test_size(300000));
}

TEST(sizes_that_cannot_be)
{
	CHECK(mgc_alloc(SIZE_MAX, NULL, 0) == NULL && errno == ENOMEM);
	CHECK(mgc_alloc((size_t)1 << 47, NULL, 0) == NULL && errno == ENOMEM);
	CHECK(mgc_new_array(&node_type, SIZE_MAX / 8) == NULL && errno == EOVERFLOW);
	CHECK(mgc_alloc(16, NULL, MGC_NOZERO) == NULL && errno == EINVAL);
	CHECK(mgc_new(&node_type) != NULL);
}
