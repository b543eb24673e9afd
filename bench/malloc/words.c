/* words.c THREADS WORDS VOCABULARY ROUNDS - counts words in a hash table of its own.
 *
 * WHAT   Words come in the frequencies of a language (one over rank). Each is built in a fresh
 *        string, looked up, and freed again or kept; the table doubles; each round ends by making one
 *        long line of all entries and freeing everything. */
#include "bench_malloc.h"

struct entry {
	struct entry *next;
	char *word;
	uint64_t hash, count;
};

struct table {
	struct entry **bucket;
	size_t nbuckets, n;
};

static uint64_t nwords, vocabulary, rounds;

static char *make_word(uint64_t rank)
{
	char text[32];
	size_t n = 0;
	uint64_t x = rank * 0x9e3779b97f4a7c15;
	for (uint64_t k = rank + 1; k || n < 2 + (x >> 60); k /= 20)
		text[n++] = (char)('a' + (k + x) % 20);
	text[n] = 0;
	return bm_need(strdup(text));
}

static void resize(struct table *t, size_t n)
{
	struct entry **fresh = bm_need(calloc(n, sizeof *fresh));
	for (size_t i = 0; i < t->nbuckets; i++) {
		for (struct entry *e = t->bucket[i], *next; e; e = next) {
			next = e->next;
			e->next = fresh[e->hash % n];
			fresh[e->hash % n] = e;
		}
	}
	free(t->bucket);
	t->bucket = fresh;
	t->nbuckets = n;
}

static void add(struct table *t, char *word)
{
	uint64_t hash = 14695981039346656037u;
	for (const char *c = word; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211u;
	for (struct entry *e = t->bucket[hash % t->nbuckets]; e; e = e->next) {
		if (e->hash == hash && !strcmp(e->word, word)) {
			e->count++;
			free(word);
			return;
		}
	}
	if (t->n == t->nbuckets)
		resize(t, 2 * t->nbuckets);
	struct entry *e = bm_need(malloc(sizeof *e));
	*e = (struct entry){ t->bucket[hash % t->nbuckets], word, hash, 1 };
	t->bucket[hash % t->nbuckets] = e;
	t->n++;
}

static uint64_t finish(struct table *t)
{
	char *line = bm_need(calloc(1, 1));
	size_t n = 0;
	uint64_t sum = 0;
	for (size_t i = 0; i < t->nbuckets; i++) {
		for (struct entry *e = t->bucket[i], *next; e; e = next) {
			next = e->next;
			size_t len = strlen(e->word);
			line = bm_need(realloc(line, n + len + 2));
			memcpy(line + n, e->word, len);
			n += len;
			line[n++] = ' ';
			line[n] = 0;
			sum += e->count * e->hash % 1000003;
			free(e->word);
			free(e);
		}
	}
	free(t->bucket);
	for (size_t i = 0; i < n; i++)
		sum += (unsigned char)line[i];
	free(line);
	return sum;
}

static void *work(void *arg)
{
	struct bm_thread *th = arg;
	unsigned nbits = 64 - (unsigned)__builtin_clzll(vocabulary); /* ranks below each 2^k equally often */
	for (uint64_t r = 0; r < rounds; r++) {
		struct table t = { 0 };
		resize(&t, 16);
		for (uint64_t i = 0; i < nwords; i++) {
			uint64_t x = bench_random(&th->rng), least = (uint64_t)1 << (x >> 32) % nbits;
			add(&t, make_word((least + x % least) % vocabulary));
		}
		th->sum += finish(&t);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n = (unsigned)bench_arg(argc, argv, 1, 1);
	nwords = bench_arg(argc, argv, 2, 1000000);
	vocabulary = bench_arg(argc, argv, 3, 100000);
	rounds = bench_arg(argc, argv, 4, 3);
	if (vocabulary == 0)
		bm_die("VOCABULARY: at least 1");
	bench_print_int("checksum", bm_run(n, 1, work));
}
