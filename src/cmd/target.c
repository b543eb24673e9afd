/* target.c - see target.h. STATE none. FROM process_vm_readv(2), proc(5), elf(5). */
#include "cmd/target.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/config.h"
#include "cmd/cmd.h"
#include "cmd/note.h"
#include "face/runtime.h"
#include "face/watch_layout.h"

enum { MAX_PHDRS = 64, MAX_NOTES = 65536 };

pid_t target_pid(const struct subcommand *c, int argc, char **argv)
{
	const char *text = one_operand(c, "process", argc, argv);
	char *end;
	if (text == NULL)
		return 0;
	errno = 0;
	long pid = strtol(text, &end, 10);
	if (end != text && *end == '\0' && errno == 0 && pid > 0 && pid <= 1 << 22)
		return (pid_t)pid;
	usage_error(c->name, "`%s` is not the number of a process", text);
	return 0;
}

bool target_read(const struct target *t, uintptr_t addr, void *out, size_t nbytes)
{
	size_t done = 0;
	while (done < nbytes) {
		struct iovec local = { (char *)out + done, nbytes - done };
		struct iovec remote = { (void *)(addr + done), nbytes - done };
		ssize_t n = process_vm_readv(t->pid, &local, 1, &remote, 1, 0);
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

bool target_gather(const struct target *t, const uintptr_t *addr, size_t n, void *out, size_t nbytes)
{
	struct iovec local = { out, n * nbytes }, remote[TARGET_PIECES];
	for (size_t i = 0; i < n; i++)
		remote[i] = (struct iovec){ (void *)addr[i], nbytes };
	return n == 0 || process_vm_readv(t->pid, &local, 1, remote, n, 0) == (ssize_t)(n * nbytes);
}

bool target_alive(const struct target *t)
{
	uint64_t magic;
	return target_read(t, (uintptr_t)t->watch.started, &magic, sizeof(uint32_t));
}

/* ── the note ───────────────────────────────────────────────────────────────────────────── */

/* search_notes - the address of a struct watch that a note in [at, at + nbytes) leads to, or 0. */
static uintptr_t search_notes(const struct target *t, uintptr_t at, size_t nbytes)
{
	static unsigned char notes[MAX_NOTES];
	if (nbytes > sizeof notes || !target_read(t, at, notes, nbytes))
		return 0;
	return note_search(notes, nbytes, at);
}

/* search_object - the same for the ELF file that is mapped from its beginning at `base`. */
static uintptr_t search_object(const struct target *t, uintptr_t base)
{
	Elf64_Ehdr head;
	Elf64_Phdr segment[MAX_PHDRS];
	uintptr_t bias = 0, found = 0;
	if (!target_read(t, base, &head, sizeof head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_phnum > MAX_PHDRS || head.e_phentsize != sizeof segment[0] ||
	    !target_read(t, base + head.e_phoff, segment, head.e_phnum * sizeof segment[0]))
		return 0;
	for (unsigned i = 0; i < head.e_phnum; i++)
		if (segment[i].p_type == PT_LOAD && segment[i].p_offset == 0)
			bias = base - segment[i].p_vaddr;
	for (unsigned i = 0; i < head.e_phnum && found == 0; i++)
		if (segment[i].p_type == PT_NOTE)
			found = search_notes(t, bias + segment[i].p_vaddr, segment[i].p_memsz);
	return found;
}

/* ── which of them ──────────────────────────────────────────────────────────────────────── */

struct search {
	struct target *t;
	bool any, in_use; /* the library was found; with a heap */
	int refused;
};

static void read_name(struct target *t, uintptr_t at, char *out, size_t nbytes)
{
	uintptr_t text;
	out[0] = '\0';
	for (size_t i = 0; i + 1 < nbytes && target_read(t, at, &text, sizeof text); i++) {
		if (!target_read(t, text + i, out + i, 1) || out[i] == '\0')
			break;
		out[i + 1] = '\0';
	}
}

/* consider - the watch at that address of the object `path`. */
static void consider(struct search *s, uintptr_t at, const char *path)
{
	struct target next = *s->t;
	uint32_t started = 0;
	struct watch *w = &next.watch;
	if (!target_read(&next, at, w, sizeof *w) || w->magic != WATCH_MAGIC)
		return;
	s->any = true;
	uint64_t mine = w->face == WATCH_MALLOC ? WATCH_LAYOUT_MALLOC : WATCH_LAYOUT_GC;
	if (w->layout != mine) {
		complain("process %d: the library in %s is %.16s of another build, and this "
			 "command %s: use the "
			 "command that belongs to it",
			 (int)next.pid, path, w->version, MGC_VERSION_STRING);
		s->refused = STATUS_FAILED;
		return;
	}
	if (!target_read(&next, (uintptr_t)w->started, &started, sizeof started) || started == 0)
		return;
	if (s->in_use && w->face == WATCH_MALLOC)
		return;
	s->in_use = true;
	snprintf(next.object, sizeof next.object, "%.*s", (int)sizeof next.object - 1, path);
	if (w->face == WATCH_MALLOC)
		strcpy(next.face, "malloc");
	else
		read_name(&next, (uintptr_t)w->root + offsetof(struct runtime, name), next.face,
			  sizeof next.face);
	*s->t = next;
}

static int search_maps(struct search *s)
{
	char name[64], line[5000], path[4096];
	unsigned long lo, offset;
	snprintf(name, sizeof name, "/proc/%d/maps", (int)s->t->pid);
	FILE *maps = fopen(name, "r");
	if (maps == NULL) {
		complain("process %d: %s", (int)s->t->pid,
			 errno == ENOENT ? "there is none" : strerror(errno));
		return STATUS_FAILED;
	}
	while (fgets(line, sizeof line, maps) != NULL) {
		if (sscanf(line, "%lx-%*x %*s %lx %*s %*s %4095[^\n]", &lo, &offset, path) == 3 &&
		    offset == 0 && path[0] == '/') {
			uintptr_t at = search_object(s->t, lo);
			if (at != 0)
				consider(s, at, path);
		}
	}
	fclose(maps);
	return 0;
}

void text_clean(char *text)
{
	for (unsigned char *s = (unsigned char *)text; *s != '\0'; s++)
		if (*s < ' ' || *s == 0x7f)
			*s = '?';
		else if (*s == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0) /* U+0080 to U+009F */
			s[0] = s[1] = '?';
}

static void read_command(struct target *t)
{
	char name[64];
	snprintf(name, sizeof name, "/proc/%d/cmdline", (int)t->pid);
	FILE *file = fopen(name, "r");
	size_t n = file != NULL ? fread(t->command, 1, sizeof t->command - 1, file) : 0;
	if (file != NULL)
		fclose(file);
	for (size_t i = 0; i < n; i++) /* what ends an argument, or is white */
		if ((unsigned char)t->command[i] <= '\n')
			t->command[i] = ' ';
	while (n > 0 && t->command[n - 1] == ' ')
		n--;
	t->command[n] = '\0';
}

/* has_ended - the process is a zombie. */
static bool has_ended(pid_t pid)
{
	char name[64], text[256] = "";
	snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
	FILE *file = fopen(name, "r");
	bool read = file != NULL && fgets(text, sizeof text, file) != NULL;
	if (file != NULL)
		fclose(file);
	const char *name_end = read ? strrchr(text, ')') : NULL;
	return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'Z';
}

const char *target_fate(const struct target *t)
{
	bool ended = (kill(t->pid, 0) != 0 && errno == ESRCH) || has_ended(t->pid);
	return ended ? "has ended" : "runs another program now, or may not be read any more";
}

/* may_read - opening its memory asks for the same permission as reading it. */
static int may_read(const struct target *t)
{
	char name[64];
	if (kill(t->pid, 0) != 0 && errno == ESRCH) {
		complain("process %d: there is none", (int)t->pid);
		return STATUS_FAILED;
	}
	if (has_ended(t->pid)) {
		complain("process %d has ended; its parent has not asked for its status yet (a "
			 "zombie)",
			 (int)t->pid);
		return STATUS_FAILED;
	}
	snprintf(name, sizeof name, "/proc/%d/mem", (int)t->pid);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	if (fd < 0 && (errno == EACCES || errno == EPERM)) {
		complain("process %d: its memory may not be read: it is another user's, or "
			 "ptrace(2) is restricted "
			 "(/proc/sys/kernel/yama/ptrace_scope)",
			 (int)t->pid);
		return STATUS_FAILED;
	}
	return 0;
}

int target_find(struct target *t, pid_t pid)
{
	*t = (struct target){ .pid = pid };
	struct search s = { .t = t };
	int status = may_read(t);
	if (status == 0)
		status = search_maps(&s);
	if (status != 0)
		return status;
	if (s.in_use) {
		read_command(t);
		return 0;
	}
	if (s.refused == 0)
		complain(s.any ? "process %d has the library, but has not used it yet" : "process %d does not use this library (or is set-user-ID, or the kernel's)",
			 (int)pid);
	return STATUS_FAILED;
}
