/* sink_test.c (plain) - gc/sink.h: of a range exactly the words that may refer to the heap come through, in their order,
 * wherever they stand, whatever the heap's range is and however little room there is. */
#include "lib/plain.h"

#include "gc/sink.h"

#define MOST 4096

struct heard {
	struct sink sink; /* first: make_room gets its address */
	uintptr_t word[MOST];
	size_t n;
};

static struct heard heard;

static void hear(struct sink *s)
{
	struct heard *h = (struct heard *)(void *)s;
	CHECK(h->n + s->n <= MOST && s->n <= s->capacity);
	memcpy(&h->word[h->n], s->word, s->n * sizeof s->word[0]);
	h->n += s->n;
	s->n = 0;
}

/* A heap, and what of a word is its address. */
struct range {
	uintptr_t base;
	size_t nbytes;
	uintptr_t mask;
};

#define UPPER_HALF ((uintptr_t)1 << 32)
#define BOXED (((uintptr_t)1 << 48) - 1)
static const struct range ranges[] = {
	{ UPPER_HALF * 0x7ec2 + 0xc0000000, (size_t)1 << 40, UINTPTR_MAX },
	{ UPPER_HALF * 0x7ec2 + 0x40000000, (size_t)64 << 20, UINTPTR_MAX },
	{ UPPER_HALF * 0x7ec2 + 0xff000000, (size_t)32 << 20, UINTPTR_MAX },
	{ UPPER_HALF * 0x10 - (64 << 20), (size_t)64 << 20, UINTPTR_MAX }, /* one past is in the next half */
	{ (size_t)64 << 20, (size_t)64 << 20, UINTPTR_MAX },
	{ UPPER_HALF * 0x7fff, UPPER_HALF - 1, UINTPTR_MAX },
	{ UPPER_HALF * 0x7ec2 + 0xc0000000, (size_t)1 << 40, BOXED },
	{ UPPER_HALF * 3 + 0x40000000, (size_t)64 << 20, BOXED },
};
#define NRANGES (sizeof ranges / sizeof ranges[0])

/* expect - sink_range over [lo, hi), with so much room, against one look at each word. */
static void expect(const struct range *r, uintptr_t lo, uintptr_t hi, size_t capacity)
{
	uintptr_t buffer[64], want[MOST];
	size_t n = 0;
	for (uintptr_t at = (lo + 7) & ~(uintptr_t)7; at + 8 <= hi; at += 8) {
		uintptr_t word = *(const uintptr_t *)at & r->mask;
		if (word >= r->base && word - r->base <= r->nbytes)
			want[n++] = word;
	}
	heard.n = 0;
	heard.sink = (struct sink){ .base = r->base,
				    .nbytes = r->nbytes,
				    .mask = r->mask,
				    .word = buffer,
				    .capacity = capacity,
				    .make_room = hear };
	sink_range(&heard.sink, lo, hi);
	hear(&heard.sink);
	CHECK_EQ(heard.n, n);
	CHECK(memcmp(heard.word, want, n * sizeof want[0]) == 0);
}

static uintptr_t area[MOST];

TEST(one_word_anywhere)
{
	for (size_t i = 0; i < NRANGES; i++) {
		const struct range *r = &ranges[i];
		const uintptr_t edge[] = { r->base,
					   r->base - 1,
					   r->base + r->nbytes / 2,
					   r->base + r->nbytes - 1,
					   r->base + r->nbytes,
					   r->base + r->nbytes + 1,
					   r->base + 2 * UPPER_HALF,
					   r->base | ~BOXED,
					   UINTPTR_MAX };
		for (size_t n = 1; n <= 50; n++)
			for (size_t at = 0; at < n; at++)
				for (size_t e = 0; e < sizeof edge / sizeof edge[0]; e++) {
					size_t skew = (n + at + e) % 3;
					area[skew + at] = edge[e];
					uintptr_t lo = (uintptr_t)&area[skew];
					expect(r, lo, lo + n * 8, 1 + (at + e) % 64);
					area[skew + at] = 0;
				}
	}
}

static struct rng rng;

static uintptr_t some_word(const struct range *r, unsigned percent)
{
	uintptr_t word = rng_next(&rng);
	if (word % 100 < percent)
		word = r->base + (word >> 8) % (r->nbytes + 1);
	else if (word % 2 == 0) /* in the upper half of one, or next to it */
		word = (r->base & ~(UPPER_HALF - 1)) + rng_below(&rng, 3 * UPPER_HALF) - UPPER_HALF;
	return word;
}

TEST(many_words)
{
	static const unsigned percents[] = { 0, 1, 10, 50, 100 };
	rng.state = test_seed();
	for (int round = 0; round < 400; round++) {
		const struct range *r = &ranges[(size_t)round % NRANGES];
		unsigned percent = percents[rng_below(&rng, 5)];
		size_t n = rng_below(&rng, MOST);
		memset(area, 0, sizeof area);
		for (size_t i = 0; i < n; i++)
			area[i] = rng_below(&rng, 100) < 30 ? 0 : some_word(r, percent);
		uintptr_t lo = (uintptr_t)area + rng_below(&rng, 100);
		uintptr_t hi = (uintptr_t)(area + n) - rng_below(&rng, 100);
		if (n > 30)
			expect(r, lo, hi, 1 + rng_below(&rng, 64));
	}
}
