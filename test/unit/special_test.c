/* special_test.c (plain) - gc/special.h: finalizers of all four orders, disappearing links short and long,
 * moved, replaced, forgotten; what is kept alive for whom, and in which cycle. */
#include "lib/afar.h"

#include "face/runtime.h"
#include "lib/os_fake.h"

/* ── graphs of named objects ────────────────────────────────────────────────────────────── */

#define NMAX 64

/* Objects of eight words that refer to each other; [7] is the object's number. */
static uintptr_t object[NMAX];
static void *root[NMAX];
static unsigned run_at[NMAX], clock_now; /* when its finalizer ran, 0: never */

static void note_run(void *obj, void *arg)
{
	uintptr_t n = (uintptr_t)((void **)obj)[7];
	CHECK(n < NMAX && run_at[n] == 0);
	CHECK(arg == (void *)(n * 16 + 1));
	run_at[n] = ++clock_now;
	void **first = ((void **)obj)[0];
	if (first != NULL) /* what it reaches lives */
		CHECK((uintptr_t)first[7] < NMAX && mgc_base(first) == first);
}

enum step { MAKE, EDGE, FINALIZER, ROOT, DROP };
struct command {
	enum step step;
	unsigned a, b, c; /* MAKE a · EDGE a.[b] = c · FINALIZER a with order b · ROOT a · DROP a */
};

static void set_finalizer(unsigned n, enum finalizer_order order)
{
	struct finalizer f = { note_run, (void *)((uintptr_t)n * 16 + 1), order };
	CHECK(specials_set_finalizer(&runtime.gc.specials, ~object[n], 0, &f, NULL));
}

static void *do_command(void *arg)
{
	const struct command *c = arg;
	void **p;
	switch (c->step) {
	case MAKE:
		p = mgc_alloc(64, NULL, 0);
		p[7] = (void *)(uintptr_t)c->a;
		root[c->a] = p;
		object[c->a] = hide(p);
		break;
	case EDGE:
		((void **)unhide(object[c->a]))[c->b] = unhide(object[c->c]);
		break;
	case FINALIZER:
		set_finalizer(c->a, (enum finalizer_order)c->b);
		break;
	case ROOT:
		root[c->a] = unhide(object[c->a]);
		break;
	case DROP:
		root[c->a] = NULL;
	}
	return NULL;
}

static void command(enum step step, unsigned a, unsigned b, unsigned c)
{
	struct command cmd = { step, a, b, c };
	on_thread(do_command, &cmd);
}

static void *setup_library(void *arg)
{
	CHECK_EQ(mgc_root_add(root, sizeof root, 0), 0);
	mgc_run_finalizers();
	mgc_set_percent(-1);
	return arg;
}

/* setup - n objects, each held by its root; finalizers run when the test says so. This thread is never
 * attached: its stack does not count. */
static void setup(unsigned n)
{
	on_thread(setup_library, NULL);
	for (unsigned i = 0; i < n; i++)
		command(MAKE, i, 0, 0);
}

static void *run_them(void *arg)
{
	(void)arg;
	return (void *)mgc_run_finalizers();
}

static size_t run_finalizers(void)
{
	return (size_t)on_thread(run_them, NULL);
}

static bool lives(unsigned n)
{
	return is_alive(object[n]);
}

/* ── orders ─────────────────────────────────────────────────────────────────────────────── */

TEST(runs_once_and_then_the_object_dies)
{
	setup(1);
	command(FINALIZER, 0, FINALIZE_ORDERED, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 0);
	command(DROP, 0, 0, 0);
	collect_afar();
	CHECK(lives(0)); /* due: alive again */
	collect_afar();
	CHECK(lives(0)); /* as long as it is due */
	CHECK_EQ(run_finalizers(), 1);
	CHECK_EQ(run_at[0], 1);
	collect_afar();
	CHECK(!lives(0));
	CHECK_EQ(run_finalizers(), 0);
}

/* 0 → 1 → 2: one cycle each, from the front. */
TEST(ordered_chain)
{
	setup(3);
	for (unsigned i = 0; i < 3; i++)
		command(FINALIZER, i, FINALIZE_ORDERED, 0);
	command(EDGE, 0, 0, 1);
	command(EDGE, 1, 0, 2);
	for (unsigned i = 0; i < 3; i++)
		command(DROP, i, 0, 0);
	for (unsigned i = 0; i < 3; i++) {
		collect_afar();
		CHECK_EQ(run_finalizers(), 1);
		CHECK_EQ(run_at[i], i + 1);
	}
	collect_afar();
	CHECK(!lives(0) && !lives(1) && !lives(2));
}

/* The path may lead over objects without finalizers, and far. */
TEST(ordered_over_others)
{
	setup(5);
	command(FINALIZER, 0, FINALIZE_ORDERED, 0);
	command(FINALIZER, 4, FINALIZE_ORDERED, 0);
	for (unsigned i = 0; i < 4; i++)
		command(EDGE, i, 0, i + 1);
	for (unsigned i = 0; i < 5; i++)
		command(DROP, i, 0, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
	CHECK(run_at[0] == 1 && run_at[4] == 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
	CHECK_EQ(run_at[4], 2);
}

/* With ORDERED neither of a cycle is ever due, nor one that refers to itself. */
TEST(ordered_cycle)
{
	setup(3);
	for (unsigned i = 0; i < 3; i++)
		command(FINALIZER, i, FINALIZE_ORDERED, 0);
	command(EDGE, 0, 0, 1);
	command(EDGE, 1, 0, 0);
	command(EDGE, 2, 3, 2);
	for (unsigned i = 0; i < 3; i++)
		command(DROP, i, 0, 0);
	for (int i = 0; i < 3; i++) {
		collect_afar();
		CHECK_EQ(run_finalizers(), 0);
	}
	CHECK(lives(0) && lives(1) && lives(2));
}

TEST(ignore_self)
{
	setup(3);
	for (unsigned i = 0; i < 3; i++)
		command(FINALIZER, i, FINALIZE_IGNORE_SELF, 0);
	command(EDGE, 0, 3, 0); /* its own pointers do not count */
	command(EDGE, 1, 0, 2); /* those in a cycle with others do */
	command(EDGE, 2, 0, 1);
	for (unsigned i = 0; i < 3; i++)
		command(DROP, i, 0, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
	CHECK_EQ(run_at[0], 1);
	collect_afar();
	CHECK_EQ(run_finalizers(), 0);
	CHECK(!lives(0) && lives(1) && lives(2));
}

/* A pointer to itself that is only ignored when it is its own: 1 keeps 0 from being due. */
TEST(ignore_self_but_not_others)
{
	setup(2);
	command(FINALIZER, 0, FINALIZE_IGNORE_SELF, 0);
	command(FINALIZER, 1, FINALIZE_ORDERED, 0);
	command(EDGE, 0, 3, 0);
	command(EDGE, 1, 0, 0);
	command(DROP, 0, 0, 0);
	command(DROP, 1, 0, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
	CHECK(run_at[1] == 1 && run_at[0] == 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
}

/* NO_ORDER: all that the roots do not reach, together, cycles too. */
TEST(no_order)
{
	setup(4);
	for (unsigned i = 0; i < 4; i++)
		command(FINALIZER, i, FINALIZE_NO_ORDER, 0);
	command(EDGE, 0, 0, 1);
	command(EDGE, 1, 0, 2);
	command(EDGE, 2, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		command(DROP, i, 0, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 3);
	CHECK(run_at[3] == 0);
	collect_afar();
	CHECK(!lives(0) && !lives(1) && !lives(2) && lives(3));
}

/* UNREACHABLE: not before no other finalizer's object reaches it. */
TEST(unreachable)
{
	setup(3);
	command(FINALIZER, 0, FINALIZE_NO_ORDER, 0);
	command(FINALIZER, 1, FINALIZE_UNREACHABLE, 0);
	command(FINALIZER, 2, FINALIZE_UNREACHABLE, 0);
	command(EDGE, 0, 0, 1);
	for (unsigned i = 0; i < 3; i++)
		command(DROP, i, 0, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 2);
	CHECK(run_at[0] != 0 && run_at[1] == 0 && run_at[2] != 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
}

/* Among themselves they are ordered. */
TEST(unreachable_in_a_row)
{
	setup(4);
	for (unsigned i = 0; i < 4; i++)
		command(FINALIZER, i, FINALIZE_UNREACHABLE, 0);
	command(EDGE, 0, 0, 1);
	command(EDGE, 2, 0, 3);
	command(EDGE, 3, 0, 2);
	for (unsigned i = 0; i < 4; i++)
		command(DROP, i, 0, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
	CHECK(run_at[0] != 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
	CHECK(run_at[1] != 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 0);
}

/* ── registering ────────────────────────────────────────────────────────────────────────── */

static void never(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	CHECK(false);
}

static void *replace(void *arg)
{
	void *p = unhide(object[0]);
	CHECK_EQ(mgc_finalizer_set(p, never, NULL), 0);
	CHECK_EQ(mgc_finalizer_set(p, note_run, (void *)1), 0); /* replaces */
	p = unhide(object[1]);
	CHECK_EQ(mgc_finalizer_set(p, never, NULL), 0);
	CHECK_EQ(mgc_finalizer_set(p, NULL, NULL), 0); /* removes */
	CHECK_EQ(mgc_finalizer_set(p, NULL, NULL), 0); /* nothing to remove */
	CHECK(mgc_finalizer_set((char *)p + 8, never, NULL) == -1 && errno == EINVAL);
	CHECK(mgc_finalizer_set(NULL, never, NULL) == -1 && errno == EINVAL);
	CHECK(mgc_finalizer_set(&object, never, NULL) == -1 && errno == EINVAL);
	p = unhide(object[2]);
	CHECK_EQ(mgc_finalizer_set(p, never, NULL), 0);
	mgc_free(p); /* by hand: never finalized */
	root[2] = NULL;
	return arg;
}

TEST(replaced_removed_freed)
{
	setup(3);
	on_thread(replace, NULL);
	command(DROP, 0, 0, 0);
	command(DROP, 1, 0, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
	collect_afar();
	CHECK_EQ(run_finalizers(), 0);
	CHECK(!lives(0) && !lives(1));
}

/* The argument is a root as long as the finalizer is registered or due. */
static uintptr_t argument;

static void take_argument(void *obj, void *arg)
{
	(void)obj;
	CHECK(arg == unhide(argument));
	CHECK(mgc_base(arg) == arg);
}

static void *make_argument(void *arg)
{
	void *p = mgc_alloc(32, NULL, 0);
	argument = hide(p);
	CHECK_EQ(mgc_finalizer_set(unhide(object[0]), take_argument, p), 0);
	return arg;
}

TEST(argument_is_a_root)
{
	setup(1);
	on_thread(make_argument, NULL);
	collect_afar();
	CHECK(is_alive(argument));
	command(DROP, 0, 0, 0);
	collect_afar();
	collect_afar();
	CHECK(is_alive(argument));
	CHECK_EQ(run_finalizers(), 1);
	collect_afar();
	CHECK(!is_alive(argument));
}

/* A finalizer may bring its object back, set itself again, allocate and collect. */
static void resurrect(void *obj, void *arg)
{
	(void)arg;
	root[0] = obj;
	for (int i = 0; i < 100; i++)
		CHECK(mgc_alloc(500, NULL, 0) != NULL);
	mgc_collect();
	CHECK_EQ(mgc_finalizer_set(obj, note_run, (void *)1), 0);
}

static void *set_resurrect(void *arg)
{
	CHECK_EQ(mgc_finalizer_set(unhide(object[0]), resurrect, NULL), 0);
	return arg;
}

TEST(resurrection)
{
	setup(1);
	on_thread(set_resurrect, NULL);
	command(DROP, 0, 0, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
	collect_afar();
	CHECK(lives(0) && run_at[0] == 0);
	command(DROP, 0, 0, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
	CHECK_EQ(run_at[0], 1);
	collect_afar();
	CHECK(!lives(0));
}

/* More than the first ring holds, in pieces, so that it wraps around; none is lost. */
static uint64_t nmany, sum_many;

static void count_many(void *obj, void *arg)
{
	CHECK(*(uintptr_t *)obj == (uintptr_t)arg);
	nmany++;
	sum_many += (uintptr_t)arg;
}

static void *make_many(void *arg)
{
	static uintptr_t n;
	for (uintptr_t i = 0; i < (uintptr_t)arg; i++) {
		uintptr_t *p = mgc_alloc(16, NULL, MGC_NOSCAN);
		*p = ++n;
		CHECK_EQ(mgc_finalizer_set(p, count_many, (void *)n), 0);
	}
	return NULL;
}

static void *run_some(void *arg)
{
	struct due d;
	for (uintptr_t i = 0; i < (uintptr_t)arg && specials_next(&runtime.gc.specials, false, &d); i++)
		d.fn((void *)d.object, d.arg);
	return NULL;
}

TEST(many)
{
	size_t made = 0;
	setup(1);
	for (unsigned i = 1; i < 40; i++) {
		made += 150 * i;
		on_thread(make_many, (void *)(uintptr_t)(150 * i));
		if (i % 3 == 0)
			collect_afar();
		on_thread(run_some, (void *)(uintptr_t)(100 * i));
	}
	collect_afar();
	run_finalizers();
	CHECK_EQ(nmany, made);
	CHECK_EQ(sum_many, made * (made + 1) / 2);
	CHECK_EQ(runtime.gc.specials.nrun, made);
}

TEST(no_memory_to_register)
{
	setup(2);
	struct finalizer f = { never, NULL, FINALIZE_ORDERED };
	os_fake_start();
	os_fake_fail("alloc", 1, OS_FAKE_FOREVER, ENOMEM);
	CHECK(!specials_set_finalizer(&runtime.gc.specials, ~object[0], 0, &f, NULL));
	CHECK_EQ(specials_set_link(&runtime.gc.specials, (uintptr_t)&root[5], ~object[0], false), -1);
	os_fake_stop();
	collect_afar();
	CHECK(lives(0));
	command(FINALIZER, 0, FINALIZE_ORDERED, 0);
	command(DROP, 0, 0, 0);
	collect_afar();
	CHECK_EQ(run_finalizers(), 1);
}

/* ── links ──────────────────────────────────────────────────────────────────────────────── */

static void *links[16];

static void set_link(unsigned n, unsigned obj, bool is_long)
{
	put_afar(&links[n], object[obj]);
	CHECK(specials_set_link(&runtime.gc.specials, (uintptr_t)&links[n], ~object[obj], is_long) >= 0);
}

/* A short link goes when the object is found dead, a long one when it is gone for good. */
TEST(short_and_long_links)
{
	setup(2);
	set_link(0, 0, false);
	set_link(1, 0, true);
	set_link(2, 1, false);
	set_link(3, 1, true);
	command(FINALIZER, 1, FINALIZE_ORDERED, 0);
	collect_afar();
	for (int i = 0; i < 4; i++)
		CHECK(links[i] != NULL);
	command(DROP, 0, 0, 0);
	command(DROP, 1, 0, 0);
	collect_afar();
	CHECK(links[0] == NULL && links[1] == NULL); /* no finalizer: both */
	CHECK(links[2] == NULL && links[3] != NULL); /* it lives on */
	CHECK_EQ(run_finalizers(), 1);
	collect_afar();
	CHECK(links[3] == NULL);
	CHECK_EQ(runtime.gc.specials.links.n, 0);
}

static void *use_links(void *arg)
{
	void *p = unhide(object[0]);
	CHECK_EQ(mgc_link_set(&links[0], (char *)p + 8), 0); /* any pointer into it */
	CHECK(mgc_link_set(&links[1], NULL) == -1 && errno == EINVAL);
	CHECK(mgc_link_set(&links[1], &links) == -1 && errno == EINVAL);
	CHECK(mgc_link_set((void **)((char *)&links[1] + 4), p) == -1 && errno == EINVAL);
	CHECK(mgc_link_set(NULL, p) == -1 && errno == EINVAL);
	CHECK_EQ(mgc_link_set(&links[2], p), 0);
	CHECK_EQ(mgc_link_set(&links[2], unhide(object[1])), 0); /* replaces */
	CHECK_EQ(mgc_link_set(&links[3], p), 0);
	CHECK_EQ(mgc_link_clear(&links[3]), 0);
	CHECK(mgc_link_clear(&links[3]) == -1 && errno == EINVAL);
	return arg;
}

TEST(links_by_the_api)
{
	setup(2);
	for (int i = 0; i < 4; i++)
		links[i] = (void *)1;
	on_thread(use_links, NULL);
	command(DROP, 0, 0, 0);
	collect_afar();
	CHECK(links[0] == NULL && links[2] == (void *)1 && links[3] == (void *)1);
	command(DROP, 1, 0, 0);
	collect_afar();
	CHECK(links[2] == NULL);
}

TEST(moved_links)
{
	setup(1);
	struct specials *s = &runtime.gc.specials;
	uintptr_t at[4] = { (uintptr_t)&links[0], (uintptr_t)&links[1], (uintptr_t)&links[2],
			    (uintptr_t)&links[3] };
	set_link(0, 0, false);
	CHECK_EQ(specials_move_link(s, at[1], at[2]), 1);
	CHECK_EQ(specials_move_link(s, at[0], at[0]), 0);
	set_link(2, 0, false);
	CHECK_EQ(specials_move_link(s, at[0], at[2]), 2);
	CHECK_EQ(specials_move_link(s, at[0], at[3]), 0);
	CHECK_EQ(specials_move_link(s, at[0], at[1]), 1);
	links[3] = links[0];
	command(DROP, 0, 0, 0);
	collect_afar();
	CHECK(links[0] != NULL && links[2] == NULL && links[3] == NULL);
}

TEST(a_moved_long_link_stays_long)
{
	setup(1);
	set_link(0, 0, true);
	command(FINALIZER, 0, FINALIZE_ORDERED, 0);
	CHECK_EQ(specials_move_link(&runtime.gc.specials, (uintptr_t)&links[0], (uintptr_t)&links[1]),
		 0);
	links[1] = links[0];
	command(DROP, 0, 0, 0);
	collect_afar();
	CHECK(links[1] != NULL); /* its finalizer is due: it lives on */
	CHECK_EQ(run_finalizers(), 1);
	collect_afar();
	CHECK(links[1] == NULL);
}

/* Links to an object that is freed by hand are nulled at once. */
static void *free_object(void *arg)
{
	mgc_free(unhide(object[(uintptr_t)arg]));
	return NULL;
}

TEST(links_to_a_freed_object)
{
	setup(2);
	set_link(0, 0, false);
	set_link(1, 0, true);
	set_link(2, 1, false);
	on_thread(free_object, NULL);
	root[0] = NULL;
	CHECK(links[0] == NULL && links[1] == NULL && links[2] != NULL);
	collect_afar();
	CHECK(links[2] != NULL);
}

/* A link inside an object: of a pointer-free one that lives, that dies, and that dies but has a
 * finalizer, which must find the link zero, not the address of what is gone. */
static void check_link_is_zero(void *obj, void *arg)
{
	(void)arg;
	CHECK(*(void **)obj == NULL);
	run_at[60] = ++clock_now;
}

static void *make_holders(void *arg)
{
	uintptr_t *holders = arg;
	for (int i = 0; i < 3; i++) {
		void **holder = mgc_alloc(32, NULL, MGC_NOSCAN);
		holders[i] = hide(holder);
		root[50 + i] = holder;
		*holder = unhide(object[i]);
		CHECK_EQ(mgc_link_set(holder, *holder), 0);
		if (i == 2)
			CHECK_EQ(mgc_finalizer_set(holder, check_link_is_zero, NULL), 0);
	}
	return NULL;
}

static void *first_word(void *arg)
{
	return *(void **)unhide(*(uintptr_t *)arg);
}

TEST(links_inside_objects)
{
	uintptr_t holders[3];
	setup(3);
	on_thread(make_holders, holders);
	for (unsigned i = 0; i < 3; i++)
		command(DROP, i, 0, 0);
	command(DROP, 51, 0, 0);
	command(DROP, 52, 0, 0);
	collect_afar();
	CHECK(on_thread(first_word, &holders[0]) == NULL);
	CHECK(!is_alive(holders[1]));
	CHECK(is_alive(holders[2]));
	CHECK(!lives(0) && !lives(1) && !lives(2));
	CHECK_EQ(run_finalizers(), 1);
	CHECK(run_at[60] != 0);
	CHECK_EQ(runtime.gc.specials.links.n, 0);
	collect_afar();
	CHECK(!is_alive(holders[2]));
}

/* The holder of a link dies and the object lives: nobody writes where the holder was. */
TEST(link_of_a_dead_holder)
{
	uintptr_t holders[3];
	setup(3);
	on_thread(make_holders, holders);
	command(DROP, 51, 0, 0);
	collect_afar();
	CHECK_EQ(runtime.gc.specials.links.n, 2);
	command(DROP, 1, 0, 0);
	collect_afar();
	CHECK_EQ(runtime.gc.specials.links.n, 2);
	CHECK(!lives(1));
}

/* ── without memory for the grey queue ──────────────────────────────────────────────────── */

/* The order holds also when marking what a finalizer needs overflows. */
TEST(ordered_with_a_starved_queue)
{
	setup(40);
	grey_pool_destroy(&runtime.gc.pool);
	runtime.gc.pool.max_slabs = 0;
	for (unsigned i = 0; i < 40; i++) {
		if (i % 13 == 0)
			command(FINALIZER, i, FINALIZE_ORDERED, 0);
		if (i + 1 < 40) /* against the addresses */
			command(EDGE, 39 - i, 0, 38 - i);
	}
	set_link(0, 0, true);
	for (unsigned i = 0; i < 40; i++)
		command(DROP, i, 0, 0);
	for (unsigned i = 0; i < 4; i++) {
		collect_afar();
		CHECK_EQ(run_finalizers(), 1);
		CHECK_EQ(run_at[39 - 13 * i], i + 1);
		CHECK((links[0] == NULL) == false);
	}
	collect_afar();
	CHECK(links[0] == NULL && !lives(0));
}

/* ── on the library's own thread ────────────────────────────────────────────────────────── */

static uint32_t nran;
static pthread_t ran_on;

static void run_on_thread(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	ran_on = pthread_self();
	__atomic_add_fetch(&nran, 1, __ATOMIC_RELEASE);
}

static void *make_garbage(void *arg)
{
	for (int i = 0; i < 100; i++)
		CHECK_EQ(mgc_finalizer_set(mgc_alloc(16, NULL, 0), run_on_thread, NULL), 0);
	return arg;
}

TEST(own_thread)
{
	on_thread(make_garbage, NULL);
	collect_afar();
	spin_until(&nran, 100);
	CHECK(!pthread_equal(ran_on, pthread_self()));
	on_thread(make_garbage, NULL); /* and again, once it sleeps */
	usleep(20000);
	collect_afar();
	spin_until(&nran, 200);
	struct mgc_stats s = { .struct_size = sizeof s };
	mgc_read_stats(&s);
	CHECK_EQ(s.finalizers_run, 200);
}
