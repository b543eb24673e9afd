/* typed.c - descriptors, mark procedures, gcj: what each keeps. */
#define GC_THREADS
#include "common.h"
#include <gc/gc_gcj.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>

#define EACH 20
static void **holders[MANY];
static int next_link;

/* fill - each word of the object refers to an object of its own, which is watched from `at` on. */
static void fill(void **obj, int nwords)
{
	for (int i = 0; i < nwords; i++) {
		void *child = GC_malloc(48);
		obj[i] = child;
		watch(next_link++ % MANY, child);
	}
}

static void **(*make)(void);
static int words;

static void make_all(void)
{
	for (int i = 0; i < EACH; i++) {
		next_link = i * words;
		holders[i] = make();
		fill(holders[i], words);
	}
}

/* show - one letter a word: kept, gone, or some of each. */
static void show(const char *name, int nwords, void **(*fn)(void))
{
	char text[65] = "";
	words = nwords;
	make = fn;
	memset(links, 0, sizeof links);
	afar(make_all);
	collect();
	for (int w = 0; w < nwords; w++) {
		int n = 0;
		for (int i = 0; i < EACH; i++)
			n += links[i * nwords + w] == NULL;
		text[w] = n == 0 ? 'k' : n >= EACH - 3 ? '-' : '?';
	}
	printf("%s: %s\n", name, text);
	for (int i = 0; i < EACH; i++)
		GC_reachable_here(holders[i]);
	memset(holders, 0, sizeof holders);
}

static GC_descr some, none, prefix, huge, element;

static void **of_some(void)
{
	return GC_MALLOC_EXPLICITLY_TYPED(10 * sizeof(void *), some);
}

static void **of_none(void)
{
	return GC_MALLOC_EXPLICITLY_TYPED(10 * sizeof(void *), none);
}

static void **of_prefix(void)
{
	return GC_malloc_explicitly_typed_ignore_off_page(10 * sizeof(void *), prefix);
}

/* Words 0 and 99 of 100 are pointers; what is filled are the first ten, and word 99 by hand. */
static void **of_huge(void)
{
	void **p = GC_MALLOC_EXPLICITLY_TYPED(100 * sizeof(void *), huge);
	p[99] = NULL;
	return p;
}

static void **of_elements(void)
{
	return GC_CALLOC_EXPLICITLY_TYPED(5, 2 * sizeof(void *), element);
}

static unsigned length_kind, bitmap_kind, proc_kind, object_kind;

static void **of_length(void)
{
	return GC_generic_malloc(10 * sizeof(void *), (int)length_kind);
}

static void **of_bitmap(void)
{
	return GC_generic_malloc(10 * sizeof(void *), (int)bitmap_kind);
}

static struct GC_ms_entry *mark_third(GC_word *addr, struct GC_ms_entry *top,
				      struct GC_ms_entry *limit, GC_word env)
{
	return GC_MARK_AND_PUSH((void *)addr[env], top, limit, (void **)&addr[env]);
}

static void **of_proc(void)
{
	return GC_generic_malloc(10 * sizeof(void *), (int)proc_kind);
}

struct type {
	void *unused;
	GC_word descriptor;
};

static struct type type_length = { NULL, 4 * sizeof(void *) };
static struct type type_bitmap = { NULL, ((GC_word)5 << 61) | GC_DS_BITMAP };
static struct type type_proc;

/* gcj objects: their first word is the type, so the others are filled. */
static struct type *gcj_type;

static void **of_gcj(void)
{
	void **p = GC_GCJ_MALLOC(8 * sizeof(void *), gcj_type);
	return p + 1;
}

/* The descriptor is in the object's last word but one. */
static void **of_object(void)
{
	void **p = GC_generic_malloc(16 * sizeof(void *), (int)object_kind);
	p[1] = (void *)(((GC_word)1 << 59) | GC_DS_BITMAP); /* word 4 */
	return p + 2;
}

int main(void)
{
	GC_word bits[2] = { 0, 0 };
	use_all();
	GC_INIT();
	GC_set_warn_proc(GC_ignore_warn_proc);
	none = GC_make_descriptor(bits, 10);
	bits[0] = 0x155;
	some = GC_make_descriptor(bits, 10);
	bits[0] = 7;
	prefix = GC_make_descriptor(bits, 10);
	bits[0] = 2;
	element = GC_make_descriptor(bits, 2);
	bits[0] = 1;
	GC_set_bit(bits, 99);
	huge = GC_make_descriptor(bits, 100);
	show("some", 10, of_some);
	show("none", 10, of_none);
	show("prefix", 10, of_prefix);
	show("huge", 10, of_huge);
	show("elements", 10, of_elements);
	unsigned proc = GC_new_proc(mark_third);
	printf("procedures: %d\n", proc >= GC_RESERVED_MARK_PROCS);
	length_kind = GC_new_kind(GC_new_free_list(), 3 * sizeof(void *), 0, 1);
	bitmap_kind = GC_new_kind(GC_new_free_list(), ((GC_word)9 << 60) | GC_DS_BITMAP, 0, 1);
	proc_kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC((GC_word)proc, 6), 0, 1);
	object_kind = GC_new_kind(GC_new_free_list(), sizeof(void *) | GC_DS_PER_OBJECT, 0, 1);
	show("length", 10, of_length);
	show("bitmap", 10, of_bitmap);
	show("procedure", 10, of_proc);
	show("in the object", 8, of_object);
	GC_init_gcj_malloc(GC_GCJ_RESERVED_MARK_PROC_INDEX, (void *)mark_third);
	type_proc.descriptor = GC_MAKE_PROC((GC_word)GC_GCJ_RESERVED_MARK_PROC_INDEX, 3);
	gcj_type = &type_length;
	show("gcj length", 7, of_gcj);
	gcj_type = &type_bitmap;
	show("gcj bitmap", 7, of_gcj);
	gcj_type = &type_proc;
	show("gcj procedure", 7, of_gcj);
	return 0;
}
