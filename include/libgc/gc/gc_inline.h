/* gc_inline.h - allocation from free lists that the client keeps, one for each size in granules: an array of
 * GC_TINY_FREELISTS pointers, all NULL in the beginning, in memory that the collector sees. One thread
 * uses it. */
#ifndef GC_INLINE_H
#define GC_INLINE_H
#include "gc.h"
#include "gc_tiny_fl.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GC_I_PTRFREE 0
#define GC_I_NORMAL 1

GC_API void GC_CALL GC_generic_malloc_many(size_t nbytes, int kind, void **result);
GC_API void *GC_CALL GC_malloc_kind(size_t nbytes, int kind) GC_ATTR_MALLOC;
#ifdef GC_THREADS
GC_API void *GC_CALL GC_malloc_kind_global(size_t nbytes, int kind) GC_ATTR_MALLOC;
#else
#define GC_malloc_kind_global GC_malloc_kind
#endif
GC_API void GC_CALL GC_print_free_list(int kind, size_t ngranules);

#ifdef __GNUC__
#define GC_EXPECT(expr, outcome) __builtin_expect(expr, outcome)
#define GC_PREFETCH_FOR_WRITE(p) __builtin_prefetch((p), 1)
#else
#define GC_EXPECT(expr, outcome) (expr)
#define GC_PREFETCH_FOR_WRITE(p) (void)0
#endif
#ifndef GC_ASSERT
#include <assert.h>
#define GC_ASSERT(expr) assert(expr)
#endif
#define GC_FAST_M_AO_STORE(list, next) (void)(*(list) = (next))

/* A list's head is a pointer, or a small number: how many granules were asked for so far; lists are made
 * when num_direct was reached. `init` runs with `result` set. */
#define GC_FAST_MALLOC_GRANS(result, granules, tiny_fl, num_direct, kind, slow_expr, init) \
	do { \
		size_t gc_n_ = (granules); \
		void **gc_list_ = (tiny_fl) + gc_n_, *gc_head_; \
		if (GC_EXPECT(gc_n_ >= GC_TINY_FREELISTS, 0)) { \
			result = (slow_expr); \
			break; \
		} \
		gc_head_ = *gc_list_; \
		if (GC_EXPECT((GC_word)gc_head_ <= (GC_word)(num_direct) + GC_TINY_FREELISTS + 1, 0)) { \
			if (gc_head_ != 0 && (GC_word)gc_head_ <= (GC_word)(num_direct)) { \
				*gc_list_ = (void *)((GC_word)gc_head_ + gc_n_ + 1); \
				result = (slow_expr); \
				break; \
			} \
			GC_generic_malloc_many(gc_n_ == 0 ? GC_GRANULE_BYTES : \
							    GC_RAW_BYTES_FROM_INDEX(gc_n_), \
					       kind, gc_list_); \
			gc_head_ = *gc_list_; \
			if (gc_head_ == 0) { \
				result = (*GC_get_oom_fn())(gc_n_ * GC_GRANULE_BYTES); \
				break; \
			} \
		} \
		GC_FAST_M_AO_STORE(gc_list_, GC_NEXT(gc_head_)); \
		result = gc_head_; \
		init; \
		GC_PREFETCH_FOR_WRITE(*gc_list_); \
	} while (0)

#define GC_WORDS_TO_WHOLE_GRANULES(n) GC_WORDS_TO_GRANULES((n) + GC_GRANULE_WORDS - 1)
#define GC_MALLOC_WORDS_KIND(result, n, tiny_fl, kind, init) \
	do { \
		size_t gc_granules_ = GC_WORDS_TO_WHOLE_GRANULES(n); \
		GC_FAST_MALLOC_GRANS(result, gc_granules_, tiny_fl, 0, kind, \
				     GC_malloc_kind(gc_granules_ *GC_GRANULE_BYTES, kind), init); \
	} while (0)
#define GC_MALLOC_WORDS(result, n, tiny_fl) \
	GC_MALLOC_WORDS_KIND(result, n, tiny_fl, GC_I_NORMAL, *(void **)(result) = 0)
#define GC_MALLOC_ATOMIC_WORDS(result, n, tiny_fl) \
	GC_MALLOC_WORDS_KIND(result, n, tiny_fl, GC_I_PTRFREE, (void)0)
#define GC_CONS(result, first, second, tiny_fl) \
	do { \
		void *gc_first_ = (void *)(first), *gc_second_ = (void *)(second); \
		GC_MALLOC_WORDS_KIND(result, 2, tiny_fl, GC_I_NORMAL, (void)0); \
		if ((result) != 0) { \
			*(void **)(result) = gc_first_; \
			GC_PTR_STORE_AND_DIRTY((void **)(result) + 1, gc_second_); \
		} \
		GC_reachable_here(gc_first_); \
	} while (0)

#ifdef __cplusplus
}
#endif
#endif
