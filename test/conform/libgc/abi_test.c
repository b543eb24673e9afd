/* abi_test.c - the libgc face through its own interface: what clients rely on.
 * links: libgc */
#include "lib/fiber.h"

#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc.h>
#include <gc/gc_disclaim.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>

/* ── allocation ─────────────────────────────────────────────────────────────────────────── */

TEST(sizes_are_aligned_zeroed_and_known)
{
	GC_init();
	for (size_t n = 0; n <= 40000; n += n < 200 ? 1 : 97) {
		char *p = GC_malloc(n);
		CHECK(p != NULL && (uintptr_t)p % 16 == 0);
		CHECK(GC_size(p) >= n && GC_base(p + n / 2) == p);
		for (size_t i = 0; i < n; i++)
			CHECK(p[i] == 0);
		memset(p, 0xee, n);
	}
	CHECK_EQ(GC_get_version(), 0x80202);
}

/* A byte more, as libgc's objects have (ends_test.c). */
TEST(objects_are_a_byte_larger_where_that_is_asked_for)
{
	setenv("MGC_DEBUG", "endbyte=1", 1);
	for (size_t n = 1; n < 40000; n += n < 2000 ? 1 : 997) {
		CHECK(GC_size(GC_malloc(n)) > n && GC_size(GC_malloc_atomic(n)) > n);
		CHECK(GC_size(GC_realloc(GC_malloc(n), 2 * n)) > 2 * n);
		char *p = GC_malloc(n);
		CHECK(GC_base(p + n) == p && GC_size(GC_memalign(64, n)) > n);
	}
	CHECK(GC_size(GC_malloc_many(16)) > 16);
	CHECK(GC_size(GC_malloc_explicitly_typed(16, 16)) > 16);
	CHECK_EQ(GC_size(GC_malloc_kind(15, 1)), 16);
	for (volatile size_t n = SIZE_MAX; n > SIZE_MAX - 16; n--)
		CHECK(GC_malloc(n) == NULL && GC_malloc_many(n) == NULL);
}

TEST(many_lists_are_linked_and_distinct)
{
	for (size_t size = 16; size <= 512; size += 16) {
		size_t n = 0;
		for (void *p = GC_malloc_many(size); p != NULL; p = GC_NEXT(p), n++)
			CHECK(GC_size(p) >= size && GC_base(p) == p);
		CHECK(n >= 1);
	}
}

TEST(many_lists_survive_collections)
{
	void *head = GC_malloc_many(32);
	size_t before = 0, after = 0;
	for (void *p = head; p != NULL; p = GC_NEXT(p))
		before++;
	for (int i = 0; i < 3; i++) {
		GC_gcollect();
		for (int k = 0; k < 20000; k++)
			memset(GC_malloc(32), 0x55, 32);
	}
	for (void *p = head; p != NULL; p = GC_NEXT(p))
		after++;
	CHECK_EQ(before, after);
}

TEST(realloc_keeps_contents_and_kind)
{
	char *p = GC_malloc_atomic(10);
	memcpy(p, "abcdefghi", 10);
	for (size_t n = 20; n < 200000; n *= 3) {
		p = GC_realloc(p, n);
		CHECK(strcmp(p, "abcdefghi") == 0);
		GC_gcollect();
	}
	CHECK(GC_realloc(NULL, 8) != NULL);
	CHECK(GC_realloc(p, 0) == NULL);
}

TEST(strings_and_alignment)
{
	CHECK(strcmp(GC_strdup("hello"), "hello") == 0);
	CHECK(strcmp(GC_strndup("hello", 3), "hel") == 0);
	for (size_t a = 16; a <= 65536; a *= 2)
		for (size_t n = 1; n < 100000; n = n * 3 + 1)
			CHECK((uintptr_t)GC_memalign(a, n) % a == 0);
	void *p;
	CHECK_EQ(GC_posix_memalign(&p, 3, 8), EINVAL);
}

/* ── what keeps what ────────────────────────────────────────────────────────────────────── */

#define NLINKS 400
static void *links[NLINKS];

static void *drop_objects(void *arg)
{
	(void)arg;
	for (int i = 0; i < NLINKS; i++) {
		void *obj = GC_malloc(48);
		links[i] = (void *)GC_HIDE_POINTER(obj);
		CHECK_EQ(GC_general_register_disappearing_link(&links[i], obj), GC_SUCCESS);
	}
	return NULL;
}

static int nulls(void)
{
	int n = 0;
	for (int i = 0; i < NLINKS; i++)
		n += links[i] == NULL;
	return n;
}

TEST(links_disappear_with_their_objects)
{
	GC_init();
	on_thread(drop_objects, NULL);
	GC_gcollect();
	CHECK(nulls() >= NLINKS - 5);
}

static void *global_root;

TEST(globals_and_uncollectable_keep)
{
	void **u = GC_malloc_uncollectable(64);
	global_root = GC_malloc(32);
	u[3] = GC_malloc(32);
	static void *link[2];
	link[0] = (void *)GC_HIDE_POINTER(global_root);
	link[1] = (void *)GC_HIDE_POINTER(u[3]);
	GC_general_register_disappearing_link(&link[0], global_root);
	GC_general_register_disappearing_link(&link[1], u[3]);
	uintptr_t hidden = hide(u);
	u = NULL;
	for (int i = 0; i < 3; i++)
		GC_gcollect();
	CHECK(link[0] != NULL && link[1] != NULL);
	CHECK_EQ(GC_unregister_disappearing_link(&link[1]), 1);
	CHECK_EQ(GC_unregister_disappearing_link(&link[1]), 0);
	GC_free(unhide(hidden));
}

static void **added_root; /* malloc memory, invisible until added */

static void *fill_added_root(void *arg)
{
	(void)arg;
	added_root[0] = GC_malloc(40);
	links[0] = (void *)GC_HIDE_POINTER(added_root[0]);
	GC_general_register_disappearing_link(&links[0], added_root[0]);
	return NULL;
}

TEST(added_roots_keep_until_removed)
{
	GC_init();
	added_root = calloc(4, sizeof *added_root);
	GC_add_roots(added_root, added_root + 2);
	GC_add_roots(added_root + 1, added_root + 4); /* overlaps: merged */
	on_thread(fill_added_root, NULL);
	GC_gcollect();
	CHECK(links[0] != NULL);
	GC_remove_roots(added_root, added_root + 4);
	GC_gcollect();
	CHECK(links[0] == NULL);
}

/* ── kinds and typed objects ────────────────────────────────────────────────────────────── */

static unsigned hidden_kind;
static int proc_calls;

/* Objects of the kind hold one pointer, complemented, in their second word. */
static struct GC_ms_entry *mark_hidden(GC_word *addr, struct GC_ms_entry *top,
				       struct GC_ms_entry *limit, GC_word env)
{
	proc_calls += env == 42;
	void *obj = (void *)~addr[1];
	return addr[1] == 0 ? top : GC_MARK_AND_PUSH(obj, top, limit, (void **)addr);
}

static GC_word *holder;

static void *make_hidden(void *arg)
{
	(void)arg;
	holder = GC_generic_malloc(32, (int)hidden_kind);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(holder[i], 0);
	void *obj = GC_malloc(64);
	memset(obj, 0x77, 64);
	holder[1] = ~(GC_word)obj;
	return NULL;
}

TEST(mark_procedures_are_called)
{
	GC_init();
	unsigned proc = GC_new_proc(mark_hidden);
	hidden_kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(proc, 42), 0, 1);
	on_thread(make_hidden, NULL);
	for (int i = 0; i < 3; i++) {
		GC_gcollect();
		for (int k = 0; k < 20000; k++)
			memset(GC_malloc(64), 0x11, 64);
	}
	CHECK(proc_calls >= 3);
	const unsigned char *obj = (void *)~holder[1];
	for (int i = 0; i < 64; i++)
		CHECK_EQ(obj[i], 0x77);
	void *list;
	GC_generic_malloc_many(32, (int)hidden_kind, &list);
	CHECK(list != NULL);
}

static void **typed;

static void *make_typed(void *arg)
{
	const GC_word bitmap[1] = { 1 }; /* only the first of three words */
	(void)arg;
	typed = GC_malloc_explicitly_typed(24, GC_make_descriptor(bitmap, 3));
	for (int i = 0; i < 2; i++) {
		typed[i] = GC_malloc(32);
		links[i] = (void *)GC_HIDE_POINTER(typed[i]);
		GC_general_register_disappearing_link(&links[i], typed[i]);
	}
	return NULL;
}

TEST(typed_objects_keep_only_what_their_bitmap_says)
{
	GC_init();
	on_thread(make_typed, NULL);
	GC_gcollect();
	CHECK(links[0] != NULL);
	CHECK(links[1] == NULL);
}

/* ── finalizers ─────────────────────────────────────────────────────────────────────────── */

static int finalized[4], nfinalized;

static void on_final(void *obj, void *cd)
{
	CHECK(GC_base(obj) == obj);
	finalized[nfinalized++] = (int)(intptr_t)cd;
}

struct pair {
	struct pair *other;
	long pad;
};

static void *make_ordered(void *arg)
{
	struct pair *a = GC_malloc(sizeof *a), *b = GC_malloc(sizeof *b);
	(void)arg;
	a->other = b;
	GC_register_finalizer(a, on_final, (void *)1, NULL, NULL);
	GC_register_finalizer(b, on_final, (void *)2, NULL, NULL);
	return NULL;
}

static void *invoke(void *arg)
{
	*(int *)arg = GC_invoke_finalizers();
	return NULL;
}

/* invoked - on a stack of its own, where the objects that were finalized leave no word behind. */
static int invoked(void)
{
	static int n;
	on_thread(invoke, &n);
	return n;
}

TEST(ordered_finalizers_run_referrer_first)
{
	GC_init();
	GC_set_finalize_on_demand(1);
	on_thread(make_ordered, NULL);
	GC_gcollect();
	CHECK_EQ(invoked(), 1);
	CHECK_EQ(finalized[0], 1);
	GC_gcollect();
	CHECK_EQ(invoked(), 1);
	CHECK_EQ(finalized[1], 2);
}

static void *make_cycle(void *arg)
{
	struct pair *a = GC_malloc(sizeof *a), *b = GC_malloc(sizeof *b);
	GC_finalization_proc old;
	void *old_cd;
	a->other = b;
	b->other = a;
	if (arg == NULL)
		GC_register_finalizer(a, on_final, (void *)1, NULL, NULL);
	else
		GC_register_finalizer_no_order(a, on_final, (void *)3, NULL, NULL);
	GC_register_finalizer_no_order(a, NULL, NULL, &old, &old_cd);
	CHECK(old == on_final);
	if (arg == NULL)
		GC_register_finalizer(a, old, old_cd, NULL, NULL);
	else
		GC_register_finalizer_no_order(a, old, old_cd, NULL, NULL);
	return NULL;
}

TEST(a_cycle_is_finalized_only_without_order)
{
	GC_init();
	GC_set_finalize_on_demand(1);
	on_thread(make_cycle, NULL);
	GC_gcollect();
	CHECK_EQ(GC_invoke_finalizers(), 0);
	on_thread(make_cycle, (void *)1);
	GC_gcollect();
	CHECK_EQ(GC_invoke_finalizers(), 1);
	CHECK_EQ(finalized[0], 3);
}

static void *make_self(void *arg)
{
	struct pair *a = GC_malloc(sizeof *a);
	(void)arg;
	a->other = a;
	GC_register_finalizer_ignore_self(a, on_final, (void *)4, NULL, NULL);
	return NULL;
}

static int notified;

static void notify(void)
{
	notified++;
}

TEST(ignore_self_and_the_notifier)
{
	GC_init();
	GC_set_finalize_on_demand(1);
	GC_set_finalizer_notifier(notify);
	on_thread(make_self, NULL);
	GC_gcollect();
	CHECK(notified >= 1 && GC_should_invoke_finalizers());
	CHECK_EQ(GC_invoke_finalizers(), 1);
}

TEST(without_demand_finalizers_run_by_themselves)
{
	GC_init();
	on_thread(make_self, NULL);
	GC_gcollect();
	CHECK_EQ(nfinalized, 1);
}

/* ── disclaim procedures ────────────────────────────────────────────────────────────────── */

#define NASKED 100

static GC_word hidden[NASKED];
static int nasked_dead, nasked_alive;

static int GC_CALLBACK ask(void *obj)
{
	bool alive = GC_is_marked(obj) != 0;
	*(alive ? &nasked_alive : &nasked_dead) += 1;
	return alive;
}

static void *make_asked(void *kind)
{
	for (int i = 0; i < NASKED; i++)
		hidden[i] = GC_HIDE_POINTER(GC_generic_malloc(64, (int)(size_t)kind));
	return NULL;
}

static void *set_mark(void *obj)
{
	GC_set_mark_bit(obj);
	return NULL;
}

/* What is found by a hidden pointer after the collection that found it dead, and before it is asked, is alive. */
TEST(a_mark_by_hand_is_seen_by_who_is_asked)
{
	GC_init();
	GC_set_finalize_on_demand(1);
	unsigned kind = GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
	GC_register_disclaim_proc((int)kind, ask, 1);
	pthread_t t;
	CHECK(GC_pthread_create(&t, NULL, make_asked, (void *)(size_t)kind) == 0 &&
	      GC_pthread_join(t, NULL) == 0);
	GC_gcollect();
	for (int i = 0; i < NASKED / 2; i++)
		GC_call_with_alloc_lock(set_mark, GC_REVEAL_POINTER(hidden[i]));
	GC_invoke_finalizers();
	CHECK(nasked_alive >= NASKED / 2 - 2); /* a stale word may keep one */
	CHECK(nasked_dead >= NASKED / 2 - 2 && nasked_dead <= NASKED / 2);
	int before = nasked_alive;
	for (int i = 0; i < 3; i++)
		GC_gcollect();
	GC_invoke_finalizers();
	CHECK(nasked_alive - before <= 2 && nasked_dead >= NASKED - 2);
}

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

static uint32_t stage;

static void *collect_elsewhere(void *arg)
{
	(void)arg;
	struct GC_stack_base sb;
	CHECK_EQ(GC_get_stack_base(&sb), GC_SUCCESS);
	CHECK_EQ(GC_register_my_thread(&sb), GC_SUCCESS);
	CHECK_EQ(GC_register_my_thread(&sb), GC_DUPLICATE);
	spin_until(&stage, 1);
	for (int i = 0; i < 5; i++) {
		GC_gcollect();
		for (int k = 0; k < 20000; k++)
			memset(GC_malloc(64), 0x22, 64);
	}
	publish(&stage, 2);
	GC_unregister_my_thread();
	return NULL;
}

static void *wait_for_stage(void *arg)
{
	publish(&stage, 1);
	spin_until(&stage, 2);
	return arg;
}

static void check_bytes(const unsigned char *p)
{
	for (int i = 0; i < 64; i++)
		CHECK_EQ(p[i], 0x33);
}

static void *active_again(void *arg)
{
	unsigned char *mine = GC_malloc(64);
	memset(mine, 0x33, 64);
	if (arg != NULL)
		wait_for_stage(NULL);
	else
		GC_gcollect();
	check_bytes(mine);
	return mine;
}

static void *blocked(void *arg)
{
	return GC_call_with_gc_active(active_again, arg);
}

TEST(blocked_threads_keep_their_stacks)
{
	pthread_t t;
	GC_init();
	GC_allow_register_threads();
	unsigned char *mine = GC_malloc(64);
	memset(mine, 0x33, 64);
	pthread_create(&t, NULL, collect_elsewhere, NULL);
	GC_do_blocking(wait_for_stage, NULL);
	pthread_join(t, NULL);
	check_bytes(mine);
}

TEST(active_inside_blocking_keeps_both_parts_of_the_stack)
{
	pthread_t t;
	GC_init();
	GC_allow_register_threads();
	unsigned char *mine = GC_malloc(64);
	memset(mine, 0x33, 64);
	check_bytes(GC_do_blocking(blocked, NULL));
	pthread_create(&t, NULL, collect_elsewhere, NULL);
	unsigned char *inner = GC_do_blocking(blocked, (void *)1);
	pthread_join(t, NULL);
	check_bytes(mine);
	check_bytes(inner);
}

/* On a stack that nobody registered, in a handler on an alternate stack, while another thread collects. */
#define STRANGE_NBYTES ((size_t)256 << 10)
static void *fiber_at, *own_at, *handle;
static char *own_hi;

static void wait_in_handler(int sig)
{
	(void)sig;
	TSAN_LANDED(); /* which runs a handler with all signals blocked */
	wait_for_stage(NULL);
}

static void set_bottom(char *hi)
{
	struct GC_stack_base sb = { hi };
	GC_set_stackbottom(handle, &sb);
}

static NOINLINE void on_strange_stack(void *arg)
{
	unsigned char *volatile mine = GC_malloc(64);
	memset(mine, 0x33, 64);
	raise(SIGUSR1);
	check_bytes(mine);
	mine = NULL;
	GC_alloc_lock();
	set_bottom(own_hi);
	fiber_jump(&fiber_at, own_at);
	*(int *)arg = 1; /* never */
}

static void first_step(void *arg)
{
	GC_alloc_unlock(); /* of who jumped here */
	on_strange_stack(arg);
}

static void *collect_from_a_handler_on(void *arg)
{
	pthread_t t;
	struct GC_stack_base sb;
	struct sigaction sa = { .sa_handler = wait_in_handler, .sa_flags = SA_ONSTACK };
	stack_t alt = { .ss_size = STRANGE_NBYTES };
	char *lo = mmap(NULL, 2 * STRANGE_NBYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	handle = GC_get_my_stackbottom(&sb);
	own_hi = sb.mem_base;
	alt.ss_sp = lo + STRANGE_NBYTES;
	sigaltstack(&alt, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	stage = 0;
	pthread_create(&t, NULL, collect_elsewhere, NULL);
	fiber_at = fiber_make(lo + STRANGE_NBYTES, first_step, arg);
	GC_alloc_lock();
	set_bottom(lo + STRANGE_NBYTES);
	fiber_jump(&own_at, fiber_at);
	GC_alloc_unlock();
	pthread_join(t, NULL);
	return arg;
}

TEST(handlers_on_other_stacks_above_strange_ones)
{
	int unused;
	GC_init();
	collect_from_a_handler_on(&unused);
	on_thread(collect_from_a_handler_on, &unused);
}

static void *child(void *arg)
{
	for (int i = 0; i < 20000; i++)
		memset(GC_malloc(48), 0x44, 48);
	check_bytes(arg);
	unsigned char *result = GC_malloc(64);
	memset(result, 0x33, 64);
	return result;
}

TEST(wrapped_threads_keep_argument_and_result)
{
	pthread_t t[8];
	void *result;
	GC_init();
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 8; i++) {
			unsigned char *arg = GC_malloc(64);
			memset(arg, 0x33, 64);
			CHECK_EQ(GC_pthread_create(&t[i], NULL, child, arg), 0);
		}
		GC_gcollect();
		for (int i = 0; i < 8; i++) {
			CHECK_EQ(GC_pthread_join(t[i], &result), 0);
			check_bytes(result);
		}
	}
}

TEST(the_suspend_signal_cannot_be_blocked_through_us)
{
	sigset_t all, now;
	GC_init();
	sigfillset(&all);
	CHECK_EQ(GC_pthread_sigmask(SIG_BLOCK, &all, NULL), 0);
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	CHECK(!sigismember(&now, GC_get_suspend_signal()));
	CHECK(sigismember(&now, SIGUSR1));
}

/* ── toggle references ──────────────────────────────────────────────────────────────────── */

#define TOGGLED 0x7061737470617374
static unsigned nasked, nstrange;

static GC_ToggleRefStatus stay_weak(void *obj)
{
	nasked++;
	nstrange += *(uint64_t *)obj != TOGGLED;
	return GC_TOGGLE_REF_WEAK;
}

static NOINLINE void lose_toggled(void)
{
	for (int i = 0; i < 100; i++) {
		uint64_t *p = GC_malloc_atomic(48);
		*p = TOGGLED;
		CHECK_EQ(GC_toggleref_add(p, 0), GC_SUCCESS);
	}
}

/* Where leaks are looked for links are not, but these are ours. */
TEST(lost_objects_are_asked_no_more_where_leaks_are_looked_for)
{
	setenv("GC_FIND_LEAK", "1", 1);
	setenv("GC_SKIP_LEAK_EXIT", "1", 1);
	GC_INIT();
	GC_set_toggleref_func(stay_weak);
	lose_toggled();
	for (int k = 0; k < 20; k++) {
		for (int i = 0; i < 1000; i++)
			memset(GC_malloc_atomic(48), 0x55, 48);
		GC_gcollect();
	}
	CHECK(nasked > 0 && nasked < 100 * 20 / 2);
	CHECK_EQ(nstrange, 0);
}

static void *locked(void *arg)
{
	return GC_base(arg);
}

TEST(the_allocation_lock)
{
	char *p = GC_malloc(100);
	CHECK(GC_call_with_alloc_lock(locked, p + 50) == p);
}

/* ── limits and statistics ──────────────────────────────────────────────────────────────── */

static size_t refused;

static void *on_no_memory(size_t nbytes)
{
	refused = nbytes;
	return NULL;
}

TEST(a_full_heap_asks_the_callback_and_goes_on)
{
	GC_init();
	GC_set_oom_fn(on_no_memory);
	GC_set_max_heap_size(64 << 20);
	static void *volatile kept[1000]; /* so that the compiler clears it, too */
	int n = 0;
	while (n < 1000 && (kept[n] = GC_malloc(1 << 20)) != NULL)
		n++;
	CHECK(n >= 50 && n <= 64);
	CHECK_EQ(refused, 1 << 20);
	for (int i = 0; i < n; i++)
		kept[i] = NULL;
	CHECK(GC_malloc(1 << 20) != NULL);
	CHECK(GC_malloc((size_t)1 << 62) == NULL);
}

static void *reserve;

static void *give_reserve(size_t nbytes)
{
	void *p = reserve;
	(void)nbytes;
	reserve = NULL;
	return p;
}

/* fill_up - until the reserve came. */
static NOINLINE void fill_up(void)
{
	void **list = NULL;
	while (reserve != NULL) {
		void **p = GC_malloc(496);
		p[0] = list;
		list = p;
	}
}

TEST(a_reserve_without_pointers_is_the_only_such_object)
{
	GC_init();
	reserve = GC_malloc_atomic(496);
	GC_set_oom_fn(give_reserve);
	GC_set_max_heap_size(8 << 20);
	fill_up();
	GC_set_max_heap_size(0);
	GC_gcollect();
	for (int i = 0; i < 50; i++)
		GC_malloc_atomic(496);
	for (int i = 0; i < 50; i++) {
		size_t nbytes;
		CHECK_EQ(GC_get_kind_and_size(GC_malloc(496), &nbytes), GC_I_NORMAL);
	}
}

TEST(statistics_make_sense)
{
	GC_word heap, free_nbytes, unmapped, since, total, no = GC_get_gc_no();
	GC_gcollect();
	CHECK_EQ(GC_get_gc_no(), no + 1);
	for (int i = 0; i < 1000; i++)
		GC_malloc(1000);
	GC_get_heap_usage_safe(&heap, &free_nbytes, &unmapped, &since, &total);
	CHECK((MGC_HOSTILE || heap >= 1000000) && free_nbytes < heap &&
	      (MGC_HOSTILE || since >= 900000) && total >= since);
	CHECK(GC_get_total_bytes() >= total);
	CHECK(GC_get_heap_size() > 0 && GC_get_memory_use() > 0);
}

/* With 2 MiB live the heap grows by as much and half of it, not by what larger ones may. */
TEST(a_small_heap_stays_small)
{
	void **chain = NULL;
	size_t most = 0;
	for (int i = 0; i < (2 << 20) / 64; i++) {
		void **p = GC_malloc(56);
		*p = chain;
		chain = p;
	}
	GC_gcollect();
	for (int i = 0; i < 1000000; i++) {
		GC_malloc(56);
		if (i % 1000 == 0 && GC_get_heap_size() > most)
			most = GC_get_heap_size();
	}
	CHECK(TEST_SLOW || (GC_get_gc_no() >= 15 && most <= (size_t)6 << 20)); /* sanitizers' data are roots */
	int n = 0;
	for (; chain != NULL; chain = *chain)
		n++;
	CHECK_EQ(n, (2 << 20) / 64);
}

/* Links and finalizers take memory, so registering them brings the next collection nearer. */
TEST(records_count_toward_the_next_collection)
{
	void *kept = GC_malloc_atomic(16);
	size_t n = 1 << 19;
	void **many_links = calloc(n, sizeof *many_links);
	CHECK(many_links != NULL);
	GC_gcollect();
	GC_word before = GC_get_gc_no();
	for (size_t i = 0; i < n; i++)
		CHECK_EQ(GC_register_long_link(&many_links[i], kept), GC_SUCCESS);
	for (int i = 0; i < 2000; i++) /* 1/16 of the least heap */
		GC_malloc(128);
	CHECK(GC_get_gc_no() > before);
	before = GC_get_gc_no();
	for (size_t i = 0; i < n; i++)
		CHECK_EQ(GC_register_long_link(&many_links[i], kept), GC_DUPLICATE);
	for (int i = 0; i < 2000; i++)
		GC_malloc(128);
	CHECK(MGC_HOSTILE || GC_get_gc_no() == before);
	CHECK(GC_base(kept) == kept);
	free(many_links); /* nothing is written to links whose object lives */
}

TEST(disabled_means_no_collection)
{
	GC_init();
	GC_disable();
	CHECK(GC_is_disabled());
	GC_word no = GC_get_gc_no();
	for (int i = 0; i < 100000; i++)
		GC_malloc(1000);
	GC_gcollect();
	CHECK_EQ(GC_get_gc_no(), no);
	GC_enable();
	GC_gcollect();
	CHECK_EQ(GC_get_gc_no(), no + 1);
}

static int events[12];

static void on_event(GC_EventType e)
{
	events[e]++;
}

TEST(collection_events_are_told)
{
	GC_init();
	GC_set_on_collection_event(on_event);
	GC_gcollect();
	CHECK(events[0] == 1 && events[5] == 1 && events[6] == 1 && events[9] == 1);
}
