/* annotate.h - what AddressSanitizer, LeakSanitizer and Valgrind's memcheck are told of the heap: which memory is
 * no object, where pointers to other memory may stand, where a thread's locals really are.
 *
 * WHAT   The sanitizers' functions are found at run time, if the program was built with one: the library needs
 *        no build of its own. Valgrind is spoken to by its instruction sequence, which does nothing elsewhere.
 *        Without either each call is one test of a flag; none is on the way of an allocation.
 * WHO    heap: free slots and pages; gc: stacks, and quiet while words of any kind are read.
 * STATE  annotate_on: set once, before the first span exists
 * UNITS  bytes.   FROM sanitizer/asan_interface.h, valgrind/valgrind.h: the interfaces, which are stable. */
#ifndef MGC_BASE_ANNOTATE_H
#define MGC_BASE_ANNOTATE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

extern bool annotate_on;

void annotate_start(void);

void annotate_free_slow(uintptr_t p, size_t nbytes);
void annotate_alloc_slow(uintptr_t p, size_t nbytes, bool defined);
void annotate_heap_slow(uintptr_t p, size_t nbytes);
void annotate_quiet_slow(bool on);

/* annotate_free - nobody may use it. annotate_alloc - it is to be used; defined: it may be read before it is
 * written. */
MGC_INLINE void annotate_free(uintptr_t p, size_t nbytes)
{
	if (MGC_UNLIKELY(annotate_on))
		annotate_free_slow(p, nbytes);
}

MGC_INLINE void annotate_alloc(uintptr_t p, size_t nbytes, bool defined)
{
	if (MGC_UNLIKELY(annotate_on))
		annotate_alloc_slow(p, nbytes, defined);
}

/* annotate_heap - pointers to memory of the C library's malloc may stand there. */
MGC_INLINE void annotate_heap(uintptr_t p, size_t nbytes)
{
	if (MGC_UNLIKELY(annotate_on))
		annotate_heap_slow(p, nbytes);
}

/* annotate_quiet - this thread reads words that it knows nothing of, until it is called with false. Nests. */
MGC_INLINE void annotate_quiet(bool on)
{
	if (MGC_UNLIKELY(annotate_on))
		annotate_quiet_slow(on);
}

/* annotate_words - what was copied from anywhere is taken as it is: else every mark bit that follows from an
 * undefined word would be undefined. */
MGC_INLINE void annotate_words(const uintptr_t *words, size_t n)
{
	annotate_alloc((uintptr_t)words, n * sizeof *words, true);
}

/* annotate_fake_stack - the calling thread's stand-in for its stack (detect_stack_use_after_return), or NULL.
 * annotate_fake_frame - true: the word points into a frame of it, [*lo, *hi). */
void *annotate_fake_stack(void);
bool annotate_fake_frame(void *fake_stack, uintptr_t word, uintptr_t *lo, uintptr_t *hi);

#endif
