/* os_linux_stderr.c - standard error, also for who reports when the process exits.
 * WHAT   The core utilities and others close standard error in their last moments, to learn whether all of it was written;
 *        what reports then would report to nobody. A second descriptor of it is kept, far above those that a program counts on.
 * WHO    the faces, when the environment asks for a report there. Only then: who reads the other end of a pipe waits until the
 *        last descriptor of it is closed.
 * STATE  the descriptor, and what it was of: who closes all descriptors closes it too, and may have opened another file
 *        under its number since.
 * LOCKS  none: the start, and the exit.  UNITS -  FROM  gnulib's closeout. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_FROM 900 /* below the usual limit of 1024 */

static struct {
	int fd; /* 0: none */
	struct stat is;
} kept;

void os_keep_stderr(void)
{
	int saved = errno;
	int fd = kept.fd == 0 ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, KEPT_FROM) : -1;
	if (fd >= 0 && fstat(fd, &kept.is) == 0)
		kept.fd = fd;
	errno = saved;
}

void os_reopen_stderr(void)
{
	struct stat now;
	int saved = errno;
	if (kept.fd != 0 && fcntl(STDERR_FILENO, F_GETFD) < 0 && fstat(kept.fd, &now) == 0 &&
	    now.st_dev == kept.is.st_dev && now.st_ino == kept.is.st_ino)
		(void)dup3(kept.fd, STDERR_FILENO, O_CLOEXEC);
	errno = saved;
}
