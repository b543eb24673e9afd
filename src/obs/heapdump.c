/* heapdump.c - see heapdump.h. Objects are written with the world stopped; names of globals after it, as they
 * take the loader's lock. */
#include "obs/heapdump.h"

#include <errno.h>
#include <unistd.h>

#include "gc/cycle.h"
#include "gc/graph.h"
#include "gc/rootwalk.h"
#include "base/out.h"
#include "os/os.h"

struct dump {
	struct gc *gc;
	struct out out;
	struct granules unborn;
	bool first; /* of the references in a line */
	uint64_t nobjects;
	uintptr_t *place; /* addresses of globals */
	size_t nplaces, capacity;
	bool no_memory;
};

static uintptr_t object_at(const struct dump *d, uintptr_t word)
{
	struct span *s;
	return edge_object(d->gc->heap, word, &s);
}

static void write_types(struct dump *d)
{
	const struct layouts *ls = &d->gc->heap->layouts;
	unsigned n = load_acquire(&ls->nlayouts); /* pairs: spanclass */
	for (unsigned id = 1; id < n; id++) {
		out_print(&d->out, "{\"type\":%u,\"name\":", id);
		out_string(&d->out, layout_name(ls, id));
		out_print(&d->out, ",\"pointers\":%s}\n",
			  ls->layout[id].desc.kind == LAYOUT_NOSCAN ? "false" : "true");
	}
}

static void on_edge(void *arg, uintptr_t slot, uintptr_t word)
{
	struct dump *d = arg;
	uintptr_t to = object_at(d, word);
	(void)slot;
	if (to != 0)
		out_print(&d->out, d->first ? "%lu" : ",%lu", to);
	d->first &= to == 0;
}

static void on_object(void *arg, struct span *s, uintptr_t object)
{
	struct dump *d = arg;
	if (granules_has(&d->unborn, object))
		return;
	out_print(&d->out, "{\"object\":%lu,\"type\":%u,\"bytes\":%zu,\"refs\":[", object,
		  d->gc->heap->layouts.spanclass[s->spanclass].layout, edge_nbytes(s));
	d->first = true;
	edge_each(d->gc->heap, s, object, on_edge, d);
	out_print(&d->out, "]}\n");
	d->nobjects++;
}

static void note_place(struct dump *d, uintptr_t at)
{
	if (d->nplaces == d->capacity &&
	    !graph_grow((void **)&d->place, &d->capacity, sizeof *d->place)) {
		d->no_memory = true;
		return;
	}
	d->place[d->nplaces++] = at;
}

static void on_root(void *arg, const struct root_word *w)
{
	struct dump *d = arg;
	uintptr_t to = object_at(d, w->word);
	if (to == 0)
		return;
	out_print(&d->out, "{\"root\":\"%s\",\"at\":%lu,\"thread\":%d,\"to\":%lu}\n",
		  root_kind_name(w->kind), w->at, w->m != NULL ? w->m->tid : 0, to);
	if (w->kind == ROOT_RANGE || w->kind == ROOT_SEGMENT || w->kind == ROOT_OWNED)
		note_place(d, w->at);
}

static void write_heap(void *arg)
{
	struct dump *d = arg;
	struct gc *gc = d->gc;
	if (!granules_init(&d->unborn, gc->heap)) {
		d->no_memory = true;
		return;
	}
	granules_put_unborn(&d->unborn, gc->heap);
	write_types(d);
	rootwalk(gc->heap, &gc->roots, &gc->specials, ROOTS_ALL, false, on_root, d);
	edge_each_object(gc->heap, on_object, d);
	granules_destroy(&d->unborn);
}

static void write_places(struct dump *d)
{
	char name[256];
	for (size_t i = 0; i < d->nplaces; i++) {
		os_describe(d->place[i], name, sizeof name);
		if (name[0] == '\0')
			continue;
		out_print(&d->out, "{\"symbol\":%lu,\"name\":", d->place[i]);
		out_string(&d->out, name);
		out_print(&d->out, "}\n");
	}
	if (d->capacity != 0)
		os_release((uintptr_t)d->place, d->capacity * sizeof *d->place);
}

int heapdump(struct gc *gc, struct mutator *m, int fd)
{
	struct dump d = { .gc = gc };
	out_init(&d.out, fd);
	out_print(&d.out, "{\"heap\":\"mallocgc\",\"format\":1,\"pid\":%d}\n", (int)getpid());
	cycle_inspect(gc, m, false, write_heap, &d);
	write_places(&d);
	if (d.no_memory && d.out.err == 0)
		d.out.err = ENOMEM;
	else
		out_print(&d.out, "{\"end\":%lu}\n", d.nobjects);
	errno = out_flush(&d.out);
	return errno != 0 ? -1 : 0;
}
