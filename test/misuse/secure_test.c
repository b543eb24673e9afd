/* secure_test.c - MGC_DEBUG=secure=1: a program's mistakes with malloc and free end it at once, or when the memory
 * is used again, also those that go unseen without it.
 * links: malloc */
#include "lib/plain.h"

#include <malloc.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wfree-nonheap-object"
#pragma GCC diagnostic ignored "-Wuse-after-free"
#endif
static void *volatile blind;

/* The setting is read when the library starts: this program starts anew with it. */
__attribute__((constructor)) static void start_secure(int argc, char **argv)
{
	const char *have = getenv("MGC_DEBUG");
	(void)argc;
	if (have == NULL || strstr(have, "secure=1") == NULL) {
		setenv("MGC_DEBUG", "secure=1", 1);
		execv("/proc/self/exe", argv);
		_exit(1);
	}
}

static void free_blind(const volatile void *p)
{
	blind = (void *)(uintptr_t)p;
	free(blind);
}

static void foreign(void *arg)
{
	static long in_data[8];
	long on_stack[8] = { 0 };
	free(malloc(10));
	free_blind(arg == NULL ? on_stack : in_data);
}

/* At a multiple of 16, too, and in a block of one's own: elsewhere that goes unseen. */
static void inside(void *arg)
{
	free_blind((char *)calloc(1, 1000) + (size_t)arg);
}

static void inside_large(void *arg)
{
	free_blind((char *)calloc(1, 1000000) + (size_t)arg);
}

static void twice(void *arg)
{
	void *p = malloc((size_t)arg);
	free(p);
	for (int i = 0; i < 20; i++) {
		blind = malloc(64); /* between the two */
		free(blind);
	}
	free_blind(p);
}

static void *free_it(void *p)
{
	free(p);
	return NULL;
}

static void twice_by_two(void *arg)
{
	pthread_t t;
	void *p = malloc((size_t)arg);
	pthread_create(&t, NULL, free_it, p);
	pthread_join(t, NULL);
	free_blind(p);
}

static void resize_freed(void *arg)
{
	void *p = malloc(100);
	(void)arg;
	free(p);
	blind = p;
	blind = realloc(blind, 1000);
}

static void write_after_free(void *arg)
{
	char *p = malloc((size_t)arg);
	free(p);
	blind = p;
	((volatile char *)blind)[(size_t)arg / 2] = 1;
	for (int i = 0; i < 200000; i++) {
		blind = malloc((size_t)arg);
		free(blind);
	}
}

static void read_after_free(void *arg)
{
	char *p = malloc((size_t)arg);
	memset(p, 'x', (size_t)arg);
	free(p);
	blind = p;
	if (((volatile char *)blind)[(size_t)arg / 2] != 0)
		_exit(3);
}

static void overrun_large(void *arg)
{
	volatile char *p = malloc(100000);
	for (size_t i = 0; i < 100000 + (size_t)arg; i++)
		p[i] = 1;
}

static void check_faults(void (*fn)(void *), void *arg)
{
	struct ending e = ending_of(fn, arg);
	CHECK(WIFSIGNALED(e.status) && WTERMSIG(e.status) == SIGSEGV);
}

TEST(addresses_that_are_none)
{
	CHECK_DIES(foreign, NULL, "was not allocated here");
	CHECK_DIES(foreign, (void *)1, "was not allocated here");
	for (size_t i = 1; i < 1000; i += 5)
		CHECK_DIES(inside, (void *)i, "is not the start of a block");
	CHECK_DIES(inside, (void *)16, "is not the start of a block");
	CHECK_DIES(inside_large, (void *)16, "is not the start of a block");
}

TEST(double_frees)
{
	static const size_t sizes[] = { 1, 64, 1000, 30000, 100000, 3000000 };
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		CHECK_DIES(twice, (void *)sizes[i], "was freed already");
		CHECK_DIES(twice_by_two, (void *)sizes[i], "was freed already");
	}
	CHECK_DIES(resize_freed, NULL, "realloc");
}

TEST(use_after_free)
{
	static const size_t sizes[] = { 16, 100, 5000 };
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		CHECK_DIES(write_after_free, (void *)sizes[i], "was written to after it was freed");
		CHECK_EQ(ending_of(read_after_free, (void *)sizes[i]).status, 0);
	}
	check_faults(read_after_free, (void *)100000);
	check_faults(write_after_free, (void *)100000);
}

TEST(overruns)
{
	check_faults(overrun_large, (void *)8192);
}

TEST(what_was_freed_is_zero)
{
	for (size_t n = 1; n < 100000; n += n / 3 + 1)
		for (int i = 0; i < 20; i++) {
			char *p = malloc(n);
			for (size_t k = 0; k < n; k++)
				CHECK(p[k] == 0);
			memset(p, 1, malloc_usable_size(p));
			free(p);
		}
}
