/* input.h - the bytes of a fuzzed input, taken from its front; and how a target says that it found something.
 * WHO    the targets of this folder; one .c file includes this. */
#ifndef TEST_FUZZ_INPUT_H
#define TEST_FUZZ_INPUT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes);

#define FUZZ_CHECK(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			abort(); \
		} \
	} while (0)

struct input {
	const uint8_t *at, *end;
};

/* take - a number of n bytes (at most 8); 0 behind the end. */
static inline uint64_t take(struct input *in, unsigned n)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < n && in->at < in->end; i++)
		v |= (uint64_t)*in->at++ << (8 * i);
	return v;
}

static inline bool has_more(const struct input *in)
{
	return in->at < in->end;
}

#endif
