/* barrier_test.c (plain) - gc/barrier.h: what each store shades in each phase, that a long one is many
 * short sections, and the inlined forms of mallocgc-inline.h. The test sets the phase by hand, with no cycle
 * behind it: WORLD is held, so none begins. */
#include "lib/plain.h"
#include "lib/step.h"

#include <mallocgc-inline.h>

#include "face/runtime.h"
#include "gc/barrier.h"
#include "gc/quiesce.h"

#define N 8
static void *object[2 * N]; /* a root */
static void *slot[N];
static void **const fresh = object + N;

static struct mutator *begin(void)
{
	CHECK_EQ(mgc_root_add(object, sizeof object, 0), 0);
	for (int i = 0; i < 2 * N; i++)
		mgc_write(&object[i], mgc_alloc(32, NULL, MGC_NOSCAN));
	mgc_collect();
	lock_acquire(&runtime.gc.world);
	return mutator_self();
}

static void set_phase(unsigned phase)
{
	heap_set_phase(&runtime.heap, phase, heap_sweepgen(&runtime.heap));
	for (int i = 0; i < N; i++)
		slot[i] = object[i];
}

/* ── what was shaded ────────────────────────────────────────────────────────────────────── */

static uintptr_t shaded[64];
static unsigned nshaded;

static void note_blocks(struct grey_block *b)
{
	while (b != NULL) {
		struct grey_block *next = b->next;
		for (uint32_t i = 0; i < b->n; i++) {
			CHECK(nshaded < 64);
			shaded[nshaded++] = b->object[i];
		}
		grey_put_empty(&runtime.gc.pool, b);
		b = next;
	}
}

/* take_shaded - of all buffers, also of those that were full already (the hostile build's are small). */
static void take_shaded(void)
{
	struct grey_block *b;
	nshaded = 0;
	note_blocks(barrier_take_buffers(&runtime.heap));
	while ((b = grey_take_full(&runtime.gc.pool)) != NULL) {
		b->next = NULL;
		note_blocks(b);
	}
}

static bool was_shaded(const void *word)
{
	for (unsigned i = 0; i < nshaded; i++)
		if (shaded[i] == (uintptr_t)word)
			return true;
	return false;
}

/* check_shaded - of the first n slots the old words, or not, and the new ones, or not. */
static void check_shaded(unsigned n, bool olds, bool news)
{
	take_shaded();
	for (unsigned i = 0; i < n; i++) {
		CHECK_EQ(was_shaded(object[i]), olds);
		CHECK_EQ(was_shaded(fresh[i]), news);
	}
	CHECK(nshaded <= n * ((unsigned)olds + news));
}

/* ── each store in each phase ───────────────────────────────────────────────────────────── */

static void write_called(void)
{
	(mgc_write)(&slot[0], fresh[0]);
}

static void write_inlined(void)
{
	mgc_write(&slot[0], fresh[0]);
}

static void cas_called(void)
{
	CHECK_EQ((mgc_cas)(&slot[0], object[0], fresh[0]), 1);
}

static void cas_inlined(void)
{
	CHECK_EQ(mgc_cas(&slot[0], object[0], fresh[0]), 1);
}

static void exchange_called(void)
{
	CHECK((mgc_exchange)(&slot[0], fresh[0]) == object[0]);
}

static void exchange_inlined(void)
{
	CHECK(mgc_exchange(&slot[0], fresh[0]) == object[0]);
}

static void check_single(void (*store)(void))
{
	for (unsigned phase = PHASE_OFF; phase <= PHASE_FLIP; phase++) {
		bool on = phase >= PHASE_ARM && phase <= PHASE_CLOSED;
		set_phase(phase);
		store();
		CHECK(slot[0] == fresh[0] && slot[1] == object[1]);
		/* TERM: what is not marked yet opens the mark again */
		CHECK_EQ(heap_phase(&runtime.heap), phase == PHASE_TERM ? PHASE_MARK : phase);
		check_shaded(1, on, on);
	}
	set_phase(PHASE_OFF);
}

TEST(single_stores_in_each_phase)
{
	begin();
	check_single(write_called);
	check_single(write_inlined);
	check_single(cas_called);
	check_single(cas_inlined);
	check_single(exchange_called);
	check_single(exchange_inlined);
}

TEST(a_cas_that_fails)
{
	begin();
	for (unsigned phase = PHASE_OFF; phase <= PHASE_FLIP; phase++) {
		set_phase(phase);
		CHECK_EQ(mgc_cas(&slot[0], object[1], fresh[0]), 0);
		CHECK_EQ((mgc_cas)(&slot[0], object[1], fresh[0]), 0);
		CHECK(slot[0] == object[0]);
		take_shaded(); /* what it shades for nothing floats, no more */
	}
	set_phase(PHASE_OFF);
}

TEST(ranges_in_each_phase)
{
	begin();
	for (unsigned phase = PHASE_OFF; phase <= PHASE_FLIP; phase++) {
		bool on = phase >= PHASE_ARM && phase <= PHASE_CLOSED;
		set_phase(phase);
		mgc_write_range(slot, fresh, N);
		CHECK(memcmp(slot, fresh, sizeof slot) == 0);
		check_shaded(N, on, on);
		set_phase(phase);
		mgc_clear(slot, 5 * sizeof *slot);
		for (unsigned i = 0; i < N; i++)
			CHECK(slot[i] == (i < 5 ? NULL : object[i]));
		check_shaded(5, on, false);
		set_phase(phase);
		mgc_move(slot, fresh, 3 * sizeof *slot);
		CHECK(memcmp(slot, fresh, 3 * sizeof *slot) == 0 && slot[3] == object[3]);
		check_shaded(3, on, on);
	}
	set_phase(PHASE_OFF);
}

/* Once a type has boxed words, what is in a box is shaded; a tag is part of an inner pointer. */
TEST(tagged_and_boxed_words)
{
	static struct mgc_type boxed = { .size = 16, .ptr_bytes = 16, .flags = MGC_TYPE_BOXED };
	begin();
	lock_release(&runtime.gc.world);
	CHECK(mgc_new(&boxed) != NULL);
	lock_acquire(&runtime.gc.world);
	set_phase(PHASE_ARM);
	slot[0] = (void *)((uintptr_t)object[0] | UINT64_C(0xfff9) << 48);
	mgc_write(&slot[0], (void *)((uintptr_t)fresh[0] | UINT64_C(0x7ffc) << 48));
	check_shaded(1, true, true);
	set_phase(PHASE_ARM);
	mgc_write(&slot[0], (char *)fresh[0] + 5);
	take_shaded();
	CHECK(was_shaded(object[0]) && was_shaded((char *)fresh[0] + 5));
	set_phase(PHASE_OFF);
}

TEST(a_free_in_a_cycle_counts_at_once_and_once)
{
	struct mutator *m = begin();
	uint64_t before = load_relaxed(&m->heap->freed_nbytes);
	set_phase(PHASE_MARK);
	mutator_enter(m);
	CHECK(barrier_defer_free(m, (uintptr_t)object[0], 32));
	mutator_leave(m);
	CHECK_EQ(load_relaxed(&m->heap->freed_nbytes) - before, 32);
	CHECK(space_mark(&m->heap->pageheap.space, (uintptr_t)object[0]));
	CHECK_EQ(barrier_unmark_freed(m->heap, (uintptr_t)object[0]), 32);
	CHECK_EQ(load_relaxed(&m->heap->freed_nbytes) - before, 32);
	grey_put_empty(&runtime.gc.pool, barrier_take_freed(m->heap));
	take_shaded();
	set_phase(PHASE_OFF);
}

/* A word that is marked already is not shaded again at the end of a mark. */
TEST(marked_words_do_not_open_the_mark_again)
{
	struct mutator *m = begin();
	for (unsigned i = 0; i < 2; i++) {
		CHECK(space_mark(&m->heap->pageheap.space, (uintptr_t)object[i]));
		CHECK(space_mark(&m->heap->pageheap.space, (uintptr_t)fresh[i]));
	}
	set_phase(PHASE_TERM);
	mgc_write_range(slot, fresh, 2);
	CHECK_EQ(heap_phase(&runtime.heap), PHASE_TERM);
	mgc_write(&slot[2], NULL);
	CHECK_EQ(heap_phase(&runtime.heap), PHASE_MARK);
	set_phase(PHASE_OFF);
}

/* ── long stores ────────────────────────────────────────────────────────────────────────── */

/* mgc_move against memmove, at all overlaps around the length of a piece. */
TEST(moves_that_overlap)
{
	enum { WORDS = 7000 };
	static const size_t lengths[] = { 0, 1, 2, 1023, 1024, 1025, 2048, 3000 };
	static const ptrdiff_t shifts[] = { -1500, -1024, -1023, -1, 0, 1, 7, 1023, 1024, 1500 };
	static uintptr_t ours[WORDS], theirs[WORDS];
	begin();
	for (unsigned phase = PHASE_OFF; phase <= PHASE_ARM; phase++) {
		heap_set_phase(&runtime.heap, phase, heap_sweepgen(&runtime.heap));
		for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
			for (size_t s = 0; s < sizeof shifts / sizeof *shifts; s++) {
				for (size_t i = 0; i < WORDS; i++)
					ours[i] = theirs[i] = i * 8 + 1; /* no references */
				size_t at = 1600, to = (size_t)((ptrdiff_t)at + shifts[s]);
				mgc_move(&ours[to], &ours[at], lengths[l] * 8);
				memmove(&theirs[to], &theirs[at], lengths[l] * 8);
				CHECK(memcmp(ours, theirs, sizeof ours) == 0);
			}
	}
	set_phase(PHASE_OFF);
}

#ifndef MGC_SANITIZE_THREAD
static struct {
	uintptr_t *words;
	size_t n;
	uint32_t moves; /* odd: in the midst of one */
} huge;
enum { NMOVES = 4 };

static void *move_huge(void *arg)
{
	CHECK_EQ(mgc_thread_attach(), 0);
	for (unsigned i = 0; i < NMOVES; i++) {
		publish(&huge.moves, 2 * i + 1);
		mgc_move(huge.words + i % 2, huge.words + 1 - i % 2, (huge.n - 1) * 8);
		publish(&huge.moves, 2 * i + 2);
	}
	return arg;
}

/* A quiescence does not wait for a move of half a gigabyte (2 GiB in all): it is over long before. Not with two instructions
 * for each word. */
TEST(a_huge_move_does_not_hold_up_a_quiescence)
{
	pthread_t t;
	struct mutator *m = begin();
	unsigned n = 0;
	huge.n = ((size_t)512 << 20) / 8;
	huge.words = mmap(NULL, huge.n * 8, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(huge.words != MAP_FAILED);
	CHECK_EQ(pthread_create(&t, NULL, move_huge, NULL), 0);
	for (uint32_t now = 0; now < 2 * NMOVES;) {
		uint32_t before = now;
		quiesce(&runtime.gc.stw, m);
		now = __atomic_load_n(&huge.moves, __ATOMIC_ACQUIRE);
		n += before == now && now % 2 == 1; /* it began and ended inside one move */
	}
	printf("  %u quiescences inside a move\n", n);
	CHECK(n > 2 * NMOVES);
	pthread_join(t, NULL);
	munmap(huge.words, huge.n * 8);
}
#endif

/* Whoever waits long for the end of a section is told of it by the thread, at once. */
TEST(a_section_that_ends_answers_a_quiescence)
{
	struct mutator *m = begin();
	for (uint32_t k = 1; k < 5; k++) {
		uint32_t number = runtime.gc.stw.fence + 1;
		store_seq(&runtime.gc.stw.fence, number);
		CHECK(m->quiet != number);
		store_relaxed(&m->pending, 1u);
		if (k % 2)
			mgc_clear(&slot[0], 8);
		else
			mgc_write(&slot[0], NULL);
		CHECK_EQ(m->quiet, number);
	}
}

/* ── the inlined forms ──────────────────────────────────────────────────────────────────── */

static void *first_use(void *arg)
{
	static void *word;
	(void)arg;
	CHECK(!mutator_attached());
	mgc_safepoint();
	CHECK(!mutator_attached()); /* it has nothing to do */
	mgc_write(&word, NULL);
	CHECK(mutator_attached() && mutator_self()->sec == 0);
	CHECK_EQ(mutator_none.sec, 1);
	return NULL;
}

TEST(inlined_stores_attach_the_thread)
{
	on_thread(first_use, NULL);
}

static struct mgc_type pair_type = { .size = 32, .ptr_bytes = 16 };
static struct mgc_type small_type = { .size = 8 };
static struct mgc_type large_type = { .size = 100000, .ptr_bytes = 100000 };

static void *inlined_new_first(void *arg)
{
	void **p = mgc_new(&pair_type);
	CHECK(p != NULL && mutator_attached());
	return arg;
}

TEST(inlined_new)
{
	char *last = NULL;
	unsigned near = 0;
	on_thread(inlined_new_first, NULL);
	for (int i = 0; i < 10000; i++) {
		char *p = mgc_new(&pair_type);
		CHECK(p != NULL && mgc_base(p) == p && mgc_size(p) == 32 && p[0] == 0 && p[31] == 0);
		near += p == last + 32;
		last = p;
	}
	CHECK(near > 5000 || MGC_HOSTILE);
	for (int i = 0; i < 100; i++) {
		CHECK(mgc_size(mgc_new(&large_type)) >= 100000);
		void *p = mgc_new(&small_type);
		CHECK(mgc_base(p) != NULL);
	}
}

/* The section is open across the test of the phase and the store, and closed afterwards. */
#if STEP_WORKS
static size_t open_steps, stored_outside;

static void look_at_section(void)
{
	struct mutator *m = mutator_self();
	open_steps += m->sec != 0;
	/* as a cycle that arms right here; the store may still come unshaded if, and only if, it is inside */
	if (m->sec == 0 && slot[0] == object[0])
		heap_set_phase(m->heap, PHASE_ARM, heap_sweepgen(m->heap));
	else
		stored_outside += m->sec == 0 && slot[0] == object[0];
}

static void step_write(void *arg)
{
	(void)arg;
	mgc_write(&slot[0], fresh[0]);
}

TEST(arming_between_any_two_instructions_of_an_inlined_write)
{
	size_t k = 0;
	begin();
	mgc_write(&slot[0], fresh[0]);
	for (;; k++) {
		set_phase(PHASE_OFF);
		bool more = step_run(step_write, NULL, k, look_at_section);
		bool armed = heap_phase(&runtime.heap) == PHASE_ARM;
		CHECK(slot[0] == fresh[0] && mutator_self()->sec == 0);
		check_shaded(1, armed, armed);
		if (!more)
			break;
	}
	set_phase(PHASE_OFF);
	CHECK(k > 10 && open_steps >= 3);
}

/* A constructor: as many instructions more than mgc_new as it has stores. */
static void *volatile made;

static void step_new(void *arg)
{
	void *volatile *p = mgc_new(&pair_type);
	(void)arg;
	made = (void *)(uintptr_t)p;
}

static void step_construct(void *arg)
{
	void *volatile *p = mgc_new(&pair_type);
	(void)arg;
	p[0] = (void *)(uintptr_t)p;
	p[1] = (void *)(uintptr_t)p;
	p[2] = NULL;
	made = (void *)(uintptr_t)p;
}

static void nothing(void)
{
}

static size_t count_steps(void (*fn)(void *))
{
	size_t least = SIZE_MAX;
	for (int i = 0; i < 20; i++) { /* not those that refill */
		CHECK(!step_run(fn, object[0], 100000, nothing));
		least = step_count < least ? step_count : least;
	}
	return least;
}

TEST(a_constructor_has_no_barrier)
{
	for (int i = 0; i < 1000; i++)
		mgc_new(&pair_type);
	object[0] = mgc_new(&pair_type);
	size_t plain = count_steps(step_new), constructor = count_steps(step_construct);
	printf("  %zu instructions, %zu with three stores\n", plain, constructor);
#if defined(__OPTIMIZE__) && !defined(MGC_SANITIZE_ADDRESS) && !defined(MGC_SANITIZE_UNDEFINED) && \
	!MGC_HOSTILE
	CHECK(constructor - plain <= 5); /* gcc makes a frame for the call, which the other jumps to */
#endif
	CHECK(constructor >= plain + 3);
}
#endif

/* ── a library of another layout ────────────────────────────────────────────────────────── */

static void other_layout(void *arg)
{
	mgc_inline_check((uint32_t)(uintptr_t)arg, "9.8.7");
}

TEST(another_layout_is_refused)
{
	CHECK_DIES(other_layout, (void *)(uintptr_t)(MGC_INLINE_LAYOUT + 1),
		   "of version 9.8.7 (layout 2)");
	CHECK_DIES(other_layout, NULL, "compile it again");
	mgc_inline_check(MGC_INLINE_LAYOUT, "0.1.0");
}
