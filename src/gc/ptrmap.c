/* ptrmap.c - see ptrmap.h. */
#include "gc/ptrmap.h"

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

#define MIN_CAPACITY ((size_t)2048)
/* Indices, plus one, fit 32 bits. */
#define MAX_CAPACITY ((size_t)1 << 31)

static uint32_t *bucket_of(const struct ptrmap *m, uintptr_t key)
{
	return &m->bucket[(size_t)bits_mix(key) & (m->capacity - 1)];
}

/* number_of - index + 1. */
static uint32_t number_of(const struct ptrmap *m, const struct ptrmap_entry *e)
{
	return (uint32_t)(e - m->entry) + 1;
}

static size_t nbytes_of(size_t capacity)
{
	return align_up(capacity * (sizeof(struct ptrmap_entry) + sizeof(uint32_t)), os_page_size());
}

struct ptrmap_entry *ptrmap_find(const struct ptrmap *m, uintptr_t key)
{
	if (m->capacity == 0)
		return NULL;
	for (uint32_t at = *bucket_of(m, key); at != 0; at = m->entry[at - 1].next)
		if (m->entry[at - 1].key == key)
			return &m->entry[at - 1];
	return NULL;
}

/* take - a free record; there is one. */
static struct ptrmap_entry *take(struct ptrmap *m)
{
	if (m->free == 0)
		return &m->entry[m->used++];
	struct ptrmap_entry *e = &m->entry[m->free - 1];
	m->free = e->next;
	return e;
}

static void link(struct ptrmap *m, struct ptrmap_entry *e)
{
	uint32_t *bucket = bucket_of(m, e->key);
	e->next = *bucket;
	e->state = PTRMAP_IN;
	*bucket = number_of(m, e);
	m->n++;
}

static void unlink(struct ptrmap *m, struct ptrmap_entry *e)
{
	uint32_t *at = bucket_of(m, e->key);
	MGC_CHECK(e->state == PTRMAP_IN);
	while (*at != number_of(m, e))
		at = &m->entry[*at - 1].next;
	*at = e->next;
	m->n--;
}

static void enqueue(struct ptrmap *m, struct ptrmap_entry *e)
{
	uint32_t *at = m->last != 0 ? &m->entry[m->last - 1].next : &m->first;
	e->next = 0;
	e->state = PTRMAP_QUEUED;
	*at = m->last = number_of(m, e);
	m->nqueued++;
}

static void put_free(struct ptrmap *m, struct ptrmap_entry *e)
{
	e->next = m->free;
	e->state = PTRMAP_FREE;
	m->free = number_of(m, e);
}

/* resize - all records that are in use move to a new table, without gaps. */
static bool resize(struct ptrmap *m, size_t capacity)
{
	struct ptrmap other = { .capacity = capacity };
	if (capacity > MAX_CAPACITY)
		return false;
	other.entry = (struct ptrmap_entry *)os_alloc(nbytes_of(capacity));
	if (other.entry == NULL)
		return false;
	other.bucket = (uint32_t *)(other.entry + capacity);
	for (size_t i = 0; i < m->used; i++) {
		if (m->entry[i].state != PTRMAP_IN)
			continue;
		struct ptrmap_entry *e = take(&other);
		*e = m->entry[i];
		link(&other, e);
	}
	for (uint32_t at = m->first; at != 0; at = m->entry[at - 1].next) {
		struct ptrmap_entry *e = take(&other);
		*e = m->entry[at - 1];
		enqueue(&other, e);
	}
	ptrmap_destroy(m);
	*m = other;
	return true;
}

void ptrmap_shrink(struct ptrmap *m)
{
	size_t capacity = m->capacity;
	while (capacity > MIN_CAPACITY && m->n + m->nqueued < capacity / 8)
		capacity /= 2;
	if (capacity != m->capacity)
		(void)resize(m, capacity); /* refused: it stays as it is */
}

struct ptrmap_entry *ptrmap_put(struct ptrmap *m, uintptr_t key)
{
	struct ptrmap_entry *e = ptrmap_find(m, key);
	if (e != NULL)
		return e;
	if (m->free == 0 && m->used == m->capacity &&
	    !resize(m, m->capacity != 0 ? 2 * m->capacity : MIN_CAPACITY))
		return NULL;
	e = take(m);
	*e = (struct ptrmap_entry){ .key = key };
	link(m, e);
	return e;
}

void ptrmap_rename(struct ptrmap *m, struct ptrmap_entry *e, uintptr_t key)
{
	unlink(m, e);
	e->key = key;
	link(m, e);
}

void ptrmap_remove(struct ptrmap *m, struct ptrmap_entry *e)
{
	unlink(m, e);
	put_free(m, e);
}

void ptrmap_retire(struct ptrmap *m, struct ptrmap_entry *e)
{
	unlink(m, e);
	enqueue(m, e);
}

bool ptrmap_next(struct ptrmap *m, struct ptrmap_entry *out)
{
	if (m->first == 0)
		return false;
	struct ptrmap_entry *e = &m->entry[m->first - 1];
	*out = *e;
	m->first = e->next;
	if (m->first == 0)
		m->last = 0;
	m->nqueued--;
	put_free(m, e);
	return true;
}

void ptrmap_filter(struct ptrmap *m, bool (*drop)(void *arg, struct ptrmap_entry *e), void *arg)
{
	for (size_t i = 0; i < m->used; i++)
		if (m->entry[i].state == PTRMAP_IN && drop(arg, &m->entry[i]))
			ptrmap_remove(m, &m->entry[i]);
}

void ptrmap_destroy(struct ptrmap *m)
{
	if (m->capacity != 0)
		os_release((uintptr_t)m->entry, nbytes_of(m->capacity));
	*m = (struct ptrmap){ 0 };
}
