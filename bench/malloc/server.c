/* server.c THREADS SLOTS GENERATIONS OPS SEED - connections outlive the threads that served them.
 *
 * WHAT   Each of THREADS chains is a sequence of threads. One replaces random blocks of its table
 *        OPS times, then starts its successor, hands it the table and ends: the successor frees what
 *        an exited thread allocated. The pattern of the server simulation by Larson and Krishnan. */
#include "bench_malloc.h"

struct slot {
	void *p;
	size_t n;
	uint64_t key;
};

struct chain {
	struct slot *slots;
	uint64_t rng, sum;
	uint64_t generation;
	pthread_mutex_t lock;
	pthread_cond_t ended;
};

static uint64_t nslots, generations, ops;
static struct chain chains[BM_MAX_THREADS];

static void *serve(void *arg)
{
	struct chain *c = arg;
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t r = bench_random(&c->rng);
		struct slot *s = &c->slots[r % nslots];
		if (s->p)
			c->sum += bm_check(s->p, s->n, s->key);
		free(s->p);
		s->n = 16 + (r >> 32) % 500;
		s->key = r;
		bm_stamp(s->p = bm_need(malloc(s->n)), s->n, s->key);
	}
	if (++c->generation < generations) {
		pthread_t next;
		if (pthread_create(&next, NULL, serve, c))
			bm_die("pthread_create");
		pthread_detach(next);
	} else {
		pthread_mutex_lock(&c->lock);
		c->generation = generations + 1;
		pthread_cond_signal(&c->ended);
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t n = bench_arg(argc, argv, 1, 2), sum = 0;
	nslots = bench_arg(argc, argv, 2, 1000);
	generations = bench_arg(argc, argv, 3, 100);
	ops = bench_arg(argc, argv, 4, 50000);
	uint64_t seed = bench_arg(argc, argv, 5, 1);
	if (n == 0 || n > BM_MAX_THREADS)
		bm_die("THREADS: 1 to 64");
	for (uint64_t i = 0; i < n; i++) {
		struct chain *c = &chains[i];
		pthread_t first;
		c->slots = bm_need(calloc(nslots, sizeof *c->slots));
		c->rng = (seed + i + 1) * 0x9e3779b97f4a7c15;
		pthread_mutex_init(&c->lock, NULL);
		pthread_cond_init(&c->ended, NULL);
		if (pthread_create(&first, NULL, serve, c))
			bm_die("pthread_create");
		pthread_detach(first);
	}
	for (uint64_t i = 0; i < n; i++) {
		struct chain *c = &chains[i];
		pthread_mutex_lock(&c->lock);
		while (c->generation <= generations)
			pthread_cond_wait(&c->ended, &c->lock);
		pthread_mutex_unlock(&c->lock);
		for (uint64_t k = 0; k < nslots; k++) {
			struct slot *s = &c->slots[k];
			if (s->p)
				c->sum += bm_check(s->p, s->n, s->key);
			free(s->p);
		}
		free(c->slots);
		sum += c->sum;
	}
	bench_print_int("checksum", sum);
}
