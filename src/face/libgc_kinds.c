/* libgc_kinds.c - kinds with mark procedures, typed objects, and the calls that clients' mark
 * procedures and root callbacks make. Those run with the world stopped. */
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "gc/trace.h"
#include "os/os.h"

/* Descriptor words: the tag in the two low bits, as clients build them by the macros of gc_mark.h.
 * Our own bitmap descriptors (GC_make_descriptor is opaque) hold an index where libgc holds bits. */
enum { DS_LENGTH = 0, DS_BITMAP = 1, DS_PROC = 2, DS_PER_OBJECT = 3 };
#define DS_TAG(d) ((d) & 3)
#define LOG_MAX_PROCS 6
#define MAX_DESCRIPTORS 1024
#define MAX_DESCRIPTOR_WORDS 4096

LIBGC_API void **GC_new_free_list(void);
LIBGC_API void **GC_new_free_list_inner(void);
LIBGC_API unsigned GC_new_kind(void **free_list, GC_word descriptor, int adjust, int clear);
LIBGC_API unsigned GC_new_kind_inner(void **free_list, GC_word descriptor, int adjust, int clear);
LIBGC_API unsigned GC_new_proc(GC_mark_proc proc);
LIBGC_API unsigned GC_new_proc_inner(GC_mark_proc proc);
LIBGC_API struct GC_ms_entry *GC_mark_and_push(void *obj, struct GC_ms_entry *top,
					       struct GC_ms_entry *limit, void **src);
LIBGC_API GC_word GC_make_descriptor(const GC_word *bitmap, size_t nbits);
LIBGC_API void *GC_malloc_explicitly_typed(size_t nbytes, GC_word descriptor);
LIBGC_API void *GC_malloc_explicitly_typed_ignore_off_page(size_t nbytes, GC_word descriptor);
LIBGC_API void *GC_calloc_explicitly_typed(size_t n, size_t nbytes, GC_word descriptor);
LIBGC_API void GC_set_mark_bit(const void *p);
LIBGC_API void GC_clear_mark_bit(const void *p);

/* A bitmap that GC_make_descriptor was given, and the layouts made of it so far. */
struct descriptor {
	uint32_t nbits;
	uint64_t *bits;
	uint32_t last_nwords; /* the object size whose layout was made last */
	uint32_t last_layout;
};

static struct descriptor *descriptors; /* [MAX_DESCRIPTORS], demand-zero; libgc.lock */
static uint32_t ndescriptors = 1;

static unsigned kind_layout(enum layout_kind kind, unsigned flags)
{
	return layout_intern(&runtime.heap.layouts,
			     &(struct layout_desc){ .kind = kind, .flags = flags });
}

void libgc_init_kinds(void)
{
	libgc.kind_layout[KIND_PTRFREE] = kind_layout(LAYOUT_NOSCAN, LAYOUT_NOZERO);
	libgc.kind_layout[KIND_NORMAL] = LAYOUT_ID_WORDS;
	libgc.kind_layout[KIND_UNCOLLECTABLE] =
		kind_layout(LAYOUT_WORDS, LAYOUT_AMBIGUOUS | LAYOUT_UNCOLLECTABLE);
	libgc.kind_layout[KIND_AUNCOLLECTABLE] = kind_layout(LAYOUT_NOSCAN, LAYOUT_UNCOLLECTABLE);
	libgc.nkinds = KIND_FIRST_FREE;
}

/* ── kinds and procedures ───────────────────────────────────────────────────────────────── */

void **GC_new_free_list_inner(void)
{
	static void *never_used[1]; /* free lists are ours; clients only hand this back to us */
	libgc_ready();
	return never_used;
}

void **GC_new_free_list(void)
{
	return GC_new_free_list_inner();
}

unsigned GC_new_proc_inner(GC_mark_proc proc)
{
	libgc_ready();
	uint32_t i = add_relaxed(&libgc.nprocs, 1u);
	if (i >= MAX_PROCS)
		mgc_misuse("GC_new_proc: more than %d mark procedures", MAX_PROCS);
	libgc.proc[i] = proc;
	return i;
}

unsigned GC_new_proc(GC_mark_proc proc)
{
	return GC_new_proc_inner(proc);
}

/* call_proc - the layout's trace callback: the client's procedure gets the tracer for its stack. */
static void call_proc(void *obj, void *tracer)
{
	GC_word d = (GC_word)trace_user(tracer);
	unsigned index = (unsigned)(d >> 2) & ((1u << LOG_MAX_PROCS) - 1);
	libgc.proc[index](obj, tracer, (struct GC_ms_entry *)((char *)tracer + 1),
			  d >> (2 + LOG_MAX_PROCS));
}

struct GC_ms_entry *GC_mark_and_push(void *obj, struct GC_ms_entry *top, struct GC_ms_entry *limit,
				     void **src)
{
	(void)limit;
	(void)src;
	mgc_trace((struct mgc_tracer *)top, obj);
	return top;
}

static unsigned layout_of_descriptor(GC_word d, bool adjust, unsigned flags)
{
	struct layout_desc desc = { .kind = LAYOUT_WORDS, .flags = flags | LAYOUT_AMBIGUOUS };
	if (DS_TAG(d) == DS_PROC) {
		desc.kind = LAYOUT_TRACE;
		desc.flags |= LAYOUT_STOPPED;
		desc.trace = call_proc;
		desc.user = (void *)d;
	} else if (DS_TAG(d) == DS_LENGTH && d == 0 && !adjust) {
		desc.kind = LAYOUT_NOSCAN;
		desc.flags = flags;
	} else if (DS_TAG(d) == DS_PER_OBJECT) {
		mgc_misuse("GC_new_kind: descriptors kept in the objects are not supported");
	}
	return layout_intern(&runtime.heap.layouts, &desc);
}

unsigned GC_new_kind_inner(void **free_list, GC_word descriptor, int adjust, int clear)
{
	(void)free_list;
	libgc_ready();
	unsigned flags = !clear && descriptor == 0 && !adjust ? LAYOUT_NOZERO : 0;
	unsigned layout = layout_of_descriptor(descriptor, adjust != 0, flags);
	uint32_t k = add_relaxed(&libgc.nkinds, 1u);
	if (k >= MAX_KINDS || layout == 0)
		mgc_misuse("GC_new_kind: more than %d kinds", MAX_KINDS);
	libgc.kind_layout[k] = layout;
	return k;
}

unsigned GC_new_kind(void **free_list, GC_word descriptor, int adjust, int clear)
{
	return GC_new_kind_inner(free_list, descriptor, adjust, clear);
}

/* ── typed objects ──────────────────────────────────────────────────────────────────────── */

GC_word GC_make_descriptor(const GC_word *bitmap, size_t nbits)
{
	libgc_ready();
	size_t nbytes = (nbits + 63) / 64 * sizeof(uint64_t);
	lock_acquire(&libgc.lock);
	if (descriptors == NULL)
		descriptors = (struct descriptor *)os_alloc(MAX_DESCRIPTORS * sizeof *descriptors);
	bool fits = descriptors != NULL && ndescriptors < MAX_DESCRIPTORS &&
		    nbits <= MAX_DESCRIPTOR_WORDS;
	uint64_t *copy = fits && nbits > 0 ? (uint64_t *)os_alloc(nbytes) : NULL;
	GC_word d = 0; /* "every word" */
	if (copy != NULL) {
		memcpy(copy, bitmap, nbytes);
		descriptors[ndescriptors] =
			(struct descriptor){ .nbits = (uint32_t)nbits, .bits = copy };
		d = (GC_word)ndescriptors++ << 2 | DS_BITMAP;
	}
	lock_release(&libgc.lock);
	return d;
}

/* intern_typed - objects of nwords whose first nbits are told by the bitmap and the rest hold none. */
static unsigned intern_typed(const struct descriptor *d, uint32_t nwords)
{
	uint64_t mask[MAX_DESCRIPTOR_WORDS / 64] = { 0 };
	uint64_t any = 0;
	for (uint32_t w = 0; w < d->nbits && w < nwords; w++)
		mask[w / 64] |= (d->bits[w / 64] >> (w % 64) & 1) << (w % 64);
	for (uint32_t i = 0; i < (nwords + 63) / 64; i++)
		any |= mask[i];
	if (any == 0)
		return LAYOUT_ID_NOSCAN;
	return layout_intern(&runtime.heap.layouts, &(struct layout_desc){ .kind = LAYOUT_MASK,
									   .flags = LAYOUT_AMBIGUOUS,
									   .period = nwords,
									   .mask = mask });
}

static unsigned typed_layout(GC_word descriptor, size_t nbytes)
{
	size_t nwords = (nbytes + sizeof(GC_word) - 1) / sizeof(GC_word);
	uint32_t index = (uint32_t)(descriptor >> 2);
	if (DS_TAG(descriptor) != DS_BITMAP || index >= ndescriptors || nwords > MAX_DESCRIPTOR_WORDS)
		return LAYOUT_ID_WORDS;
	struct descriptor *d = &descriptors[index];
	lock_acquire(&libgc.lock);
	if (d->last_nwords != nwords) {
		d->last_layout = intern_typed(d, (uint32_t)nwords);
		d->last_nwords = (uint32_t)nwords;
	}
	unsigned layout = d->last_layout;
	lock_release(&libgc.lock);
	return layout;
}

void *GC_malloc_explicitly_typed(size_t nbytes, GC_word descriptor)
{
	struct mutator *m = libgc_self();
	nbytes = max_size(align_up(nbytes, MGC_GRANULE), MGC_GRANULE);
	uintptr_t p =
		m == NULL ? 0 : gc_alloc(&runtime.gc, m, typed_layout(descriptor, nbytes), nbytes);
	return p != 0 ? (void *)p : libgc_out_of_memory(nbytes);
}

void *GC_malloc_explicitly_typed_ignore_off_page(size_t nbytes, GC_word descriptor)
{
	return GC_malloc_explicitly_typed(nbytes, descriptor);
}

void *GC_calloc_explicitly_typed(size_t n, size_t nbytes, GC_word descriptor)
{
	size_t total;
	(void)descriptor; /* an array of them: read as "every word", which keeps no less */
	if (mul_overflows(n, nbytes, &total))
		return libgc_out_of_memory(SIZE_MAX);
	struct mutator *m = libgc_self();
	uintptr_t p =
		m == NULL ? 0
			  : gc_alloc(&runtime.gc, m, LAYOUT_ID_WORDS, align_up(total, MGC_GRANULE));
	return p != 0 ? (void *)p : libgc_out_of_memory(total);
}

/* ── mark bits by hand ──────────────────────────────────────────────────────────────────── */

void GC_set_mark_bit(const void *p)
{
	size_t nbytes;
	uintptr_t base = gc_object(&runtime.gc, (uintptr_t)p, &nbytes);
	if (base != 0 && libgc.marker != NULL) /* outside a mark it would be one for the next cycle */
		space_mark(&runtime.heap.pageheap.space, base);
}

void GC_clear_mark_bit(const void *p)
{
	size_t nbytes;
	uintptr_t base = gc_object(&runtime.gc, (uintptr_t)p, &nbytes);
	if (base != 0 && libgc.marker != NULL)
		space_unmark(&runtime.heap.pageheap.space, base);
}
