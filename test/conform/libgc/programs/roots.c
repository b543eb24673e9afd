/* roots.c - ranges that are added, removed, excluded; pushed roots; libraries; displaced pointers. */
#define GC_THREADS
#include "common.h"
#include <gc/gc_mark.h>

static void **added;
static void *excluded[MANY];
static void *pushed[MANY]; /* complemented, so that only the callback keeps them */
static int mode;

static void fill(void)
{
	for (int i = 0; i < MANY; i++) {
		void *obj = GC_malloc(40);
		if (mode == 0)
			added[i] = obj;
		else if (mode == 1)
			excluded[i] = obj;
		else if (mode == 2)
			pushed[i] = (void *)GC_HIDE_POINTER(obj);
		else
			pushed[i] = (char *)obj + 17;
		watch(i, obj);
	}
}

static GC_push_other_roots_proc next;

static void push(void)
{
	for (int i = 0; i < MANY; i++) {
		void *p = GC_REVEAL_POINTER(pushed[i]);
		GC_push_all_eager(&p, &p + 1);
	}
	if (next != NULL)
		next();
}

static void run(const char *name)
{
	memset(links, 0, sizeof links);
	afar(fill);
	collect();
	say(name, MANY - gone(0, MANY), MANY);
}

static int started;

static void on_start(void)
{
	started++;
}

#define NUNCOLLECTABLE 3000

/* uncollectable - nobody refers to the objects, and they alone to others; the thread goes on taking from their spans. */
static void uncollectable(void)
{
	static GC_word hidden[NUNCOLLECTABLE];
	int whole = 0;
	for (int i = 0; i < NUNCOLLECTABLE; i++) {
		long **u = GC_MALLOC_UNCOLLECTABLE(48);
		*u = GC_MALLOC_ATOMIC(48);
		**u = i;
		hidden[i] = GC_HIDE_POINTER(u);
		if (i % 500 == 250)
			collect();
	}
	collect();
	for (int i = 0; i < NUNCOLLECTABLE; i++)
		memset(GC_MALLOC_ATOMIC(48), 0xff, 48);
	for (int i = 0; i < NUNCOLLECTABLE; i++)
		whole += **(long **)GC_REVEAL_POINTER(hidden[i]) == i;
	say("uncollectable", whole, NUNCOLLECTABLE);
	printf("  each one: %d\n", whole == NUNCOLLECTABLE);
}

int main(void)
{
	use_all();
	GC_INIT();
	added = malloc(MANY * sizeof *added);
	GC_add_roots(added, added + MANY / 2);
	GC_add_roots(added + MANY / 2, added + MANY);
	run("added: kept");
	GC_remove_roots(added, added + MANY);
	collect();
	say("removed: kept", MANY - gone(0, MANY), MANY);
	mode = 1;
	run("in a variable: kept");
	GC_exclude_static_roots(excluded, excluded + MANY);
	run("in one that is excluded: kept");
	mode = 2;
	run("hidden: kept");
	next = GC_get_push_other_roots();
	GC_set_push_other_roots(push);
	run("hidden and pushed: kept");
	GC_set_push_other_roots(next);
	memset(pushed, 0, sizeof pushed);
	GC_set_start_callback(on_start);
	mode = 3;
	run("inside the object: kept");
	printf("told of the start: %d %d\n", started >= 3, GC_get_start_callback() == on_start);
	uncollectable();
	GC_clear_roots(); /* variables are found again */
	run("cleared: kept");
	GC_set_no_dls(1);
	GC_clear_roots();
	run("and not found again: kept");
	GC_add_roots(pushed, pushed + MANY);
	run("but named: kept");
	return 0;
}
