/* os_linux_symbols.c - what lies at an address, by name.
 * WHAT   the loader knows what objects export; the names of static functions and of programs that export
 *        nothing are in the file's symbol table, unless it was stripped. The file is mapped for each question:
 *        for reports, not for profiles.
 * WHO    messages to people.
 * STATE  none.  LOCKS  the loader's, by dladdr1.  UNITS bytes.
 * FROM   the ELF specification, 64 bit. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "os/os.h"
#include "os/os_linux.h"

struct image {
	const char *bytes;
	size_t n;
};

/* A file may be anything: nothing in it is believed that does not lie inside it. */
static bool inside(const struct image *f, uint64_t at, uint64_t nbytes)
{
	return at <= f->n && nbytes <= f->n - at;
}

static bool image_open(struct image *f, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	f->bytes = MAP_FAILED;
	f->n = 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		f->n = (size_t)st.st_size;
		f->bytes = mmap(NULL, f->n, PROT_READ, MAP_PRIVATE, fd, 0);
	}
	close(fd);
	return f->bytes != MAP_FAILED;
}

static const Elf64_Shdr *find_table(const struct image *f)
{
	const Elf64_Ehdr *head = (const Elf64_Ehdr *)(const void *)f->bytes;
	if (!inside(f, 0, sizeof *head) || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
	    head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_shentsize != sizeof(Elf64_Shdr) ||
	    head->e_shoff % sizeof(uint64_t) != 0 ||
	    !inside(f, head->e_shoff, (uint64_t)head->e_shnum * sizeof(Elf64_Shdr)))
		return NULL;
	const Elf64_Shdr *sections = (const Elf64_Shdr *)(const void *)(f->bytes + head->e_shoff);
	for (unsigned i = 0; i < head->e_shnum; i++) {
		const Elf64_Shdr *s = &sections[i];
		if (s->sh_type == SHT_SYMTAB && s->sh_link < head->e_shnum &&
		    s->sh_offset % sizeof(uint64_t) == 0 && inside(f, s->sh_offset, s->sh_size) &&
		    inside(f, sections[s->sh_link].sh_offset, sections[s->sh_link].sh_size))
			return s;
	}
	return NULL;
}

static bool holds(const Elf64_Sym *s, uint64_t addr)
{
	unsigned type = ELF64_ST_TYPE(s->st_info);
	return (type == STT_FUNC || type == STT_OBJECT) && s->st_shndx != SHN_UNDEF &&
	       addr >= s->st_value && addr - s->st_value < s->st_size;
}

bool os_file_symbol(const char *path, uint64_t addr, char *name, size_t cap, uint64_t *offset)
{
	struct image f;
	if (!image_open(&f, path))
		return false;
	const Elf64_Shdr *table = find_table(&f);
	bool found = false;
	if (table != NULL) {
		const Elf64_Ehdr *head = (const Elf64_Ehdr *)(const void *)f.bytes;
		const Elf64_Shdr *names =
			(const Elf64_Shdr *)(const void *)(f.bytes + head->e_shoff) + table->sh_link;
		const Elf64_Sym *s = (const Elf64_Sym *)(const void *)(f.bytes + table->sh_offset);
		const Elf64_Sym *end = s + table->sh_size / sizeof *s;
		while (s < end && !holds(s, addr))
			s++;
		if (s < end && s->st_name < names->sh_size) {
			const char *text = f.bytes + names->sh_offset + s->st_name;
			size_t n = strnlen(text, names->sh_size - s->st_name);
			n = n < cap ? n : cap - 1;
			memcpy(name, text, n);
			name[n] = '\0';
			*offset = addr - s->st_value;
			found = n != 0;
		}
	}
	munmap((void *)(uintptr_t)f.bytes, f.n);
	return found;
}

void os_describe(uintptr_t addr, char *buf, size_t nbytes)
{
	Dl_info info;
	struct link_map *map = NULL;
	char name[256];
	uint64_t offset;
	buf[0] = '\0';
	if (dladdr1((const void *)addr, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 ||
	    info.dli_fname == NULL)
		return;
	const char *slash = strrchr(info.dli_fname, '/');
	size_t n = mgc_format(buf, nbytes, "%s+%p", slash != NULL ? slash + 1 : info.dli_fname,
			      (void *)(addr - (uintptr_t)info.dli_fbase));
	if (info.dli_sname != NULL) {
		mgc_format(buf + n, nbytes - n, " (%s+%zu)", info.dli_sname,
			   (size_t)(addr - (uintptr_t)info.dli_saddr));
	} else if (map != NULL) { /* the program itself has no name there */
		const char *path = map->l_name[0] != '\0' ? map->l_name : "/proc/self/exe";
		if (os_file_symbol(path, addr - map->l_addr, name, sizeof name, &offset))
			mgc_format(buf + n, nbytes - n, " (%s+%zu)", name, (size_t)offset);
	}
}
