/* bits.h - arithmetic on bits, sizes and alignments. Pure functions, no state. */
#ifndef MGC_BASE_BITS_H
#define MGC_BASE_BITS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* bits_ctz, bits_clz - v is not 0. */
MGC_INLINE unsigned bits_ctz(uint64_t v)
{
	return (unsigned)__builtin_ctzll(v);
}

MGC_INLINE unsigned bits_clz(uint64_t v)
{
	return (unsigned)__builtin_clzll(v);
}

MGC_INLINE unsigned bits_count(uint64_t v)
{
#if defined(__POPCNT__) || defined(__aarch64__)
	return (unsigned)__builtin_popcountll(v);
#else /* the compiler would call a function: x86-64's baseline has no such instruction */
	v -= v >> 1 & UINT64_C(0x5555555555555555);
	v = (v & UINT64_C(0x3333333333333333)) + (v >> 2 & UINT64_C(0x3333333333333333));
	v = (v + (v >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (unsigned)(v * UINT64_C(0x0101010101010101) >> 56);
#endif
}

/* bits_low - the lowest n bits set, n in 0 … 64. */
MGC_INLINE uint64_t bits_low(unsigned n)
{
	return n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
}

/* align_up, align_down - a is a power of two. align_up may wrap to 0: check before. */
MGC_INLINE uintptr_t align_up(uintptr_t v, uintptr_t a)
{
	return (v + a - 1) & ~(a - 1);
}

MGC_INLINE uintptr_t align_down(uintptr_t v, uintptr_t a)
{
	return v & ~(a - 1);
}

MGC_INLINE bool is_pow2(uintptr_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

/* mul_overflows - true when a*b does not fit; else *out is the product. */
MGC_INLINE bool mul_overflows(size_t a, size_t b, size_t *out)
{
	return __builtin_mul_overflow(a, b, out);
}

MGC_INLINE size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

MGC_INLINE size_t max_size(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* bits_mix - a full-avalanche mix of one word, for hash tables. */
MGC_INLINE uint64_t bits_mix(uint64_t v)
{
	v ^= v >> 32;
	v *= UINT64_C(0xd6e8feb86659fd93);
	v ^= v >> 32;
	v *= UINT64_C(0xd6e8feb86659fd93);
	return v ^ (v >> 32);
}

#endif
