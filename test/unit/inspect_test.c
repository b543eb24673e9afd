/* inspect_test.c - what the library tells of a heap: who keeps an object, objects by type, leaks, dumps;
 * clobbered memory and the verifier. */
#include "lib/plain.h"

#include <fcntl.h>
#include <mallocgc.h>

#include "face/runtime.h"

struct node {
	struct node *left, *right;
	long key, pad;
};
static const uint8_t node_pointers[] = { 3 };
static struct mgc_type node_type = {
	.name = "node", .size = sizeof(struct node), .ptr_bytes = 16, .ptr_mask = node_pointers
};
static struct mgc_type twin_type = {
	.name = "twin", .size = sizeof(struct node), .ptr_bytes = 16, .ptr_mask = node_pointers
};
static struct mgc_type leaf_type = { .name = "leaf", .size = 32 };
static struct mgc_type big_type = { .name = "big", .size = 60000, .ptr_bytes = 60000 };

struct node *inspected; /* registered as a root */
static void *operand[4], **operand_top = operand;

/* ── what was written ───────────────────────────────────────────────────────────────────── */

static char text[1 << 20];

/* written - by fn, into a file. */
static const char *written(long (*fn)(void *arg, int fd), void *arg, long *result)
{
	FILE *f = tmpfile();
	if (f == NULL)
		test_fail(__FILE__, __LINE__, "tmpfile");
	*result = fn(arg, fileno(f));
	ssize_t n = pread(fileno(f), text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	fclose(f);
	return text;
}

static long explain_hidden(void *arg, int fd)
{
	return mgc_explain(unhide(*(uintptr_t *)arg), fd);
}

static long dump(void *arg, int fd)
{
	(void)arg;
	return mgc_dump_heap(fd);
}

static long leaks(void *arg, int fd)
{
	(void)arg;
	return mgc_report_leaks(fd);
}

#define CHECK_HAS(text, what) \
	(strstr(text, what) != NULL ? (void)0 : test_fail(__FILE__, __LINE__, text))

static void one_name_a_type(void)
{
	setenv("MGC_DEBUG", "types=1", 1);
}

/* ── who keeps it ───────────────────────────────────────────────────────────────────────── */

static uintptr_t hidden;

static void *make_chain(void *length)
{
	struct node *n = mgc_new(&node_type);
	mgc_root_add(&inspected, sizeof inspected, 0);
	mgc_write(&inspected, n);
	for (size_t i = 0; i < (size_t)length; i++) {
		struct node *next = mgc_new(i % 2 != 0 ? &node_type : &twin_type);
		mgc_write(&n->right, next);
		n = next;
	}
	mgc_write(&n->left, mgc_new(&leaf_type));
	hidden = hide(n->left);
	return NULL;
}

TEST(kept_by_a_root)
{
	long n;
	one_name_a_type();
	on_thread(make_chain, (void *)2);
	const char *t = written(explain_hidden, &hidden, &n);
	CHECK_EQ(n, 4);
	CHECK_HAS(t, "is kept by\n  root, word at 0x");
	CHECK_HAS(t, "  -> node 0x");
	CHECK_HAS(t, "  +8 -> twin 0x");
	CHECK_HAS(t, "  +8 -> node 0x");
	CHECK_HAS(t, "  +0 -> leaf 0x");
	CHECK_HAS(t, "(32 B)\n");
}

TEST(kept_at_the_end_of_a_long_list)
{
	long n;
	one_name_a_type();
	on_thread(make_chain, (void *)100000);
	const char *t = written(explain_hidden, &hidden, &n);
	CHECK_EQ(n, 100002);
	CHECK_HAS(t, "  ... 99970 more\n");
	CHECK(strlen(t) < 4096);
	CHECK(strcmp(strrchr(t, 'l'), "leaf") > 0 && strstr(t, "+0 -> leaf 0x") != NULL);
}

static void *hold_on_stack(void *arg)
{
	void *volatile held = mgc_new(&leaf_type);
	hidden = hide(held);
	publish(arg, 1);
	spin_until(arg, 2);
	mgc_keep_alive(held);
	return NULL;
}

TEST(kept_by_the_stack_of_a_thread)
{
	long n;
	uint32_t turn = 0;
	pthread_t thread;
	char tid[32];
	one_name_a_type();
	mgc_thread_create(&thread, NULL, hold_on_stack, &turn);
	spin_until(&turn, 1);
	const char *t = written(explain_hidden, &hidden, &n);
	CHECK_EQ(n, 1);
	CHECK(strstr(t, "stack, word at 0x") != NULL || strstr(t, "register") != NULL);
	struct mutator *m = LIST_ENTRY(runtime.heap.mutators.prev, struct mutator, node);
	snprintf(tid, sizeof tid, "thread %d\n", m->tid);
	CHECK_HAS(t, tid);
	publish(&turn, 2);
	pthread_join(thread, NULL);
}

static void *own(void *arg)
{
	mgc_root_add_owned(operand, sizeof operand, (void **)&operand_top);
	*operand_top++ = mgc_new(&leaf_type);
	hidden = hide(operand[0]);
	publish(arg, 1);
	spin_until(arg, 2);
	return NULL;
}

TEST(kept_by_an_owned_range_or_by_itself)
{
	long n;
	uint32_t turn = 0;
	pthread_t thread;
	mgc_thread_create(&thread, NULL, own, &turn);
	spin_until(&turn, 1);
	CHECK_HAS(written(explain_hidden, &hidden, &n), "is kept by\n  ");
	publish(&turn, 2);
	pthread_join(thread, NULL);
	hidden = hide(mgc_alloc(64, NULL, MGC_UNCOLLECTABLE));
	CHECK_HAS(written(explain_hidden, &hidden, &n), "uncollectable object\n");
}

static void *make_dead(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++)
		hidden = hide(mgc_new(&leaf_type));
	for (int i = 0; i < 50; i++)
		mgc_new(&node_type);
	return NULL;
}

TEST(kept_by_nothing)
{
	long n;
	on_thread(make_dead, NULL);
	const char *t = written(explain_hidden, &hidden, &n);
	CHECK(n == 0 ? strstr(t, "is kept by nothing\n") != NULL /* or by what asks */
		     : n == 1 && strstr(t, "stack, word at") != NULL);
	errno = 0;
	CHECK_EQ(mgc_explain(&n, 1), -1);
	CHECK_EQ(errno, EINVAL);
}

/* ── by type ────────────────────────────────────────────────────────────────────────────── */

static void *make_some(void *arg)
{
	(void)arg;
	mgc_root_add(&inspected, sizeof inspected, 0);
	struct node *n = mgc_new(&node_type);
	mgc_write(&inspected, n);
	for (int i = 0; i < 999; i++, n = n->right) {
		mgc_write(&n->right, mgc_new(&node_type));
		mgc_new(&leaf_type);
	}
	mgc_write(&n->left, mgc_new(&big_type));
	mgc_write(&n->right, mgc_alloc(sizeof(struct node), &node_type, MGC_UNCOLLECTABLE));
	return NULL;
}

TEST(objects_by_type)
{
	struct mgc_type_usage u[4] = { 0 };
	one_name_a_type();
	on_thread(make_some, NULL);
	CHECK_EQ(mgc_read_types(u, 4), 3); /* the leaves are dead, and not swept */
	mgc_collect();
	CHECK_EQ(mgc_read_types(u, 4), 2);
	CHECK(strcmp(u[0].name, "big") == 0 && strcmp(u[1].name, "node") == 0);
	CHECK_EQ(u[0].objects, 1);
	CHECK(u[0].nbytes >= 60000);
	CHECK_EQ(u[1].objects, 1001);
	CHECK_EQ(u[1].nbytes, 1001 * sizeof(struct node));
	CHECK_EQ(mgc_read_types(NULL, 0), 2);
}

TEST(types_that_share_a_layout_share_a_name)
{
	struct mgc_type_usage u[4];
	struct node *a = mgc_new(&node_type), *b = mgc_new(&twin_type);
	CHECK_EQ(mgc_read_types(u, 4), 1);
	CHECK(strcmp(u[0].name, "node|twin") == 0);
	CHECK_EQ(u[0].objects, 2);
	mgc_keep_alive(a);
	mgc_keep_alive(b);
}

/* ── leaks ──────────────────────────────────────────────────────────────────────────────── */

struct node *in_a_static_variable; /* no root, and yet no leak */

static void *make_leaks(void *arg)
{
	struct node *ring = mgc_alloc(sizeof *ring, &node_type, MGC_UNCOLLECTABLE), *first = ring;
	(void)arg;
	for (int i = 0; i < 5; i++) {
		struct node *n = mgc_alloc(sizeof *n, &node_type, MGC_UNCOLLECTABLE);
		n->left = ring;
		ring = n;
	}
	first->left = ring; /* closed: each has a reference to it */
	mgc_alloc(64, NULL, MGC_UNCOLLECTABLE);
	in_a_static_variable = mgc_alloc(sizeof *ring, &node_type, MGC_UNCOLLECTABLE);
	mgc_free(mgc_alloc(sizeof *ring, &node_type, MGC_UNCOLLECTABLE));
	mgc_new(&leaf_type); /* garbage is no leak */
	return NULL;
}

TEST(leaks_are_listed_by_type)
{
	long n;
	one_name_a_type();
	on_thread(make_leaks, NULL);
	const char *t = written(leaks, NULL, &n);
	CHECK_EQ(n, 7);
	CHECK_HAS(t, "leak: 6 of node, 192 B, nothing refers to them but others of these (to 6); "
		     "first 0x");
	CHECK_HAS(t, "leak: 1 of (untyped), 64 B, nothing refers to them; first 0x");
	CHECK_HAS(t, "leaks: 7 objects, 256 B\n");
}

/* ── dumps ──────────────────────────────────────────────────────────────────────────────── */

static size_t count_of(const char *t, const char *what)
{
	size_t n = 0;
	for (; (t = strstr(t, what)) != NULL; t++)
		n++;
	return n;
}

TEST(a_dump_has_every_object)
{
	long n;
	char edge[64];
	one_name_a_type();
	on_thread(make_chain, (void *)300);
	const char *t = written(dump, NULL, &n);
	CHECK_EQ(n, 0);
	CHECK_EQ(count_of(t, "{\"object\":"), 302);
	CHECK_HAS(t, "\"name\":\"leaf\",\"pointers\":false}");
	CHECK_HAS(t, "{\"root\":\"range\",\"at\":");
	snprintf(edge, sizeof edge, "\"refs\":[%lu]}", (unsigned long)unhide(hidden));
	CHECK_EQ(count_of(t, edge), 1);
	CHECK_HAS(t, "{\"end\":302}\n");
	CHECK_EQ(mgc_dump_heap(-1), -1);
	CHECK_EQ(errno, EBADF);
}

/* ── beside other threads ───────────────────────────────────────────────────────────────── */

static uint32_t over;

static void *busy(void *arg)
{
	struct node *kept = NULL;
	(void)arg;
	for (size_t i = 0; __atomic_load_n(&over, __ATOMIC_RELAXED) == 0; i++) {
		struct node *n = mgc_new(&node_type);
		n->left = i % 1000 != 0 ? kept : NULL;
		kept = n;
		if (i % 500 == 0)
			mgc_alloc(100000, NULL, 0);
		if (i % 900 == 0)
			mgc_free(mgc_new(&leaf_type));
	}
	return kept;
}

TEST_SECONDS(while_others_allocate_and_collect, 60)
{
	pthread_t thread[3];
	struct mgc_type_usage u[8];
	long n;
	for (int i = 0; i < 3; i++)
		mgc_thread_create(&thread[i], NULL, busy, NULL);
	for (size_t i = 0; i < test_size(60); i++) {
		uintptr_t now = hide(mgc_new(&node_type));
		CHECK(written(explain_hidden, &now, &n) != NULL && n >= 0);
		CHECK(mgc_read_types(u, 8) > 0);
		CHECK_HAS(written(leaks, NULL, &n), "");
		mgc_verify();
		if (i % 16 == 0)
			CHECK_EQ(mgc_dump_heap(open("/dev/null", 1)), 0);
	}
	__atomic_store_n(&over, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
}

/* ── what was freed ─────────────────────────────────────────────────────────────────────── */

static NO_SANITIZE bool is_clobbered(const uintptr_t *p, size_t nbytes)
{
	for (size_t i = 0; i < nbytes / 8; i++)
		if (((const volatile uintptr_t *)p)[i] != 0xdeadbeefdeadbeef)
			return false;
	return true;
}

static uintptr_t dead[3];
static const size_t sizes[3] = { 64, 2048, 20000 };

static void *drop(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3; i++) {
		memset((void *)(dead[i] = (uintptr_t)mgc_alloc(sizes[i], NULL, 0)), 1, sizes[i]);
		dead[i] = hide((void *)dead[i]);
		for (int k = 0; k < 20; k++)
			mgc_alloc(sizes[i], NULL, 0);
	}
	return NULL;
}

TEST(clobberfree_overwrites_what_is_freed)
{
	setenv("MGC_DEBUG", "clobberfree=1,background=0", 1);
	for (int i = 0; i < 3; i++) { /* by hand */
		void *keeper = mgc_alloc(sizes[i], NULL, 0), *p = mgc_alloc(sizes[i], NULL, 0);
		memset(p, 1, sizes[i]);
		mgc_free(p);
		CHECK(is_clobbered(p, sizes[i]));
		mgc_keep_alive(keeper);
	}
	void *keeper[3]; /* their spans stay */
	for (int i = 0; i < 3; i++)
		keeper[i] = mgc_alloc(sizes[i], NULL, 0);
	on_thread(drop, NULL);
	mgc_collect();
	for (int i = 0; i < 3; i++)
		CHECK(is_clobbered(unhide(dead[i]), sizes[i]));
	mgc_keep_alive((void *)keeper);
}

/* While a collection runs a free is put off, and the contents stay until it has ended. */
static uint32_t turn;
static uintptr_t *victim;

static void *free_in_cycle(void *arg)
{
	(void)arg;
	mgc_thread_attach();
	spin_until(&turn, 1);
	mgc_free(victim);
	bool intact = ((volatile uintptr_t *)victim)[0] == 7;
	publish(&turn, 2);
	return intact ? &turn : NULL;
}

static void trace_slowly(void *obj, struct mgc_tracer *tracer)
{
	uint32_t none = 0;
	(void)obj;
	(void)tracer;
	__atomic_compare_exchange_n(&turn, &none, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	spin_until(&turn, 2);
}

static struct mgc_type slow_type = { .name = "slow", .size = 64, .trace = trace_slowly };

TEST(clobberfree_of_a_free_that_was_put_off)
{
	pthread_t thread;
	void *intact, *volatile slow;
	setenv("MGC_DEBUG", "clobberfree=1,background=0", 1);
	slow = mgc_new(&slow_type);
	void *keeper = mgc_new(&leaf_type);
	victim = mgc_new(&leaf_type);
	victim[0] = 7;
	mgc_thread_create(&thread, NULL, free_in_cycle, NULL);
	mgc_collect();
	pthread_join(thread, &intact);
	CHECK(intact != NULL);
	CHECK(is_clobbered(victim, 32));
	mgc_keep_alive(slow);
	mgc_keep_alive(keeper);
}

/* ── the verifier ───────────────────────────────────────────────────────────────────────── */

static void *free_the_leaf(void *arg)
{
	make_chain((void *)3);
	mgc_free(unhide(hidden));
	return arg;
}

static void verify_freed(void *debug)
{
	setenv("MGC_DEBUG", debug, 1);
	on_thread(free_the_leaf, NULL);
	if (strstr(debug, "verify=2") != NULL)
		mgc_collect();
	else
		mgc_verify();
}

static void verify_root(void *arg)
{
	(void)arg;
	mgc_root_add(&inspected, sizeof inspected, 0);
	mgc_write(&inspected, mgc_new(&node_type));
	mgc_free(inspected);
	mgc_verify();
}

TEST(the_verifier_names_the_word)
{
	CHECK_DIES(verify_freed, "types=1", "verify: twin 0x");
	CHECK_DIES(verify_freed, "types=1", "(32 B) refers at +0 to 0x");
	CHECK_DIES(verify_freed, "types=1,verify=2", "verify: twin 0x");
	CHECK_DIES(verify_freed, "types=1,verify=2,concurrent=0", "verify: twin 0x");
	CHECK_DIES(verify_root, NULL, "verify: the root word at 0x");
}
