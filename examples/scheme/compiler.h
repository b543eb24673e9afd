/* compiler.h - what analyze.c hands to generate.c: a tree of nodes with resolved variables. All of it lies
 * in the heap; it is garbage as soon as the code is made. */
#ifndef SCHEME_COMPILER_H
#define SCHEME_COMPILER_H
#include "scheme.h"

/* What a node is: slot 0, a fixnum; its parts in the slots after it. */
enum node_op {
	NODE_CONST, /* value */
	NODE_LOCAL, /* variable */
	NODE_SET_LOCAL, /* variable, node */
	NODE_GLOBAL, /* symbol */
	NODE_SET_GLOBAL, /* symbol, node */
	NODE_DEFINE, /* symbol, node */
	NODE_IF, /* test, then, else */
	NODE_LAMBDA, /* lambda */
	NODE_SEQUENCE, /* list of nodes, one at least */
	NODE_CALL, /* node, list of nodes */
	NODE_LET, /* list of variables, list of nodes, body */
	NODE_LETREC, /* list of variables, list of nodes, body */
	NODE_LOOP, /* loop (below), list of nodes, body */
	NODE_AGAIN /* loop, list of nodes: its variables get these values, and it starts anew */
};

struct node {
	value header;
	value op;
	value part[3];
};

struct lambda {
	value header;
	value parent; /* lambda around it, 0 at the top */
	value parameters; /* list of variables, the rest parameter last */
	value has_rest; /* fixnum 0 or 1 */
	value free; /* list of variables of outer lambdas, in the order of their numbers */
	value body; /* node */
	value name; /* symbol or V_FALSE */
};

struct variable {
	value header;
	value name;
	value owner; /* lambda */
	value assigned; /* V_TRUE: it lives in a box */
	value referenced; /* V_TRUE: somebody meant it */
	value slot; /* fixnum, from fp; set by generate.c */
	value loop; /* the loop that it names while that is tried, or 0 */
};

/* A named let whose name is only called, in tail position, by its own body: no procedure is made. */
struct loop {
	value header;
	value variables;
	value lambda; /* it is part of */
	value failed; /* V_TRUE: the name was used otherwise */
	value depth, label; /* fixnums, while code is made */
};

static inline struct node *node_of(value v)
{
	return (struct node *)v;
}
static inline enum node_op op_of(value v)
{
	return (enum node_op)fixnum_of(node_of(v)->op);
}
static inline struct lambda *lambda_of(value v)
{
	return (struct lambda *)v;
}
static inline struct variable *variable_of(value v)
{
	return (struct variable *)v;
}
static inline struct loop *loop_of(value v)
{
	return (struct loop *)v;
}

#endif
