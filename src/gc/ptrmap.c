/* ptrmap.c - see ptrmap.h. */
#include "gc/ptrmap.h"

#include "base/bits.h"
#include "os/os.h"

#define MIN_CAPACITY ((size_t)2048)

static size_t home(const struct ptrmap *m, uintptr_t key)
{
	return (size_t)bits_mix(key) & (m->capacity - 1);
}

struct ptrmap_entry *ptrmap_find(const struct ptrmap *m, uintptr_t key)
{
	if (m->capacity == 0)
		return NULL;
	for (size_t i = home(m, key);; i = (i + 1) & (m->capacity - 1)) {
		if (m->entry[i].key == key)
			return &m->entry[i];
		if (m->entry[i].key == 0)
			return NULL;
	}
}

static struct ptrmap_entry *insert(struct ptrmap *m, uintptr_t key)
{
	size_t i = home(m, key);
	while (m->entry[i].key != 0)
		i = (i + 1) & (m->capacity - 1);
	m->entry[i] = (struct ptrmap_entry){ .key = key };
	m->n++;
	return &m->entry[i];
}

static bool resize(struct ptrmap *m, size_t capacity)
{
	struct ptrmap other = { .capacity = capacity };
	other.entry = (struct ptrmap_entry *)os_alloc(capacity * sizeof *other.entry);
	if (other.entry == NULL)
		return false;
	for (size_t i = 0; i < m->capacity; i++)
		if (m->entry[i].key != 0)
			*insert(&other, m->entry[i].key) = m->entry[i];
	ptrmap_destroy(m);
	*m = other;
	return true;
}

void ptrmap_shrink(struct ptrmap *m)
{
	size_t capacity = m->capacity;
	while (capacity > MIN_CAPACITY && m->n < capacity / 8)
		capacity /= 2;
	if (capacity != m->capacity)
		(void)resize(m, capacity); /* refused: it stays as it is */
}

struct ptrmap_entry *ptrmap_put(struct ptrmap *m, uintptr_t key)
{
	struct ptrmap_entry *e = ptrmap_find(m, key);
	if (e != NULL)
		return e;
	if (m->n >= m->capacity / 4 * 3 && !resize(m, m->capacity != 0 ? 2 * m->capacity : MIN_CAPACITY))
		return NULL;
	return insert(m, key);
}

void ptrmap_remove(struct ptrmap *m, struct ptrmap_entry *e)
{
	size_t mask = m->capacity - 1, hole = (size_t)(e - m->entry);
	for (size_t i = (hole + 1) & mask; m->entry[i].key != 0; i = (i + 1) & mask) {
		/* an entry may move back to the hole when its home is not between the hole and it */
		if (((i - home(m, m->entry[i].key)) & mask) >= ((i - hole) & mask)) {
			m->entry[hole] = m->entry[i];
			hole = i;
		}
	}
	m->entry[hole].key = 0;
	m->n--;
}

void ptrmap_filter(struct ptrmap *m, bool (*drop)(void *arg, struct ptrmap_entry *e), void *arg)
{
	for (size_t i = 0; i < m->capacity; i++)
		while (m->entry[i].key != 0 && drop(arg, &m->entry[i]))
			ptrmap_remove(m, &m->entry[i]);
}

void ptrmap_destroy(struct ptrmap *m)
{
	if (m->capacity != 0)
		os_release((uintptr_t)m->entry, m->capacity * sizeof *m->entry);
	*m = (struct ptrmap){ 0 };
}
