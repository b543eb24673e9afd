/* libgc_typed.c - objects whose pointers a descriptor names: made from a bitmap, then given to each
 * allocation. A span holds objects of one layout, so a pair of descriptor and size becomes a layout, which
 * is looked up by a table without a lock.
 * INV    a record is whole before the table shows it, and never changes
 * LOCKS  libgc.lock to add. */
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/libgc.h"
#include "face/libgc_descr.h"
#include "gc/trace.h"
#include "os/os.h"

#define MAX_LONG_BITMAPS 1024
#define MAX_MASK_WORDS 4096
#define NRECORDS 4096
#define TABLE_SIZE (2 * NRECORDS)

LIBGC_API GC_word GC_make_descriptor(const GC_word *bitmap, size_t nbits);
LIBGC_API void *GC_malloc_explicitly_typed(size_t nbytes, GC_word descriptor);
LIBGC_API void *GC_malloc_explicitly_typed_ignore_off_page(size_t nbytes, GC_word descriptor);
LIBGC_API void *GC_calloc_explicitly_typed(size_t n, size_t nbytes, GC_word descriptor);

/* A bitmap of more words than a descriptor has bits. */
struct long_bitmap {
	size_t nbits;
	uint64_t *bits;
};

static struct long_bitmap *long_bitmaps; /* [MAX_LONG_BITMAPS] */
static uint32_t nlong_bitmaps;

/* ── making descriptors ─────────────────────────────────────────────────────────────────── */

static bool bit_of(const GC_word *bitmap, size_t i)
{
	return bitmap[i / 64] >> (i % 64) & 1;
}

static GC_word short_descriptor(const GC_word *bitmap, size_t nbits)
{
	GC_word d = 0;
	for (size_t i = 0; i < nbits; i++)
		d |= (GC_word)bit_of(bitmap, i) << (63 - i);
	return d | DS_BITMAP;
}

/* long_descriptor - when there is no memory for one, every word counts. */
static GC_word long_descriptor(const GC_word *bitmap, size_t nbits)
{
	GC_word d = nbits * sizeof(GC_word);
	size_t nbytes = (nbits + 63) / 64 * sizeof(uint64_t);
	lock_acquire(&libgc.lock);
	if (long_bitmaps == NULL)
		long_bitmaps = (struct long_bitmap *)os_alloc(MAX_LONG_BITMAPS * sizeof *long_bitmaps);
	bool fits = long_bitmaps != NULL && nlong_bitmaps < MAX_LONG_BITMAPS;
	uint64_t *copy = fits ? (uint64_t *)os_alloc(align_up(nbytes, os_page_size())) : NULL;
	if (copy != NULL) {
		memcpy(copy, bitmap, nbytes);
		long_bitmaps[nlong_bitmaps] = (struct long_bitmap){ nbits, copy };
		d = (((GC_word)nlong_bitmaps << 6 | PROC_BITMAP) << 2) | DS_PROC;
		nlong_bitmaps++;
	}
	lock_release(&libgc.lock);
	return d;
}

GC_word GC_make_descriptor(const GC_word *bitmap, size_t nbits)
{
	size_t end = nbits, ones = 0;
	libgc_ready();
	while (end > 0 && !bit_of(bitmap, end - 1))
		end--;
	while (ones < end && bit_of(bitmap, ones))
		ones++;
	if (ones == end) /* the pointers come first, or there are none */
		return end * sizeof(GC_word);
	return end <= DS_BITMAP_BITS ? short_descriptor(bitmap, end) : long_descriptor(bitmap, end);
}

void descr_trace_long(uintptr_t object, size_t i, struct mgc_tracer *tracer)
{
	const struct long_bitmap *b = &long_bitmaps[i];
	for (size_t w = 0; w < b->nbits; w++)
		if (bit_of(b->bits, w))
			mgc_trace(tracer, (void *)load_relaxed((const GC_word *)object + w));
}

/* ── layouts of descriptors ─────────────────────────────────────────────────────────────── */

struct typed {
	struct kind kind; /* for a descriptor that is no bitmap */
	size_t nbytes; /* of an element */
	unsigned layout;
};

static struct typed *table[TABLE_SIZE]; /* atomic pointers */
static struct typed *records; /* [NRECORDS] */
static uint32_t nrecords;

/* set_mask - the pointers of an object or element of nwords; false: not for a mask. */
static bool set_mask(GC_word d, uint32_t nwords, uint64_t *mask)
{
	bool is_long = DS_TAG(d) == DS_PROC && (d >> 2 & (MAX_PROCS - 1)) == PROC_BITMAP;
	const struct long_bitmap *b = is_long ? &long_bitmaps[d >> 8] : NULL;
	if (nwords > MAX_MASK_WORDS || (DS_TAG(d) != DS_LENGTH && DS_TAG(d) != DS_BITMAP && !is_long))
		return false;
	for (uint32_t w = 0; w < nwords; w++) {
		bool on = is_long                  ? w < b->nbits && bit_of(b->bits, w)
			  : DS_TAG(d) == DS_LENGTH ? w < d / sizeof(GC_word)
						   : w < DS_BITMAP_BITS && (d >> (63 - w) & 1);
		mask[w / 64] |= (uint64_t)on << (w % 64);
	}
	return true;
}

static unsigned make_layout(struct typed *t)
{
	uint64_t mask[MAX_MASK_WORDS / 64] = { 0 }, any = 0;
	GC_word d = t->kind.descriptor;
	uint32_t nwords = (uint32_t)min_size(t->nbytes / sizeof(GC_word), UINT32_MAX);
	if (DS_TAG(d) == DS_LENGTH && d >= t->nbytes)
		return LAYOUT_ID_WORDS;
	if (!set_mask(d, nwords, mask))
		return descr_layout(&t->kind, 0);
	for (uint32_t i = 0; i < (nwords + 63) / 64; i++)
		any |= mask[i];
	if (any == 0)
		return LAYOUT_ID_NOSCAN;
	return layout_intern(&runtime.heap.layouts, &(struct layout_desc){ .kind = LAYOUT_MASK,
									   .flags = LAYOUT_AMBIGUOUS,
									   .period = nwords,
									   .mask = mask });
}

static struct typed *look_up(GC_word d, size_t nbytes, size_t *at)
{
	*at = bits_mix(d ^ bits_mix(nbytes)) % TABLE_SIZE;
	for (;; *at = (*at + 1) % TABLE_SIZE) {
		struct typed *t = load_acquire(&table[*at]); /* pairs: typed */
		if (t == NULL || (t->kind.descriptor == d && t->nbytes == nbytes))
			return t;
	}
}

/* add - when there is no room for more, every word counts. */
static unsigned add(GC_word d, size_t nbytes)
{
	size_t at;
	unsigned layout = LAYOUT_ID_WORDS;
	lock_acquire(&libgc.lock);
	struct typed *t = look_up(d, nbytes, &at);
	if (records == NULL)
		records = (struct typed *)os_alloc(align_up(NRECORDS * sizeof *records, os_page_size()));
	if (t != NULL) {
		layout = t->layout;
	} else if (records != NULL && nrecords < NRECORDS) {
		t = &records[nrecords++];
		t->kind.descriptor = d;
		t->nbytes = nbytes;
		t->layout = make_layout(t);
		if (t->layout == 0)
			t->layout = LAYOUT_ID_WORDS;
		layout = t->layout;
		store_release(&table[at], t); /* pairs: typed */
	}
	lock_release(&libgc.lock);
	return layout;
}

static unsigned typed_layout(GC_word d, size_t nbytes)
{
	size_t at;
	struct typed *t = look_up(d, nbytes, &at);
	return MGC_LIKELY(t != NULL) ? t->layout : add(d, nbytes);
}

/* ── objects ────────────────────────────────────────────────────────────────────────────── */

static void *alloc(unsigned layout, size_t nbytes)
{
	struct mutator *m = libgc_self();
	uintptr_t p = m == NULL || nbytes > PTRDIFF_MAX ? 0 : gc_alloc(&runtime.gc, m, layout, nbytes);
	return p != 0 ? (void *)p : libgc_out_of_memory(nbytes);
}

/* with_end - so much, and the byte behind it, in whole granules. */
static size_t with_end(size_t nbytes)
{
	return max_size(align_up(libgc_with_end(LAYOUT_ID_WORDS, nbytes), MGC_GRANULE), MGC_GRANULE);
}

void *GC_malloc_explicitly_typed(size_t nbytes, GC_word descriptor)
{
	libgc_ready();
	if (nbytes > PTRDIFF_MAX)
		return libgc_out_of_memory(nbytes);
	nbytes = with_end(nbytes);
	return alloc(typed_layout(descriptor, nbytes), nbytes);
}

void *GC_malloc_explicitly_typed_ignore_off_page(size_t nbytes, GC_word descriptor)
{
	return GC_malloc_explicitly_typed(nbytes, descriptor);
}

void *GC_calloc_explicitly_typed(size_t n, size_t nbytes, GC_word descriptor)
{
	size_t total;
	libgc_ready();
	if (mul_overflows(n, nbytes, &total) || total > PTRDIFF_MAX)
		return libgc_out_of_memory(SIZE_MAX);
	if (n == 1)
		return GC_malloc_explicitly_typed(nbytes, descriptor);
	/* a descriptor that is no bitmap speaks of one element only: then every word counts */
	bool repeats = nbytes % sizeof(GC_word) == 0 && nbytes != 0 &&
		       nbytes <= MAX_MASK_WORDS * sizeof(GC_word) &&
		       (DS_TAG(descriptor) == DS_LENGTH || DS_TAG(descriptor) == DS_BITMAP ||
			(descriptor >> 2 & (MAX_PROCS - 1)) == PROC_BITMAP);
	return alloc(repeats ? typed_layout(descriptor, nbytes) : LAYOUT_ID_WORDS, with_end(total));
}
