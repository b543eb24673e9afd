/* api_inline.c - what a program that inlines short paths (include/mallocgc-inline.h) knows of us, checked:
 * here when the library is compiled, and when the program starts.
 * INV  A1 what that header says is so, as long as MGC_INLINE_LAYOUT stays the same */
#include "mallocgc-inline.h"

#include <stddef.h>

#include "base/check.h"
#include "gc/type.h"
#include "heap/cache.h"

#define SAME(ours, theirs) \
	_Static_assert(offsetof(struct mutator, ours) == offsetof(struct mgc_inline_thread, theirs), \
		       "mallocgc-inline.h: change it, and its MGC_INLINE_LAYOUT")

SAME(sec, section);
SAME(pending, asked);
SAME(heap, phase);
_Static_assert(offsetof(struct mutator, runs) == sizeof(struct mgc_inline_thread) &&
		       offsetof(struct run, cur) == offsetof(struct mgc_inline_run, next) &&
		       offsetof(struct run, end) == offsetof(struct mgc_inline_run, end) &&
		       sizeof(struct run) == sizeof(struct mgc_inline_run),
	       "mallocgc-inline.h: change it, and its MGC_INLINE_LAYOUT");
_Static_assert(sizeof(struct run) == TYPE_RUN_NBYTES, "the id word of a type: type.h");
_Static_assert(offsetof(struct heap, phase_gen) == 0 && PHASE_OFF == 0,
	       "mallocgc-inline.h: change it, and its MGC_INLINE_LAYOUT");

void mgc_inline_check(uint32_t layout, const char *version)
{
	if (layout != MGC_INLINE_LAYOUT)
		mgc_misuse(
			"this program was compiled with the mallocgc-inline.h of version %s "
			"(layout "
			"%u), and runs on the library of version %s (layout %u): compile it again",
			version, layout, (mgc_version)(), MGC_INLINE_LAYOUT);
}
