/* gc_tiny_fl.h - sizes in granules, for free lists that a client keeps (gc_inline.h). */
#ifndef GC_TINY_FL_H
#define GC_TINY_FL_H
#ifndef GC_GRANULE_BYTES
#define GC_GRANULE_BYTES 16
#define GC_GRANULE_WORDS 2
#endif
#define GC_WORDS_TO_GRANULES(n) ((n) / GC_GRANULE_WORDS)
#ifndef GC_TINY_FREELISTS
#define GC_TINY_FREELISTS 25 /* objects below this many granules have a list */
#endif
#define GC_RAW_BYTES_FROM_INDEX(i) ((i) * GC_GRANULE_BYTES)
#endif
