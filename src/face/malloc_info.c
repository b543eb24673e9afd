/* malloc_info.c - what glibc's programs ask of their malloc besides memory: how much there is, give it back,
 * tune it.
 * WHAT   The numbers are counted when they are asked for, by a walk over the slabs' records and their
 *        lists, which other threads change meanwhile: right for a process at rest, near it otherwise.
 *        Blocks that another thread freed and the owner has not taken back yet count as in use.
 * WHO    programs; the summary at exit.
 * LOCKS  PAGEHEAP for its counts.  UNITS bytes. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/check.h"
#include "face/malloc.h"

static void add_slab(void *arg, struct slab *s, uintptr_t base)
{
	struct malloc_count *n = arg;
	uint8_t state = load_relaxed(&s->state);
	if (state == SLAB_LARGE || state == SLAB_SECURE_LARGE) {
		n->nlarge++;
		n->large_nbytes += (size_t)load_relaxed(&s->countdown) << MGC_PAGE_SHIFT;
	}
	if (state >= SLAB_LARGE || state == SLAB_SPARE || state == SLAB_NONE)
		return;
	unsigned sc = load_relaxed(&s->sizeclass);
	size_t carved = s->carved;
	size_t nfree = state == SLAB_SECURE ? carved - secure_count_used(&malloc_face.secure, s)
					    : slab_count_free(s, base);
	n->nslabs[sc]++;
	n->nblocks[sc] += carved - min_size(nfree, carved);
	n->nfree[sc] += nfree;
	n->small_nbytes += (carved - min_size(nfree, carved)) * sizeclass_table[sc].slot_nbytes;
}

void malloc_count(struct malloc_count *n)
{
	*n = (struct malloc_count){ 0 };
	if (!malloc_started())
		return;
	manual_each(&malloc_face.heap, add_slab, n);
	pageheap_read_stats(&malloc_face.heap.pageheap, &n->pages);
	size_t used = n->pages.used_nbytes;
	size_t holes = load_relaxed(&malloc_face.heap.nholes) * SLAB_HOLE_NBYTES;
	n->resident_nbytes = used - min_size(holes, used) + n->pages.dirty_nbytes;
	/* some of the clean pages may be fresh ones, while others that were given back are in use again */
	n->returned_nbytes = min_size(n->pages.clean_nbytes + holes, n->pages.scavenged_nbytes);
}

MGC_EXPORT struct mallinfo2 mallinfo2(void)
{
	struct malloc_count n;
	malloc_count(&n);
	struct mallinfo2 m = { 0 };
	m.arena = n.resident_nbytes;
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++)
		m.ordblks += n.nfree[sc];
	m.uordblks = n.small_nbytes + n.large_nbytes;
	m.fordblks = m.arena - min_size(m.uordblks, m.arena);
	m.keepcost = n.pages.dirty_nbytes;
	return m;
}

/* clip - the old structure has ints; glibc lets them wrap. */
static int clip(size_t v)
{
	return v > INT_MAX ? INT_MAX : (int)v;
}

MGC_EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 m = mallinfo2();
	return (struct mallinfo){ .arena = clip(m.arena),
				  .ordblks = clip(m.ordblks),
				  .uordblks = clip(m.uordblks),
				  .fordblks = clip(m.fordblks),
				  .keepcost = clip(m.keepcost) };
}

MGC_EXPORT int malloc_info(int options, FILE *out)
{
	if (options != 0) {
		errno = EINVAL;
		return -1;
	}
	struct malloc_count n;
	malloc_count(&n);
	fprintf(out, "<malloc version=\"mallocgc-1\">\n<sizes>\n");
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++)
		if (n.nslabs[sc] != 0)
			fprintf(out, "<size bytes=\"%u\" slabs=\"%zu\" used=\"%zu\" free=\"%zu\"/>\n",
				sizeclass_table[sc].slot_nbytes, n.nslabs[sc], n.nblocks[sc],
				n.nfree[sc]);
	fprintf(out, "</sizes>\n<total type=\"small\" size=\"%zu\"/>\n", n.small_nbytes);
	fprintf(out, "<total type=\"large\" count=\"%zu\" size=\"%zu\"/>\n", n.nlarge, n.large_nbytes);
	fprintf(out, "<system type=\"current\" size=\"%zu\"/>\n", n.resident_nbytes);
	fprintf(out, "<system type=\"free\" size=\"%zu\"/>\n", n.pages.dirty_nbytes);
	fprintf(out, "<system type=\"returned\" size=\"%zu\"/>\n</malloc>\n", n.returned_nbytes);
	return 0;
}

void malloc_print_summary(int fd)
{
	struct malloc_count n;
	malloc_count(&n);
	mgc_print(fd, "mallocgc: small blocks    %zu bytes in use\n", n.small_nbytes);
	mgc_print(fd, "mallocgc: large objects   %zu bytes in use, %zu of them\n", n.large_nbytes,
		  n.nlarge);
	mgc_print(fd, "mallocgc: pages           %zu bytes in slabs and large objects\n",
		  n.pages.used_nbytes);
	mgc_print(fd, "mallocgc: free pages      %zu bytes resident, %zu not\n",
		  n.pages.dirty_nbytes, n.pages.clean_nbytes);
	mgc_print(fd, "mallocgc: given back      %zu bytes since the start\n", n.pages.scavenged_nbytes);
	for (unsigned sc = 1; sc < MGC_NSIZECLASS; sc++)
		if (n.nslabs[sc] != 0)
			mgc_print(fd, "mallocgc: %u B: %zu slabs, %zu blocks in use, %zu free\n",
				  sizeclass_table[sc].slot_nbytes, n.nslabs[sc], n.nblocks[sc],
				  n.nfree[sc]);
}

MGC_EXPORT void malloc_stats(void)
{
	malloc_print_summary(STDERR_FILENO);
}

MGC_EXPORT int malloc_trim(size_t pad)
{
	int saved = errno;
	if (!malloc_started())
		return 0;
	struct mcache *c = malloc_own_cache();
	if (c != NULL)
		mcache_trim(c);
	scavenger_visit(&malloc_face.heap);
	struct pageheap_stats st;
	pageheap_read_stats(&malloc_face.heap.pageheap, &st);
	size_t n = st.dirty_nbytes > pad ? st.dirty_nbytes - pad : 0;
	n = n > 0 ? pageheap_scavenge(&malloc_face.heap.pageheap, n, 1) : 0;
	errno = saved;
	return n > 0;
}

/* What glibc's parameters tune does not exist here, and a program that sets them works as well: 1, "done". Not so
 * for those that ask for checks. */
MGC_EXPORT int mallopt(int parameter, int value)
{
	(void)value;
	switch (parameter) {
	case M_MXFAST:
	case M_TRIM_THRESHOLD:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
	case M_ARENA_TEST:
	case M_ARENA_MAX:
		return 1;
	default:
		return 0;
	}
}
