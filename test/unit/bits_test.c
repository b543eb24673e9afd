/* bits_test.c - base/bits.h against the plainest loops that say the same. */
#include <criterion/criterion.h>

#include "base/bits.h"

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* sample - values of every magnitude: full ones, short ones, single bits and their neighbours. */
static uint64_t sample(unsigned i)
{
	uint64_t one = UINT64_C(1) << (i % 64);
	switch (i / 64 % 5) {
	case 0:
		return one;
	case 1:
		return one - 1;
	case 2:
		return one + 1;
	case 3:
		return next_random() >> (i % 64);
	default:
		return next_random();
	}
}

#define NSAMPLES 20000

Test(bits, counting, .timeout = 10)
{
	for (unsigned i = 0; i < NSAMPLES; i++) {
		uint64_t v = sample(i);
		unsigned count = 0, low = 64, high = 0;
		for (unsigned b = 0; b < 64; b++) {
			if ((v >> b & 1) == 0)
				continue;
			count++;
			low = low < b ? low : b;
			high = b;
		}
		cr_assert_eq(bits_count(v), count, "%lx", v);
		cr_assert_eq(is_pow2(v), count == 1, "%lx", v);
		if (v != 0) {
			cr_assert_eq(bits_ctz(v), low, "%lx", v);
			cr_assert_eq(bits_clz(v), 63 - high, "%lx", v);
		}
	}
}

Test(bits, low, .timeout = 10)
{
	uint64_t expected = 0;
	for (unsigned n = 0; n <= 64; n++) {
		cr_assert_eq(bits_low(n), expected, "%u", n);
		expected = expected << 1 | 1;
	}
}

Test(bits, alignment, .timeout = 10)
{
	for (unsigned i = 0; i < NSAMPLES; i++) {
		uintptr_t v = sample(i), a = (uintptr_t)1 << (i % 48);
		uintptr_t down = align_down(v, a), up = align_up(v, a);
		cr_assert_eq(down, v / a * a);
		if (v <= UINTPTR_MAX - (a - 1))
			cr_assert_eq(up, (v / a + (v % a != 0)) * a);
		else
			cr_assert_eq(up, 0, "wraps to 0");
	}
}

Test(bits, multiply, .timeout = 10)
{
	for (unsigned i = 0; i < NSAMPLES; i++) {
		size_t a = sample(i), b = sample(i * 7 + 3), out = 0;
		bool overflows = a != 0 && b > SIZE_MAX / a;
		cr_assert_eq(mul_overflows(a, b, &out), overflows);
		if (!overflows)
			cr_assert_eq(out, a * b);
	}
}

Test(bits, min_max, .timeout = 10)
{
	cr_assert_eq(min_size(3, 5), 3);
	cr_assert_eq(min_size(5, 3), 3);
	cr_assert_eq(max_size(3, 5), 5);
	cr_assert_eq(max_size(SIZE_MAX, 0), SIZE_MAX);
	cr_assert_eq(min_size(SIZE_MAX, SIZE_MAX), SIZE_MAX);
}

/* One bit of input changes about half of the output: 6 to 58 bits over these samples, 32 on average.
 * And it is a bijection, so equal results mean equal values. */
Test(bits, mix, .timeout = 10)
{
	uint64_t changed = 0, n = 0;
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t v = next_random(), h = bits_mix(v);
		for (unsigned b = 0; b < 64; b++, n++) {
			unsigned diff = bits_count(h ^ bits_mix(v ^ UINT64_C(1) << b));
			cr_assert(diff >= 6 && diff <= 58, "%lx bit %u: %u", v, b, diff);
			changed += diff;
		}
	}
	cr_assert(changed >= 31 * n && changed <= 33 * n);
	cr_assert_eq(bits_mix(0), 0);
	for (uint64_t v = 0; v < 2000; v++)
		for (uint64_t w = 0; w < v; w++)
			cr_assert_neq(bits_mix(v), bits_mix(w));
}
