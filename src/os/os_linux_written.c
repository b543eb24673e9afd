/* os_linux_written.c - which pages of one range were written to, as the kernel notes it.
 * WHAT   userfaultfd with asynchronous write protection: the first write to a protected page lifts the
 *        protection inside the kernel, without a signal or a message, and PAGEMAP_SCAN tells the pages
 *        that are not protected (Linux 6.7). It works for unprivileged processes, and for writes that
 *        the kernel makes on the program's behalf.
 * STATE  off → on (os_written_start) → off in the child of a fork, which has a copy without protection.
 * INV    W1 a descriptor that the program closed, or put another file in the place of, makes the next
 *           call fail; it can never be taken for "not written": the scan insists on ranges that are
 *           tracked, and closing the first descriptor ends the tracking
 * LOCKS  none: one caller at a time (a cycle's owner).
 * UNITS  bytes; ranges are whole pages of os_page_size(). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/os.h"
#include "os/os_linux.h"
#include "os/os_linux_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of some systems this compiles on. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#define FEATURE_WP_ASYNC (UINT64_C(1) << 15)

/* Descriptors this high are out of the way of programs that count on theirs. A new process has room for 64: with a higher one
 * a program of several threads would wait 10 ms and more for the kernel to make room (docs/adr/0085). */
#define LOWEST_FD 56
#define NREGIONS 256

/* A descriptor, and what it was when it was opened. */
struct file {
	int fd;
	dev_t dev;
	ino_t ino;
};

static struct file tracker = { .fd = -1 }, pagemap = { .fd = -1 };

/* close_one - unless the program closed it, and has another file there by now. */
static void close_one(struct file *f)
{
	struct stat st;
	if (f->fd >= 0 && fstat(f->fd, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino)
		close(f->fd);
	f->fd = -1;
}

static struct file remember(int fd)
{
	struct stat st = { 0 };
	if (fd >= 0)
		(void)fstat(fd, &st);
	return (struct file){ fd, st.st_dev, st.st_ino };
}

/* move_up - the descriptor under a high number, where the limit has one. */
static int move_up(int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_FD);
	if (high < 0)
		return fd;
	close(fd);
	return high;
}

static int open_both(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = FEATURE_WP_ASYNC };
	int flags = O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY;
	tracker = remember(move_up((int)syscall(SYS_userfaultfd, flags)));
	if (tracker.fd < 0 || ioctl(tracker.fd, UFFDIO_API, &api) != 0)
		return errno;
	pagemap = remember(move_up(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)));
	return pagemap.fd < 0 ? errno : 0;
}

static int protect(uintptr_t lo, uintptr_t hi, bool on)
{
	struct uffdio_writeprotect wp = { .range = { lo, hi - lo },
					  .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0 };
	return ioctl(tracker.fd, UFFDIO_WRITEPROTECT, &wp) == 0 ? 0 : errno;
}

int os_written_start(uintptr_t lo, uintptr_t hi)
{
	os_written_stop();
	int refused = os_refused("written_start", hi - lo);
	if (refused != 0)
		return refused;
	struct uffdio_register reg = { .range = { lo, hi - lo }, .mode = UFFDIO_REGISTER_MODE_WP };
	int err = open_both();
	if (err == 0 && ioctl(tracker.fd, UFFDIO_REGISTER, &reg) != 0)
		err = errno;
	/* also finds out whether this kernel can scan */
	if (err == 0)
		err = os_written_each(lo, lo + os_page_size(), true, NULL, NULL);
	if (err != 0)
		os_written_stop();
	return err;
}

void os_written_stop(void)
{
	close_one(&tracker);
	close_one(&pagemap);
}

int os_written_each(uintptr_t lo, uintptr_t hi, bool forget,
		    void (*fn)(void *arg, uintptr_t lo, uintptr_t hi), void *arg)
{
	struct scan_region region[NREGIONS];
	int refused = os_refused("written_each", hi - lo);
	if (refused != 0)
		return refused;
	struct scan_request r = {
		.size = sizeof r,
		.flags = SCAN_CHECK_TRACKED | (forget ? SCAN_PROTECT_MATCHING : 0),
		.start = lo,
		.end = hi,
		.vec = fn != NULL ? (uintptr_t)region : 0,
		.vec_len = fn != NULL ? NREGIONS : 0,
		.category_mask = PAGE_IS_WRITTEN,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = fn != NULL ? PAGE_IS_WRITTEN : 0,
	};
	while (r.start < hi) {
		long n = ioctl(pagemap.fd, SCAN_REQUEST, &r);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		for (long i = 0; i < n && fn != NULL; i++)
			fn(arg, region[i].lo, region[i].hi);
		if (r.walk_end <= r.start)
			return EIO;
		r.start = r.walk_end;
	}
	return 0;
}

int os_written_ignore(uintptr_t lo, uintptr_t hi)
{
	int refused = os_refused("written_ignore", hi - lo);
	return refused != 0 ? refused : protect(lo, hi, false);
}
