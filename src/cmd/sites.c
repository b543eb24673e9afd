/* sites.c - see sites.h. STATE none of its own. */
#include "cmd/sites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "os/os.h"

enum { MAX_COPIED = 1 << 17 };

bool sites_read(const struct target *t, struct sites *s)
{
	struct sampler theirs;
	if (!target_read(t, (uintptr_t)t->watch.sampler, &theirs, sizeof theirs))
		return false;
	size_t n = theirs.stacks != NULL && theirs.nstacks <= MAX_COPIED ? theirs.nstacks : 0;
	struct sample_stack *copy = NULL;
	if (n > 0) {
		copy = malloc(n * sizeof *copy);
		if (copy == NULL || !target_read(t, (uintptr_t)theirs.stacks, copy, n * sizeof *copy) ||
		    !symbols_read(&s->symbols, t->pid)) {
			free(copy);
			return false;
		}
	}
	free(s->stacks);
	s->stacks = copy;
	s->nstacks = n;
	s->rate_nbytes = theirs.rate_nbytes;
	s->age_ns = n > 0 ? os_now_ns() - theirs.start_ns : 0;
	snprintf(s->object, sizeof s->object, "%s", t->object);
	return true;
}

bool sites_set_rate(const struct target *t, uint64_t rate_nbytes)
{
	struct iovec local = { &rate_nbytes, sizeof rate_nbytes };
	struct iovec remote = { (char *)(uintptr_t)t->watch.sampler +
					offsetof(struct sampler, rate_nbytes),
				sizeof rate_nbytes };
	return process_vm_writev(t->pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof rate_nbytes;
}

/* is_ours - a frame of the library: of its file, or, where it is part of the program's own file, by its name. */
static bool is_ours(struct sites *s, uintptr_t pc)
{
	char name[256];
	if (strcmp(symbols_file(&s->symbols, pc), s->object) != 0)
		return false;
	if (strstr(s->object, ".so") != NULL)
		return true;
	symbols_name(&s->symbols, pc, name, sizeof name);
	return strncmp(name, "mgc_", 4) == 0 || strncmp(name, "GC_", 3) == 0;
}

uint32_t sites_inner(struct sites *s, const struct sample_stack *stack)
{
	uint32_t n = 0;
	while (n + 1 < stack->nframes && n + 1 < SAMPLE_FRAMES && is_ours(s, stack->pc[n]))
		n++;
	return n;
}

void sites_free(struct sites *s)
{
	free(s->stacks);
	symbols_free(&s->symbols);
	*s = (struct sites){ 0 };
}
