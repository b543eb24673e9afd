/* weak_test.c (plain) - weak references, cleanups and handles of the native API: who is one with whom, when
 * they become null or due, with finalizers, tiny objects and mgc_free. */
#include "lib/afar.h"

#include "face/runtime.h"

/* Held by root[]; what the test itself has is hidden. */
#define N 16
static void *root[N];
static uintptr_t object[N];
static struct mgc_weak *weak[N];

static void put_root(unsigned i, void *p)
{
	mgc_write(&root[i], p);
	object[i] = hide(p);
}

static void *start(void *arg)
{
	CHECK_EQ(mgc_root_add(root, sizeof root, 0), 0);
	CHECK_EQ(mgc_root_add(weak, sizeof weak, 0), 0);
	mgc_set_percent(-1);
	mgc_run_finalizers(); /* the test says when */
	for (unsigned i = 0; i < 8; i++)
		put_root(i, mgc_alloc(64, NULL, 0));
	return arg;
}

static void *drop(void *arg)
{
	mgc_write(&root[(uintptr_t)arg], NULL);
	return NULL;
}

static void drop_root(unsigned i)
{
	on_thread(drop, (void *)(uintptr_t)i);
}

static void *run_them(void *arg)
{
	(void)arg;
	return (void *)mgc_run_finalizers();
}

static size_t run_due(void)
{
	return (size_t)on_thread(run_them, NULL);
}

static void *get(void *arg)
{
	return (void *)hide(mgc_weak_get(weak[(uintptr_t)arg]));
}

/* get_afar - hidden. */
static uintptr_t get_afar(unsigned i)
{
	return (uintptr_t)on_thread(get, (void *)(uintptr_t)i);
}

#define GONE hide(NULL)

/* ── weak references ────────────────────────────────────────────────────────────────────── */

static void *make_weaks(void *arg)
{
	char *p = root[0];
	mgc_write(&weak[0], mgc_weak_new(p));
	CHECK(weak[0] != NULL && mgc_weak_new(p) == weak[0] && mgc_weak_get(weak[0]) == p);
	mgc_write(&weak[1], mgc_weak_new(p + 13)); /* another one, to the same object */
	CHECK(weak[1] != weak[0] && mgc_weak_get(weak[1]) == p + 13);
	mgc_write(&weak[2], mgc_weak_new_long(p));
	CHECK(weak[2] != weak[0] && mgc_weak_new_long(p) == weak[2] && mgc_weak_get(weak[2]) == p);
	CHECK(mgc_weak_new(root[1]) != weak[0]);
	CHECK(mgc_weak_get(NULL) == NULL);
	CHECK(mgc_weak_new(NULL) == NULL && errno == EINVAL);
	CHECK(mgc_weak_new(&p) == NULL && errno == EINVAL);
	CHECK(mgc_size(weak[0]) == 16);
	return arg;
}

TEST(one_for_each_address)
{
	on_thread(start, NULL);
	on_thread(make_weaks, NULL);
	collect_afar();
	CHECK(get_afar(0) == object[0] && get_afar(1) == object[0] - 13 && get_afar(2) == object[0]);
	drop_root(0);
	collect_afar();
	for (unsigned i = 0; i < 3; i++)
		CHECK(get_afar(i) == GONE);
	CHECK(!is_alive(object[0]));
	CHECK_EQ(runtime.gc.specials.weaks.n, 0);
	CHECK(is_alive(hide(weak[0]))); /* the reference itself is an object, and is held */
}

static void *drop_weak(void *arg)
{
	mgc_write(&weak[(uintptr_t)arg], NULL);
	return NULL;
}

/* Nobody has the reference any more: its record goes, and the object stays. */
TEST(reference_dies_first)
{
	on_thread(start, NULL);
	on_thread(make_weaks, NULL);
	uintptr_t ref = hide(weak[0]);
	collect_afar();
	CHECK_EQ(runtime.gc.specials.weaks.n, 3); /* that to root[1] is gone already */
	on_thread(drop_weak, (void *)0);
	on_thread(drop_weak, (void *)1);
	collect_afar();
	CHECK_EQ(runtime.gc.specials.weaks.n, 1);
	CHECK(!is_alive(ref) && is_alive(object[0]));
	on_thread(make_weaks, NULL); /* again */
	CHECK(get_afar(0) == object[0]);
}

static void *free_object(void *arg)
{
	void *p = root[(uintptr_t)arg];
	mgc_write(&root[(uintptr_t)arg], NULL);
	mgc_free(p);
	for (unsigned i = 0; i < 3; i++)
		CHECK(mgc_weak_get(weak[i]) == NULL);
	return NULL;
}

TEST(freed_by_hand)
{
	on_thread(start, NULL);
	on_thread(make_weaks, NULL);
	on_thread(free_object, (void *)0);
	CHECK(!is_alive(object[0]));
	CHECK_EQ(runtime.gc.specials.weaks.n, 1); /* that to root[1] */
}

static void *revived;

static void revive(void *obj, void *arg)
{
	(void)arg;
	CHECK(mgc_weak_get(weak[0]) == NULL); /* short ones went before */
	CHECK(mgc_weak_get(weak[2]) == obj);
	revived = (void *)hide(obj);
	mgc_write(&root[0], obj);
	CHECK_EQ(mgc_finalizer_set(obj, revive, NULL), 0); /* and once more */
}

static void *set_revive(void *arg)
{
	CHECK_EQ(mgc_finalizer_set(root[0], revive, NULL), 0);
	return arg;
}

static void *drop_finalizer(void *arg)
{
	CHECK_EQ(mgc_finalizer_set(root[0], NULL, NULL), 0);
	return arg;
}

static void *make_first(void *arg)
{
	mgc_write(&weak[0], mgc_weak_new(root[0]));
	return arg;
}

TEST(short_and_long_with_a_finalizer)
{
	on_thread(start, NULL);
	on_thread(make_weaks, NULL);
	on_thread(set_revive, NULL);
	for (int i = 0; i < 3; i++) {
		struct mgc_weak *first = weak[0];
		drop_root(0);
		collect_afar();
		CHECK(get_afar(0) == GONE && get_afar(2) == object[0]);
		CHECK_EQ(run_due(), 1);
		CHECK((uintptr_t)revived == object[0]);
		on_thread(make_first, NULL); /* the old one stays null */
		CHECK(weak[0] != first && get_afar(0) == object[0]);
	}
	on_thread(drop_finalizer, NULL);
	drop_root(0);
	collect_afar();
	CHECK(get_afar(0) == GONE && get_afar(2) == GONE);
	CHECK_EQ(run_due(), 0);
}

/* A reference that only a finalizable object has comes back with it, and is still the only one. */
static void check_is_one(void *obj, void *arg)
{
	struct mgc_weak *w = *(struct mgc_weak **)obj;
	CHECK(mgc_weak_get(w) == root[1] && mgc_weak_new(root[1]) == w);
	*(unsigned *)arg += 1;
}

static unsigned nchecked;

static void *make_held(void *arg)
{
	mgc_write(root[0], mgc_weak_new(root[1]));
	CHECK_EQ(mgc_finalizer_set(root[0], check_is_one, &nchecked), 0);
	return arg;
}

TEST(reference_comes_back_with_its_holder)
{
	on_thread(start, NULL);
	on_thread(make_held, NULL);
	drop_root(0);
	collect_afar();
	CHECK_EQ(runtime.gc.specials.weaks.n, 1);
	CHECK_EQ(run_due(), 1);
	CHECK_EQ(nchecked, 1);
	collect_afar();
	CHECK_EQ(runtime.gc.specials.weaks.n, 0);
}

/* Tiny objects share a block, and its fate. */
static unsigned nfinal;
static uintptr_t final_object[4];

static void count_final(void *obj, void *arg)
{
	CHECK(hide(obj) == final_object[(uintptr_t)arg]);
	CHECK_EQ(*(uint8_t *)obj, (uintptr_t)arg);
	nfinal++;
}

static void *make_tiny(void *arg)
{
	uint8_t *tiny[4];
	do
		tiny[0] = mgc_alloc(4, NULL, MGC_NOSCAN);
	while ((uintptr_t)tiny[0] % 16 != 0); /* the first of its block */
	for (uintptr_t i = 0; i < 4; i++) {
		if (i != 0)
			tiny[i] = mgc_alloc(4, NULL, MGC_NOSCAN);
		*tiny[i] = (uint8_t)i;
		final_object[i] = hide(tiny[i]);
		CHECK_EQ(mgc_finalizer_set(tiny[i], count_final, (void *)i), 0);
		mgc_write(&weak[4 + i], mgc_weak_new(tiny[i]));
		CHECK(mgc_weak_get(weak[4 + i]) == tiny[i]);
	}
	CHECK((uintptr_t)tiny[3] / 16 == (uintptr_t)tiny[0] / 16);
	CHECK_EQ(mgc_finalizer_set(tiny[2], NULL, NULL), 0); /* of this one only */
	put_root(8, tiny[1]);
	for (int i = 0; i < 100; i++) /* on to another block */
		mgc_alloc(8, NULL, MGC_NOSCAN);
	return arg;
}

TEST(tiny_objects)
{
	on_thread(start, NULL);
	on_thread(make_tiny, NULL);
	collect_afar();
	CHECK_EQ(run_due(), 0);
	CHECK(get_afar(7) == final_object[3]); /* kept by its neighbour */
	drop_root(8);
	collect_afar();
	for (unsigned i = 4; i < 8; i++)
		CHECK(get_afar(i) == GONE);
	CHECK_EQ(run_due(), 3);
	CHECK_EQ(nfinal, 3);
}

static void *free_twice_later(void *arg)
{
	void *p = mgc_alloc(64, NULL, MGC_UNCOLLECTABLE);
	struct mgc_weak *w = mgc_weak_new(p);
	mgc_collect();
	CHECK(mgc_weak_get(w) == p);
	mgc_free(p);
	CHECK(mgc_weak_get(w) == NULL);
	return arg;
}

TEST(to_what_is_never_collected)
{
	on_thread(free_twice_later, NULL);
}

/* Many, in both orders of dying: the table grows and shrinks. */
#define MANY 20000
static void **holder;

static void *make_many(void *arg)
{
	holder = mgc_alloc(2 * MANY * sizeof *holder, NULL, 0);
	put_root(9, holder);
	for (size_t i = 0; i < MANY; i++) {
		mgc_write(&holder[i], mgc_alloc(32, NULL, MGC_NOSCAN));
		mgc_write(&holder[MANY + i], mgc_weak_new(holder[i]));
	}
	return arg;
}

static void *drop_objects(void *arg)
{
	for (size_t i = 0; i < MANY; i++)
		if (i % 3 != 0)
			mgc_write(&holder[i], NULL);
	return arg;
}

static void *check_many(void *arg)
{
	for (size_t i = 0; i < MANY; i++)
		CHECK(mgc_weak_get(holder[MANY + i]) == holder[i]);
	return arg;
}

TEST(many)
{
	on_thread(start, NULL);
	on_thread(make_many, NULL);
	collect_afar();
	on_thread(check_many, NULL);
	CHECK_EQ(runtime.gc.specials.weaks.n, MANY);
	size_t most = ptrmap_nbytes(&runtime.gc.specials.weaks);
	on_thread(drop_objects, NULL);
	collect_afar();
	on_thread(check_many, NULL);
	CHECK_EQ(runtime.gc.specials.weaks.n, (MANY + 2) / 3);
	drop_root(9);
	collect_afar();
	collect_afar();
	CHECK_EQ(runtime.gc.specials.weaks.n, 0);
	CHECK(ptrmap_nbytes(&runtime.gc.specials.weaks) < most / 2);
}

/* ── cleanups ───────────────────────────────────────────────────────────────────────────── */

static unsigned nclean[N];

static void count_clean(void *arg)
{
	nclean[(uintptr_t)arg]++;
}

static mgc_cleanup_id ids[N];

static void *add_cleanups(void *arg)
{
	for (uintptr_t i = 0; i < 4; i++)
		ids[i] = mgc_cleanup_add((char *)root[0] + i, count_clean, (void *)i);
	CHECK(ids[0] != 0 && ids[0] != ids[1]);
	CHECK(mgc_cleanup_add(NULL, count_clean, NULL) == 0 && errno == EINVAL);
	CHECK(mgc_cleanup_add(&arg, count_clean, NULL) == 0 && errno == EINVAL);
	CHECK(mgc_cleanup_add(root[0], NULL, NULL) == 0 && errno == EINVAL);
	CHECK(mgc_cleanup_add(root[0], count_clean, (char *)root[0] + 63) == 0 && errno == EINVAL);
	CHECK_EQ(mgc_cleanup_remove(ids[2]), 1);
	CHECK_EQ(mgc_cleanup_remove(ids[2]), 0);
	CHECK_EQ(mgc_cleanup_remove(0), 0);
	CHECK_EQ(mgc_cleanup_remove(~UINT64_C(0)), 0);
	return arg;
}

TEST(many_cleanups_of_one_object)
{
	on_thread(start, NULL);
	on_thread(add_cleanups, NULL);
	collect_afar();
	CHECK_EQ(run_due(), 0);
	drop_root(0);
	collect_afar();
	CHECK(!is_alive(object[0])); /* not brought back */
	CHECK_EQ(mgc_cleanup_remove(ids[0]), 0); /* too late */
	CHECK_EQ(run_due(), 3);
	CHECK(nclean[0] == 1 && nclean[1] == 1 && nclean[2] == 0 && nclean[3] == 1);
	collect_afar();
	CHECK_EQ(run_due(), 0);
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	CHECK(s.cleanups_run == 3 && s.cleanups_due == 0 && s.specials == 0);
}

static void *free_first(void *arg)
{
	void *p = root[0];
	mgc_write(&root[0], NULL);
	mgc_free(p);
	CHECK_EQ(mgc_cleanup_remove(ids[0]), 0);
	return arg;
}

TEST(free_runs_cleanups_and_drops_finalizers)
{
	on_thread(start, NULL);
	on_thread(add_cleanups, NULL);
	on_thread(set_revive, NULL);
	on_thread(free_first, NULL);
	CHECK_EQ(run_due(), 3);
	CHECK(nclean[0] == 1 && nclean[3] == 1);
	collect_afar();
	CHECK_EQ(run_due(), 0);
}

static unsigned nfinalized;

static void note_finalizer(void *obj, void *arg)
{
	(void)arg;
	CHECK(hide(obj) == object[1]);
	nfinalized++;
}

/* An object that a long reference gave back while its finalizer is due, and that is freed then. */
static void never(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	CHECK(false);
}

static void *finalize_never(void *arg)
{
	void *child = mgc_alloc(64, NULL, 0);
	mgc_write(root[0], child);
	CHECK_EQ(mgc_finalizer_set(root[0], never, NULL), 0);
	CHECK_EQ(mgc_finalizer_set(root[1], note_finalizer, NULL), 0);
	return arg;
}

static void *free_by_long_weak(void *arg)
{
	void **p = mgc_weak_get(weak[2]), *child = *p;
	CHECK(hide(p) == object[0]);
	mgc_free(p);
	CHECK(*p == NULL && mgc_weak_get(weak[2]) == NULL); /* cleared, and left to the collector */
	mgc_free(child);
	for (int i = 0; i < 2000; i++) /* would take its place */
		CHECK(mgc_alloc(64, NULL, 0) != p);
	mgc_collect();
	mgc_keep_alive(p);
	return arg;
}

TEST(free_while_the_finalizer_is_due)
{
	on_thread(start, NULL);
	on_thread(make_weaks, NULL);
	on_thread(finalize_never, NULL);
	drop_root(0);
	drop_root(1);
	collect_afar();
	on_thread(free_by_long_weak, NULL);
	CHECK_EQ(run_due(), 1);
	CHECK_EQ(nfinalized, 1);
	collect_afar();
	collect_afar();
	CHECK(!is_alive(object[0]));
}

static void finalize_quietly(void *obj, void *arg)
{
	(void)obj;
	CHECK_EQ(nclean[0], 0);
	*(unsigned *)arg += 1;
}

static void *add_finalizer(void *arg)
{
	CHECK_EQ(mgc_finalizer_set(root[0], finalize_quietly, arg), 0);
	return NULL;
}

TEST(cleanups_after_the_finalizer)
{
	unsigned nrun = 0;
	on_thread(start, NULL);
	on_thread(add_cleanups, NULL);
	on_thread(add_finalizer, &nrun);
	drop_root(0);
	collect_afar();
	CHECK_EQ(run_due(), 1);
	CHECK_EQ(nrun, 1);
	collect_afar();
	CHECK_EQ(run_due(), 3);
}

/* The argument is a root until the cleanup runs; a cleanup may allocate, collect and add others. */
static uintptr_t argument;

static void use_argument(void *arg)
{
	CHECK(hide(arg) == argument && *(void **)arg == root[1]);
	for (int i = 0; i < 200; i++)
		CHECK(mgc_alloc(300, NULL, 0) != NULL);
	CHECK(mgc_cleanup_add(root[2], count_clean, (void *)9) != 0);
	mgc_collect();
}

static void *add_with_argument(void *arg)
{
	void **p = mgc_alloc(32, NULL, 0);
	mgc_write(p, root[1]);
	argument = hide(p);
	CHECK(mgc_cleanup_add(root[0], use_argument, p) != 0);
	return arg;
}

TEST(argument_is_a_root)
{
	on_thread(start, NULL);
	on_thread(add_with_argument, NULL);
	collect_afar();
	drop_root(0);
	for (int i = 0; i < 3; i++)
		collect_afar();
	CHECK(is_alive(argument));
	CHECK_EQ(run_due(), 1);
	collect_afar();
	CHECK(!is_alive(argument));
	drop_root(2);
	collect_afar();
	CHECK_EQ(run_due(), 1);
	CHECK_EQ(nclean[9], 1);
}

/* ── threads of the library's own ───────────────────────────────────────────────────────── */

static uint32_t nran, ninside, nmost;

static void note_one(void *arg)
{
	uint32_t n = __atomic_add_fetch(&ninside, 1, __ATOMIC_ACQ_REL);
	uint32_t most = __atomic_load_n(&nmost, __ATOMIC_RELAXED);
	while (n > most && !__atomic_compare_exchange_n(&nmost, &most, n, false, __ATOMIC_ACQ_REL,
							__ATOMIC_ACQUIRE))
		;
	usleep(500);
	__atomic_sub_fetch(&ninside, 1, __ATOMIC_ACQ_REL);
	__atomic_add_fetch(&nran, 1, __ATOMIC_RELEASE);
	if (arg != NULL)
		pthread_exit(NULL);
}

struct garbage {
	void (*fn)(void *arg);
	size_t n, every; /* each such one with an argument */
};

static void *make_garbage(void *arg)
{
	const struct garbage *g = arg;
	for (size_t i = 0; i < g->n; i++)
		CHECK(mgc_cleanup_add(mgc_alloc(32, NULL, 0), g->fn,
				      g->every != 0 && i % g->every == 0 ? (void *)1 : NULL) != 0);
	return NULL;
}

TEST(one_thread_unless_told)
{
	struct garbage g = { note_one, 200, 0 };
	on_thread(make_garbage, &g);
	collect_afar();
	spin_until(&nran, 200);
	CHECK_EQ(nmost, 1);
}

TEST(several_threads)
{
	struct garbage g = { note_one, 1000, 0 };
	setenv("MGC_DEBUG", "cleanup_threads=4", 1);
	on_thread(make_garbage, &g);
	collect_afar();
	spin_until(&nran, 1000);
	CHECK(nmost > 1 && nmost <= 4);
}

/* A finalizer that waits does not keep cleanups from running, nor a cleanup finalizers: one thread for either, also
 * when both became due in one collection. */
static uint32_t nfinalized;

static void clean_up_at_last(void *arg)
{
	(void)arg;
	publish(&nran, 1);
	spin_until(&nfinalized, 2);
	publish(&nran, 2);
}

static void wait_for_cleanup(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	spin_until(&nran, 1);
	__atomic_add_fetch(&nfinalized, 1, __ATOMIC_RELEASE);
}

static void *make_both(void *arg)
{
	struct garbage g = { clean_up_at_last, 1, 0 };
	for (int i = 0; i < 2; i++)
		CHECK_EQ(mgc_finalizer_set(mgc_alloc(32, NULL, 0), wait_for_cleanup, arg), 0);
	return make_garbage(&g);
}

TEST(neither_kind_waits_for_the_other)
{
	on_thread(make_both, NULL);
	collect_afar();
	spin_until(&nran, 2);
}

/* Cleanups that end their thread: others go on. */
TEST(a_cleanup_ends_its_thread)
{
	struct garbage g = { note_one, 300, 10 };
	setenv("MGC_DEBUG", "cleanup_threads=2", 1);
	on_thread(make_garbage, &g);
	collect_afar();
	spin_until(&nran, 300);
	on_thread(make_garbage, &g);
	collect_afar();
	spin_until(&nran, 600);
}

#if !defined(MGC_SANITIZE_ADDRESS) && !defined(MGC_SANITIZE_THREAD)
/* A cleanup that forks: the child, which is that thread alone, has a heap that works, and threads for what
 * becomes due there. */
static void fork_once(void *arg)
{
	struct garbage g = { note_one, 20, 0 };
	(void)arg;
	pid_t pid = fork();
	if (pid == 0) {
		nran = 0;
		on_thread(make_garbage, &g);
		collect_afar();
		spin_until(&nran, 20);
		_exit(7);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
	__atomic_add_fetch(&nran, 1, __ATOMIC_RELEASE);
}

TEST(a_cleanup_forks)
{
	struct garbage g = { fork_once, 1, 0 };
	on_thread(make_garbage, &g);
	collect_afar();
	spin_until(&nran, 1);
}
#endif

/* ── handles ────────────────────────────────────────────────────────────────────────────── */

static mgc_handle handle[3];

static void *make_handles(void *arg)
{
	handle[0] = mgc_handle_new(root[0]);
	handle[1] = mgc_handle_new((char *)root[0] + 5);
	handle[2] = mgc_handle_new(root[1]);
	CHECK(handle[0] != 0 && handle[0] != handle[1]);
	CHECK(mgc_handle_get(handle[0]) == root[0] && mgc_handle_get(handle[2]) == root[1]);
	CHECK(mgc_handle_get(handle[1]) == (char *)root[0] + 5);
	CHECK(mgc_handle_new(NULL) == 0 && errno == EINVAL);
	CHECK(mgc_handle_get(0) == NULL);
	mgc_handle_free(0);
	return arg;
}

static void *free_handle(void *arg)
{
	mgc_handle_free(handle[(uintptr_t)arg]);
	return NULL;
}

TEST(handles)
{
	on_thread(start, NULL);
	on_thread(make_handles, NULL);
	drop_root(0);
	drop_root(1);
	collect_afar();
	CHECK(is_alive(object[0]) && is_alive(object[1]));
	on_thread(free_handle, (void *)0);
	collect_afar();
	CHECK(is_alive(object[0])); /* by the other one, which points inside */
	on_thread(free_handle, (void *)1);
	collect_afar();
	CHECK(!is_alive(object[0]) && is_alive(object[1]));
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	CHECK_EQ(s.handles, 1);
}

static void *many_handles(void *arg)
{
	enum { NH = 5000 };
	static mgc_handle h[NH];
	struct rng r = { test_seed() };
	for (size_t i = 0; i < 20 * NH; i++) {
		size_t k = rng_below(&r, NH);
		if (h[k] != 0) {
			CHECK(*(size_t *)mgc_handle_get(h[k]) == k);
			mgc_handle_free(h[k]);
			h[k] = 0;
			continue;
		}
		size_t *p = mgc_alloc(16, NULL, MGC_NOSCAN);
		*p = k;
		h[k] = mgc_handle_new(p);
		CHECK(h[k] != 0);
		if (i % 4000 == 0)
			mgc_collect();
	}
	return arg;
}

TEST(handles_come_and_go)
{
	on_thread(many_handles, NULL);
}

/* ── mgc_keep_alive ─────────────────────────────────────────────────────────────────────── */

/* The last use of p is its hidden copy; without the call the collector need not see it any more. The
 * stack below is wiped, so that only this frame may keep it. */
static NOINLINE void wipe_stack(void)
{
	volatile char room[16384];
	for (size_t i = 0; i < sizeof room; i++)
		room[i] = 0;
}

static volatile uintptr_t hidden;

static NOINLINE void use_and_keep(void)
{
	void *p = mgc_alloc(96, NULL, 0);
	hidden = hide(p);
	wipe_stack();
	for (int i = 0; i < 3; i++) {
		mgc_collect();
		CHECK(mgc_base(unhide(hidden)) == unhide(hidden));
	}
	mgc_keep_alive(p);
}

static void *keep_them(void *arg)
{
	size_t ngone = 0;
	for (int i = 0; i < 20; i++) {
		use_and_keep();
		wipe_stack();
		mgc_collect();
		mgc_collect(); /* sweeps what this thread's cache has */
		ngone += !mgc_is_heap(unhide(hidden));
	}
#ifndef __SANITIZE_ADDRESS__ /* its frames are large, and keep what was in them */
	CHECK(ngone > 0); /* nothing else kept them all */
#endif
	(void)ngone;
	return arg;
}

TEST(keep_alive)
{
	on_thread(keep_them, NULL);
}
