/* common.h - for programs that print what a libgc does, in words that every libgc would print. */
#ifndef COMMON_H
#define COMMON_H
#include <gc/gc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So many objects are made and dropped at a time; a few may be kept by stale words. */
#define MANY 200

static void *links[MANY];

/* afar - on a thread that is gone afterwards, with its stack: one of a size that does not hang on the caller's limits. */
static void *afar_main(void *fn)
{
	(*(void (**)(void))fn)();
	return NULL;
}

static void afar(void (*fn)(void))
{
	pthread_attr_t attr;
	pthread_t t;
	if (pthread_attr_init(&attr) != 0 || pthread_attr_setstacksize(&attr, 8 << 20) != 0 ||
	    pthread_create(&t, &attr, afar_main, &fn) != 0 || pthread_join(t, NULL) != 0)
		abort();
	pthread_attr_destroy(&attr);
}

/* watch - links[i] becomes 0 when the object is gone. */
static void watch(int i, void *obj)
{
	links[i] = (void *)GC_HIDE_POINTER(obj);
	GC_general_register_disappearing_link(&links[i], obj);
}

static void collect(void)
{
	for (int i = 0; i < 3; i++)
		GC_gcollect();
}

/* say - "all", "none", or that it is something in between. */
static void say(const char *what, int n, int of)
{
	printf("%s: %s\n", what,
	       n >= of - of / 20 - 1 ? "all"
	       : n <= of / 20 + 1    ? "none"
				     : "some");
}

static int gone(int from, int to)
{
	int n = 0;
	for (int i = from; i < to; i++)
		n += links[i] == NULL;
	return n;
}

static inline void use_all(void)
{
	(void)afar;
	(void)watch;
	(void)collect;
	(void)say;
	(void)gone;
}
#endif
