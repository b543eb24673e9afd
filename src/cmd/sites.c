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

/* is_ours - a function of the library: by its name, where it is inlined into the program or part of its file. */
static bool is_ours(const struct symbol_frame *frame)
{
	return strncmp(frame->function, "mgc_", 4) == 0 || strncmp(frame->function, "GC_", 3) == 0;
}

/* in_library - whether all at that address is the library's, of which `frames` are what is there. */
static bool in_library(const struct sites *s, uintptr_t pc, const struct symbol_frame *frames, size_t n)
{
	return strcmp(symbols_file(&s->symbols, pc), s->object) == 0 &&
	       (strstr(s->object, ".so") != NULL || is_ours(&frames[n - 1]));
}

void sites_walk(struct sites *s, const struct sample_stack *stack,
		bool (*fn)(void *arg, const char *name, const char *line), void *arg)
{
	static struct symbol_frame frames[SYMBOL_FRAMES];
	char name[SYMBOL_TEXT], line[SYMBOL_TEXT];
	bool inner = true;
	uint32_t nframes = stack->nframes < SAMPLE_FRAMES ? stack->nframes : SAMPLE_FRAMES;
	for (uint32_t i = 0; i < nframes; i++) {
		uintptr_t pc = stack->pc[i];
		size_t n = symbols_frames(&s->symbols, pc, frames);
		bool last = i + 1 == nframes; /* something must be shown */
		if (inner && !last && in_library(s, pc, frames, n))
			continue;
		for (size_t k = 0; k < n; k++) {
			if (inner && k + 1 < n && is_ours(&frames[k]))
				continue;
			inner = false;
			symbols_name(&s->symbols, pc, &frames[k], name, sizeof name);
			symbols_line(&frames[k], line, sizeof line);
			if (!fn(arg, name, line))
				return;
		}
	}
}

void sites_free(struct sites *s)
{
	free(s->stacks);
	symbols_free(&s->symbols);
	*s = (struct sites){ 0 };
}
