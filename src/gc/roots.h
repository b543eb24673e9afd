/* roots.h - everything outside the heap and the stacks that keeps objects alive.
 *
 * WHAT   registered ranges · data segments and thread-local blocks of loaded objects (when asked for)
 *        · ranges owned by a stack · objects that are uncollectable · ranges that a face adds through
 *        a callback. Those that are written to with mgc_write are read while the program runs, the
 *        others (unbarriered) while the world stands still; an owned range goes with its stack.
 * WHO    the forms of a cycle; the faces register.
 * STATE  ranges are added and removed at any time; a cycle reads them under ROOTS.
 * INV    O1 ranges do not overlap    O2 sorted by start
 * LOCKS  ROOTS for tables.   UNITS bytes, words of 8. */
#ifndef MGC_GC_ROOTS_H
#define MGC_GC_ROOTS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gc/mark.h"
#include "gc/stacks.h"
#include "heap/mutator.h"
#include "os/lock.h"

struct root_range {
	uintptr_t lo, hi;
	unsigned flags; /* enum mgc_root_flags */
	struct owned_range *owned; /* not NULL: it goes with a stack (stacks.h) */
	uint64_t serial; /* number of this registration */
};

struct stw;

struct roots {
	struct lock lock;
	struct stw *stw;
	struct root_range *range;
	size_t nranges, capacity;
	uint64_t nadded, nmapped; /* registrations ever; those that roots_map has seen */
	struct list stacks; /* struct mgc_stack.node */
	struct mgc_stack *free_stacks;
	struct owned_range *free_owned;
	struct owned_range *left; /* atomic: lists of threads that are gone; who has ROOTS drops their ranges */
	bool globals; /* atomic; data segments and TLS are roots. Changed under WORLD */
	bool strays; /* a thread may come on a stack that nobody knows, and say later, or never, where that ends (libgc face) */
	uint64_t end_nbytes; /* atomic; a root word just behind an object whose slot is smaller keeps it; UINT64_MAX: of any size (libgc face) */
	/* which data segments count; NULL: all. Asked in the loader's lock, before the world stops */
	bool (*keep_segment)(uintptr_t lo, uintptr_t hi);
	/* a face's own roots: called with the world stopped */
	void (*extra)(void *arg, struct marker *mk);
	void *extra_arg;
	const struct os_segment *excluded; /* parts of data segments that are none; by address (libgc face) */
	size_t nexcluded;
	struct os_segment *segment; /* of the loaded objects; filled in the loader's lock */
	size_t nsegments, segment_capacity;
	size_t nunbarriered; /* ranges with that flag */
	size_t scanned_nbytes; /* by the last cycle: ranges and segments */
	size_t stack_nbytes; /* atomic; stacks and registers */
};

/* roots_init - false: no memory. */
bool roots_init(struct roots *r, struct stw *stw);
void roots_destroy(struct roots *r);

/* roots_acquire, roots_release - the lock, when no range of a thread that is gone is left; the calling mutator is in a section meanwhile. A cycle holds it
 * while it waits for every mutator's snapshot, and the caller might be one that no signal can interrupt:
 * it waits as a BLOCKED thread. */
void roots_acquire(struct roots *r);
void roots_release(struct roots *r);

/* roots_add - 0, EINVAL (misaligned, overlapping) or ENOMEM. roots_add_owned - the same for one that goes
 * with the stack whose list that is: *top is where its used part ends. */
int roots_add(struct roots *r, uintptr_t lo, uintptr_t hi, unsigned flags);
int roots_add_owned(struct roots *r, uintptr_t lo, uintptr_t hi, const uintptr_t *top,
		    struct owned_range **list);
/* roots_own_list - that of m, the caller, for its own stack; NULL: no memory. roots_leave_owned - m goes, in a
 * section: its ranges are not read any more, and whoever takes ROOTS next removes them. */
struct owned_range **roots_own_list(struct roots *r, struct mutator *m);
void roots_leave_owned(struct roots *r, struct mutator *m);
/* roots_is_owned - the address lies in an owned range. Lock held. */
bool roots_is_owned(const struct roots *r, uintptr_t addr);
/* roots_give_owned - it goes with another stack from now on. 0 or EINVAL. */
int roots_give_owned(struct roots *r, uintptr_t lo, struct owned_range **list);
/* roots_add_union - the same, but what overlaps is merged (libgc face). */
int roots_add_union(struct roots *r, uintptr_t lo, uintptr_t hi, unsigned flags);
/* roots_words - how many words the range that starts at lo has, 0 if there is none. Lock held.
 * roots_remove - 0 or EINVAL. Lock held. */
size_t roots_words(const struct roots *r, uintptr_t lo);
int roots_remove(struct roots *r, uintptr_t lo);
/* roots_remove_within - every range that lies in [lo, hi) (libgc face). */
void roots_remove_within(struct roots *r, uintptr_t lo, uintptr_t hi);
/* roots_drop_owned - the stack whose list that is goes. Lock held. */
void roots_drop_owned(struct roots *r, struct owned_range **list);

/* roots_note_segment - for os_each_data. Allocates records: before the world stops. A root cannot be left out, so it
 * dies without memory for one. roots_keep_room - there is room for as many more as there are: it is looked for where
 * its absence does no harm, after a cycle. */
void roots_note_segment(struct roots *r, uintptr_t lo, uintptr_t hi);
void roots_keep_room(struct roots *r);

/* roots_map - what was registered since the last time, and is large, is mapped: a page that the program has not touched
 * costs a fault when it is read, and a stop reads all of them (Poke's stacks). Before the world stops. */
void roots_map(struct roots *r);

/* roots_read_tls - the mutator's thread-local blocks, if those are roots (then it stands still, and the
 * loader's lock is held). */
void roots_read_tls(struct roots *r, struct sink *out, struct mutator *m);
/* roots_read_unbarriered - ranges that are stored to without mgc_write, and data segments. */
void roots_read_unbarriered(struct roots *r, struct sink *out);
/* roots_barriered - the range is stored to with mgc_write only. */
bool roots_barriered(const struct root_range *range);
/* roots_have_unbarriered - there are such: a cycle must stop the world to read them. Lock held. */
bool roots_have_unbarriered(const struct roots *r);
/* roots_mark_barriered - all the others, and uncollectable objects. Lock held. */
void roots_mark_barriered(struct roots *r, struct marker *mk);
/* roots_ask_face - for its own, if the world stands (marker_sees_stop). Lock held. */
void roots_ask_face(struct roots *r, struct marker *mk);

#endif
