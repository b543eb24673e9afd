/* mark_variants.c - which shape of mark loop is cheapest? A standalone experiment, no library.
 *
 * WHAT   Marks a heap of 64-byte objects with every combination of
 *          placement  where the mark (and allocation) state of a 16-byte granule lives,
 *          store      how a mark is set: plain bit, atomic OR, plain byte,
 *          order      when the mark is tested and what is prefetched on the way,
 *        and prints CPU nanoseconds per object (minimum and median of the repetitions).
 *        Variants run round-robin, so that a noisy neighbour hits all of them alike.
 * WHO    run by hand: cc -O2 -std=gnu17 -o mark_variants bench/micro/mark_variants.c
 *        ./mark_variants [--mb N] [--graph random|tree] [--pages 4k|thp] [--meta 4k|thp]
 *                        [--reps N] [--filter TEXT]
 * HEAP   "random": one shuffled cycle through all objects and three random edges each, words 1-4.
 *        "tree": a binary tree whose nodes lie in depth-first order, words 1 and 2.
 *        A word becomes an object as in a conservative heap: range test, u32 descriptor of its
 *        8 KiB page (class, page number within the span), multiply by the class's reciprocal.
 *        Scanning loops over the class's pointer mask.
 * UNITS  times in ns of this thread's CPU clock; sizes in bytes unless named otherwise. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define INLINE static inline __attribute__((always_inline))
enum { OBJ_BYTES = 64, PAGE_SHIFT = 13, PAGE_BYTES = 1 << PAGE_SHIFT, GRANULE_SHIFT = 4 };
enum { HUGE_BYTES = 2 << 20, MAX_REPS = 101, EVICT_BYTES = 64 << 20 };

/* ── the heap and its tables ───────────────────────────────────────────────────────────────────── */

struct class_info {
	uint32_t size;
	uint32_t recip; /* ceil(2^32 / size) */
	uint64_t ptr_mask; /* bit i: word i of a slot holds a pointer */
};

static uintptr_t heap_lo;
static size_t heap_bytes, nobj;
static uint32_t *page_desc; /* class | page number within its span << 8 */
static struct class_info classes[68];
static uint64_t *mark_bits, *alloc_bits; /* separate bitmaps */
static uint64_t *pair_bits; /* {mark word, alloc word} per 64 granules */
static uint8_t *mark_bytes; /* bit 0 allocated, bit 1 marked */
static uintptr_t *stack; /* the grey stack */
static uintptr_t root;
static uint64_t rng_state = 0x9E3779B97F4A7C15u;

static uint64_t rng_next(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* map_pages - touched, zeroed memory on 4 KiB or 2 MiB pages. */
static void *map_pages(size_t nbytes, bool huge)
{
	nbytes = (nbytes + HUGE_BYTES - 1) & ~(size_t)(HUGE_BYTES - 1);
	char *p = mmap(NULL, nbytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		perror("mark_variants: mmap");
		exit(1);
	}
	p = (char *)(((uintptr_t)p + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1));
	madvise(p, nbytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(p, 0, nbytes);
	return p;
}

/* ── placement: mark (and allocation) state of one granule ─────────────────────────────────────── */

enum placement {
	BIT_SEP, /* mark bitmap alone */
	BIT_SEP_CHK, /* mark bitmap; allocation bitmap elsewhere, checked as well */
	BIT_PAIR, /* 64-bit pairs {mark, alloc}, alloc not checked */
	BIT_PAIR_CHK, /* the same, alloc checked */
	BYTE_MARK, /* one byte per granule */
	BYTE_CHK, /* one byte per granule that also holds the allocation flag, checked */
	BYTE_SEP_CHK /* one byte per granule, allocation bitmap elsewhere, checked */
};
enum store { PLAIN, ATOMIC };

INLINE void *mark_line(enum placement pl, uintptr_t obj)
{
	size_t g = (obj - heap_lo) >> GRANULE_SHIFT;
	switch (pl) {
	case BIT_SEP:
	case BIT_SEP_CHK:
		return mark_bits + (g >> 6);
	case BIT_PAIR:
	case BIT_PAIR_CHK:
		return pair_bits + 2 * (g >> 6);
	default:
		return mark_bytes + g;
	}
}

INLINE void prefetch_mark(enum placement pl, uintptr_t obj)
{
	__builtin_prefetch(mark_line(pl, obj), 1);
	if (pl == BIT_SEP_CHK || pl == BYTE_SEP_CHK)
		__builtin_prefetch(alloc_bits + ((obj - heap_lo) >> (GRANULE_SHIFT + 6)), 0);
}

/* test_and_mark - true when this call marked the object: it was allocated and still white. */
INLINE bool test_and_mark(enum placement pl, enum store st, uintptr_t obj)
{
	size_t g = (obj - heap_lo) >> GRANULE_SHIFT;
	uint64_t bit = (uint64_t)1 << (g & 63);
	if ((pl == BIT_SEP_CHK || pl == BYTE_SEP_CHK) && !(alloc_bits[g >> 6] & bit))
		return false;
	if (pl >= BYTE_MARK) {
		uint8_t *b = mark_line(pl, obj), v = __atomic_load_n(b, __ATOMIC_RELAXED);
		if (v & 2)
			return false;
		if (pl == BYTE_CHK && !(v & 1))
			return false;
		__atomic_store_n(b, (uint8_t)(v | 2), __ATOMIC_RELAXED);
		return true;
	}
	uint64_t *w = mark_line(pl, obj), v = __atomic_load_n(w, __ATOMIC_RELAXED);
	if (v & bit)
		return false;
	if (pl == BIT_PAIR_CHK && !(w[1] & bit))
		return false;
	if (st == PLAIN) {
		__atomic_store_n(w, v | bit, __ATOMIC_RELAXED);
		return true;
	}
	return !(__atomic_fetch_or(w, bit, __ATOMIC_RELAXED) & bit);
}

/* ── the mark loops ────────────────────────────────────────────────────────────────────────────── */

enum order { ON_PUSH, ON_POP, TWO_STAGE };
enum { FIFO_MAX = 64, RING_MAX = 64 };

struct marker {
	size_t sp; /* grey stack */
	unsigned fifo_head, fifo_len; /* prefetched objects in front of it */
	unsigned ring_head, ring_len; /* candidates whose mark line is on its way */
	uintptr_t fifo[FIFO_MAX], ring[RING_MAX];
};

/* resolve - the slot that a word inside the heap points into. */
INLINE uintptr_t resolve(uintptr_t word)
{
	uintptr_t off = word - heap_lo;
	uint32_t d = page_desc[off >> PAGE_SHIFT];
	const struct class_info *c = &classes[d & 0xff];
	uintptr_t span = (off >> PAGE_SHIFT) - (d >> 8);
	uint32_t in_span = (uint32_t)(off - (span << PAGE_SHIFT));
	uint32_t slot = (uint32_t)(((uint64_t)in_span * c->recip) >> 32);
	return heap_lo + (span << PAGE_SHIFT) + (uintptr_t)slot * c->size;
}

INLINE void ring_pop(struct marker *m, enum placement pl, enum store st)
{
	uintptr_t obj = m->ring[m->ring_head++ & (RING_MAX - 1)];
	m->ring_len--;
	if (test_and_mark(pl, st, obj))
		stack[m->sp++] = obj;
}

INLINE void found(struct marker *m, enum placement pl, enum store st, enum order ord,
		  unsigned ring_depth, uintptr_t word)
{
	if (word - heap_lo >= heap_bytes)
		return;
	uintptr_t obj = resolve(word);
	if (ord == ON_PUSH) {
		if (test_and_mark(pl, st, obj))
			stack[m->sp++] = obj;
	} else if (ord == ON_POP) {
		stack[m->sp++] = obj;
	} else {
		prefetch_mark(pl, obj);
		m->ring[(m->ring_head + m->ring_len++) & (RING_MAX - 1)] = obj;
		if (m->ring_len > ring_depth)
			ring_pop(m, pl, st);
	}
}

INLINE size_t scan(struct marker *m, enum placement pl, enum store st, enum order ord,
		   unsigned ring_depth, uintptr_t obj)
{
	uint32_t d = page_desc[(obj - heap_lo) >> PAGE_SHIFT];
	const uintptr_t *w = (const uintptr_t *)obj;
	for (uint64_t mask = classes[d & 0xff].ptr_mask; mask; mask &= mask - 1)
		found(m, pl, st, ord, ring_depth, w[__builtin_ctzll(mask)]);
	return 1;
}

INLINE size_t drain(enum placement pl, enum store st, enum order ord, unsigned ring_depth,
		    unsigned fifo_depth)
{
	struct marker m = { 0 };
	size_t n = 0;
	if (ord == ON_POP || test_and_mark(pl, st, root))
		stack[m.sp++] = root;
	for (;;) {
		while (m.fifo_len < fifo_depth && m.sp) {
			uintptr_t obj = stack[--m.sp];
			if (fifo_depth > 1) {
				__builtin_prefetch((void *)obj, 0);
				if (ord == ON_POP)
					prefetch_mark(pl, obj);
			}
			m.fifo[(m.fifo_head + m.fifo_len++) & (FIFO_MAX - 1)] = obj;
		}
		if (!m.fifo_len) {
			if (ord != TWO_STAGE || !m.ring_len)
				return n;
			while (m.ring_len && !m.sp)
				ring_pop(&m, pl, st);
			continue;
		}
		uintptr_t obj = m.fifo[m.fifo_head++ & (FIFO_MAX - 1)];
		m.fifo_len--;
		if (ord == ON_POP && !test_and_mark(pl, st, obj))
			continue;
		n += scan(&m, pl, st, ord, ring_depth, obj);
	}
}

/* One function per variant, so that every choice is a constant inside it. */
#define VARIANTS(X) \
	X(BIT_SEP, PLAIN, ON_PUSH, 0, 1) \
	X(BIT_SEP, ATOMIC, ON_PUSH, 0, 1) \
	X(BYTE_MARK, PLAIN, ON_PUSH, 0, 1) \
	X(BIT_SEP, PLAIN, ON_PUSH, 0, 16) \
	X(BIT_SEP, ATOMIC, ON_PUSH, 0, 16) \
	X(BIT_SEP_CHK, ATOMIC, ON_PUSH, 0, 16) \
	X(BIT_PAIR, ATOMIC, ON_PUSH, 0, 16) \
	X(BIT_PAIR_CHK, ATOMIC, ON_PUSH, 0, 16) \
	X(BYTE_MARK, PLAIN, ON_PUSH, 0, 16) \
	X(BYTE_CHK, PLAIN, ON_PUSH, 0, 16) \
	X(BYTE_SEP_CHK, PLAIN, ON_PUSH, 0, 16) \
	X(BIT_SEP, ATOMIC, ON_POP, 0, 16) \
	X(BIT_PAIR_CHK, ATOMIC, ON_POP, 0, 16) \
	X(BYTE_MARK, PLAIN, ON_POP, 0, 16) \
	X(BYTE_CHK, PLAIN, ON_POP, 0, 16) \
	X(BIT_SEP, PLAIN, TWO_STAGE, 16, 16) \
	X(BIT_SEP, ATOMIC, TWO_STAGE, 16, 16) \
	X(BIT_SEP_CHK, ATOMIC, TWO_STAGE, 16, 16) \
	X(BIT_PAIR, ATOMIC, TWO_STAGE, 16, 16) \
	X(BIT_PAIR_CHK, ATOMIC, TWO_STAGE, 16, 16) \
	X(BYTE_MARK, PLAIN, TWO_STAGE, 16, 16) \
	X(BYTE_CHK, PLAIN, TWO_STAGE, 16, 16) \
	X(BYTE_SEP_CHK, PLAIN, TWO_STAGE, 16, 16) \
	X(BIT_SEP, ATOMIC, TWO_STAGE, 32, 16) \
	X(BIT_SEP_CHK, ATOMIC, TWO_STAGE, 32, 16) \
	X(BIT_PAIR_CHK, ATOMIC, TWO_STAGE, 32, 16) \
	X(BYTE_CHK, PLAIN, TWO_STAGE, 32, 16) \
	X(BIT_SEP, ATOMIC, TWO_STAGE, 32, 32) \
	X(BIT_PAIR_CHK, ATOMIC, TWO_STAGE, 32, 32)

#define DEFINE(pl, st, ord, ring, fifo) \
	static __attribute__((noinline)) size_t run_##pl##_##st##_##ord##_##ring##_##fifo(void) \
	{ \
		return drain(pl, st, ord, ring, fifo); \
	}
VARIANTS(DEFINE)

struct variant {
	const char *placement, *store, *order;
	unsigned ring, fifo;
	size_t (*run)(void);
	double ns[MAX_REPS];
};
#define ROW(pl, st, ord, ring, fifo) \
	{ #pl, #st, #ord, ring, fifo, run_##pl##_##st##_##ord##_##ring##_##fifo, { 0 } },
static struct variant variants[] = { VARIANTS(ROW) };
enum { NVARIANTS = sizeof variants / sizeof variants[0] };

/* ── building the heap ─────────────────────────────────────────────────────────────────────────── */

static uintptr_t *slot(size_t i)
{
	return (uintptr_t *)(heap_lo + i * OBJ_BYTES);
}

static void build_random(void)
{
	uint32_t *order = malloc(nobj * sizeof *order);
	for (size_t i = 0; i < nobj; i++)
		order[i] = (uint32_t)i;
	for (size_t i = nobj - 1; i > 0; i--) {
		size_t j = rng_next() % (i + 1);
		uint32_t t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
	for (size_t i = 0; i < nobj; i++) {
		uintptr_t *w = slot(order[i]);
		w[0] = i;
		w[1] = (uintptr_t)slot(order[i + 1 < nobj ? i + 1 : 0]);
		for (int e = 2; e <= 4; e++)
			w[e] = (uintptr_t)slot(rng_next() % nobj);
		w[5] = 3;
		w[7] = i & 255;
	}
	root = (uintptr_t)slot(order[0]);
	free(order);
}

/* build_tree - nodes first … first + n - 1, the root at first, the left subtree behind it. */
static void build_tree(size_t first, size_t n)
{
	while (n) {
		uintptr_t *w = slot(first);
		size_t left = n / 2, right = n - 1 - left;
		w[0] = first;
		w[1] = left ? (uintptr_t)slot(first + 1) : 0;
		w[2] = right ? (uintptr_t)slot(first + 1 + left) : 0;
		build_tree(first + 1, left);
		first += 1 + left;
		n = right;
	}
}

static void setup(size_t mb, bool tree, bool heap_huge, bool meta_huge)
{
	heap_bytes = mb << 20;
	nobj = heap_bytes / OBJ_BYTES;
	size_t ngranules = heap_bytes >> GRANULE_SHIFT, npages = heap_bytes >> PAGE_SHIFT;
	heap_lo = (uintptr_t)map_pages(heap_bytes, heap_huge);
	page_desc = map_pages(npages * sizeof *page_desc, meta_huge);
	mark_bits = map_pages(ngranules / 8, meta_huge);
	alloc_bits = map_pages(ngranules / 8, meta_huge);
	pair_bits = map_pages(ngranules / 4, meta_huge);
	mark_bytes = map_pages(ngranules, meta_huge);
	stack = map_pages(nobj * sizeof *stack * 3 + PAGE_BYTES, heap_huge);
	for (size_t p = 0; p < npages; p++)
		page_desc[p] = 5; /* one-page spans: page 0 of the span */
	classes[5] = (struct class_info){ OBJ_BYTES, (uint32_t)(((uint64_t)1 << 32) / OBJ_BYTES),
					  tree ? 0x6 : 0x1e };
	for (size_t i = 0; i < nobj; i++) {
		size_t g = i * (OBJ_BYTES >> GRANULE_SHIFT);
		alloc_bits[g >> 6] |= (uint64_t)1 << (g & 63);
		pair_bits[2 * (g >> 6) + 1] |= (uint64_t)1 << (g & 63);
		mark_bytes[g] = 1;
	}
	if (tree) {
		build_tree(0, nobj);
		root = heap_lo;
	} else {
		build_random();
	}
}

/* reset_marks - all white, and nothing of the tables left in the caches. */
static void reset_marks(const struct variant *v)
{
	size_t ngranules = heap_bytes >> GRANULE_SHIFT;
	if (!strncmp(v->placement, "BIT_SEP", 7))
		memset(mark_bits, 0, ngranules / 8);
	if (!strncmp(v->placement, "BIT_PAIR", 8))
		for (size_t i = 0; i < ngranules / 64; i++)
			pair_bits[2 * i] = 0;
	if (!strncmp(v->placement, "BYTE", 4))
		for (size_t i = 0; i < ngranules; i++)
			mark_bytes[i] &= (uint8_t)~2u;
	uintptr_t sum = 0;
	size_t evict = heap_bytes < EVICT_BYTES ? heap_bytes : EVICT_BYTES;
	for (size_t off = 0; off < evict; off += 64)
		sum += *(uintptr_t *)(heap_lo + off);
	__asm__ volatile("" ::"r"(sum));
}

/* ── driver ────────────────────────────────────────────────────────────────────────────────────── */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	size_t mb = 200;
	int reps = 5;
	const char *graph = "random", *pages = "4k", *meta = NULL, *filter = "";
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--mb"))
			mb = strtoul(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--graph"))
			graph = argv[i + 1];
		else if (!strcmp(argv[i], "--pages"))
			pages = argv[i + 1];
		else if (!strcmp(argv[i], "--meta"))
			meta = argv[i + 1];
		else if (!strcmp(argv[i], "--reps"))
			reps = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--filter"))
			filter = argv[i + 1];
		else {
			fprintf(stderr, "mark_variants: unknown option %s\n", argv[i]);
			return 2;
		}
	}
	if (!meta)
		meta = pages;
	if (reps < 1 || reps > MAX_REPS || mb < 1 || mb > 65536) {
		fprintf(stderr, "mark_variants: --reps is 1 to %d, --mb 1 to 65536\n", MAX_REPS);
		return 2;
	}
	setup(mb, !strcmp(graph, "tree"), !strcmp(pages, "thp"), !strcmp(meta, "thp"));
	for (int r = 0; r < reps; r++)
		for (int i = 0; i < NVARIANTS; i++) {
			struct variant *v = &variants[i];
			char name[96];
			snprintf(name, sizeof name, "%s %s %s", v->placement, v->store, v->order);
			if (!strstr(name, filter))
				continue;
			reset_marks(v);
			uint64_t t = cpu_ns();
			size_t n = v->run();
			v->ns[r] = (double)(cpu_ns() - t) / (double)nobj;
			if (n != nobj) {
				fprintf(stderr, "mark_variants: %s marked %zu of %zu\n", name, n, nobj);
				return 1;
			}
		}
	for (int i = 0; i < NVARIANTS; i++) {
		struct variant *v = &variants[i];
		if (v->ns[0] == 0)
			continue;
		qsort(v->ns, (size_t)reps, sizeof v->ns[0], by_value);
		printf("%zu,%s,%s,%s,%s,%s,%s,%u,%u,%.1f,%.1f\n", mb, graph, pages, meta,
		       v->placement, v->store, v->order, v->ring, v->fifo, v->ns[0], v->ns[reps / 2]);
	}
	return 0;
}
