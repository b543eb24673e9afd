/* words.c - memory without types: the sort of C program that would use malloc and never free.
 * Counts words in a hash table that grows. mgc_alloc(n, NULL, 0) gives memory in which every word
 * may be a pointer; MGC_NOSCAN gives memory that holds none, which is cheaper to collect. */
#include <mallocgc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	struct entry *next;
	char *word;
	size_t count;
};

static struct {
	struct entry **bucket;
	size_t nbuckets, nentries;
} table;

static void *checked(void *p)
{
	if (p == NULL) {
		perror("mgc_alloc");
		exit(1);
	}
	return p;
}

static size_t hash(const char *word)
{
	size_t h = 5381;
	while (*word != '\0')
		h = h * 33 ^ (unsigned char)*word++;
	return h;
}

/* Twice the buckets. The old array is simply dropped. */
static void grow(void)
{
	size_t n = table.nbuckets > 0 ? 2 * table.nbuckets : 16;
	struct entry **bucket = checked(mgc_alloc(n * sizeof *bucket, NULL, 0));
	for (size_t i = 0; i < table.nbuckets; i++) {
		for (struct entry *e = table.bucket[i], *next; e != NULL; e = next) {
			size_t to = hash(e->word) % n;
			next = e->next;
			mgc_write(&e->next, bucket[to]); /* e is reachable: its store is announced */
			mgc_write(&bucket[to], e);
		}
	}
	mgc_write(&table.bucket, bucket);
	table.nbuckets = n;
}

static size_t count_word(const char *word)
{
	if (table.nentries >= table.nbuckets)
		grow();
	struct entry **place = &table.bucket[hash(word) % table.nbuckets];
	for (struct entry *e = *place; e != NULL; e = e->next)
		if (strcmp(e->word, word) == 0)
			return ++e->count;

	struct entry *e = checked(mgc_alloc(sizeof *e, NULL, 0));
	e->word = checked(mgc_alloc(strlen(word) + 1, NULL, MGC_NOSCAN));
	strcpy(e->word, word);
	e->count = 1;
	e->next = *place; /* e is still ours alone */
	mgc_write(place, e); /* now it is not */
	table.nentries++;
	return 1;
}

int main(void)
{
	enum { NWORDS = 400000, NDIFFERENT = 20011 };
	/* The collector does not know our variables outside functions, except those we name. */
	if (mgc_root_add(&table.bucket, sizeof table.bucket, 0) != 0) {
		perror("mgc_root_add");
		return 1;
	}
	for (size_t i = 0; i < NWORDS; i++) {
		char *word = checked(mgc_alloc(32, NULL, MGC_NOSCAN)); /* rubbish a moment later */
		snprintf(word, 32, "word-%zu", i * 7919 % NDIFFERENT);
		count_word(word);
	}
	mgc_collect();

	size_t total = 0;
	for (size_t i = 0; i < table.nbuckets; i++)
		for (struct entry *e = table.bucket[i]; e != NULL; e = e->next)
			total += e->count;
	printf("%zu words, %zu of them different\n", total, table.nentries);
	return total == NWORDS && table.nentries == NDIFFERENT ? 0 : 1;
}
