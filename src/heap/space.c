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
/* A place for a range that is not reserved is tried so often. */
#define PLACE_TRIES 8
#define ARENA_PAGES (MGC_ARENA_SIZE >> MGC_PAGE_SHIFT)

/* The tables, in the order in which they lie. */
enum table { TABLE_SPANS, TABLE_BITS, TABLE_DESC, NTABLES };
static const size_t per_page[NTABLES] = { sizeof(struct span),
					  MGC_PAGE_SIZE / 1024 * sizeof(struct bitpair),
					  sizeof(uint32_t) };

static size_t table_nbytes(enum table t, size_t npages)
{
	return align_up(npages * per_page[t], 1 << 16);
}

static uintptr_t table_at(const struct space *sp, enum table t)
{
	const uintptr_t at[NTABLES] = { (uintptr_t)sp->spans, (uintptr_t)sp->bits, (uintptr_t)sp->desc };
	return at[t];
}

/* set_tables - spans and bits lie at `at`, each with room for so many pages. */
static void set_tables(struct space *sp, uintptr_t at, uintptr_t desc, size_t npages)
{
	sp->spans = (struct span *)at;
	sp->bits = (struct bitpair *)(at + table_nbytes(TABLE_SPANS, npages));
	sp->desc = (uint32_t *)desc;
}

/* reserve_tables - where the system has room. */
static int reserve_tables(struct space *sp)
{
	size_t nbytes = table_nbytes(TABLE_SPANS, sp->npages) + table_nbytes(TABLE_BITS, sp->npages);
	uintptr_t at = os_reserve(nbytes, MGC_CACHE_LINE);
	if (at == 0)
		return ENOMEM;
	uintptr_t desc = os_reserve_readable(table_nbytes(TABLE_DESC, sp->npages));
	if (desc == 0) {
		os_release(at, nbytes);
		return ENOMEM;
	}
	set_tables(sp, at, desc, sp->npages);
	return 0;
}

/* cut_tables - what they have for pages [npages, end) goes back. */
static void cut_tables(struct space *sp, size_t npages, size_t end)
{
	for (enum table t = 0; !sp->bare && t < NTABLES; t++) {
		size_t keep = table_nbytes(t, npages), all = table_nbytes(t, end);
		if (keep < all)
			os_release(table_at(sp, t) + keep, all - keep);
	}
}

static int extend_table(const struct space *sp, enum table t, size_t from, size_t to)
{
	size_t have = table_nbytes(t, from), all = table_nbytes(t, to);
	uintptr_t at = table_at(sp, t) + have;
	if (have == all)
		return 0;
	return t == TABLE_DESC ? os_reserve_readable_at(at, all - have) : os_reserve_at(at, all - have);
}

/* extend_tables - where they are, from `from` pages to `to`. 0 or an errno: nothing has happened. */
static int extend_tables(struct space *sp, size_t from, size_t to)
{
	for (enum table t = 0; t < NTABLES; t++) {
		int err = extend_table(sp, t, from, to);
		if (err == 0)
			continue;
		while (t-- > 0)
			os_release(table_at(sp, t) + table_nbytes(t, from),
				   table_nbytes(t, to) - table_nbytes(t, from));
		return err;
	}
	return 0;
}

/* place_range - chunks are mapped there as they are needed, never over somebody else; the tables lie where the widest range
 * would end. */
static int place_range(struct space *sp)
{
	int err = EEXIST;
	if (sp->bare) {
		sp->base = os_choose_place(MGC_ARENA_SIZE);
		return 0;
	}
	for (int i = 0; i < PLACE_TRIES && err == EEXIST; i++) {
		sp->base = os_choose_place(MGC_ARENA_SIZE);
		uintptr_t at = sp->base + (sp->most_pages << MGC_PAGE_SHIFT);
		set_tables(sp, at,
			   at + table_nbytes(TABLE_SPANS, sp->most_pages) +
				   table_nbytes(TABLE_BITS, sp->most_pages),
			   sp->most_pages);
		err = extend_tables(sp, 0, sp->npages);
	}
	return err == 0 ? 0 : ENOMEM;
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
	sp->bare = bare;
	sp->whole_pages = sp->npages;
	if (!sp->reserved)
		return place_range(sp);
	int err = reserve_range(sp, lock_nbytes);
	if (err != 0)
		return err;
	err = sp->bare ? 0 : reserve_tables(sp);
	if (err != 0)
		os_release(sp->mapping, sp->mapping_nbytes);
	return err;
}

/* may_have - of the range's bytes, under that limit. */
static size_t may_have(const struct space *sp, size_t limit)
{
	size_t most = sp->most_pages << MGC_PAGE_SHIFT;
	return min_size(most, align_up(min_size(limit, most), MGC_ARENA_SIZE));
}

static int init(struct space *sp, size_t max_nbytes, bool bare)
{
	memset(sp, 0, sizeof *sp);
	size_t most = os_address_budget(), lock_nbytes;
	if (max_nbytes != 0)
		most = min_size(most, max_nbytes);
	most = max_size(align_down(most, MGC_ARENA_SIZE), MIN_RANGE);
	sp->most_pages = most >> MGC_PAGE_SHIFT;
	sp->limit = os_address_limit();
	sp->reserved = sp->limit == SIZE_MAX; /* else a large reservation is itself a cost */
	annotate_start();
	/* who has no tables loses nothing by a range that is longer than the limit lets it be now */
	size_t limit = bare && !sp->reserved ? os_address_most() : sp->limit;
	for (size_t nbytes = may_have(sp, limit); nbytes >= MIN_RANGE;) {
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

/* is_ours - the chunk at a page below `grown`, when the range is not reserved. A bare space does not remember: what it
 * had behind somebody else's stays. */
static bool is_ours(const struct space *sp, size_t page)
{
	return sp->bare ? page < sp->whole_pages : sp->spans[page].state != SPAN_LOST;
}

void space_destroy(struct space *sp)
{
	if (sp->reserved)
		os_release(sp->mapping, sp->mapping_nbytes);
	for (size_t page = 0; !sp->reserved && page < sp->grown; page += MGC_CHUNK_PAGES)
		if (is_ours(sp, page))
			os_release(space_page_addr(sp, page), MGC_CHUNK_SIZE);
	cut_tables(sp, 0, sp->npages);
	memset(sp, 0, sizeof *sp);
}

/* mapped_nbytes - that stand against the limit whether they are used or not. */
static size_t mapped_nbytes(const struct space *sp)
{
	size_t nbytes = sp->reserved ? sp->mapping_nbytes : 0;
	for (enum table t = 0; !sp->bare && t < NTABLES; t++)
		nbytes += table_nbytes(t, sp->npages);
	return nbytes;
}

static bool is_over(const struct space *sp, size_t limit)
{
	return limit != sp->limit && limit < mapped_nbytes(sp);
}

bool space_over_limit(const struct space *sp)
{
	return is_over(sp, os_address_limit());
}

bool space_limit_changed(const struct space *sp)
{
	size_t limit = os_address_limit();
	return is_over(sp, limit) ||
	       (limit > sp->limit && !sp->reserved && sp->npages < sp->most_pages);
}

static void set_nbytes(struct space *sp, size_t nbytes)
{
	sp->nbytes = nbytes;
	sp->npages = nbytes >> MGC_PAGE_SHIFT;
}

size_t space_bound(const struct space *sp)
{
	size_t used = sp->grown << MGC_PAGE_SHIFT;
	size_t nbytes = align_up(max_size(used, may_have(sp, sp->limit)), MGC_ARENA_SIZE);
	return min_size(nbytes, sp->nbytes) >> MGC_PAGE_SHIFT;
}

/* shrink - what is reserved and not in use goes back. */
static void shrink(struct space *sp)
{
	size_t npages = space_bound(sp);
	uintptr_t end = space_page_addr(sp, sp->grown);
	if (sp->reserved) {
		if (sp->base > sp->mapping)
			os_release(sp->mapping, sp->base - sp->mapping);
		os_release(end, sp->mapping + sp->mapping_nbytes - end);
	}
	store_relaxed(&sp->reserved, false); /* for who looks without the lock */
	if (sp->bare)
		return;
	cut_tables(sp, npages, sp->npages);
	/* a growth that was refused had got more */
	sp->tabled = min_size(sp->tabled, npages / ARENA_PAGES);
	set_nbytes(sp, npages << MGC_PAGE_SHIFT);
}

/* widen - as far as the limit lets it, and the places behind the tables are still free. */
static void widen(struct space *sp)
{
	size_t nbytes = may_have(sp, sp->limit);
	size_t more = nbytes > sp->nbytes ? nbytes - sp->nbytes : 0;
	for (; more >= MGC_ARENA_SIZE; more = align_down(more / 2, MGC_ARENA_SIZE))
		if (extend_tables(sp, sp->npages, (sp->nbytes + more) >> MGC_PAGE_SHIFT) == 0) {
			set_nbytes(sp, sp->nbytes + more);
			return;
		}
}

void space_obey(struct space *sp)
{
	sp->limit = os_address_limit();
	if (sp->limit < mapped_nbytes(sp))
		shrink(sp);
	else if (!sp->reserved && !sp->bare)
		widen(sp);
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
	size_t all = 0;
	for (enum table t = 0; t < NTABLES; t++)
		all += per_page[t];
	return (nbytes >> MGC_PAGE_SHIFT) * all;
}

size_t space_tables_nbytes(const struct space *sp)
{
	return sp->bare ? 0 : sp->tabled * space_tables_for(MGC_ARENA_SIZE);
}

static bool commit_tables(struct space *sp, size_t upto_page)
{
	for (; !sp->bare && sp->tabled * ARENA_PAGES < upto_page; sp->tabled++)
		for (enum table t = 0; t < NTABLES; t++)
			if (commit_piece(table_at(sp, t), sp->tabled, ARENA_PAGES * per_page[t]) != 0)
				return false;
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
		if (sp->bare)
			sp->whole_pages = min_size(sp->whole_pages, sp->grown);
		else
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
