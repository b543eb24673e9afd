/* libgc_header.h - what lies before an object of libgc's debugging allocation. */
#ifndef MGC_FACE_LIBGC_HEADER_H
#define MGC_FACE_LIBGC_HEADER_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct debug_header {
	const char *file; /* the program's, who called */
	uint32_t line;
	uint32_t reported; /* its guard was found damaged, and that was said */
	size_t nbytes; /* what was asked for */
	uintptr_t seal; /* says, with its own address, that this is one, and its state */
};

_Static_assert(sizeof(struct debug_header) == 32,
	       "libgc's size, and objects behind it are aligned to 16");

#define HEADER_SEAL UINT64_C(0x6b1f93a5c4e8d270)
enum { HEADER_LIVE, HEADER_FREED };

/* header_at - of the object at that first byte; NULL: it has none. */
struct debug_header *header_at(uintptr_t object);
bool header_is_freed(const struct debug_header *h);
/* header_smashed_at - the first byte behind the object that was written to; NULL: none. */
const unsigned char *header_smashed_at(const struct debug_header *h);
/* libgc_check_guard - says so, once, when the guard is damaged; whether it did. */
bool libgc_check_guard(struct debug_header *h);

#endif
