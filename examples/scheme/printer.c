/* printer.c - write and display. Lists are written in a loop, what lies inside of them by recursion. A
 * structure that contains itself is not found out: it is written until the depth or the memory ends. */
#include "scheme.h"

#include <stdio.h>
#include <string.h>

#include "vm.h"

enum { MAX_DEPTH = 10000 };

struct printer {
	value port;
	bool write; /* so that read gives it back */
	int depth;
};

static void print_value(struct printer *p, value v);

static void text(struct printer *p, const char *s)
{
	port_write_text(p->port, s);
}

static void print_quoted(struct printer *p, value s, char quote)
{
	port_write_bytes(p->port, &quote, 1);
	for (size_t i = 0; i < string_length(s); i++) {
		uint32_t c = string_char(s, i);
		const char *found = c != 0 && c < 128 ? strchr("\n\r\t\a\b", (int)c) : NULL;
		char hex[12];
		if (found != NULL) {
			text(p, (const char *[]){ "\\n", "\\r", "\\t", "\\a",
						  "\\b" }[found - strchr("\n\r\t\a\b", '\n')]);
		} else if (c < ' ') {
			snprintf(hex, sizeof hex, "\\x%x;", c);
			text(p, hex);
		} else {
			if (c == (uint32_t)quote || c == '\\')
				text(p, "\\");
			port_write_char(p->port, c);
		}
	}
	port_write_bytes(p->port, &quote, 1);
}

static void print_char(struct printer *p, uint32_t c)
{
	static const char *const names[] = {
		[0] = "null",     [7] = "alarm",   [8] = "backspace", [9] = "tab",
		[10] = "newline", [13] = "return", [27] = "escape",   [32] = "space"
	};
	if (!p->write) {
		port_write_char(p->port, c);
		return;
	}
	char hex[16];
	text(p, "#\\");
	if (c < sizeof names / sizeof names[0] && names[c] != NULL) {
		text(p, names[c]);
	} else if (c < ' ' || c == 127) {
		snprintf(hex, sizeof hex, "x%x", c);
		text(p, c == 127 ? "delete" : hex);
	} else {
		port_write_char(p->port, c);
	}
}

static void print_symbol(struct printer *p, value v)
{
	value name = symbol_of(v)->name;
	const char *s = (const char *)((struct bytes *)name)->byte;
	size_t n = length_of(name);
	bool plain = n > 0 && memchr(s, '|', n) == NULL;
	for (size_t i = 0; i < n; i++)
		plain &= (unsigned char)s[i] > ' ' && strchr("()\";'`,", s[i]) == NULL;
	char copy[64] = { 0 };
	if (n < sizeof copy)
		memcpy(copy, s, n);
	if (plain && (n >= sizeof copy || parse_number(copy, 10) == V_FALSE) && strcmp(copy, ".") != 0)
		port_write_bytes(p->port, s, n);
	else if (p->write)
		print_quoted(p, string_from_utf8(s, n), '|');
	else
		port_write_bytes(p->port, s, n);
}

static const char *abbreviation(value v)
{
	if (!is_pair(cdr(v)) || cdr(cdr(v)) != V_NIL)
		return NULL;
	value h = car(v);
	return h == symbol("quote")              ? "'"
	       : h == symbol("quasiquote")       ? "`"
	       : h == symbol("unquote")          ? ","
	       : h == symbol("unquote-splicing") ? ",@"
						 : NULL;
}

static void print_list(struct printer *p, value v)
{
	const char *prefix = is_kind(car(v), KIND_SYMBOL) ? abbreviation(v) : NULL;
	if (prefix != NULL) {
		text(p, prefix);
		print_value(p, car(cdr(v)));
		return;
	}
	text(p, "(");
	for (;; text(p, " ")) {
		print_value(p, car(v));
		v = cdr(v);
		if (!is_pair(v))
			break;
	}
	if (v != V_NIL) {
		text(p, " . ");
		print_value(p, v);
	}
	text(p, ")");
}

static void print_items(struct printer *p, const char *open, const value *items, size_t n,
			const char *close)
{
	text(p, open);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			text(p, " ");
		print_value(p, items[i]);
	}
	text(p, close);
}

static void print_bytes(struct printer *p, value v)
{
	text(p, "#u8(");
	for (size_t i = 0; i < length_of(v); i++) {
		char number[8];
		snprintf(number, sizeof number, i > 0 ? " %u" : "%u", ((struct bytes *)v)->byte[i]);
		text(p, number);
	}
	text(p, ")");
}

static void print_named(struct printer *p, const char *what, value name)
{
	text(p, "#<");
	text(p, what);
	if (is_kind(name, KIND_SYMBOL)) {
		text(p, " ");
		print_symbol(p, name);
	}
	text(p, ">");
}

static void print_record(struct printer *p, value v)
{
	value type = slot_of(v, 0);
	text(p, "#<");
	print_value(p, slot_of(type, 0));
	for (size_t i = 1; i < length_of(v); i++) {
		text(p, " ");
		print_value(p, slot_of(v, i));
	}
	text(p, ">");
}

static void print_object(struct printer *p, value v)
{
	static const char *const names[] = { [KIND_CODE] = "code",
					     [KIND_CONTINUATION] = "continuation",
					     [KIND_BOX] = "box",
					     [KIND_VALUES] = "values",
					     [KIND_RECORD_TYPE] = "record-type",
					     [KIND_PARAMETER] = "parameter",
					     [KIND_TABLE] = "hash-table",
					     [KIND_PORT] = "port",
					     [KIND_THREAD] = "thread",
					     [KIND_MUTEX] = "mutex",
					     [KIND_CONDVAR] = "condition-variable",
					     [KIND_WEAK] = "weak-box",
					     [KIND_ALIAS] = "identifier",
					     [KIND_MACRO] = "macro",
					     [KIND_NODE] = "node" };
	switch (kind_of(v)) {
	case KIND_STRING:
		if (p->write)
			print_quoted(p, v, '"');
		else
			for (size_t i = 0; i < string_length(v); i++)
				port_write_char(p->port, string_char(v, i));
		break;
	case KIND_SYMBOL:
		print_symbol(p, v);
		break;
	case KIND_BYTES:
		print_bytes(p, v);
		break;
	case KIND_VECTOR:
		print_items(p, "#(", object_of(v)->slot, length_of(v), ")");
		break;
	case KIND_FLONUM:
	case KIND_BIGNUM:
		text(p, number_text(v, 10));
		break;
	case KIND_CLOSURE:
		print_named(p, "procedure", ((struct code *)((struct closure *)v)->code)->name);
		break;
	case KIND_PRIMITIVE:
		print_named(p, "procedure", symbol(((struct primitive *)v)->info->name));
		break;
	case KIND_RECORD:
		print_record(p, v);
		break;
	case KIND_ERROR:
		print_items(p, "#<error ", object_of(v)->slot + 1, 2, ">");
		break;
	default:
		print_named(p, names[kind_of(v)] != NULL ? names[kind_of(v)] : "object", 0);
	}
}

static void print_value(struct printer *p, value v)
{
	if (++p->depth > MAX_DEPTH)
		fail("nested too deeply to be written", 0);
	if (is_fixnum(v))
		text(p, number_text(v, 10));
	else if (is_pair(v))
		print_list(p, v);
	else if (is_char(v))
		print_char(p, char_of(v));
	else if (is_object(v))
		print_object(p, v);
	else
		text(p, v == V_TRUE    ? "#t"
			: v == V_FALSE ? "#f"
			: v == V_NIL   ? "()"
			: v == V_EOF   ? "#<eof>"
				       : "#<unspecified>");
	p->depth--;
}

void print(value v, value port, bool write)
{
	struct printer p = { port, write, 0 };
	print_value(&p, v);
}
