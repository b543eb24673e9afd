/* libgc_alloc.c - allocation, free and questions about objects in the libgc face. */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "gc/edge.h"
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
LIBGC_API void *GC_clear_stack(void *p);
LIBGC_API size_t GC_get_size_map_at(int i);
LIBGC_API void GC_register_displacement(size_t offset);
LIBGC_API void *GC_pre_incr(void **p, ptrdiff_t by);
LIBGC_API void *GC_post_incr(void **p, ptrdiff_t by);
LIBGC_API void GC_change_stubborn(const void *p);
LIBGC_API void GC_end_stubborn_change(const void *p);
LIBGC_API void GC_ptr_store_and_dirty(void *p, const void *q);
LIBGC_API void GC_incr_bytes_allocd(size_t nbytes);
LIBGC_API void GC_incr_bytes_freed(size_t nbytes);
LIBGC_API void GC_noop1(GC_word x);
extern LIBGC_API void (*GC_same_obj_print_proc)(void *p, void *q);
extern LIBGC_API void (*GC_is_valid_displacement_print_proc)(void *p);
extern LIBGC_API void (*GC_is_visible_print_proc)(void *p);

/* sixteens - every object of this face is aligned to 16: no 24 B slots. */
static size_t sixteens(size_t nbytes)
{
	return nbytes > 16 && nbytes <= 24 ? 32 : nbytes;
}

unsigned libgc_kind_layout(int kind, const char *function)
{
	libgc_ready();
	if (kind < 0 || (unsigned)kind >= load_relaxed(&libgc.nkinds))
		mgc_misuse("%s: kind %d was never made", function, kind);
	return libgc.kind_layout[kind];
}

static void *finish(uintptr_t p, size_t nbytes)
{
	return MGC_LIKELY(p != 0) ? (void *)p : libgc_out_of_memory(nbytes);
}

static uintptr_t alloc_layout(unsigned layout, size_t nbytes)
{
	struct mutator *m = libgc_self();
	if (m == NULL || nbytes > PTRDIFF_MAX)
		return 0;
	return gc_alloc(&runtime.gc, m, layout, sixteens(libgc_with_end(layout, nbytes)));
}

MGC_NOINLINE void *libgc_alloc_layout(unsigned layout, size_t nbytes)
{
	return finish(alloc_layout(layout, nbytes), nbytes);
}

uintptr_t libgc_alloc_fresh(unsigned kind, size_t nbytes)
{
	return alloc_layout(libgc.kind_layout[kind], nbytes);
}

/* What the fast path needs of a size: its span class, and the last byte of its slot. So with what is not yet known no slot fits in
 * no run. */
static uint32_t dense_entry(unsigned spanclass, size_t slot_nbytes)
{
	return (uint32_t)spanclass << 16 | (uint32_t)(slot_nbytes - 1);
}

MGC_INLINE unsigned dense_spanclass(uint32_t entry)
{
	return entry >> 16;
}

MGC_INLINE size_t dense_nbytes(uint32_t entry)
{
	return (entry & 0xffff) + (size_t)1;
}

/* alloc_dense_first - of a size, or of a span: its span class goes into the table. But for one that the client had kept for
 * the want of memory, and that may be of any kind. */
static MGC_NOINLINE void *alloc_dense_first(size_t nbytes, unsigned kind)
{
	libgc_ready();
	if (nbytes >= DENSE_SIZES)
		return libgc_alloc_layout(libgc.kind_layout[kind], nbytes);
	unsigned layout = libgc_end_layout(libgc.kind_layout[kind], nbytes);
	void *p = libgc_alloc_layout(layout, nbytes);
	if (p != NULL) {
		struct span *s = space_span(&runtime.heap.pageheap.space, (uintptr_t)p);
		if (s != NULL && runtime.heap.layouts.spanclass[s->spanclass].layout == layout)
			store_release(&libgc.dense[kind][nbytes], /* pairs: dense */
				      dense_entry(s->spanclass, s->slot_nbytes));
	}
	return p;
}

/* alloc_dense_slow - the run is used up; a size keeps its class for as long as there is something near. */
static MGC_NOINLINE void *alloc_dense_slow(size_t nbytes, unsigned kind)
{
	uint32_t entry = load_acquire(&libgc.dense[kind][nbytes]); /* pairs: dense */
	uintptr_t p = cache_pop_near(mutator_self(), dense_spanclass(entry));
	return MGC_LIKELY(p != 0) ? (void *)p : alloc_dense_first(nbytes, kind);
}

/* alloc_dense - the two usual kinds: a table by size gives the span class, whose run is bumped. */
MGC_INLINE void *alloc_dense(unsigned kind, size_t nbytes)
{
	if (MGC_UNLIKELY(nbytes >= DENSE_SIZES))
		return alloc_dense_first(nbytes, kind);
	uint32_t entry = load_acquire(&libgc.dense[kind][nbytes]); /* pairs: dense */
	uintptr_t p = cache_pop(mutator_self(), dense_spanclass(entry), dense_nbytes(entry));
	return MGC_LIKELY(p != 0) ? (void *)p : alloc_dense_slow(nbytes, kind);
}

void *GC_malloc(size_t nbytes)
{
	return alloc_dense(KIND_NORMAL, nbytes);
}

void *GC_malloc_atomic(size_t nbytes)
{
	return alloc_dense(KIND_PTRFREE, nbytes);
}

static bool is_uncollectable(unsigned kind)
{
	return kind == KIND_UNCOLLECTABLE || kind == KIND_AUNCOLLECTABLE;
}

void *libgc_alloc(unsigned kind, size_t nbytes)
{
	uintptr_t fresh = libgc_alloc_fresh(kind, nbytes);
	void *p = finish(fresh, nbytes);
	if (MGC_UNLIKELY(libgc.kind[kind].disclaim != NULL) && p != NULL)
		libgc_disclaimed(kind, p, fresh != 0);
	if (is_uncollectable(kind) && p != NULL)
		add_relaxed(&GC_non_gc_bytes, GC_size(p));
	return p;
}

void *GC_generic_malloc(size_t nbytes, int kind)
{
	libgc_kind_layout(kind, "GC_generic_malloc");
	return libgc_alloc((unsigned)kind, nbytes);
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

/* link_many - a list of slots, up to MANY_NBYTES of them, into *list. False: no memory. */
static bool link_many(struct mutator *m, unsigned sc, void **list)
{
	size_t slot = runtime.heap.layouts.spanclass[sc].slot_nbytes;
	uintptr_t first = sc == 0 ? 0 : gc_alloc_slot(&runtime.gc, m, sc, slot);
	if (first == 0)
		return false;
	uintptr_t last = cache_link(m, sc, first, MANY_NBYTES, list);
	if (MGC_UNLIKELY(cache_claim_sample(m, sc)))
		gc_sample(&runtime.gc, m, last, slot);
	return true;
}

/* alloc_many - a list of small objects of that layout. */
static void *alloc_many(struct mutator *m, unsigned layout, size_t nbytes)
{
	void *list;
	unsigned sc = layout_spanclass(&runtime.heap.layouts, layout, sizeclass_of(sixteens(nbytes)));
	return MGC_LIKELY(link_many(m, sc, &list)) ? list : libgc_out_of_memory(nbytes);
}

void GC_generic_malloc_many(size_t nbytes, int kind, void **result)
{
	struct mutator *m = libgc_self();
	unsigned layout = libgc_kind_layout(kind, "GC_generic_malloc_many");
	if (m == NULL || nbytes > MGC_MAX_SMALL || libgc.kind[kind].disclaim != NULL) {
		void *p = GC_generic_malloc(nbytes, kind);
		if (p != NULL)
			*(void **)p = NULL;
		*result = p;
		return;
	}
	*result = alloc_many(m, layout, nbytes);
}

void *GC_malloc_many(size_t nbytes)
{
	void *list;
	struct mutator *m = libgc_self();
	unsigned layout = libgc_end_layout(LAYOUT_ID_WORDS, nbytes);
	size_t with_end = libgc_with_end(layout, nbytes);
	if (m != NULL && with_end <= MGC_MAX_SMALL)
		return alloc_many(m, layout, with_end);
	GC_generic_malloc_many(with_end, KIND_NORMAL, &list);
	return list;
}

void *GC_memalign(size_t align, size_t nbytes)
{
	struct mutator *m = libgc_self();
	align = max_size(align, MGC_GRANULE);
	if (!is_pow2(align) || m == NULL || nbytes > PTRDIFF_MAX)
		return libgc_out_of_memory(nbytes);
	return finish(gc_alloc_aligned(&runtime.gc, m, libgc.kind_layout[KIND_NORMAL],
				       libgc_with_end(LAYOUT_ID_WORDS, nbytes), align),
		      nbytes);
}

int GC_posix_memalign(void **out, size_t align, size_t nbytes)
{
	if (!is_pow2(align) || align < sizeof(void *))
		return EINVAL;
	*out = GC_memalign(align, nbytes);
	return *out != NULL ? 0 : ENOMEM;
}

static unsigned kind_of_span(const struct span *s)
{
	unsigned layout = runtime.heap.layouts.spanclass[s->spanclass].layout;
	for (unsigned k = 0, n = (unsigned)load_relaxed(&libgc.nkinds); k < n; k++)
		if (libgc.kind_layout[k] == layout)
			return k;
	return layout == LAYOUT_ID_NOSCAN ? KIND_PTRFREE : KIND_NORMAL; /* a typed object */
}

unsigned libgc_kind_of(uintptr_t object)
{
	return kind_of_span(space_span(&runtime.heap.pageheap.space, object));
}

void *GC_realloc(void *p, size_t nbytes)
{
	struct span *s;
	if (p == NULL)
		return GC_malloc(nbytes);
	if (nbytes == 0) {
		GC_free(p);
		return NULL;
	}
	if (edge_object(&runtime.heap, (uintptr_t)p, &s) != (uintptr_t)p)
		mgc_misuse("GC_realloc of %p, which is not the start of an object", p);
	unsigned kind = kind_of_span(s);
	size_t old = edge_nbytes(s), spare = libgc_end_spare(s);
	size_t need = spare != 0 ? nbytes : libgc_with_end(libgc.kind_layout[kind], nbytes);
	if (need <= old - spare && nbytes >= old / 2) {
		memset((char *)p + nbytes, 0, old - nbytes); /* old contents keep nothing alive */
		return p;
	}
	void *q = libgc_alloc(kind, nbytes);
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
	if (m == NULL)
		return;
	if (load_relaxed(&GC_non_gc_bytes) != 0 && GC_base(p) == p &&
	    is_uncollectable(libgc_kind_of((uintptr_t)p)))
		sub_relaxed(&GC_non_gc_bytes, GC_size(p));
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

/* GC_is_marked - by the last collection, or by this one: a span that is swept holds only what was. */
int GC_is_marked(const void *p)
{
	const struct heap *h = &runtime.heap;
	uintptr_t base = (uintptr_t)GC_base((void *)(uintptr_t)p);
	const struct span *s = space_span(&h->pageheap.space, (uintptr_t)p);
	bool is_marked;
	if (base == 0)
		return 0;
	if (libgc_is_asked(base, &is_marked))
		return is_marked;
	return (heap_phase(h) == PHASE_OFF && load_acquire(&s->sweepgen) == heap_sweepgen(h)) ||
	       space_is_marked(&h->pageheap.space, base);
}

int GC_get_kind_and_size(const void *p, size_t *nbytes)
{
	size_t ignored;
	uintptr_t base = (libgc_ready(),
			  gc_object(&runtime.gc, (uintptr_t)p, nbytes != NULL ? nbytes : &ignored));
	if (base == 0)
		mgc_misuse("GC_get_kind_and_size of %p, which is in no object", p);
	return (int)libgc_kind_of(base);
}

void *GC_clear_stack(void *p)
{
	regs_wipe();
	return p;
}

size_t GC_get_size_map_at(int i)
{
	if (i < 0 || (size_t)i >= MGC_MAX_SMALL)
		return SIZE_MAX;
	libgc_ready();
	unsigned sc =
		layout_spanclass(&runtime.heap.layouts, LAYOUT_ID_WORDS,
				 sizeclass_of(sixteens(libgc_with_end(LAYOUT_ID_WORDS, (size_t)i))));
	return runtime.heap.layouts.spanclass[sc].slot_nbytes;
}

/* ── checked pointer arithmetic ─────────────────────────────────────────────────────────── */

#define MAX_DISPLACEMENT 4096

static uint64_t displacement[MAX_DISPLACEMENT / 64]; /* atomic; those that were registered */

MGC_NORETURN static void bad_same_obj(void *p, void *q)
{
	mgc_misuse("GC_same_obj: %p and %p are not in the same object", p, q);
}

MGC_NORETURN static void bad_displacement(void *p)
{
	mgc_misuse("GC_is_valid_displacement: %p points into no object, or to a place in it that "
		   "was not registered",
		   p);
}

MGC_NORETURN static void bad_visible(void *p)
{
	mgc_misuse("GC_is_visible: %p points into the heap, but into no object", p);
}

void (*GC_same_obj_print_proc)(void *p, void *q) = bad_same_obj;
void (*GC_is_valid_displacement_print_proc)(void *p) = bad_displacement;
void (*GC_is_visible_print_proc)(void *p) = bad_visible;

void GC_register_displacement(size_t offset)
{
	if (offset >= MAX_DISPLACEMENT)
		mgc_misuse("GC_register_displacement: %zu is not below %d", offset, MAX_DISPLACEMENT);
	or_relaxed(&displacement[offset / 64], UINT64_C(1) << offset % 64);
}

static bool may_displace(size_t offset)
{
	return GC_all_interior_pointers || offset == 0 ||
	       (offset < MAX_DISPLACEMENT &&
		(load_relaxed(&displacement[offset / 64]) >> offset % 64 & 1));
}

void *GC_is_visible(void *p)
{
	if (GC_is_heap_ptr(p) && GC_base(p) == NULL)
		GC_is_visible_print_proc(p);
	return p; /* in any stack, say: that cannot be told */
}

void *GC_is_valid_displacement(void *p)
{
	char *base = GC_base(p);
	if (GC_is_heap_ptr(p) && (base == NULL || !may_displace((size_t)((char *)p - base))))
		GC_is_valid_displacement_print_proc(p);
	return p;
}

void *GC_same_obj(void *p, void *q)
{
	if ((GC_is_heap_ptr(p) || GC_is_heap_ptr(q)) && GC_base(p) != GC_base(q))
		GC_same_obj_print_proc(p, q);
	return p;
}

void *GC_pre_incr(void **p, ptrdiff_t by)
{
	void *was = *p;
	*p = GC_same_obj((char *)was + by, was);
	return GC_is_valid_displacement(*p);
}

void *GC_post_incr(void **p, ptrdiff_t by)
{
	void *was = *p;
	*p = GC_is_valid_displacement(GC_same_obj((char *)was + by, was));
	return was;
}

/* ── stores and counts that libgc wants to be told of ───────────────────────────────────── */

/* Objects that change no more: the system tells what is written. */
void GC_change_stubborn(const void *p)
{
	(void)p;
}

void GC_end_stubborn_change(const void *p)
{
	(void)p;
}

void GC_ptr_store_and_dirty(void *p, const void *q)
{
	store_relaxed((const void **)p, q);
}

/* Memory outside the heap that the program wants counted: it brings the next collection nearer. */
void GC_incr_bytes_allocd(size_t nbytes)
{
	libgc_ready();
	add_relaxed(&runtime.heap.live_nbytes, nbytes);
}

void GC_incr_bytes_freed(size_t nbytes)
{
	libgc_ready();
	add_relaxed(&runtime.heap.freed_nbytes, nbytes);
}

void GC_noop1(GC_word x)
{
	MGC_KEEP(&x);
}
