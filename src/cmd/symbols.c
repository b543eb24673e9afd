/* symbols.c - see symbols.h. STATE files are in a list, each with libdw's session while it is open. */
#include "cmd/symbols.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if MGC_WITH_DWFL
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#endif

enum { MAX_SYMBOL_PHDRS = 64 };

struct symbol {
	uint64_t addr, nbytes; /* as the file was linked */
	const char *name;
};

struct symbol_load {
	uint64_t offset, nbytes, addr;
};

struct symbol_file {
	struct symbol_file *next;
	char path[512];
	bool loaded; /* what follows was looked for */
	struct symbol *symbol; /* functions by address */
	size_t nsymbols;
	struct symbol_load load[MAX_SYMBOL_PHDRS];
	size_t nloads;
#if MGC_WITH_DWFL
	Dwfl *dwfl;
	Dwfl_Module *module;
	Dwarf_Addr bias; /* the module's addresses are linked addresses and this */
#endif
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

bool symbols_map(struct symbols *s, uintptr_t lo, uintptr_t hi, uintptr_t offset, const char *path)
{
	struct symbol_file *file = file_of(s, path);
	if (s->nmappings == s->room) {
		size_t room = 2 * s->room + 32;
		struct symbol_mapping *more = realloc(s->mapping, room * sizeof *more);
		if (more == NULL)
			return false;
		s->mapping = more;
		s->room = room;
	}
	if (file != NULL)
		s->mapping[s->nmappings++] = (struct symbol_mapping){ lo, hi, offset, file };
	return file != NULL;
}

bool symbols_read(struct symbols *s, pid_t pid)
{
	char name[64], line[1024];
	struct symbols next = { .files = s->files, .pid = pid };
	unsigned long lo, hi, offset;
	bool ok = true;
	snprintf(name, sizeof name, "/proc/%d/maps", (int)pid);
	FILE *maps = fopen(name, "r");
	if (maps == NULL)
		return false;
	while (ok && fgets(line, sizeof line, maps) != NULL) {
		char path[512] = "", perms[8];
		if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %511[^\n]", &lo, &hi, perms, &offset,
			   path) == 5 &&
		    perms[2] == 'x' && path[0] == '/')
			ok = symbols_map(&next, lo, hi, offset, path);
	}
	fclose(maps);
	s->files = next.files;
	if (next.nmappings == 0 || !ok) {
		free(next.mapping);
		return false;
	}
	free(s->mapping);
	*s = next;
	return true;
}

static const struct symbol_mapping *find_mapping(const struct symbols *s, uintptr_t pc)
{
	for (size_t i = 0; i < s->nmappings; i++)
		if (s->mapping[i].lo <= pc && pc < s->mapping[i].hi)
			return &s->mapping[i];
	return NULL;
}

/* linked_address - where the file was linked to have what is at that offset of it. */
static uint64_t linked_address(const struct symbol_file *f, uint64_t offset)
{
	for (size_t i = 0; i < f->nloads; i++)
		if (offset >= f->load[i].offset && offset - f->load[i].offset < f->load[i].nbytes)
			return offset - f->load[i].offset + f->load[i].addr;
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

/* make_plain - what a terminal could take for a command becomes a question mark. */
static void make_plain(char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

/* ── names ──────────────────────────────────────────────────────────────────────────────── */

/* set_function - the name, demangled if it is C++'s. The demangler is that of whatever C++ library the system has:
 * a command in C is not linked with one. */
static void set_function(struct symbol_frame *frame, const char *name)
{
	static char *(*demangle)(const char *, char *, size_t *, int *);
	static bool tried;
	frame->linkage = name;
	if (name != NULL && strncmp(name, "_Z", 2) == 0) {
		void *library = tried ? NULL : dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL);
		tried = true;
		if (library != NULL)
			*(void **)&demangle = dlsym(library, "__cxa_demangle");
		int status = -1;
		char *text = demangle != NULL ? demangle(name, NULL, NULL, &status) : NULL;
		if (text != NULL && status == 0)
			snprintf(frame->function, sizeof frame->function, "%s", text);
		free(text);
		if (status == 0) {
			make_plain(frame->function);
			return;
		}
	}
	const char *text = name != NULL ? name : "";
	snprintf(frame->function, sizeof frame->function, "%.*s", (int)strcspn(text, "@"), text);
	make_plain(frame->function);
}

#if MGC_WITH_DWFL
/* ── what libdw knows of a file ─────────────────────────────────────────────────────────── */

static int by_addr(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static void load_segments(struct symbol_file *f)
{
	GElf_Addr bias;
	size_t n = 0;
	Elf *elf = dwfl_module_getelf(f->module, &bias);
	if (elf == NULL || elf_getphdrnum(elf, &n) != 0)
		return;
	f->bias = bias;
	for (size_t i = 0; i < n && f->nloads < MAX_SYMBOL_PHDRS; i++) {
		GElf_Phdr p;
		if (gelf_getphdr(elf, (int)i, &p) != NULL && p.p_type == PT_LOAD)
			f->load[f->nloads++] =
				(struct symbol_load){ p.p_offset, p.p_filesz, p.p_vaddr };
	}
}

static void load_symbols(struct symbol_file *f)
{
	int n = dwfl_module_getsymtab(f->module);
	if (n <= 0 || (f->symbol = malloc((size_t)n * sizeof *f->symbol)) == NULL)
		return;
	for (int i = 0; i < n; i++) {
		GElf_Sym sym;
		GElf_Addr addr;
		const char *name = dwfl_module_getsym_info(f->module, i, &sym, &addr, NULL, NULL, NULL);
		if (name != NULL && *name != '\0' && sym.st_size != 0 &&
		    sym.st_shndx != SHN_UNDEF && GELF_ST_TYPE(sym.st_info) == STT_FUNC)
			f->symbol[f->nsymbols++] = (struct symbol){ addr - f->bias, sym.st_size, name };
	}
	qsort(f->symbol, f->nsymbols, sizeof f->symbol[0], by_addr);
}

/* load - what can be known of the file; one that is gone, unreadable or no ELF file has no names. */
static void load(struct symbol_file *f, pid_t pid)
{
	static char *debug_path;
	static const Dwfl_Callbacks callbacks = { .find_elf = dwfl_build_id_find_elf,
						  .find_debuginfo = dwfl_standard_find_debuginfo,
						  .section_address = dwfl_offline_section_address,
						  .debuginfo_path = &debug_path };
	char path[600];
	f->loaded = true;
	/* as the process sees it: it may be in another root */
	snprintf(path, sizeof path, "/proc/%d/root%s", (int)pid, f->path);
	const char *seen = pid != 0 && access(path, R_OK) == 0 ? path : f->path;
	if ((f->dwfl = dwfl_begin(&callbacks)) == NULL)
		return;
	dwfl_report_begin(f->dwfl);
	f->module = dwfl_report_offline(f->dwfl, f->path, seen, -1);
	dwfl_report_end(f->dwfl, NULL, NULL);
	if (f->module == NULL)
		return;
	load_segments(f);
	load_symbols(f);
}

/* text_attribute - of the DIE or what it is an instance of. */
static const char *text_attribute(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attribute;
	return dwarf_formstring(dwarf_attr_integrate(die, name, &attribute));
}

static const char *function_name(Dwarf_Die *die)
{
	const char *linkage = text_attribute(die, DW_AT_linkage_name);
	return linkage != NULL ? linkage : dwarf_diename(die);
}

/* call_place - where the inlined function was called. */
static void call_place(Dwarf_Die *cu, Dwarf_Die *die, struct symbol_frame *caller)
{
	Dwarf_Attribute attribute;
	Dwarf_Word file, line;
	Dwarf_Files *files;
	size_t nfiles;
	if (dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &attribute), &line) != 0 ||
	    dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &attribute), &file) != 0 ||
	    dwarf_getsrcfiles(cu, &files, &nfiles) != 0 || file >= nfiles)
		return;
	caller->file = dwarf_filesrc(files, file, NULL, NULL);
	caller->line = (unsigned)line;
}

/* add_inlined - frames for what is inlined at the address, and their places; out[n] is left to the function that all
 * of it is in. The number of frames before that. */
static size_t add_inlined(const struct symbol_file *f, Dwarf_Addr addr, struct symbol_frame *out)
{
	Dwarf_Addr bias;
	Dwarf_Die *scopes = NULL, *cu = dwfl_module_addrdie(f->module, addr, &bias);
	size_t n = 0;
	int nscopes = cu != NULL ? dwarf_getscopes(cu, addr - bias, &scopes) : 0;
	for (int i = 0; i < nscopes && n + 1 < SYMBOL_FRAMES; i++) {
		int tag = dwarf_tag(&scopes[i]);
		if (tag == DW_TAG_subprogram)
			break;
		if (tag != DW_TAG_inlined_subroutine)
			continue;
		set_function(&out[n], function_name(&scopes[i]));
		out[n + 1] = (struct symbol_frame){ 0 };
		call_place(cu, &scopes[i], &out[++n]);
	}
	free(scopes);
	return n;
}

static size_t find_frames(const struct symbol_file *f, uint64_t linked, struct symbol_frame *out)
{
	int line = 0;
	size_t n = 0;
	if (f->module != NULL) {
		Dwfl_Line *at = dwfl_module_getsrc(f->module, linked + f->bias);
		if (at != NULL)
			out[0].file = dwfl_lineinfo(at, NULL, &line, NULL, NULL, NULL);
		out[0].line = (unsigned)line;
		n = add_inlined(f, linked + f->bias, out);
	}
	const struct symbol *found = find_symbol(f, linked);
	set_function(&out[n], found != NULL ? found->name : NULL);
	return n + 1;
}
#else
static void load(struct symbol_file *f, pid_t pid)
{
	(void)pid;
	f->loaded = true;
}

static size_t find_frames(const struct symbol_file *f, uint64_t linked, struct symbol_frame *out)
{
	const struct symbol *found = find_symbol(f, linked);
	set_function(&out[0], found != NULL ? found->name : NULL);
	return 1;
}
#endif

/* ── questions ──────────────────────────────────────────────────────────────────────────── */

size_t symbols_frames(struct symbols *s, uintptr_t pc, struct symbol_frame out[SYMBOL_FRAMES])
{
	const struct symbol_mapping *m = find_mapping(s, pc);
	out[0] = (struct symbol_frame){ 0 };
	if (m == NULL)
		return 1;
	if (!m->file->loaded)
		load(m->file, s->pid);
	return find_frames(m->file, linked_address(m->file, pc - m->lo + m->offset), out);
}

void symbols_name(const struct symbols *s, uintptr_t pc, const struct symbol_frame *frame,
		  char *out, size_t nbytes)
{
	const struct symbol_mapping *m = find_mapping(s, pc);
	if (frame->function[0] != '\0')
		snprintf(out, nbytes, "%s", frame->function);
	else if (m == NULL)
		snprintf(out, nbytes, "0x%lx", (unsigned long)pc);
	else
		snprintf(out, nbytes, "%s+0x%lx", strrchr(m->file->path, '/') + 1,
			 (unsigned long)linked_address(m->file, pc - m->lo + m->offset));
	make_plain(out);
}

void symbols_line(const struct symbol_frame *frame, char *out, size_t nbytes)
{
	const char *slash = frame->file != NULL ? strrchr(frame->file, '/') : NULL;
	out[0] = '\0';
	if (frame->file != NULL && frame->line != 0)
		snprintf(out, nbytes, "%s:%u", slash != NULL ? slash + 1 : frame->file, frame->line);
	make_plain(out);
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
#if MGC_WITH_DWFL
		if (f->dwfl != NULL)
			dwfl_end(f->dwfl);
#endif
		free(f->symbol);
		free(f);
	}
	free(s->mapping);
	*s = (struct symbols){ 0 };
}
