/* churn.c - a table of lists that stays as large as it is while its entries are replaced: what a server
 * with a cache, an interpreter or a compiler does to a heap. Each thread has a table of its own.
 * usage: churn [LIVE_MIB=100] [THREADS=1] [MILLIONS of operations, all threads together=8] [HOT=0]
 *
 * An operation takes a random key, walks its bucket's list, puts a new entry with a new value in the place
 * of the old one, or in front when there was none, and builds and sums a list of ten that dies at once.
 * HOT percent of the operations go to the first sixteenth of the keys.
 * Each one is timed: the longest is what a collection costs somebody who waits for an answer. */
#include <pthread.h>

#include "bench_gc.h"

struct entry {
	struct entry *next;
	char *value; /* no pointers in it */
	uint64_t key;
	uint64_t nbytes;
};
struct cell {
	struct cell *next;
	uint64_t number;
};
struct table {
	struct entry **bucket;
};
BENCH_TYPE(entry_type, struct entry, 2);
BENCH_TYPE(cell_type, struct cell, 1);
BENCH_TYPE(bucket_type, struct entry *, 1);

enum { SHORT_LIST = 10, VALUE_MIN = 16, VALUE_MAX = 144, MOST_THREADS = 64, PER_BUCKET = 4 };
/* What one entry and its value take, its share of the buckets included. */
enum {
	ENTRY_NBYTES = sizeof(struct entry) + (VALUE_MIN + VALUE_MAX) / 2 + sizeof(void *) / PER_BUCKET
};

struct work {
	uint64_t nkeys, nbuckets, nops, hot_pct, seed, checksum;
	struct table *table;
	double longest_ns;
	uint64_t over_1ms, over_10ms;
	pthread_t thread;
};
static struct work work[MOST_THREADS];
static struct table tables[MOST_THREADS];

static struct entry *new_entry(uint64_t key, uint64_t random)
{
	uint64_t nbytes = VALUE_MIN + random % (VALUE_MAX - VALUE_MIN + 1);
	struct entry *e = bench_new(&entry_type);
	e->key = key;
	e->nbytes = nbytes;
	e->value = bench_new_bytes(nbytes);
	memset(e->value, (int)(key & 0x7F), nbytes);
	return e;
}

/* put - the new entry in the old one's place; what the old one held. */
static uint64_t put(struct work *w, uint64_t key, uint64_t random)
{
	struct entry **at = &w->table->bucket[key % w->nbuckets], *old;
	struct entry *e = new_entry(key, random);
	while ((old = *at) != NULL && old->key != key)
		at = &old->next;
	e->next = old == NULL ? NULL : old->next;
	bench_write(at, e);
	return old == NULL ? 0 : (uint64_t)old->value[old->nbytes / 2] + old->nbytes;
}

static uint64_t short_list(uint64_t n)
{
	struct cell *list = NULL;
	uint64_t sum = 0;
	for (unsigned i = 0; i < SHORT_LIST; i++) {
		struct cell *c = bench_new(&cell_type);
		c->number = n + i;
		c->next = list;
		list = c;
	}
	for (; list != NULL; list = list->next)
		sum += list->number & 0xFF;
	return sum;
}

static uint64_t any_key(const struct work *w, uint64_t random)
{
	return (random >> 16) % ((random >> 40) % 100 < w->hot_pct ? w->nkeys / 16 + 1 : w->nkeys);
}

static void note(struct work *w, double ns)
{
	w->longest_ns = ns > w->longest_ns ? ns : w->longest_ns;
	w->over_1ms += ns > 1e6;
	w->over_10ms += ns > 10e6;
}

static void churn(struct work *w)
{
	w->table->bucket = bench_new_array(&bucket_type, w->nbuckets);
	for (uint64_t key = 0; key < w->nkeys; key++)
		(void)put(w, key, bench_random(&w->seed));
	double before = bench_wall_ns();
	for (uint64_t i = 0; i < w->nops; i++) {
		uint64_t r = bench_random(&w->seed);
		w->checksum += put(w, any_key(w, r), r & 0xFFFF) + short_list(r);
		double now = bench_wall_ns();
		note(w, now - before);
		before = now;
	}
}

static void *run(void *arg)
{
	churn(arg);
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t live_mib = bench_arg(argc, argv, 1, 100), nthreads = bench_arg(argc, argv, 2, 1);
	uint64_t nops = bench_arg(argc, argv, 3, 8) * 1000000, checksum = 0, over_1ms = 0,
		 over_10ms = 0;
	double longest_ns = 0;
	if (nthreads < 1 || nthreads > MOST_THREADS)
		return fprintf(stderr, "churn: 1 to %d threads\n", MOST_THREADS), 2;
	bench_init();
	bench_root(tables, sizeof tables);
	for (uint64_t i = 0; i < nthreads; i++) {
		uint64_t nkeys = (live_mib << 20) / ENTRY_NBYTES / nthreads;
		work[i] = (struct work){ .nkeys = nkeys,
					 .nbuckets = nkeys / PER_BUCKET + 1,
					 .nops = nops / nthreads,
					 .hot_pct = bench_arg(argc, argv, 4, 0),
					 .seed = 88172645463325252U + i,
					 .table = &tables[i] };
		if (nthreads > 1)
			bench_thread_create(&work[i].thread, run, &work[i]);
		else
			churn(&work[i]);
	}
	for (uint64_t i = 0; i < nthreads; i++) {
		if (nthreads > 1)
			bench_thread_join(work[i].thread);
		checksum += work[i].checksum;
		over_1ms += work[i].over_1ms;
		over_10ms += work[i].over_10ms;
		longest_ns = work[i].longest_ns > longest_ns ? work[i].longest_ns : longest_ns;
	}
	bench_print("longest_op_ms", longest_ns / 1e6);
	bench_print_int("ops_over_1ms", over_1ms);
	bench_print_int("ops_over_10ms", over_10ms);
	bench_finish(checksum);
	return 0;
}
