/* out.h - buffered text to a file descriptor, without stdio and without the heap: it may be written to while
 * the world stands still. */
#ifndef MGC_BASE_OUT_H
#define MGC_BASE_OUT_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stddef.h>

#include "base/compiler.h"

struct out {
	int fd;
	int err; /* errno of the first write that failed; nothing is written after it */
	size_t n;
	char buf[8192];
};

void out_init(struct out *o, int fd);
/* out_print - at most 512 bytes; formats as mgc_format. */
void out_print(struct out *o, const char *fmt, ...) MGC_PRINTF(2, 3);
/* out_string - the text in double quotes, as JSON. */
void out_string(struct out *o, const char *s);
/* out_bytes - as they are. */
void out_bytes(struct out *o, const void *bytes, size_t n);
/* out_flush - 0, or the errno of the first write that failed. */
int out_flush(struct out *o);

#endif
