/* criterion.h - the part of Criterion's interface that our tests use, in one header.
 * WHAT   Test, TestSuite, cr_assert…, cr_expect… and a main() that runs every test in a child
 *        process of its own, with its time limit, expected signal and exit code.
 * WHO    builds in which the real Criterion cannot run: under ThreadSanitizer (its worker processes
 *        do not start) and cross builds (there is no such library). All others use the real one.
 * UNITS  seconds. Limits are stretched by CR_SLOW, for those builds are slow. */
#ifndef CRITERION_SHIM_H
#define CRITERION_SHIM_H
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CR_SLOW 5
#define CR_FAILED 101 /* exit status of a child whose assertion failed */
#define CR_SKIPPED 102

struct cr_options {
	int unused;
	void (*init)(void);
	void (*fini)(void);
	int signal, exit_code;
	bool disabled;
	const char *description;
	double timeout;
};

struct cr_test {
	const char *suite, *name;
	void (*run)(void); /* NULL: a suite, whose options are defaults for its tests */
	struct cr_options options;
	struct cr_test *next;
};

static struct cr_test *cr_tests, **cr_last = &cr_tests;
static bool cr_child_failed; /* an expectation failed in this child */

#define CR_REGISTER(id, suite, name, run, ...) \
	static struct cr_test id##_test = { suite, name, run, { .unused = 0, __VA_ARGS__ }, NULL }; \
	__attribute__((constructor)) static void id##_register(void) \
	{ \
		*cr_last = &id##_test; \
		cr_last = &id##_test.next; \
	} \
	struct cr_test /* takes the semicolon */

#define Test(Suite, Name, ...) \
	static void Suite##_##Name##_body(void); \
	CR_REGISTER(Suite##_##Name, #Suite, #Name, Suite##_##Name##_body, __VA_ARGS__); \
	static void Suite##_##Name##_body(void)
#define TestSuite(Suite, ...) CR_REGISTER(Suite##_suite, #Suite, "", NULL, __VA_ARGS__)

__attribute__((format(printf, 6, 7), unused)) static bool cr_check(bool ok, bool fatal, const char *file,
								   int line, const char *what,
								   const char *fmt, ...)
{
	if (ok)
		return true;
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "[----] %s:%d: Assertion Failed: %s:", file, line, what);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	__atomic_store_n(&cr_child_failed, true, __ATOMIC_RELAXED); /* by any thread of the test */
	if (fatal)
		_exit(CR_FAILED);
	return false;
}

#define CR_CHECK(fatal, cond, what, ...) \
	((void)cr_check((cond), fatal, __FILE__, __LINE__, what, " " __VA_ARGS__))
#define CR_OP(fatal, a, op, b, ...) CR_CHECK(fatal, (a)op(b), #a " " #op " " #b, __VA_ARGS__)
#define CR_STR(fatal, a, op, b, ...) \
	CR_CHECK(fatal, strcmp((a), (b)) op 0, #a " " #op " " #b, __VA_ARGS__)
#define CR_MEM(fatal, a, b, n, ...) \
	CR_CHECK(fatal, memcmp((a), (b), (n)) == 0, #a " == " #b, __VA_ARGS__)

#define cr_assert(cond, ...) CR_CHECK(true, !!(cond), #cond, __VA_ARGS__)
#define cr_assert_not(cond, ...) CR_CHECK(true, !(cond), "not " #cond, __VA_ARGS__)
#define cr_assert_eq(a, b, ...) CR_OP(true, a, ==, b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...) CR_OP(true, a, !=, b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...) CR_OP(true, a, <, b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...) CR_OP(true, a, <=, b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...) CR_OP(true, a, >, b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...) CR_OP(true, a, >=, b, __VA_ARGS__)
#define cr_assert_null(a, ...) CR_OP(true, a, ==, NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...) CR_OP(true, a, !=, NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) CR_STR(true, a, ==, b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) CR_STR(true, a, !=, b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) CR_MEM(true, a, b, n, __VA_ARGS__)
#define cr_assert_fail(...) CR_CHECK(true, false, "fail", __VA_ARGS__)

#define cr_expect(cond, ...) CR_CHECK(false, !!(cond), #cond, __VA_ARGS__)
#define cr_expect_not(cond, ...) CR_CHECK(false, !(cond), "not " #cond, __VA_ARGS__)
#define cr_expect_eq(a, b, ...) CR_OP(false, a, ==, b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...) CR_OP(false, a, !=, b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...) CR_OP(false, a, <, b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...) CR_OP(false, a, <=, b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...) CR_OP(false, a, >, b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...) CR_OP(false, a, >=, b, __VA_ARGS__)
#define cr_expect_null(a, ...) CR_OP(false, a, ==, NULL, __VA_ARGS__)
#define cr_expect_not_null(a, ...) CR_OP(false, a, !=, NULL, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) CR_STR(false, a, ==, b, __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...) CR_STR(false, a, !=, b, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...) CR_MEM(false, a, b, n, __VA_ARGS__)

#define cr_log_info(...) (fprintf(stderr, "[----] " __VA_ARGS__), fputc('\n', stderr))
#define cr_log_warn cr_log_info
#define cr_skip_test(...) (cr_log_info(" " __VA_ARGS__), _exit(CR_SKIPPED))
#define cr_skip cr_skip_test

/* cr_settle - the test's options with its suite's where it says nothing. */
static struct cr_options cr_settle(const struct cr_test *t)
{
	struct cr_options o = t->options;
	for (const struct cr_test *s = cr_tests; s != NULL; s = s->next) {
		if (s->run != NULL || strcmp(s->suite, t->suite) != 0)
			continue;
		o.init = o.init != NULL ? o.init : s->options.init;
		o.fini = o.fini != NULL ? o.fini : s->options.fini;
		o.signal = o.signal != 0 ? o.signal : s->options.signal;
		o.exit_code = o.exit_code != 0 ? o.exit_code : s->options.exit_code;
		o.timeout = o.timeout > 0 ? o.timeout : s->options.timeout;
		o.disabled = o.disabled || s->options.disabled;
	}
	return o;
}

static void cr_child(const struct cr_test *t, const struct cr_options *o)
{
	if (o->init != NULL)
		o->init();
	t->run();
	if (o->fini != NULL)
		o->fini();
	fflush(NULL);
	_exit(__atomic_load_n(&cr_child_failed, __ATOMIC_RELAXED) ? CR_FAILED : 0);
}

/* cr_wait - the child's wait status, or -1 when it ran too long and was killed. */
static int cr_wait(pid_t pid, double seconds, const sigset_t *sigchld)
{
	struct timespec limit = { seconds > 0 ? (time_t)(seconds * CR_SLOW) + 1 : 86400, 0 };
	int status;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (sigtimedwait(sigchld, NULL, &limit) > 0 || errno == EINTR) /* stopped, and continued */
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return -1;
	}
	return status;
}

/* cr_run - NULL, or what was wrong. */
static const char *cr_run(const struct cr_test *t, const struct cr_options *o)
{
	sigset_t sigchld, before;
	sigemptyset(&sigchld);
	sigaddset(&sigchld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &sigchld, &before);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		cr_child(t, o);
	}
	int status = pid > 0 ? cr_wait(pid, o->timeout, &sigchld) : -1;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (status == -1)
		return "ran too long";
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == o->signal ? NULL : strsignal(WTERMSIG(status));
	if (o->signal != 0)
		return "did not die of the signal it should";
	if (WEXITSTATUS(status) == CR_SKIPPED)
		return NULL;
	return WEXITSTATUS(status) == o->exit_code ? NULL : "failed";
}

int main(void)
{
	unsigned tested = 0, failed = 0;
	for (const struct cr_test *t = cr_tests; t != NULL; t = t->next) {
		struct cr_options o = cr_settle(t);
		if (t->run == NULL || o.disabled)
			continue;
		time_t begin = time(NULL);
		const char *wrong = cr_run(t, &o);
		tested++;
		failed += wrong != NULL;
		fprintf(stderr, "[%s] %s::%s (%ld s)%s%s\n", wrong != NULL ? "FAIL" : "PASS",
			t->suite, t->name, (long)(time(NULL) - begin), wrong != NULL ? ": " : "",
			wrong != NULL ? wrong : "");
	}
	fprintf(stderr, "[====] Synthesis: Tested: %u | Failing: %u\n", tested, failed);
	return tested > 0 && failed == 0 ? 0 : 1;
}

#endif
