/* libgc_errors.c - what a collection finds wrong with the program, as libgc does: with GC_find_leak, objects
 * that nobody refers to and nobody freed; damaged guards of debug objects. And what the collector prints.
 *
 * WHO    events: the world stands still, everything is marked, nothing is swept.
 * INV    E1 while leaks are looked for there are neither young collections nor any beside the program, so
 *           an allocated object without a mark is one that nothing leads to; slots in hand are marked */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "face/libgc_header.h"
#include "gc/edge.h"

/* As many leaks are named one by one in each collection. */
#define NAMED_LEAKS 100
#define DESCRIPTION_NBYTES 40 /* libgc's GC_TYPE_DESCR_LEN */

LIBGC_API void GC_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
LIBGC_API void GC_log_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
LIBGC_API void GC_set_log_fd(int fd);
LIBGC_API void GC_dump(void);
LIBGC_API void GC_dump_named(const char *name);
LIBGC_API void GC_dump_regions(void);
LIBGC_API void GC_dump_finalization(void);
LIBGC_API void GC_print_free_list(int kind, size_t ngranules);

/* ── printing ───────────────────────────────────────────────────────────────────────────── */

static int log_fd = STDERR_FILENO;

void GC_set_log_fd(int fd)
{
	log_fd = fd;
}

static void print(int fd, const char *format, va_list ap)
{
	char text[1024];
	vsnprintf(text, sizeof text, format, ap);
	mgc_print_text(fd, text);
}

#define PRINTER(name, fd) \
	void name(const char *format, ...) \
	{ \
		va_list ap; \
		va_start(ap, format); \
		print(fd, format, ap); \
		va_end(ap); \
	}

PRINTER(GC_printf, STDOUT_FILENO)
PRINTER(GC_err_printf, STDERR_FILENO)
PRINTER(GC_log_printf, log_fd)

/* ── objects for a message ──────────────────────────────────────────────────────────────── */

static const char *kind_name(unsigned kind)
{
	static const char *const name[] = { "pointer-free", "normal", "uncollectable",
					    "pointer-free uncollectable" };
	return kind < KIND_FIRST_FREE ? name[kind] : "of a kind of the program's";
}

void libgc_describe(uintptr_t object, char *out, size_t nbytes)
{
	const struct debug_header *h = header_at(object);
	const struct span *s = space_span(&runtime.heap.pageheap.space, object);
	unsigned kind = libgc_kind_of(object);
	GC_describe_type_fn describe = libgc.kind[kind].describe;
	char type[DESCRIPTION_NBYTES + 1] = "";
	if (describe != NULL)
		describe(h != NULL ? (void *)(h + 1) : (void *)object, type);
	const char *what = type[0] != '\0' ? type : kind_name(kind);
	if (h != NULL)
		mgc_format(out, nbytes, "%p (made at %s:%u, %zu B, %s)", (const void *)(h + 1),
			   h->file, h->line, h->nbytes, what);
	else
		mgc_format(out, nbytes, "%p (%zu B, %s)", (void *)object, edge_nbytes(s), what);
}

bool libgc_check_guard(struct debug_header *h)
{
	char what[160];
	const unsigned char *at = header_smashed_at(h);
	if (at == NULL || h->reported)
		return false;
	h->reported = 1;
	libgc_describe((uintptr_t)h, what, sizeof what);
	mgc_print(STDERR_FILENO, "mallocgc: the program wrote behind its object %s: at %p\n", what,
		  (const void *)at);
	return true;
}

/* ── leaks ──────────────────────────────────────────────────────────────────────────────── */

struct errors {
	const struct space *space;
	size_t nleaked, nbytes, nsmashed;
};

static void look_at(void *arg, struct span *s, uintptr_t object)
{
	struct errors *e = arg;
	struct debug_header *h = libgc.debugging ? header_at(object) : NULL;
	char what[160];
	if (h != NULL && !header_is_freed(h))
		e->nsmashed += libgc_check_guard(h);
	if (!GC_find_leak || space_is_marked(e->space, object) || (h != NULL && header_is_freed(h)))
		return;
	e->nbytes += edge_nbytes(s);
	if (++e->nleaked > NAMED_LEAKS)
		return;
	libgc_describe(object, what, sizeof what);
	mgc_print(STDERR_FILENO, "mallocgc: leaked: %s\n", what);
}

void libgc_look_for_errors(void)
{
	struct errors e = { .space = &runtime.heap.pageheap.space };
	if ((!GC_find_leak && !libgc.debugging) || load_relaxed(&runtime.gc.concurrent))
		return;
	edge_each_object(&runtime.heap, look_at, &e);
	if (e.nleaked != 0)
		mgc_print(
			STDERR_FILENO,
			"mallocgc: %zu objects, %zu B, were not freed and nothing refers to them\n",
			e.nleaked, e.nbytes);
	if (e.nleaked + e.nsmashed != 0 && getenv("GC_ABORT_ON_LEAK") != NULL)
		mgc_fatal("the program leaks or smashes objects, and GC_ABORT_ON_LEAK is set");
}

/* ── dumps ──────────────────────────────────────────────────────────────────────────────── */

void GC_dump_regions(void)
{
	struct pageheap_stats s;
	libgc_ready();
	pageheap_read_stats(&runtime.heap.pageheap, &s);
	const struct space *space = &runtime.heap.pageheap.space;
	GC_printf("heap: %p to %p reserved\n"
		  "  %zu B in spans, %zu B free and resident, %zu B free and given back\n",
		  (void *)space->base, (void *)(space->base + space->nbytes), (size_t)s.used_nbytes,
		  (size_t)s.dirty_nbytes, (size_t)s.clean_nbytes);
}

void GC_dump_finalization(void)
{
	libgc_ready();
	struct specials *s = &runtime.gc.specials;
	GC_printf("finalizers: %zu registered, %zu due; links: %zu\n", s->finalizers.n,
		  s->finalizers.nqueued, s->links.n);
}

void GC_dump_named(const char *name)
{
	struct usage u = libgc_usage();
	GC_printf("mallocgc%s%s: collection %lu\n", name != NULL ? ", " : "",
		  name != NULL ? name : "", (unsigned long)runtime.gc.ncycles);
	GC_printf("heap: %zu B, free %zu B, not resident %zu B, %zu B allocated since\n", u.heap,
		  u.free_nbytes, u.unmapped, u.since);
	GC_printf("roots: %zu ranges, %zu B read by the last collection, stacks %zu B\n",
		  runtime.gc.roots.nranges, runtime.gc.roots.scanned_nbytes,
		  runtime.gc.roots.stack_nbytes);
	GC_dump_regions();
	GC_dump_finalization();
}

void GC_dump(void)
{
	GC_dump_named(NULL);
}

void GC_print_free_list(int kind, size_t ngranules)
{
	libgc_kind_layout(kind, "GC_print_free_list");
	GC_printf("kind %d, %zu B: free slots are in spans, not in lists\n", kind,
		  ngranules * MGC_GRANULE);
}
