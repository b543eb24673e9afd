/* mixed_test.c (plain) - everything at once for MGC_TEST_SECONDS (3): threads that allocate, pass objects
 * to each other, collect, block, come and go, fork; signals all the time; every invariant checked in
 * each collection. Objects know what they must contain. */
#include <sys/time.h>

#include "lib/plain.h"
#include "mallocgc.h"

/* ── objects that can be checked ────────────────────────────────────────────────────────── */

struct node {
	uint64_t sum; /* over this node and all below */
	struct node *child[2];
	uint32_t nwords;
	uint32_t seed;
	uint64_t word[]; /* numbers, nwords of them; behind the pointers, never one itself */
};

/* By size, so that sizes and layouts vary. Only the two children are references. */
static const uint8_t mask[] = { 6 };
static struct mgc_type types[8] = {
	{ .name = "node", .size = 32, .ptr_bytes = 24, .ptr_mask = mask },
	{ .name = "node", .size = 40, .ptr_bytes = 24, .ptr_mask = mask },
	{ .name = "node", .size = 64, .ptr_bytes = 24, .ptr_mask = mask },
	{ .name = "node", .size = 120, .ptr_bytes = 24, .ptr_mask = mask },
	{ .name = "node", .size = 640, .ptr_bytes = 24, .ptr_mask = mask },
	{ .name = "node", .size = 3000, .ptr_bytes = 24, .ptr_mask = mask },
	{ .name = "node", .size = 20000, .ptr_bytes = 24, .ptr_mask = mask },
	{ .name = "node", .size = 100000, .ptr_bytes = 24, .ptr_mask = mask },
};

static uint64_t own_sum(const struct node *n)
{
	struct rng r = { n->seed };
	uint64_t sum = n->seed;
	for (uint32_t i = 0; i < n->nwords; i += 1 + i / 8) {
		CHECK(n->word[i] == (rng_next(&r) | 1));
		sum = sum * 31 + n->word[i];
	}
	return sum;
}

static uint64_t sum_of(const struct node *n)
{
	return n != NULL ? n->sum : 0;
}

static struct node *make_node(struct rng *r, struct node *left, struct node *right)
{
	size_t dice = rng_below(r, 100000);
	struct mgc_type *t = &types[dice < 20 ? 7 : dice < 100 ? 6 : dice < 1000 ? 5 : dice % 5];
	struct node *n = mgc_new(t);
	if (n == NULL) /* a fork's child, or a limit */
		return NULL;
	n->seed = (uint32_t)rng_next(r);
	n->nwords = (uint32_t)((t->size - sizeof *n) / 8);
	struct rng words = { n->seed };
	for (uint32_t i = 0; i < n->nwords; i += 1 + i / 8)
		n->word[i] = rng_next(&words) | 1;
	n->child[0] = left;
	n->child[1] = right;
	n->sum = own_sum(n) + 3 * sum_of(left) + 7 * sum_of(right);
	return n;
}

/* check_tree - all of a small tree, a random path of a large one. */
static void check_tree(struct rng *r, const struct node *n, unsigned depth)
{
	if (n == NULL)
		return;
	CHECK(n->sum == own_sum(n) + 3 * sum_of(n->child[0]) + 7 * sum_of(n->child[1]));
	unsigned first = (unsigned)rng_below(r, 2);
	check_tree(r, n->child[first], depth + 1);
	if (depth < 6)
		check_tree(r, n->child[!first], depth + 1);
}

static struct node *make_tree(struct rng *r, unsigned depth)
{
	if (depth == 0)
		return make_node(r, NULL, NULL);
	struct node *left = make_tree(r, depth - 1), *right = make_tree(r, depth - 1);
	return make_node(r, left, right);
}

/* ── the players ────────────────────────────────────────────────────────────────────────── */

#define TABLE 64
static struct node *table[TABLE]; /* a root; by mgc_exchange only */
static double until;
static uint32_t nforks, nthreads_born, nalarms, ncollections;

static bool go_on(void)
{
	return now_seconds() < until;
}

/* work - for a while, or until the end: on the stack, in the table, in a list that grows and goes. */
static void work(struct rng *r, unsigned rounds)
{
	struct node *mine = NULL, *list = NULL;
	for (unsigned i = 0; i < rounds && go_on(); i++) {
		struct node *fresh = make_tree(r, (unsigned)rng_below(r, 7));
		mine = rng_below(r, 20) == 0 ? NULL : make_node(r, mine, fresh);
		list = i % 100 == 99 ? NULL : make_node(r, list, NULL);
		struct node *other = mgc_exchange(&table[rng_below(r, TABLE)], fresh);
		check_tree(r, other, 0);
		check_tree(r, mine, 0);
		check_tree(r, list, 5);
		if (rng_below(r, 50) == 0)
			mgc_free(make_node(r, NULL, NULL));
		if (rng_below(r, 200) == 0)
			mine = NULL;
	}
}

static void *worker(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	while (go_on())
		work(&r, 1000);
	return NULL;
}

static void *collector(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	while (go_on()) {
		mgc_collect();
		__atomic_add_fetch(&ncollections, 1, __ATOMIC_RELAXED);
		work(&r, 3);
		if (rng_below(&r, 20) == 0)
			mgc_release();
		if (rng_below(&r, 5) == 0) {
			struct mgc_stats s = { .struct_size = sizeof s };
			mgc_read_stats(&s);
			CHECK(s.heap_now < UINT64_C(1) << 40 && s.threads > 0 && s.threads < 100);
		}
	}
	return NULL;
}

static void *blocker(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	while (go_on()) {
		struct node *keep = make_tree(&r, 3);
		mgc_blocking_enter();
		usleep((useconds_t)rng_below(&r, 300));
		mgc_blocking_leave();
		check_tree(&r, keep, 0);
	}
	return NULL;
}

static void *short_life(void *arg)
{
	struct node *given = arg;
	struct rng r = { (uintptr_t)arg >> 4 };
	__atomic_add_fetch(&nthreads_born, 1, __ATOMIC_RELAXED);
	work(&r, (unsigned)rng_below(&r, 5));
	check_tree(&r, given, 0);
	return NULL;
}

static void *breeder(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	while (go_on()) {
		pthread_t t[3];
		for (int i = 0; i < 3; i++) {
			int err = i == 0 ? pthread_create(&t[i], NULL, short_life, NULL)
					 : mgc_thread_create(&t[i], NULL, short_life, make_tree(&r, 2));
			CHECK_EQ(err, 0);
		}
		for (int i = 0; i < 3; i++)
			pthread_join(t[i], NULL);
	}
	return NULL;
}

/* forker - the child starts with whatever the other threads were doing, and must be able to go on. */
static void in_child(struct rng *r, struct node *kept)
{
	pthread_t t;
	until = now_seconds() + 60;
	check_tree(r, kept, 0);
	work(r, 10);
	mgc_collect();
	for (unsigned i = 0; i < TABLE; i++)
		check_tree(r, table[i], 0);
	CHECK_EQ(mgc_thread_create(&t, NULL, short_life, make_tree(r, 3)), 0);
	mgc_collect();
	pthread_join(t, NULL);
	check_tree(r, kept, 0);
	_exit(0);
}

static UNUSED void *forker(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	while (go_on()) {
		int status;
		struct node *kept = make_tree(&r, 4);
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			in_child(&r, kept);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		CHECK_EQ(status, 0);
		check_tree(&r, kept, 0);
		__atomic_add_fetch(&nforks, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* A handler that does what a handler may: not a call of ours. */
static void on_alarm(int sig)
{
	(void)sig;
	int saved = errno;
	__atomic_add_fetch(&nalarms, 1, __ATOMIC_RELAXED);
	errno = saved;
}

static void start_alarms(void)
{
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval every = { { 0, 700 }, { 0, 700 } };
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

static void stop_alarms(void)
{
	struct itimerval never = { { 0, 0 }, { 0, 0 } };
	setitimer(ITIMER_REAL, &never, NULL);
}

/* ── games ──────────────────────────────────────────────────────────────────────────────── */

static void play(void *(*const *players)(void *), unsigned n, double seconds)
{
	pthread_t threads[16];
	struct rng r = { test_seed() };
	CHECK_EQ(mgc_root_add(table, sizeof table, 0), 0);
	until = now_seconds() + test_seconds(seconds);
	start_alarms();
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, players[i], (void *)(uintptr_t)rng_next(&r)),
			 0);
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	stop_alarms();
	mgc_collect();
	for (unsigned i = 0; i < TABLE; i++)
		check_tree(&r, table[i], 0);
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	printf("  %llu collections, %u threads, %u forks, %u alarms\n",
	       (unsigned long long)s.cycles, nthreads_born, nforks, nalarms);
	CHECK(s.cycles > 1);
}

#define PLAY(seconds, ...) \
	do { \
		static void *(*const players[])(void *) = { __VA_ARGS__ }; \
		play(players, sizeof players / sizeof players[0], seconds); \
	} while (0)

/* The release path of everything, as fast as it goes. */
TEST(workers)
{
	PLAY(1.5, worker, worker, worker, worker, collector, blocker, breeder);
}

/* Every invariant of the heap in each collection; what dies is overwritten; many markers. */
TEST(workers_verified)
{
	setenv("MGC_DEBUG", "verify=1,clobberfree=1,workers=3,gcstress=100", 1);
	PLAY(3, worker, worker, collector, blocker, breeder);
}

/* ThreadSanitizer allows no new threads in the child; AddressSanitizer's own locks (gcc 12) may be held by
 * a thread that the child does not have, and its pthread_create then waits for ever; so it does under qemu-user. */
#if !defined(MGC_SANITIZE_THREAD) && !defined(MGC_SANITIZE_ADDRESS) && !defined(TEST_EMULATED)
TEST(forks)
{
	setenv("MGC_DEBUG", "verify=1,clobberfree=1", 1);
	PLAY(2, worker, worker, collector, breeder, forker, forker);
}
#endif

/* Threads only: what they leave behind must not grow. */
TEST(churn)
{
	PLAY(1, breeder, breeder, breeder, collector);
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	CHECK_EQ(s.threads, 1);
	CHECK(s.heap_now < 100000000);
}

/* Under a limit that is reached again and again: allocation may be refused, nothing breaks. */
static void *glutton(void *arg)
{
	struct rng r = { (uintptr_t)arg };
	struct node *list = NULL;
	unsigned nrefused = 0;
	while (go_on()) {
		struct node *n = make_node(&r, list, NULL);
		if (n == NULL) {
			CHECK_EQ(errno, ENOMEM);
			nrefused++;
			list = NULL;
			continue;
		}
		list = n;
		check_tree(&r, list, 7);
		if (rng_below(&r, 100000) == 0)
			list = NULL;
	}
	return (void *)(uintptr_t)nrefused;
}

TEST(limit)
{
	setenv("MGC_DEBUG", "verify=1", 1);
	setenv("MGC_LIMIT", "24MiB", 1);
	PLAY(1.5, glutton, glutton, glutton, breeder);
}
