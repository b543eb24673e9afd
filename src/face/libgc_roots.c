/* libgc_roots.c - roots that clients name, and the callback in which they push more. */
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

#include "base/bits.h"
#include "face/libgc.h"
#include "gc/cycle.h"
#include "mallocgc.h"

LIBGC_API void GC_add_roots(void *lo, void *hi);
LIBGC_API void GC_remove_roots(void *lo, void *hi);
LIBGC_API void GC_clear_roots(void);
LIBGC_API void GC_exclude_static_roots(void *lo, void *hi);
LIBGC_API void GC_clear_exclusion_table(void);
LIBGC_API int GC_is_tmp_root(void *p);
LIBGC_API void GC_push_all(void *lo, void *hi);
LIBGC_API void GC_push_all_eager(void *lo, void *hi);
LIBGC_API void GC_push_conditional(void *lo, void *hi, int all);
LIBGC_API void GC_set_push_other_roots(void (*fn)(void));
LIBGC_API void (*GC_get_push_other_roots(void))(void);
LIBGC_API void GC_register_displacement(size_t offset);
LIBGC_API void GC_debug_register_displacement(size_t offset);
LIBGC_API void GC_register_has_static_roots_callback(int (*fn)(const char *, void *, size_t));
LIBGC_API void GC_push_finalizer_structures(void);

/* Threads' stacks are always scanned: a client that replaces this need not call it, but may. */
static void push_nothing_more(void)
{
}

void (*GC_push_other_roots)(void) = push_nothing_more;

static void push_clients_roots(void *arg, struct marker *mk)
{
	(void)arg;
	libgc.marker = mk;
	if (GC_push_other_roots != NULL)
		GC_push_other_roots();
	libgc.marker = NULL;
}

/* keep_segment - of the loaded objects, only the main program's data when the client said no_dls. */
static bool keep_segment(uintptr_t lo)
{
	bool is_main = lo >= libgc.main_lo && lo < libgc.main_hi;
	return is_main ? !libgc.main_dropped : !GC_no_dls;
}

/* find_main - where the main program's segments lie, from its program headers. */
static void find_main(void)
{
	const ElfW(Phdr) *ph = (const ElfW(Phdr) *)getauxval(AT_PHDR);
	size_t n = getauxval(AT_PHNUM);
	uintptr_t base = 0;
	for (size_t i = 0; ph != NULL && i < n; i++)
		if (ph[i].p_type == PT_PHDR)
			base = (uintptr_t)ph - ph[i].p_vaddr;
	libgc.main_lo = UINTPTR_MAX;
	for (size_t i = 0; ph != NULL && i < n; i++) {
		if (ph[i].p_type != PT_LOAD)
			continue;
		libgc.main_lo = min_size(libgc.main_lo, base + ph[i].p_vaddr);
		libgc.main_hi = max_size(libgc.main_hi, base + ph[i].p_vaddr + ph[i].p_memsz);
	}
}

void libgc_init_roots(void)
{
	find_main();
	runtime.gc.roots.extra = push_clients_roots;
	runtime.gc.roots.keep_segment = keep_segment;
}

void GC_add_roots(void *lo, void *hi)
{
	struct mutator *m = libgc_self();
	uintptr_t a = align_up((uintptr_t)lo, sizeof(GC_word)),
		  b = align_down((uintptr_t)hi, sizeof(GC_word));
	if (m == NULL || a >= b)
		return;
	int err = roots_add_union(&runtime.gc.roots, a, b, MGC_ROOT_AMBIGUOUS | MGC_ROOT_UNBARRIERED);
	if (err != 0)
		libgc_warn("GC_add_roots: no memory for the table of roots (%lu bytes not added)\n",
			   b - a);
}

void GC_remove_roots(void *lo, void *hi)
{
	struct mutator *m = libgc_self();
	if (m == NULL)
		return;
	roots_remove_within(&runtime.gc.roots, (uintptr_t)lo, (uintptr_t)hi);
}

void GC_clear_roots(void)
{
	GC_remove_roots(NULL, (void *)UINTPTR_MAX);
	libgc.main_dropped = true;
}

void GC_exclude_static_roots(void *lo, void *hi)
{
	(void)lo; /* scanning more than asked keeps no less alive */
	(void)hi;
}

void GC_clear_exclusion_table(void)
{
}

int GC_is_tmp_root(void *p)
{
	(void)p;
	return 0;
}

void GC_push_all(void *lo, void *hi)
{
	if (libgc.marker != NULL && lo != NULL && lo < hi)
		marker_range(libgc.marker, (uintptr_t)lo, (uintptr_t)hi, MARK_AMBIGUOUS);
}

void GC_push_all_eager(void *lo, void *hi)
{
	GC_push_all(lo, hi);
}

void GC_push_conditional(void *lo, void *hi, int all)
{
	(void)all;
	GC_push_all(lo, hi);
}

void GC_set_push_other_roots(void (*fn)(void))
{
	GC_push_other_roots = fn;
}

void (*GC_get_push_other_roots(void))(void)
{
	return GC_push_other_roots;
}

void GC_register_displacement(size_t offset)
{
	(void)offset; /* every interior pointer counts */
}

void GC_debug_register_displacement(size_t offset)
{
	(void)offset;
}

void GC_register_has_static_roots_callback(int (*fn)(const char *, void *, size_t))
{
	(void)fn;
}

void GC_push_finalizer_structures(void)
{
}
