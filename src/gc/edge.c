/* edge.c - see edge.h. LOCKS none. */
#include "gc/edge.h"

#include "base/bits.h"
#include "gc/trace.h"

static const struct spanclass *class_of(const struct heap *h, const struct span *s)
{
	return &h->layouts.spanclass[s->spanclass];
}

static const struct layout_desc *layout_of(const struct heap *h, const struct span *s)
{
	return &h->layouts.layout[class_of(h, s)->layout].desc;
}

enum layout_kind edge_kind(const struct heap *h, const struct span *s)
{
	return layout_of(h, s)->kind;
}

bool edge_untyped(const struct heap *h, const struct span *s)
{
	const struct layout_desc *d = layout_of(h, s);
	return d->kind == LAYOUT_WORDS && (d->flags & LAYOUT_AMBIGUOUS) && d->user == NULL;
}

bool edge_ambiguous(const struct heap *h, const struct span *s)
{
	return layout_of(h, s)->flags & LAYOUT_AMBIGUOUS;
}

const char *edge_type(const struct heap *h, const struct span *s)
{
	return layout_name(&h->layouts, class_of(h, s)->layout);
}

size_t edge_nbytes(const struct span *s)
{
	return s->sizeclass == 0 ? s->slot_nbytes - s->slack : s->slot_nbytes;
}

uintptr_t edge_object(struct heap *h, uintptr_t word, struct span **s)
{
	const struct space *sp = &h->pageheap.space;
	*s = space_span(sp, word);
	if (*s == NULL)
		return 0;
	uint32_t slot = span_slot_of(*s, word);
	uintptr_t object = span_slot_addr(*s, slot);
	return slot < (*s)->nslots && space_is_allocated(sp, object) ? object : 0;
}

static bool is_slot(const struct layout_desc *d, size_t word)
{
	if (d->kind != LAYOUT_MASK)
		return d->kind == LAYOUT_WORDS;
	word %= d->period;
	return d->mask[word / 64] >> (word % 64) & 1;
}

uintptr_t edge_decode(const struct heap *h, const struct span *s, uintptr_t word)
{
	return word_decode(word_code_of(layout_of(h, s)), word);
}

void edge_each_in(struct heap *h, const struct span *s, uintptr_t object, const uintptr_t *copy,
		  edge_fn fn, void *arg)
{
	const struct layout_desc *d = layout_of(h, s);
	struct word_code code = word_code_of(d);
	for (size_t w = 0; w < edge_nbytes(s) / sizeof(uintptr_t); w++) {
		uintptr_t word = word_decode(code, load_relaxed(&copy[w]));
		if (is_slot(d, w) && space_contains(&h->pageheap.space, word))
			fn(arg, object + w * sizeof(uintptr_t), word);
	}
}

struct named {
	struct heap *heap;
	edge_fn fn;
	void *arg;
};

static void on_named(void *arg, uintptr_t word)
{
	const struct named *n = arg;
	if (space_contains(&n->heap->pageheap.space, word))
		n->fn(n->arg, 0, word);
}

void edge_each(struct heap *h, const struct span *s, uintptr_t object, edge_fn fn, void *arg)
{
	const struct layout_desc *d = layout_of(h, s);
	struct named n = { h, fn, arg };
	struct mgc_tracer tracer = {
		.code = word_code_of(d), .user = d->user, .visit = on_named, .visit_arg = &n
	};
	if (d->kind != LAYOUT_TRACE) {
		edge_each_in(h, s, object, (const uintptr_t *)object, fn, arg);
		return;
	}
	for (size_t at = 0; at < edge_nbytes(s); at += MARK_PIECE)
		trace_piece(&tracer, d, object, object + at, edge_nbytes(s));
}

struct every {
	struct heap *heap;
	void (*fn)(void *arg, struct span *s, uintptr_t object);
	void *arg;
};

static void each_in_span(void *arg, struct span *s)
{
	const struct every *e = arg;
	for (uint32_t slot = 0; slot < s->nslots; slot++) {
		uintptr_t object = span_slot_addr(s, slot);
		if (space_is_allocated(&e->heap->pageheap.space, object))
			e->fn(e->arg, s, object);
	}
}

void edge_each_object(struct heap *h, void (*fn)(void *arg, struct span *s, uintptr_t object), void *arg)
{
	struct every e = { h, fn, arg };
	pageheap_each(&h->pageheap, each_in_span, &e);
}
