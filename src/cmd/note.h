/* note.h - the ELF note that says where a file of ours has its heap (base/watch.h).
 * WHO    target.c, in a process's memory; program.c, in files.  STATE none. */
#ifndef MGC_CMD_NOTE_H
#define MGC_CMD_NOTE_H
#ifndef MGC_IMPL
#error "internal header of mallocgc"
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* note_search - the address of the struct watch that one of the notes leads to, or 0. `notes` are what was read from
 * the address `at`. */
uintptr_t note_search(const unsigned char *notes, size_t nbytes, uintptr_t at);
/* note_of_file - whether a collected heap is in that program or library. False also when it cannot be read. */
bool note_of_file(const char *path);

#endif
