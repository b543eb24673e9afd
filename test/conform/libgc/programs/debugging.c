/* debugging.c - objects with headers: their place, copies, finalizers; damage and leaks are named. */
#define GC_DEBUG
#define GC_THREADS
#include "common.h"
#include <gc/gc_mark.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static int nrun, whole;

static void on_final(void *obj, void *cd)
{
	nrun++;
	whole += *(long *)obj == 99 && cd == (void *)5;
}

static void drop_some(void)
{
	for (int i = 0; i < MANY; i++) {
		long *p = GC_MALLOC(24);
		*p = 99;
		GC_REGISTER_FINALIZER_NO_ORDER(p, on_final, (void *)5, NULL, NULL);
	}
}

static void headers(void)
{
	char *p = GC_MALLOC(50), *q = GC_MALLOC_ATOMIC(50);
	printf("header: %d %d\n", (int)(p - (char *)GC_base(p)) == (int)GC_get_debug_header_size(),
	       GC_USR_PTR_FROM_BASE(GC_base(q)) == q);
	printf("aligned: %d, zero: %d\n", (int)((GC_word)p % 16), p[0] + p[49]);
	strcpy(p, "copied");
	p = GC_REALLOC(p, 500);
	printf("%s %s %s\n", p, GC_STRDUP("dup"), GC_STRNDUP("ndup", 2));
	GC_FREE(p);
	GC_FREE(GC_MALLOC_UNCOLLECTABLE(30));
	GC_finalization_proc old;
	void *cd;
	GC_REGISTER_FINALIZER(q, on_final, (void *)6, &old, &cd);
	GC_REGISTER_FINALIZER(q, NULL, NULL, &old, &cd);
	printf("previous: %d %d\n", old == on_final, cd == (void *)6);
	afar(drop_some);
	collect();
	collect();
	GC_invoke_finalizers();
	say("finalized", nrun, MANY);
	printf("whole: %d\n", nrun == whole);
}

/* complains - whether a child that does this writes to standard error. */
static int complains(void (*fn)(void))
{
	char text[64];
	int ends[2], n = 0;
	if (pipe(ends) != 0)
		abort();
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[1], 2);
		fn();
		_exit(0);
	}
	close(ends[1]);
	for (long got; (got = read(ends[0], text, sizeof text)) > 0;)
		n += (int)got;
	close(ends[0]);
	waitpid(pid, NULL, 0);
	return n > 0;
}

static void nothing_wrong(void)
{
	static char *volatile kept;
	kept = GC_MALLOC(40);
	memset(kept, 1, 40);
	collect();
}

static void write_behind(void)
{
	static char *volatile kept;
	kept = GC_MALLOC(40);
	memset(kept, 1, 44);
	collect();
}

/* The last word of an object is its own. */
static void write_last_word(void)
{
	static long *volatile kept[40];
	for (size_t n = 0; n < 40; n++) {
		kept[n] = n % 2 ? GC_MALLOC_ATOMIC(n + 1) : GC_MALLOC(n + 1);
		if (n % 2 == 0 && kept[n][n / sizeof(long)] != 0)
			printf("%zu: %lx\n", n, kept[n][n / sizeof(long)]);
		kept[n][n / sizeof(long)] = -1;
	}
	collect();
	for (size_t n = 0; n < 40; n++)
		GC_FREE(kept[n]);
}

static void write_behind_and_free(void)
{
	char *volatile p = GC_MALLOC(40);
	memset(p, 1, 44);
	GC_FREE(p);
	collect();
}

static void leak(void)
{
	for (int i = 0; i < 20; i++)
		memset(GC_MALLOC(40), 1, 40);
}

static void find_leaks(void)
{
	GC_set_find_leak(1);
	afar(leak);
	collect();
}

static void *freed[20];

static void free_them(void)
{
	for (int i = 0; i < 20; i++)
		freed[i] = GC_MALLOC(40);
	for (int i = 0; i < 20; i++)
		GC_FREE(freed[i]), freed[i] = NULL;
}

static void no_leaks(void)
{
	GC_set_find_leak(1);
	afar(free_them);
	collect();
}

/* Where leaks are looked for there are no links and no finalizers. */
static void neither(void)
{
	static void *link;
	GC_finalization_proc old = on_final;
	void *cd = &link;
	GC_set_find_leak(1);
	void *obj = GC_MALLOC(40);
	printf("links: %d", GC_general_register_disappearing_link(&link, GC_base(obj)));
	printf(" %d", GC_register_long_link(&link, GC_base(obj)));
	printf(" %d\n", GC_unregister_disappearing_link(&link));
	GC_register_finalizer(GC_base(obj), NULL, NULL, &old, &cd);
	printf("finalizers: %d %d\n", old == on_final, cd == &link);
	GC_FREE(obj);
}

int main(void)
{
	use_all();
	GC_set_handle_fork(1);
	GC_INIT();
	headers();
	printf("nothing wrong: %d\n", complains(nothing_wrong));
	printf("written in the last word: %d\n", complains(write_last_word));
	printf("written behind: %d\n", complains(write_behind));
	printf("  and freed: %d\n", complains(write_behind_and_free));
	printf("leaks: %d\n", complains(find_leaks));
	printf("  none: %d\n", complains(no_leaks));
	neither();
	return 0;
}
