/* background.h - the thread that tidies up when nobody else does: sweeps what a cycle left, gives free
 * memory back, runs due finalizers of the native face.
 * WHEN   it starts with the first cycle, never in a process that does not collect (MGC_DEBUG=background). Some 50 ms after a
 *        cycle it sweeps in small steps; when no cycle came for 300 ms it gives memory back until free
 *        resident memory is at most 1/32 of what is in use, plus 2 MiB, plus what the program will
 *        have allocated in 10 s if it goes on as it did; from 550 ms on all of it, once the program is
 *        idle. When no cycle came for two minutes (MGC_DEBUG=periodic) and anything was allocated since the last,
 *        it makes one, whether the program is idle or only slow. When the last known thread has gone it looks whether
 *        anybody of the program is left, and ends the process when nobody is: soon, then once a second.
 * LOCKS  WORLD for each step of sweeping, so that a cycle never starts in the middle of one. */
#ifndef MGC_GC_BACKGROUND_H
#define MGC_GC_BACKGROUND_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/gc.h"

/* background_start - before a cycle, WORLD held and no lock of the loader's (cycle.c start_threads). background_after_cycle -
 * tells it that one ended. */
void background_start(struct gc *gc);
void background_after_cycle(struct gc *gc);
/* background_deserted - the last mutator was detached. */
void background_deserted(struct heap *h);
/* background_touch - pageheap.touch: it shall touch memory ahead of the program. */
void background_touch(void *heap);
/* background_chore - for who collects, between two objects: does so itself when it was told to, a step at a time and for a quarter
 * of its time: the mark goes on, and a fork waits for one step. While it marks, a second thread of ours would take a
 * processor from the program, unless one is idle (docs/adr/0088). */
void background_chore(struct gc *gc);
/* background_release - gives all free memory back now; bytes. */
size_t background_release(struct gc *gc);
void background_after_fork(struct gc *gc);

#endif
