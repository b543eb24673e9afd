/* space.c - see space.h. LOCKS PAGEHEAP is held in space_grow; init and destroy run alone. */
#include "heap/space.h"

#include <errno.h>
#include <string.h>

#include "base/annotate.h"
#include "base/bits.h"
#include "base/check.h"
#include "heap/span.h"
#include "os/os.h"

/* Smallest range worth having, and the step by which a refused reservation shrinks. */
#define MIN_RANGE (MGC_ARENA_SIZE)
#define SPAN_TABLE_PER_ARENA ((MGC_ARENA_SIZE >> MGC_PAGE_SHIFT) * sizeof(struct span))
#define BITS_PER_ARENA ((MGC_ARENA_SIZE >> 10) * sizeof(struct bitpair))
#define DESC_PER_ARENA ((MGC_ARENA_SIZE >> MGC_PAGE_SHIFT) * sizeof(uint32_t))

static size_t table_nbytes(size_t npages, size_t per_page)
{
	return align_up(npages * per_page, 1 << 16);
}

static int reserve_tables(struct space *sp)
{
	size_t spans = table_nbytes(sp->npages, sizeof(struct span));
	size_t bits = table_nbytes(sp->npages, MGC_PAGE_SIZE / 1024 * sizeof(struct bitpair));
	uintptr_t at = os_reserve(spans + bits, MGC_CACHE_LINE);
	if (at == 0)
		return ENOMEM;
	uintptr_t desc = os_reserve_readable(table_nbytes(sp->npages, sizeof(uint32_t)));
	if (desc == 0) {
		os_release(at, spans + bits);
		return ENOMEM;
	}
	sp->spans = (struct span *)at;
	sp->bits = (struct bitpair *)(at + spans);
	sp->desc = (uint32_t *)desc;
	return 0;
}

/* release_tables - from so many pages on. */
static void release_tables(struct space *sp, size_t from_page)
{
	const struct {
		uintptr_t at;
		size_t per_page;
	} table[] = { { (uintptr_t)sp->spans, sizeof(struct span) },
		      { (uintptr_t)sp->bits, MGC_PAGE_SIZE / 1024 * sizeof(struct bitpair) },
		      { (uintptr_t)sp->desc, sizeof(uint32_t) } };
	for (size_t i = 0; !sp->bare && i < sizeof table / sizeof table[0]; i++) {
		size_t keep = table_nbytes(from_page, table[i].per_page);
		size_t all = table_nbytes(sp->npages, table[i].per_page);
		if (keep < all)
			os_release(table[i].at + keep, all - keep);
	}
}

/* reserve_range - 0, ENOMEM, or EAGAIN when the system locks what is mapped: *lock_nbytes of it. The addresses
 * before the aligned base and behind the range's end stay reserved: giving them back is two calls at each start. */
static int reserve_range(struct space *sp, size_t *lock_nbytes)
{
	sp->mapping_nbytes = sp->nbytes + MGC_ARENA_SIZE;
	sp->mapping = os_reserve(sp->mapping_nbytes, 0);
	sp->base = align_up(sp->mapping, MGC_ARENA_SIZE);
	*lock_nbytes = os_lock_budget(sp->mapping);
	if (*lock_nbytes != SIZE_MAX && sp->mapping != 0)
		os_release(sp->mapping, sp->mapping_nbytes);
	return *lock_nbytes != SIZE_MAX ? EAGAIN : sp->mapping == 0 ? ENOMEM : 0;
}

static int init_range(struct space *sp, size_t nbytes, bool bare, size_t *lock_nbytes)
{
	sp->nbytes = align_down(nbytes, MGC_ARENA_SIZE);
	sp->npages = sp->nbytes >> MGC_PAGE_SHIFT;
	sp->bare = bare && sp->reserved;
	if (!sp->reserved) { /* chunks are mapped there as they are needed, never over somebody else */
		sp->base = os_choose_place(MGC_ARENA_SIZE);
	} else {
		int err = reserve_range(sp, lock_nbytes);
		if (err != 0)
			return err;
	}
	int err = sp->bare ? 0 : reserve_tables(sp);
	if (err != 0 && sp->reserved)
		os_release(sp->mapping, sp->mapping_nbytes);
	return err;
}

static int init(struct space *sp, size_t max_nbytes, bool bare)
{
	memset(sp, 0, sizeof *sp);
	bool limited = false;
	size_t nbytes = os_address_budget(&limited), lock_nbytes;
	if (limited) /* the budget is a quarter; mapped chunk by chunk, all of the limit can be used */
		nbytes *= 4;
	if (max_nbytes != 0)
		nbytes = min_size(nbytes, max_nbytes);
	sp->reserved = !limited;
	annotate_start();
	for (nbytes = max_size(nbytes, MIN_RANGE); nbytes >= MIN_RANGE;) {
		int err = init_range(sp, nbytes, bare, &lock_nbytes);
		if (err == 0) {
			annotate_heap(sp->base, sp->nbytes);
			return 0;
		}
		sp->reserved &= err != EAGAIN;
		nbytes = err == EAGAIN ? max_size(min_size(nbytes, lock_nbytes), MIN_RANGE)
				       : nbytes / 2;
	}
	return ENOMEM;
}

int space_init(struct space *sp, size_t max_nbytes)
{
	return init(sp, max_nbytes, false);
}

int space_init_bare(struct space *sp, size_t max_nbytes)
{
	return init(sp, max_nbytes, true);
}

void space_destroy(struct space *sp)
{
	if (sp->reserved)
		os_release(sp->mapping, sp->mapping_nbytes);
	for (size_t page = 0; !sp->reserved && page < sp->grown; page += MGC_CHUNK_PAGES)
		if (sp->spans[page].state != SPAN_LOST)
			os_release(space_page_addr(sp, page), MGC_CHUNK_SIZE);
	release_tables(sp, 0);
	memset(sp, 0, sizeof *sp);
}

bool space_over_limit(const struct space *sp)
{
	return sp->reserved && os_address_limit() < sp->mapping_nbytes;
}

void space_obey(struct space *sp)
{
	size_t used = sp->grown << MGC_PAGE_SHIFT;
	size_t nbytes = min_size(
		align_up(max_size(used, min_size(os_address_limit(), sp->nbytes)), MGC_ARENA_SIZE),
		sp->nbytes);
	uintptr_t end = sp->base + used;
	if (sp->base > sp->mapping)
		os_release(sp->mapping, sp->base - sp->mapping);
	os_release(end, sp->mapping + sp->mapping_nbytes - end);
	release_tables(sp, nbytes >> MGC_PAGE_SHIFT);
	sp->nbytes = nbytes;
	sp->npages = nbytes >> MGC_PAGE_SHIFT;
	sp->reserved = false;
}

/* commit_piece - commits the part of a table that serves one arena, to the system's page ends. */
static int commit_piece(uintptr_t table, size_t index, size_t nbytes)
{
	uintptr_t lo = align_down(table + index * nbytes, os_page_size());
	uintptr_t hi = align_up(table + (index + 1) * nbytes, os_page_size());
	return os_commit(lo, hi - lo);
}

size_t space_tables_for(size_t nbytes)
{
	size_t per_page = sizeof(struct span) + sizeof(uint32_t) +
			  (MGC_PAGE_SIZE >> 10) * sizeof(struct bitpair);
	return (nbytes >> MGC_PAGE_SHIFT) * per_page;
}

size_t space_tables_nbytes(const struct space *sp)
{
	return sp->bare ? 0 : sp->tabled * (SPAN_TABLE_PER_ARENA + BITS_PER_ARENA + DESC_PER_ARENA);
}

static bool commit_tables(struct space *sp, size_t upto_page)
{
	size_t pages_per_arena = MGC_ARENA_SIZE >> MGC_PAGE_SHIFT;
	for (; !sp->bare && sp->tabled * pages_per_arena < upto_page; sp->tabled++) {
		if (commit_piece((uintptr_t)sp->spans, sp->tabled, SPAN_TABLE_PER_ARENA) != 0 ||
		    commit_piece((uintptr_t)sp->bits, sp->tabled, BITS_PER_ARENA) != 0 ||
		    commit_piece((uintptr_t)sp->desc, sp->tabled, DESC_PER_ARENA) != 0)
			return false;
	}
	return true;
}

/* map_chunks - when the range is not ours beforehand: EEXIST when somebody else is there (the caller then
 * skips the first chunk for ever), ENOMEM when memory is short. */
static int map_chunks(struct space *sp, uintptr_t addr, size_t nbytes)
{
	if (!sp->reserved) {
		int err = os_reserve_at(addr, nbytes);
		if (err != 0)
			return err;
	}
	int err = os_commit(addr, nbytes);
	if (err != 0 && !sp->reserved)
		os_release(addr, nbytes);
	return err;
}

bool space_grow(struct space *sp, size_t nchunks, size_t *first_page)
{
	size_t npages = nchunks * MGC_CHUNK_PAGES;
	while (npages <= sp->npages - sp->grown) {
		if (!commit_tables(sp, sp->grown + npages))
			return false;
		uintptr_t addr = space_page_addr(sp, sp->grown);
		int err = map_chunks(sp, addr, npages << MGC_PAGE_SHIFT);
		if (err == 0) {
			*first_page = sp->grown;
			store_relaxed(&sp->grown, sp->grown + npages); /* for who looks without the lock */
			return true;
		}
		if (err != EEXIST)
			return false;
		sp->spans[sp->grown].state = SPAN_LOST;
		store_relaxed(&sp->grown, sp->grown + MGC_CHUNK_PAGES);
	}
	return false;
}

/* each_table - calls fn for what of each table lies in whole system pages of what serves these pages. */
static void each_table(const struct space *sp, size_t first_page, size_t npages,
		       void (*fn)(uintptr_t addr, size_t nbytes))
{
	size_t pairs = MGC_PAGE_SIZE / 1024;
	uintptr_t ends[2][2] = {
		{ (uintptr_t)&sp->spans[first_page], (uintptr_t)&sp->spans[first_page + npages] },
		{ (uintptr_t)&sp->bits[first_page * pairs],
		  (uintptr_t)&sp->bits[(first_page + npages) * pairs] },
	};
	for (unsigned i = 0; i < 2; i++) {
		uintptr_t lo = align_up(ends[i][0], os_page_size());
		uintptr_t hi = align_down(ends[i][1], os_page_size());
		if (lo < hi)
			fn(lo, hi - lo);
	}
}

static void discard(uintptr_t addr, size_t nbytes)
{
	(void)os_discard(addr, nbytes); /* refused: it stays resident, no harm */
}

void space_discard_tables(const struct space *sp, size_t first_page, size_t npages)
{
	each_table(sp, first_page, npages, discard);
}

void space_touch_tables(const struct space *sp, size_t first_page, size_t npages)
{
	each_table(sp, first_page, npages, os_populate);
	/* a write to a page of descriptions that was read before costs more than a fault of the others */
	uintptr_t lo = align_down((uintptr_t)&sp->desc[first_page], os_page_size());
	uintptr_t hi = align_up((uintptr_t)&sp->desc[first_page + npages], os_page_size());
	os_populate(lo, hi - lo);
}
