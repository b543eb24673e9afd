/* recording_read.c - see recording.h: a recording that is read. STATE none of its own. */
#include "cmd/recording.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/cmd.h"
#include "cmd/json.h"

#define MOST 2e19 /* no number of ours is larger: they are of 64 bits */

/* ── its lines ──────────────────────────────────────────────────────────────────────────── */

/* What a line must have, each word a type (number, text, boolean, list, object) and a member; the first one says which
 * line it is. */
static const char cycle_shape[] =
	"ncycle nstart bforced byoung nsweep nstopping npause nmark nbeside ncpu nassist nsnapshot "
	"nsignals nbefore "
	"nlive ngoal nborn nover nstacks nroots nobjects nworkers nthreads ophases";
static const char *const shapes[] = {
	"tmallocgc nformat npid tcommand tface",
	"nsample nrss npages nfree nreleased nscavenged",
	cycle_shape,
	"ncensus nbase ngrown ncell lclasses lcells",
	"thistogram lbuckets",
	"nsites nrate nobjects nbytes nlive_bytes",
	"nsite nobjects nbytes nlive_objects nlive_bytes lstack llines",
	"nend thow nstatus nlost",
};

static bool has_member(const char *object, char type, const char *key)
{
	const char *value = recording_member(object, key);
	if (value == NULL)
		return false;
	switch (type) {
	case 'n':
		return recording_number(object, key, 2 * MOST) <= MOST;
	case 'b':
		return *value == 't' || *value == 'f';
	default:
		return *value == (type == 't' ? '"' : type == 'l' ? '[' : '{');
	}
}

/* is_whole - an object with all that such a line has. Lines that we do not know are. */
static bool is_whole(const struct recording_line *line)
{
	if (!json_is_object(line->text, line->nbytes))
		return false;
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		char key[32];
		const char *s = shapes[i];
		snprintf(key, sizeof key, "%.*s", (int)strcspn(s + 1, " "), s + 1);
		if (!recording_is(line, key))
			continue;
		for (size_t n; *s != '\0'; s += n + (s[n] == ' ')) {
			n = strcspn(s, " ");
			snprintf(key, sizeof key, "%.*s", (int)n - 1, s + 1);
			if (!has_member(line->text, *s, key))
				return false;
		}
		return true;
	}
	return true;
}

bool recording_next(FILE *file, struct recording_line *line)
{
	for (ssize_t n; (n = getline(&line->text, &line->room, file)) > 0;) {
		if (line->text[n - 1] != '\n')
			break; /* it was cut off here */
		line->text[n - 1] = '\0';
		line->nbytes = (size_t)n - 1;
		line->number++;
		if (is_whole(line))
			return true;
		if (line->nleft_out++ == 0)
			line->first_left_out = line->number;
	}
	free(line->text);
	line->text = NULL;
	line->room = 0;
	return false;
}

int recording_judge(const struct recording_line *line, const char *path)
{
	if (line->nleft_out == 0)
		return 0;
	complain("%s: %zu of %zu lines are damaged and left out, the first is line %zu", path,
		 line->nleft_out, line->number, line->first_left_out);
	return STATUS_FAILED;
}

/* ── the file ───────────────────────────────────────────────────────────────────────────── */

FILE *recording_open(const char *path)
{
	char head[64] = "";
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		complain("%s: %s", path, strerror(errno));
		return NULL;
	}
	size_t n = fread(head, 1, sizeof head - 1, file);
	head[n] = '\0';
	int format = 0;
	if (sscanf(head, "{\"mallocgc\":\"recording\",\"format\":%d", &format) != 1)
		complain("%s is not a recording (mallocgc record, or run --record, writes one)", path);
	else if (format != RECORDING_FORMAT)
		complain("%s is a recording of format %d, and this command reads %d", path, format,
			 RECORDING_FORMAT);
	else if (fseek(file, 0, SEEK_SET) == 0)
		return file;
	fclose(file);
	return NULL;
}

int recording_spare(FILE *recording, const char *output)
{
	struct stat in, out;
	if (fstat(fileno(recording), &in) != 0 || stat(output, &out) != 0 ||
	    in.st_dev != out.st_dev || in.st_ino != out.st_ino)
		return 0;
	complain("%s is the recording itself: choose another name for what is made of it", output);
	return STATUS_FAILED;
}

/* ── members ────────────────────────────────────────────────────────────────────────────── */

/* skip_string - behind a string that begins at s. */
static const char *skip_string(const char *s)
{
	for (s++; *s != '\0' && *s != '"'; s++)
		s += *s == '\\' && s[1] != '\0';
	return *s == '"' ? s + 1 : s;
}

const char *recording_member(const char *object, const char *key)
{
	size_t n = strlen(key);
	int depth = 0;
	for (const char *s = object; *s != '\0';) {
		if (*s == '"') {
			const char *end = skip_string(s);
			if (depth == 1 && *end == ':' && (size_t)(end - s) == n + 2 &&
			    memcmp(s + 1, key, n) == 0)
				return end + 1 + strspn(end + 1, " \t");
			s = end;
			continue;
		}
		depth += (*s == '{' || *s == '[') - (*s == '}' || *s == ']');
		if (depth == 0)
			return NULL;
		s++;
	}
	return NULL;
}

bool recording_is(const struct recording_line *line, const char *key)
{
	size_t n = strlen(key);
	return line->nbytes > n + 3 && line->text[1] == '"' &&
	       memcmp(line->text + 2, key, n) == 0 && line->text[n + 2] == '"';
}

double recording_number(const char *object, const char *key, double none)
{
	const char *value = recording_member(object, key);
	char *end;
	double v = value != NULL ? strtod(value, &end) : 0;
	return value != NULL && end != value && v >= -MOST && v <= MOST ? v : none;
}

bool recording_text(const char *object, const char *key, char *out, size_t nbytes)
{
	const char *value = recording_member(object, key);
	if (value == NULL || *value != '"')
		return false;
	size_t n = (size_t)(skip_string(value) - value);
	if (n < 2 || n - 2 >= nbytes)
		return false;
	memcpy(out, value + 1, n - 2);
	out[n - 2] = '\0';
	return true;
}
