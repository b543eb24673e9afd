/* sink.c - see sink.h. */
#include "gc/sink.h"

#include <string.h>

#include "base/annotate.h"
#include "base/bits.h"

/* candidate_before - the slot before, when the word is a slot's first byte. */
static void candidate_before(struct sink *s, uintptr_t word)
{
	uintptr_t off = word - 1 - s->base;
	if (word % MGC_GRANULE != 0 || off >= s->nbytes)
		return;
	uint32_t desc = load_acquire(&s->mk->desc[off >> MGC_PAGE_SHIFT]); /* pairs: desc-publish */
	uint32_t slot_nbytes = s->mk->spanclass[desc_spanclass(desc)].slot_nbytes;
	if (slot_nbytes - 1 < s->end_nbytes - 1) /* 0 is a large one */
		marker_candidate(s->mk, word - 1, MARK_AMBIGUOUS);
}

/* resolve - what was copied is looked up in the heap. */
static void resolve(struct sink *s)
{
	annotate_words(s->word, s->n);
	s->mk->of_roots = true;
	marker_words(s->mk, s->word, s->n);
	for (size_t i = 0; s->end_nbytes != 0 && i < s->n; i++)
		candidate_before(s, s->word[i]);
	memset(s->word, 0, s->n * sizeof s->word[0]); /* E2 */
	s->n = 0;
	marker_settle(s->mk);
	s->mk->of_roots = false;
	MGC_KEEP(s->word);
}

static void use_own(struct sink *s)
{
	s->block = NULL;
	s->word = s->own;
	s->capacity = s->own_capacity;
	s->n = 0;
}

void sink_to_marker(struct sink *s, struct marker *mk, uint64_t end_nbytes, uintptr_t *own,
		    size_t own_capacity)
{
	s->own = own;
	s->own_capacity = own_capacity;
	s->base = mk->base;
	s->nbytes = mk->nbytes;
	s->mask = load_relaxed(&mk->heap->layouts.word_mask);
	s->heap = mk->heap;
	s->pool = mk->pool;
	s->mk = mk;
	s->end_nbytes = end_nbytes;
	s->read_nbytes = 0;
	s->make_room = resolve;
	s->range = NULL;
	use_own(s);
}

static void mark_own(struct sink *s)
{
	annotate_words(s->word, s->n);
	for (size_t i = 0; i < s->n; i++) {
		mark_in_place(s->heap, s->pool, s->word[i]);
		s->word[i] = 0; /* E2 */
	}
	s->n = 0;
	MGC_KEEP(s->word);
}

static void use_block(struct sink *s)
{
	struct grey_block *b = grey_take_empty(s->pool);
	if (b == NULL) {
		use_own(s);
		return;
	}
	b->words = 1;
	s->block = b;
	s->word = b->object;
	s->capacity = GREY_BLOCK_OBJECTS;
	s->n = 0;
}

static void put_block(struct sink *s)
{
	if (s->block == NULL) {
		mark_own(s);
	} else {
		s->block->n = (uint32_t)s->n;
		add_relaxed(&s->pool->ncopied, 1u);
		grey_put_full(s->pool, s->block);
	}
}

static void next_block(struct sink *s)
{
	put_block(s);
	use_block(s);
}

void sink_to_pool(struct sink *s, struct heap *h, struct grey_pool *pool, uintptr_t *own,
		  size_t own_capacity)
{
	s->own = own;
	s->own_capacity = own_capacity;
	s->base = h->pageheap.space.base;
	s->nbytes = h->pageheap.space.nbytes;
	s->mask = load_relaxed(&h->layouts.word_mask);
	s->heap = h;
	s->pool = pool;
	s->mk = NULL;
	s->end_nbytes = 0;
	s->read_nbytes = 0;
	s->make_room = next_block;
	s->range = NULL;
	use_block(s);
}

void sink_to_visitor(struct sink *s, struct heap *h, uintptr_t *one,
		     void (*range)(struct sink *s, uintptr_t lo, uintptr_t hi),
		     void (*make_room)(struct sink *s))
{
	*s = (struct sink){ .base = h->pageheap.space.base,
			    .nbytes = h->pageheap.space.nbytes,
			    .mask = load_relaxed(&h->layouts.word_mask),
			    .heap = h,
			    .own = one,
			    .own_capacity = 1,
			    .make_room = make_room,
			    .range = range };
	use_own(s);
}

void sink_close(struct sink *s)
{
	if (s->mk != NULL)
		resolve(s);
	else
		put_block(s);
}

/* Most words of data segments are no references, and most that are none differ in their upper half from all that are: so
 * many are tested at a time, without a branch. */
#define GROUP 16

typedef uint32_t halves __attribute__((vector_size(16), aligned(8), may_alias));
typedef int32_t signed_halves __attribute__((vector_size(16)));
typedef uint64_t whole __attribute__((vector_size(16)));

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "which half is the upper one");
#define UPPER(w) \
	__builtin_shufflevector(*(const volatile halves *)(w), \
				*(const volatile halves *)((w) + 2), 1, 3, 5, 7)
#define ALL_FOUR(x) ((halves){ x, x, x, x })
#define IS_NEAR(w) ((signed_halves)((UPPER(w) & mask) - from) < to)

/* next_near - the first group from w on with a word whose upper half could be that of a reference; near the end: where no
 * group fits any more. A word that changes meanwhile counts as what it was. */
static MGC_NO_SANITIZE const volatile uintptr_t *next_near(const struct sink *s,
							   const volatile uintptr_t *w,
							   const volatile uintptr_t *end)
{
	const uint32_t sign = UINT32_C(1) << 31; /* processors compare with signs */
	uint32_t lo = (uint32_t)(s->base >> 32), n = (uint32_t)((s->base + s->nbytes) >> 32) - lo + 1;
	halves mask = ALL_FOUR((uint32_t)(s->mask >> 32)), from = ALL_FOUR(lo + sign);
	signed_halves to = (signed_halves)ALL_FOUR(n + sign);
	for (; end - w >= GROUP; w += GROUP) {
		signed_halves near = IS_NEAR(w) | IS_NEAR(w + 4) | IS_NEAR(w + 8) | IS_NEAR(w + 12);
		whole any = (whole)near;
		if ((any[0] | any[1]) != 0)
			break;
	}
	return w;
}

/* copy_words - of [w, end) those that may be references, as many as the buffer has room for. Each of a group is stored, and
 * the next one over it if it was none: no branch to mispredict. What lies behind the last one is no reference (E2). */
static MGC_NO_SANITIZE const volatile uintptr_t *copy_words(struct sink *s, const volatile uintptr_t *w,
							    const volatile uintptr_t *end)
{
	uintptr_t base = s->base, mask = s->mask, *to = s->word + s->n, *full = s->word + s->capacity;
	size_t nbytes = s->nbytes + 1; /* one past the last byte may still count */
	while (w < end && to < full) {
		w = next_near(s, w, end);
		size_t n = min_size(GROUP, min_size((size_t)(end - w), (size_t)(full - to)));
		for (const volatile uintptr_t *group_end = w + n; w < group_end; w++) {
			uintptr_t word = *w & mask;
			*to = word;
			to += word - base < nbytes;
		}
	}
	s->n = (size_t)(to - s->word);
	return w;
}

void sink_range(struct sink *s, uintptr_t lo, uintptr_t hi)
{
	if (MGC_UNLIKELY(s->range != NULL)) {
		s->range(s, lo, hi);
		return;
	}
	const volatile uintptr_t *w = (const volatile uintptr_t *)align_up(lo, sizeof(uintptr_t));
	const volatile uintptr_t *end = (const volatile uintptr_t *)align_down(hi, sizeof(uintptr_t));
	while (w < end) {
		w = copy_words(s, w, end);
		if (s->n == s->capacity)
			s->make_room(s);
	}
	s->read_nbytes += hi > lo ? hi - lo : 0;
}
