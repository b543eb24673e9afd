/* guards_test.c - every mistake of a program that the library can see ends it, with a message that names
 * the mistake. Each is made in a child that must die by SIGABRT.
 * not under: thread */
#include "lib/plain.h"

#include <mallocgc.h>
#include <sys/time.h>

#include "face/runtime.h"
#include "heap/span.h"

struct node {
	struct node *next;
	long pad[3];
};
static struct mgc_type node_type = { .name = "node", .size = sizeof(struct node), .ptr_bytes = 8 };

/* ── free ───────────────────────────────────────────────────────────────────────────────── */

static void *same(void *arg)
{
	return arg;
}

static void free_twice(void *arg)
{
	void *neighbour = mgc_alloc((size_t)arg, NULL, 0), *p = mgc_alloc((size_t)arg, NULL, 0);
	mgc_free(p);
	mgc_free(p);
	mgc_keep_alive(neighbour); /* its span stays in use, if they share one */
}

static void free_inside(void *arg)
{
	mgc_free((char *)mgc_alloc(100, NULL, 0) + (size_t)arg);
}

static void free_foreign(void *arg)
{
	int on_stack;
	mgc_thread_attach();
	mgc_free(arg != NULL ? malloc(10) : (void *)&on_stack);
}

TEST(frees)
{
	CHECK_DIES(free_twice, (void *)64, "second free of");
	CHECK_DIES(free_twice, (void *)20000, "second free of");
	CHECK_DIES(free_twice, (void *)100000, "it was freed before"); /* its pages are in no span any more */
	CHECK_DIES(free_inside, (void *)1, "inside an object");
	CHECK_DIES(free_inside, (void *)48, "inside an object");
	CHECK_DIES(free_foreign, NULL, "never gave out");
	CHECK_DIES(free_foreign, (void *)1, "never gave out");
}

/* ── NULL where none may be ─────────────────────────────────────────────────────────────── */

static void use_null(void *arg)
{
	mgc_thread_attach();
	switch ((size_t)arg) {
#if MGC_ASSERT
	case 0:
		mgc_new(NULL);
		break;
#endif
	case 1:
		mgc_new_array(NULL, 3);
		break;
	case 2:
		mgc_stack_prepare(NULL, NULL);
		break;
	case 3:
		mgc_read_stats(NULL);
		break;
	case 4:
		mgc_weakmap_get(NULL, NULL);
		break;
	case 5:
		mgc_weakmap_each(mgc_weakmap_new(), NULL, NULL);
		break;
	case 6:
		mgc_ephemeron_value(NULL);
		break;
	case 7:
		mgc_read_types(NULL, 1);
		break;
	}
}

TEST(arguments_that_are_null)
{
#if MGC_ASSERT
	CHECK_DIES(use_null, (void *)0, "mgc_new: type is NULL");
#endif
	CHECK_DIES(use_null, (void *)1, "mgc_new_array: type is NULL");
	CHECK_DIES(use_null, (void *)2, "mgc_stack_prepare: stack is NULL");
	CHECK_DIES(use_null, (void *)3, "mgc_read_stats: stats is NULL");
	CHECK_DIES(use_null, (void *)4, "is no weak map");
	CHECK_DIES(use_null, (void *)5, "mgc_weakmap_each: fn is NULL");
	CHECK_DIES(use_null, (void *)6, "is no ephemeron");
	CHECK_DIES(use_null, (void *)7, "mgc_read_types: rows is NULL");
}

TEST(arguments_that_are_null_and_refused)
{
	void *top = NULL;
	pthread_t t;
	CHECK(mgc_root_add(NULL, 64, 0) == -1 && errno == EINVAL);
	CHECK(mgc_root_remove(NULL) == -1 && errno == EINVAL);
	CHECK(mgc_root_add_owned(NULL, 64, &top) == -1 && errno == EINVAL);
	CHECK(mgc_root_add_owned(&top, 8, NULL) == -1 && errno == EINVAL);
	CHECK(mgc_root_give(NULL, NULL) == -1 && errno == EINVAL);
	CHECK(mgc_stack_register(NULL, &top) == NULL && errno == EINVAL);
	CHECK_EQ(mgc_thread_create(NULL, NULL, same, NULL), EINVAL);
	CHECK_EQ(mgc_thread_create(&t, NULL, NULL, NULL), EINVAL);
	CHECK(mgc_finalizer_set(NULL, NULL, NULL) == -1 && errno == EINVAL);
	CHECK(mgc_cleanup_add(NULL, free_twice, NULL) == 0 && errno == EINVAL);
	CHECK(mgc_weak_new(NULL) == NULL && errno == EINVAL);
	CHECK(mgc_ephemeron_new(NULL, NULL) == NULL && errno == EINVAL);
	CHECK(mgc_weakmap_set(mgc_weakmap_new(), NULL, NULL) == -1 && errno == EINVAL);
	CHECK(mgc_handle_new(NULL) == 0 && errno == EINVAL);
	CHECK(mgc_link_set(NULL, &top) == -1 && errno == EINVAL);
	CHECK(mgc_link_clear(NULL) == -1 && errno == EINVAL);
	CHECK(mgc_explain(NULL, 2) == -1 && errno == EINVAL);
	CHECK(mgc_write_stats(2, NULL) == -1 && errno == EINVAL);
}

TEST(null_where_it_means_something)
{
	mgc_free(NULL);
	mgc_handle_free(0);
	mgc_stack_unregister(NULL);
	mgc_keep_alive(NULL);
	CHECK(mgc_weak_get(NULL) == NULL && mgc_handle_get(0) == NULL);
	CHECK(mgc_base(NULL) == NULL && mgc_size(NULL) == 0 && mgc_is_heap(NULL) == 0);
	CHECK(mgc_alloc(8, NULL, 0) != NULL);
	CHECK_EQ(mgc_read_types(NULL, 0), 1);
}

/* ── a precise pointer to a freed object ────────────────────────────────────────────────── */

static struct node *root;

static void use_after_free(void *arg)
{
	(void)arg;
	mgc_root_add(&root, sizeof root, 0);
	root = mgc_new(&node_type);
	struct node *victim = mgc_new(&node_type);
	mgc_write(&root->next, victim);
	mgc_free(victim);
	mgc_collect();
}

/* The same address stands on the stack, where it is no mistake, and is met there first. */
static void use_after_free_with_a_copy(void *arg)
{
	struct node *volatile copy[4];
	for (int i = 0; i < 4; i++)
		copy[i] = mgc_new(&node_type);
	mgc_root_add(&root, sizeof root, 0);
	root = mgc_new(&node_type);
	mgc_write(&root->next, copy[3]);
	mgc_free(copy[3]);
	mgc_collect();
	mgc_keep_alive((const void *)copy[3]);
	(void)arg;
}

static void use_after_free_of_large(void *arg)
{
	(void)arg;
	mgc_root_add(&root, sizeof root, 0);
	root = mgc_new(&node_type);
	void *victim = mgc_alloc(1 << 20, NULL, 0);
	mgc_write(&root->next, victim);
	mgc_free(victim);
	mgc_collect();
}

static void ignored_use_after_free(void *arg)
{
	setenv("MGC_DEBUG", "invalidptr=0", 1);
	use_after_free(arg);
	_exit(0);
}

TEST(pointers_to_freed_objects)
{
	CHECK_DIES(use_after_free, NULL, "freed while in use");
	CHECK_DIES(use_after_free_with_a_copy, NULL, "freed while in use");
	CHECK_DIES(use_after_free_of_large, NULL, "freed while in use");
	CHECK_EQ(ending_of(ignored_use_after_free, NULL).status, 0);
}

/* ── re-entry ───────────────────────────────────────────────────────────────────────────── */

static void on_timer(int sig)
{
	(void)sig;
	for (int i = 0; i < 1000; i++)
		mgc_new(&node_type);
}

static void allocate_in_handlers(void *arg)
{
	(void)arg;
	struct sigaction sa = { .sa_handler = on_timer };
	struct itimerval every = { { 0, 200 }, { 0, 200 } };
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (;;)
		for (int i = 0; i < 100; i++)
			mgc_alloc(8192, NULL, 0); /* always inside a refill */
}

static void trace_that_allocates(void *obj, struct mgc_tracer *tracer)
{
	(void)obj;
	(void)tracer;
	for (int i = 0; i < 100000; i++)
		mgc_new(&node_type);
}

static struct mgc_type bad_tracer = { .name = "bad", .size = 32, .trace = trace_that_allocates };

static void allocate_in_trace(void *arg)
{
	(void)arg;
	void *volatile kept = mgc_new(&bad_tracer);
	mgc_collect();
	mgc_keep_alive(kept);
}

static void trace_that_collects(void *obj, struct mgc_tracer *tracer)
{
	(void)obj;
	(void)tracer;
	mgc_collect();
}

static struct mgc_type collecting_tracer = { .size = 32, .trace = trace_that_collects };

static void collect_in_trace(void *arg)
{
	(void)arg;
	void *volatile kept = mgc_new(&collecting_tracer);
	mgc_collect();
	mgc_keep_alive(kept);
}

TEST(re_entry)
{
	CHECK_DIES(allocate_in_handlers, NULL, "inside the allocator");
	CHECK_DIES(allocate_in_trace, NULL, "inside the allocator");
	CHECK_DIES(collect_in_trace, NULL, "inside the allocator");
}

/* ── types, threads, statistics ─────────────────────────────────────────────────────────── */

static struct mgc_type no_size = { .name = "empty" };
static struct mgc_type wide = { .name = "wide", .size = 16, .ptr_bytes = 24 };
static struct mgc_type crooked = { .name = "crooked", .size = 16, .ptr_bytes = 12 };
static struct mgc_type odd = { .name = "odd", .size = 20, .ptr_bytes = 8 };

static void no_trace(void *obj, struct mgc_tracer *tracer)
{
	(void)obj;
	(void)tracer;
}

static void no_part(void *obj, size_t from, size_t to, struct mgc_tracer *tracer)
{
	(void)obj;
	(void)from;
	(void)to;
	(void)tracer;
}

static struct mgc_type two_traces = { .name = "both", .size = 16, .trace = no_trace, .trace_part = no_part };
static struct mgc_type no_callback = { .name = "whole", .size = 16, .flags = MGC_TYPE_WHOLE };
static struct mgc_type unknown_flag = { .name = "later", .size = 16, .flags = 0x4000 };
static struct mgc_type wide_tag = { .name = "tag", .size = 16, .ptr_bytes = 8, .ptr_tag_mask = 16 };
static struct mgc_type no_tag = { .name = "tags", .size = 16, .ptr_bytes = 8, .ptr_tags = 2 };

static void make(void *type)
{
	mgc_new(type);
}

static void leave_without_enter(void *arg)
{
	(void)arg;
	mgc_thread_attach();
	mgc_blocking_leave();
}

static void leave_unattached(void *arg)
{
	(void)arg;
	mgc_blocking_leave();
}

static void enter_twice(void *arg)
{
	(void)arg;
	mgc_blocking_enter();
	mgc_blocking_enter();
}

static void allocate_while_blocking(void *arg)
{
	(void)arg;
	mgc_blocking_enter();
	for (int i = 0; i < 100000; i++)
		mgc_new(&node_type);
}

static void collect_while_blocking(void *arg)
{
	(void)arg;
	mgc_blocking_enter();
	mgc_collect();
}

static void bad_stats(void *arg)
{
	struct mgc_stats s = { .struct_size = 0 };
	(void)arg;
	mgc_read_stats(&s);
}

TEST(types_threads_and_records)
{
	CHECK_DIES(make, &no_size, "type empty");
	CHECK_DIES(make, &wide, "ptr_bytes 24 exceeds its size 16");
	CHECK_DIES(make, &crooked, "not a multiple of 8");
	CHECK_DIES(make, &odd, "size 20");
	CHECK_DIES(make, &two_traces, "both trace and trace_part");
	CHECK_DIES(make, &no_callback, "MGC_TYPE_WHOLE without");
	CHECK_DIES(make, &unknown_flag, "flags 0x4000");
	CHECK_DIES(make, &wide_tag, "ptr_tag_mask 16");
	CHECK_DIES(make, &no_tag, "ptr_tag_mask 0");
	CHECK_DIES(leave_without_enter, NULL, "without mgc_blocking_enter");
	CHECK_DIES(leave_unattached, NULL, "not attached");
	CHECK_DIES(enter_twice, NULL, "blocking already");
	CHECK_DIES(allocate_while_blocking, NULL, "between mgc_blocking_enter and");
	CHECK_DIES(collect_while_blocking, NULL, "between mgc_blocking_enter and");
	CHECK_DIES(bad_stats, NULL, "struct_size");
}

/* ── the library's own records ──────────────────────────────────────────────────────────── */

/* spoil - writes over a part of the record of the span that new nodes come from, as a stray store might. */
static void spoil(void *arg)
{
	const uint8_t *part = arg;
	struct span *s = space_span(&runtime.heap.pageheap.space, (uintptr_t)mgc_new(&node_type));
	for (int i = 0; i < 2000; i++) /* until the thread has a span of its own */
		s = space_span(&runtime.heap.pageheap.space, (uintptr_t)mgc_new(&node_type));
	memset((char *)s + part[0], part[1], part[2]);
	for (int i = 0; i < 100000; i++)
		mgc_new(&node_type);
}

/* leave_a_mark - on a slot that is free: what a precise reference to it would have left. */
static void leave_a_mark(void *arg)
{
	(void)arg;
	void *p = mgc_new(&node_type);
	mgc_collect();
	mgc_free(p);
	space_mark(&runtime.heap.pageheap.space, (uintptr_t)p);
	mgc_collect();
}

TEST(spoiled_records)
{
	static const uint8_t parts[][3] = { { offsetof(struct span, nslots), 1, 2 },
					    { offsetof(struct span, slot_nbytes), 0x55, 8 },
					    { offsetof(struct span, spanclass), 0, 2 },
					    { offsetof(struct span, state), SPAN_FREE, 1 } };
	if (MGC_HOSTILE) /* its assertions come first */
		return;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		CHECK_DIES(spoil, (void *)(uintptr_t)parts[i], "is corrupted");
	CHECK_DIES(leave_a_mark, NULL, "was freed and is still referred to");
}

/* ── settings ───────────────────────────────────────────────────────────────────────────── */

static void start_with(void *setting)
{
	char name[64];
	const char *text = setting, *value = strchr(text, '=');
	snprintf(name, sizeof name, "%.*s", (int)(value - text), text);
	setenv(name, value + 1, 1);
	mgc_thread_attach();
	_exit(0);
}

TEST(bad_settings_are_refused_by_name)
{
	static char *const bad[] = { "MGC_PERCENT=many",
				     "MGC_PERCENT=0",
				     "MGC_LIMIT=5XB",
				     "MGC_LIMIT=12",
				     "MGC_DEBUG=gctrace=9",
				     "MGC_DEBUG=nosuch=1",
				     "MGC_DEBUG=gctrace=1,workers=x",
				     "MGC_LIMIT=99999999999999999999" };
	static char *const good[] = {
		"MGC_PERCENT=off",       "MGC_PERCENT=50", "MGC_LIMIT=512MiB", "MGC_LIMIT=2G",
		"MGC_DEBUG=hugepages=0", "MGC_DEBUG=",     "MGC_LIMIT=-1"
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct ending e = ending_of(start_with, bad[i]);
		CHECK(WIFEXITED(e.status) && WEXITSTATUS(e.status) == 2);
		CHECK(strstr(e.text, "MGC_") != NULL);
	}
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		CHECK_EQ(ending_of(start_with, good[i]).status, 0);
}
