/* unfreed.c - see unfreed.h. STATE none: the list of places is mapped while it is written. */
#include "sample/unfreed.h"

#include <stdbool.h>
#include <string.h>

#include "base/bits.h"
#include "base/out.h"
#include "os/os.h"
#include "sample/sampler.h"

/* Frames of a stack that are written: what is further out says little. */
#define FRAMES 24u
#define LINE 400

struct place {
	uint32_t stack;
	uint64_t blocks, nbytes;
};

struct places {
	struct place *place;
	size_t n, nbytes; /* places; of the mapping */
	uint64_t blocks, total_nbytes;
};

static uint64_t whole(double v)
{
	return v > 0 ? (uint64_t)(v + 0.5) : 0;
}

/* collect - one place for each stack that has something alive. False: no memory. */
static bool collect(struct places *p)
{
	uint32_t nstacks = load_acquire(&sampler.nstacks); /* pairs: sample-stacks */
	memset(p, 0, sizeof *p);
	if (nstacks == 0)
		return true;
	p->nbytes = align_up(nstacks * sizeof *p->place, os_page_size());
	p->place = (struct place *)os_alloc(p->nbytes);
	if (p->place == NULL)
		return false;
	lock_acquire(&sampler.lock);
	for (uint32_t i = 0; i < nstacks; i++) {
		const struct sample_stack *s = &sampler.stacks[i];
		struct place one = { i, whole(s->live_objects), whole(s->live_nbytes) };
		if (one.blocks == 0)
			continue;
		p->place[p->n++] = one;
		p->blocks += one.blocks;
		p->total_nbytes += one.nbytes;
	}
	lock_release(&sampler.lock);
	return true;
}

/* take_largest - moves the place with most bytes from i on to i. */
static const struct place *take_largest(struct places *p, size_t i)
{
	size_t at = i;
	for (size_t k = i + 1; k < p->n; k++)
		if (p->place[k].nbytes > p->place[at].nbytes)
			at = k;
	struct place t = p->place[at];
	p->place[at] = p->place[i];
	p->place[i] = t;
	return &p->place[i];
}

/* same_object - both texts of os_describe begin with the same name. */
static bool same_object(const char *a, const char *b)
{
	size_t n = strcspn(a, "+");
	return n != 0 && n == strcspn(b, "+") && memcmp(a, b, n) == 0;
}

static void write_stack(struct out *o, const struct sample_stack *s, uintptr_t own)
{
	char text[LINE], ours[LINE];
	bool inside = true;
	unsigned written = 0;
	os_describe(own, ours, sizeof ours);
	for (uint32_t i = 0; i < s->nframes && written < FRAMES; i++) {
		os_describe(s->pc[i], text, sizeof text);
		inside = inside && same_object(text, ours);
		if (inside)
			continue;
		if (text[0] == '\0')
			out_print(o, "mallocgc:     %p\n", (void *)s->pc[i]);
		else
			out_print(o, "mallocgc:     %s\n", text);
		written++;
	}
}

static void write_place(struct out *o, const struct place *p, uintptr_t own)
{
	out_print(o, "mallocgc: leak: %lu blocks, %lu B, %s\n", p->blocks, p->nbytes,
		  p->stack == 0 ? "by stacks for which there was no room" : "allocated by");
	if (p->stack != 0)
		write_stack(o, &sampler.stacks[p->stack], own);
}

void unfreed_report(int fd, size_t most, uintptr_t own)
{
	struct places p;
	struct out o;
	out_init(&o, fd);
	if (!collect(&p)) {
		out_print(&o, "mallocgc: leaks: no memory to list them\n");
		(void)out_flush(&o);
		return;
	}
	for (size_t i = 0; i < p.n && i < most; i++)
		write_place(&o, take_largest(&p, i), own);
	out_print(&o, "mallocgc: leaks: %lu blocks, %lu B, from %zu places", p.blocks,
		  p.total_nbytes, p.n);
	if (p.n > most)
		out_print(&o, " of which %zu are listed", most);
	uint64_t rate = load_relaxed(&sampler.rate_nbytes);
	if (rate != 1)
		out_print(&o, " (estimates: one sample in %lu B)", rate);
	out_print(&o, "\n");
	(void)out_flush(&o);
	if (p.place != NULL)
		os_release((uintptr_t)p.place, p.nbytes);
}
