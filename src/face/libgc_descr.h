/* libgc_descr.h - descriptors of the libgc face: a word says which words of an object are pointers.
 *
 * WHAT   The tag in the two low bits, as clients build them with the macros of gc_mark.h and read them
 *        from GC_make_descriptor: a length in bytes; 62 bits, the first word's on top; a procedure with
 *        its argument; or the place in the object where its descriptor is.
 * WHO    libgc_kinds.c reads them; libgc_typed.c makes them.   UNITS bytes; words of 8. */
#ifndef MGC_FACE_LIBGC_DESCR_H
#define MGC_FACE_LIBGC_DESCR_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "face/libgc.h"

enum { DS_LENGTH, DS_BITMAP, DS_PROC, DS_PER_OBJECT };
#define DS_TAGS 3
#define DS_TAG(d) ((d) & DS_TAGS)
#define DS_BITMAP_BITS 62
#define DS_INDIRECT_BIAS 16

struct mgc_tracer;

/* descr_layout - of objects that are as the kind says; it calls the kind's descriptor whenever one is
 * marked. 0: no room. */
unsigned descr_layout(const struct kind *k, unsigned flags);
/* descr_trace_long - long bitmap number i. */
void descr_trace_long(uintptr_t object, size_t i, struct mgc_tracer *tracer);

#endif
