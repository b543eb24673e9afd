/* knob.c - see knob.h. State: the texts that were read, written at the start only. */
#include "base/knob.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/statout.h"

enum knob_type { KNOB_int, KNOB_bytes, KNOB_percent, KNOB_path, KNOB_socket, KNOB_stats };

struct row {
	const char *name;
	enum knob_type type;
	int64_t def, lo, hi;
	size_t offset;
};

static const struct row rows[] = {
#define MGC_KNOB(id, env, type, def, lo, hi, unit, help) \
	{ env, KNOB_##type, def, lo, hi, offsetof(struct knobs, id) },
#include "base/knob.def"
#undef MGC_KNOB
};
#define NROWS (sizeof rows / sizeof rows[0])

static void store(struct knobs *k, const struct row *r, int64_t value)
{
	*(int64_t *)((char *)k + r->offset) = value;
}

static bool is_text(const struct row *r)
{
	return r->type == KNOB_path || r->type == KNOB_socket || r->type == KNOB_stats;
}

void knob_defaults(struct knobs *k)
{
	memset(k, 0, sizeof *k);
	for (size_t i = 0; i < NROWS; i++)
		if (!is_text(&rows[i]))
			store(k, &rows[i], rows[i].def);
}

/* parse_unit - the factor of a size suffix (B, KiB, K, MiB …), 0 when unknown. */
static int64_t parse_unit(const char *s)
{
	static const char *const names[][2] = {
		{ "", "B" }, { "K", "KiB" }, { "M", "MiB" }, { "G", "GiB" }, { "T", "TiB" }
	};
	for (unsigned i = 0; i < 5; i++)
		if (strcmp(s, names[i][0]) == 0 || strcmp(s, names[i][1]) == 0)
			return INT64_C(1) << (10 * i);
	return 0;
}

static bool parse_number(enum knob_type type, const char *s, int64_t *out)
{
	char *end;
	int64_t factor = 1;
	if (type == KNOB_percent && strcmp(s, "off") == 0) {
		*out = KNOB_OFF;
		return true;
	}
	errno = 0;
	long long v = strtoll(s, &end, 10);
	if (end == s || errno == ERANGE)
		return false;
	if (type == KNOB_bytes)
		factor = parse_unit(end);
	else if (*end != '\0')
		return false;
	int64_t value;
	if (factor == 0 || __builtin_mul_overflow((int64_t)v, factor, &value))
		return false;
	*out = value;
	return true;
}

static bool set_row(struct knobs *k, const struct row *r, const char *value, char *why, size_t nbytes)
{
	int64_t v = 0;
	enum stat_format format;
	const char *file;
	if (r->type == KNOB_stats && !stat_target(value, &format, &file)) {
		mgc_format(why, nbytes, "%s=%s: not text, json or openmetrics, or one of them and :FILE",
			   r->name, value);
		return false;
	}
	if (is_text(r)) {
		*(const char **)((char *)k + r->offset) = value;
		return true;
	}
	static const char *const wanted[] = { "a whole number", "a size as 512MiB",
					      "a percentage or off" };
	if (!parse_number(r->type, value, &v)) {
		mgc_format(why, nbytes, "%s=%s: not %s", r->name, value, wanted[r->type]);
		return false;
	}
	bool special = v == r->def || (r->type == KNOB_percent && v == KNOB_OFF);
	if (!special && (v < r->lo || v > r->hi)) {
		mgc_format(why, nbytes, "%s=%s: must be %ld to %ld", r->name, value, (long)r->lo,
			   (long)r->hi);
		return false;
	}
	store(k, r, v);
	return true;
}

bool knob_set(struct knobs *k, const char *name, const char *value, char *why, size_t nbytes)
{
	for (size_t i = 0; i < NROWS; i++)
		if (strcmp(rows[i].name, name) == 0)
			return set_row(k, &rows[i], value, why, nbytes);
	mgc_format(why, nbytes, "%s: no such setting", name);
	return false;
}

uint64_t knob_sample_rate(const struct knobs *k)
{
	return k->samplerate != 0   ? (uint64_t)k->samplerate
	       : k->profile != NULL ? KNOB_SAMPLE_RATE
				    : 0;
}

bool knob_set_list(struct knobs *k, const char *list, char *why, size_t nbytes)
{
	char name[64];
	while (*list != '\0') {
		size_t n = strcspn(list, ","), key = strcspn(list, "=,");
		char value[64] = "1";
		if (key + sizeof "MGC_DEBUG." > sizeof name || n - key > sizeof value) {
			mgc_format(why, nbytes, "MGC_DEBUG: a key or value is too long");
			return false;
		}
		mgc_format(name, sizeof name, "MGC_DEBUG.");
		strncat(name, list, key);
		if (key < n) {
			memcpy(value, list + key + 1, n - key - 1);
			value[n - key - 1] = '\0';
		}
		if (n > 0 && !knob_set(k, name, value, why, nbytes))
			return false;
		list += n + (list[n] == ',');
	}
	return true;
}

MGC_NORETURN static void refuse(const char *why)
{
	mgc_print(STDERR_FILENO, "mallocgc: %s (see mallocgc(7))\n", why);
	_exit(2);
}

/* file_in - where the name of a file begins in a setting that was read; NULL: it has none. */
static const char *file_in(enum knob_type type, const char *text)
{
	enum stat_format format;
	const char *file = NULL;
	if (type == KNOB_stats)
		return stat_target(text, &format, &file) ? file : NULL;
	return type == KNOB_path ? text : NULL;
}

/* keep - text, with `folder` and a slash before its part `file`, if both are there. */
static const char *keep(const char *text, const char *file, const char *folder)
{
	static char kept[KNOB_TEXTS * (PATH_MAX + 16)]; /* a name of a file each, and a format before it */
	static size_t nkept;
	size_t before = file != NULL && folder != NULL ? (size_t)(file - text) : 0,
	       nfolder = file != NULL && folder != NULL ? strlen(folder) + 1 : 0,
	       nbytes = strlen(text) + 1;
	if (nfolder + nbytes > sizeof kept - nkept)
		return NULL;
	char *out = kept + nkept;
	memcpy(out, text, before);
	if (nfolder > 0) {
		memcpy(out + before, folder, nfolder - 1);
		out[before + nfolder - 1] = '/';
	}
	memcpy(out + before + nfolder, text + before, nbytes - before);
	nkept += nfolder + nbytes;
	return out;
}

/* keep_from_here - the file is the one that the name means now, wherever the program goes. A folder whose name would be read as
 * a pattern, is too long, or is outside of the root, is left to what it will be. The C library's getcwd would allocate there. */
static const char *keep_from_here(enum knob_type type, const char *text)
{
	char here[PATH_MAX];
	const char *file = file_in(type, text);
	bool relative = file != NULL && file[0] != '/' && file[0] != '\0' &&
			syscall(SYS_getcwd, here, sizeof here) > 0 && here[0] == '/' &&
			strstr(here, "%p") == NULL && strlen(here) + 1 + strlen(file) < PATH_MAX;
	return keep(text, file, relative ? here : NULL);
}

const char *knob_keep(const char *text)
{
	return keep_from_here(KNOB_path, text);
}

void knob_read_env(struct knobs *k)
{
	char why[256];
	knob_defaults(k);
	for (size_t i = 0; i < NROWS; i++) {
		const char *value = secure_getenv(rows[i].name);
		if (value != NULL && is_text(&rows[i]) &&
		    (value = keep_from_here(rows[i].type, value)) == NULL) {
			mgc_format(why, sizeof why, "%s: too long", rows[i].name);
			refuse(why);
		}
		if (value != NULL && *value != '\0' && !set_row(k, &rows[i], value, why, sizeof why))
			refuse(why);
	}
	const char *debug = secure_getenv("MGC_DEBUG");
	if (debug != NULL && !knob_set_list(k, debug, why, sizeof why))
		refuse(why);
}
