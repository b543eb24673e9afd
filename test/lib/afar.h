/* afar.h - objects of the collected heap, looked at without keeping them alive: this thread never has
 * an address, only its complement; what must have it runs on a thread that is gone afterwards.
 * WHO    tests of the native API, after plain.h. */
#ifndef TEST_LIB_AFAR_H
#define TEST_LIB_AFAR_H
#include "lib/plain.h"
#include "mallocgc.h"

static inline UNUSED void *collect(void *arg)
{
	mgc_collect();
	return arg;
}

/* collect_afar - a whole collection, with nothing on the collecting thread's stack. */
static inline UNUSED void collect_afar(void)
{
	on_thread(collect, NULL);
}

/* count_alive - how many of the n hidden addresses are first bytes of objects. */
struct afar {
	const uintptr_t *hidden;
	size_t n;
	uint8_t *alive;
};

static inline UNUSED void *look_at(void *arg)
{
	const struct afar *a = arg;
	size_t n = 0;
	for (size_t i = 0; i < a->n; i++) {
		const void *p = unhide(a->hidden[i]);
		bool alive = p != NULL && mgc_base(p) == p;
		n += alive;
		if (a->alive != NULL)
			a->alive[i] = alive;
	}
	return (void *)n;
}

/* `alive`, if not NULL, gets one byte for each. */
static inline UNUSED size_t count_alive(const uintptr_t *hidden, size_t n, uint8_t *alive)
{
	struct afar a = { hidden, n, alive };
	return (size_t)on_thread(look_at, &a);
}

static inline UNUSED bool is_alive(uintptr_t hidden)
{
	return count_alive(&hidden, 1, NULL) == 1;
}

/* put_afar - *slot = the object. */
struct put_afar {
	void **slot;
	uintptr_t hidden;
};

static inline UNUSED void *put_on_thread(void *arg)
{
	struct put_afar *p = arg;
	*p->slot = unhide(p->hidden);
	return NULL;
}

static inline UNUSED void put_afar(void **slot, uintptr_t hidden)
{
	struct put_afar p = { slot, hidden };
	on_thread(put_on_thread, &p);
}

#endif
