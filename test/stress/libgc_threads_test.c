/* libgc_threads_test.c - threads of the libgc face are made and joined by many others at once. Who has joined one lets its number go,
 * and the next thread made has it: what is known of that one is not what is known of the first. And who made one that is detached goes on
 * also when all that is known of it is gone.
 * links: libgc */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include "lib/plain.h"

#include <dlfcn.h>
#include <gc/gc.h>
#include <gc/javaxfc.h>

#define NTHREADS 16

static size_t nrounds;
static uint32_t nran; /* atomic */

#if !defined(MGC_SANITIZE_THREAD) && !defined(MGC_SANITIZE_ADDRESS)
/* pthread_join - the library's, too: whoever joined a thread is kept for a moment, in which others make theirs. */
int pthread_join(pthread_t t, void **result)
{
	static int (*next)(pthread_t, void **); /* atomic */
	int (*join)(pthread_t, void **) = __atomic_load_n(&next, __ATOMIC_RELAXED);
	if (join == NULL) {
		*(void **)&join = dlsym(RTLD_NEXT, "pthread_join");
		__atomic_store_n(&next, join, __ATOMIC_RELAXED);
	}
	int err = join(t, result);
	usleep(20);
	return err;
}
#endif

static void *same(void *arg)
{
	return arg;
}

static void *make_and_join(void *arg)
{
	for (size_t i = 0; i < nrounds; i++) {
		pthread_t t;
		void *result = NULL, *own = (char *)arg + i;
		CHECK_EQ(GC_pthread_create(&t, NULL, same, own), 0);
		CHECK_EQ(GC_pthread_join(t, &result), 0);
		CHECK(result == own);
	}
	return arg;
}

static void *count(void *arg)
{
	__atomic_fetch_add(&nran, 1, __ATOMIC_RELAXED);
	return arg;
}

static void *make_detached(void *arg)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (size_t i = 0; i < nrounds; i++) {
		pthread_t t;
		CHECK_EQ(GC_pthread_create(&t, &attr, count, arg), 0);
	}
	pthread_attr_destroy(&attr);
	return arg;
}

static void in_many(void *(*fn)(void *arg))
{
	static char base[1 << 20];
	pthread_t t[NTHREADS];
	GC_INIT();
	GC_allow_register_threads();
	for (size_t i = 0; i < NTHREADS; i++)
		CHECK_EQ(GC_pthread_create(&t[i], NULL, fn, base), 0);
	for (size_t i = 0; i < NTHREADS; i++) {
		void *result = NULL;
		CHECK_EQ(GC_pthread_join(t[i], &result), 0);
		CHECK(result == base);
	}
}

TEST_SECONDS(made_and_joined_at_once, 60)
{
	nrounds = test_size(2000);
	in_many(make_and_join);
}

TEST_SECONDS(made_detached_at_once, 60)
{
	nrounds = test_size(1000);
	in_many(make_detached);
	while (__atomic_load_n(&nran, __ATOMIC_RELAXED) != NTHREADS * nrounds)
		usleep(1000);
}

#ifndef MGC_SANITIZE_THREAD /* which dies of a second detach */
/* ── one of them is held ────────────────────────────────────────────────────────────────── */

static uint32_t stop, nended;

/* ask_again - it is looked up each time, and found detached. */
static void *ask_again(void *arg)
{
	while (__atomic_load_n(&stop, __ATOMIC_RELAXED) == 0)
		(void)GC_pthread_detach(pthread_self());
	__atomic_fetch_add(&nended, 1, __ATOMIC_RELAXED);
	return arg;
}

TEST(one_that_is_held_keeps_no_other)
{
	pthread_t t;
	GC_INIT();
	CHECK_EQ(GC_pthread_create(&t, NULL, ask_again, NULL), 0);
	for (size_t i = 0; i < test_size(500); i++) {
		pthread_t other;
		GC_suspend_thread(t);
		CHECK(GC_is_thread_suspended(t));
		CHECK_EQ(GC_pthread_create(&other, NULL, same, NULL), 0);
		CHECK_EQ(GC_pthread_join(other, NULL), 0);
		GC_resume_thread(t);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&nended, __ATOMIC_RELAXED) != 1)
		usleep(1000);
}

void GC_incr_bytes_allocd(size_t nbytes); /* no header has it */

static bool asking;
static unsigned nfinalized, nfinalized_asking;

static void count_finalized(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	nfinalized++;
	nfinalized_asking += asking;
}

static void __attribute__((noinline)) make_finalizable(unsigned n)
{
	for (; n > 0; n--)
		GC_register_finalizer(GC_malloc(32), count_finalized, NULL, NULL, NULL);
}

/* A finalizer may want a lock of the program that the held thread has. */
TEST(no_finalizer_runs_while_one_is_held_or_let_go)
{
	pthread_t t;
	GC_INIT();
	CHECK_EQ(GC_pthread_create(&t, NULL, ask_again, NULL), 0);
	make_finalizable(1000);
	GC_incr_bytes_allocd((size_t)1 << 30); /* a collection is due */
	asking = true;
	GC_suspend_thread(t);
	CHECK(GC_is_thread_suspended(t));
	GC_resume_thread(t);
	asking = false;
	CHECK_EQ(nfinalized_asking, 0);
	GC_gcollect();
	CHECK(nfinalized > 900);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&nended, __ATOMIC_RELAXED) != 1)
		usleep(1000);
}
#endif
