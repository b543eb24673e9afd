/* knob_test.c - settings that are texts last, whatever becomes of the environment and wherever the program goes; what is too long
 * is refused. */
#include <limits.h>
#include <sys/stat.h>

#include "lib/plain.h"

#include "base/knob.h"

TEST(texts_outlast_the_environment)
{
	static char log[] = "MGC_LOG=/folder/log", stats[] = "MGC_STATS=json:/s-%p.json";
	static char *mine[] = { log, stats, NULL };
	char **before = environ;
	struct knobs k;
	environ = mine;
	knob_read_env(&k);
	memset(log, 'x', sizeof log - 1);
	memset(stats, 'x', sizeof stats - 1);
	environ = before;
	CHECK(strcmp(k.log, "/folder/log") == 0);
	CHECK(strcmp(k.stats, "json:/s-%p.json") == 0);
}

/* keeps - of these settings, read in `here`, MGC_LOG and MGC_STATS become log and stats. */
static void keeps(const char *here, const char *set_log, const char *set_stats, const char *log,
		  const char *stats)
{
	struct knobs k;
	CHECK_EQ(chdir(here), 0);
	setenv("MGC_LOG", set_log, 1);
	setenv("MGC_STATS", set_stats, 1);
	knob_read_env(&k);
	CHECK(strcmp(k.log, log) == 0);
	CHECK(strcmp(k.stats, stats) == 0);
	CHECK(k.recorder == NULL || strcmp(k.recorder, "name") == 0); /* of no file */
}

TEST(relative_names_are_those_of_the_start)
{
	char folder[] = "/tmp/mallocgc-knob-XXXXXX", odd[64], wanted[2][128];
	CHECK(mkdtemp(folder) != NULL);
	snprintf(wanted[0], sizeof wanted[0], "%s/a/log", folder);
	snprintf(wanted[1], sizeof wanted[1], "json:%s/s-%%p.json", folder);
	keeps(folder, "a/log", "json:s-%p.json", wanted[0], wanted[1]);
	setenv("MGC_RECORDER", "name", 1);
	keeps(folder, "/log", "text", "/log", "text"); /* no file, or an absolute one */
	snprintf(odd, sizeof odd, "%s/%%p", folder);
	CHECK_EQ(mkdir(odd, 0700), 0);
	keeps(odd, "log", "json:s", "log", "json:s"); /* would be read as the number of the process */
	CHECK_EQ(chdir("/"), 0);
	CHECK(rmdir(odd) == 0 && rmdir(folder) == 0);
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
