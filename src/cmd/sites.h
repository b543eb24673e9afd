/* sites.h - which stacks of another process allocate: its sampler's tables, copied, with names.
 * WHO    the recorder, profile.  STATE a copy, of the moment of the last sites_read.
 * UNITS  bytes and objects that samples stand for. */
#ifndef MGC_CMD_SITES_H
#define MGC_CMD_SITES_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include "cmd/symbols.h"
#include "cmd/target.h"
#include "sample/sampler.h"

struct sites {
	uint64_t rate_nbytes; /* 0: the sampler is off */
	uint64_t age_ns; /* since the first sample */
	size_t nstacks;
	struct sample_stack *stacks;
	struct symbols symbols; /* of what was loaded then */
	char object[256]; /* the library's own file */
};

/* sites_read - replaces the copy. False: the process is gone, or no memory; then the copy is as it was. */
bool sites_read(const struct target *t, struct sites *s);
/* sites_set_rate - switches the process's sampler on, with that rate, or off with 0. False: the process is gone. */
bool sites_set_rate(const struct target *t, uint64_t rate_nbytes);
/* sites_walk - fn for each function of the stack, innermost first, inlined ones too, without the library's own: its
 * name, and "file.c:31" or "". False from fn ends it. */
void sites_walk(struct sites *s, const struct sample_stack *stack,
		bool (*fn)(void *arg, const char *name, const char *line), void *arg);
void sites_free(struct sites *s);

#endif
