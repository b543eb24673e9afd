/* api_inspect.c - the part of include/mallocgc.h that tells what is in the heap. */
#include <errno.h>

#include "face/api.h"
#include "gc/cycle.h"
#include "gc/verify.h"
#include "obs/census.h"
#include "obs/explain.h"
#include "obs/heapdump.h"

static struct mutator *self(void)
{
	return mgc_thread_attach() == 0 ? mutator_self() : NULL;
}

static long no_memory(void)
{
	errno = ENOMEM;
	return -1;
}

int mgc_explain(const void *obj, int fd)
{
	struct mutator *m = self();
	return m != NULL ? explain(&runtime.gc, m, (uintptr_t)obj, fd) : (int)no_memory();
}

int mgc_dump_heap(int fd)
{
	struct mutator *m = self();
	return m != NULL ? heapdump(&runtime.gc, m, fd) : (int)no_memory();
}

size_t mgc_read_types(struct mgc_type_usage *rows, size_t n)
{
	struct mutator *m = self();
	if (rows == NULL && n != 0)
		api_null("mgc_read_types", "rows");
	return m != NULL ? census_types(&runtime.gc, m, rows, n) : 0;
}

long mgc_report_leaks(int fd)
{
	struct mutator *m = self();
	return m != NULL ? census_leaks(&runtime.gc, m, false, fd) : no_memory();
}

static void verify(void *arg)
{
	struct gc *gc = arg;
	heap_verify(gc->heap);
	verify_references(gc->heap, &gc->roots, &gc->specials);
}

void mgc_verify(void)
{
	struct mutator *m = self();
	if (m != NULL)
		cycle_inspect(&runtime.gc, m, false, verify, &runtime.gc);
}
