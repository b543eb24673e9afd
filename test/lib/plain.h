/* plain.h - a test program without a framework, so that it also runs under ThreadSanitizer, with the
 * shared library alone, and cross-built.
 * WHAT   TEST(name) { … } registers itself; main() is here. Each test runs in a process of its own
 *        with a time limit. CHECK, CHECK_EQ end the process with the place and the values; SKIP ends
 *        it as skipped. `prog NAME…` runs only tests whose name contains one of the words.
 *        death() runs a function in a child that must die, and gives what it wrote.
 *        Random numbers: the seed is printed; SEED=N repeats it.
 * WHO    one .c file per program includes this.
 * ENV    SEED, MGC_TEST_SECONDS (stress), MGC_TEST_LONG, TEST_STAY (no time limit, for a debugger). */
#ifndef TEST_LIB_PLAIN_H
#define TEST_LIB_PLAIN_H
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define NOINLINE __attribute__((noinline))

/* A function that reads memory which a sanitizer would object to. */
#define NO_SANITIZE __attribute__((no_sanitize("address", "thread", "undefined"), noinline))

struct test {
	const char *name;
	void (*run)(void);
	unsigned seconds;
	struct test *next;
};

static struct test *tests, **last_test = &tests;

#define TEST_SECONDS(name, limit) \
	static void test_##name(void); \
	static struct test info_##name = { #name, test_##name, limit, NULL }; \
	__attribute__((constructor)) static void enlist_##name(void) \
	{ \
		*last_test = &info_##name; \
		last_test = &info_##name.next; \
	} \
	static void test_##name(void)
#define TEST(name) TEST_SECONDS(name, 30)

/* ── checks ─────────────────────────────────────────────────────────────────────────────── */

static inline UNUSED _Noreturn void test_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	fflush(NULL);
	if (getenv("TEST_STAY") != NULL)
		abort();
	_exit(1);
}

#define CHECK(cond) ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, "not so: " #cond))

static inline UNUSED void check_eq(const char *file, int line, const char *what, long long a, long long b)
{
	char text[512];
	if (a == b)
		return;
	snprintf(text, sizeof text, "%s: %lld (%#llx) is not %lld (%#llx)", what, a,
		 (unsigned long long)a, b, (unsigned long long)b);
	test_fail(file, line, text);
}

#define CHECK_EQ(a, b) check_eq(__FILE__, __LINE__, #a " == " #b, (long long)(a), (long long)(b))

#define SKIP(why) \
	do { \
		printf("  skipped: %s\n", why); \
		fflush(NULL); \
		_exit(77); \
	} while (0)

/* ── random numbers ─────────────────────────────────────────────────────────────────────── */

struct rng {
	uint64_t state;
};

static inline UNUSED uint64_t rng_next(struct rng *r) /* splitmix64 */
{
	uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* rng_below - 0 … n-1. */
static inline UNUSED size_t rng_below(struct rng *r, size_t n)
{
	return (size_t)(rng_next(r) % n);
}

/* test_seed - another one for each call; the first is printed, and tells the others. */
static inline UNUSED uint64_t test_seed(void)
{
	static uint64_t seed, ncalls;
	const char *text = getenv("SEED");
	uint64_t call = __atomic_fetch_add(&ncalls, 1, __ATOMIC_RELAXED); /* the first is before there are threads */
	if (call == 0) {
		seed = text != NULL ? strtoull(text, NULL, 0)
				    : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
		printf("  SEED=%llu\n", (unsigned long long)seed);
		fflush(stdout);
	}
	return seed + call * UINT64_C(0x9e3779b97f4a7c15);
}

/* ── sizes of tests ─────────────────────────────────────────────────────────────────────── */

static inline UNUSED double test_seconds(double usual)
{
	const char *text = getenv("MGC_TEST_SECONDS");
	return text != NULL ? strtod(text, NULL) : usual;
}

#ifdef MGC_SANITIZE_THREAD
/* It sleeps for a second at each exit, to catch races that nobody looks for here. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "atexit_sleep_ms=0";
}
#endif

/* Under a sanitizer, an emulator, in a hostile build, everything is 5 to 50 times slower. */
#ifndef MGC_HOSTILE
#define MGC_HOSTILE 0
#endif
#if defined(MGC_SANITIZE_ADDRESS) || defined(MGC_SANITIZE_THREAD) || defined(TEST_EMULATED) || MGC_HOSTILE
#define TEST_SLOW 1
#else
#define TEST_SLOW 0
#endif

static inline UNUSED size_t test_size(size_t usual)
{
	size_t n = getenv("MGC_TEST_LONG") != NULL ? 10 * usual : usual;
	return TEST_SLOW ? (n + 9) / 10 : n;
}

static inline UNUSED double now_seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ── places where no reference stays behind ─────────────────────────────────────────────── */

/* hide, unhide - an address as a word that no conservative scan takes for one. */
static inline UNUSED uintptr_t hide(const void *p)
{
	return ~(uintptr_t)p;
}

/* A compiler would else unhide it where it is used, and hold it hidden until then: alive for nobody. */
static inline UNUSED void *unhide(uintptr_t hidden)
{
	void *p = (void *)~hidden;
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

/* A stack of one's own for a thread: one that the C library uses again would still hold the last
 * thread's words in the gaps of its frames. */
#define FRESH_STACK_NBYTES ((size_t)1 << 20)

static inline UNUSED void *fresh_stack(pthread_attr_t *attr)
{
	void *stack = mmap(NULL, FRESH_STACK_NBYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_attr_init(attr);
	if (stack == MAP_FAILED || pthread_attr_setstack(attr, stack, FRESH_STACK_NBYTES) != 0)
		test_fail(__FILE__, __LINE__, "no memory for a stack");
	return stack;
}

static inline UNUSED void drop_fresh_stack(pthread_attr_t *attr, void *stack)
{
	pthread_attr_destroy(attr);
	munmap(stack, FRESH_STACK_NBYTES);
}

/* on_thread - fn(arg) on a thread that is gone, with its stack, when this returns. */
static inline UNUSED void *on_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	void *result, *stack = fresh_stack(&attr);
	if (pthread_create(&thread, &attr, fn, arg) != 0 || pthread_join(thread, &result) != 0)
		test_fail(__FILE__, __LINE__, "a thread could not be started");
	drop_fresh_stack(&attr, stack);
	return result;
}

static inline UNUSED void spin_until(uint32_t *word, uint32_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value)
		usleep(100);
}

static inline UNUSED void publish(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* ── children ───────────────────────────────────────────────────────────────────────────── */

struct ending {
	int status; /* of waitpid */
	char text[8192]; /* its standard error */
};

/* ending_of - runs fn(arg) in a child; it exits with 0 if fn returns. */
static inline UNUSED struct ending ending_of(void (*fn)(void *), void *arg)
{
	struct ending e = { 0, "" };
	int fds[2];
	fflush(NULL);
	if (pipe(fds) != 0)
		test_fail(__FILE__, __LINE__, "pipe");
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		fn(arg);
		fflush(NULL);
		_exit(0);
	}
	close(fds[1]);
	size_t n = 0;
	ssize_t got;
	char rest[256];
	while ((got = n < sizeof e.text - 1 ? read(fds[0], e.text + n, sizeof e.text - 1 - n)
					    : read(fds[0], rest, sizeof rest)) != 0)
		if (got > 0 && n < sizeof e.text - 1)
			n += (size_t)got;
	close(fds[0]);
	waitpid(pid, &e.status, 0);
	return e;
}

/* check_dies - fn(arg) must end by SIGABRT with `message` on standard error. */
static inline UNUSED void check_dies(const char *file, int line, void (*fn)(void *), void *arg,
				     const char *message)
{
	static struct ending e;
	char text[9216];
	e = ending_of(fn, arg);
	bool aborted = WIFSIGNALED(e.status) && WTERMSIG(e.status) == SIGABRT;
	if (aborted && strstr(e.text, message) != NULL)
		return;
	snprintf(text, sizeof text, "wanted SIGABRT and \"%s\", got status %#x and \"%s\"", message,
		 (unsigned)e.status, e.text);
	test_fail(file, line, text);
}

#define CHECK_DIES(fn, arg, message) check_dies(__FILE__, __LINE__, fn, arg, message)

/* ── main ───────────────────────────────────────────────────────────────────────────────── */

static pid_t test_child;
static volatile sig_atomic_t test_late;

static void on_late(int sig)
{
	(void)sig;
	test_late = 1;
	kill(-test_child, SIGKILL); /* and its children */
}

/* run_one - 0 passed, 1 failed, 77 skipped. */
static int run_one(const struct test *t)
{
	int status;
	double begin = now_seconds();
	fflush(NULL);
	test_late = 0;
	test_child = fork();
	if (test_child == 0) {
		setpgid(0, 0);
		signal(SIGALRM, SIG_DFL);
		t->run();
		fflush(NULL);
		_exit(0);
	}
	if (getenv("TEST_STAY") == NULL)
		alarm((TEST_SLOW ? 3 * t->seconds : t->seconds) + (unsigned)test_seconds(0));
	while (waitpid(test_child, &status, 0) < 0 && errno == EINTR)
		;
	alarm(0);
	bool exited = WIFEXITED(status);
	int result = !exited ? 1 : WEXITSTATUS(status) == 77 ? 77 : WEXITSTATUS(status) != 0;
	printf("%-7s %s (%.2f s)",
	       result == 0    ? "ok"
	       : result == 77 ? "skip"
			      : "FAILED",
	       t->name, now_seconds() - begin);
	if (!exited)
		printf("%s %d", test_late ? ": too late, signal" : ": signal", WTERMSIG(status));
	printf("\n");
	return result;
}

static bool wanted(const struct test *t, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(t->name, argv[i]) != NULL)
			return true;
	return argc == 1;
}

int main(int argc, char **argv)
{
	unsigned passed = 0, failed = 0, skipped = 0;
	struct sigaction sa = { .sa_handler = on_late };
	sigaction(SIGALRM, &sa, NULL);
	for (const struct test *t = tests; t != NULL; t = t->next) {
		if (!wanted(t, argc, argv))
			continue;
		int result = run_one(t);
		passed += result == 0;
		failed += result == 1;
		skipped += result == 77;
	}
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	if (failed != 0 || passed + skipped == 0)
		return 1;
	return passed == 0 ? 77 : 0;
}

#endif
