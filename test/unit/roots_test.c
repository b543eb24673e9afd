/* roots_test.c (plain) - gc/roots.h, gc/stw.h through the native API: everything that keeps an object
 * alive, one root at a time. The object's address is nowhere else: elsewhere it is kept hidden, and
 * what must know it runs on a thread that is gone afterwards. */
#include <dlfcn.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "lib/plain.h"
#include "lib/probe.h"
#include "lib/step.h"
#include "mallocgc.h"

#include "face/runtime.h"

/* ── objects that are looked at from afar ───────────────────────────────────────────────── */

#define PATTERN UINT64_C(0x123456789abcdef)

static void *make(void *arg)
{
	uint64_t *p = mgc_alloc(64, NULL, MGC_NOSCAN);
	CHECK(p != NULL);
	p[0] = p[7] = PATTERN;
	*(uintptr_t *)arg = hide(p);
	return NULL;
}

/* make_object - its hidden address; nothing refers to it. */
static uintptr_t make_object(void)
{
	uintptr_t hidden;
	on_thread(make, &hidden);
	return hidden;
}

static void *look(void *arg)
{
	const uint64_t *p = unhide(*(uintptr_t *)arg);
	return (void *)(uintptr_t)(mgc_base(p) == p && p[0] == PATTERN && p[7] == PATTERN);
}

static bool alive(uintptr_t hidden)
{
	return on_thread(look, &hidden) != NULL;
}

static void *collect(void *arg)
{
	mgc_collect();
	return arg;
}

/* put - *slot = the object, without leaving its address on this thread's stack. */
struct put {
	void **slot;
	uintptr_t hidden;
};

static void *put_on_thread(void *arg)
{
	struct put *p = arg;
	*p->slot = unhide(p->hidden);
	return NULL;
}

static void put(void **slot, uintptr_t hidden)
{
	struct put p = { slot, hidden };
	on_thread(put_on_thread, &p);
}

/* filler - allocates, so that a slot wrongly freed is used again and its contents change. */
static void *filler(void *arg)
{
	for (int i = 0; i < 2000; i++)
		memset(mgc_alloc(64, NULL, MGC_NOSCAN), 0x55, 64);
	return arg;
}

/* collect_and_fill - the second collection begins by sweeping what the first found dead. */
static void collect_and_fill(void)
{
	on_thread(collect, NULL);
	on_thread(collect, NULL);
	on_thread(filler, NULL);
}

TEST(nothing_refers_to_it)
{
	uintptr_t h = make_object();
	CHECK(alive(h));
	collect_and_fill();
	CHECK(!alive(h));
}

/* ── registered ranges ──────────────────────────────────────────────────────────────────── */

TEST(a_range)
{
	static void *range[5];
	uintptr_t h = make_object();
	CHECK_EQ(mgc_root_add(range, sizeof range, 0), 0);
	put(&range[4], h);
	collect_and_fill();
	CHECK(alive(h));
	CHECK_EQ(mgc_root_remove(range), 0);
	on_thread(collect, NULL);
	CHECK(!alive(h));
}

TEST(ranges_refused)
{
	static void *range[8];
	void *top = range;
	CHECK(mgc_root_add((char *)range + 4, 16, 0) == -1 && errno == EINVAL);
	CHECK(mgc_root_add(range, 0, 0) == -1 && errno == EINVAL);
	CHECK(mgc_root_add(range, SIZE_MAX, 0) == -1 && errno == EINVAL);
	CHECK(mgc_root_add(range, 16, 1u << 30) == -1 && errno == EINVAL);
	CHECK(mgc_root_add_owned(range, 16, NULL) == -1 && errno == EINVAL);
	CHECK_EQ(mgc_root_add(&range[2], 16, 0), 0);
	CHECK(mgc_root_add(&range[2], 16, 0) == -1 && errno == EINVAL);
	CHECK(mgc_root_add(&range[1], 16, 0) == -1 && errno == EINVAL);
	CHECK(mgc_root_add(&range[3], 32, 0) == -1 && errno == EINVAL);
	CHECK(mgc_root_add(&range[0], 64, 0) == -1 && errno == EINVAL);
	CHECK_EQ(mgc_root_add(&range[0], 16, 0), 0); /* right before */
	CHECK_EQ(mgc_root_add_owned(&range[4], 16, &top), 0); /* right behind */
	CHECK(mgc_root_remove(&range[1]) == -1 && errno == EINVAL);
	CHECK_EQ(mgc_root_remove(&range[2]), 0);
	CHECK(mgc_root_remove(&range[2]) == -1 && errno == EINVAL);
	CHECK_EQ(mgc_root_remove(&range[0]), 0);
	CHECK_EQ(mgc_root_remove(&range[4]), 0);
}

/* More than fit the first table, added and removed in a mixed order. */
TEST(many_ranges)
{
	enum { N = 3000 };
	static void *slot[2 * N];
	static uintptr_t hidden[N];
	for (size_t i = 0; i < N; i++) {
		size_t at = i * 1543 % N;
		CHECK_EQ(mgc_root_add(&slot[2 * at], sizeof *slot, i & 1 ? MGC_ROOT_AMBIGUOUS : 0), 0);
	}
	for (size_t i = 0; i < N; i += 100) {
		hidden[i] = make_object();
		put(&slot[2 * i], hidden[i]);
	}
	for (size_t i = 0; i < N; i += 200)
		CHECK_EQ(mgc_root_remove(&slot[2 * i]), 0);
	collect_and_fill();
	for (size_t i = 0; i < N; i += 100)
		CHECK_EQ(alive(hidden[i]), i % 200 != 0);
}

/* A word of an ambiguous root may be anything; also a free slot. */
TEST(ambiguous_words)
{
	static uintptr_t range[64];
	uintptr_t h = make_object();
	CHECK_EQ(mgc_root_add(range, sizeof range, MGC_ROOT_AMBIGUOUS), 0);
	for (unsigned i = 0; i < 64; i++)
		range[i] = ~h + i * 16; /* neighbours that were never born, or are free */
	put((void **)&range[0], h);
	range[7] = ~h + (UINT64_C(1) << 30);
	for (int i = 0; i < 3; i++)
		collect_and_fill();
	CHECK(alive(h));
}

TEST(owned_range)
{
	static void *stack[16];
	static void *top;
	uintptr_t below = make_object(), above = make_object();
	top = &stack[8];
	CHECK_EQ(mgc_root_add_owned(stack, sizeof stack, &top), 0);
	put(&stack[7], below);
	put(&stack[8], above);
	collect_and_fill();
	CHECK(alive(below));
	CHECK(!alive(above));
	top = stack;
	on_thread(collect, NULL);
	CHECK(!alive(below));
	top = (void *)UINTPTR_MAX; /* beyond its end counts as its end */
	on_thread(collect, NULL);
	top = NULL;
	on_thread(collect, NULL);
}

static void *own_and_leave(void *arg)
{
	static void *top;
	void **range = arg;
	top = range + 4;
	CHECK_EQ(mgc_root_add_owned(range, 4 * sizeof *range, &top), 0);
	return NULL;
}

TEST(owned_range_of_a_thread_that_is_gone)
{
	static void *range[4];
	uintptr_t h = make_object();
	put(&range[1], h);
	on_thread(own_and_leave, range);
	on_thread(collect, NULL);
	CHECK(!alive(h));
	CHECK(mgc_root_remove(range) == -1 && errno == EINVAL);
}

TEST(uncollectable)
{
	void **p = mgc_alloc(48, NULL, MGC_UNCOLLECTABLE),
	     **big = mgc_alloc(300000, NULL, MGC_UNCOLLECTABLE);
	uintptr_t h = make_object(), g = make_object(), hidden_p = hide(p), hidden_big = hide(big);
	put(&p[5], h);
	put(&big[300000 / 8 - 1], g);
	p = big = NULL;
	collect_and_fill();
	CHECK(alive(h) && alive(g));
	mgc_free(unhide(hidden_p));
	mgc_free(unhide(hidden_big));
	on_thread(collect, NULL);
	CHECK(!alive(h));
	CHECK(!alive(g));
}

/* ── globals and thread-local variables ─────────────────────────────────────────────────── */

static void *global_data = &global_data;
static void *global_bss;
static __thread void *thread_local_slot;

TEST(globals)
{
	uintptr_t a = make_object(), b = make_object();
	put(&global_data, a);
	put(&global_bss, b);
	CHECK_EQ(mgc_root_add_globals(), 0);
	collect_and_fill();
	CHECK(alive(a));
	CHECK(alive(b));
	global_data = global_bss = NULL;
	on_thread(collect, NULL);
	CHECK(!alive(a));
	CHECK(!alive(b));
}

/* Words that are stored to without a barrier are copied in a short stop; without such there is none. */
TEST(unbarriered_roots_cost_a_stop)
{
	static void *range[4];
	on_thread(collect, NULL);
	CHECK_EQ(runtime.gc.last.pause_ns, 0);
	CHECK_EQ(mgc_root_add(range, sizeof range, MGC_ROOT_UNBARRIERED), 0);
	uintptr_t h = make_object();
	put(&range[3], h);
	collect_and_fill();
	CHECK(alive(h));
	CHECK(runtime.gc.last.pause_ns > 0 && runtime.gc.last.pause_ns < UINT64_C(5000000000));
	CHECK_EQ(runtime.gc.pause_max_ns >= runtime.gc.last.pause_ns, 1);
	CHECK_EQ(mgc_root_remove(range), 0);
	on_thread(collect, NULL);
	CHECK_EQ(runtime.gc.last.pause_ns, 0);
	CHECK(!alive(h));
}

TEST(globals_only_when_asked)
{
	uintptr_t a = make_object();
	put(&global_bss, a);
	on_thread(collect, NULL);
	CHECK(!alive(a));
}

struct holder {
	uint32_t ready, leave;
	uintptr_t hidden;
	void **(*slot)(void); /* of the calling thread */
	pthread_t thread;
};

static void *hold_in_tls(void *arg)
{
	struct holder *h = arg;
	CHECK_EQ(mgc_thread_attach(), 0);
	put(h->slot(), h->hidden);
	publish(&h->ready, 1);
	spin_until(&h->leave, 1);
	return NULL;
}

static void **own_tls_slot(void)
{
	return &thread_local_slot;
}

static void check_tls(void **(*slot)(void))
{
	struct holder h = { .hidden = make_object(), .slot = slot };
	uintptr_t mine = make_object();
	CHECK_EQ(mgc_root_add_globals(), 0);
	CHECK_EQ(mgc_thread_attach(), 0);
	put(slot(), mine);
	pthread_create(&h.thread, NULL, hold_in_tls, &h);
	spin_until(&h.ready, 1);
	collect_and_fill();
	CHECK(alive(h.hidden));
	CHECK(alive(mine));
	mgc_collect(); /* by the owner of one itself */
	CHECK(alive(h.hidden));
	CHECK(alive(mine));
	publish(&h.leave, 1);
	pthread_join(h.thread, NULL);
	on_thread(collect, NULL);
	CHECK(!alive(h.hidden));
	*slot() = NULL;
	on_thread(collect, NULL);
	CHECK(!alive(mine));
}

TEST(thread_local_variables)
{
	check_tls(own_tls_slot);
}

/* The data and the thread-local block of a library that is loaded later, and goes away. */
TEST(loaded_library)
{
	char path[64];
	probe_library("void *data[100]; __thread void *tls[100];"
		      "void **data_slot(void) { return &data[99]; }"
		      "void **tls_slot(void) { return &tls[99]; }",
		      path);
	CHECK_EQ(mgc_root_add_globals(), 0);
	uintptr_t h = make_object();
	void *lib = dlopen(path, RTLD_NOW);
	CHECK(lib != NULL);
	void **(*data_slot)(void) = (void **(*)(void))dlsym(lib, "data_slot");
	put(data_slot(), h);
	collect_and_fill();
	CHECK(alive(h));
	check_tls((void **(*)(void))dlsym(lib, "tls_slot"));
	CHECK(alive(h));
	dlclose(lib);
	unlink(path);
	on_thread(collect, NULL);
	CHECK(!alive(h));
}

/* The first collections of a process, which start its threads, while a library is being loaded: who is in the middle of that has
 * the lock of the loader's that a new thread needs, and waits for the one that a collection holds. */
static uint32_t loaded;

static void *allocate_until_loaded(void *arg)
{
	while (load_acquire(&loaded) == 0) /* pairs: loaded */
		for (int i = 0; i < 1000; i++)
			CHECK(mgc_alloc(2000, NULL, 0) != NULL);
	return arg;
}

static void load_and_unload(void *path)
{
	pthread_t t;
	alarm(20);
	CHECK_EQ(mgc_root_add_globals(), 0);
	CHECK_EQ(pthread_create(&t, NULL, allocate_until_loaded, NULL), 0);
	for (int i = 0; i < 60; i++) {
		void *lib = dlopen(path, RTLD_NOW);
		CHECK(lib != NULL);
		dlclose(lib);
	}
	store_release(&loaded, 1u); /* pairs: loaded */
	pthread_join(t, NULL);
	_exit(0);
}

TEST_SECONDS(threads_start_while_a_library_is_loaded, 60)
{
	char path[64];
	probe_library("__thread void *tls[100]; void **tls_slot(void) { return &tls[99]; }", path);
	for (size_t i = 0; i < test_size(40); i++) {
		struct ending e = ending_of(load_and_unload, path);
		if (e.status != 0)
			fprintf(stderr, "status %#x, %s\n", (unsigned)e.status, e.text);
		CHECK_EQ(e.status, 0);
	}
	unlink(path);
}

/* Threads collect with the loader's lock while this one forks: the child, which collects too, must not find
 * that lock taken by somebody who is not there. */
static __attribute__((unused)) uint32_t enough;

static __attribute__((unused)) void *collect_on(void *arg)
{
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		mgc_collect();
	return arg;
}

#if !defined(MGC_SANITIZE_THREAD) /* it allows no threads after such a fork */
TEST(fork_while_others_collect)
{
	pthread_t t[2];
	CHECK_EQ(mgc_root_add_globals(), 0);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, collect_on, NULL), 0);
	for (int i = 0; i < 20; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			alarm(10);
			mgc_collect();
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK_EQ(status, 0);
	}
	publish(&enough, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}
#endif

/* ── stacks and registers of threads ────────────────────────────────────────────────────── */

static void *hold_on_stack(void *arg)
{
	struct holder *h = arg;
	void *volatile local = NULL;
	CHECK_EQ(mgc_thread_attach(), 0);
	put((void **)(uintptr_t)&local, h->hidden);
	publish(&h->ready, 1);
	while (__atomic_load_n(&h->leave, __ATOMIC_ACQUIRE) == 0)
		; /* is interrupted here, not in a call */
	local = NULL;
	return NULL;
}

TEST(stack_of_a_running_thread)
{
	struct holder h = { .hidden = make_object() };
	pthread_create(&h.thread, NULL, hold_on_stack, &h);
	spin_until(&h.ready, 1);
	for (int i = 0; i < 5; i++)
		collect_and_fill();
	CHECK(alive(h.hidden));
	publish(&h.leave, 1);
	pthread_join(h.thread, NULL);
	on_thread(collect, NULL);
	CHECK(!alive(h.hidden));
}

/* A pointer to the middle keeps the object; one just behind it does not. */
TEST(inner_pointers)
{
	static void *range[2];
	uintptr_t inside = make_object(), behind = make_object();
	CHECK_EQ(mgc_root_add(range, sizeof range, MGC_ROOT_AMBIGUOUS), 0);
	put(&range[0], inside - 63); /* hidden is ~p: 63 further */
	put(&range[1], behind - 64);
	collect_and_fill();
	CHECK(alive(inside));
	CHECK(!alive(behind));
}

#if defined(__x86_64__)
/* hold_in - the address is nowhere but in the registers that `load` fills from %0, the hidden one. */
#define HOLD_IN(h, load, ...) \
	__asm__ volatile(load "movl $1, %1\n" \
			      "1: pause\n cmpl $0, %2\n je 1b\n" \
			 : "+&r"(hidden) \
			 : "m"((h)->ready), "m"((h)->leave) \
			 : "memory", "cc", __VA_ARGS__)
#define LOAD_GENERAL "movq %0, %%r12\n notq %%r12\n"
#define LOAD_VECTOR "notq %0\n movq %0, %%xmm5\n notq %0\n"
#define CLOBBER_GENERAL "r12"
#define CLOBBER_VECTOR "xmm5"
#elif defined(__aarch64__)
#define HOLD_IN(h, load, ...) \
	__asm__ volatile(load "mov w9, #1\n str w9, %1\n" \
			      "1: yield\n ldr w9, %2\n cbz w9, 1b\n" \
			 : "+&r"(hidden) \
			 : "m"((h)->ready), "m"((h)->leave) \
			 : "memory", "cc", "x9", __VA_ARGS__)
#define LOAD_GENERAL "mvn x21, %0\n"
#define LOAD_VECTOR "mvn %0, %0\n fmov d5, %0\n mvn %0, %0\n"
#define CLOBBER_GENERAL "x21"
#define CLOBBER_VECTOR "v5"
#endif

static UNUSED void *hold_in_register(void *arg)
{
	struct holder *h = arg;
	uintptr_t hidden = h->hidden;
	CHECK_EQ(mgc_thread_attach(), 0);
	HOLD_IN(h, LOAD_GENERAL, CLOBBER_GENERAL);
	return NULL;
}

static UNUSED void *hold_in_vector(void *arg)
{
	struct holder *h = arg;
	uintptr_t hidden = h->hidden;
	CHECK_EQ(mgc_thread_attach(), 0);
	HOLD_IN(h, LOAD_VECTOR, CLOBBER_VECTOR);
	return NULL;
}

static void check_held(void *(*hold)(void *))
{
	struct holder h = { .hidden = make_object() };
	pthread_create(&h.thread, NULL, hold, &h);
	spin_until(&h.ready, 1);
	collect_and_fill();
	collect_and_fill();
	CHECK(alive(h.hidden));
	publish(&h.leave, 1);
	pthread_join(h.thread, NULL);
	on_thread(collect, NULL);
	CHECK(!alive(h.hidden));
}

/* ThreadSanitizer holds signals back until the next call, where such registers are on the stack. */
#ifndef MGC_SANITIZE_THREAD
TEST(general_register_of_a_running_thread)
{
	check_held(hold_in_register);
}

TEST(vector_register_of_a_running_thread)
{
	check_held(hold_in_vector);
}
#endif

/* ── blocked threads ────────────────────────────────────────────────────────────────────── */

static struct holder blocked;
void scribble_and_wait(void);

/* scribble_and_wait - overwrites the stack below the caller, as a system call's wrapper would. */
NOINLINE void scribble_and_wait(void)
{
	char room[4096];
	memset(room, 0x11, sizeof room);
	__asm__ volatile("" : : "r"(room) : "memory");
	publish(&blocked.ready, 1);
	spin_until(&blocked.leave, 1);
}

/* Four objects, each in a callee-saved register only, over a call that blocks. */
static uintptr_t held[4];

static void *block_with_registers(void *arg)
{
	CHECK_EQ(mgc_thread_attach(), 0);
#if defined(__x86_64__)
	__asm__ volatile("movq %%rsp, %%r13\n subq $256, %%rsp\n andq $-16, %%rsp\n"
			 "leaq %0, %%rdi\n movq 0(%%rdi), %%rbx\n movq 8(%%rdi), %%r12\n"
			 "movq 16(%%rdi), %%r14\n movq 24(%%rdi), %%r15\n"
			 "notq %%rbx\n notq %%r12\n notq %%r14\n notq %%r15\n"
			 "call mgc_blocking_enter@PLT\n call scribble_and_wait@PLT\n"
			 "call mgc_blocking_leave@PLT\n movq %%r13, %%rsp\n"
			 :
			 : "m"(held)
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "rbx",
			   "r12", "r13", "r14", "r15", "memory", "cc");
#elif defined(__aarch64__)
	__asm__ volatile("ldp x19, x20, [%0]\n ldp x21, x22, [%0, #16]\n"
			 "mvn x19, x19\n mvn x20, x20\n mvn x21, x21\n mvn x22, x22\n"
			 "bl mgc_blocking_enter\n bl scribble_and_wait\n bl mgc_blocking_leave\n"
			 :
			 : "r"(held)
			 : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11",
			   "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21",
			   "x22", "x30", "memory", "cc");
#endif
	return arg;
}

TEST(registers_of_a_blocked_thread)
{
	for (int i = 0; i < 4; i++)
		held[i] = make_object();
	pthread_create(&blocked.thread, NULL, block_with_registers, NULL);
	spin_until(&blocked.ready, 1);
	collect_and_fill();
	for (int i = 0; i < 4; i++)
		CHECK(alive(held[i]));
	publish(&blocked.leave, 1);
	pthread_join(blocked.thread, NULL);
	on_thread(collect, NULL);
	for (int i = 0; i < 4; i++)
		CHECK(!alive(held[i]));
}

/* The same, with a stop at each point of mgc_blocking_enter in turn: what the thread noted of itself while
 * it stood there must not be taken for where it blocks. */
#if STEP_WORKS
static size_t stop_step;
static bool stopped_late; /* it was BLOCKED already */

/* asked_for_snapshot - or a quiescence waits for the end of the section that the thread is in. */
static bool asked_for_snapshot(const struct mutator *m)
{
	unsigned phase = heap_phase(m->heap);
	return (phase == PHASE_ROOTS && load_acquire(&m->asked) == heap_sweepgen(m->heap)) ||
	       (phase != PHASE_OFF && load_acquire(&m->sec) != 0);
}

/* stop_here - lets another thread collect; its signal comes when this returns. */
static void stop_here(void)
{
	struct mutator *m = mutator_self();
	uint64_t before = load_acquire(&runtime.gc.ncycles);
	stopped_late = load_acquire(&m->status) == MUTATOR_BLOCKED;
	publish(&blocked.ready, 2);
	while (load_acquire(&runtime.gc.ncycles) == before && !asked_for_snapshot(m) &&
	       (load_acquire(&runtime.gc.stw.stopping) == 0 ||
		load_acquire(&m->signalled) != load_acquire(&runtime.gc.stw.stopping)))
		usleep(10);
}

static void block_stepped(void *arg)
{
	block_with_registers(arg);
}

static void *block_at_step(void *arg)
{
	CHECK_EQ(mgc_thread_attach(), 0);
	blocked.ready = blocked.leave = 0;
	CHECK(step_run(block_stepped, arg, stop_step, stop_here));
	return arg;
}

TEST(a_stop_at_any_point_of_blocking_enter)
{
	static void *range[4]; /* keeps them while they are not in registers yet */
	CHECK_EQ(mgc_root_add(range, sizeof range, 0), 0);
	for (int i = 0; i < 4; i++)
		held[i] = make_object();
	for (stop_step = 0; !stopped_late; stop_step++) {
		pthread_t t;
		for (int i = 0; i < 4; i++)
			put(&range[i], held[i]);
		blocked.ready = 0;
		pthread_create(&t, NULL, block_at_step, NULL);
		spin_until(&blocked.ready, 2);
		mgc_collect();
		spin_until(&blocked.ready, 1);
		memset(range, 0, sizeof range);
		collect_and_fill();
		for (int i = 0; i < 4; i++) {
			CHECK(alive(held[i]));
			put(&range[i], held[i]);
		}
		publish(&blocked.leave, 1);
		pthread_join(t, NULL);
	}
	CHECK(stop_step > 20);
}
#endif

static void *block_with_stack(void *arg)
{
	struct holder *h = arg;
	void *volatile local = NULL;
	put((void **)(uintptr_t)&local, h->hidden);
	mgc_blocking_enter();
	publish(&h->ready, 1);
	spin_until(&h->leave, 1);
	mgc_blocking_leave();
	local = NULL;
	return NULL;
}

TEST(stack_of_a_blocked_thread)
{
	check_held(block_with_stack);
}

/* A blocked thread gets no signal: a call that would be interrupted sleeps on. */
static void *sleep_blocked(void *arg)
{
	struct timespec t = { 0, 300000000 };
	mgc_blocking_enter();
	int err = nanosleep(&t, NULL);
	mgc_blocking_leave();
	return err == 0 ? arg : NULL;
}

TEST(a_blocked_thread_is_not_interrupted)
{
	pthread_t t;
	void *result;
	int dummy;
	pthread_create(&t, NULL, sleep_blocked, &dummy);
	for (double until = now_seconds() + 0.3; now_seconds() < until;)
		on_thread(collect, NULL);
	pthread_join(t, &result);
	CHECK(result == &dummy);
}

/* ── other stacks ───────────────────────────────────────────────────────────────────────── */

#define STACK_NBYTES ((size_t)256 << 10)

static char *map_stack(void)
{
	char *s = mmap(NULL, STACK_NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(s != MAP_FAILED);
	return s;
}

static struct {
	ucontext_t home, self;
	struct mgc_stack *stack;
	uintptr_t hidden, at_home;
	unsigned step;
} co;

/* Every collection here is made by another thread, which stops this one where it stands. */
static UNUSED void coroutine(void)
{
	void *volatile local = NULL;
	co.hidden = make_object();
	put((void **)(uintptr_t)&local, co.hidden);
	co.step = 1;
	collect_and_fill(); /* stopped on this stack; the home stack waits */
	CHECK(alive(co.hidden) && alive(co.at_home));
	mgc_stack_switch(co.stack, NULL);
	collect_and_fill(); /* between the announcement and the switch */
	CHECK(alive(co.hidden) && alive(co.at_home));
	swapcontext(&co.self, &co.home);
	co.step = 2;
	collect_and_fill();
	CHECK(alive(co.hidden) && alive(co.at_home));
	local = NULL;
	mgc_stack_switch(co.stack, NULL);
	swapcontext(&co.self, &co.home);
}

static UNUSED void *run_coroutine(void *arg)
{
	void *volatile local = NULL;
	CHECK_EQ(mgc_thread_attach(), 0);
	put((void **)(uintptr_t)&local, co.at_home);
	mgc_stack_switch(NULL, co.stack);
	collect_and_fill();
	CHECK(alive(co.at_home));
	swapcontext(&co.home, &co.self);
	CHECK_EQ(co.step, 1);
	collect_and_fill(); /* the coroutine waits */
	CHECK(alive(co.hidden) && alive(co.at_home));
	mgc_stack_switch(NULL, co.stack);
	collect_and_fill(); /* announced, but still here */
	CHECK(alive(co.hidden) && alive(co.at_home));
	swapcontext(&co.home, &co.self);
	CHECK_EQ(co.step, 2);
	local = NULL;
	return arg;
}

#ifndef MGC_SANITIZE_THREAD /* which loses track of switched stacks */
TEST(coroutine)
{
	char *memory = map_stack();
	co.stack = mgc_stack_register(memory, memory + STACK_NBYTES);
	CHECK(co.stack != NULL);
	co.at_home = make_object();
	getcontext(&co.self);
	co.self.uc_stack.ss_sp = memory;
	co.self.uc_stack.ss_size = STACK_NBYTES;
	makecontext(&co.self, coroutine, 0);
	on_thread(run_coroutine, NULL);
	mgc_stack_unregister(co.stack);
	on_thread(collect, NULL);
	CHECK(!alive(co.hidden) && !alive(co.at_home));
}
#endif

/* A stack is left with objects in callee-saved registers only, and the switch keeps them where no
 * collection looks (the ucontext); what was spilled when the switch was announced is overwritten. Both ways:
 * a coroutine that waits, and the thread's own stack that waits for one. */
#if !defined(MGC_SANITIZE_THREAD)
static struct {
	ucontext_t home, self;
	struct mgc_stack *stack;
	bool of_home; /* who has the registers */
} leaving;
void announce_leaving(void);
void scribble_below(void);
void leave_stack(void);

NOINLINE void announce_leaving(void)
{
	if (leaving.of_home)
		mgc_stack_switch(NULL, leaving.stack);
	else
		mgc_stack_switch(leaving.stack, NULL);
}

/* Also the vector registers, through which a copy may have gone. */
NOINLINE void scribble_below(void)
{
	char room[8192];
	memset(room, 0x11, sizeof room);
	__asm__ volatile("" : : "r"(room) : "memory");
#if defined(__x86_64__)
	__asm__ volatile("pxor %%xmm0, %%xmm0\n pxor %%xmm1, %%xmm1\n pxor %%xmm2, %%xmm2\n"
			 "pxor %%xmm3, %%xmm3\n pxor %%xmm4, %%xmm4\n pxor %%xmm5, %%xmm5\n"
			 "pxor %%xmm6, %%xmm6\n pxor %%xmm7, %%xmm7\n"
			 :
			 :
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
#elif defined(__aarch64__)
	__asm__ volatile("movi v0.2d, #0\n movi v1.2d, #0\n movi v2.2d, #0\n movi v3.2d, #0\n"
			 "movi v4.2d, #0\n movi v5.2d, #0\n movi v6.2d, #0\n movi v7.2d, #0\n"
			 "movi v16.2d, #0\n movi v17.2d, #0\n movi v18.2d, #0\n movi v19.2d, #0\n"
			 :
			 :
			 : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19");
#endif
}

NOINLINE void leave_stack(void)
{
	if (leaving.of_home)
		swapcontext(&leaving.home, &leaving.self);
	else
		swapcontext(&leaving.self, &leaving.home);
}

static NOINLINE void leave_with_registers(void)
{
#if defined(__x86_64__)
	__asm__ volatile("movq %%rsp, %%r13\n subq $256, %%rsp\n andq $-16, %%rsp\n"
			 "leaq %0, %%rdi\n movq 0(%%rdi), %%rbx\n movq 8(%%rdi), %%r12\n"
			 "movq 16(%%rdi), %%r14\n movq 24(%%rdi), %%r15\n"
			 "notq %%rbx\n notq %%r12\n notq %%r14\n notq %%r15\n"
			 "call announce_leaving@PLT\n call scribble_below@PLT\n"
			 "call leave_stack@PLT\n movq %%r13, %%rsp\n"
			 :
			 : "m"(held)
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "rbx",
			   "r12", "r13", "r14", "r15", "memory", "cc");
#elif defined(__aarch64__)
	__asm__ volatile("ldp x19, x20, [%0]\n ldp x21, x22, [%0, #16]\n"
			 "mvn x19, x19\n mvn x20, x20\n mvn x21, x21\n mvn x22, x22\n"
			 "bl announce_leaving\n bl scribble_below\n bl leave_stack\n"
			 :
			 : "r"(held)
			 : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11",
			   "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21",
			   "x22", "x30", "memory", "cc");
#endif
}

static void check_held_registers(bool alive_now)
{
	collect_and_fill();
	for (int i = 0; i < 4; i++)
		CHECK_EQ(alive(held[i]), alive_now);
}

static void stack_of_others(void)
{
	if (leaving.of_home) {
		check_held_registers(true);
		mgc_stack_switch(leaving.stack, NULL);
		swapcontext(&leaving.self, &leaving.home);
	} else {
		leave_with_registers();
		mgc_stack_switch(leaving.stack, NULL);
		swapcontext(&leaving.self, &leaving.home);
	}
}

static void *leave_both_ways(void *arg)
{
	CHECK_EQ(mgc_thread_attach(), 0);
	if (leaving.of_home) {
		leave_with_registers();
	} else {
		mgc_stack_switch(NULL, leaving.stack);
		swapcontext(&leaving.home, &leaving.self);
		check_held_registers(true);
		mgc_stack_switch(NULL, leaving.stack);
		swapcontext(&leaving.home, &leaving.self);
	}
	return arg;
}

static void check_leaving(bool of_home)
{
	char *memory = map_stack();
	leaving.of_home = of_home;
	leaving.stack = mgc_stack_register(memory, memory + STACK_NBYTES);
	for (int i = 0; i < 4; i++)
		held[i] = make_object();
	getcontext(&leaving.self);
	leaving.self.uc_stack.ss_sp = memory;
	leaving.self.uc_stack.ss_size = STACK_NBYTES;
	makecontext(&leaving.self, stack_of_others, 0);
	on_thread(leave_both_ways, NULL);
	mgc_stack_unregister(leaving.stack);
	check_held_registers(false);
}

TEST(registers_of_a_waiting_coroutine)
{
	check_leaving(false);
}

TEST(registers_of_a_stack_that_waits_for_a_coroutine)
{
	check_leaving(true);
}
#endif

/* A handler of the program's runs on an alternate stack that was set up after the thread attached;
 * a collection must still find the thread's own stack below it, and what lies on the other one. */
static struct holder in_handler;
static uintptr_t on_altstack;

static void wait_in_handler(int sig)
{
	void *volatile local = NULL;
	(void)sig;
	put((void **)(uintptr_t)&local, on_altstack);
	publish(&in_handler.ready, 1);
	while (__atomic_load_n(&in_handler.leave, __ATOMIC_ACQUIRE) == 0)
		;
	local = NULL;
}

static UNUSED void *run_on_altstack(void *arg)
{
	struct holder *h = arg;
	void *volatile local = NULL;
	CHECK_EQ(mgc_thread_attach(), 0);
	put((void **)(uintptr_t)&local, h->hidden);
	stack_t alt = { .ss_sp = map_stack(), .ss_size = STACK_NBYTES };
	CHECK_EQ(sigaltstack(&alt, NULL), 0);
	struct sigaction sa = { .sa_handler = wait_in_handler, .sa_flags = SA_ONSTACK };
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	local = NULL;
	return NULL;
}

#ifndef MGC_SANITIZE_THREAD /* which runs handlers where it likes */
TEST(alternate_stack)
{
	on_altstack = make_object();
	in_handler.hidden = make_object();
	pthread_create(&in_handler.thread, NULL, run_on_altstack, &in_handler);
	spin_until(&in_handler.ready, 1);
	collect_and_fill();
	CHECK(alive(in_handler.hidden));
	CHECK(alive(on_altstack));
	publish(&in_handler.leave, 1);
	pthread_join(in_handler.thread, NULL);
	on_thread(collect, NULL);
	CHECK(!alive(in_handler.hidden));
}
#endif

/* The same on a coroutine: the handler's frame, the coroutine below it, and the thread's own stack. */
static struct holder on_three[2]; /* of the own stack, of the coroutine's */
static ucontext_t three_home, three_self;
static struct mgc_stack *three_stack;

static UNUSED void raise_on_coroutine(void)
{
	void *volatile local = NULL;
	put((void **)(uintptr_t)&local, on_three[1].hidden);
	raise(SIGUSR1);
	local = NULL;
	mgc_stack_switch(three_stack, NULL);
	swapcontext(&three_self, &three_home);
}

static UNUSED void *run_all_three(void *arg)
{
	void *volatile local = NULL;
	char *memory = map_stack();
	CHECK_EQ(mgc_thread_attach(), 0);
	put((void **)(uintptr_t)&local, on_three[0].hidden);
	stack_t alt = { .ss_sp = map_stack(), .ss_size = STACK_NBYTES };
	CHECK_EQ(sigaltstack(&alt, NULL), 0);
	struct sigaction sa = { .sa_handler = wait_in_handler, .sa_flags = SA_ONSTACK };
	sigaction(SIGUSR1, &sa, NULL);
	three_stack = mgc_stack_register(memory, memory + STACK_NBYTES);
	getcontext(&three_self);
	three_self.uc_stack.ss_sp = memory;
	three_self.uc_stack.ss_size = STACK_NBYTES;
	makecontext(&three_self, raise_on_coroutine, 0);
	mgc_stack_switch(NULL, three_stack);
	swapcontext(&three_home, &three_self);
	local = NULL;
	return arg;
}

#ifndef MGC_SANITIZE_THREAD
TEST(alternate_stack_above_a_coroutine)
{
	on_altstack = make_object();
	for (int i = 0; i < 2; i++)
		on_three[i].hidden = make_object();
	pthread_create(&in_handler.thread, NULL, run_all_three, NULL);
	spin_until(&in_handler.ready, 1);
	collect_and_fill();
	CHECK(alive(on_altstack));
	CHECK(alive(on_three[0].hidden));
	CHECK(alive(on_three[1].hidden));
	publish(&in_handler.leave, 1);
	pthread_join(in_handler.thread, NULL);
}
#endif

/* ── what else is read ──────────────────────────────────────────────────────────────────── */

/* More words on a stack than one snapshot holds, each of another object. */
enum { NMANY = 3000 };
static uintptr_t many[NMANY];

static void *hold_many(void *arg)
{
	struct holder *h = arg;
	void *volatile local[NMANY];
	CHECK_EQ(mgc_thread_attach(), 0);
	for (int i = 0; i < NMANY; i++) {
		local[i] = mgc_alloc(64, NULL, MGC_NOSCAN);
		*(volatile uint64_t *)local[i] = PATTERN;
		((volatile uint64_t *)local[i])[7] = PATTERN;
		many[i] = hide(local[i]);
	}
	publish(&h->ready, 1);
	spin_until(&h->leave, 1);
	MGC_KEEP(local);
	return NULL;
}

TEST(many_words_on_a_stack)
{
	struct holder h = { 0 };
	pthread_create(&h.thread, NULL, hold_many, &h);
	spin_until(&h.ready, 1);
	collect_and_fill();
	for (int i = 0; i < NMANY; i += 7)
		CHECK(alive(many[i]));
	publish(&h.leave, 1);
	pthread_join(h.thread, NULL);
}

/* A part of a stack that is said to be in use though the thread stands elsewhere. */
TEST(stack_segment)
{
	static void *part[4];
	uintptr_t h = make_object();
	struct stack_segment s = { NULL, (uintptr_t)part, (uintptr_t)(part + 4) };
	CHECK_EQ(mgc_thread_attach(), 0);
	put(&part[3], h);
	mutator_self()->segments = &s;
	collect_and_fill();
	CHECK(alive(h));
	mutator_self()->segments = NULL;
	on_thread(collect, NULL);
	CHECK(!alive(h));
}

static void *hold_end(void *arg)
{
	struct holder *h = arg;
	void *volatile local = NULL;
	CHECK_EQ(mgc_thread_attach(), 0);
	put((void **)(uintptr_t)&local, h->hidden - 64); /* just behind it */
	publish(&h->ready, 1);
	spin_until(&h->leave, 1);
	local = NULL;
	return NULL;
}

/* Where the face wants it, a stack word just behind an object keeps it. */
TEST(end_pointers)
{
	setenv("MGC_DEBUG", "concurrent=0", 1); /* of the stopping form */
	for (int on = 0; on < 2; on++) {
		struct holder h = { .hidden = make_object() };
		runtime.gc.roots.end_nbytes = on ? UINT64_MAX : 0;
		pthread_create(&h.thread, NULL, hold_end, &h);
		spin_until(&h.ready, 1);
		collect_and_fill();
		CHECK_EQ(alive(h.hidden), on);
		publish(&h.leave, 1);
		pthread_join(h.thread, NULL);
	}
}

static uintptr_t extra_hidden;

static void give_extra(void *arg, struct marker *mk)
{
	CHECK(arg == &extra_hidden);
	marker_candidate(mk, (uintptr_t)unhide(extra_hidden), MARK_AMBIGUOUS);
}

TEST(roots_of_a_face)
{
	extra_hidden = make_object();
	runtime.gc.roots.extra_arg = &extra_hidden;
	runtime.gc.roots.extra = give_extra;
	collect_and_fill();
	CHECK(alive(extra_hidden));
	runtime.gc.roots.extra = NULL;
	on_thread(collect, NULL);
	CHECK(!alive(extra_hidden));
}

/* A thread that the kernel ended behind the C library's back; its stack is gone. */
static void *vanish(void *arg)
{
	CHECK_EQ(mgc_thread_attach(), 0);
	publish(arg, (uint32_t)syscall(SYS_gettid));
	syscall(SYS_exit, 0);
	return NULL;
}

TEST(thread_that_vanished)
{
	pthread_attr_t attr;
	pthread_t thread;
	uint32_t tid = 0;
	void *stack = fresh_stack(&attr);
	CHECK_EQ(pthread_create(&thread, &attr, vanish, &tid), 0);
	while (__atomic_load_n(&tid, __ATOMIC_ACQUIRE) == 0 || syscall(SYS_tgkill, getpid(), tid, 0) == 0)
		usleep(100);
	CHECK_EQ(mprotect(stack, FRESH_STACK_NBYTES / 2, PROT_NONE), 0);
	munmap(stack, FRESH_STACK_NBYTES - 65536); /* what the C library has of it lies above */
	mgc_collect();
	mgc_collect();
}

/* ── the argument of a new thread ───────────────────────────────────────────────────────── */

static void *take_argument(void *arg)
{
	on_thread(collect, NULL);
	CHECK(alive(hide(arg)));
	return NULL;
}

static void *pass_argument(void *arg)
{
	pthread_t t;
	CHECK_EQ(mgc_thread_create(&t, NULL, take_argument, unhide(*(uintptr_t *)arg)), 0);
	pthread_join(t, NULL);
	return NULL;
}

TEST(argument_of_a_thread)
{
	uintptr_t h = make_object();
	on_thread(pass_argument, &h);
	on_thread(collect, NULL);
	CHECK(!alive(h));
}
