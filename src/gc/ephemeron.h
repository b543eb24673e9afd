/* ephemeron.h - pairs of a key and a value that is kept as long as the key is: the collector's side.
 *
 * WHAT   Pairs lie in objects of layout PAIRS: one in an ephemeron, many in the table of a weak map
 *        (weakmap.h). A marker that reads such an object marks the value of each pair whose key is marked
 *        (mark_scan.c) and notes the others in the pool. When nothing else is left, their turn comes:
 *        - a pass over the notes marks the values whose keys were marked since, as often as a pass finds
 *          at least an eighth of them;
 *        - then the rest is put into a table by key, and each object that becomes marked is looked up.
 *        So the time is linear in pairs, however they hang on each other.
 *        At the end the keys of what is still noted are dead: those pairs are cleared.
 * INV    E1 at TERM no pair in a marked object has a marked key and an unmarked value   [verify, hostile]
 *        E2 the current set of the pool's filter has every key (keyfilter.h)
 *        E3 a pair goes with its key, not when the key is found dead: a finalizer that brings the key back
 *           finds the value, and what follows it in CLEAR is followed over pairs, too
 *        E4 without memory for notes every span of pairs is walked instead (W3 of work.h)
 * LOCKS  none; the owner of the cycle is alone but for mutators, whose rules are in weakmap.h.
 * FROM   Hayes 1997; the table by key as in V8 and JavaScriptCore. */
#ifndef MGC_GC_EPHEMERON_H
#define MGC_GC_EPHEMERON_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gc/mark.h"

struct ephemerons {
	struct grey_block *waiting; /* owner of the cycle: notes that were looked at */
	bool by_spans; /* owner: notes were lost in this cycle */
	bool rounds_only; /* tests: as if there were no memory for the table by key */
	uint64_t nlooked; /* owner: pairs that passes looked at, ever */
	uint64_t ncleared; /* atomic: ever */
};

/* ephemerons_fire - one pass: words whose keys are marked by now go to the pool, for who drains: how many. */
size_t ephemerons_fire(struct ephemerons *e, struct marker *mk);
/* ephemerons_converge - the marker, which drains alone, marks all that is to be kept. */
void ephemerons_converge(struct ephemerons *e, struct marker *mk);
/* ephemerons_clear - pairs with dead keys, and the notes. Nothing will be marked any more in this cycle. */
void ephemerons_clear(struct ephemerons *e, struct marker *mk);
/* ephemerons_forget_cycle - the notes; the cycle will not end. */
void ephemerons_forget_cycle(struct ephemerons *e);
/* ephemerons_check - E1; the world need not stand still from CLOSED on. */
void ephemerons_check(struct heap *h);

#endif
