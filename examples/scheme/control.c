/* control.c - errors, continuations, values, parameters, records; and how primitives are defined. What
 * happens between these and a program's handlers is in the prelude. */
#include "scheme.h"

#include <stdio.h>
#include <string.h>

#include "vm.h"

/* ── errors ── */

enum { ERROR_TYPE, ERROR_MESSAGE, ERROR_IRRITANTS };

void throw_value(value condition)
{
	vm_self->r.thrown = condition;
	longjmp(*vm_self->escape, 1);
}

static const char *whose_fault(void)
{
	const struct prim_info *info =
		vm_self->r.self != 0 ? ((struct primitive *)vm_self->r.self)->info : vm_self->inlined;
	return info != NULL ? info->name : NULL;
}

void fail_as(const char *type, const char *message, value irritant)
{
	char text[160];
	const char *who = whose_fault();
	if (who != NULL)
		snprintf(text, sizeof text, "%s: %s", who, message);
	value irritants = irritant != 0 ? list_n(1, irritant) : V_NIL;
	throw_value(object_with(KIND_ERROR, 3, symbol(type),
				string_from(who != NULL ? text : message), irritants, 0));
}

void fail(const char *message, value irritant)
{
	fail_as("error", message, irritant);
}

value want(value v, enum kind kind, const char *what)
{
	char text[64];
	if (is_kind(v, kind))
		return v;
	snprintf(text, sizeof text, "not a %s", what);
	fail(text, v);
}

value want_pair(value v)
{
	if (!is_pair(v))
		fail("not a pair", v);
	return v;
}

size_t want_index(value v, size_t limit)
{
	if (!is_fixnum(v) || fixnum_of(v) < 0 || (size_t)fixnum_of(v) >= limit)
		fail("not an index in range", v);
	return (size_t)fixnum_of(v);
}

uint32_t want_char(value v)
{
	if (!is_char(v))
		fail("not a character", v);
	return char_of(v);
}

intptr_t want_fixnum(value v)
{
	if (!is_fixnum(v))
		fail("not a small integer", v);
	return fixnum_of(v);
}

void want_range(int n, const value *a, size_t length, size_t *start, size_t *end)
{
	*start = n > 0 ? want_index(a[0], length + 1) : 0;
	*end = n > 1 ? want_index(a[1], length + 1) : length;
	if (*start > *end)
		fail("a range that ends before it starts", a[0]);
}

RETURNS(p_make_error, object_with(KIND_ERROR, 3, a[0], a[1], a[2], 0)) /* type message irritants */
RETURNS(p_is_error, boolean(is_kind(a[0], KIND_ERROR)))
RETURNS(p_error_part, slot_of(want(a[0], KIND_ERROR, "error object"), want_index(a[1], 3)))

PRIMITIVE(p_uncaught) /* nobody handles it: the machine stops */
{
	vm->r.thrown = a[0];
	vm->failed = true;
	vm_drop_frames(vm);
	return vm_tail_call(vm, root.halt, 0, a);
}

RETURNS(p_halt, V_UNSPECIFIED) /* returns to no frame */

/* ── procedures and continuations ── */

PRIMITIVE(p_is_procedure)
{
	return boolean(is_kind(a[0], KIND_CLOSURE) || is_kind(a[0], KIND_PRIMITIVE) ||
		       is_kind(a[0], KIND_CONTINUATION) || is_kind(a[0], KIND_PARAMETER));
}

RETURNS(p_apply, vm_tail_list(vm, a[0], n - 2, a + 1, a[n - 1]))

PRIMITIVE(p_callcc)
{
	value f = a[0], k = vm_capture(vm);
	return vm_tail_call(vm, f, 1, &k);
}

/* %resume k result - as calling k, but dynamic-wind's thunks have run. */
PRIMITIVE(p_resume)
{
	vm->r.winders = ((struct continuation *)want(a[0], KIND_CONTINUATION, "continuation"))->winders;
	return vm_tail_call(vm, a[0], 1, a + 1);
}

PRIMITIVE(p_continuation_winders)
{
	return ((struct continuation *)want(a[0], KIND_CONTINUATION, "continuation"))->winders;
}

PRIMITIVE(p_values)
{
	if (n == 1)
		return a[0];
	value v = object_new(KIND_VALUES, (size_t)n);
	memcpy(object_of(v)->slot, a, (size_t)n * sizeof(value));
	return v;
}

PRIMITIVE(p_apply_values) /* consumer values */
{
	value v = a[1];
	if (is_kind(v, KIND_VALUES))
		return vm_tail_call(vm, a[0], (int)length_of(v), object_of(v)->slot);
	return vm_tail_call(vm, a[0], 1, &v);
}

RETURNS(p_eval, vm_tail_call(vm, compile(a[0]), 0, a))

#define REGISTER(name, set, reg) \
	PRIMITIVE(name) \
	{ \
		return vm->r.reg; \
	} \
	PRIMITIVE(set) \
	{ \
		vm->r.reg = a[0]; /* in the owned range: no barrier */ \
		return V_UNSPECIFIED; \
	}
REGISTER(p_winders, p_set_winders, winders)
REGISTER(p_handlers, p_set_handlers, handlers)
REGISTER(p_parameters, p_set_parameters, parameters)

/* ── parameters ── */

RETURNS(p_make_parameter, object_with(KIND_PARAMETER, 2, a[0], a[1], 0, 0)) /* value converter */
RETURNS(p_parameter_converter, slot_of(want(a[0], KIND_PARAMETER, "parameter"), 1))

PRIMITIVE(p_bind_parameter) /* parameter value rest: the list with one more */
{
	return cons(cons(want(a[0], KIND_PARAMETER, "parameter"), make_box(a[1])), a[2]);
}

value current_output(void)
{
	return parameter_value(vm_self, root.current_output);
}

value current_input(void)
{
	return parameter_value(vm_self, root.current_input);
}

/* ── records ── */

PRIMITIVE(p_make_record_type) /* name (field …) */
{
	return object_with(KIND_RECORD_TYPE, 2, a[0], a[1], 0, 0);
}

static size_t field_number(value type, value field)
{
	size_t i = 1;
	for (value f = slot_of(type, 1); is_pair(f); f = cdr(f), i++)
		if (car(f) == field)
			return i;
	fail("no such field", field);
}

static value *field_of(value record, value type, value number)
{
	if (!is_kind(record, KIND_RECORD) || slot_of(record, 0) != type)
		fail("not a record of its type", record);
	return &object_of(record)->slot[fixnum_of(number)];
}

static struct primitive *self_of(const struct vm *vm)
{
	return (struct primitive *)vm->r.self;
}

/* data[0] is the type, [1] a list of field numbers. */
PRIMITIVE(p_record_make)
{
	struct primitive *self = self_of(vm);
	value v = object_new(KIND_RECORD, 1 + list_length(slot_of(self->data[0], 1)));
	value f = self->data[1];
	object_of(v)->slot[0] = self->data[0];
	for (size_t i = 1; i < length_of(v); i++)
		object_of(v)->slot[i] = V_UNSPECIFIED;
	for (int i = 0; i < n && is_pair(f); i++, f = cdr(f))
		object_of(v)->slot[fixnum_of(car(f))] = a[i];
	if (is_pair(f) || n != (int)list_length(self->data[1]))
		fail("wrong number of fields", slot_of(self->data[0], 0));
	return v;
}

PRIMITIVE(p_record_is)
{
	return boolean(is_kind(a[0], KIND_RECORD) && slot_of(a[0], 0) == self_of(vm)->data[0]);
}

RETURNS(p_record_get, *field_of(a[0], self_of(vm)->data[0], self_of(vm)->data[1]))

PRIMITIVE(p_record_put)
{
	set_slot(field_of(a[0], self_of(vm)->data[0], self_of(vm)->data[1]), a[1]);
	return V_UNSPECIFIED;
}

static const struct prim_info record_make = { "record constructor", p_record_make, 0, -1, 0 };
static const struct prim_info record_is = { "record predicate", p_record_is, 1, 1, 0 };
static const struct prim_info record_get = { "record accessor", p_record_get, 1, 1, 0 };
static const struct prim_info record_put = { "record modifier", p_record_put, 2, 2, 0 };

static value want_type(value v)
{
	return want(v, KIND_RECORD_TYPE, "record type");
}

PRIMITIVE(p_record_constructor) /* type (field …) */
{
	value numbers = V_NIL;
	for (value f = a[1]; is_pair(f); f = cdr(f))
		numbers = cons(fixnum((intptr_t)field_number(want_type(a[0]), car(f))), numbers);
	return make_primitive(&record_make, want_type(a[0]), reverse(numbers));
}

RETURNS(p_record_predicate, make_primitive(&record_is, want_type(a[0]), V_NIL))

PRIMITIVE(p_record_accessor) /* type field */
{
	return make_primitive(&record_get, a[0], fixnum((intptr_t)field_number(want_type(a[0]), a[1])));
}

PRIMITIVE(p_record_modifier)
{
	return make_primitive(&record_put, a[0], fixnum((intptr_t)field_number(want_type(a[0]), a[1])));
}

/* ── definitions ── */

value make_primitive(const struct prim_info *info, value a, value b)
{
	struct primitive *p = (struct primitive *)object_new(KIND_PRIMITIVE, 3);
	p->info = info;
	p->data[0] = a;
	p->data[1] = b;
	return (value)p;
}

void define_global(const char *name, value v)
{
	set_slot(&symbol_of(symbol(name))->global, v);
}

void define_primitives(const struct prim_info *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		define_global(table[i].name, make_primitive(&table[i], V_FALSE, V_FALSE));
		set_slot(&symbol_of(symbol(table[i].name))->constant, V_TRUE);
		if (table[i].op != 0)
			inlined[table[i].op] = &table[i];
	}
}

static const struct prim_info control[] = {
	{ "%make-error", p_make_error, 3, 3, 0 },
	{ "error-object?", p_is_error, 1, 1, 0 },
	{ "%error-part", p_error_part, 2, 2, 0 },
	{ "%uncaught", p_uncaught, 1, 1, 0 },
	{ "procedure?", p_is_procedure, 1, 1, 0 },
	{ "apply", p_apply, 2, -1, 0 },
	{ "call/cc", p_callcc, 1, 1, 0 },
	{ "call-with-current-continuation", p_callcc, 1, 1, 0 },
	{ "%resume", p_resume, 2, 2, 0 },
	{ "%continuation-winders", p_continuation_winders, 1, 1, 0 },
	{ "values", p_values, 0, -1, 0 },
	{ "%apply-values", p_apply_values, 2, 2, 0 },
	{ "eval", p_eval, 1, 2, 0 },
	{ "%winders", p_winders, 0, 0, 0 },
	{ "%set-winders!", p_set_winders, 1, 1, 0 },
	{ "%handlers", p_handlers, 0, 0, 0 },
	{ "%set-handlers!", p_set_handlers, 1, 1, 0 },
	{ "%parameters", p_parameters, 0, 0, 0 },
	{ "%set-parameters!", p_set_parameters, 1, 1, 0 },
	{ "%make-parameter", p_make_parameter, 2, 2, 0 },
	{ "%parameter-converter", p_parameter_converter, 1, 1, 0 },
	{ "%bind-parameter", p_bind_parameter, 3, 3, 0 },
	{ "%make-record-type", p_make_record_type, 2, 2, 0 },
	{ "%record-constructor", p_record_constructor, 2, 2, 0 },
	{ "%record-predicate", p_record_predicate, 1, 1, 0 },
	{ "%record-accessor", p_record_accessor, 2, 2, 0 },
	{ "%record-modifier", p_record_modifier, 2, 2, 0 },
};

static value port_parameter(const char *name, value *slot, value port)
{
	value p = object_with(KIND_PARAMETER, 2, port, V_FALSE, 0, 0);
	set_slot(slot, p);
	define_global(name, p);
	return p;
}

void control_init(void)
{
	static const struct prim_info halt = { "%halt", p_halt, 0, 0, 0 };
	DEFINE_ALL(control);
	set_slot(&root.halt, make_primitive(&halt, V_FALSE, V_FALSE));
	port_parameter("current-output-port", &root.current_output, root.stdout_port);
	port_parameter("current-input-port", &root.current_input, root.stdin_port);
	port_parameter("current-error-port", &root.current_error, root.stderr_port);
}
