/* malloc_test.c - a program's mistakes with malloc and free end it, with a message that names the mistake:
 * which ones, and when, in the library that everybody uses.
 * links: malloc */
#include "lib/plain.h"

#include <malloc.h>

/* The compiler knows that these are mistakes. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wfree-nonheap-object"
#pragma GCC diagnostic ignored "-Wuse-after-free"
#endif
static void *volatile blind;

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
	free_blind(arg == NULL        ? on_stack
		   : arg == (void *)1 ? in_data
				      : (void *)(uintptr_t)0x123450);
}

static void inside(void *arg)
{
	free_blind((char *)calloc(1, 1000) + (size_t)arg);
}

static void inside_large(void *arg)
{
	free_blind((char *)calloc(1, 1000000) + (size_t)arg);
}

/* The second free of a small block in a row is seen when the next block of its size is asked for, or at exit. */
static void twice_in_a_row(void *arg)
{
	void *p = malloc(100);
	free(p);
	free_blind(p);
	blind = malloc(100);
	exit(arg != NULL);
}

static void twice_at_exit(void *arg)
{
	void *p = malloc(100);
	(void)arg;
	free(p);
	free_blind(p);
	exit(0);
}

static void twice_large(void *arg)
{
	void *p = malloc((size_t)arg);
	free(p);
	free_blind(p);
}

/* In a slab that is not allocated from, the count is wrong afterwards, and the slab seems to be empty when it is not. That is
 * seen before its memory is used again, or goes back, or at exit: nothing more runs in the first two cases. */
enum { AT_EXIT, GOES_BACK, USED_AGAIN, OTHER_SIZE };

static void twice_in_old_slab(void *arg)
{
	enum { N = 1400, FEW = 200 };
	static void *p[N];
	long how = (long)arg;
	for (int i = 0; i < N; i++)
		p[i] = malloc(1000);
	free(p[1]);
	free(p[2]);
	free_blind(p[1]);
	for (int i = 3; i < (how == GOES_BACK ? N : FEW); i++)
		free(p[i]);
	for (int i = 0; (how == USED_AGAIN || how == OTHER_SIZE) && i < FEW; i++)
		blind = malloc(how == USED_AGAIN ? 1000 : 5000);
	if (how == AT_EXIT)
		exit(0);
	_exit(0);
}

static void *free_it(void *p)
{
	free(p);
	free_blind(p);
	return NULL;
}

static void *free_inside(void *p)
{
	free_blind((char *)p + 16);
	return NULL;
}

static void inside_by_another(void *arg)
{
	pthread_t t;
	(void)arg;
	pthread_create(&t, NULL, free_inside, malloc(100));
	pthread_join(t, NULL);
}

static void twice_by_another(void *arg)
{
	(void)arg;
	pthread_t t;
	void *p = malloc(100);
	pthread_create(&t, NULL, free_it, p);
	pthread_join(t, NULL);
}

/* A block that was freed is written to: its link is no link any more. */
static void written_after_free(void *arg)
{
	void **p = malloc(100);
	free(p);
	blind = p;
	*(void **)blind = blind;
	blind = malloc(100);
	exit(arg != NULL);
}

static void resize_foreign(void *arg)
{
	long on_stack[8];
	(void)arg;
	blind = on_stack;
	blind = realloc(blind, 100);
}

static void size_of_freed(void *arg)
{
	void *p = malloc(500000);
	free(p);
	blind = p;
	exit(malloc_usable_size(blind) == 0 && arg != NULL);
}

TEST(addresses_that_are_none)
{
	CHECK_DIES(foreign, NULL, "was not allocated here");
	CHECK_DIES(foreign, (void *)1, "was not allocated here");
	CHECK_DIES(foreign, (void *)2, "was not allocated here");
	CHECK_DIES(inside, (void *)8, "not the start of a block");
	CHECK_DIES(inside, (void *)1, "not the start of a block");
	CHECK_DIES(inside_large, (void *)16, "not the start of a block");
	CHECK_DIES(inside_by_another, NULL, "not the start of a block");
	CHECK_DIES(resize_foreign, NULL, "realloc");
	CHECK_DIES(size_of_freed, NULL, "malloc_usable_size");
}

TEST(double_frees)
{
	CHECK_DIES(twice_in_a_row, NULL, "freed twice");
	CHECK_DIES(twice_at_exit, NULL, "freed twice");
	CHECK_DIES(twice_large, (void *)100000, "freed already");
	CHECK_DIES(twice_large, (void *)5000000, "was not allocated here, or is freed");
	for (long how = AT_EXIT; how <= OTHER_SIZE; how++)
		CHECK_DIES(twice_in_old_slab, (void *)how, "freed twice");
	CHECK_DIES(twice_by_another, NULL, "freed twice");
	CHECK_DIES(written_after_free, NULL, "written to after");
}
