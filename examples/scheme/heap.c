/* heap.c - the binding to the library: types, allocation, the root, symbols. Everything else makes its
 * objects here. */
#include "scheme.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm.h"

/* Every word of a scanned object is a value, and the tags say which are references: objects and pairs. A type
 * for each small size, because mgc_new() of a type is the short way. */
#define VALUES .ptr_tag_mask = TAG_MASK, .ptr_tags = 1 << TAG_OBJECT | 1 << TAG_PAIR
enum { NSIZED = 17 };
static struct mgc_type word_types[NSIZED];
static struct mgc_type words_type = {
	.name = "words", .size = sizeof(value), .ptr_bytes = sizeof(value), VALUES
};
/* Words of the stack: between a frame's own there may be old ones, of objects that are gone. */
static struct mgc_type frames_type = { .name = "frames",
				       .size = sizeof(value),
				       .ptr_bytes = sizeof(value),
				       .flags = MGC_TYPE_AMBIGUOUS,
				       VALUES };
struct mgc_type closure_types[9];
struct mgc_type pair_type = {
	.name = "pair", .size = sizeof(struct pair), .ptr_bytes = sizeof(struct pair), VALUES
};
struct mgc_type flonum_type = { .name = "flonum", .size = sizeof(struct flonum) };

struct roots root;
static pthread_mutex_t symbols_lock = PTHREAD_MUTEX_INITIALIZER;

enum { NBUCKETS = 1024 };

static void sized_type(struct mgc_type *type, const char *name, size_t nwords)
{
	*type = words_type;
	type->name = name;
	type->size = type->ptr_bytes = nwords * sizeof(value);
}

void heap_init(void)
{
	for (size_t n = 1; n < NSIZED; n++)
		sized_type(&word_types[n], "object", n);
	for (size_t n = 0; n < 9; n++)
		sized_type(&closure_types[n], "closure", n + 2);
	if (mgc_root_add(&root, sizeof root, MGC_ROOT_AMBIGUOUS) != 0) {
		perror("scheme: no heap");
		exit(1);
	}
	set_slot(&root.symbols, make_vector(NBUCKETS, V_NIL));
	set_slot(&root.out_of_memory, object_with(KIND_ERROR, 3, symbol("memory"),
						  string_from("out of memory"), V_NIL, 0));
}

/* A handler needs memory, too, before it lets go of what filled the heap: there is a reserve for it. */
enum { RESERVE = 1 << 20 };

void heap_keep_reserve(void)
{
	if (root.reserve == 0)
		set_slot(&root.reserve, (value)mgc_alloc(RESERVE, NULL, MGC_NOSCAN | MGC_NOZERO));
}

void out_of_memory(void)
{
	void *reserve = mgc_exchange(&root.reserve, NULL);
	if (vm_self == NULL) {
		fprintf(stderr, "scheme: out of memory\n");
		exit(1);
	}
	mgc_free(reserve); /* nobody else ever had it */
	throw_value(root.out_of_memory);
}

value object_new(enum kind kind, size_t nslots)
{
	size_t nwords = nslots + 1;
	struct object *o = nwords < NSIZED
				   ? mgc_new(&word_types[nwords])
				   : mgc_alloc(nwords * sizeof(value), &words_type, MGC_ARRAY);
	if (o == NULL)
		out_of_memory();
	o->header = make_header(kind, nslots);
	return (value)o;
}

value frames_new(enum kind kind, size_t nslots)
{
	struct object *o = mgc_alloc((nslots + 1) * sizeof(value), &frames_type, MGC_ARRAY);
	if (o == NULL)
		out_of_memory();
	o->header = make_header(kind, nslots);
	return (value)o;
}

value object_with(enum kind kind, size_t nslots, value a, value b, value c, value d)
{
	value v = object_new(kind, nslots);
	const value given[4] = { a, b, c, d };
	for (size_t i = 0; i < nslots && i < 4; i++)
		object_of(v)->slot[i] = given[i];
	return v;
}

void *bytes_new(enum kind kind, size_t length, size_t nbytes)
{
	struct object *o = mgc_alloc(sizeof(value) + nbytes, NULL, MGC_NOSCAN);
	if (o == NULL)
		out_of_memory();
	o->header = make_header(kind, length);
	return o;
}

value make_vector(size_t n, value fill)
{
	value v = object_new(KIND_VECTOR, n);
	for (size_t i = 0; i < n; i++)
		object_of(v)->slot[i] = fill;
	return v;
}

value make_box(value v)
{
	return object_with(KIND_BOX, 1, v, 0, 0, 0);
}

value make_bytes(size_t n, int fill)
{
	struct bytes *b = bytes_new(KIND_BYTES, n, n);
	if (fill != 0)
		memset(b->byte, fill, n);
	return (value)b;
}

/* ── symbols ── */

static size_t hash_bytes(const char *p, size_t n)
{
	size_t h = 14695981039346656037u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * 1099511628211u;
	return h ^ h >> 29;
}

static value find_symbol(value list, const char *name, size_t n)
{
	for (; list != V_NIL; list = cdr(list)) {
		struct bytes *b = (struct bytes *)symbol_of(car(list))->name;
		if (length_of((value)b) == n && memcmp(b->byte, name, n) == 0)
			return car(list);
	}
	return 0;
}

/* known_or - the symbol of that name, or else `link`, whose car is a new one, is put into the table. */
static value known_or(value link, const char *name, size_t n)
{
	lock_quietly(&symbols_lock);
	value *slot = &object_of(root.symbols)->slot[hash_bytes(name, n) % NBUCKETS];
	value found = find_symbol(*slot, name, n);
	if (found == 0 && link != 0) {
		pair_of(link)->cdr = *slot; /* not published yet: a plain store */
		set_slot(slot, link);
		found = car(link);
	}
	pthread_mutex_unlock(&symbols_lock);
	return found;
}

value intern(const char *utf8, size_t nbytes)
{
	value found = known_or(0, utf8, nbytes);
	if (found != 0)
		return found;
	/* made while the lock is not held: making may fail, and fail() does not come back */
	value name = make_bytes(nbytes, 0);
	memcpy(((struct bytes *)name)->byte, utf8, nbytes);
	value fresh = object_with(KIND_SYMBOL, 4, name, V_UNDEFINED, 0, V_FALSE);
	return known_or(cons(fresh, V_NIL), utf8, nbytes);
}

value symbol(const char *name)
{
	return intern(name, strlen(name));
}

/* ── lists ── */

value list_n(size_t n, ...)
{
	va_list args;
	value list = V_NIL;
	va_start(args, n);
	for (size_t i = 0; i < n; i++)
		list = cons(va_arg(args, value), list);
	va_end(args);
	return reverse(list);
}

value reverse(value list)
{
	value result = V_NIL;
	for (; is_pair(list); list = cdr(list))
		result = cons(car(list), result);
	return result;
}

size_t list_length(value list)
{
	size_t n = 0;
	value slow = list; /* follows at half the speed: met again, the list runs in a circle */
	while (is_pair(list)) {
		list = cdr(list);
		if (++n % 2 == 0)
			slow = cdr(slow);
		if (list == slow && is_pair(list))
			return SIZE_MAX;
	}
	return list == V_NIL ? n : SIZE_MAX;
}

value nth(value list, size_t n)
{
	while (n-- > 0)
		list = cdr(list);
	return car(list);
}

void lock_quietly(pthread_mutex_t *lock)
{
	if (pthread_mutex_trylock(lock) == 0)
		return;
	mgc_blocking_enter();
	pthread_mutex_lock(lock);
	mgc_blocking_leave();
}
