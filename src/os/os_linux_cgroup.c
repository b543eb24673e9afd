/* os_linux_cgroup.c - the limits a control group sets: memory and processors.
 * WHAT   finds the directory of this process's group for one controller, reads the limit there and
 *        in every directory above it up to the mount, and takes the smallest.
 * WHO    os_memory_limit, os_nprocs, at start and now and then after.
 * STATE  none: limits change while we run, so nothing is kept.
 * INV    C1 a file that is missing or unreadable is no limit
 *        C2 a controller that is listed in a version 1 hierarchy is looked up there only
 * LOCKS  none. Uses about 12 KiB of stack.
 * UNITS  bytes; processors.
 * FROM   Go 1.25 internal/runtime/cgroup; unlike it, memory too, and rounded up without a floor of
 *        two processors. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <string.h>

#include "base/check.h"
#include "os/os_linux.h"

#define PATH_BYTES 2048
/* Version 1 says "no limit" with the largest multiple of the page size. */
#define UNLIMITED (UINT64_C(1) << 62)

struct group {
	bool v2;
	size_t mount_len; /* dir[0 … mount_len) is the mount point */
	char dir[PATH_BYTES];
};

/* in_list - true when `word` is one item of the comma-separated list. */
static bool in_list(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = list; (p = strstr(p, word)) != NULL; p += n) {
		bool starts = p == list || p[-1] == ',';
		bool ends = p[n] == ',' || p[n] == '\0';
		if (starts && ends)
			return true;
	}
	return false;
}

/* next_field - cuts the field at *p off at the separator and moves *p behind it. */
static char *next_field(char **p, char separator)
{
	char *start = *p, *end = strchr(start, separator);
	if (end != NULL)
		*end++ = '\0';
	else
		end = start + strlen(start);
	*p = end;
	return start;
}

/* unescape - mountinfo writes blanks and backslashes as \ooo. In place. */
static void unescape(char *s)
{
	char *to = s;
	for (; *s != '\0'; s++, to++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*to = *s;
		}
	}
	*to = '\0';
}

/* find_path - the group's path inside its hierarchy, from lines "id:controllers:path". */
static bool find_path(const char *file, const char *controller, char *path, bool *v2)
{
	struct os_lines lines;
	char line[PATH_BYTES];
	bool found = false;
	if (!os_lines_open(&lines, file))
		return false;
	while (os_lines_next(&lines, line, sizeof line)) {
		char *rest = line;
		char *id = next_field(&rest, ':');
		char *controllers = next_field(&rest, ':');
		bool is_v2 = strcmp(id, "0") == 0 && controllers[0] == '\0';
		bool is_v1 = in_list(controllers, controller);
		if (!is_v1 && !is_v2)
			continue;
		strcpy(path, rest);
		*v2 = is_v2;
		found = true;
		if (is_v1) /* C2 */
			break;
	}
	os_lines_close(&lines);
	return found;
}

/* join - dir = mount point + the part of path below the mount's root. False when path is not below
 * it; then dir is the mount point. */
static bool join(struct group *g, const char *point, const char *root, const char *path)
{
	size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
	bool below = strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0') &&
		     strstr(path, "/..") == NULL;
	const char *rest = below && strcmp(path + n, "/") != 0 ? path + n : "";
	g->mount_len = strlen(point);
	if (g->mount_len + strlen(rest) >= sizeof g->dir)
		rest = "";
	mgc_format(g->dir, sizeof g->dir, "%s%s", point, rest);
	return below;
}

/* find_group - the directory of the controller's group; g->dir holds it. The best mount is one
 * whose root is above our group; a container may show only its own part, then any will do. */
static bool find_group(struct group *g, const char *cgroup, const char *mountinfo, const char *controller)
{
	struct os_lines lines;
	char path[PATH_BYTES], line[PATH_BYTES];
	bool found = false;
	if (!find_path(cgroup, controller, path, &g->v2) || !os_lines_open(&lines, mountinfo))
		return false;
	while (os_lines_next(&lines, line, sizeof line)) {
		/* 36 35 98:0 /root /point options [optional …] - type source super-options */
		char *rest = line;
		for (unsigned i = 0; i < 3; i++)
			next_field(&rest, ' ');
		char *root = next_field(&rest, ' '), *point = next_field(&rest, ' ');
		char *tail = strstr(rest, " - ");
		if (tail == NULL)
			continue;
		tail += 3;
		char *type = next_field(&tail, ' ');
		next_field(&tail, ' ');
		if (strcmp(type, g->v2 ? "cgroup2" : "cgroup") != 0 ||
		    (!g->v2 && !in_list(tail, controller)))
			continue;
		unescape(root);
		unescape(point);
		found = true;
		if (join(g, point, root, path))
			break;
	}
	os_lines_close(&lines);
	return found;
}

/* read_limit - the number in dir/name; UINT64_MAX when missing, negative or "max". */
static uint64_t read_limit(const char *dir, const char *name)
{
	char path[PATH_BYTES + 32], text[64];
	const char *p = text;
	uint64_t v;
	mgc_format(path, sizeof path, "%s/%s", dir, name);
	if (!os_file_read(path, text, sizeof text) || !os_parse_number(&p, 10, &v))
		return UINT64_MAX; /* C1 */
	return v >= UNLIMITED ? UINT64_MAX : v;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t memory_at(const char *dir, bool v2)
{
	if (!v2)
		return read_limit(dir, "memory.limit_in_bytes");
	return smaller(read_limit(dir, "memory.max"), read_limit(dir, "memory.high"));
}

static uint64_t cpus_at(const char *dir, bool v2)
{
	uint64_t quota = UINT64_MAX, period = UINT64_MAX;
	if (v2) {
		char path[PATH_BYTES + 32], text[64];
		const char *p = text;
		mgc_format(path, sizeof path, "%s/cpu.max", dir);
		/* "max 100000" has no quota and stops at the first test. */
		if (!os_file_read(path, text, sizeof text) || !os_parse_number(&p, 10, &quota) ||
		    *p++ != ' ' || !os_parse_number(&p, 10, &period))
			return UINT64_MAX;
	} else {
		quota = read_limit(dir, "cpu.cfs_quota_us");
		period = read_limit(dir, "cpu.cfs_period_us");
	}
	if (quota == UINT64_MAX || period == UINT64_MAX || period == 0 || quota == 0)
		return UINT64_MAX;
	return quota / period + (quota % period != 0);
}

/* tightest - the smallest limit from g->dir up to the mount point. Shortens g->dir. */
static uint64_t tightest(struct group *g, uint64_t (*limit_at)(const char *dir, bool v2))
{
	uint64_t least = UINT64_MAX;
	for (;;) {
		least = smaller(least, limit_at(g->dir, g->v2));
		char *slash = strrchr(g->dir, '/');
		if (slash == NULL || (size_t)(slash - g->dir) < g->mount_len)
			return least;
		*slash = '\0';
	}
}

uint64_t os_cgroup_memory(const char *cgroup, const char *mountinfo)
{
	struct group g;
	return find_group(&g, cgroup, mountinfo, "memory") ? tightest(&g, memory_at) : UINT64_MAX;
}

uint64_t os_cgroup_cpus(const char *cgroup, const char *mountinfo)
{
	struct group g;
	return find_group(&g, cgroup, mountinfo, "cpu") ? tightest(&g, cpus_at) : UINT64_MAX;
}
