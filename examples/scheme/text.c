/* text.c - characters and strings.
 * WHAT   A string is an object that refers to its characters: one byte each while all are below 256, else
 *        four. string-set! of a wider one exchanges the characters' object, so who reads a string at the
 *        same moment in another thread sees the old text or the new, never a mixture of sizes. */
#include "scheme.h"

#include <string.h>
#include <wctype.h>

static struct chars *chars_of(value s)
{
	return (struct chars *)((struct string *)s)->chars;
}

static size_t count_of(const struct chars *c)
{
	return c->header >> 17;
}

static bool is_wide(const struct chars *c)
{
	return c->header >> 16 & 1;
}

static uint32_t *wide_of(struct chars *c)
{
	return (uint32_t *)(void *)c->bytes;
}

static struct chars *make_chars(size_t n, bool wide)
{
	return bytes_new(KIND_CHARS, n << 1 | wide, wide ? n * sizeof(uint32_t) : n);
}

static value string_of(struct chars *c)
{
	return object_with(KIND_STRING, 1, (value)c, 0, 0, 0);
}

static void put(struct chars *c, size_t i, uint32_t ch)
{
	if (is_wide(c))
		wide_of(c)[i] = ch;
	else
		c->bytes[i] = (uint8_t)ch;
}

value make_string(size_t n, uint32_t fill)
{
	struct chars *c = make_chars(n, fill > 255);
	for (size_t i = 0; i < n; i++)
		put(c, i, fill);
	return string_of(c);
}

size_t string_length(value s)
{
	return count_of(chars_of(s));
}

static uint32_t get(struct chars *c, size_t i)
{
	return is_wide(c) ? wide_of(c)[i] : c->bytes[i];
}

uint32_t string_char(value s, size_t i)
{
	return get(chars_of(s), i);
}

void string_set(value s, size_t i, uint32_t ch)
{
	struct chars *c = chars_of(s);
	if (ch > 255 && !is_wide(c)) {
		struct chars *wider = make_chars(count_of(c), true);
		for (size_t k = 0; k < count_of(c); k++)
			wide_of(wider)[k] = c->bytes[k];
		put(wider, i, ch);
		set_slot(&((struct string *)s)->chars, (value)wider);
		return;
	}
	put(c, i, ch);
}

/* ── UTF-8 ── */

size_t encode_utf8(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = n; i-- > 1; c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)((0xf00 >> n & 0xff) | c);
	return n;
}

size_t decode_utf8(const char *p, size_t n, uint32_t *c)
{
	uint8_t first = (uint8_t)*p;
	size_t want_n = first < 0xc2   ? 1
			: first < 0xe0 ? 2
			: first < 0xf0 ? 3
			: first < 0xf5 ? 4
				       : 1;
	*c = want_n == 1 ? first : first & (0x7fu >> want_n);
	if (first < 0x80)
		return 1;
	for (size_t i = 1; i < want_n; i++) {
		if (i >= n || ((uint8_t)p[i] & 0xc0) != 0x80) {
			want_n = 1;
			break;
		}
		*c = *c << 6 | ((uint8_t)p[i] & 0x3f);
	}
	if (want_n == 1)
		*c = 0xfffd; /* not UTF-8: the replacement character */
	return want_n;
}

value string_from_utf8(const char *utf8, size_t nbytes)
{
	size_t n = 0;
	uint32_t c, most = 0;
	for (size_t at = 0; at < nbytes; n++) {
		at += decode_utf8(utf8 + at, nbytes - at, &c);
		most |= c;
	}
	struct chars *chars = make_chars(n, most > 255);
	for (size_t at = 0, i = 0; at < nbytes; i++) {
		at += decode_utf8(utf8 + at, nbytes - at, &c);
		put(chars, i, c);
	}
	return string_of(chars);
}

value string_from(const char *utf8)
{
	return string_from_utf8(utf8, strlen(utf8));
}

/* utf8_of - characters start … end as bytes, with a 0 behind them. */
static struct bytes *utf8_of(value s, size_t start, size_t end)
{
	struct chars *c = chars_of(s);
	char buffer[4];
	size_t nbytes = 0, at = 0;
	for (size_t i = start; i < end; i++)
		nbytes += encode_utf8(get(c, i), buffer);
	struct bytes *b = bytes_new(KIND_BYTES, nbytes, nbytes + 1);
	for (size_t i = start; i < end; i++) {
		size_t k = encode_utf8(get(c, i), buffer);
		memcpy(b->byte + at, buffer, k);
		at += k;
	}
	return b;
}

char *string_utf8(value s, size_t *nbytes)
{
	struct bytes *b = utf8_of(s, 0, string_length(s));
	if (nbytes != NULL)
		*nbytes = length_of((value)b);
	return (char *)b->byte;
}

/* ── primitives: characters ── */

#define CHARACTER(name, result) \
	PRIMITIVE(name) \
	{ \
		uint32_t c = want_char(a[0]); \
		return result; \
	}
CHARACTER(p_char_to_integer, fixnum(c))
CHARACTER(p_upcase, make_char(towupper(c)))
CHARACTER(p_downcase, make_char(towlower(c)))
CHARACTER(p_is_alphabetic, boolean(iswalpha(c)))
CHARACTER(p_is_numeric, boolean(iswdigit(c)))
CHARACTER(p_is_whitespace, boolean(iswspace(c) || c == 0xa0))
CHARACTER(p_is_upper, boolean(iswupper(c)))
CHARACTER(p_is_lower, boolean(iswlower(c)))
CHARACTER(p_digit_value, iswdigit(c) ? fixnum(c - '0') : V_FALSE)

RETURNS(p_is_char, boolean(is_char(a[0])))

PRIMITIVE(p_integer_to_char)
{
	intptr_t c = want_fixnum(a[0]);
	if (c < 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		fail("not a character's number", a[0]);
	return make_char((uint32_t)c);
}

#define COMPARE_CHARS(name, op, fold) \
	PRIMITIVE(name) \
	{ \
		bool all = true; \
		want_char(a[0]); \
		for (int i = 1; i < n; i++) \
			all &= fold(want_char(a[i - 1])) op fold(want_char(a[i])); \
		return boolean(all); \
	}
COMPARE_CHARS(p_char_equal, ==, )
COMPARE_CHARS(p_char_less, <, )
COMPARE_CHARS(p_char_greater, >, )
COMPARE_CHARS(p_char_less_equal, <=, )
COMPARE_CHARS(p_char_greater_equal, >=, )
COMPARE_CHARS(p_char_ci_equal, ==, towlower)

/* ── primitives: strings ── */

static value want_string(value v)
{
	return want(v, KIND_STRING, "string");
}

RETURNS(p_is_string, boolean(is_kind(a[0], KIND_STRING)))

PRIMITIVE(p_make_string)
{
	return make_string(want_index(a[0], (size_t)1 << 40), n > 1 ? want_char(a[1]) : ' ');
}

PRIMITIVE(p_string)
{
	value s = make_string((size_t)n, ' ');
	for (int i = 0; i < n; i++)
		string_set(s, (size_t)i, want_char(a[i]));
	return s;
}

RETURNS(p_string_length, fixnum((intptr_t)string_length(want_string(a[0]))))

PRIMITIVE(p_string_ref)
{
	struct chars *c = chars_of(want_string(a[0]));
	return make_char(get(c, want_index(a[1], count_of(c))));
}

PRIMITIVE(p_string_set)
{
	size_t i = want_index(a[1], string_length(want_string(a[0])));
	string_set(a[0], i, want_char(a[2]));
	return V_UNSPECIFIED;
}

static int compare_strings(value x, value y, bool fold)
{
	struct chars *a = chars_of(x), *b = chars_of(y);
	for (size_t i = 0; i < count_of(a) && i < count_of(b); i++) {
		uint32_t c = get(a, i), d = get(b, i);
		if (fold)
			c = towlower(c), d = towlower(d);
		if (c != d)
			return c < d ? -1 : 1;
	}
	return count_of(a) < count_of(b) ? -1 : count_of(a) > count_of(b);
}

#define COMPARE_STRINGS(name, op, fold) \
	PRIMITIVE(name) \
	{ \
		bool all = true; \
		want_string(a[0]); \
		for (int i = 1; i < n; i++) \
			all &= compare_strings(a[i - 1], want_string(a[i]), fold) op 0; \
		return boolean(all); \
	}
COMPARE_STRINGS(p_string_equal, ==, false)
COMPARE_STRINGS(p_string_less, <, false)
COMPARE_STRINGS(p_string_greater, >, false)
COMPARE_STRINGS(p_string_less_equal, <=, false)
COMPARE_STRINGS(p_string_greater_equal, >=, false)
COMPARE_STRINGS(p_string_ci_equal, ==, true)

static value copy_part(value s, size_t start, size_t end)
{
	struct chars *c = chars_of(s), *copy = make_chars(end - start, is_wide(c));
	size_t each = is_wide(c) ? sizeof(uint32_t) : 1;
	memcpy(copy->bytes, c->bytes + start * each, (end - start) * each);
	return string_of(copy);
}

PRIMITIVE(p_substring)
{
	size_t start, end;
	want_range(n - 1, a + 1, string_length(want_string(a[0])), &start, &end);
	return copy_part(a[0], start, end);
}

PRIMITIVE(p_string_append)
{
	size_t length = 0;
	bool wide = false;
	for (int i = 0; i < n; i++) {
		length += string_length(want_string(a[i]));
		wide |= is_wide(chars_of(a[i]));
	}
	struct chars *all = make_chars(length, wide);
	size_t at = 0;
	for (int i = 0; i < n; i++) {
		struct chars *c = chars_of(a[i]);
		for (size_t k = 0; k < count_of(c) && at < length; k++)
			put(all, at++, get(c, k));
	}
	return string_of(all);
}

PRIMITIVE(p_string_to_list)
{
	size_t start, end;
	want_range(n - 1, a + 1, string_length(want_string(a[0])), &start, &end);
	value list = V_NIL;
	while (end-- > start)
		list = cons(make_char(string_char(a[0], end)), list);
	return list;
}

PRIMITIVE(p_list_to_string)
{
	size_t length = list_length(a[0]);
	if (length == SIZE_MAX)
		fail("not a list", a[0]);
	value s = make_string(length, ' ');
	size_t i = 0;
	for (value l = a[0]; l != V_NIL; l = cdr(l))
		string_set(s, i++, want_char(car(l)));
	return s;
}

PRIMITIVE(p_string_copy_to) /* to at from start end */
{
	size_t start, end, at = want_index(a[1], string_length(want_string(a[0])) + 1);
	want_range(n - 3, a + 3, string_length(want_string(a[2])), &start, &end);
	if (end - start > string_length(a[0]) - at)
		fail("not enough room", a[0]);
	value part = copy_part(a[2], start, end); /* it may be the same string */
	for (size_t i = 0; i < end - start; i++)
		string_set(a[0], at + i, string_char(part, i));
	return V_UNSPECIFIED;
}

PRIMITIVE(p_string_fill)
{
	size_t start, end;
	want_range(n - 2, a + 2, string_length(want_string(a[0])), &start, &end);
	for (size_t i = start; i < end; i++)
		string_set(a[0], i, want_char(a[1]));
	return V_UNSPECIFIED;
}

static value map_chars(value s, wint_t (*fn)(wint_t))
{
	size_t n = string_length(want_string(s));
	value copy = copy_part(s, 0, n);
	for (size_t i = 0; i < n; i++)
		string_set(copy, i, fn(string_char(copy, i)));
	return copy;
}

RETURNS(p_string_upcase, map_chars(a[0], towupper))
RETURNS(p_string_downcase, map_chars(a[0], towlower))

/* ── primitives: symbols, UTF-8 ── */

RETURNS(p_is_symbol, boolean(is_kind(a[0], KIND_SYMBOL)))

PRIMITIVE(p_symbol_to_string)
{
	value name = symbol_of(want(a[0], KIND_SYMBOL, "symbol"))->name;
	return string_from_utf8((char *)((struct bytes *)name)->byte, length_of(name));
}

PRIMITIVE(p_string_to_symbol)
{
	size_t nbytes;
	const char *utf8 = string_utf8(want_string(a[0]), &nbytes);
	return intern(utf8, nbytes);
}

PRIMITIVE(p_string_to_utf8)
{
	size_t start, end;
	want_range(n - 1, a + 1, string_length(want_string(a[0])), &start, &end);
	return (value)utf8_of(a[0], start, end);
}

PRIMITIVE(p_utf8_to_string)
{
	size_t start, end;
	want_range(n - 1, a + 1, length_of(want(a[0], KIND_BYTES, "bytevector")), &start, &end);
	return string_from_utf8((char *)((struct bytes *)a[0])->byte + start, end - start);
}

static const struct prim_info text[] = {
	{ "char?", p_is_char, 1, 1, 0 },
	{ "char->integer", p_char_to_integer, 1, 1, 0 },
	{ "integer->char", p_integer_to_char, 1, 1, 0 },
	{ "char-upcase", p_upcase, 1, 1, 0 },
	{ "char-downcase", p_downcase, 1, 1, 0 },
	{ "char-foldcase", p_downcase, 1, 1, 0 },
	{ "char-alphabetic?", p_is_alphabetic, 1, 1, 0 },
	{ "char-numeric?", p_is_numeric, 1, 1, 0 },
	{ "char-whitespace?", p_is_whitespace, 1, 1, 0 },
	{ "char-upper-case?", p_is_upper, 1, 1, 0 },
	{ "char-lower-case?", p_is_lower, 1, 1, 0 },
	{ "digit-value", p_digit_value, 1, 1, 0 },
	{ "char=?", p_char_equal, 1, -1, 0 },
	{ "char<?", p_char_less, 1, -1, 0 },
	{ "char>?", p_char_greater, 1, -1, 0 },
	{ "char<=?", p_char_less_equal, 1, -1, 0 },
	{ "char>=?", p_char_greater_equal, 1, -1, 0 },
	{ "char-ci=?", p_char_ci_equal, 1, -1, 0 },
	{ "string?", p_is_string, 1, 1, 0 },
	{ "make-string", p_make_string, 1, 2, 0 },
	{ "string", p_string, 0, -1, 0 },
	{ "string-length", p_string_length, 1, 1, 0 },
	{ "string-ref", p_string_ref, 2, 2, 0 },
	{ "string-set!", p_string_set, 3, 3, 0 },
	{ "string=?", p_string_equal, 1, -1, 0 },
	{ "string<?", p_string_less, 1, -1, 0 },
	{ "string>?", p_string_greater, 1, -1, 0 },
	{ "string<=?", p_string_less_equal, 1, -1, 0 },
	{ "string>=?", p_string_greater_equal, 1, -1, 0 },
	{ "string-ci=?", p_string_ci_equal, 1, -1, 0 },
	{ "substring", p_substring, 2, 3, 0 },
	{ "string-copy", p_substring, 1, 3, 0 },
	{ "string-append", p_string_append, 0, -1, 0 },
	{ "string->list", p_string_to_list, 1, 3, 0 },
	{ "list->string", p_list_to_string, 1, 1, 0 },
	{ "string-copy!", p_string_copy_to, 3, 5, 0 },
	{ "string-fill!", p_string_fill, 2, 4, 0 },
	{ "string-upcase", p_string_upcase, 1, 1, 0 },
	{ "string-downcase", p_string_downcase, 1, 1, 0 },
	{ "string-foldcase", p_string_downcase, 1, 1, 0 },
	{ "symbol?", p_is_symbol, 1, 1, 0 },
	{ "symbol->string", p_symbol_to_string, 1, 1, 0 },
	{ "string->symbol", p_string_to_symbol, 1, 1, 0 },
	{ "string->utf8", p_string_to_utf8, 1, 3, 0 },
	{ "utf8->string", p_utf8_to_string, 1, 3, 0 },
};

void text_init(void)
{
	DEFINE_ALL(text);
}
