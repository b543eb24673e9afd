/* sampler.c - see sampler.h. */
#include "sample/sampler.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "os/os.h"
#include "sample/unwind.h"

/* Stacks that are told apart: 64 MiB of addresses, of which those in use are committed. */
#define MAX_STACKS ((size_t)1 << 17)
#define COMMIT_NBYTES ((size_t)256 << 10)
#define FIRST_ENTRIES ((uint64_t)4096)
#define GONE ((uintptr_t)1)
#define INDEX_SIZE (2 * MAX_STACKS)

struct sampler sampler = { .lock = LOCK_INIT(SAMPLE) };

/* ── chance ─────────────────────────────────────────────────────────────────────────────── */

/* xorshift64*: a few cycles, and good enough to throw points. */
static uint64_t next_random(struct sample_clock *c)
{
	if (c->random == 0)
		c->random = os_random() | 1;
	c->random ^= c->random >> 12;
	c->random ^= c->random << 25;
	c->random ^= c->random >> 27;
	return c->random * UINT64_C(0x2545f4914f6cdd1d);
}

/* minus_log - of (r + 1) / 2^64, natural; the library has no libm. Error below 1e-6. */
static double minus_log(uint64_t r)
{
	if (r == UINT64_MAX)
		return 0;
	unsigned zeros = bits_clz(r + 1);
	double mantissa = (double)((r + 1) << zeros) / 9223372036854775808.0; /* in [1, 2] */
	double t = (mantissa - 1) / (mantissa + 1), t2 = t * t;
	double log = 2 * t * (1 + t2 * (1 / 3. + t2 * (1 / 5. + t2 * (1 / 7. + t2 / 9))));
	return (double)(zeros + 1) * 0.6931471805599453 - log;
}

/* minus_exp - exp(-x) for x ≥ 0. */
static double minus_exp(double x)
{
	if (x > 40)
		return 0;
	double y = x / 1024, e = 1 - y * (1 - y / 2 * (1 - y / 3));
	for (int i = 0; i < 10; i++)
		e *= e;
	return e;
}

uint64_t sampler_draw(struct sample_clock *c)
{
	uint64_t rate = load_relaxed(&sampler.rate_nbytes);
	if (rate == 1) /* each */
		return 1;
	double distance = minus_log(next_random(c)) * (double)rate;
	return distance < 9e18 ? (uint64_t)distance + 1 : INT64_MAX;
}

static void draw(struct sample_clock *c)
{
	c->left_nbytes = (int64_t)sampler_draw(c);
}

size_t sampler_pass(struct sample_clock *c, size_t nbytes)
{
	if (c->left_nbytes <= 0)
		draw(c);
	if (nbytes < (uint64_t)c->left_nbytes) {
		c->left_nbytes -= (int64_t)nbytes;
		return nbytes;
	}
	size_t at = (size_t)c->left_nbytes - 1;
	draw(c);
	return at;
}

/* ── stacks ─────────────────────────────────────────────────────────────────────────────── */

static size_t table_nbytes(uint64_t n)
{
	return align_up(sizeof(struct sample_table) + n * sizeof(struct sample_entry), os_page_size());
}

/* make_table - n entries, a power of two; NULL: no memory. */
static struct sample_table *make_table(uint64_t n)
{
	struct sample_table *t = (struct sample_table *)os_alloc(table_nbytes(n));
	if (t != NULL)
		t->mask = n - 1;
	return t;
}

static bool make_tables(void)
{
	uintptr_t stacks = os_reserve(MAX_STACKS * sizeof(struct sample_stack), 0);
	uintptr_t index = os_alloc(INDEX_SIZE * sizeof(uint32_t));
	struct sample_table *table = make_table(FIRST_ENTRIES);
	if (stacks == 0 || index == 0 || table == NULL || os_commit(stacks, COMMIT_NBYTES) != 0) {
		if (stacks != 0)
			os_release(stacks, MAX_STACKS * sizeof(struct sample_stack));
		if (index != 0)
			os_release(index, INDEX_SIZE * sizeof(uint32_t));
		if (table != NULL)
			os_release((uintptr_t)table, table_nbytes(FIRST_ENTRIES));
		return false;
	}
	sampler.index = (uint32_t *)index;
	sampler.start_ns = os_now_ns();
	store_release(&sampler.table, table); /* pairs: sample-table */
	store_release(&sampler.stacks, (struct sample_stack *)stacks); /* pairs: sample-stacks */
	store_release(&sampler.nstacks, 1u); /* pairs: sample-stacks */
	return true;
}

static uint32_t hash_stack(const uintptr_t *pc, size_t n)
{
	uint64_t h = n;
	for (size_t i = 0; i < n; i++)
		h = (h ^ pc[i]) * UINT64_C(0x9e3779b97f4a7c15), h ^= h >> 29;
	return (uint32_t)(h >> 32) | 1;
}

/* room_for_stack - commits memory for one more record. */
static bool room_for_stack(uint32_t n)
{
	size_t end = (n + (size_t)1) * sizeof(struct sample_stack);
	size_t before = n * sizeof(struct sample_stack);
	if (n >= MAX_STACKS)
		return false;
	size_t have = (before + COMMIT_NBYTES - 1) / COMMIT_NBYTES * COMMIT_NBYTES;
	return end <= have || os_commit((uintptr_t)sampler.stacks + have, COMMIT_NBYTES) == 0;
}

/* find_stack - its number, new or known; 0: no room. The lock is held. */
static uint32_t find_stack(const uintptr_t *pc, size_t n)
{
	uint32_t hash = hash_stack(pc, n), number;
	for (size_t i = hash;; i++) {
		uint32_t *at = &sampler.index[i % INDEX_SIZE];
		number = *at;
		if (number == 0) {
			number = sampler.nstacks;
			if (!room_for_stack(number))
				return 0;
			*at = number;
			break;
		}
		const struct sample_stack *s = &sampler.stacks[number];
		if (s->hash == hash && s->nframes == n && memcmp(s->pc, pc, n * sizeof *pc) == 0)
			return number;
	}
	struct sample_stack *s = &sampler.stacks[number];
	s->hash = hash;
	s->nframes = (uint32_t)n;
	memcpy(s->pc, pc, n * sizeof *pc);
	store_release(&sampler.nstacks, number + 1); /* pairs: sample-stacks */
	return number;
}

/* ── objects ────────────────────────────────────────────────────────────────────────────── */

static uint64_t hash_object(uintptr_t object)
{
	return (object >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 20;
}

/* find_entry - of the object, in that table; NULL: it has none there. */
static struct sample_entry *find_entry(struct sample_table *t, uintptr_t object)
{
	for (uint64_t i = hash_object(object), n = 0; n <= t->mask; i++, n++) {
		struct sample_entry *e = &t->entry[i & t->mask];
		uintptr_t at = load_acquire(&e->object); /* pairs: sample-object */
		if (at == object)
			return e;
		if (at == 0)
			return NULL;
	}
	return NULL;
}

/* free_entry - where the object, which has none, gets one: what is gone is used again, or a program that samples the
 * same addresses over and over would make their chains long. */
static struct sample_entry *free_entry(struct sample_table *t, uintptr_t object)
{
	uint64_t i = hash_object(object);
	while (load_relaxed(&t->entry[i & t->mask].object) > GONE)
		i++;
	return &t->entry[i & t->mask];
}

/* free_from - the entry holds nothing: no chain goes on through it when the next one is free, nor through those before
 * it that hold nothing. */
static void free_from(struct sample_table *t, struct sample_entry *e)
{
	uint64_t i = (uint64_t)(e - t->entry);
	if (load_relaxed(&t->entry[(i + 1) & t->mask].object) != 0)
		return;
	for (; load_relaxed(&t->entry[i & t->mask].object) == GONE; i--) {
		store_relaxed(&t->entry[i & t->mask].object, (uintptr_t)0);
		sampler.nused--;
	}
}

static void drop_entry(struct sample_entry *e)
{
	struct sample_stack *s = &sampler.stacks[e->stack];
	s->live_objects -= e->objects;
	s->live_nbytes -= e->nbytes;
	store_relaxed(&e->object, GONE);
	free_from(sampler.table, e);
	sub_relaxed(&sampler.nlive, 1u);
}

/* grow - a table with room, without what is gone. The one before stays: S3. False: no memory. */
static bool grow(void)
{
	uint64_t n = FIRST_ENTRIES;
	while (n < 4 * (uint64_t)sampler.nlive)
		n *= 2;
	struct sample_table *now = sampler.table, *next = make_table(n);
	if (next == NULL)
		return false;
	sampler.nused = 0;
	for (uint64_t i = 0; i <= now->mask; i++) {
		if (now->entry[i].object <= GONE)
			continue;
		*free_entry(next, now->entry[i].object) = now->entry[i];
		sampler.nused++;
	}
	store_release(&sampler.table, next); /* pairs: sample-table */
	return true;
}

static void add_entry(uintptr_t object, uint32_t stack, double objects, double nbytes)
{
	struct sample_entry *e = find_entry(sampler.table, object);
	if (e != NULL) /* its free was not seen */
		drop_entry(e);
	if (sampler.nused > sampler.table->mask / 2 && !grow())
		return;
	e = free_entry(sampler.table, object);
	sampler.nused += load_relaxed(&e->object) == 0;
	e->stack = stack;
	e->objects = objects;
	e->nbytes = nbytes;
	sampler.stacks[stack].live_objects += objects;
	sampler.stacks[stack].live_nbytes += nbytes;
	add_relaxed(&sampler.nlive, 1u);
	store_release(&e->object, object); /* pairs: sample-object */
}

MGC_NOINLINE void sampler_take(struct sample_clock *c, uintptr_t object, size_t nbytes,
			       size_t thrown_nbytes)
{
	uintptr_t pc[SAMPLE_FRAMES];
	uint64_t rate = load_relaxed(&sampler.rate_nbytes);
	if (rate == 0)
		return;
	size_t n = unwind_stack(&c->stack, pc, SAMPLE_FRAMES, 1);
	double objects = rate == 1 ? 1 : 1 / (1 - minus_exp((double)thrown_nbytes / (double)rate));
	lock_acquire(&sampler.lock);
	if (sampler.stacks != NULL || make_tables()) {
		uint32_t number = find_stack(pc, n);
		struct sample_stack *s = &sampler.stacks[number];
		s->nsamples++;
		s->allocated_objects += objects;
		s->allocated_nbytes += objects * (double)nbytes;
		add_entry(object, number, objects, objects * (double)nbytes);
		add_relaxed(&sampler.nsamples, UINT64_C(1));
	}
	lock_release(&sampler.lock);
}

/* is_sampled - without the lock: S3. */
static bool is_sampled(uintptr_t object)
{
	struct sample_table *t = load_acquire(&sampler.table); /* pairs: sample-table */
	return t != NULL && find_entry(t, object) != NULL;
}

void sampler_resize(uintptr_t object, size_t nbytes)
{
	if (!is_sampled(object))
		return;
	lock_acquire(&sampler.lock);
	struct sample_entry *e = find_entry(sampler.table, object);
	if (e != NULL) {
		double now = e->objects * (double)nbytes;
		sampler.stacks[e->stack].live_nbytes += now - e->nbytes;
		e->nbytes = now;
	}
	lock_release(&sampler.lock);
}

void sampler_forget_slow(uintptr_t object)
{
	if (!is_sampled(object))
		return;
	lock_acquire(&sampler.lock);
	struct sample_entry *e = find_entry(sampler.table, object);
	if (e != NULL)
		drop_entry(e);
	lock_release(&sampler.lock);
}

void sampler_bury(bool (*is_dead)(const void *arg, uintptr_t object), const void *arg)
{
	if (load_relaxed(&sampler.nlive) == 0)
		return;
	lock_acquire(&sampler.lock);
	for (uint64_t i = 0; i <= sampler.table->mask; i++) {
		struct sample_entry *e = &sampler.table->entry[i];
		if (e->object > GONE && is_dead(arg, e->object))
			drop_entry(e);
	}
	lock_release(&sampler.lock);
}
