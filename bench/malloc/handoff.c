/* handoff.c MODE PAIRS ITEMS SEED - one thread allocates, another one frees.
 *
 * MODE   single   through a ring without locks, one block at a time
 *        batch    through a queue with a lock, 256 blocks at a time
 *        mesh     like batch, and every thread both makes and frees: 2 * PAIRS threads in a circle
 * WHAT   Every block is freed by a thread that did not allocate it: nothing that a thread frees can
 *        serve its own next malloc. */
#include "bench_malloc.h"
#include <sched.h>
#include <stdatomic.h>

enum { RING = 1024, BATCH = 256, DEPTH = 16 };

struct ring {
	_Alignas(128) atomic_size_t head; /* written by the producer */
	_Alignas(128) atomic_size_t tail; /* written by the consumer */
	_Alignas(128) void *slot[RING];
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t change;
	void **batch[DEPTH];
	unsigned n;
};

static struct ring rings[BM_MAX_THREADS];
static struct queue queues[BM_MAX_THREADS];
static uint64_t items;
static const char *mode;

static void *make(uint64_t *rng)
{
	uint64_t r = bench_random(rng);
	size_t n = 24 + r % 232;
	uint64_t *p = bm_need(malloc(n));
	p[0] = n;
	bm_stamp(p + 1, n - sizeof *p, n * 77);
	return p;
}

static uint64_t drop(void *block)
{
	uint64_t *p = block, n = p[0];
	bm_check(p + 1, n - sizeof *p, n * 77);
	free(p);
	return n;
}

static void *make_single(void *arg)
{
	struct bm_thread *t = arg;
	struct ring *r = &rings[t->id / 2];
	for (size_t i = 0; i < items; i++) {
		while (i - atomic_load_explicit(&r->tail, memory_order_acquire) == RING)
			sched_yield();
		r->slot[i % RING] = make(&t->rng);
		atomic_store_explicit(&r->head, i + 1, memory_order_release);
	}
	return NULL;
}

static void *drop_single(void *arg)
{
	struct bm_thread *t = arg;
	struct ring *r = &rings[t->id / 2];
	for (size_t i = 0; i < items; i++) {
		while (i == atomic_load_explicit(&r->head, memory_order_acquire))
			sched_yield();
		t->sum += drop(r->slot[i % RING]);
		atomic_store_explicit(&r->tail, i + 1, memory_order_release);
	}
	return NULL;
}

static void put(struct queue *q, void **batch)
{
	pthread_mutex_lock(&q->lock);
	while (q->n == DEPTH)
		pthread_cond_wait(&q->change, &q->lock);
	q->batch[q->n++] = batch;
	pthread_cond_signal(&q->change);
	pthread_mutex_unlock(&q->lock);
}

static void **get(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	while (q->n == 0)
		pthread_cond_wait(&q->change, &q->lock);
	void **batch = q->batch[--q->n];
	pthread_cond_signal(&q->change);
	pthread_mutex_unlock(&q->lock);
	return batch;
}

static void make_batch(struct queue *q, uint64_t *rng)
{
	void **batch = bm_need(malloc(BATCH * sizeof *batch));
	for (int k = 0; k < BATCH; k++)
		batch[k] = make(rng);
	put(q, batch);
}

static void drop_batch(struct queue *q, uint64_t *sum)
{
	void **batch = get(q);
	for (int k = 0; k < BATCH; k++)
		*sum += drop(batch[k]);
	free(batch);
}

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	if (!strcmp(mode, "single"))
		return t->id % 2 ? drop_single(t) : make_single(t);
	int mesh = !strcmp(mode, "mesh");
	struct queue *to = &queues[mesh ? t->id : t->id / 2];
	struct queue *from = &queues[mesh ? (t->id + 1) % t->nthreads : t->id / 2];
	for (uint64_t i = 0; i < items / BATCH; i++) {
		if (mesh || t->id % 2 == 0)
			make_batch(to, &t->rng);
		if (mesh || t->id % 2 == 1)
			drop_batch(from, &t->sum);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	mode = argc > 1 ? argv[1] : "single";
	uint64_t pairs = bench_arg(argc, argv, 2, 1);
	items = bench_arg(argc, argv, 3, 4000000);
	for (int i = 0; i < BM_MAX_THREADS; i++) {
		pthread_mutex_init(&queues[i].lock, NULL);
		pthread_cond_init(&queues[i].change, NULL);
	}
	bench_print_int("checksum", bm_run((unsigned)(2 * pairs), bench_arg(argc, argv, 4, 1), work));
}
