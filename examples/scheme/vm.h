/* vm.h - the machine: instructions, registers, the stack.
 *
 * WHAT   A stack machine with an accumulator. An instruction is 32 bits: the operation in the low 8, its
 *        operand above. Expressions leave their result in the accumulator; arguments and local variables
 *        lie on the stack.
 * FRAME  A call that is not in tail position first pushes where to go on: closure, address, and the
 *        distance to its own frame; then the arguments. The callee's frame begins with these arguments:
 *            … | closure  address  distance | argument 0 … n-1 | local variables, temporaries |
 *                                             ↑ fp                                            ↑ sp
 *        A return takes three words off; a tail call moves its arguments down to fp.
 * STACK  It is small. What does not fit is moved to the heap as a continuation object and its frames come
 *        back a few at a time, as they are returned to. So recursion is as deep as the heap is large, the
 *        collector's copy of the stack is at most WORKING_WORDS, and call/cc is nothing but the same move.
 * ROOTS  registers and stack are one owned range, [&r, top). `top` is set at entry and at return to the
 *        most that the procedure can use, not at each push: one store for a call. What lies stale
 *        between sp and top may keep garbage until the procedure returns. */
#ifndef SCHEME_VM_H
#define SCHEME_VM_H
#include "scheme.h"

enum {
	WORKING_WORDS = 1 << 14, /* 128 KiB: deeper frames go to the heap */
	STACK_WORDS = WORKING_WORDS + (1 << 17), /* room for an apply to a long list */
	SLACK_WORDS = 16, /* a procedure's frame may be this much larger than its code says */
	FRAME_WORDS = 3
};

/* Operand: k a constant's number, i a slot from fp, f a free variable, n a count, → an address. */
#define INSTRUCTIONS(X) \
	X(CONST) \
	X(LOCAL) \
	X(FREE) \
	X(GLOBAL) /* acc = k, i, f, value of symbol k */ \
	X(LOCAL_BOX) \
	X(FREE_BOX) /* the same, through a box */ \
	X(PUSH) \
	X(PUSH_CONST) \
	X(PUSH_LOCAL) \
	X(PUSH_FREE) /* push acc, k, i, f */ \
	X(SET_LOCAL) \
	X(SET_LOCAL_BOX) \
	X(SET_FREE_BOX) \
	X(SET_GLOBAL) \
	X(DEFINE) /* … = acc */ \
	X(BOX) \
	X(BOX_LOCAL) /* acc = a box of acc; i = a box of i */ \
	X(DROP) /* sp -= n */ \
	X(JUMP) \
	X(JUMP_IF_FALSE) \
	X(JUMP_IF_TRUE) /* → */ \
	X(LOOP) /* moves n (low 12 bits) words from the top to slot i (above), and drops the rest */ \
	X(FRAME) /* pushes where to go on: → */ \
	X(CALL) \
	X(TAIL_CALL) /* acc, with n arguments */ \
	X(RETURN) \
	X(CLOSURE) /* acc = closure of code k; pops its free variables */ \
	X(PATCH) /* in the closure in slot i (above), free variable f (low 12 bits) = acc */ \
	X(UNDERFLOW) /* behind the last frame on the stack */ \
	X(ADD_CONST) \
	X(LESS_CONST) \
	X(EQUAL_CONST) /* acc = acc op fixnum (signed 24 bits) */ \
	/* primitives: operands on the stack, the last one in acc */ \
	X(CAR) \
	X(CDR) \
	X(CONS) \
	X(SET_CAR) \
	X(SET_CDR) \
	X(IS_NULL) \
	X(IS_PAIR) \
	X(NOT) \
	X(IS_EQ) \
	X(ADD) \
	X(SUB) \
	X(MUL) \
	X(NUM_EQUAL) \
	X(LESS) \
	X(GREATER) \
	X(LESS_EQUAL) \
	X(GREATER_EQUAL) \
	X(IS_ZERO) \
	X(CADR) \
	X(CDDR) \
	X(VECTOR_REF) \
	X(VECTOR_SET) \
	X(QUOTIENT) \
	X(REMAINDER) \
	X(CHAR_EQUAL) \
	X(STRING_REF)

enum op {
#define X(name) OP_##name,
	INSTRUCTIONS(X)
#undef X
		NOPS
};

struct vm {
	value *top; /* read by the collector */
	/* as of the last call out of the loop */
	value *sp, *fp, *argv; /* argv: the arguments of the primitive that is called */
	const struct prim_info *inlined; /* the primitive behind an instruction, while r.self is 0 */
	int tail_n; /* arguments of a tail call that a primitive asks for */
	value *volatile limit; /* frames end below it; NULL: somebody pressed ^C */
	bool failed; /* the machine stops because nobody handled r.thrown */
	jmp_buf *escape; /* of the running vm_run */
	/* the owned range begins here */
	struct {
		value next, next_words; /* what lies under the stack: that many words of a continuation */
		value winders, handlers, parameters; /* the dynamic environment: lists */
		value self; /* the primitive that is called */
		value tail; /* what it asks the machine to call */
		value thrown;
		value thread; /* its SRFI-18 thread object, 0 in the first */
	} r;
	value stack[STACK_WORDS];
};

extern _Thread_local struct vm *vm_self;

/* vm_new - a machine for the calling thread; it stays registered until vm_delete or thread exit. */
struct vm *vm_new(void);
void vm_delete(struct vm *vm);
/* vm_run - calls the procedure without arguments. False: nobody handled the condition in *result. */
bool vm_run(struct vm *vm, value thunk, value *result);

/* For primitives. vm_tail_call: return this; the machine calls f with the n values at args next.
 * vm_tail_list: with the values at args, and those of a list behind them. */
value vm_tail_call(struct vm *vm, value f, int n, const value *args);
value vm_tail_list(struct vm *vm, value f, int n, const value *args, value list);
/* vm_capture - all frames below the arguments of the running primitive, as a continuation; they leave the
 * stack. The arguments move: vm->argv. */
value vm_capture(struct vm *vm);
/* vm_drop_frames - what the running primitive returns is returned to nobody: the machine stops. */
void vm_drop_frames(struct vm *vm);
/* parameter_value - of a parameter object: the innermost parameterize that is under way, or its own. */
value parameter_value(const struct vm *vm, value parameter);
/* vm_interrupt - from a signal handler: the machine fails soon. */
void vm_interrupt(struct vm *vm);

/* The primitive of each instruction that stands for one. */
extern const struct prim_info *inlined[NOPS];

#endif
