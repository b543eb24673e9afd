/* tutorial.c - the language of docs/tutorial.md, a Forth with lists: words stand behind their operands,
 * [ … ] is a program as a value. The pieces between [name] and [end] marks are printed there. */
#include <ctype.h>
#include <mallocgc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* [value] */
typedef uintptr_t value; /* …1: an integer, shifted; …00: an object; …10: a pair */
enum { TAG_OBJECT = 0, TAG_PAIR = 2, TAG_MASK = 3 };

struct pair {
	value head, tail;
};
enum kind { PROGRAM, WORD };
struct program { /* [ … ] */
	value kind; /* an integer value, as the length: so every word is a value */
	value length;
	value item[];
};
struct word {
	value kind;
	value name; /* bytes: no references in them */
	value meaning; /* 0, or a program */
	value builtin; /* an integer value */
};
/* [end] */

static value integer(intptr_t n)
{
	return (value)n << 1 | 1;
}

static intptr_t number(value v)
{
	return (intptr_t)v >> 1;
}

/* [types] */
#define VALUES .ptr_tag_mask = TAG_MASK, .ptr_tags = 1 << TAG_OBJECT | 1 << TAG_PAIR

static struct mgc_type pair_type = {
	.name = "pair", .size = sizeof(struct pair), .ptr_bytes = sizeof(struct pair), VALUES
};
static struct mgc_type word_type = {
	.name = "word", .size = sizeof(struct word), .ptr_bytes = sizeof(struct word), VALUES
};
static struct mgc_type program_type = {
	.name = "program", .size = sizeof(value), .ptr_bytes = sizeof(value), VALUES
};
/* [end] */

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "tutorial: %s\n", what);
	exit(1);
}

static void *checked(void *p)
{
	if (p == NULL)
		die("out of memory");
	return p;
}

/* [alloc] */
static value make_pair(value head, value tail)
{
	struct pair *p = checked(mgc_new(&pair_type));
	p->head = head; /* nobody else has it yet: plain stores */
	p->tail = tail;
	return (value)p + TAG_PAIR;
}

static value make_program(size_t n, const value *items)
{
	struct program *p = checked(mgc_alloc((n + 2) * sizeof(value), &program_type, MGC_ARRAY));
	p->kind = integer(PROGRAM);
	p->length = integer((intptr_t)n);
	memcpy(p->item, items, n * sizeof(value));
	return (value)p;
}

static value make_name(const char *text, size_t n)
{
	char *bytes = checked(mgc_alloc(n + 1, NULL, MGC_NOSCAN)); /* zeroed */
	memcpy(bytes, text, n);
	return (value)bytes;
}
/* [end] */

static struct pair *pair_of(value v)
{
	if ((v & TAG_MASK) != TAG_PAIR)
		die("not a pair");
	return (struct pair *)(v - TAG_PAIR);
}

/* [roots] */
static struct {
	value words; /* list of all words */
	value shared; /* a list that threads add to */
} root;

static void start(void)
{
	if (mgc_root_add(&root, sizeof root, 0) != 0)
		die("no heap");
	root.words = root.shared = 0; /* not references: no barrier is needed for what is 0 already */
}
/* [end] */

enum builtin {
	NONE,
	DUP,
	DROP,
	SWAP,
	ADD,
	SUB,
	LESS,
	PAIR,
	HEAD,
	TAIL,
	SET_HEAD,
	IF,
	CALL,
	DEFINE,
	SHARE
};
static const char *const builtins[] = { "",         "dup", "drop", "swap",   "+",
					"-",        "<",   "pair", "head",   "tail",
					"set-head", "if",  "call", "define", "share" };

/* [machine] */
struct machine {
	value *volatile top; /* read by the collector, perhaps between any two instructions */
	value stack[4096];
};

static struct machine *new_machine(void)
{
	struct machine *m = calloc(1, sizeof *m); /* outside of the heap, and known to it as this thread's */
	if (m == NULL)
		die("out of memory");
	m->top = m->stack;
	if (mgc_root_add_owned(m->stack, sizeof m->stack, (void **)&m->top) != 0)
		die("no stack");
	return m;
}

static void push(struct machine *m, value v)
{
	value *slot = m->top;
	if (slot == m->stack + 4096)
		die("the stack is full");
	*(value *volatile *)&m->top = slot + 1; /* first the top, then the word below it */
	__asm__ volatile("" : : : "memory");
	*slot = v; /* the stack is this thread's own: a plain store */
}

static value pop(struct machine *m)
{
	if (m->top == m->stack)
		die("the stack is empty");
	value v = m->top[-1];
	m->top--;
	return v;
}
/* [end] */

/* [barrier] */
static void set_head(value pair, value v)
{
	mgc_write(&pair_of(pair)->head, (void *)v);
}

static void define(struct word *w, value meaning)
{
	mgc_write(&w->meaning, (void *)meaning);
}
/* [end] */

/* share - onto the list that all threads see. */
/* [share] */
static void share(value v)
{
	value list, longer = make_pair(v, 0);
	do {
		list = (value)__atomic_load_n(&root.shared, __ATOMIC_ACQUIRE);
		pair_of(longer)->tail = list; /* still nobody else's */
	} while (!mgc_cas(&root.shared, (void *)list, (void *)longer));
}
/* [end] */

/* ── reading ── */

static value find_word(const char *text, size_t n)
{
	for (value l = root.words; l != 0; l = pair_of(l)->tail) {
		struct word *w = (struct word *)pair_of(l)->head;
		const char *name = (const char *)w->name;
		if (strncmp(name, text, n) == 0 && name[n] == '\0')
			return (value)w;
	}
	struct word *w = checked(mgc_new(&word_type));
	w->kind = integer(WORD);
	w->name = make_name(text, n);
	w->builtin = integer(NONE);
	for (size_t i = 1; i < sizeof builtins / sizeof builtins[0]; i++)
		if (strlen(builtins[i]) == n && memcmp(builtins[i], text, n) == 0)
			w->builtin = integer((intptr_t)i);
	mgc_write(&root.words, (void *)make_pair((value)w, root.words));
	return (value)w;
}

/* [read] */
static value read_program(struct machine *m, const char **text)
{
	size_t n = 0;
	for (;; n++) {
		*text += strspn(*text, " \n");
		size_t length = strcspn(*text, " \n");
		if (length == 0 || **text == ']') {
			*text += length != 0;
			break;
		}
		if (**text == '[') {
			++*text;
			push(m, read_program(m, text));
			continue;
		}
		char *end;
		long i = strtol(*text, &end, 10);
		push(m, end == *text + length ? integer(i) : find_word(*text, length));
		*text += length;
	}
	/* what was read lies on the machine's stack, which keeps it */
	value program = make_program(n, m->top - n);
	m->top -= n;
	return program;
}
/* [end] */

/* ── running ── */

static void run(struct machine *m, value program);

static void run_builtin(struct machine *m, enum builtin which)
{
	value b = which == NONE ? 0 : pop(m), a = which > DROP && which < HEAD ? pop(m) : 0;
	switch (which) {
	case DUP:
		push(m, b);
		push(m, b);
		break;
	case SWAP:
		push(m, b);
		push(m, a);
		break;
	case ADD:
		push(m, integer(number(a) + number(b)));
		break;
	case SUB:
		push(m, integer(number(a) - number(b)));
		break;
	case LESS:
		push(m, integer(number(a) < number(b)));
		break;
	case PAIR:
		push(m, make_pair(a, b));
		break;
	case HEAD:
		push(m, pair_of(b)->head);
		break;
	case TAIL:
		push(m, pair_of(b)->tail);
		break;
	case SET_HEAD: /* pair value set-head */
		set_head(pop(m), b);
		break;
	case IF: { /* flag [then] [else] if */
		value then = pop(m), flag = pop(m);
		run(m, number(flag) != 0 ? then : b);
		break;
	}
	case CALL:
		run(m, b);
		break;
	case DEFINE: { /* [program] [word] define */
		define((struct word *)((struct program *)b)->item[0], pop(m));
		break;
	}
	case SHARE:
		share(b);
		break;
	case NONE:
	case DROP:
		break;
	}
}

static void run(struct machine *m, value v)
{
	struct program *p =
		(struct program *)v; /* a local variable is a reference: the C stack is scanned */
	for (intptr_t i = 0; i < number(p->length); i++) {
		value item = p->item[i];
		struct word *w = (struct word *)item;
		if ((item & TAG_MASK) != TAG_OBJECT || w->kind != integer(WORD))
			push(m, item);
		else if (w->builtin != integer(NONE))
			run_builtin(m, (enum builtin)number(w->builtin));
		else if (w->meaning != 0)
			run(m, w->meaning);
		else
			die("a word without meaning");
	}
}

static intptr_t run_text(struct machine *m, const char *text)
{
	run(m, read_program(m, &text));
	return number(pop(m));
}

/* [threads] */
static void *worker(void *arg)
{
	struct machine *m = new_machine(); /* registered for the thread that calls */
	run(m, (value)arg);
	mgc_root_remove(m->stack);
	free(m);
	return NULL;
}

static void run_in_threads(value program, int n)
{
	pthread_t threads[8];
	for (int i = 0; i < n; i++)
		if (mgc_thread_create(&threads[i], NULL, worker, (void *)program) != 0)
			die("no thread");
	mgc_blocking_enter(); /* meanwhile the collector asks nothing of this thread */
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	mgc_blocking_leave();
}
/* [end] */

/* [weak] */
static void **weak_box(void *obj)
{
	void **box = checked(mgc_alloc(sizeof(void *), NULL, MGC_NOSCAN)); /* not followed by the collector */
	*box = obj;
	if (mgc_link_set(box, obj) != 0)
		die("no link");
	return box;
}

static void *weak_get(void **box)
{
	return mgc_link_get(box); /* the object, which the result keeps; or NULL */
}
/* [end] */

/* [finalizer] */
struct file { /* 16 bytes at least: what is smaller, and has no references, shares a block */
	int fd;
	char mode[12];
};
static struct mgc_type file_type = { .name = "file", .size = sizeof(struct file) };

static void close_file(void *obj, void *arg)
{
	(void)arg;
	close(((struct file *)obj)->fd);
}

static struct file *make_file(int fd)
{
	struct file *f = checked(mgc_new(&file_type));
	f->fd = fd;
	if (mgc_finalizer_set(f, close_file, NULL) != 0)
		die("no finalizer");
	return f;
}
/* [end] */

/* [tune] */
static void tune(void)
{
	mgc_set_percent(50); /* collect when the heap has grown by half: less memory, more work */
	mgc_set_memory_limit(256 << 20); /* and never hold more than this: mgc_new gives NULL then */
}
/* [end] */

static void expect(const char *what, intptr_t got, intptr_t wanted)
{
	if (got != wanted) {
		fprintf(stderr, "tutorial: %s is %ld, not %ld\n", what, (long)got, (long)wanted);
		exit(1);
	}
}

static __attribute__((noinline)) void **make_weak(value *keep)
{
	value kept = make_pair(integer(1), 0);
	*keep = kept;
	for (int i = 0; i < 100; i++)
		(void)make_file(dup(STDERR_FILENO));
	return weak_box((void *)(kept - TAG_PAIR));
}

static const char prelude[] =
	"[ dup [ 1 - swap dup call swap times ] [ drop drop ] if ] [ times ] define " /* program n times */
	"[ dup 2 < [ ] [ dup 1 - fib swap 2 - fib + ] if ] [ fib ] define ";

int main(void)
{
	start();
	tune();
	struct machine *m = new_machine();
	const char *text = prelude;
	run(m, read_program(m, &text));
	expect("2 3 +", run_text(m, "2 3 +"), 5);
	expect("20 fib", run_text(m, "20 fib"), 6765);
	expect("a changed pair", run_text(m, "1 2 pair dup 7 set-head head"), 7);

	/* garbage, from four threads; and a list that all of them add to */
	text = "[ 1 2 pair 3 pair drop 5 share ] 5000 times";
	run_in_threads(read_program(m, &text), 4);
	intptr_t n = 0;
	for (value l = root.shared; l != 0; l = pair_of(l)->tail)
		n += number(pair_of(l)->head);
	expect("the sum of the shared list", n, 4 * 5000 * 5);

	value keep;
	void **box = make_weak(&keep);
	mgc_collect();
	expect("a weak box of a kept pair", weak_get(box) != NULL, 1);
	mgc_keep_alive((void *)keep);
	struct mgc_stats stats = { .struct_size = sizeof stats };
	mgc_read_stats(&stats);
	expect("collections happened", stats.cycles > 0, 1);
	printf("fib, pairs and %ld shared cells; %llu collections\n", (long)(n / 5),
	       (unsigned long long)stats.cycles);
	return 0;
}
