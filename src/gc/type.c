/* type.c - see type.h. LOCKS LAYOUT, through layout.c. */
#include "gc/type.h"

#include <string.h>

#include "base/check.h"

/* Masks longer than this many words are read as "every word, ambiguous". */
#define MAX_MASK_WORDS 8192

static void check_type(const struct mgc_type *t)
{
	const char *name = t->name != NULL ? t->name : "(unnamed)";
	if (t->size == 0)
		mgc_misuse("type %s (at %p) has size 0", name, (const void *)t);
	if (t->ptr_bytes > t->size)
		mgc_misuse("type %s: ptr_bytes %zu exceeds its size %zu", name, t->ptr_bytes, t->size);
	if (t->ptr_bytes % sizeof(void *) != 0)
		mgc_misuse("type %s: ptr_bytes %zu is not a multiple of 8", name, t->ptr_bytes);
	if (t->trace != NULL && t->trace_part != NULL)
		mgc_misuse("type %s has both trace and trace_part", name);
	if (t->flags & MGC_TYPE_WHOLE && t->trace == NULL && t->trace_part == NULL)
		mgc_misuse("type %s: MGC_TYPE_WHOLE without a trace callback", name);
	if (t->flags & ~(unsigned)(MGC_TYPE_AMBIGUOUS | MGC_TYPE_WHOLE | MGC_TYPE_BOXED) ||
	    t->reserved != 0)
		mgc_misuse("type %s has flags 0x%x that this library does not know", name, t->flags);
	if (t->ptr_tag_mask > 15 || (t->ptr_tags != 0 && t->ptr_tag_mask == 0))
		mgc_misuse("type %s: ptr_tag_mask %u is not 1 to 15", name, t->ptr_tag_mask);
	if (t->ptr_bytes != 0 && t->size % sizeof(void *) != 0)
		mgc_misuse("type %s: size %zu is not a multiple of 8, and it holds pointers", name,
			   t->size);
}

/* make_mask - the type's mask in words of 64; the number of bits set. */
static size_t make_mask(const struct mgc_type *t, uint64_t *mask, size_t nwords)
{
	size_t set = 0;
	memset(mask, 0, (nwords + 63) / 64 * sizeof *mask);
	for (size_t w = 0; w < t->ptr_bytes / sizeof(void *); w++) {
		if (t->ptr_mask != NULL && !(t->ptr_mask[w / 8] >> (w % 8) & 1))
			continue;
		mask[w / 64] |= UINT64_C(1) << (w % 64);
		set++;
	}
	return set;
}

/* owner - whose objects a layout's are, where each type has its own. */
static void *owner(const struct layouts *ls, const struct mgc_type *t)
{
	return ls->by_type ? (void *)t : NULL;
}

static unsigned intern_noscan(struct layouts *ls, const struct mgc_type *t)
{
	if (!ls->by_type || t->size < MGC_MAX_TINY)
		return LAYOUT_ID_NOSCAN;
	return layout_intern(ls, &(struct layout_desc){ .kind = LAYOUT_NOSCAN, .user = owner(ls, t) });
}

/* describe - what all kinds have in common: how a pointer stands in its word. */
static struct layout_desc describe(const struct layouts *ls, const struct mgc_type *t)
{
	struct layout_desc d = { .kind = LAYOUT_MASK, .tag_mask = t->ptr_tag_mask, .user = owner(ls, t) };
	bool called = t->trace != NULL || t->trace_part != NULL;
	if (t->flags & MGC_TYPE_AMBIGUOUS || (t->flags & MGC_TYPE_BOXED && !called))
		d.flags |= LAYOUT_AMBIGUOUS;
	if (t->flags & MGC_TYPE_BOXED)
		d.flags |= LAYOUT_BOXED;
	if (t->ptr_tag_mask != 0) {
		d.flags |= LAYOUT_TAGGED;
		d.tags = t->ptr_tags != 0 ? t->ptr_tags : UINT16_MAX;
	}
	return d;
}

static unsigned intern_callback(struct layouts *ls, const struct mgc_type *t)
{
	struct layout_desc d = describe(ls, t);
	bool whole = t->flags & MGC_TYPE_WHOLE || t->trace_part != NULL;
	d.kind = LAYOUT_TRACE;
	d.period = !whole && t->size <= UINT32_MAX ? (uint32_t)t->size : 0;
	d.trace = (void (*)(void *, void *))(void (*)(void))t->trace;
	if (t->trace_part != NULL) {
		d.flags |= LAYOUT_PARTS;
		d.trace = (void (*)(void *, void *))(void (*)(void))t->trace_part;
	}
	return layout_intern(ls, &d);
}

static unsigned intern_mask(struct layouts *ls, const struct mgc_type *t)
{
	struct layout_desc d = describe(ls, t);
	uint64_t mask[MAX_MASK_WORDS / 64];
	size_t nwords = t->size / sizeof(void *);
	if (nwords > MAX_MASK_WORDS) {
		if (!(d.flags & LAYOUT_BOXED))
			return LAYOUT_ID_WORDS;
		d.kind = LAYOUT_WORDS;
		return layout_intern(ls, &d);
	}
	if (make_mask(t, mask, nwords) == 0)
		return intern_noscan(ls, t);
	d.period = (uint32_t)nwords;
	d.mask = mask;
	return layout_intern(ls, &d);
}

static unsigned intern(struct layouts *ls, const struct mgc_type *t)
{
	if (t->trace != NULL || t->trace_part != NULL)
		return intern_callback(ls, t);
	return t->ptr_bytes == 0 ? intern_noscan(ls, t) : intern_mask(ls, t);
}

uint64_t type_id_slow(struct layouts *ls, struct mgc_type *t)
{
	uint64_t id = TYPE_KNOWN;
	check_type(t);
	unsigned layout = intern(ls, t);
	if (layout == 0)
		mgc_fatal("type %s: more than %d types with trace callbacks or boxes",
			  t->name != NULL ? t->name : "(unnamed)", MGC_MAX_LAYOUT);
	if (t->flags & MGC_TYPE_BOXED) /* before there is an object of it */
		store_relaxed(&ls->word_mask, LAYOUT_BOX_MASK);
	if (layout >= LAYOUT_ID_FIRST_FREE && t->name != NULL)
		layout_add_name(ls, layout, t->name);
	bool tiny = layout == LAYOUT_ID_NOSCAN && t->size < MGC_MAX_TINY;
	if (t->size <= MGC_MAX_SMALL && !tiny) {
		unsigned sizeclass = sizeclass_of(t->size);
		unsigned sc = layout_spanclass(ls, layout, sizeclass);
		if (sc != 0) /* 0: none is left for it, and allocation says so each time */
			layout = ls->spanclass[sc].layout;
		id |= sc * TYPE_RUN_NBYTES | (uint64_t)ls->spanclass[sc].slot_nbytes << 48;
	}
	id |= (uint64_t)layout << 32;
	store_release(&t->mgc_id, id); /* pairs: type-id */
	return id;
}
