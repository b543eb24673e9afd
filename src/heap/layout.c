/* layout.c - see layout.h. LOCKS LAYOUT around every addition. */
#include "heap/layout.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

#define HASH_CELLS (2 * MGC_MAX_LAYOUT)
#define MASK_ROOM ((size_t)256 << 10)
#define NAME_ROOM ((size_t)128 << 10)
/* A name as messages print it; of layouts that many types share, the first few. */
#define NAME_NBYTES 64
/* Layouts kept back for the flags that "every word" lacks (uncollectable objects, for one). */
#define RESERVED_LAYOUTS 64
/* Span classes kept back for the layouts that always exist, and for callbacks, which must not merge. */
#define RESERVED_FIXED (2 * MGC_NSIZECLASS + 1)
#define RESERVED_TRACE MGC_NSIZECLASS

static size_t mask_words(uint32_t period)
{
	return (period + 63) / 64;
}

static unsigned add_layout(struct layouts *ls, const struct layout_desc *desc)
{
	unsigned id = ls->nlayouts;
	ls->layout[id].desc = *desc;
	store_release(&ls->nlayouts, id + 1); /* pairs: spanclass */
	return id;
}

int layouts_init(struct layouts *ls)
{
	size_t table = align_up(MGC_MAX_LAYOUT * sizeof(struct layout), MGC_CACHE_LINE);
	size_t hash = HASH_CELLS * sizeof(uint16_t);
	memset(ls, 0, sizeof *ls);
	lock_init(&ls->lock, LOCK_LAYOUT);
	ls->memory_nbytes = align_up(table + hash + MASK_ROOM + NAME_ROOM, os_page_size());
	ls->memory = os_alloc(ls->memory_nbytes);
	if (ls->memory == 0)
		return ENOMEM;
	ls->layout = (struct layout *)ls->memory;
	ls->hash = (uint16_t *)(ls->memory + table);
	ls->mask_next = ls->memory + table + hash;
	ls->mask_end = ls->name_next = ls->mask_next + MASK_ROOM;
	ls->name_end = ls->memory + ls->memory_nbytes;
	ls->nlayouts = ls->nspanclasses = 1;
	ls->spanclass[0].interior = -1;
	ls->word_mask = UINTPTR_MAX;
	const struct layout_desc fixed[] = {
		{ .kind = LAYOUT_NOSCAN },
		{ .kind = LAYOUT_WORDS, .flags = LAYOUT_AMBIGUOUS },
		{ .kind = LAYOUT_NOSCAN, .flags = LAYOUT_TINY },
	};
	for (unsigned i = 0; i < 3; i++)
		MGC_CHECK(layout_intern(ls, &fixed[i]) == LAYOUT_ID_NOSCAN + i);
	return 0;
}

void layouts_destroy(struct layouts *ls)
{
	os_release(ls->memory, ls->memory_nbytes);
	memset(ls, 0, sizeof *ls);
}

static bool same_layout(const struct layout_desc *a, const struct layout_desc *b)
{
	return a->kind == b->kind && a->flags == b->flags && a->period == b->period &&
	       a->trace == b->trace && a->user == b->user && a->tags == b->tags &&
	       a->tag_mask == b->tag_mask &&
	       (a->kind != LAYOUT_MASK ||
		memcmp(a->mask, b->mask, mask_words(a->period) * sizeof(uint64_t)) == 0);
}

static size_t hash_layout(const struct layout_desc *d)
{
	uint64_t h = bits_mix((uint64_t)d->kind | (uint64_t)d->flags << 8 | (uint64_t)d->period << 32);
	h = bits_mix(h ^ (uintptr_t)d->trace) ^ (uintptr_t)d->user;
	h = bits_mix(h ^ d->tags ^ (uint64_t)d->tag_mask << 16);
	for (size_t i = 0; d->kind == LAYOUT_MASK && i < mask_words(d->period); i++)
		h = bits_mix(h ^ d->mask[i]);
	return (size_t)(bits_mix(h) % HASH_CELLS);
}

/* reduce - the shortest description of the same thing, so that equal ones are found equal: a mask
 * with all its bits set is "every word". */
static void reduce(struct layout_desc *d)
{
	if (d->kind != LAYOUT_MASK)
		return;
	size_t set = 0;
	for (size_t i = 0; i < mask_words(d->period); i++)
		set += bits_count(d->mask[i]);
	if (set == d->period) {
		d->kind = LAYOUT_WORDS;
		d->mask = NULL;
		d->period = 0;
	}
}

static unsigned full_table_layout(const struct layout_desc *d)
{
	/* a tagged pointer points into its object, so "every word" finds it too */
	bool plain = (d->flags & ~(unsigned)(LAYOUT_AMBIGUOUS | LAYOUT_TAGGED)) == 0;
	return d->kind < LAYOUT_TRACE && plain ? LAYOUT_ID_WORDS : 0;
}

/* spanclass_left - true when one more span class may be given to this layout. Lock held. */
static bool spanclass_left(const struct layouts *ls, unsigned layout, bool may_merge)
{
	if (layout < LAYOUT_ID_FIRST_FREE)
		return ls->nspanclasses < MGC_MAX_SPANCLASS;
	uint32_t others = ls->nspanclasses - ls->nfixed;
	return others < MGC_MAX_SPANCLASS - RESERVED_FIXED - (may_merge ? RESERVED_TRACE : 0);
}

static unsigned intern_locked(struct layouts *ls, struct layout_desc *d)
{
	size_t cell = hash_layout(d);
	for (; ls->hash[cell] != 0; cell = (cell + 1) % HASH_CELLS)
		if (same_layout(&ls->layout[ls->hash[cell]].desc, d))
			return ls->hash[cell];
	bool special = d->kind != LAYOUT_TRACE && full_table_layout(d) == 0;
	if (ls->nlayouts >= MGC_MAX_LAYOUT - (special ? 0 : RESERVED_LAYOUTS))
		return full_table_layout(d);
	if (d->kind == LAYOUT_MASK) {
		size_t nbytes = mask_words(d->period) * sizeof(uint64_t);
		if (nbytes > ls->mask_end - ls->mask_next)
			return full_table_layout(d);
		d->mask = memcpy((void *)ls->mask_next, d->mask, nbytes);
		ls->mask_next += nbytes;
	}
	ls->hash[cell] = (uint16_t)add_layout(ls, d);
	return ls->hash[cell];
}

unsigned layout_intern(struct layouts *ls, const struct layout_desc *desc)
{
	struct layout_desc d = *desc;
	reduce(&d);
	lock_acquire(&ls->lock);
	unsigned id = intern_locked(ls, &d);
	lock_release(&ls->lock);
	return id;
}

/* ── names ──────────────────────────────────────────────────────────────────────────────── */

/* is_among - whether the name is one of those in "a|b|c". */
static bool is_among(const char *names, const char *name)
{
	size_t n = strlen(name);
	for (;; names++) {
		if (strncmp(names, name, n) == 0 && (names[n] == '\0' || names[n] == '|'))
			return true;
		names = strchr(names, '|');
		if (names == NULL)
			return false;
	}
}

void layout_add_name(struct layouts *ls, unsigned layout, const char *name)
{
	char text[NAME_NBYTES];
	struct layout *l = &ls->layout[layout];
	lock_acquire(&ls->lock);
	const char *old = load_relaxed(&l->name);
	bool known = old != NULL && (is_among(old, name) || is_among(old, "..."));
	size_t n = mgc_format(text, sizeof text, "%s%s%s", old != NULL ? old : "",
			      old != NULL ? "|" : "", name);
	if (old != NULL && n == sizeof text - 1) /* it was cut */
		n = mgc_format(text, sizeof text, "%s|...", old);
	if (!known && n + 1 <= ls->name_end - ls->name_next) {
		store_release(&l->name, (const char *)memcpy((void *)ls->name_next, text,
							     n + 1)); /* pairs: layout-name */
		ls->name_next += n + 1;
	}
	lock_release(&ls->lock);
}

const char *layout_name(const struct layouts *ls, unsigned layout)
{
	static const char *const kinds[] = {
		[LAYOUT_NOSCAN] = "(pointer-free)", [LAYOUT_WORDS] = "(untyped)", [LAYOUT_MASK] = "(unnamed)", [LAYOUT_TRACE] = "(unnamed)"
	};
	const char *name = load_acquire(&ls->layout[layout].name); /* pairs: layout-name */
	return name != NULL ? name : kinds[ls->layout[layout].desc.kind];
}

/* expand_mask - the layout's pointer words over one slot of at most 64 words. */
static uint64_t expand_mask(const struct layout_desc *d, uint32_t slot_nbytes)
{
	uint64_t mask = 0;
	for (uint32_t w = 0; w < slot_nbytes / 8; w++) {
		uint32_t bit = d->period != 0 ? w % d->period : 0;
		bool named = d->kind == LAYOUT_WORDS || (d->mask[bit / 64] >> (bit % 64) & 1);
		mask |= (uint64_t)named << w;
	}
	return mask;
}

static void fill_spanclass(struct spanclass *sc, const struct layout_desc *d, unsigned layout,
			   unsigned sizeclass)
{
	static const uint8_t scan[] = {
		[LAYOUT_NOSCAN] = SCAN_NONE, [LAYOUT_WORDS] = SCAN_ALL, [LAYOUT_MASK] = SCAN_PERIOD, [LAYOUT_TRACE] = SCAN_TRACE, [LAYOUT_PAIRS] = SCAN_PAIRS
	};
	bool coded = d->kind != LAYOUT_TRACE && d->flags & (LAYOUT_TAGGED | LAYOUT_BOXED);
	sc->slot_nbytes = sizeclass_table[sizeclass].slot_nbytes;
	sc->reciprocal = sizeclass_table[sizeclass].reciprocal;
	sc->layout = (uint16_t)layout;
	sc->sizeclass = (uint8_t)sizeclass;
	sc->flags = (uint8_t)d->flags;
	sc->tag_mask = d->tag_mask;
	sc->tags = d->flags & LAYOUT_TAGGED ? d->tags : 1;
	sc->scan = coded ? SCAN_CODED : d->flags & LAYOUT_SPARE ? SCAN_SPARE : scan[d->kind];
	if ((coded || d->kind == LAYOUT_MASK) && sizeclass != 0 && sc->slot_nbytes <= 512) {
		sc->scan = coded ? SCAN_CODED64 : SCAN_MASK64;
		sc->mask = expand_mask(d, sc->slot_nbytes);
	}
	/* a slot of 24 B may begin in the middle of a granule, where its bit is that of a word before it, too */
	sc->interior =
		sizeclass != 0 && sc->slot_nbytes % MGC_GRANULE == 0 ? (int32_t)MGC_GRANULE - 1 : -1;
	if (sizeclass == 0)
		return;
	if (sc->scan == SCAN_ALL)
		sc->nwords = (uint16_t)(sc->slot_nbytes / sizeof(uintptr_t));
	else if (sc->scan == SCAN_MASK64 && !(d->flags & LAYOUT_AMBIGUOUS) &&
		 (sc->mask & (sc->mask + 1)) == 0)
		sc->nwords = (uint16_t)bits_count(sc->mask);
}

unsigned layout_spanclass_slow(struct layouts *ls, unsigned layout, unsigned sizeclass)
{
	const struct layout_desc *d = &ls->layout[layout].desc;
	uint16_t *cell = &ls->layout[layout].spanclass[sizeclass];
	lock_acquire(&ls->lock);
	unsigned id = load_relaxed(cell);
	if (id == 0) {
		bool may_merge = layout >= LAYOUT_ID_FIRST_FREE && full_table_layout(d) != 0;
		if (spanclass_left(ls, layout, may_merge)) {
			id = ls->nspanclasses;
			fill_spanclass(&ls->spanclass[id], d, layout, sizeclass);
			store_release(&ls->nspanclasses, id + 1); /* pairs: spanclass */
			ls->nfixed += layout < LAYOUT_ID_FIRST_FREE;
			store_release(cell, (uint16_t)id); /* pairs: spanclass */
		} else if (may_merge) {
			lock_release(&ls->lock);
			return layout_spanclass(ls, LAYOUT_ID_WORDS, sizeclass);
		}
	}
	lock_release(&ls->lock);
	return id;
}
