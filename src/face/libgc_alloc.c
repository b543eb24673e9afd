/* libgc_alloc.c - allocation, free and questions about objects in the libgc face. */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "os/os.h"

/* Objects of one GC_malloc_many list fill at most this much. */
#define MANY_NBYTES ((size_t)4096)

LIBGC_API void *GC_malloc(size_t nbytes);
LIBGC_API void *GC_malloc_atomic(size_t nbytes);
LIBGC_API void *GC_malloc_uncollectable(size_t nbytes);
LIBGC_API void *GC_malloc_atomic_uncollectable(size_t nbytes);
LIBGC_API void *GC_malloc_ignore_off_page(size_t nbytes);
LIBGC_API void *GC_malloc_atomic_ignore_off_page(size_t nbytes);
LIBGC_API void *GC_malloc_stubborn(size_t nbytes);
LIBGC_API void *GC_generic_malloc(size_t nbytes, int kind);
LIBGC_API void *GC_generic_or_special_malloc(size_t nbytes, int kind);
LIBGC_API void *GC_malloc_kind(size_t nbytes, int kind);
LIBGC_API void *GC_malloc_kind_global(size_t nbytes, int kind);
LIBGC_API void *GC_generic_malloc_ignore_off_page(size_t nbytes, int kind);
LIBGC_API void *GC_generic_malloc_uncollectable(size_t nbytes, int kind);
LIBGC_API void *GC_malloc_many(size_t nbytes);
LIBGC_API void GC_generic_malloc_many(size_t nbytes, int kind, void **result);
LIBGC_API void *GC_memalign(size_t align, size_t nbytes);
LIBGC_API int GC_posix_memalign(void **out, size_t align, size_t nbytes);
LIBGC_API void *GC_realloc(void *p, size_t nbytes);
LIBGC_API void GC_free(void *p);
LIBGC_API char *GC_strdup(const char *s);
LIBGC_API char *GC_strndup(const char *s, size_t n);
LIBGC_API void *GC_base(void *p);
LIBGC_API size_t GC_size(const void *p);
LIBGC_API int GC_is_heap_ptr(const void *p);
LIBGC_API int GC_is_marked(const void *p);
LIBGC_API void *GC_is_visible(void *p);
LIBGC_API void *GC_is_valid_displacement(void *p);
LIBGC_API void *GC_same_obj(void *p, void *q);
LIBGC_API int GC_get_kind_and_size(const void *p, size_t *nbytes);

/* sixteens - every object of this face is aligned to 16: no 24 B slots. */
static size_t sixteens(size_t nbytes)
{
	return nbytes > 16 && nbytes <= 24 ? 32 : nbytes;
}

static void *finish(uintptr_t p, size_t nbytes)
{
	return MGC_LIKELY(p != 0) ? (void *)p : libgc_out_of_memory(nbytes);
}

static MGC_NOINLINE void *alloc_layout(unsigned layout, size_t nbytes)
{
	struct mutator *m = libgc_self();
	if (m == NULL || nbytes > PTRDIFF_MAX)
		return libgc_out_of_memory(nbytes);
	return finish(gc_alloc(&runtime.gc, m, layout, sixteens(nbytes)), nbytes);
}

/* alloc_dense_slow - the first object of a size: its span class goes into the table. */
static MGC_NOINLINE void *alloc_dense_slow(unsigned kind, size_t nbytes)
{
	void *p = alloc_layout((libgc_ready(), libgc.kind_layout[kind]), nbytes);
	if (p != NULL && nbytes <= 1024) {
		struct span *s = space_span(&runtime.heap.pageheap.space, (uintptr_t)p);
		if (s != NULL)
			store_release(&libgc.dense[kind][(nbytes + 7) / 8], s->spanclass); /* pairs: dense */
	}
	return p;
}

/* alloc_dense - the two usual kinds: a table by size gives the span class, whose run is bumped. */
MGC_INLINE void *alloc_dense(unsigned kind, size_t nbytes)
{
	if (MGC_UNLIKELY(nbytes > 1024))
		return alloc_layout((libgc_ready(), libgc.kind_layout[kind]), nbytes);
	unsigned sc = load_acquire(&libgc.dense[kind][(nbytes + 7) / 8]); /* pairs: dense */
	uintptr_t p = cache_pop(mutator_self(), sc, runtime.heap.layouts.spanclass[sc].slot_nbytes);
	return MGC_LIKELY(p != 0) ? (void *)p : alloc_dense_slow(kind, nbytes);
}

void *GC_malloc(size_t nbytes)
{
	return alloc_dense(KIND_NORMAL, nbytes);
}

void *GC_malloc_atomic(size_t nbytes)
{
	return alloc_dense(KIND_PTRFREE, nbytes);
}

void *GC_generic_malloc(size_t nbytes, int kind)
{
	libgc_ready();
	if (kind < 0 || (unsigned)kind >= libgc.nkinds)
		mgc_misuse("GC_generic_malloc: kind %d was never made", kind);
	return alloc_layout(libgc.kind_layout[kind], nbytes);
}

void *GC_malloc_uncollectable(size_t nbytes)
{
	return GC_generic_malloc(nbytes, KIND_UNCOLLECTABLE);
}

void *GC_malloc_atomic_uncollectable(size_t nbytes)
{
	return GC_generic_malloc(nbytes, KIND_AUNCOLLECTABLE);
}

void *GC_malloc_ignore_off_page(size_t nbytes)
{
	return GC_malloc(nbytes);
}

void *GC_malloc_atomic_ignore_off_page(size_t nbytes)
{
	return GC_malloc_atomic(nbytes);
}

void *GC_malloc_stubborn(size_t nbytes)
{
	return GC_malloc(nbytes);
}

void *GC_generic_or_special_malloc(size_t nbytes, int kind)
{
	return GC_generic_malloc(nbytes, kind);
}

void *GC_malloc_kind(size_t nbytes, int kind)
{
	return GC_generic_malloc(nbytes, kind);
}

void *GC_malloc_kind_global(size_t nbytes, int kind)
{
	return GC_generic_malloc(nbytes, kind);
}

void *GC_generic_malloc_ignore_off_page(size_t nbytes, int kind)
{
	return GC_generic_malloc(nbytes, kind);
}

void *GC_generic_malloc_uncollectable(size_t nbytes, int kind)
{
	return GC_generic_malloc(nbytes,
				 kind == KIND_PTRFREE ? KIND_AUNCOLLECTABLE : KIND_UNCOLLECTABLE);
}

/* link_run - takes up to MANY_NBYTES of slots from the mutator's run and links them by their first
 * words. The first slot, or 0. */
static uintptr_t link_run(struct mutator *m, unsigned sc, size_t slot)
{
	uintptr_t first = gc_alloc_slot(&runtime.gc, m, sc, slot), last = first;
	for (size_t n = slot; first != 0 && n + slot <= MANY_NBYTES; n += slot) {
		uintptr_t p = cache_pop(m, sc, slot);
		if (p == 0)
			break;
		*(uintptr_t *)last = p;
		last = p;
	}
	if (first != 0)
		*(uintptr_t *)last = 0;
	return first;
}

void GC_generic_malloc_many(size_t nbytes, int kind, void **result)
{
	struct mutator *m = libgc_self();
	*result = NULL;
	if (kind < 0 || (unsigned)kind >= libgc.nkinds)
		mgc_misuse("GC_generic_malloc_many: kind %d was never made", kind);
	if (m == NULL || nbytes > MGC_MAX_SMALL) {
		void *p = GC_generic_malloc(nbytes, kind);
		if (p != NULL)
			*(void **)p = NULL;
		*result = p;
		return;
	}
	unsigned sc = layout_spanclass(&runtime.heap.layouts, libgc.kind_layout[kind],
				       sizeclass_of(sixteens(nbytes)));
	uintptr_t p = sc == 0 ? 0 : link_run(m, sc, runtime.heap.layouts.spanclass[sc].slot_nbytes);
	*result = finish(p, nbytes);
}

void *GC_malloc_many(size_t nbytes)
{
	void *list;
	GC_generic_malloc_many(nbytes, KIND_NORMAL, &list);
	return list;
}

void *GC_memalign(size_t align, size_t nbytes)
{
	struct mutator *m = libgc_self();
	if (!is_pow2(align) || m == NULL || nbytes > PTRDIFF_MAX)
		return libgc_out_of_memory(nbytes);
	align = max_size(align, MGC_GRANULE);
	return finish(gc_alloc_aligned(&runtime.gc, m, libgc.kind_layout[KIND_NORMAL], nbytes, align),
		      nbytes);
}

int GC_posix_memalign(void **out, size_t align, size_t nbytes)
{
	if (!is_pow2(align) || align < sizeof(void *))
		return EINVAL;
	*out = GC_memalign(align, nbytes);
	return *out != NULL ? 0 : ENOMEM;
}

/* kind_layout_of - the layout of the object at p, which is the start of one. */
static unsigned layout_of(const void *p)
{
	const struct span *s = space_span(&runtime.heap.pageheap.space, (uintptr_t)p);
	return runtime.heap.layouts.spanclass[s->spanclass].layout;
}

void *GC_realloc(void *p, size_t nbytes)
{
	size_t old;
	if (p == NULL)
		return GC_malloc(nbytes);
	if (nbytes == 0) {
		GC_free(p);
		return NULL;
	}
	if (gc_object(&runtime.gc, (uintptr_t)p, &old) != (uintptr_t)p)
		mgc_misuse("GC_realloc of %p, which is not the start of an object", p);
	if (nbytes <= old && nbytes >= old / 2) {
		memset((char *)p + nbytes, 0, old - nbytes); /* old contents keep nothing alive */
		return p;
	}
	void *q = alloc_layout(layout_of(p), nbytes);
	if (q == NULL)
		return NULL;
	memcpy(q, p, min_size(old, nbytes));
	GC_free(p);
	return q;
}

void GC_free(void *p)
{
	if (p == NULL)
		return;
	struct mutator *m = libgc_self();
	if (m != NULL)
		gc_free(&runtime.gc, m, (uintptr_t)p);
}

char *GC_strndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = GC_malloc_atomic(len + 1);
	if (copy == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *GC_strdup(const char *s)
{
	return s == NULL ? NULL : GC_strndup(s, SIZE_MAX);
}

void *GC_base(void *p)
{
	size_t nbytes;
	libgc_ready();
	return (void *)gc_object(&runtime.gc, (uintptr_t)p, &nbytes);
}

size_t GC_size(const void *p)
{
	size_t nbytes = 0;
	libgc_ready();
	return gc_object(&runtime.gc, (uintptr_t)p, &nbytes) != 0 ? nbytes : 0;
}

int GC_is_heap_ptr(const void *p)
{
	libgc_ready();
	return space_span(&runtime.heap.pageheap.space, (uintptr_t)p) != NULL;
}

int GC_is_marked(const void *p)
{
	uintptr_t base = (uintptr_t)GC_base((void *)(uintptr_t)p);
	return base != 0 && space_is_marked(&runtime.heap.pageheap.space, base);
}

void *GC_is_visible(void *p)
{
	return p;
}

void *GC_is_valid_displacement(void *p)
{
	return p;
}

void *GC_same_obj(void *p, void *q)
{
	void *base = GC_base(p);
	if (base != NULL && base != GC_base(q))
		mgc_misuse("GC_same_obj: %p and %p are not in the same object", p, q);
	return p;
}

int GC_get_kind_and_size(const void *p, size_t *nbytes)
{
	size_t ignored;
	uintptr_t base = gc_object(&runtime.gc, (uintptr_t)p, nbytes != NULL ? nbytes : &ignored);
	for (unsigned k = 0; base != 0 && k < libgc.nkinds; k++)
		if (libgc.kind_layout[k] == layout_of((void *)base))
			return (int)k;
	return KIND_NORMAL;
}
