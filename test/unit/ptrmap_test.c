/* ptrmap_test.c (plain) - gc/ptrmap.h: a table against a plain array, with all keys near each other and
 * spread out; deletion that shifts back, filters, growth that is refused. */
#include "lib/plain.h"

#include "gc/ptrmap.h"
#include "lib/os_fake.h"

#define NKEYS 5000

/* What the table must hold: model[i] is the value of key_of(i), 0 when absent. */
static uintptr_t model[NKEYS];
static size_t nmodel;
static uintptr_t (*key_of)(size_t i);

static uintptr_t dense(size_t i)
{
	return 0x7f0000000000 + 16 * (i + 1);
}

static uintptr_t spread(size_t i)
{
	struct rng r = { i };
	return (uintptr_t)rng_next(&r) | 1;
}

static void check_all(const struct ptrmap *m)
{
	CHECK_EQ(m->n, nmodel);
	for (size_t i = 0; i < NKEYS; i++) {
		struct ptrmap_entry *e = ptrmap_find(m, key_of(i));
		CHECK((e != NULL) == (model[i] != 0));
		if (e != NULL)
			CHECK(e->key == key_of(i) && e->value[0] == model[i] &&
			      e->value[2] == ~model[i]);
	}
	CHECK(m->capacity == 0 || m->n <= m->capacity / 4 * 3);
}

static void put(struct ptrmap *m, size_t i, uintptr_t value)
{
	struct ptrmap_entry *e = ptrmap_put(m, key_of(i));
	CHECK(e != NULL);
	if (model[i] == 0)
		CHECK(e->value[0] == 0 && e->value[1] == 0 && e->value[2] == 0);
	nmodel += model[i] == 0;
	model[i] = e->value[0] = value;
	e->value[2] = ~value;
}

static void remove_key(struct ptrmap *m, size_t i)
{
	struct ptrmap_entry *e = ptrmap_find(m, key_of(i));
	CHECK((e != NULL) == (model[i] != 0));
	if (e == NULL)
		return;
	ptrmap_remove(m, e);
	model[i] = 0;
	nmodel--;
}

/* drop_if - marks that it saw the entry, and drops those whose value the divisor divides. */
struct filter {
	uintptr_t divisor;
	size_t nseen;
	uint8_t seen[NKEYS];
};

static bool drop_if(void *arg, struct ptrmap_entry *e)
{
	struct filter *f = arg;
	size_t i = 0;
	while (i < NKEYS && key_of(i) != e->key)
		i++;
	CHECK(i < NKEYS && model[i] == e->value[0]);
	f->seen[i] = 1;
	return e->value[0] % f->divisor == 0;
}

static void filter(struct ptrmap *m, uintptr_t divisor)
{
	struct filter f = { .divisor = divisor };
	ptrmap_filter(m, drop_if, &f);
	for (size_t i = 0; i < NKEYS; i++) {
		CHECK_EQ(f.seen[i], model[i] != 0);
		if (model[i] != 0 && model[i] % divisor == 0) {
			model[i] = 0;
			nmodel--;
		}
	}
}

static void random_operations(uintptr_t (*keys)(size_t))
{
	struct ptrmap m = { 0 };
	struct rng r = { test_seed() };
	key_of = keys;
	for (size_t op = 0; op < 200000; op++) {
		size_t i = rng_below(&r, NKEYS), limit = (op / 20000) % 2 ? 30 : 70; /* grows, shrinks */
		if (rng_below(&r, 100) < limit)
			put(&m, i, rng_next(&r) | 1);
		else
			remove_key(&m, i);
		if (op % 20000 == 0)
			check_all(&m);
	}
	filter(&m, 3);
	check_all(&m);
	filter(&m, 1);
	CHECK_EQ(m.n, 0);
	ptrmap_destroy(&m);
	CHECK(m.capacity == 0 && ptrmap_find(&m, key_of(0)) == NULL);
}

TEST(dense_keys)
{
	random_operations(dense);
}

TEST(spread_keys)
{
	random_operations(spread);
}

/* All slots from the middle to the end and around are one chain: removal must move entries over the
 * end of the table, and never one before its home. */
TEST(chain_over_the_end)
{
	struct ptrmap m = { 0 };
	static uintptr_t key[400];
	size_t n = 0;
	CHECK(ptrmap_put(&m, 8) != NULL);
	size_t capacity = m.capacity;
	for (uintptr_t k = 16; n < 400; k += 8) { /* keys whose home is in the last 100 slots */
		uintptr_t h = k;
		struct ptrmap probe = { .capacity = capacity, .entry = m.entry };
		struct ptrmap_entry *e = ptrmap_find(&probe, h);
		if (e != NULL)
			continue;
		e = ptrmap_put(&m, k);
		CHECK(e != NULL);
		size_t at = (size_t)(e - m.entry);
		if (at < capacity - 100 && at > 300)
			ptrmap_remove(&m, e);
		else
			key[n++] = k;
	}
	for (size_t i = 0; i < n; i += 2)
		ptrmap_remove(&m, ptrmap_find(&m, key[i]));
	for (size_t i = 0; i < n; i++)
		CHECK((ptrmap_find(&m, key[i]) != NULL) == (i % 2 == 1));
	for (size_t i = 1; i < n; i += 2)
		ptrmap_remove(&m, ptrmap_find(&m, key[i]));
	CHECK_EQ(m.n, 1);
	ptrmap_destroy(&m);
}

/* The table that cannot grow stays as it is, and grows when memory is back. */
TEST(growth_refused)
{
	struct ptrmap m = { 0 };
	size_t n = 0;
	key_of = dense;
	os_fake_start();
	os_fake_fail("alloc", 1, 1, ENOMEM);
	CHECK(ptrmap_put(&m, 8) == NULL);
	CHECK(m.capacity == 0);
	put(&m, n++, 7);
	os_fake_fail("alloc", 1, OS_FAKE_FOREVER, ENOMEM);
	while (n < NKEYS) {
		struct ptrmap_entry *e = ptrmap_put(&m, key_of(n));
		if (e == NULL)
			break;
		model[n++] = e->value[0] = 7;
		e->value[2] = ~(uintptr_t)7;
		nmodel++;
	}
	CHECK_EQ(n, m.capacity / 4 * 3);
	CHECK(ptrmap_put(&m, key_of(0)) != NULL); /* known ones are found still */
	check_all(&m);
	os_fake_stop();
	put(&m, n, 9);
	check_all(&m);
	ptrmap_destroy(&m);
}
