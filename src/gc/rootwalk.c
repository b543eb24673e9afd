/* rootwalk.c - see rootwalk.h. LOCKS SPECIAL, while its table is walked. */
#include "gc/rootwalk.h"

#include "base/bits.h"
#include "gc/edge.h"
#include "gc/stacks.h"
#include "os/os.h"

const char *root_kind_name(enum root_kind kind)
{
	static const char *const names[] = {
		[ROOT_RANGE] = "range",       [ROOT_OWNED] = "owned range",
		[ROOT_STACK] = "stack",       [ROOT_UNCOLLECTABLE] = "uncollectable object",
		[ROOT_REGISTER] = "register", [ROOT_FINALIZER] = "finalizer",
		[ROOT_TLS] = "thread-local",  [ROOT_SEGMENT] = "global",
	};
	return names[kind];
}

struct walk {
	struct sink sink; /* first: the callbacks get its address */
	uintptr_t one;
	struct heap *heap;
	const struct roots *roots;
	unsigned kinds;
	struct root_word root; /* of what is being walked */
	void (*fn)(void *arg, const struct root_word *w);
	void *arg;
};

static void give(struct walk *w, enum root_kind kind, uintptr_t at, uintptr_t word)
{
	word &= load_relaxed(&w->heap->layouts.word_mask);
	w->root.kind = kind;
	w->root.at = at;
	w->root.word = word;
	if ((w->kinds >> kind & 1) && space_contains(&w->heap->pageheap.space, word))
		w->fn(w->arg, &w->root);
}

static MGC_NO_SANITIZE void read_range(struct walk *w, enum root_kind kind, uintptr_t lo, uintptr_t hi)
{
	const volatile uintptr_t *at = (const volatile uintptr_t *)align_up(lo, sizeof(uintptr_t));
	const volatile uintptr_t *end = (const volatile uintptr_t *)align_down(hi, sizeof(uintptr_t));
	for (; at < end; at++)
		give(w, kind, (uintptr_t)at, *at);
}

/* on_stack - of what stacks.c reads, the registers are those in records, and where the handler has them. */
static void on_stack(struct sink *s, uintptr_t lo, uintptr_t hi)
{
	struct walk *w = (struct walk *)(void *)s;
	const struct mutator *m = w->root.m;
	bool saved = m != NULL &&
		     (lo - (uintptr_t)m < sizeof *m || (m->nregs != 0 && lo == (uintptr_t)m->regs));
	bool owned = !saved && roots_is_owned(w->roots, lo);
	read_range(w, saved ? ROOT_REGISTER : owned ? ROOT_OWNED : ROOT_STACK, lo, hi);
}

static void on_tls(struct sink *s, uintptr_t lo, uintptr_t hi)
{
	read_range((struct walk *)(void *)s, ROOT_TLS, lo, hi);
}

/* on_word - the current tiny block: as if a register held it. */
static void on_word(struct sink *s)
{
	struct walk *w = (struct walk *)(void *)s;
	s->n = 0;
	give(w, ROOT_REGISTER, 0, w->one);
}

static void walk_with(struct walk *w, void (*range)(struct sink *s, uintptr_t lo, uintptr_t hi))
{
	sink_to_visitor(&w->sink, w->heap, &w->one, range, on_word);
}

/* A generation that no cycle has (those are even), and no walk had: "not taken yet". */
static uint32_t fresh_generation(void)
{
	static uint32_t next = 1;
	return add_relaxed(&next, 2u);
}

static void walk_mutators(struct walk *w, struct roots *r)
{
	uint32_t gen = fresh_generation();
	LIST_EACH(it, &w->heap->mutators) {
		struct mutator *m = LIST_ENTRY(it, struct mutator, node);
		w->root.m = m;
		walk_with(w, on_stack);
		stacks_read_mutator(r, &w->sink, m, gen);
		walk_with(w, on_tls);
		roots_read_tls(r, &w->sink, m);
	}
	w->root.m = NULL;
	walk_with(w, on_stack);
	stacks_read_parked(r, &w->sink, gen);
}

static void walk_ranges(struct walk *w, const struct roots *r)
{
	for (size_t i = 0; i < r->nranges; i++) {
		w->root.flags = r->range[i].flags;
		if (r->range[i].owned == NULL)
			read_range(w, ROOT_RANGE, r->range[i].lo, r->range[i].hi);
	}
	w->root.flags = 0;
}

static void on_special(void *arg, uintptr_t word)
{
	give(arg, ROOT_FINALIZER, 0, word);
}

static void on_object(void *arg, struct span *s, uintptr_t object)
{
	struct walk *w = arg;
	if (w->heap->layouts.spanclass[s->spanclass].flags & LAYOUT_UNCOLLECTABLE)
		give(w, ROOT_UNCOLLECTABLE, 0, object);
}

void rootwalk(struct heap *h, struct roots *r, struct specials *s, unsigned kinds, bool segments,
	      void (*fn)(void *arg, const struct root_word *w), void *arg)
{
	const unsigned threads =
		1u << ROOT_OWNED | 1u << ROOT_STACK | 1u << ROOT_REGISTER | 1u << ROOT_TLS;
	struct walk w = { .heap = h, .roots = r, .kinds = kinds, .fn = fn, .arg = arg };
	walk_ranges(&w, r);
	if (kinds >> ROOT_UNCOLLECTABLE & 1)
		edge_each_object(h, on_object, &w);
	if (kinds >> ROOT_FINALIZER & 1)
		specials_each_root(s, on_special, &w);
	if (kinds & threads)
		walk_mutators(&w, r);
	for (size_t i = 0; (segments || load_relaxed(&r->globals)) && i < r->nsegments; i++)
		read_range(&w, ROOT_SEGMENT, r->segment[i].lo, r->segment[i].hi);
}
