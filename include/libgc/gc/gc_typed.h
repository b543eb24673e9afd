/* gc_typed.h - objects of which a bitmap says where their pointers are. */
#ifndef GC_TYPED_H
#define GC_TYPED_H
#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef GC_word *GC_bitmap; /* bit i % GC_WORDSZ of word i / GC_WORDSZ: word i may be a pointer */
typedef GC_word GC_descr;
#define GC_WORDSZ (8 * sizeof(GC_word))
#define GC_get_bit(bm, i) (((bm)[(i) / GC_WORDSZ] >> ((i) % GC_WORDSZ)) & 1)
#define GC_set_bit(bm, i) ((bm)[(i) / GC_WORDSZ] |= (GC_word)1 << ((i) % GC_WORDSZ))
#define GC_WORD_OFFSET(t, f) (offsetof(t, f) / sizeof(GC_word))
#define GC_WORD_LEN(t) (sizeof(t) / sizeof(GC_word))
#define GC_BITMAP_SIZE(t) ((GC_WORD_LEN(t) + GC_WORDSZ - 1) / GC_WORDSZ)

/* GC_make_descriptor - once for each type: what it takes is not given back. Words behind the last bit hold
 * no pointers. */
GC_API GC_descr GC_CALL GC_make_descriptor(const GC_word *bitmap, size_t nbits);
/* The object is cleared, and not for GC_realloc. An array: the descriptor is that of one element. */
GC_API void *GC_CALL GC_malloc_explicitly_typed(size_t nbytes, GC_descr d) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_malloc_explicitly_typed_ignore_off_page(size_t nbytes, GC_descr d) GC_ATTR_MALLOC;
GC_API void *GC_CALL GC_calloc_explicitly_typed(size_t n, size_t nbytes, GC_descr d) GC_ATTR_MALLOC;
#ifdef GC_DEBUG
#define GC_MALLOC_EXPLICITLY_TYPED(n, d) ((void)(d), GC_MALLOC(n))
#define GC_CALLOC_EXPLICITLY_TYPED(n, size, d) ((void)(d), GC_MALLOC((n) * (size)))
#else
#define GC_MALLOC_EXPLICITLY_TYPED(n, d) GC_malloc_explicitly_typed(n, d)
#define GC_CALLOC_EXPLICITLY_TYPED(n, size, d) GC_calloc_explicitly_typed(n, size, d)
#endif

#ifdef __cplusplus
}
#endif
#endif
