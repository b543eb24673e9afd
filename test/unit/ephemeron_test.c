/* ephemeron_test.c (plain) - gc/ephemeron.h, gc/weakmap.h: pairs live as long as their keys, in whatever order
 * they hang on each other, in time linear in their number; weak maps against plain arrays. */
#include "lib/afar.h"

#include "face/runtime.h"

#define N 64
static void *root[N];
static struct mgc_weakmap *map;
static struct mgc_ephemeron *pair;
static uintptr_t key[N], value[N]; /* hidden */

static void *start(void *arg)
{
	CHECK_EQ(mgc_root_add(root, sizeof root, 0), 0);
	CHECK_EQ(mgc_root_add(&map, sizeof map, 0), 0);
	CHECK_EQ(mgc_root_add(&pair, sizeof pair, 0), 0);
	mgc_set_percent(-1);
	mgc_run_finalizers();
	struct mgc_weakmap *fresh = mgc_weakmap_new();
	CHECK(fresh != NULL);
	mgc_write(&map, fresh);
	return arg;
}

static void put_root(unsigned i, void *p)
{
	mgc_write(&root[i], p);
}

static void *drop(void *arg)
{
	put_root((unsigned)(uintptr_t)arg, NULL);
	return NULL;
}

static void drop_root(unsigned i)
{
	on_thread(drop, (void *)(uintptr_t)i);
}

/* ── one pair ───────────────────────────────────────────────────────────────────────────── */

static void *make_pair(void *arg)
{
	void **k = mgc_alloc(32, NULL, 0), **v = mgc_alloc(32, NULL, 0);
	mgc_write(v, k); /* the value leads back to its key */
	struct mgc_ephemeron *e = mgc_ephemeron_new(k, v);
	CHECK(e != NULL && mgc_ephemeron_key(e) == k && mgc_ephemeron_value(e) == v);
	CHECK(mgc_ephemeron_new(NULL, v) == NULL && errno == EINVAL);
	mgc_write(&pair, e);
	put_root(0, k);
	key[0] = hide(k);
	value[0] = hide(v);
	return arg;
}

static void *read_pair(void *arg)
{
	(void)arg;
	CHECK((mgc_ephemeron_key(pair) == NULL) == (mgc_ephemeron_value(pair) == NULL));
	return (void *)hide(mgc_ephemeron_value(pair));
}

static void *replace_value(void *arg)
{
	void *v = mgc_alloc(48, NULL, 0);
	mgc_ephemeron_set(pair, v);
	value[1] = hide(v);
	return arg;
}

static void *drop_pair(void *arg)
{
	mgc_write(&pair, NULL);
	return arg;
}

TEST(value_lives_with_its_key)
{
	on_thread(start, NULL);
	on_thread(make_pair, NULL);
	collect_afar();
	CHECK((uintptr_t)on_thread(read_pair, NULL) == value[0]);
	on_thread(replace_value, NULL);
	collect_afar();
	CHECK(!is_alive(value[0]) && is_alive(value[1]));
	drop_root(0);
	collect_afar();
	CHECK(!is_alive(key[0]) && !is_alive(value[1]));
	CHECK((uintptr_t)on_thread(read_pair, NULL) == hide(NULL));
	on_thread(replace_value, NULL); /* too late: it keeps nothing */
	collect_afar();
	CHECK((uintptr_t)on_thread(read_pair, NULL) == hide(NULL));
	CHECK(!is_alive(value[1]));
}

TEST(value_and_key_in_a_circle)
{
	on_thread(start, NULL);
	on_thread(make_pair, NULL);
	drop_root(0);
	collect_afar();
	CHECK(!is_alive(key[0]) && !is_alive(value[0]));
}

TEST(value_dies_with_the_pair)
{
	on_thread(start, NULL);
	on_thread(make_pair, NULL);
	on_thread(drop_pair, NULL);
	collect_afar();
	CHECK(is_alive(key[0]) && !is_alive(value[0]));
}

static bool found_value;

static void look_for_value(void *obj, void *arg)
{
	(void)arg;
	found_value = mgc_ephemeron_key(pair) == obj && mgc_base(mgc_ephemeron_value(pair)) != NULL &&
		      *(void **)mgc_ephemeron_value(pair) == obj;
}

static void *finalize_key(void *arg)
{
	CHECK_EQ(mgc_finalizer_set(root[0], look_for_value, NULL), 0);
	return arg;
}

static void *run_them(void *arg)
{
	(void)arg;
	return (void *)mgc_run_finalizers();
}

/* A key that its finalizer brings back has its value still; it goes with the key. */
TEST(finalizer_of_the_key)
{
	on_thread(start, NULL);
	on_thread(make_pair, NULL);
	on_thread(finalize_key, NULL);
	drop_root(0);
	collect_afar();
	CHECK_EQ((size_t)on_thread(run_them, NULL), 1);
	CHECK(found_value);
	CHECK(is_alive(value[0]));
	collect_afar();
	CHECK(!is_alive(key[0]) && !is_alive(value[0]));
}

/* ── chains ─────────────────────────────────────────────────────────────────────────────── */

/* Pairs in an array: the key of each is the value of the one behind it, and the last one's is held. So a
 * pass over them in their order finds one at a time. */
static size_t chain_n;

static void *make_chain(void *arg)
{
	void **pairs = mgc_alloc(chain_n * sizeof *pairs, NULL, 0);
	put_root(0, pairs);
	void *k = mgc_alloc(16, NULL, MGC_NOSCAN);
	put_root(1, k);
	for (size_t i = chain_n; i-- > 0;) {
		size_t *v = mgc_alloc(16, NULL, MGC_NOSCAN);
		*v = i;
		mgc_write(&pairs[i], mgc_ephemeron_new(k, v));
		k = v;
	}
	return arg;
}

static void *check_chain(void *arg)
{
	void **pairs = root[0], *k = root[1];
	for (size_t i = chain_n; i-- > 0;) {
		size_t *v = mgc_ephemeron_value(pairs[i]);
		if (arg == NULL) {
			CHECK(v == NULL);
			continue;
		}
		CHECK(v != NULL && mgc_base(v) == v && *v == i && mgc_ephemeron_key(pairs[i]) == k);
		k = v;
	}
	return NULL;
}

static double cpu_seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double run_chain(size_t n, uint64_t *nlooked)
{
	/* in a small heap what is found is marked at once, and the order is not the worst */
	CHECK(mgc_alloc((size_t)40 << 20, NULL, MGC_NOSCAN) != NULL);
	chain_n = n;
	on_thread(make_chain, NULL);
	collect_afar(); /* the stack has much of it still */
	*nlooked = runtime.gc.ephemerons.nlooked;
	double begin = cpu_seconds();
	collect_afar();
	double took = cpu_seconds() - begin;
	*nlooked = runtime.gc.ephemerons.nlooked - *nlooked;
	on_thread(check_chain, (void *)1);
	drop_root(1);
	collect_afar();
	on_thread(check_chain, NULL);
	return took;
}

TEST(long_chain_in_the_worst_order)
{
	on_thread(start, NULL);
	for (size_t n = 25000; n <= test_size(100000); n *= 2) {
		uint64_t nlooked;
		double took = run_chain(n, &nlooked);
		printf("  %zu pairs: %.0f ns of processor time and %.2f looks for each\n", n,
		       took * 1e9 / (double)n, (double)nlooked / (double)n);
		CHECK(nlooked <= 4 * n);
	}
}

/* The same without memory for a table by key, and without memory for notes: slow, and right. */
TEST(chain_without_memory)
{
	uint64_t nlooked;
	on_thread(start, NULL);
	runtime.gc.ephemerons.rounds_only = true;
	run_chain(300, &nlooked);
	CHECK(nlooked > 300 * 100);
	runtime.gc.ephemerons.rounds_only = false;
	grey_pool_destroy(&runtime.gc.pool);
	runtime.gc.pool.max_slabs = 0;
	run_chain(300, &nlooked);
}

/* Maps that hang on values of others: only what becomes marked late says which notes there are. */
static void *make_maps(void *arg)
{
	void *k = mgc_alloc(32, NULL, 0);
	struct mgc_weakmap *at = map;
	put_root(0, k);
	for (size_t i = 0; i < chain_n; i++) {
		struct mgc_weakmap *next = mgc_weakmap_new();
		for (int other = 0; other < 3; other++) /* dead ones beside it */
			CHECK_EQ(mgc_weakmap_set(at, mgc_alloc(16, NULL, 0), next), 0);
		CHECK_EQ(mgc_weakmap_set(at, k, next), 0);
		at = next;
	}
	return arg;
}

static void *count_maps(void *arg)
{
	struct mgc_weakmap *at = map;
	size_t n = 0;
	(void)arg;
	while ((at = mgc_weakmap_get(at, root[0])) != NULL)
		n++;
	return (void *)n;
}

TEST(maps_behind_maps)
{
	on_thread(start, NULL);
	chain_n = test_size(3000);
	on_thread(make_maps, NULL);
	collect_afar();
	uint64_t before = runtime.gc.ephemerons.nlooked;
	collect_afar();
	CHECK_EQ((size_t)on_thread(count_maps, NULL), chain_n);
	CHECK(runtime.gc.ephemerons.nlooked - before <= 8 * chain_n);
	CHECK(mgc_weakmap_count(map) == 1);
}

/* ── a map against an array ─────────────────────────────────────────────────────────────── */

#define NKEYS 3000

/* The keys that live are in an object; model[i] is what the map should say of them. */
static uintptr_t model[NKEYS];

static void *make_keys(void *arg)
{
	void **keys = mgc_alloc(NKEYS * sizeof *keys, NULL, 0);
	put_root(0, keys);
	for (size_t i = 0; i < NKEYS; i++)
		mgc_write(&keys[i], mgc_alloc(16 + i % 40, NULL, 0));
	return arg;
}

/* A value knows its key's number and its own. */
struct content {
	uintptr_t number, serial;
};

static void check_map(void **keys)
{
	size_t n = 0;
	for (size_t i = 0; i < NKEYS; i++) {
		const struct content *c = mgc_weakmap_get(map, keys[i]);
		CHECK((c != NULL) == (model[i] != 0));
		if (c != NULL)
			CHECK(mgc_base(c) == c && c->number == i && c->serial == model[i]);
		n += c != NULL;
	}
	CHECK(mgc_weakmap_count(map) == n || keys == NULL);
}

static void *use_map(void *arg)
{
	struct rng r = { test_seed() };
	void **keys = root[0];
	for (uintptr_t op = 1; op <= 40000; op++) {
		size_t i = rng_below(&r, NKEYS), dice = rng_below(&r, 100);
		if (dice < 60) {
			struct content *c = mgc_alloc(sizeof *c, NULL, MGC_NOSCAN);
			*c = (struct content){ i, op };
			CHECK_EQ(mgc_weakmap_set(map, keys[i], c), 0);
			model[i] = op;
		} else if (dice < 85) {
			CHECK_EQ(mgc_weakmap_remove(map, keys[i]), model[i] != 0);
			model[i] = 0;
		} else if (dice < 98) { /* the key dies, and another one takes its number */
			mgc_write(&keys[i], mgc_alloc(16 + i % 40, NULL, 0));
			model[i] = 0;
		} else if (dice == 98) { /* by hand */
			void *p = keys[i];
			mgc_write(&keys[i], mgc_alloc(16 + i % 40, NULL, 0));
			mgc_free(p);
			model[i] = 0;
		}
		if (op % 2000 == 0) {
			size_t n = 0;
			for (size_t k = 0; k < NKEYS; k++)
				n += model[k] != 0;
			CHECK(mgc_weakmap_count(map) >= n);
			mgc_collect();
			mgc_collect();
			CHECK(mgc_weakmap_count(map) >= n && mgc_weakmap_count(map) < n + 64);
		}
		if (op % 5000 == 0)
			for (size_t k = 0; k < NKEYS; k++) {
				const struct content *c = mgc_weakmap_get(map, keys[k]);
				CHECK((c != NULL) == (model[k] != 0));
				CHECK(c == NULL || (c->number == k && c->serial == model[k]));
			}
	}
	return arg;
}

static void *check_map_afar(void *arg)
{
	check_map(root[0]);
	return arg;
}

static int count_pair(void *k, void *v, void *arg)
{
	const struct content *c = v;
	uint8_t *seen = arg;
	CHECK(c->serial == model[c->number] && !seen[c->number]);
	CHECK(((void **)root[0])[c->number] == k);
	seen[c->number] = 1;
	return 0;
}

static int stop_at_once(void *k, void *v, void *arg)
{
	(void)k;
	(void)v;
	(void)arg;
	return 1;
}

static int remove_pair(void *k, void *v, void *arg)
{
	(void)v;
	(void)arg;
	CHECK_EQ(mgc_weakmap_remove(map, k), 1);
	return 0;
}

static void *walk_map(void *arg)
{
	static uint8_t seen[NKEYS];
	size_t n = mgc_weakmap_count(map);
	CHECK_EQ(mgc_weakmap_each(map, count_pair, seen), n);
	CHECK_EQ(mgc_weakmap_each(map, stop_at_once, NULL), n > 0);
	CHECK_EQ(mgc_weakmap_each(map, remove_pair, NULL), n);
	CHECK_EQ(mgc_weakmap_count(map), 0);
	return arg;
}

TEST(map_and_model)
{
	on_thread(start, NULL);
	on_thread(make_keys, NULL);
	on_thread(use_map, NULL);
	collect_afar();
	on_thread(check_map_afar, NULL); /* exact: nothing is left on a stack */
	on_thread(walk_map, NULL);
}

static void *odd_keys(void *arg)
{
	static int outside;
	void *forever = mgc_alloc(32, NULL, MGC_UNCOLLECTABLE);
	char *p = mgc_alloc(32, NULL, 0);
	CHECK(mgc_weakmap_set(map, NULL, p) == -1 && errno == EINVAL);
	CHECK(mgc_weakmap_set(map, forever, p) == -1 && errno == EINVAL);
	CHECK(mgc_weakmap_get(map, NULL) == NULL && mgc_weakmap_remove(map, NULL) == 0);
	CHECK_EQ(mgc_weakmap_set(map, &outside, p), 0); /* for ever */
	CHECK_EQ(mgc_weakmap_set(map, p + 3, p + 4), 0); /* inside */
	CHECK(mgc_weakmap_get(map, p) == NULL && mgc_weakmap_get(map, p + 3) == p + 4);
	key[0] = hide(&outside);
	return arg;
}

static void *get_outside(void *arg)
{
	CHECK(mgc_weakmap_get(map, unhide(key[0])) != NULL);
	CHECK_EQ(mgc_weakmap_count(map), 2); /* the value of the first is the key of the second */
	CHECK_EQ(mgc_weakmap_remove(map, unhide(key[0])), 1);
	return arg;
}

TEST(keys_of_other_kinds)
{
	on_thread(start, NULL);
	on_thread(odd_keys, NULL);
	collect_afar();
	on_thread(get_outside, NULL);
	collect_afar();
	CHECK_EQ(mgc_weakmap_count(map), 0);
}

/* ── keys freed by hand ─────────────────────────────────────────────────────────────────── */

/* The address of a freed key is not used again while the map has it: a new object finds nothing. */
static void *free_keys(void *arg)
{
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 100; i++) {
			void *k = mgc_alloc(48, NULL, 0);
			CHECK(mgc_weakmap_get(map, k) == NULL);
			CHECK_EQ(mgc_weakmap_set(map, k, k), 0);
			mgc_free(k);
		}
		if (round % 10 == 9)
			mgc_collect();
	}
	return arg;
}

static void *free_others(void *arg)
{
	/* what is no key is freed at once */
	size_t nreused = 0;
	for (int i = 0; i < 200; i++) {
		void *p = mgc_alloc(4096, NULL, 0);
		mgc_free(p);
		nreused += !mgc_is_heap(p);
	}
	CHECK(nreused > (MGC_HOSTILE ? 20 : 190));
	return arg;
}

TEST(keys_freed_by_hand)
{
	on_thread(start, NULL);
	on_thread(free_keys, NULL);
	on_thread(free_others, NULL);
	collect_afar();
	CHECK_EQ(mgc_weakmap_count(map), 0);
	collect_afar(); /* the filter forgets them */
	on_thread(free_others, NULL);
}

/* ── fork ───────────────────────────────────────────────────────────────────────────────── */

#if !defined(MGC_SANITIZE_ADDRESS) && !defined(MGC_SANITIZE_THREAD)
static uint32_t stop_setting;

static void *keep_setting(void *arg)
{
	(void)arg;
	void *keys[16];
	for (size_t i = 0; i < 16; i++)
		keys[i] = mgc_alloc(16, NULL, 0);
	for (size_t i = 0; !__atomic_load_n(&stop_setting, __ATOMIC_ACQUIRE); i++) {
		CHECK_EQ(mgc_weakmap_set(map, keys[i % 16], keys[i % 7]), 0);
		mgc_weakmap_remove(map, keys[(i + 3) % 16]);
	}
	return NULL;
}

static void *percent_again(void *arg)
{
	mgc_set_percent(100);
	return arg;
}

static void *use_in_child(void *arg)
{
	void *k = mgc_alloc(16, NULL, 0);
	CHECK_EQ(mgc_weakmap_set(map, k, k), 0);
	CHECK(mgc_weakmap_get(map, k) == k);
	mgc_collect();
	CHECK(mgc_weakmap_get(map, k) == k);
	return arg;
}

/* Another thread was about to change the map, and is not in the child. */
TEST_SECONDS(fork_inside_a_change, 60)
{
	pthread_t t[2];
	on_thread(start, NULL);
	on_thread(percent_again, NULL); /* tables come and go */
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, keep_setting, NULL), 0);
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			on_thread(use_in_child, NULL);
			_exit(0);
		}
		int status;
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	publish(&stop_setting, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}
#endif
