/* young.h - cycles that mark only what is young: generations for programs without a barrier.
 *
 * WHAT   A whole cycle, of either form, may leave its marks: what is marked is old then, and the next cycle, a young one, does
 *        not look at it again, unless it was written to. For that the dense spans are closed: nobody
 *        takes slots from them, and the system notes writes to their pages (written.h). All other spans
 *        stay open, are written to freely, and what is old in them is scanned anew in each young cycle.
 *        Pages are written by nearly everybody who allocates; so it is that few faults happen, and that
 *        a heap whose live objects lie scattered gains nothing: then young cycles are not begun.
 * STATE  of gc.young:  plain → (whole cycle: pays) → sticky → (young cycles) → whole cycle → plain or sticky
 *        span.closed is set by young_end only; mark bits are cleared at the beginning of a whole cycle
 *        when marks were kept, else by sweeping.
 * INV    G1 at the end of a cycle's mark every reachable object is marked. Of a young one: say that an old
 *           object refers to an unmarked one. It was scanned in the cycle that made it old, or in a later
 *           one, when it referred to nothing unmarked; so it was written to later. Its page is noted, or its
 *           span is open: it was scanned again.
 *        G2 what a callback reads may lie anywhere, so objects with callbacks are never in closed spans
 *        G3 slots in hand are marked in the stop, and born old. Of a cycle that stops the world their spans are
 *           CACHED, and open. Of a tracked one they may be in a closed span: what they are filled with is noted
 *        G4 a page of a closed span that a tracked cycle (tracking.c) left protected has not been written to since it was
 *           scanned last; one that is not protected counts as written. So it does not matter when the span is closed
 *        G5 a whole cycle lifts no protection when it begins: what it closes again when it ends, and nobody wrote to, stays protected, by
 *           G4; what was closed and is not again (in its stop: WAS_CLOSED) is lifted when it ends
 * WHO    stopping.c and tracking.c for the steps, cycle.c for the choice.
 * LOCKS  WORLD; steps with the world stopped, those of a tracked cycle beside the program.
 * FROM   sticky mark bits: Demers et al. 1990; the choice of what to protect is ours (docs/adr/0025). */
#ifndef MGC_GC_YOUNG_H
#define MGC_GC_YOUNG_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/cycle_form.h"

/* When so much was allocated a young cycle begins, also below the goal: what if all of it lives? */
#define YOUNG_MOST_NBYTES ((uint64_t)32 << 20)

/* young_next - by itself, the next cycle would be a young one. */
bool young_next(const struct gc *gc);
/* young_stops - and it would be so short that it stops the world, even where other cycles run beside the program. */
bool young_stops(const struct gc *gc);
/* young_begin - the kind of this cycle is chosen (c->rec.young): forgets the old, for a whole one. In a stop, or in
 * ARM after its quiescence: all is swept, nobody looks at marks, and no span is freed. */
void young_begin(struct cycle *c);
/* young_rescan - what of the old may have been written to. Beside the program: of that in closed spans, and from here
 * on writes to it are noted anew. */
void young_rescan(struct cycle *c);
/* young_end - after the mark: counts what lives, closes dense spans for the next. In the stop; of a tracked cycle
 * after it, before FLIP: no span is freed, and what was not written to since the last round is forgotten already, and the rest
 * may count as written.
 * What is marked for finalizers after a cycle's stop counts as old, too (clearing.c).
 * young_opened - after such a one: writes to open spans are not noted any more. */
void young_end(struct cycle *c);
void young_opened(struct cycle *c);

/* young_failed - after a young cycle: what it left should be marked as a whole, at once, in another stop. */
bool young_failed(const struct cycle *c);
/* young_judge - between cycles: was it worth it? */
void young_judge(struct cycle *c);

#endif
