/* statout.c - see statout.h. FROM the OpenMetrics text format 1.0; names as Go's Prometheus collector makes
 * them of runtime/metrics: what is no letter or digit becomes '_', counters end in _total. */
#include "base/statout.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/out.h"

enum stat_kind { STAT_counter, STAT_gauge };

static const struct row {
	const char *name, *unit, *help;
	enum stat_kind kind;
} rows[NSTATS] = {
#define MGC_STAT(id, name, kind, unit, help) { name, unit, help, STAT_##kind },
#include "base/stat.def"
#undef MGC_STAT
};

bool stat_target(const char *text, enum stat_format *format, const char **file)
{
	static const char *const names[] = { "text", "json", "openmetrics" };
	if (strcmp(text, "1") == 0)
		text = names[STAT_TEXT];
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t n = strlen(names[i]);
		if (strncmp(text, names[i], n) != 0 || (text[n] != '\0' && text[n] != ':'))
			continue;
		*format = (enum stat_format)i;
		*file = text[n] == ':' ? text + n + 1 : NULL;
		return *file == NULL || **file != '\0';
	}
	return false;
}

static void put_text(struct out *o, const struct stat_values *v)
{
	for (unsigned i = 0; i < NSTATS; i++)
		if (!v->absent[i])
			out_print(o, "%s %lu\n", rows[i].name, v->value[i]);
}

/* put_json - one line: schema in docs/stats.schema.json. */
static void put_json(struct out *o, const struct stat_values *v)
{
	const char *separator = "";
	out_print(o, "{\"mallocgc\":\"" MGC_VERSION_STRING "\",\"schema\":1,\"face\":");
	out_string(o, v->face);
	out_print(o, ",\"pid\":%d,\"program\":", (int)getpid());
	out_string(o, program_invocation_name);
	out_print(o, ",\"stats\":{");
	for (unsigned i = 0; i < NSTATS; i++) {
		if (v->absent[i])
			continue;
		out_print(o, "%s\"%s\":", separator, rows[i].name);
		if (v->value[i] == UINT64_MAX)
			out_print(o, "null");
		else
			out_print(o, "%lu", v->value[i]);
		separator = ",";
	}
	out_print(o, "}}\n");
}

static void metric_name(char *out, size_t cap, const char *name)
{
	size_t n = mgc_format(out, cap, "mallocgc%s", name);
	for (size_t i = 0; i < n; i++)
		if (!(out[i] >= 'a' && out[i] <= 'z') && !(out[i] >= '0' && out[i] <= '9'))
			out[i] = '_';
}

static void put_openmetrics(struct out *o, const struct stat_values *v)
{
	for (unsigned i = 0; i < NSTATS; i++) {
		const struct row *r = &rows[i];
		char name[128];
		if (v->absent[i])
			continue;
		metric_name(name, sizeof name, r->name);
		out_print(o, "# TYPE %s %s\n# HELP %s %s\n", name,
			  r->kind == STAT_counter ? "counter" : "gauge", name, r->help);
		out_print(o, "%s%s{face=\"%s\"} ", name, r->kind == STAT_counter ? "_total" : "",
			  v->face);
		if (v->value[i] == UINT64_MAX)
			out_print(o, "+Inf\n");
		else
			out_print(o, "%lu\n", v->value[i]);
	}
	out_print(o, "# EOF\n");
}

int stat_write(int fd, enum stat_format format, const struct stat_values *v)
{
	static void (*const put[])(struct out *, const struct stat_values *) = {
		[STAT_TEXT] = put_text, [STAT_JSON] = put_json, [STAT_OPENMETRICS] = put_openmetrics
	};
	struct out o;
	out_init(&o, fd);
	put[format](&o, v);
	return out_flush(&o);
}

void stat_file_name(char *out, size_t nbytes, const char *pattern)
{
	size_t n = 0;
	while (*pattern != '\0' && n + 1 < nbytes) {
		if (pattern[0] == '%' && pattern[1] == 'p') {
			n += mgc_format(out + n, nbytes - n, "%d", (int)getpid());
			pattern += 2;
		} else {
			out[n++] = *pattern++;
		}
	}
	out[n] = '\0';
}

bool stat_to_stderr(const char *text)
{
	enum stat_format format;
	const char *file;
	return text != NULL && stat_target(text, &format, &file) && file == NULL;
}

void stat_write_target(const char *text, const struct stat_values *v)
{
	enum stat_format format;
	const char *file;
	char path[PATH_MAX];
	int err;
	if (!stat_target(text, &format, &file))
		return;
	if (file == NULL) {
		(void)stat_write(STDERR_FILENO, format, v);
		return;
	}
	stat_file_name(path, sizeof path, file);
	int fd = open(path,
		      O_WRONLY | O_CREAT | O_CLOEXEC | (format == STAT_OPENMETRICS ? O_TRUNC : O_APPEND),
		      0644);
	err = fd < 0 ? errno : stat_write(fd, format, v);
	if (fd >= 0)
		close(fd);
	if (err != 0)
		mgc_print(STDERR_FILENO, "mallocgc: MGC_STATS: %s cannot be written (error %d)\n",
			  path, err);
}
