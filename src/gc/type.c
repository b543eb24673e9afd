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

static unsigned intern_mask(struct layouts *ls, const struct mgc_type *t, unsigned flags)
{
	uint64_t mask[MAX_MASK_WORDS / 64];
	size_t nwords = t->size / sizeof(void *);
	if (nwords > MAX_MASK_WORDS)
		return LAYOUT_ID_WORDS;
	if (make_mask(t, mask, nwords) == 0)
		return LAYOUT_ID_NOSCAN;
	return layout_intern(ls, &(struct layout_desc){ .kind = LAYOUT_MASK,
							.flags = flags,
							.period = (uint32_t)nwords,
							.mask = mask });
}

static unsigned intern(struct layouts *ls, const struct mgc_type *t)
{
	unsigned flags = t->flags & MGC_TYPE_AMBIGUOUS ? LAYOUT_AMBIGUOUS : 0;
	if (t->trace != NULL)
		return layout_intern(
			ls, &(struct layout_desc){
				    .kind = LAYOUT_TRACE,
				    .flags = flags,
				    .period = t->size <= UINT32_MAX ? (uint32_t)t->size : 0,
				    .trace = (void (*)(void *, void *))(void (*)(void))t->trace });
	return t->ptr_bytes == 0 ? LAYOUT_ID_NOSCAN : intern_mask(ls, t, flags);
}

uint64_t type_id_slow(struct layouts *ls, struct mgc_type *t)
{
	uint64_t id = TYPE_KNOWN;
	check_type(t);
	unsigned layout = intern(ls, t);
	if (layout == 0)
		mgc_fatal("type %s: more than %d types with trace callbacks",
			  t->name != NULL ? t->name : "(unnamed)", MGC_MAX_LAYOUT);
	bool tiny = layout == LAYOUT_ID_NOSCAN && t->size < MGC_MAX_TINY;
	if (t->size <= MGC_MAX_SMALL && !tiny) {
		unsigned sizeclass = sizeclass_of(t->size);
		unsigned sc = layout_spanclass(ls, layout, sizeclass);
		if (sc != 0) /* 0: none is left for it, and allocation says so each time */
			layout = ls->spanclass[sc].layout;
		id |= sc | (uint64_t)ls->spanclass[sc].slot_nbytes << 16;
	}
	id |= (uint64_t)layout << 32;
	store_release(&t->mgc_id, id); /* pairs: type-id */
	return id;
}
