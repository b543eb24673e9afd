/* checkmark.c - see checkmark.h. LOCKS none. */
#include "gc/checkmark.h"

#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/check.h"
#include "gc/graph.h"
#include "gc/rootwalk.h"
#include "mallocgc.h"
#include "os/os.h"

/* Each check tells this many findings word by word, and counts the rest. */
#define MAX_TOLD 8
/* Two lists of what a callback named are compared one by one up to this product of their lengths. */
#define MAX_PAIRS ((size_t)1 << 20)

/* A list of words that grows. */
struct words {
	uintptr_t *word;
	size_t n, capacity;
};

/* A registered root that is stored to with mgc_write. */
struct root_copy {
	uintptr_t lo, hi;
	uint64_t serial;
	size_t at; /* its first word in root_words; behind them a bit for each that the barrier stored */
};

struct checkmark {
	struct gc *gc;
	struct graph published; /* its nodes, in order, are the objects that were copied */
	uintptr_t copy; /* of the heap, as far as it had grown: published objects at their offset */
	size_t copy_nbytes;
	uint64_t *stored; /* atomic: a bit for each word of it that the barrier stored */
	size_t stored_nbytes;
	uint32_t elsewhere; /* atomic: the barrier stored to a word outside the heap, and no root */
	struct root_copy *root; /* in the order of their addresses */
	size_t nroots, root_capacity;
	struct words root_words;
	struct words named; /* of each object with a trace callback: how many words it named, and these */
	struct words now; /* what one of them names in the end */
	bool no_memory;
	/* the check */
	struct granules lost; /* unmarked objects that something refers to */
	uint64_t nstores, nlost, ndoubts;
	unsigned ntold;
	size_t named_at;
	/* the object that is being compared; span NULL: a root */
	struct span *span;
	uintptr_t object;
	size_t from, count; /* of it, in `named` */
};

/* ── what the barrier notes ─────────────────────────────────────────────────────────────── */

/* root_at - the copy of the root that holds that word, or NULL. */
static const struct root_copy *root_at(const struct checkmark *c, uintptr_t at)
{
	size_t a = 0, b = c->nroots;
	while (a < b) {
		size_t mid = (a + b) / 2;
		if (c->root[mid].hi <= at)
			a = mid + 1;
		else
			b = mid;
	}
	return a < c->nroots && c->root[a].lo <= at ? &c->root[a] : NULL;
}

static uint64_t *root_bits(const struct checkmark *c, const struct root_copy *r)
{
	return &c->root_words.word[r->at + (r->hi - r->lo) / sizeof(uintptr_t)];
}

/* bit_of - where the barrier notes a store to that word; NULL: it is in no root, and nowhere in the heap as
 * it was. */
static uint64_t *bit_of(const struct checkmark *c, uintptr_t slot, uint64_t *bit)
{
	size_t word = (slot - c->gc->heap->pageheap.space.base) / sizeof(uintptr_t);
	uint64_t *bits = c->stored;
	if (word >= c->copy_nbytes / sizeof(uintptr_t)) {
		const struct root_copy *r = root_at(c, slot);
		if (r == NULL)
			return NULL;
		word = (slot - r->lo) / sizeof(uintptr_t);
		bits = root_bits(c, r);
	}
	*bit = UINT64_C(1) << (word % 64);
	return &bits[word / 64];
}

void checkmark_note_slow(struct checkmark *c, const uintptr_t *slot)
{
	uint64_t bit, *word = bit_of(c, (uintptr_t)slot, &bit);
	if (word != NULL)
		or_relaxed(word, bit);
	else
		store_relaxed(&c->elsewhere, 1u);
}

static bool was_stored(const struct checkmark *c, uintptr_t slot)
{
	uint64_t bit;
	const uint64_t *word = bit_of(c, slot, &bit);
	return word == NULL || (load_relaxed(word) & bit) != 0;
}

/* ── the first stop ─────────────────────────────────────────────────────────────────────── */

static void put_word(struct checkmark *c, struct words *list, uintptr_t word)
{
	if (list->n == list->capacity &&
	    !graph_grow((void **)&list->word, &list->capacity, sizeof *list->word)) {
		c->no_memory = true;
		return;
	}
	list->word[list->n++] = word;
}

static void copy_root(struct checkmark *c, const struct root_range *range)
{
	size_t n = (range->hi - range->lo) / sizeof(uintptr_t);
	if (c->nroots == c->root_capacity &&
	    !graph_grow((void **)&c->root, &c->root_capacity, sizeof *c->root)) {
		c->no_memory = true;
		return;
	}
	c->root[c->nroots++] =
		(struct root_copy){ range->lo, range->hi, range->serial, c->root_words.n };
	for (size_t i = 0; i < n; i++)
		put_word(c, &c->root_words, ((const uintptr_t *)range->lo)[i]);
	for (size_t i = 0; i < (n + 63) / 64; i++)
		put_word(c, &c->root_words, 0);
}

static void name_before(void *arg, uintptr_t slot, uintptr_t word)
{
	struct checkmark *c = arg;
	(void)slot;
	put_word(c, &c->named, word);
}

static uintptr_t *copy_of(const struct checkmark *c, uintptr_t object)
{
	return (uintptr_t *)(c->copy + (object - c->gc->heap->pageheap.space.base));
}

static void copy_object(struct checkmark *c, const struct span *s, uintptr_t object)
{
	struct heap *h = c->gc->heap;
	if (edge_kind(h, s) == LAYOUT_NOSCAN || edge_untyped(h, s))
		return;
	memcpy(copy_of(c, object), (const void *)object, edge_nbytes(s));
	if (edge_kind(h, s) != LAYOUT_TRACE)
		return;
	size_t at = c->named.n;
	put_word(c, &c->named, 0);
	edge_each(h, s, object, name_before, c);
	if (!c->no_memory)
		c->named.word[at] = c->named.n - at - 1;
}

static bool is_proof(const struct root_word *w)
{
	const unsigned unsure = MGC_ROOT_UNBARRIERED | MGC_ROOT_AMBIGUOUS;
	return (w->flags & unsure) != unsure; /* a whole data segment, perhaps, with old words in it */
}

static void on_published(void *arg, const struct root_word *w)
{
	struct checkmark *c = arg;
	if (is_proof(w))
		graph_add(&c->published, w->word, 0, 0);
}

static bool make_tables(struct checkmark *c)
{
	struct heap *h = c->gc->heap;
	if (!graph_init(&c->published, h))
		return false;
	c->published.typed_only = true;
	c->copy_nbytes = c->published.seen.covered_nbytes;
	c->stored_nbytes = align_up(c->copy_nbytes / 64 + 8, os_page_size());
	c->copy = c->copy_nbytes != 0 ? os_alloc(c->copy_nbytes) : 0;
	c->stored = (uint64_t *)os_alloc(c->stored_nbytes);
	return (c->copy != 0 || c->copy_nbytes == 0) && c->stored != NULL;
}

static void release_words(struct words *list)
{
	if (list->capacity != 0)
		os_release((uintptr_t)list->word, list->capacity * sizeof *list->word);
}

static size_t record_nbytes(void)
{
	return align_up(sizeof(struct checkmark), os_page_size());
}

static void destroy(struct checkmark *c)
{
	graph_destroy(&c->published);
	granules_destroy(&c->lost);
	if (c->copy != 0)
		os_release(c->copy, c->copy_nbytes);
	if (c->stored != NULL)
		os_release((uintptr_t)c->stored, c->stored_nbytes);
	release_words(&c->named);
	release_words(&c->now);
	release_words(&c->root_words);
	if (c->root_capacity != 0)
		os_release((uintptr_t)c->root, c->root_capacity * sizeof *c->root);
	os_release((uintptr_t)c, record_nbytes());
}

static struct checkmark *make(struct gc *gc)
{
	struct checkmark *c = (struct checkmark *)os_alloc(record_nbytes());
	if (c != NULL)
		c->gc = gc;
	return c;
}

static void copy_all(struct checkmark *c)
{
	struct gc *gc = c->gc;
	for (size_t i = 0; i < gc->roots.nranges; i++)
		if (roots_barriered(&gc->roots.range[i]))
			copy_root(c, &gc->roots.range[i]);
	rootwalk(gc->heap, &gc->roots, &gc->specials, 1u << ROOT_RANGE, false, on_published, c);
	graph_walk(&c->published, 0);
	for (size_t i = 0; i < c->published.n; i++) {
		struct span *s;
		if (edge_object(gc->heap, c->published.node[i].object, &s) != 0)
			copy_object(c, s, c->published.node[i].object);
	}
}

void checkmark_begin(struct gc *gc)
{
	struct checkmark *c = make(gc);
	bool ok = c != NULL && make_tables(c);
	if (ok) {
		copy_all(c);
		ok = !c->published.no_memory && !c->no_memory;
	}
	if (!ok) {
		mgc_print(STDERR_FILENO, "mallocgc: checkmark: no memory to check cycle %lu\n",
			  gc->ncycles + 1);
		if (c != NULL)
			destroy(c);
		c = NULL;
	}
	store_relaxed(&gc->check, c); /* K1 */
}

/* ── telling ────────────────────────────────────────────────────────────────────────────── */

/* An object, or whatever the word is, as messages say it. */
struct text {
	char s[112];
};

static struct text text_of(const struct checkmark *c, uintptr_t word)
{
	struct text t;
	struct span *s;
	uintptr_t object = edge_object(c->gc->heap, word, &s);
	if (word == 0)
		mgc_format(t.s, sizeof t.s, "NULL");
	else if (object == 0)
		mgc_format(t.s, sizeof t.s, "%p", (void *)word);
	else
		mgc_format(t.s, sizeof t.s, "%s %p", edge_type(c->gc->heap, s), (void *)object);
	return t;
}

/* sized_text_of - of an object. */
static struct text sized_text_of(const struct checkmark *c, uintptr_t object)
{
	struct text t = text_of(c, object);
	struct span *s;
	size_t n = strlen(t.s);
	if (edge_object(c->gc->heap, object, &s) != 0)
		mgc_format(t.s + n, sizeof t.s - n, " (%zu B)", edge_nbytes(s));
	return t;
}

static struct text root_text_of(uintptr_t lo)
{
	struct text t;
	mgc_format(t.s, sizeof t.s, "root %p", (void *)lo);
	return t;
}

static bool tell(struct checkmark *c)
{
	return c->ntold++ < MAX_TOLD;
}

#define TELL(c, fmt, ...) \
	mgc_print(STDERR_FILENO, "mallocgc: checkmark: cycle %lu: " fmt "\n", \
		  (c)->gc->ncycles + 1, __VA_ARGS__)

/* is_excused - the slot lies in a range that is stored to without the barrier, or on a stack. */
static bool is_excused(const struct checkmark *c, uintptr_t slot)
{
	struct roots *r = &c->gc->roots;
	for (size_t i = 0; i < r->nranges; i++)
		if (slot >= r->range[i].lo && slot < r->range[i].hi &&
		    (r->range[i].owned != NULL || (r->range[i].flags & MGC_ROOT_UNBARRIERED)))
			return true;
	LIST_EACH(it, &r->stacks) {
		const struct mgc_stack *s = LIST_ENTRY(it, struct mgc_stack, node);
		if (slot >= s->lo && slot < s->hi)
			return true;
	}
	return false;
}

static void found_store(struct checkmark *c, uintptr_t slot, uintptr_t before, uintptr_t now)
{
	if (is_excused(c, slot))
		return;
	c->nstores++;
	if (tell(c))
		TELL(c,
		     "%s: the word at +%zu was stored to without the barrier (R1: mgc_write, "
		     "mgc_move or "
		     "mgc_clear, not =, memcpy or memset); it held %s when the cycle began, now %s",
		     c->span != NULL ? sized_text_of(c, c->object).s : root_text_of(c->object).s,
		     slot - c->object, text_of(c, before).s, text_of(c, now).s);
}

/* found_dropped - the object's callback named it, and does not any more. */
static void found_dropped(struct checkmark *c, uintptr_t word)
{
	c->nstores++;
	if (tell(c))
		TELL(c,
		     "%s: its trace callback named %s when the cycle began, and does not any more, "
		     "with no store through the barrier: clear with mgc_clear before the length "
		     "shrinks, "
		     "and store with mgc_write (R1); a tag or length changes before it is "
		     "published (R5)",
		     sized_text_of(c, c->object).s, text_of(c, word).s);
}

static void found_added(struct checkmark *c, uintptr_t word)
{
	c->nstores++;
	if (tell(c))
		TELL(c,
		     "%s: its trace callback names %s now, and did not when the cycle began, with "
		     "no store through the barrier (R1: mgc_write; where a length grows, it grows "
		     "before the store)",
		     sized_text_of(c, c->object).s, text_of(c, word).s);
}

/* ── published objects, then and now ────────────────────────────────────────────────────── */

/* is_white - points into an object that was not marked. */
static bool is_white(const struct checkmark *c, uintptr_t word)
{
	struct span *s;
	uintptr_t object = edge_object(c->gc->heap, word, &s);
	return object != 0 && !space_is_marked(&c->gc->heap->pageheap.space, object);
}

static bool is_object(const struct checkmark *c, uintptr_t word)
{
	struct span *s;
	return edge_object(c->gc->heap, word, &s) != 0;
}

/* compare_slot - before and now, of which at least one may be a reference. */
static void compare_slot(struct checkmark *c, uintptr_t slot, uintptr_t before, uintptr_t now)
{
	bool stored = was_stored(c, slot);
	if (before == now || (stored && !is_white(c, before)))
		return;
	if (!stored && !is_object(c, before) && !is_object(c, now))
		return;
	if (!stored || c->span == NULL || space_is_marked(&c->gc->heap->pageheap.space, c->object))
		found_store(c, slot, before, now); /* of several stores, if `stored`, one was not shaded */
}

static void on_slot_before(void *arg, uintptr_t slot, uintptr_t before)
{
	const struct checkmark *c = arg;
	compare_slot(arg, slot, before, edge_decode(c->gc->heap, c->span, *(const uintptr_t *)slot));
}

static void on_slot_now(void *arg, uintptr_t slot, uintptr_t now)
{
	struct checkmark *c = arg;
	uintptr_t before = edge_decode(c->gc->heap, c->span,
				       copy_of(c, c->object)[(slot - c->object) / sizeof(uintptr_t)]);
	if (!space_contains(&c->gc->heap->pageheap.space, before)) /* else compared already */
		compare_slot(c, slot, before, now);
}

static void name_now(void *arg, uintptr_t slot, uintptr_t word)
{
	struct checkmark *c = arg;
	(void)slot;
	put_word(c, &c->now, word);
}

static bool is_among(const uintptr_t *list, size_t n, uintptr_t word)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == word)
			return true;
	return false;
}

static bool any_stored(const struct checkmark *c)
{
	for (uintptr_t slot = c->object; slot < c->object + edge_nbytes(c->span);
	     slot += sizeof(uintptr_t))
		if (was_stored(c, slot))
			return true;
	return false;
}

/* compare_named - the words that a trace callback named, then and now, as sets. Which word of the object
 * each one comes from is the callback's secret: so a store to any of them explains everything, and one
 * outside the heap too, for the callback may read there. */
static void compare_named(struct checkmark *c)
{
	const uintptr_t *before = c->named.word + c->named_at + 1;
	size_t n = c->named.word[c->named_at];
	c->named_at += n + 1;
	c->now.n = 0;
	edge_each(c->gc->heap, c->span, c->object, name_now, c);
	if (c->now.n == n && (n == 0 || memcmp(before, c->now.word, n * sizeof *before) == 0))
		return;
	bool compare = n * c->now.n <= MAX_PAIRS;
	bool explained = !compare || load_relaxed(&c->elsewhere) != 0 || any_stored(c);
	bool marked = space_is_marked(&c->gc->heap->pageheap.space, c->object);
	for (size_t i = 0; i < n; i++) {
		bool lost = marked && is_white(c, before[i]);
		if ((lost || (!explained && is_object(c, before[i]))) &&
		    (!compare || !is_among(c->now.word, c->now.n, before[i])))
			found_dropped(c, before[i]);
	}
	for (size_t i = 0; i < c->now.n && !explained; i++)
		if (is_object(c, c->now.word[i]) && !is_among(before, n, c->now.word[i]))
			found_added(c, c->now.word[i]);
}

/* compare_root - if it is still the same registration: else it was no root in between. */
static void compare_root(struct checkmark *c, const struct root_range *range)
{
	const struct root_copy *r = root_at(c, range->lo);
	if (r == NULL || r->serial != range->serial)
		return;
	c->object = r->lo;
	c->span = NULL;
	uintptr_t mask = load_relaxed(&c->gc->heap->layouts.word_mask);
	for (uintptr_t at = r->lo; at < r->hi; at += sizeof at)
		compare_slot(c, at, mask & c->root_words.word[r->at + (at - r->lo) / sizeof at],
			     mask & *(const uintptr_t *)at);
}

static void compare_published(struct checkmark *c)
{
	struct heap *h = c->gc->heap;
	for (size_t i = 0; i < c->gc->roots.nranges; i++)
		compare_root(c, &c->gc->roots.range[i]);
	for (size_t i = 0; i < c->published.n; i++) {
		c->object = c->published.node[i].object;
		if (edge_object(h, c->object, &c->span) == 0 || edge_untyped(h, c->span))
			continue;
		if (edge_kind(h, c->span) == LAYOUT_TRACE) {
			compare_named(c);
		} else if (edge_kind(h, c->span) != LAYOUT_NOSCAN) {
			edge_each_in(h, c->span, c->object, copy_of(c, c->object), on_slot_before, c);
			edge_each(h, c->span, c->object, on_slot_now, c);
		}
	}
}

/* ── from black to white ────────────────────────────────────────────────────────────────── */

/* why - for a referrer whose own store was no mistake, or was told already. */
static const char *why(const struct checkmark *c)
{
	return c->nstores != 0
		       ? ""
		       : "; no published object held it when the cycle began: it was kept where "
			 "the collector does not look (a root that is not registered, a thread "
			 "between mgc_blocking_enter and leave: R4), or another thread handed it "
			 "over without a store through the barrier (R3)";
}

/* found_lost - `offset` of the object that is being looked at, or of a root. */
static void found_lost(struct checkmark *c, size_t offset, uintptr_t word)
{
	struct span *s;
	uintptr_t object = edge_object(c->gc->heap, word, &s);
	if (!granules_put(&c->lost, object))
		return;
	c->nlost++;
	if (tell(c))
		TELL(c, "%s is in use and was not marked; %s refers to it at +%zu%s",
		     sized_text_of(c, object).s,
		     c->span != NULL ? text_of(c, c->object).s : root_text_of(c->object).s, offset,
		     why(c));
}

static void found_doubt(struct checkmark *c, uintptr_t word)
{
	struct span *s;
	uintptr_t object = edge_object(c->gc->heap, word, &s);
	if (!granules_put(&c->lost, object))
		return;
	c->ndoubts++;
	if (tell(c))
		TELL(c,
		     "%s (%zu B) was not marked; a word of untyped %p is its address, or an "
		     "integer that "
		     "looks like it; kept",
		     text_of(c, object).s, edge_nbytes(s), (void *)c->object);
}

/* offset_of - the word of the object that is the reference, for callbacks that do not say which. */
static size_t offset_of(const struct checkmark *c, uintptr_t word)
{
	for (size_t at = 0; at + sizeof word <= edge_nbytes(c->span); at += sizeof word)
		if (*(const uintptr_t *)(c->object + at) == word)
			return at;
	return 0;
}

static void on_edge(void *arg, uintptr_t slot, uintptr_t word)
{
	struct checkmark *c = arg;
	if (!is_white(c, word))
		return;
	if (edge_untyped(c->gc->heap, c->span))
		found_doubt(c, word);
	else
		found_lost(c, slot != 0 ? slot - c->object : offset_of(c, word), word);
}

static void on_object(void *arg, struct span *s, uintptr_t object)
{
	struct checkmark *c = arg;
	if (!space_is_marked(&c->gc->heap->pageheap.space, object))
		return;
	c->object = object;
	c->span = s;
	edge_each(c->gc->heap, s, object, on_edge, c);
}

static void on_root(void *arg, const struct root_word *w)
{
	struct checkmark *c = arg;
	c->object = w->at;
	c->span = NULL;
	if (is_proof(w) && is_white(c, w->word))
		found_lost(c, 0, w->word);
}

static void keep(void *arg, struct span *s, uintptr_t object)
{
	struct marker *mk = ((void **)arg)[1];
	const struct checkmark *c = ((void **)arg)[0];
	(void)s;
	if (granules_has(&c->lost, object))
		marker_candidate(mk, object, MARK_AMBIGUOUS);
}

static void finish(struct checkmark *c, struct marker *mk)
{
	if (c->nlost + c->ndoubts != 0) {
		edge_each_object(c->gc->heap, keep, (void *[]){ c, mk });
		marker_drain_alone(mk);
	}
	if (c->nstores + c->nlost == 0)
		return;
	if (c->ntold > MAX_TOLD)
		TELL(c, "and %u more like these", c->ntold - MAX_TOLD);
	if (c->gc->knobs.gccheckmark == 1)
		mgc_misuse("checkmark: cycle %lu: %lu words stored to without the barrier, %lu "
			   "objects in "
			   "use that were not marked (docs/debugging.md)",
			   c->gc->ncycles + 1, c->nstores, c->nlost);
}

void checkmark_end(struct gc *gc, struct marker *mk)
{
	struct checkmark *c = gc->check != NULL ? gc->check : make(gc);
	store_relaxed(&gc->check, (struct checkmark *)NULL); /* K1 */
	if (c == NULL || !granules_init(&c->lost, gc->heap))
		return;
	compare_published(c);
	rootwalk(gc->heap, &gc->roots, &gc->specials, 1u << ROOT_RANGE, false, on_root, c);
	edge_each_object(gc->heap, on_object, c);
	finish(c, mk);
	destroy(c);
}

void checkmark_drop(struct gc *gc)
{
	if (gc->check != NULL)
		destroy(gc->check);
	store_relaxed(&gc->check, (struct checkmark *)NULL);
}
