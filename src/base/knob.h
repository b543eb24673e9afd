/* knob.h - the settings of knob.def, read from the environment once. WHO the faces, before the heap
 * exists. A bad value ends the process with a message that names the variable, the value and what is
 * allowed: a setting is never ignored. Set-user-ID programs ignore the environment. */
#ifndef MGC_BASE_KNOB_H
#define MGC_BASE_KNOB_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KNOB_TEXTS = 6 }; /* settings that are texts, and some to spare */
#define KNOB_OFF (-1) /* a percent that was given as "off" */

#define KNOB_TYPE_int int64_t
#define KNOB_TYPE_bytes int64_t
#define KNOB_TYPE_percent int64_t
#define KNOB_TYPE_path const char *
#define KNOB_TYPE_socket const char *
#define KNOB_TYPE_stats const char * /* FORMAT or FORMAT:FILE (statout.h) */

struct knobs {
#define MGC_KNOB(id, env, type, def, lo, hi, unit, help) KNOB_TYPE_##type id;
#include "base/knob.def"
#undef MGC_KNOB
};

void knob_defaults(struct knobs *k);
/* knob_read_env - defaults, then the environment. Dies on a bad value. */
void knob_read_env(struct knobs *k);
/* knob_keep - a copy of the name of a file that lasts; NULL when there are too many. Programs write over the memory that their
 * environment came in (setproctitle), and go to other directories: a relative name gets the one of now in front. Only at the start of a face, which one thread does. */
const char *knob_keep(const char *text);
/* knob_sample_rate - bytes between samples that the settings ask for; 0: none. */
#define KNOB_SAMPLE_RATE ((uint64_t)512 << 10)
uint64_t knob_sample_rate(const struct knobs *k);
/* knob_set - one setting from text; false with a reason in `why` (at least 200 bytes). */
bool knob_set(struct knobs *k, const char *name, const char *value, char *why, size_t nbytes);
/* knob_set_list - those of MGC_DEBUG: key=value,key,… (a key alone: 1); stops at the first that is refused. */
bool knob_set_list(struct knobs *k, const char *list, char *why, size_t nbytes);

#endif
