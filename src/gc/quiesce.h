/* quiesce.h - waiting until every mutator has left the section that it was in.
 *
 * WHAT   After a change of the phase: whoever is inside a section may have read the phase before. A fence
 *        on every processor (membarrier, or our signal where the kernel has none) orders each mutator's
 *        store to `sec` against its load of the phase; then each `sec` must be seen 0 once, or the
 *        mutator says so itself (`quiet`) at the end of a section, for which it is asked when it is late.
 * INV    Q1 a section is short: nobody waits inside one for the collector
 *        Q2 REGISTRY is let go while a thread's fence is waited for, which takes as long as it blocks our signal. Who
 *           registers meanwhile has had the lock after the collector had it, so it sees the new phase
 * LOCKS  takes REGISTRY; the caller is in no section, but for `self`, whose own is not waited for.
 * COST   one system call; a thread that was preempted inside a section is waited for.
 * FROM   userspace RCU. */
#ifndef MGC_GC_QUIESCE_H
#define MGC_GC_QUIESCE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "gc/stw.h"
#include "heap/mutator.h"

void quiesce(struct stw *stw, struct mutator *self);

#endif
