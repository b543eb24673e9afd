/* libgc_roots.c - roots that clients name, and the callback in which they push more. */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "gc/cycle.h"
#include "gc/sink.h"
#include "mallocgc.h"
#include "os/os.h"

/* GC_push_all's buffer: callbacks may run on small stacks. */
#define PUSH_WORDS 64

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
typedef int (*has_static_roots_fn)(const char *object_name, void *start, size_t nbytes);
LIBGC_API void GC_register_has_static_roots_callback(has_static_roots_fn fn);
LIBGC_API void GC_push_finalizer_structures(void);

/* Threads' stacks are always scanned: a client that replaces this need not call it, but may. */
static void push_nothing_more(void)
{
}

void (*GC_push_other_roots)(void) = push_nothing_more;
static has_static_roots_fn has_static_roots;

static void push_clients_roots(void *arg, struct marker *mk)
{
	(void)arg;
	libgc.marker = mk;
	libgc_mark_toggles(mk);
	if (GC_push_other_roots != NULL)
		GC_push_other_roots();
	libgc.marker = NULL;
}

/* keep_segment - of the loaded objects, only the main program's data when the client said no_dls, and not even that when it also cleared
 * the roots (without no_dls libgc finds it again, as one of the loaded objects); and what its callback does not refuse. */
static bool keep_segment(uintptr_t lo, uintptr_t hi)
{
	bool is_main = lo >= libgc.main_lo && lo < libgc.main_hi;
	Dl_info info;
	if (GC_no_dls && (!is_main || libgc.main_dropped))
		return false;
	return is_main || has_static_roots == NULL || dladdr((void *)lo, &info) == 0 ||
	       has_static_roots(info.dli_fname, (void *)lo, hi - lo) != 0;
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
	runtime.gc.roots.strays = true;
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

/* ── parts of data segments that are none ───────────────────────────────────────────────── */

#define MAX_EXCLUDED 1024

static struct os_segment excluded[MAX_EXCLUDED]; /* by address, disjoint; WORLD */
static size_t nexcluded;

/* exclude - merges it with those that it touches. Under WORLD. */
static void exclude(uintptr_t lo, uintptr_t hi)
{
	size_t n = 0;
	for (size_t i = 0; i < nexcluded; i++) {
		if (excluded[i].hi < lo || excluded[i].lo > hi) {
			excluded[n++] = excluded[i];
			continue;
		}
		lo = min_size(lo, excluded[i].lo);
		hi = max_size(hi, excluded[i].hi);
	}
	size_t at = n;
	for (; at > 0 && excluded[at - 1].lo > lo; at--)
		excluded[at] = excluded[at - 1];
	excluded[at] = (struct os_segment){ lo, hi };
	nexcluded = n + 1;
}

static void change_excluded(uintptr_t lo, uintptr_t hi)
{
	if (libgc_self() == NULL)
		return;
	cycle_take_world(&runtime.gc);
	if (lo == hi)
		nexcluded = 0;
	else if (nexcluded == MAX_EXCLUDED)
		mgc_misuse("GC_exclude_static_roots: more than %d ranges", MAX_EXCLUDED);
	else
		exclude(lo, hi);
	runtime.gc.roots.excluded = excluded;
	runtime.gc.roots.nexcluded = nexcluded;
	lock_release(&runtime.gc.world);
}

void GC_exclude_static_roots(void *lo, void *hi)
{
	uintptr_t a = align_down((uintptr_t)lo, sizeof(GC_word)),
		  b = align_up((uintptr_t)hi, sizeof(GC_word));
	if (a < b)
		change_excluded(a, b);
}

void GC_clear_exclusion_table(void)
{
	change_excluded(0, 0);
}

/* GC_is_tmp_root - in the data of a library, which may be unloaded. */
int GC_is_tmp_root(void *p)
{
	Dl_info info;
	libgc_ready();
	bool is_main = (uintptr_t)p >= libgc.main_lo && (uintptr_t)p < libgc.main_hi;
	return !is_main && dladdr(p, &info) != 0;
}

/* ── in the callback ────────────────────────────────────────────────────────────────────── */

void GC_push_all(void *lo, void *hi)
{
	if (libgc.marker == NULL)
		mgc_misuse("GC_push_all(%p, %p) outside of a GC_push_other_roots callback", lo, hi);
	if (lo == NULL || lo >= hi)
		return;
	uintptr_t buffer[PUSH_WORDS];
	struct sink out;
	sink_to_marker(&out, libgc.marker, load_relaxed(&runtime.gc.roots.end_nbytes), buffer,
		       PUSH_WORDS);
	sink_range(&out, (uintptr_t)lo, (uintptr_t)hi);
	sink_close(&out);
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

void GC_register_has_static_roots_callback(has_static_roots_fn fn)
{
	has_static_roots = fn;
}

/* Finalizers' tables are always read. */
void GC_push_finalizer_structures(void)
{
}
