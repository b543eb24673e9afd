/* tagged.c - the values of a small virtual machine: one word each, whose low three bits say what it is.
 * The collector is told which tags are references, so a number is never taken for one, and nothing is
 * boxed or unboxed for its sake. Vectors are of any length and describe themselves to it. */
#include <mallocgc-inline.h> /* the same API as <mallocgc.h>, short paths inlined */
#include <stdio.h>
#include <stdlib.h>

typedef uintptr_t value;
enum { NUMBER = 0, PAIR = 1, VECTOR = 2, TAG_MASK = 7 };
#define NIL ((value)4) /* tag 4: neither */

struct pair {
	value head, tail;
};
/* Both words are values: references where the tag is that of a pair or a vector. */
static struct mgc_type pair_type = { .name = "pair",
				     .size = sizeof(struct pair),
				     .ptr_bytes = sizeof(struct pair),
				     .ptr_tag_mask = TAG_MASK,
				     .ptr_tags = 1 << PAIR | 1 << VECTOR };

struct vector {
	size_t length; /* set before anybody else sees the vector, and never changed */
	value item[];
};

/* The collector asks for a part of it at a time, so that a long vector can be shared among its threads. */
static void trace_vector(void *object, size_t from, size_t to, struct mgc_tracer *tracer)
{
	struct vector *v = object;
	size_t first = sizeof *v, end = first + v->length * sizeof(value);
	if (from < first)
		from = first;
	if (to > end)
		to = end;
	if (from < to)
		mgc_trace_range(tracer, (char *)object + from, (to - from) / sizeof(value));
}

static struct mgc_type vector_type = { .name = "vector",
				       .size = sizeof(struct vector),
				       .trace_part = trace_vector,
				       .ptr_tag_mask = TAG_MASK,
				       .ptr_tags = 1 << PAIR | 1 << VECTOR };

static void *checked(void *p)
{
	if (p == NULL) {
		perror("out of memory");
		exit(1);
	}
	return p;
}

static value number(long n)
{
	return (value)n << 3 | NUMBER;
}

static long to_long(value v)
{
	return (long)v >> 3;
}

static value cons(value head, value tail)
{
	struct pair *p = checked(mgc_new(&pair_type));
	p->head = head; /* nobody else can reach it: no barrier */
	p->tail = tail;
	return (value)p | PAIR;
}

static struct pair *to_pair(value v)
{
	return (struct pair *)(v - PAIR);
}

static value make_vector(size_t length)
{
	struct vector *v = checked(mgc_alloc(sizeof *v + length * sizeof(value), &vector_type, 0));
	v->length = length;
	return (value)v | VECTOR;
}

static value *item(value v, size_t i)
{
	return &((struct vector *)(v - VECTOR))->item[i];
}

/* A store into an object that others can reach. */
static void set(value *slot, value v)
{
	mgc_write(slot, (void *)v);
}

static value global; /* a root */

int main(void)
{
	enum { N = 200000 };
	if (mgc_root_add(&global, sizeof global, 0) != 0)
		return 1;
	set(&global, make_vector(N)); /* 1.6 MB: traced in a dozen parts */
	for (size_t i = 0; i < N; i++) {
		value list = NIL;
		for (long k = 0; k < 4; k++)
			list = cons(number((long)i * k), list);
		set(item(global, i), i % 10 == 9 ? number(-1) : list);
	}
	mgc_collect();

	long sum = 0, expected = 0;
	for (size_t i = 0; i < N; i++) {
		value v = *item(global, i);
		if (i % 10 == 9) {
			sum += to_long(v);
			expected -= 1;
			continue;
		}
		for (; v != NIL; v = to_pair(v)->tail)
			sum += to_long(to_pair(v)->head);
		expected += 6 * (long)i;
	}
	printf("%d lists in a vector: sum %ld\n", N * 9 / 10, sum);
	return sum != expected;
}
