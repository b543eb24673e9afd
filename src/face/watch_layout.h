/* watch_layout.h - fingerprints of the structures that an observer reads (base/watch.h, W1). A change of
 * a structure changes its size or an offset below in nearly every case; what it would miss (two members of
 * one size that change places) the version tells between releases. */
#ifndef MGC_FACE_WATCH_LAYOUT_H
#define MGC_FACE_WATCH_LAYOUT_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stddef.h>

#include "base/watch.h"
#include "heap/manual.h"
#include "heap/pageheap.h"

#define WATCH_LAYOUT_BASE \
	WATCH_MIX(WATCH_MIX(WATCH_MIX(WATCH_MIX(UINT64_C(0xcbf29ce484222325), MGC_ARENA_SHIFT), \
				      MGC_PAGE_SHIFT), \
			    sizeof(struct pageheap)), \
		  sizeof(struct span))

#define WATCH_LAYOUT_MALLOC \
	WATCH_MIX(WATCH_MIX(WATCH_MIX(WATCH_MIX(WATCH_LAYOUT_BASE, sizeof(struct manual)), \
				      sizeof(struct slab)), \
			    sizeof(struct mcache)), \
		  offsetof(struct manual, caches))

/* Where face/runtime.h was included. */
#define WATCH_LAYOUT_GC \
	WATCH_MIX(WATCH_MIX(WATCH_MIX(WATCH_MIX(WATCH_MIX(WATCH_LAYOUT_BASE, sizeof(struct runtime)), \
						sizeof(struct cycle_record)), \
				      offsetof(struct gc, recent)), \
			    sizeof(struct mutator)), \
		  offsetof(struct mutator, allocated_nbytes))

#endif
