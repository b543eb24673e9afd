/* probe.c - see probe.h. */
#include "lib/probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void must(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

/* through_pipe - copies the byte at addr into a pipe and, if `back`, from there to addr again: the
 * kernel says EFAULT where the processor would fault. */
static bool through_pipe(uintptr_t addr, bool back)
{
	int fds[2];
	must(pipe(fds) == 0, "pipe");
	/* Not write and read: AddressSanitizer would look at the byte itself. */
	bool ok = syscall(SYS_write, fds[1], addr, 1L) == 1;
	if (ok && back)
		ok = syscall(SYS_read, fds[0], addr, 1L) == 1;
	close(fds[0]);
	close(fds[1]);
	return ok;
}

bool probe_readable(uintptr_t addr)
{
	return through_pipe(addr, false);
}

bool probe_writable(uintptr_t addr)
{
	return through_pipe(addr, true);
}

static size_t page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* readable_points - how many of the probed points can be read; *npoints of them there are. */
static size_t readable_points(uintptr_t lo, uintptr_t hi, size_t *npoints)
{
	size_t n = 0;
	*npoints = 0;
	for (uintptr_t at = lo; at < hi; at = (at | (page() - 1)) + 1, ++*npoints)
		n += probe_readable(at);
	if (lo < hi) {
		n += probe_readable(hi - 1);
		++*npoints;
	}
	return n;
}

bool probe_all_readable(uintptr_t lo, uintptr_t hi)
{
	size_t npoints;
	return readable_points(lo, hi, &npoints) == npoints;
}

bool probe_none_readable(uintptr_t lo, uintptr_t hi)
{
	size_t npoints;
	return readable_points(lo, hi, &npoints) == 0;
}

bool probe_all_zero(uintptr_t lo, uintptr_t hi)
{
	for (uintptr_t at = lo; at < hi; at++)
		if (*(const volatile char *)at != 0)
			return false;
	return true;
}

size_t probe_resident(uintptr_t lo, uintptr_t hi)
{
	size_t npages = (hi - lo) / page(), n = 0;
	unsigned char *flags = malloc(npages + 1);
	must(flags != NULL && mincore((void *)lo, hi - lo, flags) == 0, "mincore");
	for (size_t i = 0; i < npages; i++)
		n += flags[i] & 1;
	free(flags);
	return n;
}

/* read_maps - /proc/self/maps as one text; not statm, which under an emulator is the emulator's. */
static const char *read_maps(void)
{
	static char text[1 << 20];
	size_t len = 0;
	ssize_t n;
	int fd = open("/proc/self/maps", O_RDONLY);
	while (fd >= 0 && (n = read(fd, text + len, sizeof text - 1 - len)) > 0)
		len += (size_t)n;
	must(fd >= 0 && len > 0 && len < sizeof text - 1, "/proc/self/maps");
	text[len] = '\0';
	close(fd);
	return text;
}

size_t probe_mapped_bytes(void)
{
	size_t sum = 0;
	for (const char *line = read_maps(); line != NULL && *line != '\0';) {
		char *p;
		unsigned long lo = strtoul(line, &p, 16), hi = strtoul(p + 1, NULL, 16);
		sum += hi - lo;
		line = strchr(line, '\n');
		line += line != NULL;
	}
	return sum;
}

void probe_library(const char *source, char *path)
{
	char c_path[64] = "/tmp/mgc-test-XXXXXX", command[256];
	int fd = mkstemp(c_path);
	size_t n = strlen(source);
	must(fd >= 0 && write(fd, source, n) == (ssize_t)n, "mkstemp");
	close(fd);
	snprintf(path, 64, "%.50s.so", c_path);
	snprintf(command, sizeof command, "%s -shared -fPIC -xc -o %s %s", TEST_CC, path, c_path);
	must(system(command) == 0, command);
	unlink(c_path);
}
