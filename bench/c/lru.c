/* lru.c - how long one operation takes on a cache with a large live heap, beside the collector.
 * usage: lru [ENTRIES=8388608] [OPERATIONS_PER_SECOND=200000] [SECONDS=20]
 *
 * WHAT   A hash table of ENTRIES entries (64 B) with a value each (64 B), in order of use. An operation
 *        looks a key up that is there every second time: if it is, the entry becomes the newest; if not,
 *        the oldest leaves and a new one with a new value comes. Each operation also has a scratch
 *        buffer of 512 B. One thread; operation i is due at i / OPERATIONS_PER_SECOND, however late the
 *        ones before it were (open loop).
 * PRINTS service time: from the moment an operation begins; response time: from the moment it is due. */
#include "bench_gc.h"

#include "histogram.h"

struct entry {
	struct entry *chain; /* next in the bucket */
	struct entry *older, *newer;
	uint64_t *value;
	uint64_t key, nused, pad[2];
};
BENCH_TYPE(entry_type, struct entry, 4);
BENCH_TYPE(bucket_type, struct entry *, 1);

enum { VALUE_BYTES = 64, SCRATCH_BYTES = 512 };

/* The collector's roots: the table, and both ends of the order. */
static struct {
	struct entry **bucket;
	struct entry *newest, *oldest;
} cache;
static uint64_t nbuckets, random_state = 88172645463325252u;

static struct entry **bucket_of(uint64_t key)
{
	return &cache.bucket[(key * 0x9e3779b97f4a7c15u >> 32) & (nbuckets - 1)];
}

static void unlink_order(struct entry *e)
{
	if (e->newer)
		bench_write(&e->newer->older, e->older);
	else
		bench_write(&cache.newest, e->older);
	if (e->older)
		bench_write(&e->older->newer, e->newer);
	else
		bench_write(&cache.oldest, e->newer);
}

static void link_newest(struct entry *e)
{
	bench_write(&e->older, cache.newest);
	bench_write(&e->newer, (struct entry *)NULL);
	if (cache.newest)
		bench_write(&cache.newest->newer, e);
	else
		bench_write(&cache.oldest, e);
	bench_write(&cache.newest, e);
}

static struct entry *find(uint64_t key)
{
	struct entry *e = *bucket_of(key);
	while (e && e->key != key)
		e = e->chain;
	return e;
}

static void insert(uint64_t key)
{
	struct entry *e = bench_new(&entry_type), **bucket = bucket_of(key);
	e->value = bench_new_bytes(VALUE_BYTES);
	memset(e->value, (int)key, VALUE_BYTES);
	e->key = key;
	e->chain = *bucket;
	bench_write(bucket, e);
	link_newest(e);
}

static void evict_oldest(void)
{
	struct entry *e = cache.oldest, **at = bucket_of(e->key);
	unlink_order(e);
	while (*at != e)
		at = &(*at)->chain;
	bench_write(at, e->chain);
}

static __attribute__((noinline)) uint64_t operation(uint64_t key)
{
	uint64_t *scratch = bench_new_bytes(SCRATCH_BYTES);
	memset(scratch, (int)key, SCRATCH_BYTES);
	struct entry *e = find(key);
	if (e) {
		unlink_order(e);
		link_newest(e);
		e->nused++;
	} else {
		evict_oldest();
		insert(key);
		e = cache.newest;
	}
	return e->value[key % (VALUE_BYTES / 8)] + scratch[key % (SCRATCH_BYTES / 8)];
}

static void fill(uint64_t nentries)
{
	for (nbuckets = 1; nbuckets < nentries; nbuckets *= 2)
		;
	struct entry **bucket = bench_new_array(&bucket_type, nbuckets);
	bench_write(&cache.bucket, bucket);
	for (uint64_t key = 0; key < nentries; key++)
		insert(key * 2 + 1); /* every second key that will be asked for */
}

int main(int argc, char **argv)
{
	uint64_t nentries = bench_arg(argc, argv, 1, 1 << 23), rate = bench_arg(argc, argv, 2, 200000);
	uint64_t noperations = rate * bench_arg(argc, argv, 3, 20), sum = 0;
	static struct histogram service, response;
	double step = 1e9 / (double)rate;
	if (nentries < 1 || rate < 1)
		return 2;
	bench_init();
	bench_root(&cache, sizeof cache);
	fill(nentries);
	double cpu = bench_cpu_ns(), start = bench_wall_ns();
	for (uint64_t i = 0; i < noperations; i++) {
		uint64_t key = bench_random(&random_state) % (2 * nentries);
		double due = start + (double)i * step, begin = bench_wall_ns();
		while (begin < due)
			begin = bench_wall_ns();
		sum += operation(key);
		double end = bench_wall_ns();
		histogram_add(&service, (uint64_t)(end - begin));
		histogram_add(&response, (uint64_t)(end - due));
	}
	bench_print("run_cpu_s", (bench_cpu_ns() - cpu) / 1e9);
	bench_print("run_s", (bench_wall_ns() - start) / 1e9);
	histogram_print(&service, "service");
	histogram_print(&response, "response");
	bench_finish(sum);
	return 0;
}
