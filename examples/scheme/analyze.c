/* analyze.c - from forms to nodes: core forms, macros, scopes; which variable is which, and which of them
 * have to live in a box.
 *
 * WHAT   A closure copies the variables that it uses (generate.c), so a variable that is assigned to lives
 *        in a box that all copies share. Internal definitions and letrec whose values are lambdas need no
 *        box: their closures are made first and told of each other then.
 *        A named let that is only called by its own body, in tail position, is a loop (NODE_LOOP). That is
 *        tried first; when the name turns out to be used otherwise it is analysed again, as a procedure.
 * INV    whoever refers to a variable of an outer lambda puts it on the free list of each lambda between */
#include "compiler.h"

/* Where a form stands. Lies on the C stack, where the collector finds what it refers to. */
struct context {
	value scope, lambda;
	value again; /* list of loops for which this place is a tail position */
	int depth;
	value *hopeless; /* list of named lets that are known to be no loops */
};

typedef value core_fn(value form, const struct context *c);
#define CORE_FORMS(X) \
	X(QUOTE, "quote", core_quote) \
	X(QUASIQUOTE, "quasiquote", core_quasiquote) \
	X(LAMBDA, "lambda", core_lambda) \
	X(DEFINE, "define", core_define) \
	X(SET, "set!", core_set) \
	X(IF, "if", core_if) \
	X(BEGIN, "begin", core_begin) \
	X(LET, "let", core_let) \
	X(LETREC, "letrec", core_letrec) \
	X(LETREC_STAR, "letrec*", core_letrec) \
	X(DEFINE_SYNTAX, "define-syntax", core_define_syntax) \
	X(LET_SYNTAX, "let-syntax", core_let_syntax) \
	X(LETREC_SYNTAX, "letrec-syntax", core_let_syntax) \
	X(UNQUOTE, "unquote", core_misplaced) \
	X(SPLICING, "unquote-splicing", core_misplaced) \
	X(ELSE, "else", core_misplaced) \
	X(ARROW, "=>", core_misplaced)

enum core {
#define X(id, name, fn) CORE_##id,
	CORE_FORMS(X)
#undef X
};
#define CORE(id) IMMEDIATE(IMM_CONSTANT, 64 + (id))

static struct {
	value cons, append, list_to_vector; /* primitives that quasiquote uses */
} known;

static value analyze(value form, const struct context *c);
static value analyze_body(value forms, const struct context *c);

static value make_node(enum node_op op, value a, value b, value d)
{
	return object_with(KIND_NODE, 4, fixnum(op), a, b, d);
}

static value constant(value v)
{
	return make_node(NODE_CONST, v, 0, 0);
}

/* inner - the context of a part whose value is used here: no tail position. */
static struct context inner(const struct context *c)
{
	return (struct context){ c->scope, c->lambda, V_NIL, c->depth, c->hopeless };
}

static value analyze_part(value form, const struct context *c)
{
	struct context in = inner(c);
	return analyze(form, &in);
}

static value analyze_parts(value forms, const struct context *c)
{
	value nodes = V_NIL;
	for (; is_pair(forms); forms = cdr(forms))
		nodes = cons(analyze_part(car(forms), c), nodes);
	return reverse(nodes);
}

/* check_form - a proper list of that many elements; max 0: or more. */
static void check_form(value form, size_t min, size_t max)
{
	size_t n = list_length(form);
	if (n == SIZE_MAX || n < min || (max != 0 && n > max))
		bad_syntax(form);
}

/* ── variables ── */

static value make_variable(value name, value owner)
{
	struct variable *v = (struct variable *)object_new(KIND_VARIABLE, 6);
	v->name = strip(name);
	v->owner = owner;
	v->assigned = v->referenced = V_FALSE;
	v->slot = fixnum(0);
	return (value)v;
}

static value declare(value id, value scope, value owner)
{
	if (!is_identifier(id))
		bad_syntax(id);
	value v = make_variable(id, owner);
	bind(scope, id, v);
	return v;
}

bool memq(value v, value list)
{
	for (; list != V_NIL; list = cdr(list))
		if (car(list) == v)
			return true;
	return false;
}

static void use_variable(value var, value lambda)
{
	struct variable *v = variable_of(var);
	set_slot(&v->referenced, V_TRUE);
	if (v->loop != 0)
		set_slot(&loop_of(v->loop)->failed, V_TRUE);
	for (; lambda != v->owner && lambda != 0; lambda = lambda_of(lambda)->parent) {
		struct lambda *l = lambda_of(lambda);
		if (memq(var, l->free))
			break;
		set_slot(&l->free, reverse(cons(var, reverse(l->free))));
	}
}

static value analyze_reference(value id, const struct context *c)
{
	value meaning = lookup(id, c->scope);
	if (is_kind(meaning, KIND_SYMBOL))
		return make_node(NODE_GLOBAL, meaning, 0, 0);
	if (!is_kind(meaning, KIND_VARIABLE))
		bad_syntax(id);
	use_variable(meaning, c->lambda);
	return make_node(NODE_LOCAL, meaning, 0, 0);
}

/* ── binding forms ── */

static value new_lambda(const struct context *c, value name)
{
	struct lambda *l = (struct lambda *)object_new(KIND_LAMBDA, 6);
	l->parent = c->lambda;
	l->parameters = l->free = V_NIL;
	l->has_rest = fixnum(0);
	l->name = name;
	return (value)l;
}

static value analyze_lambda(value parameters, value body, value name, const struct context *c)
{
	value lambda = new_lambda(c, name), scope = new_scope(c->scope), list = V_NIL;
	for (; is_pair(parameters); parameters = cdr(parameters))
		list = cons(declare(car(parameters), scope, lambda), list);
	if (parameters != V_NIL) {
		list = cons(declare(parameters, scope, lambda), list);
		set_slot(&lambda_of(lambda)->has_rest, fixnum(1));
	}
	set_slot(&lambda_of(lambda)->parameters, reverse(list));
	struct context in = { scope, lambda, V_NIL, c->depth, c->hopeless };
	set_slot(&lambda_of(lambda)->body, analyze_body(body, &in));
	return make_node(NODE_LAMBDA, lambda, 0, 0);
}

static value core_lambda(value form, const struct context *c)
{
	check_form(form, 3, 0);
	return analyze_lambda(car(cdr(form)), cdr(cdr(form)), V_FALSE, c);
}

/* head_of - the meaning of a form's head: a core form, a macro … */
static value head_of(value form, value scope)
{
	if (!is_pair(form))
		return V_FALSE;
	return is_identifier(car(form)) ? lookup(car(form), scope) : car(form);
}

static value analyze_named(value form, value name, const struct context *c)
{
	if (head_of(form, c->scope) != CORE(CORE_LAMBDA))
		return analyze_part(form, c);
	check_form(form, 3, 0);
	return analyze_lambda(car(cdr(form)), cdr(cdr(form)), name, c);
}

/* analyze_inits - (variable . form) in order, as letrec* has it. Neighbours that are lambdas may refer to
 * each other without a box; what was referred to before its turn needs one. */
static value analyze_inits(value bindings, const struct context *c)
{
	value nodes = V_NIL;
	while (bindings != V_NIL) {
		value end = bindings;
		do {
			struct variable *v = variable_of(car(car(end)));
			if (v->referenced != V_FALSE)
				set_slot(&v->assigned, V_TRUE);
			bool is_lambda = head_of(cdr(car(end)), c->scope) == CORE(CORE_LAMBDA);
			end = cdr(end);
			if (!is_lambda)
				break;
		} while (end != V_NIL && head_of(cdr(car(end)), c->scope) == CORE(CORE_LAMBDA));
		for (; bindings != end; bindings = cdr(bindings)) {
			value var = car(car(bindings));
			value node = analyze_named(cdr(car(bindings)), variable_of(var)->name, c);
			if (op_of(node) != NODE_LAMBDA && variable_of(var)->referenced != V_FALSE)
				set_slot(&variable_of(var)->assigned, V_TRUE);
			nodes = cons(node, nodes);
		}
	}
	return reverse(nodes);
}

static value firsts(value bindings)
{
	value list = V_NIL;
	for (; bindings != V_NIL; bindings = cdr(bindings))
		list = cons(car(car(bindings)), list);
	return reverse(list);
}

static value sequence(value nodes)
{
	return cdr(nodes) == V_NIL ? car(nodes) : make_node(NODE_SEQUENCE, nodes, 0, 0);
}

/* expressions - all but the last one in no tail position. */
static value expressions(value forms, const struct context *c)
{
	value nodes = V_NIL;
	if (!is_pair(forms))
		bad_syntax(forms);
	for (; is_pair(cdr(forms)); forms = cdr(forms))
		nodes = cons(analyze_part(car(forms), c), nodes);
	return sequence(reverse(cons(analyze(car(forms), c), nodes)));
}

/* internal_define - (define var form) or (define (var …) …), curried too: adds (variable . form). */
static value internal_define(value form, value bindings, const struct context *c)
{
	check_form(form, 2, 0);
	value target = car(cdr(form)), body = cdr(cdr(form));
	while (is_pair(target)) {
		body = list_n(1, cons(CORE(CORE_LAMBDA), cons(cdr(target), body)));
		target = car(target);
	}
	if (body != V_NIL && cdr(body) != V_NIL)
		bad_syntax(form);
	value init = body == V_NIL ? V_UNSPECIFIED : car(body);
	value known_as = lookup(target, c->scope);
	if (is_kind(known_as, KIND_VARIABLE) && memq(known_as, firsts(bindings)))
		bad_syntax(form);
	return cons(cons(declare(target, c->scope, c->lambda), init), bindings);
}

/* analyze_body - definitions, then expressions; in a scope of their own. */
static value analyze_body(value forms, const struct context *c)
{
	value bindings = V_NIL;
	struct context in = { new_scope(c->scope), c->lambda, c->again, c->depth, c->hopeless };
	while (is_pair(forms)) {
		value form = car(forms), head = head_of(form, in.scope);
		if (is_kind(head, KIND_MACRO)) {
			forms = cons(expand(head, form, in.scope), cdr(forms));
		} else if (head == CORE(CORE_BEGIN)) {
			check_form(form, 1, 0);
			forms = cdr(forms);
			for (value r = reverse(cdr(form)); r != V_NIL; r = cdr(r))
				forms = cons(car(r), forms);
		} else if (head == CORE(CORE_DEFINE)) {
			bindings = internal_define(form, bindings, &in);
			forms = cdr(forms);
		} else if (head == CORE(CORE_DEFINE_SYNTAX)) {
			check_form(form, 3, 3);
			bind(in.scope, car(cdr(form)), make_macro(car(cdr(cdr(form))), in.scope));
			forms = cdr(forms);
		} else {
			break;
		}
	}
	if (forms == V_NIL && bindings != V_NIL)
		forms = list_n(1, V_UNSPECIFIED);
	if (bindings == V_NIL)
		return expressions(forms, &in);
	bindings = reverse(bindings);
	value inits = analyze_inits(bindings, &in);
	return make_node(NODE_LETREC, firsts(bindings), inits, expressions(forms, &in));
}

static value core_letrec(value form, const struct context *c)
{
	check_form(form, 3, 0);
	value bindings = V_NIL;
	struct context in = { new_scope(c->scope), c->lambda, c->again, c->depth, c->hopeless };
	for (value b = car(cdr(form)); b != V_NIL; b = cdr(b)) {
		check_form(car(b), 2, 2);
		bindings = cons(cons(declare(car(car(b)), in.scope, c->lambda), car(cdr(car(b)))),
				bindings);
	}
	bindings = reverse(bindings);
	value inits = analyze_inits(bindings, &in);
	return make_node(NODE_LETREC, firsts(bindings), inits, analyze_body(cdr(cdr(form)), &in));
}

/* try_loop - as a loop, or 0 when the name is not only called in tail position. */
static value try_loop(value form, value name, value ids, value inits, const struct context *c)
{
	struct loop *loop = (struct loop *)object_new(KIND_NODE, 5);
	struct context in = { new_scope(c->scope), c->lambda, cons((value)loop, c->again), c->depth,
			      c->hopeless };
	value var = declare(name, in.scope, c->lambda), list = V_NIL;
	loop->lambda = c->lambda;
	loop->failed = V_FALSE;
	set_slot(&variable_of(var)->loop, (value)loop);
	in.scope = new_scope(in.scope);
	for (; ids != V_NIL; ids = cdr(ids))
		list = cons(declare(car(ids), in.scope, c->lambda), list);
	set_slot(&loop->variables, reverse(list));
	value body = analyze_body(cdr(cdr(cdr(form))), &in);
	if (loop->failed == V_FALSE)
		return make_node(NODE_LOOP, (value)loop, inits, body);
	*c->hopeless = cons(form, *c->hopeless);
	return 0;
}

static value named_let(value form, const struct context *c)
{
	check_form(form, 4, 0);
	value name = car(cdr(form)), ids = V_NIL, forms = V_NIL;
	for (value b = car(cdr(cdr(form))); b != V_NIL; b = cdr(b)) {
		check_form(car(b), 2, 2);
		ids = cons(car(car(b)), ids);
		forms = cons(car(cdr(car(b))), forms);
	}
	ids = reverse(ids);
	value inits = analyze_parts(reverse(forms), c);
	value node = memq(form, *c->hopeless) ? 0 : try_loop(form, name, ids, inits, c);
	if (node != 0)
		return node;
	struct context in = { new_scope(c->scope), c->lambda, V_NIL, c->depth, c->hopeless };
	value var = declare(name, in.scope, c->lambda);
	value lambda = analyze_lambda(ids, cdr(cdr(cdr(form))), strip(name), &in);
	use_variable(var, c->lambda);
	value call = make_node(NODE_CALL, make_node(NODE_LOCAL, var, 0, 0), inits, 0);
	return make_node(NODE_LETREC, cons(var, V_NIL), cons(lambda, V_NIL), call);
}

static value core_let(value form, const struct context *c)
{
	check_form(form, 3, 0);
	if (is_identifier(car(cdr(form))))
		return named_let(form, c);
	struct context in = { new_scope(c->scope), c->lambda, c->again, c->depth, c->hopeless };
	value variables = V_NIL, inits = V_NIL;
	for (value b = car(cdr(form)); b != V_NIL; b = cdr(b)) {
		check_form(car(b), 2, 2);
		inits = cons(analyze_named(car(cdr(car(b))), strip(car(car(b))), c), inits);
		variables = cons(declare(car(car(b)), in.scope, c->lambda), variables);
	}
	value body = analyze_body(cdr(cdr(form)), &in);
	if (variables == V_NIL)
		return body;
	return make_node(NODE_LET, reverse(variables), reverse(inits), body);
}

/* ── the other core forms ── */

static value core_quote(value form, const struct context *c)
{
	(void)c;
	check_form(form, 2, 2);
	return constant(strip(car(cdr(form))));
}

static value core_if(value form, const struct context *c)
{
	check_form(form, 3, 4);
	value rest = cdr(cdr(form));
	value test = analyze_part(car(cdr(form)), c), then = analyze(car(rest), c);
	return make_node(NODE_IF, test, then,
			 cdr(rest) == V_NIL ? constant(V_UNSPECIFIED) : analyze(car(cdr(rest)), c));
}

static value core_begin(value form, const struct context *c)
{
	check_form(form, 1, 0);
	return cdr(form) == V_NIL ? constant(V_UNSPECIFIED) : expressions(cdr(form), c);
}

static value core_set(value form, const struct context *c)
{
	check_form(form, 3, 3);
	if (!is_identifier(car(cdr(form))))
		bad_syntax(form);
	value meaning = lookup(car(cdr(form)), c->scope), node = analyze_part(car(cdr(cdr(form))), c);
	if (is_kind(meaning, KIND_SYMBOL))
		return make_node(NODE_SET_GLOBAL, meaning, node, 0);
	if (!is_kind(meaning, KIND_VARIABLE))
		bad_syntax(form);
	set_slot(&variable_of(meaning)->assigned, V_TRUE);
	use_variable(meaning, c->lambda);
	return make_node(NODE_SET_LOCAL, meaning, node, 0);
}

static bool at_top(const struct context *c)
{
	return c->scope == 0;
}

static value core_define(value form, const struct context *c)
{
	check_form(form, 2, 0);
	value target = car(cdr(form)), body = cdr(cdr(form));
	if (!at_top(c))
		bad_syntax(form);
	while (is_pair(target)) {
		body = list_n(1, cons(CORE(CORE_LAMBDA), cons(cdr(target), body)));
		target = car(target);
	}
	if (!is_identifier(target) || (body != V_NIL && cdr(body) != V_NIL))
		bad_syntax(form);
	value name = strip(target);
	value node = body == V_NIL ? constant(V_UNSPECIFIED) : analyze_named(car(body), name, c);
	return make_node(NODE_DEFINE, name, node, 0);
}

static value core_define_syntax(value form, const struct context *c)
{
	check_form(form, 3, 3);
	if (!at_top(c) || !is_identifier(car(cdr(form))))
		bad_syntax(form);
	value spec = car(cdr(cdr(form))), name = strip(car(cdr(form)));
	value meaning = is_identifier(spec) ? lookup(spec, 0) : make_macro(spec, c->scope);
	set_slot(&symbol_of(name)->syntax, meaning);
	return constant(V_UNSPECIFIED);
}

static value core_let_syntax(value form, const struct context *c)
{
	check_form(form, 3, 0);
	struct context in = { new_scope(c->scope), c->lambda, c->again, c->depth, c->hopeless };
	bool recursive = head_of(form, c->scope) == CORE(CORE_LETREC_SYNTAX);
	for (value b = car(cdr(form)); b != V_NIL; b = cdr(b)) {
		check_form(car(b), 2, 2);
		bind(in.scope, car(car(b)),
		     make_macro(car(cdr(car(b))), recursive ? in.scope : c->scope));
	}
	return analyze_body(cdr(cdr(form)), &in);
}

static value core_misplaced(value form, const struct context *c)
{
	(void)c;
	bad_syntax(form);
}

static bool is_form(value form, enum core id, value scope)
{
	return list_length(form) == 2 && is_identifier(car(form)) &&
	       lookup(car(form), scope) == CORE(id);
}

/* quasi - a form that makes the template; depth counts nested quasiquotes. */
static value quasi(value t, int depth, value scope)
{
	if (is_kind(t, KIND_VECTOR)) {
		value list = V_NIL;
		for (size_t i = length_of(t); i-- > 0;)
			list = cons(slot_of(t, i), list);
		return list_n(2, known.list_to_vector, quasi(list, depth, scope));
	}
	if (!is_pair(t))
		return list_n(2, CORE(CORE_QUOTE), t);
	if (is_form(t, CORE_UNQUOTE, scope) && depth == 1)
		return car(cdr(t));
	int deeper = is_form(t, CORE_UNQUOTE, scope)      ? depth - 1
		     : is_form(t, CORE_QUASIQUOTE, scope) ? depth + 1
							  : depth;
	if (depth == 1 && is_form(car(t), CORE_SPLICING, scope))
		return list_n(3, known.append, car(cdr(car(t))), quasi(cdr(t), depth, scope));
	int inside = is_form(car(t), CORE_SPLICING, scope) ? deeper - 1 : deeper;
	value first = car(t);
	value head = inside != deeper ? list_n(3, known.cons, list_n(2, CORE(CORE_QUOTE), car(first)),
					       quasi(cdr(first), inside, scope))
				      : quasi(first, deeper, scope);
	return list_n(3, known.cons, head, quasi(cdr(t), deeper, scope));
}

static value core_quasiquote(value form, const struct context *c)
{
	check_form(form, 2, 2);
	return analyze(quasi(car(cdr(form)), 1, c->scope), c);
}

/* ── forms ── */

static value analyze_call(value form, const struct context *c)
{
	check_form(form, 1, 0);
	value meaning = is_identifier(car(form)) ? lookup(car(form), c->scope) : V_FALSE;
	value loop = is_kind(meaning, KIND_VARIABLE) ? variable_of(meaning)->loop : 0;
	if (loop != 0 && memq(loop, c->again) && loop_of(loop)->lambda == c->lambda &&
	    list_length(cdr(form)) == list_length(loop_of(loop)->variables))
		return make_node(NODE_AGAIN, loop, analyze_parts(cdr(form), c), 0);
	value callee = analyze_part(car(form), c);
	return make_node(NODE_CALL, callee, analyze_parts(cdr(form), c), 0);
}

static core_fn *const core_forms[] = {
#define X(id, name, fn) fn,
	CORE_FORMS(X)
#undef X
};

static value analyze(value form, const struct context *outer)
{
	struct context c = *outer;
	if (++c.depth > 5000)
		fail("a form that is nested too deeply", 0);
	for (;;) {
		if (is_identifier(form))
			return analyze_reference(form, &c);
		if (form == V_NIL)
			bad_syntax(form);
		if (!is_pair(form))
			return constant(form);
		value head = head_of(form, c.scope);
		if (is_kind(head, KIND_MACRO)) {
			form = expand(head, form, c.scope);
			if (++c.depth > 100000)
				fail("a macro that expands without end", 0);
			continue;
		}
		uintptr_t core = (head >> 8) - 64;
		if (head == CORE(core) && core < sizeof core_forms / sizeof core_forms[0])
			return core_forms[core](form, &c);
		return analyze_call(form, &c);
	}
}

value analyze_top(value form)
{
	value hopeless = V_NIL;
	struct context c = { 0, 0, V_NIL, 0, &hopeless };
	value lambda = new_lambda(&c, V_FALSE);
	c.lambda = lambda;
	set_slot(&lambda_of(lambda)->body, analyze(form, &c));
	return lambda;
}

void analyze_init(void)
{
	mgc_root_add(&known, sizeof known, MGC_ROOT_AMBIGUOUS);
	set_slot(&known.cons, symbol_of(symbol("cons"))->global);
	set_slot(&known.append, symbol_of(symbol("append"))->global);
	set_slot(&known.list_to_vector, symbol_of(symbol("list->vector"))->global);
#define X(id, name, fn) set_slot(&symbol_of(symbol(name))->syntax, CORE(CORE_##id));
	CORE_FORMS(X)
#undef X
}
