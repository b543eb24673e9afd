/* ptrmap_test.c (plain) - gc/ptrmap.h: a table against a plain array, with all keys near each other and
 * spread out; deletion, filters, the queue of entries that left it, growth that is refused, shrinking. */
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
			      e->value[1] == ~model[i] && e->tag == model[i] % 5 &&
			      e->state == PTRMAP_IN);
	}
	CHECK(m->n + m->nqueued <= m->used && m->used <= m->capacity);
}

static void put(struct ptrmap *m, size_t i, uintptr_t value)
{
	struct ptrmap_entry *e = ptrmap_put(m, key_of(i));
	CHECK(e != NULL);
	if (model[i] == 0)
		CHECK(e->value[0] == 0 && e->value[1] == 0 && e->tag == 0);
	nmodel += model[i] == 0;
	model[i] = e->value[0] = value;
	e->value[1] = ~value;
	e->tag = (unsigned)(value % 5) & 0x3f;
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

static void rename_key(struct ptrmap *m, size_t i, size_t to)
{
	struct ptrmap_entry *e = ptrmap_find(m, key_of(i));
	if (e == NULL || model[to] != 0)
		return;
	ptrmap_rename(m, e, key_of(to));
	model[to] = model[i];
	model[i] = 0;
}

/* What the queue must hold: the values of retired entries, oldest first. */
static uintptr_t queue[400000];
static size_t queue_first, queue_end;

static void retire(struct ptrmap *m, size_t i)
{
	struct ptrmap_entry *e = ptrmap_find(m, key_of(i));
	if (e == NULL)
		return;
	ptrmap_retire(m, e);
	queue[queue_end++] = model[i];
	model[i] = 0;
	nmodel--;
}

static void next(struct ptrmap *m)
{
	struct ptrmap_entry e;
	bool found = ptrmap_next(m, &e);
	CHECK_EQ(found, queue_first < queue_end);
	if (found)
		CHECK(e.value[0] == queue[queue_first++] && e.value[1] == ~e.value[0] &&
		      e.tag == e.value[0] % 5);
	CHECK_EQ(m->nqueued, queue_end - queue_first);
}

/* drop_if - marks that it saw the entry, drops those whose value the divisor divides, and retires every
 * other one of those. */
struct filter {
	struct ptrmap *m;
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
	CHECK(i < NKEYS && model[i] == e->value[0] && !f->seen[i]);
	f->seen[i] = 1;
	if (e->value[0] % f->divisor != 0)
		return false;
	if (f->nseen++ % 2 != 0)
		return true;
	queue[queue_end++] = e->value[0];
	ptrmap_retire(f->m, e);
	return false;
}

static void filter(struct ptrmap *m, uintptr_t divisor)
{
	struct filter f = { .m = m, .divisor = divisor };
	size_t at = 0, nsteps = 0;
	while (ptrmap_filter(m, &at, 100, drop_if, &f))
		nsteps++;
	CHECK_EQ(nsteps, (m->used - 1) / 100);
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
		else if (rng_below(&r, 3) != 0)
			remove_key(&m, i);
		else if (rng_below(&r, 2) != 0)
			rename_key(&m, i, rng_below(&r, NKEYS));
		else
			retire(&m, i);
		if (rng_below(&r, 100) < 100 - limit)
			next(&m);
		if (op % 20000 == 0) {
			ptrmap_shrink(&m);
			check_all(&m);
		}
	}
	filter(&m, 3);
	check_all(&m);
	filter(&m, 1);
	CHECK_EQ(m.n, 0);
	CHECK(m.nqueued > 100);
	while (m.nqueued > 0)
		next(&m);
	next(&m);
	CHECK(m.capacity > 2048);
	ptrmap_shrink(&m);
	CHECK_EQ(m.capacity, 2048);
	check_all(&m);
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

/* Every record is in use: the queue is longer than the table was when it began, and outlives growth and
 * shrinking in its order. What it held is free again afterwards: the table does not grow for others. */
TEST(queue_over_growth)
{
	struct ptrmap m = { 0 };
	size_t i = 0;
	key_of = dense;
	for (; i < 2048; i++)
		put(&m, i, i + 1);
	size_t capacity = m.capacity;
	CHECK_EQ(m.used, capacity);
	for (size_t k = 0; k < i; k += 2)
		retire(&m, k);
	for (; i < 2048 + 600; i++) /* none is free while they are queued */
		put(&m, i, i + 1);
	CHECK_EQ(m.capacity, 2 * capacity);
	check_all(&m);
	for (size_t k = 1; k < i; k++)
		retire(&m, k);
	CHECK_EQ(m.n, 0);
	while (m.nqueued > 10)
		next(&m);
	ptrmap_shrink(&m);
	CHECK_EQ(m.capacity, 2 * capacity); /* what waits lies in the last chunk, and does not move */
	while (m.nqueued > 0)
		next(&m);
	ptrmap_shrink(&m);
	CHECK(m.capacity == capacity && m.used == 0);
	for (i = 0; i < capacity; i++)
		put(&m, i, i + 1);
	CHECK(m.capacity == capacity && m.used == capacity);
	check_all(&m);
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
		e->value[1] = ~(uintptr_t)7;
		e->tag = 7 % 5;
		nmodel++;
	}
	CHECK_EQ(n, m.capacity);
	CHECK(ptrmap_add(&m, key_of(0)) == NULL);
	CHECK(ptrmap_put(&m, key_of(0)) != NULL); /* known ones are found still */
	check_all(&m);
	os_fake_stop();
	put(&m, n, 9);
	check_all(&m);
	ptrmap_destroy(&m);
}

/* ── several records of one key, ids, the second index ──────────────────────────────────── */

TEST(same_key)
{
	struct ptrmap m = { 0 };
	uint64_t id[300];
	for (uintptr_t i = 0; i < 300; i++) {
		struct ptrmap_entry *e = ptrmap_add(&m, 16 * (i % 3 + 1));
		e->value[0] = i;
		id[i] = ptrmap_id(&m, e);
	}
	CHECK(ptrmap_find(&m, 64) == NULL);
	for (uintptr_t k = 0; k < 3; k++) {
		size_t n = 0;
		uint8_t seen[300] = { 0 };
		for (struct ptrmap_entry *e = ptrmap_find(&m, 16 * (k + 1)); e != NULL;
		     e = ptrmap_find_more(&m, e), n++) {
			CHECK(e->value[0] % 3 == k && !seen[e->value[0]]);
			seen[e->value[0]] = 1;
		}
		CHECK_EQ(n, 100);
	}
	for (uintptr_t i = 0; i < 300; i++) {
		struct ptrmap_entry *e = ptrmap_by_id(&m, id[i]);
		CHECK(e != NULL && e->value[0] == i && ptrmap_peek(&m, id[i]) == e);
		if (i % 2 == 0)
			ptrmap_remove(&m, e);
		else
			ptrmap_retire(&m, e);
		CHECK(ptrmap_by_id(&m, id[i]) == NULL);
	}
	struct ptrmap_entry *e = ptrmap_add(&m, 16); /* where another one was */
	for (uintptr_t i = 0; i < 300; i++)
		CHECK(ptrmap_id(&m, e) != id[i] && ptrmap_by_id(&m, id[i]) == NULL);
	CHECK(ptrmap_by_id(&m, 0) == NULL && ptrmap_by_id(&m, UINT32_MAX) == NULL);
	CHECK(ptrmap_peek(&m, 0) == NULL && ptrmap_peek(&m, UINT32_MAX) == NULL);
	CHECK(ptrmap_peek(&m, PTRMAP_FIRST + 1) == NULL);
	ptrmap_destroy(&m);
}

/* Found by either side, through growth, changes of both, and removal. */
TEST(by_value)
{
	enum { N = 9000 };
	static uintptr_t key[N], value[N];
	struct ptrmap m = { .by_value = true };
	struct rng r = { test_seed() };
	for (size_t op = 0; op < 100000; op++) {
		size_t i = rng_below(&r, N);
		uintptr_t fresh = 8 * (1 + rng_below(&r, 1000)), other = (op + N + 1) * 16;
		struct ptrmap_entry *e;
		if (key[i] == 0) {
			CHECK((e = ptrmap_put(&m, other)) != NULL);
			key[i] = other;
		} else {
			CHECK((e = ptrmap_find(&m, key[i])) != NULL && e->value[0] == value[i]);
		}
		if (op % 3 == 0 && value[i] != 0) {
			ptrmap_remove(&m, e);
			key[i] = value[i] = 0;
			continue;
		}
		if (op % 7 == 0)
			ptrmap_rename(&m, e, key[i] = other);
		ptrmap_set_value(&m, e, value[i] = fresh);
	}
	CHECK(m.capacity > PTRMAP_FIRST);
	size_t nfound = 0;
	for (uintptr_t v = 8; v <= 8000; v += 8) {
		struct ptrmap_entry *e;
		for (; (e = ptrmap_find_value(&m, v)) != NULL; nfound++) {
			size_t i = 0;
			while (i < N && key[i] != e->key)
				i++;
			CHECK(i < N && value[i] == v);
			key[i] = 0;
			ptrmap_remove(&m, e);
		}
	}
	for (size_t i = 0; i < N; i++)
		CHECK(key[i] == 0);
	CHECK(nfound > 1000 && m.n == 0);
	ptrmap_shrink(&m);
	CHECK_EQ(ptrmap_nbytes(&m), m.capacity * (sizeof(struct ptrmap_entry) + 2 * sizeof(uint32_t)));
	ptrmap_destroy(&m);
}

/* All of one value, by key: each goes in the same time, from wherever it is. */
TEST(many_of_one_value)
{
	struct ptrmap m = { .by_value = true };
	size_t n = test_size(300000);
	for (size_t i = 1; i <= n; i++) {
		struct ptrmap_entry *e = ptrmap_put(&m, 16 * i);
		ptrmap_set_value(&m, e, 8);
		ptrmap_set_value(&m, e, 8);
	}
	for (size_t i = 1; i <= n; i++)
		ptrmap_remove(&m, ptrmap_find(&m, 16 * (i * 7919 % n == 0 ? n : i * 7919 % n)));
	CHECK(m.n == 0 && ptrmap_find_value(&m, 8) == NULL);
	ptrmap_destroy(&m);
}
