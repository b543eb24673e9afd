/* tables.c - hash tables, in the manner of SRFI 69: a vector of lists of (key . value).
 * WHAT   Nothing moves, so an object's address is its hash code for eq?, for ever.
 * INV    the vector, and each link, is read once: threads that use a table without a mutex may lose each
 *        other's entries, and the count may be wrong, but nothing else */
#include "scheme.h"

#include <string.h>

#include "vm.h"

enum { BY_EQ, BY_EQV, BY_EQUAL };

struct table {
	value header;
	value sort; /* fixnum: BY_… */
	value count; /* fixnum */
	value buckets; /* vector, its length a power of two */
};

static struct table *want_table(value v)
{
	return (struct table *)want(v, KIND_TABLE, "hash table");
}

static size_t mix(size_t h)
{
	h = (h ^ h >> 31) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 32;
}

static size_t hash(value v, intptr_t sort, int depth)
{
	size_t h = v;
	if (is_pair(v) && sort == BY_EQUAL)
		return depth > 8 ? 1
				 : mix(hash(car(v), sort, depth + 1) * 31 +
				       hash(cdr(v), sort, depth + 1));
	if (sort == BY_EQ || !is_object(v))
		return mix(h);
	if (kind_of(v) == KIND_FLONUM)
		memcpy(&h, &((struct flonum *)v)->number, sizeof h);
	else if (kind_of(v) == KIND_BIGNUM)
		h = ((struct bignum *)v)->limb[0];
	else if (sort == BY_EQUAL && kind_of(v) == KIND_STRING)
		for (size_t i = h = string_length(v); i-- > 0;)
			h = h * 31 + string_char(v, i);
	else if (sort == BY_EQUAL && (kind_of(v) == KIND_BYTES || kind_of(v) == KIND_VECTOR))
		h = length_of(v);
	return mix(h);
}

static bool same(value a, value b, intptr_t sort)
{
	return a == b || (sort == BY_EQV && is_eqv(a, b)) || (sort == BY_EQUAL && is_equal(a, b));
}

static value *bucket(value buckets, value key, intptr_t sort)
{
	return &object_of(buckets)->slot[hash(key, sort, 0) & (length_of(buckets) - 1)];
}

static value find(const struct table *t, value key)
{
	intptr_t sort = fixnum_of(t->sort);
	for (value e = *bucket(t->buckets, key, sort); e != V_NIL; e = cdr(e))
		if (same(car(car(e)), key, sort))
			return car(e);
	return 0;
}

/* grow - entries keep their pairs (key . value); the lists are new, so they are stored plainly. */
static void grow(struct table *t)
{
	value old = t->buckets, fresh = make_vector(2 * length_of(old), V_NIL);
	for (size_t i = 0; i < length_of(old); i++)
		for (value e = slot_of(old, i); e != V_NIL; e = cdr(e)) {
			value *to = bucket(fresh, car(car(e)), fixnum_of(t->sort));
			*to = cons(car(e), *to);
		}
	set_slot(&t->buckets, fresh);
}

static void put(struct table *t, value key, value v)
{
	value entry = find(t, key);
	if (entry != 0) {
		set_slot(&pair_of(entry)->cdr, v);
		return;
	}
	if (fixnum_of(t->count) >= (intptr_t)length_of(t->buckets))
		grow(t);
	value *to = bucket(t->buckets, key, fixnum_of(t->sort));
	set_slot(to, cons(cons(key, v), *to));
	t->count += 2; /* one, as a fixnum: no reference, no barrier */
}

static value make_table(int sort, size_t capacity)
{
	size_t size = 8;
	while (size < capacity)
		size *= 2;
	return object_with(KIND_TABLE, 3, fixnum(sort), fixnum(0), make_vector(size, V_NIL), 0);
}

/* ── primitives ── */

PRIMITIVE(p_make_table) /* by the equality, if one is given */
{
	int sort = BY_EQUAL;
	if (n > 0 && a[0] == symbol_of(symbol("eq?"))->global)
		sort = BY_EQ;
	else if (n > 0 && (a[0] == symbol_of(symbol("eqv?"))->global ||
			   a[0] == symbol_of(symbol("="))->global))
		sort = BY_EQV;
	return make_table(sort, 8);
}

RETURNS(p_make_eq_table, make_table(BY_EQ, 8))
RETURNS(p_make_eqv_table, make_table(BY_EQV, 8))
RETURNS(p_is_table, boolean(is_kind(a[0], KIND_TABLE)))

PRIMITIVE(p_table_ref)
{
	value entry = find(want_table(a[0]), a[1]);
	return entry != 0 ? cdr(entry) : n > 2 ? a[2] : V_FALSE;
}

RETURNS(p_table_contains, boolean(find(want_table(a[0]), a[1]) != 0))

PRIMITIVE(p_table_set)
{
	put(want_table(a[0]), a[1], a[2]);
	return V_UNSPECIFIED;
}

PRIMITIVE(p_table_delete)
{
	struct table *t = want_table(a[0]);
	intptr_t sort = fixnum_of(t->sort);
	value *link = bucket(t->buckets, a[1], sort);
	for (value e; (e = *link) != V_NIL; link = &pair_of(e)->cdr) /* read once: see INV */
		if (same(car(car(e)), a[1], sort)) {
			set_slot(link, cdr(e));
			t->count -= 2;
			break;
		}
	return V_UNSPECIFIED;
}

RETURNS(p_table_count, fixnum(fixnum_of(want_table(a[0])->count)))

PRIMITIVE(p_table_clear)
{
	struct table *t = want_table(a[0]);
	set_slot(&t->buckets, make_vector(8, V_NIL));
	t->count = fixnum(0);
	return V_UNSPECIFIED;
}

PRIMITIVE(p_table_copy)
{
	struct table *t = want_table(a[0]);
	value copy = make_table((int)fixnum_of(t->sort), length_of(t->buckets)), from = t->buckets;
	for (size_t i = 0; i < length_of(from); i++)
		for (value e = slot_of(from, i); e != V_NIL; e = cdr(e))
			put((struct table *)copy, car(car(e)), cdr(car(e)));
	return copy;
}

PRIMITIVE(p_table_to_alist) /* with copies of the entries */
{
	value buckets = want_table(a[0])->buckets, list = V_NIL;
	for (size_t i = 0; i < length_of(buckets); i++)
		for (value e = slot_of(buckets, i); e != V_NIL; e = cdr(e))
			list = cons(cons(car(car(e)), cdr(car(e))), list);
	return list;
}

RETURNS(p_hash, fixnum((intptr_t)(hash(a[0], BY_EQUAL, 0) >> 4)))

static const struct prim_info tables[] = {
	{ "make-hash-table", p_make_table, 0, -1, 0 },
	{ "make-equal-hash-table", p_make_table, 0, 0, 0 },
	{ "make-string-hash-table", p_make_table, 0, 0, 0 },
	{ "make-eqv-hash-table", p_make_eqv_table, 0, 0, 0 },
	{ "make-eq-hash-table", p_make_eq_table, 0, 0, 0 },
	{ "hash-table?", p_is_table, 1, 1, 0 },
	{ "hash-table-ref/default", p_table_ref, 3, 3, 0 },
	{ "hash-table-contains?", p_table_contains, 2, 2, 0 },
	{ "hash-table-exists?", p_table_contains, 2, 2, 0 },
	{ "hash-table-set!", p_table_set, 3, 3, 0 },
	{ "hash-table-delete!", p_table_delete, 2, 2, 0 },
	{ "hash-table-count", p_table_count, 1, 1, 0 },
	{ "hash-table-size", p_table_count, 1, 1, 0 },
	{ "hash-table-clear!", p_table_clear, 1, 1, 0 },
	{ "hash-table-copy", p_table_copy, 1, 1, 0 },
	{ "hash-table->alist", p_table_to_alist, 1, 1, 0 },
	{ "hash", p_hash, 1, 2, 0 },
};

void tables_init(void)
{
	DEFINE_ALL(tables);
}
