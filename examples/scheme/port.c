/* port.c - ports: files and strings; bytes below, UTF-8 above.
 * WHAT   A port has a buffer in the heap. A file's is filled and emptied by read and write, through a buffer
 *        on the C stack and inside a blocking section: a collection does not wait for a slow terminal. A
 *        port that is found dead is closed by its finalizer.
 * INV    pos and end are read once and checked against the buffer that is used: threads that share a port
 *        may garble its text, but nothing else */
#include "scheme.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 4096 };
enum { PORT_INPUT = 1, PORT_OUTPUT = 2, PORT_BINARY = 4 };

struct port {
	value header;
	value fd; /* fixnum; -1: a string or bytevector, -2: closed */
	value flags;
	value buffer; /* bytes */
	value pos, end; /* fixnums: input: what is left; output: [0, pos) is to be written */
};

static struct port *port_of(value v)
{
	return (struct port *)v;
}

static bool is_port(value v, intptr_t flags)
{
	return is_kind(v, KIND_PORT) && (fixnum_of(port_of(v)->flags) & flags) == flags;
}

static value make_port(int fd, int flags, value buffer, size_t end)
{
	struct port *p = (struct port *)object_new(KIND_PORT, 5);
	p->fd = fixnum(fd);
	p->flags = fixnum(flags);
	p->buffer = buffer;
	p->pos = fixnum(0);
	p->end = fixnum((intptr_t)end);
	return (value)p;
}

static uint8_t *bytes_of(value buffer)
{
	return ((struct bytes *)buffer)->byte;
}

/* write_out - all of it, to a file; the text is copied, as heap memory is not touched while blocking. */
static void write_out(int fd, const uint8_t *from, size_t n)
{
	char copy[BUFFER];
	while (n > 0) {
		size_t part = n < BUFFER ? n : BUFFER;
		memcpy(copy, from, part);
		mgc_blocking_enter();
		ssize_t done = write(fd, copy, part);
		mgc_blocking_leave();
		if (done < 0 && errno != EINTR)
			fail_as("file", strerror(errno), 0);
		if (done > 0) {
			from += done;
			n -= (size_t)done;
		}
	}
}

void port_flush(value port)
{
	struct port *p = port_of(port);
	size_t n = (size_t)fixnum_of(p->pos);
	if (fixnum_of(p->fd) < 0 || !is_port(port, PORT_OUTPUT) || n == 0)
		return;
	value buffer = p->buffer;
	p->pos = fixnum(0); /* a fixnum: no reference, so no barrier is needed */
	write_out((int)fixnum_of(p->fd), bytes_of(buffer),
		  n < length_of(buffer) ? n : length_of(buffer));
}

/* fill - more input; false at the end. */
static bool fill(struct port *p)
{
	char fresh[BUFFER];
	int fd = (int)fixnum_of(p->fd);
	if (fd < 0)
		return false;
	if (fd == STDIN_FILENO)
		port_flush(root.stdout_port);
	mgc_blocking_enter();
	ssize_t n = read(fd, fresh, BUFFER);
	mgc_blocking_leave();
	if (n < 0)
		fail_as("file", errno == EINTR ? "interrupted" : strerror(errno), 0);
	memcpy(bytes_of(p->buffer), fresh, (size_t)n);
	p->pos = fixnum(0);
	p->end = fixnum(n);
	return n > 0;
}

int port_peek_byte(value port)
{
	struct port *p = port_of(port);
	for (;;) {
		value buffer = p->buffer;
		size_t pos = (size_t)fixnum_of(p->pos), end = (size_t)fixnum_of(p->end);
		if (pos < end && pos < length_of(buffer))
			return bytes_of(buffer)[pos];
		if (!fill(p))
			return -1;
	}
}

int port_read_byte(value port)
{
	int byte = port_peek_byte(port);
	if (byte >= 0)
		port_of(port)->pos += 2; /* one, as a fixnum */
	return byte;
}

uint32_t port_read_char(value port)
{
	int first = port_read_byte(port);
	char text[4] = { (char)first, 0, 0, 0 };
	uint32_t c;
	if (first < 0)
		return UINT32_MAX;
	size_t more = first < 0xc2 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3, n = 1;
	for (; n <= more; n++) {
		int next = port_peek_byte(port);
		if (next < 0 || (next & 0xc0) != 0x80)
			break;
		text[n] = (char)port_read_byte(port);
	}
	decode_utf8(text, n, &c);
	return c;
}

uint32_t port_peek_char(value port)
{
	struct port *p = port_of(port);
	int first = port_peek_byte(port);
	if (first < 0x80)
		return first < 0 ? UINT32_MAX : (uint32_t)first;
	/* the whole character to the front of the buffer, with what a file has behind it */
	size_t pos = (size_t)fixnum_of(p->pos), end = (size_t)fixnum_of(p->end);
	uint32_t c;
	if (end - pos < 4 && fixnum_of(p->fd) >= 0) {
		uint8_t *b = bytes_of(p->buffer);
		memmove(b, b + pos, end - pos);
		size_t have = end - pos;
		ssize_t n = read((int)fixnum_of(p->fd), b + have, BUFFER - have);
		p->pos = fixnum(0);
		p->end = fixnum((intptr_t)(have + (n > 0 ? (size_t)n : 0)));
		pos = 0;
		end = (size_t)fixnum_of(p->end);
	}
	decode_utf8((char *)bytes_of(p->buffer) + pos, end - pos, &c);
	return c;
}

void port_write_bytes(value port, const char *bytes, size_t n)
{
	struct port *p = port_of(port);
	value buffer = p->buffer;
	size_t pos = (size_t)fixnum_of(p->pos);
	if (pos + n > length_of(buffer)) {
		if (fixnum_of(p->fd) == -2)
			fail("the port is closed", port);
		if (fixnum_of(p->fd) >= 0) {
			port_flush(port);
			if (n > BUFFER) {
				write_out((int)fixnum_of(p->fd), (const uint8_t *)bytes, n);
				return;
			}
			pos = 0;
		} else {
			value larger = make_bytes(2 * (pos + n), 0);
			memcpy(bytes_of(larger), bytes_of(buffer), pos);
			set_slot(&p->buffer, larger);
			buffer = larger;
		}
	}
	memcpy(bytes_of(buffer) + pos, bytes, n);
	p->pos = fixnum((intptr_t)(pos + n));
}

void port_write_text(value port, const char *text)
{
	port_write_bytes(port, text, strlen(text));
}

void port_write_char(value port, uint32_t c)
{
	char text[4];
	port_write_bytes(port, text, encode_utf8(c, text));
}

value open_input_bytes(value bytes)
{
	return make_port(-1, PORT_INPUT, bytes, length_of(bytes));
}

value open_output_string(void)
{
	return make_port(-1, PORT_OUTPUT, make_bytes(32, 0), 0);
}

value output_string_text(value port)
{
	struct port *p = port_of(port);
	return string_from_utf8((char *)bytes_of(p->buffer), (size_t)fixnum_of(p->pos));
}

/* ── files ── */

static void close_port(value port)
{
	struct port *p = port_of(port);
	int fd = (int)fixnum_of(p->fd);
	port_flush(port);
	if (fd > STDERR_FILENO)
		close(fd);
	p->fd = fixnum(-2);
	p->end = p->pos = fixnum(0);
	if (is_port(port, PORT_OUTPUT))
		set_slot(&p->buffer, make_bytes(0, 0));
}

/* forget - the finalizer: nobody can reach the port any more. On the library's own thread, which has no
 * machine to fail in: what cannot be written is lost. */
static void forget(void *obj, void *arg)
{
	struct port *p = obj;
	int fd = (int)fixnum_of(p->fd);
	(void)arg;
	if (fd <= STDERR_FILENO)
		return;
	if (is_port((value)p, PORT_OUTPUT) && fixnum_of(p->pos) > 0 &&
	    write(fd, bytes_of(p->buffer), (size_t)fixnum_of(p->pos)) < 0)
		p->pos = fixnum(0);
	close(fd);
}

static value open_file(value name, int mode, int flags)
{
	int fd = open(string_utf8(want(name, KIND_STRING, "string"), NULL), mode | O_CLOEXEC, 0666);
	if (fd < 0)
		fail_as("file", strerror(errno), name);
	value port = make_port(fd, flags, make_bytes(BUFFER, 0), 0);
	if (mgc_finalizer_set((void *)port, forget, NULL) != 0) {
		close(fd);
		out_of_memory();
	}
	return port;
}

RETURNS(p_open_input_file, open_file(a[0], O_RDONLY, PORT_INPUT))
RETURNS(p_open_output_file, open_file(a[0], O_WRONLY | O_CREAT | O_TRUNC, PORT_OUTPUT))

/* ── primitives ── */

static value input_port(int n, const value *a)
{
	value p = n > 0 ? a[0] : current_input();
	if (!is_port(p, PORT_INPUT))
		fail("not an input port", p);
	return p;
}

static value output_port(int n, const value *a)
{
	value p = n > 0 ? a[0] : current_output();
	if (!is_port(p, PORT_OUTPUT))
		fail("not an output port", p);
	return p;
}

static value char_or_eof(uint32_t c)
{
	return c == UINT32_MAX ? V_EOF : make_char(c);
}

RETURNS(p_read_char, char_or_eof(port_read_char(input_port(n, a))))
RETURNS(p_peek_char, char_or_eof(port_peek_char(input_port(n, a))))

PRIMITIVE(p_read_u8)
{
	int byte = port_read_byte(input_port(n, a));
	return byte < 0 ? V_EOF : fixnum(byte);
}

PRIMITIVE(p_peek_u8)
{
	int byte = port_peek_byte(input_port(n, a));
	return byte < 0 ? V_EOF : fixnum(byte);
}

PRIMITIVE(p_read_line)
{
	value port = input_port(n, a), line = open_output_string();
	int byte = port_read_byte(port);
	if (byte < 0)
		return V_EOF;
	for (; byte >= 0 && byte != '\n'; byte = port_read_byte(port))
		port_write_bytes(line, &(char){ (char)byte }, 1);
	return output_string_text(line);
}

PRIMITIVE(p_read_string)
{
	size_t count = want_index(a[0], (size_t)1 << 40);
	value port = input_port(n - 1, a + 1), text = open_output_string();
	if (count > 0 && port_peek_byte(port) < 0)
		return V_EOF;
	for (uint32_t c; count > 0 && (c = port_read_char(port)) != UINT32_MAX; count--)
		port_write_char(text, c);
	return output_string_text(text);
}

RETURNS(p_read, read_datum(input_port(n, a)))

PRIMITIVE(p_write)
{
	print(a[0], output_port(n - 1, a + 1), true);
	return V_UNSPECIFIED;
}

PRIMITIVE(p_display)
{
	print(a[0], output_port(n - 1, a + 1), false);
	return V_UNSPECIFIED;
}

PRIMITIVE(p_newline)
{
	port_write_text(output_port(n, a), "\n");
	return V_UNSPECIFIED;
}

PRIMITIVE(p_write_char)
{
	port_write_char(output_port(n - 1, a + 1), want_char(a[0]));
	return V_UNSPECIFIED;
}

PRIMITIVE(p_write_u8)
{
	char byte = (char)want_index(a[0], 256);
	port_write_bytes(output_port(n - 1, a + 1), &byte, 1);
	return V_UNSPECIFIED;
}

PRIMITIVE(p_open_input_string)
{
	size_t nbytes;
	const char *utf8 = string_utf8(want(a[0], KIND_STRING, "string"), &nbytes);
	return open_input_bytes((value)(utf8 - sizeof(value)));
}

RETURNS(p_open_input_bytes, open_input_bytes(want(a[0], KIND_BYTES, "bytevector")))
RETURNS(p_open_output_string, open_output_string())
RETURNS(p_get_output_string, output_string_text(output_port(1, a)))

PRIMITIVE(p_get_output_bytes)
{
	struct port *p = port_of(output_port(1, a));
	value copy = make_bytes((size_t)fixnum_of(p->pos), 0);
	memcpy(bytes_of(copy), bytes_of(p->buffer), length_of(copy));
	return copy;
}

PRIMITIVE(p_close)
{
	close_port(want(a[0], KIND_PORT, "port"));
	return V_UNSPECIFIED;
}

PRIMITIVE(p_flush)
{
	port_flush(output_port(n, a));
	return V_UNSPECIFIED;
}

RETURNS(p_is_port, boolean(is_kind(a[0], KIND_PORT)))
RETURNS(p_is_input, boolean(is_port(a[0], PORT_INPUT)))
RETURNS(p_is_output, boolean(is_port(a[0], PORT_OUTPUT)))
RETURNS(p_is_open, boolean(fixnum_of(port_of(want(a[0], KIND_PORT, "port"))->fd) != -2))
RETURNS(p_eof, V_EOF)
RETURNS(p_is_eof, boolean(a[0] == V_EOF))

PRIMITIVE(p_file_exists)
{
	return boolean(access(string_utf8(want(a[0], KIND_STRING, "string"), NULL), F_OK) == 0);
}

PRIMITIVE(p_delete_file)
{
	if (unlink(string_utf8(want(a[0], KIND_STRING, "string"), NULL)) != 0)
		fail_as("file", strerror(errno), a[0]);
	return V_UNSPECIFIED;
}

static const struct prim_info ports[] = {
	{ "open-input-file", p_open_input_file, 1, 1, 0 },
	{ "open-binary-input-file", p_open_input_file, 1, 1, 0 },
	{ "open-output-file", p_open_output_file, 1, 1, 0 },
	{ "open-binary-output-file", p_open_output_file, 1, 1, 0 },
	{ "open-input-string", p_open_input_string, 1, 1, 0 },
	{ "open-input-bytevector", p_open_input_bytes, 1, 1, 0 },
	{ "open-output-string", p_open_output_string, 0, 0, 0 },
	{ "open-output-bytevector", p_open_output_string, 0, 0, 0 },
	{ "get-output-string", p_get_output_string, 1, 1, 0 },
	{ "get-output-bytevector", p_get_output_bytes, 1, 1, 0 },
	{ "close-port", p_close, 1, 1, 0 },
	{ "close-input-port", p_close, 1, 1, 0 },
	{ "close-output-port", p_close, 1, 1, 0 },
	{ "flush-output-port", p_flush, 0, 1, 0 },
	{ "read-char", p_read_char, 0, 1, 0 },
	{ "peek-char", p_peek_char, 0, 1, 0 },
	{ "read-u8", p_read_u8, 0, 1, 0 },
	{ "peek-u8", p_peek_u8, 0, 1, 0 },
	{ "read-line", p_read_line, 0, 1, 0 },
	{ "read-string", p_read_string, 1, 2, 0 },
	{ "read", p_read, 0, 1, 0 },
	{ "write", p_write, 1, 2, 0 },
	{ "write-shared", p_write, 1, 2, 0 },
	{ "write-simple", p_write, 1, 2, 0 },
	{ "display", p_display, 1, 2, 0 },
	{ "write-string", p_display, 1, 2, 0 },
	{ "newline", p_newline, 0, 1, 0 },
	{ "write-char", p_write_char, 1, 2, 0 },
	{ "write-u8", p_write_u8, 1, 2, 0 },
	{ "port?", p_is_port, 1, 1, 0 },
	{ "input-port?", p_is_input, 1, 1, 0 },
	{ "output-port?", p_is_output, 1, 1, 0 },
	{ "input-port-open?", p_is_open, 1, 1, 0 },
	{ "output-port-open?", p_is_open, 1, 1, 0 },
	{ "eof-object", p_eof, 0, 0, 0 },
	{ "eof-object?", p_is_eof, 1, 1, 0 },
	{ "file-exists?", p_file_exists, 1, 1, 0 },
	{ "delete-file", p_delete_file, 1, 1, 0 },
};

void port_init(void)
{
	set_slot(&root.stdin_port, make_port(STDIN_FILENO, PORT_INPUT, make_bytes(BUFFER, 0), 0));
	set_slot(&root.stdout_port, make_port(STDOUT_FILENO, PORT_OUTPUT, make_bytes(BUFFER, 0), 0));
	set_slot(&root.stderr_port, make_port(STDERR_FILENO, PORT_OUTPUT, make_bytes(BUFFER, 0), 0));
	DEFINE_ALL(ports);
}
