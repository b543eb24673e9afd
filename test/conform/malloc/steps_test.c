/* steps_test.c - the short ways of malloc and free are taken, and are as short as they are: the processor's instructions,
 * one by one, from the entry to the return, of sizes up to 32 KiB. path_test.py counts in the disassembly what lies on
 * them; here is whether a program comes that way. As there, fewer than a row says are wrong, too: the row is to be kept
 * true.
 * links: malloc
 * not under: thread, address, undefined, hostile, cross */
#include <malloc.h>

#include "lib/plain.h"
#include "lib/step.h"

#if STEP_WORKS && defined(NDEBUG)
#define COUNTS_HOLD true
#else
#define COUNTS_HOLD false
#endif

void *_Znwm(size_t nbytes);
void _ZdlPv(void *p);

static const struct {
	size_t nbytes, alloc, free;
} rows[] = {
	{ 1, 13, 15 },    { 16, 13, 15 },   { 1024, 13, 15 },  { 1025, 15, 15 },
	{ 2048, 15, 15 }, { 8192, 15, 15 }, { 20000, 15, 15 }, { 32768, 15, 15 },
};

#if COUNTS_HOLD
/* A call of one of the functions, or of one that is a single instruction. */
static struct call {
	void *(*alloc)(size_t nbytes);
	void (*free)(void *p);
	size_t (*usable)(void *p);
	size_t nbytes;
	void *p;
} call;
void return_at_once(void);
__asm__(".text\nreturn_at_once: ret\n");

static void alloc_once(void *arg)
{
	struct call *c = arg;
	c->p = c->alloc(c->nbytes);
}

static void free_once(void *arg)
{
	struct call *c = arg;
	c->free(c->p);
}

static size_t steps(void (*fn)(void *arg))
{
	(void)step_run(fn, &call, SIZE_MAX, NULL);
	return step_count;
}

static void check_pair(void *(*alloc)(size_t nbytes), void (*give)(void *p), size_t i)
{
	free(malloc(rows[i].nbytes)); /* there is a current slab, with a block in its list */
	call = (struct call){ (void *(*)(size_t))return_at_once, (void (*)(void *))return_at_once,
			      NULL, rows[i].nbytes, NULL };
	size_t around_alloc = steps(alloc_once) - 1, around_free = steps(free_once) - 1;
	call.alloc = alloc;
	call.free = give;
	CHECK_EQ(steps(alloc_once) - around_alloc, rows[i].alloc);
	memset(call.p, 0xaa, rows[i].nbytes);
	CHECK_EQ(steps(free_once) - around_free, rows[i].free);
}

static void ask_once(void *arg)
{
	struct call *c = arg;
	c->nbytes = c->usable(c->p);
}
#endif

TEST(pairs_take_the_short_ways)
{
#if COUNTS_HOLD
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		check_pair(malloc, free, i);
		check_pair(_Znwm, _ZdlPv, i);
	}
#else
	(void)rows;
	SKIP("x86-64 only, and without asserts");
#endif
}

/* Some programs ask for the size of each block, when they get it and before they free it. */
TEST(sizes_are_had_in_a_short_way)
{
#if COUNTS_HOLD
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		call = (struct call){ NULL, NULL, (size_t (*)(void *))return_at_once, 0,
				      malloc(rows[i].nbytes) };
		size_t around = steps(ask_once) - 1;
		call.usable = malloc_usable_size;
		CHECK_EQ(steps(ask_once) - around, 25);
		CHECK(call.nbytes >= rows[i].nbytes);
		free(call.p);
	}
#else
	SKIP("x86-64 only, and without asserts");
#endif
}
