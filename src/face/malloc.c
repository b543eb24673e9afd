/* malloc.c - malloc and free for every program: the C interface.
 * WHAT   the short ways, for blocks of up to 32 KiB and all frees of own blocks; behind them the long ones.
 *        Blocks are multiples of 16 bytes at multiples of 16 (the ABI's alignment for anything), also
 *        those of less than 16 bytes. malloc(0) is a block of its own.
 * WHO    programs, by LD_PRELOAD or by linking.
 * INV    F1 errno changes only to say why a call failed
 * LOCKS  see malloc.h.  UNITS bytes. */
#include "face/malloc.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

/* ── allocation ─────────────────────────────────────────────────────────────────────────── */

void *malloc_from(struct mcache *c, size_t nbytes, size_t align, bool *zero)
{
	if (MGC_UNLIKELY(secure_on(&malloc_face.secure) && c->kind != MCACHE_REGION)) {
		*zero = true;
		return secure_alloc(&malloc_face.secure, nbytes, align);
	}
	unsigned sc = malloc_class(nbytes, align);
	if (sc != 0)
		return mcache_alloc(c, sc);
	return mcache_alloc_large(c, max_size(nbytes, 1), align, zero);
}

void *malloc_from_late(size_t nbytes, size_t align, bool *zero)
{
	struct mcache *c = malloc_late();
	if (c == NULL)
		return NULL;
	void *p = malloc_from(c, nbytes, align, zero);
	malloc_late_end();
	return p;
}

MGC_NOINLINE void *malloc_slow(size_t nbytes, size_t align, bool *zero)
{
	int saved = errno;
	bool ignored;
	void *p = NULL;
	zero = zero != NULL ? zero : &ignored;
	*zero = false;
	if (nbytes <= PTRDIFF_MAX) {
		struct mcache *c = malloc_cache();
		if (c == NULL)
			p = malloc_from_late(nbytes, align, zero);
		else if (MGC_UNLIKELY(c->slow || c->metered || sampler_on()))
			p = malloc_watched(c, nbytes, align, zero);
		else
			p = malloc_from(c, nbytes, align, zero);
	}
	if (scavenger_is_due(&malloc_face.heap))
		malloc_start_scavenger();
	errno = p != NULL ? saved : ENOMEM;
	return p;
}

MGC_NOINLINE void *malloc_long(size_t nbytes)
{
	struct mcache *c = malloc_self;
	void *p = NULL;
	if (nbytes > MGC_MAX_SMALL && nbytes <= c->quick_run_nbytes)
		p = mcache_alloc_run(c, nbytes);
	return MGC_LIKELY(p != NULL) ? p : malloc_slow(nbytes, BLOCK_ALIGN, NULL);
}

void *malloc_aligned(size_t nbytes, size_t align)
{
	unsigned sc = nbytes <= MGC_MAX_SMALL ? mcache_class_aligned(nbytes, align) : 0;
	void *p = sc != 0 ? mcache_pop(malloc_self, sizeclass_table[sc].slot_nbytes) : NULL;
	return MGC_LIKELY(p != NULL) ? p : malloc_slow(nbytes, align, NULL);
}

MGC_EXPORT void *malloc(size_t nbytes)
{
	void *p = malloc_short(nbytes);
	return MGC_LIKELY(p != NULL) ? p : malloc_long(nbytes);
}

MGC_EXPORT void *calloc(size_t n, size_t each)
{
	size_t nbytes;
	bool zero = false;
	if (MGC_UNLIKELY(mul_overflows(n, each, &nbytes)))
		nbytes = SIZE_MAX;
	void *p = malloc_short(nbytes);
	if (MGC_UNLIKELY(p == NULL))
		p = malloc_slow(nbytes, BLOCK_ALIGN, &zero);
	return p == NULL || zero ? p : memset(p, 0, nbytes);
}

/* ── free ───────────────────────────────────────────────────────────────────────────────── */

MGC_COLD static void wrong_pointer(const void *p, enum block_verdict v, const char *caller)
{
	static const char *const what[] = {
		[BLOCK_FOREIGN] = "was not allocated here, or is freed, with all around it",
		[BLOCK_INSIDE] = "is not the start of a block",
		[BLOCK_TWICE] = "was freed already",
	};
	mgc_misuse("%s(%p): this address %s", caller, (void *)(uintptr_t)p, what[v]);
}

static enum block_verdict check(struct slab *s, uintptr_t p)
{
	if (!malloc_started())
		return BLOCK_FOREIGN;
	return secure_is(s) ? secure_check(&malloc_face.secure, s, p)
			    : mcache_check(&malloc_face.heap, s, p);
}

struct slab *malloc_block(const void *p, const char *caller)
{
	struct slab *s = slab_of(&malloc_face.heap.slabs, (uintptr_t)p);
	enum block_verdict v = check(s, (uintptr_t)p);
	if (MGC_UNLIKELY(v != BLOCK_OK))
		wrong_pointer(p, v, caller);
	return s;
}

/* thread_block - the same; dies of a region's block too. */
static struct slab *thread_block(const void *p, const char *caller)
{
	struct slab *s = malloc_block(p, caller);
	const struct mcache *owner = load_relaxed(&s->owner);
	if (MGC_UNLIKELY(owner != NULL && owner->kind == MCACHE_REGION))
		mgc_misuse(
			"%s(%p): the block is of a heap that mgc_heap_create made: use mgc_heap_%s",
			caller, (void *)(uintptr_t)p, caller);
	return s;
}

static MGC_NOINLINE void free_slow(void *p)
{
	if (p == NULL)
		return;
	int saved = errno;
	struct slab *s = thread_block(p, "free");
	sampler_forget((uintptr_t)p);
	if (secure_is(s)) {
		if (!secure_free(&malloc_face.secure, s, p))
			wrong_pointer(p, BLOCK_TWICE, "free");
	} else {
		struct mcache *c = malloc_self == &mcache_none ? malloc_cache() : malloc_own_cache();
		mcache_free(c, &malloc_face.heap, s, p);
	}
	errno = saved;
}

/* malloc_free_long - the frees that are still short: of another thread's block, which only goes into the outbox
 * or with its like to the owner, of an own one where most of the slab is free, and of a run. A key says that its
 * slab is some thread's; if that thread ends meanwhile, the slab becomes an orphan, and remains one while this
 * block is in use. */
MGC_NOINLINE void malloc_free_long(void *p)
{
	struct mcache *c = malloc_self;
	const struct manual *h = c->heap;
	uintptr_t addr = (uintptr_t)p, offset = addr & (SLAB_NBYTES - 1);
	if (h == NULL || !space_contains(&h->pageheap.space, addr)) { /* no cache; NULL or foreign */
		free_slow(p);
		return;
	}
	struct slab *s = slab_of(&h->slabs, addr); /* the range begins at a unit, whose record is no other's */
	if (load_relaxed(&s->key) != 0 && slab_is_block(s, addr - offset, addr))
		mcache_send(c, s, p);
	else if (load_relaxed(&s->owner) == c && slab_is_sparse(s) &&
		 slab_is_block(s, addr - offset, addr) && !slab_is_in_hole(s, addr - offset, addr))
		mcache_free_sparse(c, s, p);
	else if (offset == 0 && load_relaxed(&s->state) == SLAB_LARGE &&
		 s->countdown <= MCACHE_MAX_RUN * SLAB_PAGES && load_relaxed(&s->owner) == NULL)
		mcache_keep_run(c, s);
	else
		free_slow(p);
}

MGC_EXPORT void free(void *p)
{
	malloc_free_inline(p);
}

MGC_EXPORT void free_sized(void *p, size_t nbytes)
{
	(void)nbytes;
	malloc_free_inline(p);
}

MGC_EXPORT void free_aligned_sized(void *p, size_t align, size_t nbytes)
{
	(void)align;
	(void)nbytes;
	malloc_free_inline(p);
}

/* ── realloc ────────────────────────────────────────────────────────────────────────────── */

size_t malloc_block_nbytes(const struct slab *s)
{
	return secure_is(s) ? secure_usable(s) : mcache_usable(s);
}

/* fits - a block of `have` bytes may stay for nbytes. */
static bool fits(size_t have, size_t nbytes)
{
	return nbytes <= have && (nbytes >= have / 2 || have <= 64);
}

/* move - a block of nbytes with what p, of `have` bytes, holds. What becomes smaller stays where there is no memory: programs
 * count on that. */
static void *move(void *p, size_t have, size_t nbytes)
{
	int saved = nbytes <= have ? errno : 0;
	void *q = malloc(nbytes);
	if (MGC_UNLIKELY(q == NULL)) {
		if (nbytes > have)
			return NULL;
		sampler_resize((uintptr_t)p, nbytes);
		errno = saved;
		return p;
	}
	memcpy(q, p, min_size(have, nbytes));
	free(p);
	return q;
}

/* resize_large - of a large object, to what is one, too: in place, or without a copy. NULL: neither. */
static void *resize_large(struct slab *s, void *p, size_t nbytes)
{
	struct manual *h = &malloc_face.heap;
	struct mcache *c = malloc_own_cache();
	if (mcache_resize_large(h, s, nbytes)) {
		malloc_watch_resized(s, p, nbytes);
		return p;
	}
	if (c == NULL || nbytes <= MCACHE_MAX_RUN * SLAB_NBYTES || nbytes < malloc_block_nbytes(s))
		return NULL;
	void *q = mcache_move_large(c, s, nbytes);
	if (q == NULL)
		return NULL;
	sampler_forget((uintptr_t)p);
	malloc_watch_resized(slab_of(&h->slabs, (uintptr_t)q), q, nbytes);
	return q;
}

/* realloc_long - of other threads' blocks, large objects, nothing, and mistakes. */
static MGC_NOINLINE void *realloc_long(void *p, size_t nbytes)
{
	if (p == NULL)
		return malloc(nbytes);
	if (nbytes == 0) { /* as glibc */
		free(p);
		return NULL;
	}
	struct slab *s = thread_block(p, "realloc");
	size_t have = malloc_block_nbytes(s);
	if (fits(have, nbytes)) {
		sampler_resize((uintptr_t)p, nbytes);
		return p;
	}
	if (have > MGC_MAX_SMALL && nbytes > MGC_MAX_SMALL && nbytes <= PTRDIFF_MAX && !secure_is(s)) {
		int saved = errno;
		void *q = resize_large(s, p, nbytes);
		errno = saved;
		if (q != NULL)
			return q;
	}
	return move(p, have, nbytes);
}

/* own_slab - the slab of the calling thread's in which p begins a block, or NULL: then the long way. */
MGC_INLINE const struct slab *own_slab(const void *p)
{
	const struct slab *s = malloc_slab((uintptr_t)p);
	if (MGC_UNLIKELY(slab_key((uintptr_t)p) != load_relaxed(&s->key)))
		return NULL;
	bool is_block = slab_is_block(s, align_down((uintptr_t)p, SLAB_NBYTES), (uintptr_t)p);
	return MGC_LIKELY(is_block) ? s : NULL;
}

MGC_EXPORT void *realloc(void *p, size_t nbytes)
{
	const struct slab *s = own_slab(p);
	if (MGC_UNLIKELY(s == NULL || nbytes == 0))
		return realloc_long(p, nbytes);
	size_t have = slab_block_nbytes(s);
	return fits(have, nbytes) ? p : move(p, have, nbytes);
}

MGC_EXPORT void *reallocarray(void *p, size_t n, size_t each)
{
	size_t nbytes;
	if (mul_overflows(n, each, &nbytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, nbytes);
}

/* ── alignment ──────────────────────────────────────────────────────────────────────────── */

MGC_EXPORT void *aligned_alloc(size_t align, size_t nbytes)
{
	if (!is_pow2(align)) {
		errno = EINVAL;
		return NULL;
	}
	return malloc_aligned(nbytes, align);
}

MGC_EXPORT void *memalign(size_t align, size_t nbytes)
{
	if (align > SIZE_MAX / 2 + 1) {
		errno = EINVAL;
		return NULL;
	}
	if (!is_pow2(align)) /* as glibc: the next power of two */
		align = align == 0 ? 1 : (size_t)1 << (64 - bits_clz(align));
	return malloc_aligned(nbytes, align);
}

MGC_EXPORT int posix_memalign(void **out, size_t align, size_t nbytes)
{
	if (!is_pow2(align) || align % sizeof(void *) != 0)
		return EINVAL;
	int saved = errno;
	void *p = malloc_aligned(nbytes, align);
	errno = saved;
	if (p == NULL)
		return ENOMEM;
	*out = p;
	return 0;
}

MGC_EXPORT void *valloc(size_t nbytes)
{
	return malloc_aligned(nbytes, os_page_size());
}

MGC_EXPORT void *pvalloc(size_t nbytes)
{
	size_t page = os_page_size();
	if (nbytes > PTRDIFF_MAX - page) {
		errno = ENOMEM;
		return NULL;
	}
	return malloc_aligned(align_up(max_size(nbytes, 1), page), page);
}

/* usable_long - of other threads' blocks, large objects, nothing, and mistakes. */
static MGC_NOINLINE size_t usable_long(const void *p)
{
	return p != NULL ? malloc_block_nbytes(malloc_block(p, "malloc_usable_size")) : 0;
}

/* malloc_usable_size - some programs ask for each block when they get it, and again before they free it. */
MGC_EXPORT size_t malloc_usable_size(void *p)
{
	const struct slab *s = own_slab(p);
	return MGC_LIKELY(s != NULL) ? slab_block_nbytes(s) : usable_long(p);
}
