/* knob_test.c - settings that are texts last, whatever becomes of the environment; what is too long is refused. */
#include <limits.h>

#include "lib/plain.h"

#include "base/knob.h"

TEST(texts_outlast_the_environment)
{
	static char log[] = "MGC_LOG=folder/log", stats[] = "MGC_STATS=json:s-%p.json";
	static char *mine[] = { log, stats, NULL };
	char **before = environ;
	struct knobs k;
	environ = mine;
	knob_read_env(&k);
	memset(log, 'x', sizeof log - 1);
	memset(stats, 'x', sizeof stats - 1);
	environ = before;
	CHECK(strcmp(k.log, "folder/log") == 0);
	CHECK(strcmp(k.stats, "json:s-%p.json") == 0);
}

TEST(too_many_are_refused)
{
	static char name[PATH_MAX];
	memset(name, 'x', sizeof name - 1);
	unsigned n = 0;
	while (n < 100 && knob_keep(name) != NULL)
		n++;
	CHECK(n >= 4 && n < 100);
	setenv("MGC_PROFILE", name, 1);
	pid_t pid = fork();
	int status;
	if (pid == 0) {
		struct knobs k;
		knob_read_env(&k); /* says so, and ends the process */
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 2);
}
