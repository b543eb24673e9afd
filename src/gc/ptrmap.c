/* ptrmap.c - see ptrmap.h. */
#include "gc/ptrmap.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

#define MAX_CAPACITY ((size_t)PTRMAP_FIRST << (PTRMAP_CHUNKS - 1))
#define ID_SHIFT 32

/* Both indices: by the key, and, if it is wanted, by value[0]. */
enum axis { BY_KEY, BY_VALUE };

/* ── chunks ─────────────────────────────────────────────────────────────────────────────── */

MGC_INLINE unsigned chunk_of(size_t i)
{
	return i < PTRMAP_FIRST ? 0 : 64 - bits_clz(i / PTRMAP_FIRST);
}

MGC_INLINE size_t chunk_first(unsigned k)
{
	return k == 0 ? 0 : (size_t)PTRMAP_FIRST << (k - 1);
}

MGC_INLINE size_t chunk_records(unsigned k)
{
	return k == 0 ? PTRMAP_FIRST : chunk_first(k);
}

static size_t naxes(const struct ptrmap *m)
{
	return m->by_value ? 2 : 1;
}

static size_t chunk_nbytes(const struct ptrmap *m, unsigned k)
{
	size_t each = sizeof(struct ptrmap_entry) + naxes(m) * sizeof(uint32_t);
	return align_up(chunk_records(k) * each, os_page_size());
}

MGC_INLINE struct ptrmap_entry *record_at(const struct ptrmap *m, size_t i)
{
	unsigned k = chunk_of(i);
	return &load_acquire(&m->chunk[k])[i - chunk_first(k)]; /* pairs: ptrmap-chunk */
}

struct ptrmap_entry *ptrmap_at(const struct ptrmap *m, size_t i)
{
	return record_at(m, i);
}

static bool add_chunk(struct ptrmap *m)
{
	unsigned k = m->capacity == 0 ? 0 : chunk_of(m->capacity);
	struct ptrmap_entry *c = m->capacity >= MAX_CAPACITY
					 ? NULL
					 : (struct ptrmap_entry *)os_alloc(chunk_nbytes(m, k));
	if (c == NULL)
		return false;
	store_release(&m->chunk[k], c); /* pairs: ptrmap-chunk */
	m->capacity += chunk_records(k);
	return true;
}

static void drop_chunk(struct ptrmap *m)
{
	unsigned k = chunk_of(m->capacity - 1);
	os_release((uintptr_t)m->chunk[k], chunk_nbytes(m, k));
	m->chunk[k] = NULL;
	m->capacity -= chunk_records(k);
}

/* number_of - index + 1. The last chunk has half of all records. */
static uint32_t number_of(const struct ptrmap *m, const struct ptrmap_entry *e)
{
	unsigned k = chunk_of(m->capacity - 1);
	while (e < m->chunk[k] || e >= m->chunk[k] + chunk_records(k))
		k--;
	return (uint32_t)(chunk_first(k) + (size_t)(e - m->chunk[k])) + 1;
}

MGC_INLINE struct ptrmap_entry *numbered(const struct ptrmap *m, uint32_t number)
{
	return number == 0 ? NULL : record_at(m, number - 1);
}

/* ── the indices ────────────────────────────────────────────────────────────────────────── */

MGC_INLINE uint32_t *bucket_at(const struct ptrmap *m, enum axis axis, size_t i)
{
	unsigned k = chunk_of(i);
	uint32_t *first = (uint32_t *)(m->chunk[k] + chunk_records(k));
	return &first[axis * chunk_records(k) + i - chunk_first(k)];
}

static uintptr_t key_on(const struct ptrmap_entry *e, enum axis axis)
{
	return axis == BY_KEY ? e->key : e->value[0];
}

/* The second index is linked both ways. */
struct neighbours {
	uint32_t next, previous; /* index + 1 */
};
_Static_assert(sizeof(struct neighbours) == sizeof(uintptr_t), "they share value[1]");

static struct neighbours *neighbours_of(struct ptrmap_entry *e)
{
	return (struct neighbours *)(void *)&e->value[1];
}

static uint32_t *next_on(struct ptrmap_entry *e, enum axis axis)
{
	return axis == BY_KEY ? &e->next : &neighbours_of(e)->next;
}

/* bucket_number - with n buckets, of which the first few of a doubling may be split already. */
MGC_INLINE size_t bucket_number(uintptr_t key, size_t n)
{
	size_t hash = (size_t)bits_mix(key);
	size_t mask = n <= 1 ? 0 : ((size_t)2 << (63 - bits_clz(n - 1))) - 1;
	size_t at = hash & mask;
	return at < n ? at : at & mask >> 1;
}

static uint32_t *bucket_of(const struct ptrmap *m, enum axis axis, uintptr_t key)
{
	return bucket_at(m, axis, bucket_number(key, m->used));
}

/* push_on, unlink_on - at the head of that bucket; from wherever it is. */
static void push_on(struct ptrmap *m, struct ptrmap_entry *e, uint32_t number, enum axis axis,
		    uint32_t *bucket)
{
	*next_on(e, axis) = *bucket;
	if (axis == BY_VALUE) {
		neighbours_of(e)->previous = 0;
		if (*bucket != 0)
			neighbours_of(numbered(m, *bucket))->previous = number;
	}
	*bucket = number;
}

static void unlink_by_key(struct ptrmap *m, struct ptrmap_entry *e, uint32_t number)
{
	uint32_t *at = bucket_of(m, BY_KEY, e->key);
	while (*at != number)
		at = &numbered(m, *at)->next;
	*at = e->next;
}

static void unlink_by_value(struct ptrmap *m, struct ptrmap_entry *e)
{
	const struct neighbours *n = neighbours_of(e);
	uint32_t *at = n->previous != 0 ? next_on(numbered(m, n->previous), BY_VALUE)
					: bucket_of(m, BY_VALUE, e->value[0]);
	*at = n->next;
	if (n->next != 0)
		neighbours_of(numbered(m, n->next))->previous = n->previous;
}

static void link_on(struct ptrmap *m, struct ptrmap_entry *e, uint32_t number, enum axis axis)
{
	push_on(m, e, number, axis, bucket_of(m, axis, key_on(e, axis)));
}

static void unlink_on(struct ptrmap *m, struct ptrmap_entry *e, uint32_t number, enum axis axis)
{
	if (axis == BY_KEY)
		unlink_by_key(m, e, number);
	else
		unlink_by_value(m, e);
}

/* split - bucket number m->used, the last from now on, takes its share of the one it was part of. */
static void split_on(struct ptrmap *m, enum axis axis)
{
	size_t fresh = m->used;
	uint32_t *to = bucket_at(m, axis, fresh), *from, at;
	*to = 0;
	if (fresh == 0)
		return;
	from = bucket_at(m, axis, fresh & (((size_t)1 << (63 - bits_clz(fresh))) - 1));
	at = *from;
	*from = 0;
	while (at != 0) {
		uint32_t number = at;
		struct ptrmap_entry *e = numbered(m, number);
		at = *next_on(e, axis);
		push_on(m, e, number, axis,
			bucket_number(key_on(e, axis), fresh + 1) == fresh ? to : from);
	}
}

static struct ptrmap_entry *find_from(const struct ptrmap *m, uint32_t number, enum axis axis,
				      uintptr_t key)
{
	struct ptrmap_entry *e = numbered(m, number);
	while (e != NULL && key_on(e, axis) != key)
		e = numbered(m, *next_on(e, axis));
	return e;
}

struct ptrmap_entry *ptrmap_find(const struct ptrmap *m, uintptr_t key)
{
	return m->used == 0 ? NULL : find_from(m, *bucket_of(m, BY_KEY, key), BY_KEY, key);
}

struct ptrmap_entry *ptrmap_find_more(const struct ptrmap *m, const struct ptrmap_entry *e)
{
	return find_from(m, e->next, BY_KEY, e->key);
}

struct ptrmap_entry *ptrmap_find_value(const struct ptrmap *m, uintptr_t value)
{
	return m->used == 0 ? NULL : find_from(m, *bucket_of(m, BY_VALUE, value), BY_VALUE, value);
}

/* ── records ────────────────────────────────────────────────────────────────────────────── */

/* take - the number of a free record, or 0. */
static uint32_t take(struct ptrmap *m)
{
	uint32_t number = m->free;
	if (number != 0) {
		m->free = numbered(m, number)->next;
		return number;
	}
	if (m->used == m->capacity && !add_chunk(m))
		return 0;
	for (size_t axis = 0; axis < naxes(m); axis++)
		split_on(m, (enum axis)axis);
	return (uint32_t)++m->used;
}

static void link(struct ptrmap *m, struct ptrmap_entry *e, uint32_t number)
{
	for (size_t axis = 0; axis < naxes(m); axis++)
		link_on(m, e, number, (enum axis)axis);
	e->state = PTRMAP_IN;
	m->n++;
}

static void unlink(struct ptrmap *m, struct ptrmap_entry *e, uint32_t number)
{
	MGC_CHECK(e->state == PTRMAP_IN);
	for (size_t axis = 0; axis < naxes(m); axis++)
		unlink_on(m, e, number, (enum axis)axis);
	e->generation++;
	m->n--;
}

static void put_free(struct ptrmap *m, struct ptrmap_entry *e, uint32_t number)
{
	e->next = m->free;
	e->state = PTRMAP_FREE;
	m->free = number;
}

struct ptrmap_entry *ptrmap_add(struct ptrmap *m, uintptr_t key)
{
	uint32_t number = take(m);
	struct ptrmap_entry *e = numbered(m, number);
	if (e == NULL)
		return NULL;
	*e = (struct ptrmap_entry){ .key = key, .generation = e->generation };
	link(m, e, number);
	return e;
}

struct ptrmap_entry *ptrmap_put(struct ptrmap *m, uintptr_t key)
{
	struct ptrmap_entry *e = ptrmap_find(m, key);
	return e != NULL ? e : ptrmap_add(m, key);
}

void ptrmap_rename(struct ptrmap *m, struct ptrmap_entry *e, uintptr_t key)
{
	uint32_t number = number_of(m, e);
	unlink_on(m, e, number, BY_KEY);
	e->key = key;
	link_on(m, e, number, BY_KEY);
}

void ptrmap_set_value(struct ptrmap *m, struct ptrmap_entry *e, uintptr_t value)
{
	uint32_t number = number_of(m, e);
	unlink_on(m, e, number, BY_VALUE);
	e->value[0] = value;
	link_on(m, e, number, BY_VALUE);
}

static void remove_numbered(struct ptrmap *m, struct ptrmap_entry *e, uint32_t number)
{
	unlink(m, e, number);
	put_free(m, e, number);
}

void ptrmap_remove(struct ptrmap *m, struct ptrmap_entry *e)
{
	remove_numbered(m, e, number_of(m, e));
}

void ptrmap_retire(struct ptrmap *m, struct ptrmap_entry *e)
{
	uint32_t number = number_of(m, e);
	unlink(m, e, number);
	uint32_t *at = m->last != 0 ? &numbered(m, m->last)->next : &m->first;
	e->next = 0;
	e->state = PTRMAP_QUEUED;
	*at = m->last = number;
	m->nqueued++;
}

bool ptrmap_next(struct ptrmap *m, struct ptrmap_entry *out)
{
	uint32_t number = m->first;
	struct ptrmap_entry *e = numbered(m, number);
	if (e == NULL)
		return false;
	*out = *e;
	m->first = e->next;
	if (m->first == 0)
		m->last = 0;
	m->nqueued--;
	put_free(m, e, number);
	return true;
}

uint64_t ptrmap_id(const struct ptrmap *m, const struct ptrmap_entry *e)
{
	return (uint64_t)e->generation << ID_SHIFT | number_of(m, e);
}

struct ptrmap_entry *ptrmap_by_id(const struct ptrmap *m, uint64_t id)
{
	size_t number = id & UINT32_MAX;
	if (number == 0 || number > m->used)
		return NULL;
	struct ptrmap_entry *e = ptrmap_at(m, number - 1);
	return e->state == PTRMAP_IN && e->generation == id >> ID_SHIFT ? e : NULL;
}

struct ptrmap_entry *ptrmap_peek(const struct ptrmap *m, uint64_t id)
{
	size_t number = id & UINT32_MAX;
	if (number == 0 || number > MAX_CAPACITY)
		return NULL;
	unsigned k = chunk_of(number - 1);
	struct ptrmap_entry *c = load_acquire(&m->chunk[k]); /* pairs: ptrmap-chunk */
	return c != NULL ? &c[number - 1 - chunk_first(k)] : NULL;
}

bool ptrmap_filter(struct ptrmap *m, size_t *at, size_t most,
		   bool (*drop)(void *arg, struct ptrmap_entry *e), void *arg)
{
	for (; *at < m->used && most > 0; ++*at, most--) {
		struct ptrmap_entry *e = record_at(m, *at);
		if (e->state == PTRMAP_IN && drop(arg, e))
			remove_numbered(m, e, (uint32_t)*at + 1);
	}
	return *at < m->used;
}

/* ── memory ─────────────────────────────────────────────────────────────────────────────── */

/* rebuild - with fewer buckets, and a free list that begins with the lowest. */
static void rebuild(struct ptrmap *m, size_t used)
{
	m->used = used;
	m->n = 0;
	m->free = 0;
	for (size_t axis = 0; axis < naxes(m); axis++)
		for (size_t i = 0; i < used; i++)
			*bucket_at(m, (enum axis)axis, i) = 0;
	for (size_t i = used; i-- > 0;) {
		struct ptrmap_entry *e = ptrmap_at(m, i);
		if (e->state == PTRMAP_IN)
			link(m, e, (uint32_t)i + 1);
		else if (e->state == PTRMAP_FREE)
			put_free(m, e, (uint32_t)i + 1);
	}
}

void ptrmap_shrink(struct ptrmap *m)
{
	size_t used = m->used;
	if (m->capacity <= PTRMAP_FIRST || 4 * (m->n + m->nqueued) > m->capacity)
		return;
	while (used > 0 && ptrmap_at(m, used - 1)->state == PTRMAP_FREE)
		used--;
	if (used > m->capacity / 2)
		return;
	rebuild(m, used);
	while (m->capacity > PTRMAP_FIRST && m->capacity / 2 >= used)
		drop_chunk(m);
}

size_t ptrmap_nbytes(const struct ptrmap *m)
{
	size_t nbytes = 0;
	for (unsigned k = 0; k < PTRMAP_CHUNKS && m->chunk[k] != NULL; k++)
		nbytes += chunk_nbytes(m, k);
	return nbytes;
}

void ptrmap_destroy(struct ptrmap *m)
{
	bool by_value = m->by_value;
	while (m->capacity != 0)
		drop_chunk(m);
	*m = (struct ptrmap){ .by_value = by_value };
}
