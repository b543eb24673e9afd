/* libgc_kinds.c - kinds of objects, mark procedures, and descriptors: words that say which words of an
 * object are pointers. What the client's procedures do runs with the world stopped.
 * STATE  a kind or a procedure is made once, and never goes. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "face/libgc_descr.h"
#include "gc/edge.h"
#include "gc/trace.h"
#include "os/os.h"

#define LOG_MAX_PROCS 6
/* gcj: the word behind the one that an object's first word points to is its descriptor. */
#define GCJ_DESCRIPTOR ((GC_word)(-(intptr_t)(sizeof(GC_word) + DS_INDIRECT_BIAS)) | DS_PER_OBJECT)

LIBGC_API void **GC_new_free_list(void);
LIBGC_API void **GC_new_free_list_inner(void);
LIBGC_API unsigned GC_new_kind(void **free_list, GC_word descriptor, int adjust, int clear);
LIBGC_API unsigned GC_new_kind_inner(void **free_list, GC_word descriptor, int adjust, int clear);
LIBGC_API unsigned GC_new_proc(GC_mark_proc proc);
LIBGC_API unsigned GC_new_proc_inner(GC_mark_proc proc);
LIBGC_API struct GC_ms_entry *GC_mark_and_push(void *obj, struct GC_ms_entry *top,
					       struct GC_ms_entry *limit, void **src);
LIBGC_API void GC_set_mark_bit(const void *p);
LIBGC_API void GC_clear_mark_bit(const void *p);
LIBGC_API void GC_register_describe_type_fn(int kind, GC_describe_type_fn fn);
LIBGC_API void GC_init_gcj_malloc(int proc_index, void *proc);
LIBGC_API void *GC_gcj_malloc(size_t nbytes, void *vtable);
LIBGC_API void *GC_gcj_malloc_ignore_off_page(size_t nbytes, void *vtable);
extern LIBGC_API int GC_gcj_kind, GC_gcj_debug_kind;
extern LIBGC_API void **const GC_objfreelist_ptr, **const GC_aobjfreelist_ptr;
extern LIBGC_API void **const GC_uobjfreelist_ptr, **const GC_auobjfreelist_ptr;

int GC_gcj_kind, GC_gcj_debug_kind;

/* libgc's free lists by size in granules. Ours are always empty: who looks there asks us next. */
static void *no_free_list[4][2048 / MGC_GRANULE + 1];
void **const GC_objfreelist_ptr = no_free_list[0];
void **const GC_aobjfreelist_ptr = no_free_list[1];
void **const GC_uobjfreelist_ptr = no_free_list[2];
void **const GC_auobjfreelist_ptr = no_free_list[3];

static unsigned plain_layout(enum layout_kind kind, unsigned flags)
{
	return layout_intern(&runtime.heap.layouts,
			     &(struct layout_desc){ .kind = kind, .flags = flags });
}

void libgc_init_kinds(void)
{
	libgc.kind_layout[KIND_PTRFREE] = plain_layout(LAYOUT_NOSCAN, LAYOUT_NOZERO);
	libgc.kind_layout[KIND_NORMAL] = LAYOUT_ID_WORDS;
	libgc.kind_layout[KIND_UNCOLLECTABLE] =
		plain_layout(LAYOUT_WORDS, LAYOUT_AMBIGUOUS | LAYOUT_UNCOLLECTABLE);
	libgc.kind_layout[KIND_AUNCOLLECTABLE] = plain_layout(LAYOUT_NOSCAN, LAYOUT_UNCOLLECTABLE);
	libgc.nkinds = KIND_FIRST_FREE;
	libgc.nprocs = RESERVED_PROCS;
}

/* ── what a descriptor says of an object ────────────────────────────────────────────────── */

static GC_word word_at(GC_word address)
{
	return load_relaxed((const GC_word *)address);
}

/* descriptor_in_object - the one that a PER_OBJECT descriptor leads to; 0: the object is not filled in. */
static GC_word descriptor_in_object(GC_word object, GC_word d)
{
	GC_word offset = d & ~(GC_word)DS_TAGS;
	if ((intptr_t)d >= 0)
		return word_at(object + offset);
	GC_word type = word_at(object);
	return type == 0 ? 0 : word_at(type - offset - DS_INDIRECT_BIAS);
}

static void trace_bits(GC_word object, GC_word bits, struct mgc_tracer *tracer)
{
	for (bits &= ~(GC_word)DS_TAGS; bits != 0; bits <<= 1, object += sizeof(GC_word))
		if (bits >> 63)
			mgc_trace(tracer, (void *)word_at(object));
}

static void call_proc(GC_word object, GC_word d, struct mgc_tracer *tracer)
{
	unsigned index = (unsigned)(d >> 2) & (MAX_PROCS - 1);
	GC_word env = d >> (2 + LOG_MAX_PROCS);
	if (index == PROC_BITMAP) {
		descr_trace_long(object, env, tracer);
		return;
	}
	if (libgc.proc[index] == NULL)
		mgc_misuse("a descriptor names mark procedure %u, which was never made", index);
	/* the tracer stands for libgc's mark stack: clients hand it through */
	libgc.proc[index]((GC_word *)object, (struct GC_ms_entry *)tracer,
			  (struct GC_ms_entry *)((char *)tracer + 1), env);
}

static void trace_as(GC_word object, size_t nbytes, GC_word d, struct mgc_tracer *tracer)
{
	if (DS_TAG(d) == DS_PER_OBJECT)
		d = descriptor_in_object(object, d);
	switch (DS_TAG(d)) {
	case DS_LENGTH:
		mgc_trace_range(tracer, (void *)object, min_size(d, nbytes) / sizeof(GC_word));
		break;
	case DS_BITMAP:
		trace_bits(object, d, tracer);
		break;
	case DS_PROC:
		call_proc(object, d, tracer);
		break;
	default:
		mgc_misuse("the object at %p has a descriptor (%lx) that leads to yet another one",
			   (void *)object, (unsigned long)d);
	}
}

/* trace_object - the layout's callback. */
static void trace_object(void *obj, void *tracer)
{
	const struct kind *k = trace_user(tracer);
	const struct span *s = space_span(&runtime.heap.pageheap.space, (uintptr_t)obj);
	size_t nbytes = edge_nbytes(s);
	trace_as((GC_word)obj, nbytes, k->descriptor + (k->adjust ? nbytes : 0), tracer);
}

unsigned descr_layout(const struct kind *k, unsigned flags)
{
	bool calls = DS_TAG(k->descriptor) == DS_PROC || DS_TAG(k->descriptor) == DS_PER_OBJECT;
	struct layout_desc desc = { .kind = LAYOUT_TRACE,
				    .flags = flags | LAYOUT_AMBIGUOUS | (calls ? LAYOUT_STOPPED : 0),
				    .trace = trace_object,
				    .user = (void *)(uintptr_t)k };
	if (DS_TAG(k->descriptor) == DS_LENGTH && k->descriptor == 0) {
		desc.kind = k->adjust ? LAYOUT_WORDS : LAYOUT_NOSCAN;
		desc.trace = NULL;
	}
	return layout_intern(&runtime.heap.layouts, &desc);
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
		mgc_misuse("GC_new_proc: more than %d mark procedures", MAX_PROCS - RESERVED_PROCS);
	libgc.proc[i] = proc;
	return i;
}

unsigned GC_new_proc(GC_mark_proc proc)
{
	return GC_new_proc_inner(proc);
}

struct GC_ms_entry *GC_mark_and_push(void *obj, struct GC_ms_entry *top, struct GC_ms_entry *limit,
				     void **src)
{
	(void)limit;
	(void)src;
	mgc_trace((struct mgc_tracer *)top, obj);
	return top;
}

unsigned GC_new_kind_inner(void **free_list, GC_word descriptor, int adjust, int clear)
{
	(void)free_list;
	libgc_ready();
	uint32_t i = add_relaxed(&libgc.nkinds, 1u);
	if (i >= MAX_KINDS)
		mgc_misuse("GC_new_kind: more than %d kinds", MAX_KINDS - KIND_FIRST_FREE);
	struct kind *k = &libgc.kind[i];
	k->descriptor = descriptor;
	k->adjust = adjust != 0;
	bool is_noscan = descriptor == 0 && !adjust;
	unsigned layout = descr_layout(k, is_noscan && !clear ? LAYOUT_NOZERO : 0);
	if (layout == 0)
		mgc_fatal("no room for the layout of a kind");
	libgc.kind_layout[i] = layout;
	return i;
}

unsigned GC_new_kind(void **free_list, GC_word descriptor, int adjust, int clear)
{
	return GC_new_kind_inner(free_list, descriptor, adjust, clear);
}

void GC_register_describe_type_fn(int kind, GC_describe_type_fn fn)
{
	libgc_kind_layout(kind, "GC_register_describe_type_fn");
	libgc.kind[kind].describe = fn;
}

/* ── objects that begin with a pointer to their type ────────────────────────────────────── */

void GC_init_gcj_malloc(int proc_index, void *proc)
{
	libgc_ready();
	if (proc_index < 0 || (uint32_t)proc_index >= load_relaxed(&libgc.nprocs) ||
	    proc_index == PROC_BITMAP)
		mgc_misuse("GC_init_gcj_malloc: %d is no number of a mark procedure", proc_index);
	if (GC_gcj_kind != 0)
		return;
	memcpy(&libgc.proc[proc_index], &proc, sizeof proc); /* the interface has it as a data pointer */
	bool ignore = getenv("GC_IGNORE_GCJ_INFO") != NULL;
	GC_word debug = (((GC_word)1 << LOG_MAX_PROCS | (GC_word)proc_index) << 2) | DS_PROC;
	GC_gcj_debug_kind = ignore ? KIND_NORMAL : (int)GC_new_kind(NULL, debug, 0, 1);
	GC_gcj_kind = ignore ? KIND_NORMAL : (int)GC_new_kind(NULL, GCJ_DESCRIPTOR, 0, 1);
}

void *GC_gcj_malloc(size_t nbytes, void *vtable)
{
	if (GC_gcj_kind == 0)
		mgc_misuse("GC_gcj_malloc before GC_init_gcj_malloc");
	void **p = libgc_alloc((unsigned)GC_gcj_kind, nbytes);
	if (p != NULL)
		store_relaxed(p, vtable); /* until then it refers to nothing */
	return p;
}

void *GC_gcj_malloc_ignore_off_page(size_t nbytes, void *vtable)
{
	return GC_gcj_malloc(nbytes, vtable);
}

/* ── mark bits by hand ──────────────────────────────────────────────────────────────────── */

void GC_set_mark_bit(const void *p)
{
	size_t nbytes;
	uintptr_t base = gc_object(&runtime.gc, (uintptr_t)p, &nbytes);
	if (base != 0 && libgc.marker != NULL) /* outside a mark it would be one for the next cycle */
		space_mark(&runtime.heap.pageheap.space, base);
	else if (base != 0)
		libgc_note_mark(base, true);
}

void GC_clear_mark_bit(const void *p)
{
	size_t nbytes;
	uintptr_t base = gc_object(&runtime.gc, (uintptr_t)p, &nbytes);
	if (base != 0 && libgc.marker != NULL)
		space_unmark(&runtime.heap.pageheap.space, base);
	else if (base != 0)
		libgc_note_mark(base, false);
}
