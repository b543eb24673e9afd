/* type.c - fuzzed: types of the native API, of which the input fills each field. A type that include/mallocgc.h allows
 * gets an id; the layout behind it has the mask, word for word, the flags and the tags of the type. One that is not
 * allowed ends the process with a message (test/misuse), so it is left out here. */
#include "gc/type.h"

#include "fuzz/input.h"

enum { MAX_WORDS = 600 };

static struct layouts layouts;

static bool allowed(const struct mgc_type *t)
{
	return t->size >= 1 && t->ptr_bytes <= t->size && t->ptr_bytes % 8 == 0 &&
	       t->ptr_tag_mask <= 15 && (t->ptr_tags == 0 || t->ptr_tag_mask != 0) &&
	       (t->ptr_bytes == 0 || t->size % 8 == 0);
}

static bool wanted(const struct mgc_type *t, size_t word)
{
	return word < t->ptr_bytes / 8 &&
	       (t->ptr_mask == NULL || (t->ptr_mask[word / 8] >> word % 8 & 1) != 0);
}

/* nearly_full - some table of layouts has no more room than what it keeps back. */
static bool nearly_full(void)
{
	return layouts.nlayouts >= MGC_MAX_LAYOUT / 8 * 7 ||
	       layouts.nspanclasses >= MGC_MAX_SPANCLASS / 8 * 7 ||
	       layouts.mask_end - layouts.mask_next <= MAX_WORDS / 8 + sizeof(uint64_t);
}

static void check_words(const struct mgc_type *t, const struct layout_desc *d)
{
	size_t nwords = t->size / 8;
	bool masked = d->kind == LAYOUT_MASK;
	FUZZ_CHECK(masked || d->kind == LAYOUT_WORDS);
	FUZZ_CHECK(!masked || (d->period <= nwords && nwords % d->period == 0));
	for (size_t w = 0; w < nwords; w++) {
		size_t bit = masked ? w % d->period : 0;
		FUZZ_CHECK((masked ? d->mask[bit / 64] >> bit % 64 & 1 : 1) == wanted(t, w));
	}
}

static void check_flags(const struct mgc_type *t, const struct layout_desc *d)
{
	bool tagged = t->ptr_tag_mask != 0, boxed = (t->flags & MGC_TYPE_BOXED) != 0;
	FUZZ_CHECK(((d->flags & LAYOUT_TAGGED) != 0) == tagged);
	FUZZ_CHECK(!tagged || (d->tag_mask == t->ptr_tag_mask &&
			       d->tags == (t->ptr_tags != 0 ? t->ptr_tags : UINT16_MAX)));
	FUZZ_CHECK(((d->flags & LAYOUT_BOXED) != 0) == boxed);
	FUZZ_CHECK(((d->flags & LAYOUT_AMBIGUOUS) != 0) ==
		   (boxed || (t->flags & MGC_TYPE_AMBIGUOUS) != 0));
}

static void check_layout(const struct mgc_type *t)
{
	unsigned layout = type_layout(t->mgc_id);
	const struct layout_desc *d = &layouts.layout[layout].desc;
	size_t npointers = 0;
	for (size_t w = 0; w < t->size / 8; w++)
		npointers += wanted(t, w);
	if (npointers == 0) {
		FUZZ_CHECK(d->kind == LAYOUT_NOSCAN);
		return;
	}
	if (layout == LAYOUT_ID_WORDS && nearly_full())
		return; /* every word, ambiguous: right for any type without boxes, and all that is left */
	check_words(t, d);
	check_flags(t, d);
}

static void one_type(struct input *in)
{
	static uint8_t mask[MAX_WORDS / 8 + 1];
	struct mgc_type t = { .name = "fuzzed" };
	unsigned how = (unsigned)take(in, 1);
	t.flags = how & (MGC_TYPE_AMBIGUOUS | MGC_TYPE_BOXED);
	t.size = (size_t)take(in, 2) % (8 * MAX_WORDS);
	t.ptr_bytes = (size_t)take(in, 2) % (8 * MAX_WORDS);
	if (how & 8)
		t.size &= ~(size_t)7, t.ptr_bytes &= ~(size_t)7;
	if (how & 16)
		t.ptr_tag_mask = (uint8_t)take(in, 1), t.ptr_tags = (uint16_t)take(in, 2);
	size_t nbytes = (t.ptr_bytes / 8 + 7) / 8;
	if (how & 2) {
		t.ptr_mask = mask;
		for (size_t i = 0; i < nbytes; i++)
			mask[i] = (uint8_t)take(in, 1);
	}
	if (!allowed(&t))
		return;
	uint64_t id = type_id(&layouts, &t);
	FUZZ_CHECK(id != 0 && id == t.mgc_id && type_id(&layouts, &t) == id);
	FUZZ_CHECK(type_slot_nbytes(id) == 0 || type_slot_nbytes(id) >= t.size);
	check_layout(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct input in = { data, data + nbytes };
	FUZZ_CHECK(layouts_init(&layouts) == 0);
	while (has_more(&in))
		one_type(&in);
	layouts_destroy(&layouts);
	return 0;
}
