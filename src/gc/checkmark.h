/* checkmark.h - MGC_DEBUG=gccheckmark: finds stores that lacked the barrier, and what was lost by them.
 *
 * WHAT   A concurrent cycle is framed by two short stops. In the first, after ARM, everything that is
 *        reachable from registered roots is copied: it is published, so each store to it from here on
 *        needs the barrier. Meanwhile the barrier notes which words it stored. In the second, after the
 *        mark and before CLEAR, three things are compared:
 *          a word of a published object (or what its trace callback names) is not what it was, and the
 *            barrier did not store it
 *          what such a word held at first was not marked, though the object was
 *          a marked object, or a registered root, refers to an object that is not marked
 *        Each is proof: the first two because ARM's quiescence has passed, so every later store to a
 *        reachable object has to shade (barrier.h D1); the third because nobody can hold an unmarked
 *        object any more. What a conservative stack holds proves nothing, and is not looked at. Words of
 *        untyped objects may be integers: what they lead to is told as a doubt, and kept.
 *        In a cycle that stops the world the third comparison alone is made: there it checks the marker.
 * WHO    concurrent.c, stopping.c; barrier.c notes stores.
 * INV    K1 gc.check is set, and cleared, while the world stands still
 * COST   the time of two single-threaded marks, in stops; memory for a copy of what is published.
 * FROM   Go's gccheckmark asks only the third question, and needs a stopped world from the first mark on. */
#ifndef MGC_GC_CHECKMARK_H
#define MGC_GC_CHECKMARK_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>

#include "gc/gc.h"

/* checkmark_begin - the world stands still in ARM. Without memory for the copy the cycle goes unchecked, and
 * says so. */
void checkmark_begin(struct gc *gc);
/* checkmark_end - the world stands still, everything reachable should be marked. Dies of what it finds, or
 * (knob 2) goes on, with all that was missed marked by mk. */
void checkmark_end(struct gc *gc, struct marker *mk);

/* checkmark_drop - the cycle that is checked, if one is, will not end. Nobody else runs. */
void checkmark_drop(struct gc *gc);

/* checkmark_note - the barrier is about to store to that word; gc.check is not NULL. */
void checkmark_note_slow(struct checkmark *c, const uintptr_t *slot);

MGC_INLINE void checkmark_note(struct gc *gc, const uintptr_t *slot)
{
	struct checkmark *c = load_relaxed(&gc->check);
	if (MGC_UNLIKELY(c != NULL))
		checkmark_note_slow(c, slot);
}

#endif
