/* pagealloc.c - fuzzed: a stream of operations on the page allocator, five bytes each, beside an array of one byte a
 * page. Every answer is the array's: first fit, aligned, with as many clean pages; the highest dirty run. */
#include "heap/pagealloc.h"

#include "fuzz/input.h"

enum { NCHUNKS = 20, NPAGES = NCHUNKS * MGC_CHUNK_PAGES, MAX_RUNS = 4096 };
enum page { ABSENT, CLEAN, DIRTY, USED };

static uint8_t page[NPAGES];
static struct run {
	size_t first, npages;
} runs[MAX_RUNS];
static size_t nruns;

static bool is_free(size_t i)
{
	return page[i] == CLEAN || page[i] == DIRTY;
}

static size_t find(size_t npages, size_t align)
{
	size_t open = 0; /* first page of the free run that holds page i - 1 */
	for (size_t i = 0; i <= NPAGES; i++) {
		size_t at = (open + align - 1) / align * align;
		if (at + npages <= i)
			return at;
		if (i < NPAGES && !is_free(i))
			open = i + 1;
	}
	return SIZE_MAX;
}

static void took(size_t first, size_t npages, size_t nclean)
{
	size_t want = 0;
	for (size_t i = first; i < first + npages; i++) {
		want += page[i] == CLEAN;
		page[i] = USED;
	}
	FUZZ_CHECK(nclean == want);
	runs[nruns++] = (struct run){ first, npages };
}

static void op_add(struct pagealloc *pa, size_t chunk, size_t n)
{
	for (size_t i = chunk; i < chunk + n; i++)
		if (i >= NCHUNKS || page[i * MGC_CHUNK_PAGES] != ABSENT)
			return;
	FUZZ_CHECK(pagealloc_add(pa, chunk * MGC_CHUNK_PAGES, n * MGC_CHUNK_PAGES));
	memset(page + chunk * MGC_CHUNK_PAGES, CLEAN, n * MGC_CHUNK_PAGES);
}

static void op_alloc(struct pagealloc *pa, size_t npages, size_t align)
{
	size_t first = SIZE_MAX, nclean = 0, want = find(npages, align);
	if (nruns == MAX_RUNS)
		return;
	bool got = pagealloc_alloc(pa, npages, align, &first, &nclean);
	FUZZ_CHECK(got == (want != SIZE_MAX) && (!got || first == want));
	if (got)
		took(first, npages, nclean);
}

static void op_alloc_at(struct pagealloc *pa, size_t first, size_t npages)
{
	size_t nclean = 0, last = first;
	if (nruns == MAX_RUNS || first + npages > NPAGES)
		return;
	while (last < first + npages && is_free(last))
		last++;
	bool want = last == first + npages;
	FUZZ_CHECK(pagealloc_is_free_run(pa, first, npages) == want);
	if (want) {
		FUZZ_CHECK(pagealloc_alloc_at(pa, first, npages, &nclean));
		took(first, npages, nclean);
	}
}

/* op_free - of a run, or only its end from page `from` on. */
static void op_free(struct pagealloc *pa, size_t i, size_t from, bool clean)
{
	if (nruns == 0)
		return;
	struct run *r = &runs[i % nruns];
	from %= r->npages;
	if (clean)
		pagealloc_put_clean(pa, r->first + from, r->npages - from);
	else
		pagealloc_free(pa, r->first + from, r->npages - from);
	memset(page + r->first + from, clean ? CLEAN : DIRTY, r->npages - from);
	r->npages = from;
	if (from == 0)
		*r = runs[--nruns];
}

static bool find_dirty(size_t below, size_t min, size_t max, size_t align, struct run *out)
{
	for (size_t lo, end = below < NPAGES ? below : NPAGES; end > 0; end = lo) {
		for (lo = end; lo > 0 && page[lo - 1] == DIRTY;)
			lo--;
		size_t hi = end / align * align, up = (lo + align - 1) / align * align;
		if (hi > up && hi - up >= min) {
			out->npages = hi - up < max ? hi - up : max;
			out->first = hi - out->npages;
			return true;
		}
		lo -= lo == end;
	}
	return false;
}

static void op_scavenge(struct pagealloc *pa, size_t below, size_t min, size_t align)
{
	struct run want = { 0, 0 };
	size_t first = 0, npages = 0, max = (min > align ? min : align) * 2;
	max = max / align * align;
	bool is = find_dirty(below, min, max, align, &want);
	bool got = pagealloc_take_dirty(pa, below, min, max, align, &first, &npages);
	FUZZ_CHECK(got == is && (!got || (first == want.first && npages == want.npages)));
	if (got) {
		pagealloc_put_clean(pa, first, npages);
		memset(page + first, CLEAN, npages);
	}
}

static void step(struct pagealloc *pa, struct input *in)
{
	unsigned op = (unsigned)take(in, 1);
	size_t a = (size_t)take(in, 2), b = (size_t)take(in, 2);
	switch (op % 8) {
	case 0:
		op_add(pa, a % NCHUNKS, 1 + b % 4);
		break;
	case 1:
	case 2:
		op_alloc(pa, 1 + a % 80, 1);
		break;
	case 3:
		op_alloc(pa, 1 + a % (4 * MGC_CHUNK_PAGES), (size_t)1 << b % 11);
		break;
	case 4:
		op_alloc_at(pa, a % NPAGES, 1 + b % 200);
		break;
	case 5:
	case 6:
		op_free(pa, a, b, op & 8);
		break;
	default:
		op_scavenge(pa, op & 8 ? SIZE_MAX : a % (NPAGES + 1), 1 + b % 100,
			    (size_t)1 << b / 128 % 9);
	}
}

static void compare(const struct pagealloc *pa)
{
	size_t nfree = 0, nclean = 0;
	pagealloc_verify(pa);
	for (size_t i = 0; i < NPAGES; i++) {
		nfree += is_free(i);
		nclean += page[i] == CLEAN;
		FUZZ_CHECK(pagealloc_is_free(pa, i) == is_free(i));
	}
	FUZZ_CHECK(nfree == pa->nfree && nclean == pa->nclean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct input in = { data, data + nbytes };
	struct pagealloc pa;
	memset(page, ABSENT, sizeof page);
	nruns = 0;
	FUZZ_CHECK(pagealloc_init(&pa, NPAGES, NPAGES) == 0);
	while (has_more(&in))
		step(&pa, &in);
	compare(&pa);
	pagealloc_destroy(&pa);
	return 0;
}
