/* os_cgroup_test.c - limits of control groups, read from trees of files that look like the real
 * ones: version 1, version 2, both at once, containers with a part of the tree. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os/os.h"
#include "os/os_linux.h"

#define NO_LIMIT UINT64_MAX

static char top[64]; /* the folder of this test */
static char cgroup_path[128], mountinfo_path[128];

static void setup(void)
{
	strcpy(top, "/tmp/mgc-cgroup-XXXXXX");
	cr_assert_neq(mkdtemp(top), NULL);
	snprintf(cgroup_path, sizeof cgroup_path, "%s/self-cgroup", top);
	snprintf(mountinfo_path, sizeof mountinfo_path, "%s/self-mountinfo", top);
}

static void teardown(void)
{
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", top);
	cr_assert_eq(system(command), 0);
}

TestSuite(cgroup, .init = setup, .fini = teardown, .timeout = 20);

/* put - writes a file below the test's folder, with the folders above it. */
static void put(const char *name, const char *text)
{
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", top, name);
	for (char *p = path + strlen(top) + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	FILE *f = fopen(path, "w");
	cr_assert_neq(f, NULL, "%s", path);
	fputs(text, f);
	fclose(f);
}

/* mounted - appends a mountinfo line; `point` is below the test's folder. */
static void mounted(const char *root, const char *point, const char *type, const char *options)
{
	FILE *f = fopen(mountinfo_path, "a");
	cr_assert_neq(f, NULL);
	fprintf(f, "31 23 0:28 %s %s/%s rw,relatime shared:9 master:1 - %s %s %s\n", root, top,
		point, type, type, options);
	fclose(f);
}

static uint64_t memory(void)
{
	return os_cgroup_memory(cgroup_path, mountinfo_path);
}

static uint64_t cpus(void)
{
	return os_cgroup_cpus(cgroup_path, mountinfo_path);
}

Test(cgroup, no_files)
{
	cr_assert_eq(memory(), NO_LIMIT);
	cr_assert_eq(cpus(), NO_LIMIT);
	put("self-cgroup", "");
	put("self-mountinfo", "");
	cr_assert_eq(memory(), NO_LIMIT);
	put("self-cgroup", "0::/a\n");
	cr_assert_eq(memory(), NO_LIMIT, "nothing is mounted");
	put("self-mountinfo", "garbage\n\n1 2 3\n - \n");
	cr_assert_eq(memory(), NO_LIMIT);
}

Test(cgroup, v2_takes_the_tightest_up_to_the_root)
{
	put("self-cgroup", "0::/user.slice/app\n");
	mounted("/", "cg", "cgroup2", "rw,nsdelegate");
	put("cg/user.slice/app/memory.max", "max\n");
	put("cg/user.slice/app/memory.high", "max\n");
	cr_assert_eq(memory(), NO_LIMIT);
	put("cg/user.slice/app/memory.max", "3000000\n");
	cr_assert_eq(memory(), 3000000);
	put("cg/user.slice/app/memory.high", "2500000\n");
	cr_assert_eq(memory(), 2500000);
	put("cg/user.slice/memory.max", "2000000\n");
	cr_assert_eq(memory(), 2000000);
	put("cg/memory.max", "1000000\n");
	cr_assert_eq(memory(), 1000000);
	put("memory.max", "5\n"); /* above the mount point: not ours to read */
	cr_assert_eq(memory(), 1000000);
}

Test(cgroup, v2_cpus_round_up)
{
	static const struct {
		const char *text;
		uint64_t expected;
	} cases[] = {
		{ "max 100000\n", NO_LIMIT }, { "100000 100000\n", 1 }, { "100001 100000\n", 2 },
		{ "250000 100000\n", 3 },     { "1000 100000\n", 1 },   { "400000 50000\n", 8 },
		{ "garbage\n", NO_LIMIT },    { "100000\n", NO_LIMIT }, { "", NO_LIMIT },
		{ "100000 0\n", NO_LIMIT },
	};
	put("self-cgroup", "0::/g\n");
	mounted("/", "cg", "cgroup2", "rw");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		put("cg/g/cpu.max", cases[i].text);
		cr_assert_eq(cpus(), cases[i].expected, "%s", cases[i].text);
	}
	put("cg/g/cpu.max", "800000 100000\n");
	put("cg/cpu.max", "350000 100000\n");
	cr_assert_eq(cpus(), 4);
}

Test(cgroup, v1)
{
	put("self-cgroup", "9:name=systemd:/x\n4:memory:/job/7\n2:cpu,cpuacct:/job\n0::/\n");
	mounted("/", "m", "cgroup", "rw,memory");
	mounted("/", "c", "cgroup", "rw,cpu,cpuacct");
	mounted("/", "u", "cgroup2", "rw");
	put("u/memory.max", "1\n"); /* must not be looked at: memory is version 1 here */
	put("m/job/7/memory.limit_in_bytes", "9223372036854771712\n");
	cr_assert_eq(memory(), NO_LIMIT);
	put("m/job/memory.limit_in_bytes", "700000\n");
	cr_assert_eq(memory(), 700000);
	put("m/job/7/memory.limit_in_bytes", "600000\n");
	cr_assert_eq(memory(), 600000);
	put("c/job/cpu.cfs_quota_us", "-1\n");
	put("c/job/cpu.cfs_period_us", "100000\n");
	cr_assert_eq(cpus(), NO_LIMIT);
	put("c/job/cpu.cfs_quota_us", "150000\n");
	cr_assert_eq(cpus(), 2);
}

/* "cpu" must not be found in "cpuset" or "cpuacct". */
Test(cgroup, controllers_are_whole_words)
{
	put("self-cgroup", "3:cpuset:/a\n2:cpuacct:/b\n1:cpu:/c\n");
	mounted("/", "set", "cgroup", "rw,cpuset");
	mounted("/", "acct", "cgroup", "rw,cpuacct");
	mounted("/", "cpu", "cgroup", "rw,cpu");
	put("set/a/cpu.cfs_quota_us", "100000\n");
	put("set/a/cpu.cfs_period_us", "100000\n");
	put("cpu/c/cpu.cfs_quota_us", "700000\n");
	put("cpu/c/cpu.cfs_period_us", "100000\n");
	cr_assert_eq(cpus(), 7);
}

/* Docker with version 1 shows the host's path, and mounts only that part. */
Test(cgroup, container_mount_with_its_own_root)
{
	put("self-cgroup", "4:memory:/docker/abc/inner\n");
	mounted("/docker/abc", "m", "cgroup", "rw,memory");
	put("m/memory.limit_in_bytes", "500000\n");
	cr_assert_eq(memory(), 500000);
	put("m/inner/memory.limit_in_bytes", "400000\n");
	cr_assert_eq(memory(), 400000);
}

/* A path that is not below the mount's root, or climbs out of the namespace: the mount itself. */
Test(cgroup, path_outside_the_mount)
{
	put("self-cgroup", "0::/../other\n");
	mounted("/", "cg", "cgroup2", "rw");
	put("cg/memory.max", "300000\n");
	cr_assert_eq(memory(), 300000);
	put("self-cgroup", "4:memory:/docker/abcdef\n");
	mounted("/docker/abc", "m", "cgroup", "rw,memory");
	put("m/memory.limit_in_bytes", "200000\n");
	put("m/def/memory.limit_in_bytes", "1\n");
	cr_assert_eq(memory(), 200000, "abc is not a folder above abcdef");
}

Test(cgroup, the_mount_above_our_group_is_preferred)
{
	put("self-cgroup", "0::/mine/deep\n");
	mounted("/other", "wrong", "cgroup2", "rw");
	mounted("/mine", "right", "cgroup2", "rw");
	put("wrong/memory.max", "1\n");
	put("right/deep/memory.max", "900000\n");
	cr_assert_eq(memory(), 900000);
}

Test(cgroup, blanks_in_paths_and_missing_folders)
{
	put("self-cgroup", "0::/gone\n");
	mounted("/", "with\\040blank", "cgroup2", "rw");
	put("with blank/memory.max", "800000\n");
	cr_assert_eq(memory(), 800000);
}

Test(cgroup, overlong_lines_do_no_harm)
{
	static char text[20000];
	memset(text, 'x', 9000);
	strcpy(text + 9000, "\n0::/g\n");
	put("self-cgroup", text);
	memset(text, ' ', 9000);
	strcpy(text + 9000, "\n");
	put("self-mountinfo", text);
	mounted("/", "cg", "cgroup2", "rw");
	put("cg/g/memory.max", "123456\n");
	cr_assert_eq(memory(), 123456);
}

Test(cgroup, this_process)
{
	cr_assert_gt(os_memory_limit(), 0);
	cr_assert_geq(os_nprocs(), 1);
}

/* ── the reader underneath ──────────────────────────────────────────────────────────────── */

Test(cgroup, lines)
{
	struct os_lines r;
	char path[128], line[8];
	put("lines", "one\n\nlonger than eight\nlast");
	snprintf(path, sizeof path, "%s/lines", top);
	cr_assert(os_lines_open(&r, path));
	static const char *const expected[] = { "one", "", "longer ", "last" };
	for (size_t i = 0; i < 4; i++) {
		cr_assert(os_lines_next(&r, line, sizeof line));
		cr_assert_str_eq(line, expected[i]);
	}
	cr_assert(!os_lines_next(&r, line, sizeof line));
	os_lines_close(&r);
	snprintf(path, sizeof path, "%s/none", top);
	cr_assert(!os_lines_open(&r, path));
}

Test(cgroup, numbers)
{
	uint64_t v = 5;
	const char *p = "18446744073709551615 x";
	cr_assert(os_parse_number(&p, 10, &v));
	cr_assert_eq(v, UINT64_MAX);
	cr_assert_str_eq(p, " x");
	p = "18446744073709551616";
	cr_assert(os_parse_number(&p, 10, &v));
	cr_assert_eq(v, UINT64_MAX, "too large");
	p = "7fffAb-";
	cr_assert(os_parse_number(&p, 16, &v));
	cr_assert_eq(v, 0x7fffab);
	p = "-1";
	cr_assert(!os_parse_number(&p, 10, &v));
	p = "a";
	cr_assert(!os_parse_number(&p, 10, &v));
	p = "";
	cr_assert(!os_parse_number(&p, 10, &v));
}
