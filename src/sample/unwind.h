/* unwind.h - the calling thread's stack as return addresses.
 *
 * WHAT   By the compiler's unwind tables (libgcc's unwinder, linked in), which every object has on the
 *        systems we run on. Not by frame pointers: Debian's programs and libraries have none, and a walk that follows
 *        a register which is none goes astray without a sign (ADR 39).
 *        Reading tables takes some 200 ns a frame, so what they said is remembered: nearly every call site
 *        has a frame of one size. A stack of which each return address has been seen some times, with the
 *        same size each time, is walked by adding these sizes; any other one by the tables, from the start.
 * WHO    sampler.c.
 * STATE  one cache for the process: a word for an address, its frame's size, and how often it was so.
 * INV    U1 a word that the walk reads lies below `known_hi`, to where the tables led on this very stack
 * LOCKS  none of ours, the unwinder's own at most. Words of the cache are read and written whole.
 * UNITS  bytes; sizes in the cache in words of 8. */
#ifndef MGC_SAMPLE_UNWIND_H
#define MGC_SAMPLE_UNWIND_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stddef.h>
#include <stdint.h>

/* What is known of the calling thread's stack. Starts as 0. */
struct unwind_thread {
	uintptr_t known_lo, known_hi; /* the tables led from here to there */
};

/* unwind_stack - at most n addresses into pc, innermost first, without the `skip` innermost frames and
 * this function's own; how many. Each is one byte before the return address: inside the call. */
size_t unwind_stack(struct unwind_thread *t, uintptr_t *pc, size_t n, unsigned skip);

#endif
