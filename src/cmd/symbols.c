/* symbols.c - see symbols.h. STATE files are in a list, each with its mapped content while it is known. */
#include "cmd/symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_SYMBOL_PHDRS = 64 };

struct symbol {
	uint64_t addr, nbytes; /* as the file was linked */
	const char *name;
};

struct symbol_file {
	struct symbol_file *next;
	char path[512];
	bool loaded; /* what follows was looked for */
	const unsigned char *bytes;
	size_t nbytes;
	struct symbol *symbol; /* by address */
	size_t nsymbols;
	Elf64_Phdr load[MAX_SYMBOL_PHDRS];
	size_t nloads;
};

/* ── what is mapped ─────────────────────────────────────────────────────────────────────── */

static struct symbol_file *file_of(struct symbols *s, const char *path)
{
	struct symbol_file *f = s->files;
	while (f != NULL && strcmp(f->path, path) != 0)
		f = f->next;
	if (f != NULL || (f = calloc(1, sizeof *f)) == NULL)
		return f;
	snprintf(f->path, sizeof f->path, "%s", path);
	f->next = s->files;
	s->files = f;
	return f;
}

bool symbols_read(struct symbols *s, pid_t pid)
{
	char name[64], line[1024];
	struct symbol_mapping *list = NULL, m;
	size_t n = 0, room = 0;
	bool ok = true;
	snprintf(name, sizeof name, "/proc/%d/maps", (int)pid);
	FILE *maps = fopen(name, "r");
	if (maps == NULL)
		return false;
	while (ok && fgets(line, sizeof line, maps) != NULL) {
		char path[512] = "", perms[8];
		if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %511[^\n]", &m.lo, &m.hi, perms,
			   &m.offset, path) < 4 ||
		    perms[2] != 'x' || path[0] != '/')
			continue;
		if (n == room) {
			struct symbol_mapping *more = realloc(list, (room = 2 * room + 32) * sizeof m);
			ok = more != NULL;
			list = ok ? more : list;
		}
		m.file = ok ? file_of(s, path) : NULL;
		if (m.file != NULL)
			list[n++] = m;
	}
	fclose(maps);
	if (n == 0 || !ok) {
		free(list);
		return false;
	}
	free(s->mapping);
	s->mapping = list;
	s->nmappings = n;
	s->pid = pid;
	return true;
}

static const struct symbol_mapping *find_mapping(const struct symbols *s, uintptr_t pc)
{
	for (size_t i = 0; i < s->nmappings; i++)
		if (s->mapping[i].lo <= pc && pc < s->mapping[i].hi)
			return &s->mapping[i];
	return NULL;
}

/* ── a file's symbols ───────────────────────────────────────────────────────────────────── */

static int by_addr(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* section - its content, NULL if it is not whole in the file. */
static const void *section(const struct symbol_file *f, const Elf64_Shdr *s)
{
	if (s->sh_type == SHT_NOBITS || s->sh_offset > f->nbytes || s->sh_size > f->nbytes - s->sh_offset)
		return NULL;
	return f->bytes + s->sh_offset;
}

/* add_symbols - the functions of one symbol table. */
static void add_symbols(struct symbol_file *f, const Elf64_Shdr *table, const Elf64_Shdr *strings)
{
	const Elf64_Sym *sym = section(f, table);
	const char *text = section(f, strings);
	size_t n = table->sh_size / sizeof *sym;
	if (sym == NULL || text == NULL || strings->sh_size == 0 || text[strings->sh_size - 1] != '\0')
		return;
	struct symbol *more = realloc(f->symbol, (f->nsymbols + n) * sizeof *more);
	if (more == NULL)
		return;
	f->symbol = more;
	for (size_t i = 0; i < n; i++)
		if (ELF64_ST_TYPE(sym[i].st_info) == STT_FUNC && sym[i].st_shndx != SHN_UNDEF &&
		    sym[i].st_size != 0 && sym[i].st_name < strings->sh_size)
			f->symbol[f->nsymbols++] = (struct symbol){ sym[i].st_value, sym[i].st_size,
								    text + sym[i].st_name };
}

static void load_tables(struct symbol_file *f)
{
	const Elf64_Ehdr *head = (const Elf64_Ehdr *)f->bytes;
	if (f->nbytes < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
	    head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_phoff > f->nbytes ||
	    head->e_phnum > (f->nbytes - head->e_phoff) / sizeof(Elf64_Phdr) ||
	    head->e_shoff > f->nbytes ||
	    head->e_shnum > (f->nbytes - head->e_shoff) / sizeof(Elf64_Shdr))
		return;
	const Elf64_Phdr *segment = (const Elf64_Phdr *)(f->bytes + head->e_phoff);
	const Elf64_Shdr *section = (const Elf64_Shdr *)(f->bytes + head->e_shoff);
	for (unsigned i = 0; i < head->e_phnum && f->nloads < MAX_SYMBOL_PHDRS; i++)
		if (segment[i].p_type == PT_LOAD)
			f->load[f->nloads++] = segment[i];
	for (unsigned i = 0; i < head->e_shnum; i++)
		if ((section[i].sh_type == SHT_SYMTAB || section[i].sh_type == SHT_DYNSYM) &&
		    section[i].sh_link < head->e_shnum)
			add_symbols(f, &section[i], &section[section[i].sh_link]);
	qsort(f->symbol, f->nsymbols, sizeof f->symbol[0], by_addr);
}

/* load - what can be known of the file; a file that is gone or unreadable has no symbols. */
static void load(struct symbol_file *f, pid_t pid)
{
	char path[600];
	struct stat st;
	f->loaded = true;
	/* as the process sees it: it may be in another root */
	snprintf(path, sizeof path, "/proc/%d/root%s", (int)pid, f->path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		f->bytes = p != MAP_FAILED ? p : NULL;
		f->nbytes = p != MAP_FAILED ? (size_t)st.st_size : 0;
	}
	close(fd);
	if (f->bytes != NULL)
		load_tables(f);
}

/* linked_address - where the file was linked to have what is at that offset of it. */
static uint64_t linked_address(const struct symbol_file *f, uint64_t offset)
{
	for (size_t i = 0; i < f->nloads; i++)
		if (offset >= f->load[i].p_offset && offset - f->load[i].p_offset < f->load[i].p_filesz)
			return offset - f->load[i].p_offset + f->load[i].p_vaddr;
	return offset;
}

static const struct symbol *find_symbol(const struct symbol_file *f, uint64_t addr)
{
	size_t lo = 0, hi = f->nsymbols;
	while (lo < hi) { /* the last one that begins at or before it */
		size_t mid = (lo + hi) / 2;
		if (f->symbol[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	const struct symbol *s = lo > 0 ? &f->symbol[lo - 1] : NULL;
	return s != NULL && addr - s->addr < s->nbytes ? s : NULL;
}

void symbols_name(struct symbols *s, uintptr_t pc, char *out, size_t nbytes)
{
	const struct symbol_mapping *m = find_mapping(s, pc);
	if (m == NULL) {
		snprintf(out, nbytes, "0x%lx", (unsigned long)pc);
		return;
	}
	if (!m->file->loaded)
		load(m->file, s->pid);
	uint64_t addr = linked_address(m->file, pc - m->lo + m->offset);
	const struct symbol *found = find_symbol(m->file, addr);
	const char *base = strrchr(m->file->path, '/') + 1;
	if (found != NULL)
		snprintf(out, nbytes, "%s", found->name);
	else
		snprintf(out, nbytes, "%s+0x%lx", base, (unsigned long)addr);
}

const char *symbols_file(const struct symbols *s, uintptr_t pc)
{
	const struct symbol_mapping *m = find_mapping(s, pc);
	return m != NULL ? m->file->path : "";
}

void symbols_free(struct symbols *s)
{
	struct symbol_file *next;
	for (struct symbol_file *f = s->files; f != NULL; f = next) {
		next = f->next;
		if (f->bytes != NULL)
			munmap((void *)(uintptr_t)f->bytes, f->nbytes);
		free(f->symbol);
		free(f);
	}
	free(s->mapping);
	*s = (struct symbols){ 0 };
}
