/* symbols.h - names and lines for the addresses of another process, or of a profile: what is mapped where, and what
 * elfutils' libdw knows of these files: symbol tables, DWARF, debug files that lie apart (by build id).
 *
 * WHAT   An address is one frame, or several where functions were inlined into each other. C++ names are demangled
 *        where a C++ library is there to do it. Without libdw (MGC_WITH_DWFL 0) there are no names: file+offset.
 * WHO    sites.c, profile.c, recording.c.
 * STATE  a file is opened at the first question about it, and kept.  LOCKS none.
 * INV    Y1 nothing of these files is read here: they may be anybody's, and libdw checks what it reads
 *        Y2 what is handed out as text is printable ASCII: a name may go to a terminal
 * FROM   elfutils/libdwfl.h, proc(5). */
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
	struct symbol_mapping *mapping; /* executable ones */
	size_t nmappings, room;
	struct symbol_file *files;
	pid_t pid; /* 0: none; files are this system's */
};

enum { SYMBOL_FRAMES = 8, SYMBOL_TEXT = 512 };

/* One function at an address. */
struct symbol_frame {
	char function[SYMBOL_TEXT]; /* "" unknown */
	const char *linkage; /* the name as it was linked, as the file has it, or NULL */
	const char *file; /* source, NULL unknown; lives as long as the symbols */
	unsigned line;
};

/* symbols_read - what the process has mapped now, instead of what was known. False: it is gone, or no memory;
 * then nothing changed. */
bool symbols_read(struct symbols *s, pid_t pid);
/* symbols_map - one more mapping, for addresses of no process. False: no memory. */
bool symbols_map(struct symbols *s, uintptr_t lo, uintptr_t hi, uintptr_t offset, const char *path);
/* symbols_frames - the functions at the address, innermost first, at most SYMBOL_FRAMES; at least one, whose
 * function is "" when nothing is known. */
size_t symbols_frames(struct symbols *s, uintptr_t pc, struct symbol_frame out[SYMBOL_FRAMES]);
/* symbols_name - of one frame of that address: its function, or "file+0x10", or the address. */
void symbols_name(const struct symbols *s, uintptr_t pc, const struct symbol_frame *frame,
		  char *out, size_t nbytes);
/* symbols_line - "list.c:31", or "". */
void symbols_line(const struct symbol_frame *frame, char *out, size_t nbytes);
/* symbols_file - the file that the address is in; "" if it is in none. */
const char *symbols_file(const struct symbols *s, uintptr_t pc);
void symbols_free(struct symbols *s);

#endif
