/* unwind.c - see unwind.h. */
#include "sample/unwind.h"

#include <stdbool.h>
#include <unwind.h>

#include "base/atomic.h"
#include "base/compiler.h"

/* ── what tables said before ────────────────────────────────────────────────────────────────
 * A word: 48 bits of return address, 13 of its frame's size, 3 of how often the tables said so. */

#define CACHE_SIZE 8192u
#define SIZE_VARIES 0x1fffu /* alloca, or a frame after a signal: never added */
#define SIZE_END 0u /* the outermost frame */
#define TRUSTED 3u

static uint64_t cache[CACHE_SIZE]; /* atomic */

static uint64_t *cache_at(uintptr_t ret)
{
	return &cache[(ret * UINT64_C(0x9e3779b97f4a7c15)) >> 51];
}

_Static_assert(CACHE_SIZE == UINT64_C(1) << (64 - 51), "a hash has as many bits");

static unsigned size_of(uint64_t word)
{
	return (unsigned)(word >> 3) & 0x1fff;
}

/* note_size - the tables say that the frame at that return address has so many words. */
static void note_size(uintptr_t ret, unsigned size)
{
	uint64_t *at = cache_at(ret), word = load_relaxed(at);
	unsigned seen = 0;
	if (word >> 16 == ret) {
		if (size_of(word) != size)
			size = SIZE_VARIES;
		else
			seen = (word & 7) < TRUSTED ? (unsigned)(word & 7) + 1 : TRUSTED;
	}
	store_relaxed(at, (uint64_t)ret << 16 | (uint64_t)size << 3 | seen);
}

/* ── by the tables ──────────────────────────────────────────────────────────────────────── */

struct walk {
	uintptr_t *pc;
	size_t n, max;
	unsigned skip;
	uintptr_t ret, cfa; /* of the frame before this one: its return address, and where its callee's frame ended */
	uintptr_t first_cfa;
	bool regular; /* that one was called, not interrupted */
};

static void note_frame(const struct walk *w, uintptr_t cfa)
{
	uintptr_t size = (cfa - w->cfa) / sizeof(uintptr_t);
	if (w->ret == 0)
		return;
	note_size(w->ret,
		  w->regular && cfa > w->cfa && size < SIZE_VARIES ? (unsigned)size : SIZE_VARIES);
}

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *arg)
{
	struct walk *w = arg;
	int interrupted = 0;
	uintptr_t pc = _Unwind_GetIPInfo(context, &interrupted), cfa = _Unwind_GetCFA(context);
	if (pc == 0 || w->n == w->max || cfa == w->cfa) {
		if (w->ret != 0 && w->n < w->max)
			note_size(w->ret, SIZE_END);
		w->ret = 0;
		return _URC_END_OF_STACK;
	}
	note_frame(w, cfa);
	w->ret = pc;
	w->cfa = cfa;
	w->regular = !interrupted;
	if (w->first_cfa == 0)
		w->first_cfa = cfa;
	if (w->skip > 0)
		w->skip--;
	else
		w->pc[w->n++] = interrupted ? pc : pc - 1;
	return _URC_NO_REASON;
}

static MGC_NOINLINE size_t walk_tables(struct unwind_thread *t, uintptr_t *pc, size_t n, unsigned skip)
{
	struct walk w = { .pc = pc, .max = n, .skip = skip + 2 };
	_Unwind_Backtrace(step, &w);
	if (w.ret != 0 && w.n < w.max) /* the tables end here */
		note_size(w.ret, SIZE_END);
	if (w.cfa != t->known_hi || w.first_cfa < t->known_lo) /* another stack, or deeper on this one */
		t->known_lo = w.first_cfa;
	t->known_hi = w.cfa;
	return w.n;
}

/* ── by what they said ──────────────────────────────────────────────────────────────────── */

#if defined(__x86_64__)
/* walk_cached - from the frame with that return address, whose callee's frame ended at cfa; 0: the tables must
 * be asked. */
static MGC_NO_SANITIZE size_t walk_cached(const struct unwind_thread *t, uintptr_t ret,
					  uintptr_t cfa, uintptr_t *pc, size_t n, unsigned skip)
{
	size_t got = 0;
	while (got < n) {
		uint64_t word = load_relaxed(cache_at(ret));
		unsigned size = size_of(word);
		if (word >> 16 != ret || (word & 7) < TRUSTED || size == SIZE_VARIES)
			return 0;
		if (skip > 0)
			skip--;
		else
			pc[got++] = ret - 1;
		if (size == SIZE_END)
			return got;
		cfa += size * sizeof(uintptr_t);
		if (cfa > t->known_hi || cfa < t->known_lo) /* U1 */
			return 0;
		ret = ((const uintptr_t *)cfa)[-1];
	}
	return got;
}

static MGC_NO_SANITIZE uintptr_t return_address(uintptr_t cfa)
{
	return ((const uintptr_t *)cfa)[-1];
}
#endif

MGC_NOINLINE size_t unwind_stack(struct unwind_thread *t, uintptr_t *pc, size_t n, unsigned skip)
{
#if defined(__x86_64__)
	uintptr_t cfa = (uintptr_t)__builtin_dwarf_cfa();
	if (cfa >= t->known_lo && cfa < t->known_hi) {
		size_t got = walk_cached(t, return_address(cfa), cfa, pc, n, skip);
		if (got > 0)
			return got;
	}
#endif
	n = walk_tables(t, pc, n, skip);
	MGC_COMPILER_FENCE(); /* no tail call: the frames to skip are counted */
	return n;
}
