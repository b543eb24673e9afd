/* grow.c KIND THREADS COUNT ROUNDS MAX - blocks that grow by realloc.
 *
 * KIND   strings   COUNT buffers at once, each gets random pieces appended up to MAX bytes and
 *                  doubles, or grows by just what is needed, when it is full
 *        vector    one array at a time of up to MAX bytes grows by half as often as needed, and at
 *                  last shrinks to what it holds; every element is read back
 * WHAT   strings is the append of scripting languages, vector that of C++ and of tables. */
#include "bench_malloc.h"

struct buffer {
	char *data;
	size_t n, cap;
};

static uint64_t count, rounds, max;
static const char *kind;

static void append(struct buffer *b, size_t n, char what, int doubling)
{
	if (b->n + n > b->cap) {
		b->cap = doubling ? 2 * (b->n + n) : b->n + n;
		b->data = bm_need(realloc(b->data, b->cap));
	}
	memset(b->data + b->n, what, n);
	b->n += n;
}

static void strings(struct bm_thread *t)
{
	struct buffer *all = bm_need(calloc(count, sizeof *all));
	for (uint64_t i = 0; i < rounds * count; i++) {
		uint64_t r = bench_random(&t->rng);
		struct buffer *b = &all[r % count];
		if (b->n >= max) {
			for (size_t k = 0; k < b->n; k += 13)
				t->sum += (unsigned char)b->data[k];
			free(b->data);
			*b = (struct buffer){ 0 };
		}
		append(b, 1 + (r >> 32) % 60, (char)(r % count), (int)(r >> 63));
	}
	for (uint64_t i = 0; i < count; i++) {
		for (size_t k = 0; k < all[i].n; k++)
			if (all[i].data[k] != (char)i)
				bm_die("a string lost bytes");
		t->sum += all[i].n;
		free(all[i].data);
	}
	free(all);
}

static void vector(struct bm_thread *t)
{
	for (uint64_t r = 0; r < rounds; r++) {
		uint64_t *v = NULL;
		size_t n = max / sizeof *v / (1 + bench_random(&t->rng) % 8), cap = 0;
		for (size_t i = 0; i < n; i++) {
			if (i == cap) {
				cap = cap ? cap + cap / 2 : 4;
				v = bm_need(realloc(v, cap * sizeof *v));
			}
			v[i] = i * 3 + r;
		}
		v = bm_need(realloc(v, n * sizeof *v));
		for (size_t i = 0; i < n; i++) {
			if (v[i] != i * 3 + r)
				bm_die("a vector lost elements");
			t->sum += v[i];
		}
		free(v);
	}
}

static void *work(void *arg)
{
	if (!strcmp(kind, "strings"))
		strings(arg);
	else
		vector(arg);
	return NULL;
}

int main(int argc, char **argv)
{
	kind = argc > 1 ? argv[1] : "strings";
	unsigned n = (unsigned)bench_arg(argc, argv, 2, 1);
	count = bench_arg(argc, argv, 3, 1000);
	rounds = bench_arg(argc, argv, 4, 2000);
	max = bench_arg(argc, argv, 5, 4096);
	bench_print_int("checksum", bm_run(n, 1, work));
}
