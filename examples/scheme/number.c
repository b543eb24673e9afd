/* number.c - fixnums, flonums and bignums as one tower; how they are written; the primitives on them.
 * There are no exact fractions: (/ 1 3) is inexact, and whoever needs exactness uses integers. A fixnum that
 * overflows becomes a bignum, never a flonum. */
#include "scheme.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm.h"

static bool is_flonum(value v)
{
	return is_kind(v, KIND_FLONUM);
}

static double flonum_of(value v)
{
	return ((struct flonum *)v)->number;
}

static bool is_exact(value v)
{
	return is_fixnum(v) || is_kind(v, KIND_BIGNUM);
}

bool is_number(value v)
{
	return is_exact(v) || is_flonum(v);
}

static value want_number(value v)
{
	if (!is_number(v))
		fail("not a number", v);
	return v;
}

static bool is_integer(value v)
{
	return is_exact(v) ||
	       (is_flonum(v) && isfinite(flonum_of(v)) && floor(flonum_of(v)) == flonum_of(v));
}

static value want_integer(value v)
{
	if (!is_integer(v))
		fail("not an integer", v);
	return v;
}

double num_double(value v)
{
	want_number(v);
	return is_fixnum(v) ? (double)fixnum_of(v) : is_flonum(v) ? flonum_of(v) : big_double(v);
}

static bool any_flonum(value a, value b)
{
	want_number(a);
	want_number(b);
	return is_flonum(a) || is_flonum(b);
}

value num_add(value a, value b)
{
	if (any_flonum(a, b))
		return make_flonum(num_double(a) + num_double(b));
	if (is_fixnum(a) && is_fixnum(b))
		return big_from(fixnum_of(a) + fixnum_of(b));
	return big_add(a, b, false);
}

value num_sub(value a, value b)
{
	if (any_flonum(a, b))
		return make_flonum(num_double(a) - num_double(b));
	if (is_fixnum(a) && is_fixnum(b))
		return big_from(fixnum_of(a) - fixnum_of(b));
	return big_add(a, b, true);
}

value num_mul(value a, value b)
{
	if (any_flonum(a, b))
		return make_flonum(num_double(a) * num_double(b));
	intptr_t product;
	if (is_fixnum(a) && is_fixnum(b) && !__builtin_mul_overflow(fixnum_of(a), fixnum_of(b), &product))
		return big_from(product);
	return big_mul(a, b);
}

int num_compare(value a, value b)
{
	if (any_flonum(a, b)) {
		double x = num_double(a), y = num_double(b);
		return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
	}
	if (is_fixnum(a) && is_fixnum(b))
		return fixnum_of(a) < fixnum_of(b) ? -1 : fixnum_of(a) > fixnum_of(b);
	return big_compare(a, b);
}

static value num_div(value a, value b)
{
	if (!any_flonum(a, b)) {
		value rest;
		if (b == fixnum(0))
			fail("division by zero", a);
		if (is_fixnum(a) && is_fixnum(b)) {
			if (fixnum_of(a) % fixnum_of(b) == 0)
				return big_from(fixnum_of(a) / fixnum_of(b));
			return make_flonum((double)fixnum_of(a) / (double)fixnum_of(b));
		}
		value q = big_divide(a, b, &rest);
		if (rest == fixnum(0))
			return q;
	}
	return make_flonum(num_double(a) / num_double(b));
}

static value divide_fixnums(intptr_t a, intptr_t b, bool floored, bool want_rest)
{
	intptr_t q = a / b, rest = a % b; /* a fixnum is not the most negative word: no overflow */
	if (floored && rest != 0 && (rest < 0) != (b < 0)) {
		q--;
		rest += b;
	}
	return want_rest ? fixnum(rest) : big_from(q);
}

/* divide - truncated, or towards minus infinity; the part that is wanted. */
static value divide(value a, value b, bool floored, bool want_rest)
{
	want_integer(a);
	want_integer(b);
	if (any_flonum(a, b)) {
		double x = num_double(a), y = num_double(b);
		if (y == 0)
			fail("division by zero", a);
		double q = floored ? floor(x / y) : trunc(x / y);
		return make_flonum(want_rest ? x - q * y : q);
	}
	if (b == fixnum(0))
		fail("division by zero", a);
	if (is_fixnum(a) && is_fixnum(b))
		return divide_fixnums(fixnum_of(a), fixnum_of(b), floored, want_rest);
	value rest, q = big_divide(a, b, &rest);
	if (floored && rest != fixnum(0) && num_compare(rest, fixnum(0)) != num_compare(b, fixnum(0))) {
		q = num_sub(q, fixnum(1));
		rest = num_add(rest, b);
	}
	return want_rest ? rest : q;
}

/* ── text ── */

char *number_text(value v, int radix)
{
	if (!is_flonum(v))
		return big_text(v, (unsigned)radix);
	double d = flonum_of(v);
	char *text = (char *)((struct bytes *)bytes_new(KIND_BYTES, 40, 40))->byte;
	if (!isfinite(d))
		return strcpy(text, isnan(d) ? "+nan.0" : d < 0 ? "-inf.0" : "+inf.0");
	for (int digits = 15; digits <= 17; digits++) { /* the shortest that reads back as the same */
		snprintf(text, 36, "%.*g", digits, d);
		if (strtod(text, NULL) == d)
			break;
	}
	if (text[strcspn(text, ".e")] == '\0')
		strcat(text, ".0");
	return text;
}

static bool all_digits(const char *p, size_t n, int radix)
{
	for (size_t i = 0; i < n; i++) {
		int c = tolower((unsigned char)p[i]);
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'z' ? c - 'a' + 10
						   : 99;
		if (digit >= radix)
			return false;
	}
	return n > 0;
}

/* parse_decimal - digits with a point, an exponent, or both. */
static value parse_decimal(const char *text)
{
	const char *p = text + strspn(text, "+-");
	if (p - text > 1 ||
	    !(isdigit((unsigned char)*p) || (*p == '.' && isdigit((unsigned char)p[1]))) ||
	    strspn(p, "0123456789.eE+-") != strlen(p))
		return V_FALSE;
	char *end;
	double d = strtod(text, &end);
	return *end == '\0' ? make_flonum(d) : V_FALSE;
}

static value exact(value v)
{
	if (!is_flonum(v))
		return want_number(v);
	if (!is_integer(v))
		fail("no exact number is near enough", v);
	return big_from_double(flonum_of(v));
}

value parse_number(const char *text, int radix)
{
	char exactness = 0;
	while (text[0] == '#' && text[1] != '\0') {
		int c = tolower((unsigned char)text[1]);
		if (c == 'e' || c == 'i')
			exactness = (char)c;
		else if (c == 'x' || c == 'b' || c == 'o' || c == 'd')
			radix = c == 'x' ? 16 : c == 'b' ? 2 : c == 'o' ? 8 : 10;
		else
			return V_FALSE;
		text += 2;
	}
	const char *digits = text + (*text == '+' || *text == '-');
	value v = V_FALSE;
	if (all_digits(digits, strlen(digits), radix))
		v = big_parse(digits, strlen(digits), (unsigned)radix, *text == '-');
	else if (strcmp(digits, "inf.0") == 0 && digits != text)
		v = make_flonum(*text == '-' ? -INFINITY : INFINITY);
	else if (strcmp(digits, "nan.0") == 0 && digits != text)
		v = make_flonum(NAN);
	else if (radix == 10)
		v = parse_decimal(text);
	if (v != V_FALSE && exactness == 'e')
		return exact(v);
	return v != V_FALSE && exactness == 'i' ? make_flonum(num_double(v)) : v;
}

/* ── primitives ── */

#define FOLD(name, op, start) \
	PRIMITIVE(name) \
	{ \
		value v = n > 0 ? want_number(a[0]) : fixnum(start); \
		for (int i = 1; i < n; i++) \
			v = op(v, a[i]); \
		return v; \
	}
FOLD(p_add, num_add, 0)
FOLD(p_mul, num_mul, 1)

PRIMITIVE(p_sub)
{
	if (n == 1)
		return num_sub(fixnum(0), a[0]);
	value v = a[0];
	for (int i = 1; i < n; i++)
		v = num_sub(v, a[i]);
	return v;
}

PRIMITIVE(p_div)
{
	if (n == 1)
		return num_div(fixnum(1), a[0]);
	value v = a[0];
	for (int i = 1; i < n; i++)
		v = num_div(v, a[i]);
	return v;
}

#define COMPARISON(name, condition) \
	PRIMITIVE(name) \
	{ \
		bool all = true; \
		want_number(a[0]); \
		for (int i = 1; i < n; i++) { \
			int c = num_compare(a[i - 1], a[i]); \
			all &= condition; \
		} \
		return boolean(all); \
	}
COMPARISON(p_equal, c == 0)
COMPARISON(p_less, c == -1)
COMPARISON(p_greater, c == 1)
COMPARISON(p_less_equal, c <= 0)
COMPARISON(p_greater_equal, c == 0 || c == 1)

#define DIVISION(name, floored, rest) \
	PRIMITIVE(name) \
	{ \
		return divide(a[0], a[1], floored, rest); \
	}
DIVISION(p_quotient, false, false)
DIVISION(p_remainder, false, true)
DIVISION(p_floor_quotient, true, false)
DIVISION(p_modulo, true, true)

#define PREDICATE(name, condition) \
	PRIMITIVE(name) \
	{ \
		value v = a[0]; \
		return boolean(condition); \
	}
PREDICATE(p_is_number, is_number(v))
PREDICATE(p_is_integer, is_integer(v))
PREDICATE(p_is_rational, is_exact(v) || (is_flonum(v) && isfinite(flonum_of(v))))
PREDICATE(p_is_exact, is_exact(want_number(v)))
PREDICATE(p_is_inexact, is_flonum(want_number(v)))
PREDICATE(p_is_exact_integer, is_exact(v))
PREDICATE(p_is_nan, isnan(num_double(v)))
PREDICATE(p_is_finite, isfinite(num_double(v)))
PREDICATE(p_is_infinite, isinf(num_double(v)))
PREDICATE(p_is_zero, num_compare(v, fixnum(0)) == 0)
PREDICATE(p_is_positive, num_compare(v, fixnum(0)) == 1)
PREDICATE(p_is_negative, num_compare(v, fixnum(0)) == -1)
PREDICATE(p_is_odd, num_compare(divide(v, fixnum(2), false, true), fixnum(0)) != 0)
PREDICATE(p_is_even, num_compare(divide(v, fixnum(2), false, true), fixnum(0)) == 0)

#define ROUNDING(name, fn) \
	PRIMITIVE(name) \
	{ \
		return is_flonum(want_number(a[0])) ? make_flonum(fn(flonum_of(a[0]))) : a[0]; \
	}
ROUNDING(p_floor, floor)
ROUNDING(p_ceiling, ceil)
ROUNDING(p_truncate, trunc)
ROUNDING(p_round, nearbyint)

#define REAL(name, fn) \
	PRIMITIVE(name) \
	{ \
		return make_flonum(fn(num_double(a[0]))); \
	}
REAL(p_exp, exp)
REAL(p_sin, sin)
REAL(p_cos, cos)
REAL(p_tan, tan)
REAL(p_asin, asin)
REAL(p_acos, acos)

PRIMITIVE(p_log)
{
	double d = log(num_double(a[0]));
	return make_flonum(n > 1 ? d / log(num_double(a[1])) : d);
}

PRIMITIVE(p_atan)
{
	return make_flonum(n > 1 ? atan2(num_double(a[0]), num_double(a[1])) : atan(num_double(a[0])));
}

/* isqrt - the largest integer whose square is at most v ≥ 0 (Newton). */
static value isqrt(value v)
{
	value x = big_from_double(sqrt(num_double(v)) + 1);
	for (;;) {
		value y = divide(num_add(x, divide(v, x, false, false)), fixnum(2), false, false);
		if (num_compare(y, x) >= 0)
			return x;
		x = y;
	}
}

PRIMITIVE(p_sqrt)
{
	if (num_compare(a[0], fixnum(0)) == -1)
		fail("no real square root", a[0]);
	if (is_exact(a[0]) && a[0] != fixnum(0) && isfinite(num_double(a[0]))) {
		value root_of = isqrt(a[0]);
		if (num_compare(num_mul(root_of, root_of), a[0]) == 0)
			return root_of;
	}
	return is_exact(a[0]) && a[0] == fixnum(0) ? a[0] : make_flonum(sqrt(num_double(a[0])));
}

PRIMITIVE(p_isqrt)
{
	if (!is_exact(a[0]) || num_compare(a[0], fixnum(0)) == -1)
		fail("not an exact integer that has a root", a[0]);
	return a[0] == fixnum(0) ? a[0] : isqrt(a[0]);
}

static value power(value base, intptr_t e)
{
	value result = fixnum(1);
	for (; e > 0; e >>= 1) {
		if (e & 1)
			result = num_mul(result, base);
		if (e > 1)
			base = num_mul(base, base);
	}
	return result;
}

PRIMITIVE(p_expt)
{
	if (is_fixnum(a[1]) && fixnum_of(a[1]) >= 0)
		return power(want_number(a[0]), fixnum_of(a[1]));
	if (is_fixnum(a[1]) && is_exact(a[0]))
		return num_div(fixnum(1), power(a[0], -fixnum_of(a[1])));
	return make_flonum(pow(num_double(a[0]), num_double(a[1])));
}

RETURNS(p_exact, exact(a[0]))
RETURNS(p_inexact, is_flonum(a[0]) ? a[0] : make_flonum(num_double(a[0])))

PRIMITIVE(p_number_to_string)
{
	intptr_t radix = n > 1 ? want_fixnum(a[1]) : 10;
	if (radix < 2 || radix > 36)
		fail("not a radix", a[1]);
	return string_from(number_text(want_number(a[0]), (int)radix));
}

PRIMITIVE(p_string_to_number)
{
	intptr_t radix = n > 1 ? want_fixnum(a[1]) : 10;
	if (radix < 2 || radix > 36)
		fail("not a radix", a[1]);
	return parse_number(string_utf8(want(a[0], KIND_STRING, "string"), NULL), (int)radix);
}

#define BITWISE(name, op, start) \
	PRIMITIVE(name) \
	{ \
		intptr_t v = start; \
		for (int i = 0; i < n; i++) \
			v = v op want_fixnum(a[i]); \
		return fixnum(v); \
	}
BITWISE(p_and, &, -1)
BITWISE(p_or, |, 0)
BITWISE(p_xor, ^, 0)

PRIMITIVE(p_shift)
{
	intptr_t by = want_fixnum(a[1]);
	if (by >= 0)
		return num_mul(a[0], power(fixnum(2), by));
	return divide(a[0], power(fixnum(2), -by), true, false);
}

static const struct prim_info numbers[] = {
	{ "+", p_add, 0, -1, OP_ADD },
	{ "-", p_sub, 1, -1, OP_SUB },
	{ "*", p_mul, 0, -1, OP_MUL },
	{ "/", p_div, 1, -1, 0 },
	{ "=", p_equal, 1, -1, OP_NUM_EQUAL },
	{ "<", p_less, 1, -1, OP_LESS },
	{ ">", p_greater, 1, -1, OP_GREATER },
	{ "<=", p_less_equal, 1, -1, OP_LESS_EQUAL },
	{ ">=", p_greater_equal, 1, -1, OP_GREATER_EQUAL },
	{ "quotient", p_quotient, 2, 2, OP_QUOTIENT },
	{ "truncate-quotient", p_quotient, 2, 2, 0 },
	{ "remainder", p_remainder, 2, 2, OP_REMAINDER },
	{ "truncate-remainder", p_remainder, 2, 2, 0 },
	{ "modulo", p_modulo, 2, 2, 0 },
	{ "floor-remainder", p_modulo, 2, 2, 0 },
	{ "floor-quotient", p_floor_quotient, 2, 2, 0 },
	{ "number?", p_is_number, 1, 1, 0 },
	{ "complex?", p_is_number, 1, 1, 0 },
	{ "real?", p_is_number, 1, 1, 0 },
	{ "rational?", p_is_rational, 1, 1, 0 },
	{ "integer?", p_is_integer, 1, 1, 0 },
	{ "exact?", p_is_exact, 1, 1, 0 },
	{ "inexact?", p_is_inexact, 1, 1, 0 },
	{ "exact-integer?", p_is_exact_integer, 1, 1, 0 },
	{ "nan?", p_is_nan, 1, 1, 0 },
	{ "finite?", p_is_finite, 1, 1, 0 },
	{ "infinite?", p_is_infinite, 1, 1, 0 },
	{ "zero?", p_is_zero, 1, 1, OP_IS_ZERO },
	{ "positive?", p_is_positive, 1, 1, 0 },
	{ "negative?", p_is_negative, 1, 1, 0 },
	{ "odd?", p_is_odd, 1, 1, 0 },
	{ "even?", p_is_even, 1, 1, 0 },
	{ "floor", p_floor, 1, 1, 0 },
	{ "ceiling", p_ceiling, 1, 1, 0 },
	{ "truncate", p_truncate, 1, 1, 0 },
	{ "round", p_round, 1, 1, 0 },
	{ "exp", p_exp, 1, 1, 0 },
	{ "log", p_log, 1, 2, 0 },
	{ "sin", p_sin, 1, 1, 0 },
	{ "cos", p_cos, 1, 1, 0 },
	{ "tan", p_tan, 1, 1, 0 },
	{ "asin", p_asin, 1, 1, 0 },
	{ "acos", p_acos, 1, 1, 0 },
	{ "atan", p_atan, 1, 2, 0 },
	{ "sqrt", p_sqrt, 1, 1, 0 },
	{ "%isqrt", p_isqrt, 1, 1, 0 },
	{ "expt", p_expt, 2, 2, 0 },
	{ "exact", p_exact, 1, 1, 0 },
	{ "inexact", p_inexact, 1, 1, 0 },
	{ "number->string", p_number_to_string, 1, 2, 0 },
	{ "string->number", p_string_to_number, 1, 2, 0 },
	{ "bitwise-and", p_and, 0, -1, 0 },
	{ "bitwise-or", p_or, 0, -1, 0 },
	{ "bitwise-xor", p_xor, 0, -1, 0 },
	{ "arithmetic-shift", p_shift, 2, 2, 0 },
};

void numbers_init(void)
{
	DEFINE_ALL(numbers);
	inlined[OP_ADD_CONST] = inlined[OP_ADD];
	inlined[OP_LESS_CONST] = inlined[OP_LESS];
	inlined[OP_EQUAL_CONST] = inlined[OP_NUM_EQUAL];
}
