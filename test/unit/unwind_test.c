/* unwind_test.c - the remembered walk gives what the tables give: on deep stacks, with frames whose size varies, on
 * threads and coroutine-like stacks in turn. */
#include <alloca.h>
#include <ucontext.h>

#include "lib/plain.h"

#include "base/compiler.h"
#include "sample/unwind.h"

#define MAX 64

struct stack {
	size_t n;
	uintptr_t pc[MAX];
};

static __thread struct unwind_thread thread;

/* What the tables say: a thread about whose stack nothing is known. */
static MGC_NOINLINE void take(struct stack *s, bool by_tables)
{
	struct unwind_thread unknown = { 0, 0 };
	s->n = unwind_stack(by_tables ? &unknown : &thread, s->pc, MAX, 0);
	MGC_COMPILER_FENCE();
}

static MGC_NOINLINE void take_both(void)
{
	struct stack a, b;
	for (int i = 0; i < 6; i++) { /* until the walk is trusted, and then */
		take(&a, true);
		take(&b, false);
		CHECK(a.n > 2 && a.n == b.n);
		for (size_t k = 1; k < a.n; k++) /* 0: the two calls above */
			CHECK(k == 1 || a.pc[k] == b.pc[k]);
	}
}

static MGC_NOINLINE int descend(int depth)
{
	if (depth == 0)
		take_both();
	else if (descend(depth - 1) < 0)
		return -1;
	MGC_COMPILER_FENCE();
	return depth;
}

TEST(deep_stacks)
{
	for (int depth = 0; depth < 50; depth++)
		descend(depth);
	descend(500); /* more than fits */
}

/* The frame's size is known only when it runs. */
static MGC_NOINLINE int with_room(size_t nbytes, int depth)
{
	char *room = alloca(nbytes);
	memset(room, 0xff, nbytes);
	int got = descend(depth);
	MGC_KEEP(room);
	return got + room[nbytes / 2];
}

TEST(frames_whose_size_varies)
{
	for (size_t nbytes = 16; nbytes < 20000; nbytes = nbytes * 3 / 2)
		for (int i = 0; i < 6; i++)
			with_room(nbytes, i % 3);
	for (int i = 0; i < 50; i++)
		with_room(16 + (size_t)i * 48 % 1000, 2);
}

static void *walk_around(void *arg)
{
	(void)arg;
	for (int i = 0; i < 200; i++)
		descend(i % 20);
	return NULL;
}

TEST(threads)
{
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, walk_around, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

static ucontext_t home, away[2];

static void coroutine(int which)
{
	for (;;) {
		descend(which * 7);
		swapcontext(&away[which], &home);
	}
}

static void prepare(int which, char *lo, size_t nbytes)
{
	getcontext(&away[which]);
	away[which].uc_stack.ss_sp = lo;
	away[which].uc_stack.ss_size = nbytes;
	makecontext(&away[which], (void (*)(void))coroutine, 1, which);
}

TEST(other_stacks_of_one_thread)
{
	static char room[2][65536];
	for (int i = 0; i < 2; i++)
		prepare(i, room[i], sizeof room[i]);
	for (volatile int i = 0; i < 20; i++) { /* swapcontext may come back in its own way */
		swapcontext(&home, &away[i % 2]);
		descend(i);
	}
}

TEST(skipped_frames)
{
	struct stack all, some;
	for (int i = 0; i < 8; i++) {
		all.n = unwind_stack(&thread, all.pc, MAX, 0);
		some.n = unwind_stack(&thread, some.pc, MAX, 1);
		CHECK_EQ(some.n + 1, all.n);
		CHECK(memcmp(all.pc + 1, some.pc, some.n * sizeof some.pc[0]) == 0);
		CHECK_EQ(unwind_stack(&thread, some.pc, 2, 1), 2);
	}
}
