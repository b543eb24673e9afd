/* app.c THREADS DOCUMENTS MEMBERS SEED - an application: documents are written, parsed and changed.
 *
 * WHAT   A document is a tree of objects, arrays, strings and numbers. Per document: its text is made
 *        in a growing buffer, parsed into a tree (nodes, names, arrays that grow), written out again
 *        and compared; the trees of the last 16 documents stay live. */
#include "bench_malloc.h"

enum { KEPT = 16 };
enum kind { NUMBER, STRING, ARRAY, OBJECT };

struct value {
	enum kind kind;
	uint64_t number;
	char *string;
	struct value **item;
	char **name; /* of an object's items */
	size_t n, cap;
};

struct text {
	char *s;
	size_t n, cap;
};

static uint64_t documents, members;

static void put(struct text *t, const char *s, size_t n)
{
	if (t->n + n + 1 > t->cap)
		t->s = bm_need(realloc(t->s, t->cap = 2 * t->cap + n + 1));
	memcpy(t->s + t->n, s, n);
	t->s[t->n += n] = 0;
}

static void put_number(struct text *t, uint64_t x)
{
	char digits[24];
	put(t, digits, (size_t)sprintf(digits, "%llu", (unsigned long long)x));
}

static void put_string(struct text *t, uint64_t *rng)
{
	char s[200];
	size_t n = 1 + bm_size(rng, 120);
	for (size_t i = 0; i < n; i++)
		s[i] = (char)('a' + (i * 7 + *rng) % 26);
	put(t, "\"", 1);
	put(t, s, n);
	put(t, "\"", 1);
}

/* generate - random JSON of about n members. */
static void generate(struct text *t, uint64_t n, uint64_t *rng)
{
	if (n <= 1) {
		if (bench_random(rng) % 3)
			put_string(t, rng);
		else
			put_number(t, *rng % 1000000);
		return;
	}
	int object = bench_random(rng) % 2 == 0;
	put(t, object ? "{" : "[", 1);
	for (uint64_t left = n - 1, part; left; left -= part) {
		part = 1 + bench_random(rng) % (left < 40 ? left : left / 4);
		if (left != n - 1)
			put(t, ",", 1);
		if (object) {
			put_string(t, rng);
			put(t, ":", 1);
		}
		generate(t, part, rng);
	}
	put(t, object ? "}" : "]", 1);
}

static char *parse_string(const char **at)
{
	const char *start = ++*at, *end = strchr(start, '"');
	char *s = bm_need(malloc((size_t)(end - start) + 1));
	memcpy(s, start, (size_t)(end - start));
	s[end - start] = 0;
	*at = end + 1;
	return s;
}

static struct value *parse(const char **at)
{
	struct value *v = bm_need(calloc(1, sizeof *v));
	char open = **at;
	if (open == '"') {
		v->kind = STRING;
		v->string = parse_string(at);
	} else if (open != '[' && open != '{') {
		v->number = strtoull(*at, (char **)at, 10);
	} else {
		v->kind = open == '[' ? ARRAY : OBJECT;
		do {
			++*at;
			if (v->n == v->cap) {
				v->cap = v->cap ? 2 * v->cap : 4;
				v->item = bm_need(realloc(v->item, v->cap * sizeof *v->item));
				if (v->kind == OBJECT)
					v->name = bm_need(realloc(v->name, v->cap * sizeof *v->name));
			}
			if (v->kind == OBJECT) {
				v->name[v->n] = parse_string(at);
				++*at;
			}
			v->item[v->n++] = parse(at);
		} while (**at == ',');
		++*at;
	}
	return v;
}

static void write_out(struct text *t, const struct value *v)
{
	if (v->kind == NUMBER) {
		put_number(t, v->number);
	} else if (v->kind == STRING) {
		put(t, "\"", 1);
		put(t, v->string, strlen(v->string));
		put(t, "\"", 1);
	} else {
		for (size_t i = 0; i < v->n; i++) {
			put(t, i ? "," : v->kind == ARRAY ? "[" : "{", 1);
			if (v->kind == OBJECT) {
				put(t, "\"", 1);
				put(t, v->name[i], strlen(v->name[i]));
				put(t, "\":", 2);
			}
			write_out(t, v->item[i]);
		}
		put(t, v->kind == ARRAY ? "]" : "}", 1);
	}
}

static void drop(struct value *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n; i++) {
		drop(v->item[i]);
		if (v->name)
			free(v->name[i]);
	}
	free(v->name);
	free(v->item);
	free(v->string);
	free(v);
}

static void *work(void *arg)
{
	struct bm_thread *t = arg;
	struct value *kept[KEPT] = { 0 };
	for (uint64_t d = 0; d < documents; d++) {
		struct text in = { 0 }, out = { 0 };
		generate(&in, members / 2 + bench_random(&t->rng) % members, &t->rng);
		const char *at = in.s;
		struct value **v = &kept[bench_random(&t->rng) % KEPT];
		drop(*v);
		write_out(&out, *v = parse(&at));
		if (*at || strcmp(in.s, out.s) != 0)
			bm_die("a document changed");
		t->sum += in.n;
		free(in.s);
		free(out.s);
	}
	for (int i = 0; i < KEPT; i++)
		drop(kept[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n = (unsigned)bench_arg(argc, argv, 1, 1);
	documents = bench_arg(argc, argv, 2, 1000);
	members = bench_arg(argc, argv, 3, 2000);
	bench_print_int("checksum", bm_run(n, bench_arg(argc, argv, 4, 1), work));
}
