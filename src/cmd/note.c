/* note.c - see note.h. STATE none. FROM elf(5), System V gABI: notes. */
#include "cmd/note.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/watch.h"

enum { MAX_NOTE_PHDRS = 64, MAX_NOTES_OF_FILE = 65536 };

uintptr_t note_search(const unsigned char *notes, size_t nbytes, uintptr_t at)
{
	for (size_t i = 0; i + sizeof(Elf64_Nhdr) <= nbytes;) {
		Elf64_Nhdr head;
		memcpy(&head, notes + i, sizeof head);
		size_t name = i + sizeof head,
		       content = name + (((size_t)head.n_namesz + 3) & ~(size_t)3);
		if (content > nbytes || head.n_descsz > nbytes - content)
			return 0;
		if (head.n_type == WATCH_NOTE_TYPE && head.n_namesz == sizeof WATCH_OWNER &&
		    head.n_descsz == sizeof(int64_t) &&
		    memcmp(notes + name, WATCH_OWNER, sizeof WATCH_OWNER) == 0) {
			int64_t distance;
			memcpy(&distance, notes + content, sizeof distance);
			return at + content + (uintptr_t)distance;
		}
		i = content + (((size_t)head.n_descsz + 3) & ~(size_t)3);
	}
	return 0;
}

/* ── in a file ──────────────────────────────────────────────────────────────────────────── */

struct elf_file {
	int fd;
	unsigned nsegments;
	Elf64_Phdr segment[MAX_NOTE_PHDRS];
};

static bool read_whole(int fd, void *out, size_t nbytes, uint64_t at)
{
	return at <= INT64_MAX && pread(fd, out, nbytes, (off_t)at) == (ssize_t)nbytes;
}

static bool read_segments(struct elf_file *f)
{
	Elf64_Ehdr head;
	if (!read_whole(f->fd, &head, sizeof head, 0) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_phnum > MAX_NOTE_PHDRS || head.e_phentsize != sizeof f->segment[0])
		return false;
	f->nsegments = head.e_phnum;
	return read_whole(f->fd, f->segment, f->nsegments * sizeof f->segment[0], head.e_phoff);
}

/* read_address - what will be at that address of the program, as it is in the file: not relocated. */
static bool read_address(const struct elf_file *f, uintptr_t at, void *out, size_t nbytes)
{
	for (unsigned i = 0; i < f->nsegments; i++) {
		const Elf64_Phdr *s = &f->segment[i];
		if (s->p_type == PT_LOAD && at >= s->p_vaddr && at - s->p_vaddr < s->p_filesz)
			return read_whole(f->fd, out, nbytes, s->p_offset + (at - s->p_vaddr));
	}
	return false;
}

static bool is_collected(const struct elf_file *f)
{
	static unsigned char notes[MAX_NOTES_OF_FILE];
	struct watch w;
	for (unsigned i = 0; i < f->nsegments; i++) {
		const Elf64_Phdr *s = &f->segment[i];
		if (s->p_type != PT_NOTE || s->p_filesz > sizeof notes ||
		    !read_whole(f->fd, notes, s->p_filesz, s->p_offset))
			continue;
		uintptr_t at = note_search(notes, s->p_filesz, s->p_vaddr);
		if (at != 0 && read_address(f, at, &w, sizeof w) && w.magic == WATCH_MAGIC &&
		    w.face == WATCH_COLLECTED)
			return true;
	}
	return false;
}

bool note_of_file(const char *path)
{
	struct elf_file f = { .fd = open(path, O_RDONLY | O_CLOEXEC) };
	if (f.fd < 0)
		return false;
	bool found = read_segments(&f) && is_collected(&f);
	close(f.fd);
	return found;
}
