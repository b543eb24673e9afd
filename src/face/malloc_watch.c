/* malloc_watch.c - what the malloc face shows of itself: to an observer outside, and in its statistics.
 * WHO    the process's end; src/cmd/observe.c.
 * LOCKS  PAGEHEAP for its counts; REGISTRY for the number of caches. */
#include <string.h>

#include "base/statout.h"
#include "base/watch.h"
#include "face/malloc.h"
#include "face/watch_layout.h"
#include "sample/sampler.h"

const struct watch malloc_watch = { .magic = WATCH_MAGIC,
				    .layout = WATCH_LAYOUT_MALLOC,
				    .version = MGC_VERSION_STRING,
				    .started = &malloc_face.started,
				    .face = WATCH_MALLOC,
				    .nbytes = sizeof(struct watch),
				    .root = &malloc_face,
				    .sampler = &sampler };
WATCH_NOTE(malloc_watch);

static uint64_t count_caches(struct manual *h)
{
	uint64_t n = 0;
	lock_acquire(&h->registry_lock);
	LIST_EACH(it, &h->caches)
		n += LIST_ENTRY(it, struct mcache, node)->kind == MCACHE_THREAD;
	lock_release(&h->registry_lock);
	return n;
}

void malloc_read_stats(struct stat_values *out)
{
	struct malloc_count n;
	memset(out, 0, sizeof *out);
	memset(out->absent, true, sizeof out->absent);
	out->face = "malloc";
	malloc_count(&n);
	bool counted = malloc_started() && !secure_on(&malloc_face.secure);
	const struct {
		enum stat_id id;
		uint64_t value;
	} rows[] = {
		{ STAT_heap_now, n.small_nbytes + n.large_nbytes },
		{ STAT_total_allocated, counted ? mcache_allocated(&malloc_face.heap) : 0 },
		{ STAT_heap_in_spans, n.pages.used_nbytes },
		{ STAT_heap_free_dirty, n.pages.dirty_nbytes },
		{ STAT_heap_free_clean, n.pages.clean_nbytes },
		{ STAT_scavenged, n.pages.scavenged_nbytes },
		{ STAT_limit,
		  malloc_face.knobs.limit >= 0 ? (uint64_t)malloc_face.knobs.limit : UINT64_MAX },
		{ STAT_heap_reserved, n.pages.reserved_nbytes },
		{ STAT_metadata_tables, n.pages.tables_nbytes },
		{ STAT_threads, malloc_started() ? count_caches(&malloc_face.heap) : 0 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		out->value[rows[i].id] = rows[i].value;
		out->absent[rows[i].id] = false;
	}
	out->absent[STAT_total_allocated] = !counted;
}
