/* reader.c - from text to data. Lists are read in a loop, what lies inside of them by recursion. */
#include "scheme.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 10000, MAX_TOKEN = 65536 };

struct reader {
	value port;
	int depth;
};

#define END_OF_LIST IMMEDIATE(IMM_CONSTANT, 32)
#define DOT IMMEDIATE(IMM_CONSTANT, 33)

static value read_item(struct reader *r);

static _Noreturn void bad(const char *message)
{
	fail_as("read", message, 0);
}

/* skip_block - behind #|, up to its |#; they nest. */
static void skip_block(value port)
{
	int depth = 1, last = 0;
	while (depth > 0) {
		int c = port_read_byte(port);
		if (c < 0)
			bad("a comment that does not end");
		if ((last == '|' && c == '#') || (last == '#' && c == '|')) {
			depth += c == '|' ? 1 : -1;
			c = 0;
		}
		last = c;
	}
}

/* token - bytes up to the next delimiter, behind those in `first`. */
static value token(value port, const char *first)
{
	value text = open_output_string();
	port_write_text(text, first);
	for (int c, bar = 0; (c = port_peek_byte(port)) >= 0; port_read_byte(port)) {
		if (c == '|')
			bar = !bar;
		else if (!bar && (c <= ' ' || strchr("()\";'`,", c) != NULL))
			break;
		port_write_bytes(text, &(char){ (char)c }, 1);
	}
	return output_string_text(text);
}

static uint32_t hex_escape(value port)
{
	uint32_t c = 0;
	for (int d; (d = port_read_byte(port)) != ';';
	     c = c * 16 + (uint32_t)(d <= '9' ? d - '0' : (d | 32) - 'a' + 10))
		if (d < 0 || strchr("0123456789abcdefABCDEF", d) == NULL || c > 0x10ffff)
			bad("not a \\x escape");
	return c;
}

/* escape - what a backslash and c mean in a string; UINT32_MAX: nothing (a line that goes on). */
static uint32_t escape(value port, uint32_t c)
{
	static const char from[] = "nrtab0\\\"|", to[] = "\n\r\t\a\b\0\\\"|";
	if (c == 'x')
		return hex_escape(port);
	if (c == '\n' || c == ' ' || c == '\t') {
		while (c == ' ' || c == '\t')
			c = port_read_char(port);
		while (port_peek_byte(port) == ' ' || port_peek_byte(port) == '\t')
			port_read_byte(port);
		return UINT32_MAX;
	}
	const char *found = c < 128 && c != 0 ? strchr(from, (int)c) : NULL;
	if (found == NULL)
		bad("an escape that is not known");
	return (uint32_t)(unsigned char)to[found - from];
}

static value read_delimited(value port, uint32_t end)
{
	value text = open_output_string();
	for (uint32_t c; (c = port_read_char(port)) != end;) {
		if (c == UINT32_MAX)
			bad("a string that does not end");
		if (c == '\\' && (c = escape(port, port_read_char(port))) == UINT32_MAX)
			continue;
		port_write_char(text, c);
	}
	return output_string_text(text);
}

static value read_symbol_or_number(value port, const char *first)
{
	value text = token(port, first);
	size_t nbytes;
	const char *utf8 = string_utf8(text, &nbytes);
	value number = parse_number(utf8, 10);
	if (number != V_FALSE)
		return number;
	if (strcmp(utf8, ".") == 0)
		return DOT;
	if (strchr(utf8, '|') == NULL)
		return intern(utf8, nbytes);
	size_t begin = strchr(utf8, '|') - utf8 == 0; /* |…| as a whole */
	if (!begin || nbytes < 2)
		bad("not a symbol");
	value in = open_input_bytes(make_bytes(nbytes - 1, 0));
	memcpy((char *)slot_of(in, 2) + sizeof(value), utf8 + 1, nbytes - 1);
	const char *name = string_utf8(read_delimited(in, '|'), &nbytes);
	return intern(name, nbytes);
}

static value read_char_name(value port)
{
	static const struct {
		const char *name;
		uint32_t c;
	} names[] = { { "space", ' ' },     { "newline", '\n' }, { "tab", '\t' },
		      { "nul", 0 },         { "null", 0 },       { "return", '\r' },
		      { "linefeed", '\n' }, { "alarm", 7 },      { "backspace", 8 },
		      { "delete", 127 },    { "escape", 27 },    { "altmode", 27 } };
	char first[5] = { 0 };
	encode_utf8(port_read_char(port), first);
	value text = token(port, first);
	if (string_length(text) <= 1)
		return make_char(string_length(text) == 1 ? string_char(text, 0) : ' ');
	const char *utf8 = string_utf8(text, NULL);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i].name, utf8) == 0)
			return make_char(names[i].c);
	char *end;
	unsigned long c = strtoul(utf8 + 1, &end, 16);
	if (utf8[0] != 'x' || *end != '\0' || c > 0x10ffff)
		bad("a character name that is not known");
	return make_char((uint32_t)c);
}

static value read_list(struct reader *r, bool dots)
{
	value first = cons(V_NIL, V_NIL), last = first;
	for (;;) {
		value item = read_item(r);
		if (item == END_OF_LIST)
			return cdr(first);
		if (item == V_EOF)
			bad("a list that does not end");
		if (item == DOT) {
			if (!dots || last == first)
				bad("a dot where none belongs");
			set_slot(&pair_of(last)->cdr, read_item(r));
			if (read_item(r) != END_OF_LIST)
				bad("more than one item behind a dot");
			return cdr(first);
		}
		value next = cons(item, V_NIL);
		set_slot(&pair_of(last)->cdr, next);
		last = next;
	}
}

static value list_to_bytes(value list)
{
	value b = make_bytes(list_length(list), 0);
	for (size_t i = 0; list != V_NIL; list = cdr(list), i++) {
		if (!is_fixnum(car(list)) || fixnum_of(car(list)) < 0 || fixnum_of(car(list)) > 255)
			bad("not a byte");
		((struct bytes *)b)->byte[i] = (uint8_t)fixnum_of(car(list));
	}
	return b;
}

static value list_to_vector(value list)
{
	value v = make_vector(list_length(list), 0);
	for (size_t i = 0; list != V_NIL; list = cdr(list))
		object_of(v)->slot[i++] = car(list);
	return v;
}

/* read_datum_in - an item that stands for itself. */
static value read_datum_in(struct reader *r)
{
	value item = read_item(r);
	if (item == V_EOF || item == END_OF_LIST || item == DOT)
		bad("something is missing");
	return item;
}

static value read_hash(struct reader *r)
{
	int c = port_peek_byte(r->port);
	switch (c) {
	case '(':
		port_read_byte(r->port);
		return list_to_vector(read_list(r, false));
	case '\\':
		port_read_byte(r->port);
		return read_char_name(r->port);
	case '|':
		port_read_byte(r->port);
		skip_block(r->port);
		return 0;
	case ';':
		port_read_byte(r->port);
		read_datum_in(r);
		return 0;
	case '!':
		token(r->port, "");
		return 0;
	}
	value text = token(r->port, "#");
	const char *utf8 = string_utf8(text, NULL);
	if (strcmp(utf8, "#t") == 0 || strcmp(utf8, "#true") == 0)
		return V_TRUE;
	if (strcmp(utf8, "#f") == 0 || strcmp(utf8, "#false") == 0)
		return V_FALSE;
	if (strcmp(utf8, "#u8") == 0 && port_read_byte(r->port) == '(')
		return list_to_bytes(read_list(r, false));
	value number = parse_number(utf8, 10);
	if (number == V_FALSE)
		bad("a # syntax that is not known");
	return number;
}

static value quoted(struct reader *r, const char *name)
{
	return list_n(2, symbol(name), read_datum_in(r));
}

/* item_at - what begins with byte c; 0: a comment. */
static value item_at(struct reader *r, int c)
{
	switch (c) {
	case ';':
		while (c >= 0 && c != '\n')
			c = port_read_byte(r->port);
		return 0;
	case '(':
		return read_list(r, true);
	case ')':
		return END_OF_LIST;
	case '\'':
		return quoted(r, "quote");
	case '`':
		return quoted(r, "quasiquote");
	case ',':
		if (port_peek_byte(r->port) != '@')
			return quoted(r, "unquote");
		port_read_byte(r->port);
		return quoted(r, "unquote-splicing");
	case '"':
		return read_delimited(r->port, '"');
	case '#':
		return read_hash(r);
	case '|': {
		size_t nbytes;
		const char *name = string_utf8(read_delimited(r->port, '|'), &nbytes);
		return intern(name, nbytes);
	}
	default:
		return read_symbol_or_number(r->port, (char[]){ (char)c, '\0' });
	}
}

static value read_item(struct reader *r)
{
	if (++r->depth > MAX_DEPTH)
		bad("nested too deeply");
	for (;;) {
		int c = port_read_byte(r->port);
		if (c < 0)
			break;
		if (c <= ' ')
			continue;
		value item = item_at(r, c);
		if (item != 0) {
			r->depth--;
			return item;
		}
	}
	r->depth--;
	return V_EOF;
}

value read_datum(value port)
{
	struct reader r = { port, 0 };
	value item;
	do
		item = read_item(&r);
	while (item == END_OF_LIST); /* one ) too many does no harm */
	if (item == DOT)
		bad("a dot where none belongs");
	return item;
}
