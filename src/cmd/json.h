/* json.h - whether a text is what it should be: JSON (RFC 8259), and the UTF-8 in it.
 * WHO    recording.c, recording_read.c.  STATE none.  UNITS bytes. */
#ifndef MGC_CMD_JSON_H
#define MGC_CMD_JSON_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>

/* utf8_sequence - bytes of the UTF-8 sequence at s, which ends with a 0 somewhere; 0: it is none. */
size_t utf8_sequence(const unsigned char *s);
/* json_is_object - whether the text, with a 0 at text[nbytes], is one object and nothing else. */
bool json_is_object(const char *text, size_t nbytes);

#endif
