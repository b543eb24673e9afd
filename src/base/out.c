/* out.c - see out.h. STATE the caller's. */
#include "base/out.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

void out_init(struct out *o, int fd)
{
	o->fd = fd;
	o->err = 0;
	o->n = 0;
}

int out_flush(struct out *o)
{
	size_t done = 0;
	while (done < o->n && o->err == 0) {
		ssize_t n = write(o->fd, o->buf + done, o->n - done);
		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			o->err = errno;
	}
	o->n = 0;
	return o->err;
}

static void put(struct out *o, const char *s, size_t n)
{
	if (o->n + n > sizeof o->buf)
		(void)out_flush(o);
	memcpy(o->buf + o->n, s, n);
	o->n += n;
}

void out_print(struct out *o, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	size_t n = mgc_vformat(text, sizeof text, fmt, ap);
	va_end(ap);
	put(o, text, n);
}

void out_bytes(struct out *o, const void *bytes, size_t n)
{
	const char *s = bytes;
	while (n > 0) {
		size_t part = n < sizeof o->buf ? n : sizeof o->buf;
		put(o, s, part);
		s += part;
		n -= part;
	}
}

void out_string(struct out *o, const char *s)
{
	put(o, "\"", 1);
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			put(o, "\\", 1);
		put(o, (unsigned char)*s < ' ' ? " " : s, 1);
	}
	put(o, "\"", 1);
}
