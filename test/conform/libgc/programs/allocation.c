/* allocation.c - sizes, clearing, kinds, questions about objects. */
#define GC_THREADS
#include "common.h"
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>
#include <errno.h>

static int is_zero(const char *p, size_t n)
{
	while (n > 0 && p[n - 1] == 0)
		n--;
	return n == 0;
}

static void sizes(void)
{
	int good = 0, zero = 0, n = 0;
	for (size_t size = 0; size < 100000; size += size < 300 ? 1 : 1117, n++) {
		char *p = GC_MALLOC(size);
		good += GC_size(p) >= size && GC_base(p + size / 2) == p && (GC_word)p % 16 == 0;
		zero += is_zero(p, size);
		memset(p, 0xff, size);
		char *q = GC_MALLOC_ATOMIC(size);
		memset(q, 0xff, size);
		good += GC_is_heap_ptr(q) && GC_size(q) >= size;
	}
	printf("sizes: %d zero: %d of %d\n", good, zero, n);
	printf("not in the heap: %d %d\n", GC_is_heap_ptr(&n), GC_base(&n) != NULL);
}

static void kinds(void)
{
	size_t size = 0;
	printf("kinds: %d %d", GC_get_kind_and_size(GC_MALLOC_ATOMIC(50), &size), size >= 50);
	printf(" %d", GC_get_kind_and_size(GC_MALLOC(50), NULL));
	void *u = GC_MALLOC_UNCOLLECTABLE(50), *a = GC_malloc_atomic_uncollectable(50);
	printf(" %d %d\n", GC_get_kind_and_size(u, NULL), GC_get_kind_and_size(a, NULL));
	unsigned k = GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
	unsigned k2 = GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 0, 0);
	printf("own: %d %d\n", GC_get_kind_and_size(GC_generic_malloc(40, (int)k), NULL) == (int)k,
	       GC_get_kind_and_size(GC_generic_malloc(40, (int)k2), NULL) == (int)k2);
	GC_FREE(u);
	GC_FREE(a);
	GC_FREE(NULL);
}

static void strings(void)
{
	char *p = NULL;
	printf("%s %s\n", GC_STRDUP("whole"), GC_STRNDUP("cut here", 3));
	for (size_t n = 1; n < 100000; n *= 3) {
		p = GC_REALLOC(p, n);
		p[n - 1] = 'x';
		p[0] = 'y';
	}
	printf("realloc: %c %d\n", p[0], GC_REALLOC(p, 0) == NULL);
	void *out;
	printf("memalign: %d", (int)((GC_word)GC_memalign(4096, 100) % 4096));
	printf(" %d %d\n", GC_posix_memalign(&out, 3, 8) == EINVAL, GC_posix_memalign(&out, 64, 8));
}

static void *fl[GC_TINY_FREELISTS], *afl[GC_TINY_FREELISTS];

static void inlined(void)
{
	void **list = NULL;
	long n = 0, sum = 0;
	GC_disable(); /* libgc 8.2 itself loses such lists; those of pointer-free objects hang on nothing */
	for (long i = 0; i < 60000; i++) {
		void **cell;
		GC_CONS(cell, i * 2 + 1, i % 1000 == 0 ? NULL : list, fl);
		list = cell;
		void **words;
		GC_MALLOC_WORDS(words, i % 40 + 1, fl);
		n += words[i % 40] == NULL;
	}
	for (; list != NULL; list = list[1])
		sum += (long)list[0];
	printf("inlined: %ld %ld\n", n, sum);
	for (long i = 0; i < 3000; i++) {
		char *bytes;
		GC_MALLOC_ATOMIC_WORDS(bytes, i % 60, afl);
		memset(bytes, 1, (size_t)(i % 60) * 8);
	}
	GC_enable();
	int many = 0;
	for (void *p = GC_malloc_many(48); p != NULL && many < 5; p = GC_NEXT(p))
		many += GC_size(p) >= 48;
	printf("many: %d\n", many > 0);
}

int main(void)
{
	use_all();
	GC_INIT();
	GC_set_warn_proc(GC_ignore_warn_proc);
	sizes();
	kinds();
	strings();
	inlined();
	collect();
	printf("%s\n", GC_is_init_called() ? "started" : "not started");
	return 0;
}
