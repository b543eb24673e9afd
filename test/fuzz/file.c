/* file.c - fuzzed: the files that the command reads, which may be anybody's: a recording, or a heap profile. It reads
 * them to their end or refuses with a message, and never beyond their end.
 * sources: src/cmd/recording.c src/cmd/profile_file.c src/cmd/sites.c src/cmd/symbols.c src/cmd/target.c
 * sources: src/cmd/observe.c src/cmd/resident.c src/cmd/options.c src/cmd/recording_read.c src/cmd/json.c
 * sources: src/cmd/note.c */
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/profile_file.h"
#include "cmd/recording.h"
#include "fuzz/input.h"

static unsigned ncomplaints;

void complain(const char *format, ...)
{
	char text[4096];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	FUZZ_CHECK(n > 0);
	ncomplaints++;
}

/* Of main.c, for options: not reached from here. */
int usage_error(const char *subcommand, const char *format, ...)
{
	(void)subcommand, (void)format;
	abort();
}

int finish_output(void)
{
	abort();
}

/* ask - as the readers of recordings do, of keys that are there and that are not. */
static void ask(const char *object)
{
	static const char *const keys[] = { "cycle", "at_ns", "counters", "names", "map", "no such" };
	char text[64];
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		const char *member = recording_member(object, keys[i]);
		FUZZ_CHECK(member == NULL || (member > object && member <= object + strlen(object)));
		(void)recording_number(object, keys[i], -1);
		if (recording_text(object, keys[i], text, sizeof text))
			FUZZ_CHECK(strlen(text) < sizeof text && member != NULL && *member == '"');
		if (member != NULL && *member == '{')
			(void)recording_number(member, "n", -1);
	}
}

static void read_recording(const char *path)
{
	struct recording_line line = { 0 };
	FILE *file = recording_open(path);
	FUZZ_CHECK((file == NULL) == (ncomplaints != 0));
	if (file == NULL)
		return;
	while (recording_next(file, &line)) {
		(void)recording_is(&line, "sample");
		ask(line.text);
	}
	fclose(file);
}

static void read_profile(const char *path)
{
	struct profile_file f;
	memset(&f, 0, sizeof f);
	int status = profile_file_read(&f, path);
	FUZZ_CHECK(status == 0 || ncomplaints != 0);
	profile_file_free(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	char path[64];
	int fd = memfd_create("fuzz", 0);
	FUZZ_CHECK(fd >= 0 && write(fd, data, nbytes) == (ssize_t)nbytes);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ncomplaints = 0;
	if (nbytes > 0 && data[0] == '{')
		read_recording(path);
	else
		read_profile(path);
	close(fd);
	return 0;
}
