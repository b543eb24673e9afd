/* malloc_sample.c - the sampler in the malloc face.
 * WHAT   While it is on, a thread's short ways find nothing, so each of its allocations comes here and is counted.
 *        A block that a point falls into is taken from the late cache, and so has no key; a large one belongs to
 *        that cache: either way its free comes the slow way too, where the sampler is told. All other frees
 *        stay short. So nothing on the short ways knows of the sampler, and while it is off they are as they were.
 *        A thread notices that it was switched on when it next runs out of blocks of a size.
 * WHO    malloc.c's slow way.
 * STATE  a cache's `slow` follows the sampler's rate.
 * LOCKS  CLIENT while the block is taken; SAMPLE after it, alone.  UNITS bytes, as they were asked for. */
#include "base/bits.h"
#include "face/malloc.h"
#include "sample/sampler.h"

/* is_hit - a point falls into so many bytes of c's thread. Its stack is walked by code that may allocate: not
 * that, too. */
static bool is_hit(struct mcache *c, size_t nbytes)
{
	return !c->sampling && sampler_pass(&c->sample, nbytes) < nbytes;
}

static void take(struct mcache *c, void *p, size_t nbytes)
{
	c->sampling = true;
	sampler_take(&c->sample, (uintptr_t)p, nbytes);
	c->sampling = false;
}

void *malloc_watched(struct mcache *c, size_t nbytes, size_t align, bool *zero)
{
	size_t counted = max_size(nbytes, 1);
	bool on = sampler_on();
	bool slow = on || secure_on(&malloc_face.secure);
	if (c->slow != slow)
		mcache_set_slow(c, slow);
	if (!on || !is_hit(c, counted))
		return malloc_from(c, nbytes, align, zero);
	void *p = malloc_from_late(nbytes, align, zero);
	if (p != NULL)
		take(c, p, counted);
	return p;
}

void malloc_watch_resized(struct slab *s, void *p, size_t nbytes)
{
	struct mcache *c = malloc_own_cache(), *late;
	sampler_forget((uintptr_t)p);
	if (!sampler_on() || c == NULL || !is_hit(c, nbytes) || (late = malloc_late()) == NULL)
		return;
	store_relaxed(&s->owner, late);
	malloc_late_end();
	take(c, p, nbytes);
}
