/* symbols.h - names for the addresses of another process: what it has mapped, and the symbol tables of these files.
 * WHO    sites.c.  STATE tables are read at the first question about a file, and kept.
 * FROM   elf(5), proc(5). */
#ifndef MGC_CMD_SYMBOLS_H
#define MGC_CMD_SYMBOLS_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct symbol_file;

struct symbol_mapping {
	uintptr_t lo, hi, offset;
	struct symbol_file *file;
};

struct symbols {
	struct symbol_mapping *mapping; /* executable ones, by address */
	size_t nmappings;
	struct symbol_file *files;
	pid_t pid;
};

/* symbols_read - what the process has mapped now, instead of what was known. False: it is gone, or no memory;
 * then nothing changed. */
bool symbols_read(struct symbols *s, pid_t pid);
/* symbols_name - the function, or "file+0x10", or the address, into out. */
void symbols_name(struct symbols *s, uintptr_t pc, char *out, size_t nbytes);
/* symbols_file - the file that the address is in; "" if it is in none. */
const char *symbols_file(const struct symbols *s, uintptr_t pc);
void symbols_free(struct symbols *s);

#endif
