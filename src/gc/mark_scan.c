/* mark_scan.c - see mark_scan.h, and mark.h for what others call. LOCKS none but the pool's. */
#include "gc/mark_scan.h"

#include "gc/trace.h"

typedef void part_fn(void *obj, size_t from, size_t to, void *tracer);

MGC_NO_SANITIZE void marker_range(struct marker *mk, uintptr_t lo, uintptr_t hi, uintptr_t ambiguous)
{
	struct hot h = hot_load(mk);
	hot_scan_words(&h, (const uintptr_t *)align_up(lo, sizeof(uintptr_t)),
		       (const uintptr_t *)align_down(hi, sizeof(uintptr_t)), ambiguous);
	hot_store(&h);
}

MGC_INLINE void scan_coded(struct hot *h, const uintptr_t *w, const uintptr_t *end,
			   struct word_code code, uintptr_t ambiguous)
{
	for (; w < end; w++)
		hot_candidate(h, word_decode(code, mark_load_word(w)), ambiguous);
}

MGC_NO_SANITIZE void marker_range_coded(struct marker *mk, uintptr_t lo, uintptr_t hi,
					struct word_code code, uintptr_t ambiguous)
{
	struct hot h = hot_load(mk);
	scan_coded(&h, (const uintptr_t *)align_up(lo, sizeof(uintptr_t)),
		   (const uintptr_t *)align_down(hi, sizeof(uintptr_t)), code, ambiguous);
	hot_store(&h);
}

/* scan_periodic - the words of [lo, hi) that the layout names, which repeats from `object` on. */
static void scan_periodic(struct hot *h, const struct layout_desc *d, uintptr_t object,
			  uintptr_t lo, uintptr_t hi, uintptr_t ambiguous)
{
	struct word_code code = word_code_of(d);
	size_t bit = ((lo - object) / sizeof(uintptr_t)) % d->period;
	for (uintptr_t at = lo; at < hi; at += sizeof(uintptr_t)) {
		if (d->mask[bit / 64] >> (bit % 64) & 1)
			hot_candidate(h, word_decode(code, mark_load_word((const uintptr_t *)at)),
				      ambiguous);
		if (++bit == d->period)
			bit = 0;
	}
}

void trace_piece(struct mgc_tracer *tracer, const struct layout_desc *d, uintptr_t object,
		 uintptr_t at, size_t nbytes)
{
	size_t from = at - object, to = min_size(from + MARK_PIECE, nbytes), step = d->period;
	if (d->flags & LAYOUT_PARTS) {
		((part_fn *)(void (*)(void))d->trace)((void *)object, from, to, tracer);
	} else if (step == 0) {
		if (from == 0)
			d->trace((void *)object, tracer);
	} else {
		for (from = (from + step - 1) / step * step; from < to && from + step <= nbytes;
		     from += step)
			d->trace((void *)(object + from), tracer);
	}
}

void mark_flush_pending(struct marker *mk)
{
	if (mk->npending == 0)
		return;
	grey_put_pending(mk->pool, mk->pending, mk->npending);
	mk->npending = 0;
}

/* scan_pairs - the value of each pair whose key is marked; the others wait for the end (ephemeron.h). Values
 * are ambiguous: a table that was left for a larger one may have some that were freed since. */
static void scan_pairs(struct marker *mk, uintptr_t lo, uintptr_t hi)
{
	for (struct pair *p = (struct pair *)lo; (uintptr_t)(p + 1) <= hi; p++) {
		uintptr_t key = load_acquire(&p->key); /* pairs: pair-key */
		if (key <= PAIR_DEAD)
			continue;
		uintptr_t object = mark_object_of(mk->heap, key);
		if (object == 0 || space_is_marked(&mk->heap->pageheap.space, object)) {
			key_filter_mark(&mk->pool->keys, object);
			marker_candidate(mk, load_relaxed(&p->value), MARK_AMBIGUOUS);
			continue;
		}
		if (mk->npending == MARK_PENDING)
			mark_flush_pending(mk);
		mk->pending[mk->npending++] = (uintptr_t)p;
	}
}

MGC_NOINLINE void mark_scan_long(struct marker *mk, uintptr_t at, const struct spanclass *sc)
{
	const struct layout_desc *d = &mk->heap->layouts.layout[sc->layout].desc;
	const struct span *s = space_span(&mk->heap->pageheap.space, at);
	uintptr_t ambiguous = sc->flags & LAYOUT_AMBIGUOUS ? MARK_AMBIGUOUS : 0;
	uintptr_t object = span_slot_addr(s, span_slot_of(s, at)),
		  end = align_down(object + s->slot_nbytes - s->slack, sizeof(uintptr_t));
	if (sc->scan == SCAN_TRACE) {
		struct mgc_tracer tracer = {
			.mk = mk, .ambiguous = ambiguous, .code = word_code_of(d), .user = d->user
		};
		if (marker_sees_stop(mk) || !(sc->flags & LAYOUT_STOPPED))
			trace_piece(&tracer, d, object, at, s->slot_nbytes - s->slack);
		else
			mk->nput_off++;
		return;
	}
	if (s->slot_nbytes > MARK_PIECE)
		end = min_size(end, at + MARK_PIECE);
	if (sc->scan == SCAN_PAIRS) {
		scan_pairs(mk, at, end);
		return;
	}
	struct hot h = hot_load(mk);
	if (d->kind == LAYOUT_MASK)
		scan_periodic(&h, d, object, at, end, ambiguous);
	else if (sc->scan == SCAN_CODED)
		scan_coded(&h, (const uintptr_t *)at, (const uintptr_t *)end, word_code_of(d),
			   ambiguous);
	else
		hot_scan_words(&h, (const uintptr_t *)at, (const uintptr_t *)end, ambiguous);
	hot_store(&h);
	if (sc->scan == SCAN_SPARE)
		mark_look_at_end(mk, (const uintptr_t *)end);
}

void marker_scan_object(struct marker *mk, uintptr_t addr)
{
	const struct span *s = space_span(&mk->heap->pageheap.space, addr);
	const struct spanclass *sc = &mk->spanclass[s->spanclass];
	struct hot h = hot_load(mk);
	for (size_t at = 0; at < s->slot_nbytes && sc->scan != SCAN_NONE; at += MARK_PIECE)
		(void)hot_scan(&h, entry_of(addr + at - h.base, s->spanclass));
	hot_store(&h);
}
