/* json.c - see json.h. STATE none. FROM RFC 8259, RFC 3629.
 * WHAT   each function gets a place in the text and returns the one behind what it took, or NULL: it is not there. A 0
 *        is in no token, so nobody reads beyond the end. */
#include "cmd/json.h"

#include <string.h>

enum { MAX_DEPTH = 16 };

static const char digits[] = "0123456789";

size_t utf8_sequence(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	size_t n = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* too long for what it says, a surrogate, beyond the last character */
	bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
		   (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
	return bad ? 0 : n;
}

static const char *skip_spaces(const char *s)
{
	return s + strspn(s, " \t\r");
}

/* take_escape - behind the backslash. */
static const char *take_escape(const char *s)
{
	if (*s != 'u')
		return *s != '\0' && strchr("\"\\/bfnrt", *s) != NULL ? s + 1 : NULL;
	for (int i = 1; i <= 4; i++)
		if (s[i] == '\0' || strchr("0123456789abcdefABCDEF", s[i]) == NULL)
			return NULL;
	return s + 5;
}

static const char *take_string(const char *s)
{
	if (*s != '"')
		return NULL;
	for (s++; s != NULL && *s != '"';) {
		size_t n = utf8_sequence((const unsigned char *)s);
		if (n == 0 || (n == 1 && (unsigned char)*s < ' '))
			return NULL;
		s = *s == '\\' ? take_escape(s + 1) : s + n;
	}
	return s != NULL ? s + 1 : NULL;
}

static const char *take_digits(const char *s)
{
	size_t n = strspn(s, digits);
	return n > 0 ? s + n : NULL;
}

static const char *take_number(const char *s)
{
	s += *s == '-';
	s = *s == '0' ? s + 1 : take_digits(s);
	if (s != NULL && *s == '.')
		s = take_digits(s + 1);
	if (s != NULL && (*s == 'e' || *s == 'E')) {
		s++;
		s = take_digits(s + (*s == '+' || *s == '-'));
	}
	return s;
}

static const char *take_word(const char *s)
{
	static const char *const words[] = { "true", "false", "null" };
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strncmp(s, words[i], strlen(words[i])) == 0)
			return s + strlen(words[i]);
	return NULL;
}

static const char *take_value(const char *s, int depth);

/* take_key - `"key":` */
static const char *take_key(const char *s)
{
	s = take_string(s);
	s = s != NULL ? skip_spaces(s) : NULL;
	return s != NULL && *s == ':' ? skip_spaces(s + 1) : NULL;
}

/* take_list - an object, or an array. */
static const char *take_list(const char *s, int depth)
{
	bool keys = *s == '{';
	char end = keys ? '}' : ']';
	s = skip_spaces(s + 1);
	if (*s == end)
		return s + 1;
	for (;;) {
		s = keys ? take_key(s) : s;
		s = s != NULL ? take_value(s, depth + 1) : NULL;
		s = s != NULL ? skip_spaces(s) : NULL;
		if (s == NULL || (*s != ',' && *s != end))
			return NULL;
		if (*s == end)
			return s + 1;
		s = skip_spaces(s + 1);
	}
}

static const char *take_value(const char *s, int depth)
{
	if (*s == '{' || *s == '[')
		return depth < MAX_DEPTH ? take_list(s, depth) : NULL;
	if (*s == '"')
		return take_string(s);
	return *s == '-' || strspn(s, digits) > 0 ? take_number(s) : take_word(s);
}

bool json_is_object(const char *text, size_t nbytes)
{
	const char *end = *text == '{' ? take_value(text, 0) : NULL;
	return end != NULL && skip_spaces(end) == text + nbytes;
}
