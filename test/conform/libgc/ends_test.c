/* ends_test.c - the libgc face: objects that only a pointer just behind them keeps, and programs that write a little
 * behind their objects (docs/adr/0103).
 * links: libgc */
#include "lib/plain.h"

#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc.h>
#include <gc/gc_mark.h>

#define NENDS 32

static char **holder[NENDS]; /* each an object with one word */
static uintptr_t made[NENDS];
static char *global_end; /* a root */
static void **kept;
static _Thread_local char *thread_end; /* another */
static char *pushed_end[1]; /* one that is pushed: data of malloc */

struct ends {
	size_t nbytes;
	bool atomic;
};

static void *make(const struct ends *e)
{
	void *p = e->atomic ? GC_malloc_atomic(e->nbytes) : GC_malloc(e->nbytes);
	memset(p, 0x5a, e->nbytes);
	return p;
}

static bool is_whole(uintptr_t hidden, size_t nbytes)
{
	const char *p = unhide(hidden);
	for (size_t i = 0; i < nbytes; i++)
		if (p[i] != 0x5a)
			return false;
	return true;
}

/* reuse - what is dead is collected, and its memory given out again. */
static void *reuse(void *arg)
{
	const struct ends *e = arg;
	for (int round = 0; round < 2; round++) {
		GC_gcollect();
		for (size_t i = 0; i < 4000 && i * e->nbytes < (8u << 20); i++)
			memset(e->atomic ? GC_malloc_atomic(e->nbytes) : GC_malloc(e->nbytes), 0,
			       e->nbytes);
	}
	return NULL;
}

/* make_settle - collections see many small objects behind which nothing lies. */
static void *make_settle(void *arg)
{
	void **list = NULL;
	for (int i = 0; i < 20000; i++) {
		void **cell = GC_malloc(16);
		cell[0] = list;
		list = cell;
	}
	for (int i = 0; i < 10; i++)
		GC_gcollect();
	kept = list;
	return arg;
}

/* size_of - of an object for so many bytes, when what was cached of the others is used up. */
static size_t size_of(size_t nbytes)
{
	for (int i = 0; i < 2000; i++)
		(void)GC_malloc(nbytes);
	return GC_size(GC_malloc(nbytes));
}

/* ── kept from inside another object ────────────────────────────────────────────────────── */

/* As an iterator that has come to the end, a vector of which only `end` is known, or a stack that grows downwards and is
 * empty: neighbours, of which the heap has the address behind the end. */
static void *make_ends(void *arg)
{
	const struct ends *e = arg;
	for (int i = 0; i < NENDS; i++) {
		char *p = make(e);
		holder[i] = GC_malloc(sizeof(char *));
		*holder[i] = p + e->nbytes;
		made[i] = hide(p);
	}
	return NULL;
}

static void check_ends(size_t nbytes, bool atomic)
{
	struct ends e = { nbytes, atomic };
	on_thread(make_ends, &e);
	on_thread(reuse, &e);
	for (int i = 0; i < NENDS; i++)
		CHECK(is_whole(made[i], nbytes));
}

TEST(ends_of_larger_objects)
{
	static const size_t sizes[] = { 64,   80,   128,   256,   512,   1024, 2048,
					4096, 8192, 16384, 32768, 40960, 65536 };
	GC_init();
	on_thread(make_settle, NULL);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		check_ends(sizes[i], false);
		check_ends(sizes[i], true);
	}
}

TEST(ends_of_strings)
{
	GC_init();
	on_thread(make_settle, NULL);
	for (size_t n = 16; n < 64; n += 16)
		check_ends(n, true);
}

TEST(ends_of_small_objects_are_learned)
{
	GC_init();
	for (size_t n = 16; n < 64; n += 16)
		check_ends(n, false);
	on_thread(make_settle, NULL);
	for (size_t n = 16; n < 64; n += 16) {
		check_ends(n, false);
		CHECK(size_of(n) > n);
	}
}

/* ── kept from roots ────────────────────────────────────────────────────────────────────── */

static void *make_roots(void *arg)
{
	struct ends e = { 16, false };
	char **end = arg;
	char *p = make(&e);
	made[0] = hide(p);
	*end = p + 16;
	return NULL;
}

static void push_end(void)
{
	char *at = unhide((uintptr_t)pushed_end[0]);
	GC_push_all(at, at + sizeof(char *));
}

static void check_root(char **end)
{
	struct ends e = { 16, false };
	on_thread(make_settle, NULL);
	CHECK_EQ(size_of(16), 16); /* no byte more */
	on_thread(make_roots, end);
	on_thread(reuse, &e);
	CHECK(is_whole(made[0], 16));
}

TEST(ends_in_data)
{
	GC_init();
	check_root(&global_end);
}

TEST(ends_in_thread_local_data)
{
	GC_init();
	check_root(&thread_end);
}

TEST(ends_in_pushed_memory)
{
	GC_init();
	char **end = malloc(sizeof *end);
	*end = NULL;
	pushed_end[0] = (char *)hide(end);
	GC_set_push_other_roots(push_end);
	check_root(end);
}

/* ── written behind ─────────────────────────────────────────────────────────────────────── */

/* As GNU Goo does: a word more than was asked for. */
static void *overrun(void *arg)
{
	const struct ends *e = arg;
	char *before = NULL;
	for (int i = 0; i < 2000; i++) {
		char *p = make(e);
		memcpy(p, &before, sizeof before);
		memset(p + e->nbytes, 0x77, sizeof(void *));
		before = p;
	}
	holder[0] = (char **)before;
	GC_gcollect();
	return NULL;
}

static void check_overrun(size_t nbytes)
{
	struct ends e = { nbytes, false };
	on_thread(overrun, &e);
	on_thread(make_settle, NULL);
	on_thread(overrun, &e);
	for (char *p = (char *)holder[0]; p != NULL; memcpy(&p, p, sizeof(char *)))
		CHECK(p[nbytes - 1] == 0x5a && p[nbytes] == 0x77);
	CHECK(size_of(nbytes) > nbytes);
}

TEST(a_word_behind_16)
{
	GC_init();
	check_overrun(16);
}

TEST(a_word_behind_48)
{
	GC_init();
	check_overrun(48);
}

TEST(who_needs_no_byte_gets_none)
{
	GC_init();
	CHECK(GC_size(GC_malloc(16)) > 16);
	on_thread(make_settle, NULL);
	CHECK_EQ(size_of(16), 16);
	CHECK_EQ(size_of(32), 32);
	CHECK_EQ(size_of(48), 48);
	CHECK(GC_size(GC_malloc(64)) > 64 && GC_size(GC_malloc_atomic(16)) > 16);
	CHECK_EQ(GC_size(GC_malloc_uncollectable(64)), 64);
}

/* make_by_list - as an interpreter with free lists of its own. */
static void *make_by_list(void *arg)
{
	void **list = NULL, **free_list = NULL;
	for (int i = 0; i < 20000; i++) {
		if (free_list == NULL)
			free_list = GC_malloc_many(16);
		void **cell = free_list;
		free_list = cell[0];
		cell[0] = list;
		list = cell;
	}
	kept = list;
	GC_gcollect();
	return arg;
}

TEST(objects_of_lists_are_looked_at)
{
	GC_init();
	on_thread(make_by_list, NULL);
	CHECK_EQ(size_of(16), 16); /* after one collection */
}

/* What a realloc in place adds to an object is no writing behind it. */
TEST(a_larger_object_is_none_that_is_overrun)
{
	GC_init();
	for (int i = 0; i < 8; i++) {
		char *p = GC_realloc(GC_malloc(16), 24);
		memset(p, 0x5a, 24);
		holder[i] = (char **)p;
	}
	on_thread(make_settle, NULL);
	CHECK_EQ(size_of(16), 16);
}

/* fill - with objects that live, up to 3 MiB. */
static void fill(void)
{
	void **list = NULL;
	for (int i = 0; i < (3 << 20) / 32; i++) {
		void **cell = GC_malloc(16);
		cell[0] = list;
		list = cell;
	}
	kept = list;
}

/* What a program makes before its first collection has the byte, so that comes early. */
TEST(the_first_collection_comes_early)
{
	GC_init();
	GC_expand_hp(1 << 20); /* as Guile does */
	fill();
	CHECK(GC_get_gc_no() > 0);
	CHECK_EQ(size_of(16), 16);
}

/* But not where the program says how large its heap may become without one. */
TEST(the_first_collection_comes_when_it_may)
{
	GC_init();
	GC_expand_hp(64 << 20);
	fill();
	CHECK(GC_get_gc_no() == 0 || MGC_HOSTILE);
}

TEST(none_where_none_is_asked_for)
{
	setenv("MGC_DEBUG", "endbyte=0", 1);
	CHECK_EQ(size_of(16), 16);
	CHECK_EQ(GC_size(GC_malloc_atomic(64)), 64);
}
