/* libgc_test.c - mistakes of a program on the libgc face: each ends it, and says which it was.
 * links: libgc
 * not under: thread */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include "lib/plain.h"

#include <gc/gc.h>
#include <gc/gc_disclaim.h>
#include <gc/gc_gcj.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>

static void free_twice(void *arg)
{
	void *neighbour = GC_malloc((size_t)arg), *p = GC_malloc((size_t)arg);
	GC_free(p);
	GC_free(p);
	GC_reachable_here(neighbour);
}

static void free_inside(void *arg)
{
	GC_free((char *)GC_malloc(100) + (size_t)arg);
}

static void free_foreign(void *arg)
{
	GC_init();
	GC_free(malloc((size_t)arg));
}

static void realloc_inside(void *arg)
{
	arg = GC_realloc((char *)GC_malloc(100) + (size_t)arg, 200);
}

TEST(frees)
{
	CHECK_DIES(free_twice, (void *)48, "second free of");
	CHECK_DIES(free_inside, (void *)16, "inside an object");
	CHECK_DIES(free_foreign, (void *)10, "never gave out");
	CHECK_DIES(realloc_inside, (void *)16, "not the start of an object");
}

static void unknown_kind(void *arg)
{
	GC_generic_malloc(16, (int)(size_t)arg);
}

static void many_kinds(void *arg)
{
	for (size_t i = 0; i < (size_t)arg; i++)
		GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
}

static void many_procedures(void *arg)
{
	for (size_t i = 0; i < (size_t)arg; i++)
		GC_new_proc(NULL);
}

static void unknown_procedure(void *arg)
{
	unsigned k = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(20, 0), 0, 1);
	void *p = GC_generic_malloc((size_t)arg, (int)k);
	GC_gcollect();
	GC_reachable_here(p);
}

static int refuse(void *obj)
{
	return obj != NULL;
}

static void disclaim_plain(void *arg)
{
	GC_register_disclaim_proc((int)(size_t)arg, refuse, 0);
}

static void gcj_too_early(void *arg)
{
	GC_gcj_malloc(32, arg);
}

TEST(kinds)
{
	CHECK_DIES(unknown_kind, (void *)9, "kind 9 was never made");
	CHECK_DIES(many_kinds, (void *)13, "more than 12 kinds");
	CHECK_DIES(many_procedures, (void *)57, "more than 56 mark procedures");
	CHECK_DIES(unknown_procedure, (void *)64, "mark procedure 20, which was never made");
	CHECK_DIES(disclaim_plain, (void *)1, "not of GC_new_kind");
	CHECK_DIES(gcj_too_early, NULL, "before GC_init_gcj_malloc");
}

static void debug_twice(void *arg)
{
	void *p = GC_debug_malloc((size_t)arg, "here.c", 77);
	GC_debug_free(p);
	GC_debug_free(p);
}

static void push_outside(void *arg)
{
	GC_init();
	GC_push_all(arg, (char *)arg + 16);
}

static void executable(void *arg)
{
	GC_set_pages_executable(arg == NULL);
}

static void start_what_runs(void *arg)
{
	(void)arg;
	GC_init();
	GC_start_world_external();
}

static void step_outside(void *arg)
{
	char *p = GC_malloc(64);
	GC_same_obj(p + (size_t)arg, p);
}

static void misaligned_link(void *arg)
{
	static char room[32];
	GC_general_register_disappearing_link((void **)(void *)(room + (size_t)arg), GC_malloc(16));
}

static void link_outside(void *arg)
{
	static void *link;
	link = arg;
	GC_register_disappearing_link(&link);
}

static void exclude_much(void *arg)
{
	static char room[2048][16];
	for (size_t i = 0; i < (size_t)arg; i++)
		GC_exclude_static_roots(room[i], room[i] + 8);
}

static struct GC_ms_entry *allocate(GC_word *addr, struct GC_ms_entry *top,
				    struct GC_ms_entry *limit, GC_word env)
{
	for (GC_word i = 0; i < 1000; i++)
		GC_malloc(200 + env);
	return GC_MARK_AND_PUSH((void *)addr[0], top, limit, (void **)addr);
}

static void allocate_in_procedure(void *arg)
{
	unsigned k = GC_new_kind(GC_new_free_list(),
				 GC_MAKE_PROC((GC_word)GC_new_proc(allocate), 0), 0, 1);
	void *p = GC_generic_malloc((size_t)arg, (int)k);
	GC_gcollect();
	GC_reachable_here(p);
}

static void *fork_under_lock(void *arg)
{
	if (fork() == 0)
		_exit(0);
	return arg;
}

static void fork_with_lock(void *arg)
{
	GC_INIT();
	GC_set_handle_fork(1);
	GC_call_with_alloc_lock(fork_under_lock, arg);
}

TEST(others)
{
	CHECK_DIES(fork_with_lock, NULL, "fork in a trace or root callback");
	CHECK_DIES(debug_twice, (void *)40, "here.c:77");
	CHECK_DIES(push_outside, (void *)4096, "outside of a GC_push_other_roots");
	CHECK_DIES(executable, NULL, "code cannot run in this heap");
	CHECK_DIES(start_what_runs, NULL, "did not stop the world");
	CHECK_DIES(step_outside, (void *)4096, "not in the same object");
	CHECK_DIES(misaligned_link, (void *)3, "not aligned");
	CHECK_DIES(link_outside, NULL, "which is in no object");
	CHECK_DIES(exclude_much, (void *)1025, "more than 1024 ranges");
	CHECK_DIES(allocate_in_procedure, (void *)32, "a call inside the allocator");
}

static void tell(const char *text)
{
	fprintf(stderr, "the program heard: %s", text);
}

static void leak(void *arg)
{
	setenv("GC_FIND_LEAK", "1", 1);
	setenv("GC_ABORT_ON_LEAK", "1", 1);
	for (size_t i = 0; i < 100; i++)
		GC_MALLOC((size_t)arg);
	GC_gcollect();
}

TEST(leaks)
{
	CHECK_DIES(leak, (void *)100, "leaks or smashes objects");
}

static void with_handler(void *arg)
{
	GC_set_abort_func(tell);
	free_inside(arg);
}

TEST(the_program_hears_why)
{
	CHECK_DIES(with_handler, (void *)16,
		   "the program heard: mallocgc: misuse by the program: free of");
}

static void with_maximum(void *arg)
{
	setenv("GC_MAXIMUM_HEAP_SIZE", arg, 1);
	GC_INIT();
	if (GC_MALLOC(100) == NULL)
		fputs("nothing to be had", stderr);
}

/* A maximum that is none is ignored, and said. */
TEST(sizes_that_are_none)
{
	static const char *const sizes[] = { "0", "-1", "0g", "many", "9000000000000g" };
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct ending e = ending_of(with_maximum, (void *)(uintptr_t)sizes[i]);
		CHECK_EQ(e.status, 0);
		CHECK(strstr(e.text, "not a size; ignored") != NULL && strstr(e.text, "nothing") == NULL);
	}
}
