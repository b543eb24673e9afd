/* check.c - see check.h. UNITS bytes. WHO everyone, at any time, in any context. */
#include "base/check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct out {
	char *buf;
	size_t cap, len;
};

static void put_char(struct out *o, char c)
{
	if (o->len + 1 < o->cap)
		o->buf[o->len++] = c;
}

static void put_string(struct out *o, const char *s)
{
	for (s = s != NULL ? s : "(null)"; *s != '\0'; s++)
		put_char(o, *s);
}

static void put_number(struct out *o, uint64_t v, unsigned radix, unsigned width)
{
	char digits[24];
	unsigned n = 0;
	do {
		digits[n++] = "0123456789abcdef"[v % radix];
		v /= radix;
	} while (v != 0);
	for (; width > n; width--)
		put_char(o, '0');
	while (n > 0)
		put_char(o, digits[--n]);
}

static void put_signed(struct out *o, int64_t v)
{
	if (v < 0)
		put_char(o, '-');
	put_number(o, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, 0);
}

/* put_directive - prints one argument; f stands behind '%'. Returns the last character used. */
static const char *put_directive(struct out *o, const char *f, va_list *ap)
{
	unsigned width = 0, longs = 0;
	for (; *f >= '0' && *f <= '9'; f++)
		width = width * 10 + (unsigned)(*f - '0');
	for (; *f == 'l' || *f == 'z'; f++)
		longs++;
	switch (*f) {
	case 's':
		put_string(o, va_arg(*ap, const char *));
		break;
	case 'c':
		put_char(o, (char)va_arg(*ap, int));
		break;
	case 'd':
		put_signed(o, longs ? va_arg(*ap, long) : va_arg(*ap, int));
		break;
	case 'u':
	case 'x':
		put_number(o, longs ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned),
			   *f == 'x' ? 16 : 10, width);
		break;
	case 'p':
		put_string(o, "0x");
		put_number(o, (uintptr_t)va_arg(*ap, void *), 16, width);
		break;
	default:
		put_char(o, *f);
	}
	return f;
}

size_t mgc_vformat(char *buf, size_t cap, const char *fmt, va_list ap)
{
	struct out o = { buf, cap, 0 };
	va_list args;
	va_copy(args, ap);
	for (const char *f = fmt; *f != '\0'; f++) {
		if (*f != '%')
			put_char(&o, *f);
		else if (*++f == '\0')
			break;
		else
			f = put_directive(&o, f, &args);
	}
	va_end(args);
	if (cap > 0)
		buf[o.len] = '\0';
	return o.len;
}

size_t mgc_format(char *buf, size_t cap, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	size_t n = mgc_vformat(buf, cap, fmt, ap);
	va_end(ap);
	return n;
}

static void write_all(int fd, const char *s, size_t n)
{
	int saved = errno;
	while (n > 0) {
		ssize_t done = write(fd, s, n);
		if (done <= 0 && errno != EINTR)
			break;
		if (done > 0) {
			s += done;
			n -= (size_t)done;
		}
	}
	errno = saved;
}

void mgc_print(int fd, const char *fmt, ...)
{
	char buf[512];
	va_list ap;
	va_start(ap, fmt);
	size_t n = mgc_vformat(buf, sizeof buf, fmt, ap);
	va_end(ap);
	write_all(fd, buf, n);
}

void mgc_print_text(int fd, const char *text)
{
	write_all(fd, text, strlen(text));
}

void (*mgc_on_death)(const char *text);

MGC_NORETURN static void die(const char *kind, const char *fmt, va_list ap)
{
	char buf[512];
	size_t n = mgc_format(buf, sizeof buf, "mallocgc: %s: ", kind);
	n += mgc_vformat(buf + n, sizeof buf - n - 1, fmt, ap);
	buf[n++] = '\n';
	buf[n] = '\0';
	if (mgc_on_death != NULL)
		mgc_on_death(buf);
	else
		write_all(STDERR_FILENO, buf, n);
	abort();
}

void mgc_fatal(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	die("fatal", fmt, ap);
}

void mgc_misuse(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	die("misuse by the program", fmt, ap);
}

void mgc_check_failed(const char *file, int line, const char *what)
{
	mgc_fatal("internal check failed at %s:%d: %s (a bug in mallocgc, or memory that the "
		  "program overwrote)",
		  file, line, what);
}
