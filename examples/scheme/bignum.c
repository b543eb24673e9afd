/* bignum.c - integers of any size: sign and magnitude, schoolbook methods, limbs of 32 bits.
 * WHAT   Results are normalised: no leading 0, and what fits a fixnum is one. A result's object is made as
 *        large as it can become; its header then says what is used.
 * UNITS  limbs, the lowest first. */
#include "scheme.h"

#include <math.h>
#include <string.h>

/* Any integer as limbs; a fixnum's are kept in `own`. */
struct view {
	bool negative;
	size_t n;
	const uint32_t *limb;
	uint32_t own[2];
};

static void view(struct view *w, value v)
{
	if (!is_fixnum(v)) {
		struct bignum *b = (struct bignum *)v;
		*w = (struct view){ is_big_negative(v), length_of(v) >> 1, b->limb, { 0, 0 } };
		return;
	}
	intptr_t i = fixnum_of(v);
	uint64_t m = i < 0 ? -(uint64_t)i : (uint64_t)i;
	*w = (struct view){ i < 0,
			    m == 0         ? 0
			    : m >> 32 != 0 ? 2
					   : 1,
			    w->own,
			    { (uint32_t)m, (uint32_t)(m >> 32) } };
}

static struct bignum *make(size_t n)
{
	return bytes_new(KIND_BIGNUM, n << 1, n * sizeof(uint32_t));
}

static value normal(struct bignum *b, size_t n, bool negative)
{
	while (n > 0 && b->limb[n - 1] == 0)
		n--;
	if (n <= 2) {
		uint64_t m = n == 0 ? 0 : b->limb[0] | (n == 2 ? (uint64_t)b->limb[1] << 32 : 0);
		if (m <= (uint64_t)INTPTR_MAX >> 1)
			return fixnum(negative ? -(intptr_t)m : (intptr_t)m);
		if (negative && m == (uint64_t)1 << 62)
			return fixnum(-((intptr_t)1 << 62));
	}
	b->header = make_header(KIND_BIGNUM, n << 1 | negative);
	return (value)b;
}

value big_from(intptr_t i)
{
	if (fixnum_of(fixnum(i)) == i)
		return fixnum(i);
	struct bignum *b = make(2);
	uint64_t m = i < 0 ? -(uint64_t)i : (uint64_t)i;
	b->limb[0] = (uint32_t)m;
	b->limb[1] = (uint32_t)(m >> 32);
	return normal(b, 2, i < 0);
}

value big_from_double(double d)
{
	int exponent;
	double fraction = frexp(fabs(d), &exponent);
	if (exponent <= 62)
		return fixnum((intptr_t)d);
	size_t n = ((size_t)exponent + 31) / 32;
	struct bignum *b = make(n);
	uint64_t m = (uint64_t)ldexp(fraction, 53);
	size_t shift = (size_t)exponent - 53;
	for (size_t i = 0; i < 64; i++) /* bit by bit: this is rare */
		if (m >> i & 1)
			b->limb[(i + shift) / 32] |= (uint32_t)1 << (i + shift) % 32;
	return normal(b, n, d < 0);
}

static int compare_limbs(const struct view *a, const struct view *b)
{
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	for (size_t i = a->n; i-- > 0;)
		if (a->limb[i] != b->limb[i])
			return a->limb[i] < b->limb[i] ? -1 : 1;
	return 0;
}

int big_compare(value x, value y)
{
	struct view a, b;
	view(&a, x);
	view(&b, y);
	if (a.negative != b.negative)
		return a.negative ? -1 : 1;
	return a.negative ? compare_limbs(&b, &a) : compare_limbs(&a, &b);
}

static value add_limbs(const struct view *a, const struct view *b, bool negative)
{
	size_t n = (a->n > b->n ? a->n : b->n) + 1;
	struct bignum *r = make(n);
	uint64_t carry = 0;
	for (size_t i = 0; i < n; i++) {
		carry += (i < a->n ? a->limb[i] : 0) + (uint64_t)(i < b->n ? b->limb[i] : 0);
		r->limb[i] = (uint32_t)carry;
		carry >>= 32;
	}
	return normal(r, n, negative);
}

/* sub_limbs - a ≥ b. */
static value sub_limbs(const struct view *a, const struct view *b, bool negative)
{
	struct bignum *r = make(a->n);
	int64_t borrow = 0;
	for (size_t i = 0; i < a->n; i++) {
		borrow += (int64_t)a->limb[i] - (i < b->n ? b->limb[i] : 0);
		r->limb[i] = (uint32_t)borrow;
		borrow >>= 32;
	}
	return normal(r, a->n, negative);
}

value big_add(value x, value y, bool subtract)
{
	struct view a, b;
	view(&a, x);
	view(&b, y);
	b.negative ^= subtract;
	if (a.negative == b.negative)
		return add_limbs(&a, &b, a.negative);
	return compare_limbs(&a, &b) >= 0 ? sub_limbs(&a, &b, a.negative)
					  : sub_limbs(&b, &a, b.negative);
}

value big_mul(value x, value y)
{
	struct view a, b;
	view(&a, x);
	view(&b, y);
	struct bignum *r = make(a.n + b.n);
	for (size_t i = 0; i < a.n; i++) {
		uint64_t carry = 0;
		for (size_t j = 0; j < b.n; j++) {
			carry += (uint64_t)a.limb[i] * b.limb[j] + r->limb[i + j];
			r->limb[i + j] = (uint32_t)carry;
			carry >>= 32;
		}
		r->limb[i + b.n] = (uint32_t)carry;
	}
	return normal(r, a.n + b.n, a.negative != b.negative);
}

/* divide_small - limb[0, n) by d in place; the remainder. */
static uint32_t divide_small(uint32_t *limb, size_t n, uint32_t d)
{
	uint64_t rest = 0;
	for (size_t i = n; i-- > 0;) {
		rest = rest << 32 | limb[i];
		limb[i] = (uint32_t)(rest / d);
		rest %= d;
	}
	return (uint32_t)rest;
}

/* shift_left - n limbs and what falls out; bits < 32. */
static void shift_left(uint32_t *to, const uint32_t *from, size_t n, unsigned bits)
{
	uint64_t carry = 0;
	for (size_t i = 0; i < n; i++) {
		carry |= (uint64_t)from[i] << bits;
		to[i] = (uint32_t)carry;
		carry >>= 32;
	}
	to[n] = (uint32_t)carry;
}

/* step - one digit of long division: u[0, n] -= q × v[0, n), with the largest q that fits. The top bit of
 * v is set, so the guess from the upper limbs is at most two too high. */
static uint32_t step(uint32_t *u, const uint32_t *v, size_t n)
{
	uint64_t top = (uint64_t)u[n] << 32 | u[n - 1];
	uint64_t q = top / v[n - 1], rest = top % v[n - 1];
	while (q >> 32 != 0 || q * v[n - 2] > (rest << 32 | u[n - 2])) {
		q--;
		rest += v[n - 1];
		if (rest >> 32 != 0)
			break;
	}
	int64_t borrow = 0;
	uint64_t carry = 0;
	for (size_t i = 0; i < n; i++) {
		carry += q * v[i];
		borrow += (int64_t)u[i] - (uint32_t)carry;
		u[i] = (uint32_t)borrow;
		borrow >>= 32;
		carry >>= 32;
	}
	borrow += (int64_t)u[n] - (int64_t)carry;
	u[n] = (uint32_t)borrow;
	if (borrow >= 0)
		return (uint32_t)q;
	carry = 0; /* one too high still: add v again */
	for (size_t i = 0; i < n; i++) {
		carry += (uint64_t)u[i] + v[i];
		u[i] = (uint32_t)carry;
		carry >>= 32;
	}
	u[n] += (uint32_t)carry;
	return (uint32_t)q - 1;
}

value big_divide(value x, value y, value *remainder)
{
	struct view a, b;
	view(&a, x);
	view(&b, y);
	bool negative = a.negative != b.negative;
	if (compare_limbs(&a, &b) < 0) {
		*remainder = x;
		return fixnum(0);
	}
	struct bignum *q = make(a.n), *u = make(a.n + 1);
	if (b.n == 1) {
		memcpy(q->limb, a.limb, a.n * sizeof(uint32_t));
		u->limb[0] = divide_small(q->limb, a.n, b.limb[0]);
		*remainder = normal(u, 1, a.negative);
		return normal(q, a.n, negative);
	}
	struct bignum *v = make(b.n + 1);
	unsigned bits = (unsigned)__builtin_clz(b.limb[b.n - 1]);
	shift_left(u->limb, a.limb, a.n, bits);
	shift_left(v->limb, b.limb, b.n, bits);
	for (size_t i = a.n - b.n + 1; i-- > 0;)
		q->limb[i] = step(u->limb + i, v->limb, b.n);
	for (size_t i = 0; i < b.n; i++) /* the remainder, shifted back */
		u->limb[i] = (uint32_t)(((uint64_t)u->limb[i + 1] << 32 | u->limb[i]) >> bits);
	*remainder = normal(u, b.n, a.negative);
	return normal(q, a.n - b.n + 1, negative);
}

double big_double(value x)
{
	struct view a;
	view(&a, x);
	if (is_fixnum(x))
		return (double)fixnum_of(x);
	/* the upper 64 bits, the lowest of them set when anything follows: rounds as the whole would */
	unsigned bits = (unsigned)__builtin_clz(a.limb[a.n - 1]);
	uint64_t m = (uint64_t)a.limb[a.n - 1] << 32 | a.limb[a.n - 2];
	m <<= bits;
	if (bits != 0 && a.n > 2)
		m |= a.limb[a.n - 3] >> (32 - bits);
	for (size_t i = 0; i + 2 < a.n; i++)
		m |= i + 3 < a.n ? a.limb[i] != 0 : (uint32_t)(a.limb[i] << bits) != 0;
	double d = ldexp((double)m, (int)(32 * (a.n - 2)) - (int)bits);
	return a.negative ? -d : d;
}

char *big_text(value x, unsigned radix)
{
	struct view a;
	view(&a, x);
	size_t room = a.n * 32 + 2, at = room; /* radix 2 needs most */
	char *text = (char *)((struct bytes *)bytes_new(KIND_BYTES, room + 1, room + 1))->byte;
	struct bignum *rest = make(a.n);
	memcpy(rest->limb, a.limb, a.n * sizeof(uint32_t));
	size_t n = a.n;
	do {
		uint32_t digit = divide_small(rest->limb, n, radix);
		text[--at] = "0123456789abcdefghijklmnopqrstuvwxyz"[digit];
		while (n > 0 && rest->limb[n - 1] == 0)
			n--;
	} while (n > 0);
	if (a.negative)
		text[--at] = '-';
	return text + at;
}

value big_parse(const char *digits, size_t n, unsigned radix, bool negative)
{
	size_t size = n / 5 + 2; /* radix 36: less than 6 bits each */
	struct bignum *b = make(size);
	for (size_t i = 0; i < n; i++) {
		char c = digits[i];
		uint64_t carry = (uint64_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
		for (size_t j = 0; j < size; j++) {
			carry += (uint64_t)b->limb[j] * radix;
			b->limb[j] = (uint32_t)carry;
			carry >>= 32;
		}
	}
	return normal(b, size, negative);
}
