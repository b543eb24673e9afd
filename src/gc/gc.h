/* gc.h - the collector of one heap: what its modules share. Composed here, used by cycle.c, alloc.c,
 * background.c and the faces. Fields say who writes them. */
#ifndef MGC_GC_GC_H
#define MGC_GC_GC_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/knob.h"
#include "base/statout.h"
#include "gc/collector.h"
#include "gc/ephemeron.h"
#include "gc/longstop.h"
#include "gc/mark.h"
#include "gc/pacer.h"
#include "gc/roots.h"
#include "gc/special.h"
#include "gc/stw.h"
#include "gc/workers.h"
#include "gc/written.h"
#include "heap/heap.h"
#include "os/os.h"

enum cycle_reason { CYCLE_HEAP, CYCLE_FORCED, CYCLE_NO_MEMORY, CYCLE_STRESS, CYCLE_PERIODIC };

/* The moments of a cycle that a face may want to pass on. */
enum cycle_event {
	CYCLE_BEGIN,
	CYCLE_STOPPING,
	CYCLE_STOPPED,
	CYCLE_MARKING,
	CYCLE_MARKED,
	CYCLE_STARTING,
	CYCLE_STARTED,
	CYCLE_END,
};

/* What holds an allocation up: a run to be made (a span to be swept, pages to be had, the flip of a
 * cycle), marking that it owes, sleeping because the cycle does not keep up. */
enum delay { DELAY_REFILL, DELAY_ASSIST, DELAY_WAIT, NDELAYS };

/* What is known of a finished cycle. */
struct cycle_record {
	uint64_t number;
	enum cycle_reason reason;
	uint64_t over_nbytes; /* how far it ended above the limit */
	uint64_t longest_ns[NDELAYS]; /* of any thread since the last cycle ended, if they are measured */
	uint64_t start_ns; /* since the collector started */
	uint64_t sweep_ns; /* sweeping what the last cycle left, before the stop */
	uint64_t stopping_ns; /* until the last thread stood still */
	uint64_t pause_ns; /* world stopped, from the first signal to the start; 0: it was not */
	uint64_t mark_ns; /* roots and marking */
	uint64_t cpu_ns; /* processor time: of the process while stopped, or of the marking threads */
	uint64_t assist_ns; /* of it: by mutators */
	uint64_t mutator_ns; /* processor time of everybody else while a concurrent cycle ran */
	uint64_t snapshot_max_ns; /* of one thread's time, without a stop */
	uint64_t nsignals; /* for snapshots */
	uint64_t rescanned_nbytes; /* of written pages, in the stop */
	bool young; /* marked only what was not marked before */
	uint64_t cycle_ns; /* from ARM to FLIP */
	uint64_t freed_nbytes; /* by mgc_free while the cycle ran */
	uint64_t born_nbytes; /* allocated after the last snapshot */
	uint64_t total_gc_cpu_ns;
	uint64_t heap_before, heap_live, heap_goal;
	uint64_t stack_nbytes, roots_nbytes;
	uint64_t marked_objects;
	uint64_t finalizers_due;
	uint32_t nworkers; /* threads that marked */
	uint32_t nmutators;
	uint64_t phase_at_ns[PHASE_FLIP + 1]; /* when it was first set, since the collector started; 0: it was not */
};

/* So many finished cycles are kept for who looks from outside. */
#define RECENT_CYCLES 128

/* Of fork.h. */
struct forking {
	uint32_t loan; /* atomic, futex */
	bool borrowed; /* by the thread that has WORLD or the loan */
};

/* Of young.h. */
struct young {
	bool sticky; /* sweeping keeps marks: the next cycle may be a young one. Changes before FLIP */
	bool whole_next; /* but not that one */
	bool brief; /* the last one was, and the next one is to stop the world even where others do not */
	uint32_t nfailed; /* young ones in turn that were not worth it, up to a few */
	uint32_t plain_cycles; /* so many whole cycles before marks are kept again */
	uint64_t whole_nbytes; /* live, after the last whole one */
};

/* What the last cycle found, and the settings, for who asks while the next one runs. Written under WORLD, read by anybody.
 * Row turn % 2 is not written before turn counts on, so who reads waits for nobody: he takes it again if it did. */
struct published {
	uint64_t turn; /* atomic */
	uint64_t row[2][NSTATS]; /* atomic: values by stat_id, of those that are WORLD's */
};

struct gc {
	struct heap *heap;
	struct knobs knobs;
	struct lock world; /* one cycle at a time; held for all of it */
	struct forking forking;
	struct stw stw;
	struct roots roots;
	struct specials specials;
	struct ephemerons ephemerons;
	struct grey_pool pool;
	struct workers workers;
	struct pacer pacer; /* world lock */
	uint64_t ncycles; /* atomic; written under world */
	uint64_t nforced;
	uint64_t start_ns;
	uint64_t pause_total_ns, pause_max_ns;
	struct cycle_record last; /* world lock */
	struct cycle_record recent[RECENT_CYCLES]; /* cycle N at N % RECENT_CYCLES; world lock */
	struct published published;
	uint64_t chore_after_ns; /* of who collects: no background_chore before */
	struct histogram pauses; /* stops of the world */
	struct histogram snapshots; /* processor time of threads that took their own */
	bool concurrent; /* atomic; cycles run beside the program; else the world stops for all of each */
	bool barriered; /* the program stores through the barrier */
	bool tracked; /* concurrent without a barrier: the system tells what was written. Under world */
	bool short_pauses; /* atomic; a program without a barrier asked for them */
	struct young young; /* under world */
	struct longstop longstop; /* under world */
	uint32_t nprocs; /* at the start: to ask reads a dozen files */
	uint64_t looked_at_ns; /* the end of the last cycle. Under world */
	uint64_t looked_cpu_ns; /* the process's time by then. Under world */
	struct written written; /* under world */
	bool delays; /* are measured: two looks at the clock for each refill */
	uint64_t longest_ns[NDELAYS]; /* atomic */
	uint64_t unborn_nbytes; /* atomic: unborn slots that this cycle's snapshots found */
	uint64_t snapshot_max_ns; /* atomic: the longest snapshot of this cycle */
	uint64_t nsignals; /* sent for snapshots, this cycle */
	struct grey_block *freed; /* atomic: put-off frees of threads that are gone */
	uint64_t goal_nbytes; /* atomic; written under world */
	uint64_t hold_nbytes; /* atomic; written under world: allocation waits here for the cycle that runs */
	uint64_t bar_nbytes; /* atomic; written under world: and here it waits as long as it takes */
	uint32_t limited; /* atomic; written under world: the limit, not the percentage, sets the goal */
	uint32_t brief; /* atomic; written under world: the next cycle will not take its caller long (cycle.c) */
	bool limit_is_set; /* under world; else it is the container's, which binds only the goal */
	uint64_t over_max_nbytes; /* under world: the most that the heap was above its limit after a cycle */
	uint64_t nlimited; /* under world: cycles after which the limiter was on */
	struct checkmark *check; /* atomic; of the cycle that is under way, when it is checked (checkmark.h) */
	struct collector collector;
	int32_t disabled; /* atomic: GC_disable nesting; no collection by itself while > 0 */
	uint32_t stress_count; /* atomic */
	uint32_t nloader; /* atomic: threads that have, or wait for, the loader's lock in order to collect */
	bool finalize_on_demand;
	bool clears_later; /* atomic; a face's: what hangs on dead objects may be cleared after the stop (clearing.c) ... */
	bool links_guarded; /* atomic; ... also links: the program follows them by a way that waits for it */
	size_t nrecords_gone, nrecords_left; /* under world: of finalizers and links, the last time */
	uint32_t clearing; /* atomic, futex: that is not done yet, and the world runs */
	uint32_t pairs_layout; /* atomic: 0 before the first ephemeron */
	uint32_t nforks; /* written in the child of a fork */
	/* called after each cycle, outside the stop, world lock held: one line of trace */
	void (*observer)(const struct gc *gc, const struct cycle_record *r);
	/* called when free memory was given back in the background: one line of trace */
	void (*scavenged)(struct gc *gc, size_t nbytes);
	/* a face's calls around a stop and after it; NULL: none */
	void (*before_stop)(struct gc *gc); /* when a cycle is asked for: world still running */
	bool (*veto)(void); /* asked on the allocating thread when a collection is due: not now */
	void (*after_cycle)(struct gc *gc); /* world lock held */
	void (*event)(enum cycle_event e); /* on the collecting thread; between STOPPED and STARTING the
					       world stands still */
	void (*notify_due)(struct gc *gc); /* finalizers became due; world lock not held */
	bool calls_from_mutators; /* before_stop and notify_due are not for the collecting thread */
	uint32_t notice; /* atomic: a mutator is to call notify_due */
	uint64_t cycle_allocated_nbytes; /* atomic: heap.allocated_nbytes when the last cycle ended */
	uint32_t background_started; /* atomic */
	uint32_t background_word; /* atomic, futex: cycles the background thread may tidy after */
};

/* delay_begin, delay_end - around what may hold an allocation up. */
MGC_INLINE uint64_t delay_begin(const struct gc *gc)
{
	return MGC_UNLIKELY(gc->delays) ? os_now_ns() : 0;
}

MGC_INLINE void delay_end(struct gc *gc, enum delay kind, uint64_t begin)
{
	if (MGC_UNLIKELY(begin != 0))
		max_relaxed(&gc->longest_ns[kind], os_now_ns() - begin);
}

/* gc_untold_nbytes - heap.untold_nbytes when nothing special is going on. */
MGC_INLINE uint64_t gc_untold_nbytes(const struct gc *gc)
{
	return gc->knobs.gcstress != 0 ? HEAP_UNTOLD_NBYTES / 32 : HEAP_UNTOLD_NBYTES;
}

/* gc_init - makes h a collected heap. 0 or an errno. signal 0: any free one. concurrent: the program
 * stores through the barrier. */
int gc_init(struct gc *gc, struct heap *h, const struct knobs *knobs, int signal, bool concurrent);

/* gc_keep_record - among the recent cycles. WORLD is held. */
void gc_keep_record(struct gc *gc, const struct cycle_record *r);
/* gc_set_limit - the memory limit from now on, UINT64_MAX: none, not even the container's. WORLD is held;
 * cycle_set_goal follows. */
void gc_set_limit(struct gc *gc, uint64_t nbytes);
/* gc_apply_limit - what the page heap shall refuse: more than the limit, or more than the hard one while the
 * limiter is on. WORLD is held. */
void gc_apply_limit(struct gc *gc);

/* gc_publish - what gc_read_stats tells of cycles and settings has changed. WORLD is held, or nobody else is there yet. */
void gc_publish(struct gc *gc);
/* gc_read_stats - fills everything but struct_size. Waits for no cycle: its figures are of the last one that ended. */
struct mgc_stats;
void gc_read_stats(struct gc *gc, struct mgc_stats *out);

#endif
