/* os_linux_file.c - small text files without malloc or stdio.
 * WHAT   reads /proc, /sys and cgroup files into the caller's buffers.
 * WHO    os_linux_cgroup.c, os_linux_mem.c, os_linux_thread.c.
 * STATE  none; an os_lines is the caller's.
 * INV    F1 every descriptor is close-on-exec and closed by the function or by os_lines_close
 * LOCKS  none.
 * UNITS  bytes.
 * FROM   - */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/os_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int open_file(const char *path)
{
	int fd;
	do
		fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* read_some - bytes read, 0 at the end or on an error. */
static size_t read_some(int fd, char *buf, size_t cap)
{
	ssize_t n;
	do
		n = read(fd, buf, cap);
	while (n < 0 && errno == EINTR);
	return n > 0 ? (size_t)n : 0;
}

bool os_file_read(const char *path, char *buf, size_t cap)
{
	int fd = open_file(path);
	if (fd < 0)
		return false;
	size_t len = 0, n;
	while (len + 1 < cap && (n = read_some(fd, buf + len, cap - 1 - len)) > 0)
		len += n;
	buf[len] = '\0';
	close(fd);
	return true;
}

bool os_lines_open(struct os_lines *r, const char *path)
{
	r->pos = r->len = 0;
	r->fd = open_file(path);
	return r->fd >= 0;
}

bool os_lines_next(struct os_lines *r, char *line, size_t cap)
{
	size_t used = 0;
	bool any = false;
	for (;;) {
		if (r->pos == r->len) {
			r->pos = 0;
			r->len = read_some(r->fd, r->buf, sizeof r->buf);
			if (r->len == 0)
				break;
		}
		any = true;
		char *from = r->buf + r->pos;
		size_t left = r->len - r->pos;
		char *end = memchr(from, '\n', left);
		size_t n = end != NULL ? (size_t)(end - from) : left;
		size_t room = cap - 1 - used;
		size_t take = n < room ? n : room;
		memcpy(line + used, from, take);
		used += take;
		r->pos += n;
		if (end != NULL) {
			r->pos++;
			break;
		}
	}
	line[used] = '\0';
	return any;
}

void os_lines_close(struct os_lines *r)
{
	close(r->fd);
	r->fd = -1;
}

/* digit_of - the value of c, or 16 when c is no digit of any radix here. */
static unsigned digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 16;
}

bool os_parse_number(const char **s, unsigned radix, uint64_t *out)
{
	const char *p = *s;
	uint64_t v = 0;
	bool overflow = false;
	for (; digit_of(*p) < radix; p++) {
		overflow |= __builtin_mul_overflow(v, (uint64_t)radix, &v);
		overflow |= __builtin_add_overflow(v, (uint64_t)digit_of(*p), &v);
	}
	if (p == *s)
		return false;
	*s = p;
	*out = overflow ? UINT64_MAX : v;
	return true;
}
