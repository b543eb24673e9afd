/* work.c - see work.h. */
#include "gc/work.h"

#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"

#if MGC_HOSTILE
#define SLAB_NBYTES ((size_t)8 << 10)
#else
#define SLAB_NBYTES ((size_t)256 << 10)
#endif
/* Looks at the shared stack this often before it yields the processor, and this often more before it sleeps: some
 * 50 µs in all. */
#define IDLE_SPINS 100
#define IDLE_YIELDS 64
/* Who has something to do at boundaries looks for that this often in its sleep: whoever wants it rings no bell. */
#define BOUNDARY_NS UINT64_C(500000)

static struct grey_block *pop(struct grey_block **stack)
{
	struct grey_block *b = *stack;
	if (b != NULL)
		store_relaxed(stack, b->next);
	return b;
}

static void push(struct grey_block **stack, struct grey_block *b)
{
	b->next = *stack;
	store_relaxed(stack, b);
}

static size_t slab_blocks(const struct grey_slab *slab)
{
	return (slab->nbytes - MGC_CACHE_LINE) / sizeof(struct grey_block);
}

/* link_slab - lock held. */
static void link_slab(struct grey_pool *p, struct grey_slab *slab, size_t nbytes)
{
	slab->nbytes = nbytes;
	slab->next = p->slabs;
	p->slabs = p->fresh = slab;
	p->nslabs++;
	p->nbytes += nbytes;
}

/* add_slab - lock held, but not while the system maps it: others have blocks to give and to take. */
static void add_slab(struct grey_pool *p, size_t nbytes)
{
	lock_release(&p->lock);
	struct grey_slab *slab = (struct grey_slab *)os_alloc(nbytes);
	lock_acquire(&p->lock);
	p->refused = slab == NULL;
	if (slab != NULL && p->nslabs < p->max_slabs)
		link_slab(p, slab, nbytes);
	else if (slab != NULL)
		os_release((uintptr_t)slab, nbytes);
}

bool grey_pool_init(struct grey_pool *p)
{
	memset(p, 0, sizeof *p);
	lock_init(&p->lock, LOCK_RECORDS);
	p->max_slabs = SIZE_MAX;
	lock_acquire(&p->lock);
	add_slab(p, SLAB_NBYTES);
	lock_release(&p->lock);
	return p->nslabs == 1;
}

/* cut - the next block of the slabs that nobody has had yet, or NULL. Lock held. */
static struct grey_block *cut(struct grey_pool *p)
{
	struct grey_slab *slab = p->fresh;
	while (slab != NULL && slab->ncut == slab_blocks(slab))
		slab = slab->next;
	p->fresh = slab;
	if (slab == NULL)
		return NULL;
	struct grey_block *first = (struct grey_block *)((char *)slab + MGC_CACHE_LINE);
	struct grey_block *b = &first[slab->ncut++];
	if (slab->ncut > slab->ntouched) {
		slab->ntouched++;
		p->ntouched++;
	}
	return b;
}

/* take_empty - NULL: memory was refused. Lock held, but given back meanwhile when there is no block. */
static struct grey_block *take_empty(struct grey_pool *p)
{
	struct grey_block *b = pop(&p->empty);
	if (b == NULL)
		b = cut(p);
	if (MGC_UNLIKELY(b == NULL) && p->nslabs < p->max_slabs && !p->refused) {
		add_slab(p, SLAB_NBYTES);
		b = pop(&p->empty); /* another's, meanwhile */
		b = b != NULL ? b : cut(p);
	}
	if (b != NULL) {
		b->next = NULL;
		b->n = b->words = 0;
	}
	return b;
}

void grey_reserve(struct grey_pool *p, size_t nbytes)
{
	uint32_t nblocks = load_relaxed(&p->ncopied);
	struct grey_block *touched = NULL, *b;
	store_relaxed(&p->ncopied, 0u);
	lock_acquire(&p->lock);
	p->refused = false;
	if (p->nbytes < max_size(nbytes, 1) && p->nslabs < p->max_slabs)
		add_slab(p, align_up(max_size(nbytes - p->nbytes, 1), SLAB_NBYTES));
	for (uint32_t i = 0; i <= nblocks && (b = take_empty(p)) != NULL; i++)
		push(&touched, b);
	while ((b = pop(&touched)) != NULL)
		push(&p->empty, b);
	lock_release(&p->lock);
}

void grey_pool_destroy(struct grey_pool *p)
{
	while (p->slabs != NULL) {
		struct grey_slab *s = p->slabs;
		p->slabs = s->next;
		os_release((uintptr_t)s, s->nbytes);
	}
	p->fresh = NULL;
	p->empty = NULL;
	p->nslabs = p->nbytes = p->ntouched = 0;
}

struct grey_block *grey_take_empty(struct grey_pool *p)
{
	lock_acquire(&p->lock);
	struct grey_block *b = take_empty(p);
	lock_release(&p->lock);
	return b;
}

void grey_put_empty(struct grey_pool *p, struct grey_block *b)
{
	lock_acquire(&p->lock);
	push(&p->empty, b);
	lock_release(&p->lock);
}

/* ring - before somebody who sleeps is woken; false: nobody does. Lock held. */
static bool ring(struct grey_pool *p)
{
	if (MGC_LIKELY(p->nsleeping == 0))
		return false;
	add_relaxed(&p->bell, 1u);
	return true;
}

void grey_put_full(struct grey_pool *p, struct grey_block *b)
{
	lock_acquire(&p->lock);
	push(&p->full, b);
	bool rung = ring(p);
	lock_release(&p->lock);
	if (MGC_UNLIKELY(rung))
		os_wake(&p->bell, 1);
}

struct grey_block *grey_take_full(struct grey_pool *p)
{
	if (load_relaxed(&p->full) == NULL)
		return NULL;
	lock_acquire(&p->lock);
	struct grey_block *b = pop(&p->full);
	lock_release(&p->lock);
	return b;
}

/* room_for_pending - lock held, as for take_empty. */
static struct grey_block *room_for_pending(struct grey_pool *p)
{
	struct grey_block *b = p->pending;
	if (b != NULL && b->n < GREY_BLOCK_OBJECTS)
		return b;
	b = take_empty(p);
	if (b != NULL)
		push(&p->pending, b);
	return b;
}

void grey_put_pending(struct grey_pool *p, const uintptr_t *word, uint32_t n)
{
	struct grey_block *b = NULL;
	lock_acquire(&p->lock);
	for (uint32_t i = 0; i < n && (b = room_for_pending(p)) != NULL; i++)
		b->object[b->n++] = word[i];
	if (n > 0 && b == NULL)
		store_relaxed(&p->lost_pending, 1u);
	lock_release(&p->lock);
}

struct grey_block *grey_take_pending(struct grey_pool *p)
{
	lock_acquire(&p->lock);
	struct grey_block *all = p->pending;
	p->pending = NULL;
	lock_release(&p->lock);
	return all;
}

/* may_be_over - a mark with n markers: it is closed, or all are idle and nothing is left. */
static bool may_be_over(const struct grey_pool *p, uint32_t n)
{
	if (!(n & GREY_OPEN))
		return true;
	return load_acquire(&p->nidle) == (n & ~GREY_OPEN) && /* pairs: mark-idle */
	       load_relaxed(&p->full) == NULL; /* from one who left since: pairs: mark-join */
}

/* is_over - whoever sees it first closes the mark, unless somebody joins. */
static bool is_over(struct grey_pool *p)
{
	uint32_t n = load_acquire(&p->nmarkers); /* pairs: mark-join */
	if (!may_be_over(p, n))
		return false;
	return !(n & GREY_OPEN) || cas_acq_rel(&p->nmarkers, &n, n & ~GREY_OPEN); /* pairs: mark-join */
}

/* wake_all - those who sleep, if the mark may be over. */
static void wake_all(struct grey_pool *p)
{
	lock_acquire(&p->lock);
	bool rung = may_be_over(p, load_acquire(&p->nmarkers)) && ring(p); /* pairs: mark-join */
	lock_release(&p->lock);
	if (MGC_UNLIKELY(rung))
		os_wake(&p->bell, UINT32_MAX);
}

/* sleep_idle - until there may be something to take, or the mark may be over (W4). */
static void sleep_idle(struct grey_pool *p, uint64_t most_ns)
{
	lock_acquire(&p->lock);
	bool quiet = load_relaxed(&p->full) == NULL &&
		     !may_be_over(p, load_acquire(&p->nmarkers)); /* pairs: mark-join */
	uint32_t seen = load_relaxed(&p->bell);
	p->nsleeping += quiet;
	lock_release(&p->lock);
	if (!quiet)
		return;
	os_wait(&p->bell, seen, most_ns);
	lock_acquire(&p->lock);
	p->nsleeping--;
	lock_release(&p->lock);
}

/* take_again - by an idle marker, which is idle no more if there is something. Not when the mark is over (W5). */
static struct grey_block *take_again(struct grey_pool *p)
{
	struct grey_block *b = NULL;
	if (load_relaxed(&p->full) == NULL)
		return NULL;
	sub_acq_rel(&p->nidle, 1u); /* pairs: mark-idle */
	lock_acquire(&p->lock);
	if (load_acquire(&p->nmarkers) & GREY_OPEN) /* pairs: mark-join */
		b = pop(&p->full);
	lock_release(&p->lock);
	if (b == NULL)
		add_acq_rel(&p->nidle, 1u); /* pairs: mark-idle */
	return b;
}

static void pass_time(struct grey_pool *p, unsigned spins, const struct grey_boundary *boundary)
{
	if (spins < IDLE_SPINS)
		cpu_relax();
	else if (spins < IDLE_SPINS + IDLE_YIELDS)
		os_yield();
	else
		sleep_idle(p, boundary->fn != NULL ? BOUNDARY_NS : 0);
}

struct grey_block *grey_wait_full(struct grey_pool *p, const struct grey_boundary *boundary)
{
	struct grey_block *b = grey_take_full(p);
	if (b != NULL)
		return b;
	/* Only who is not idle pushes, and nobody goes idle before it saw `full` empty after its own
	 * last push: when all are idle, `full` is empty for good. */
	add_acq_rel(&p->nidle, 1u); /* pairs: mark-idle */
	for (unsigned spins = 0;; spins++) {
		b = take_again(p);
		if (b != NULL)
			return b;
		if (is_over(p)) {
			wake_all(p);
			return NULL;
		}
		grey_at_boundary(p, boundary);
		pass_time(p, spins, boundary);
	}
}

void grey_start(struct grey_pool *p)
{
	store_relaxed(&p->nidle, 0u);
	store_relaxed(&p->hungry, 0u);
	store_release(&p->nmarkers, 1u | GREY_OPEN); /* pairs: mark-join */
}

bool grey_join(struct grey_pool *p)
{
	uint32_t n = load_acquire(&p->nmarkers); /* pairs: mark-join */
	while (n & GREY_OPEN)
		if (cas_acq_rel(&p->nmarkers, &n, n + 1)) /* pairs: mark-join */
			return true;
	return false;
}

void grey_leave(struct grey_pool *p)
{
	sub_acq_rel(&p->nmarkers, 1u); /* pairs: mark-join */
	wake_all(p);
}

/* cut_again - every block is empty. Lock held. */
static void cut_again(struct grey_pool *p)
{
	p->empty = NULL;
	p->fresh = p->slabs;
	for (struct grey_slab *s = p->slabs; s != NULL; s = s->next)
		s->ncut = 0;
}

void grey_forget_all(struct grey_pool *p)
{
	lock_acquire(&p->lock);
	store_relaxed(&p->full, (struct grey_block *)NULL);
	p->pending = NULL;
	p->nmarkers = p->nidle = p->hungry = p->overflow = p->lost_pending = p->chore =
		p->nsleeping = 0;
	p->beside = false;
	p->marked_nbytes = 0;
	cut_again(p);
	lock_release(&p->lock);
}

void grey_trim(struct grey_pool *p, size_t keep_nbytes)
{
	lock_acquire(&p->lock);
	MGC_CHECK(p->full == NULL);
	/* twice as much: what is live varies from cycle to cycle, and what went back has to be touched again */
	while (p->nbytes > max_size(2 * keep_nbytes, SLAB_NBYTES)) {
		struct grey_slab *s = p->slabs;
		p->slabs = s->next;
		p->nslabs--;
		p->nbytes -= s->nbytes;
		p->ntouched -= s->ntouched;
		os_release((uintptr_t)s, s->nbytes);
	}
	cut_again(p);
	lock_release(&p->lock);
}

size_t grey_nbytes(struct grey_pool *p)
{
	lock_acquire(&p->lock);
	size_t n = p->ntouched * sizeof(struct grey_block);
	lock_release(&p->lock);
	return n;
}
