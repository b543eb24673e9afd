/* limits.c - memory runs out under a limit that the program sets itself, when the heap is there: NULL, the caller's
 * function for that, and the program goes on. */
#define GC_THREADS
#include "common.h"
#include <sys/resource.h>

static int nasked;

static void *on_oom(size_t n)
{
	nasked += n == 1000;
	return NULL;
}

static void quiet(char *text, GC_word arg)
{
	(void)text;
	(void)arg;
}

static void **list;
static long made, most = 20000;

static void fill(void)
{
	for (void **p; made < most && (p = GC_MALLOC(1000)) != NULL; made++) {
		*p = list;
		list = p;
	}
}

static void *nothing(void *arg)
{
	return arg;
}

/* new_stack - a thread whose stack is longer than what the C library keeps of those that ended: it must be mapped. */
static int new_stack(void)
{
	pthread_attr_t attr;
	pthread_t t;
	int err = pthread_attr_init(&attr) | pthread_attr_setstacksize(&attr, 64 << 20);
	if (err == 0)
		err = pthread_create(&t, &attr, nothing, NULL);
	return err == 0 ? pthread_join(t, NULL) : err;
}

static __attribute__((noinline)) void count_and_drop(void)
{
	long found = 0;
	for (void **p = list; p != NULL; p = *p)
		found++;
	printf("all there: %d\n", found == made);
	list = NULL;
}

int main(void)
{
	GC_INIT();
	GC_set_warn_proc(quiet);
	afar(fill);
	struct rlimit r = { 256 << 20, 256 << 20 };
	if (setrlimit(RLIMIT_AS, &r) != 0)
		abort();
	printf("a thread at once: %d\n", new_stack() == 0);
	GC_set_oom_fn(on_oom);
	most = 1000000;
	afar(fill);
	printf("asked once: %d\n", nasked == 1);
	printf("most of the limit: %d\n", made > 100000 && made < 256000);
	count_and_drop();
	GC_gcollect();
	printf("goes on: %d\n", GC_MALLOC(1000) != NULL);
	for (int i = 0; i < 100; i++)
		if (GC_MALLOC(1000) == NULL)
			abort();
	printf("too large: %d\n", GC_MALLOC((size_t)1 << 60) == NULL);
	return 0;
}
