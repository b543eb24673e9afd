/* sink.h - where words that were read from stacks and registers go: straight to a marker (world stopped),
 * or into blocks of the grey pool, to be resolved later (snapshot).
 *
 * WHAT   A sink filters by heap range and buffers; its two ends are told apart by one function pointer.
 * WHO    stacks.c fills it; cycle forms and snapshot.c choose the end.
 * INV    E1 a snapshot's sink never fails: without memory for a block its words are marked where they
 *           are, and their spans flagged (work.h W3)
 *        E2 no word stays behind in a buffer on the stack: the next cycle would take it for a root
 * UNITS  words of 8 bytes. */
#ifndef MGC_GC_SINK_H
#define MGC_GC_SINK_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "gc/mark.h"

/* A buffer of this many is enough, where the stack has room for it. */
#define SINK_WORDS 512

struct sink {
	uintptr_t base; /* of the heap, and its size */
	size_t nbytes;
	uintptr_t mask; /* layouts.word_mask */
	uintptr_t *word; /* the buffer, room for `capacity`, never full between two calls */
	size_t n, capacity;
	void (*make_room)(struct sink *s);
	void (*range)(struct sink *s, uintptr_t lo,
		      uintptr_t hi); /* not NULL: gets ranges instead (rootwalk.c) */
	struct heap *heap;
	struct grey_pool *pool;
	struct grey_block *block; /* its objects are the buffer; NULL: `own` is */
	struct marker *mk;
	uint64_t end_nbytes; /* roots.end_nbytes */
	size_t read_nbytes; /* that went by */
	uintptr_t *own; /* the caller's buffer */
	size_t own_capacity;
};

/* sink_to_marker - every word becomes a candidate of mk. */
void sink_to_marker(struct sink *s, struct marker *mk, uint64_t end_nbytes, uintptr_t *own,
		    size_t own_capacity);
/* sink_to_pool - every word goes into blocks of words. `own`, which may be small (the caller can be a
 * handler on a small stack), is for want of memory. */
void sink_to_pool(struct sink *s, struct heap *h, struct grey_pool *pool, uintptr_t *own,
		  size_t own_capacity);
/* sink_to_visitor - ranges go to `range`, single words to `make_room`, in a buffer of one. */
void sink_to_visitor(struct sink *s, struct heap *h, uintptr_t *one,
		     void (*range)(struct sink *s, uintptr_t lo, uintptr_t hi),
		     void (*make_room)(struct sink *s));
/* sink_close - what is buffered goes on its way. */
void sink_close(struct sink *s);

MGC_INLINE void sink_word(struct sink *s, uintptr_t word)
{
	word &= s->mask;
	if (word - s->base >= s->nbytes + 1) /* one past the last byte may still count */
		return;
	s->word[s->n++] = word;
	if (MGC_UNLIKELY(s->n == s->capacity))
		s->make_room(s);
}

/* sink_range - every aligned word of [lo, hi), which may be another thread's, or being written to. */
void sink_range(struct sink *s, uintptr_t lo, uintptr_t hi);

#endif
