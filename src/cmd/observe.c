/* observe.c - see observe.h. STATE copies of the process's structures, in memory of this one. */
#include "cmd/observe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "cmd/resident.h"
#include "face/malloc.h"
#include "os/os.h"

enum { CHUNK_PAGES = 4096, CHUNK_SLABS = 1024, MAX_THREADS = 100000, COUNT_TRIES = 4 };
_Static_assert(MGC_NSIZECLASS <= TARGET_PIECES, "one call for a cache's slabs");

/* ── counters ───────────────────────────────────────────────────────────────────────────── */

uint64_t view_rss(pid_t pid)
{
	char name[64];
	unsigned long size, resident = 0;
	snprintf(name, sizeof name, "/proc/%d/statm", (int)pid);
	FILE *file = fopen(name, "r");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * os_page_size();
}

static void view_pages(const struct pageheap *ph, struct view *out)
{
	out->used_nbytes = ph->used_pages << MGC_PAGE_SHIFT;
	out->clean_nbytes = ph->pages.nclean << MGC_PAGE_SHIFT;
	out->dirty_nbytes = (ph->pages.nfree - min_size(ph->pages.nclean, ph->pages.nfree))
			    << MGC_PAGE_SHIFT;
	out->scavenged_nbytes = ph->scavenged_nbytes;
}

static bool read_collected(const struct target *t, struct view *out)
{
	static struct runtime r;
	if (!target_read(t, (uintptr_t)t->watch.root, &r, sizeof r))
		return false;
	const struct gc *gc = &r.gc;
	out->live_nbytes = heap_live(&r.heap);
	out->goal_nbytes = gc->goal_nbytes;
	out->counted = true;
	out->allocated_nbytes = r.heap.allocated_nbytes;
	out->phase = phase_gen_phase(r.heap.phase_gen);
	out->ncycles = gc->ncycles;
	memcpy(out->recent, gc->recent, sizeof out->recent);
	out->pauses = gc->pauses;
	out->snapshots = gc->snapshots;
	out->handshakes = gc->stw.handshakes;
	out->start_ns = gc->start_ns;
	view_pages(&r.heap.pageheap, out);
	return true;
}

/* reused_nbytes - what was freed into the current slabs of malloc's cache since it last counted, and so is allocated again. */
static uint64_t reused_nbytes(const struct target *t, const struct mcache *c)
{
	static struct slab s[MGC_NSIZECLASS];
	uintptr_t at[MGC_NSIZECLASS];
	uint64_t nbytes = 0;
	size_t n = 0;
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++)
		if (c->current[sc] != NULL)
			at[n++] = (uintptr_t)c->current[sc];
	if (!target_gather(t, at, n, s, sizeof s[0]))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (s[i].state == SLAB_CURRENT && s[i].sizeclass < MGC_NSIZECLASS)
			nbytes += (uint64_t)(s[i].until - s[i].countdown) *
				  sizeclass_table[s[i].sizeclass].slot_nbytes;
	return nbytes;
}

/* allocated_by - the cache at `at`, whose link in the list is *link. What its thread counts while one looks is looked at
 * again. */
static uint64_t allocated_by(const struct target *t, uintptr_t at, struct list *link)
{
	static struct mcache c;
	uint64_t reused = 0, listed = 0, units;
	bool ok = true;
	for (unsigned i = 0; ok && (i == 0 || (i < COUNT_TRIES && listed != c.listed_nbytes)); i++) {
		ok = target_read(t, at, &c, sizeof c);
		reused = ok ? reused_nbytes(t, &c) : 0;
		ok = ok && target_read(t, at + offsetof(struct mcache, listed_nbytes), &listed,
				       sizeof listed);
	}
	*link = ok ? c.node : (struct list){ NULL, NULL };
	units = ok && c.runs_bound != 0 ? c.runs_bound - MCACHE_MAX_KEPT - c.runs_given : 0;
	return ok ? c.listed_nbytes + units * SLAB_NBYTES + reused : 0;
}

/* read_allocated - by malloc; see mcache_allocated. */
static void read_allocated(const struct target *t, struct view *out)
{
	static const size_t lists[] = { offsetof(struct malloc_face, heap.caches),
					offsetof(struct malloc_face, heap.idle) };
	uintptr_t root = (uintptr_t)t->watch.root;
	struct manual *secure;
	if (!target_read(t, root + offsetof(struct malloc_face, secure.heap), &secure, sizeof secure))
		return;
	out->counted = secure == NULL;
	for (size_t i = 0; i < 2 && out->counted; i++) {
		struct list link;
		uintptr_t head = root + lists[i];
		if (!target_read(t, head, &link, sizeof link))
			return;
		for (int n = 0;
		     n < MAX_THREADS && link.next != NULL && (uintptr_t)link.next != head; n++)
			out->allocated_nbytes += allocated_by(
				t, (uintptr_t)link.next - offsetof(struct mcache, node), &link);
	}
}

bool view_read(const struct target *t, struct view *out)
{
	memset(out, 0, sizeof *out);
	out->collected = t->watch.face == WATCH_COLLECTED;
	if (out->collected) {
		if (!read_collected(t, out))
			return false;
	} else {
		struct pageheap ph;
		if (!target_read(t, (uintptr_t)t->watch.root + offsetof(struct malloc_face, heap.pageheap),
				 &ph, sizeof ph))
			return false;
		view_pages(&ph, out);
		read_allocated(t, out);
	}
	out->now_ns = os_now_ns();
	out->rss_nbytes = view_rss(t->pid);
	return true;
}

const struct cycle_record *view_cycle(const struct view *v, uint64_t number)
{
	const struct cycle_record *r = &v->recent[number % RECENT_CYCLES];
	return number != 0 && number <= v->ncycles && r->number == number ? r : NULL;
}

/* ── a census ───────────────────────────────────────────────────────────────────────────── */

/* What is copied of a part of the heap's tables. */
struct part {
	uint32_t desc[CHUNK_PAGES];
	struct span spans[CHUNK_PAGES];
	struct bitpair bits[CHUNK_PAGES << (MGC_PAGE_SHIFT - MGC_GRANULE_SHIFT - 6)];
};

static struct map_cell *cell_of(struct census *c, size_t page)
{
	size_t i = ((uint64_t)page << MGC_PAGE_SHIFT) / c->cell_nbytes;
	return &c->cell[i < MAP_CELLS ? i : MAP_CELLS - 1];
}

static void begin_map(struct census *c, const struct pageheap *ph)
{
	size_t grown = ph->space.grown;
	c->base = ph->space.base;
	c->grown_nbytes = (uint64_t)grown << MGC_PAGE_SHIFT;
	c->cell_nbytes = (uint64_t)64 << 10;
	while (c->cell_nbytes * MAP_CELLS < c->grown_nbytes)
		c->cell_nbytes *= 2;
	c->ncells = (size_t)((c->grown_nbytes + c->cell_nbytes - 1) / c->cell_nbytes);
}

/* map_pages - pages of one span, with so many used bytes in all. */
static void map_pages(struct census *c, size_t first, size_t npages, unsigned class, uint64_t used)
{
	for (size_t i = 0;
	     i < npages && ((uint64_t)(first + i) << MGC_PAGE_SHIFT) < c->grown_nbytes; i++) {
		struct map_cell *cell = cell_of(c, first + i);
		cell->page_nbytes += (uint32_t)MGC_PAGE_SIZE;
		cell->used_nbytes += (uint32_t)(used / npages);
		if (cell->class == class || cell->class_nbytes == 0) {
			cell->class = (uint16_t)class;
			cell->class_nbytes += (uint32_t)MGC_PAGE_SIZE;
		} else if (2 * cell->class_nbytes < cell->page_nbytes) {
			cell->class = (uint16_t)class;
			cell->class_nbytes = cell->page_nbytes / 2;
		}
	}
}

static bool map_free(const struct target *t, struct census *c, const struct pagealloc *pa)
{
	size_t nchunks = min_size(c->grown_nbytes >> MGC_CHUNK_SHIFT, pa->reached);
	for (size_t i = 0; i < nchunks; i++) {
		struct pagealloc_chunk chunk;
		if (!target_read(t, (uintptr_t)&pa->chunks[i], &chunk, sizeof chunk))
			return false;
		for (size_t k = 0; k < MGC_CHUNK_PAGES; k++) {
			uint64_t bit = UINT64_C(1) << k % 64;
			struct map_cell *cell = cell_of(c, i * MGC_CHUNK_PAGES + k);
			if (chunk.free[k / 64] & bit)
				*(chunk.clean[k / 64] & bit ? &cell->clean_nbytes : &cell->dirty_nbytes) +=
					(uint32_t)MGC_PAGE_SIZE;
		}
	}
	return true;
}

/* map_resident - adds a range that is in memory to its cells. */
static void map_resident(void *arg, uintptr_t lo, uintptr_t hi, bool huge)
{
	struct census *c = arg;
	c->resident_nbytes += hi - lo;
	c->huge_nbytes += huge ? hi - lo : 0;
	while (lo < hi) {
		struct map_cell *cell = cell_of(c, (lo - c->base) >> MGC_PAGE_SHIFT);
		uint64_t left = c->cell_nbytes - (lo - c->base) % c->cell_nbytes;
		uint32_t n = (uint32_t)min_size(left, hi - lo);
		cell->resident_nbytes += n;
		cell->huge_nbytes += huge ? n : 0;
		lo += n;
	}
}

/* count_taken - slots of the span whose allocation bits, from pair `at` on, are set: each at its slot's first
 * granule, so all bits of the span's pages count. A page is a whole number of pairs. */
static uint64_t count_taken(const struct bitpair *bits, size_t npairs)
{
	uint64_t n = 0;
	for (size_t i = 0; i < npairs; i++)
		n += (uint64_t)__builtin_popcountll(bits[i].alloc);
	return n;
}

static void count_span(struct census *c, const struct part *p, size_t first, size_t at, size_t n)
{
	const struct span *s = &p->spans[at];
	unsigned class = s->spanclass;
	const size_t pairs_a_page = MGC_PAGE_SIZE / (64 * MGC_GRANULE);
	if (s->state != SPAN_IN_USE || s->npages == 0 || class >= MGC_MAX_SPANCLASS || s->nslots == 0)
		return;
	size_t seen = min_size(s->npages, n - at);
	uint64_t used =
		s->sizeclass == 0 ? 1 : count_taken(&p->bits[at * pairs_a_page], seen * pairs_a_page);
	used = min_size(used, s->nslots);
	struct class_usage *u = &c->class[class];
	u->slot_nbytes = s->sizeclass == 0 ? 0 : s->slot_nbytes;
	u->nspans++;
	u->page_nbytes += span_nbytes(s);
	u->nslots += s->nslots;
	u->nused += used;
	uint64_t nbytes = s->sizeclass == 0 ? span_nbytes(s) - s->slack : used * s->slot_nbytes;
	u->used_nbytes += nbytes;
	map_pages(c, first + at, s->npages, class, nbytes);
}

/* Parts overlap by the longest span of small objects, so that each is seen whole. */
static bool count_spans(const struct target *t, struct census *c, const struct space *sp, struct part *p)
{
	const size_t step = CHUNK_PAGES - MGC_MAX_SMALL_PAGES;
	const size_t pairs_a_page = MGC_PAGE_SIZE / (64 * MGC_GRANULE);
	for (size_t first = 0; first < sp->grown; first += step) {
		size_t n = min_size(CHUNK_PAGES, sp->grown - first);
		if (!target_read(t, (uintptr_t)&sp->desc[first], p->desc, n * sizeof p->desc[0]) ||
		    !target_read(t, (uintptr_t)&sp->spans[first], p->spans, n * sizeof p->spans[0]) ||
		    !target_read(t, (uintptr_t)&sp->bits[first * pairs_a_page], p->bits,
				 n * pairs_a_page * sizeof p->bits[0]))
			return false;
		for (size_t i = 0; i < n && i < step; i++)
			if (p->desc[i] != 0 && desc_distance(p->desc[i]) == 0)
				count_span(c, p, first, i, n);
	}
	return true;
}

/* read_text - at most nbytes - 1 of the string there. */
static void read_text(const struct target *t, uintptr_t at, char *out, size_t nbytes)
{
	size_t i = 0;
	while (at != 0 && i + 1 < nbytes && target_read(t, at + i, out + i, 1) && out[i] != '\0')
		i++;
	out[i] = '\0';
}

static void name_classes(const struct target *t, struct census *c, const struct layouts *ls)
{
	static const char *const kinds[] = {
		[LAYOUT_NOSCAN] = "no pointers", [LAYOUT_WORDS] = "every word", [LAYOUT_MASK] = "typed", [LAYOUT_TRACE] = "traced", [LAYOUT_PAIRS] = "pairs"
	};
	for (unsigned i = 1; i < MGC_MAX_SPANCLASS; i++) {
		struct layout l;
		struct class_usage *u = &c->class[i];
		if (u->nspans == 0 || ls->spanclass[i].layout >= MGC_MAX_LAYOUT ||
		    !target_read(t, (uintptr_t)&ls->layout[ls->spanclass[i].layout], &l, sizeof l))
			continue;
		read_text(t, (uintptr_t)l.name, u->name, sizeof u->name);
		text_clean(u->name);
		if (u->name[0] == '\0' && l.desc.kind < sizeof kinds / sizeof kinds[0])
			strcpy(u->name, kinds[l.desc.kind]);
	}
}

static bool census_collected(const struct target *t, struct census *c)
{
	static struct runtime r;
	struct part *p = malloc(sizeof *p);
	bool ok = p != NULL && target_read(t, (uintptr_t)t->watch.root, &r, sizeof r);
	if (ok) {
		begin_map(c, &r.heap.pageheap);
		ok = count_spans(t, c, &r.heap.pageheap.space, p) &&
		     map_free(t, c, &r.heap.pageheap.pages);
		name_classes(t, c, &r.heap.layouts);
	}
	free(p);
	return ok;
}

/* ── the same of malloc's slabs ─────────────────────────────────────────────────────────── */

static void count_slab(struct census *c, const struct slab *s, size_t unit)
{
	unsigned sc = s->sizeclass < MGC_NSIZECLASS ? s->sizeclass : 0;
	struct class_usage *u = &c->class[sc];
	uint64_t used = 0, pages = SLAB_NBYTES;
	bool listed = slab_is_listed(s) || s->state == SLAB_ORPHAN;
	if (s->state == SLAB_NONE || s->state == SLAB_CACHED || s->state == SLAB_SPARE)
		return;
	if (s->state == SLAB_LARGE) {
		pages = (uint64_t)s->countdown << MGC_PAGE_SHIFT;
		u->nslots += 1;
		u->nused += 1;
		u->used_nbytes += pages;
		used = pages;
	} else {
		/* CURRENT: what is free of it only its owner's list knows; it counts as in use */
		u->slot_nbytes = sizeclass_table[sc].slot_nbytes;
		used = listed && slab_used(s) <= s->carved ? slab_used(s) : s->carved;
		u->nslots += slab_nblocks(sc);
		u->nused += used;
		used *= u->slot_nbytes;
		u->used_nbytes += used;
	}
	u->nspans++;
	u->page_nbytes += pages;
	map_pages(c, unit * SLAB_PAGES, (size_t)(pages >> MGC_PAGE_SHIFT), sc, used);
}

/* records_from - how many units from this one on have their records one behind the other, at most `most`. */
static size_t records_from(const struct slabs *slabs, uintptr_t base, size_t most)
{
	size_t n = most;
	while (n > 1 && (uintptr_t)slab_of(slabs, base + (n - 1) * SLAB_NBYTES) !=
				(uintptr_t)slab_of(slabs, base) + (n - 1) * sizeof(struct slab))
		n /= 2;
	return n;
}

static bool census_malloc(const struct target *t, struct census *c)
{
	static struct malloc_face f;
	static struct slab s[CHUNK_SLABS];
	if (!target_read(t, (uintptr_t)t->watch.root, &f, sizeof f))
		return false;
	begin_map(c, &f.heap.pageheap);
	size_t nunits = f.heap.pageheap.space.grown / SLAB_PAGES, n;
	for (size_t unit = 0; unit < nunits; unit += n) {
		uintptr_t addr = f.heap.pageheap.space.base + unit * SLAB_NBYTES;
		n = records_from(&f.heap.slabs, addr, min_size(nunits - unit, CHUNK_SLABS));
		if (!target_read(t, (uintptr_t)slab_of(&f.heap.slabs, addr), s, n * sizeof s[0]))
			return false;
		for (size_t i = 0; i < n; i++)
			count_slab(c, &s[i], unit + i);
	}
	return map_free(t, c, &f.heap.pageheap.pages);
}

static int by_bytes(const void *a, const void *b)
{
	const struct class_usage *x = a, *y = b;
	return x->page_nbytes < y->page_nbytes ? 1 : x->page_nbytes > y->page_nbytes ? -1 : 0;
}

/* sort_classes - and the cells' numbers with them. */
static void sort_classes(struct census *c)
{
	static struct class_usage before[MGC_MAX_SPANCLASS];
	static uint16_t place[MGC_MAX_SPANCLASS];
	memcpy(before, c->class, sizeof before);
	qsort(c->class, MGC_MAX_SPANCLASS, sizeof c->class[0], by_bytes);
	while (c->nclasses < MGC_MAX_SPANCLASS && c->class[c->nclasses].nspans > 0)
		c->nclasses++;
	for (size_t i = 0; i < MGC_MAX_SPANCLASS; i++)
		for (size_t k = 0; k < c->nclasses; k++)
			if (memcmp(&before[i], &c->class[k], sizeof before[i]) == 0)
				place[i] = (uint16_t)k;
	for (size_t i = 0; i < c->ncells; i++)
		c->cell[i].class = place[c->cell[i].class];
}

bool census_read(const struct target *t, struct census *c)
{
	memset(c, 0, sizeof *c);
	bool ok = t->watch.face == WATCH_COLLECTED ? census_collected(t, c) : census_malloc(t, c);
	if (ok)
		c->resident_known = resident_each(t->pid, c->base, c->base + c->grown_nbytes,
						  &c->huge_known, map_resident, c);
	sort_classes(c);
	return ok;
}

/* ── threads ────────────────────────────────────────────────────────────────────────────── */

/* A name may be anything, a line's end or a terminal's command. */
void thread_look(const struct target *t, struct thread_usage *u)
{
	char name[64], text[128] = "";
	snprintf(name, sizeof name, "/proc/%d/task/%d/stat", (int)t->pid, u->tid);
	FILE *file = fopen(name, "r");
	u->state = '?';
	if (file == NULL)
		return;
	if (fread(text, 1, sizeof text - 1, file) > 0) {
		const char *open = strchr(text, '('), *close = strrchr(text, ')');
		if (open != NULL && close != NULL && close[1] == ' ') {
			snprintf(u->name, sizeof u->name, "%.*s", (int)(close - open - 1), open + 1);
			text_clean(u->name);
			u->state = close[2];
		}
	}
	fclose(file);
}

static void describe(const struct mutator *m, struct thread_usage *u)
{
	*u = (struct thread_usage){ .tid = m->tid,
				    .allocated_nbytes = m->allocated_nbytes,
				    .snapshot_ns = m->snapshot_ns };
	for (unsigned i = 1; i < MGC_MAX_SPANCLASS; i++)
		if (m->runs[i].cur < m->runs[i].end)
			u->held_nbytes += m->runs[i].end - m->runs[i].cur;
}

size_t threads_read(const struct target *t, struct thread_usage *out, size_t n)
{
	static struct mutator m;
	uintptr_t head = (uintptr_t)t->watch.root + offsetof(struct runtime, heap.mutators);
	struct list link;
	size_t got = 0;
	if (t->watch.face != WATCH_COLLECTED || !target_read(t, head, &link, sizeof link))
		return 0;
	for (int i = 0; i < MAX_THREADS && got < n && (uintptr_t)link.next != head; i++) {
		uintptr_t at = (uintptr_t)link.next - offsetof(struct mutator, node);
		if (!target_read(t, at, &m, sizeof m))
			break;
		describe(&m, &out[got++]);
		link = m.node;
	}
	return got;
}

/* ── text ───────────────────────────────────────────────────────────────────────────────── */

const char *phase_name(unsigned phase)
{
	static const char *const names[] = { "off",  "arm",    "roots", "mark",
					     "term", "closed", "clear", "flip" };
	return names[phase & 7];
}

struct bytes_text bytes_text(uint64_t nbytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	struct bytes_text out;
	double v = (double)nbytes;
	unsigned i = 0;
	for (; v >= 1000 && i < 4; i++)
		v /= 1024;
	snprintf(out.s, sizeof out.s, i > 0 && v < 100 ? "%.1f %s" : "%.0f %s", v, units[i]);
	return out;
}

uint64_t histogram_total(const struct histogram *h)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		n += h->count[i];
	return n;
}

uint64_t histogram_percentile(const struct histogram *h, double p)
{
	uint64_t total = histogram_total(h), sum = 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		sum += h->count[i];
		if (total > 0 && (double)sum >= (double)total * p / 100)
			return i + 1 < HISTOGRAM_BUCKETS ? histogram_floor(i + 1) : histogram_floor(i);
	}
	return 0;
}
