/* generate.c - from nodes to instructions (vm.h). One pass; the depth of the stack is known at each place,
 * so local variables are slots from fp. */
#include "compiler.h"
#include "vm.h"

#include <string.h>

/* The code of one lambda while it is made. On the C stack. */
struct gen {
	struct lambda *lambda;
	value buffer; /* bytes: instructions so far */
	size_t n, label; /* instructions; the last place that is jumped to */
	value constants; /* list, the last one first */
	size_t nconstants;
	size_t depth, max; /* words above fp now, and at most */
};

static void gen(struct gen *g, value node, bool tail);

static uint32_t *code_at(struct gen *g, size_t i)
{
	return (uint32_t *)(g->buffer + sizeof(value)) + i;
}

static void emit_word(struct gen *g, uint32_t word)
{
	size_t size = length_of(g->buffer);
	if ((g->n + 1) * sizeof(uint32_t) > size) {
		value larger = make_bytes(2 * size, 0);
		memcpy(((struct bytes *)larger)->byte, code_at(g, 0), size);
		g->buffer = larger;
	}
	*code_at(g, g->n++) = word;
}

static void emit(struct gen *g, enum op op, size_t arg)
{
	if (arg >= 1 << 24)
		fail("a procedure that is too large", 0);
	if (op == OP_PUSH && g->n > g->label) { /* of what was just loaded: one instruction for both */
		uint32_t last = *code_at(g, g->n - 1);
		enum op fused = (last & 0xff) == OP_CONST   ? OP_PUSH_CONST
				: (last & 0xff) == OP_LOCAL ? OP_PUSH_LOCAL
				: (last & 0xff) == OP_FREE  ? OP_PUSH_FREE
							    : OP_PUSH;
		if (fused != OP_PUSH) {
			*code_at(g, g->n - 1) = (last & ~0xffu) | fused;
			return;
		}
	}
	emit_word(g, (uint32_t)arg << 8 | op);
}

static void push(struct gen *g)
{
	emit(g, OP_PUSH, 0);
	if (++g->depth > g->max)
		g->max = g->depth;
}

static void drop(struct gen *g, size_t n, bool tail)
{
	if (!tail && n > 0)
		emit(g, OP_DROP, n);
	g->depth -= n;
}

/* jump - an instruction whose target is here_from's place later. */
static size_t jump(struct gen *g, enum op op)
{
	emit(g, op, 0);
	return g->n - 1;
}

static void here_from(struct gen *g, size_t at)
{
	*code_at(g, at) |= (uint32_t)(g->n - at - 1) << 8;
	g->label = g->n;
}

static size_t constant(struct gen *g, value v)
{
	size_t i = g->nconstants;
	for (value c = g->constants; c != V_NIL; c = cdr(c)) {
		i--;
		if (car(c) == v)
			return i;
	}
	g->constants = cons(v, g->constants);
	return g->nconstants++;
}

/* ── variables ── */

static size_t position(value v, value list)
{
	size_t i = 0;
	for (; car(list) != v; list = cdr(list))
		i++;
	return i;
}

/* load - what the variable's place holds: its value, or its box. */
static void load(struct gen *g, value var)
{
	if (variable_of(var)->owner == (value)g->lambda)
		emit(g, OP_LOCAL, (size_t)fixnum_of(variable_of(var)->slot));
	else
		emit(g, OP_FREE, position(var, g->lambda->free));
}

static void gen_variable(struct gen *g, value var)
{
	if (variable_of(var)->assigned == V_FALSE) {
		load(g, var);
	} else {
		bool local = variable_of(var)->owner == (value)g->lambda;
		emit(g, local ? OP_LOCAL_BOX : OP_FREE_BOX,
		     local ? (size_t)fixnum_of(variable_of(var)->slot) : position(var, g->lambda->free));
	}
}

static void gen_set(struct gen *g, value var)
{
	bool local = variable_of(var)->owner == (value)g->lambda;
	emit(g, local ? OP_SET_LOCAL_BOX : OP_SET_FREE_BOX,
	     local ? (size_t)fixnum_of(variable_of(var)->slot) : position(var, g->lambda->free));
}

/* place - the variable lives in the slot that is pushed next. */
static void place(struct gen *g, value var)
{
	set_slot(&variable_of(var)->slot, fixnum((intptr_t)g->depth));
}

static size_t slot_of_variable(value var)
{
	return (size_t)fixnum_of(variable_of(var)->slot);
}

static bool is_assigned(value var)
{
	return variable_of(var)->assigned != V_FALSE;
}

/* ── procedures ── */

static void gen_lambda(struct gen *g, value lambda)
{
	size_t depth = g->depth;
	for (value f = lambda_of(lambda)->free; f != V_NIL; f = cdr(f)) {
		load(g, car(f));
		push(g);
	}
	emit(g, OP_CLOSURE, constant(g, generate(lambda)));
	g->depth = depth;
}

static void gen_let(struct gen *g, const struct node *n, bool tail)
{
	size_t count = 0;
	value inits = n->part[1];
	for (value v = n->part[0]; v != V_NIL; v = cdr(v), inits = cdr(inits), count++) {
		gen(g, car(inits), false);
		if (is_assigned(car(v)))
			emit(g, OP_BOX, 0);
		place(g, car(v));
		push(g);
	}
	gen(g, n->part[2], tail);
	drop(g, count, tail);
}

/* patch - acc is the closure of variable var, made just now: those made before it in the run of lambdas
 * that begins at vars, and itself, learn of it. */
static void patch(struct gen *g, value var, value vars, value inits)
{
	for (;; vars = cdr(vars), inits = cdr(inits)) {
		value free = lambda_of(node_of(car(inits))->part[0])->free;
		if (memq(var, free))
			emit(g, OP_PATCH, slot_of_variable(car(vars)) << 12 | position(var, free));
		if (car(vars) == var)
			return;
	}
}

static void gen_letrec(struct gen *g, const struct node *n, bool tail)
{
	size_t count = 0;
	for (value v = n->part[0]; v != V_NIL; v = cdr(v), count++) {
		place(g, car(v));
		emit(g, OP_CONST, constant(g, V_UNDEFINED));
		if (is_assigned(car(v)))
			emit(g, OP_BOX, 0);
		push(g);
	}
	if (g->depth >= 1 << 12)
		fail("a procedure that is too large", 0);
	value run = 0, run_inits = 0, inits = n->part[1];
	for (value v = n->part[0]; v != V_NIL; v = cdr(v), inits = cdr(inits)) {
		bool is_lambda = op_of(car(inits)) == NODE_LAMBDA;
		gen(g, car(inits), false);
		if (!is_lambda)
			run = 0;
		else if (run == 0)
			run = v, run_inits = inits;
		if (is_assigned(car(v)))
			gen_set(g, car(v));
		else
			emit(g, OP_SET_LOCAL, slot_of_variable(car(v)));
		if (is_lambda && !is_assigned(car(v)))
			patch(g, car(v), run, run_inits);
	}
	gen(g, n->part[2], tail);
	drop(g, count, tail);
}

static void gen_loop(struct gen *g, const struct node *n, bool tail)
{
	struct loop *loop = loop_of(n->part[0]);
	size_t count = 0;
	loop->depth = fixnum((intptr_t)g->depth);
	value inits = n->part[1];
	for (value v = loop->variables; v != V_NIL; v = cdr(v), inits = cdr(inits), count++)
		gen(g, car(inits), false), place(g, car(v)), push(g);
	g->label = g->n;
	loop->label = fixnum((intptr_t)g->n);
	for (value v = loop->variables; v != V_NIL; v = cdr(v))
		if (is_assigned(car(v)))
			emit(g, OP_BOX_LOCAL, slot_of_variable(car(v)));
	gen(g, n->part[2], tail);
	drop(g, count, tail);
}

static void gen_again(struct gen *g, const struct node *n)
{
	struct loop *loop = loop_of(n->part[0]);
	size_t depth = g->depth, count = 0;
	for (value a = n->part[1]; a != V_NIL; a = cdr(a), count++)
		gen(g, car(a), false), push(g);
	if (fixnum_of(loop->depth) >= 1 << 12 || count >= 1 << 12)
		fail("a procedure that is too large", 0);
	emit(g, OP_LOOP, (size_t)fixnum_of(loop->depth) << 12 | count);
	emit_word(g, (uint32_t)(fixnum_of(loop->label) - (intptr_t)g->n - 1) << 8 | OP_JUMP);
	g->depth = depth;
}

/* ── calls ── */

/* inline_op - the instruction for a call of that primitive with that many arguments, or 0. */
static enum op inline_op(value callee, size_t n)
{
	value f = 0;
	if (op_of(callee) == NODE_CONST)
		f = node_of(callee)->part[0];
	else if (op_of(callee) == NODE_GLOBAL && symbol_of(node_of(callee)->part[0])->constant != V_FALSE)
		f = symbol_of(node_of(callee)->part[0])->global;
	if (f == 0 || !is_kind(f, KIND_PRIMITIVE))
		return 0;
	const struct prim_info *info = ((struct primitive *)f)->info;
	static const uint8_t operands[NOPS] = {
		[OP_CAR] = 1,     [OP_CDR] = 1,  [OP_IS_NULL] = 1, [OP_IS_PAIR] = 1,   [OP_NOT] = 1,
		[OP_IS_ZERO] = 1, [OP_CADR] = 1, [OP_CDDR] = 1,    [OP_VECTOR_SET] = 3
	};
	size_t wants = operands[info->op] != 0 ? operands[info->op] : 2;
	return info->op != 0 && n == wants ? (enum op)info->op : 0;
}

static bool small_constant(value node, intptr_t *number)
{
	if (op_of(node) != NODE_CONST || !is_fixnum(node_of(node)->part[0]))
		return false;
	*number = fixnum_of(node_of(node)->part[0]);
	return *number > -(1 << 22) && *number < 1 << 22;
}

/* gen_immediate - x + k, x - k, x < k, x = k with a small k in the instruction itself. */
static bool gen_immediate(struct gen *g, enum op op, value a, value b)
{
	intptr_t k;
	enum op with = op == OP_ADD || op == OP_SUB ? OP_ADD_CONST
		       : op == OP_LESS              ? OP_LESS_CONST
		       : op == OP_NUM_EQUAL         ? OP_EQUAL_CONST
						    : NOPS;
	if (with == NOPS || !small_constant(b, &k))
		return false;
	gen(g, a, false);
	emit_word(g, (uint32_t)(op == OP_SUB ? -k : k) << 8 | with);
	return true;
}

static bool gen_inline(struct gen *g, const struct node *n)
{
	size_t count = list_length(n->part[1]), depth = g->depth;
	enum op op = inline_op(n->part[0], count);
	if (op == 0)
		return false;
	value a = n->part[1];
	if (count == 2 && gen_immediate(g, op, car(a), car(cdr(a))))
		return true;
	for (; cdr(a) != V_NIL; a = cdr(a))
		gen(g, car(a), false), push(g);
	gen(g, car(a), false);
	emit(g, op, 0);
	g->depth = depth;
	return true;
}

static void gen_call(struct gen *g, const struct node *n, bool tail)
{
	if (gen_inline(g, n)) {
		if (tail)
			emit(g, OP_RETURN, 0);
		return;
	}
	size_t depth = g->depth, count = 0, frame = 0;
	if (!tail) {
		frame = jump(g, OP_FRAME);
		g->depth += FRAME_WORDS;
	}
	for (value a = n->part[1]; a != V_NIL; a = cdr(a), count++)
		gen(g, car(a), false), push(g);
	if (g->depth > g->max)
		g->max = g->depth;
	gen(g, n->part[0], false);
	emit(g, tail ? OP_TAIL_CALL : OP_CALL, count);
	if (!tail)
		here_from(g, frame);
	g->depth = depth;
}

static void gen_if(struct gen *g, const struct node *n, bool tail)
{
	value test = n->part[0];
	enum op op = OP_JUMP_IF_FALSE;
	while (op_of(test) == NODE_CALL && inline_op(node_of(test)->part[0], 1) == OP_NOT &&
	       list_length(node_of(test)->part[1]) == 1) {
		test = car(node_of(test)->part[1]);
		op = op == OP_JUMP_IF_FALSE ? OP_JUMP_IF_TRUE : OP_JUMP_IF_FALSE;
	}
	gen(g, test, false);
	size_t to_else = jump(g, op);
	gen(g, n->part[1], tail);
	size_t to_end = tail ? 0 : jump(g, OP_JUMP);
	here_from(g, to_else);
	gen(g, n->part[2], tail);
	if (!tail)
		here_from(g, to_end);
}

static void gen_sequence(struct gen *g, value nodes, bool tail)
{
	for (; cdr(nodes) != V_NIL; nodes = cdr(nodes))
		gen(g, car(nodes), false);
	gen(g, car(nodes), tail);
}

/* gen_value - the nodes that leave a value and know nothing of tails. */
static void gen_value(struct gen *g, const struct node *n)
{
	switch ((enum node_op)fixnum_of(n->op)) {
	case NODE_CONST:
		emit(g, OP_CONST, constant(g, n->part[0]));
		break;
	case NODE_LOCAL:
		gen_variable(g, n->part[0]);
		break;
	case NODE_GLOBAL:
		emit(g, OP_GLOBAL, constant(g, n->part[0]));
		break;
	case NODE_SET_LOCAL:
		gen(g, n->part[1], false);
		gen_set(g, n->part[0]);
		break;
	case NODE_SET_GLOBAL:
		gen(g, n->part[1], false);
		emit(g, OP_SET_GLOBAL, constant(g, n->part[0]));
		break;
	case NODE_DEFINE:
		gen(g, n->part[1], false);
		emit(g, OP_DEFINE, constant(g, n->part[0]));
		break;
	default: /* NODE_LAMBDA */
		gen_lambda(g, n->part[0]);
	}
}

static void gen(struct gen *g, value node, bool tail)
{
	const struct node *n = node_of(node);
	switch (op_of(node)) {
	case NODE_IF:
		gen_if(g, n, tail);
		return;
	case NODE_SEQUENCE:
		gen_sequence(g, n->part[0], tail);
		return;
	case NODE_CALL:
		gen_call(g, n, tail);
		return;
	case NODE_LET:
		gen_let(g, n, tail);
		return;
	case NODE_LETREC:
		gen_letrec(g, n, tail);
		return;
	case NODE_LOOP:
		gen_loop(g, n, tail);
		return;
	case NODE_AGAIN:
		gen_again(g, n);
		return;
	default:
		gen_value(g, n);
		if (tail)
			emit(g, OP_RETURN, 0);
	}
}

/* finish - the code object. */
static value finish(struct gen *g)
{
	struct code *code = (struct code *)object_new(KIND_CODE, 7);
	value constants = make_vector(g->nconstants, 0);
	size_t i = g->nconstants;
	for (value c = g->constants; c != V_NIL; c = cdr(c))
		object_of(constants)->slot[--i] = car(c);
	value bytes = make_bytes(g->n * sizeof(uint32_t), 0);
	memcpy(((struct bytes *)bytes)->byte, code_at(g, 0), g->n * sizeof(uint32_t));
	size_t nparameters = list_length(g->lambda->parameters);
	code->instructions = bytes;
	code->constants = constants;
	code->name = g->lambda->name;
	code->has_rest = g->lambda->has_rest;
	code->nrequired = fixnum((intptr_t)nparameters - fixnum_of(code->has_rest));
	code->max_words = fixnum((intptr_t)(g->max + SLACK_WORDS));
	code->nfree = fixnum((intptr_t)list_length(g->lambda->free));
	return (value)code;
}

value generate(value lambda)
{
	struct gen g = { .lambda = lambda_of(lambda), .buffer = make_bytes(64, 0), .constants = V_NIL };
	for (value p = g.lambda->parameters; p != V_NIL; p = cdr(p)) {
		place(&g, car(p));
		if (is_assigned(car(p)))
			emit(&g, OP_BOX_LOCAL, g.depth);
		g.max = ++g.depth;
	}
	gen(&g, g.lambda->body, true);
	return finish(&g);
}

value compile(value form)
{
	return make_closure(generate(analyze_top(form)), 0);
}
