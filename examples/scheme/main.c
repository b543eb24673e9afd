/* main.c - the command: scheme [FILE [ARGUMENT…]]; without a file a REPL. */
#include "scheme.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vm.h"

/* The prelude's text, put into the program by the assembler (PRELUDE: its path, from the build). */
__asm__(".section .rodata\n"
	".global prelude_text\nprelude_text: .incbin \"" PRELUDE "\"\n"
	".global prelude_end\nprelude_end: .byte 0\n"
	".previous\n");
extern const char prelude_text[], prelude_end[];

static struct vm *main_vm;

static void on_interrupt(int sig)
{
	(void)sig;
	vm_interrupt(main_vm);
}

static void report(value condition)
{
	value port = root.stderr_port;
	port_flush(root.stdout_port);
	if (is_kind(condition, KIND_ERROR)) {
		port_write_text(port, "error: ");
		print(slot_of(condition, 1), port, false);
		for (value i = slot_of(condition, 2); is_pair(i); i = cdr(i)) {
			port_write_text(port, " ");
			print(car(i), port, true);
		}
	} else {
		port_write_text(port, "error: raised: ");
		print(condition, port, true);
	}
	port_write_text(port, "\n");
	port_flush(port);
}

/* guarded - calls fn(arg), a part of the interpreter that may fail(), outside of the machine's loop. */
static bool guarded(value (*fn)(value), value arg, value *result)
{
	jmp_buf escape;
	main_vm->escape = &escape;
	main_vm->r.self = 0;
	main_vm->inlined = NULL;
	if (setjmp(escape) != 0) {
		*result = main_vm->r.thrown;
		return false;
	}
	*result = fn(arg);
	return true;
}

static value report_it(value condition)
{
	report(condition);
	return V_UNSPECIFIED;
}

static void report_guarded(value condition)
{
	value ignored;
	if (!guarded(report_it, condition, &ignored))
		fprintf(stderr, "error: one that cannot be written\n");
}

/* run_port - each form of the port in turn; false at the first error, which is reported. */
static bool run_port(value port)
{
	for (;;) {
		value form, thunk, result;
		heap_keep_reserve();
		if (!guarded(read_datum, port, &form)) {
			report_guarded(form);
			return false;
		}
		if (form == V_EOF)
			return true;
		if (!guarded(compile, form, &thunk)) {
			report_guarded(thunk);
			return false;
		}
		if (!vm_run(main_vm, thunk, &result)) {
			report_guarded(result);
			return false;
		}
	}
}

static value show(value v)
{
	if (v != V_UNSPECIFIED) {
		print(v, root.stdout_port, true);
		port_write_text(root.stdout_port, "\n");
	}
	return v;
}

/* repl - an error, or ^C, ends the form and not the session. */
static void repl(void)
{
	bool prompt = isatty(STDIN_FILENO);
	for (;;) {
		value form, thunk, result;
		heap_keep_reserve();
		if (prompt)
			port_write_text(root.stdout_port, "> ");
		main_vm->r.winders = main_vm->r.handlers = main_vm->r.parameters = V_NIL;
		if (!guarded(read_datum, root.stdin_port, &form)) {
			report_guarded(form);
			if (!prompt)
				return;
			while (port_peek_byte(root.stdin_port) >= 0 &&
			       port_read_byte(root.stdin_port) != '\n')
				;
			continue;
		}
		if (form == V_EOF)
			return;
		if (!guarded(compile, form, &thunk))
			report_guarded(thunk);
		else if (!vm_run(main_vm, thunk, &result) || !guarded(show, result, &result))
			report_guarded(result);
	}
}

static void start(void)
{
	setlocale(LC_CTYPE, "C.UTF-8"); /* what is a letter */
	heap_init();
	main_vm = vm_new();
	if (main_vm == NULL)
		out_of_memory();
	lists_init();
	numbers_init();
	text_init();
	vectors_init();
	tables_init();
	port_init();
	control_init();
	threads_init();
	system_init();
	syntax_init();
	analyze_init();
	size_t n = (size_t)(prelude_end - prelude_text);
	value text = make_bytes(n, 0);
	memcpy(((struct bytes *)text)->byte, prelude_text, n);
	if (!run_port(open_input_bytes(text))) {
		fprintf(stderr, "scheme: the prelude is broken\n");
		exit(2);
	}
	set_slot(&root.raise, symbol_of(symbol("raise"))->global);
	set_slot(&root.rewind, symbol_of(symbol("%rewind"))->global);
}

static value open_program(value name)
{
	size_t nbytes;
	const char *path = string_utf8(name, &nbytes);
	FILE *f = fopen(path, "r");
	value text = open_output_string();
	char buffer[4096];
	if (f == NULL)
		fail("cannot be opened", name);
	for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;)
		port_write_bytes(text, buffer, n);
	fclose(f);
	value all = slot_of(text, 2), exactly = make_bytes((size_t)fixnum_of(slot_of(text, 3)), 0);
	memcpy(((struct bytes *)exactly)->byte, ((struct bytes *)all)->byte, length_of(exactly));
	return open_input_bytes(exactly);
}

int main(int argc, char **argv)
{
	start();
	value arguments = V_NIL, port;
	for (int i = argc; i-- > 1;)
		arguments = cons(string_from(argv[i]), arguments);
	define_global("%command-line", arguments);
	signal(SIGINT, on_interrupt);
	bool ok = true;
	if (argc < 2)
		repl();
	else if (guarded(open_program, string_from(argv[1]), &port))
		ok = run_port(port);
	else
		report_guarded(port), ok = false;
	port_flush(root.stdout_port);
	port_flush(root.stderr_port);
	return ok ? 0 : 1;
}
