/* libgc_end.c - which objects of the libgc face have a byte more than was asked for, as all of libgc's have.
 *
 * WHAT   Programs rely on that byte, knowingly or not: they keep an object by a pointer just behind it, or write a little
 *        behind it. Where a size fits its slot with room to spare nothing is needed; else the byte takes the next slot,
 *        which is dear for the smallest ones with pointers only. So the others have it (knob endbyte), and these
 *        have it until some collections saw enough of them whose program did neither (docs/adr/0103). Meanwhile
 *        GC_malloc makes them of a layout of their own, whose last granule the marker looks at.
 * WHO    every allocation, of which GC_malloc's common ones ask once for a size and refill.
 * STATE  learning → settled, to the smallest size that the knob says, or to all; an object that is left over from the
 *        time before may still turn the first into the second. Changed with WORLD held, after a collection.
 * UNITS  bytes. */
#include "base/bits.h"
#include "face/libgc.h"

/* So many objects are looked at, as one collection of a heap of 4 MiB shows; or those of so many collections, as
 * a program whose small objects all die young shows few, and pays for each. */
#define ENOUGH_OBJECTS 4096
#define MOST_CYCLES 8

static size_t end_from; /* atomic: objects with pointers have the byte from this size on */
static uint32_t is_learning; /* atomic */
static unsigned spared; /* the layout that is looked at; 0: nothing is learned */
static unsigned ncycles;

size_t libgc_with_end(unsigned layout, size_t nbytes)
{
	const struct layout_desc *d = &runtime.heap.layouts.layout[layout].desc;
	if (d->flags & LAYOUT_UNCOLLECTABLE) /* needs no pointer */
		return nbytes;
	bool always = d->flags & LAYOUT_SPARE || /* what is watched, also when that ends just now */
		      (d->kind == LAYOUT_NOSCAN && runtime.gc.knobs.endbyte != 0);
	size_t from = always ? 1 : load_relaxed(&end_from);
	return nbytes + (nbytes >= from && nbytes != SIZE_MAX);
}

unsigned libgc_end_layout(unsigned layout, size_t nbytes)
{
	bool watched = load_relaxed(&is_learning) && layout == LAYOUT_ID_WORDS && nbytes != 0 &&
		       nbytes % MGC_GRANULE == 0 && nbytes < (size_t)runtime.gc.knobs.endbyte &&
		       nbytes < MGC_MAX_SMALL;
	return watched ? spared : layout;
}

size_t libgc_end_spare(const struct span *s)
{
	return runtime.heap.layouts.spanclass[s->spanclass].scan == SCAN_SPARE ? MGC_GRANULE : 0;
}

uint64_t libgc_end_unseen(void)
{
	int64_t from = runtime.gc.knobs.endbyte;
	return from == 0 ? UINT64_MAX : (uint64_t)from;
}

void libgc_init_end(void)
{
	size_t from = (size_t)runtime.gc.knobs.endbyte;
	store_relaxed(&end_from, from == 0 ? SIZE_MAX : 1);
	if (from <= 1)
		return;
	spared = layout_intern(&runtime.heap.layouts,
			       &(struct layout_desc){ .kind = LAYOUT_WORDS,
						      .flags = LAYOUT_AMBIGUOUS | LAYOUT_SPARE });
	store_relaxed(&is_learning, (uint32_t)(spared != 0));
}

void libgc_learn_end(void)
{
	const struct grey_pool *p = &runtime.gc.pool;
	ncycles++;
	if (spared == 0)
		return;
	if (load_relaxed(&p->spare_used) != 0) {
		store_relaxed(&end_from, (size_t)1);
		store_relaxed(&is_learning, 0u);
	} else if (load_relaxed(&is_learning) != 0 &&
		   (ncycles >= MOST_CYCLES || load_relaxed(&p->nspared) >= ENOUGH_OBJECTS)) {
		store_relaxed(&end_from, (size_t)runtime.gc.knobs.endbyte);
		store_relaxed(&is_learning, 0u);
	}
}
