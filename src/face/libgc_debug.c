/* libgc_debug.c - libgc's debugging allocation, for programs compiled with GC_DEBUG: each object has a
 * header before it, which says where it was made, and a guard behind it. GC_base gives the header's
 * address, as in libgc. Each collection looks at the guards; what is wrong is named once.
 *
 * STATE  of a header: live → freed (collectable ones stay, filled with 0xdeadbeef, until the collector takes
 *        them, so that a second free is seen) · live → smashed, reported
 * UNITS  bytes. */
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "face/libgc_header.h"
#include "gc/edge.h"

#define WHERE const char *file, int line
#define GUARD 0xa7
#define GUARD_NBYTES 8

LIBGC_API void *GC_debug_malloc(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_atomic(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_uncollectable(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_atomic_uncollectable(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_ignore_off_page(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_atomic_ignore_off_page(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_malloc_stubborn(size_t nbytes, WHERE);
LIBGC_API void *GC_debug_generic_or_special_malloc(size_t nbytes, int kind, WHERE);
LIBGC_API void *GC_debug_gcj_malloc(size_t nbytes, void *vtable, WHERE);
LIBGC_API void *GC_debug_realloc(void *p, size_t nbytes, WHERE);
LIBGC_API void GC_debug_free(void *p);
LIBGC_API char *GC_debug_strdup(const char *s, WHERE);
LIBGC_API char *GC_debug_strndup(const char *s, size_t n, WHERE);
LIBGC_API void *GC_debug_malloc_replacement(size_t nbytes);
LIBGC_API void *GC_debug_realloc_replacement(void *p, size_t nbytes);
LIBGC_API void GC_debug_change_stubborn(const void *p);
LIBGC_API void GC_debug_end_stubborn_change(const void *p);
LIBGC_API void GC_debug_ptr_store_and_dirty(void *p, const void *q);
LIBGC_API void GC_debug_register_displacement(size_t offset);
LIBGC_API size_t GC_get_debug_header_size(void);
extern LIBGC_API const size_t GC_debug_header_size;

LIBGC_API void *GC_base(void *p);
LIBGC_API size_t GC_size(const void *p);
LIBGC_API void GC_free(void *p);
LIBGC_API void GC_register_displacement(size_t offset);
LIBGC_API void GC_ptr_store_and_dirty(void *p, const void *q);
LIBGC_API int GC_get_kind_and_size(const void *p, size_t *nbytes);
extern LIBGC_API int GC_gcj_debug_kind;

const size_t GC_debug_header_size = sizeof(struct debug_header);

size_t GC_get_debug_header_size(void)
{
	return sizeof(struct debug_header);
}

/* ── headers and guards ─────────────────────────────────────────────────────────────────── */

struct debug_header *header_at(uintptr_t object)
{
	struct debug_header *h = (struct debug_header *)object;
	const struct span *s = space_span(&runtime.heap.pageheap.space, object);
	if (runtime.heap.layouts.spanclass[s->spanclass].flags & LAYOUT_NOZERO) /* may hold an old one */
		return NULL;
	uintptr_t key = edge_nbytes(s) < sizeof *h ? UINTPTR_MAX : h->seal ^ object ^ HEADER_SEAL;
	return key <= HEADER_FREED ? h : NULL;
}

bool header_is_freed(const struct debug_header *h)
{
	return (h->seal ^ (uintptr_t)h ^ HEADER_SEAL) == HEADER_FREED;
}

/* in_words - the last word belongs to the object, whole: programs that read and write words rely on it, and libgc's guard, too, begins
 * behind it. */
static size_t in_words(size_t nbytes)
{
	return align_up(nbytes, sizeof(GC_word));
}

/* guard_of - the bytes behind the object, up to the end of its slot but not many. */
static unsigned char *guard_of(const struct debug_header *h, size_t *nbytes)
{
	size_t used = sizeof *h + in_words(h->nbytes);
	*nbytes = min_size(GC_size(h) - used, 2 * GUARD_NBYTES);
	return (unsigned char *)(uintptr_t)h + used;
}

const unsigned char *header_smashed_at(const struct debug_header *h)
{
	size_t n;
	const unsigned char *guard = guard_of(h, &n);
	for (size_t i = 0; i < n; i++)
		if (guard[i] != GUARD)
			return guard + i;
	return NULL;
}

static void *fill_in(void *object, size_t nbytes, WHERE)
{
	struct debug_header *h = object;
	size_t n;
	if (object == NULL)
		return NULL;
	h->file = file;
	h->line = (uint32_t)line;
	h->reported = 0;
	h->nbytes = nbytes;
	unsigned char *guard = guard_of(h, &n);
	memset(guard, GUARD, n);
	MGC_COMPILER_FENCE(); /* a collection that comes now finds it whole */
	h->seal = (uintptr_t)h ^ HEADER_SEAL ^ HEADER_LIVE;
	store_relaxed(&libgc.debugging, true);
	return h + 1;
}

/* header_of - of a debug object by its own address; dies when there is none. */
static struct debug_header *header_of(void *p, const char *function)
{
	uintptr_t base = (uintptr_t)GC_base(p);
	struct debug_header *h = base != 0 ? header_at(base) : NULL;
	if (base == 0)
		mgc_misuse("%s of %p, which is in no object", function, p);
	if (h == NULL || (void *)(h + 1) != p)
		return NULL;
	return h;
}

/* ── allocation ─────────────────────────────────────────────────────────────────────────── */

static void *alloc(unsigned kind, size_t nbytes, WHERE)
{
	libgc_ready();
	if (nbytes > PTRDIFF_MAX)
		return libgc_out_of_memory(nbytes);
	size_t total = sizeof(struct debug_header) + in_words(nbytes) + GUARD_NBYTES;
	bool dirty = runtime.heap.layouts.layout[libgc.kind_layout[kind]].desc.flags & LAYOUT_NOZERO;
	void *p = dirty ? libgc_alloc_layout(LAYOUT_ID_NOSCAN, total) : libgc_alloc(kind, total);
	return fill_in(p, nbytes, file, line);
}

void *GC_debug_malloc(size_t nbytes, WHERE)
{
	return alloc(KIND_NORMAL, nbytes, file, line);
}

void *GC_debug_malloc_atomic(size_t nbytes, WHERE)
{
	return alloc(KIND_PTRFREE, nbytes, file, line);
}

void *GC_debug_malloc_uncollectable(size_t nbytes, WHERE)
{
	return alloc(KIND_UNCOLLECTABLE, nbytes, file, line);
}

void *GC_debug_malloc_atomic_uncollectable(size_t nbytes, WHERE)
{
	return alloc(KIND_AUNCOLLECTABLE, nbytes, file, line);
}

void *GC_debug_malloc_ignore_off_page(size_t nbytes, WHERE)
{
	return alloc(KIND_NORMAL, nbytes, file, line);
}

void *GC_debug_malloc_atomic_ignore_off_page(size_t nbytes, WHERE)
{
	return alloc(KIND_PTRFREE, nbytes, file, line);
}

void *GC_debug_malloc_stubborn(size_t nbytes, WHERE)
{
	return alloc(KIND_NORMAL, nbytes, file, line);
}

void *GC_debug_generic_or_special_malloc(size_t nbytes, int kind, WHERE)
{
	libgc_kind_layout(kind, "GC_debug_generic_or_special_malloc");
	return alloc((unsigned)kind, nbytes, file, line);
}

void *GC_debug_gcj_malloc(size_t nbytes, void *vtable, WHERE)
{
	if (GC_gcj_debug_kind == 0)
		mgc_misuse("GC_debug_gcj_malloc before GC_init_gcj_malloc");
	void **p = alloc((unsigned)GC_gcj_debug_kind, nbytes, file, line);
	if (p != NULL)
		store_relaxed(p, vtable);
	return p;
}

void GC_debug_free(void *p)
{
	if (p == NULL)
		return;
	struct debug_header *h = header_of(p, "GC_debug_free");
	if (h == NULL) {
		libgc_warn("GC_debug_free of %p, which GC_debug_malloc did not give out\n", (GC_word)p);
		GC_free(p);
		return;
	}
	if (header_is_freed(h))
		mgc_misuse("second GC_debug_free of %p (made at %s:%u, %zu B)", p, h->file, h->line,
			   h->nbytes);
	(void)libgc_check_guard(h);
	h->seal = (uintptr_t)h ^ HEADER_SEAL ^ HEADER_FREED;
	unsigned kind = libgc_kind_of((uintptr_t)h);
	if (GC_find_leak || kind == KIND_UNCOLLECTABLE || kind == KIND_AUNCOLLECTABLE) {
		GC_free(h);
		return;
	}
	for (size_t i = 0; i + sizeof(uint32_t) <= h->nbytes; i += sizeof(uint32_t))
		*(uint32_t *)((char *)p + i) = 0xdeadbeef;
}

void *GC_debug_realloc(void *p, size_t nbytes, WHERE)
{
	if (p == NULL)
		return alloc(KIND_NORMAL, nbytes, file, line);
	struct debug_header *h = header_of(p, "GC_debug_realloc");
	if (nbytes == 0) {
		GC_debug_free(p);
		return NULL;
	}
	if (h == NULL)
		mgc_misuse("GC_debug_realloc of %p, which GC_debug_malloc did not give out", p);
	void *q = alloc(libgc_kind_of((uintptr_t)h), nbytes, file, line);
	if (q == NULL)
		return NULL;
	memcpy(q, p, min_size(h->nbytes, nbytes));
	GC_debug_free(p);
	return q;
}

char *GC_debug_strndup(const char *s, size_t n, WHERE)
{
	size_t len = strnlen(s, n);
	char *copy = alloc(KIND_PTRFREE, len + 1, file, line);
	if (copy == NULL)
		return NULL;
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *GC_debug_strdup(const char *s, WHERE)
{
	return s == NULL ? NULL : GC_debug_strndup(s, SIZE_MAX, file, line);
}

void *GC_debug_malloc_replacement(size_t nbytes)
{
	return alloc(KIND_NORMAL, nbytes, "unknown", 0);
}

void *GC_debug_realloc_replacement(void *p, size_t nbytes)
{
	return GC_debug_realloc(p, nbytes, "unknown", 0);
}

void GC_debug_change_stubborn(const void *p)
{
	(void)p; /* the system tells what is written */
}

void GC_debug_end_stubborn_change(const void *p)
{
	(void)p;
}

void GC_debug_ptr_store_and_dirty(void *p, const void *q)
{
	GC_ptr_store_and_dirty(p, q);
}

void GC_debug_register_displacement(size_t offset)
{
	GC_register_displacement(offset);
	GC_register_displacement(offset + sizeof(struct debug_header));
}

/* ── finalizers of debug objects: registered for the header's address ───────────────────── */

/* What the program registered. In an object without a header, kept alive as the finalizer's argument. */
struct closure {
	GC_finalization_proc fn;
	void *arg;
};

static void call_closure(void *object, void *p)
{
	const struct closure *c = p;
	c->fn((struct debug_header *)object + 1, c->arg);
}

static struct closure *make_closure(GC_finalization_proc fn, void *arg)
{
	struct closure *c = fn != NULL ? libgc_alloc(KIND_NORMAL, sizeof *c) : NULL;
	if (c != NULL)
		*c = (struct closure){ fn, arg };
	return c;
}

typedef void (*register_fn)(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);

static void register_debug(register_fn call, void *obj, GC_finalization_proc fn, void *cd,
			   GC_finalization_proc *ofn, void **ocd)
{
	GC_finalization_proc old = NULL;
	void *old_arg = NULL;
	libgc_ready();
	struct debug_header *h = GC_base(obj) != NULL ? header_of(obj, "a finalizer") : NULL;
	if (h == NULL) { /* no object at all, or a plain one */
		call(obj, fn, cd, ofn, ocd);
		return;
	}
	struct closure *c = make_closure(fn, cd);
	if (fn != NULL && c == NULL)
		return;
	call(h, fn != NULL ? call_closure : NULL, c, &old, &old_arg);
	if (old == call_closure) {
		const struct closure *was = old_arg;
		old = was->fn;
		old_arg = was->arg;
	}
	if (ofn != NULL)
		*ofn = old;
	if (ocd != NULL)
		*ocd = old_arg;
}

#define DEBUG_FINALIZER(suffix) \
	LIBGC_API void GC_register_finalizer##suffix(void *, GC_finalization_proc, void *, \
						     GC_finalization_proc *, void **); \
	LIBGC_API void GC_debug_register_finalizer##suffix(void *, GC_finalization_proc, void *, \
							   GC_finalization_proc *, void **); \
	void GC_debug_register_finalizer##suffix(void *obj, GC_finalization_proc fn, void *cd, \
						 GC_finalization_proc *ofn, void **ocd) \
	{ \
		register_debug(GC_register_finalizer##suffix, obj, fn, cd, ofn, ocd); \
	}

DEBUG_FINALIZER()
DEBUG_FINALIZER(_ignore_self)
DEBUG_FINALIZER(_no_order)
DEBUG_FINALIZER(_unreachable)
