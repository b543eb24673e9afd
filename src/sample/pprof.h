/* pprof.h - the samples as a profile in pprof's format (profile.proto, not compressed): `go tool pprof` reads it.
 *
 * WHAT   Four values for each stack: objects and bytes allocated since the start, objects and bytes that
 *        live. Addresses are the program's, with the files they are mapped from, so pprof finds names in
 *        these; a symbolizer, if there is one, gives them here.
 * WHO    the process at its end; mgc_write_profile; the command, for a process that it looks at.
 * LOCKS  none: what others add meanwhile is in it or not.
 * FROM   github.com/google/pprof/proto/profile.proto. */
#ifndef MGC_SAMPLE_PPROF_H
#define MGC_SAMPLE_PPROF_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sample/sampler.h"

/* One function at an address. Strings are valid until the symbolizer's next call. */
struct pprof_line {
	const char *function;
	const char *linkage, *file; /* the name as it is linked; the source's; or NULL */
	uint64_t line;
};

enum { PPROF_LINES = 8 };

struct pprof_source {
	const struct sample_stack *stacks;
	size_t nstacks;
	uint64_t rate_nbytes;
	uint64_t duration_ns;
	uint64_t time_ns; /* when it was made, since 1970; 0: now */
	const char *maps; /* its /proc/PID/maps */
	/* the functions at pc, innermost first (those before the last are inlined), at most max; NULL: none */
	size_t (*symbolize)(void *arg, uintptr_t pc, struct pprof_line *out, size_t max);
	void *arg;
};

/* pprof_write - 0 or an errno: ENOMEM; what write says; ENODATA: all is written but which file an address is in, as `maps`
 * cannot be read. */
int pprof_write(int fd, const struct pprof_source *source);
/* pprof_write_own - of this process, to a file (%p in its name: the process); says on standard error what
 * went wrong. */
void pprof_write_own(const char *file);
/* pprof_own - this process as a source. */
struct pprof_source pprof_own(void);

#endif
