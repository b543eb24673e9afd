/* check_test.c - base/check.h: the formatter against snprintf, and how the library dies. */
#include <criterion/criterion.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "lib/probe.h"

/* Both formatters, the same arguments. */
#define SAME(...) \
	do { \
		char ours[256], theirs[256]; \
		size_t n = mgc_format(ours, sizeof ours, __VA_ARGS__); \
		snprintf(theirs, sizeof theirs, __VA_ARGS__); \
		cr_assert_str_eq(ours, theirs); \
		cr_assert_eq(n, strlen(theirs)); \
	} while (0)

Test(check, strings, .timeout = 10)
{
	SAME("%s", "plain");
	SAME("%s%s|%c%c", "", "two", 'x', 'y');
	SAME("100%%");
	SAME("[%s] %d of %u", "mixed", -3, 7u);
}

Test(check, integers, .timeout = 10)
{
	static const int ints[] = { 0, 1, -1, 9, 10, -10, INT_MAX, INT_MIN };
	static const unsigned long longs[] = { 0, 1, 15, 16, UINT_MAX, LONG_MAX, ULONG_MAX };
	for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
		SAME("%d", ints[i]);
		SAME("%u", (unsigned)ints[i]);
		SAME("%x", (unsigned)ints[i]);
		SAME("%08x", (unsigned)ints[i]);
		SAME("%ld", (long)ints[i] * 1000000007L);
	}
	for (size_t i = 0; i < sizeof longs / sizeof longs[0]; i++) {
		SAME("%lu", longs[i]);
		SAME("%lx", longs[i]);
		SAME("%016lx", longs[i]);
		SAME("%zu", (size_t)longs[i]);
		SAME("%llu", (unsigned long long)longs[i]);
		SAME("%ld", (long)longs[i]);
	}
	SAME("%ld", LONG_MIN);
}

Test(check, pointers, .timeout = 10)
{
	int x;
	char null[32];
	SAME("%p", (void *)&x);
	mgc_format(null, sizeof null, "%p", NULL);
	cr_assert_str_eq(null, "0x0");
}

Test(check, no_string, .timeout = 10)
{
	char ours[32];
	const char *volatile none = NULL;
	mgc_format(ours, sizeof ours, "<%s>", none);
	cr_assert_str_eq(ours, "<(null)>");
}

Test(check, never_past_the_end, .timeout = 10)
{
	char buf[16];
	for (size_t cap = 0; cap < sizeof buf; cap++) {
		memset(buf, '#', sizeof buf);
		size_t n = mgc_format(buf, cap, "%s-%d-%lx", "abc", -12345, 0xfedcba9876543210ul);
		for (size_t i = cap; i < sizeof buf; i++)
			cr_assert_eq(buf[i], '#', "capacity %zu, byte %zu", cap, i);
		if (cap > 0) {
			cr_assert_eq(n, cap - 1);
			cr_assert_eq(strncmp(buf, "abc--12345-fedcba9876543210", n), 0);
			cr_assert_eq(buf[n], '\0');
		} else {
			cr_assert_eq(n, 0);
		}
	}
}

/* A format that ends in the middle of a directive is ours to survive. */
Test(check, unfinished_format, .timeout = 10)
{
	char ours[32];
	const char *volatile fmt = "half %";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
	cr_assert_eq(mgc_format(ours, sizeof ours, fmt), 5);
#pragma GCC diagnostic pop
	cr_assert_str_eq(ours, "half ");
}

Test(check, print_is_cut_at_512, .timeout = 10)
{
	int fds[2];
	char text[700], got[1024];
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = '\0';
	cr_assert_eq(pipe(fds), 0);
	mgc_print(fds[1], "%s", text);
	mgc_print(fds[1], "%s %d\n", "end", 5);
	close(fds[1]);
	ssize_t n = read(fds[0], got, sizeof got);
	cr_assert_eq(n, 511 + 6);
	cr_assert_eq(memcmp(got + 511, "end 5\n", 6), 0);
}

/* ── dying ──────────────────────────────────────────────────────────────────────────────── */

/* dies - runs fn in a child; it must abort after this one line on stderr. */
static void dies(void (*fn)(void), const char *prefix, const char *line)
{
	int fds[2], status;
	char got[2048];
	size_t len = 0;
	ssize_t n;
	cr_assert_eq(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(fds[1], STDERR_FILENO);
		fn();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], got + len, sizeof got - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	close(fds[0]);
	char *emulator = strstr(got, "qemu: "); /* adds a line of its own */
	if (PROBE_EMULATED && emulator != NULL)
		got[len = (size_t)(emulator - got)] = '\0';
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	cr_assert_eq(strncmp(got, prefix, strlen(prefix)), 0, "got: %s", got);
	cr_assert_neq(strstr(got, line), NULL, "got: %s", got);
	cr_assert_eq(strchr(got, '\n'), got + len - 1, "one whole line: %s", got);
}

static void die_fatal(void)
{
	mgc_fatal("the system refused %zu bytes (errno %d)", (size_t)4096, 12);
}

static void die_misuse(void)
{
	mgc_misuse("free of %p, which is not an object", (void *)0x1230);
}

static void die_check(void)
{
	MGC_CHECK(1 + 1 == 2);
	MGC_CHECK(1 + 1 == 3);
}

static void die_long(void)
{
	static char text[2000];
	memset(text, 'z', sizeof text - 1);
	mgc_fatal("%s", text);
}

Test(check, fatal_dies, .timeout = 10)
{
	dies(die_fatal, "mallocgc: fatal: ", "the system refused 4096 bytes (errno 12)");
	dies(die_long, "mallocgc: fatal: ", "zzzz");
}

Test(check, misuse_dies, .timeout = 10)
{
	dies(die_misuse, "mallocgc: misuse by the program: ", "free of 0x1230");
}

Test(check, check_dies, .timeout = 10)
{
	dies(die_check, "mallocgc: fatal: internal check failed at ", "1 + 1 == 3");
	dies(die_check, "mallocgc: fatal: ", "check_test.c");
}

static int evaluated;

static void assert_false(void)
{
	MGC_ASSERTION(evaluated++ == 77);
}

Test(check, assertion_only_in_assert_builds, .timeout = 10)
{
	if (MGC_ASSERT) {
		dies(assert_false, "mallocgc: fatal: ", "evaluated++ == 77");
	} else {
		assert_false();
		cr_assert_eq(evaluated, 0, "not even evaluated");
	}
}
