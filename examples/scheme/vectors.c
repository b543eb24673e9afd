/* vectors.c - vectors and bytevectors. */
#include "scheme.h"

#include <string.h>

#include "vm.h"

static value want_vector(value v)
{
	return want(v, KIND_VECTOR, "vector");
}

static value want_bytes(value v)
{
	return want(v, KIND_BYTES, "bytevector");
}

static uint8_t *bytes_of(value v)
{
	return ((struct bytes *)v)->byte;
}

RETURNS(p_is_vector, boolean(is_kind(a[0], KIND_VECTOR)))

PRIMITIVE(p_make_vector)
{
	return make_vector(want_index(a[0], (size_t)1 << 40), n > 1 ? a[1] : V_UNSPECIFIED);
}

PRIMITIVE(p_vector)
{
	value v = object_new(KIND_VECTOR, (size_t)n);
	memcpy(object_of(v)->slot, a, (size_t)n * sizeof(value));
	return v;
}

RETURNS(p_vector_length, fixnum((intptr_t)length_of(want_vector(a[0]))))
PRIMITIVE(p_vector_ref)
{
	size_t i = want_index(a[1], length_of(want_vector(a[0])));
	return slot_of(a[0], i);
}

PRIMITIVE(p_vector_set)
{
	size_t i = want_index(a[1], length_of(want_vector(a[0])));
	set_slot(&object_of(a[0])->slot[i], a[2]);
	return V_UNSPECIFIED;
}

PRIMITIVE(p_vector_to_list)
{
	size_t start, end;
	want_range(n - 1, a + 1, length_of(want_vector(a[0])), &start, &end);
	value list = V_NIL;
	while (end-- > start)
		list = cons(slot_of(a[0], end), list);
	return list;
}

PRIMITIVE(p_list_to_vector)
{
	size_t length = list_length(a[0]), i = 0;
	if (length == SIZE_MAX)
		fail("not a list", a[0]);
	value v = object_new(KIND_VECTOR, length);
	for (value l = a[0]; i < length; l = cdr(l))
		object_of(v)->slot[i++] = car(l);
	return v;
}

PRIMITIVE(p_vector_fill)
{
	size_t start, end;
	want_range(n - 2, a + 2, length_of(want_vector(a[0])), &start, &end);
	for (size_t i = start; i < end; i++)
		set_slot(&object_of(a[0])->slot[i], a[1]);
	return V_UNSPECIFIED;
}

PRIMITIVE(p_vector_copy)
{
	size_t start, end;
	want_range(n - 1, a + 1, length_of(want_vector(a[0])), &start, &end);
	value v = object_new(KIND_VECTOR, end - start);
	memcpy(object_of(v)->slot, object_of(a[0])->slot + start, (end - start) * sizeof(value));
	return v;
}

PRIMITIVE(p_vector_copy_to) /* to at from start end */
{
	size_t start, end, at = want_index(a[1], length_of(want_vector(a[0])) + 1);
	want_range(n - 3, a + 3, length_of(want_vector(a[2])), &start, &end);
	if (end - start > length_of(a[0]) - at)
		fail("not enough room", a[0]);
	mgc_move(object_of(a[0])->slot + at, object_of(a[2])->slot + start,
		 (end - start) * sizeof(value));
	return V_UNSPECIFIED;
}

PRIMITIVE(p_vector_append)
{
	size_t length = 0, at = 0;
	for (int i = 0; i < n; i++)
		length += length_of(want_vector(a[i]));
	value v = object_new(KIND_VECTOR, length);
	for (int i = 0; i < n; at += length_of(a[i]), i++)
		memcpy(object_of(v)->slot + at, object_of(a[i])->slot, length_of(a[i]) * sizeof(value));
	return v;
}

RETURNS(p_is_bytes, boolean(is_kind(a[0], KIND_BYTES)))

PRIMITIVE(p_make_bytes)
{
	return make_bytes(want_index(a[0], (size_t)1 << 40), n > 1 ? (int)want_index(a[1], 256) : 0);
}

PRIMITIVE(p_bytes)
{
	value v = make_bytes((size_t)n, 0);
	for (int i = 0; i < n; i++)
		bytes_of(v)[i] = (uint8_t)want_index(a[i], 256);
	return v;
}

RETURNS(p_bytes_length, fixnum((intptr_t)length_of(want_bytes(a[0]))))
PRIMITIVE(p_bytes_ref)
{
	size_t i = want_index(a[1], length_of(want_bytes(a[0])));
	return fixnum(bytes_of(a[0])[i]);
}

PRIMITIVE(p_bytes_set)
{
	size_t i = want_index(a[1], length_of(want_bytes(a[0])));
	bytes_of(a[0])[i] = (uint8_t)want_index(a[2], 256);
	return V_UNSPECIFIED;
}

PRIMITIVE(p_bytes_copy)
{
	size_t start, end;
	want_range(n - 1, a + 1, length_of(want_bytes(a[0])), &start, &end);
	value v = make_bytes(end - start, 0);
	memcpy(bytes_of(v), bytes_of(a[0]) + start, end - start);
	return v;
}

PRIMITIVE(p_bytes_copy_to)
{
	size_t start, end, at = want_index(a[1], length_of(want_bytes(a[0])) + 1);
	want_range(n - 3, a + 3, length_of(want_bytes(a[2])), &start, &end);
	if (end - start > length_of(a[0]) - at)
		fail("not enough room", a[0]);
	memmove(bytes_of(a[0]) + at, bytes_of(a[2]) + start, end - start);
	return V_UNSPECIFIED;
}

PRIMITIVE(p_bytes_append)
{
	size_t length = 0, at = 0;
	for (int i = 0; i < n; i++)
		length += length_of(want_bytes(a[i]));
	value v = make_bytes(length, 0);
	for (int i = 0; i < n; at += length_of(a[i]), i++)
		memcpy(bytes_of(v) + at, bytes_of(a[i]), length_of(a[i]));
	return v;
}

static const struct prim_info vectors[] = {
	{ "vector?", p_is_vector, 1, 1, 0 },
	{ "make-vector", p_make_vector, 1, 2, 0 },
	{ "vector", p_vector, 0, -1, 0 },
	{ "vector-length", p_vector_length, 1, 1, 0 },
	{ "vector-ref", p_vector_ref, 2, 2, OP_VECTOR_REF },
	{ "vector-set!", p_vector_set, 3, 3, OP_VECTOR_SET },
	{ "vector->list", p_vector_to_list, 1, 3, 0 },
	{ "list->vector", p_list_to_vector, 1, 1, 0 },
	{ "vector-fill!", p_vector_fill, 2, 4, 0 },
	{ "vector-copy", p_vector_copy, 1, 3, 0 },
	{ "vector-copy!", p_vector_copy_to, 3, 5, 0 },
	{ "vector-append", p_vector_append, 0, -1, 0 },
	{ "bytevector?", p_is_bytes, 1, 1, 0 },
	{ "make-bytevector", p_make_bytes, 1, 2, 0 },
	{ "bytevector", p_bytes, 0, -1, 0 },
	{ "bytevector-length", p_bytes_length, 1, 1, 0 },
	{ "bytevector-u8-ref", p_bytes_ref, 2, 2, 0 },
	{ "bytevector-u8-set!", p_bytes_set, 3, 3, 0 },
	{ "bytevector-copy", p_bytes_copy, 1, 3, 0 },
	{ "bytevector-copy!", p_bytes_copy_to, 3, 5, 0 },
	{ "bytevector-append", p_bytes_append, 0, -1, 0 },
};

void vectors_init(void)
{
	DEFINE_ALL(vectors);
}
