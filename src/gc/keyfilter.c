/* keyfilter.c - see keyfilter.h. */
#include "gc/keyfilter.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "os/os.h"

#define SET_WORDS ((size_t)1 << (KEY_FILTER_SHIFT - 6))

static uint64_t *word_of(uint64_t *bits, unsigned set, uintptr_t object, uint64_t *bit)
{
	uint64_t hash = bits_mix(object) >> (64 - KEY_FILTER_SHIFT);
	*bit = UINT64_C(1) << (hash & 63);
	return &bits[set * SET_WORDS + hash / 64];
}

bool key_filter_ready(struct key_filter *f)
{
	uint64_t *none = NULL;
	if (load_acquire(&f->bits) != NULL) /* pairs: key-filter */
		return true;
	size_t nbytes = align_up(2 * SET_WORDS * sizeof(uint64_t), os_page_size());
	uint64_t *fresh = (uint64_t *)os_alloc(nbytes);
	if (fresh == NULL)
		return false;
	if (!cas_acq_rel(&f->bits, &none, fresh)) /* pairs: key-filter */
		os_release((uintptr_t)fresh, nbytes);
	return true;
}

static void set_bit(struct key_filter *f, unsigned set, uintptr_t object)
{
	uint64_t bit, *bits = load_acquire(&f->bits), *word; /* pairs: key-filter */
	if (bits == NULL) /* nobody frees keys by hand here */
		return;
	word = word_of(bits, set, object, &bit);
	if (!(load_relaxed(word) & bit))
		(void)or_relaxed(word, bit);
}

void key_filter_add(struct key_filter *f, uintptr_t object)
{
	set_bit(f, 0, object);
	set_bit(f, 1, object);
}

void key_filter_mark(struct key_filter *f, uintptr_t object)
{
	set_bit(f, 1 - load_relaxed(&f->current), object);
}

/* A bit that is added while the old set is emptied is in the other one, and the next mark sees its pair. */
void key_filter_turn(struct key_filter *f)
{
	uint32_t old = load_relaxed(&f->current);
	uint64_t *bits = load_acquire(&f->bits); /* pairs: key-filter */
	if (bits == NULL)
		return;
	store_release(&f->current, 1 - old); /* pairs: key-filter */
	for (size_t i = 0; i < SET_WORDS; i++)
		store_relaxed(&bits[old * SET_WORDS + i], UINT64_C(0));
}

bool key_filter_has(const struct key_filter *f, uintptr_t object)
{
	uint64_t bit, *bits = load_acquire(&f->bits); /* pairs: key-filter */
	return bits != NULL && load_relaxed(word_of(bits, load_acquire(&f->current), object, &bit)) &
				       bit; /* pairs: key-filter */
}
