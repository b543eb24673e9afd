/* program.h - finds a program and says whether the dynamic linker can give it another library. */
#ifndef MGC_CMD_PROGRAM_H
#define MGC_CMD_PROGRAM_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <limits.h>
#include <stdbool.h>

/* struct program - where the name leads. For a script `elf` is its interpreter (behind env(1) the
 * program that env starts), else the same as path. */
struct program {
	char path[PATH_MAX];
	char elf[PATH_MAX];
	char loader[PATH_MAX]; /* the ELF file's PT_INTERP; "" when it could not be read, or has none */
	bool libgc; /* it, or a library it is linked with, needs libgc.so.1 */
	bool broken; /* the dynamic linker lacks something: when it starts, that says what */
	bool own; /* it, or such a library, has a collected heap of ours in it */
};

/* program_find - looks `name` up as execvp does. 0, or an exit status after a message. */
int program_find(struct program *p, const char *name);
/* program_check - 0 if LD_PRELOAD and LD_LIBRARY_PATH reach it; else an exit status after a message
 * that says why not: statically linked, set-user-ID, another architecture. A static program with a heap of ours
 * needs neither, unless `replace`: then the heap it shall have is another. */
int program_check(struct program *p, bool replace);
/* program_look - fills `libgc`, `own` and `broken`, behind program_check. */
void program_look(struct program *p);

#endif
