/* lists.c - equality, pairs and lists. What takes a procedure as an argument is in the prelude. */
#include "scheme.h"

#include <string.h>

#include "vm.h"

/* ── equality ── */

bool is_eqv(value a, value b)
{
	if (a == b)
		return true;
	if (!is_object(a) || !is_object(b) || kind_of(a) != kind_of(b))
		return false;
	if (kind_of(a) == KIND_FLONUM)
		return memcmp(&((struct flonum *)a)->number, &((struct flonum *)b)->number,
			      sizeof(double)) == 0;
	return kind_of(a) == KIND_BIGNUM && big_compare(a, b) == 0;
}

static bool equal_at(value a, value b, int depth)
{
	if (depth > 10000)
		fail("nested too deeply to be compared", 0);
	for (; is_pair(a) && is_pair(b); a = cdr(a), b = cdr(b))
		if (a == b)
			return true;
		else if (!equal_at(car(a), car(b), depth + 1))
			return false;
	if (is_eqv(a, b))
		return true;
	if (!is_object(a) || !is_object(b) || kind_of(a) != kind_of(b))
		return false;
	if (kind_of(a) == KIND_STRING) {
		size_t n = string_length(a);
		if (n != string_length(b))
			return false;
		while (n-- > 0)
			if (string_char(a, n) != string_char(b, n))
				return false;
		return true;
	}
	if (length_of(a) != length_of(b))
		return false;
	if (kind_of(a) == KIND_BYTES)
		return memcmp(((struct bytes *)a)->byte, ((struct bytes *)b)->byte, length_of(a)) == 0;
	if (kind_of(a) != KIND_VECTOR)
		return false;
	for (size_t i = 0; i < length_of(a); i++)
		if (!equal_at(slot_of(a, i), slot_of(b, i), depth + 1))
			return false;
	return true;
}

bool is_equal(value a, value b)
{
	return equal_at(a, b, 0);
}

RETURNS(p_is_eq, boolean(a[0] == a[1]))
RETURNS(p_is_eqv, boolean(is_eqv(a[0], a[1])))
RETURNS(p_is_equal, boolean(is_equal(a[0], a[1])))

/* ── pairs ── */

RETURNS(p_cons, cons(a[0], a[1]))

/* What the letters of c…r say, the last one first. */
static value walk(value v, const char *path)
{
	for (size_t i = strlen(path); i-- > 0;)
		v = path[i] == 'a' ? car(want_pair(v)) : cdr(want_pair(v));
	return v;
}

#define PATH(name, path) \
	PRIMITIVE(name) \
	{ \
		return walk(a[0], path); \
	}
PATH(p_car, "a")
PATH(p_cdr, "d")
PATH(p_caar, "aa")
PATH(p_cadr, "ad")
PATH(p_cdar, "da")
PATH(p_cddr, "dd")
PATH(p_caddr, "add")
PATH(p_cdddr, "ddd")
PATH(p_cadddr, "addd")
PATH(p_caadr, "aad")
PATH(p_cdadr, "dad")
PATH(p_cddar, "dda")
PATH(p_cadar, "ada")

PRIMITIVE(p_set_car)
{
	set_slot(&pair_of(want_pair(a[0]))->car, a[1]);
	return V_UNSPECIFIED;
}

PRIMITIVE(p_set_cdr)
{
	set_slot(&pair_of(want_pair(a[0]))->cdr, a[1]);
	return V_UNSPECIFIED;
}

RETURNS(p_is_pair, boolean(is_pair(a[0])))
RETURNS(p_is_null, boolean(a[0] == V_NIL))
RETURNS(p_is_list, boolean(list_length(a[0]) != SIZE_MAX))

/* ── lists ── */

static value want_list(value v)
{
	if (list_length(v) == SIZE_MAX)
		fail("not a list", v);
	return v;
}

PRIMITIVE(p_list)
{
	value list = V_NIL;
	while (n-- > 0)
		list = cons(a[n], list);
	return list;
}

PRIMITIVE(p_cons_star)
{
	value list = a[n - 1];
	for (int i = n - 1; i-- > 0;)
		list = cons(a[i], list);
	return list;
}

PRIMITIVE(p_make_list)
{
	value list = V_NIL;
	for (size_t count = want_index(a[0], (size_t)1 << 40); count > 0; count--)
		list = cons(n > 1 ? a[1] : V_UNSPECIFIED, list);
	return list;
}

RETURNS(p_length, fixnum((intptr_t)list_length(want_list(a[0]))))
RETURNS(p_reverse, reverse(want_list(a[0])))

/* append_to - a fresh copy of the list, ending in tail. All of its pairs are new, and nobody but this
 * function has any of them: the links are plain stores. */
static value append_to(value list, value tail)
{
	value first = cons(V_NIL, tail), last = first;
	for (want_list(list); list != V_NIL; list = cdr(list)) {
		value next = cons(car(list), tail);
		pair_of(last)->cdr = next;
		last = next;
	}
	return cdr(first);
}

PRIMITIVE(p_append)
{
	if (n == 0)
		return V_NIL;
	value list = a[n - 1];
	for (int i = n - 1; i-- > 0;)
		list = append_to(a[i], list);
	return list;
}

RETURNS(p_list_copy, is_pair(a[0]) ? append_to(a[0], V_NIL) : a[0])

PRIMITIVE(p_list_tail)
{
	value list = a[0];
	for (size_t i = want_index(a[1], (size_t)1 << 40); i > 0; i--)
		list = cdr(want_pair(list));
	return list;
}

PRIMITIVE(p_list_ref)
{
	value list = a[0];
	for (size_t i = want_index(a[1], (size_t)1 << 40); i > 0; i--)
		list = cdr(want_pair(list));
	return car(want_pair(list));
}

static bool same_eq(value a, value b)
{
	return a == b;
}

#define MEMBER(name, same) \
	PRIMITIVE(name) \
	{ \
		for (value list = a[1]; list != V_NIL; list = cdr(list)) \
			if (same(a[0], car(want_pair(list)))) \
				return list; \
		return V_FALSE; \
	}
MEMBER(p_memq, same_eq)
MEMBER(p_memv, is_eqv)
MEMBER(p_member, is_equal)

#define ASSOC(name, same) \
	PRIMITIVE(name) \
	{ \
		for (value list = a[1]; list != V_NIL; list = cdr(list)) \
			if (same(a[0], car(want_pair(car(want_pair(list)))))) \
				return car(list); \
		return V_FALSE; \
	}
ASSOC(p_assq, same_eq)
ASSOC(p_assv, is_eqv)
ASSOC(p_assoc, is_equal)

RETURNS(p_not, boolean(a[0] == V_FALSE))
RETURNS(p_is_boolean, boolean(a[0] == V_TRUE || a[0] == V_FALSE))

static const struct prim_info lists[] = {
	{ "eq?", p_is_eq, 2, 2, OP_IS_EQ },
	{ "eqv?", p_is_eqv, 2, 2, 0 },
	{ "equal?", p_is_equal, 2, 2, 0 },
	{ "not", p_not, 1, 1, OP_NOT },
	{ "boolean?", p_is_boolean, 1, 1, 0 },
	{ "cons", p_cons, 2, 2, OP_CONS },
	{ "car", p_car, 1, 1, OP_CAR },
	{ "cdr", p_cdr, 1, 1, OP_CDR },
	{ "caar", p_caar, 1, 1, 0 },
	{ "cadr", p_cadr, 1, 1, OP_CADR },
	{ "cdar", p_cdar, 1, 1, 0 },
	{ "cddr", p_cddr, 1, 1, OP_CDDR },
	{ "caddr", p_caddr, 1, 1, 0 },
	{ "cdddr", p_cdddr, 1, 1, 0 },
	{ "cadddr", p_cadddr, 1, 1, 0 },
	{ "caadr", p_caadr, 1, 1, 0 },
	{ "cdadr", p_cdadr, 1, 1, 0 },
	{ "cddar", p_cddar, 1, 1, 0 },
	{ "cadar", p_cadar, 1, 1, 0 },
	{ "set-car!", p_set_car, 2, 2, OP_SET_CAR },
	{ "set-cdr!", p_set_cdr, 2, 2, OP_SET_CDR },
	{ "pair?", p_is_pair, 1, 1, OP_IS_PAIR },
	{ "null?", p_is_null, 1, 1, OP_IS_NULL },
	{ "list?", p_is_list, 1, 1, 0 },
	{ "list", p_list, 0, -1, 0 },
	{ "cons*", p_cons_star, 1, -1, 0 },
	{ "make-list", p_make_list, 1, 2, 0 },
	{ "length", p_length, 1, 1, 0 },
	{ "reverse", p_reverse, 1, 1, 0 },
	{ "append", p_append, 0, -1, 0 },
	{ "list-copy", p_list_copy, 1, 1, 0 },
	{ "list-tail", p_list_tail, 2, 2, 0 },
	{ "list-ref", p_list_ref, 2, 2, 0 },
	{ "memq", p_memq, 2, 2, 0 },
	{ "memv", p_memv, 2, 2, 0 },
	{ "%member", p_member, 2, 2, 0 },
	{ "assq", p_assq, 2, 2, 0 },
	{ "assv", p_assv, 2, 2, 0 },
	{ "%assoc", p_assoc, 2, 2, 0 },
};

void lists_init(void)
{
	DEFINE_ALL(lists);
}
