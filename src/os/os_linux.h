/* os_linux.h - what the os_linux_*.c files share, and what their tests reach into.
 * WHAT   small files of /proc, /sys and cgroups read with open and read alone: no malloc, no stdio,
 *        no locale. Everything lives in the caller's buffers.
 * LOCKS  none. */
#ifndef MGC_OS_LINUX_H
#define MGC_OS_LINUX_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* os_file_read - the file's first cap-1 bytes, as a string. False when it cannot be opened. */
bool os_file_read(const char *path, char *buf, size_t cap);

/* A file read line by line. A line that does not fit the caller's buffer is cut short. */
struct os_lines {
	int fd;
	size_t pos, len;
	char buf[2048];
};
bool os_lines_open(struct os_lines *r, const char *path);
bool os_lines_next(struct os_lines *r, char *line, size_t cap);
void os_lines_close(struct os_lines *r);

/* os_parse_number - an unsigned number at *s, radix 10 or 16; moves *s behind it. False when there
 * is no digit. A number that does not fit reads as UINT64_MAX. */
bool os_parse_number(const char **s, unsigned radix, uint64_t *out);

/* os_cgroup_memory, os_cgroup_cpus - the tightest limit from this process's group up to the root:
 * bytes, and processors rounded up. UINT64_MAX when there is none. The arguments are the paths of
 * /proc/self/cgroup and /proc/self/mountinfo, or of a test's copies. */
uint64_t os_cgroup_memory(const char *cgroup, const char *mountinfo);
uint64_t os_cgroup_cpus(const char *cgroup, const char *mountinfo);

/* os_file_symbol - the function or variable at that address (as in the file, before it is moved) by the file's own
 * symbol table. False: the file has none, or nothing there. */
bool os_file_symbol(const char *path, uint64_t addr, char *name, size_t cap, uint64_t *offset);

/* os_refused - the errno that the tests want this call to fail with, else 0 (os_set_fault_hook). */
int os_refused(const char *call, size_t nbytes);

#endif
