/* lisp.c - a Lisp in one page: what a language runtime looks like on mallocgc.
 * Every value is a word: a small integer (lowest bit 1) or a pointer to a cell. The reader, the
 * evaluator and the environment use nothing but cells, and none of them says a word about memory
 * except mgc_new, and mgc_write where a reachable cell changes. */
#include <ctype.h>
#include <mallocgc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cell;
typedef struct cell *value;

enum kind { PAIR, SYMBOL, CLOSURE, PRIMITIVE };

struct cell {
	value a, b; /* pair: car, cdr; symbol: name, -; closure: parameters, body; primitive: - */
	value env;  /* closure: where it was made */
	intptr_t kind; /* for a primitive: PRIMITIVE + 4 * its number */
};

/* The first three words are pointers, or small integers that could look like one: AMBIGUOUS. */
static const uint8_t cell_pointers[] = { 1 | 2 | 4 };
static struct mgc_type cell_type = { .name = "cell",
				     .size = sizeof(struct cell),
				     .ptr_bytes = 3 * sizeof(value),
				     .ptr_mask = cell_pointers,
				     .flags = MGC_TYPE_AMBIGUOUS };

/* Roots. Everything else hangs on these or on the C stack. */
static struct {
	value symbols; /* list of all symbols */
	value globals; /* list of (symbol . value) */
	value define, lambda, if_, quote;
} root;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "lisp: %s\n", what);
	exit(1);
}

static value make(enum kind kind, value a, value b, value env)
{
	value cell = mgc_new(&cell_type);
	if (cell == NULL)
		die("out of memory");
	*cell = (struct cell){ a, b, env, kind }; /* nobody else has it yet: plain stores */
	return cell;
}

static value integer(intptr_t n)
{
	return (value)(n * 2 + 1);
}

static intptr_t number(value v)
{
	if (((intptr_t)v & 1) == 0)
		die("not a number");
	return (intptr_t)v >> 1;
}

static int is(value v, enum kind kind)
{
	return v != NULL && ((intptr_t)v & 1) == 0 && (v->kind & 3) == (intptr_t)kind;
}

static value cons(value a, value b)
{
	return make(PAIR, a, b, NULL);
}

static value car(value v)
{
	return is(v, PAIR) ? v->a : (die("car of no pair"), NULL);
}

static value cdr(value v)
{
	return is(v, PAIR) ? v->b : (die("cdr of no pair"), NULL);
}

/* ── reading ── */

static value symbol(const char *name, size_t length)
{
	for (value s = root.symbols; s != NULL; s = s->b)
		if (strlen((char *)s->a->a) == length && memcmp(s->a->a, name, length) == 0)
			return s->a;
	char *copy = mgc_alloc(length + 1, NULL, MGC_NOSCAN); /* zeroed */
	if (copy == NULL)
		die("out of memory");
	memcpy(copy, name, length);
	value s = make(SYMBOL, (value)copy, NULL, NULL);
	mgc_write(&root.symbols, cons(s, root.symbols));
	return s;
}

static value read_value(const char **text);

static value read_list(const char **text)
{
	while (isspace((unsigned char)**text))
		++*text;
	if (**text == ')') {
		++*text;
		return NULL;
	}
	value first = read_value(text); /* on the C stack while the rest is read */
	return cons(first, read_list(text));
}

static value read_value(const char **text)
{
	while (isspace((unsigned char)**text))
		++*text;
	if (**text == '\0')
		die("the program ends too early");
	if (**text == '(') {
		++*text;
		return read_list(text);
	}
	if (**text == '\'') {
		++*text;
		return cons(root.quote, cons(read_value(text), NULL));
	}
	char *end;
	long n = strtol(*text, &end, 10);
	if (end != *text) {
		*text = end;
		return integer(n);
	}
	size_t length = strcspn(*text, " \t\n()'");
	value s = symbol(*text, length);
	*text += length;
	return s;
}

/* ── evaluating ── */

static value lookup(value name, value env)
{
	for (value e = env; e != NULL; e = e->b)
		if (e->a->a == name)
			return e->a->b;
	for (value e = root.globals; e != NULL; e = e->b)
		if (e->a->a == name)
			return e->a->b;
	fprintf(stderr, "lisp: %s: ", (char *)name->a);
	die("not defined");
}

static void define(value name, value v)
{
	mgc_write(&root.globals, cons(cons(name, v), root.globals));
}

static const char *const primitives[] = { "+", "-", "*", "<", "=", "cons", "car", "cdr", "null?" };

static value apply_primitive(size_t which, value args)
{
	value x = car(args), y = args->b != NULL ? car(args->b) : NULL;
	value truth = integer(1);
	switch (which) {
	case 0:
		return integer(number(x) + number(y));
	case 1:
		return integer(number(x) - number(y));
	case 2:
		return integer(number(x) * number(y));
	case 3:
		return number(x) < number(y) ? truth : NULL;
	case 4:
		return number(x) == number(y) ? truth : NULL;
	case 5:
		return cons(x, y);
	case 6:
		return car(x);
	case 7:
		return cdr(x);
	default:
		return x == NULL ? truth : NULL;
	}
}

static value eval(value v, value env);

static value eval_list(value list, value env)
{
	if (list == NULL)
		return NULL;
	value first = eval(car(list), env);
	return cons(first, eval_list(list->b, env));
}

/* eval - loops instead of recursing for the last expression, so that a loop written as a call in
 * last place runs in constant stack. */
static value eval(value v, value env)
{
	for (;;) {
		if (is(v, SYMBOL))
			return lookup(v, env);
		if (!is(v, PAIR))
			return v;
		value head = car(v);
		if (head == root.quote)
			return car(cdr(v));
		if (head == root.lambda)
			return make(CLOSURE, car(cdr(v)), car(cdr(cdr(v))), env);
		if (head == root.define) {
			define(car(cdr(v)), eval(car(cdr(cdr(v))), env));
			return NULL;
		}
		if (head == root.if_) {
			value rest = cdr(cdr(v));
			v = eval(car(cdr(v)), env) != NULL ? car(rest) : car(cdr(rest));
			continue;
		}
		value f = eval(head, env), args = eval_list(cdr(v), env);
		if (is(f, PRIMITIVE))
			return apply_primitive((size_t)(f->kind >> 2), args);
		if (!is(f, CLOSURE))
			die("not a function");
		env = f->env;
		for (value p = f->a; p != NULL; p = p->b, args = args->b)
			env = cons(cons(p->a, car(args)), env);
		v = f->b;
	}
}

static void start(void)
{
	if (mgc_root_add(&root, sizeof root, 0) != 0)
		die("no root");
	mgc_write(&root.define, symbol("define", 6));
	mgc_write(&root.lambda, symbol("lambda", 6));
	mgc_write(&root.if_, symbol("if", 2));
	mgc_write(&root.quote, symbol("quote", 5));
	for (size_t i = 0; i < sizeof primitives / sizeof primitives[0]; i++) {
		value p = make(PRIMITIVE, NULL, NULL, NULL);
		p->kind += (intptr_t)(4 * i);
		define(symbol(primitives[i], strlen(primitives[i])), p);
	}
}

static const char program[] =
	"(define fib (lambda (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2))))))"
	"(define range (lambda (n done) (if (= n 0) done (range (- n 1) (cons n done)))))"
	"(define fold (lambda (f x l) (if (null? l) x (fold f (f x (car l)) (cdr l)))))"
	"(define map (lambda (f l) (if (null? l) '() (cons (f (car l)) (map f (cdr l))))))"
	"(define kept (range 2000 '()))"
	"(define repeat (lambda (n x) (if (= n 0) x"
	"  (repeat (- n 1) (fold + 0 (map (lambda (y) (* y y)) kept))))))"
	"(+ (fib 20) (repeat 100 0))";

int main(void)
{
	start();
	const char *text = program;
	value result = NULL;
	while (text[strspn(text, " \n")] != '\0')
		result = eval(read_value(&text), NULL);

	struct mgc_stats stats = { .struct_size = sizeof stats };
	mgc_read_stats(&stats);
	printf("%ld, after %llu collections\n", (long)number(result), (unsigned long long)stats.cycles);
	return number(result) == 6765 + 2000L * 2001 * 4001 / 6 && stats.cycles > 0 ? 0 : 1;
}
