/* scheme.h - what every part of this Scheme knows: values, objects, the machine.
 *
 * WHAT   A value is one word. Its low bits say what it is, so that most questions need no memory:
 *            …1    a fixnum: 63 bits, shifted
 *            …010  a pair: two words without a header, 16 bytes
 *            …000  any other object: its first word is a header that says its kind and length
 *            …110  an immediate: #t, (), a character; and headers, which never are a value of the program
 *        So every word of a scanned object is a value, headers included. Nothing moves: an address is a
 *        hash code, and C code keeps values in plain local variables.
 * STORES An object that was just made is filled with plain stores: nobody else can see it. Every later
 *        store to a slot of an object or to a root is set_slot(), which is mgc_write(). The machine's
 *        stack is an owned range: plain stores, always.
 * ERRORS C code that meets a mistake of the program calls fail(), which does not return: it jumps to
 *        vm_run(), and that calls the program's handler. So no function here returns an error.
 * UNITS  Slots and words are 8 bytes; string lengths are characters. */
#ifndef SCHEME_H
#define SCHEME_H
#include <mallocgc-inline.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uintptr_t value;

/* ── words ──────────────────────────────────────────────────────────────────────────────── */

enum { TAG_OBJECT = 0, TAG_FIXNUM = 1, TAG_PAIR = 2, TAG_IMMEDIATE = 6, TAG_MASK = 7 };
enum { IMM_CONSTANT, IMM_CHAR, IMM_HEADER };
#define IMMEDIATE(sort, n) ((value)(n) << 8 | (value)(sort) << 3 | TAG_IMMEDIATE)

#define V_FALSE IMMEDIATE(IMM_CONSTANT, 0)
#define V_TRUE IMMEDIATE(IMM_CONSTANT, 1)
#define V_NIL IMMEDIATE(IMM_CONSTANT, 2)
#define V_UNSPECIFIED IMMEDIATE(IMM_CONSTANT, 3)
#define V_EOF IMMEDIATE(IMM_CONSTANT, 4)
#define V_UNDEFINED IMMEDIATE(IMM_CONSTANT, 5) /* a variable before its definition */
#define V_TAIL_CALL IMMEDIATE(IMM_CONSTANT, 6) /* a primitive asks the machine to go on: vm.h */

enum kind {
	KIND_STRING,
	KIND_CHARS, /* what a string's characters are kept in */
	KIND_BYTES, /* a bytevector */
	KIND_SYMBOL,
	KIND_VECTOR,
	KIND_FLONUM,
	KIND_BIGNUM,
	KIND_CLOSURE,
	KIND_CODE,
	KIND_PRIMITIVE,
	KIND_CONTINUATION,
	KIND_BOX, /* a variable that is assigned to */
	KIND_VALUES, /* several values at once */
	KIND_RECORD_TYPE,
	KIND_RECORD,
	KIND_ERROR,
	KIND_PARAMETER,
	KIND_TABLE, /* a hash table */
	KIND_PORT,
	KIND_THREAD,
	KIND_MUTEX,
	KIND_CONDVAR,
	KIND_WEAK,
	/* of the compiler */
	KIND_ALIAS,
	KIND_MACRO,
	KIND_SCOPE,
	KIND_VARIABLE,
	KIND_LAMBDA,
	KIND_NODE
};

static inline bool is_fixnum(value v)
{
	return v & TAG_FIXNUM;
}
static inline value fixnum(intptr_t n)
{
	return (value)n << 1 | TAG_FIXNUM;
}
static inline intptr_t fixnum_of(value v)
{
	return (intptr_t)v >> 1;
}
static inline bool is_char(value v)
{
	return (v & 0xff) == IMMEDIATE(IMM_CHAR, 0);
}
static inline value make_char(uint32_t c)
{
	return IMMEDIATE(IMM_CHAR, c);
}
static inline uint32_t char_of(value v)
{
	return (uint32_t)(v >> 8);
}
static inline value boolean(bool b)
{
	return b ? V_TRUE : V_FALSE;
}

/* ── objects ────────────────────────────────────────────────────────────────────────────── */

/* A header: length << 16 | kind << 8 | the tags of an immediate. */
static inline value make_header(enum kind kind, size_t length)
{
	return IMMEDIATE(IMM_HEADER, length << 8 | kind);
}

struct object {
	value header;
	value slot[];
};

struct pair {
	value car, cdr;
};

struct string {
	value header;
	value chars; /* may be exchanged for a wider one: string_set */
};

/* Length: characters × 2, + 1 when each takes four bytes instead of one. */
struct chars {
	value header;
	uint8_t bytes[];
};

struct bytes {
	value header;
	uint8_t byte[];
};

struct flonum {
	value header;
	double number;
};

/* Length: limbs × 2, + 1 when negative. The last limb is not 0, and the number is no fixnum. */
struct bignum {
	value header;
	uint32_t limb[];
};

struct symbol {
	value header;
	value name; /* bytes, UTF-8 */
	value global; /* the global variable of that name */
	value syntax; /* what it means to the compiler; 0: nothing */
	value constant; /* V_TRUE: the global is a primitive that nobody redefined */
};

struct closure {
	value header; /* length: 1 + free variables */
	value code;
	value free[];
};

struct code {
	value header;
	value instructions; /* bytes */
	value constants; /* vector */
	value name;
	value nrequired, has_rest, max_words, nfree; /* fixnums; has_rest 0 or 1 */
};

struct prim_info;
struct primitive {
	value header;
	const struct prim_info *info; /* outside of the heap: the collector passes over it */
	value data[2]; /* what a record's accessor knows */
};

/* Frames that were moved off the stack (vm.c). Never changed once it is made. */
struct continuation {
	value header; /* length: words */
	value next, next_words; /* where the last frame returns to: that many words of next */
	value winders, handlers, parameters;
	value word[];
};

/* vector, values, record (slot 0: its type), box, table …: their slots. */
static inline struct object *object_of(value v)
{
	return (struct object *)v;
}
static inline bool is_object(value v)
{
	return (v & TAG_MASK) == TAG_OBJECT && v != 0;
}
static inline enum kind kind_of(value v)
{
	return (enum kind)(object_of(v)->header >> 8 & 0xff);
}
static inline size_t length_of(value v)
{
	return object_of(v)->header >> 16;
}
static inline bool is_kind(value v, enum kind kind)
{
	return is_object(v) && kind_of(v) == kind;
}
static inline value slot_of(value v, size_t i)
{
	return object_of(v)->slot[i];
}
/* set_slot - *slot = v, where others may see the slot. */
static inline void set_slot(value *slot, value v)
{
	mgc_write(slot, (void *)v);
}

static inline bool is_pair(value v)
{
	return (v & TAG_MASK) == TAG_PAIR;
}
static inline struct pair *pair_of(value v)
{
	return (struct pair *)(v - TAG_PAIR);
}
static inline value car(value v)
{
	return pair_of(v)->car;
}
static inline value cdr(value v)
{
	return pair_of(v)->cdr;
}
static inline struct symbol *symbol_of(value v)
{
	return (struct symbol *)v;
}

/* ── heap.c: making objects ─────────────────────────────────────────────────────────────── */

/* What the interpreter itself refers to: the one registered root. */
extern struct roots {
	value symbols; /* vector of lists */
	value raise, rewind; /* procedures of the prelude that the machine calls */
	value halt; /* a primitive, called when all frames were dropped */
	value out_of_memory; /* a condition, made in time */
	value reserve; /* memory for whoever handles it, or 0 */
	value stdin_port, stdout_port, stderr_port;
	value current_output, current_input, current_error; /* parameters */
} root;

void heap_init(void);
_Noreturn void out_of_memory(void);
void heap_keep_reserve(void); /* makes the reserve, if it was used and there is room again */
/* object_new - all slots 0. frames_new: for words copied from the stack. object_with: two to four slots
 * given. */
value object_new(enum kind kind, size_t nslots);
value frames_new(enum kind kind, size_t nslots);
value object_with(enum kind kind, size_t nslots, value a, value b, value c, value d);
/* bytes_new - an object without references; its contents are 0. */
void *bytes_new(enum kind kind, size_t length, size_t nbytes);
value make_flonum_slow(double d);

extern struct mgc_type pair_type, flonum_type, closure_types[9];

static inline value cons(value a, value d)
{
	struct pair *p = mgc_new(&pair_type);
	if (p == NULL)
		out_of_memory();
	p->car = a; /* nobody else has it yet: plain stores */
	p->cdr = d;
	return (value)p + TAG_PAIR;
}
static inline value make_flonum(double d)
{
	struct flonum *f = mgc_new(&flonum_type);
	if (f == NULL)
		out_of_memory();
	f->header = make_header(KIND_FLONUM, 0);
	f->number = d;
	return (value)f;
}
static inline value make_closure(value code, size_t nfree)
{
	struct closure *c = nfree < 9 ? mgc_new(&closure_types[nfree]) : NULL;
	if (c == NULL)
		return object_with(KIND_CLOSURE, nfree + 1, code, 0, 0, 0);
	c->header = make_header(KIND_CLOSURE, nfree + 1);
	c->code = code;
	return (value)c;
}
value make_vector(size_t n, value fill);
value make_box(value v);
value make_bytes(size_t n, int fill);
/* symbol - the one of that name; intern for UTF-8 that is not terminated. */
value symbol(const char *name);
value intern(const char *utf8, size_t nbytes);
value list_n(size_t n, ...);
value reverse(value list);
/* list_length - SIZE_MAX when it is no proper list. */
size_t list_length(value list);
value nth(value list, size_t n);
/* lock_quietly - pthread_mutex_lock, the collector not kept waiting. */
void lock_quietly(pthread_mutex_t *lock);

/* ── text.c ── */
value make_string(size_t n, uint32_t fill);
value string_from_utf8(const char *utf8, size_t nbytes);
value string_from(const char *utf8);
size_t string_length(value s);
uint32_t string_char(value s, size_t i);
void string_set(value s, size_t i, uint32_t c);
/* string_utf8 - its text, with a 0 behind it. */
char *string_utf8(value s, size_t *nbytes);
/* encode_utf8 - bytes written to out, at most 4. decode_utf8: of at most n bytes at p, how many. */
size_t encode_utf8(uint32_t c, char *out);
size_t decode_utf8(const char *p, size_t n, uint32_t *c);

/* ── number.c, bignum.c ── */
bool is_number(value v);
value num_add(value a, value b);
value num_sub(value a, value b);
value num_mul(value a, value b);
int num_compare(value a, value b); /* -1, 0, 1; 2: a NaN is in it */
double num_double(value v);
value parse_number(const char *text, int radix); /* V_FALSE: it is none */
char *number_text(value v, int radix);

value big_from(intptr_t n);
value big_from_double(double d);
value big_add(value a, value b, bool subtract);
value big_mul(value a, value b);
value big_divide(value a, value b, value *remainder); /* towards 0 */
int big_compare(value a, value b);
double big_double(value v);
char *big_text(value v, unsigned radix);
value big_parse(const char *digits, size_t n, unsigned radix, bool negative);
static inline bool is_big_negative(value v)
{
	return length_of(v) & 1;
}

/* ── port.c ── */
void port_init(void);
value open_input_bytes(value bytes);
value open_output_string(void);
value output_string_text(value port);
int port_peek_byte(value port);
int port_read_byte(value port); /* -1 at the end */
uint32_t port_read_char(value port); /* UINT32_MAX at the end */
uint32_t port_peek_char(value port);
void port_write_bytes(value port, const char *bytes, size_t n);
void port_write_text(value port, const char *text);
void port_write_char(value port, uint32_t c);
void port_flush(value port);
value current_output(void);
value current_input(void);

/* ── reader.c, printer.c ── */
value read_datum(value port); /* V_EOF at the end */
void print(value v, value port, bool write);

/* ── equality, table.c ── */
bool is_eqv(value a, value b);
bool is_equal(value a, value b);

/* ── the compiler: syntax.c, analyze.c, generate.c ── */
void syntax_init(void);
void analyze_init(void); /* after the primitives are defined */
/* is_identifier: a symbol, or a macro's own name for one (an alias). strip: without aliases. */
bool is_identifier(value v);
value strip(value form);
/* lookup - what the identifier means in that scope: a variable, a macro, a core form (an immediate that
 * the reader never makes) or a symbol (global variable). */
value lookup(value id, value scope);
value new_scope(value parent);
void bind(value scope, value id, value meaning);
value make_macro(value spec, value scope);
value expand(value macro, value form, value scope);
_Noreturn void bad_syntax(value form);
/* analyze_top - a tree of nodes, as the body of a lambda without parameters; generate - its code. */
value analyze_top(value form);
bool memq(value v, value list);
value generate(value lambda);
/* compile - a procedure without arguments that evaluates the form. */
value compile(value form);

/* ── the machine: vm.h, vm.c; control.c ── */
struct vm;
typedef value primitive_fn(struct vm *vm, int n, value *a);
/* A primitive's head, with n arguments at a; and one that is a single expression. */
#define UNUSED __attribute__((unused))
#define PRIMITIVE(name) static value name(UNUSED struct vm *vm, UNUSED int n, UNUSED value *a)
#define RETURNS(name, expression) \
	PRIMITIVE(name) \
	{ \
		return expression; \
	}
struct prim_info {
	const char *name;
	primitive_fn *fn;
	int min, max; /* arguments; max -1: any number */
	int op; /* the instruction that does it, or 0 */
};
void define_primitives(const struct prim_info *table, size_t n);
void define_global(const char *name, value v);
value make_primitive(const struct prim_info *info, value a, value b);
#define DEFINE_ALL(table) define_primitives(table, sizeof(table) / sizeof(table)[0])

/* fail - ends the primitive: the program's handler gets an error object. irritant 0: none. */
_Noreturn void fail(const char *message, value irritant);
_Noreturn void fail_as(const char *type, const char *message, value irritant);
_Noreturn void throw_value(value condition);
/* Checks of arguments; they return what they checked. */
value want(value v, enum kind kind, const char *what);
value want_pair(value v);
size_t want_index(value v, size_t limit);
uint32_t want_char(value v);
intptr_t want_fixnum(value v);
/* want_range - optional arguments start and end at a[0] and a[1]. */
void want_range(int n, const value *a, size_t length, size_t *start, size_t *end);

void lists_init(void);
void text_init(void);
void vectors_init(void);
void numbers_init(void);
void tables_init(void);
void control_init(void);
void threads_init(void);
void system_init(void);

#endif
