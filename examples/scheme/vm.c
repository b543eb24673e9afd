/* vm.c - the machine's loop, its stack, and how a stack becomes a continuation. See vm.h.
 * INV  a frame's words below sp are values or addresses of instructions, so that a part of the stack can
 *      be copied to the heap and back as it is: distances in it are relative. */
#include "vm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

_Thread_local struct vm *vm_self;
const struct prim_info *inlined[NOPS];

/* The lowest frame returns to this procedure's only instruction, UNDERFLOW. */
static value bottom;

static inline struct code *code_of(value closure)
{
	return (struct code *)((struct closure *)closure)->code;
}

static inline const uint32_t *entry_of(const struct code *code)
{
	return (const uint32_t *)(code->instructions + sizeof(value));
}

static void make_bottom(void)
{
	struct bytes *b = (struct bytes *)make_bytes(sizeof(uint32_t), 0);
	*(uint32_t *)(void *)b->byte = OP_UNDERFLOW;
	struct code *code = (struct code *)object_new(KIND_CODE, 7);
	code->instructions = (value)b;
	code->constants = make_vector(0, 0);
	code->nrequired = code->has_rest = code->nfree = fixnum(0);
	code->max_words = fixnum(SLACK_WORDS);
	if (mgc_root_add(&bottom, sizeof bottom, 0) != 0)
		abort();
	set_slot(&bottom, make_closure((value)code, 0));
}

struct vm *vm_new(void)
{
	if (bottom == 0)
		make_bottom();
	/* fresh pages: only what is used of the stack becomes resident */
	struct vm *vm =
		mmap(NULL, sizeof *vm, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm == MAP_FAILED)
		return NULL;
	vm->top = vm->stack;
	vm->limit = vm->stack + WORKING_WORDS;
	vm->r.winders = vm->r.handlers = vm->r.parameters = V_NIL;
	if (mgc_root_add_owned(&vm->r, sizeof *vm - offsetof(struct vm, r), (void **)&vm->top) != 0) {
		munmap(vm, sizeof *vm);
		return NULL;
	}
	vm_self = vm;
	return vm;
}

void vm_delete(struct vm *vm)
{
	mgc_root_remove(&vm->r);
	vm_self = NULL;
	munmap(vm, sizeof *vm);
}

void vm_interrupt(struct vm *vm)
{
	vm->limit = NULL;
}

/* ── the stack and continuations ── */

static value *push_bottom(struct vm *vm)
{
	vm->stack[0] = bottom;
	vm->stack[1] = (value)entry_of(code_of(bottom));
	vm->stack[2] = fixnum(0);
	return vm->stack + FRAME_WORDS;
}

/* capture - the frames below args as a continuation: a new object, so its words are stored plainly. */
static value capture(struct vm *vm, const value *args)
{
	size_t nwords = args == vm->stack + FRAME_WORDS ? 0 : (size_t)(args - vm->stack);
	value v = frames_new(KIND_CONTINUATION, 5 + nwords);
	struct continuation *k = (struct continuation *)v;
	k->next = vm->r.next;
	k->next_words = vm->r.next_words;
	k->winders = vm->r.winders;
	k->handlers = vm->r.handlers;
	k->parameters = vm->r.parameters;
	memcpy(k->word, vm->stack, nwords * sizeof(value));
	return v;
}

/* spill - moves all frames below the n words at args to the heap, and these down; where they are now. */
static value *spill(struct vm *vm, value *args, size_t n)
{
	if (args != vm->stack + FRAME_WORDS) {
		value k = capture(vm, args);
		vm->r.next = k;
		vm->r.next_words = fixnum(args - vm->stack);
	}
	value *to = push_bottom(vm);
	memmove(to, args, n * sizeof(value));
	return to;
}

value vm_capture(struct vm *vm)
{
	value k = capture(vm, vm->argv);
	size_t n = (size_t)(vm->sp - vm->argv);
	if (vm->argv != vm->stack + FRAME_WORDS) {
		vm->r.next = k;
		vm->r.next_words = fixnum(vm->argv - vm->stack);
	}
	value *to = push_bottom(vm);
	memmove(to, vm->argv, n * sizeof(value));
	vm->argv = vm->fp = to;
	vm->sp = to + n;
	return k;
}

void vm_drop_frames(struct vm *vm)
{
	vm->r.next = 0;
	vm->argv = vm->fp = vm->sp = push_bottom(vm);
}

/* refill - the stack is empty: the next frames come back from the heap; as many as make 4 KiB, because
 * more will follow soon. The new sp, behind the words that a return pops; NULL: there is none. */
static value *refill(struct vm *vm)
{
	size_t n = vm->r.next != 0 ? (size_t)fixnum_of(vm->r.next_words) : 0;
	if (n == 0)
		return NULL;
	struct continuation *k = (struct continuation *)vm->r.next;
	size_t from = n;
	do {
		size_t frame = from - FRAME_WORDS;
		from = frame - (size_t)fixnum_of(k->word[frame + 2]);
	} while (from > FRAME_WORDS && n - from < 512);
	value *to = push_bottom(vm);
	vm->top = to + (n - from) + SLACK_WORDS;
	memcpy(to, k->word + from, (n - from) * sizeof(value));
	if (from > FRAME_WORDS) {
		vm->r.next_words = fixnum((intptr_t)from);
	} else {
		vm->r.next = k->next;
		vm->r.next_words = k->next_words;
	}
	return to + (n - from);
}

/* forget - the words that frames used up to now, so that none of them keeps anything alive. */
static void forget(struct vm *vm, value *to)
{
	memset(vm->stack, 0, (size_t)((char *)to - (char *)vm->stack));
}

/* resume - the continuation's frames replace all there are; its argument is returned to them. */
static value resume(struct vm *vm, value v, int n, value *a)
{
	struct continuation *k = (struct continuation *)v;
	value result = a[0];
	if (n != 1) {
		result = object_new(KIND_VALUES, (size_t)n);
		memcpy(object_of(result)->slot, a, (size_t)n * sizeof(value));
	}
	if (k->winders != vm->r.winders) { /* the prelude leaves and enters what dynamic-wind guards */
		value args[2] = { v, result };
		return vm_tail_call(vm, root.rewind, 2, args);
	}
	size_t nwords = length_of(v) - 5;
	vm->r.handlers = k->handlers;
	vm->r.parameters = k->parameters;
	vm->r.next = nwords != 0 ? v : k->next;
	vm->r.next_words = nwords != 0 ? fixnum((intptr_t)nwords) : k->next_words;
	forget(vm, vm->top);
	vm->argv = push_bottom(vm);
	return result;
}

/* ── calls ── */

/* room - the primitive's arguments can become n: where they begin. */
static value *room(struct vm *vm, size_t n)
{
	const value *end = vm->stack + STACK_WORDS - SLACK_WORDS;
	if (vm->argv + n > end)
		vm_capture(vm);
	if (vm->argv + n > end)
		fail("too many arguments", fixnum((intptr_t)n));
	if (vm->top < vm->argv + n + SLACK_WORDS)
		vm->top = vm->argv + n + SLACK_WORDS; /* before they are stored */
	return vm->argv;
}

value vm_tail_call(struct vm *vm, value f, int n, const value *args)
{
	vm->r.tail = f;
	memmove(room(vm, (size_t)n), args, (size_t)n * sizeof(value));
	vm->tail_n = n;
	return V_TAIL_CALL;
}

value vm_tail_list(struct vm *vm, value f, int n, const value *args, value list)
{
	size_t more = list_length(list);
	if (more > STACK_WORDS)
		fail("not a list, or too long", list);
	vm->r.tail = f;
	value *a = room(vm, (size_t)n + more);
	memmove(a, args, (size_t)n * sizeof(value));
	for (a += n; list != V_NIL; list = cdr(list))
		*a++ = car(list);
	vm->tail_n = n + (int)more;
	return V_TAIL_CALL;
}

static void check_count(int n, int min, int max, value callee)
{
	if (n < min)
		fail("too few arguments", list_n(2, callee, fixnum(n)));
	if (max >= 0 && n > max)
		fail("too many arguments", list_n(2, callee, fixnum(n)));
}

static value call_primitive(struct vm *vm, value f, int n)
{
	const struct prim_info *info = ((struct primitive *)f)->info;
	vm->r.self = f;
	if (n < info->min || (info->max >= 0 && n > info->max))
		check_count(n, info->min, info->max, f);
	return info->fn(vm, n, vm->argv);
}

value parameter_value(const struct vm *vm, value parameter)
{
	for (value p = vm->r.parameters; p != V_NIL; p = cdr(p))
		if (car(car(p)) == parameter)
			return slot_of(cdr(car(p)), 0);
	return slot_of(parameter, 0);
}

/* call_other - anything but a closure. */
static value call_other(struct vm *vm, value f, int n)
{
	if (is_kind(f, KIND_PRIMITIVE))
		return call_primitive(vm, f, n);
	vm->r.self = 0;
	vm->inlined = NULL;
	if (is_kind(f, KIND_CONTINUATION))
		return resume(vm, f, n, vm->argv);
	if (!is_kind(f, KIND_PARAMETER))
		fail("not a procedure", f);
	check_count(n, 0, 0, f);
	return parameter_value(vm, f);
}

/* take_arguments - the n arguments below sp become those that the code names; the new sp. */
static value *take_arguments(struct vm *vm, const struct code *code, value callee, int n, value *sp)
{
	int required = (int)fixnum_of(code->nrequired);
	vm->r.self = 0;
	vm->inlined = NULL;
	check_count(n, required, code->has_rest == fixnum(0) ? required : -1, callee);
	if (code->has_rest == fixnum(0))
		return sp;
	value rest = V_NIL;
	for (; n > required; n--)
		rest = cons(*--sp, rest);
	*sp++ = rest;
	return sp;
}

/* make_room - the frame of n words does not fit the working part: to the heap with the ones below. */
static value *make_room(struct vm *vm, value *fp, size_t n, size_t max_words)
{
	if (vm->limit == NULL) {
		vm->limit = vm->stack + WORKING_WORDS;
		vm->r.self = 0;
		vm->inlined = NULL;
		fail("interrupted", 0);
	}
	fp = spill(vm, fp, n);
	if (fp + max_words > vm->stack + STACK_WORDS)
		fail("a frame that is too large", 0);
	return fp;
}

static value close_over(value code, const value *free)
{
	size_t n = (size_t)fixnum_of(((struct code *)code)->nfree);
	value v = make_closure(code, n);
	memcpy(((struct closure *)v)->free, free, n * sizeof(value));
	return v;
}

static value global_value(value sym)
{
	value v = symbol_of(sym)->global;
	if (v == V_UNDEFINED) {
		vm_self->r.self = 0;
		vm_self->inlined = NULL;
		fail("undefined variable", sym);
	}
	return v;
}

static void set_global(value sym, value v, bool define)
{
	struct symbol *s = symbol_of(sym);
	if (!define)
		global_value(sym);
	if (s->constant != V_FALSE)
		set_slot(&s->constant, V_FALSE);
	if (define && s->syntax != 0)
		set_slot(&s->syntax, 0);
	set_slot(&s->global, v);
}

/* ── the loop ── */

#define BOTH_FIXNUMS(a, b) ((a) & (b) & TAG_FIXNUM)
/* Where C code may look at the machine, or fail. */
#define SAVE() (vm->sp = sp, vm->fp = fp)
#define COMPARE(op) \
	if (!BOTH_FIXNUMS(sp[-1], acc)) \
		goto two; \
	sp--; \
	acc = boolean((intptr_t)*sp op(intptr_t) acc); \
	break
#define ARITHMETIC(builtin, a, b, add) \
	if (!BOTH_FIXNUMS(sp[-1], acc) || builtin((intptr_t)(a), (intptr_t)(b), &number)) \
		goto two; \
	sp--; \
	acc = (value)number + (add); \
	break

/* loop - begins with the tail call that vm->argv, tail_n and r.tail describe; ends when the last frame is
 * returned to. Longer than a function should be, but a switch of short cases is read case by case. */
static value loop(struct vm *vm)
{
	value acc = vm->r.tail, closure = 0;
	value *fp = vm->argv, *sp = fp + vm->tail_n;
	const uint32_t *pc = NULL;
	const value *consts = NULL;
	int n = vm->tail_n;
	intptr_t number;
	goto apply;

	for (;;) {
		const uint32_t word = *pc++, arg = word >> 8;
		switch ((enum op)(word & 0xff)) {
		case OP_CONST:
			acc = consts[arg];
			break;
		case OP_LOCAL:
			acc = fp[arg];
			break;
		case OP_FREE:
			acc = ((struct closure *)closure)->free[arg];
			break;
		case OP_GLOBAL:
			acc = symbol_of(consts[arg])->global;
			if (acc == V_UNDEFINED) {
				SAVE();
				global_value(consts[arg]);
			}
			break;
		case OP_LOCAL_BOX:
			acc = slot_of(fp[arg], 0);
			if (acc == V_UNDEFINED)
				goto undefined;
			break;
		case OP_FREE_BOX:
			acc = slot_of(((struct closure *)closure)->free[arg], 0);
			if (acc == V_UNDEFINED)
				goto undefined;
			break;
		case OP_PUSH:
			*sp++ = acc;
			break;
		case OP_PUSH_CONST:
			*sp++ = consts[arg];
			break;
		case OP_PUSH_LOCAL:
			*sp++ = fp[arg];
			break;
		case OP_PUSH_FREE:
			*sp++ = ((struct closure *)closure)->free[arg];
			break;
		case OP_SET_LOCAL:
			fp[arg] = acc;
			break;
		case OP_SET_LOCAL_BOX:
			set_slot(&object_of(fp[arg])->slot[0], acc);
			acc = V_UNSPECIFIED;
			break;
		case OP_SET_FREE_BOX:
			set_slot(&object_of(((struct closure *)closure)->free[arg])->slot[0], acc);
			acc = V_UNSPECIFIED;
			break;
		case OP_SET_GLOBAL:
		case OP_DEFINE:
			SAVE();
			set_global(consts[arg], acc, (word & 0xff) == OP_DEFINE);
			acc = V_UNSPECIFIED;
			break;
		case OP_BOX:
			SAVE();
			acc = make_box(acc);
			break;
		case OP_BOX_LOCAL:
			SAVE();
			fp[arg] = make_box(fp[arg]);
			break;
		case OP_DROP:
			sp -= arg;
			break;
		case OP_JUMP:
			pc += (int32_t)word >> 8;
			break;
		case OP_JUMP_IF_FALSE:
			if (acc == V_FALSE)
				pc += (int32_t)word >> 8;
			break;
		case OP_JUMP_IF_TRUE:
			if (acc != V_FALSE)
				pc += (int32_t)word >> 8;
			break;
		case OP_LOOP: {
			size_t count = arg & 0xfff;
			value *to = fp + (arg >> 12);
			for (size_t i = 0; i < count; i++)
				to[i] = sp[(ptrdiff_t)(i - count)];
			sp = to + count;
			if (vm->limit == NULL) {
				SAVE();
				make_room(vm, fp, 0, 0);
			}
			break;
		}
		case OP_FRAME:
			sp[0] = closure;
			sp[1] = (value)(pc + arg);
			sp[2] = fixnum(sp - fp);
			sp += FRAME_WORDS;
			break;
		case OP_CALL:
			n = (int)arg;
			if (!is_kind(acc, KIND_PRIMITIVE))
				goto apply;
			SAVE();
			vm->argv = sp - n;
			acc = call_primitive(vm, acc, n);
			if (acc == V_TAIL_CALL)
				goto tail;
			sp -= n + FRAME_WORDS;
			break;
		case OP_TAIL_CALL:
			n = (int)arg;
			for (int i = 0; i < n; i++)
				fp[i] = sp[i - n];
			sp = fp + n;
			goto apply;
		case OP_RETURN:
			sp = fp;
			goto leave;
		case OP_CLOSURE:
			SAVE();
			sp -= fixnum_of(((struct code *)consts[arg])->nfree);
			acc = close_over(consts[arg], sp);
			break;
		case OP_PATCH: { /* a closure that nobody else can reach yet: a plain store */
			value target = fp[arg >> 12];
			if (is_kind(target, KIND_BOX))
				target = slot_of(target, 0);
			((struct closure *)target)->free[arg & 0xfff] = acc;
			break;
		}
		case OP_UNDERFLOW:
			sp = refill(vm);
			if (sp == NULL)
				return acc;
			goto leave;
		case OP_ADD_CONST:
			number = (intptr_t)((int32_t)word >> 8) * 2;
			if (is_fixnum(acc) && !__builtin_add_overflow((intptr_t)acc, number, &number)) {
				acc = (value)number;
				break;
			}
			*sp++ = acc;
			acc = fixnum((int32_t)word >> 8);
			goto two;
		case OP_LESS_CONST:
		case OP_EQUAL_CONST:
			number = (intptr_t)fixnum((int32_t)word >> 8);
			if (is_fixnum(acc)) {
				acc = boolean((word & 0xff) == OP_LESS_CONST ? (intptr_t)acc < number
									     : (intptr_t)acc == number);
				break;
			}
			*sp++ = acc;
			acc = (value)number;
			goto two;
		case OP_CAR:
			if (!is_pair(acc))
				goto one;
			acc = car(acc);
			break;
		case OP_CDR:
			if (!is_pair(acc))
				goto one;
			acc = cdr(acc);
			break;
		case OP_CADR:
			if (!is_pair(acc) || !is_pair(cdr(acc)))
				goto one;
			acc = car(cdr(acc));
			break;
		case OP_CDDR:
			if (!is_pair(acc) || !is_pair(cdr(acc)))
				goto one;
			acc = cdr(cdr(acc));
			break;
		case OP_CONS:
			SAVE();
			acc = cons(sp[-1], acc);
			sp--;
			break;
		case OP_SET_CAR:
			if (!is_pair(sp[-1]))
				goto two;
			set_slot(&pair_of(*--sp)->car, acc);
			acc = V_UNSPECIFIED;
			break;
		case OP_SET_CDR:
			if (!is_pair(sp[-1]))
				goto two;
			set_slot(&pair_of(*--sp)->cdr, acc);
			acc = V_UNSPECIFIED;
			break;
		case OP_IS_NULL:
			acc = boolean(acc == V_NIL);
			break;
		case OP_IS_PAIR:
			acc = boolean(is_pair(acc));
			break;
		case OP_NOT:
			acc = boolean(acc == V_FALSE);
			break;
		case OP_IS_EQ:
			acc = boolean(*--sp == acc);
			break;
		case OP_IS_ZERO:
			if (!is_fixnum(acc))
				goto one;
			acc = boolean(acc == fixnum(0));
			break;
		case OP_ADD:
			ARITHMETIC(__builtin_add_overflow, sp[-1] - 1, acc, 0);
		case OP_SUB:
			ARITHMETIC(__builtin_sub_overflow, sp[-1], acc - 1, 0);
		case OP_MUL:
			ARITHMETIC(__builtin_mul_overflow, sp[-1] - 1, fixnum_of(acc), 1);
		case OP_QUOTIENT:
			if (!BOTH_FIXNUMS(sp[-1], acc) || acc == fixnum(0) || acc == fixnum(-1))
				goto two;
			sp--;
			acc = fixnum(fixnum_of(*sp) / fixnum_of(acc));
			break;
		case OP_REMAINDER:
			if (!BOTH_FIXNUMS(sp[-1], acc) || acc == fixnum(0) || acc == fixnum(-1))
				goto two;
			sp--;
			acc = fixnum(fixnum_of(*sp) % fixnum_of(acc));
			break;
		case OP_NUM_EQUAL:
			COMPARE(==);
		case OP_LESS:
			COMPARE(<);
		case OP_GREATER:
			COMPARE(>);
		case OP_LESS_EQUAL:
			COMPARE(<=);
		case OP_GREATER_EQUAL:
			COMPARE(>=);
		case OP_CHAR_EQUAL:
			if (!is_char(acc) || !is_char(sp[-1]))
				goto two;
			acc = boolean(*--sp == acc);
			break;
		case OP_STRING_REF:
			goto two;
		case OP_VECTOR_REF:
			if (!is_kind(sp[-1], KIND_VECTOR) || !is_fixnum(acc) ||
			    (size_t)fixnum_of(acc) >= length_of(sp[-1]))
				goto two;
			sp--;
			acc = slot_of(*sp, (size_t)fixnum_of(acc));
			break;
		case OP_VECTOR_SET:
			if (!is_kind(sp[-2], KIND_VECTOR) || !is_fixnum(sp[-1]) ||
			    (size_t)fixnum_of(sp[-1]) >= length_of(sp[-2]))
				goto three;
			sp -= 2;
			set_slot(&object_of(sp[0])->slot[fixnum_of(sp[1])], acc);
			acc = V_UNSPECIFIED;
			break;
		case NOPS:
			abort();
		undefined:
			SAVE();
			vm->r.self = 0;
			vm->inlined = NULL;
			fail("a variable is used before its definition", 0);
		/* The general way: the primitive itself, with its operands as arguments. */
		three:
			n = 3;
			goto primitive;
		two:
			n = 2;
			goto primitive;
		one:
			n = 1;
		primitive:
			*sp++ = acc;
			SAVE();
			sp -= n;
			vm->argv = sp;
			vm->r.self = 0;
			vm->inlined = inlined[word & 0xff];
			acc = vm->inlined->fn(vm, n, sp);
			break;
		}
		continue;

	apply: /* acc, with the n arguments below sp, below which stands where to go on */
		if (is_kind(acc, KIND_CLOSURE)) {
			const struct code *code = code_of(acc);
			closure = acc;
			fp = sp - n;
			if (fixnum(n) != code->nrequired || code->has_rest != fixnum(0)) {
				vm->argv = fp;
				SAVE();
				sp = take_arguments(vm, code, acc, n, sp);
			}
			size_t max_words = (size_t)fixnum_of(code->max_words);
			if (fp + max_words > vm->limit &&
			    (fp != vm->stack + FRAME_WORDS || vm->limit == NULL)) {
				SAVE();
				n = (int)(sp - fp);
				fp = make_room(vm, fp, (size_t)n, max_words);
				sp = fp + n;
			}
			vm->top = fp + max_words;
			pc = entry_of(code);
			consts = object_of(code->constants)->slot;
			continue;
		}
		SAVE();
		vm->argv = sp - n;
		acc = call_other(vm, acc, n);
		if (acc == V_TAIL_CALL) {
		tail:
			acc = vm->r.tail;
			n = vm->tail_n;
			sp = vm->argv + n;
			goto apply;
		}
		sp = vm->argv;
	leave: /* sp stands behind the three words of a frame */
		sp -= FRAME_WORDS;
		closure = sp[0];
		pc = (const uint32_t *)sp[1];
		fp = sp - fixnum_of(sp[2]);
		vm->top = fp + fixnum_of(code_of(closure)->max_words);
		consts = object_of(code_of(closure)->constants)->slot;
	}
}

/* raise_thrown - a condition came by throw_value: the prelude's raise is called with it, from where the
 * machine was. It does not come back. */
static void raise_thrown(struct vm *vm)
{
	value *sp = vm->sp;
	sp[0] = bottom; /* nobody returns there */
	sp[1] = (value)entry_of(code_of(bottom));
	sp[2] = fixnum(sp - vm->fp);
	sp[FRAME_WORDS] = vm->r.thrown;
	vm->r.thrown = 0;
	vm->argv = sp + FRAME_WORDS;
	vm->tail_n = 1;
	vm->r.tail = root.raise;
}

/* wipe_stack - C frames that were left by longjmp lie below: what they held would be taken for references by
 * later frames that do not fill all of their own words. */
static __attribute__((noinline)) void wipe_stack(void)
{
	char space[1 << 14];
	memset(space, 0, sizeof space);
	__asm__ volatile("" : : "r"(space) : "memory");
}

bool vm_run(struct vm *vm, value thunk, value *result)
{
	jmp_buf escape;
	forget(vm, vm->stack + WORKING_WORDS);
	vm->fp = vm->sp = vm->argv = push_bottom(vm);
	vm->r.next = 0;
	vm->r.next_words = fixnum(0);
	vm->tail_n = 0;
	vm->r.tail = thunk;
	vm->top = vm->stack + SLACK_WORDS;
	vm->failed = false;
	vm->escape = &escape;
	if (setjmp(escape) != 0) {
		wipe_stack();
		raise_thrown(vm);
	}
	*result = loop(vm);
	vm->escape = NULL;
	if (vm->failed)
		*result = vm->r.thrown;
	return !vm->failed;
}
