/* os_linux_tell.c - one byte to another process that waits for it, by a socket with an abstract name: no file, and
 * no descriptor that a program might close or inherit.
 * WHAT   see os.h.  WHO the faces, at start and exit, when the knob `recorder` is set.
 * STATE  none.  LOCKS none.  UNITS nanoseconds.  FROM unix(7). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/os.h"

/* may_last - how long each sending (and connecting), or receiving, may. */
static bool may_last(int fd, int which, unsigned secs)
{
	struct timeval timeout = { .tv_sec = (time_t)secs };
	return setsockopt(fd, SOL_SOCKET, which, &timeout, sizeof timeout) == 0;
}

bool os_tell(const char *name, char what, unsigned heard_secs, unsigned done_secs)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t n = strlen(name);
	int saved = errno;
	bool answered = false;
	if (n == 0 || n >= sizeof to.sun_path)
		return false;
	memcpy(to.sun_path + 1, name, n);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
		if (may_last(fd, SO_SNDTIMEO, heard_secs) && may_last(fd, SO_RCVTIMEO, heard_secs) &&
		    connect(fd, (const struct sockaddr *)&to, length) == 0 &&
		    send(fd, &what, 1, MSG_NOSIGNAL) == 1 && recv(fd, &what, 1, 0) == 1 &&
		    may_last(fd, SO_RCVTIMEO, done_secs))
			answered = recv(fd, &what, 1, 0) == 1;
		close(fd);
	}
	errno = saved;
	return answered;
}
