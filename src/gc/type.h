/* type.h - struct mgc_type → layout → the id word kept in the type.
 * WHAT   mgc_id = where the run of its span class lies among a mutator's (16 bits, bit 0 set when the id is
 *        known) | 0 (16) | layout (16) | slot bytes (16). One word, so a racing first use sees all or
 *        nothing. Span class 0, whose run is empty: objects of this type take the general path (tiny,
 *        large). include/mallocgc-inline.h reads it too. */
#ifndef MGC_GC_TYPE_H
#define MGC_GC_TYPE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/config.h"
#include "heap/layout.h"
#include "mallocgc.h"

#define TYPE_KNOWN UINT64_C(1)
#define TYPE_RUN_NBYTES 16
_Static_assert(MGC_MAX_SMALL < 65536 && MGC_MAX_LAYOUT <= 65536 &&
		       MGC_MAX_SPANCLASS * TYPE_RUN_NBYTES <= 65536,
	       "an id word holds each in 16 bits");

MGC_INLINE unsigned type_spanclass(uint64_t id)
{
	return (unsigned)((id & 0xffff) / TYPE_RUN_NBYTES);
}

MGC_INLINE size_t type_slot_nbytes(uint64_t id)
{
	return id >> 48;
}

MGC_INLINE unsigned type_layout(uint64_t id)
{
	return id >> 32 & 0xffff;
}

/* type_id - the id word of the type, made at first use. Dies on a type that contradicts itself. */
uint64_t type_id_slow(struct layouts *ls, struct mgc_type *t);

MGC_INLINE uint64_t type_id(struct layouts *ls, struct mgc_type *t)
{
	uint64_t id = load_acquire(&t->mgc_id); /* pairs: type-id */
	return MGC_LIKELY(id != 0) ? id : type_id_slow(ls, t);
}

#endif
