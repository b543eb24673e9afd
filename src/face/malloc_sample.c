/* malloc_sample.c - the sampler in the malloc face.
 * WHAT   While it is on, a thread's cache is metered (mcache_sample.h): the small block that a point falls into is asked
 *        for here, and a few others are; large objects all come here, and their bytes are counted one by one.
 *        A sampled block is taken from the late cache, and so has no key; a large one belongs to
 *        that cache: either way its free comes the slow way too, where the sampler is told. All other frees
 *        stay short. So nothing on the short ways knows of the sampler, and while it is off they are as they were.
 *        A thread notices that it was switched on when it next runs out of blocks of a size.
 *        In secure mode each allocation comes here, and its bytes are counted.
 * WHO    malloc.c's slow way.
 * STATE  a cache's `metered` follows the sampler's rate, `slow` secure mode.
 * LOCKS  CLIENT while the block is taken; SAMPLE after it, alone.  UNITS bytes, as they were asked for. */
#include "base/bits.h"
#include "face/malloc.h"
#include "sample/sampler.h"

/* is_hit - a point falls into the object; of a small one, into all of its block, *thrown_nbytes. The thread's stack is
 * walked by code that may allocate: not that, too. */
static bool is_hit(struct mcache *c, size_t nbytes, unsigned sc, size_t *thrown_nbytes)
{
	*thrown_nbytes = sc != 0 ? sizeclass_table[sc].slot_nbytes : nbytes;
	if (c->sampling)
		return false;
	return sc != 0 ? mcache_is_due(c, sc) : sampler_pass(&c->sample, nbytes) < nbytes;
}

static void take(struct mcache *c, void *p, size_t nbytes, size_t thrown_nbytes)
{
	c->sampling = true;
	sampler_take(&c->sample, (uintptr_t)p, nbytes, thrown_nbytes);
	c->sampling = false;
}

void *malloc_watched(struct mcache *c, size_t nbytes, size_t align, bool *zero)
{
	size_t counted = max_size(nbytes, 1), thrown;
	bool on = sampler_on(), secure = secure_on(&malloc_face.secure);
	if (c->slow != secure)
		mcache_set_slow(c, secure);
	if (c->metered != (on && !secure))
		mcache_meter(c, on && !secure);
	unsigned sc = secure ? 0 : malloc_class(nbytes, align);
	if (!on || !is_hit(c, counted, sc, &thrown))
		return malloc_from(c, nbytes, align, zero);
	void *p = malloc_from_late(nbytes, align, zero);
	if (p != NULL)
		take(c, p, counted, thrown);
	return p;
}

void malloc_watch_resized(struct slab *s, void *p, size_t nbytes)
{
	struct mcache *c = malloc_own_cache(), *late;
	size_t thrown;
	sampler_forget((uintptr_t)p);
	if (!sampler_on() || c == NULL || !is_hit(c, nbytes, 0, &thrown) || (late = malloc_late()) == NULL)
		return;
	store_relaxed(&s->owner, late);
	malloc_late_end();
	take(c, p, nbytes, thrown);
}
