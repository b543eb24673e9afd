/* knob.c - fuzzed: settings as the environment gives them. The first byte says what the rest is: 0, a list for
 * MGC_DEBUG; n, a value of knob.def's nth row. What is taken lies within its row's limits; what is not leaves the
 * setting as it was, and there is a message. */
#include "base/knob.h"
#include "fuzz/input.h"

enum kind { IS_int, IS_bytes, IS_percent, IS_path, IS_socket, IS_stats };

static const struct row {
	const char *name;
	enum kind kind;
	int64_t def, lo, hi;
	size_t offset;
} rows[] = {
#define MGC_KNOB(id, env, type, def, lo, hi, unit, help) \
	{ env, IS_##type, def, lo, hi, offsetof(struct knobs, id) },
#include "base/knob.def"
#undef MGC_KNOB
};
#define NROWS (sizeof rows / sizeof rows[0])

static void check_row(const struct knobs *k, const struct row *r)
{
	int64_t v = 0;
	if (r->kind >= IS_path)
		return;
	memcpy(&v, (const char *)k + r->offset, sizeof v);
	bool off = r->kind == IS_percent && v == KNOB_OFF;
	FUZZ_CHECK(v == r->def || off || (v >= r->lo && v <= r->hi));
}

static void check_refusal(const char *why, size_t room)
{
	FUZZ_CHECK(memchr(why, '\0', room) != NULL && why[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct input in = { data, data + nbytes };
	struct knobs k, before;
	char why[256] = "", *text = malloc(nbytes + 1);
	size_t which = (size_t)take(&in, 1), n = (size_t)(in.end - in.at);
	memcpy(text, in.at, n);
	text[n] = '\0';
	knob_defaults(&k);
	before = k;
	if (which == 0) {
		if (!knob_set_list(&k, text, why, sizeof why))
			check_refusal(why, sizeof why);
	} else if (!knob_set(&k, rows[(which - 1) % NROWS].name, text, why, sizeof why)) {
		check_refusal(why, sizeof why);
		FUZZ_CHECK(memcmp(&k, &before, sizeof k) == 0);
	}
	for (size_t i = 0; i < NROWS; i++)
		check_row(&k, &rows[i]);
	free(text);
	return 0;
}
